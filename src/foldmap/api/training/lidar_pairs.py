"""Where a lidar model's training pairs come from: the generated town, real maps, real drives."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from foldmap.api.training.trained_places import drive_place, raster_place
from foldmap.errors import ConfigError
from foldmap.formats.raster.geotiff import open_mixed
from foldmap.formats.sweeps.drives import open_drive
from foldmap.lidar.pairs.from_raster import RasterPairs
from foldmap.lidar.pairs.from_sweeps import SweepPairs
from foldmap.lidar.pairs.sampling import RasterPair, SomePairs
from foldmap.town.lidar.pairs import PairCache, write_pairs
from foldmap.training.places import Place

HELD_OUT = 0.2


@dataclass(frozen=True)
class LidarPairs:
    """Pairs to train on, and pairs of other places to validate with; all of one pixel size.

    A step sees crops of these sides, multiples of 16, of query and map. Name and places say where they come from.
    """

    training: Sequence[RasterPair]
    validation: Sequence[RasterPair]
    resolution_m: float
    sweep_px: int
    map_px: int
    name: str
    places: tuple[Place, ...] = ()


def crop_sizes(resolution_m: float, smoke: bool) -> tuple[int, int]:
    """Query and map side of a training step: 9.6 m on fine maps, or 64 px where that is more, as on coarse ones.

    Smaller than what a localizer matches on purpose: a crop that is hard to place teaches the codec to keep something
    of every piece of ground, not only of the best mark in sight.
    """
    sweep_px = 64 if smoke else max(64, 16 * round(9.6 / (16 * resolution_m)))
    return sweep_px, sweep_px + 48


def pairs_of_town(
    folder: Path,
    count: int,
    seed: int,
    *,
    smoke: bool,
    resolution_m: float | None = None,
    coarse: bool = False,
    relief: bool = False,
) -> LidarPairs:
    """Pairs of the generated town, ``relief`` mixed in or not, written to a folder once and read from there.

    Their pixels are of 5 cm, or of the size that is given, or as the folder has them already; a ConfigError where it
    has others than are given.
    """
    if not any(folder.glob("pairs-*.npz")):
        write_pairs(folder, count, seed, resolution_m=resolution_m or 0.05, coarse=coarse, relief=relief)
    cache: Any = PairCache(folder)
    if resolution_m is not None and not math.isclose(cache.resolution_m, resolution_m):
        said = f"the pairs in {folder} have {cache.resolution_m:g} m pixels, {resolution_m:g} m are asked for"
        raise ConfigError(said, "name another folder (--pairs), or leave --resolution out")
    kept = max(1, round((1 - HELD_OUT) * len(cache)))
    if kept == len(cache):
        raise ConfigError(f"{len(cache)} pairs are too few", "give more, some are held out for validation")
    parts = SomePairs(cache, range(kept)), SomePairs(cache, range(kept, len(cache)))
    place = Place("town pairs", f"of seed {seed}, every pair a town of its own")
    return LidarPairs(*parts, cache.resolution_m, *crop_sizes(cache.resolution_m, smoke), "town", (place,))


def pairs_of_raster(
    map_tif: Path,
    query_tif: Path | None,
    offset_m: tuple[float, float],
    count: int,
    seed: int,
    *,
    smoke: bool,
    relief_band: int | None = None,
) -> LidarPairs:
    """Pairs of a real map, a GeoTIFF of ground intensity; its eastern fifth validates.

    Queries are crops of another GeoTIFF of the same place (offset: map minus query coordinates, east and north), else
    sweeps are simulated. ``relief_band`` is the band of the variance of heights, m2, that is mixed into both.
    """
    source = open_mixed(map_tif, 1, relief_band)
    query = open_mixed(query_tif, 1, relief_band) if query_tif is not None else None
    resolution_m = source.grid.resolution_m
    sweep_px, map_px = crop_sizes(resolution_m, smoke)

    def part(size: int, part_seed: int, east: tuple[float, float]) -> RasterPairs:
        # Half as large again as the crop: the sampler turns its own out of it.
        sizes = {"map_px": map_px + map_px // 2, "sweep_px": sweep_px}
        return RasterPairs(source, size, part_seed, query=query, query_offset_m=offset_m, east=east, **sizes)

    training = part(count, seed, (0.0, 0.95 - HELD_OUT))
    validation = part(max(16, round(HELD_OUT * count)), seed + 1, (1 - HELD_OUT, 1.0))
    paths = [path for path in (map_tif, query_tif) if path is not None]
    name, places = " ".join(map(str, paths)), tuple(map(raster_place, paths))
    return LidarPairs(training, validation, resolution_m, sweep_px, map_px, name, places)


def pairs_of_drive(
    sweeps: str,
    poses: Path,
    resolution_m: float,
    guard: int,
    intensity_scale: float | None,
    *,
    smoke: bool,
    time_limit_s: float | None = None,
) -> LidarPairs:
    """Pairs of a real drive; its last fifth validates. Arguments as `open_drive` and `SweepPairs`."""
    drive = open_drive(sweeps, poses, None, intensity_scale, time_limit_s=time_limit_s)
    sweep_px, map_px = crop_sizes(resolution_m, smoke)
    sizes: Any = {"sweep_px": sweep_px * 3 // 2, "map_px": map_px * 3 // 2}
    pairs = SweepPairs(drive.sweeps, drive.world_SE3_sensors, resolution_m, guard=guard, **sizes)
    place = drive_place(Path(sweeps).name, drive.world_SE3_sensors)
    parts = pairs.part(0, 1 - HELD_OUT), pairs.part(1 - HELD_OUT, 1)
    return LidarPairs(*parts, resolution_m, sweep_px, map_px, sweeps, (place,))


class Alternating(Sequence[Any]):
    """Two sources in turn, the shorter one repeated, so that neither outweighs the other."""

    def __init__(self, first: Sequence[Any], second: Sequence[Any]) -> None:
        self._sides = (first, second)

    def __len__(self) -> int:
        return 2 * max(len(side) for side in self._sides)

    def __getitem__(self, index: Any) -> Any:
        """One pair."""
        side = self._sides[index % 2]
        return side[index // 2 % len(side)]


def mixed_pairs(real: LidarPairs, town: LidarPairs) -> LidarPairs:
    """A real drive and the town in equal parts; the drive's last fifth validates."""
    if abs(real.resolution_m / town.resolution_m - 1) > 0.01:
        said = f"the drive is drawn at {real.resolution_m:g} m, the town's pairs at {town.resolution_m:g} m"
        raise ConfigError(said, "give --resolution as the pairs have it")
    both = Alternating(real.training, town.training)
    return replace(real, training=both, name=f"{real.name} and town", places=real.places + town.places)
