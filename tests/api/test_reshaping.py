"""Files cut and put together: tiles bit for bit as they were, read by SQLite alone; what does not go together."""

import itertools
import sqlite3
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foldmap.api.reshaping.area import Area
from foldmap.api.reshaping.extracting import extract
from foldmap.api.reshaping.merging import merge
from foldmap.atlas import FoldFile, FoldUpdater, FoldWriter, verify
from foldmap.atlas.patches import apply_patch, write_patch
from foldmap.cli.verify import find_faults
from foldmap.errors import ConfigError, LayerError, MapInputError, PoseInputError
from foldmap.geometry import SE3
from foldmap.lidar.defaults import default_marks
from foldmap.lidar.fold import LidarPlan, fold_lidar
from foldmap.lidar.folded import open_lidar
from foldmap.lidar.marks.unfold import FoldedMarks
from foldmap.street.unfold import FoldedStreet
from foldmap.visual.unfold import FoldedVisual
from second_reader import read
from tests.api.reshaped_town import (
    COLUMNS,
    NORTH_M,
    ROWS,
    TILE_M,
    half_blind_scene,
    put_lidar,
    put_scene,
    put_street,
    street_of,
    town_bytes,
)
from tests.lidar.painted_ground import painted_map

Tiles = dict[tuple[int, int], bytes]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("place")


@pytest.fixture
def town(place: Path, tmp_path: Path) -> Path:
    path = tmp_path / "town.fold"
    path.write_bytes(town_bytes(place))
    return path


def tiles_of(path: Path, layer: str) -> Tiles:
    """Tiles of a layer by SQLite alone, cut by the directory as the format's document says."""
    connection = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)
    (number, packed) = connection.execute("SELECT id,directory FROM layers WHERE name=?", (layer,)).fetchone()
    rows = connection.execute("SELECT payload FROM tiles WHERE layer=? ORDER BY id", (number,)).fetchall()
    connection.close()
    bundles, count = np.frombuffer(packed, "<u4", 3)[1:].tolist()
    planes = np.frombuffer(zlib.decompress(packed[12:]), np.uint8)[12 * bundles :].reshape(3, 4, count)
    numbers = [np.ascontiguousarray(plane.T).view("<u4").ravel() for plane in planes]
    down, right = (np.cumsum(one, dtype=np.uint32).view(np.int32).tolist() for one in numbers[:2])
    ends = np.cumsum(numbers[2], dtype=np.int64)
    whole = b"".join(payload for (payload,) in rows)
    pieces = [whole[end - size : end] for end, size in zip(ends.tolist(), numbers[2].tolist(), strict=True)]
    return dict(zip(zip(right, down, strict=True), pieces, strict=True))


def parameters_of(path: Path, layer: str) -> dict[str, Any]:
    with FoldFile.open(path) as file:
        return file.layer(layer).parameters


# -- areas -------------------------------------------------------------------------------------------------------------


def test_reach_is_that_of_points_laid_densely_on_the_path() -> None:
    rng = np.random.default_rng(0)
    for count in (1, 2, 3, 60):
        path = np.cumsum(rng.normal(0, 20, (count, 2)), axis=0)
        low = path.mean(axis=0) + rng.uniform(-90, 90, (150, 2))
        boxes = np.concatenate([low, low + rng.uniform(0.5, 40, (150, 2))], axis=1)
        dense = [path[:1]]
        for one, other in itertools.pairwise(path):
            dense.append(one + np.linspace(0, 1, 2 + int(8 * np.linalg.norm(other - one)))[:, None] * (other - one))
        points = np.concatenate(dense)
        out = np.maximum(np.maximum(boxes[:, None, :2] - points, points - boxes[:, None, 2:]), 0)
        apart = np.linalg.norm(out, axis=2).min(axis=1)
        found = Area(path, 15.0, None, {}).reaches(boxes)
        sure = np.abs(apart - 15.0) > 0.07
        assert (found[sure] == (apart[sure] < 15.0)).all()
        assert found.any()
        assert not found.all()
        finer = path if count < 2 else np.concatenate([np.linspace(a, b, 20) for a, b in itertools.pairwise(path)])
        assert (Area(finer, 15.0, None, {}).reaches(boxes)[sure] == found[sure]).all()  # many pieces


@pytest.mark.parametrize("text", ["1,2,3", "1,2,3,x", "5,0,1,9", "0,0,nan,1", ""])
def test_what_is_no_box_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="box"):
        Area.box(text)


def test_a_corridor_needs_poses_and_metres(tmp_path: Path) -> None:
    (tmp_path / "drive.txt").write_text("0 1 2 3\n")
    with pytest.raises(PoseInputError):
        Area.corridor(tmp_path / "drive.txt", 30.0)
    degrees = [f"{k} {8.4 + 1e-5 * k} {49 + 1e-6 * k} 0 0 0 0 1" for k in range(9)]
    (tmp_path / "degrees.txt").write_text("\n".join(degrees))
    with pytest.raises(PoseInputError, match="are degrees, not metres"):
        Area.corridor(tmp_path / "degrees.txt", 30.0)
    with pytest.raises(ConfigError, match="corridor"):
        Area.corridor(tmp_path / "drive.txt", float("nan"))


# -- extract -----------------------------------------------------------------------------------------------------------


def test_a_box_takes_the_tiles_that_it_touches_and_no_others(town: Path, tmp_path: Path) -> None:
    west, south, east, north = 120.0, 20.0, 300.0, 70.0
    out = tmp_path / "part.fold"
    summary = extract(town, Area.box(f"{west},{south},{east},{north}"), out)
    before, after = tiles_of(town, "lidar"), tiles_of(out, "lidar")
    wanted = {
        (column, row)
        for column in range(COLUMNS)
        for row in range(ROWS)
        if column * TILE_M <= east
        and (column + 1) * TILE_M >= west
        and NORTH_M - row * TILE_M >= south
        and NORTH_M - (row + 1) * TILE_M <= north
    }
    assert after == {key: before[key] for key in wanted}
    assert summary["lidar"] == {"tiles": len(wanted), "of_tiles": COLUMNS * ROWS}
    assert summary["file_bytes"] == out.stat().st_size < summary["of_bytes"] / 3
    assert summary["visual"]["tiles"] == 0
    assert find_faults(out) == [] or all("lidar" in fault for fault in find_faults(out))  # its codes are of no model
    assert verify(out) == []
    with FoldFile.open(out) as file, FoldFile.open(town) as whole:
        assert [one.name for one in file.layers()] == ["lidar", "street"]
        assert file.metadata()["extracted"]["seal"] == whole.seal.hex()
        assert file.metadata()["provenance"] == {"foldmap": "test"}
        streets, all_streets = FoldedStreet(file), FoldedStreet(whole)
        assert [region.name for region in streets.regions] == ["streets"]  # the other is 5 km off
        graph, full = streets.graph("streets"), all_streets.graph_near("streets", 210.0, 45.0, 90.0)
        inside = ((full.vertices_m >= [west, south]) & (full.vertices_m <= [east, north])).all(axis=1)
        mine = {tuple(np.round(xy, 3)) for xy in graph.vertices_m}
        assert {tuple(np.round(xy, 3)) for xy in full.vertices_m[inside]} <= mine
        assert len(graph.edges) == streets.region("streets").edges < len(all_streets.graph("streets").edges) / 2
        assert len(streets.places("streets")) == streets.region("streets").places
        assert streets.region("streets").length_m == pytest.approx(graph.length_m, abs=0.1)


def test_a_drive_takes_what_is_near_it(town: Path, tmp_path: Path) -> None:
    poses = [SE3(np.array([[1, 0, 0, x], [0, 1, 0, 30.0], [0, 0, 1, 1], [0, 0, 0, 1.0]])) for x in range(200, 500, 5)]
    (tmp_path / "drive.txt").write_text("".join(" ".join(map(str, p.matrix[:3].ravel())) + "\n" for p in poses))
    area = Area.corridor(tmp_path / "drive.txt", 10.0)
    told = extract(town, area, None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["drive.txt", "town.fold"]
    done = extract(town, area, tmp_path / "part.fold")
    assert told["file_bytes"] == done["file_bytes"] == (tmp_path / "part.fold").stat().st_size
    after = tiles_of(tmp_path / "part.fold", "lidar")
    before = tiles_of(town, "lidar")
    rows = {row for row in range(ROWS) if NORTH_M - (row + 1) * TILE_M <= 40 and NORTH_M - row * TILE_M >= 20}
    straight = {(c, r) for c in range(COLUMNS) for r in rows if (c + 1) * TILE_M > 190 and c * TILE_M < 505}
    assert straight - set(after) <= {(c, r) for c, r in straight if c in (7, 19)}  # corners beyond its round ends
    assert set(after) <= straight
    assert all(data == before[key] for key, data in after.items())


def test_of_a_scene_the_images_go_with_their_tiles(town: Path, tmp_path: Path) -> None:
    out = tmp_path / "part.fold"
    extract(town, Area.box("2.6,0,4,4"), out, layers=["visual"])
    with FoldFile.open(town) as file, FoldFile.open(out) as part:
        whole, cut = FoldedVisual(file), FoldedVisual(part)
        before = [whole.tile(number) for number in range(whole.tiles)]
        kept = [k for k, tile in enumerate(before) if tile.points_world[:, 0].max() >= 2.6]
        assert 0 < len(kept) == cut.tiles < whole.tiles
        assert cut.points == sum(len(before[k]) for k in kept)
        # images 0 to 11 see nothing east of 2 m: three groups of four are gone
        seeing = [k for k in kept if before[k].points_world[:, 0].min() < 2.0]
        assert not seeing
        assert (cut.image_count, whole.image_count) == (12, 24)
        for new, old in enumerate(kept):
            tile = cut.tile(new)
            assert np.array_equal(tile.points_world, before[old].points_world)
            assert np.array_equal(tile.descriptors, before[old].descriptors)
            assert tile.visible is not None
            assert before[old].visible is not None
            assert np.array_equal(tile.visible, before[old].visible[:, 3:])
        images, all_images = cut.images(), whole.images()
        assert images.image_names == all_images.image_names[12:]
        assert np.array_equal(images.camera_SE3_world, all_images.camera_SE3_world[12:])
        assert np.array_equal(cut.retriever().descriptors, whole.retriever().descriptors[12:])
        # a query finds the same points by the same images
        near = whole.seen_by(np.arange(12, 24))
        mine = cut.seen_by(np.arange(12))
        inside = {tuple(xyz) for xyz in mine.points_world}
        assert inside <= {tuple(xyz) for xyz in near.points_world}
        assert inside == {tuple(xyz) for k in kept for xyz in before[k].points_world[before[k].visible[:, 3:].any(1)]}
    assert find_faults(out) == []


def test_a_scene_without_metres_stays_whole(tmp_path: Path) -> None:
    with FoldWriter(tmp_path / "a.fold") as writer:
        put_scene(writer, half_blind_scene(metric=False))
    told: list[str] = []
    extract(tmp_path / "a.fold", Area.box("0,0,1,1"), tmp_path / "b.fold", note=told.append)
    assert tiles_of(tmp_path / "a.fold", "visual") == tiles_of(tmp_path / "b.fold", "visual")
    assert "whole" in told[0]


def test_a_part_of_everything_is_everything(town: Path, tmp_path: Path) -> None:
    extract(town, Area.box("-1e5,-1e5,1e5,1e5"), tmp_path / "all.fold")
    for layer in ("lidar", "street", "visual"):
        assert tiles_of(town, layer) == tiles_of(tmp_path / "all.fold", layer)
        assert parameters_of(town, layer) == parameters_of(tmp_path / "all.fold", layer)


def test_what_cannot_be_cut_is_said(town: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.fold"
    with pytest.raises(MapInputError, match=r"nothing in reach.*bbox"):
        extract(town, Area.box("1e6,1e6,2e6,2e6"), out)
    with pytest.raises(LayerError, match="no layer 'aerial'"):
        extract(town, Area.box("0,0,9,9"), out, layers=["aerial"])
    with FoldUpdater(town) as updater:
        said = updater.before.layer("lidar").parameters
        updater.set_parameters("lidar", {**said, "grid": {**said["grid"], "crs_wkt": "EPSG:25832"}})
    with pytest.raises(MapInputError, match=r"different frames: EPSG:25832 and a local frame.*--layer"):
        extract(town, Area.box("0,0,9,9"), out)
    assert not out.exists()
    assert extract(town, Area.box("0,0,9,9"), out, layers=["lidar"])["lidar"]["tiles"] == 2


# -- merge -------------------------------------------------------------------------------------------------------------


def file_of(path: Path, **layers: Any) -> Path:
    with FoldWriter(path) as writer:
        for put in layers.values():
            put(writer)
    return path


def test_layers_of_different_kinds_lie_beside_each_other(place: Path, town: Path, tmp_path: Path) -> None:
    lidar = file_of(tmp_path / "l.fold", lidar=put_lidar)
    streets = file_of(
        tmp_path / "s.fold", street=lambda w: put_street(w, street_of(place), street_of(place, "far", 2, 5000.0))
    )
    scene = file_of(tmp_path / "v.fold", visual=lambda w: put_scene(w, half_blind_scene()))
    summary = merge([lidar, streets, scene], tmp_path / "all.fold")
    assert summary["file_bytes"] == (tmp_path / "all.fold").stat().st_size
    one, other = read(town), read(tmp_path / "all.fold")
    assert {key: one[key] for key in ("layers", "tiles", "models")} == {
        key: other[key] for key in ("layers", "tiles", "models")
    }
    assert [entry["file"] for entry in other["metadata"]["merged"]] == ["l.fold", "s.fold", "v.fold"]


@pytest.mark.parametrize(
    ("raster", "streets", "said"),
    [
        ("EPSG:25832", "EPSG:32632", "another frame"),
        ("EPSG:25832", "epsg:25832", ""),
        ("", "", ""),
        ("EPSG:25832", "", "s.fold names no crs, and is taken to be in that of l.fold"),
        ("", "EPSG:25832", "l.fold names no crs, and is taken to be in that of s.fold"),
    ],
)
def test_streets_beside_a_raster_are_in_its_frame(
    raster: str, streets: str, said: str, place: Path, tmp_path: Path
) -> None:
    lidar = file_of(tmp_path / "l.fold", lidar=put_lidar)
    lanes = file_of(tmp_path / "s.fold", street=lambda w: put_street(w, replace(street_of(place), crs=streets or None)))
    with FoldUpdater(lidar) as updater:
        was = updater.before.layer("lidar").parameters
        updater.set_parameters("lidar", {**was, "grid": {**was["grid"], "crs_wkt": raster}})
    told: list[str] = []
    for files in ([lidar, lanes], [lanes, lidar]):
        told.clear()
        if said == "another frame":
            with pytest.raises(MapInputError, match=r"street is in another frame .EPSG:32632. than l\.fold"):
                merge(files, tmp_path / "both.fold", note=told.append)
            assert not (tmp_path / "both.fold").exists()
        else:
            merge(files, tmp_path / "both.fold", note=told.append)
        assert [line for line in told if "crs" in line] == ([said] if "crs" in said else [])


def test_a_map_cut_in_two_and_joined_is_the_map(town: Path, tmp_path: Path) -> None:
    layers = ["lidar", "street"]
    extract(town, Area.box("-1e4,-1e4,400,1e4"), tmp_path / "west.fold", layers=["lidar"])
    extract(town, Area.box("380,-1e4,1e4,1e4"), tmp_path / "east.fold", layers=["lidar"])
    merge([tmp_path / "west.fold", tmp_path / "east.fold"], tmp_path / "both.fold")
    assert tiles_of(tmp_path / "both.fold", "lidar") == tiles_of(town, "lidar")
    assert parameters_of(tmp_path / "both.fold", "lidar") == parameters_of(town, "lidar")
    merge([town], tmp_path / "one.fold")
    assert (tmp_path / "one.fold").read_bytes() == town.read_bytes()
    merge([town, town], tmp_path / "twice.fold")
    for layer in (*layers, "visual"):
        assert tiles_of(tmp_path / "twice.fold", layer) == tiles_of(town, layer)
        assert parameters_of(tmp_path / "twice.fold", layer) == parameters_of(town, layer)


def test_rasters_side_by_side_are_joined_on_one_lattice(tmp_path: Path) -> None:
    """The second lies 3 tiles west and 2 north of the first, and reaches into it."""
    put = {
        "a": {"seed": 1, "columns": range(5)},
        "b": {"seed": 2, "columns": range(2), "west_m": -3 * TILE_M, "north_m": NORTH_M + 2 * TILE_M},
    }
    for name, said in put.items():
        file_of(tmp_path / f"{name}.fold", lidar=lambda w, said=said: put_lidar(w, **said))
    merge([tmp_path / "a.fold", tmp_path / "b.fold"], tmp_path / "c.fold")
    a, b, c = (tiles_of(tmp_path / f"{name}.fold", "lidar") for name in "abc")
    assert c == {(x + 3, y + 2): data for (x, y), data in a.items()} | b
    grid = parameters_of(tmp_path / "c.fold", "lidar")["grid"]
    assert (grid["west_m"], grid["north_m"]) == pytest.approx((-3 * TILE_M, NORTH_M + 2 * TILE_M))
    assert (grid["width_px"], grid["height_px"]) == (512 * (COLUMNS + 3), 512 * (ROWS + 2))
    assert parameters_of(tmp_path / "c.fold", "lidar")["observed_px"] == 960


def test_tiles_that_differ_need_a_preference(tmp_path: Path) -> None:
    for seed in (1, 2):
        file_of(tmp_path / f"{seed}.fold", lidar=lambda w, seed=seed: put_lidar(w, seed, range(3 * seed)))
    both = [tmp_path / "1.fold", tmp_path / "2.fold"]
    with pytest.raises(MapInputError, match=r"tile \(0, 0\), and 36 tiles differ.*--prefer"):
        merge(both, tmp_path / "c.fold")
    one, two = (tiles_of(path, "lidar") for path in both)
    for prefer, wanted in (("first", two | one), ("last", two)):
        told: list[str] = []
        merge(both, tmp_path / "c.fold", prefer=prefer, note=told.append)
        assert tiles_of(tmp_path / "c.fold", "lidar") == wanted
        assert any("36 tiles differ" in line for line in told)
    with pytest.raises(ConfigError, match="first or last"):
        merge(both, tmp_path / "c.fold", prefer="newest")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"codec": "d"}, "codec 'd'"),
        ({"tile_blocks": 2}, "tile_blocks 2"),
        ({"west_m": 1.3}, "lie between"),
        ({"relief": True}, "relief True"),
    ],
)
def test_rasters_that_do_not_go_together_are_named(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    file_of(tmp_path / "a.fold", lidar=put_lidar)
    file_of(tmp_path / "b.fold", lidar=lambda w: put_lidar(w, **changes))
    with pytest.raises(MapInputError, match=said):
        merge([tmp_path / "a.fold", tmp_path / "b.fold"], tmp_path / "c.fold")
    assert not (tmp_path / "c.fold").exists()


def test_other_models_and_kinds_are_named_and_calibrations_do_not_add_up(tmp_path: Path) -> None:
    file_of(tmp_path / "a.fold", lidar=lambda w: put_lidar(w, calibration={"answers": 5}))
    file_of(tmp_path / "b.fold", lidar=lambda w: (put_lidar(w), w.put_model("lidar", "localizer", b"other")))
    with pytest.raises(MapInputError, match="another model 'localizer'"):
        merge([tmp_path / "a.fold", tmp_path / "b.fold"], tmp_path / "c.fold")
    file_of(tmp_path / "b.fold", lidar=lambda w: w.add_layer("lidar", "street", {}))
    with pytest.raises(MapInputError, match="is a street layer"):
        merge([tmp_path / "a.fold", tmp_path / "b.fold"], tmp_path / "c.fold")
    file_of(tmp_path / "b.fold", lidar=put_lidar)
    told: list[str] = []
    merge([tmp_path / "a.fold", tmp_path / "b.fold"], tmp_path / "c.fold", note=told.append)
    assert "calibration" not in parameters_of(tmp_path / "c.fold", "lidar")
    assert any("foldmap calibrate" in line for line in told)


@pytest.mark.parametrize(("other", "left"), [("clockwise", "clockwise"), ("skewed", None), (None, None)])
def test_how_sweeps_were_put_together_is_of_all_or_none(other: str | None, left: str | None, tmp_path: Path) -> None:
    file_of(tmp_path / "a.fold", lidar=lambda w: put_lidar(w, sweeps="clockwise"))
    file_of(tmp_path / "b.fold", lidar=lambda w: put_lidar(w, **({"sweeps": other} if other else {})))
    told: list[str] = []
    merge([tmp_path / "a.fold", tmp_path / "b.fold"], tmp_path / "c.fold", note=told.append)
    assert parameters_of(tmp_path / "c.fold", "lidar").get("sweeps") == left
    assert any("put together in different ways" in line for line in told) == (left is None)


def test_regions_of_streets_are_joined(place: Path, tmp_path: Path) -> None:
    one, two = street_of(place), street_of(place, "far", 2, 5000.0)
    file_of(tmp_path / "a.fold", street=lambda w: put_street(w, two, one))
    file_of(tmp_path / "b.fold", street=lambda w: put_street(w, street_of(place, "more", 3, 900.0), two))
    merge([tmp_path / "a.fold", tmp_path / "b.fold"], tmp_path / "c.fold")
    with FoldFile.open(tmp_path / "c.fold") as file, FoldFile.open(tmp_path / "b.fold") as other:
        streets = FoldedStreet(file)
        assert [region.name for region in streets.regions] == ["far", "streets", "more"]
        graph, was = streets.graph("more"), FoldedStreet(other).graph("more")
        assert np.array_equal(graph.vertices_m, was.vertices_m)
        assert np.array_equal(graph.edges, was.edges)
        assert np.array_equal(streets.places("more").xy_m, FoldedStreet(other).places("more").xy_m)
    assert find_faults(tmp_path / "c.fold") == []
    file_of(tmp_path / "d.fold", street=lambda w: put_street(w, street_of(place, "far", 3, 5000.0)))
    both = [tmp_path / "c.fold", tmp_path / "d.fold"]
    with pytest.raises(MapInputError, match=r"region 'far', and it differs.*--name"):
        merge(both, tmp_path / "e.fold")
    for prefer, edges in (("first", 2), ("last", 3)):
        merge(both, tmp_path / "e.fold", prefer=prefer)
        with FoldFile.open(tmp_path / "e.fold") as file:
            assert FoldedStreet(file).graph("far").length_m == pytest.approx(edges / 3 * 3 * 950, rel=0.1)
            assert [region.name for region in FoldedStreet(file).regions] == ["far", "streets", "more"]
    file_of(tmp_path / "f.fold", street=lambda w: put_street(w, one, error_m=0.2))
    with pytest.raises(MapInputError, match=r"step_m|error_m"):
        merge([tmp_path / "a.fold", tmp_path / "f.fold"], tmp_path / "g.fold")


def test_scenes_in_one_frame_are_joined(tmp_path: Path) -> None:
    for seed, apart in ((0, 0.0), (1, 10.0)):
        scene = half_blind_scene(seed, apart_m=apart)
        file_of(tmp_path / f"{seed}.fold", visual=lambda w, scene=scene: put_scene(w, scene, images=False))
    merge([tmp_path / "0.fold", tmp_path / "1.fold"], tmp_path / "c.fold")
    with FoldFile.open(tmp_path / "c.fold") as file:
        joined = FoldedVisual(file).whole()
    parts = []
    for seed in (0, 1):
        with FoldFile.open(tmp_path / f"{seed}.fold") as file:
            parts.append(FoldedVisual(file).whole())
    assert np.array_equal(joined.points_world, np.concatenate([one.points_world for one in parts]))
    assert np.array_equal(joined.descriptors, np.concatenate([one.descriptors for one in parts]))
    assert find_faults(tmp_path / "c.fold") == []
    file_of(tmp_path / "own.fold", visual=lambda w: put_scene(w, half_blind_scene(1, False), images=False))
    with pytest.raises(MapInputError, match="metric"):
        merge([tmp_path / "0.fold", tmp_path / "own.fold"], tmp_path / "d.fold")
    file_of(tmp_path / "found.fold", visual=lambda w: put_scene(w, half_blind_scene(1)))
    with pytest.raises(MapInputError, match=r"own images.*--no-images"):
        merge([tmp_path / "0.fold", tmp_path / "found.fold"], tmp_path / "d.fold")


def test_a_part_follows_its_map_by_patches(town: Path, tmp_path: Path) -> None:
    """The same cut of two versions differs by what changed in it."""
    area = Area.box("100,0,400,100")
    extract(town, area, tmp_path / "before.fold", layers=["lidar"])
    with FoldUpdater(town) as updater:
        updater.put_tile("lidar", 8, 4, b"changed")
        updater.put_tile("lidar", 39, 11, b"elsewhere")
    extract(town, area, tmp_path / "after.fold", layers=["lidar"])
    report = write_patch(tmp_path / "before.fold", tmp_path / "after.fold", tmp_path / "p")
    assert (report.tiles, report.removed, report.metadata) == (1, 0, 1)
    apply_patch(tmp_path / "before.fold", tmp_path / "p")
    assert (tmp_path / "before.fold").read_bytes() == (tmp_path / "after.fold").read_bytes()


def test_marks_of_joined_maps_are_where_they_were(tmp_path: Path) -> None:
    """Two maps of marks, the second four tiles west and one north: in the joined one each decodes at its place."""
    raster = painted_map(3)
    model = default_marks(raster.grid.resolution_m)
    file_of(tmp_path / "a.fold", lidar=lambda w: fold_lidar(w, raster, LidarPlan(model)))
    with FoldFile.open(tmp_path / "a.fold") as file:
        side_m = open_lidar(file).tile_px * raster.grid.resolution_m
    moved = replace(raster.grid, west_m=raster.grid.west_m - 4 * side_m, north_m=raster.grid.north_m + side_m)
    other = replace(raster, grid=moved)
    file_of(tmp_path / "b.fold", lidar=lambda w: fold_lidar(w, other, LidarPlan(model)))
    merge([tmp_path / "a.fold", tmp_path / "b.fold"], tmp_path / "c.fold")
    with FoldFile.open(tmp_path / "a.fold") as one, FoldFile.open(tmp_path / "c.fold") as both:
        was, now = open_lidar(one), open_lidar(both)
        assert isinstance(was, FoldedMarks)
        assert isinstance(now, FoldedMarks)
        x_m, y_m = raster.grid.world_of(np.array([[raster.grid.height_px / 2, raster.grid.width_px / 2]]))[0]
        marks = was.marks_near(x_m, y_m, 17.313)
        assert len(marks) > 20
        assert now.marks_near(x_m, y_m, 17.313) == pytest.approx(marks, abs=1e-6)
        west = now.marks_near(x_m - 4 * side_m, y_m + side_m, 17.313)
        assert np.add(west, [4 * side_m, -side_m]) == pytest.approx(marks, abs=1e-6)
        assert now.parameters["observed_px"] == 2 * was.parameters["observed_px"]
    assert find_faults(tmp_path / "c.fold") == []
