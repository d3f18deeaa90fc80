"""Folders of anybody's images with poses and maps; rings as JSON; ortho images with their maps."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.enums import ColorInterp
from rasterio.transform import Affine

from foldmap.errors import FoldmapError, MapInputError, PoseInputError
from foldmap.formats.street.observations.images import read_rgb
from foldmap.formats.street.observations.ortho import read_ground_image, read_ground_tile
from foldmap.formats.street.observations.pairs import read_pairs
from foldmap.formats.street.observations.ring import read_ring_file, write_ring_file
from foldmap.geometry import SE2
from foldmap.street.images.observation import AerialCrop, RingFrame
from foldmap.street.images.rig import surround_ring
from foldmap.street.paper.pairs import AerialPairs

RING = surround_ring((0.0, 120.0, -120.0), (160, 96), distortion=(-0.1, 0.02))
COLOURS = np.random.default_rng(0).integers(0, 256, (96, 160, 3), np.uint8)


def write_map(folder: Path, name: str = "suburb", x_m: float = 0.0) -> None:
    """One straight lane to the east along y = 5."""
    folder.mkdir(exist_ok=True)
    rows = [f"0,{x_m + 10 * k},5" for k in range(11)]
    (folder / f"{name}.csv").write_text("line,x_m,y_m\n" + "\n".join(rows) + "\n")


@pytest.fixture
def ring_folder(tmp_path: Path) -> Path:
    write_map(tmp_path / "maps")
    write_ring_file(tmp_path / "ring.json", RING)
    (tmp_path / "images").mkdir()
    Image.fromarray(COLOURS).save(tmp_path / "images" / "a.png")
    (tmp_path / "pairs.csv").write_text(
        "x_m, y_m, heading_deg, camera_0, camera_2\n50,5,90,images/a.png,images/a.png\n60,5,0,,images/a.png\n"
    )
    return tmp_path


def test_a_ring_comes_back_bit_for_bit(tmp_path: Path) -> None:
    write_ring_file(tmp_path / "ring.json", RING)
    back = read_ring_file(tmp_path / "ring.json")
    assert back.names == RING.names
    assert back.vehicle_SE3_camera.tobytes() == RING.vehicle_SE3_camera.tobytes()
    assert all(
        a.model == b.model and a.params.tobytes() == b.params.tobytes() and a.height_px == b.height_px
        for a, b in zip(back.cameras, RING.cameras, strict=True)
    )


def test_ring_pairs_of_a_folder(ring_folder: Path) -> None:
    pairs = read_pairs(ring_folder)
    assert len(pairs) == 2
    first, second = pairs[:]
    assert isinstance(first.observation, RingFrame)
    assert first.observation.ring.names == ("camera_0", "camera_2")
    assert np.array_equal(first.observation.images[0], COLOURS)
    assert isinstance(second.observation, RingFrame)
    assert second.observation.images[0] is None
    assert first.world_SE2_ego.heading_rad == pytest.approx(math.pi / 2)
    # headed north at (50, 5): the lane to the east runs from left (+20) to right (-20)
    ends = first.graph.vertices_m
    assert np.allclose(ends[:, 0], 0, atol=1e-9)
    start, stop = first.graph.edges[0]
    assert ends[start, 1] > ends[stop, 1]
    assert (ends[:, 1].min(), ends[:, 1].max()) == (-20, 20)
    assert np.allclose(first.graph.edge_lengths_m, 1.0)
    assert first.place == "suburb"


def test_aerial_pairs_of_a_folder_in_several_maps(tmp_path: Path) -> None:
    write_map(tmp_path / "maps")
    write_map(tmp_path / "maps", "city", 1000.0)
    grey = np.random.default_rng(1).integers(0, 256, (64, 64), np.uint8)
    Image.fromarray(grey).save(tmp_path / "g.png")
    Image.fromarray(np.dstack([grey, grey, grey, 255 - grey])).save(tmp_path / "rgba.png")
    (tmp_path / "pairs.csv").write_text(
        "map,x_m,y_m,heading_rad,aerial\nsuburb,50,5,0,g.png\ncity,1050,5,3.14159,rgba.png\n"
    )
    pairs = read_pairs(tmp_path)
    assert [pair.place for pair in pairs] == ["suburb", "city"]
    for pair in pairs:
        assert isinstance(pair.observation, AerialCrop)
        assert np.array_equal(pair.observation.image, np.repeat(grey[..., None], 3, 2))
        assert len(pair.graph) == 41
    assert pairs[1].graph.vertices_m[pairs[1].graph.edges[0]][:, 0].tolist() == pytest.approx([20, 19], abs=0.01)


@pytest.mark.parametrize(
    ("listing", "message"),
    [
        ("x_m,y_m,heading_deg,camera_9\n50,5,0,images/a.png\n", "'camera_9'.*not calibrated"),
        ("x_m,y_m,heading_deg,camera_0\n50,5,0,images/b.png\n", "line 2: there is no image"),
        ("x_m,y_m,heading_deg,camera_0\n50,5,0,\n", "line 2: no image"),
        ("x_m,y_m,heading_deg,camera_0\n50,5\n", "line 2: 2 cells for 4"),
        ("x_m,y_m,heading_deg,camera_0\n50,north,0,images/a.png\n", "line 2: .*north"),
        ("x_m,y_m,heading_deg,camera_0\n50,nan,0,images/a.png\n", "line 2: NaN"),
        ("x_m,y_m,heading_rad,camera_0\n50,5,90,images/a.png\n", "90 rad"),
        ("x_m,y_m,camera_0\n50,5,images/a.png\n", "headings"),
        ("x_m,y_m,heading_rad,heading_deg,camera_0\n50,5,0,0,images/a.png\n", "headings"),
        ("x_m,heading_rad,camera_0\n50,0,images/a.png\n", "no column y_m"),
        ("x_m,y_m,heading_deg\n50,5,0\n", "names no images"),
        ("map,x_m,y_m,heading_deg,camera_0\nvillage,50,5,0,images/a.png\n", "'village'"),
        ("x_m,y_m,heading_deg,camera_0\n", "lists no pairs"),
        ("x_m,y_m,heading_deg,camera_0,camera_0\n", "two columns"),
        ("x_m,y_m,heading_deg,aerial,camera_0\n", "aerial crops and the column"),
    ],
)
def test_a_bad_listing_is_refused_by_line(ring_folder: Path, listing: str, message: str) -> None:
    (ring_folder / "pairs.csv").write_text(listing)
    with pytest.raises((MapInputError, PoseInputError), match=message) as caught:
        read_pairs(ring_folder)
    assert caught.value.cure


def test_missing_parts_are_named(ring_folder: Path) -> None:
    (ring_folder / "ring.json").rename(ring_folder / "rig.json")
    with pytest.raises(MapInputError, match=r"ring\.json"):
        read_pairs(ring_folder)
    (ring_folder / "pairs.csv").unlink()
    with pytest.raises(MapInputError, match=r"no pairs\.csv"):
        read_pairs(ring_folder)


@pytest.mark.parametrize("key", ["model", "width_px", "params", "vehicle_SE3_camera"])
def test_an_uncalibrated_camera_is_named(ring_folder: Path, key: str) -> None:
    content = json.loads((ring_folder / "ring.json").read_text())
    del content["cameras"][1][key]
    (ring_folder / "ring.json").write_text(json.dumps(content))
    with pytest.raises(MapInputError, match=f"camera_1 is not calibrated, it has no {key}"):
        read_pairs(ring_folder)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model", "KANNALA"),
        ("width_px", 0),
        ("width_px", 10.5),
        ("params", [1, 2]),
        ("params", "many"),
        ("params", [[1], [2, 3]]),
        ("vehicle_SE3_camera", np.eye(3).tolist()),
        ("vehicle_SE3_camera", (2 * np.eye(4)).tolist()),
        ("name", 7),
        ("name", "camera_0"),
    ],
)
def test_a_calibration_that_cannot_be_is_refused(ring_folder: Path, key: str, value: object) -> None:
    content = json.loads((ring_folder / "ring.json").read_text())
    content["cameras"][1][key] = value
    (ring_folder / "ring.json").write_text(json.dumps(content))
    with pytest.raises(FoldmapError, match=r"ring\.json"):
        read_ring_file(ring_folder / "ring.json")


def test_images_of_other_sizes_and_modes(ring_folder: Path) -> None:
    path = ring_folder / "images" / "a.png"
    Image.fromarray(COLOURS).resize((80, 48)).save(path)
    assert isinstance(read_pairs(ring_folder)[0].observation, RingFrame)  # scaled alike is fine
    Image.fromarray(COLOURS).resize((96, 96)).save(path)
    with pytest.raises(MapInputError, match=r"line 2: the image of camera_0 is 96 x 96 px.*160 x 96"):
        read_pairs(ring_folder)[0]
    Image.fromarray(COLOURS[..., 0].astype(np.uint16) * 256).save(path)
    with pytest.raises(MapInputError, match="more than 8 bits"):
        read_pairs(ring_folder)[0]
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(MapInputError, match=r"a\.png"):
        read_rgb(path)
    path.write_text("no image")
    with pytest.raises(MapInputError, match="no photo"):
        read_rgb(path)
    with pytest.raises(MapInputError, match="there is no image"):
        read_rgb(ring_folder / "none.png")
    Image.fromarray(COLOURS).convert("P").save(path)
    assert read_rgb(path).shape == COLOURS.shape


def write_tiff(path: Path, bands: int = 3, dtype: str = "uint8", crs: str | None = "EPSG:32632") -> np.ndarray:
    pixels = np.random.default_rng(2).integers(0, 200, (bands, 400, 480)).astype(dtype)
    place = {"transform": Affine(0.25, 0.0, -10.0, 0.0, -0.25, 60.0), "height": 400, "width": 480, "count": bands}
    with rasterio.open(path, "w", driver="GTiff", dtype=dtype, crs=crs, **place) as file:
        file.write(pixels)
    return pixels


def test_an_ortho_image_with_its_map_makes_pairs(tmp_path: Path) -> None:
    pixels = write_tiff(tmp_path / "ortho.tif")
    write_map(tmp_path / "maps")
    tile = read_ground_tile(tmp_path / "ortho.tif", tmp_path / "maps")
    assert np.array_equal(tile.ground.image, pixels.transpose(1, 2, 0))
    assert (tile.ground.grid.west_m, tile.ground.grid.north_m, tile.ground.grid.resolution_m) == (-10, 60, 0.25)
    pair = AerialPairs([tile], 10.0)[2]
    east = pair.world_SE2_ego.x_m
    assert isinstance(pair.observation, AerialCrop)
    # headed east: the crop's rows run from east to west, its columns from north to south, a pixel is 0.25 m
    row, column = (60 - 25) * 4, round((east + 20 + 10) * 4)
    straight = pixels[:, row : row + 160, column - 160 : column].transpose(2, 1, 0)[::-1]
    off = (east * 4) % 1
    expected = straight if off == 0 else (1 - off) * straight.astype(float) + off * np.roll(straight, 1, 0)
    assert np.abs(pair.observation.image[2:-2].astype(float) - expected[2:-2]).mean() < 1.0


@pytest.mark.parametrize(("bands", "dtype"), [(2, "uint8"), (3, "uint16"), (1, "float32")])
def test_an_ortho_image_of_another_mode_is_refused(tmp_path: Path, bands: int, dtype: str) -> None:
    write_tiff(tmp_path / "ortho.tif", bands, dtype)
    with pytest.raises(MapInputError, match=f"{bands} bands of {dtype}"):
        read_ground_image(tmp_path / "ortho.tif")


def test_grey_and_four_bands_are_taken_and_missing_parts_named(tmp_path: Path) -> None:
    pixels = write_tiff(tmp_path / "ortho.tif", 4)
    assert np.array_equal(read_ground_image(tmp_path / "ortho.tif").image, pixels[:3].transpose(1, 2, 0))
    grey = write_tiff(tmp_path / "grey.tif", 1)
    assert np.array_equal(read_ground_image(tmp_path / "grey.tif").image[..., 2], grey[0])
    with pytest.raises(MapInputError, match="without a street map"):
        read_ground_tile(tmp_path / "grey.tif")
    write_map(tmp_path / "maps")
    with pytest.raises(MapInputError, match="no map 'elsewhere'"):
        read_ground_tile(tmp_path / "grey.tif", tmp_path / "maps", "elsewhere")


def test_an_image_and_a_map_in_two_crs_are_refused(tmp_path: Path) -> None:
    write_tiff(tmp_path / "ortho.tif")
    lane = {"type": "LineString", "coordinates": [[0.0, 5.0], [100.0, 5.0]]}
    for code, message in (("EPSG:32633", "two CRSs"), ("EPSG:32632", "")):
        collection = {
            "type": "FeatureCollection",
            "crs": {"type": "name", "properties": {"name": f"urn:ogc:def:crs:{code.replace(':', '::')}"}},
            "features": [{"type": "Feature", "properties": {}, "geometry": lane}],
        }
        (tmp_path / "lanes.geojson").write_text(json.dumps(collection))
        if message:
            with pytest.raises(MapInputError, match=message):
                read_ground_tile(tmp_path / "ortho.tif", tmp_path / "lanes.geojson")
        else:
            assert read_ground_tile(tmp_path / "ortho.tif", tmp_path / "lanes.geojson").map.crs


def test_hand_labelled_tiles(shared_data: Path) -> None:
    path = shared_data / "street" / "aerial" / "tile_7_graph.npz"
    if not path.is_file():
        pytest.skip("no aerial tiles")
    tile = read_ground_tile(path)
    assert tile.ground.grid.shape == (4096, 4096)
    assert tile.map.name == "tile_7"
    assert tile.ground.inside(tile.map.graph.vertices_m).mean() > 0.95


FLU = np.array([[1.0, 0, 0, 1.6], [0, 1, 0, 0.2], [0, 0, 1, 1.4], [0, 0, 0, 1]])
OPTICAL = FLU @ np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
PITCHED = OPTICAL @ np.array([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])


def scaled(pose: np.ndarray, factor: float) -> np.ndarray:
    return np.concatenate([pose[:, :3], pose[:, 3:] * [[factor], [factor], [factor], [1]]], 1)


@pytest.mark.parametrize(
    ("pose", "ground_z_m", "message"),
    [
        (FLU, 0.0, "camera camera_1 looks up .*optical frame"),
        (np.linalg.inv(OPTICAL), 0.0, "camera camera_1 is 1.6 m below the ground .*not its inverse"),
        (np.linalg.inv(OPTICAL), -3.0, "camera camera_1 lies on its side .*not its inverse"),
        (scaled(OPTICAL, 1000), 0.0, "camera camera_1 is 1400 m above the ground .*not millimetres"),
        (scaled(OPTICAL, 100), 0.0, "camera camera_1 is 140 m above the ground .*not centimetres"),
        (np.diag([1.0, -1, -1, 1]) @ OPTICAL, 0.0, "camera camera_1 is 1.4 m below the ground .*z up"),
        (scaled(OPTICAL, 1000), -0.33, "camera camera_1 is 1400 m above the ground .*not millimetres"),
        (scaled(OPTICAL, 100), -0.33, "camera camera_1 is 140.3 m above the ground .*not centimetres"),
        (np.diag([1.0, -1, -1, 1]) @ OPTICAL, -0.33, "camera camera_1 is 1.07 m below the ground .*z up"),
        (OPTICAL, 1.4, "camera camera_1 is 0 m below the ground"),
        (PITCHED, 0.0, "camera camera_1 looks up"),
        (OPTICAL + 4e5 * np.eye(4, k=3), 0.0, "camera camera_1 is 4e.05 m away"),
        (OPTICAL @ np.diag([-1.0, -1, 1, 1]), 0.0, None),  # hung upside down
        (OPTICAL, -0.3, None),
        (PITCHED @ np.diag([1.0, -1, -1, 1]), 0.0, None),  # straight down
    ],
)
def test_a_camera_that_sees_no_ground_is_named_with_the_cure(
    ring_folder: Path, pose: np.ndarray, ground_z_m: float, message: str | None
) -> None:
    """Reading, and every other way to make a ring, refuse it; the cure is what makes the pose a possible one."""
    ring = read_ring_file(ring_folder / "ring.json")
    content = json.loads((ring_folder / "ring.json").read_text())
    content["cameras"] = content["cameras"][1:2]
    content["cameras"][0]["vehicle_SE3_camera"] = pose.tolist()
    content["ground_z_m"] = ground_z_m
    (ring_folder / "ring.json").write_text(json.dumps(content))
    if message is None:
        assert len(read_ring_file(ring_folder / "ring.json")) == 1
        return
    with pytest.raises(MapInputError, match=rf"ring\.json: {message}"):
        read_ring_file(ring_folder / "ring.json")
    with pytest.raises(MapInputError, match=message):
        replace(ring.take("camera_1"), vehicle_SE3_camera=pose[None], ground_z_m=ground_z_m)


def test_colours_by_name_and_ground_that_an_ortho_image_does_not_show(tmp_path: Path) -> None:
    pixels = write_tiff(tmp_path / "ortho.tif", 4)
    with rasterio.open(tmp_path / "ortho.tif", "r+") as file:  # near infrared first, as of satellites
        file.colorinterp = [ColorInterp.undefined, ColorInterp.blue, ColorInterp.green, ColorInterp.red]
    assert np.array_equal(read_ground_image(tmp_path / "ortho.tif").image, pixels[[3, 2, 1]].transpose(1, 2, 0))
    shown = []
    for how in ("black", "nodata", "alpha"):
        pixels = write_tiff(tmp_path / "ortho.tif", 4 if how == "alpha" else 3)
        pixels[3 if how == "alpha" else slice(None), :, :240] = 0
        pixels[-1, :, 240:] |= 1
        with rasterio.open(tmp_path / "ortho.tif", "r+", nodata=0 if how == "nodata" else None) as file:
            file.colorinterp = [*file.colorinterp[:3], *[ColorInterp.alpha] * (file.count - 3)]
            file.write(pixels)
        ground = read_ground_image(tmp_path / "ortho.tif")
        shown += [(ground.shows(SE2(85.0, 10.0, turn)), ground.shows(SE2(62.0, 10.0, turn))) for turn in (0.0, 1.5)]
        with pytest.raises(MapInputError, match="reaches beyond"):
            ground.crop(SE2(62.0, 10.0, 0.0))
    assert shown == [(True, False)] * 6
    write_tiff(tmp_path / "grey.tif", 1)
    with rasterio.open(tmp_path / "grey.tif", "r+") as file:
        file.write_colormap(1, {0: (255, 0, 0, 255)})
    with pytest.raises(MapInputError, match="numbers of colours"):
        read_ground_image(tmp_path / "grey.tif")


def test_pairs_headed_from_north_or_in_degrees_are_refused(ring_folder: Path) -> None:
    north = [f"{10 * k},5,90,images/a.png," for k in range(9)]  # it drives east
    degrees = [f"{8.4 + 1e-5 * k:.6f},49.0,0,images/a.png," for k in range(9)]
    for rows, said in ((north, "clockwise from north"), (degrees, "are degrees, not metres")):
        head = "x_m, y_m, heading_deg, camera_0, camera_2\n"
        (ring_folder / "pairs.csv").write_text(head + "\n".join(rows) + "\n")
        with pytest.raises(PoseInputError, match=said):
            read_pairs(ring_folder)
