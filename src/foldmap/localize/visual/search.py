"""From matches to the pose that explains most of them: RANSAC, then look again with the pose in hand; and its rival."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from foldmap.geometry.quaternion import inverse_rigid
from foldmap.localize.visual.settings import VisualSettings
from foldmap.localize.visual.support import Support, chance_similarity, support_of
from foldmap.types import DoubleArray, FloatArray
from foldmap.visual.decoded import MapPoints
from foldmap.visual.match import solve
from foldmap.visual.match.guided import best_nearby, chosen_back, one_point_a_keypoint, thinned
from foldmap.visual.match.matching import Matches
from foldmap.visual.match.solve import Correspondences, noise_px, residuals_px
from foldmap.visual.match.view import View

GLANCE = 0.3  # a rival that at first sight explains a smaller share of what the best pose does is not followed up
LEAST_NOISE_PX = 0.2
SOFT = 1.3
"""Scale of Cauchy's loss in the last refinement, over the noise: set on two recorded scenes, where 1 did as well."""
BACK = 3.0  # radii within which a keypoint must choose the point that chose it
AGAIN = 5000  # most samples of the second RANSAC, among points found where a first pose puts them: most are right
AGAIN_TIMES = 10.0  # where half are chance's, the best of some hundred samples is sharper than the first good one


@dataclass(frozen=True)
class Hypothesis:
    """A pose, what supports it and how strongly, and the least similarity of what was found."""

    rig_SE3_world: DoubleArray
    inliers: list[Correspondences]
    support: Support
    similar: float


class PoseSearch:
    """Finds the poses that explain what was matched."""

    def __init__(self, settings: VisualSettings) -> None:
        self.settings = settings

    def best(self, views: Sequence[View], matches: Sequence[Matches], around: MapPoints) -> Hypothesis | None:
        """The best supported of the poses that RANSAC finds in more and more of the matches."""
        best, tried = None, 0
        for most in self.settings.trials:
            taken = sum(min(most, len(part)) for part in matches)
            if taken == tried:
                break
            tried = taken
            best = better(best, self._try(views, [part.take(slice(most)) for part in matches], around))
            if best is not None and self.is_clear(best, views, self.settings.evidence_enough[1]):
                break
        return None if best is None else self._polished(best, views, around)

    def _try(
        self, views: Sequence[View], matches: Sequence[Matches], around: MapPoints, least: float = -np.inf
    ) -> Hypothesis | None:
        """One pose by RANSAC, then look again where it puts the map's points, and refine.

        With ``least``, fewer samples are drawn, and a pose that explains less at first sight is given up.
        """
        settings, error_px = self.settings, self.error_px(views[0])
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
            inliers, similar = look(views, around, rig_SE3_world, radius_px, most, least_similar)
            if sum(len(part) for part in inliers) < solve.MIN_MATCHES:
                return None
            if round_ < 2:
                # the first pose may hang on a few near points: what was found around it is asked once more
                surer = _by_similarity(inliers, similar)
                again = solve.ransac_pose(views, surer, error_px / 2, AGAIN, settings.seed, times=AGAIN_TIMES)
                rig_SE3_world = rig_SE3_world if again is None else again[0]
            # chance finds hide among the less similar: the noise is read off the better half
            errors = residuals_of(views, inliers, rig_SE3_world)
            noise = max(noise_px(errors[similar >= np.median(similar)]), LEAST_NOISE_PX)
            rig_SE3_world = solve.refine_pose(views, inliers, rig_SE3_world, 3.0 * noise)
            radius_px = settings.rounds[min(round_ + 1, len(settings.rounds) - 1)] * error_px
            if round_ + 2 == len(settings.look):
                radius_px = min(radius_px, max(4.0 * noise, 1.5))
        return Hypothesis(rig_SE3_world, inliers, support_of(views, around, rig_SE3_world, error_px), least_similar)

    def _polished(self, found: Hypothesis, views: Sequence[View], around: MapPoints) -> Hypothesis:
        """The pose refined by the points and keypoints that are each other's choice.

        Where many points lie near a keypoint, one that looks like it is often its neighbour's.
        """
        noise = max(noise_px(residuals_of(views, found.inliers, found.rig_SE3_world)), LEAST_NOISE_PX)
        radius_px, most = max(4.0 * noise, 1.5), self.settings.look[-1]
        chosen, _ = look(views, around, found.rig_SE3_world, radius_px, most, found.similar, back=BACK)
        if sum(len(part) for part in chosen) < max(solve.MIN_MATCHES, sum(len(part) for part in found.inliers) // 2):
            return found
        refined = solve.refine_pose(views, chosen, found.rig_SE3_world, SOFT * noise, truncated=False)
        return replace(found, rig_SE3_world=refined)

    def rival(
        self, views: Sequence[View], matches: Sequence[Matches], around: MapPoints, best: Hypothesis
    ) -> Hypothesis | None:
        """The best pose elsewhere among the matches that the best pose does not explain."""
        left = []
        for view, part in zip(views, matches, strict=True):
            xy_px, seen = view.project(best.rig_SE3_world, around.points_world[part.point])
            off = np.linalg.norm(xy_px - view.xy_px[part.keypoint], axis=1) > 3.0 * self.error_px(view)
            left.append(part.take(off | ~seen).take(slice(self.settings.trials[0])))
        found = self._try(views, left, around, least=GLANCE * best.support.explained)
        return None if found is None or _same(found, best) else found

    def is_clear(self, found: Hypothesis, views: Sequence[View], strength: float) -> bool:
        """Whether a pose needs no further trials: well supported, and its points where it puts them."""
        noise = noise_px(residuals_of(views, found.inliers, found.rig_SE3_world))
        sharp = noise < self.settings.sharp * self.error_px(views[0])
        return sharp and found.support.strength > strength

    def error_px(self, view: View) -> float:
        """Largest reprojection error of an inlier."""
        return max(self.settings.error_px, self.settings.error * view.diagonal_px)


def look(
    views: Sequence[View],
    around: MapPoints,
    rig_SE3_world: DoubleArray,
    radius_px: float,
    most: int,
    least: float,
    back: float = 0.0,
) -> tuple[list[Correspondences], FloatArray]:
    """Points found within a radius of where a pose puts them, each by a keypoint of its own, and how similar.

    With ``back``, only those that their keypoint finds, too, among all points within so many radii of it.
    """
    inliers, similarity = [], []
    for view in views:
        visible, xy_px = view.in_view(rig_SE3_world, around.points_world, around.viewing)
        asked = thinned(np.arange(len(visible)), most)
        visible = visible[asked]
        found = best_nearby(view, xy_px[asked], around.looks, radius_px, visible, around.compared(view))
        rows = one_point_a_keypoint(found)
        rows = rows[found.similarity[rows] > least]
        if back > 0.0:
            looks, within = around.looks[visible], back * radius_px
            chosen = chosen_back(view, found.keypoint[rows], around.compared(view), xy_px[asked], looks, within)
            rows = rows[chosen == rows]
        inliers.append(Correspondences(view.xy_px[found.keypoint[rows]], around.points_world[visible[rows]]))
        similarity.append(found.similarity[rows])
    return inliers, np.concatenate(similarity)


def better(best: Hypothesis | None, found: Hypothesis | None) -> Hypothesis | None:
    """The one that explains more; the first of equals."""
    known = [one for one in (best, found) if one is not None]
    return max(known, key=lambda one: one.support.explained, default=None)


def _by_similarity(parts: Sequence[Correspondences], similarity: FloatArray) -> list[Correspondences]:
    """The most similar first, as progressive sampling wants them."""
    ends = np.cumsum([len(part) for part in parts])[:-1]
    orders = [np.argsort(-each, kind="stable") for each in np.split(similarity, ends)]
    ordered = zip(parts, orders, strict=True)
    return [Correspondences(part.xy_px[order], part.points_world[order]) for part, order in ordered]


def residuals_of(views: Sequence[View], inliers: Sequence[Correspondences], rig_SE3_world: DoubleArray) -> DoubleArray:
    """Reprojection errors in all views, float64 (N, 2)."""
    return np.concatenate([residuals_px(view, part, rig_SE3_world) for view, part in zip(views, inliers, strict=True)])


def _same(one: Hypothesis, other: Hypothesis) -> bool:
    """Whether two poses are one answer: they look the same way, and stand close for the depth that they see."""
    relative = one.rig_SE3_world @ inverse_rigid(other.rig_SE3_world)
    turn_rad = math.acos(min(1.0, max(-1.0, 0.5 * (float(np.trace(relative[:3, :3])) - 1.0))))
    points = np.concatenate([part.points_world for part in other.inliers])
    points_rig = points @ other.rig_SE3_world[:3, :3].T + other.rig_SE3_world[:3, 3]
    depth = float(np.median(np.linalg.norm(points_rig, axis=1)))
    return turn_rad < math.radians(5.0) and float(np.linalg.norm(relative[:3, 3])) < 0.1 * depth
