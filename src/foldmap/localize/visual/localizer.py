"""Localize a camera, or a rig of cameras, in a visual map: match, solve, look again with the pose in hand, judge."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from foldmap.errors import ConfigError, MapInputError
from foldmap.geometry import SE2
from foldmap.localize.estimate import Status, largest_sigma
from foldmap.localize.evidence import MapCalibration, first_broken
from foldmap.localize.tail import Tail
from foldmap.localize.visual.estimate import CameraDiagnostics, CameraEstimate
from foldmap.localize.visual.intrinsics import Settled, guessed_focal, settle
from foldmap.localize.visual.search import LEAST_NOISE_PX, Hypothesis, PoseSearch, better, residuals_of
from foldmap.localize.visual.settings import VisualSettings
from foldmap.localize.visual.support import Support, support_of
from foldmap.runtime.threads import one_blas_thread
from foldmap.types import DoubleArray
from foldmap.visual.decoded import MapPoints, VisualMap
from foldmap.visual.match.lens import seen_with
from foldmap.visual.match.matchers import MATCHERS, Matcher, NearestMatcher
from foldmap.visual.match.matching import Matches
from foldmap.visual.match.solve import noise_px
from foldmap.visual.match.view import View, prepare
from foldmap.visual.source import Query
from foldmap.visual.unfold import FoldedVisual

__all__ = ["VisualLocalizer", "VisualSettings"]

SEARCHED_AT_FIRST = (5_000_000, 30_000_000)
"""Pairs of a keypoint and a point that are compared at first, and then where those give no clear pose."""
SEARCHED_AT_ONCE = 12_000_000  # so few pairs are all compared at first: a part of the keypoints would save little
EVIDENCE = "evidence"
"""Of a map's calibration: the tail of `CameraDiagnostics.evidence` of wrong answers."""
CLEARLY = 2.0
"""Times the evidence that `ok` asks for, from which on a pose may be clear without a far focal length being asked: one
that is wrong by 10 % and fits a part of the view was believed at 1.2 times; right photos reach 2.1 and more."""
LEAST_KEYPOINTS = 8  # with fewer an image has nothing to be judged by


class VisualLocalizer:
    """Localizes in one map, folded or not; a matcher of the caller's own takes the place of `VisualSettings.matcher`.

    A ConfigError where there is no such matcher; of a learned one a LayerError, ModelError or MissingExtraError: the
    map keeps no images, the weights do not fit, or what it runs on is not installed. A MapFormatError where the map's
    calibration is damaged; one of the caller's own takes its place. Without any, an answer is `degraded` at best.
    """

    def __init__(
        self,
        visual_map: VisualMap,
        settings: VisualSettings | None = None,
        matcher: Matcher | None = None,
        calibration: MapCalibration | None = None,
    ) -> None:
        self._map = visual_map
        self.settings = settings or VisualSettings()
        self._calibration = calibration or MapCalibration.read(visual_map.parameters, "visual")
        self._search = PoseSearch(self.settings)
        self._matcher = matcher or _matcher(visual_map, self.settings)

    @classmethod
    def open(cls, folded: FoldedVisual, settings: VisualSettings | None = None) -> VisualLocalizer:
        """Make ready with what the file says; arguments and errors as the class's."""
        return cls(folded, settings)

    def localize(
        self, observation: Query | Sequence[Query], prior: SE2 | None = None, radius_m: float = 64.0
    ) -> CameraEstimate:
        """Find the pose of one camera, or of a rig whose cameras saw one moment (several with `camera_SE3_rig`).

        A pose farther than the radius (world units) from the prior's x and y is not believed; the whole map is searched
        all the same.
        """
        started_s = time.perf_counter()
        queries = [observation] if isinstance(observation, Query) else list(observation)
        self._check(queries)
        with one_blas_thread():
            estimate = self._estimate(queries)
        centre = estimate.centre_world
        if prior is not None and centre is not None:
            away_m = math.hypot(centre[0] - prior.x_m, centre[1] - prior.y_m)
            if away_m > radius_m:
                reason = f"the best pose lies {away_m:.1f} from the prior"
                estimate = _without(Status.NO_MATCH, estimate.diagnostics, reason)
        timed = replace(estimate.diagnostics, time_s=time.perf_counter() - started_s)
        return replace(estimate, diagnostics=timed)

    def _estimate(self, queries: Sequence[Query]) -> CameraEstimate:
        views = [prepare(query) for query in queries]
        health = CameraDiagnostics(keypoints=sum(len(view.xy_px) for view in views))
        if health.keypoints < LEAST_KEYPOINTS:
            return _without(Status.NO_OBSERVATION, health, f"{health.keypoints} keypoints")
        around = self._map.around(queries, views)
        health = replace(health, images=around.images)
        if len(around) < 4:
            return _without(Status.NO_MAP, health, "the map has no points here")
        best, matches, focal = None, list[Matches](), 1.0
        for number, most in enumerate(self._portions(views, around)):
            matches = [self._matcher.match(view, around, most) for view in views]
            if number == 0:
                focal = guessed_focal(queries, views, matches, around, self._search.error_px(views[0]))
                views = views if focal == 1.0 else seen_with(views, np.array([math.log(focal), 0.0, 0.0, 0.0]))
            best = better(best, self._search.best(views, matches, around))
            enough = self.settings.evidence_enough[0 if number == 0 else 1]
            if best is not None and self._search.is_clear(best, views, enough):
                break
        health = replace(health, matches=sum(len(part) for part in matches))
        if best is None:
            return _without(Status.NO_MATCH, health, "no pose explains four matches")
        rival = self._search.rival(views, matches, around, best)
        if rival is not None and rival.support.explained > self.settings.rival * best.support.explained:
            # counted over all points in view instead of some
            error_px = self._search.error_px(views[0])
            best, rival = (
                replace(one, support=support_of(views, around, one.rig_SE3_world, error_px, most=len(around)))
                for one in (best, rival)
            )
            if rival.support.explained > best.support.explained:
                best, rival = rival, best
        noise = noise_px(residuals_of(views, best.inliers, best.rig_SE3_world))
        told = self._told(best, rival, replace(health, noise_px=max(noise, LEAST_NOISE_PX)))
        if isinstance(told, CameraEstimate):
            return told  # whatever its intrinsics
        clear = self._is_clear(best, rival, views)
        settled = settle(queries, views, matches, around, best, self._search.error_px(views[0]), clear)
        settled = replace(settled, focal_found=focal * settled.focal_found)
        return self._judge(settled, best.support, told, views[0].camera_SE3_rig)

    def _portions(self, views: Sequence[View], around: MapPoints) -> list[int]:
        """How many keypoints of an image are matched at first, then where that is not enough, up to all of them."""
        every = max(len(view.xy_px) for view in views)
        pairs = zip(self.settings.keypoints, SEARCHED_AT_FIRST, strict=True)
        portions = [max(least, most // len(around)) for least, most in pairs]
        if every * len(around) <= SEARCHED_AT_ONCE:
            return [every]
        if not isinstance(self._matcher, NearestMatcher):
            portions = portions[1:]
        return [most for most in portions if most < every] + [every]

    def _check(self, queries: Sequence[Query]) -> None:
        if not queries:
            raise MapInputError("a rig without cameras", "give at least one image")
        for query in queries:
            dimension = query.features.descriptors.shape[1]
            if len(query.features.xy_px) and dimension != self._map.dimension:
                raise MapInputError(
                    f"image {query.name!r} has descriptors of {dimension} numbers, the map of {self._map.dimension}",
                    f"extract {self._map.feature} features",
                )

    def _is_clear(self, best: Hypothesis, rival: Hypothesis | None, views: Sequence[View]) -> bool:
        """Whether no far focal length needs to be asked: with one, a part of the view fits a pose as well as it should.

        It leaves the rest of the view unexplained, to a rival or by few cells that vote.
        """
        alone = rival is None or rival.support.explained < self.settings.rival * best.support.explained
        voted = best.support.evidence >= CLEARLY * self._evidence_asked()[1]
        return alone and voted and self._search.is_clear(best, views, self.settings.evidence_enough[1])

    def _told(
        self, best: Hypothesis, rival: Hypothesis | None, health: CameraDiagnostics
    ) -> CameraDiagnostics | CameraEstimate:
        """The health with what supports the best pose; an answer without a pose where that is not enough for one."""
        support = best.support
        share = None if rival is None else max(0.0, rival.support.explained / max(support.explained, 1.0))
        said = {name: getattr(support, name) for name in ("found", "visible", "chance", "evidence")}
        health = replace(health, **said, rival=share)
        if support.evidence < self._evidence_asked()[0]:
            return _without(Status.NO_MATCH, health, "the map's points are not where the best pose puts them")
        if rival is not None and self._rivals(support, rival.support):
            return _without(Status.AMBIGUOUS, health, "another pose is nearly as well supported")
        return health

    def _judge(
        self, settled: Settled, support: Support, health: CameraDiagnostics, camera_SE3_rig: DoubleArray
    ) -> CameraEstimate:
        settings, enough = self.settings, self._evidence_asked()[1]
        health = replace(health, inliers=settled.inliers, focal=settled.focal_found, noise_px=settled.noise_px)
        covariance = settled.covariance
        if covariance is None:
            return _without(Status.AMBIGUOUS, health, "the matches do not fix the pose")
        known = self._calibration or MapCalibration()
        covariance = known.at(covariance, camera_SE3_rig @ settled.rig_SE3_world)
        sigma_world, sigma_rad = largest_sigma(covariance[:3, :3]), largest_sigma(covariance[3:, 3:])
        health = replace(health, sigma_world=sigma_world, sigma_rad=sigma_rad)
        if sigma_rad > settings.sigma_rad_most:
            return _without(Status.AMBIGUOUS, health, "the matches barely fix the pose")
        rules = [
            (support.evidence < enough, Status.DEGRADED, "few points support the pose"),
            (bool(settled.wrong), Status.DEGRADED, settled.wrong),
            (sigma_rad > settings.sigma_rad_ok, Status.DEGRADED, "the pose is loose"),
            (self._chance() is None, Status.DEGRADED, "the map is not calibrated: fold it again"),
        ]
        status, reason = first_broken(rules)
        health = replace(health, reason=reason)
        return CameraEstimate(
            status, settled.rig_SE3_world, covariance, health, errors=known.errors, lengths=known.lengths
        )

    def _chance(self) -> Tail | None:
        return None if self._calibration is None else self._calibration.chance.get(EVIDENCE)

    def _evidence_asked(self) -> tuple[float, float]:
        """The least evidence of any pose, and of an `ok` one: what wrong answers rarely reach in this map."""
        settings, chance = self.settings, self._chance()
        if chance is None:
            return settings.evidence_least, settings.evidence_ok
        least, enough = (chance.exceeded_at(risk) for risk in settings.risks)
        return max(least, settings.evidence_least), max(enough, settings.evidence_ok)

    def _rivals(self, best: Support, rival: Support) -> bool:
        """Whether another pose cannot be told from the best one: by what it explains, or as the map is seen there too.

        Of two places that look alike the one of which the map has more points explains more. A pose that is wrong
        because of one poster lacks what is around the other.
        """
        close = rival.explained > self.settings.rival * best.explained
        likely = rival.evidence >= self.settings.evidence_least
        seen_too = rival.seen > self.settings.rival_seen * best.seen and rival.evidence >= self._evidence_asked()[1]
        return seen_too or (close and likely and not best.exceeds(rival, self.settings.rival_sigmas))


def _matcher(visual_map: VisualMap, settings: VisualSettings) -> Matcher:
    if settings.matcher not in MATCHERS:
        raise ConfigError(f"there is no matcher {settings.matcher!r}", f"choose {', '.join(MATCHERS)}")
    if settings.matcher != "lightglue":
        return NearestMatcher(settings.ratio, settings.matcher == "mutual")
    if not isinstance(visual_map, FoldedVisual):
        raise ConfigError("the learned matcher needs the map's images", "fold the scene with --keep-images")
    # torch is imported where a network is wanted, not before
    from foldmap.visual.match.learned_matcher import LearnedMatcher
    from foldmap.visual.match.pair_networks import open_pair_network

    return LearnedMatcher(open_pair_network(settings.weights), visual_map)


def _without(status: Status, health: CameraDiagnostics, reason: str) -> CameraEstimate:
    return CameraEstimate.without_pose(status, replace(health, reason=reason))
