"""Drives through the town: what a lidar reports on one day, revolution by revolution."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from foldmap.errors import ConfigError, PoseInputError
from foldmap.geometry import SE2, SE3
from foldmap.lidar.source import Sweep
from foldmap.town.hashing import block_rng
from foldmap.town.lidar.sensors import Hits, Lidar, Terrain, another_day, respond, scan
from foldmap.town.plan import Street, arc_lengths
from foldmap.town.scene import day_field, pose_on, terrain_heights
from foldmap.town.traffic import moving_boxes, parked_on
from foldmap.town.world import Neighbourhood, TownWorld
from foldmap.types import DoubleArray, FloatArray

_TERRAIN_M = 0.25
_MOVE_ON_M = 20.0
_EGO_CLEAR_M = 6.0
_WET_M = 90.0


@dataclass(frozen=True)
class _Surroundings:
    """What the beams can reach from near one place."""

    centre_m: DoubleArray
    terrain: Terrain
    near: Neighbourhood
    streets: list[Street]
    parked: DoubleArray


def drive(
    world: TownWorld,  # the town
    path_m: DoubleArray,  # float64 (N, 2), world metres, for example from `lanes.wander`
    day_seed: int,  # another seed is another day
    sensor: Lidar,  # the specimen on an ordinary day
    speed_mps: float = 8.0,  # metres per second
    rate_hz: float = 10.0,  # revolutions per second
    *,
    max_range_m: float = 50.0,  # returns beyond are left out
) -> Iterator[tuple[Sweep, SE3, float]]:
    """Drive a path at constant speed on one day.

    The day decides which vehicles are parked and moving where, damp patches, the state of the sensor, and how far from
    the lane's centre the vehicle keeps; the town stays the same. Yields the motion-compensated sweep,
    ``world_SE3_sensor`` at mid-revolution, and the time in seconds. Raises PoseInputError: the path is not (N >= 2, 2)
    finite points, or leaves the streets; ConfigError: speed or rate is not positive.
    """
    path = np.asarray(path_m, np.float64)
    if path.ndim != 2 or path.shape[1] != 2 or len(path) < 2 or not np.isfinite(path).all():
        raise PoseInputError(f"a path of shape {path.shape}", "give at least two finite points (x, y)")
    if not (speed_mps > 0 and rate_hz > 0):
        raise ConfigError(f"a drive at {speed_mps} m/s and {rate_hz} Hz", "give a positive speed and rate")
    arc = arc_lengths(path)
    day = block_rng(day_seed, 51, world.seed)
    lidar = another_day(sensor, day)
    lateral, wet = float(day.normal(0, 0.3)), day_field(day, (64, 64), wet=bool(day.random() < 0.3))
    around: _Surroundings | None = None
    for index, station in enumerate(np.arange(0.0, arc[-1], speed_mps / rate_hz)):
        rng = block_rng(day_seed, 53, index)
        pose = pose_on(path, arc, float(station), 0.8) @ SE2(0.0, lateral, 0.0)
        here = np.array([pose.x_m, pose.y_m])
        if around is None or np.linalg.norm(here - around.centre_m) > _MOVE_ON_M:
            around = _look_around(world, here, max_range_m, day_seed)
        time_s = float(station) / speed_mps
        boxes = np.concatenate([around.parked, moving_boxes(around.streets, day_seed, time_s)])
        away = np.linalg.norm(boxes[:, :2] - here, axis=1)
        boxes = boxes[(away > _EGO_CLEAR_M) & (away < max_range_m + 10)]
        tilt = (float(rng.normal(0, 0.003)), float(rng.normal(0, 0.003)))
        place = pose.x_m, pose.y_m, pose.heading_rad
        hits = scan(lidar, around.terrain, boxes, place, rng, speed_mps / rate_hz, tilt, max_range_m)
        yield _report(world, lidar, hits, pose, around, wet, rng), SE3.from_se2(pose, lidar.height_m), time_s


def _report(
    world: TownWorld,
    lidar: Lidar,
    hits: Hits,
    pose: SE2,
    around: _Surroundings,
    wet: FloatArray,
    rng: np.random.Generator,
) -> Sweep:
    """Give every hit its intensity and range error and bring it into the sensor's frame."""
    xyz = hits.xyz_m.astype(np.float64)
    reflectance = 0.08 + 0.45 * rng.random(len(xyz))  # vehicles and facades
    ground = hits.kind == 0
    cell = (np.mod(xyz[ground, :2], _WET_M) / _WET_M * 64).astype(int)
    bare = world.reflectance_at(xyz[ground, :2], around.near)
    reflectance[ground] = np.clip(bare * wet[cell[:, 1], cell[:, 0]], 0, 1)
    intensity, back = respond(lidar, hits, reflectance, int(rng.integers(1 << 30)))
    local = xyz - (pose.x_m, pose.y_m, lidar.height_m)
    cos, sin = math.cos(pose.heading_rad), math.sin(pose.heading_rad)
    local[:, 0], local[:, 1] = cos * local[:, 0] + sin * local[:, 1], cos * local[:, 1] - sin * local[:, 0]
    distance = np.linalg.norm(local, axis=1)
    local *= (1.0 + lidar.range_noise_m * rng.standard_normal(len(local)) / np.maximum(distance, 1.0))[:, None]
    return Sweep(local[back].astype(np.float32), intensity[back])


def _look_around(world: TownWorld, centre: DoubleArray, max_range_m: float, day_seed: int) -> _Surroundings:
    reach = max_range_m + _MOVE_ON_M + 2.0
    count = math.ceil(2 * reach / _TERRAIN_M)
    corner = SE2(centre[0] - 0.5 * (count - 1) * _TERRAIN_M, centre[1] + 0.5 * (count - 1) * _TERRAIN_M, 0.0)
    heights = terrain_heights(world.ground_along(corner, _TERRAIN_M, count, count, shade=False))
    low, high = centre - reach, centre + reach
    near = world.neighbourhood(low, high)
    if near is None:
        place = f"({centre[0]:.0f}, {centre[1]:.0f})"
        raise PoseInputError(f"no street within {reach:.0f} m of {place}", "drive on the streets")
    streets = world.streets_near(*low, *high)
    terrain = Terrain(corner.x_m, corner.y_m, _TERRAIN_M, heights)
    return _Surroundings(centre, terrain, near, streets, parked_on(streets, day_seed))
