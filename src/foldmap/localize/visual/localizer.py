"""Localize a camera, or a rig of cameras, in a visual map: match, solve, look again with the pose in hand, judge."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from foldmap.errors import ConfigError, MapInputError
from foldmap.geometry import SE2
from foldmap.geometry.quaternion import inverse_rigid
from foldmap.localize.estimate import Status, largest_sigma
from foldmap.localize.visual.estimate import CameraDiagnostics, CameraEstimate
from foldmap.localize.visual.support import Support, chance_similarity, support_of
from foldmap.types import DoubleArray, FloatArray
from foldmap.visual.decoded import MapPoints, VisualMap
from foldmap.visual.match import solve
from foldmap.visual.match.guided import best_nearby, one_point_a_keypoint, thinned
from foldmap.visual.match.matchers import MATCHERS, Matcher, NearestMatcher
from foldmap.visual.match.matching import Matches
from foldmap.visual.match.solve import Correspondences, noise_px, residuals_px
from foldmap.visual.match.view import View, prepare
from foldmap.visual.source import Query
from foldmap.visual.unfold import FoldedVisual

SEARCHED_AT_FIRST = (5_000_000, 30_000_000)
"""Pairs of a keypoint and a point that are compared at first, and then where those give no clear pose."""
SEARCHED_AT_ONCE = 12_000_000  # so few pairs are all compared at first: a part of the keypoints would save little
LEAST_KEYPOINTS = 8  # with fewer an image has nothing to be judged by
GLANCE = 0.3  # a rival that at first sight explains a smaller share of what the best pose does is not followed up
LEAST_NOISE_PX = 0.2
AGAIN = 5000  # most samples of the second RANSAC, among points found where a first pose puts them: most are right


@dataclass(frozen=True)
class VisualSettings:
    """How a camera is localized.

    Attributes:
        matcher, weights: "direct" takes every keypoint's nearest point, "mutual" only those that are each other's
            nearest, "lightglue" asks a network (with those weights), for maps that keep their images.
        ratio: most distance to the nearest point over that to the second nearest.
        trials: how many of the most distinct matches are given to RANSAC, trial by trial; the best pose is kept.
        error, error_px: largest reprojection error of an inlier, a share of the image's diagonal, and at least so much.
        iterations: most samples of RANSAC.
        similarity: least cosine of a point found with the pose in hand; None for what the map says.
        rounds: radii of looking again, in units of the inlier error; the last one shrinks to four times the noise.
        evidence_ok, evidence_least: see `CameraDiagnostics.evidence`.
        evidence_enough: a pose with so much evidence needs no further trials: after the first, smallest portion of the
            keypoints, and after more of them.
        sharp: unless its points are off by more than this share of the inlier error.
        keypoints: at least so many are matched at first, and then, evenly chosen, more in small maps; all of them
            where those do not give a pose with enough evidence. A learned matcher begins with the second number.
        look: so many points in view are looked for in each round.
        rival, rival_sigmas: a second pose that explains more than this share of what the best one explains is counted
            point by point, and the answer ambiguous where the best one does not explain more by so many sigmas.
        sigma_rad_ok, sigma_rad_most: largest standard deviation of the rotation of an `ok` and of a degraded answer.
    """

    matcher: str = "direct"
    weights: Path | None = None
    ratio: float = 0.97
    trials: tuple[int, ...] = (150, 400, 1000)
    error: float = 0.006
    error_px: float = 4.0
    iterations: int = 10_000
    similarity: float | None = None
    rounds: tuple[float, ...] = (2.0, 1.0, 1.0, 1.0, 0.5)
    evidence_ok: float = 13.0
    evidence_least: float = 10.0
    evidence_enough: tuple[float, float] = (150.0, 60.0)
    sharp: float = 0.22
    keypoints: tuple[int, int] = (300, 1500)
    look: tuple[int, ...] = (1500, 1500, 3000, 6000, 6000)
    rival: float = 0.5
    rival_sigmas: float = 4.0
    sigma_rad_ok: float = math.radians(0.5)
    sigma_rad_most: float = math.radians(5.0)
    seed: int = 0


@dataclass(frozen=True)
class _Hypothesis:
    """A pose, what supports it, and how strongly."""

    rig_SE3_world: DoubleArray
    inliers: list[Correspondences]
    support: Support


class VisualLocalizer:
    """Localizes in one map, folded or not; a matcher of the caller's own takes the place of `VisualSettings.matcher`.

    A ConfigError where there is no such matcher; of a learned one a LayerError, ModelError or MissingExtraError: the
    map keeps no images, the weights do not fit, or what it runs on is not installed.
    """

    def __init__(
        self, visual_map: VisualMap, settings: VisualSettings | None = None, matcher: Matcher | None = None
    ) -> None:
        self._map = visual_map
        self.settings = settings or VisualSettings()
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
        best, matches = None, list[Matches]()
        for number, most in enumerate(self._portions(views, around)):
            matches = [self._matcher.match(view, around, most) for view in views]
            best = _better(best, self._best(views, matches, around))
            enough = self.settings.evidence_enough[0 if number == 0 else 1]
            if best is not None and self._is_clear(best, views, enough):
                break
        health = replace(health, matches=sum(len(part) for part in matches))
        if best is None:
            return _without(Status.NO_MATCH, health, "no pose explains four matches")
        rival = self._rival(views, matches, around, best)
        if rival is not None and rival.support.explained > self.settings.rival * best.support.explained:
            # counted over all points in view instead of some
            error_px = self._error_px(views[0])
            best, rival = (
                replace(one, support=support_of(views, around, one.rig_SE3_world, error_px, most=len(around)))
                for one in (best, rival)
            )
            if rival.support.explained > best.support.explained:
                best, rival = rival, best
        return self._judge(views, best, rival, health)

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

    def _best(self, views: Sequence[View], matches: Sequence[Matches], around: MapPoints) -> _Hypothesis | None:
        """The best supported of the poses that RANSAC finds in more and more of the matches."""
        best, tried = None, 0
        for most in self.settings.trials:
            taken = sum(min(most, len(part)) for part in matches)
            if taken == tried:
                break
            tried = taken
            best = _better(best, self._try(views, [part.take(slice(most)) for part in matches], around))
            if best is not None and self._is_clear(best, views, self.settings.evidence_enough[1]):
                break
        return best

    def _try(
        self, views: Sequence[View], matches: Sequence[Matches], around: MapPoints, least: float = -np.inf
    ) -> _Hypothesis | None:
        """One pose by RANSAC, then look again where it puts the map's points, and refine.

        With ``least``, fewer samples are drawn, and a pose that explains less at first sight is given up.
        """
        settings, error_px = self.settings, self._error_px(views[0])
        inliers = [
            Correspondences(view.xy_px[part.keypoint], around.points_world[part.point])
            for view, part in zip(views, matches, strict=True)
        ]
        iterations = settings.iterations if least <= 0.0 else settings.iterations // 4
        solved = solve.ransac_pose(views, inliers, error_px, iterations, settings.seed)
        if solved is None:
            return None
        rig_SE3_world = solved[0]
        if least > 0.0 and support_of(views, around, rig_SE3_world, error_px, radii=(1.0,)).explained < least:
            return None
        radius_px = settings.rounds[0] * error_px
        for round_, most in enumerate(settings.look):
            # what chance finds as well says nothing, however similar the map expects its points to be
            least_similar = max(
                around.similarity if settings.similarity is None else settings.similarity,
                chance_similarity(views, around, rig_SE3_world, radius_px),
            )
            inliers, similar = _look(views, around, rig_SE3_world, radius_px, most, least_similar)
            if sum(len(part) for part in inliers) < solve.MIN_MATCHES:
                return None
            if round_ < 2:
                # the first pose may hang on a few near points: what was found around it is asked once more
                again = solve.ransac_pose(views, _by_similarity(inliers, similar), error_px / 2, AGAIN, settings.seed)
                rig_SE3_world = rig_SE3_world if again is None else again[0]
            # chance finds hide among the less similar: the noise is read off the better half
            errors = _residuals(views, inliers, rig_SE3_world)
            noise = max(noise_px(errors[similar >= np.median(similar)]), LEAST_NOISE_PX)
            rig_SE3_world = solve.refine_pose(views, inliers, rig_SE3_world, 3.0 * noise)
            radius_px = settings.rounds[min(round_ + 1, len(settings.rounds) - 1)] * error_px
            if round_ + 2 == len(settings.look):
                radius_px = min(radius_px, max(4.0 * noise, 1.5))
        return _Hypothesis(rig_SE3_world, inliers, support_of(views, around, rig_SE3_world, error_px))

    def _rival(
        self, views: Sequence[View], matches: Sequence[Matches], around: MapPoints, best: _Hypothesis
    ) -> _Hypothesis | None:
        """The best pose elsewhere among the matches that the best pose does not explain."""
        left = []
        for view, part in zip(views, matches, strict=True):
            xy_px, seen = view.project(best.rig_SE3_world, around.points_world[part.point])
            off = np.linalg.norm(xy_px - view.xy_px[part.keypoint], axis=1) > 3.0 * self._error_px(view)
            left.append(part.take(off | ~seen).take(slice(self.settings.trials[0])))
        found = self._try(views, left, around, least=GLANCE * best.support.explained)
        return None if found is None or _same(found, best) else found

    def _judge(
        self, views: Sequence[View], best: _Hypothesis, rival: _Hypothesis | None, health: CameraDiagnostics
    ) -> CameraEstimate:
        settings, support = self.settings, best.support
        noise = max(noise_px(_residuals(views, best.inliers, best.rig_SE3_world)), LEAST_NOISE_PX)
        share = None if rival is None else max(0.0, rival.support.explained / max(support.explained, 1.0))
        said = {name: getattr(support, name) for name in ("found", "visible", "chance", "evidence")}
        health = replace(health, **said, rival=share, noise_px=noise)
        if support.evidence < settings.evidence_least:
            return _without(Status.NO_MATCH, health, "the map's points are not where the best pose puts them")
        if rival is not None and self._rivals(support, rival.support):
            return _without(Status.AMBIGUOUS, health, "another pose is nearly as well supported")
        close = []
        for view, part in zip(views, best.inliers, strict=True):
            near = np.linalg.norm(residuals_px(view, part, best.rig_SE3_world), axis=1) < 3.0 * noise
            close.append(Correspondences(part.xy_px[near], part.points_world[near]))
        health = replace(health, inliers=sum(len(part) for part in close))
        covariance = solve.pose_covariance(views, close, best.rig_SE3_world, noise)
        if covariance is None:
            return _without(Status.AMBIGUOUS, health, "the matches do not fix the pose")
        sigma_world, sigma_rad = largest_sigma(covariance[:3, :3]), largest_sigma(covariance[3:, 3:])
        health = replace(health, sigma_world=sigma_world, sigma_rad=sigma_rad)
        if sigma_rad > settings.sigma_rad_most:
            return _without(Status.AMBIGUOUS, health, "the matches barely fix the pose")
        weak, loose = support.evidence < settings.evidence_ok, sigma_rad > settings.sigma_rad_ok
        status = Status.DEGRADED if weak or loose else Status.OK
        reason = "few points support the pose" if weak else "the pose is loose" if loose else ""
        return CameraEstimate(status, best.rig_SE3_world, covariance, replace(health, reason=reason))

    def _is_clear(self, found: _Hypothesis, views: Sequence[View], evidence: float) -> bool:
        """Whether a pose needs no further trials: well supported, and its points where it puts them."""
        noise = noise_px(_residuals(views, found.inliers, found.rig_SE3_world))
        sharp = noise < self.settings.sharp * self._error_px(views[0])
        return sharp and found.support.evidence > evidence

    def _rivals(self, best: Support, rival: Support) -> bool:
        """Whether another pose cannot be told from the best one."""
        close = rival.explained > self.settings.rival * best.explained
        likely = rival.evidence >= self.settings.evidence_least
        return close and likely and not best.exceeds(rival, self.settings.rival_sigmas)

    def _error_px(self, view: View) -> float:
        return max(self.settings.error_px, self.settings.error * view.diagonal_px)


def _look(
    views: Sequence[View], around: MapPoints, rig_SE3_world: DoubleArray, radius_px: float, most: int, least: float
) -> tuple[list[Correspondences], FloatArray]:
    """Points found within a radius of where a pose puts them, each by a keypoint of its own, and how similar."""
    inliers, similarity = [], []
    for view in views:
        visible, xy_px = view.in_view(rig_SE3_world, around.points_world)
        asked = thinned(np.arange(len(visible)), most)
        visible = visible[asked]
        found = best_nearby(view, xy_px[asked], around.descriptors, radius_px, visible)
        rows = one_point_a_keypoint(found)
        rows = rows[found.similarity[rows] > least]
        inliers.append(Correspondences(view.xy_px[found.keypoint[rows]], around.points_world[visible[rows]]))
        similarity.append(found.similarity[rows])
    return inliers, np.concatenate(similarity)


def _better(best: _Hypothesis | None, found: _Hypothesis | None) -> _Hypothesis | None:
    """The one that explains more; the first of equals."""
    known = [one for one in (best, found) if one is not None]
    return max(known, key=lambda one: one.support.explained, default=None)


def _by_similarity(parts: Sequence[Correspondences], similarity: FloatArray) -> list[Correspondences]:
    """The most similar first, as progressive sampling wants them."""
    ends = np.cumsum([len(part) for part in parts])[:-1]
    orders = [np.argsort(-each, kind="stable") for each in np.split(similarity, ends)]
    ordered = zip(parts, orders, strict=True)
    return [Correspondences(part.xy_px[order], part.points_world[order]) for part, order in ordered]


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


def _residuals(views: Sequence[View], inliers: Sequence[Correspondences], rig_SE3_world: DoubleArray) -> DoubleArray:
    return np.concatenate([residuals_px(view, part, rig_SE3_world) for view, part in zip(views, inliers, strict=True)])


def _same(one: _Hypothesis, other: _Hypothesis) -> bool:
    """Whether two poses are one answer: they look the same way, and stand close for the depth that they see."""
    relative = one.rig_SE3_world @ inverse_rigid(other.rig_SE3_world)
    turn_rad = math.acos(min(1.0, max(-1.0, 0.5 * (float(np.trace(relative[:3, :3])) - 1.0))))
    points = np.concatenate([part.points_world for part in other.inliers])
    points_rig = points @ other.rig_SE3_world[:3, :3].T + other.rig_SE3_world[:3, 3]
    depth = float(np.median(np.linalg.norm(points_rig, axis=1)))
    return turn_rad < math.radians(5.0) and float(np.linalg.norm(relative[:3, 3])) < 0.1 * depth


def _without(status: Status, health: CameraDiagnostics, reason: str) -> CameraEstimate:
    return CameraEstimate.without_pose(status, replace(health, reason=reason))
