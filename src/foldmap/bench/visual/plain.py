"""The plain ways to compare with: maps in memory, the simple baseline's bytes, and a localizer of one RANSAC."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from foldmap.errors import ConfigError, MapInputError
from foldmap.types import DoubleArray, FloatArray, IntArray
from foldmap.visual.codes.codecs import DescriptorCodec
from foldmap.visual.decoded import MapPoints, VisualMap
from foldmap.visual.match.matching import DescriptorIndex, Matches, mutual, searchable
from foldmap.visual.match.solve import Correspondences, ransac_pose
from foldmap.visual.match.view import View, prepare
from foldmap.visual.scene.average import track_means
from foldmap.visual.source import Query, SceneModel, unit_descriptors

XYZ_BYTES = 6
"""Of a point in the simple baseline: 16 bits an axis, over the box of the points."""

_OBSERVATIONS_ASKED = 12


class ObservationIndex(DescriptorIndex):
    """Every observation of every point, searched for the nearest point and the nearest other point.

    ``means`` float32 (P, D) is for whoever asks for one descriptor a point; ``seen`` float32 (O, D) holds unit rows of
    all observations, ``point`` int64 (O,) says whose each is.
    """

    def __init__(self, means: FloatArray, seen: FloatArray, point: IntArray) -> None:
        super().__init__(means)
        self._seen = searchable(np.ascontiguousarray(seen, dtype=np.float32), probes=24)
        self._point = point

    def match(self, descriptors: FloatArray) -> Matches:
        """Nearest point of each keypoint, by the ratio to the nearest observation of another point.

        Where all observations that were asked are of one point, the farthest of them bounds the ratio from above.
        """
        most = min(_OBSERVATIONS_ASKED, self._seen.ntotal)
        similarity, rows = self._seen.search(np.ascontiguousarray(descriptors, dtype=np.float32), most)
        similarity = np.where(rows >= 0, similarity, -1.0)
        distance = np.sqrt(np.maximum(2.0 - 2.0 * similarity, 0.0))
        # an inverted file answers -1 where it found fewer
        points = np.where(rows >= 0, self._point[rows], -1)
        other = points != points[:, :1]
        second = np.where(other.any(axis=1), other.argmax(axis=1), most - 1)
        ratio = distance[:, 0] / np.maximum(distance[np.arange(len(rows)), second], 1e-6)
        order = np.argsort(ratio, kind="stable")
        order = order[points[order, 0] >= 0]
        _, firsts = np.unique(points[order, 0], return_index=True)
        order = order[np.sort(firsts)]
        return Matches(order.astype(np.int64), points[order, 0].astype(np.int64), ratio[order].astype(np.float32))


class ObservationPoints(MapPoints):
    """A scene's points, searched by all their observations; `descriptors` are the means."""

    def __init__(self, scene: SceneModel) -> None:
        if scene.tracks.descriptors is None:
            raise MapInputError("the scene has no descriptors", "give its features")
        super().__init__(scene.points_world, track_means(scene))
        index = ObservationIndex(self.descriptors, unit_descriptors(scene.tracks.descriptors), scene.tracks.point)
        object.__setattr__(self, "index", index)


@dataclass(frozen=True)
class WholeMap:
    """A map that is always searched whole; `feature` names the extractor of its descriptors."""

    feature: str
    points: MapPoints

    @property
    def parameters(self) -> Mapping[str, Any]:
        """None: it was not calibrated."""
        return {}

    @property
    def dimension(self) -> int:
        """Length of a descriptor."""
        return int(self.points.descriptors.shape[1])

    def around(self, queries: Sequence[Query], views: Sequence[View]) -> MapPoints:
        """The whole map."""
        return self.points


def simple_map(scene: SceneModel, means: FloatArray, kept: IntArray, codec: DescriptorCodec) -> tuple[WholeMap, int]:
    """The simple baseline's map of the ``kept`` points, decoded, and its bytes; ``means`` is float32 (P, D)."""
    codes = codec.encode(means[kept])
    points = MapPoints(in_16_bits(scene.points_world[kept]), codec.decode(codes, len(kept)))
    return WholeMap(scene.feature, points), XYZ_BYTES * len(kept) + len(codes) + len(codec.model() or b"")


def in_16_bits(points_world: DoubleArray) -> DoubleArray:
    """Positions as 16 bits an axis give them back."""
    low = points_world.min(axis=0)
    step = np.maximum((points_world.max(axis=0) - low) / 65535.0, 1e-12)
    back: DoubleArray = low + np.rint((points_world - low) / step) * step
    return back


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
