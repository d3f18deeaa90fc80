"""Which code suits a map: candidates are folded and localized in, at some places of this very map.

What is localized there are held-out sweeps of the drive that made the map (`foldmap.lidar.pairs.from_sweeps`): their
map is built without them and without 15 frames on each side. Where no sweeps are at hand they are simulated on the map
(`foldmap.lidar.pairs.from_raster`): its ground, with the rings, gains, noise and gaps of a lidar. Simulated ones share
the map's own errors, which flatters every code alike; sweeps of another day say more (``foldmap evaluate``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from foldmap.geometry import SE2
from foldmap.lidar.bundle import Bundle
from foldmap.lidar.codec import Decoder, encode_raster
from foldmap.lidar.defaults import step_of
from foldmap.lidar.fit_coder import raster_of
from foldmap.lidar.fold import stored_model
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
from foldmap.localize.lidar.confidence import calibration_of, decide, thresholds_of
from foldmap.localize.lidar.localizer import LidarLocalizer
from foldmap.localize.lidar.view import DecodedMap
from foldmap.localize.protection import RISK
from foldmap.localize.tail import LEAST, Tail
from foldmap.types import DoubleArray

SIMULATED, HELD_OUT = "simulated", "held out"
"""Kinds of sweeps that codes are tried with."""
_MARGIN_M = 10.0
_PRIOR_M = 1.0
_LEAST_OBSERVED = 0.05
_FAR_M = 1e6
_WIDE_M, _RIVALS = 4.5, 0.1  # searched for what a wrong query reaches at best; how many may score higher
_REAL = 0.9  # real sweeps score a little less than simulated ones
_LOST_ANSWERS, _LOST_M = 0.5, 0.15  # fewer places `ok`, at a larger median error: the place is lost in a code
_LOST_OK = 0.05  # share of answers that a smaller code may lose against the best
_LOST_ERROR = 1.25  # the factor by which its errors may be larger,
_LOST_TAIL, _NEAR_M = 2.0, 0.1  # and its 95th percentile, which a few places tell roughly, beyond what is near


@dataclass(frozen=True)
class CodeTrial:
    """What a code did on the places of a map: payload, and errors of all answers, right or refused.

    A file also holds ``model_bytes`` of its model: next to nothing of one that ships, all of another.
    """

    model: str
    bit_per_m2: float
    median_m: float
    p95_m: float
    ok: float  # share of the places that were answered `ok`
    places: int
    sweeps: str = SIMULATED
    model_bytes: int = 0

    def bytes_of(self, observed_m2: float) -> float:
        """What a map of so much ground takes in this code."""
        return self.bit_per_m2 * observed_m2 / 8 + self.model_bytes

    def to_dict(self) -> dict[str, Any]:
        """As plain numbers; an infinite error, where nothing was matched, is "inf"."""
        rounded = {name: round(value, 4) if isinstance(value, float) else value for name, value in asdict(self).items()}
        return {name: "inf" if value == math.inf else value for name, value in rounded.items()}


def trial_sizes_px(resolution_m: float) -> tuple[int, int]:
    """Sides of the map and of the sweep image of a place where codes are tried."""
    sweep_px = round(2 * extent_of(resolution_m)[0] / resolution_m)
    return sweep_px + 2 * round(_MARGIN_M / resolution_m), sweep_px


def simulated_places(source: RasterSource, places: int = 12, seed: int = 0) -> RasterPairs:
    """Places with sweeps simulated there; asked for one, a MapInputError where too little of the map is observed."""
    map_px, sweep_px = trial_sizes_px(source.grid.resolution_m)
    return RasterPairs(source, places, seed, map_px=map_px, sweep_px=sweep_px, min_observed=_LEAST_OBSERVED)


def try_codes(
    models: Sequence[Bundle | MarksModel],
    pairs: Sequence[RasterPair],
    resolution_m: float,
    *,
    sweeps: str = SIMULATED,
    seed: int = 0,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> list[CodeTrial]:
    """Fold and localize with each model, in the order given, at the places of some pairs.

    ``sweeps`` says of which kind those of the pairs are; ``report`` is called with trials done and in all. A
    MapInputError where the map shows too little ground to place sweeps on.
    """
    found: list[list[tuple[float, bool, float, float]]] = [[] for _ in models]
    for place in range(len(pairs)):
        pair = pairs[place]  # made once for all: each may take seconds
        for index, model in enumerate(models):
            rng = np.random.default_rng([seed, place + 1])
            found[index].append(_tried(model, pair, resolution_m, rng))
            report(place * len(models) + index + 1, len(models) * len(pairs))
    trials = []
    for model, rows in zip(models, found, strict=True):
        errors, ok, bits, ground_m2 = (np.array(column) for column in zip(*rows, strict=True))
        rate = float(bits.sum() / max(ground_m2.sum(), 1e-9))
        middle, high = (_quantile(errors, q) for q in (0.5, 0.95))
        stored = len(stored_model(model))
        trials.append(CodeTrial(model.name, rate, middle, high, float(ok.mean()), len(rows), sweeps, stored))
    return trials


def _quantile(errors_m: DoubleArray, share: float) -> float:
    """Between neighbours, of which the upper may be infinite."""
    value = float(np.quantile(np.minimum(errors_m, _FAR_M), share))
    return math.inf if value >= 0.01 * _FAR_M else value


def best_code(trials: Sequence[CodeTrial], observed_m2: float) -> int:
    """The smallest, for a map of so much ground, of those that lose little against the best in answers and accuracy."""
    most_ok = max(trial.ok for trial in trials)
    answering = [k for k, trial in enumerate(trials) if trial.ok >= most_ok - _LOST_OK]
    least_m = min(trials[k].median_m for k in answering)
    accurate = [k for k in answering if trials[k].median_m <= _LOST_ERROR * max(least_m, 0.01)]
    tail_m = _LOST_TAIL * max(min(trials[k].p95_m for k in accurate), _NEAR_M)
    return min((k for k in accurate if trials[k].p95_m <= tail_m), key=lambda k: trials[k].bytes_of(observed_m2))


def loses_the_place(trials: Sequence[CodeTrial]) -> bool:
    """Whether the best of some codes is right or sure at hardly any place: then richer ones are worth trying."""
    return max(one.ok for one in trials) < _LOST_ANSWERS and min(one.median_m for one in trials) > _LOST_M


def map_calibration(
    model: Bundle | MarksModel, source: RasterSource, places: int = 16, seed: int = 1
) -> MapCalibration:
    """What a map, folded with a model, is worth: by sweeps simulated on it, at their places and at others of it.

    They share the map's own errors, so what the model is worth elsewhere holds where that is less. A wrong query that
    is refused by what else must hold needs no distinction to be refused by, and counts as one of none. A MapInputError
    where the map shows too little ground.
    """
    rng = np.random.default_rng(seed)
    others = replace(thresholds_of(SimpleNamespace(model=model)), warn_distinction=0.0)
    distances, distinctions = list[float](), list[float]()
    fits, rivals = list[float](), list[float]()
    before = list[Observation]()
    for drawn in simulated_places(source, places, seed):
        pair, resolution_m = in_pixels_of(model, drawn, source.grid.resolution_m)
        opened, own = in_memory(model, raster_of(pair, resolution_m))[0], observation_of(pair, resolution_m)
        for _ in range(2):
            attempt, _, distance = attempt_pair(opened, pair, own, _PRIOR_M, rng)
            if attempt.estimate.status.has_pose:
                distances.append(distance)
            if attempt.features is not None:
                fits.append(attempt.features.score)
        if isinstance(model, MarksModel):
            rivals += [_best_score(opened, one) for one in (mirrored(own), *before[-1:])]
        wrong = [shuffled(own, rng), shuffled(own, rng), mirrored(own), *before]
        tried = [attempt_pair(opened, pair, one, _PRIOR_M, rng).attempt.features for one in wrong]
        for one in tried:
            passes = one is not None and decide(one, others)[0] is Status.OK
            distinctions.append(one.distinction if one is not None and passes else 0.0)
        before = [*before[-1:], own]
    worth = own_or_worse(worth_of(distances, distinctions), calibration_of(SimpleNamespace(model=model)))
    if len(rivals) < LEAST:
        return worth
    return replace(worth, fit=_REAL * float(np.median(fits)), rival=Tail.of(np.array(rivals)).exceeded_at(_RIVALS))


def _best_score(opened: DecodedMap, observation: Observation) -> float:
    """The best of the middle of a map at whatever heading, of an observation that was made elsewhere."""
    features = LidarLocalizer.open(opened).attempt(observation, SE2(0.0, 0.0, 0.0), _WIDE_M, math.pi).features
    return 0.0 if features is None else features.score


def own_or_worse(own: MapCalibration, usual: MapCalibration) -> MapCalibration:
    """A map's own calibration, with the errors of its model's where those are larger."""
    known = [one for one in (own, usual) if one.errors is not None]
    if not known:
        return own
    worst = max(known, key=lambda one: one.sigma_scale * (one.errors.exceeded_at(RISK) if one.errors else 0.0))
    return replace(own, sigma_scale=worst.sigma_scale, errors=worst.errors)


def _tried(
    model: Bundle | MarksModel, pair: RasterPair, resolution_m: float, rng: np.random.Generator
) -> tuple[float, bool, float, float]:
    """Error in metres, whether it was `ok`, bits and m2 of one place."""
    observed_m2 = float(pair.map_observed.sum()) * resolution_m**2  # of the map as it was brought
    pair, resolution_m = in_pixels_of(model, pair, resolution_m)
    opened, payload_bytes = in_memory(model, raster_of(pair, resolution_m))
    attempt, error_m, _ = attempt_pair(opened, pair, observation_of(pair, resolution_m), _PRIOR_M, rng)
    return error_m, attempt.estimate.status is Status.OK, 8 * payload_bytes, observed_m2


def in_pixels_of(model: Bundle | MarksModel, pair: RasterPair, resolution_m: float) -> tuple[RasterPair, float]:
    """A pair in the pixels that a map is folded in with a model (`foldmap.lidar.defaults.step_of`), and their size."""
    step = max(1, step_of(model, resolution_m))
    return (pair if step == 1 else pair.reduced(step)), step * resolution_m


def in_memory(model: Bundle | MarksModel, raster: RasterMap) -> tuple[Any, int]:
    """Fold a raster and open it, without a file: what the localizer takes, and the bytes of its payloads."""
    if isinstance(model, MarksModel):
        return marks_in_memory(model, raster)
    scale = model.model.preset.downsample
    height, width = (side // scale * scale for side in raster.grid.shape)
    whole = raster.read(0, 0, height, width)
    codes = encode_raster(model, whole, spread_of(whole.intensity, whole.observed, whole.grid.resolution_m))
    return UnfoldedRaster(Decoder(model), whole.grid, codes, scale, model), len(model.coder.encode(codes))
