"""A ground-intensity map from a drive: sweeps and their poses in, map tiles out.

One pass sorts every sweep's ground returns into tiles on disk; then each tile is summarized on its own. Memory is that
of one sweep and one tile, however long the drive.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from foldmap.errors import ConfigError, MapInputError, SweepInputError
from foldmap.geometry import SE3, MetricGrid
from foldmap.lidar.mapping.ground import height_above_ground
from foldmap.lidar.mapping.moving import CELL_M, beside_upright, mostly_occupied, upright
from foldmap.lidar.mapping.return_log import ReturnLog, pack_returns, unpack_returns
from foldmap.lidar.mapping.robust import summarize
from foldmap.lidar.source import RasterMap, Sweep, check_lengths
from foldmap.types import AnyArray, BoolArray, DoubleArray, FloatArray, IntArray


@dataclass(frozen=True)
class BuildSettings:
    """How a map is built.

    Attributes:
        tile_px: side of a tile, a multiple of 16.
        max_range_m, min_range_m: returns farther from the sensor (in its plane) are left out, and nearer ones.
        ground_tolerance_m: largest distance of a ground return from its local plane.
        sensor_height_m: height of the sensor above the road; estimated from each sweep where None.
        min_step_m: a sweep taken nearer than this to the last one that was used is skipped, so that waiting at a light
            does not outvote driving.
        robust: biweight mean of each pixel's returns; a plain mean where False.
        remove_moving: keep out what stands on the road; see `foldmap.lidar.mapping.moving`.
        buffer_returns, max_tile_returns: held in memory (8 bytes each) before they go to disk, and kept of a tile.
    """

    resolution_m: float = 0.05
    tile_px: int = 512
    max_range_m: float = 40.0
    min_range_m: float = 2.0
    ground_tolerance_m: float = 0.12
    sensor_height_m: float | None = None
    min_step_m: float = 0.02
    robust: bool = True
    remove_moving: bool = True
    buffer_returns: int = 2_000_000
    max_tile_returns: int = 6_000_000

    def __post_init__(self) -> None:
        lengths_m = ("resolution_m", "max_range_m", "ground_tolerance_m")
        said_m = {} if self.sensor_height_m is None else {"sensor_height_m": self.sensor_height_m}
        check_lengths(**{name: getattr(self, name) for name in lengths_m}, **said_m)
        if not 0 <= self.min_range_m < self.max_range_m:
            raise ConfigError(f"min_range_m is {self.min_range_m}", "give a length from 0 to below max_range_m")
        if self.tile_px % 16 or not 16 <= self.tile_px <= 8192:
            raise ConfigError(f"tile_px is {self.tile_px}", "give a multiple of 16 up to 8192")
        if self.buffer_returns < 1 or self.max_tile_returns < 1:
            raise ConfigError("buffer_returns and max_tile_returns count returns", "give positive numbers")
        if not self.min_step_m >= 0:
            raise ConfigError(f"min_step_m is {self.min_step_m}", "give a length in metres, 0 to use every sweep")


@dataclass(frozen=True)
class MapTile:
    """A finished tile, T x T px; its first pixel is (row, col) of the map. All is 0 where not observed.

    Intensity is float32, 0 to 1, count that of returns, spread the standard deviation of single returns (float32).
    Standing is bool: where something upright stands, which is no ground; None where nobody looked.
    """

    row: int
    col: int
    intensity: FloatArray
    count: IntArray
    spread: FloatArray
    standing: BoolArray | None = None


@dataclass
class BuildCounts:
    """What went into a map."""

    sweeps: int = 0
    skipped_standing: int = 0
    without_ground: int = 0
    ground_returns: int = 0
    dropped_beside_obstacles: int = 0


@dataclass
class BuiltMap:
    """The returns of a drive on disk, summarized tile by tile on demand. Use as a context manager, or `close` it.

    The grid is that of the whole map, in whole tiles.
    """

    grid: MetricGrid
    settings: BuildSettings
    counts: BuildCounts
    _log: ReturnLog = field(repr=False)
    _folder: Path = field(repr=False)

    def tiles(self) -> Iterator[MapTile]:
        """Yield the tiles that have returns, row by row."""
        size, resolution_m = self.settings.tile_px, self.settings.resolution_m
        first_row = round(-self.grid.north_m / resolution_m) // size
        first_col = round(self.grid.west_m / resolution_m) // size
        for tile in self._log.tiles:
            intensity, count, spread, standing = self._summarize(tile)
            if count.any() or (standing is not None and standing.any()):
                row, col = (tile[0] - first_row) * size, (tile[1] - first_col) * size
                yield MapTile(row, col, intensity, count, spread, standing)

    def _summarize(self, tile: tuple[int, int]) -> tuple[FloatArray, IntArray, FloatArray, BoolArray | None]:
        size = self.settings.tile_px
        pixel, value, sweep, occupied = unpack_returns(self._log.read(tile))
        robust = self.settings.robust
        intensity, count, spread = summarize(pixel[~occupied], value[~occupied], size * size, robust)
        standing = None
        if self.settings.remove_moving:
            cell_px = max(1, round(CELL_M / self.settings.resolution_m))
            row, col = pixel // size, pixel % size
            mostly, standing = mostly_occupied(row, col, sweep.astype(np.int64), occupied, size, cell_px)
            full = mostly.ravel()
            intensity[full], count[full], spread[full] = 0, 0, 0
        return intensity.reshape(size, size), count.reshape(size, size), spread.reshape(size, size), standing

    def raster(self) -> RasterMap:
        """Return the whole map in memory."""
        intensity, observed = np.zeros(self.grid.shape, np.float32), np.zeros(self.grid.shape, bool)
        size = self.settings.tile_px
        for tile in self.tiles():
            window = np.s_[tile.row : tile.row + size, tile.col : tile.col + size]
            intensity[window] = tile.intensity
            observed[window] = tile.count > 0
        return RasterMap(self.grid, intensity, observed)

    def standing(self) -> RasterMap:
        """Return where something stands, 1 on a map that is observed there and on the ground; all in memory."""
        stands, known = np.zeros(self.grid.shape, np.float32), np.zeros(self.grid.shape, bool)
        size = self.settings.tile_px
        for tile in self.tiles():
            if tile.standing is not None:
                window = np.s_[tile.row : tile.row + size, tile.col : tile.col + size]
                stands[window] = tile.standing
                known[window] = tile.standing | (tile.count > 0)
        return RasterMap(self.grid, stands, known)

    def close(self) -> None:
        """Remove the returns from disk."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> BuiltMap:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()


def build_map(
    drive: Iterable[tuple[Sweep, SE3]],
    settings: BuildSettings | None = None,
    crs_wkt: str = "",
    scratch: Path | None = None,
) -> BuiltMap:
    """Build a ground-intensity map; sweeps with their ``world_SE3_sensor`` (x east, y north) are taken one at a time.

    The CRS is the world's, empty for a local one; scratch a folder for the returns (about 0.5 MB a 64-beam sweep), the
    system's where None.
    """
    settings = settings or BuildSettings()
    folder = Path(tempfile.mkdtemp(prefix="foldmap-returns-", dir=scratch))
    try:
        log = ReturnLog(folder, settings.buffer_returns, settings.max_tile_returns)
        counts = _log_drive(drive, log, settings)
        log.flush()
        if counts.sweeps == 0:
            raise SweepInputError("there are no sweeps to build a map from", "give sweeps with their poses")
        if counts.ground_returns == 0:
            raise MapInputError("no sweep shows any ground", "check that z points up, and give the sensor's height")
        return BuiltMap(_grid_of(log.tiles, settings, crs_wkt), settings, counts, log, folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _log_drive(drive: Iterable[tuple[Sweep, SE3]], log: ReturnLog, settings: BuildSettings) -> BuildCounts:
    counts = BuildCounts()
    last_m: DoubleArray | None = None
    for number, (sweep, world_SE3_sensor) in enumerate(drive):
        counts.sweeps += 1
        here_m = world_SE3_sensor.translation_m
        if last_m is not None and float(np.linalg.norm(here_m - last_m)) < settings.min_step_m:
            counts.skipped_standing += 1
            continue
        last_m = here_m
        height_m = height_above_ground(sweep.points_sensor_m, settings.sensor_height_m)
        ground = np.abs(height_m) <= settings.ground_tolerance_m
        if not ground.any():
            counts.without_ground += 1
            continue
        range_m = np.hypot(sweep.points_sensor_m[:, 0], sweep.points_sensor_m[:, 1])
        reach = (range_m >= settings.min_range_m) & (range_m <= settings.max_range_m)
        ground &= reach
        if settings.remove_moving:
            obstacle = upright(height_m) & reach
            beside = beside_upright(np.ascontiguousarray(sweep.points_sensor_m), obstacle)
            counts.dropped_beside_obstacles += int((ground & beside).sum())
            ground &= ~beside
            _log_occupied(sweep, world_SE3_sensor, obstacle, number, log, settings)
        counts.ground_returns += int(ground.sum())
        tile_row, tile_col, pixel = _locate(sweep, world_SE3_sensor, ground, settings)
        value = np.round(np.clip(sweep.intensity[ground], 0, 1) * 65535).astype(np.uint16)
        log.add(tile_row, tile_col, pack_returns(pixel, value, number, occupied=False))
    return counts


def _log_occupied(
    sweep: Sweep, world_SE3_sensor: SE3, obstacle: BoolArray, number: int, log: ReturnLog, settings: BuildSettings
) -> None:
    """Log upright returns once per evidence cell: the vote is per sweep."""
    tile_row, tile_col, pixel = _locate(sweep, world_SE3_sensor, obstacle, settings)
    cell_px = max(1, round(CELL_M / settings.resolution_m))
    cells = -(-settings.tile_px // cell_px)
    cell = (pixel // settings.tile_px // cell_px) * cells + pixel % settings.tile_px // cell_px
    # A sweep reaches a few hundred tiles at most, so tile offsets and cell fit one integer.
    tile = (tile_row - tile_row.min(initial=0)) * 100_000 + (tile_col - tile_col.min(initial=0))
    _, first = np.unique(tile * cells * cells + cell, return_index=True)
    returns = pack_returns(pixel[first], np.zeros(len(first), np.uint16), number, occupied=True)
    log.add(tile_row[first], tile_col[first], returns)


def _locate(
    sweep: Sweep, world_SE3_sensor: SE3, kept: BoolArray, settings: BuildSettings
) -> tuple[AnyArray, AnyArray, AnyArray]:
    """Tile row, tile column and flat pixel in the tile; the pixel grid is anchored at the world's origin."""
    world_m = world_SE3_sensor.apply(sweep.points_sensor_m[kept].astype(np.float64))
    row = np.floor(-world_m[:, 1] / settings.resolution_m).astype(np.int64)
    col = np.floor(world_m[:, 0] / settings.resolution_m).astype(np.int64)
    size = settings.tile_px
    return row // size, col // size, (row % size) * size + col % size


def _grid_of(tiles: list[tuple[int, int]], settings: BuildSettings, crs_wkt: str) -> MetricGrid:
    rows, cols = [row for row, _ in tiles], [col for _, col in tiles]
    side_m = settings.tile_px * settings.resolution_m
    height_px, width_px = ((max(each) - min(each) + 1) * settings.tile_px for each in (rows, cols))
    return MetricGrid(min(cols) * side_m, -min(rows) * side_m, settings.resolution_m, height_px, width_px, crs_wkt)
