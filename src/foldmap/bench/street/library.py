"""Libraries of lane graph windows: what can be retrieved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from foldmap.errors import ConfigError
from foldmap.geometry import SE2
from foldmap.street.graph.chains import resample
from foldmap.street.graph.window import AROUND, Window, cut
from foldmap.street.places import EdgeIndex, sample_places, windows
from foldmap.street.source import LaneGraph, StreetMap
from foldmap.types import DoubleArray, IntArray

SPACING_M = 5.0
"""Between windows along a lane."""


@dataclass(frozen=True)
class Library:
    """Windows of lane graph that can be retrieved.

    Attributes:
        graphs: N, in ego frames.
        maps: N names.
        poses: float64 (N, 3): x_m, y_m, heading_rad in the map's frame.
    """

    graphs: tuple[LaneGraph, ...]
    maps: tuple[str, ...]
    poses: DoubleArray

    def __len__(self) -> int:
        return len(self.graphs)

    def take(self, rows: IntArray) -> Library:
        """Some rows."""
        return Library(tuple(self.graphs[k] for k in rows), tuple(self.maps[k] for k in rows), self.poses[rows])

    @staticmethod
    def of(maps: Sequence[StreetMap], window: Window = AROUND, spacing_m: float = SPACING_M, most: int = 0) -> Library:
        """Windows along all lanes of some maps; an even random choice where there are more than `most` (0: all).

        Raises:
            ConfigError: the maps have no lanes.
        """
        placed = [(street, sample_places(street.graph, spacing_m)) for street in maps]
        count = sum(len(places) for _, places in placed)
        if not count:
            raise ConfigError("the library has no lane graph", "give maps with lanes")
        kept = np.zeros(count, bool)
        kept[np.random.default_rng(0).permutation(count)[: most or count]] = True
        graphs, names, poses, at = [], [], [], 0
        for street, places in placed:
            some = places.take(kept[at : at + len(places)])
            at += len(places)
            graphs += list(windows(street.graph, some, window))
            names += [street.name] * len(some)
            poses.append(np.column_stack([some.xy_m, some.heading_rad]))
        return Library(tuple(graphs), tuple(names), np.concatenate(poses))


def cut_all(
    maps: Mapping[str, StreetMap], names: Sequence[str], poses: Sequence[SE2], window: Window
) -> Iterator[LaneGraph]:
    """Windows at poses, map by map: each map's edges are sorted into cells once."""
    index = {name: EdgeIndex(maps[name].graph) for name in dict.fromkeys(names)}
    for name, pose in zip(names, poses, strict=True):
        near = index[name].near(pose.x_m, pose.y_m, window.radius_m)
        yield resample(cut(maps[name].graph.take_edges(near), pose, window), 1.0)
