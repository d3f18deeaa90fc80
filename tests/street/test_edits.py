"""Known edits do what they say and nothing else."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from foldmap.errors import ConfigError
from foldmap.street.changes.edits import EDITS, RandomAging, edit
from foldmap.street.graph.chains import chains, resample
from foldmap.street.graph.window import AROUND
from foldmap.street.source import LINK, LaneGraph


def _junction() -> LaneGraph:
    """Two lanes and a link that turns from one to the other."""
    lines = [
        [[-20.0, 0.0], [0.0, 0.0]],
        [[0.0, 0.0], [20.0, 0.0]],
        [[0.0, 0.0], [6.0, 2.0], [8.0, 8.0]],
        [[8.0, 8.0], [8.0, 20.0]],
    ]
    apart = LaneGraph.from_polylines([np.array(line) for line in lines], kinds=[0, 0, LINK, 0])
    first = cKDTree(apart.vertices_m).query_ball_point(apart.vertices_m, 1e-9)
    merged = np.array([min(near) for near in first])
    return resample(LaneGraph(apart.vertices_m, merged[apart.edges], apart.kind))


@pytest.mark.parametrize("kind", ["lane removed", "link removed"])
def test_removing_takes_one_chain_and_nothing_else(kind: str) -> None:
    graph = _junction()
    old, done = edit(graph, kind, np.random.default_rng(0)) or pytest.fail("nothing could be edited")
    assert len(chains(graph)) - len(chains(old)) in (1, 2)  # two that it parted may become one
    assert graph.length_m - old.length_m == pytest.approx(np.linalg.norm(np.diff(done.before_m, axis=0), axis=1).sum())
    assert (old.kind == LINK).sum() == (0 if kind == "link removed" else (graph.kind == LINK).sum())
    assert not len(done.after_m)


def test_a_shifted_lane_is_three_to_five_metres_beside_itself() -> None:
    graph = _junction()
    old, done = edit(graph, "lane shifted", np.random.default_rng(1)) or pytest.fail("nothing could be edited")
    apart = cKDTree(done.before_m).query(done.after_m)[0]
    assert ((apart > 2.9) & (apart < 5.1)).all()
    assert old.length_m == pytest.approx(graph.length_m, rel=0.02)


def test_an_added_lane_is_where_no_lane_was() -> None:
    graph = _junction()
    old, done = edit(graph, "lane added", np.random.default_rng(2)) or pytest.fail("nothing could be edited")
    assert len(old.edges) == len(graph.edges) + len(done.after_m) - 1
    assert np.mean(cKDTree(graph.vertices_m).query(done.after_m)[0] > 2) > 0.7
    assert not len(done.before_m)


def test_short_chains_and_those_outside_are_left_alone() -> None:
    short = resample(LaneGraph.from_polylines([np.array([[0.0, 0.0], [10.0, 0.0]])]))
    far = resample(LaneGraph.from_polylines([np.array([[100.0, 0.0], [150.0, 0.0]])]))
    for kind in EDITS:
        assert edit(short, kind, np.random.default_rng(0)) is None
        assert edit(far, kind, np.random.default_rng(0), AROUND) is None
        assert edit(LaneGraph.empty(), kind, np.random.default_rng(0)) is None
    with pytest.raises(ConfigError, match="no edit"):
        edit(short, "lane painted", np.random.default_rng(0))


def test_aging_edits_its_share() -> None:
    graph = _junction()
    aging = RandomAging(0.75, AROUND)
    changed = [aging(graph, np.random.default_rng(n)) is not graph for n in range(400)]
    assert 0.6 < np.mean(changed) < 0.85
