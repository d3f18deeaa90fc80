"""What full reflectance is, decided over a drive: right where certain, else refused with a cure that cures."""

from __future__ import annotations

import re
from pathlib import Path

import laspy
import numpy as np
import pytest

from foldmap.errors import SweepInputError
from foldmap.formats.sweeps.files import open_sweeps, read_sweep


def write_pcd(
    path: Path, values: np.ndarray, kind: str = "U", size: int = 4, data: str = "binary", more: str = ""
) -> None:
    """Points x y z intensity; ``more`` names one more float field that holds 3, 4, 5, ..."""
    names, sizes, types = f"x y z intensity {more}", "4 4 4 {} {}", "F F F {} {}"
    number = {"U": "u", "I": "i", "F": "f"}[kind] + str(size)
    fields = [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("i", f"<{number}")] + ([("m", "<f4")] if more else [])
    table = np.zeros(len(values), fields)
    table["x"], table["y"], table["z"], table["i"] = np.arange(len(values)), 1.0, -1.7, values
    if more:
        table["m"] = np.arange(len(values)) + 3
    head = (
        f"VERSION 0.7\nFIELDS {names}\nSIZE {sizes.format(size, 4 if more else '')}\n"
        f"TYPE {types.format(kind, 'F' if more else '')}\nCOUNT {'1 ' * len(fields)}\nWIDTH {len(values)}\nHEIGHT 1\n"
        f"POINTS {len(values)}\nDATA {data}\n"
    )
    body = (
        table.tobytes() if data == "binary" else "\n".join(" ".join(map(str, row)) for row in table.tolist()).encode()
    )
    path.write_bytes(head.encode() + body)


def write_las(path: Path, values: np.ndarray, declared: int | None = None) -> None:
    las = laspy.LasData(laspy.LasHeader(point_format=6, version="1.4"))
    las.x, las.y, las.z = np.arange(len(values)) * 1.0, np.ones(len(values)), np.full(len(values), -1.7)
    las.intensity = values.astype(np.uint16)
    las.write(path)
    if declared is not None:
        data = bytearray(path.read_bytes())
        data[247:255] = declared.to_bytes(8, "little")
        path.write_bytes(data)


BYTES = np.array([0, 12, 130, 244])


@pytest.mark.parametrize("data", ["binary", "ascii"])
@pytest.mark.parametrize(("kind", "size"), [("U", 1), ("U", 2), ("U", 4), ("I", 2), ("I", 4), ("U", 8), ("I", 8)])
def test_bytes_in_integers_of_any_width_are_bytes(tmp_path: Path, kind: str, size: int, data: str) -> None:
    write_pcd(tmp_path / "a.pcd", BYTES, kind, size, data)
    np.testing.assert_allclose(read_sweep(tmp_path / "a.pcd").intensity, BYTES / 255, rtol=1e-6)


def test_bytes_in_las(tmp_path: Path) -> None:
    for name in ("a.las", "a.laz"):
        write_las(tmp_path / name, BYTES)
        np.testing.assert_allclose(read_sweep(tmp_path / name).intensity, BYTES / 255, rtol=1e-6)


@pytest.mark.parametrize(
    ("kind", "size", "most"),
    [
        ("U", 1, 1),
        ("U", 2, 1),
        ("U", 4, 1),
        ("U", 4, 40),
        ("U", 2, 3000),
        ("U", 4, 1000),
        ("U", 4, 70_000),
        ("F", 4, 0.003),
    ],
)
def test_a_sliver_of_the_type_is_refused_and_the_cure_cures(tmp_path: Path, kind: str, size: int, most: float) -> None:
    write_pcd(tmp_path / "a.pcd", np.array([0, most, 0, most]), kind, size)
    with pytest.raises(SweepInputError, match=f"exceeds {most:g}") as caught:
        read_sweep(tmp_path / "a.pcd")
    scale = float(re.findall(r"like ([\d.e+]+)", caught.value.cure)[0])
    assert scale >= most
    np.testing.assert_allclose(read_sweep(tmp_path / "a.pcd", scale).intensity.max(), most / scale, rtol=1e-6)


def test_the_whole_drive_decides(tmp_path: Path) -> None:
    write_las(tmp_path / "1.las", BYTES)
    write_las(tmp_path / "2.las", BYTES // 4)
    drive = open_sweeps(tmp_path)
    assert drive.full_scale == 255
    np.testing.assert_allclose(drive[1].intensity, (BYTES // 4) / 255, rtol=1e-6)
    write_las(tmp_path / "3.las", BYTES * 256)
    drive = open_sweeps(tmp_path)
    assert drive.full_scale == 65535
    np.testing.assert_allclose(drive[0].intensity, BYTES / 65535, rtol=1e-6)
    (tmp_path / "3.las").write_bytes(b"cut")  # a damaged sweep decides nothing
    assert open_sweeps(tmp_path).full_scale == 255
    assert open_sweeps(tmp_path, 1000).full_scale == 1000


def test_no_intensity_names_the_fields_that_hold_values(tmp_path: Path) -> None:
    for name in ("reflectivity", "ambient"):
        write_pcd(tmp_path / "a.pcd", np.zeros(4), "F", 4, more=name)
        with pytest.raises(SweepInputError, match=f"no intensity.*{name} 3 to 6"):
            read_sweep(tmp_path / "a.pcd")
    write_pcd(tmp_path / "a.pcd", np.zeros(4), "F", 4, more="ring")
    with pytest.raises(SweepInputError, match="no intensity: the channel is zero throughout \\("):
        read_sweep(tmp_path / "a.pcd")
    write_las(tmp_path / "a.las", np.zeros(4))
    with pytest.raises(SweepInputError, match="no intensity"):
        read_sweep(tmp_path / "a.las")


def test_fewer_points_than_declared(tmp_path: Path) -> None:
    write_las(tmp_path / "a.las", np.full(4, 60_000), declared=4)
    assert len(read_sweep(tmp_path / "a.las").intensity) == 4
    write_las(tmp_path / "b.las", np.full(4, 60_000), declared=1000)
    with pytest.raises(SweepInputError, match="1000 points declared, 4 there"):
        read_sweep(tmp_path / "b.las")
    whole = np.full(300, 60_000)
    write_las(tmp_path / "c.las", whole)
    data = (tmp_path / "c.las").read_bytes()
    (tmp_path / "c.las").write_bytes(data[: -250 * 30])  # point format 6 has records of 30 bytes
    with pytest.raises(SweepInputError, match="300 points declared, 50 there"):
        read_sweep(tmp_path / "c.las")
    write_pcd(tmp_path / "a.pcd", BYTES, "U", 1)
    data = (tmp_path / "a.pcd").read_bytes()
    for old, new in ((b"POINTS 4", b"POINTS 3"), (b"WIDTH 4", b"WIDTH 3")):
        (tmp_path / "a.pcd").write_bytes(data.replace(old, new))
        with pytest.raises(SweepInputError, match="declares"):
            read_sweep(tmp_path / "a.pcd")
    (tmp_path / "a.pcd").write_bytes(data.replace(b"POINTS 4", b"POINTS 3").replace(b"WIDTH 4", b"WIDTH 3"))
    with pytest.raises(SweepInputError, match="more than its 3 declared"):
        read_sweep(tmp_path / "a.pcd")
