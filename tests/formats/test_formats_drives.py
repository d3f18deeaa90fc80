"""Drives as folders: written and read back, and what is wrong with one said by name."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

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
    return Sweep(
        (rng.normal(0, 9, (50, 3)) * [1, 1, 0] - [0, 0, 1.7]).astype(np.float32), rng.random(50).astype(np.float32)
    )


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


def test_an_image_that_is_not_its_cameras_is_left_out_and_told(tmp_path: Path) -> None:
    """Cropped, it would be laid where its calibration puts the whole; the other camera's image of that frame stays."""
    folder = write_drive(tmp_path / "drive", events())
    first = sorted((folder / "images" / "front").iterdir())[0]
    Image.fromarray(np.zeros((16, 32, 3), np.uint8)).save(first)
    drive = read_drive(folder)
    frames = [e.frame for e in drive.events() if isinstance(e, CameraEvent)]
    assert [[image is not None for image in frame.images] for frame in frames] == [[False, True], [False, True]]
    assert len(drive.damaged) == 1
    assert first.name in drive.damaged[0]
    assert "32 x 16 px" in drive.damaged[0]


def test_a_lidar_that_is_mounted_aside() -> None:
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
        ({"vehicle_SE3_Lidar": [[1]]}, "'vehicle_SE3_lidar' is meant"),
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


def driven(folder: Path, **tables: str) -> Path:
    """A drive of 60 s at 10 m/s with fixes each second; tables by name are written, or changed."""
    folder.mkdir()
    times = np.arange(60.0)
    held = {
        "fixes": "time_s,east_m,north_m\n" + "\n".join(f"{t},{10 * t},0" for t in times),
        "odometry": "time_s,x_m,y_m,heading_rad\n" + "\n".join(f"{t},10,0,0" for t in times),
    } | tables
    for name, text in held.items():
        (folder / f"{name}.csv").write_text(text + "\n")
    told = {"foldmap_drive": 1} | {name: f"{name}.csv" for name in held}
    (folder / "drive.json").write_text(json.dumps(told))
    return folder


def table(head: str, row: str) -> str:
    """A line a second; in the row t is the time."""
    return f"time_s,{head}\n" + "\n".join(row.replace("t", str(t)) for t in range(60))


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("odometry", "time_s,x_m,y_m,heading_rad\n" + "\n".join(f"{t},{10 * t},0,0" for t in range(60)), "one frame"),
        ("odometry", table("x_m,y_m,heading_rad", "t,10000,0,0"), "metres since"),
        ("odometry", table("x_m,y_m,heading_rad", "t,10,0,12"), "radians, since"),
        ("odometry", table("x_m,y_m,heading_rad", "t,20,0,3"), "radians a second"),  # 3 degrees a step
        ("odometry", table("x_m,y_m,heading_rad", "t,0.3,-10,0"), "x_m ahead"),
        ("sweeps", table("file", "9000t,0.bin"), "one clock"),
        ("odometry", "time_s,x_m,y_m,heading_rad\n0,1,0,0\n2,1,0,0\n1,1,0,0", "line 4: time goes back"),
        ("odometry", table("x_m,y_m,heading_rad", "170000000t,10,0,0"), "one clock"),
        ("yaw_rate", table("yaw_rate_radps", "1763000000000000000,0.1"), "no seconds"),
        ("yaw_rate", table("yaw_rate_radps", "t,20"), "radians a second"),
        ("twist", table("ahead_mps,yaw_rate_radps", "t,10,4"), "radians a second"),
        ("twist", table("ahead_mps", "t,10000"), "metres a second"),
        ("truth", "time_s,x_m,y_m,heading_rad\n" + "\n".join(f"{t},0,{10 * t},90" for t in range(60)), "beyond a turn"),
    ],
)  # fmt: skip
def test_tables_in_other_units_frames_and_clocks(tmp_path: Path, name: str, text: str, said: str) -> None:
    read_drive(driven(tmp_path / "right"))
    with pytest.raises(PoseInputError) as caught:
        read_drive(driven(tmp_path / "wrong", **{name: text}))
    assert said in str(caught.value)


def test_one_scale_for_the_sweeps_of_a_drive_and_their_axes(tmp_path: Path) -> None:
    """Bytes in 16 bits are told from a drive, not from each sweep; a lidar upside down is refused."""
    import laspy

    rng = np.random.default_rng(5)
    around = np.column_stack([rng.uniform(-15, 15, (4000, 2)), np.full(4000, -1.8)])
    (tmp_path / "drive").mkdir()
    for number, most in enumerate((250, 65535)):
        las = laspy.LasData(laspy.LasHeader(point_format=0, version="1.2"))
        las.header.scales = np.full(3, 0.001)
        las.x, las.y, las.z = around.T
        las.intensity = np.full(4000, most, np.uint16)
        las.write(tmp_path / "drive" / f"{number}.las")
    (tmp_path / "drive" / "sweeps.csv").write_text("time_s,file\n0,0.las\n1,1.las\n")
    told = {"foldmap_drive": 1, "sweeps": "sweeps.csv"}
    (tmp_path / "drive" / "drive.json").write_text(json.dumps(told))
    brightest = [float(event.sweep.intensity.max()) for event in read_drive(tmp_path / "drive").events()]
    np.testing.assert_allclose(brightest, [250 / 65535, 1.0])
    (tmp_path / "drive" / "drive.json").write_text(
        json.dumps(told | {"vehicle_SE3_lidar": np.diag([1.0, -1, -1, 1]).tolist()})
    )
    with pytest.raises(FoldmapError, match="above the sensor"):
        next(iter(read_drive(tmp_path / "drive").events()))
