"""Known edits: makes an out-of-date map of a true lane graph, to train and to score change detection."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from foldmap.errors import ConfigError
from foldmap.street.graph.chains import chains, vertices_along
from foldmap.street.graph.window import Window
from foldmap.street.source import LANE, LINK, LaneGraph
from foldmap.types import DoubleArray, IntArray

EDITS = ("lane removed", "lane added", "lane shifted", "link removed")
"""What is done to the map; the world stays as it is. A map with a lane removed lacks a lane that is there."""
LEAST_LANE_M = 12.0
LEAST_LINK_M = 6.0
SHIFT_M = (3.0, 5.0)
_NEW_LANE_M = (3.0, 4.0)
_FREE_M = 2.0
_TRIES = 4


@dataclass(frozen=True)
class Edit:
    """What was done, of `EDITS`: the lane as it truly is, and as the edited map has it, float64 (P, 2), or empty."""

    kind: str
    before_m: DoubleArray
    after_m: DoubleArray


def edit(
    graph: LaneGraph, kind: str, rng: np.random.Generator, window: Window | None = None
) -> tuple[LaneGraph, Edit] | None:
    """Edit one lane or link, a whole chain of the true graph, that `rng` chooses.

    Only chains with at least 12 m (links 6 m) inside the window are edited; None: anywhere.

    Returns:
        The edited map and what was done; None where no chain is long enough, or a new lane has no room.
    """
    if kind not in EDITS:
        raise ConfigError(f"there is no edit {kind!r}", f"choose one of {', '.join(EDITS)}")
    for chain in _candidates(graph, kind, rng, window):
        line = graph.vertices_m[vertices_along(graph, chain)]
        nothing = np.zeros((0, 2))
        rest = np.ones(len(graph.edges), bool)
        rest[chain] = False
        if kind in ("lane removed", "link removed"):
            return graph.take_edges(rest), Edit(kind, line, nothing)
        low, high = SHIFT_M if kind == "lane shifted" else _NEW_LANE_M
        beside = _offset(line, float(rng.uniform(low, high) * rng.choice([-1, 1])))
        if kind == "lane shifted":
            return _with_line(graph.take_edges(rest), beside), Edit(kind, line, beside)
        others = graph.vertices_m[np.unique(graph.edges)]
        if np.mean(cKDTree(others).query(beside)[0] > _FREE_M) > 0.7:
            return _with_line(graph, beside), Edit(kind, nothing, beside)
    return None


@dataclass(frozen=True)
class RandomAging:
    """Ages windows for training: a share gets one edit of a random kind, where it can; the others stay as they are."""

    share: float
    window: Window

    def __call__(self, graph: LaneGraph, rng: np.random.Generator) -> LaneGraph:
        """Make an old map of a window."""
        if rng.random() >= self.share:
            return graph
        done = edit(graph, EDITS[int(rng.integers(len(EDITS)))], rng, self.window)
        return graph if done is None else done[0]


def _candidates(graph: LaneGraph, kind: str, rng: np.random.Generator, window: Window | None) -> list[IntArray]:
    """Edges of up to four chains that may be edited, in random order."""
    found = chains(graph)
    if not len(found):
        return []
    middle = graph.vertices_m[graph.edges[found.edge]].mean(1)
    counted = graph.edge_lengths_m[found.edge]
    if window:
        counted = counted * ((middle >= window.low_m) & (middle <= window.high_m)).all(1)
    length = np.add.reduceat(counted, found.offset[:-1])
    of_kind = graph.kind[found.first]
    wanted, least = (LINK, LEAST_LINK_M) if kind == "link removed" else (LANE, LEAST_LANE_M)
    fitting = np.flatnonzero((of_kind == wanted) & (length >= least))
    rng.shuffle(fitting)
    runs = found.runs()
    return [runs[c] for c in fitting[:_TRIES]]


def _offset(line_m: DoubleArray, left_m: float) -> DoubleArray:
    step = np.gradient(line_m, axis=0)
    step /= np.maximum(np.linalg.norm(step, axis=1, keepdims=True), 1e-9)
    return line_m + left_m * np.stack([-step[:, 1], step[:, 0]], 1)


def _with_line(graph: LaneGraph, line_m: DoubleArray) -> LaneGraph:
    """The graph and one more lane, joined to nothing."""
    return graph.with_chain(line_m, len(graph) + np.arange(len(line_m)))
