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
  own edges. `soft_retrieval` leaves it out where that is asked for.
- A batch has N queries: their terms are averaged, as the contrastive ones are.
- The sums over vertices are either taken as written (``per_vertex=False``), or divided by |V_0|, which keeps one
  weight good for windows with few and many lanes; the latter is what `foldmap.street.paper.train` uses.
- distance is Euclidean, in metres. eps and w2, w3 are not given: 1e-3 here, and `TrainSettings`. The probability is
  held in [eps, 1 - eps], as it can exceed one by eps.
- There is no temperature on the slides, which is temperature 1; a learned one divides a in all three terms.

Pairs (v, w) without an edge in graph 0 and without one in any retrieved graph all have the same probability, eps; they
are counted, not listed, so that the sum over V_0 x V_0 is exact.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from foldmap.street.paper.soft_targets import SoftTargets

EPS = 1e-3


def similarities(images_ND: Tensor, graphs_ND: Tensor) -> Tensor:
    """a_ij: the cosine of each image (row) with each graph (column), (N, N)."""
    return functional.normalize(images_ND, dim=1) @ functional.normalize(graphs_ND, dim=1).T


def contrastive_loss(similarity_NN: Tensor, scale: Tensor | float = 1.0) -> Tensor:
    """Cross-entropy of the right graph among the batch's, and of the right image, averaged.

    Args:
        similarity_NN: from `similarities`.
        scale: one over the temperature.
    """
    logits = similarity_NN * scale
    right = torch.arange(len(logits), device=logits.device)
    return (functional.cross_entropy(logits, right) + functional.cross_entropy(logits.T, right)) / 2


def soft_retrieval(similarity_NN: Tensor, scale: Tensor | float = 1.0, *, own: bool = True) -> Tensor:
    """alpha: how much of each graph is retrieved for each image; rows sum to one.

    Args:
        similarity_NN: from `similarities`.
        scale: one over the temperature.
        own: whether the query's own graph is in the softmax.
    """
    logits = similarity_NN * scale
    if not own:
        logits = logits.masked_fill(torch.eye(len(logits), dtype=torch.bool, device=logits.device), -math.inf)
    return logits.softmax(1)


def chamfer_loss(alpha_NN: Tensor, targets: SoftTargets, *, per_vertex: bool = True) -> Tensor:
    """The expected distance from a vertex to the graph that is softly retrieved, metres."""
    distance_NN = targets.distance_NN
    if per_vertex:
        distance_NN = distance_NN / targets.vertices_N.clamp_min(1)[:, None]
    return (alpha_NN * distance_NN).sum(1).mean()


def edge_loss(alpha_NN: Tensor, targets: SoftTargets, *, per_vertex: bool = True, eps: float = EPS) -> Tensor:
    """Binary cross-entropy between the softly retrieved edges and the true ones, nats."""
    graph_P, met_P = targets.pair_graph_P, targets.met_pair_M
    share_M = alpha_NN[graph_P[met_P], targets.met_graph_M]
    chance_P = alpha_NN.new_zeros(len(graph_P)).index_add(0, met_P, share_M)
    listed_P = functional.binary_cross_entropy((chance_P + eps).clamp(eps, 1 - eps), targets.truth_P, reduction="none")
    count = len(alpha_NN)
    total_N = alpha_NN.new_zeros(count).index_add(0, graph_P, listed_P)
    unlisted_N = targets.vertices_N**2 - torch.bincount(graph_P, minlength=count)
    total_N = total_N - unlisted_N * math.log1p(-eps)
    if per_vertex:
        total_N = total_N / targets.vertices_N.clamp_min(1)
    return total_N.mean()
