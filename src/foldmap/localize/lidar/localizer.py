"""The lidar localizer: once from a prior, or over time with a histogram filter (eq. 1-5, 8)."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace

import numpy as np

from foldmap.errors import ConfigError
from foldmap.geometry import SE2, wrap_rad
from foldmap.lidar.match.rotate import turned_images
from foldmap.lidar.observation import Observation
from foldmap.localize.estimate import Estimate, Status, largest_sigma
from foldmap.localize.lidar.attempt import SHARED_M, Attempt, LidarMatcher
from foldmap.localize.lidar.confidence import (
    ConfidenceThresholds,
    LidarDiagnostics,
    LidarEstimate,
    doubted,
    faint,
    raised,
    tells_the_place,
    thresholds_of,
)
from foldmap.localize.lidar.histogram import BeliefGrid
from foldmap.localize.lidar.search import WindowMatch
from foldmap.localize.lidar.view import DecodedMap
from foldmap.localize.motion import MotionNoise, increment_covariance, scale_variance
from foldmap.types import DoubleArray

_TELLING = 3.0
"""Ratio of likelihoods from which on a match says something for a belief."""


@dataclass(frozen=True)
class LidarSettings:
    """How the localizer searches and whom it believes.

    Attributes:
        motion: noise of the odometry.
        alpha: eq. 8's temperature.
        min_radius_m, max_radius_m: of the belief's grid; beyond, the vehicle is lost until lidar or GPS finds it.
        min_headings, max_headings, heading_step_rad: number of heading bins, and the step between them.
        outlier_share: likelihood of an observation that has nothing to do with the map, relative to a perfect one.
        conflict_m: lidar that peaks farther than this (and than 3 sigma) from the belief does not confirm it.
        warn_sigma_m, lost_sigma_m: above, the estimate is `degraded`, or there is no pose.
        agreed_m: where no match is sure, such as along rails, matches that agree with the belief over so many metres
            confirm it; the estimate is `degraded` then. One is enough that could only be of this place, whatever it
            leaves open along the street.
        witness_m: matches that are not sure count as one witness over so many metres, the length of ground in view.
        wide_after_s: without lidar for so long, the whole grid is searched as if there were no belief.
        thresholds: of single matches; None for those that the map's model was calibrated to.
    """

    motion: MotionNoise = field(default_factory=MotionNoise)
    alpha: float = 2.0
    min_radius_m: float = 1.0
    max_radius_m: float = 4.0
    min_headings: int = 11
    max_headings: int = 41
    heading_step_rad: float = math.radians(0.5)
    outlier_share: float = 1e-3
    conflict_m: float = 0.3
    warn_sigma_m: float = 0.15
    lost_sigma_m: float = 0.5
    agreed_m: float = 10.0
    witness_m: float = 30.0
    wide_after_s: float = 1.0
    thresholds: ConfidenceThresholds | None = None

    def __post_init__(self) -> None:
        if not 0 < self.min_radius_m <= self.max_radius_m or not 3 <= self.min_headings <= self.max_headings:
            raise ConfigError("the localizer's grid limits are out of order", "give 0 < min <= max")
        if not 0 < self.outlier_share < 1 or self.alpha < 1 or self.heading_step_rad <= 0:
            raise ConfigError("the localizer's settings are out of range", "see LidarSettings")
        if not 0 < self.warn_sigma_m <= self.lost_sigma_m:
            raise ConfigError("warn_sigma_m must not exceed lost_sigma_m")


class LidarLocalizer(LidarMatcher):
    """Localizes a vehicle in a folded map, as ``foldmap localize`` does.

    Thresholds are those in the file unless the settings give others; a ModelError where those cannot be used.
    """

    def __init__(self, folded: DecodedMap, settings: LidarSettings | None = None) -> None:
        self.settings = settings or LidarSettings()
        super().__init__(folded, self.settings.thresholds or thresholds_of(folded))

    @classmethod
    def open(cls, folded: DecodedMap, settings: LidarSettings | None = None) -> LidarLocalizer:
        """Make ready with what the file says; arguments and errors as the class's."""
        return cls(folded, settings)

    def localize(
        self,
        observation: Observation,
        prior: SE2,
        radius_m: float = 1.0,
        heading_range_rad: float = math.radians(5.0),
        heading_count: int = 11,
    ) -> LidarEstimate:
        """Localize one observation near a prior, by itself; arguments and errors as `attempt`.

        Of the best pose alone nothing else is known: a faint match that anything speaks against is `no_match`. One with
        a score that wrong places of this map reach is looked for around, and is `ambiguous` where it fits elsewhere as
        right ones do.
        """
        found = self.attempt(observation, prior, radius_m, heading_range_rad, heading_count)
        estimate = found.estimate
        if found.features is None or estimate.pose is None:
            return estimate
        status, doubt = Status.NO_MATCH, faint(found.features, raised(self.thresholds, self.calibration))
        score = doubted(found.features, self.calibration)
        if not doubt and score is not None:
            status, doubt = Status.AMBIGUOUS, self.fits_elsewhere(observation, estimate.pose, score)
        if not doubt:
            return estimate
        return Estimate.without_pose(status, replace(estimate.diagnostics, reason=doubt))

    def start(self, prior: SE2, sigma_m: float = 0.3, sigma_heading_rad: float = math.radians(1.0)) -> LidarFilter:
        """Begin a drive at a rough pose; a PoseInputError where it is not finite or a sigma not positive."""
        return LidarFilter(self, prior, sigma_m, sigma_heading_rad)


class LidarFilter:
    """The histogram filter along one drive; it answers a pose once lidar has confirmed it.

    Another localizer may be put in the place of ``localizer`` between steps.
    """

    def __init__(self, localizer: LidarLocalizer, prior: SE2, sigma_m: float, sigma_heading_rad: float) -> None:
        self.localizer, self._settings = localizer, localizer.settings
        self._last_refusal, self._lidar_age_s = Status.NO_MATCH, math.inf
        self._agreed_m, self._by_agreement = 0.0, False
        self._new_m = math.inf  # driven since a match on this ground was a whole witness
        self._unseen_m = 0.0  # way whose error of scale nothing seen has corrected yet
        self.belief = self._around(prior, sigma_m, sigma_heading_rad)

    def step(
        self,
        observation: Observation | None,
        odometry: SE2 | None = None,
        dt_s: float = 0.1,
        gps: tuple[float, float, float] | None = None,
    ) -> LidarEstimate:
        """Move, weigh GPS and lidar, and answer.

        Without an observation the step is dead-reckoned. Odometry is previous_SE2_current since the last step (None: it
        did not move), dt_s the time since; a fix is east, north and standard deviation in metres.
        """
        begin_s = time.perf_counter()
        if not (math.isfinite(dt_s) and dt_s >= 0):
            raise ConfigError(f"a time step of {dt_s} s", "give a finite step >= 0")
        odometry = odometry or SE2(0.0, 0.0, 0.0)
        driven_m, noise = math.hypot(odometry.x_m, odometry.y_m), self._settings.motion
        grown_m2 = scale_variance(self._unseen_m, driven_m, noise)
        self._unseen_m += driven_m
        belief = before = self.belief.predict(odometry, increment_covariance(odometry, dt_s, noise), grown_m2)
        belief = belief.resized(*self._reach(belief.mean_and_covariance()[1]))
        self._lidar_age_s += dt_s
        if gps is not None:
            belief = self._with_gps(belief, *gps)
        if observation is None:
            self._corrected(before, belief)
            self.belief = belief.recentred()
            return self._answer(Status.NO_OBSERVATION, LidarDiagnostics(reason="no observation"), begin_s)
        prior = belief.centre
        headings_rad = belief.headings_rad() - prior.heading_rad
        result = self.localizer.attempt_window(observation, prior, belief.radius_m, headings_rad)
        belief = self._with_lidar(belief, result, driven_m)
        self._corrected(before, belief)
        self.belief = belief.recentred()
        here = self.belief.centre
        diagnostics = replace(
            result.estimate.diagnostics,
            prior_distance_m=math.hypot(here.x_m - prior.x_m, here.y_m - prior.y_m),
            prior_turn_rad=wrap_rad(here.heading_rad - prior.heading_rad),
        )
        return self._answer(result.estimate.status, diagnostics, begin_s)

    @property
    def agreed_m(self) -> float:
        """So far matches have agreed with the belief without a break, sure of themselves or not."""
        return self._agreed_m

    def weigh(self, east_m: float, north_m: float, sigma_m: float) -> None:
        """Weigh what something finer than satellites says of the position at the last step; errors as of a fix."""
        belief = self.belief.updated(self.belief.gps_log_likelihood(east_m, north_m, sigma_m))
        self._corrected(self.belief, belief)
        self.belief = belief.recentred()

    def _corrected(self, before: BeliefGrid, after: BeliefGrid) -> None:
        """What was seen corrects the way driven by the share of the variance along it that it took (Schmidt, 1966).

        Odometry's error of scale is the same from step to step; taken for noise it would let the belief be surer the
        farther it is carried where matches tell little along the street.
        """
        share = after.variance_ahead_m2() / before.variance_ahead_m2()
        self._unseen_m *= min(1.0, share)

    def _around(self, pose: SE2, sigma_m: float, sigma_heading_rad: float) -> BeliefGrid:
        """A Gaussian belief about a pose."""
        covariance = np.diag([sigma_m**2, sigma_m**2, sigma_heading_rad**2])
        resolution_m, step_rad = self.localizer.folded.grid.resolution_m, self._settings.heading_step_rad
        return BeliefGrid.gaussian(pose, covariance, *self._reach(covariance), resolution_m, step_rad)

    def _reach(self, covariance: DoubleArray) -> tuple[float, int]:
        """Radius and heading bins that hold 3.5 sigma of a belief."""
        s = self._settings
        sigma_m = largest_sigma(covariance[:2, :2])
        radius_m = min(max(3.5 * sigma_m + 0.2, s.min_radius_m), s.max_radius_m)
        bins = 2 * math.ceil(3.5 * math.sqrt(covariance[2, 2]) / s.heading_step_rad) + 1
        return radius_m, min(max(bins, s.min_headings), s.max_headings)

    def _with_gps(self, belief: BeliefGrid, east_m: float, north_m: float, sigma_m: float) -> BeliefGrid:
        """Weigh a fix (eq. 4); one that the belief excludes restarts it, if lidar has not confirmed it lately."""
        log_likelihood = belief.gps_log_likelihood(east_m, north_m, sigma_m)
        mean, covariance = belief.mean_and_covariance()
        apart = np.array([east_m - mean.x_m, north_m - mean.y_m])
        total = covariance[:2, :2] + np.eye(2) * sigma_m**2
        if float(apart @ np.linalg.solve(total, apart)) <= 16.0:
            return belief.updated(log_likelihood)
        if self._lidar_age_s <= self._settings.wide_after_s:
            return belief  # lidar knows better than a fix four sigmas off
        self._lidar_age_s = math.inf
        sigma_rad = max(math.sqrt(covariance[2, 2]), math.radians(1.0))
        return self._around(SE2(east_m, north_m, mean.heading_rad), sigma_m, sigma_rad)

    def _with_lidar(self, belief: BeliefGrid, result: Attempt, driven_m: float) -> BeliefGrid:
        """Weigh a match (eq. 5) and note whether it confirms the belief."""
        s, status = self._settings, result.estimate.status
        if status is not Status.OK:
            self._last_refusal = status
        if result.match is None or status in (Status.NO_MAP, Status.NO_OBSERVATION):
            self._agreed_m = 0.0
            return belief
        pose, spread = result.estimate.pose, result.estimate.covariance
        undefended = self._lidar_age_s > s.wide_after_s or self._by_agreement
        if status is Status.OK and pose is not None and spread is not None and undefended:
            # Nothing to defend after an outage: a sure match restarts the belief.
            self._lidar_age_s, self._agreed_m, self._by_agreement = 0.0, 0.0, False
            spread = spread + np.diag([0.05**2, 0.05**2, s.heading_step_rad**2])
            size = s.min_radius_m, s.min_headings, belief.resolution_m, s.heading_step_rad
            return BeliefGrid.gaussian(pose, spread, *size)
        # A match that chance explains is still weighed, as the belief knows more than its window; it confirms nothing.
        is_match = status is not Status.NO_MATCH
        agrees = is_match and _agrees(belief, _log_likelihood(belief, result.match, s.outlier_share))
        told = is_match and tells_the_place(result.match.features, self.localizer.thresholds)
        self._agreed_m = self._agreed_m + driven_m if agrees else 0.0
        # What misleads on some ground does so again on the same ground: only what is new of it is another witness.
        self._new_m += driven_m
        share = 1.0 if status is Status.OK else min(1.0, (self._new_m if told else driven_m) / s.witness_m)
        if told:
            self._new_m = 0.0
        belief = belief.updated(_log_likelihood(belief, result.match, s.outlier_share, share))
        if status is Status.OK and pose is not None:
            mean, covariance = belief.mean_and_covariance()
            reach = max(s.conflict_m, 3 * largest_sigma(covariance[:2, :2]))
            if math.hypot(mean.x_m - pose.x_m, mean.y_m - pose.y_m) <= reach:
                self._lidar_age_s = 0.0
        if ((told and agrees) or self._agreed_m >= s.agreed_m) and self._lidar_age_s > 0:
            self._by_agreement = self._by_agreement or self._lidar_age_s > s.wide_after_s
            self._lidar_age_s = 0.0
        return belief

    def _answer(self, lidar: Status, diagnostics: LidarDiagnostics, begin_s: float) -> LidarEstimate:
        s, age_s = self._settings, self._lidar_age_s
        pose, covariance = self.belief.mean_and_covariance(s.alpha)
        calibration = self.localizer.calibration
        covariance = calibration.scaled(covariance + np.diag([SHARED_M**2, SHARED_M**2, 0.0]))
        sigma_m, known_age_s = largest_sigma(covariance[:2, :2]), age_s if math.isfinite(age_s) else None
        time_s = time.perf_counter() - begin_s
        diagnostics = replace(diagnostics, sigma_m=sigma_m, lidar_age_s=known_age_s, time_s=time_s)
        if known_age_s is None or sigma_m > s.lost_sigma_m:
            refusal = lidar if not lidar.has_pose else Status.AMBIGUOUS
            if refusal is Status.NO_OBSERVATION and self._last_refusal is Status.NO_MAP:
                refusal = Status.NO_MAP
            reason = diagnostics.reason or "lidar has not confirmed the belief"
            return Estimate.without_pose(refusal, replace(diagnostics, reason=reason))
        if lidar is Status.OK and age_s == 0 and sigma_m <= s.warn_sigma_m:
            return Estimate(Status.OK, pose, covariance, diagnostics, errors=calibration.errors)
        if not diagnostics.reason:
            reason = f"sigma_m {sigma_m:.2f} > {s.warn_sigma_m:g}" if age_s == 0 else "lidar disagrees with the belief"
            diagnostics = replace(diagnostics, reason=reason)
        return Estimate(Status.DEGRADED, pose, covariance, diagnostics, errors=calibration.errors)


def _agrees(belief: BeliefGrid, log_likelihood: DoubleArray) -> bool:
    """Whether a match is more likely by the belief than anywhere around."""
    likelihood = np.exp(log_likelihood)
    return bool((belief.probability * likelihood).sum() > _TELLING * likelihood.mean())


def _log_likelihood(belief: BeliefGrid, match: WindowMatch, outlier_share: float, share: float = 1.0) -> DoubleArray:
    """Eq. 5 on the belief's cells: the volume at the temperature its blocks justify, turned north up, with a floor.

    The floor is the chance that this observation has nothing to do with the map. A match that counts a share of a
    witness has that share of the evidence before the floor, not after: where one place along the street stands out
    by far, its peak alone would be above the floor, and what all places along the street have in common, where across
    it, would not be told. Cells that the search did not reach are as unlikely as any that it did.
    """
    side = belief.probability.shape[1]
    if not (share > 0 and math.isfinite(match.temperature)):
        return np.zeros((1, 1, 1))
    scores = match.sharpened(outlier_share).astype(np.float64)
    likelihood = np.exp((scores - float(scores.max())) * (share / match.temperature))
    floored = (outlier_share + (1 - outlier_share) * likelihood).astype(np.float32)
    turned = turned_images(floored, [belief.centre.heading_rad], (side, side))[0].astype(np.float64)
    result: DoubleArray = np.log(np.where(turned < 0.5 * outlier_share, floored.min(), turned))
    return result
