"""One observation in a window of the map: matched, judged, and answered; coarse to fine where the window is wide."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

import numpy as np

from foldmap.errors import ConfigError
from foldmap.geometry import SE2, wrap_rad
from foldmap.lidar.marks.unfold import MarksMap
from foldmap.lidar.match.exhaustive import coarse_headings_rad
from foldmap.lidar.observation import Observation
from foldmap.localize.estimate import Estimate, Status, largest_sigma
from foldmap.localize.evidence import MapCalibration
from foldmap.localize.lidar.blocks import MODE_RADIUS_M
from foldmap.localize.lidar.chance import heading_range, trials_of
from foldmap.localize.lidar.confidence import (
    ConfidenceThresholds,
    LidarDiagnostics,
    LidarEstimate,
    MatchFeatures,
    calibration_of,
    decide,
    raised,
)
from foldmap.localize.lidar.dense import CANDIDATE_RADIUS_M, DenseMatcher, WindowMatcher
from foldmap.localize.lidar.marks import MarksMatcher
from foldmap.localize.lidar.search import WindowMatch
from foldmap.localize.lidar.view import DecodedMap, check_resolution
from foldmap.localize.lidar.whole_map import WholeMap, places_around
from foldmap.types import DoubleArray

_GUARD_PX = 3  # searched beyond the radius asked for, so that a pose at that radius is not at the rim
_WIDE_M = 4.0
SHARED_M = 0.04
"""Standard deviation of what all blocks share: errors of the map and its cells, motion within a revolution."""
_RIVAL_SHARE = 0.85
_CANDIDATES, _NEAR_RAD = 4, math.radians(2.5)


@dataclass(frozen=True)
class Attempt:
    """One localization with all that led to it: the estimate, and the match unless there was nothing to match."""

    estimate: LidarEstimate
    match: WindowMatch | None

    @property
    def features(self) -> MatchFeatures | None:
        """For calibration."""
        return self.match.features if self.match else None


class LidarMatcher:
    """Matches observations with a map, and judges the matches by thresholds."""

    def __init__(self, folded: DecodedMap, thresholds: ConfidenceThresholds) -> None:
        self.thresholds = thresholds
        self.folded = folded

    @property
    def folded(self) -> DecodedMap:
        """The map; another one may be put in its place."""
        return self._folded

    @folded.setter
    def folded(self, folded: DecodedMap) -> None:
        self._folded, self.calibration = folded, calibration_of(folded)
        self._matcher: WindowMatcher = MarksMatcher(folded) if isinstance(folded, MarksMap) else DenseMatcher(folded)

    def whole_map(self) -> WholeMap | None:
        """What searches all of the map; None where it is not of marks, or too large."""
        whole = WholeMap(self.folded) if isinstance(self.folded, MarksMap) else None
        return whole if whole is not None and whole.fits else None

    def fits_elsewhere(self, observation: Observation, pose: SE2, least: float) -> str:
        """Where within 100 m of a pose an observation fits with a score of ``least``, in words; empty where nowhere.

        What fits is as sharp as an answer that is `ok`; streets are their own mirror images, so that needs no
        distinction. Of marks alone: other codes take too long to search.
        """
        sharp = replace(self.thresholds, warn_distinction=0.0)
        if not isinstance(self.folded, MarksMap):
            return ""
        for place in places_around(self.folded, observation, pose)[:_CANDIDATES]:
            there = self.attempt_window(observation, place, CANDIDATE_RADIUS_M, coarse_headings_rad(_NEAR_RAD, 11))
            found = there.features
            if found is not None and found.score >= least and decide(found, sharp)[0] is Status.OK:
                return f"it fits {_apart_m(place, pose):.0f} m away with a score of {found.score:.3f}"
        return ""

    def attempt(
        self,
        observation: Observation,
        prior: SE2,
        radius_m: float = 1.0,
        heading_range_rad: float = math.radians(5.0),
        heading_count: int = 11,
    ) -> Attempt:
        """Match one observation near a prior.

        Up to 4 m the search is exhaustive at full resolution. A wider one looks for candidates at a quarter of it,
        attempts each, and answers `ambiguous` when two places match almost equally well.

        Args:
            observation: at the map's resolution; a ConfigError where it is of another.
            prior: world_SE2_vehicle; a PoseInputError where it is not finite.
            radius_m: half the window, along the prior's axes.
            heading_range_rad: searched to either side of the prior's heading.
            heading_count: headings of the first pass, odd.
        """
        headings = coarse_headings_rad(heading_range_rad, heading_count)
        if radius_m <= _WIDE_M:
            return self.attempt_window(observation, prior, radius_m, headings)
        start_s = time.perf_counter()
        check_resolution(self.folded, observation)
        near = coarse_headings_rad(_NEAR_RAD, 11)
        among = trials_of(radius_m, heading_range_rad, self.folded.grid.resolution_m)
        attempts = [
            self.attempt_window(observation, centre, CANDIDATE_RADIUS_M, near, among)
            for centre in self._matcher.candidates(observation, prior, radius_m, heading_range_rad)
        ]
        if not attempts:
            return _nothing(Status.NO_MAP, "there is no map around the prior", 0.0, start_s)
        best = max(attempts, key=lambda a: a.features.score if a.features else -math.inf)
        diagnostics = replace(best.estimate.diagnostics, time_s=time.perf_counter() - start_s)
        pose = best.estimate.pose
        if pose is None:
            return replace(best, estimate=replace(best.estimate, diagnostics=diagnostics))
        rival = _rival_m(best, attempts)
        if rival is not None:
            diagnostics = replace(diagnostics, reason=f"a place {rival:.1f} m away fits as well")
            return Attempt(Estimate.without_pose(Status.AMBIGUOUS, diagnostics), best.match)
        turned_rad = wrap_rad(pose.heading_rad - prior.heading_rad)
        diagnostics = replace(diagnostics, prior_distance_m=_apart_m(pose, prior), prior_turn_rad=turned_rad)
        return replace(best, estimate=replace(best.estimate, diagnostics=diagnostics))

    def attempt_window(
        self,
        observation: Observation,
        prior: SE2,
        radius_m: float,
        headings_rad: DoubleArray,
        trials: float | None = None,
    ) -> Attempt:
        """Search +-radius_m (along the prior's axes) and the headings around a prior, exhaustively; else as `attempt`.

        Headings are relative to the prior's, ascending, evenly spaced. The window may have been chosen among so many
        poses that could be told apart (`trials_of`); without that, chance had the window's own.
        """
        start_s = time.perf_counter()
        resolution_m, least = check_resolution(self.folded, observation), self.thresholds.reject_observed_fraction
        if not (math.isfinite(radius_m) and radius_m >= 0):
            raise ConfigError(f"a search radius of {radius_m} m", "give a finite radius >= 0")
        seen = float(observation.observed.mean())
        if seen < least:
            return _nothing(Status.NO_OBSERVATION, f"observed_fraction {seen:.4f} < {least:g}", seen, start_s)
        radius_px = math.ceil(radius_m / resolution_m - 1e-9) + _GUARD_PX
        match = self._matcher.match(observation, prior, radius_px, headings_rad, least)
        if match is None:
            return _nothing(Status.NO_MAP, "there is no map around the prior", 0.0, start_s)
        match = _judged(match, self.calibration, trials, trials_of(radius_m, heading_range(headings_rad), resolution_m))
        status, reason = decide(match.features, raised(self.thresholds, self.calibration))
        diagnostics = _diagnostics(match, reason, start_s)
        if not status.has_pose:
            return Attempt(Estimate.without_pose(status, diagnostics), match)
        cos, sin = math.cos(prior.heading_rad), math.sin(prior.heading_rad)
        turn = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
        covariance = turn @ self.calibration.scaled(match.covariance) @ turn.T
        covariance = 0.5 * (covariance + covariance.T)
        errors = self.calibration.errors
        return Attempt(Estimate(status, prior @ match.offset, covariance, diagnostics, errors=errors), match)


def _judged(match: WindowMatch, calibration: MapCalibration, among: float | None, own: float) -> WindowMatch:
    """A match with what its blocks cannot tell: errors that they share, and among how many poses it was found."""
    covariance = match.covariance + np.diag([SHARED_M**2, SHARED_M**2, 0.0])
    sigma_m = largest_sigma(calibration.scaled(covariance[:2, :2]))
    features = replace(match.features, sigma_m=sigma_m)
    if among is not None:
        more = math.log10(max(1.0, among / own))
        left = {name: max(0.0, getattr(features, name) - more) for name in ("surprise", "distinction")}
        features = replace(features, **left)
    return replace(match, covariance=covariance, features=features)


def _rival_m(best: Attempt, attempts: list[Attempt]) -> float | None:
    """Distance of another place that matches almost as well as the best, if there is one."""
    known = [(one.estimate.pose, one.features) for one in (best, *attempts)]
    posed = [(pose, features.score) for pose, features in known if pose is not None and features is not None]
    here, most = posed[0]
    away_m = (_apart_m(here, pose) for pose, score in posed if score > _RIVAL_SHARE * most)
    return next((apart_m for apart_m in away_m if apart_m > MODE_RADIUS_M), None)


def _apart_m(a: SE2, b: SE2) -> float:
    return math.hypot(a.x_m - b.x_m, a.y_m - b.y_m)


def _nothing(status: Status, reason: str, observed_fraction: float, start_s: float) -> Attempt:
    diagnostics = LidarDiagnostics(reason, time.perf_counter() - start_s, observed_fraction=observed_fraction)
    return Attempt(Estimate.without_pose(status, diagnostics), None)


def _diagnostics(match: WindowMatch, reason: str, start_s: float) -> LidarDiagnostics:
    named = {name: value for name, value in vars(match.features).items() if name not in ("known_fraction", "at_edge")}
    return LidarDiagnostics(
        reason,
        time.perf_counter() - start_s,
        **named,
        prior_distance_m=math.hypot(match.offset.x_m, match.offset.y_m),
        prior_turn_rad=wrap_rad(match.offset.heading_rad),
        entropy=match.entropy,
    )
