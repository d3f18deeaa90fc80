"""Ortho images of the town in colour, with trees, traffic and shadows: aerial tiles at will, without any recording."""

import math

import numpy as np
from scipy.ndimage import gaussian_filter

from foldmap.errors import ConfigError
from foldmap.geometry import MetricGrid
from foldmap.street.images.ground_image import GroundImage
from foldmap.street.paper.pairs import GroundTile
from foldmap.town.hashing import block_rng
from foldmap.town.plan import Street
from foldmap.town.street.colour import add_trees, add_vehicles, cast_shadows, paint_ground
from foldmap.town.street.map import town_street_map
from foldmap.town.traffic import moving_boxes, parked_boxes
from foldmap.town.world import TownWorld
from foldmap.types import ByteArray, DoubleArray, FloatArray

_BLOCK_M = 64.0
_MARGIN_M = 24.0
"""Rendered about the image, so that trees and shadows reach in."""
_SHADOW_M = 22.0
_BODIES = np.array(
    [[0.85, 0.85, 0.86], [0.7, 0.71, 0.73], [0.45, 0.46, 0.48], [0.1, 0.1, 0.11], [0.16, 0.2, 0.33], [0.5, 0.09, 0.08]]
)
_BODY_SHARE = np.array([0.27, 0.2, 0.17, 0.22, 0.08, 0.06])


def town_ortho(world: TownWorld, grid: MetricGrid, day_seed: int = 0) -> GroundImage:
    """Render the town from above; the day decides light, season, vehicles and colours. At most 0.5 m a pixel."""
    if grid.resolution_m > 0.5:
        raise ConfigError(f"an ortho image of {grid.resolution_m:g} m pixels", "give 0.5 m or finer")
    pad = math.ceil(_MARGIN_M / grid.resolution_m)
    wide = grid.window(-pad, -pad, grid.height_px + 2 * pad, grid.width_px + 2 * pad)
    rng = block_rng(world.seed, 81, day_seed)
    look = int(rng.integers(1 << 20))
    colour, up = _painted(world, wide, look)
    south, east = wide.north_m - wide.height_px * wide.resolution_m, wide.west_m + wide.width_px * wide.resolution_m
    streets = world.streets_near(wide.west_m, south, east, wide.north_m)
    place = (wide.west_m, wide.north_m, wide.resolution_m)
    cars = [parked_boxes(streets, day_seed, float(rng.uniform(0.2, 0.9)))]
    cars.append(moving_boxes(streets, day_seed, float(rng.uniform(0, 600)), float(rng.uniform(0.03, 0.3))))
    boxes = np.concatenate(cars)
    bodies = _BODIES[rng.choice(len(_BODIES), len(boxes), p=_BODY_SHARE)] * rng.uniform(0.85, 1.1, (len(boxes), 1))
    add_vehicles(boxes, bodies, *place, colour, up)
    add_trees(_trees(streets, float(rng.uniform(0.1, 0.8))), *place, look, colour, up)
    _light(colour, up, wide.resolution_m, rng)
    inner = colour[pad : pad + grid.height_px, pad : pad + grid.width_px]
    return GroundImage(_develop(inner, grid.resolution_m, rng), grid)


def town_tile(
    world: TownWorld,
    west_m: float = -256.0,
    south_m: float = -256.0,
    side_m: float = 512.0,
    resolution_m: float = 0.2,
    day_seed: int = 0,
) -> GroundTile:
    """A square of the town from above with its lanes, named after town, place and day; as `town_ortho`."""
    if not side_m > 0:
        raise ConfigError(f"a tile of {side_m} m", "give a positive side")
    size = round(side_m / resolution_m)
    grid = MetricGrid(west_m, south_m + size * resolution_m, resolution_m, size, size)
    reach = west_m - 60, south_m - 60, west_m + side_m + 60, south_m + side_m + 60
    streets = town_street_map(world, *reach, name=f"town-{world.seed}-{west_m:g}-{south_m:g}-day-{day_seed}")
    return GroundTile(town_ortho(world, grid, day_seed), streets)


def _painted(world: TownWorld, grid: MetricGrid, look: int) -> tuple[FloatArray, FloatArray]:
    """Ground and roofs, block by block: the lookup of streets grows with the block."""
    colour = np.empty((*grid.shape, 3), np.float32)
    up = np.zeros(grid.shape, np.float32)
    step = max(1, round(_BLOCK_M / grid.resolution_m))
    for row in range(0, grid.height_px, step):
        for column in range(0, grid.width_px, step):
            size = min(step, grid.height_px - row), min(step, grid.width_px - column)
            part = grid.window(row, column, *size)
            low = np.array([part.west_m, part.north_m - size[0] * part.resolution_m])
            near = world.neighbourhood(low, np.array([part.west_m + size[1] * part.resolution_m, part.north_m]))
            here = np.s_[row : row + size[0], column : column + size[1]]
            if near is None:
                colour[here] = (0.25, 0.3, 0.16)
                continue
            place = (part.west_m, part.north_m, part.resolution_m, *size, look, world.seed & 0xFFFFFFF)
            colour[here], up[here] = paint_ground(*place, tuple(near))
    return colour, up


def _trees(streets: list[Street], share: float) -> DoubleArray:
    """Crowns (N, 4): x, y, radius, height, along the streets behind the kerb; the same on every day."""
    found = [np.zeros((0, 4))]
    for street in streets:
        rng = block_rng(street.seed, 83)
        for side in (1, -1):
            count = int(street.length_m // 8.0) + 1
            at = (np.arange(count) + rng.uniform(0.1, 0.9, count)) * 8.0
            lined = rng.random() < 0.6
            grows = rng.random(count) < (0.6 if lined else 0.15)
            back = street.base_half_m + street.extra_m[0 if side > 0 else 1] + rng.uniform(0.8, 5.0, count)
            size = rng.uniform(1.2, 4.2, count)
            kept = grows & (rng.random(count) < 0.4 + 0.6 * share) & (at < street.length_m)
            if kept.any():
                places = street.offset_path(at[kept], side * back[kept])
                found.append(np.column_stack([places, size[kept], 1.6 * size[kept] + 1.5]))
    return np.concatenate(found)


def _light(colour: FloatArray, up: FloatArray, resolution_m: float, rng: np.random.Generator) -> None:
    """Sun from the south half of the sky, or clouds."""
    azimuth, elevation = rng.uniform(math.pi, 2 * math.pi), math.radians(rng.uniform(28, 65))
    keep = float(rng.uniform(0.28, 0.6))
    if rng.random() < 0.2:
        keep = 0.92
    step_m = max(0.4, resolution_m)
    pixels = step_m / resolution_m
    way = pixels * math.cos(azimuth), -pixels * math.sin(azimuth)
    rise = step_m * math.tan(elevation)
    steps = min(math.ceil(_SHADOW_M / step_m), math.ceil(20.0 / rise))
    cast_shadows(colour, up, *way, rise, steps, keep, np.array([0.92, 0.98, 1.12]))


def _develop(colour: FloatArray, resolution_m: float, rng: np.random.Generator) -> ByteArray:
    """Haze, exposure, white balance, the lens's blur and the sensor's noise."""
    blur = float(rng.uniform(0.08, 0.2)) / resolution_m
    seen = gaussian_filter(colour, (blur, blur, 0)) if blur > 0.3 else colour
    tint = np.exp(rng.normal(0, 0.04, 3)).astype(np.float32)
    gain, gamma, haze = rng.uniform(0.95, 1.35), rng.uniform(0.62, 0.9), rng.uniform(0.0, 0.06)
    value = haze + (1 - haze) * np.clip(gain * tint * seen, 0, None) ** np.float32(gamma)
    value = value + np.float32(rng.uniform(0.004, 0.02)) * rng.standard_normal(value.shape, np.float32)
    image: ByteArray = np.clip(np.rint(255 * value), 0, 255).astype(np.uint8)
    return image
