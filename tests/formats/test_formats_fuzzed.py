"""What the fuzzers of the readers once found, each refused by name now."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import h5py
import laspy
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from foldmap.errors import MapInputError, SweepInputError
from foldmap.formats.hdf5 import ImageGroups
from foldmap.formats.hloc_matches import HlocMatches
from foldmap.formats.las import read_las
from foldmap.formats.street_argoverse2 import read_argoverse2
from foldmap.formats.street_geojson import read_geojson, write_geojson
from foldmap.formats.street_geoparquet import read_geoparquet, write_geoparquet
from foldmap.formats.street_polylines import read_csv_counted
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
    reading = read_csv_counted(path)
    assert reading.street_map.graph.edge_lengths_m.sum() == pytest.approx(10.0)
    assert [fault.lanes for fault in reading.faults] == [1]
    path.write_text("line,x_m,y_m\n1,0,0\n1,10,0\n2,1e200,50\n2,1e201,50\n3,1e200,90\n3,1e201,90\n")
    with pytest.raises(MapInputError, match=r"lines\.csv"):
        read_csv_counted(path)


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


def test_scores_of_matches_that_are_no_number(tmp_path: Path) -> None:
    path = tmp_path / "matches.h5"
    with h5py.File(path, "w") as file:
        group = file.create_group("a.jpg/b.jpg")
        group["matches0"], group["matching_scores0"] = np.array([1, -1]), np.array([0.5, np.nan], np.float32)
    with HlocMatches(path) as matches, pytest.raises(MapInputError, match=r"matches\.h5"):
        matches.load("a.jpg", "b.jpg")


def test_an_array_of_many_bytes_in_few_values(tmp_path: Path) -> None:
    path = tmp_path / "feats.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("a.jpg/keypoints", shape=(1 << 26, 2), dtype="f8", chunks=True)
    with ImageGroups(path, "keypoints", "features") as groups, pytest.raises(MapInputError, match="declares"):
        groups.array("a.jpg", "keypoints", 2)
