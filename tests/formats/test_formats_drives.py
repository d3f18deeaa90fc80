"""Drives as folders: written and read back, and what is wrong with one said by name."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from foldmap.errors import ConfigError, FoldmapError, PoseInputError
from foldmap.formats.drives.read import in_vehicle_axes, is_drive, read_drive
from foldmap.formats.drives.write import write_drive
from foldmap.geometry import SE2, SE3, Camera
from foldmap.lidar.source import Sweep
from foldmap.localize.journey.events import (
    CameraEvent,
    FixEvent,
    OdometryEvent,
    SweepEvent,
    TwistEvent,
    YawRateEvent,
)
from foldmap.street.images.observation import CameraRing, RingFrame

AHEAD = np.array([[0.0, 0, 1, 1.5], [-1, 0, 0, 0.2], [0, -1, 0, 1.6], [0, 0, 0, 1]])


def sweep(seed: int) -> Sweep:
    rng = np.random.default_rng(seed)
    return Sweep(rng.normal(0, 9, (50, 3)).astype(np.float32), rng.random(50).astype(np.float32))


def ring() -> CameraRing:
    camera = Camera("PINHOLE", 32, 24, np.array([30.0, 30.0, 16.0, 12.0]))
    return CameraRing(("front", "back"), (camera, camera), np.stack([AHEAD, np.diag([-1.0, -1, 1, 1]) @ AHEAD]))


def events() -> list:
    rng = np.random.default_rng(1)
    images = [rng.integers(0, 255, (24, 32, 3), dtype=np.uint8) for _ in range(3)]
    frames = ring()
    return [
        SweepEvent(0.1, sweep(1)),
        CameraEvent(0.1, RingFrame(frames, (images[0], images[1]))),
        CameraEvent(0.25, RingFrame(frames, (None, images[2]))),
        FixEvent(0.0, 1.5, -2.5, 0.7),
        OdometryEvent(0.1, SE2(0.5, 0.01, -0.02)),
        TwistEvent(0.15, 5.0, 0.1),
        YawRateEvent(0.16, 0.125),
        SweepEvent(0.2, sweep(2)),
    ]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    given, truth = events(), [(0.1, SE2(1.0, 2.0, 0.5)), (0.2, SE2(1.1, 2.0, 0.4))]
    drive = read_drive(write_drive(tmp_path / "drive", given, truth))
    assert is_drive(tmp_path / "drive")
    assert drive.brings == ("sweeps", "images", "fixes", "odometry", "twist", "yaw_rate", "truth")
    assert drive.observations == 5
    found = list(drive.events())
    assert [one.time_s for one in found] == sorted(one.time_s for one in given)
    for kind in (FixEvent, OdometryEvent, TwistEvent, YawRateEvent):
        assert [one for one in found if isinstance(one, kind)] == [one for one in given if isinstance(one, kind)]
    parts = ([e.sweep for e in part if isinstance(e, SweepEvent)] for part in (found, given))
    for one, other in zip(*parts, strict=True):
        np.testing.assert_array_equal(one.points_sensor_m, other.points_sensor_m)
        np.testing.assert_array_equal(one.intensity, other.intensity)
    parts = ([e.frame for e in part if isinstance(e, CameraEvent)] for part in (found, given))
    for one, other in zip(*parts, strict=True):
        for image, wanted in zip(one.images, other.images, strict=True):
            assert (image is None) == (wanted is None)
            assert image is None or np.array_equal(image, wanted)
    times_s, poses = drive.truth
    assert times_s.tolist() == [0.1, 0.2]
    assert poses == [pose for _, pose in truth]


def test_a_damaged_sweep_is_left_out_and_told(tmp_path: Path) -> None:
    folder = write_drive(tmp_path / "drive", events())
    (folder / "sweeps" / "000000.bin").write_bytes(b"abc")
    drive = read_drive(folder)
    assert [e.time_s for e in drive.events() if isinstance(e, SweepEvent)] == [0.2]
    assert len(drive.damaged) == 1
    assert "000000.bin" in drive.damaged[0]


def test_a_lidar_that_is_mounted_aside(tmp_path: Path) -> None:
    mount = SE3.from_se2(SE2(1.0, 0.5, math.pi / 2), 1.8)
    turned = in_vehicle_axes(Sweep(np.array([[2.0, 0, -1.7]], np.float32), np.ones(1, np.float32)), mount)
    np.testing.assert_allclose(turned.points_sensor_m, [[1.0, 2.5, -1.7]], atol=1e-6)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"foldmap_drive": 9}, "version 1"),
        ({"sweeps": "../sweeps.csv"}, "no file of the drive"),
        ({"sweeps": "gone.csv"}, "gone.csv"),
        ({"vehicle_SE3_lidar": [[1, 2]]}, "vehicle_SE3_lidar"),
        ({"intensity_scale": "much"}, "intensity_scale"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, change: dict, said: str) -> None:
    folder = write_drive(tmp_path / "drive", events())
    told = json.loads((folder / "drive.json").read_text()) | change
    (folder / "drive.json").write_text(json.dumps(told))
    with pytest.raises(FoldmapError, match=said):
        read_drive(folder)


def test_a_bad_number_names_its_line(tmp_path: Path) -> None:
    folder = write_drive(tmp_path / "drive", events())
    (folder / "odometry.csv").write_text("time_s,x_m,y_m,heading_rad\n0.1,1,2,3\n0.2,1,x,3\n")
    with pytest.raises(PoseInputError, match="line 3"):
        read_drive(folder)


def test_what_is_no_raw_data_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="images"):
        write_drive(tmp_path / "drive", [CameraEvent(0.0, np.ones(4, np.float32))])
    with pytest.raises(ConfigError, match="yaw rate"):
        write_drive(tmp_path / "other", [TwistEvent(0.0, 1.0)])
    frames = ring()
    other = replace(frames, names=("front", "aside"))
    image = np.zeros((24, 32, 3), np.uint8)
    mixed = [CameraEvent(0.1 * k, RingFrame(one, (image, image))) for k, one in enumerate((frames, other))]
    with pytest.raises(ConfigError, match="two rings"):
        write_drive(tmp_path / "third", mixed)
