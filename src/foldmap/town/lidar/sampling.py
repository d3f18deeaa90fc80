"""Training pairs: a crop of a multi-pass map and what a few sweeps of another day see at its centre."""

import math
from dataclasses import dataclass, replace

import numpy as np

from foldmap.errors import ConfigError
from foldmap.geometry import MetricGrid
from foldmap.lidar.relief import mixed
from foldmap.lidar.source import RasterMap
from foldmap.town.lanes import street_lanes, wander
from foldmap.town.lidar.answer import pile, splat
from foldmap.town.lidar.sensors import Lidar, SensorName, another_day, build_lidar, response_tables, scan
from foldmap.town.plan import PITCH_M, arc_lengths
from foldmap.town.scene import Pass, Patch, day_field, draw_pass, new_patch
from foldmap.town.world import TownWorld
from foldmap.types import BoolArray, DoubleArray, FloatArray

_WORLDS = 4096


@dataclass(frozen=True)
class TrainingPair:
    """A map crop and a query whose true alignment is centre on centre with no rotation."""

    map: RasterMap  # crop of a map; its grid is a local frame centred on the query
    sweep_intensity: FloatArray  # (h, w), mean of the aggregated sweeps; 0 where nothing returned
    sweep_observed: BoolArray  # (h, w)
    offset_px: tuple[float, float]  # (row, column) by which the query's content is displaced, within half a pixel
    map_count: FloatArray  # float32 (H, W), returns averaged in each map pixel


def sample_pair(
    rng: np.random.Generator,  # the same state gives the same pair
    *,
    resolution_m: float = 0.05,  # pixel size of both
    map_size_px: tuple[int, int] = (640, 760),  # rows, columns of the crop; must hold the query
    # rows, columns of the query; columns run along the heading, row 0 is the left side
    sweep_size_px: tuple[int, int] = (480, 600),
    sensor: SensorName = "spinning64",  # lidar of the query
    map_sensor: SensorName | None = None,  # lidar of the map; the query's by default
    query_sweeps: int = 5,  # how many sweeps the query aggregates, 0.3 to 1.2 m apart, the vehicle in their middle
    world: TownWorld | None = None,  # draw from this town instead of from many
    relief: bool = False,  # mix the scatter of heights into both intensities
) -> TrainingPair:
    """Draw a place, a map of it and a query from another day, which must not exceed the crop of the map."""
    if sweep_size_px[0] > map_size_px[0] or sweep_size_px[1] > map_size_px[1]:
        raise ConfigError(f"a query of {sweep_size_px} px in a map of {map_size_px} px", "give a larger map crop")
    world = world or TownWorld(int(rng.integers(_WORLDS)))
    path, at = _draw_place(world, rng)
    patch = new_patch(world, path, at, resolution_m, map_size_px, rng)
    miscalibration = float(rng.uniform(0.7, 1.8))
    map_lidar = build_lidar(map_sensor or sensor, rng, miscalibration)
    lidar = build_lidar(sensor, rng, miscalibration) if map_sensor or rng.random() < 0.5 else map_lidar
    heights = [np.zeros((*size, 3)) if relief else None for size in (map_size_px, sweep_size_px)]
    intensity, count = _map_raster(patch, another_day(map_lidar, rng), rng, heights[0])
    offset = rng.uniform(-0.5, 0.5, 2)
    today = replace(patch, truth=patch.truth * day_field(rng, patch.truth.shape, wet=rng.random() < 0.2))
    sweep, seen = _query_raster(today, another_day(lidar, rng), sweep_size_px, query_sweeps, offset, rng, heights[1])
    intensity, sweep = _with_relief(intensity, count > 0, heights[0]), _with_relief(sweep, seen, heights[1])
    grid = _centred_grid(resolution_m, map_size_px)
    return TrainingPair(RasterMap(grid, intensity, count > 0), sweep, seen, (float(offset[0]), float(offset[1])), count)


def _with_relief(intensity: FloatArray, observed: BoolArray, heights: DoubleArray | None) -> FloatArray:
    """Mix the scatter of heights, sums of 1, z and z^2 (H, W, 3), into an image; as it is where there are none."""
    if heights is None:
        return intensity
    count = np.maximum(heights[..., 0], 1)
    variance_m2 = heights[..., 2] / count - (heights[..., 1] / count) ** 2
    image = mixed(np.clip(intensity, 0, 1), variance_m2, heights[..., 0] > 1)
    return np.where(observed, image, np.float32(0))


def _centred_grid(resolution_m: float, size_px: tuple[int, int]) -> MetricGrid:
    height, width = size_px
    return MetricGrid(-0.5 * width * resolution_m, 0.5 * height * resolution_m, resolution_m, height, width)


def _draw_place(world: TownWorld, rng: np.random.Generator) -> tuple[DoubleArray, float]:
    """A drive through a random street and the arc length on it where the query is taken."""
    reach = max(1, int(0.5 * world.extent_m / PITCH_M))
    while True:
        key = (int(rng.integers(-reach, reach)), int(rng.integers(-reach, reach)), int(rng.integers(2)))
        street = world.plan.street(key)
        if street is not None:
            break
    lanes = street_lanes(street)
    path = wander(world.plan, lanes[rng.integers(len(lanes))], 130.0, rng)
    return path, float(rng.uniform(0.1, 0.9) * arc_lengths(path)[-1])


def _map_raster(
    patch: Patch, lidar: Lidar, rng: np.random.Generator, heights: DoubleArray | None
) -> tuple[FloatArray, FloatArray]:
    """Average of one to twenty passes; at most some tens of revolutions are cast, each standing for several."""
    height, width = patch.size_px
    passes = int(rng.choice([1, 1, 2, 3, 5, 8, 20]))
    reach = 0.5 * width * patch.resolution_m + rng.uniform(2.0, 14.0)
    per_pass = rng.uniform(8, 90) if passes == 1 else 70.0 / min(passes, 4)
    spacing = max(2 * reach / per_pass, 0.3)
    sums = np.zeros((height, width, 2), np.float32)
    shared = math.sqrt(max(passes / 4.0, 1.0))  # a cast revolution stands for that many squared
    for _ in range(min(passes, 4)):
        drive = draw_pass(patch, rng, same_lane=passes == 1 and rng.random() < 0.7)
        _cast_pass(patch, drive, lidar, reach, spacing, shared, rng, (0.0, 0.0), sums, heights, survey=True)
    total, count = sums[..., 0].astype(np.float64), sums[..., 1].astype(np.float64)
    seen = count > 0
    mean = np.where(seen, total / np.maximum(count, 1), 0.0)
    if passes >= 2 or rng.random() < 0.3:
        mean, count = _fill_gaps(mean, count)
    return _map_units(mean, count, rng), count.astype(np.float32)


def _map_units(mean: DoubleArray, count: DoubleArray, rng: np.random.Generator) -> FloatArray:
    """An arbitrary linear unit with the noise that processing adds."""
    scale, bias = float(np.exp(rng.normal(0, 0.2))), float(rng.normal(0, 0.02))
    noise = rng.choice([0.0, 0.005, 0.015]) * rng.standard_normal(mean.shape)
    return np.where(count > 0, np.maximum(scale * mean + bias + noise, 0.0), 0.0).astype(np.float32)


def _fill_gaps(mean: DoubleArray, count: DoubleArray) -> tuple[DoubleArray, DoubleArray]:
    """Fill pixels with at least three observed neighbours by their mean, as maps of many passes are finished."""
    seen = np.pad(count > 0, 1)
    value = np.pad(mean * (count > 0), 1)
    height, width = mean.shape
    near, total = np.zeros_like(mean), np.zeros_like(mean)
    for i in range(3):
        for j in range(3):
            near += seen[i : i + height, j : j + width]
            total += value[i : i + height, j : j + width]
    fill = (count == 0) & (near >= 3)
    return np.where(fill, total / np.maximum(near, 1), mean), np.where(fill, 1.0, count)


def _query_raster(
    patch: Patch,
    lidar: Lidar,
    size_px: tuple[int, int],
    sweeps: int,
    offset_px: DoubleArray,
    rng: np.random.Generator,
    heights: DoubleArray | None,
) -> tuple[FloatArray, BoolArray]:
    sums = np.zeros((*size_px, 2), np.float32)
    drive = Pass(0.0, 1, patch.traffic(rng, moving=True))
    spacing = float(rng.uniform(0.3, 1.2))
    shift = (offset_px[1] * patch.resolution_m, -offset_px[0] * patch.resolution_m)
    _cast_pass(
        patch, drive, lidar, 0.5 * (sweeps - 1) * spacing + 1e-6, spacing, 1.0, rng, shift, sums, heights, survey=False
    )
    total, count = sums[..., 0], sums[..., 1]
    seen = count > 0
    return np.where(seen, total / np.maximum(count, 1), 0.0).astype(np.float32), seen


def _cast_pass(
    patch: Patch,
    drive: Pass,
    lidar: Lidar,
    reach_m: float,
    spacing_m: float,
    shared: float,
    rng: np.random.Generator,
    shift_m: tuple[float, float],
    sums: FloatArray,
    heights: DoubleArray | None,
    survey: bool,
) -> None:
    """Cast the revolutions of one pass between -reach and +reach along the path and add them to the sums."""
    lidar = replace(lidar, noise=lidar.noise / shared)
    tables, truth = response_tables(lidar), np.ascontiguousarray(patch.truth)
    height, width = sums.shape[:2]
    resolution = patch.resolution_m
    frame = (-0.5 * (width - 1) * resolution, 0.5 * (height - 1) * resolution, resolution)
    stations = np.arange(-reach_m, reach_m + 1e-9, spacing_m)
    if survey:
        stations = stations + rng.uniform(-0.1, 0.1, len(stations)) * spacing_m
    drift = rng.normal(0, 0.012 if survey else 0.004, (len(stations), 2)).cumsum(axis=0) * 0.3
    drift -= drift.mean(axis=0) if survey else drift[len(drift) // 2]
    for station, wrong in zip(stations, drift, strict=True):
        x, y, heading = patch.pose_at(float(station), drive)
        error = np.array([*wrong, rng.normal(0, 0.0006), drive.gain, drive.offset, x, y])
        tilt = (float(rng.normal(0, 0.003)), float(rng.normal(0, 0.003)))
        hits = scan(
            lidar, patch.terrain, drive.boxes, (x, y, heading), rng, 0.8 * min(spacing_m, 1.0), tilt, patch.reach_m
        )
        seed = int(rng.integers(1 << 30))
        splat(tuple(hits), truth, patch.truth_frame, tables, seed, shift_m, error, sums, frame)
        if heights is not None:
            pile(tuple(hits), lidar.range_noise_m, seed, shift_m, error, heights, frame)
