"""GEO and TOPO: are the lanes there, and does one get from them to the same places?

In the spirit of Biagioni and Eriksson (2012) and of GEO/TOPO for lane graphs (He and Balakrishnan, 2022): marbles are
dropped on both graphs, matched one to one, and from each matched pair one drives on in both. Here the matching is one
for the whole window instead of one a start, so that both sums have one numerator.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra
from scipy.spatial.distance import cdist

from foldmap.metrics.detection import f_score
from foldmap.metrics.street_sampled import Sampled
from foldmap.types import BoolArray, IntArray

RADIUS_M = 2.0
"""Vertices match within this: less than a lane's width, so that a neighbouring lane does not pass for the right one."""
HORIZON_M = 50.0  # how far one drives from each start
_MATCH_COS = 0.5  # vertices match if their headings are within 60 degrees


@dataclass(frozen=True)
class TopologyScores:
    """Each 0 to 1."""

    geo_precision: float  # share of the predicted vertices with a true partner
    geo_recall: float  # share of the true vertices with a predicted partner
    geo_f: float  # harmonic mean
    topo_precision: float  # share of the pairs (start, place reached) of the prediction that hold between true partners
    topo_recall: float  # share of the true pairs that hold between predicted partners
    topo_f: float  # harmonic mean: the topology F


def topology_scores(predicted: Sampled, truth: Sampled, horizon_m: float = HORIZON_M) -> TopologyScores:
    """Compare what can be reached from where within a horizon of driving. Both empty: all 1; one empty: all 0."""
    if not len(predicted) or not len(truth):
        value = float(len(predicted) == len(truth))
        return TopologyScores(*(6 * [value]))
    ours, theirs = match_vertices(predicted, truth)
    geo = len(ours) / len(predicted), len(ours) / len(truth)
    reach, true_reach = reachable(predicted, horizon_m), reachable(truth, horizon_m)
    both = float((reach[np.ix_(ours, ours)] & true_reach[np.ix_(theirs, theirs)]).sum())
    topo = both / float(reach.sum()), both / float(true_reach.sum())
    return TopologyScores(*geo, f_score(*geo), *topo, f_score(*topo))


def match_vertices(predicted: Sampled, truth: Sampled, radius_m: float = RADIUS_M) -> tuple[IntArray, IntArray]:
    """One-to-one partners closer than a radius and heading alike: those with the least sum of ``min(d, radius)``.

    Gives indices (M,) of predicted and (M,) of true vertices.
    """
    distance = cdist(predicted.points_m, truth.points_m)
    cosine = predicted.headings @ truth.headings.T
    undirected = (predicted.headings == 0).all(1)[:, None] | (truth.headings == 0).all(1)[None, :]
    distance = np.where((cosine < _MATCH_COS) & ~undirected, np.inf, distance)
    cost = np.minimum(distance, radius_m)
    close = np.asarray(cost < radius_m)
    near_p, near_t = np.flatnonzero(close.any(1)), np.flatnonzero(close.any(0))
    rows, cols = linear_sum_assignment(cost[np.ix_(near_p, near_t)])
    rows, cols = near_p[rows], near_t[cols]
    kept = close[rows, cols]
    return rows[kept], cols[kept]


def reachable(graph: Sampled, horizon_m: float = HORIZON_M) -> BoolArray:
    """(V, V), true where column's vertex is reached from row's within a horizon; each reaches itself."""
    edges, count = graph.graph.edges, len(graph)
    links = csr_matrix((np.maximum(graph.graph.edge_lengths_m, 1e-9), (edges[:, 0], edges[:, 1])), (count, count))
    return np.asarray(np.isfinite(dijkstra(links, directed=True, limit=horizon_m)))
