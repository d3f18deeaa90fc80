"""Street maps survive the file: topology, places, embeddings; updates write what changed; damage is noticed."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from graph_samples import crossing, edge_keys, line_error_m, same_topology
from safetensors.numpy import save

from foldmap.atlas import FoldFile, FoldUpdater, FoldWriter, update, verify
from foldmap.errors import ConfigError, FoldmapError, LayerError, MapFormatError, MapInputError, ModelError
from foldmap.geometry import SE2
from foldmap.street.fold import StreetPlan, fold_street
from foldmap.street.graph.chains import resample
from foldmap.street.graph.codec import HEADER_BYTES, encode_grid
from foldmap.street.graph.grid import to_grid
from foldmap.street.graph.tiling import join_tiles, split_tiles
from foldmap.street.graph.window import AROUND, cut
from foldmap.street.places import EdgeIndex, sample_places, unlike, windows
from foldmap.street.source import LaneAttributes, LaneGraph, StreetMap
from foldmap.street.tile import StreetTile, pack_tile, unpack_tile
from foldmap.street.unfold import FoldedStreet
from foldmap.street.update import StreetUpdate, update_street
from foldmap.street.vectors import FORMS, VectorCodec


class Counts:
    """Vertices of a window in 8 x 8 cells: a stand-in that looks at all of the window and at nothing else."""

    name, dim, window = "counts", 64, AROUND

    def embed_graphs(self, graphs: list[LaneGraph]) -> np.ndarray:
        rows = np.full((len(graphs), 64), 0.1, np.float32)
        for row, graph in zip(rows, graphs, strict=True):
            cell = np.clip((graph.vertices_m + 20) // 5, 0, 7).astype(int)
            np.add.at(row, cell[:, 0] * 8 + cell[:, 1], 1)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def payload(self) -> bytes:
        return save({"nothing": np.zeros(4, np.float32)})


def town(seed: int = 0) -> LaneGraph:
    return crossing(seed)


def folded(path: Path, model: Counts | None = None, **plan: object) -> Path:
    maps = [StreetMap("here", town()), StreetMap("there", town(1).moved(SE2(5e5, 5.4e6, 0.3)), "EPSG:25832")]
    with FoldWriter(path) as writer:
        fold_street(writer, maps, StreetPlan(**{"tile_m": 64.0, "vectors": "int8", "model": model, **plan}))  # type: ignore[arg-type]
    return path


def updated(path: Path, graph: LaneGraph, model: Counts | None = None, name: str = "here") -> StreetUpdate:
    with FoldUpdater(path) as updater:
        return update_street(updater, StreetMap(name, graph), model=model)


def test_regions_come_back(tmp_path: Path) -> None:
    path = folded(tmp_path / "a.fold", Counts())
    assert path.read_bytes() == folded(tmp_path / "b.fold", Counts()).read_bytes()
    assert list(verify(path)) == []
    with FoldFile.open(path) as file:
        layer = FoldedStreet(file)
        assert [(r.name, r.crs) for r in layer.regions] == [("here", None), ("there", "EPSG:25832")]
        for name, source in (("here", town()), ("there", town(1).moved(SE2(5e5, 5.4e6, 0.3)))):
            graph = layer.graph(name)
            assert line_error_m(source, graph) <= 0.10
            assert same_topology(source, graph, 0.1)
            places = layer.places(name)
            a, b = graph.vertices_m[graph.edges[places.edge, 0]], graph.vertices_m[graph.edges[places.edge, 1]]
            step = (b - a) / np.linalg.norm(b - a, axis=1, keepdims=True)
            assert np.allclose(np.stack([np.cos(places.heading_rad), np.sin(places.heading_rad)], 1), step)
            assert np.allclose(a + step * places.along_m[:, None], places.xy_m, atol=1e-6)
            assert 0.75 < len(places) * 5 / graph.length_m < 1.05
            plain = [resample(cut(graph, places.pose(k), AROUND)) for k in range(len(places))]
            exact = Counts().embed_graphs(plain)
            assert np.einsum("nd,nd->n", exact, layer.embeddings(name)).min() > 0.999
        report = layer.byte_report()
        used = sum(report["bytes"].values())
        assert used == sum([file.layer("street").tile_bytes]) + len(Counts().payload())
        assert layer.model_bytes() == Counts().payload()


@pytest.mark.parametrize("most_cosine", [None, 0.9])
def test_embeddings_that_are_not_stored_are_drawn(tmp_path: Path, most_cosine: float | None) -> None:
    stored = folded(tmp_path / "a.fold", Counts(), vectors="float16", most_cosine=most_cosine)
    path = folded(tmp_path / "b.fold", Counts(), vectors="none", most_cosine=most_cosine)
    with FoldFile.open(stored) as one, FoldFile.open(path) as two:
        kept, drawn = FoldedStreet(one), FoldedStreet(two)
        for name in ("here", "there"):
            assert np.array_equal(kept.places(name).xy_m, drawn.places(name).xy_m)
            rows = drawn.embeddings(name, Counts())
            assert np.einsum("nd,nd->n", rows, kept.embeddings(name)).min() > 0.99999
        graph = drawn.graph("here")
    assert path.stat().st_size < 0.75 * stored.stat().st_size
    gone = np.hypot(*(graph.vertices_m[graph.edges].mean(axis=1) - [45, -1.75]).T) < 3
    for target in (stored, path):
        updated(target, graph.take_edges(~gone), Counts())
    with FoldFile.open(stored) as one, FoldFile.open(path) as two:
        kept, drawn = FoldedStreet(one), FoldedStreet(two)
        assert np.array_equal(kept.places("here").xy_m, drawn.places("here").xy_m)
        rows = drawn.embeddings("here", Counts())
        assert np.einsum("nd,nd->n", rows, kept.embeddings("here")).min() > 0.99999
    if most_cosine is None:
        updated(path, graph)  # nothing depends on a model


def test_near_reads_what_the_whole_has(tmp_path: Path) -> None:
    with FoldFile.open(folded(tmp_path / "a.fold")) as file:
        layer = FoldedStreet(file)
        near = FoldedStreet(file).graph_near("here", 95.0, 40.0, 30.0)
        whole = layer.graph("here")
        want = whole.take_edges(EdgeIndex(whole).near(95.0, 40.0, 30.0))
        assert 0 < len(near.edges) < len(whole.edges)
        assert edge_keys(near, layer.step_m) == edge_keys(want, layer.step_m)
        assert not len(layer.graph_near("here", 1e7, -1e7, 5.0).edges)
        with pytest.raises(ConfigError):
            layer.graph_near("here", float("nan"), 0, 1)
        with pytest.raises(LayerError, match="no region"):
            layer.graph("nowhere")
        with pytest.raises(LayerError, match="without a model"):
            layer.embeddings("here")


def test_vertices_at_one_point_stay_apart_across_tiles() -> None:
    # two ways cross at one point on a tile's rim without meeting: a bridge
    graph = LaneGraph(
        np.array([[-50.0, 0], [0, 0], [50, 0], [0, -50.0], [0, 0], [0, 50]]), np.array([[0, 1], [1, 2], [3, 4], [4, 5]])
    )
    grid = to_grid(graph, 0.1, fixed=np.ones(6, bool))
    tiles = split_tiles(grid, (0, 0), 100)
    joined, offset = join_tiles(list(tiles.values()), grid.step_m)
    assert len(tiles) == 4
    assert len(joined) == 6
    assert offset[-1] == 4
    assert sorted(joined.graph().in_degree.tolist()) == [0, 0, 1, 1, 1, 1]
    assert same_topology(graph, joined.graph(), 0.1)


def test_an_edit_changes_its_tiles_alone(tmp_path: Path) -> None:
    path = folded(tmp_path / "a.fold", Counts())
    with FoldFile.open(path) as file:
        before = {key: file.tile("street", *key) for key in file.tiles("street")}
        graph = FoldedStreet(file).graph("here")
    same = updated(path, graph, Counts())
    assert (same.changed, same.removed, same.places) == ((), (), 0)
    gone = np.hypot(*(graph.vertices_m[graph.edges].mean(axis=1) - [45, -1.75]).T) < 3
    edited = graph.take_edges(~gone)
    assert gone.any()
    with pytest.raises(ModelError):  # the stand-in that the file holds cannot be read
        updated(path, edited)
    done = updated(path, edited, Counts())
    assert 1 <= len(done.changed) <= 4
    assert done.kept > 0
    with FoldFile.open(path) as file:
        layer = FoldedStreet(file)
        assert edge_keys(layer.graph("here"), layer.step_m) == edge_keys(edited, layer.step_m)
        after = {key: file.tile("street", *key) for key in file.tiles("street")}
        written = {key for key in before if after.get(key) != before[key]}
        assert written <= {(x, y + 32768) for x, y in {*done.embedded, *done.removed}}
        now, places = layer.graph("here"), layer.places("here")
        exact = Counts().embed_graphs(list(windows(now, places)))
        assert np.einsum("nd,nd->n", exact, layer.embeddings("here")).min() > 0.999
    back = updated(path, graph, Counts())
    assert set(back.changed) == {*done.changed, *done.removed}
    with FoldFile.open(path) as file:
        assert {key: file.tile("street", *key) for key in file.tiles("street")} == before


def test_a_source_that_changed_gives_what_folding_anew_gives(tmp_path: Path) -> None:
    path = folded(tmp_path / "a.fold", lanes="traits")
    before = path.read_bytes()
    assert updated(path, town()).changed == ()
    assert path.read_bytes() == before
    source = town()
    middle = source.vertices_m[source.edges].mean(axis=1)
    fewer = source.take_edges(np.hypot(*(middle - [45, -1.75]).T) > 6)
    done = updated(path, fewer)
    assert 1 <= len(done.changed) + len(done.removed) < done.kept
    maps = [StreetMap("here", fewer), StreetMap("there", town(1).moved(SE2(5e5, 5.4e6, 0.3)), "EPSG:25832")]
    with FoldWriter(tmp_path / "b.fold") as writer:
        fold_street(writer, maps, StreetPlan(tile_m=64.0, lanes="traits"))
    with FoldFile.open(path) as one, FoldFile.open(tmp_path / "b.fold") as other:
        here, there = FoldedStreet(one), FoldedStreet(other)
        for name in ("here", "there"):
            assert edge_keys(here.graph(name), here.step_m) == edge_keys(there.graph(name), there.step_m)
            assert len(here.places(name)) == len(there.places(name))
    with pytest.raises(MapInputError, match="in a local frame, the region in EPSG:25832"):
        updated(path, fewer, name="there")
    with pytest.raises(LayerError, match="no region"):
        updated(path, fewer, name="elsewhere")


def test_a_layer_is_replaced_whole(tmp_path: Path) -> None:
    path = folded(tmp_path / "a.fold", Counts())
    with FoldUpdater(path) as updater:
        fold_street(updater, [StreetMap("new", town(2))])
    with FoldWriter(tmp_path / "b.fold") as writer:
        fold_street(writer, [StreetMap("new", town(2))])
    assert path.read_bytes() == (tmp_path / "b.fold").read_bytes()


def test_lanes_are_kept_where_asked(tmp_path: Path) -> None:
    lines = [np.array([[0.0, 0], [50, 0]]), np.array([[0.0, 4], [70, 4]]), np.array([[0.0, 8], [70, 8]])]
    lanes = [LaneAttributes("a", 3.5, 13.9, "BUS"), LaneAttributes("b"), LaneAttributes("c")]
    graph = LaneGraph.from_polylines(lines, lanes=lanes)
    for kept, names in (("all", {"a", "b", "c"}), ("traits", {""}), ("none", set())):
        with FoldWriter(tmp_path / "a.fold") as writer:
            fold_street(writer, [StreetMap("x", graph)], StreetPlan(tile_m=32, lanes=kept))
        with FoldFile.open(tmp_path / "a.fold") as file:
            found = FoldedStreet(file).graph("x")
        assert {found.lanes[k].identity for k in found.lane.tolist() if k >= 0} == names
        if kept != "none":
            bus = [found.lanes[k].lane_type == "BUS" for k in found.lane.tolist()]
            assert np.array_equal(bus, found.vertices_m[found.edges[:, 0], 1] < 1)
            assert {lane.width_m for lane in found.lanes} == {3.5, None}


def test_places_are_even_and_no_two_are_one() -> None:
    graph = town()
    places = sample_places(graph, 5.0)
    gap = np.hypot(*(places.xy_m[:, None] - places.xy_m[None]).transpose(2, 0, 1))
    turn = np.abs(np.angle(np.exp(1j * (places.heading_rad[:, None] - places.heading_rad[None]))))
    np.fill_diagonal(gap, np.inf)
    assert not ((gap < 1.0) & (turn < np.deg2rad(10))).any()
    assert (gap.min(axis=1) < 6).mean() > 0.95
    for window, k in zip(windows(graph, places), range(40), strict=False):
        plain = resample(cut(graph, places.pose(k), AROUND))
        assert np.allclose(np.sort(window.vertices_m, axis=0), np.sort(plain.vertices_m, axis=0))
        assert len(window.edges) == len(plain.edges)
    alike = np.ones((len(places), 4), np.float32) / 2
    kept = unlike(alike, places, 0.9)
    assert 0 < kept.sum() < len(places) / 3


@pytest.mark.parametrize("form", FORMS)
def test_vectors_come_back_nearly(form: str) -> None:
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(300, 8)) @ rng.normal(size=(8, 96)) + 0.1 * rng.normal(size=(300, 96))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    codec = VectorCodec.fit(form, rows, parts=24)
    data = codec.encode(rows)
    assert len(data) == 300 * codec.row_bytes
    if form == "pq":
        codec = VectorCodec.from_model(codec.model(), 96)
    most = {"float16": 1e-6, "int8": 1e-4, "int4": 0.02, "1bit": 0.4, "pq": 0.02}[form]
    assert 1 - np.einsum("nd,nd->n", rows, codec.decode(data, 300)).mean() < most
    with pytest.raises(MapFormatError):
        codec.decode(data[:-1], 300)


def test_what_cannot_be_folded_is_refused(tmp_path: Path) -> None:
    with FoldWriter(tmp_path / "a.fold") as writer:
        for maps, error in (
            ([], "0 street maps"),
            ([StreetMap("a", town())] * 2, "two street maps"),
            ([StreetMap("a", LaneGraph.empty())], "no lanes"),
        ):
            with pytest.raises(MapInputError, match=error):
                fold_street(writer, maps)
        writer.close()
    spacings = [{"spacing_m": each} for each in (-1.0, 1e-9, 1e9, math.inf)]
    for bad in ({"error_m": 0.0}, {"lanes": "some"}, {"vectors": "int7"}, *spacings):
        with pytest.raises(ConfigError):
            StreetPlan(**bad)  # type: ignore[arg-type]
    path = folded(tmp_path / "b.fold", Counts())
    other = Counts()
    other.name = "else"
    with pytest.raises(ModelError, match="else"):
        updated(path, town(), other)


def test_damaged_tiles_are_refused_or_harmless(tmp_path: Path) -> None:
    path = folded(tmp_path / "a.fold", Counts(), lanes="all")
    with FoldFile.open(path) as file:
        layer = FoldedStreet(file)
        assert layer.codec is not None
        row_bytes, spacing = layer.codec.row_bytes, layer.spacing
        payload = file.tile("street", *file.tiles("street")[0]) or b""
    rng = np.random.default_rng(0)
    for trial in range(300):
        data = bytearray(payload[: rng.integers(0, len(payload))] if trial % 5 == 0 else payload)
        for _ in range(rng.integers(0, 3)):
            if data:
                data[rng.integers(0, min(len(data), 400))] = rng.integers(0, 256)
        try:
            tile = unpack_tile(bytes(data), 0.135, spacing, row_bytes)
        except MapFormatError:
            continue
        assert isinstance(tile, StreetTile)


@pytest.mark.parametrize(
    "change",
    [
        {"codec": "lanes-9"},
        {"step_m": -1},
        {"tile": 0},
        {"regions": [{}]},
        {"regions": 3},
        {"vectors": "int3"},
        {"dimension": 1 << 40},
        {"window_m": [1, 0, 0, 1]},
        {"spacing": -4},
        {"lanes": "few"},
    ],
)
def test_lying_parameters_are_refused(tmp_path: Path, change: dict[str, object]) -> None:
    path = folded(tmp_path / "a.fold", None)
    with FoldFile.open(path) as file:
        parameters = file.layer("street").parameters
    with update(path) as updater:
        updater.set_parameters("street", {**parameters, **change})
    with FoldFile.open(path) as file, pytest.raises(FoldmapError):
        FoldedStreet(file)


def test_a_tile_codes_to_the_same_bytes_again(tmp_path: Path) -> None:
    with FoldFile.open(folded(tmp_path / "a.fold")) as file:
        layer = FoldedStreet(file)
        for position, tile in layer.tiles(layer.regions[0]).items():
            stored = file.tile("street", position[0], position[1] + 32768) or b""
            (part,) = split_tiles(tile.part.grid, layer.regions[0].origin, layer.parameters["tile"]).values()
            graph = encode_grid(part.grid)[0][HEADER_BYTES:]
            assert pack_tile(graph, tile, layer.spacing)[0] == stored
