"""Queries that have no right answer here: a localizer must decline them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from foldmap.bench.lidar.cases import Benchmark, BenchQuery, Case, Search
from foldmap.bench.lidar.protocol import raster_fingerprint
from foldmap.errors import ConfigError
from foldmap.lidar.source import RasterMap

KINDS = ("shuffled", "blank", "wrong-map")


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
