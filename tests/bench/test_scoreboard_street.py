"""The street scoreboard's rows, on painted tiles and generated graphs instead of recordings."""

import itertools
import json
import lzma
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
import shapely

from benchmarks import scoreboard
from benchmarks.lines import Line, RowSkipped
from benchmarks.street import million as street_million
from benchmarks.street import paper as street_paper
from benchmarks.street import recipes as street_recipes
from benchmarks.street.changing import Changing, aged_run, inside_m
from benchmarks.street.coding import apart_m, topojson_xz
from benchmarks.street.data import StreetBoard, better
from benchmarks.street.encoding import Encoding, random_frame
from benchmarks.street.finding import Finding
from benchmarks.street.million import window_rows
from benchmarks.street.paper import PaperTables
from benchmarks.street.recipes import RECIPES, Measured, Recipe, given_file, given_model, trained_model
from benchmarks.street.retrieving import NEAREST, OURS, Aerial, Ring, against, measured
from benchmarks.street.topology import same_topology
from foldmap.bench.street import localization as street_localization
from foldmap.bench.street import methods as street_methods
from foldmap.bench.street.generators.common import PRESETS as GENERATORS
from foldmap.bench.street.localization import LocalizationSettings
from foldmap.errors import ConfigError
from foldmap.geometry import SE2, MetricGrid
from foldmap.street.changes.edits import EDITS
from foldmap.street.defaults import default_model
from foldmap.street.field.model import FieldEmbedding
from foldmap.street.field.network import FieldNetwork, FieldShape
from foldmap.street.field.train import FieldTrainSettings
from foldmap.street.graph.chains import resample
from foldmap.street.graph.codec import decode_grid, encode_grid
from foldmap.street.graph.grid import to_grid
from foldmap.street.graph.window import Window, cut
from foldmap.street.images.ground_image import GroundImage
from foldmap.street.images.observation import CameraRing, StreetPair
from foldmap.street.images.rig import surround_ring
from foldmap.street.paper.pairs import GroundTile
from foldmap.street.source import LaneGraph, StreetMap

SIDE_M, PIXEL_M = 160.0, 1.0
TILES = ("tile_1", "tile_2", "tile_3")


def streets(seed: int) -> LaneGraph:
    """Lanes of random direction across a tile; no two tiles are alike."""
    rng = np.random.default_rng(seed)
    lines = []
    for _ in range(7):
        middle, angle = rng.uniform(45, 115, 2), rng.uniform(0, 2 * np.pi)
        lines.append(middle + np.linspace(-75, 75, 4)[:, None] * [np.cos(angle), np.sin(angle)])
    return resample(LaneGraph.from_polylines(lines, [k % 2 for k in range(7)]))


class Painted(StreetBoard):
    """A board of painted tiles and networks that have learned nothing."""

    def __init__(self) -> None:
        super().__init__(Path("none"), 1, True, held_out=TILES[2:], calibration=TILES[0])

    def names(self) -> tuple[str, ...]:
        return TILES

    def tile(self, name: str) -> GroundTile:
        size = int(SIDE_M / PIXEL_M)
        number = TILES.index(name)
        image = np.random.default_rng(number).integers(0, 256, (size, size, 3), dtype=np.uint8)
        ground = GroundImage(image, MetricGrid(0.0, SIDE_M, PIXEL_M, size, size))
        return self.shared(("tile", name), lambda: GroundTile(ground, StreetMap(name, streets(number))))

    def ring(self) -> CameraRing:
        ring = surround_ring((0.0, 120.0, -120.0), (64, 48))
        return CameraRing(("ring_front_center", "left", "right"), ring.cameras, ring.vehicle_SE3_camera, 0.0)

    def model(self, name: str) -> Measured:
        shape = FieldShape(width=8, with_map=RECIPES[name].update)
        return self.shared(("model", name), lambda: Measured(FieldEmbedding(FieldNetwork(shape), turns=1), name))


@pytest.fixture
def board() -> Iterator[Painted]:
    made = Painted()
    yield made
    made.close()


def by_name(lines: Sequence[Line]) -> dict[str, Line]:
    return {line.name: line for line in lines}


def test_the_issues_targets_are_asked() -> None:
    rows = scoreboard.rows_of("street")
    assert [row.number for row in rows] == [1, 2, 3, 4, 5, 6, 7, 8, 8, 8]
    targets = [
        {"least_pct": 60.0, "queries": 600, "graphs": 0},
        {"least_pct": 40.0, "queries": 600, "graphs": 0},
        {"least_single_pct": 40.0, "least_drive_pct": 80.0, "within_m": 5.0},
        {"least_f1": 0.8},
        {"most_bytes_km": 2000.0, "error_m": 0.10},
        {"least_hz": 5.0},
        {"most_ms": 5.0, "least_recall": 0.99, "count": 1_000_000},
    ]
    for row, wanted in zip(rows[:7], targets, strict=True):
        assert {key: getattr(row, key) for key in wanted} == wanted
    assert (rows[2].asked.frames, rows[2].asked.step_m, rows[2].asked.prior_m) == (20, 10.0, 64.0)
    with closing(StreetBoard(Path("none"))) as made:
        assert made.held_out == ("tile_3", "tile_9", "tile_15", "tile_24")


def test_models_begin_from_what_ships_where_no_rival_begins_from_imagenet() -> None:
    with closing(StreetBoard(Path("none"))) as made:
        begun = {name: made.start(RECIPES[name]) for name in ("aerial", "update", "fresh")}
    assert begun.pop("fresh") is None
    for name, start in begun.items():
        assert start is not None
        assert start.payload() == default_model(name == "update").payload()


def test_rows_without_recordings_are_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    only = [word for row in ("1", "2", "3", "4", "million") for word in ("--only", row)]
    status = scoreboard.main(["--layer", "street", "--data", str(tmp_path), "--quiet", "--threads", "1", *only])
    printed = capsys.readouterr().out.strip().splitlines()
    assert status == 0
    assert len(printed) == 5
    assert all(f"skipped: no recordings at {tmp_path}" in line for line in printed)
    assert scoreboard.main(["--layer", "all", "--only", "1"]) == 2


def test_a_perfect_reader_retrieves_and_localizes(board: Painted, monkeypatch: pytest.MonkeyPatch) -> None:
    model = board.model("aerial").model

    def perfect(_: object, pairs: Sequence[StreetPair], *more: object) -> np.ndarray:
        return model.embed_graphs([pair.graph for pair in pairs])

    def noise(pairs: Sequence[StreetPair], *more: object) -> np.ndarray:
        rows = np.random.default_rng(len(pairs)).standard_normal((len(pairs), 64)).astype(np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    monkeypatch.setattr(street_methods, "embed_pairs", perfect)
    monkeypatch.setattr(street_localization, "embed_pairs", perfect)
    monkeypatch.setattr(street_methods, "imagenet_features", noise)
    lines = list(Aerial(queries=40, graphs=60).lines(board))
    found = by_name(lines)
    way, chamfer = lines[0], found[f"mean Chamfer (against {NEAREST})"]
    far, best = (found[f"{name}: mean Chamfer"].measured for name in ("random", "oracle"))
    assert way.measured == pytest.approx(100 * (far - chamfer.measured) / (far - best))
    assert way.met
    assert best <= chamfer.measured < far
    assert found["graphs in the library"].measured <= 60
    assert found["training images"].measured <= 60
    ring = list(Ring(queries=12, graphs=60).lines(board))
    assert "SEMI-SYNTHETIC" in ring[0].note
    assert not by_name(ring)["mean Chamfer (against single camera)"].met  # both read perfectly: none is better
    asked = LocalizationSettings(singles=30, drives=2, frames=12)
    where = by_name(Finding(asked=asked).lines(board))
    assert where["single image, 64 m prior: recall at 5 m"].measured >= 80
    assert where["last of 12 frames 5 m apart, whole tile: recall at 5 m"].measured == 100
    assert where["single images"].measured == 30
    assert where["odometry alone, last frame: recall at 5 m"].measured < 100


def test_the_paper_s_tables_have_its_six_metrics(board: Painted, monkeypatch: pytest.MonkeyPatch) -> None:
    def noise(pairs: Sequence[StreetPair], *more: object) -> np.ndarray:
        rows = np.random.default_rng(len(pairs)).standard_normal((len(pairs), 64)).astype(np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    monkeypatch.setattr(street_methods, "imagenet_features", noise)
    monkeypatch.setattr("foldmap.bench.street.page.best_and_worst", lambda done: b"\x89PNG\r\n")
    monkeypatch.setattr(street_paper, "_more", lambda board: [StreetMap("elsewhere", streets(9))])
    tiny = replace(GENERATORS["tiny"], epochs=1, image_px=(32, 32))
    rows = {
        table: [line.detail for line in PaperTables(8, table, table, queries=4, images=20, generator=tiny).lines(board)]
        for table in ("main", "size")
    }
    metrics = {"chamfer_m", "rand_loss", "mmd", "density_error", "reach_error_m", "connectivity_error"}
    assert all(metrics <= set(row) for row in (*rows["main"], *rows["size"]))
    main = {row["method"]: row for row in rows["main"]}
    assert {"foldmap", "unimodal", "topo-tr", "topo-prnn", "pinet", "random", "oracle"} <= set(main)
    assert main["pinet"]["trained"].startswith("2 steps")  # 20 images, 16 a step
    assert rows["size"][-1]["more"] == rows["size"][-1]["count"] - rows["size"][-2]["count"] > 0
    whole = rows["size"][-2]
    assert {key: whole[key] for key in metrics} == pytest.approx({key: main["foldmap"][key] for key in metrics})
    board._steps = 7
    assert board.recipe("aerial").settings.steps == 7
    assert board.recipe("aerial").seal([], None) != RECIPES["aerial"].seal([], None)


def test_worse_than_the_baseline_is_short(board: Painted) -> None:
    data = board.split(board.training_names(), board.held_out)
    library, queries = board.library(), data.test[:5]
    asked = type("Asked", (), {"queries": queries, "library": library})
    truths = [pair.graph for pair in queries]
    good = street_methods.oracle_answers(truths, library, data.window)
    bad = street_methods.Answers(NEAREST, tuple([LaneGraph.empty()] * 5), good.rows, 1, street_methods.NOTHING)
    ours = street_methods.Answers(OURS, good.graphs, good.rows, 1, street_methods.NOTHING)
    found = measured(data, asked, [ours, bad], 0)
    assert all(line.met for line in against(1, found, OURS, NEAREST))
    assert not any(line.met for line in against(1, found, NEAREST, OURS))
    assert not better(1, "a", 2.0, 2.0, less=True).met
    assert found.way(OURS) == pytest.approx(1.0)


def test_changes_are_counted_by_kind(board: Painted) -> None:
    lines = by_name(Changing(windows=16, runs=2, drives=2, frames=3).lines(board))
    f1, precision, recall = (lines[f"windows: {what}"].measured for what in ("F1", "precision", "recall"))
    assert f1 == pytest.approx(2 * precision * recall / max(precision + recall, 1e-12))
    assert lines["windows"].measured == 16
    assert {f"windows: recall, {kind}" for kind in EDITS} <= set(lines)
    assert "retrieved graph against map: F1" in lines
    assert lines["drives: false changes a km"].measured == 0.0  # so short that nothing may be told
    assert "residual without a map: F1" in lines


def test_an_aged_run_differs_where_the_edit_is(board: Painted) -> None:
    data = board.split(TILES[:1], TILES[2:])
    drive = data.drives(TILES[0], 1, 5, 5.0, 0)[0]
    rng = np.random.default_rng(0)
    chosen, edited, true = aged_run(data, TILES[0], drive, "lane removed", rng)
    for old, now, k in zip(edited, true, chosen, strict=True):
        assert old.length_m < now.length_m - 5.0
        assert now.length_m == pytest.approx(cut(data.maps[TILES[0]].graph, drive.poses[k]).length_m, rel=0.02)
    line = np.cumsum(np.random.default_rng(3).normal(0, 4, (60, 2)), axis=0)
    pose, window = SE2(3.0, -4.0, 0.7), Window(-10, 12, -8, 9)
    fine = np.concatenate([np.linspace(a, b, 50) for a, b in itertools.pairwise(line)])
    box = shapely.box(window.back_m, window.right_m, window.ahead_m, window.left_m)
    inside = shapely.LineString(pose.inverse().apply(line)).intersection(box).length
    assert inside_m(fine, pose, window) == pytest.approx(inside, abs=1.0)


def moved(graph: LaneGraph, rng: np.random.Generator) -> LaneGraph:
    order = rng.permutation(len(graph))
    place = np.argsort(order)
    rows = rng.permutation(len(graph.edges))
    at = graph.vertices_m[order] + rng.uniform(-0.05, 0.05, (len(graph), 2))
    return LaneGraph(at, place[graph.edges[rows]].astype(np.int64), graph.kind[rows])


def multigraph(graph: LaneGraph) -> nx.DiGraph:
    net = nx.DiGraph()
    net.add_nodes_from(np.unique(graph.edges).tolist())
    for (a, b), kind in zip(graph.edges.tolist(), graph.kind.tolist(), strict=True):
        net.add_edge(a, b, kind=kind)
    return net


@pytest.mark.parametrize("seed", range(12))
def test_topology_is_compared_as_networkx_does(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(3, 14))
    at = rng.integers(0, 3, (count, 2)) * 0.08 + rng.integers(0, 2, (count, 1)) * 30.0  # many twins in one place
    pairs = np.unique(rng.integers(0, count, (2 * count, 2)), axis=0)
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    graph = LaneGraph(at, pairs, rng.integers(0, 2, len(pairs)).astype(np.uint8))
    other = moved(graph, rng)
    assert same_topology(graph, other, 0.4)
    flipped = np.r_[other.edges[:-1], other.edges[-1:, ::-1]]
    turns = len(np.unique(flipped, axis=0)) == len(flipped)
    turned = LaneGraph(other.vertices_m, flipped if turns else other.edges, other.kind)
    kinds = LaneGraph(other.vertices_m, other.edges, np.r_[other.kind[:-1], 1 - other.kind[-1:]])
    fewer = other.take_edges(np.arange(len(other.edges)) > 0)
    for changed in (kinds, fewer, turned):
        alike = nx.is_isomorphic(multigraph(graph), multigraph(changed), edge_match=lambda a, b: a["kind"] == b["kind"])
        assert alike or not same_topology(graph, changed, 0.4)


def test_lines_of_a_code_are_measured_as_shapely_does() -> None:
    graph = streets(5)
    coded = decode_grid(encode_grid(to_grid(graph, 0.5))[0]).graph()
    both = [shapely.multilinestrings(list(shapely.linestrings(g.vertices_m[g.edges]))) for g in (graph, coded)]
    wanted = shapely.hausdorff_distance(*both, densify=0.2)
    assert max(apart_m(graph, coded), apart_m(coded, graph)) == pytest.approx(wanted, abs=0.01)
    assert same_topology(graph, coded, 1.0)
    grid = to_grid(graph, 0.1)
    told = json.loads(lzma.decompress(topojson_xz(grid)))
    length = sum(np.hypot(*np.diff(np.cumsum(arc, axis=0), axis=0).T).sum() for arc in told["arcs"])
    assert length * told["transform"]["scale"][0] == pytest.approx(grid.graph().length_m)


def test_rows_of_the_million_are_real_windows() -> None:
    one = StreetMap("a", streets(1))
    rows = window_rows([one], 120, 4, seed=3)
    assert rows.shape == (120, 500)
    assert rows.dtype == np.float16
    model = FieldEmbedding(FieldNetwork(FieldShape(width=8)))
    poses = [
        places.pose(k) @ SE2(4.0 - i, 4.0 - j, 0.0)
        for _, places in street_million._places([one], 4, np.random.default_rng(3))
        for k in range(len(places))
        for i in range(9)
        for j in range(9)
    ]
    direct = model.embed_graphs([resample(cut(one.graph, pose)) for pose in poses])
    cosine = (rows.astype(np.float32) @ direct.T).max(1)
    assert np.median(cosine) > 0.99
    assert cosine.min() > 0.9
    with pytest.raises(RowSkipped, match="too few"):
        window_rows([one], 1000, 4, seed=3)


def test_frames_are_as_large_as_asked() -> None:
    ring = surround_ring((0.0, 90.0), (400, 300))
    assert [image.shape for image in random_frame(ring, 64, 0).images] == [(48, 64, 3)] * 2
    assert random_frame(ring, 0, 0).images[0].shape == (300, 400, 3)
    with closing(StreetBoard(Path("none"), 1, True)) as made:
        lines = list(Encoding(width_px=64, frames=1).lines(made))
    assert len(lines) == 6
    assert all(line.measured > 0 for line in lines)
    assert [line.target for line in lines if line.target] == [">= 5"]


def test_models_are_trained_once_and_resumed(board: Painted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe("aerial", FieldTrainSettings(steps=2, batch=2, imagenet=False, checkpoint_every=1))
    tiles = [board.tile(TILES[0])]
    first = trained_model(tmp_path, recipe, tiles, None, None)
    monkeypatch.setattr(street_recipes, "train", None)
    again = trained_model(tmp_path, recipe, tiles, None, None)
    assert again.note == first.note
    assert "trained by its recipe" in again.note
    assert again.model.payload() == first.model.payload()
    assert recipe.seal(tiles, None) != recipe.seal(tiles, first.model)
    folder = tmp_path / "given"
    (folder / "aerial-x").mkdir(parents=True)
    (folder / "aerial-x" / "model.safetensors").write_bytes(first.model.payload())
    assert ", given: aerial-x/model.safetensors" in given_model(given_file(folder, "aerial"), "aerial").note
    assert given_file(folder, "fresh") == given_file(folder, "aerial")
    with pytest.raises(ConfigError, match="0 models named ring"):
        given_file(folder, "ring")
    (folder / "upd.safetensors").write_bytes(first.model.payload())
    with pytest.raises(ConfigError, match="not a model for 'update'"):
        given_model(given_file(folder, "update"), "update")


def test_a_ring_recipe_needs_a_rig(board: Painted) -> None:
    with pytest.raises(ConfigError, match="rig"):
        RECIPES["ring"].examples([board.tile(TILES[0])], None, lambda done, total: None)
    assert len(RECIPES["ring"].examples([board.tile(TILES[0])], board.ring(), lambda done, total: None)) > 10
