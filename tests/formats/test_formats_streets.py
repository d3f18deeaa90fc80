"""Aerial tiles, and the one door to all formats: what a file is told by, folders, names, refusals."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import pytest
from PIL import Image

from foldmap.errors import ConfigError, MapInputError
from foldmap.formats.street.geojson import write_geojson
from foldmap.formats.street.geoparquet import write_geoparquet
from foldmap.formats.street.maps import KINDS, kind_of, read_street_maps
from foldmap.formats.street.observations.aerial import read_aerial_tile, tile_image
from foldmap.street.source import LANE, LINK, LaneGraph, StreetMap

NODES = np.array([[0, 4095], [4095, 0], [100, 100], [7, 7]], np.float32)
EDGES = np.array([[0, 1, 0], [1, 2, 1], [2, 2, 0], [0, 1, 1]], np.int32)


def tile(folder: Path, nodes: Any = NODES, edges: Any = EDGES, number: int = 3) -> Path:
    path = folder / f"tile_{number}_graph.npz"
    np.savez(path, nodes_px=nodes, edges=edges, node_type=np.zeros(len(nodes), np.int8))
    return path


def index(folder: Path, **entry: Any) -> None:
    content = {"tiles": [{"tile": 3, "lat": 25.0, "lon": -80.0} | entry]}
    (folder / "index.json").write_text(json.dumps(content))


def test_a_tile_in_metres(tmp_path: Path) -> None:
    found = read_aerial_tile(tile(tmp_path))
    assert (found.name, found.crs) == ("tile_3", None)
    assert found.graph.vertices_m.tolist() == [[0.0625, 0.0625], [511.9375, 511.9375], [12.5625, 499.4375]]
    assert found.graph.edges.tolist() == [[0, 1], [1, 2]]
    assert found.graph.kind.tolist() == [LANE, LINK]


def test_a_tile_on_earth(tmp_path: Path) -> None:
    index(tmp_path)
    crs = read_aerial_tile(tile(tmp_path)).crs
    assert crs is not None
    lon, lat = pyproj.Transformer.from_crs(crs, 4326, always_xy=True).transform(512.0, 512.0)
    assert lat == pytest.approx(25.0 + 512 / 111_139, abs=1e-8)
    assert lon == pytest.approx(-80.0 + 512 / (111_139 * np.cos(np.radians(25.0))), abs=1e-8)
    truth = pyproj.Geod(ellps="WGS84").inv(-80.0, 25.0, lon, lat)[2]
    assert truth == pytest.approx(512 * np.sqrt(2), rel=0.004)
    index(tmp_path, tile=4)
    assert read_aerial_tile(tile(tmp_path)).crs is None
    index(tmp_path, lat="x")
    with pytest.raises(MapInputError, match="latitude x"):
        read_aerial_tile(tile(tmp_path))
    (tmp_path / "index.json").write_text("[]")
    with pytest.raises(MapInputError, match="lists no tiles"):
        read_aerial_tile(tile(tmp_path))


@pytest.mark.parametrize(
    ("nodes", "edges", "message"),
    [
        (NODES[:, :1], EDGES, "nodes \\(4, 1\\)"),
        (NODES, EDGES[:, :2], "edges \\(4, 2\\)"),
        (NODES * 9, EDGES, "far outside"),
        (NODES * np.nan, EDGES, "far outside"),
        (NODES, EDGES + np.array([0, 0, 2]), "4 of 4 lanes are damaged.* of type 2, not 0 or 1"),
        (NODES, EDGES + np.array([0, 9, 0]), "edge 0 is of nodes .0, 10.; there are 4 nodes"),
    ],
)
def test_bad_tiles_are_named(tmp_path: Path, nodes: Any, edges: Any, message: str) -> None:
    with pytest.raises(MapInputError, match=message):
        read_aerial_tile(tile(tmp_path, nodes, edges))
    np.savez(tmp_path / "tile_1_graph.npz", nodes_px=NODES)
    with pytest.raises(MapInputError, match="no edges"):
        read_aerial_tile(tmp_path / "tile_1_graph.npz")


def test_images(tmp_path: Path) -> None:
    Image.new("L", (4096, 4096), 9).save(tmp_path / "tile_3.jpg")
    image = tile_image(tile(tmp_path))
    assert (image.shape, image.dtype, int(image[0, 0, 2])) == ((4096, 4096, 3), np.uint8, 9)
    Image.new("RGB", (64, 64)).save(tmp_path / "tile_4.jpg")
    with pytest.raises(MapInputError, match="64 x 64"):
        tile_image(tmp_path / "tile_4.jpg")
    (tmp_path / "tile_5.jpg").write_bytes(b"\xff\xd8\xff no jpeg")
    for name in ("tile_5.jpg", "tile_6.jpg"):
        with pytest.raises(MapInputError, match="cannot be read"):
            tile_image(tmp_path / name)


@pytest.mark.shared
def test_real_tiles_abut_and_have_the_known_size(shared_data: Path) -> None:
    folder = shared_data / "street" / "aerial"
    content = json.loads((folder / "index.json").read_text())["tiles"]
    maps = {street_map.name: street_map for street_map in read_street_maps(folder)}
    assert len(maps) == len(content) == 14
    for entry in content:
        graph = maps[f"tile_{entry['tile']}"].graph
        length = graph.edge_lengths_m
        assert length[graph.kind == LANE].sum() / 1000 == pytest.approx(entry["way_km"], abs=0.002)
        assert length[graph.kind == LINK].sum() / 1000 == pytest.approx(entry["link_km"], abs=0.002)
        with np.load(folder / f"tile_{entry['tile']}_graph.npz") as arrays:
            ends = arrays["nodes_px"][arrays["edges"][:, :2]]
        assert len(graph.edges) == entry["edges"] - (ends[:, 0] == ends[:, 1]).all(1).sum()
    # what the index says of places is what the images show: the east edge of tile 20 is the west edge of tile 21, and
    # the north edge of tile 21 continues, 128 m on, in the south edge of tile 24
    crs = [maps[name].crs for name in ("tile_21", "tile_20", "tile_24")]
    change = [pyproj.Transformer.from_crs(crs[0], other, always_xy=True).transform(0.0, 0.0) for other in crs[1:]]
    assert change[0] == pytest.approx((512.0, 0.0), abs=0.05)
    assert change[1] == pytest.approx((-128.0, -512.0), abs=0.05)
    west, here, north = (half_metre_grey(folder / f"tile_{k}.jpg") for k in (20, 21, 24))
    assert np.corrcoef(west[:, -1], here[:, 0])[0, 1] > 0.7
    assert np.corrcoef(here[0, 256:], north[-1, :-256])[0, 1] > 0.7


def half_metre_grey(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        image.draft("L", (1024, 1024))
        assert image.size == (1024, 1024)
        return np.asarray(image.convert("L"), np.float64)


def line_map(name: str) -> StreetMap:
    return StreetMap(name, LaneGraph.from_polylines([np.array([[0.0, 0], [10, 0], [20, 3]])]))


def test_a_folder_holds_all_it_can_read(tmp_path: Path) -> None:
    write_geojson(line_map("twin"), tmp_path / "b.geojson")
    write_geoparquet(line_map("twin"), tmp_path / "c.parquet")
    (tmp_path / "d.csv").write_text("line,x_m,y_m\n1,0,0\n1,9,9\n")
    tile(tmp_path)
    index(tmp_path)
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "other.csv").write_text("name,age\n")
    (tmp_path / "more").mkdir()
    archive = {"s/points": np.array([[0.0, 0], [9, 0]]), "s/offsets": np.array([0, 2]), "s/token": np.array(["t"])}
    np.savez(tmp_path / "e.npz", **archive)
    assert [m.name for m in read_street_maps(tmp_path)] == ["twin", "twin-2", "d", "s", "tile_3"]
    assert [m.name for m in read_street_maps(tmp_path, "csv")] == ["d"]
    with pytest.raises(MapInputError, match="no lanelet2 map") as caught:
        read_street_maps(tmp_path, "lanelet2")
    assert all(what in caught.value.cure for what in KINDS.values())


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.osm", b'<?xml version="1.0"?>\n<osm version="0.6">', "lanelet2"),
        ("a.xml", b"<osm>", "lanelet2"),
        ("a.net.xml", b'<?xml version="1.0"?><!-- by netconvert -->\n<net version="1.9">', "sumo"),
        ("a.net.xml.gz", gzip.compress(b'<net version="1.9">', mtime=0), "sumo"),
        ("a.xodr", b'<?xml version="1.0"?><OpenDRIVE>', "opendrive"),
        ("a.xml", b"<network>", None),
        ("log_map_archive_a.json", b"{}", "argoverse2"),
        ("a.json", b'{"pedestrian_crossings": {}, "lane_segments": {}}', "argoverse2"),
        ("a.json", b'{"type": "FeatureCollection", "features": []}', "geojson"),
        ("index.json", b'{"tiles": []}', None),
        ("a.tif", b"II*", None),
    ],
)
def test_what_a_file_is(tmp_path: Path, name: str, content: bytes, kind: str | None) -> None:
    (tmp_path / name).write_bytes(content)
    assert kind_of(tmp_path / name) == kind


def test_what_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(MapInputError, match=r"a.txt is no street map .*Lanelet2"):
        read_street_maps(tmp_path / "a.txt")
    with pytest.raises(MapInputError, match="holds no street map"):
        read_street_maps(tmp_path)
    with pytest.raises(ConfigError, match="kind of street map 'shp'"):
        read_street_maps(tmp_path, "shp")
    with pytest.raises(MapInputError, match="cannot be read"):
        read_street_maps(tmp_path / "none.osm")
    (tmp_path / "a.net.xml.gz").write_bytes(gzip.compress(b"<net>" * 9, mtime=0)[:-12])
    with pytest.raises(MapInputError, match="cut short"):
        read_street_maps(tmp_path / "a.net.xml.gz")
    (tmp_path / "a.npz").write_bytes(b"no archive")
    with pytest.raises(MapInputError, match=r"a.npz cannot be read"):
        read_street_maps(tmp_path / "a.npz")


@pytest.mark.shared
@pytest.mark.parametrize(
    ("source", "maps", "least_km"),
    [
        ("argoverse2", 5, 15.7),
        ("lanelet2/kit_karlsruhe_mapping_example.osm", 1, 4.0),
        ("sumo/ingolstadt_small.net.xml.gz", 1, 3.0),
    ],
)
def test_real_sources(shared_data: Path, source: str, maps: int, least_km: float) -> None:
    found = read_street_maps(shared_data / "street" / source)
    assert len(found) == maps
    assert sum(street_map.graph.length_m for street_map in found) > 1000 * least_km
