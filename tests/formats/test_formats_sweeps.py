"""Sweeps of every format against files written by others or byte by byte."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

import laspy
import numpy as np
import pytest

from foldmap.errors import ConfigError, SweepInputError
from foldmap.formats.name_times import natural_key
from foldmap.formats.sweeps.files import open_sweeps, read_sweep
from foldmap.formats.sweeps.las import read_las
from foldmap.formats.sweeps.pcd import read_pcd


@pytest.fixture
def cloud() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    return rng.uniform(-50, 50, (500, 3)).astype(np.float32), rng.uniform(0.001, 1, 500).astype(np.float32)


def write_las(path: Path, points: np.ndarray, intensity: np.ndarray) -> None:
    header = laspy.LasHeader(point_format=0, version="1.2")
    header.scales, header.offsets = np.full(3, 0.001), np.zeros(3)
    las = laspy.LasData(header)
    las.x, las.y, las.z = points.T.astype(np.float64)
    las.intensity = intensity
    las.write(path)


@pytest.mark.parametrize("suffix", [".las", ".laz"])
def test_las(tmp_path: Path, cloud: tuple[np.ndarray, np.ndarray], suffix: str) -> None:
    points, intensity = cloud
    raw = np.round(intensity * 65535).astype(np.uint16)
    write_las(tmp_path / f"a{suffix}", points, raw)
    sweep = read_sweep(tmp_path / f"a{suffix}")
    assert np.abs(sweep.points_sensor_m - points).max() <= 0.0006
    np.testing.assert_allclose(sweep.intensity, raw / 65535, rtol=1e-6)
    write_las(tmp_path / f"b{suffix}", points, np.round(intensity * 255).astype(np.uint16))
    np.testing.assert_allclose(
        read_sweep(tmp_path / f"b{suffix}", 255).intensity, np.round(intensity * 255) / 255, atol=1e-6
    )


def test_las_bad(tmp_path: Path, cloud: tuple[np.ndarray, np.ndarray]) -> None:
    points, intensity = cloud
    write_las(tmp_path / "dark.las", points, np.zeros(500, np.uint16))
    with pytest.raises(SweepInputError, match="no intensity"):
        read_las(tmp_path / "dark.las")
    write_las(tmp_path / "empty.las", np.zeros((0, 3)), np.zeros(0, np.uint16))
    with pytest.raises(SweepInputError, match="no points"):
        read_las(tmp_path / "empty.las")
    with pytest.raises(SweepInputError, match="cannot be read"):
        read_las(tmp_path / "missing.las")
    write_las(tmp_path / "whole.laz", points, np.round(intensity * 65535).astype(np.uint16))
    data = (tmp_path / "whole.laz").read_bytes()
    for keep in (10, 200, 330, len(data) // 2):
        (tmp_path / "cut.laz").write_bytes(data[:keep])
        with pytest.raises(SweepInputError):
            read_las(tmp_path / "cut.laz")


def test_kitti_bin(tmp_path: Path, cloud: tuple[np.ndarray, np.ndarray]) -> None:
    points, intensity = cloud
    packed = b"".join(struct.pack("<4f", *p, i) for p, i in zip(points, intensity, strict=True))
    (tmp_path / "a.bin").write_bytes(packed)
    sweep = read_sweep(tmp_path / "a.bin")
    np.testing.assert_array_equal(sweep.points_sensor_m, points)
    np.testing.assert_array_equal(sweep.intensity, intensity)
    for name, data, match in (
        ("cut", packed[:-3], "not a multiple"),
        ("empty", b"", "is empty"),
        ("nan", packed[:16] + struct.pack("<4f", 1, float("nan"), 0, 0.5), "NaN"),
        ("inf", packed[:16] + struct.pack("<4f", 1, 1, 0, float("inf")), "NaN or infinite"),
        ("dark", struct.pack("<4f", 1, 2, 3, 0), "no intensity"),
        ("bright", struct.pack("<4f", 1, 2, 3, 200), "outside 0 to 1"),
        ("labels", struct.pack("<8I", 40, 48, 0, 70, 50 | 3 << 16, 252 | 17 << 16, 0, 0), "labels of points"),
        ("negative", struct.pack("<8f", 1, 2, 3, -0.1, 1, 2, 3, 0.5), "outside 0 to 1"),
    ):
        (tmp_path / f"{name}.bin").write_bytes(data)
        with pytest.raises(SweepInputError, match=match):
            read_sweep(tmp_path / f"{name}.bin")
    np.testing.assert_allclose(read_sweep(tmp_path / "bright.bin", 255).intensity, [200 / 255], rtol=1e-6)
    with pytest.raises(ConfigError):
        read_sweep(tmp_path / "a.bin", 0)


HEADER = """# .PCD v0.7 - Point Cloud Data file format
VERSION 0.7
FIELDS ring intensity x _ y z
SIZE 2 1 4 1 8 4
TYPE U U F U F F
COUNT 1 1 1 3 1 1
WIDTH {n}
HEIGHT 1
VIEWPOINT 0 0 0 1 0 0 0
POINTS {n}
DATA {kind}
"""
ROWS = [(7, 255, 1.5, -2.25, 0.125), (8, 51, -3.0, 4.0, -1.75), (9, 0, 100.0, 0.5, 2.0), (9, 128, 100.0, 0.5, 2.0)]


def lzf_literals(data: bytes) -> bytes:
    """A valid LZF stream without back references."""
    return b"".join(bytes([len(data[i : i + 32]) - 1]) + data[i : i + 32] for i in range(0, len(data), 32))


def pcd_bytes(kind: str) -> bytes:
    head = HEADER.format(n=len(ROWS), kind=kind).encode()
    if kind == "ascii":
        return head + "\n".join(f"{r} {i} {x} 0 0 0 {y} {z}" for r, i, x, y, z in ROWS).encode() + b"\n"
    if kind == "binary":
        return head + b"".join(struct.pack("<HBf3xdf", r, i, x, y, z) for r, i, x, y, z in ROWS)
    columns = zip(*ROWS, strict=True)
    ring, intensity, x, y, z = (list(column) for column in columns)
    n = len(ROWS)
    plain = struct.pack(f"<{n}H", *ring) + struct.pack(f"<{n}B", *intensity) + struct.pack(f"<{n}f", *x)
    plain += b"\0" * (3 * n) + struct.pack(f"<{n}d", *y) + struct.pack(f"<{n}f", *z)
    packed = lzf_literals(plain)
    return head + struct.pack("<II", len(packed), len(plain)) + packed


@pytest.mark.parametrize("kind", ["ascii", "binary", "binary_compressed"])
def test_pcd(tmp_path: Path, kind: str) -> None:
    data = pcd_bytes(kind)
    if kind == "binary":
        assert len(data) - len(HEADER.format(n=4, kind=kind)) == 4 * 22
    (tmp_path / "a.pcd").write_bytes(data)
    sweep = read_sweep(tmp_path / "a.pcd")
    np.testing.assert_array_equal(sweep.points_sensor_m, [(x, y, z) for _, _, x, y, z in ROWS])
    np.testing.assert_allclose(sweep.intensity, [1, 0.2, 0, 128 / 255], rtol=1e-6)
    # Text cut within its last number is a shorter number: nobody can tell.
    for keep in range(len(data) - (len("2.0\n") if kind == "ascii" else 1)):
        (tmp_path / "cut.pcd").write_bytes(data[:keep])
        with pytest.raises(SweepInputError):
            read_pcd(tmp_path / "cut.pcd")


def test_pcd_no_return_and_float_intensity(tmp_path: Path) -> None:
    head = "VERSION .7\nFIELDS x y z intensity\nSIZE 4 4 4 4\nTYPE F F F F\nWIDTH 2\nHEIGHT 1\nDATA ascii\n"
    (tmp_path / "a.pcd").write_text(head + "nan nan nan 0\n1 2 3 200\n")
    assert read_sweep(tmp_path / "a.pcd", 255).intensity == pytest.approx([200 / 255])
    with pytest.raises(SweepInputError, match="outside 0 to 1"):
        read_sweep(tmp_path / "a.pcd")
    for body, match in (
        ("nan nan nan 0\nnan nan nan 0\n", "no points"),
        ("1 2 nan 0.5\n1 2 3 0.5\n", "NaN"),
        ("1 2 oops 0.5\n1 2 3 0.5\n", "text where numbers"),
        ("1 2 3 0.5 9\n1 2 3 0.5\n", "9 values"),
    ):
        (tmp_path / "b.pcd").write_text(head + body)
        with pytest.raises(SweepInputError, match=match):
            read_sweep(tmp_path / "b.pcd")


def test_a_reflectance_goes_before_an_intensity_in_pcd_as_in_bags(tmp_path: Path) -> None:
    fields = "x y z intensity reflectivity\nSIZE 4 4 4 4 2\nTYPE F F F F U\nWIDTH 2\nHEIGHT 1\nDATA ascii\n"
    (tmp_path / "a.pcd").write_text(f"VERSION .7\nFIELDS {fields}1 2 3 2900 65535\n0 0 0 0 0\n")
    assert read_sweep(tmp_path / "a.pcd").intensity.tolist() == [1.0]


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("intensity", "brightness", "no intensity field"),
        ("FIELDS ring intensity x", "FIELDS ring intensity q", "no field x"),
        ("POINTS 4", "POINTS 99999999999", "declares 99999999999"),
        ("POINTS 4", "POINTS -1", "declares -1"),
        ("POINTS 4", "POINTS 0", "no points"),
        ("SIZE 2", "SIZE 3", "damaged"),
        ("COUNT 1 1 1 3 1 1", "COUNT 1 1 1 3 1", "damaged"),
        ("COUNT 1 1 1 3 1 1", "COUNT 1 1 2 1 1 1", "more than one value"),
        ("DATA binary", "DATA zip", "DATA zip"),
    ],
)
def test_pcd_bad_header(tmp_path: Path, old: str, new: str, match: str) -> None:
    (tmp_path / "a.pcd").write_bytes(pcd_bytes("binary").replace(old.encode(), new.encode()))
    with pytest.raises(SweepInputError, match=match):
        read_pcd(tmp_path / "a.pcd")


def test_pcd_lying_compressed_sizes(tmp_path: Path) -> None:
    data = bytearray(pcd_bytes("binary_compressed"))
    at = len(HEADER.format(n=4, kind="binary_compressed"))
    for offset, value in ((0, 2**31), (4, 2**31), (4, 89), (0, 3)):
        bad = bytearray(data)
        struct.pack_into("<I", bad, at + offset, value)
        (tmp_path / "a.pcd").write_bytes(bad)
        with pytest.raises(SweepInputError):
            read_pcd(tmp_path / "a.pcd")


def test_open_sweeps(tmp_path: Path) -> None:
    for number in (10, 2, 1):
        (tmp_path / f"s{number}.bin").write_bytes(struct.pack("<4f", number, 0, 0, 1))
    (tmp_path / "readme.txt").write_text("notes")
    (tmp_path / ".hidden.bin").write_bytes(b"")
    for source in (tmp_path, f"{tmp_path}/*.bin"):
        sweeps = open_sweeps(source)
        assert [float(sweep.points_sensor_m[0, 0]) for sweep in sweeps] == [1, 2, 10]
        assert len(sweeps) == 3
        assert sweeps[2].points_sensor_m[0, 0] == 10
    (tmp_path / "s3.pcd").write_bytes(b"")
    with pytest.raises(SweepInputError, match="mixes kitti and pcd"):
        open_sweeps(tmp_path)
    with pytest.raises(SweepInputError, match="no sweep format"):
        open_sweeps(tmp_path / "readme.txt")
    with pytest.raises(SweepInputError, match="no sweeps at"):
        open_sweeps(tmp_path / "nowhere")
    (tmp_path / "other").mkdir()
    with pytest.raises(SweepInputError, match="no sweeps at"):
        open_sweeps(tmp_path / "other")
    for name in ("1", "10", "2"):
        (tmp_path / "other" / name).mkdir()
        (tmp_path / "other" / name / "0.BIN").symlink_to(tmp_path / f"s{name}.bin")
    with pytest.raises(SweepInputError, match="folders of its own alone") as told:
        open_sweeps(tmp_path / "other")
    pattern = told.value.cure.split('"')[1]
    assert [float(sweep.points_sensor_m[0, 0]) for sweep in open_sweeps(pattern)] == [1, 2, 10]
    shutil.rmtree(tmp_path / "other")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.ply").write_text("")
    with pytest.raises(SweepInputError, match=r"only \.ply"):
        open_sweeps(tmp_path / "other")


def test_natural_order() -> None:
    names = ["a10", "a9", "b1", "a9b", "10", "9", "a"]
    assert [p.name for p in sorted(map(Path, names), key=natural_key)] == ["9", "10", "a", "a9", "a9b", "a10", "b1"]


@pytest.mark.shared
def test_real_sweep(shared_data: Path) -> None:
    sweeps = open_sweeps(shared_data / "lidar" / "kitti-hdl64" / "sweeps")
    assert len(sweeps) == 110
    reference = laspy.read(sweeps.paths[7])
    np.testing.assert_allclose(sweeps[7].points_sensor_m, reference.xyz, atol=1e-5)
