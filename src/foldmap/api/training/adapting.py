"""Adapt a lidar model to a sensor within a given time, from its own sweeps and from sweeps simulated on their map.

Half of what a step sees are sweeps against the map of the rest of the drive, half are sweeps simulated on that map, so
that a short drive does not wear out. Then the coder is fitted and the localizer calibrated, on the same sweeps. How
many steps a machine takes in a given time is not the same twice; the learning rate does not ask how many there will
be, so that a run of the number of steps that was taken is the same run.
"""

import re
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from foldmap.api.results import Begin, silent
from foldmap.api.training.lidar_pairs import Alternating
from foldmap.errors import ConfigError
from foldmap.lidar.bundle import Bundle, require_fold
from foldmap.lidar.codec import Decoder
from foldmap.lidar.fit_coder import fit_coder, raster_of
from foldmap.lidar.pairs.from_raster import RasterPairs
from foldmap.lidar.pairs.from_sweeps import SweepPairs
from foldmap.lidar.pairs.sampling import PairSampler, RasterPair, SomePairs
from foldmap.lidar.train import LidarTrainer, LidarTrainSettings
from foldmap.localize.lidar.calibrate import UnfoldedRaster, attempt_pair, match_features, observation_of
from foldmap.localize.lidar.choosing import in_memory
from foldmap.localize.lidar.confidence import calibrate
from foldmap.training.loop import train

_MOST_STEPS = 100_000
_FITTED, _WRONG = 24, 48
_SWEEPS, _SIMULATED = 32, 256
_BATCH = 4
_SLACK = 1.5  # of the time that calibrating was estimated to take
_UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Adapting:
    """How long to adapt: for so many seconds of wall clock, all included, or for so many steps of training."""

    seconds: float | None = None
    steps: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.seconds is None) == (self.steps is None):
            raise ConfigError("adapting takes a time or a number of steps", "give one of --adapt and --adapt-steps")
        if self.steps is not None and not 1 <= self.steps <= _MOST_STEPS:
            raise ConfigError(f"{self.steps} steps of adapting", f"give 1 to {_MOST_STEPS:,}")


@dataclass(frozen=True)
class Adapted:
    """A model adapted to a sensor, the steps of training that it took, and the seconds in all."""

    bundle: Bundle
    steps: int
    seconds: float


def parse_seconds(text: str) -> float:
    """Read a time: ``30s``, ``5min``, ``1h``; a ConfigError where it is none."""
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*(s|min|h)\s*", text)
    if match is None or float(match[1]) <= 0:
        raise ConfigError(f"{text!r} is no time", "write it like 30s, 5min or 1h")
    return float(match[1]) * _UNITS[match[2]]


def adapt(start: Bundle, pairs: SweepPairs, resolution_m: float, asked: Adapting, begin: Begin = silent) -> Adapted:
    """Train a model on, fit its coder, and calibrate it, on the pairs of a drive's sweeps.

    A ConfigError where the time asked for would not even do for calibrating.
    """
    started_s = time.monotonic()
    require_fold(start)
    crop_px = (64, 112) if resolution_m >= 0.15 else (128, 176)
    fitted = _even(pairs.of_sizes(*_fitting_px(resolution_m)), _FITTED)
    deadline_s = None
    if asked.seconds is not None:
        kept_s = _SLACK * _calibrating_s(start, fitted, resolution_m)
        deadline_s = started_s + asked.seconds - kept_s
        if time.monotonic() >= deadline_s:
            short = f"calibrating alone takes about {kept_s:.0f} s here, and {asked.seconds:.0f} s were given"
            raise ConfigError(short, "give at least twice that")
    model, steps = _trained(start, pairs, resolution_m, crop_px, asked, deadline_s, begin)
    said: dict[str, Any] = {"adapted_from": start.name, "steps": steps, "seed": asked.seed, "sweep_pairs": len(pairs)}
    trained = replace(start, model=model, resolution_m=resolution_m)
    bundle = _calibrated(trained, fitted, resolution_m, said, begin)
    return Adapted(bundle, steps, time.monotonic() - started_s)


def _fitting_px(resolution_m: float) -> tuple[int, int]:
    """Sides of map and sweep on which coder and localizer are fitted."""
    return (round(32.0 / resolution_m), round(24.0 / resolution_m)) if resolution_m < 0.15 else (192, 128)


def _even(pairs: SweepPairs, most: int) -> SomePairs:
    """At most so many pairs, even over the drive."""
    return SomePairs(pairs, np.unique(np.linspace(0, len(pairs) - 1, most).round().astype(int)).tolist())


def _trained(
    start: Bundle,
    pairs: SweepPairs,
    resolution_m: float,
    crop_px: tuple[int, int],
    asked: Adapting,
    deadline_s: float | None,
    begin: Begin,
) -> tuple[Any, int]:
    """The networks after the steps that were asked for, or after what was taken until a time."""
    sweep_px, map_px = crop_px
    real = _even(pairs.of_sizes(map_px * 3 // 2, sweep_px * 3 // 2), _SWEEPS)
    simulated = RasterPairs(pairs.ground(), _SIMULATED, asked.seed, map_px=map_px * 3 // 2, sweep_px=sweep_px)
    sampler = PairSampler(Alternating(real, simulated), resolution_m, sweep_px, map_px, asked.seed)
    settings = LidarTrainSettings(
        mode="scratch",  # the model is trained: there is no stage without the codec,
        warmup=0.0,  # and its code is not free to change at first
        anytime=True,
        codec_steps=asked.steps or _MOST_STEPS,
        batch=_BATCH,
        radius_px=16,
        learning_rate=1e-3,
        code_weight=0.15,
        validate_every=asked.steps or _MOST_STEPS,
        seed=asked.seed,
    )
    trainer = LidarTrainer(start.preset, sampler, None, settings, resolution_m, start=start.model)
    began_s, report = time.monotonic(), begin("Adapting")

    def shown(step: int) -> None:
        if deadline_s is None:
            report(step, settings.steps)
        else:
            report(round(time.monotonic() - began_s), round(deadline_s - began_s))

    def over() -> bool:
        return deadline_s is not None and time.monotonic() >= deadline_s

    *_, last = train(trainer, None, lambda line: shown(line.step), over)
    return trainer.network.cpu(), last.step


def _calibrated(
    adapted: Bundle, pairs: SomePairs, resolution_m: float, provenance: dict[str, Any], begin: Begin
) -> Bundle:
    """Fit the coder and set the localizer's thresholds, on the same few pairs, where at least 20 are matched."""
    coding, report = begin("Fitting the coder"), begin("Calibrating")
    every: list[RasterPair] = [pairs[index] for index in range(len(pairs))]
    name = f"{adapted.name}-adapted"
    coded = fit_coder(adapted.model, every, resolution_m, name, provenance, turned=True, report=coding)
    decoder, scale = Decoder(coded.bundle), adapted.preset.downsample
    places = zip(coded.rasters, coded.codes, strict=True)
    maps = [UnfoldedRaster(decoder, raster.grid, codes, scale) for raster, codes in places]
    found = match_features(
        maps, every, resolution_m, range(len(every)), _WRONG, report=lambda what, done, total: report(done, total)
    )
    try:
        return replace(coded.bundle, thresholds=calibrate(found.right, found.wrong).thresholds.to_dict())
    except ConfigError:  # too few were matched: what the model was calibrated to stays
        return replace(coded.bundle, thresholds=adapted.thresholds)


def _calibrating_s(start: Bundle, pairs: SomePairs, resolution_m: float) -> float:
    """How long that will take: a pair is made, coded and matched; a second one, as the first brings what is loaded."""
    spent_s = 0.0
    for pair in (pairs[0], pairs[len(pairs) // 2]):
        began_s = time.monotonic()
        opened, _ = in_memory(start, raster_of(pair, resolution_m))
        coded_s = time.monotonic()
        attempt_pair(opened, pair, observation_of(pair, resolution_m), 1.0, np.random.default_rng(0))
        spent_s = len(pairs) * (coded_s - began_s) + (len(pairs) + _WRONG) * (time.monotonic() - coded_s)
    return spent_s
