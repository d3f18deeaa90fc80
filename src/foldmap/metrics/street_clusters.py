"""Rand loss: do the two graphs connect the same places?"""

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from foldmap.metrics.street_sampled import TURN_M, Sampled
from foldmap.types import IntArray


def _components(sampled: Sampled) -> IntArray:
    """The weakly connected component of each vertex, int64 (V,)."""
    count, edges = len(sampled), sampled.graph.edges
    links = coo_matrix((np.ones(len(edges), np.int8), (edges[:, 0], edges[:, 1])), shape=(count, count))
    return np.asarray(connected_components(links, directed=False)[1].astype(np.int64))


def rand_index(one: IntArray, other: IntArray) -> float:
    """The share of pairs of N elements that two clusterings, int64 (N,) from 0, both join or both part (Rand 1971)."""
    count = len(one)
    if count < 2:
        return 1.0
    table = np.zeros((int(one.max()) + 1, int(other.max()) + 1))
    np.add.at(table, (one, other), 1.0)
    both = (table * table).sum()
    first, second = (table.sum(1) ** 2).sum(), (table.sum(0) ** 2).sum()
    # Ordered pairs joined in one alone or in the other alone; an element with itself is joined in both.
    return 1.0 - float(first + second - 2.0 * both) / (count * (count - 1))


def rand_loss(predicted: Sampled, truth: Sampled) -> float:
    """1 minus the Rand index over connectivity, 0 to 1, mean of both directions.

    The truth's metres of lane (the edges of the graph at 1 m) are clustered twice: by its weakly connected components,
    and by the component of the prediction's nearest metre, where headings apart count as distance (`TURN_M`), so that
    at a crossing each lane finds itself. The other direction clusters the prediction's metres, so that a lane too many
    counts. Both empty: 0; one empty: 1.
    """
    if not len(predicted) or not len(truth):
        return float(bool(len(predicted)) != bool(len(truth)))
    of_predicted = _components(predicted)[predicted.graph.edges[:, 0]]
    of_truth = _components(truth)[truth.graph.edges[:, 0]]
    ours, theirs = (np.hstack([graph.pieces[0], TURN_M * graph.pieces[1]]) for graph in (predicted, truth))
    to_predicted, to_truth = cKDTree(ours).query(theirs)[1], cKDTree(theirs).query(ours)[1]
    there = rand_index(of_truth, of_predicted[to_predicted])
    back = rand_index(of_predicted, of_truth[to_truth])
    return 1.0 - 0.5 * (there + back)
