"""Where training pairs come from: the generated town, real maps, real sweeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foldmap.errors import ConfigError
from foldmap.lidar.pairs.from_raster import RasterPairs
from foldmap.lidar.pairs.from_sweeps import SweepPairs

if TYPE_CHECKING:
    from foldmap.lidar.pairs.sampling import Pair
    from foldmap.town.lidar.cache import PairCache

HELD_OUT = 0.2


@dataclass(frozen=True)
class Source:
    """Pairs to train on, and pairs of other places to validate with.

    Attributes:
        training: pairs.
        validation: pairs of places that are not trained on.
        resolution_m: pixel size of all.
        sweep_px: side of the crop of a query that a step sees, a multiple of 16.
        map_px: the same of the map.
        name: for the settings.
    """

    training: Sequence[Pair]
    validation: Sequence[Pair]
    resolution_m: float
    sweep_px: int
    map_px: int
    name: str


class TownPairs(Sequence[Any]):
    """A part of a cache of the town's pairs, as the sampler reads them."""

    def __init__(self, cache: PairCache, indices: range) -> None:
        self._cache, self._indices = cache, indices

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        """One pair."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return self._cache[self._indices[index]]


def crop_sizes(resolution_m: float, smoke: bool) -> tuple[int, int]:
    """Query and map side of a training step: 9.6 m on fine maps; 21 m on coarse ones, whose pixels are few.

    Smaller than what a localizer matches on purpose: a crop that is hard to place teaches the codec to keep something
    of every piece of ground, not only of the best mark in sight.
    """
    if smoke or resolution_m >= 0.15:
        return 64, 112
    return 192, 240


def town_source(folder: Path, count: int, seed: int, *, coarse: bool, smoke: bool) -> Source:
    """Pairs of the generated town, written to a folder once and read from there."""
    from foldmap.town.lidar.cache import PairCache, write_pairs

    if not any(folder.glob("pairs-*.npz")):
        write_pairs(folder, count, seed, coarse=coarse)
    cache = PairCache(folder)
    kept = max(1, round((1 - HELD_OUT) * len(cache)))
    if kept == len(cache):
        raise ConfigError(f"{len(cache)} pairs are too few", "give more, some are held out for validation")
    return Source(
        TownPairs(cache, range(kept)),
        TownPairs(cache, range(kept, len(cache))),
        cache.resolution_m,
        *crop_sizes(cache.resolution_m, smoke),
        "town",
    )


def raster_source(
    map_tif: Path, query_tif: Path | None, offset_m: tuple[float, float], count: int, seed: int, *, smoke: bool
) -> Source:
    """Pairs of a real map; its eastern fifth validates."""
    from foldmap.formats.raster.geotiff import open_raster

    source = open_raster(map_tif)
    query = open_raster(query_tif) if query_tif is not None else None
    resolution_m = source.grid.resolution_m
    sweep_px, map_px = crop_sizes(resolution_m, smoke)

    def part(size: int, part_seed: int, east: tuple[float, float]) -> RasterPairs:
        # Half as large again as the crop: the sampler turns its own out of it.
        return RasterPairs(
            source,
            size,
            part_seed,
            query=query,
            query_offset_m=offset_m,
            map_px=map_px + map_px // 2,
            sweep_px=sweep_px,
            east=east,
        )

    training = part(count, seed, (0.0, 0.95 - HELD_OUT))
    validation = part(max(16, round(HELD_OUT * count)), seed + 1, (1 - HELD_OUT, 1.0))
    return Source(training, validation, resolution_m, sweep_px, map_px, f"{map_tif} {query_tif or ''}".strip())


def sweep_source(
    sweeps: str,
    poses: Path,
    resolution_m: float,
    guard: int,
    intensity_scale: float | None,
    *,
    smoke: bool,
    time_limit_s: float = 0.01,
) -> Source:
    """Pairs of a real drive; its last fifth validates."""
    from foldmap.formats.sweeps.drives import open_drive

    drive = open_drive(sweeps, poses, None, intensity_scale, time_limit_s=time_limit_s)
    sweep_px, map_px = crop_sizes(resolution_m, smoke)
    pairs = SweepPairs(
        drive.sweeps,
        drive.world_SE3_sensors,
        resolution_m,
        guard=guard,
        sweep_px=sweep_px * 3 // 2,
        map_px=map_px * 3 // 2,
    )
    return Source(pairs.part(0, 1 - HELD_OUT), pairs.part(1 - HELD_OUT, 1), resolution_m, sweep_px, map_px, sweeps)


class Alternating(Sequence[Any]):
    """Two sources in turn, the shorter one repeated, so that neither outweighs the other."""

    def __init__(self, first: Sequence[Pair], second: Sequence[Pair]) -> None:
        self._sides = (first, second)

    def __len__(self) -> int:
        return 2 * max(len(side) for side in self._sides)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        """One pair."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        side = self._sides[index % 2]
        return side[index // 2 % len(side)]


def mixed_source(real: Source, town: Source) -> Source:
    """A real drive and the town in equal parts; the drive's last fifth validates.

    Raises:
        ConfigError: their pixels differ.
    """
    if abs(real.resolution_m / town.resolution_m - 1) > 0.01:
        raise ConfigError(
            f"the drive is drawn at {real.resolution_m:g} m, the town's pairs at {town.resolution_m:g} m",
            "give --resolution as the pairs have it",
        )
    training = Alternating(real.training, town.training)
    return Source(training, real.validation, real.resolution_m, real.sweep_px, real.map_px, f"{real.name} and town")
