"""Make a trained lidar model ready for use: fit its entropy coder, measure its rate, calibrate its localizer.

All three on what the model will be when it is read back (8-bit weights), and on training pairs; the rate and the
calibration on pairs that the coder was not fitted on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from foldmap.errors import ConfigError
from foldmap.geometry import SE2, MetricGrid
from foldmap.lidar.bundle import Bundle
from foldmap.lidar.codec import Decoder, known_of
from foldmap.lidar.fit_coder import HOLD_OUT, fit_coder, raster_of
from foldmap.lidar.marks.choose import MarkRecipe
from foldmap.lidar.marks.fit import fit_marks, marks_in_memory, turned_raster
from foldmap.lidar.marks.model import MarksModel
from foldmap.lidar.model import LidarModel
from foldmap.lidar.observation import Observation
from foldmap.lidar.pairs.sampling import RasterPair
from foldmap.lidar.source import cut_window
from foldmap.localize.evidence import MapCalibration, mahalanobis
from foldmap.localize.lidar.attempt import Attempt
from foldmap.localize.lidar.confidence import (
    DISTINCTION,
    Calibration,
    MatchFeatures,
    calibrate,
    calibrate_marks_against,
    decide,
)
from foldmap.localize.lidar.localizer import LidarLocalizer
from foldmap.localize.lidar.view import DecodedMap
from foldmap.localize.tail import LEAST, Tail
from foldmap.types import BoolArray, ByteArray, FloatArray

_EVERYWHERE_M = 1e3


class UnfoldedRaster:
    """One raster that went through the codec in memory: a `DecodedMap` without a file.

    Its localizer has the thresholds of the model, where one is given.
    """

    def __init__(
        self, decoder: Decoder, grid: MetricGrid, codes: ByteArray, downsample: int, model: Bundle | None = None
    ) -> None:
        self.grid, self.model = grid, model
        self.embed_observation = decoder.embed_observation
        self._embedding, self._known = decoder.decode(codes), known_of(codes, downsample)

    def embedding(self, grid: MetricGrid) -> tuple[FloatArray, BoolArray]:
        """Cut a window of the decoded raster; zero and unknown beyond it."""
        row = round((self.grid.north_m - grid.north_m) / grid.resolution_m)
        column = round((grid.west_m - self.grid.west_m) / grid.resolution_m)
        embedding, known = (cut_window(of, row, column, *grid.shape) for of in (self._embedding, self._known))
        return embedding, known


class PairAttempt(NamedTuple):
    """A localization of a pair: the attempt, and how far its best pose is from the pair's.

    In metres, and in standard deviations of the match itself; both infinite where nothing was matched.
    """

    attempt: Attempt
    error_m: float
    distance: float


class PairMatches(NamedTuple):
    """Features of matches with the right maps, at the right place, and with wrong ones.

    And of all matches with the right maps, how many sigmas they are off.
    """

    right: list[MatchFeatures]
    wrong: list[MatchFeatures]
    distances: list[tuple[MatchFeatures, float]]


class CalibratedBundle(NamedTuple):
    """A model ready to ship, and how its thresholds do on held-out pairs."""

    bundle: Bundle
    calibration: Calibration


def calibrate_model(
    model: LidarModel,
    pairs: Sequence[RasterPair],
    resolution_m: float,
    name: str,
    provenance: dict[str, Any],
    *,
    wrong: int = 500,
    radius_m: float = 1.0,
    seed: int = 0,
    report: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> CalibratedBundle:
    """Fit, measure and calibrate: on at least 80 pairs, with priors off by up to `radius_m` along each axis.

    `wrong` is how many wrong, blank and shuffled queries right matches are told from; the rest is as in `fit_coder`.
    `report` is called with a task, what is done of it and in all. A ConfigError where too few pairs are matched.
    """
    if len(pairs) < 20 * HOLD_OUT:
        raise ConfigError(f"{len(pairs)} pairs are too few to calibrate on", f"give {20 * HOLD_OUT} or more")
    coded = fit_coder(
        model, pairs, resolution_m, name, provenance, turned=True, report=lambda done, of: report("encode", done, of)
    )
    decoder, scale = Decoder(coded.bundle), model.preset.downsample
    places = zip(coded.rasters, coded.codes, strict=True)
    maps = [UnfoldedRaster(decoder, raster.grid, codes, scale) for raster, codes in places]
    held = range(0, len(pairs), HOLD_OUT)
    found = match_features(maps, pairs, resolution_m, held, wrong, radius_m, seed, report)
    calibration = calibrate(found.right, found.wrong)
    return CalibratedBundle(replace(coded.bundle, thresholds=calibration.thresholds.to_dict()), calibration)


def calibrate_marks(
    recipe: MarkRecipe,
    pairs: Sequence[RasterPair],
    resolution_m: float,
    name: str,
    provenance: dict[str, Any],
    *,
    wrong: int = 500,
    seed: int = 0,
    report: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> tuple[MarksModel, Calibration]:
    """Fit the coders of marks, measure their rate, calibrate the localizer; as `calibrate_model`.

    The maps are turned at random first: real streets run in all directions.
    """
    if len(pairs) < 20 * HOLD_OUT:
        raise ConfigError(f"{len(pairs)} pairs are too few to calibrate on", f"give {20 * HOLD_OUT} or more")
    rasters = [raster_of(pair, resolution_m) for pair in pairs]
    rng = np.random.default_rng(seed)
    model = fit_marks(
        recipe, [turned_raster(one, float(rng.uniform(-math.pi, math.pi))) for one in rasters], name, provenance,
        report=lambda done, of: report("encode", done, of),
    )  # fmt: skip
    maps = [marks_in_memory(model, raster)[0] for raster in rasters]
    # the localizer's errors do not know which maps the coder was fitted on
    found = match_features(maps, pairs, resolution_m, range(len(pairs)), wrong, 1.0, seed, report)
    marks = sum(len(one.marks_near(0.0, 0.0, _EVERYWHERE_M)) for one in maps)
    density = marks / sum(raster.observed_m2 for raster in rasters)
    calibration = calibrate_marks_against(found.wrong, found.right, density)
    answered = [distance for one, distance in found.distances if decide(one, calibration.thresholds)[0].has_pose]
    worth = worth_of(answered, []).to_dict()  # what chance reaches is in the thresholds
    return replace(model, thresholds=calibration.thresholds.to_dict(), calibration=worth), calibration


def worth_of(distances: Sequence[float], reached: Sequence[float]) -> MapCalibration:
    """What right answers' distances, and the distinction of wrong ones, say; of what there are too few, nothing.

    Both are of generated sweeps, whose errors are smaller than real ones at best: sigmas are never taken down.
    """
    known = np.asarray(reached, np.float64)
    chance = {DISTINCTION: Tail.of(known)} if len(known) >= LEAST else {}
    found = MapCalibration(chance, negatives=len(known))
    if len(distances) < LEAST:
        return found
    scale = max(1.0, found.with_errors(np.asarray(distances), 2).sigma_scale)
    errors = Tail.of(np.asarray(distances) / scale)
    return replace(found, sigma_scale=scale, errors=errors, answers=len(distances))


def observation_of(pair: RasterPair, resolution_m: float) -> Observation:
    """What the vehicle of a pair sees."""
    half_width_m, half_length_m = (0.5 * side * resolution_m for side in pair.sweep_observed.shape)
    return Observation(pair.sweep_intensity, pair.sweep_observed, resolution_m, half_length_m, half_width_m)


def attempt_pair(
    folded: DecodedMap, pair: RasterPair, observation: Observation, radius_m: float, rng: np.random.Generator
) -> PairAttempt:
    """Localize an observation in the map of a pair, from a prior that is off by up to a radius and 5 degrees."""
    resolution_m = observation.resolution_m
    east_m, south_m = (resolution_m * pair.shift_px[axis] for axis in (1, 0))
    away_m = rng.uniform(-radius_m, radius_m, 2)
    prior = SE2(float(away_m[0]) + east_m, float(away_m[1]) - south_m, math.radians(rng.uniform(-5, 5)))
    attempt = LidarLocalizer.open(folded).attempt(observation, prior, 1.5 * radius_m)
    if attempt.match is None:
        return PairAttempt(attempt, math.inf, math.inf)
    true = prior.inverse() @ SE2(east_m, -south_m, 0.0)
    error_m = np.array([attempt.match.offset.x_m - true.x_m, attempt.match.offset.y_m - true.y_m])
    distance = mahalanobis(error_m, attempt.match.covariance[:2, :2])
    return PairAttempt(attempt, float(np.hypot(*error_m)), distance)


def match_features(
    maps: Sequence[DecodedMap],
    pairs: Sequence[RasterPair],
    resolution_m: float,
    held: Sequence[int],
    wrong: int,
    radius_m: float = 1.0,
    seed: int = 0,
    report: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> PairMatches:
    """Features of matches with the right map, for the pairs held out, and with wrong maps, shuffled and blank ones.

    A map a pair, centred on the origin.
    """
    rng = np.random.default_rng(seed)
    found = PairMatches([], [], [])

    def attempt(place: int, observation: Observation, into: list[MatchFeatures], accept_m: float) -> None:
        result, error_m, distance = attempt_pair(maps[place], pairs[place], observation, radius_m, rng)
        if result.features is None:
            return
        if error_m <= accept_m:
            into.append(result.features)
        if into is found.right:
            found.distances.append((result.features, distance))

    for index in held:
        attempt(index, observation_of(pairs[index], resolution_m), found.right, 3 * max(resolution_m, 0.1))
        report("right matches", len(found.right), len(held))
    for index in range(wrong):
        place = int(rng.integers(len(maps)))
        other = int((place + rng.integers(1, len(pairs))) % len(pairs))
        observation = observation_of(pairs[other], resolution_m)
        if index % 3:
            observation = (shuffled if index % 3 == 1 else blank_like)(observation, rng)
        attempt(place, observation, found.wrong, math.inf)
        report("wrong matches", index + 1, wrong)
    return found


def shuffled(observation: Observation, rng: np.random.Generator) -> Observation:
    """The same returns in 16-pixel blocks in another order: right statistics, no place."""
    side = 16
    height, width = (length // side * side for length in observation.observed.shape)
    blocks = [np.s_[r : r + side, c : c + side] for r in range(0, height, side) for c in range(0, width, side)]
    intensity, observed = np.zeros_like(observation.intensity), np.zeros_like(observation.observed)
    for block, k in zip(blocks, rng.permutation(len(blocks)), strict=True):
        intensity[block] = observation.intensity[blocks[int(k)]]
        observed[block] = observation.observed[blocks[int(k)]]
    return replace(observation, intensity=intensity, observed=observed)


def mirrored(observation: Observation) -> Observation:
    """Left for right."""
    intensity, observed = np.flipud(observation.intensity).copy(), np.flipud(observation.observed).copy()
    return replace(observation, intensity=intensity, observed=observed)


def blank_like(observation: Observation, rng: np.random.Generator) -> Observation:
    """The same pixels observed, with nothing on the ground but noise."""
    noise = rng.normal(0.3, 0.02, observation.intensity.shape).astype(np.float32)
    return replace(observation, intensity=np.where(observation.observed, noise, 0).astype(np.float32))
