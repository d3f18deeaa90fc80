"""``.bin`` sweeps of other layouts: each is named by what its bytes show, and the cure reads it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from foldmap.errors import SweepInputError
from foldmap.formats.sweeps.files import read_sweep


def cloud(points: int, shuffled: bool) -> np.ndarray:
    """Rings of flat ground and a wall: x y z intensity (0 to 1) ring time."""
    rng = np.random.default_rng(points)
    ring = np.arange(points) % 32
    azimuth = np.linspace(0, 2 * np.pi, points)
    range_m = np.geomspace(3, 40, 32)[ring]
    z = np.where(rng.random(points) < 0.7, -1.8, rng.uniform(-1.5, 4, points)) + rng.normal(0, 0.02, points)
    table = np.column_stack(
        [range_m * np.cos(azimuth), range_m * np.sin(azimuth), z, rng.uniform(0, 1, points), ring, azimuth / 60]
    )
    return rng.permutation(table) if shuffled else table


LAYOUTS = {
    "nuscenes": (lambda t: np.c_[t[:, :3], np.round(255 * t[:, 3]), t[:, 4]].astype("<f4"), "5 columns of float32"),
    "nuscenes, ring 0": (lambda t: np.c_[t[:, :3], 255 * t[:, 3], 0 * t[:, 4]].astype("<f4"), "5 columns of float32"),
    "waymo": (lambda t: t.astype("<f4"), "6 columns of float32"),
    "xyz": (lambda t: t[:, :3].astype("<f4"), "3 columns of float32"),
    "double": (lambda t: t[:, :4].astype("<f8"), "4 columns of float64"),
    "double, five": (lambda t: t[:, :5].astype("<f8"), "5 columns of float64"),
    "integers": (lambda t: (1000 * t[:, :4]).astype("<i4"), "4 columns of int32"),
    "big-endian": (lambda t: t[:, :4].astype(">f4"), "4 columns of big-endian float32"),
    "by column": (lambda t: t[:, :4].T.astype("<f4"), "4 columns of float32, one column after another"),
}


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("points", [4000, 4003])
@pytest.mark.parametrize("name", LAYOUTS)
def test_other_layouts_are_named(tmp_path: Path, name: str, points: int, shuffled: bool) -> None:
    table = cloud(points, shuffled)
    write, words = LAYOUTS[name]
    path = tmp_path / "a.pcd.bin"
    write(table).tofile(path)
    with pytest.raises(SweepInputError) as caught:
        read_sweep(path)
    assert words in caught.value.message
    if "columns of float" in words and "3 columns" not in words:
        # The cure is a line of Python: it makes a sweep that is read, at a scale where intensities are bytes.
        line = re.sub(r"^rewrite it: ", "", caught.value.cure)
        exec(line, {"numpy": np, "path": str(path), "new": str(tmp_path / "new.bin")})
        sweep = read_sweep(tmp_path / "new.bin", 255 if name.startswith("nuscenes") else None)
        np.testing.assert_allclose(sweep.points_sensor_m, table[:, :3], atol=1e-4)
        np.testing.assert_allclose(sweep.intensity, table[:, 3], atol=0.5 / 255 + 1e-6)


def test_kitti_sweeps_are_read_whatever_their_order(tmp_path: Path) -> None:
    for shuffled in (False, True):
        cloud(4000, shuffled)[:, :4].astype("<f4").tofile(tmp_path / "a.bin")
        assert len(read_sweep(tmp_path / "a.bin").intensity) == 4000


def test_what_is_no_return_is_left_out_and_bytes_without_columns_have_no_name(tmp_path: Path) -> None:
    table = cloud(4000, False)[:, :4].astype("<f4")
    table[::5], table[1::5] = np.nan, 0.0
    table.tofile(tmp_path / "a.bin")
    assert len(read_sweep(tmp_path / "a.bin").intensity) == 2400
    np.full_like(table, np.nan).tofile(tmp_path / "a.bin")
    with pytest.raises(SweepInputError, match="no points"):
        read_sweep(tmp_path / "a.bin")
    fields = [("xyz", "<f4", 3), ("more", "<f4", 2), ("time", "<i4"), ("line", "u1"), ("last", "<f4")]  # 29 bytes
    packed = np.zeros(4000, fields)
    packed["xyz"], packed["last"] = np.nan_to_num(table[:, :3], nan=5.0), 0.5
    packed["time"] = np.arange(4000) * 25_000
    packed.tofile(tmp_path / "a.bin")
    with pytest.raises(SweepInputError) as caught:
        read_sweep(tmp_path / "a.bin")
    assert "looks like" not in caught.value.message


def test_negative_reflectance_is_no_matter_of_scale(tmp_path: Path) -> None:
    table = cloud(4000, True)[:, :4].astype("<f4")
    table[7, 3] = -0.25
    table.tofile(tmp_path / "a.bin")
    for scale in (None, 255):
        with pytest.raises(SweepInputError, match="never negative") as caught:
            read_sweep(tmp_path / "a.bin", scale)
        assert "--intensity-scale" not in caught.value.cure
