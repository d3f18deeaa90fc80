"""Urban-planning measures of street maps: density, reach, connectivity (as in Neural Turtle Graphics, ICCV 2019)."""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import breadth_first_order

from foldmap.metrics.street_sampled import Sampled
from foldmap.street.graph.window import AROUND, Window

_START_M, _START_COS = 5.0, 0.5  # the ego can be on a lane within 5 m of it and within 60 degrees of its heading


@dataclass(frozen=True)
class UrbanMeasures:
    """What a planner counts in one window."""

    density: float  # vertices at 1 m per 100 m2 of the window: nearly lane metres per 100 m2
    reach_m: float  # lane metres that can be driven inside the window from the ego's lane, along the edges' directions
    # chains per key vertex (a key vertex: where chains start, end, fork or join). 0.5 where no lane meets another, 1
    # for a ring, more where lanes branch; 0 without lanes
    connectivity: float


@dataclass(frozen=True)
class UrbanErrors:
    """How far the measures of a prediction are from the truth's, each at least 0."""

    density_error: float  # `|p - t|`, vertices per 100 m2
    density_relative_error: float  # `|p - t| / max(p, t)`, 0 to 1; 0 where both are 0, 1 where one is
    reach_error_m: float  # `|p - t|`, metres
    reach_relative_error: float  # as of density
    connectivity_error: float  # `|p - t|`, chains per key vertex


def urban_measures(graph: Sampled, window: Window = AROUND) -> UrbanMeasures:
    """Measure a graph in the ego frame, clipped to its window."""
    length, width = window.size_m
    ends = {int(v) for line in graph.lines for v in (line[0], line[-1])}
    connectivity = len(graph.lines) / len(ends) if ends else 0.0
    return UrbanMeasures(100.0 * len(graph) / (length * width), _reach_m(graph), connectivity)


def urban_errors(predicted: UrbanMeasures, truth: UrbanMeasures) -> UrbanErrors:
    """Compare two windows of the same size."""
    density, reach_m = abs(predicted.density - truth.density), abs(predicted.reach_m - truth.reach_m)
    return UrbanErrors(
        density,
        density / (max(predicted.density, truth.density) or 1.0),
        reach_m,
        reach_m / (max(predicted.reach_m, truth.reach_m) or 1.0),
        abs(predicted.connectivity - truth.connectivity),
    )


def ego_edge(graph: Sampled) -> int | None:
    """The edge that the ego is on: nearest to the origin of those that head ahead; None if none is within 5 m."""
    ends = graph.points_m[graph.graph.edges]
    if not len(ends):
        return None
    a, step = ends[:, 0], ends[:, 1] - ends[:, 0]
    squared = np.maximum((step * step).sum(1), 1e-18)
    share = (-(a * step).sum(1) / squared).clip(0.0, 1.0)
    distance = np.hypot(*(a + share[:, None] * step).T)
    distance = np.where(step[:, 0] >= _START_COS * np.sqrt(squared), distance, np.inf)
    best = int(distance.argmin())
    return best if distance[best] <= _START_M else None


def _reach_m(graph: Sampled) -> float:
    """Lane metres from the start of the ego's edge as far as one can drive inside the graph; 0 if it is on none.

    From the edge's start: an ego that stands on the vertex of a fork reaches both arms, whichever edge is named first.
    """
    start = ego_edge(graph)
    if start is None:
        return 0.0
    edges, count = graph.graph.edges, len(graph)
    links = csr_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(count, count))
    reached = np.zeros(count, bool)
    reached[breadth_first_order(links, int(edges[start, 0]), directed=True, return_predecessors=False)] = True
    return float(graph.graph.edge_lengths_m[reached[edges[:, 0]]].sum())
