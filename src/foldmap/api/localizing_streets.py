"""Localize what a street layer takes in an open map: aerial crops, an ortho image with poses, camera rings, pairs."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from foldmap.api.observing_streets import StreetSource
from foldmap.api.opened import FoldedMap
from foldmap.api.results import Begin, Localized, LocalizedObservation, silent
from foldmap.api.street_layers import layer_model, one_region
from foldmap.errors import ConfigError
from foldmap.formats.crs import moved_poses
from foldmap.formats.street.observations.poses import PoseTable, read_pose_table
from foldmap.geometry import SE2
from foldmap.localize.evidence import MapCalibration
from foldmap.localize.street.estimate import StreetEstimate
from foldmap.localize.street.lane_places import LanePlaces
from foldmap.localize.street.localizer import StreetLocalizer
from foldmap.localize.street.settings import StreetPrior, StreetSettings
from foldmap.metrics.pose import pose_errors
from foldmap.metrics.retrieval import localization_scores


@dataclass(frozen=True)
class LocalizedInStreets(Localized):
    """What was answered in a street map: beliefs are over `places`; the truth is world_SE2_vehicle, if it was given."""

    places: LanePlaces
    truth: Sequence[SE2]

    def heat_map(self, number: int | None) -> bytes:
        """PNG of the belief over a street map after one observation, counted from 1; the last where None."""
        from foldmap.report.street_map import street_map

        number = len(self.observations) if number is None else number
        if not 1 <= number <= len(self.observations):
            raise ConfigError(f"there is no observation {number}", f"give 1 to {len(self.observations)}")
        answer = self.observations[number - 1]
        title = f"{answer.name}: {answer.estimate.status.value}"
        return street_map(self.places, answer.estimate.belief, self.truth[:number], answer.estimate, title)


def localize_streets(
    town: FoldedMap,
    source: StreetSource,
    *,
    prior: Path | None = None,
    radius_m: float = 64.0,
    compass_deg: float | None = None,
    drive: Path | None = None,
    truth: Path | None = None,
    region: str | None = None,
    step_m: float = 2.0,
    temperature: float | None = None,
    min_similarity: float | None = None,
    model: Path | None = None,
    begin: Begin = silent,
) -> LocalizedInStreets:
    """Localize observations in a street map, one by one or with a filter along a drive.

    A prior is a position an observation (with `drive`, of the first one), right to `radius_m`; its heading counts where
    `compass_deg`, its standard deviation, is given. Priors and truth are in the map's frame; where they are the file
    that an ortho image's poses are read from, they are brought there from the image's. `drive` is odometry, of which
    increments count. Temperature and least similarity belong to the model.
    """
    if not (math.isfinite(radius_m) and radius_m > 0 and math.isfinite(step_m) and step_m > 0):
        raise ConfigError(f"a prior of {radius_m} m, places every {step_m} m", "give positive metres")
    if compass_deg is not None and prior is None:
        raise ConfigError("a compass belongs to a prior", "give --prior FILE.csv with headings")
    layer = town.street
    embedder = layer_model(layer, model)
    seen = source.open(embedder.window)
    name = one_region([one.name for one in layer.regions], region, seen.maps)
    table = partial(_table, source=source, frames=(seen.crs, layer.region(name).crs or ""))
    priors = (
        None if prior is None else _street_priors(table(prior), seen.names, drive is not None, radius_m, compass_deg)
    )
    track = None if drive is None else read_pose_table(drive).for_observations(seen.names)
    true = None if truth is None else table(truth).for_observations(seen.names).poses()
    settings = StreetSettings.of(embedder, MapCalibration.read(layer.parameters, "street"))
    if temperature is not None:
        settings = replace(settings, temperature=temperature)
    if min_similarity is not None:
        settings = replace(settings, thresholds=replace(settings.thresholds, reject_score=min_similarity))
    near, report = priors if track is None else None, begin("Embedding the map")
    localizer = StreetLocalizer.open(
        layer, settings, region=name, model=embedder, step_m=step_m, near=near, report=report
    )
    rows = seen.embedded(embedder, begin("Looking at images"))
    if track is None:
        near_each: Sequence[StreetPrior | None] = priors or [None] * len(rows)
        estimates = [localizer.localize(row, where) for row, where in zip(rows, near_each, strict=True)]
    else:
        running, poses = localizer.start(priors[0] if priors else None), track.poses()
        odometry = [None, *(before.inverse() @ after for before, after in itertools.pairwise(poses))]
        estimates = [running.step(row, moved) for row, moved in zip(rows, odometry, strict=True)]
    times = range(len(seen)) if track is None or track.times_s is None else track.times_s.tolist()
    localized = [
        LocalizedObservation(name, f"{at:.6f}", estimate)
        for name, at, estimate in zip(seen.names, times, estimates, strict=True)
    ]
    told = {"region": name, "places": len(localizer.places)} | ({} if true is None else _recall(estimates, true))
    chosen = {"localizer": asdict(settings)}
    return LocalizedInStreets(localized, chosen, told, seen.notes, localizer.places, true or [])


def _table(path: Path, source: StreetSource, frames: tuple[str, str]) -> PoseTable:
    """Poses in the map's frame: the file of an ortho image's poses is in the image's, which may be another."""
    table = read_pose_table(path)
    if source.poses is None or not all(frames) or path.resolve() != source.poses.resolve():
        return table
    given = [SE2(x, y, 0.0) for x, y in table.xy_m.tolist()] if table.heading_rad is None else table.poses()
    moved = moved_poses(given, *frames, str(path))
    xy, headings = np.array([(one.x_m, one.y_m) for one in moved]), np.array([one.heading_rad for one in moved])
    return replace(table, xy_m=xy, heading_rad=None if table.heading_rad is None else headings)


def _street_priors(
    table: PoseTable, names: Sequence[str], drive: bool, radius_m: float, compass_deg: float | None
) -> list[StreetPrior]:
    """Priors of observations; of a drive the file may have the first alone."""
    if not (drive and len(table) == 1):
        table = table.for_observations(names)
    sigma_rad = math.radians(20.0 if compass_deg is None else compass_deg)
    headings = [None] * len(table) if compass_deg is None else [pose.heading_rad for pose in table.poses()]
    rows = zip(table.xy_m.tolist(), headings, strict=True)
    return [StreetPrior(x, y, radius_m, heading, sigma_rad) for (x, y), heading in rows]


def _recall(estimates: Sequence[StreetEstimate], truth: Sequence[SE2]) -> dict[str, Any]:
    """How far guesses are off, over all observations."""
    guesses = [one.guess for one in estimates]
    scores, away_m = localization_scores(truth, guesses), pose_errors(truth, guesses).total_m
    answered = np.array([one.pose is not None for one in estimates])
    return {
        "recall_at_m": {f"{limit:g}": round(share, 4) for limit, share in scores.recall.items()},
        "last_guess_error_m": round(float(away_m[-1]), 3),
        "answered_within_5m": round(float((away_m[answered] <= 5).mean()), 4) if answered.any() else None,
        "median_error_m": round(scores.median_m, 3),
        "median_heading_error_deg": round(scores.heading_median_deg, 3),
    }
