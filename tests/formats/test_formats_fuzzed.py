"""What the fuzzers of the readers once found, each refused by name now."""

from __future__ import annotations

import json
import re
import sqlite3
import struct
from contextlib import closing
from pathlib import Path

import h5py
import laspy
import numpy as np
import pyarrow as pa
import pytest
import rasterio
from pyarrow import parquet

from foldmap.errors import MapInputError, SweepInputError
from foldmap.formats.colmap.database import ColmapDatabase
from foldmap.formats.crs import read_crs, text_of
from foldmap.formats.hloc.hdf5 import ImageGroups
from foldmap.formats.raster.geotiff import open_raster, raster_grid
from foldmap.formats.street.argoverse2 import read_argoverse2
from foldmap.formats.street.geojson import read_geojson, write_geojson
from foldmap.formats.street.geoparquet import read_geoparquet, write_geoparquet
from foldmap.formats.street.observations.ring import read_ring_file, write_ring_file
from foldmap.formats.street.polylines import read_csv
from foldmap.formats.sweeps.las import read_las
from foldmap.street.images.rig import surround_ring
from foldmap.street.source import LaneGraph, StreetMap


def street() -> StreetMap:
    lines = [np.array([[0.0, 0], [50, 0]]), np.array([[50.0, 0], [90, 10]])]
    return StreetMap("town", LaneGraph.from_polylines(lines))


@pytest.mark.parametrize(
    ("at", "kind", "value"),
    [(100, "I", 2**32 - 1), (243, "I", 2**32 - 1), (247, "Q", 2**60), (247, "Q", 2**27),
     (96, "I", 2**31), (105, "H", 65535)],
)  # fmt: skip
@pytest.mark.parametrize("suffix", ["las", "laz"])
def test_las_headers_that_lie(tmp_path: Path, suffix: str, at: int, kind: str, value: int) -> None:
    las = laspy.LasData(laspy.LasHeader(point_format=6, version="1.4"))
    las.x = las.y = las.z = np.arange(9000.0)
    las.intensity = np.arange(9000, dtype=np.uint16)
    path = tmp_path / f"a.{suffix}"
    las.write(path)
    read_las(path)
    data = bytearray(path.read_bytes())
    struct.pack_into(f"<{kind}", data, at, value)
    path.write_bytes(data)
    with pytest.raises(SweepInputError, match=f"a.{suffix}"):
        read_las(path)


class Panic(BaseException):
    """As a library in Rust raises it."""


def test_a_panic_of_the_decompressor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    las = laspy.LasData(laspy.LasHeader(point_format=6, version="1.4"))
    las.x = las.y = las.z = np.arange(9.0)
    las.write(tmp_path / "a.laz")

    def panic(self: object, count: int) -> None:
        raise Panic("attempt to calculate the remainder with a divisor of zero")

    monkeypatch.setattr(laspy.LasReader, "read_points", panic)
    with pytest.raises(SweepInputError, match=r"a\.laz cannot be read"):
        read_las(tmp_path / "a.laz")


@pytest.mark.parametrize("far", [1e11, 1e308])
def test_lanes_as_long_as_memory(tmp_path: Path, far: float) -> None:
    def bound(y_m: float) -> list[dict[str, float]]:
        return [{"x": 0.0, "y": y_m, "z": 0.0}, {"x": far, "y": y_m, "z": 0.0}]

    lane = {"id": 1, "left_lane_boundary": bound(2), "right_lane_boundary": bound(-2), "successors": []}
    path = tmp_path / "log_map_archive_abc____PIT_city_1.json"
    path.write_text(json.dumps({"lane_segments": {"1": lane}}))
    with pytest.raises(MapInputError, match=path.name):
        read_argoverse2(path)


def test_coordinates_that_are_no_place_on_earth(tmp_path: Path) -> None:
    path = tmp_path / "lines.csv"
    path.write_text("line,x_m,y_m\n1,0,0\n1,10,0\n2,1e200,50\n2,1e201,50\n")
    reading = read_csv(path)
    assert len(reading.street_map.graph.edges) == 1
    assert len(reading.faults) == 1
    path.write_text("line,x_m,y_m\n2,1e200,50\n2,1e201,50\n")
    with pytest.raises(MapInputError, match=r"lines\.csv"):
        read_csv(path)


HUGE = 10**400
"""An integer of JSON that no float holds."""


@pytest.mark.parametrize("value", [HUGE, 1e999], ids=["integer", "infinite"])
def test_numbers_of_a_street_that_no_float_holds(tmp_path: Path, value: float) -> None:
    path = tmp_path / "a.geojson"
    write_geojson(street(), path)
    good = path.read_text()
    for key in ("width_m", "speed_limit_mps", "id"):
        content = json.loads(good)
        content["features"][0]["properties"][key] = value
        path.write_text(json.dumps(content).replace("Infinity", "1e999"))
        found = read_geojson(path).street_map.graph
        assert np.isfinite(found.vertices_m).all()
        assert all(lane.width_m is None and lane.speed_limit_mps is None for lane in found.lanes)
    content = json.loads(good)
    content["features"][0]["geometry"]["coordinates"][0][0] = value
    path.write_text(json.dumps(content).replace("Infinity", "1e999"))
    with pytest.raises(MapInputError, match=r"a\.geojson"):
        read_geojson(path)


@pytest.mark.parametrize("key", ["ground_z_m", "params"])
def test_numbers_of_a_ring_that_no_float_holds(tmp_path: Path, key: str) -> None:
    path = tmp_path / "ring.json"
    write_ring_file(path, surround_ring(size_px=(96, 72)))
    text = re.sub(rf'("{key}": \[?\s*)[-+.e\d]+', lambda hit: hit.group(1) + str(HUGE), path.read_text(), count=1)
    assert str(HUGE) in text
    path.write_text(text)
    with pytest.raises(MapInputError, match=r"ring\.json"):
        read_ring_file(path)


@pytest.mark.parametrize("kind", [["lane"], {}, 0, None])
def test_kinds_that_are_no_text(tmp_path: Path, kind: object) -> None:
    path = tmp_path / "a.geojson"
    write_geojson(street(), path)
    content = json.loads(path.read_text())
    content["features"][0]["properties"]["kind"] = kind
    path.write_text(json.dumps(content))
    with pytest.raises(MapInputError, match=r"a\.geojson.*kind is"):
        read_geojson(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.5])
def test_vertices_that_are_no_number(tmp_path: Path, value: float) -> None:
    path = tmp_path / "a.parquet"
    write_geoparquet(street(), path)
    table = parquet.read_table(path)
    at = table.column_names.index("to")
    parquet.write_table(table.set_column(at, "to", pa.array([value] * len(table))), path)
    with pytest.raises(MapInputError, match=r"a\.parquet.*to is"):
        read_geoparquet(path)


@pytest.mark.parametrize("shape", [b"\x01\x02", b"\x01\x02\0\0\0\xff\xff\xff\xff", b"{"])
def test_shapes_that_are_none(tmp_path: Path, shape: bytes) -> None:
    path = tmp_path / "a.parquet"
    write_geoparquet(street(), path)
    table = parquet.read_table(path)
    at = table.column_names.index("geometry")
    parquet.write_table(table.set_column(at, table.schema.field(at), pa.array([shape] * len(table))), path)
    with pytest.raises(MapInputError, match=r"a\.parquet"):
        read_geoparquet(path)


def test_metadata_nested_without_end(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_geoparquet(street(), path)
    table = parquet.read_table(path)
    nested = {**table.schema.metadata, b"geo": b"[" * 100_000}
    parquet.write_table(table.replace_schema_metadata(nested), path)
    with pytest.raises(MapInputError, match=r"a\.parquet"):
        read_geoparquet(path)


def test_an_array_of_many_bytes_in_few_values(tmp_path: Path) -> None:
    path = tmp_path / "feats.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("a.jpg/keypoints", shape=(1 << 26, 2), dtype="f8", chunks=True)
    with ImageGroups(path, "keypoints", "features") as groups, pytest.raises(MapInputError, match="declares"):
        groups.array("a.jpg", "keypoints", 2)


def laz(path: Path, extra: bool = False, count: int = 120_000) -> bytes:
    """Three chunks of points in layers."""
    header = laspy.LasHeader(point_format=7, version="1.4")
    if extra:
        header.add_extra_dim(laspy.ExtraBytesParams("range", "f4"))
    las = laspy.LasData(header)
    las.x = las.y = las.z = np.arange(count) % 900 / 10
    las.intensity = (np.arange(count) % 60000).astype(np.uint16)
    las.write(path)
    return path.read_bytes()


@pytest.mark.parametrize("extra", [False, True])
def test_laz_sizes_that_lie(tmp_path: Path, extra: bool) -> None:
    """The decompressor would ask for as much memory, and end the process where there is not as much."""
    path = tmp_path / "a.laz"
    good = laz(path, extra)
    assert len(read_las(path).values) == 120_000
    record = good.index(b"laszip encoded") + 52
    points_at = struct.unpack_from("<I", good, 96)[0]
    layers = points_at + 8 + (40 if extra else 36) + 4
    table_at = struct.unpack_from("<q", good, points_at)[0]
    lies = [(layers + 4 * k, "I", 2**31 - 1) for k in range(14 if extra else 10)]
    lies += [(layers, "I", 1), (table_at + 4, "I", 2**32 - 1), (table_at + 4, "I", 0), (table_at + 4, "I", 2)]
    lies += [(points_at, "q", 2**40), (points_at, "q", points_at + 8), (record + 12, "I", 5), (record + 36, "H", 65535)]
    for at, kind, value in lies:
        data = bytearray(good)
        struct.pack_into(f"<{kind}", data, at, value)
        path.write_bytes(data)
        with pytest.raises(SweepInputError, match=r"a\.laz"):
            read_las(path)


def test_a_laz_whose_chunks_may_be_larger_than_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.laz"
    data = bytearray(laz(path, count=900))
    right = read_las(path)
    struct.pack_into("<I", data, data.index(b"laszip encoded") + 52 + 12, 2**32 - 2)
    path.write_bytes(data)
    assert np.array_equal(read_las(path).points_sensor_m, right.points_sensor_m)


def test_a_laz_that_was_streamed(tmp_path: Path) -> None:
    """Where the table of chunks is, such files say at their end."""
    path = tmp_path / "a.laz"
    data = bytearray(laz(path))
    points_at = struct.unpack_from("<I", data, 96)[0]
    table = data[points_at : points_at + 8]
    data[points_at : points_at + 8] = struct.pack("<q", -1)
    path.write_bytes(data + table)
    assert len(read_las(path).values) == 120_000


def test_a_code_of_a_crs_that_json_wrote_as_a_fraction() -> None:
    assert text_of(read_crs("EPSG:25833.0", "a")) == "EPSG:25833"


@pytest.mark.parametrize("lost", ["pixel size", "key", "version of the keys"])
def test_a_raster_whose_tags_are_damaged(tmp_path: Path, lost: str) -> None:
    """GDAL reads some as maps without a crs, and raises what no error of rasterio is at others."""
    path = tmp_path / "map.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=40, height=32, count=1, dtype="uint8", crs="EPSG:25832",
        transform=rasterio.Affine(0.2, 0, 500000, 0, -0.2, 5400000),
    ) as dataset:  # fmt: skip
        dataset.write((np.arange(1280).reshape(32, 40) % 200 + 1).astype(np.uint8), 1)
    data = path.read_bytes()
    with open_raster(path) as raster:
        assert "25832" in raster.grid.crs_wkt
    if lost == "version of the keys":
        data = data.replace(struct.pack("<HHH", 1, 1, 0), struct.pack("<HHH", 9, 1, 0))
    else:
        key = data.index(struct.pack("<HHHH", 3072, 0, 1, 25832))
        data = data[: key + 2] + struct.pack("<H", 46512) + data[key + 4 :]
    if lost == "pixel size":
        data = data.replace(struct.pack("<HHI", 33550, 12, 3), struct.pack("<HHI", 259, 12, 3))
    path.write_bytes(data)
    for read in (open_raster, raster_grid):
        with pytest.raises(MapInputError, match=r"map\.tif"):
            read(path)


def test_a_database_with_two_rows_of_an_image(tmp_path: Path) -> None:
    path = tmp_path / "features.db"
    with closing(sqlite3.connect(path)) as base:
        base.execute("CREATE TABLE images(image_id INTEGER PRIMARY KEY, name TEXT)")
        base.execute("INSERT INTO images VALUES(1, 'a.jpg')")
        for table in ("keypoints", "descriptors"):
            base.execute(f"CREATE TABLE {table}(image_id INTEGER, rows INTEGER, cols INTEGER, data BLOB)")
            base.executemany(f"INSERT INTO {table} VALUES(1, 1, 2, ?)", [(bytes(8),)] * 2)
        base.commit()
    with ColmapDatabase(path) as features, pytest.raises(MapInputError, match=r"features\.db has 2 rows"):
        features.load("a.jpg")


def test_a_database_whose_schema_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "features.db"
    base = sqlite3.connect(path)
    base.execute("CREATE TABLE images(image_id INTEGER PRIMARY KEY, name TEXT)")
    base.close()
    data = path.read_bytes()
    path.write_bytes(data.replace(b"name TEXT)", b"na\xff( TEXT)"[:10]))
    with pytest.raises(MapInputError, match=r"features\.db"):
        ColmapDatabase(path)


@pytest.mark.parametrize("lie", ["last row", "mirrored", "too large"])
def test_poses_of_a_ring_that_are_not_rigid(tmp_path: Path, lie: str) -> None:
    path = tmp_path / "ring.json"
    write_ring_file(path, surround_ring(size_px=(96, 72)))
    content = json.loads(path.read_text())
    pose = content["cameras"][0]["vehicle_SE3_camera"]
    if lie == "last row":
        pose[3] = [0, 0, 0, 0]
    elif lie == "mirrored":
        content["cameras"][0]["vehicle_SE3_camera"] = [[-row[0], *row[1:]] for row in pose]
    else:
        pose[0][0] = 1e300
    path.write_text(json.dumps(content))
    with pytest.raises(MapInputError, match=r"ring\.json: the pose of camera \S+ is not rigid"):
        read_ring_file(path)
