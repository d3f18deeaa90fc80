"""PointCloud2 of any layout, times of points in every driver's units, and de-skewing: against plain loops."""

from __future__ import annotations

import math
import struct
from types import SimpleNamespace

import numpy as np
import pytest
from bag_samples import cloud_fields

from foldmap.errors import BagInputError, SweepInputError
from foldmap.formats.bags.clouds import intensity_field, offsets_s, read_cloud
from foldmap.formats.bags.deskew import Track, deskewed
from foldmap.geometry import SE2
from foldmap.lidar.source import Sweep
from foldmap.localize.journey.events import OdometryEvent, TwistEvent

PLAIN = SimpleNamespace(new=lambda kind, **said: SimpleNamespace(**said))
CODES = {"i1": "b", "u1": "B", "i2": "h", "u2": "H", "i4": "i", "u4": "I", "f4": "f", "f8": "d"}


def packed(rows: list[dict], fields: list, offsets: list[int], step: int, big: bool) -> bytes:
    """Points as a driver without numpy would write them."""
    out = b""
    for row in rows:
        point = bytearray(b"\xee" * step)
        for (name, kind), at in zip(fields, offsets, strict=True):
            struct.pack_into((">" if big else "<") + CODES[kind], point, at, row[name])
        out += bytes(point)
    return out


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize(
    ("fields", "offsets", "step"),
    [
        ([("x", "f4"), ("y", "f4"), ("z", "f4"), ("intensity", "f4")], [0, 4, 8, 16], 32),  # PCL's padding
        ([("x", "f4"), ("y", "f4"), ("z", "f4"), ("reflectivity", "u2"), ("ring", "u1")], [0, 4, 8, 14, 13], 17),
        ([("intensity", "u1"), ("x", "f8"), ("y", "f8"), ("z", "f8")], [0, 1, 9, 17], 25),
        ([("z", "f4"), ("i", "i2"), ("x", "f4"), ("y", "f4")], [0, 4, 6, 10], 14),
    ],
)
def test_layouts_of_fields(fields: list, offsets: list[int], step: int, big: bool) -> None:
    rng = np.random.default_rng(3)
    rows = [{name: float(rng.normal(0, 9)) if name in "xyz" else int(rng.integers(1, 99)) for name, _ in fields}
            for _ in range(12)]  # fmt: skip
    width, height, row_step = 4, 3, 4 * step + 5  # rows of an organized cloud with padding between
    whole = packed(rows, fields, offsets, step, big)
    data = b"".join(whole[4 * step * k : 4 * step * (k + 1)] + b"\xff" * 5 for k in range(height))
    said = cloud_fields(
        PLAIN, fields, np.frombuffer(data, np.uint8), width, height, offsets=offsets, step=step, row=row_step, big=big
    )
    message = SimpleNamespace(**said)
    name = intensity_field(message)
    assert name == next(field for field, _ in fields if field not in ("x", "y", "z", "ring"))
    found = read_cloud(message, name, "/points", 0.0)
    assert found.offsets_s is None
    np.testing.assert_array_equal(found.cloud.points_sensor_m, np.float32([[row[a] for a in "xyz"] for row in rows]))
    np.testing.assert_array_equal(found.cloud.values, [row[name] for row in rows])


def test_missing_returns_of_an_organized_cloud_are_dropped() -> None:
    points = np.float32([[1, 2, 3, 0.5], [math.nan, 2, 3, 0.5], [0, 0, 0, 0.1], [4, 5, 6, 0.7], [1, 1, math.inf, 1]])
    points = np.vstack([points, [[7, 8, 9, math.nan]]]).astype("<f4")
    fields = [("x", "f4"), ("y", "f4"), ("z", "f4"), ("intensity", "f4")]
    said = cloud_fields(PLAIN, fields, points.reshape(-1).view(np.uint8), 2, 3)
    found = read_cloud(SimpleNamespace(**said), "intensity", "/points", 0.0)
    np.testing.assert_array_equal(found.cloud.points_sensor_m, points[[0, 3], :3])
    said["data"] = np.zeros(96, np.uint8)
    with pytest.raises(SweepInputError, match="no returns"):
        read_cloud(SimpleNamespace(**said), "intensity", "/points", 0.0)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"data": np.zeros(31, np.uint8)}, "31 bytes"),
        ({"row_step": 3, "height": 2, "width": 1}, "bytes"),
        ({"point_step": 8}, "does not fit"),
        ({"point_step": 0}, "0 bytes"),
        ({"width": 1 << 30}, "record sweeps"),
    ],
)
def test_clouds_that_do_not_fit_their_data(change: dict, match: str) -> None:
    fields = [("x", "f4"), ("y", "f4"), ("z", "f4"), ("intensity", "f4")]
    said = cloud_fields(PLAIN, fields, np.ones(32, np.uint8), 2) | change
    with pytest.raises(BagInputError, match=match):
        read_cloud(SimpleNamespace(**said), "intensity", "/points", 0.0)


@pytest.mark.parametrize("stamp_s", [3.0, 1_700_000_000.25])
@pytest.mark.parametrize(
    ("kind", "unit_s", "start", "absolute"),
    [
        ("u4", 1e-9, 0.0, False),  # Ouster t, Livox offset_time
        ("f4", 1.0, -0.1, False),  # Velodyne time, before the stamp
        ("f8", 1.0, 0.0, True),  # Hesai timestamp
        ("f8", 1e-9, 0.0, True),  # Livox timestamp
        ("u4", 1e-6, 0.0, False),  # Velodyne drivers with microseconds
    ],
)
def test_times_of_points(kind: str, unit_s: float, start: float, absolute: bool, stamp_s: float) -> None:
    truth = np.linspace(start, start + 0.0999, 50)
    raw = (truth + (stamp_s if absolute else 0.0)) / unit_s
    found = offsets_s(raw.astype(kind), stamp_s)
    np.testing.assert_allclose(found, truth, atol=1e-6)


def test_times_that_tell_nothing() -> None:
    assert offsets_s(np.zeros(9), 1.0) is None  # all alike
    assert offsets_s(np.linspace(100.0, 100.1, 9), 1_700_000_000.0) is None  # another clock
    assert offsets_s(np.array([0.0, math.nan, 0.1]), 1.0) is None
    assert offsets_s(np.linspace(0.0, 900.0, 9), 1.0) is not None  # milliseconds
    assert offsets_s(np.linspace(0.0, 1.5e3, 9) * 1e-6, 1.0) is None  # 1.5 ms: no revolution


def test_deskewing_is_a_plain_loop_over_points() -> None:
    """Points of a standing world, seen one by one from a moving and turning vehicle, fall on where they are."""
    rng = np.random.default_rng(6)
    times = np.arange(0.9, 1.3001, 0.02)
    speed, rate = 12.0, 0.4

    def pose(t: float) -> SE2:
        return SE2(speed / rate * math.sin(rate * t), speed / rate * (1 - math.cos(rate * t)), rate * t)

    odometry, twist = Track(), Track()
    for before, now in zip([times[0], *times[:-1]], times, strict=True):
        odometry.add(OdometryEvent(float(now), pose(before).inverse() @ pose(now)))
        twist.add(TwistEvent(float(now), speed, rate))
    world = rng.uniform(-30, 30, (400, 3))
    offsets = rng.uniform(-0.05, 0.1, 400)
    seen = np.zeros((400, 3))
    for k, (point, offset) in enumerate(zip(world, offsets, strict=True)):  # the plain reference
        at = pose(1.1 + offset).inverse()
        seen[k, :2], seen[k, 2] = at.apply(point[None, :2])[0], point[2]
    sweep = Sweep(seen.astype(np.float32), np.ones(400, np.float32))
    wanted = np.column_stack([pose(1.1).inverse().apply(world[:, :2]), world[:, 2]])
    assert float(np.abs(seen - wanted).max()) > 0.5  # what skew there is
    for track in (odometry, twist):
        found = deskewed(sweep, offsets, 1.1, track)
        assert found is not None
        np.testing.assert_allclose(found.points_sensor_m, wanted, atol=2e-3)
    loop = np.array([plain_deskew(p, o, 1.1, odometry) for p, o in zip(seen, offsets, strict=True)])
    found = deskewed(sweep, offsets, 1.1, odometry)
    np.testing.assert_allclose(found.points_sensor_m, loop, atol=1e-5)
    assert deskewed(sweep, offsets, 1.5, odometry) is None  # motion is not known so far ahead
    assert deskewed(sweep, offsets, 1.1, Track()) is None


def plain_deskew(point: np.ndarray, offset_s: float, time_s: float, track: Track) -> list[float]:
    times, rows = track.knots(time_s, time_s)

    def at(t: float) -> SE2:
        k = min(max(int(np.searchsorted(times, t)) - 1, 0), len(times) - 2)
        share = (t - times[k]) / (times[k + 1] - times[k])
        return SE2(*(float(a + share * (b - a)) for a, b in zip(rows[k], rows[k + 1], strict=True)))

    moved = (at(time_s).inverse() @ at(time_s + offset_s)).apply(point[None, :2])[0]
    return [float(moved[0]), float(moved[1]), float(point[2])]
