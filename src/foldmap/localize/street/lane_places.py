"""Places along lanes: where a vehicle can be in a street map, and where it can go from there."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial import cKDTree

from foldmap.geometry import SE2
from foldmap.street.graph.chains import resample
from foldmap.street.source import LaneGraph
from foldmap.types import AnyArray, DoubleArray, IntArray

_LANE_APART_M = (1.8, 5.5)
_SHARPEST_RAD = np.radians(135.0)
_PARALLEL_RAD = np.radians(30.0)


@dataclass(frozen=True)
class LanePlaces:
    """Stretches of lane, each with a pose in its middle and links to those that follow.

    Attributes:
        x_m, y_m: float64 (N,), in the map's frame.
        heading_rad: float64 (N,), driving direction.
        length_m: float64 (N,), metres of lane that each stands for.
        follow_offset, follow: int64 (N + 1,) and (L,): after place n come
            ``follow[follow_offset[n]:follow_offset[n + 1]]``.
        left, right: int64 (N,), the place beside it in the lane next to it that leads the same way; -1 where none is.
    """

    x_m: DoubleArray
    y_m: DoubleArray
    heading_rad: DoubleArray
    length_m: DoubleArray
    follow_offset: IntArray
    follow: IntArray
    left: IntArray
    right: IntArray

    def __len__(self) -> int:
        return len(self.x_m)

    @property
    def positions_m(self) -> DoubleArray:
        """float64 (N, 2)."""
        return np.stack([self.x_m, self.y_m], 1)

    def pose(self, place: int) -> SE2:
        """world_SE2_ego of one place."""
        return SE2(float(self.x_m[place]), float(self.y_m[place]), float(self.heading_rad[place]))

    def poses(self) -> list[SE2]:
        """world_SE2_ego of each: where windows are cut and embedded."""
        return [self.pose(place) for place in range(len(self))]

    def mirrored(self) -> LanePlaces:
        """Another town just like this one: west is east, and every lane is driven the other way.

        Right-hand traffic stays so, and beside a lane lies the same one.
        """
        offset, before = self.reversed_links()
        return replace(self, x_m=-self.x_m, heading_rad=-self.heading_rad, follow_offset=offset, follow=before)

    def reversed_links(self) -> tuple[IntArray, IntArray]:
        """Offsets and indices of the places before each, as `follow_offset` and `follow` are of those after it."""
        start = np.repeat(np.arange(len(self)), np.diff(self.follow_offset))
        order = np.argsort(self.follow, kind="stable")
        return np.searchsorted(self.follow[order], np.arange(len(self) + 1)), start[order]


def lane_places(graph: LaneGraph, step_m: float = 2.0) -> LanePlaces:
    """One place an edge of the graph, resampled: in its middle, along it, followed by the edges that leave its end.

    Turning back on the spot, by more than 135 degrees, does not count as following. Places come in the order of the
    graph's chains, about ``step_m`` apart (a MapInputError where that is not positive).
    """
    even = resample(graph, step_m)
    lengths = even.edge_lengths_m
    if (lengths <= 0).any():
        even = even.take_edges(lengths > 0)
    edges, ends = even.edges, even.vertices_m[even.edges]
    middle, along = ends.mean(1), ends[:, 1] - ends[:, 0]
    heading = np.arctan2(along[:, 1], along[:, 0])
    by_start = np.argsort(edges[:, 0], kind="stable")
    first = np.searchsorted(edges[by_start, 0], edges[:, 1], side="left")
    count = np.searchsorted(edges[by_start, 0], edges[:, 1], side="right") - first
    source = np.repeat(np.arange(len(edges)), count)
    rank = np.arange(len(source)) - np.repeat(np.cumsum(count) - count, count)
    target = by_start[np.repeat(first, count) + rank]
    onward = np.abs(turn_between(heading[source], heading[target])) <= _SHARPEST_RAD
    source, target = source[onward], target[onward]
    offset = np.searchsorted(source, np.arange(len(edges) + 1))
    left, right = _beside(middle, heading, step_m)
    x_m, y_m = middle[:, 0].copy(), middle[:, 1].copy()
    return LanePlaces(x_m, y_m, heading, even.edge_lengths_m, offset, target.astype(np.int64), left, right)


def _beside(middle_m: DoubleArray, heading_rad: DoubleArray, step_m: float) -> tuple[IntArray, IntArray]:
    """The place of a parallel lane that is most nearly abreast, on either side."""
    sides = [np.full(len(middle_m), -1, np.int64) for _ in range(2)]
    if not len(middle_m):
        return sides[0], sides[1]
    reach_m = float(np.hypot(_LANE_APART_M[1], step_m))
    pairs = cKDTree(middle_m).query_pairs(reach_m, output_type="ndarray").astype(np.int64)
    a, b = np.concatenate([pairs, pairs[:, ::-1]]).T
    apart = middle_m[b] - middle_m[a]
    cos, sin = np.cos(heading_rad[a]), np.sin(heading_rad[a])
    ahead, aside = cos * apart[:, 0] + sin * apart[:, 1], cos * apart[:, 1] - sin * apart[:, 0]
    good = (np.abs(ahead) <= step_m) & (np.abs(turn_between(heading_rad[a], heading_rad[b])) <= _PARALLEL_RAD)
    for side, sign in zip(sides, (1.0, -1.0), strict=True):
        chosen = np.flatnonzero(good & (sign * aside >= _LANE_APART_M[0]) & (sign * aside <= _LANE_APART_M[1]))
        # the nearest lane first, in it the place most nearly abreast: what is written last stays
        far = np.round(np.abs(aside[chosen])) * 10 * step_m + np.abs(ahead[chosen])
        order = chosen[np.lexsort((b[chosen], far))][::-1]
        side[a[order]] = b[order]
    return sides[0], sides[1]


def turn_between(from_rad: AnyArray | float, to_rad: AnyArray | float) -> DoubleArray:
    """The turn from one heading to another, wrapped to [-pi, pi), broadcast."""
    return np.asarray((np.asarray(to_rad) - np.asarray(from_rad) + np.pi) % (2 * np.pi) - np.pi)
