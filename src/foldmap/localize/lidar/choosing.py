"""Which code suits a map: candidates are folded and localized in, at some places of this very map.

The sweeps are simulated on the map (`foldmap.lidar.pairs.from_raster`): its ground, with the rings, gains, noise and
gaps of a lidar. They share the map's own errors, which flatters every code alike; sweeps of another day say more
(``foldmap evaluate``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from foldmap.lidar.bundle import Bundle
from foldmap.lidar.codec import Decoder, encode_raster
from foldmap.lidar.fit_coder import raster_of
from foldmap.lidar.marks.fit import marks_in_memory
from foldmap.lidar.marks.model import MarksModel
from foldmap.lidar.normalize import spread_of
from foldmap.lidar.observation import Observation, extent_of
from foldmap.lidar.pairs.from_raster import RasterPairs
from foldmap.lidar.pairs.sampling import RasterPair
from foldmap.lidar.source import RasterMap, RasterSource
from foldmap.localize.estimate import Status
from foldmap.localize.evidence import MapCalibration
from foldmap.localize.lidar.calibrate import (
    UnfoldedRaster,
    attempt_pair,
    mirrored,
    observation_of,
    shuffled,
    worth_of,
)
from foldmap.localize.lidar.confidence import calibration_of
from foldmap.localize.protection import RISK

_MARGIN_M = 10.0
_PRIOR_M = 1.0
_LEAST_OBSERVED = 0.05
_LOST_OK = 0.05  # share of answers that a smaller code may lose against the best
_LOST_ERROR = 1.25  # and the factor by which its errors may be larger


@dataclass(frozen=True)
class CodeTrial:
    """What a code did on the places of a map: payload, and errors of all answers, right or refused."""

    model: str
    bit_per_m2: float
    median_m: float
    p95_m: float
    ok: float  # share of the places that were answered `ok`
    places: int

    def to_dict(self) -> dict[str, Any]:
        """As plain numbers."""
        return {name: round(value, 4) if isinstance(value, float) else value for name, value in asdict(self).items()}


def try_codes(
    models: Sequence[Bundle | MarksModel],
    source: RasterSource,
    places: int = 12,
    seed: int = 0,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> list[CodeTrial]:
    """Fold and localize with each model, in the order given; ``report`` is called with trials done and in all.

    A MapInputError where the map shows too little ground to place sweeps on.
    """
    resolution_m = source.grid.resolution_m
    pairs = _pairs(source, places, seed)
    trials = []
    for index, model in enumerate(models):
        found = []
        for done, pair in enumerate(pairs, start=1):
            found.append(_tried(model, pair, resolution_m, np.random.default_rng([seed, done])))
            report(index * places + done, len(models) * places)
        errors, ok, bits, ground_m2 = (np.array(column) for column in zip(*found, strict=True))
        rate = float(bits.sum() / max(ground_m2.sum(), 1e-9))
        middle, high = (float(np.quantile(errors, q)) for q in (0.5, 0.95))
        trials.append(CodeTrial(model.name, rate, middle, high, float(ok.mean()), places))
    return trials


def best_code(trials: Sequence[CodeTrial]) -> int:
    """The smallest of those that lose little against the best in answers, and in accuracy."""
    most_ok = max(trial.ok for trial in trials)
    answering = [k for k, trial in enumerate(trials) if trial.ok >= most_ok - _LOST_OK]
    least_m = min(trials[k].median_m for k in answering)
    accurate = [k for k in answering if trials[k].median_m <= _LOST_ERROR * max(least_m, 0.01)]
    return min(accurate, key=lambda k: trials[k].bit_per_m2)


def map_calibration(
    model: Bundle | MarksModel, source: RasterSource, places: int = 16, seed: int = 1
) -> MapCalibration:
    """What a map, folded with a model, is worth: by sweeps simulated on it, at their places and at others of it.

    They share the map's own errors, so what the model is worth elsewhere holds where that is less. A MapInputError
    where the map shows too little ground.
    """
    resolution_m, rng = source.grid.resolution_m, np.random.default_rng(seed)
    distances, distinctions = list[float](), list[float]()
    before: Observation | None = None
    for pair in _pairs(source, places, seed):
        opened, own = in_memory(model, raster_of(pair, resolution_m))[0], observation_of(pair, resolution_m)
        for _ in range(2):
            attempt, _, distance = attempt_pair(opened, pair, own, _PRIOR_M, rng)
            if attempt.estimate.status.has_pose:
                distances.append(distance)
        wrong = [shuffled(own, rng), mirrored(own), *([] if before is None else [before])]
        tried = [attempt_pair(opened, pair, one, _PRIOR_M, rng).attempt.features for one in wrong]
        distinctions += [one.distinction for one in tried if one is not None]
        before = own
    return own_or_worse(worth_of(distances, distinctions), calibration_of(SimpleNamespace(model=model)))


def own_or_worse(own: MapCalibration, usual: MapCalibration) -> MapCalibration:
    """A map's own calibration, with the errors of its model's where those are larger."""
    known = [one for one in (own, usual) if one.errors is not None]
    if not known:
        return own
    worst = max(known, key=lambda one: one.sigma_scale * (one.errors.exceeded_at(RISK) if one.errors else 0.0))
    return replace(own, sigma_scale=worst.sigma_scale, errors=worst.errors)


def _pairs(source: RasterSource, places: int, seed: int) -> RasterPairs:
    """Sweeps simulated at places of a map."""
    resolution_m = source.grid.resolution_m
    sweep_px = round(2 * extent_of(resolution_m)[0] / resolution_m)
    reach_px = sweep_px + 2 * round(_MARGIN_M / resolution_m)
    return RasterPairs(source, places, seed, map_px=reach_px, sweep_px=sweep_px, min_observed=_LEAST_OBSERVED)


def _tried(
    model: Bundle | MarksModel, pair: RasterPair, resolution_m: float, rng: np.random.Generator
) -> tuple[float, bool, float, float]:
    """Error in metres, whether it was `ok`, bits and m2 of one place."""
    raster = raster_of(pair, resolution_m)
    opened, payload_bytes = in_memory(model, raster)
    attempt, error_m, _ = attempt_pair(opened, pair, observation_of(pair, resolution_m), _PRIOR_M, rng)
    return error_m, attempt.estimate.status is Status.OK, 8 * payload_bytes, raster.observed_m2


def in_memory(model: Bundle | MarksModel, raster: RasterMap) -> tuple[Any, int]:
    """Fold a raster and open it, without a file: what the localizer takes, and the bytes of its payloads."""
    if isinstance(model, MarksModel):
        return marks_in_memory(model, raster)
    scale = model.model.preset.downsample
    height, width = (side // scale * scale for side in raster.grid.shape)
    whole = raster.read(0, 0, height, width)
    codes = encode_raster(model, whole, spread_of(whole.intensity, whole.observed, whole.grid.resolution_m))
    return UnfoldedRaster(Decoder(model), whole.grid, codes, scale), len(model.coder.encode(codes))
