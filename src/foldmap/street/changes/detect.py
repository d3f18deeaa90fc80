"""What has changed on the ground since the map was made: lanes added, removed and moved, each with a confidence."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree
from scipy.special import chdtri

from foldmap.errors import MapInputError
from foldmap.geometry import SE2
from foldmap.street.changes.survey import Evidence
from foldmap.street.changes.tracing import strong_part, trace_lines
from foldmap.street.field.lane_field import FieldSpec
from foldmap.street.field.model import FieldEmbedding
from foldmap.street.field.world import WorldField, lay_together
from foldmap.street.graph.chains import chains, vertices_along
from foldmap.street.source import LaneGraph
from foldmap.types import BoolArray, DoubleArray, IntArray

_GAP = 3
LEAST = 0.35
"""Confidence from which a change counts where nobody knows what a model takes for a change in vain."""
TRACED = 0.15
"""Evidence from which a change is followed, however much is asked of all of it: what is not there is strong in patches,
and weak in the rest of the piece; what is there is strong along the whole of it."""
FALSE_A_KM = 0.2
"""So many false changes a kilometre a map may bear from its updates."""
NEVER = 1.0
"""Asked for from a model whose changes are not believed: none is told, however sure."""
_STEP = 0.01
_RARELY, _ENOUGH, _LARGEST = 0.05, 8, 12
ADDED, REMOVED, MOVED = "added", "removed", "moved"


@dataclass(frozen=True)
class ChangeSettings:
    """When evidence counts: on the mean at least `least`, of 0 to 1, along a whole piece of at least `least_m`.

    An added lane beside a removed one of the same heading, at most `moved_m` away, is a moved lane; an applied lane is
    joined to ends of others within `join_m`.
    """

    least: float = LEAST
    least_m: float = 6.0
    moved_m: float = 6.5
    join_m: float = 2.5


@dataclass(frozen=True)
class Change:
    """One change of the world against the map, "added", "removed" or "moved".

    `line_m` float64 (P, 2) in the map's frame is the lane in driving direction as it is now (a removed one as the map
    has it), `before_m` (Q, 2) the old line of a moved lane, `edges` are those of the map that are gone; `confidence` is
    the mean evidence along it, 0 to 1, `windows` how many windows saw it, at the median of its points.
    """

    kind: str
    line_m: DoubleArray
    before_m: DoubleArray
    edges: IntArray
    confidence: float
    windows: int

    def counts(self, least: float) -> bool:
        """Whether it is told where so much confidence is asked for; from `NEVER` on nothing is."""
        return self.confidence >= least and least < NEVER


def find_changes(
    graph: LaneGraph,
    poses: Sequence[SE2],
    evidence: Sequence[Evidence],
    field: FieldSpec,
    settings: ChangeSettings = ChangeSettings(),
) -> list[Change]:
    """Lay the evidence of a drive's windows, at world_SE2_ego, together; names what changed, most confident first.

    The map's vertices are about 1 m apart (`resample`). MapInputError: no window.
    """
    if not poses or len(poses) != len(evidence):
        raise MapInputError(f"{len(evidence)} windows at {len(poses)} poses", "give one pose a window, at least one")
    gone = lay_together([one.gone for one in evidence], poses, field)
    lacking = lay_together([one.lacking for one in evidence], poses, field)
    traced = min(TRACED, settings.least)
    removed = _removed(graph, gone, traced, settings.least_m)
    nothing = np.zeros((0, 2))
    added = [
        Change(ADDED, line.line_m, nothing, np.zeros(0, np.int64), line.strength, _windows(lacking, line.line_m))
        for line in trace_lines(lacking, traced, settings.least_m)
        if line.strength >= traced
    ]
    told = [change for change in _moved(removed, added, settings) if change.counts(settings.least)]
    return sorted(told, key=lambda change: -change.confidence)


def doubt(graph: LaneGraph, poses: Sequence[SE2], evidence: Sequence[Evidence], field: FieldSpec) -> float:
    """How much of the map's lanes is said to be gone, 0 to 1, at the median of what the windows cover.

    Most lanes of a map are there, so this tells of the network and its images, hardly of changes; 1 without lanes.
    """
    gone = lay_together([one.gone for one in evidence], poses, field)
    middle, heading = _along(graph)
    i, j = np.floor((middle - (gone.west_m, gone.south_m)) / gone.cell_m).astype(int).T
    inside = (i >= 0) & (j >= 0) & (i < gone.windows.shape[0]) & (j < gone.windows.shape[1])
    inside[inside] = gone.windows[i[inside], j[inside]] > 0
    return float(np.median(gone.at(middle[inside, 0], middle[inside, 1], heading[inside]))) if inside.any() else 1.0


def _along(graph: LaneGraph) -> tuple[DoubleArray, DoubleArray]:
    """Middles of the edges, and their headings."""
    ends = graph.vertices_m[graph.edges]
    step = ends[:, 1] - ends[:, 0]
    return ends.mean(1), np.arctan2(step[:, 1], step[:, 0])


def asked_confidence(
    model: FieldEmbedding, graph: LaneGraph, poses: Sequence[SE2], evidence: Sequence[Evidence]
) -> float:
    """Confidence from which the changes of a drive count: the model's own, `LEAST` where it has none.

    A model that has one for what it reads ill alone (`FieldEmbedding.reads`) takes `LEAST` where it hardly doubts the
    map's lanes.
    """
    if model.least_change is None:
        return LEAST
    if model.reads is not None and doubt(graph, poses, evidence, model.field) <= model.reads:
        return LEAST
    return model.least_change


def quiet_least(confidences: Sequence[float], driven_km: float) -> float | None:
    """Least confidence, in steps of 0.01, at which drives past unchanged lanes tell few changes.

    `confidences` are of the changes that were told there from `TRACED` on, all of them false. Few are they where a 95 %
    bound of their rate is at most `FALSE_A_KM`, for a map is to be safe, and what was counted is a draw. The bound is
    Poisson's of those that are still told; in drives too short for that an exponential tail's through the 12 largest,
    by the bound of its scale (as `foldmap.localize.tail`). `NEVER` where no confidence of the grid is enough; None
    where nobody can say: the drives are short and tell less than 8 false changes, or one would not be few in them.
    """
    told, most = np.sort(np.asarray(confidences, np.float64)), FALSE_A_KM * driven_km
    grid = np.round(np.arange(TRACED, 1.0, _STEP), 2)
    if _most_expected(0) <= most:
        still = len(told) - np.searchsorted(told, grid)
        few = np.array([_most_expected(count) <= most for count in still.tolist()])
    elif len(told) < _ENOUGH or most < 1:
        return None
    else:
        large, freedom = told[-_LARGEST:], 2 * min(_LARGEST, len(told))
        level = float(told[-_LARGEST - 1]) if len(told) > _LARGEST else TRACED
        scale = float((large - level).mean()) * freedom / float(chdtri(freedom, 1 - _RARELY))
        few = grid >= level + scale * max(0.0, float(np.log(len(large) / most)))
    return float(grid[few][0]) if few.any() else NEVER


def _most_expected(count: int) -> float:
    """The 95 % bound of how many were to be expected where so many were counted (Poisson's)."""
    return float(chdtri(2 * (count + 1), _RARELY)) / 2


def _removed(graph: LaneGraph, gone: WorldField, least: float, least_m: float) -> list[Change]:
    """Runs of a chain's edges along which the evidence holds on the mean, without their weak ends."""
    if not len(graph.edges):
        return []
    middle, heading = _along(graph)
    value = gone.at(middle[:, 0], middle[:, 1], heading)
    length = graph.edge_lengths_m
    found = []
    for chain in chains(graph).runs():
        strong = _closed(value[chain] >= 0.6 * least)
        for first, last in _runs(strong):
            edges = chain[first:last]
            mean = float(np.average(value[edges], weights=length[edges]))
            edges = edges[strong_part(value[edges])]
            if length[edges].sum() < least_m or mean < least:
                continue
            line = graph.vertices_m[vertices_along(graph, edges)]
            found.append(Change(REMOVED, line, np.zeros((0, 2)), edges, mean, _windows(gone, line)))
    return found


def _closed(strong: BoolArray) -> BoolArray:
    """Gaps of up to three edges between strong ones are filled."""
    out: BoolArray = strong.copy()
    for a, b in itertools.pairwise(np.flatnonzero(strong)):
        if b - a <= _GAP + 1:
            out[a:b] = True
    return out


def _runs(strong: BoolArray) -> list[tuple[int, int]]:
    edge = np.flatnonzero(np.diff(np.concatenate([[0], strong.astype(np.int8), [0]])))
    return [(int(a), int(b)) for a, b in zip(edge[::2], edge[1::2], strict=True)]


def _windows(field: WorldField, line: DoubleArray) -> int:
    i = ((line[:, 0] - field.west_m) / field.cell_m).astype(int).clip(0, field.windows.shape[0] - 1)
    j = ((line[:, 1] - field.south_m) / field.cell_m).astype(int).clip(0, field.windows.shape[1] - 1)
    return int(np.median(field.windows[i, j]))


def _moved(removed: list[Change], added: list[Change], settings: ChangeSettings) -> list[Change]:
    """Pair each added lane with the removed one that runs beside it, if there is one."""
    left = list(removed)
    out = []
    for new in added:
        fitting = [(distance, k) for k, old in enumerate(left) if (distance := _beside(new, old)) < settings.moved_m]
        if not fitting:
            out.append(new)
            continue
        old = left.pop(min(fitting)[1])
        confidence = 0.5 * (new.confidence + old.confidence)
        windows = min(new.windows, old.windows)
        out.append(Change(MOVED, new.line_m, old.line_m, old.edges, confidence, windows))
    return out + left


def _beside(new: Change, old: Change) -> float:
    """Median distance of an added line from a removed one; infinite if they do not run the same way."""
    distance, index = cKDTree(old.line_m).query(new.line_m)
    way, other = np.gradient(new.line_m, axis=0), np.gradient(old.line_m, axis=0)[index]
    along = (way * other).sum(1) / np.maximum(np.linalg.norm(way, axis=1) * np.linalg.norm(other, axis=1), 1e-9)
    return float(np.median(distance)) if float(np.median(along)) > 0.8 else float("inf")


def apply_changes(graph: LaneGraph, found: Sequence[Change], settings: ChangeSettings = ChangeSettings()) -> LaneGraph:
    """The map that the changes were found on, brought up to date: gone edges out, new lanes in.

    Ends of new lanes are joined to vertices nearby (`ChangeSettings.join_m`). MapInputError: changes of another map.
    """
    dropped = np.concatenate([np.zeros(0, np.int64), *(change.edges for change in found)])
    if not np.isin(dropped, np.arange(len(graph.edges))).all():
        raise MapInputError("a change names an edge that the map does not have", "find the changes on this map")
    result = graph.take_edges(np.delete(np.arange(len(graph.edges)), dropped))
    for change in found:
        if change.kind != REMOVED:
            result = _with_lane(result, change.line_m, settings.join_m)
    return result


def _with_lane(graph: LaneGraph, line: DoubleArray, join_m: float) -> LaneGraph:
    """Add a lane; its first point becomes the nearest vertex where a lane ends or passes, its last likewise."""
    chain = len(graph) + np.arange(len(line))
    if len(graph):
        tree = cKDTree(graph.vertices_m)
        for end, degree in ((0, graph.in_degree), (-1, graph.out_degree)):
            near = [v for v in tree.query_ball_point(line[end], join_m) if degree[v] > 0]
            if near:
                gap = np.linalg.norm(graph.vertices_m[near] - line[end], axis=1)
                chain[end] = near[int(gap.argmin())]
    joined = graph.with_chain(line, chain)
    return joined.take_vertices(np.unique(joined.edges))
