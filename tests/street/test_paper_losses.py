"""The objective against loops that follow the slides symbol by symbol, and nearest vertices against SciPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from paper_scene import crossing
from scipy.spatial import cKDTree

from foldmap.street.paper.losses import (
    EPS,
    SoftTargets,
    chamfer_loss,
    contrastive_loss,
    edge_loss,
    similarities,
    soft_retrieval,
    soft_targets,
)
from foldmap.street.source import LaneGraph


def _graphs(count: int) -> list[LaneGraph]:
    random = np.random.default_rng(7)
    graphs = [crossing(random) for _ in range(count)]
    return [graph.take_vertices(np.arange(0, 4 + 3 * number)) for number, graph in enumerate(graphs)]


def _targets(graphs: list[LaneGraph]) -> SoftTargets:
    return soft_targets([graph.vertices_m for graph in graphs], [graph.edges for graph in graphs], 50.0)


def _pi(v: np.ndarray, graph: LaneGraph) -> int:
    return int(np.argmin(((graph.vertices_m.astype(np.float32) - v.astype(np.float32)) ** 2).sum(1)))


def _slow_chamfer(alpha: np.ndarray, graphs: list[LaneGraph], q: int) -> float:
    total = 0.0
    for v in graphs[q].vertices_m:
        for i, graph in enumerate(graphs):
            total += alpha[q, i] * math.dist(v, graph.vertices_m[_pi(v, graph)])
    return total


def _slow_edge(alpha: np.ndarray, graphs: list[LaneGraph], q: int) -> float:
    adjacency = []
    for graph in graphs:
        matrix = np.zeros((len(graph), len(graph)))
        matrix[graph.edges[:, 0], graph.edges[:, 1]] = 1
        adjacency.append(matrix)
    total = 0.0
    for a, v in enumerate(graphs[q].vertices_m):
        for b, w in enumerate(graphs[q].vertices_m):
            chance = sum(alpha[q, i] * adjacency[i][_pi(v, g), _pi(w, g)] for i, g in enumerate(graphs)) + EPS
            chance = min(max(chance, EPS), 1 - EPS)
            total -= math.log(chance) if adjacency[q][a, b] else math.log(1 - chance)
    return total


@pytest.fixture
def similarity() -> torch.Tensor:
    torch.manual_seed(1)
    return similarities(torch.randn(5, 8), torch.randn(5, 8))


def test_contrastive_is_the_slides_formula(similarity: torch.Tensor) -> None:
    a = similarity.double().numpy()
    for scale in (1.0, 8.0):
        total = 0.0
        for i in range(5):
            total -= math.log(math.exp(scale * a[i, i]) / sum(math.exp(scale * a[i, j]) for j in range(5)))
            total -= math.log(math.exp(scale * a[i, i]) / sum(math.exp(scale * a[j, i]) for j in range(5)))
        assert float(contrastive_loss(similarity, scale)) == pytest.approx(total / 10, rel=1e-5)


def test_similarities_are_cosines() -> None:
    a, b = torch.randn(3, 4), torch.randn(2, 4)
    for i in range(3):
        for j in range(2):
            wanted = float(a[i] @ b[j] / (a[i].norm() * b[j].norm()))
            assert float(similarities(a, b)[i, j]) == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("per_vertex", [True, False])
def test_chamfer_and_edge_terms_are_the_loops(similarity: torch.Tensor, per_vertex: bool) -> None:
    graphs = _graphs(5)
    alpha_NN = soft_retrieval(similarity, 3.0)
    alpha = alpha_NN.double().numpy()
    shares = [1 / len(graph) if per_vertex else 1.0 for graph in graphs]
    targets = _targets(graphs)
    chamfer = np.mean([_slow_chamfer(alpha, graphs, q) * shares[q] for q in range(5)])
    edge = np.mean([_slow_edge(alpha, graphs, q) * shares[q] for q in range(5)])
    assert float(chamfer_loss(alpha_NN, targets, per_vertex=per_vertex)) == pytest.approx(chamfer, rel=1e-5)
    assert float(edge_loss(alpha_NN, targets, per_vertex=per_vertex)) == pytest.approx(edge, rel=1e-4)


def test_distances_are_scipy_s_nearest_neighbours() -> None:
    graphs = _graphs(6)
    targets = _targets(graphs)
    for q, query in enumerate(graphs):
        for i, graph in enumerate(graphs):
            wanted = cKDTree(graph.vertices_m).query(query.vertices_m)[0].sum()
            assert float(targets.distance_NN[q, i]) == pytest.approx(wanted, rel=1e-5, abs=1e-5)
    assert targets.vertices_N.tolist() == [len(graph) for graph in graphs]


@pytest.mark.parametrize("empty", [0, 1, 2])
def test_an_empty_graph_is_far_from_everything_and_has_no_terms_of_its_own(empty: int) -> None:
    graphs = _graphs(3)
    graphs[empty] = LaneGraph.empty()
    targets, others = _targets(graphs), [i for i in range(3) if i != empty]
    assert targets.distance_NN[empty].tolist() == [0.0] * 3
    for q in others:
        assert float(targets.distance_NN[q, empty]) == pytest.approx(50.0 * len(graphs[q]))
        assert float(targets.distance_NN[q, q]) == 0
    assert not set(targets.met_graph_M.tolist()) & {empty}
    alpha = torch.eye(3)
    assert float(chamfer_loss(alpha, targets)) == 0
    assert bool(edge_loss(alpha, targets).isfinite())


def test_the_truth_is_the_best_answer_and_gradients_lead_there() -> None:
    graphs = _graphs(8)[4:]
    targets = _targets(graphs)
    sure = soft_retrieval(torch.eye(4), 1e4)
    assert float(chamfer_loss(sure, targets)) == 0
    unsure = torch.zeros(4, 4, requires_grad=True)
    alpha = soft_retrieval(unsure, 1.0)
    assert float(edge_loss(sure, targets)) < float(edge_loss(alpha, targets).detach())
    for loss in (chamfer_loss(alpha, targets), edge_loss(alpha, targets)):
        (gradient,) = torch.autograd.grad(loss, unsure, retain_graph=True)
        off = gradient[~torch.eye(4, dtype=torch.bool)]
        assert (gradient.diagonal() < 0).all()
        assert off.sum() > 0
