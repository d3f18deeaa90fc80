"""Matching one raster map in another: crops of the second are queries in the folded first.

Two sensors' maps of one place are registered only to within a few pixels. The offset between them is estimated on one
part of the place, which may also be trained on, and the crops that are scored come from the other.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from foldmap.bench.lidar.baselines.ncc_matcher import NccMatcher
from foldmap.bench.lidar.cases import BenchQuery, Case, Search, perturbed
from foldmap.bench.lidar.protocol import raster_fingerprint
from foldmap.errors import ConfigError, MapInputError
from foldmap.geometry import SE2
from foldmap.lidar.source import RasterMap
from foldmap.types import BoolArray

_MIN_OBSERVED = 0.5
"""Least share of a crop that both rasters observed."""

SIDES = ("west", "east", "north", "south")


@dataclass(frozen=True)
class RasterProtocol:
    """Square crops of a query raster, north up, in a map raster.

    A line halves the ground that both observed. Crops whose centre lies on the ``scored`` side of it, farther from the
    line than half a crop plus the search radius, are queries; the other side is for training and for the offset. Raises
    ConfigError: no such side, or impossible sizes; MapInputError: the rasters do not overlap.
    """

    map_raster: RasterMap  # what is folded
    query_raster: RasterMap  # where crops come from
    name: str  # of the pair, for the configuration
    size_m: float = 21.0  # side of a crop
    stride_m: float = 10.5  # from one to the next
    scored: str = "east"  # west, east, north or south
    # how far priors are off; heading 0 means crops keep their heading
    search: Search = field(default_factory=lambda: Search(radius_m=5.0))
    seed: int = 0  # of the priors
    # map minus query, east and north, where it is known; else it is estimated
    offset_m: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.scored not in SIDES:
            raise ConfigError(f"no side {self.scored!r}", f"choose from {', '.join(SIDES)}")
        if not (self.size_m > 0 and self.stride_m > 0):
            raise ConfigError(f"crops of {self.size_m} m every {self.stride_m} m", "give positive lengths")

    def __len__(self) -> int:
        """Return how many queries there are."""
        return len(self._centres(self.scored))

    def configuration(self) -> dict[str, Any]:
        """See `Benchmark`."""
        names = ("name", "size_m", "stride_m", "scored", "seed")
        return {
            "protocol": "raster",
            **{name: getattr(self, name) for name in names},
            "search": asdict(self.search),
            "map_fingerprint": raster_fingerprint(self.map_raster),
            "query_fingerprint": raster_fingerprint(self.query_raster),
            "alignment_m": list(self.alignment_m),
        }

    @cached_property
    def divide_m(self) -> float:
        """East (or north) of the line that halves the ground that both rasters observed."""
        rows, cols = np.nonzero(self.query_raster.observed)
        points = self.query_raster.grid.world_of(np.stack([rows, cols], 1).astype(np.float64))
        cells = np.rint(self.map_raster.grid.pixel_of(points)).astype(int)
        inside: BoolArray = np.all((cells >= 0) & (cells < np.array(self.map_raster.grid.shape)), axis=1)
        inside[inside] = self.map_raster.observed[cells[inside, 0], cells[inside, 1]]
        if not inside.any():
            raise MapInputError(f"the rasters of {self.name} have no ground in common", "give two maps of one place")
        return float(np.median(points[inside, 0 if self.scored in ("west", "east") else 1]))

    def on_side(self, east_m: float, north_m: float, side: str) -> bool:
        """Whether a crop centred there lies on a side, clear of what the other side's crops and searches touch."""
        clear_m = self.size_m / 2 + self.search.radius_m
        position_m = (east_m if side in ("west", "east") else north_m) - self.divide_m
        return position_m >= clear_m if side in ("east", "north") else position_m <= -clear_m

    @property
    def training(self) -> str:
        """The side that is not scored."""
        return {"west": "east", "east": "west", "north": "south", "south": "north"}[self.scored]

    def _centres(self, side: str) -> list[tuple[int, int]]:
        """Top-left pixels, in the query raster, of the crops of a side that are observed enough in both rasters."""
        grid = self.query_raster.grid
        size_px, stride_px = (max(1, round(v / grid.resolution_m)) for v in (self.size_m, self.stride_m))
        found = []
        for row in range(0, grid.height_px - size_px + 1, stride_px):
            for col in range(0, grid.width_px - size_px + 1, stride_px):
                east_m, north_m = grid.world_of(np.array([row, col]) + (size_px - 1) / 2)
                if self.on_side(float(east_m), float(north_m), side) and self._observed_enough(row, col, size_px):
                    found.append((row, col))
        return found

    def _observed_enough(self, row: int, col: int, size_px: int) -> bool:
        if self.query_raster.observed[row : row + size_px, col : col + size_px].mean() < _MIN_OBSERVED:
            return False
        grid = self.map_raster.grid
        corner = self.query_raster.grid.world_of(np.array([row - 0.5, col - 0.5]))
        top, left = np.rint(grid.pixel_of(corner) + 0.5).astype(int)
        side_px = max(1, round(size_px * self.query_raster.grid.resolution_m / grid.resolution_m))
        return bool(self.map_raster.read(int(top), int(left), side_px, side_px).observed.mean() >= _MIN_OBSERVED)

    def _crop(self, row: int, col: int) -> tuple[BenchQuery, SE2]:
        """The crop as points about its centre, and that centre in the query raster's own coordinates."""
        grid = self.query_raster.grid
        size_px = max(1, round(self.size_m / grid.resolution_m))
        rows, cols = np.nonzero(self.query_raster.observed[row : row + size_px, col : col + size_px])
        points = grid.world_of(np.stack([rows + row, cols + col], 1).astype(np.float64))
        east_m, north_m = grid.world_of(np.array([row, col]) + (size_px - 1) / 2)
        centre = SE2(float(east_m), float(north_m), 0.0)
        intensity = self.query_raster.intensity[rows + row, cols + col]
        return BenchQuery((points - (centre.x_m, centre.y_m)).astype(np.float32), intensity, centre), centre

    @cached_property
    def alignment_m(self) -> tuple[float, float]:
        """Map minus query, east and north: as given, or the median over the training side's crops, by plain NCC."""
        if self.offset_m is not None:
            return self.offset_m
        matcher, offsets = NccMatcher(), []
        for row, col in self._centres(self.training):
            query, centre = self._crop(row, col)
            match = matcher.match(query, self.map_raster, Search(self.search.radius_m))
            if match.world_SE2_vehicle is not None:
                offsets.append((match.world_SE2_vehicle.x_m - centre.x_m, match.world_SE2_vehicle.y_m - centre.y_m))
        if not offsets:
            raise MapInputError(
                f"the {self.training} side of {self.name} has no crop observed in both maps", "use smaller crops"
            )
        east_m, north_m = np.median(np.array(offsets), axis=0)
        return float(east_m), float(north_m)

    def cases(self) -> Iterator[Case]:
        """Yield the crops of the scored side; all share the map."""
        east_m, north_m = self.alignment_m
        for row, col in self._centres(self.scored):
            query, centre = self._crop(row, col)
            truth = SE2(centre.x_m + east_m, centre.y_m + north_m, 0.0)
            prior = perturbed(truth, self.search, np.random.default_rng((self.seed, row, col)))
            asked = BenchQuery(query.points_vehicle_m, query.intensity, prior)
            yield Case(f"{row}-{col}", asked, truth, "map", self.map_raster)
