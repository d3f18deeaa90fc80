"""Changes found from ideal evidence: drawn from the truth and the edited map, no network between."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.distance import directed_hausdorff

from foldmap.errors import LimitError, MapInputError, ModelError
from foldmap.geometry import SE2
from foldmap.street.changes.detect import (
    ADDED,
    FALSE_A_KM,
    LEAST,
    MOVED,
    NEVER,
    REMOVED,
    TRACED,
    Change,
    apply_changes,
    asked_confidence,
    doubt,
    find_changes,
    quiet_least,
)
from foldmap.street.changes.edits import edit
from foldmap.street.changes.survey import Evidence, blob, gather
from foldmap.street.changes.tracing import trace_lines
from foldmap.street.defaults import READ
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


def test_changes_count_from_where_a_bound_of_the_false_ones_is_low() -> None:
    told = [0.36, 0.41, 0.48, 0.52, 0.58, 0.66, 0.71]  # confidences of false changes
    assert quiet_least(told, 24.0) == 0.67  # one more in 24 km: at most 4.74 of such drives, by Poisson
    assert quiet_least(told, 16.0) == 0.72  # none: at most 3.0
    assert quiet_least(told, 14.9) is None  # none would say too little
    assert quiet_least([], 15.0) == TRACED
    assert quiet_least(told * 9, 4.9) is None  # nor does what is told in less than one false change may take
    assert quiet_least(np.linspace(0.4, 0.99, 200).tolist(), 10.0) == NEVER


@pytest.mark.parametrize(("km", "rate", "scale", "low_from"), [(16.0, 10.0, 0.05, 0.35), (6.0, 15.0, 0.04, 0.33)])
def test_the_bound_holds_for_drives_that_it_was_not_set_on(
    km: float, rate: float, scale: float, low_from: float
) -> None:
    rng = np.random.default_rng(3)

    def truly(least: float | None) -> float:
        return 0.0 if least is None else rate * float(np.exp(-(least - TRACED) / scale))

    assert truly(low_from) == pytest.approx(FALSE_A_KM, rel=0.2)
    drawn = [np.sort(TRACED + rng.exponential(scale, rng.poisson(rate * km))) for _ in range(1000)]
    chosen = [quiet_least(one.tolist(), km) for one in drawn]
    counted = [float(one[-1 - int(FALSE_A_KM * km)]) for one in drawn]  # as many as are allowed: what was done before
    assert np.mean([truly(one) > FALSE_A_KM for one in chosen]) <= 0.06  # 5 %, and what 1,000 draws leave open
    assert np.mean([truly(one) > FALSE_A_KM for one in counted]) > 0.2
    assert np.median([one or NEVER for one in chosen]) <= low_from + 0.1


def test_a_model_says_from_where_its_changes_count() -> None:
    truth = _road()
    beside = np.stack([np.linspace(-40, 40, 81), np.full(81, 4.0)], 1)
    old = truth.with_chain(beside, len(truth) + np.arange(81))
    seen = _evidence(truth, old)
    fog = [Evidence(one.present, one.lacking, one.gone + np.float32(0.1), one.score) for one in seen]
    assert doubt(old, POSES, seen, SPEC) <= READ  # one lane of four is gone
    assert doubt(old, POSES, fog, SPEC) > 0.1 > READ
    assert doubt(LaneGraph.empty(), POSES, seen, SPEC) == 1.0
    unknown = FieldEmbedding(FieldNetwork(FieldShape(with_map=True)))
    trained = replace(unknown, least_change=0.65)
    shipped = replace(trained, reads=READ)
    for model, clear, foggy in ((unknown, LEAST, LEAST), (trained, 0.65, 0.65), (shipped, LEAST, 0.65)):
        assert asked_confidence(model, old, POSES, seen) == clear
        assert asked_confidence(model, old, POSES, fog) == foggy


def test_what_is_strong_in_a_patch_alone_is_not_told() -> None:
    whole, patch = (resample(LaneGraph.from_polylines([np.array([[-half, 8.0], [half, 8.0]])])) for half in (40.0, 5.0))

    def told(along: float, in_patch: float, kind: str) -> list[Change]:
        seen = []
        for pose in POSES:
            field = along * draw(cut(whole, pose), SPEC) + in_patch * draw(cut(patch, pose), SPEC)
            nothing = np.zeros_like(field)
            seen.append(Evidence(field, *((nothing, field) if kind == REMOVED else (field, nothing)), 0.0))
        old = _road() if kind == REMOVED else _road().take_edges(np.arange(0))
        return find_changes(old, POSES, seen, SPEC)

    for kind in (REMOVED, ADDED):
        assert told(0.2, 0.6, kind) == []  # eight tenths in ten metres, a fifth in the fifty that hang together
        assert [one.kind for one in told(0.6, 0.0, kind)] == [kind]


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
