"""Where the origin lies must not matter: folding, embedding, changes and updates far from 0, 0 are those near it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_changes import POSES, SPEC, _evidence, _road
from test_street_fold import Counts, town

from foldmap.atlas import FoldFile, FoldUpdater, FoldWriter
from foldmap.geometry import SE2
from foldmap.street.changes.detect import apply_changes, find_changes
from foldmap.street.fold import StreetPlan, fold_street
from foldmap.street.graph.joining import join_ends
from foldmap.street.source import LaneGraph, StreetMap
from foldmap.street.unfold import FoldedStreet
from foldmap.street.update import update_street

SHIFTS = [(512_000.0, 5_400_576.0), (-4_100_000.0, 768_000.0)]


class Waves(Counts):
    """Waves summed along the lanes of a window: unlike counts, they hardly change where a vertex moves by 1 nm."""

    def embed_graphs(self, graphs: list[LaneGraph]) -> np.ndarray:
        wave = np.random.default_rng(5).normal(0, 0.2, (2, 64))
        rows = np.full((len(graphs), 64), 0.1)
        for row, graph in zip(rows, graphs, strict=True):
            row += graph.edge_lengths_m @ np.cos(graph.vertices_m[graph.edges].mean(1) @ wave)
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def folded(path: Path, graph: LaneGraph) -> tuple[LaneGraph, np.ndarray, np.ndarray]:
    with FoldWriter(path) as writer:
        fold_street(writer, [StreetMap("t", graph)], StreetPlan(tile_m=64.0, vectors="int8", model=Waves()))
    return stored(path)


def whole_tiles(path: Path, shift: tuple[float, float]) -> tuple[float, float]:
    """The shift to the nearest tile of a file: the same grid, so that nothing differs but the origin."""
    with FoldFile.open(path) as file:
        layer = FoldedStreet(file)
        side = layer.parameters["tile"] * layer.step_m
    return round(shift[0] / side) * side, round(shift[1] / side) * side


def stored(path: Path) -> tuple[LaneGraph, np.ndarray, np.ndarray]:
    with FoldFile.open(path) as file:
        layer = FoldedStreet(file)
        return layer.graph("t"), layer.places("t").xy_m, layer.embeddings("t")


@pytest.mark.parametrize("shift", SHIFTS)
def test_folding_and_updating_far_from_the_origin(tmp_path: Path, shift: tuple[float, float]) -> None:
    folded(tmp_path / "grid.fold", town())
    shift = whole_tiles(tmp_path / "grid.fold", shift)
    away = SE2(*shift, 0.0)
    for name, source in (("whole", town()), ("cut", town().take_edges(np.arange(len(town().edges)) > 20))):
        near_path, far_path = tmp_path / f"near-{name}.fold", tmp_path / f"far-{name}.fold"
        near, places, vectors = folded(near_path, source)
        far, far_places, far_vectors = folded(far_path, source.moved(away))
        np.testing.assert_array_equal(far.edges, near.edges)
        np.testing.assert_allclose(far.vertices_m - shift, near.vertices_m, atol=1e-6)
        np.testing.assert_allclose(far_places - shift, places, atol=1e-6)
        np.testing.assert_allclose(far_vectors, vectors, atol=1e-3)
        assert abs(far_path.stat().st_size - near_path.stat().st_size) <= 4096
    fewer = near.take_edges(np.arange(len(near.edges)) > 5)
    fewer_far = far.take_edges(np.arange(len(far.edges)) > 5)
    with FoldUpdater(near_path) as updater:
        done = update_street(updater, StreetMap("t", fewer), model=Waves())
    with FoldUpdater(far_path) as updater:
        done_far = update_street(updater, StreetMap("t", fewer_far), model=Waves())
    assert len(done.changed) == len(done_far.changed)
    np.testing.assert_allclose(stored(far_path)[0].vertices_m - shift, stored(near_path)[0].vertices_m, atol=1e-6)


@pytest.mark.parametrize("shift", SHIFTS)
def test_changes_far_from_the_origin(shift: tuple[float, float]) -> None:
    away = SE2(*shift, 0.0)
    truth = _road()
    old = truth.take_edges(np.abs(truth.vertices_m[truth.edges][:, :, 1].mean(1) - 8) > 1)
    evidence = _evidence(truth, old)
    (near,) = find_changes(old, POSES, evidence, SPEC)
    (far,) = find_changes(old.moved(away), [away @ pose for pose in POSES], evidence, SPEC)
    assert (far.kind, far.confidence) == (near.kind, pytest.approx(near.confidence, abs=1e-3))
    np.testing.assert_allclose(far.line_m - shift, near.line_m, atol=1e-3)
    again = apply_changes(old.moved(away), [far])
    assert again.length_m == pytest.approx(apply_changes(old, [near]).length_m, abs=1e-3)


@pytest.mark.parametrize("shift", SHIFTS)
def test_ends_are_joined_alike(shift: tuple[float, float]) -> None:
    lines = [np.array([[0.0, 0], [10, 0]]), np.array([[10.3, 0.1], [20, 0]]), np.array([[10.3, -0.1], [20, -5]])]
    near = join_ends(LaneGraph.from_polylines(lines))
    far = join_ends(LaneGraph.from_polylines([line + shift for line in lines]))
    np.testing.assert_array_equal(far.graph.edges, near.graph.edges)
    np.testing.assert_allclose(far.graph.vertices_m - shift, near.graph.vertices_m, atol=1e-6)
