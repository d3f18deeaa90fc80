"""From observations of a mapped region to evidence of what has changed there, window by window."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.ndimage import maximum_filter
from scipy.spatial import cKDTree

from foldmap.geometry import SE2
from foldmap.street.changes.evidence import Evidence, blob, gather
from foldmap.street.field.lane_field import FieldSpec, draw, draw_all
from foldmap.street.field.model import FieldEmbedding
from foldmap.street.graph.chains import densified, resample
from foldmap.street.graph.window import Window, cut
from foldmap.street.images.observation import Observation
from foldmap.street.places import EdgeIndex
from foldmap.street.source import LaneGraph
from foldmap.street.unfold import StreetLayer
from foldmap.types import DoubleArray, FloatArray

_ASIDE_M = 2.0
"""A lane may lie so far from where the map has it, and a heading off."""


@dataclass(frozen=True)
class MappedRegion:
    """A region as changes are found on it.

    Attributes:
        name: of the region.
        crs: of its frame.
        stored: the graph as the file has it.
        fine: the same with vertices a metre apart.
        between_m: the vertices of `fine` that are not of `stored`.
    """

    name: str
    crs: str | None
    stored: LaneGraph
    fine: LaneGraph
    between_m: DoubleArray

    @classmethod
    def read(cls, layer: StreetLayer, name: str) -> MappedRegion:
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

    def without_lanes(self, poses: Sequence[SE2], free_m: float) -> list[int]:
        """Which poses have no lane of the map within `free_m`."""
        if not len(self.fine):
            return list(range(len(poses)))
        at = np.array([(pose.x_m, pose.y_m) for pose in poses]).reshape(-1, 2)
        far, _ = cKDTree(self.fine.vertices_m).query(at)
        return [int(k) for k in np.flatnonzero(far > free_m)]

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
    """Windows that count.

    Attributes:
        poses: world_SE2_ego of each.
        evidence: of each.
        spec: how their fields are laid.
    """

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
