"""From observations of a mapped region to evidence of what has changed there, window by window."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.ndimage import gaussian_filter, maximum_filter
from scipy.spatial import cKDTree

from foldmap.errors import ModelError
from foldmap.geometry import SE2
from foldmap.street.field.lane_field import FieldSpec, draw, draw_all
from foldmap.street.field.model import FieldEmbedding
from foldmap.street.graph.chains import densified, resample
from foldmap.street.graph.window import Window, cut
from foldmap.street.images.observation import Observation
from foldmap.street.places import EdgeIndex
from foldmap.street.source import LaneGraph
from foldmap.street.unfold import FoldedStreet
from foldmap.types import DoubleArray, FloatArray

_BLOB_CELLS = 2.0
_ASIDE_M = 2.0
"""A lane may lie so far from where the map has it, and a heading off."""


@dataclass(frozen=True)
class Evidence:
    """What one window says about the map: fields float32 (headings, rows, columns), 0 to 1.

    Lanes that are there (given image and map), those of them that the map lacks, and those that are on the map and
    gone; `score` is the strongest blob of the last two, about 0 (agrees) to 1.
    """

    present: FloatArray
    lacking: FloatArray
    gone: FloatArray
    score: float


def gather(model: FieldEmbedding, observations: Sequence[Observation], old_maps: Sequence[LaneGraph]) -> list[Evidence]:
    """Compare observations with the windows of the map at their places, in the ego frame.

    Raises:
        ModelError: the model's network takes no map (`foldmap train street --update`).
    """
    if not model.network.shape.with_map:
        raise ModelError("this model takes no map to compare with", "train one with `foldmap train street --update`")
    drawn = draw_all([resample(old, 1.0) for old in old_maps], model.field)
    fields = model.read_fields(observations, drawn)
    found = []
    for three in fields:
        present, lacking, gone = np.split(three, 3)
        found.append(Evidence(present, lacking, gone, max(blob(lacking), blob(gone))))
    return found


def blob(field_CRS: FloatArray) -> float:
    """The strongest blob of a change field, all headings together, over about 2 m."""
    return float(gaussian_filter(field_CRS.sum(0), _BLOB_CELLS).max())


@dataclass(frozen=True)
class MappedRegion:
    """A region as changes are found on it: its graph as stored, and the same with vertices a metre apart (`fine`).

    `between_m` are the vertices of `fine` that are not of `stored`; `crs` is of the region's frame.
    """

    name: str
    crs: str | None
    stored: LaneGraph
    fine: LaneGraph
    between_m: DoubleArray

    @classmethod
    def read(cls, layer: FoldedStreet, name: str) -> MappedRegion:
        """Read a region of a folded map."""
        stored = layer.graph(name)
        return cls(name, layer.region(name).crs, stored, *densified(stored))

    @cached_property
    def _index(self) -> EdgeIndex:
        return EdgeIndex(self.stored)

    def window(self, pose: SE2, window: Window) -> LaneGraph:
        """The map around a pose, in the ego frame."""
        near = self._index.near(pose.x_m, pose.y_m, window.radius_m)
        return cut(self.stored.take_edges(near), pose, window)

    def away_m(self, poses: Sequence[SE2]) -> float:
        """How far the nearest of some poses is from a lane; 0 where there is no pose, or no lane."""
        if not len(self.fine) or not poses:
            return 0.0
        return float(self._distances_m(poses).min())

    def _distances_m(self, poses: Sequence[SE2]) -> DoubleArray:
        at = np.array([(pose.x_m, pose.y_m) for pose in poses]).reshape(-1, 2)
        return np.asarray(cKDTree(self.fine.vertices_m).query(at)[0], np.float64)

    def without_lanes(self, poses: Sequence[SE2], free_m: float) -> list[int]:
        """Which poses have no lane of the map within `free_m`."""
        if not len(self.fine):
            return list(range(len(poses)))
        return [int(k) for k in np.flatnonzero(self._distances_m(poses) > free_m)]

    def beyond(self, present: FloatArray, pose: SE2, spec: FieldSpec) -> Evidence:
        """A field (headings, rows, columns) less the map's lanes around a pose; nothing is said to be gone."""
        mapped = draw(resample(self.window(pose, spec.window), 1.0), spec)
        reach = max(1, round(_ASIDE_M / spec.cell_m))
        wide = maximum_filter(mapped, (1, 2 * reach + 1, 2 * reach + 1))
        wide = np.maximum(wide, np.maximum(np.roll(wide, 1, 0), np.roll(wide, -1, 0)))
        lacking = np.maximum(present - wide, 0).astype(np.float32)
        return Evidence(present, lacking, np.zeros_like(lacking), blob(lacking))


@dataclass(frozen=True)
class Survey:
    """Windows that count: world_SE2_ego and evidence of each, and how their fields are laid."""

    poses: list[SE2]
    evidence: list[Evidence]
    spec: FieldSpec


def surveyed(
    model: FieldEmbedding,
    region: MappedRegion,
    batches: Iterable[Sequence[tuple[int, Observation]]],
    poses: Sequence[SE2],
) -> Survey:
    """What a network says of the windows of observations, which come a few at a time with their numbers.

    A network that takes a map compares; one that takes none reads lanes, of which those beyond the map count. `poses`
    are world_SE2_ego by number.
    """
    found = Survey([], [], model.field)
    for some in batches:
        at = [poses[k] for k, _ in some]
        seen = [one for _, one in some]
        if model.network.shape.with_map:
            found.evidence.extend(gather(model, seen, [region.window(pose, model.window) for pose in at]))
        else:
            fields = model.read_fields(seen)
            found.evidence.extend(region.beyond(f, pose, model.field) for f, pose in zip(fields, at, strict=True))
        found.poses.extend(at)
    return found


def drawn(graphs: Sequence[LaneGraph], poses: Sequence[SE2], region: MappedRegion, spec: FieldSpec) -> Survey:
    """What lane graphs (in the ego frame) at some poses have beyond the map."""
    fields = draw_all(list(graphs), spec)
    evidence = [region.beyond(field, pose, spec) for field, pose in zip(fields, poses, strict=True)]
    return Survey(list(poses), evidence, spec)
