"""The record of all street metrics, and its means; on real lane graphs the figures that were measured on them."""

import math
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from foldmap.errors import InputError
from foldmap.geometry import SE2
from foldmap.metrics.street_chamfer import PointSets, best_in_library, chamfer_matrix
from foldmap.metrics.street_sampled import EMPTY_M, sampled
from foldmap.metrics.street_scores import LOWER_IS_BETTER, StreetScores, mean_scores, sampled_scores, street_scores
from foldmap.street.graph.chains import resample
from foldmap.street.graph.window import AROUND, FRONTAL, cut
from foldmap.street.source import LaneGraph

FORK = LaneGraph(
    np.array([(-30, 0), (0, 0), (30, 0), (0, 30), (30, 4), (-30, 4)], np.float64),
    np.array([(0, 1), (1, 2), (1, 3), (4, 5)]),
)


def test_equal_graphs_have_perfect_scores() -> None:
    for window in (AROUND, FRONTAL):
        for graph in (FORK, LaneGraph.empty()):
            for name, value in street_scores(graph, graph, window).as_dict().items():
                assert value == pytest.approx(0.0 if name in LOWER_IS_BETTER else 1.0, abs=1e-7), name


@pytest.mark.parametrize("swap", [False, True])
def test_nothing_for_something_is_the_worst(swap: bool) -> None:
    pair = (FORK, LaneGraph.empty()) if swap else (LaneGraph.empty(), FORK)
    worst = street_scores(*pair).as_dict()
    assert worst["chamfer_m"] == pytest.approx(EMPTY_M)
    assert worst["rand_loss"] == 1.0
    assert worst["mmd"] == pytest.approx(math.sqrt(2))
    assert worst["density_relative_error"] == worst["reach_relative_error"] == 1.0
    assert worst["density_error"] == pytest.approx(100 * (41 + 20 + 41) / 1600)
    assert {value for name, value in worst.items() if name not in LOWER_IS_BETTER} == {0.0}


def test_what_lies_outside_the_window_does_not_count() -> None:
    beyond = LaneGraph(
        np.concatenate([FORK.vertices_m, [(40.0, 40.0), (60.0, 40.0)]]),
        np.concatenate([FORK.edges, [(6, 7)]]),
    )
    assert street_scores(beyond, FORK) == street_scores(FORK, FORK)
    clipped = sampled(cut(FORK, SE2(0, 0, 0)))
    assert sampled_scores(clipped, clipped) == street_scores(FORK, FORK)


def test_scores_fall_with_the_offset() -> None:
    rows = [street_scores(FORK.moved(SE2(0.0, dy, 0.0)), FORK).as_dict() for dy in (0.0, 0.7, 1.6, 3.2)]
    for name in ("chamfer_m", "mmd", "line_f", "geo_f", "topo_f", "det_l"):
        sign = 1 if name in LOWER_IS_BETTER else -1
        values = [sign * row[name] for row in rows]
        assert values == sorted(values), name
        assert values[0] < values[-1], name


def test_means_are_means() -> None:
    scores = [street_scores(FORK.moved(SE2(0.0, dy, 0.0)), FORK) for dy in (0.0, 1.0, 4.0)]
    mean = mean_scores(scores)
    assert [f.name for f in fields(StreetScores)] == list(mean.as_dict())
    for name, value in mean.as_dict().items():
        assert value == pytest.approx(sum(getattr(s, name) for s in scores) / 3)
    with pytest.raises(InputError, match="no windows"):
        mean_scores([])


def aerial_windows(folder: Path, every_m: float) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Vertices at 1 m of 40 m windows along all lanes and links, the number of their tile, where they are."""
    sets, tiles, places = [], [], []
    for number, path in enumerate(sorted(folder.glob("tile_*_graph.npz"))):
        with np.load(path, allow_pickle=False) as stored:
            vertices = stored["nodes_px"] * np.array([1.0, -1.0]) / 8.0 + np.array([0.0, 512.0])
            edges = np.unique(stored["edges"][:, :2].astype(np.int64), axis=0)
        graph = LaneGraph(vertices, edges[edges[:, 0] != edges[:, 1]])
        marks = resample(graph, every_m)
        ends = marks.vertices_m[marks.edges]
        middle, step = ends.mean(1), ends[:, 1] - ends[:, 0]
        for x, y, heading in np.c_[middle, np.arctan2(step[:, 1], step[:, 0])][::8]:
            if 20 < x < 492 and 20 < y < 492:
                sets.append(resample(cut(graph, SE2(x, y, heading)), 1.0).vertices_m)
                tiles.append(number)
                places.append((x, y))
    return sets, np.array(tiles), np.array(places)


@pytest.mark.shared
def test_chamfer_of_real_windows_is_what_it_was_measured_to_be(shared_data: Path) -> None:
    folder = shared_data / "street" / "aerial"
    if not folder.is_dir():
        pytest.skip("no aerial tiles")
    sets, tile, place = aerial_windows(folder, 10.0)
    chosen = np.random.default_rng(0).choice(len(sets), 25, replace=False)
    queries, library = PointSets.of([sets[k] for k in chosen]), PointSets.of(sets)
    same = tile[chosen][:, None] == tile[None]
    apart_m = np.linalg.norm(place[chosen][:, None] - place[None], axis=2)
    elsewhere = best_in_library(queries, library, ~same)
    nearby = best_in_library(queries, library, same & (apart_m > 5.0))
    # About 0.5 m in the same tile, 0.7 m in others, 2.7 m for a random one, give or take which windows are drawn.
    assert 0.3 < nearby.chamfer_m.mean() < 0.8
    assert 0.3 < elsewhere.chamfer_m.mean() < 0.8
    every = chamfer_matrix(queries, library)
    assert 2.0 < every[~same].mean() < 3.2
    assert (elsewhere.chamfer_m == np.where(same, np.inf, every).min(1)).all()
