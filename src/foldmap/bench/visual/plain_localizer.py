"""The plain way to localize, to compare with: nearest neighbours, a ratio, LO-RANSAC, and whatever pose comes out."""

from dataclasses import dataclass

import numpy as np

from foldmap.errors import ConfigError
from foldmap.types import DoubleArray
from foldmap.visual.decoded import MapPoints, VisualMap
from foldmap.visual.match.matching import Matches, mutual
from foldmap.visual.match.solve import Correspondences, ransac_pose
from foldmap.visual.match.view import View, prepare
from foldmap.visual.source import Query

_ITERATIONS = 10_000


@dataclass(frozen=True)
class PlainLocalizer:
    """Matches once and solves once: no second match near the pose, no judging of the answer."""

    visual_map: VisualMap  # folded or not
    # most distance to the nearest point over that to the second nearest; 1 takes every nearest neighbour
    ratio: float = 0.85
    both_ways: bool = False  # whether the point's nearest keypoint must be that keypoint
    # largest reprojection error of an inlier, as a share of the image's diagonal, and at least `error_px`
    error: float = 0.006
    error_px: float = 4.0  # see there

    def __post_init__(self) -> None:
        if not 0 < self.ratio <= 1:
            raise ConfigError(f"a ratio of {self.ratio}", "give 0 to 1")

    def localize(self, query: Query) -> DoubleArray | None:
        """camera_SE3_world, float64 (4, 4); None where four matches cannot be made to agree."""
        view = prepare(query)
        around = self.visual_map.around([query], [view])
        if len(view.xy_px) < 4 or len(around) < 4:
            return None
        found = self.match(view, around)
        pairs = Correspondences(view.xy_px[found.keypoint], around.points_world[found.point])
        error_px = max(self.error_px, self.error * view.diagonal_px)
        solved = ransac_pose([view], [pairs], error_px, _ITERATIONS, 0)
        return None if solved is None else np.asarray(view.camera_SE3_rig @ solved[0])

    def match(self, view: View, around: MapPoints) -> Matches:
        """The matches that RANSAC gets, most distinct first."""
        found = around.index.match(view.descriptors)
        found = found.take(found.ratio <= self.ratio)
        if self.both_ways and len(found):
            found = found.take(mutual(found, view.descriptors, around.descriptors))
        return found
