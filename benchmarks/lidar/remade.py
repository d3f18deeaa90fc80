"""Cases of lidar benchmarks that are made unanswerable: a localizer must decline them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from foldmap.bench.lidar.cases import Benchmark, BenchQuery, Case, Search
from foldmap.bench.lidar.protocol import raster_fingerprint
from foldmap.errors import ConfigError
from foldmap.geometry import SE2
from foldmap.lidar.source import RasterMap

KINDS = ("shuffled", "blank", "wrong-map")
_BLOCK_M = 0.8


@dataclass(frozen=True)
class Negatives:
    """A benchmark whose every query is made unanswerable.

    Attributes:
        benchmark: the answerable one.
        kind: ``shuffled`` gives each case the points of the case half the benchmark away, ``blank`` gives all points
            their mean intensity, ``wrong-map`` folds another place.
        other_map: for ``wrong-map``; it is moved so that its middle lies under each prior.

    Raises:
        ConfigError: no such kind, or ``wrong-map`` without a map.
    """

    benchmark: Benchmark
    kind: str
    other_map: RasterMap | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(f"no kind {self.kind!r} of negatives", f"choose from {', '.join(KINDS)}")
        if (self.kind == "wrong-map") != (self.other_map is not None):
            raise ConfigError("wrong-map needs another map, the other kinds take none", "give other_map with wrong-map")

    @property
    def search(self) -> Search:
        """See `Benchmark`."""
        return self.benchmark.search

    def configuration(self) -> dict[str, Any]:
        """See `Benchmark`."""
        other = None if self.other_map is None else raster_fingerprint(self.other_map)
        return {**self.benchmark.configuration(), "negatives": self.kind, "other_map": other}

    def __len__(self) -> int:
        """Return how many queries there are."""
        return len(self.benchmark)

    def cases(self) -> Iterator[Case]:
        """Yield the cases, made unanswerable."""
        queries = [case.query for case in self.benchmark.cases()] if self.kind == "shuffled" else []
        for index, case in enumerate(self.benchmark.cases()):
            query = case.query
            if self.kind == "shuffled":
                other = queries[(index + max(1, len(queries) // 2)) % len(queries)]
                query = BenchQuery(other.points_vehicle_m, other.intensity, query.world_SE2_prior)
            elif self.kind == "blank":
                query = replace(query, intensity=np.full_like(query.intensity, query.intensity.mean()))
            yield replace(self._elsewhere(case), query=query)

    def _elsewhere(self, case: Case) -> Case:
        """Put the other map's middle, on its own pixel lattice, under the prior."""
        if self.other_map is None:
            return case
        grid, prior = self.other_map.grid, case.query.world_SE2_prior
        west_m = prior.x_m - grid.width_px / 2 * grid.resolution_m
        north_m = prior.y_m + grid.height_px / 2 * grid.resolution_m
        raster = replace(self.other_map, grid=replace(grid, west_m=west_m, north_m=north_m))
        return replace(case, map_key=f"wrong-{case.name}", raster=raster)


@dataclass(frozen=True)
class Remade:
    """A benchmark whose every case is changed, by a generator of the case's own.

    Attributes:
        benchmark: the answerable one.
        kind: what the change is called.
        remake: changes a case.
        seed: of the changes.
    """

    benchmark: Benchmark
    kind: str
    remake: Callable[[Case, np.random.Generator], Case]
    seed: int = 0

    @property
    def search(self) -> Search:
        """See `Benchmark`."""
        return self.benchmark.search

    def configuration(self) -> dict[str, Any]:
        """See `Benchmark`."""
        return {**self.benchmark.configuration(), "remade": self.kind, "remade_seed": self.seed}

    def __len__(self) -> int:
        """Return how many queries there are."""
        return len(self.benchmark)

    def cases(self) -> Iterator[Case]:
        """Yield the changed cases."""
        for index, case in enumerate(self.benchmark.cases()):
            yield self.remake(case, np.random.default_rng((self.seed, index)))


def scrambled(case: Case, rng: np.random.Generator) -> Case:
    """Move blocks of 0.8 m of the query to each other's places: its statistics stay, its place is lost."""
    points = case.query.points_vehicle_m
    blocks = np.floor(points / _BLOCK_M)
    places, index = np.unique(blocks, axis=0, return_inverse=True)
    moved = places[rng.permutation(len(places))]
    offset = (moved - places)[index.ravel()] * _BLOCK_M
    return replace(case, query=replace(case.query, points_vehicle_m=(points + offset).astype(np.float32)))


def elsewhere(raster: RasterMap, least_observed: float = 0.2) -> Callable[[Case, np.random.Generator], Case]:
    """Ask in another map, at a random pose over ground that it shows."""
    rows, cols = np.nonzero(raster.observed)
    side_px = round(20 / raster.grid.resolution_m)

    def remake(case: Case, rng: np.random.Generator) -> Case:
        for _ in range(1000):
            pick = int(rng.integers(len(rows)))
            around = raster.read(int(rows[pick]) - side_px // 2, int(cols[pick]) - side_px // 2, side_px, side_px)
            if around.observed.mean() >= least_observed:
                break
        east_m, north_m = raster.grid.world_of(np.array([rows[pick], cols[pick]], np.float64))
        pose = SE2(float(east_m), float(north_m), float(rng.uniform(-math.pi, math.pi)))
        return replace(case, query=replace(case.query, world_SE2_prior=pose), map_key="elsewhere", raster=raster)

    return remake
