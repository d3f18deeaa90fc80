"""``foldmap fold`` of street maps, and ``show``, ``verify``, ``unfold`` of what it makes."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_place import Run
from scipy.spatial import cKDTree
from street_place import town_map, write_town

from foldmap.atlas import FoldFile, FoldUpdater
from foldmap.formats.street.maps import read_street_maps
from foldmap.street.graph.chains import resample
from foldmap.street.source import LaneGraph
from foldmap.street.unfold import FoldedStreet


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A town's street map and models, and map.fold of it; read only."""
    folder = tmp_path_factory.mktemp("town")
    write_town(folder)
    return folder


@pytest.fixture(scope="module")
def folded(town: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from foldmap.api.folding import StreetOptions, fold

    out = tmp_path_factory.mktemp("folded") / "map.fold"
    options = StreetOptions(
        model=town / "model.safetensors", spacing=12.0, embeddings="int8", lanes="traits", tile_m=128.0
    )
    fold(town / "town.geojson", out, street=options)
    return out


def away_m(a: LaneGraph, b: LaneGraph) -> float:
    """Largest distance of a point of either from the other."""
    one, other = resample(a, 0.5).vertices_m, resample(b, 0.5).vertices_m
    far = [cKDTree(x).query(y)[0].max() for x, y in ((one, other), (other, one))]
    return float(max(far))


def _plain(run: Run, *arguments: object) -> dict[str, Any]:
    summary: dict[str, Any] = run("fold", *arguments, "--json").told()
    return summary


def test_graphs_alone(run: Run, town: Path, tmp_path: Path) -> None:
    out = tmp_path / "map.fold"
    summary = _plain(run, town / "town.geojson", "-o", out, "--spacing", "0", "--error", "0.05", "--name", "here")
    street = town_map()
    assert summary["file_bytes"] == out.stat().st_size
    assert summary["lane_km"] == pytest.approx(street.graph.length_m / 1000, rel=0.005)
    assert (summary["model"], summary["embeddings"], summary["bytes"]["vectors"]) == (None, "none", 0)
    per_km = summary["bytes_a_lane_km"]
    assert per_km["graph"] == pytest.approx(summary["bytes"]["graph"] / summary["lane_km"], rel=0.01)
    assert per_km["all"] < 2000
    settings = json.loads((tmp_path / "map.fold.settings.json").read_text())
    assert (settings["street"]["error_m"], settings["street"]["spacing"]) == (0.05, 0.0)
    with FoldFile.open(out) as file:
        layer = FoldedStreet(file)
        assert [region.name for region in layer.regions] == ["here"]
        assert away_m(layer.graph("here"), street.graph) < 0.05 + 0.25 * 0.01 + 0.26  # half a sample apart at worst


def test_show_verify_unfold(run: Run, folded: Path, tmp_path: Path) -> None:
    shown = run("show", folded, "--json").told()["layers"]["street"]
    assert shown["regions"]["town"]["places"] > 50
    assert shown["bytes"]["vectors"] == shown["regions"]["town"]["places"] * 502  # 500 numbers and a scale
    assert run("show", folded, "--picture", tmp_path / "town.png").status == 0
    assert (tmp_path / "town.png").read_bytes()[:4] == b"\x89PNG"
    assert run("verify", folded).out.strip() == f"{folded} is sound"
    with FoldFile.open(folded) as file:
        stored = FoldedStreet(file).graph("town")
    for suffix in ("geojson", "parquet", "osm"):
        out = tmp_path / f"town.{suffix}"
        ran = run("unfold", folded, "-o", out, "--json")
        assert (ran.status, ran.err) == (0, "")
        back = read_street_maps(out)[0].graph
        assert abs(back.length_m / stored.length_m - 1) < 0.01
        if suffix != "osm":  # Lanelet2 has borders, whose middle is not the line to the millimetre
            assert away_m(back, stored) < 0.3
            assert (back.in_degree > 1).sum() == (stored.in_degree > 1).sum()


def test_verify_names_what_does_not_decode(run: Run, folded: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.fold"
    shutil.copyfile(folded, broken)
    with FoldFile.open(broken) as file:
        key = file.tiles("street")[0]
        payload = file.tile("street", *key)
    assert payload is not None
    with FoldUpdater(broken) as updater:
        updater.put_tile("street", *key, payload[:-7])
        updater.put_tile("street", 0, 9 << 16, payload)
        updater.commit()
    ran = run("verify", broken)
    assert ran.status == 1
    assert "region 'town' does not decode" in ran.out
    assert "belongs to no region" in ran.out


def test_several_maps_and_formats_are_regions_of_one_file(run: Run, town: Path, tmp_path: Path) -> None:
    polylines = "line,x_m,y_m\n" + "".join(f"{k},{x},{4 * k}\n" for k in range(2) for x in (0, 30, 60))
    (tmp_path / "two.csv").write_text(polylines)
    out = tmp_path / "map.fold"
    ran = run("fold", town / "town.geojson", tmp_path / "two.csv", "-o", out, "--embeddings", "none", "--json")
    assert json.loads(ran.out)["regions"] == 2
    assert "none of the 2 lanes is joined to another" in ran.err  # a map without topology folds, and it is said
    assert "name one with --region: town, two" in run("unfold", out, "-o", tmp_path / "x.geojson").err
    run("unfold", out, "-o", tmp_path / "x.geojson", "--region", "two").done()
    assert read_street_maps(tmp_path / "x.geojson")[0].graph.length_m == pytest.approx(120, abs=0.2)
    run("fold", tmp_path / "two.csv", "--into", out, "--embeddings", "none")
    assert list(run("show", out, "--json").told()["layers"]["street"]["regions"]) == ["two"]


def test_disconnected_pieces_and_duplicate_vertices_are_said(run: Run, tmp_path: Path) -> None:
    rows = [(0, 0, 0), (0, 50, 0), (1, 50, 0), (1, 90, 20), (2, 0, 80), (2, 60, 80), (3, 60, 80), (3, 0, 80)]
    text = "line,x_m,y_m\n" + "".join(f"{line},{x},{y}\n" for line, x, y in rows)
    (tmp_path / "map.csv").write_text(text)
    ran = run("fold", tmp_path / "map.csv", "-o", tmp_path / "m.fold", "--embeddings", "none").done()
    assert "pieces" in ran.err


def _nodes(folder: Path, edges: np.ndarray) -> Path:
    path = folder / "tile_1_graph.npz"
    nodes = np.array([[0, 0], [400, 0], [800, 300]], np.int64)
    np.savez(path, nodes_px=nodes, edges=edges.astype(np.int64), node_type=np.zeros(3, np.int64))
    return path


def test_self_loops_are_dropped_or_refused(run: Run, tmp_path: Path) -> None:
    path = _nodes(tmp_path, np.array([[0, 1, 0], [1, 1, 0], [1, 2, 0]]))
    ran = run("fold", path, "-o", tmp_path / "m.fold", "--embeddings", "none", "--json")
    if ran.status == 0:
        with FoldFile.open(tmp_path / "m.fold") as file:
            assert len(FoldedStreet(file).graph("tile_1").edges) == 2
    else:
        assert (ran.status, ran.err.count("\n")) == (2, 1)
        assert "loop" in ran.err


LANELET = """<osm version="0.6">
<node id="1" lat="" lon=""><tag k="local_x" v="0"/><tag k="local_y" v="0"/></node>
<node id="2" lat="" lon=""><tag k="local_x" v="40"/><tag k="local_y" v="0"/></node>
<node id="3" lat="" lon=""><tag k="local_x" v="0"/><tag k="local_y" v="3"/></node>
<node id="4" lat="" lon=""><tag k="local_x" v="40"/><tag k="local_y" v="3"/></node>
<way id="10"><nd ref="1"/><nd ref="2"/></way><way id="11"><nd ref="3"/><nd ref="4"/></way>
<relation id="20"><member type="way" ref="11" role="left"/><member type="way" ref="10" role="right"/>
<tag k="type" v="lanelet"/><tag k="subtype" v="road"/></relation>
<relation id="21"><tag k="type" v="teleporter"/></relation>
</osm>
"""


def test_unsupported_tags_are_counted(run: Run, tmp_path: Path) -> None:
    (tmp_path / "map.osm").write_text(LANELET)
    ran = run("fold", tmp_path / "map.osm", "-o", tmp_path / "m.fold", "--embeddings", "none", "--json")
    assert json.loads(ran.out)["lane_km"] == pytest.approx(0.04, rel=0.01)
    assert "left out 1 x" in ran.err
    assert "teleporter" in ran.err


@pytest.mark.parametrize(
    ("name", "text", "options", "message"),
    [
        ("map.csv", "line,x_m,y_m\n0,8.40001,49.00001\n0,8.40002,49.00002\n", [], "degrees, not metres"),
        ("map.csv", "lane,x,y\n0,0,0\n0,1,0\n0,0,1\n0,1,1\n", [], "has no column line (give columns line,x_m,y_m"),
        ("map.csv", "line,x_m,y_m\n", [], "no line with two distinct points"),
        ("map.csv", "line,x_m,y_m\n0,0,0\n0,nan,3\n", [], "row 3"),
        ("map.geojson", '{"type": "FeatureCollection", "features": []}', [], "holds no LineString"),
        ("map.csv", "GOOD", ["--embeddings", "gif"], "cannot be stored as 'gif'"),
        ("map.csv", "GOOD", ["--error", "-1"], "error of -1"),
        ("map.csv", "GOOD", ["--points", "5"], "is a street map, and --points is for a scene"),
        ("map.csv", "GOOD", ["--rate", "2"], "is a street map, and --rate is for a raster"),
        ("map.csv", "GOOD", ["--model", "gone.safetensors"], "gone.safetensors cannot be read"),
        ("map.csv", "GOOD", ["--as", "painting"], "no kind of map 'painting'"),
        ("map.csv", "GOOD", ["--format", "painting"], "no kind of street map 'painting'"),
        ("map.osm", "<html></html>", ["--as", "street"], "is no street map that foldmap reads"),
    ],
)
def test_what_cannot_be_folded(
    run: Run, tmp_path: Path, name: str, text: str, options: list[str], message: str
) -> None:
    good = "line,x_m,y_m\n0,0,0\n0,40,0\n"
    (tmp_path / name).write_text(good if text == "GOOD" else text)
    if "--embeddings" not in options and "--model" not in options:
        options = [*options, "--embeddings", "none"]
    ran = run("fold", tmp_path / name, "-o", tmp_path / "m.fold", *options)
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.splitlines()[-1].startswith("error: ")
    assert message in ran.err
    assert not (tmp_path / "m.fold").exists()


def test_a_folder_that_is_both_asks(run: Run, town: Path, tmp_path: Path) -> None:
    both = tmp_path / "both"
    (both / "sensors").mkdir(parents=True)
    shutil.copyfile(town / "town.geojson", both / "town.geojson")
    run("fold", both, "-o", tmp_path / "m.fold", "--embeddings", "none").refused("--as scene or --as street")
    run("fold", both, "-o", tmp_path / "m.fold", "--embeddings", "none", "--as", "street").done()


def test_a_map_without_streets_has_no_street_layer(run: Run, place: Path, tmp_path: Path) -> None:
    for arguments in (["unfold", place / "map.fold", "-o", tmp_path / "x.geojson"],):
        run(*arguments).refused("holds a lidar map, which cannot be unfolded as .geojson (name the output .tif, .tiff)")


def test_shared_maps_fold(run: Run, shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "street" / "lanelet2" / "kit_karlsruhe_mapping_example.osm"
    if not path.exists():
        pytest.skip("no shared maps")
    summary = _plain(run, path, "-o", tmp_path / "k.fold", "--embeddings", "none")
    assert summary["lane_km"] == pytest.approx(5.17, abs=0.05)
    assert summary["bytes_a_lane_km"]["all"] < 2000


ROAD = """<?xml version="1.0"?><OpenDRIVE><header revMajor="1" revMinor="7"/>
<road id="1" junction="-1" length="50"><link><successor elementType="road" elementId="9" contactPoint="start"/></link>
<planView><geometry s="0" x="0" y="0" hdg="0" length="50"><line/></geometry></planView><lanes><laneSection s="0">
<left><lane id="1" type="driving"><width sOffset="0" a="3.5" b="0" c="0" d="0"/></lane></left>
<center><lane id="0" type="none"/></center><right>
<lane id="-1" type="driving"><width sOffset="0" a="3.5" b="0" c="0" d="0"/></lane>
<lane id="-2" type="driving"/>
<lane id="-3" type="sidewalk"><width sOffset="0" a="2" b="0" c="0" d="0"/></lane></right></laneSection>
<laneSection s="50"><center><lane id="0" type="none"/></center></laneSection></lanes></road></OpenDRIVE>"""


def test_what_is_damaged_is_said_and_strict_refuses_it(run: Run, tmp_path: Path) -> None:
    path, out = tmp_path / "town.xodr", tmp_path / "m.fold"
    path.write_text(ROAD)
    ran = run("fold", path, "-o", out, "--embeddings", "none", "--json").done()
    assert "note: town: damaged: 2 x lane (1 lane lost, 50 m): lane -2 of road 1, section 0 has no width" in ran.err
    assert "note: town: damaged: 1 x road link: the successor of road 1 is road 9, which is not there" in ran.err
    summary = json.loads(ran.out)
    assert summary["lane_km"] == pytest.approx(0.1)
    assert summary["damaged"]["town"]["faults"] == 4
    assert (summary["damaged"]["town"]["lanes"], summary["damaged"]["town"]["lane_m"]) == (1, 50.0)
    assert "lane -2 of road 1" in summary["damaged"]["town"]["first"]
    run("fold", path, "-o", tmp_path / "strict.fold", "--embeddings", "none", "--strict").refused(
        "town has 4 faults, the first: lane -2 of road 1, section 0 has no width", notes=3
    )
    assert not (tmp_path / "strict.fold").exists()
    mended = ROAD.replace('<lane id="-2" type="driving"/>', "").replace('elementId="9"', 'elementId="1"')
    path.write_text(mended.replace('<laneSection s="50"', '<laneSection s="25"'))
    ran = run("fold", path, "-o", out, "--embeddings", "none", "--strict", "--json").done()
    assert json.loads(ran.out)["left_out"] == {"town": {"lane of type sidewalk": {"count": 1, "lane_m": 25.0}}}


@pytest.mark.parametrize("suffix", ["geojson", "osm", "parquet"])
def test_whatever_folds_is_unfolded(run: Run, tmp_path: Path, suffix: str) -> None:
    """Lanes that lie closer together than the grid of a fold still come out, and say which goes on into which."""
    rows = [
        (0, 0, 0),
        (0, 40, 0),
        (1, 40.02, 0),
        (1, 40.04, 0.01),
        (2, 40.05, 0),
        (2, 80, 0),
        (3, 40.05, 0),
        (3, 60, 9),
    ]
    text = "line,x_m,y_m\n" + "".join(f"{line},{x},{y}\n" for line, x, y in rows)
    (tmp_path / "map.csv").write_text(text)
    out = tmp_path / f"back.{suffix}"
    assert run("fold", tmp_path / "map.csv", "-o", tmp_path / "m.fold", "--embeddings", "none").status == 0
    ran = run("unfold", tmp_path / "m.fold", "-o", out)
    assert (ran.status, ran.err) == (0, "")
    back = read_street_maps(out)[0].graph
    assert back.length_m == pytest.approx(40 + 40 + 22, abs=1.5)
    assert (back.out_degree > 1).any()
