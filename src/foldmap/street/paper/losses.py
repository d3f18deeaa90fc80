"""The paper's objective, term by term (Pix2Map, "Approach"): contrastive, chamfer and edge.

    l = w1 l_contrastive + w2 l_chamfer + w3 l_edge
    a_ij = <image_i, graph_j> / (|image_i| |graph_j|)
    l_contrastive = 1 / (2 N) sum_i (-log softmax_j(a_ij)[i] - log softmax_j(a_ji)[i])
    l_chamfer = sum_{v in V_0} sum_i alpha_i distance(v, pi_i(v)),                     alpha = softmax_i(a)
    l_edge = sum_{v, w in V_0} BCE(sum_i alpha_i E_i(pi_i(v), pi_i(w)) + eps, E_0(v, w))

What the slides leave open, and what is done here:

- ``alpha_i = softmax_i a_{i0}`` reads as graph 0 against image i, but what is retrieved for image 0 is weighed by
  image 0 against graph i: rows are images, and row 0 is used.
- i runs over the whole batch, graph 0 itself included: the best answer is the truth, at distance zero and with its
  own edges.
- A batch has N queries: their terms are averaged, as the contrastive ones are.
- The sums over vertices are either taken as written (``per_vertex=False``), or divided by |V_0|, which keeps one
  weight good for windows with few and many lanes; the latter is what `foldmap.street.paper.train` uses.
- distance is Euclidean, in metres. eps and w2, w3 are not given: 1e-3 here, and `TrainSettings`. The probability is
  held in [eps, 1 - eps], as it can exceed one by eps.
- There is no temperature on the slides, which is temperature 1; a learned one divides a in all three terms.

Pairs (v, w) without an edge in graph 0 and without one in any retrieved graph all have the same probability, eps; they
are counted, not listed, so that the sum over V_0 x V_0 is exact.

For vertex v of graph q, pi_i(v) is the vertex of graph i nearest to v (the first of equals). It depends on no weight,
so it is computed once a batch, without gradient, and so is where ``E_i(pi_i(v), pi_i(w))`` is one. Those places are
few: instead of all V x V pairs times all graphs, edges are walked backwards through pi. The sums are the same, exactly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numba import njit
from torch import Tensor
from torch.nn import functional

from foldmap.types import AnyArray, IntArray

EPS = 1e-3


@dataclass(frozen=True)
class SoftTargets:
    """Facts of a batch of N graphs.

    Attributes:
        distance_NN: float32, row q, column i: sum over v in V_q of the distance from v to pi_i(v), metres.
        vertices_N: float32, |V_q|.
        pair_graph_P: int64, the graph q of each pair (v, w) that is an edge of q, or that some graph i has an edge for.
        truth_P: float32, E_q(v, w).
        met_pair_M, met_graph_M: int64, index of a pair for which this graph has an edge between its nearest vertices.
    """

    distance_NN: Tensor
    vertices_N: Tensor
    pair_graph_P: Tensor
    truth_P: Tensor
    met_pair_M: Tensor
    met_graph_M: Tensor


def similarities(images_ND: Tensor, graphs_ND: Tensor) -> Tensor:
    """a_ij: the cosine of each image (row) with each graph (column), (N, N)."""
    return functional.normalize(images_ND, dim=1) @ functional.normalize(graphs_ND, dim=1).T


def contrastive_loss(similarity_NN: Tensor, scale: Tensor | float = 1.0) -> Tensor:
    """Cross-entropy of the right graph among the batch's, and of the right image, averaged; scale: 1 / temperature."""
    logits = similarity_NN * scale
    right = torch.arange(len(logits), device=logits.device)
    return (functional.cross_entropy(logits, right) + functional.cross_entropy(logits.T, right)) / 2


def soft_retrieval(similarity_NN: Tensor, scale: Tensor | float = 1.0) -> Tensor:
    """alpha: how much of each graph is retrieved for each image; rows sum to one."""
    return (similarity_NN * scale).softmax(1)


def chamfer_loss(alpha_NN: Tensor, targets: SoftTargets, *, per_vertex: bool = True) -> Tensor:
    """The expected distance from a vertex to the graph that is softly retrieved, metres."""
    distance_NN = targets.distance_NN
    if per_vertex:
        distance_NN = distance_NN / targets.vertices_N.clamp_min(1)[:, None]
    return (alpha_NN * distance_NN).sum(1).mean()


def edge_loss(alpha_NN: Tensor, targets: SoftTargets, *, per_vertex: bool = True) -> Tensor:
    """Binary cross-entropy between the softly retrieved edges and the true ones, nats."""
    graph_P, met_P = targets.pair_graph_P, targets.met_pair_M
    share_M = alpha_NN[graph_P[met_P], targets.met_graph_M]
    chance_P = alpha_NN.new_zeros(len(graph_P)).index_add(0, met_P, share_M)
    listed_P = functional.binary_cross_entropy((chance_P + EPS).clamp(EPS, 1 - EPS), targets.truth_P, reduction="none")
    count = len(alpha_NN)
    total_N = alpha_NN.new_zeros(count).index_add(0, graph_P, listed_P)
    unlisted_N = targets.vertices_N**2 - torch.bincount(graph_P, minlength=count)
    total_N = total_N - unlisted_N * math.log1p(-EPS)
    if per_vertex:
        total_N = total_N / targets.vertices_N.clamp_min(1)
    return total_N.mean()


def soft_targets(vertices_m: Sequence[AnyArray], edges: Sequence[IntArray], far_m: float) -> SoftTargets:
    """Compare all graphs of a batch, vertices (V, 2) and edges int64 (E, 2), with each other.

    All are in ego frames; `far_m` is the distance to a graph without vertices.
    """
    sizes = np.array([len(points) for points in vertices_m], np.int64)
    first = np.concatenate([[0], np.cumsum(sizes)])
    points = np.concatenate([np.zeros((0, 2)), *vertices_m]).astype(np.float32)
    joined = np.concatenate([np.zeros((0, 2), np.int64), *(e + f for e, f in zip(edges, first[:-1], strict=True))])
    joined = joined[np.lexsort((joined[:, 1], joined[:, 0]))]
    successor_first = np.searchsorted(joined[:, 0], np.arange(first[-1] + 1))
    nearest, distance_PN = _nearest(points, first)
    distance_PN[:, sizes == 0] = far_m
    distance = np.zeros((len(sizes), len(sizes)), np.float32)
    if len(points):
        distance[sizes > 0] = np.add.reduceat(distance_PN, first[:-1][sizes > 0], axis=0)
    found = _meet(nearest, first, successor_first, joined[:, 1].copy())
    return SoftTargets(
        torch.from_numpy(distance),
        torch.from_numpy(sizes.astype(np.float32)),
        *(torch.from_numpy(array) for array in found),
    )


@njit(cache=True)
def _nearest(points, first):  # type: ignore[no-untyped-def]
    """Nearest vertex of each graph for each point, (P, N), -1 where the graph is empty, and the distance."""
    count = len(first) - 1
    nearest = np.full((len(points), count), -1, np.int64)
    distance = np.zeros((len(points), count), np.float32)
    xs, ys = points[:, 0].copy(), points[:, 1].copy()
    for p in range(len(points)):
        x, y = xs[p], ys[p]
        for i in range(count):
            low = np.float32(np.inf)
            for o in range(first[i], first[i + 1]):
                far = (xs[o] - x) * (xs[o] - x) + (ys[o] - y) * (ys[o] - y)
                if far < low:
                    low = far
                    nearest[p, i] = o
            distance[p, i] = np.sqrt(low)
    return nearest, distance


@njit(cache=True)
def _meet(nearest, first, successor_first, successor):  # type: ignore[no-untyped-def]
    """Pairs with an edge in their own graph or, through pi, in another; and through which graphs."""
    count, most = len(first) - 1, 0
    for q in range(count):
        most = max(most, first[q + 1] - first[q])
    slot = np.full((most, most), -1, np.int64)
    head, follow = np.full(max(len(nearest), 1), -1, np.int64), np.full(max(most, 1), -1, np.int64)
    pair_graph, truth = np.empty(1024, np.int64), np.empty(1024, np.float32)
    pair_v, pair_w = np.empty(1024, np.int64), np.empty(1024, np.int64)
    met_pair, met_graph = np.empty(4096, np.int64), np.empty(4096, np.int64)
    pairs, met = 0, 0
    for q in range(count):
        start, own = first[q], pairs
        for i in range(-1, count):  # -1: the graph's own edges, which need no pi
            if i >= 0:
                for v in range(first[q + 1] - start):  # preimages of pi_i as linked lists
                    at = nearest[start + v, i]
                    if at >= 0:
                        follow[v] = head[at]
                        head[at] = v
            for v in range(first[q + 1] - start):
                at = start + v if i < 0 else nearest[start + v, i]
                if at < 0:
                    continue
                for e in range(successor_first[at], successor_first[at + 1]):
                    w = successor[e] - start if i < 0 else head[successor[e]]
                    while w >= 0:
                        if slot[v, w] < 0:
                            if pairs == len(pair_graph):
                                pair_graph = np.concatenate((pair_graph, pair_graph))
                                truth = np.concatenate((truth, truth))
                                pair_v, pair_w = np.concatenate((pair_v, pair_v)), np.concatenate((pair_w, pair_w))
                            slot[v, w] = pairs
                            pair_graph[pairs], pair_v[pairs], pair_w[pairs] = q, v, w
                            truth[pairs] = 1 if i < 0 else 0
                            pairs += 1
                        if i < 0:
                            break
                        if met == len(met_pair):
                            met_pair = np.concatenate((met_pair, met_pair))
                            met_graph = np.concatenate((met_graph, met_graph))
                        met_pair[met], met_graph[met] = slot[v, w], i
                        met += 1
                        w = follow[w]
            if i >= 0:
                for v in range(first[q + 1] - start):
                    at = nearest[start + v, i]
                    if at >= 0:
                        head[at] = -1
        for p in range(own, pairs):
            slot[pair_v[p], pair_w[p]] = -1
    return pair_graph[:pairs], truth[:pairs], met_pair[:met], met_graph[:met]
