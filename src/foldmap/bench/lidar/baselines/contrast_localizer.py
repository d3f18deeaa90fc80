"""The lidar localizer on simple codes: its map is the decoded contrast, its observation the query's local contrast.

Window search, histogram filter and thresholds are those of the learned code; only the embeddings differ.
"""

from collections.abc import Callable
from typing import Any, cast

from foldmap.bench.lidar.baselines.contrast import local_contrast
from foldmap.bench.lidar.baselines.contrast_codec import LINES_OFF
from foldmap.bench.lidar.cases import BenchQuery, Match, Search
from foldmap.bench.lidar.learned import EmbeddingMatcher, FilterOnline
from foldmap.bench.lidar.online_protocol import Step
from foldmap.geometry import MetricGrid
from foldmap.lidar.observation import Observation
from foldmap.lidar.source import RasterMap
from foldmap.types import BoolArray, FloatArray


class ContrastMap:
    """A raster as the localizer sees it (a `DecodedMap`): one channel, its contrast."""

    def __init__(
        self,
        raster: RasterMap,
        is_contrast: bool = False,
        thresholds: dict[str, float] | None = None,
        normalized: bool = False,
        lines: float = 0.0,
    ) -> None:
        self.grid, self.thresholds, self.normalized = raster.grid, thresholds, normalized
        values = raster.intensity
        if not is_contrast:
            values = local_contrast(values, raster.observed, raster.grid.resolution_m, lines)
        self._contrast = RasterMap(raster.grid, values, raster.observed)

    def embedding(self, grid: MetricGrid) -> tuple[FloatArray, BoolArray]:
        """See `DecodedMap`."""
        window = self._contrast.read(*self.grid.offset_of(grid), *grid.shape)
        return window.intensity[None], window.observed

    def embed_observation(self, observation: Observation) -> FloatArray:
        """See `DecodedMap`."""
        own = local_contrast(observation.intensity, observation.observed, observation.resolution_m)
        return own[None]


class ContrastLocalizer:
    """A `Matcher` for the rasters that simple codes decode to; thresholds are asked for with the first query."""

    def __init__(
        self,
        half_m: tuple[float, float] = (15.0, 12.0),  # extent of the observation, half length and half width
        is_contrast: bool = False,  # whether the rasters hold contrast already
        thresholds: Callable[[], dict[str, float]] = dict,  # of the code; none are the defaults
        normalized: bool = False,  # whether scores are by overlap, as those of masked NCC
        lines: float = 0.0,  # share that is taken off rasters that hold no contrast
    ) -> None:
        self.half_m, self.is_contrast, self.normalized, self.lines = half_m, is_contrast, normalized, lines
        self.name = "localizer by overlap" if normalized else "localizer"
        self.name += LINES_OFF if lines else ""
        self._matcher, self._thresholds = EmbeddingMatcher(*half_m), thresholds
        self._last: tuple[RasterMap, ContrastMap] | None = None

    def map_of(self, decoded_map: RasterMap) -> ContrastMap:
        """The map for the localizer; that of the last raster is kept."""
        if self._last is None or self._last[0] is not decoded_map:
            how = self._thresholds(), self.normalized, self.lines
            self._last = decoded_map, ContrastMap(decoded_map, self.is_contrast, *how)
        return self._last[1]

    def match(self, query: BenchQuery, decoded_map: RasterMap, search: Search) -> Match:
        """Answer one query; see `Matcher`."""
        return self._matcher.match(query, cast(Any, self.map_of(decoded_map)), search)

    def online(self) -> "ContrastOnline":
        """The histogram filter with the same embeddings and thresholds."""
        return ContrastOnline(self)


class ContrastOnline(FilterOnline):
    """The histogram filter along a drive, in the rasters that simple codes decode to."""

    def __init__(self, matcher: ContrastLocalizer) -> None:
        super().__init__(matcher.half_m)
        self._maps = matcher
        self.name += matcher.name.removeprefix("localizer")

    def step(self, step: Step, decoded_map: Any) -> Match:
        """See `OnlineLocalizer`."""
        return super().step(step, self._maps.map_of(decoded_map))
