"""Rays: the compiled walk against plain ones."""

import math

import numpy as np
import pytest

from foldmap.errors import ConfigError
from foldmap.town.lidar.cast import cast_rays
from foldmap.town.lidar.sensors import Hits, build_lidar, respond

HEIGHT_M = 1.7
BOXES = np.array(
    [
        [8.0, 1.0, math.cos(0.3), math.sin(0.3), 2.2, 0.9, 1.5],
        [-6.0, -4.0, 1.0, 0.0, 2.0, 0.8, 1.4],
        [3.0, 9.0, math.cos(2.0), math.sin(2.0), 3.0, 1.0, 2.4],
    ]
)


def _slab(origin: np.ndarray, ray: np.ndarray, box: np.ndarray) -> float:
    """Distance along ``ray`` to a solid box standing on the ground, by the textbook slab test in three dimensions."""
    turn = np.array([[box[2], box[3], 0], [-box[3], box[2], 0], [0, 0, 1.0]])
    o = turn @ (origin - [box[0], box[1], 0.5 * box[6]])
    v = turn @ ray
    half = np.array([box[4], box[5], 0.5 * box[6]])
    with np.errstate(divide="ignore"):
        t0, t1 = (-half - o) / v, (half - o) / v
    entry, leave = np.minimum(t0, t1).max(), np.maximum(t0, t1).min()
    return float(entry) if leave > max(entry, 0.0) else math.inf


def _expect(terrain: np.ndarray, resolution: float, azimuth: float, tan: float, reach: float) -> tuple[float, bool]:
    """Horizontal range of the first hit by stepping half a centimetre at a time, and whether it is a vehicle."""
    origin = np.array([0.3, -0.2, HEIGHT_M])
    ray = np.array([math.cos(azimuth), math.sin(azimuth), tan])
    vehicle = min(_slab(origin, ray, box) for box in BOXES)
    half = 0.5 * (len(terrain) - 1) * resolution
    r = np.arange(0.6, reach, 0.005)
    x, y, z = (origin + r[:, None] * ray).T
    row, col = np.rint((half - y) / resolution).astype(int), np.rint((x + half) / resolution).astype(int)
    inside = (row >= 0) & (row < len(terrain)) & (col >= 0) & (col < len(terrain))
    meets = ~inside | (z <= terrain[row.clip(0, len(terrain) - 1), col.clip(0, len(terrain) - 1)])
    first = int(meets.argmax())
    if meets[first] and inside[first]:
        return (vehicle, True) if vehicle < r[first] else (float(r[first]), False)
    return (vehicle, True) if vehicle < reach else (math.inf, False)


def test_first_hits_equal_a_plain_walk() -> None:
    resolution, size = 0.25, 161
    terrain = np.zeros((size, size), np.float32)
    terrain[:, 130:] = 6.0  # a facade to the east
    terrain[120:124, 20:100] = 0.9  # a low wall to the south
    terrain[:30] = 0.12  # behind a kerb
    half = 0.5 * (size - 1) * resolution
    azimuth = np.linspace(-math.pi, math.pi, 90, endpoint=False) + 0.013
    tan = np.sort(np.tan(np.radians([-24.0, -17.0, -11.0, -8.0, -6.0, -4.5, -2.0, 0.5])))
    pose = np.array([0.3, -0.2, 0.0, HEIGHT_M, 0.0, 0.0, 0.0])
    grid = np.ascontiguousarray(np.broadcast_to(tan[:, None], (len(tan), len(azimuth))))
    xyz, ranges, channel, kind = cast_rays(pose, grid, azimuth, terrain, -half, half, resolution, BOXES, 19.0)
    found = {}
    for point, distance, c, k in zip(xyz, ranges, channel, kind, strict=True):
        angle = math.atan2(point[1] + 0.2, point[0] - 0.3)
        found[int(np.abs(np.angle(np.exp(1j * (azimuth - angle)))).argmin()), int(c)] = (float(distance), k == 2)
    vehicles = 0
    for a, angle in enumerate(azimuth):
        for c, slope in enumerate(tan):
            expected, is_vehicle = _expect(terrain, resolution, float(angle), float(slope), 19.0)
            distance, was_vehicle = found.get((a, c), (math.inf, False))
            if math.isinf(expected):
                assert math.isinf(distance) or distance > 18.0
                continue
            tolerance = 1e-3 if is_vehicle and was_vehicle else resolution * 1.5
            assert distance == pytest.approx(expected, abs=tolerance), (a, c)
            vehicles += is_vehicle and was_vehicle
    assert vehicles > 30


def test_flat_ground_is_hit_exactly() -> None:
    lidar = build_lidar("spinning64", np.random.default_rng(0))
    down = lidar.tan_elevation[lidar.tan_elevation < -0.1]
    grid = np.ascontiguousarray(np.broadcast_to(down[:, None], (len(down), 12)))
    azimuth = np.linspace(-3, 3, 12)
    pose = np.array([0, 0, 0.4, 1.73, 0, 0, 0.0])
    flat = np.zeros((400, 400), np.float32)
    xyz, ranges, channel, kind = cast_rays(pose, grid, azimuth, flat, -50.0, 50.0, 0.25, np.zeros((0, 7)), 40.0)
    assert len(ranges) == len(down) * 12
    assert (kind == 0).all()
    np.testing.assert_allclose(ranges, -1.73 / down[channel], rtol=1e-5)
    assert np.abs(xyz[:, 2]).max() < 1e-5


def test_response_is_quantized_bounded_and_rises_with_reflectance() -> None:
    for name in ("spinning64", "spinning128", "rosette"):
        lidar = build_lidar(name, np.random.default_rng(1), miscalibration=0.3)  # type: ignore[arg-type]
        n = 4000
        hits = Hits(
            np.zeros((n, 3), np.float32), np.full(n, 9.0, np.float32), np.zeros(n, np.int16), np.zeros(n, np.uint8)
        )
        means = []
        for reflectance in (0.1, 0.3, 0.6):
            value, back = respond(lidar, hits, np.full(n, reflectance), 5)
            assert value.min() >= 0.0
            assert value.max() <= 1.0
            np.testing.assert_allclose(value * lidar.steps, np.round(value * lidar.steps), atol=1e-3)
            assert back.mean() == pytest.approx(1 - lidar.dropout, abs=0.02)
            means.append(value[back].mean())
        assert means[0] < means[1] < means[2]


def test_unknown_lidar_is_refused() -> None:
    with pytest.raises(ConfigError, match="spinning64"):
        build_lidar("sonar", np.random.default_rng(0))  # type: ignore[arg-type]
