"""What every street metric looks at: a lane graph sampled at 1 m, with headings, lines and which line follows which."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from foldmap.geometry import SE2
from foldmap.street.graph.chains import chains, resample
from foldmap.street.graph.window import AROUND, Window, cut
from foldmap.street.source import LaneGraph
from foldmap.types import BoolArray, DoubleArray, IntArray

DEFINITIONS_VERSION = 1
"""Of every definition in `foldmap.metrics.street_*`: a figure is comparable with another of the same version only."""

STEP_M = 1.0  # vertices lie so far apart along the lanes before anything is counted
TURN_M = 2.0
"""Points whose headings are an angle a apart count ``2 TURN_M sin(a / 2)`` farther, in quadrature: 4 m if opposed."""

EMPTY_M = 0.5 * float(np.hypot(*AROUND.size_m))
"""What a distance to nothing counts in the default window: half its diagonal, 28.28 m. See `empty_m`."""


def empty_m(window: Window) -> float:
    """Half the diagonal of a window: what a distance to an empty graph counts, and the most that any counts."""
    return 0.5 * float(np.hypot(*window.size_m))


@dataclass(frozen=True)
class Sampled:
    """A lane graph at equal steps."""

    graph: LaneGraph  # vertices `STEP_M` apart along each chain; without isolated vertices

    def __len__(self) -> int:
        return len(self.graph)

    @property
    def points_m(self) -> DoubleArray:
        """Vertices, float64 (V, 2)."""
        return self.graph.vertices_m

    @cached_property
    def headings(self) -> DoubleArray:
        """Unit driving direction at each vertex, float64 (V, 2): mean over its edges; zero where they cancel."""
        step = self.pieces[1]
        total = np.zeros((len(self), 2))
        for column in (0, 1):
            np.add.at(total, self.graph.edges[:, column], step)
        length = np.hypot(*total.T)[:, None]
        return np.asarray(np.divide(total, length, out=np.zeros_like(total), where=length > 1e-6))

    @cached_property
    def pieces(self) -> tuple[DoubleArray, DoubleArray]:
        """Middle (E, 2) and unit driving direction (E, 2) of each edge: of each metre of lane."""
        ends = self.graph.vertices_m[self.graph.edges]
        step = ends[:, 1] - ends[:, 0]
        return ends.mean(1), step / np.maximum(np.hypot(*step.T), 1e-12)[:, None]

    @cached_property
    def lines(self) -> list[IntArray]:
        """The vertices of each chain in driving order, int64 (P,) each."""
        found = chains(self.graph)
        lines = []
        for start, end in zip(found.offset[:-1], found.offset[1:], strict=True):
            run = found.edge[start:end]
            lines.append(np.append(self.graph.edges[run, 0], self.graph.edges[run[-1], 1]))
        return lines

    @cached_property
    def follows(self) -> BoolArray:
        """(L, L), true where line j starts at the vertex in which line i ends, i other than j."""
        first = np.array([line[0] for line in self.lines], np.int64)
        last = np.array([line[-1] for line in self.lines], np.int64)
        joined: BoolArray = last[:, None] == first[None, :]
        np.fill_diagonal(joined, False)
        return joined


def sampled(graph: LaneGraph, window: Window | None = None) -> Sampled:
    """Sample a graph in the ego frame, metres, at `STEP_M`; clipped to a window first if one is given."""
    if window is not None:
        graph = cut(graph, SE2(0.0, 0.0, 0.0), window)
    return Sampled(resample(graph, STEP_M))
