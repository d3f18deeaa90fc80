"""Changes found from ideal evidence: drawn from the truth and the edited map, no network between."""

import numpy as np
import pytest
from scipy.spatial.distance import directed_hausdorff

from foldmap.errors import LimitError, MapInputError, ModelError
from foldmap.geometry import SE2
from foldmap.street.changes.detect import (
    ADDED,
    LEAST,
    MOVED,
    READ,
    REMOVED,
    apply_changes,
    doubt,
    find_changes,
    quiet_least,
)
from foldmap.street.changes.edits import edit
from foldmap.street.changes.survey import Evidence, blob, gather
from foldmap.street.changes.tracing import trace_lines
from foldmap.street.field.lane_field import FieldSpec, draw
from foldmap.street.field.model import FieldEmbedding
from foldmap.street.field.network import FieldNetwork, FieldShape
from foldmap.street.field.world import lay_together
from foldmap.street.graph.chains import resample
from foldmap.street.graph.window import cut
from foldmap.street.source import LaneGraph

SPEC = FieldSpec()
POSES = [SE2(x, 2.0, 0.2) for x in (-10.0, -5.0, 0.0, 5.0, 10.0)]


def _road() -> LaneGraph:
    lines = [[[-40.0, y], [40.0, y]] for y in (0.0, 8.0)] + [[[5.0, -30.0], [5.0, -5.0]]]
    return resample(LaneGraph.from_polylines([np.array(line) for line in lines]))


def _evidence(truth: LaneGraph, old: LaneGraph) -> list[Evidence]:
    out = []
    for pose in POSES:
        now, then = draw(cut(truth, pose), SPEC), draw(cut(old, pose), SPEC)
        lacking, gone = np.maximum(now - then, 0), np.maximum(then - now, 0)
        out.append(Evidence(now, lacking, gone, max(blob(lacking), blob(gone))))
    return out


def _apart(a: np.ndarray, b: np.ndarray) -> float:
    return max(directed_hausdorff(a, b)[0], directed_hausdorff(b, a)[0])


def test_nothing_changed_is_nothing_found() -> None:
    assert find_changes(_road(), POSES, _evidence(_road(), _road()), SPEC) == []


def test_changes_count_from_where_unchanged_lanes_tell_few() -> None:
    told = [0.36, 0.41, 0.48, 0.52, 0.58, 0.66, 0.71]  # confidences of false changes

    def false(least: float) -> int:
        return sum(one >= least for one in told)

    assert quiet_least(false, 10.0) == 0.6  # two in ten kilometres
    assert quiet_least(false, 35.0) == LEAST
    assert quiet_least(false, 4.9) is None  # too short to say
    assert quiet_least(lambda least: 9, 10.0) is None


def test_doubt_is_of_the_network_and_not_of_a_change() -> None:
    truth = _road()
    beside = np.stack([np.linspace(-40, 40, 81), np.full(81, 4.0)], 1)
    old = truth.with_chain(beside, len(truth) + np.arange(81))
    seen = _evidence(truth, old)
    assert doubt(old, POSES, seen, SPEC) <= READ  # one lane of four is gone
    fog = [Evidence(one.present, one.lacking, one.gone + np.float32(0.1), one.score) for one in seen]
    assert doubt(old, POSES, fog, SPEC) > 0.1 > READ
    assert doubt(LaneGraph.empty(), POSES, seen, SPEC) == 1.0


def test_a_lane_that_the_map_lacks_is_found_where_it_is() -> None:
    truth = _road()
    old = truth.take_edges(np.abs(truth.vertices_m[truth.edges][:, :, 1].mean(1) - 8) > 1)
    (change,) = find_changes(old, POSES, _evidence(truth, old), SPEC)
    assert change.kind == ADDED
    assert np.abs(change.line_m[:, 1] - 8).max() < 0.6
    assert change.line_m[-1, 0] > change.line_m[0, 0] + 30  # in driving direction
    assert change.confidence > 0.6
    again = apply_changes(old, [change])
    assert again.length_m == pytest.approx(
        old.length_m + np.linalg.norm(np.diff(change.line_m, axis=0), axis=1).sum(), rel=0.05
    )


def test_a_lane_that_is_gone_is_found_edge_by_edge_and_taken_out() -> None:
    old = _road()
    truth = old.take_edges(old.vertices_m[old.edges][:, :, 0].mean(1) != 5.0)  # the side road
    (change,) = find_changes(old, POSES, _evidence(truth, old), SPEC)
    assert change.kind == REMOVED
    assert np.allclose(change.line_m[:, 0], 5.0)
    assert set(change.edges) <= set(np.flatnonzero(old.vertices_m[old.edges][:, :, 0].mean(1) == 5.0))
    updated = apply_changes(old, [change])
    assert updated.length_m == pytest.approx(old.length_m - old.edge_lengths_m[change.edges].sum())


def test_a_shifted_lane_has_moved() -> None:
    truth = _road()
    for seed in range(3):
        old, done = edit(truth, "lane shifted", np.random.default_rng(seed)) or pytest.fail("no lane")
        found = find_changes(old, POSES, _evidence(truth, old), SPEC)
        assert [change.kind for change in found] == [MOVED]
        inside = np.abs(done.before_m).max(1) < 15
        assert directed_hausdorff(done.before_m[inside], found[0].line_m)[0] < 1.0


def test_tracing_follows_a_bend_and_a_crossing() -> None:
    angle = np.linspace(0, 1.5, 60)
    bend = np.stack([20 * np.sin(angle) - 12, 20 * np.cos(angle) - 12], 1)
    graph = LaneGraph.from_polylines([bend, np.array([[0.0, -18.0], [0.0, 18.0]])])
    field = lay_together([draw(graph, SPEC)], [SE2(0, 0, 0)], SPEC)
    lines = trace_lines(field, 0.3)
    assert len(lines) == 2
    inside = bend[np.abs(bend).max(1) < 18]
    best = min(lines, key=lambda line: directed_hausdorff(inside, line.line_m)[0])
    assert directed_hausdorff(inside, best.line_m)[0] < 1.2


def test_windows_laid_together_agree_with_one_large_window() -> None:
    graph = _road()
    field = lay_together([draw(cut(graph, pose), SPEC) for pose in POSES], POSES, SPEC)
    x, y = np.linspace(-20, 20, 30), np.full(30, 8.0)
    assert field.at(x, y, np.zeros(30)).min() > 0.65  # interpolated twice, 0.88 when drawn
    assert field.at(x, y, np.full(30, np.pi)).max() < 0.05
    assert field.at(x, y + 4, np.zeros(30)).max() < 0.1
    with pytest.raises(LimitError, match="in parts"):
        lay_together([draw(graph, SPEC)] * 2, [SE2(0, 0, 0), SE2(1e5, 1e5, 0)], SPEC)


def test_a_model_without_a_map_and_poses_that_do_not_fit_are_refused() -> None:
    model = FieldEmbedding(FieldNetwork(FieldShape(width=8)))
    with pytest.raises(ModelError, match="takes no map"):
        gather(model, [], [])
    with pytest.raises(MapInputError, match="at 0 poses"):
        find_changes(_road(), [], _evidence(_road(), _road()), SPEC)
    gone = find_changes(_road(), POSES, _evidence(LaneGraph.empty(), _road()), SPEC)
    with pytest.raises(MapInputError, match="does not have"):
        apply_changes(LaneGraph.empty(), gone)
