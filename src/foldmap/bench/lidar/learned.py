"""The learned codec, and the lidar localizer of every codec of the product, in the benchmarks' terms."""

import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np

from foldmap.bench.lidar.cases import BenchQuery, Match, Search
from foldmap.bench.lidar.online_protocol import Step
from foldmap.bench.lidar.payload import folded_payload, unpacked
from foldmap.geometry import SE2, MetricGrid
from foldmap.lidar.bundle import Bundle
from foldmap.lidar.codec import Decoder
from foldmap.lidar.fold import TILE_BLOCKS, LearnedTiles
from foldmap.lidar.match.exhaustive import coarse_headings_rad
from foldmap.lidar.observation import Observation, rasterize
from foldmap.lidar.source import BLOCK_PX, RasterMap
from foldmap.lidar.unfold import FoldedLidar
from foldmap.localize.lidar.confidence import LidarEstimate
from foldmap.localize.lidar.localizer import LidarFilter, LidarLocalizer
from foldmap.localize.lidar.view import DecodedMap

_EXHAUSTIVE_PX = 100
"""Searches of up to this radius score every pose, however many metres that is."""


class UnfoldedPayload(FoldedLidar):
    """A folded map in memory instead of in a file; `payloads` are its coded tiles by (column, row)."""

    def __init__(
        self, bundle: Bundle, decoder: Decoder, grid: MetricGrid, payloads: dict[tuple[int, int], bytes]
    ) -> None:
        self.parameters = {}
        self.bundle = bundle
        self.model, self.tile_blocks = bundle, TILE_BLOCKS
        self._grid, self._decoder, self._payloads = grid, decoder, payloads
        self._tiles, self._squares = OrderedDict(), OrderedDict()

    def tile(self, column: int, row: int) -> Any:
        """See `FoldedLidar`."""
        key = (column, row)
        if key not in self._tiles:
            payload, preset = self._payloads.get(key), self.model.preset
            side = self.tile_blocks * BLOCK_PX // self.scale
            shape = (preset.groups, side, side)
            self._tiles[key] = None if payload is None else self.model.coder.decode(payload, shape)
        return self._tiles[key]


class LearnedCodec:
    """A bundle as a map codec: the payload holds the tiles of a .fold file; networks are shared by all maps."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle, self.name = bundle, f"foldmap-{bundle.name}"
        self._decoder = Decoder(bundle)

    def encode(self, raster: RasterMap) -> bytes:
        """Return placement and coded tiles; see `Codec`."""
        return folded_payload(LearnedTiles(self.bundle, raster, TILE_BLOCKS), raster)

    def decode(self, payload: bytes) -> UnfoldedPayload:
        """Return the map that the localizer reads. Raises MapFormatError: the payload is not one of this codec."""
        grid, payloads = unpacked(payload)
        return UnfoldedPayload(self.bundle, self._decoder, grid, payloads)


def observe(query_points_m: Any, intensity: Any, resolution_m: float, half_m: tuple[float, float]) -> Observation:
    """Draw a query's points."""
    return rasterize(np.asarray(query_points_m, np.float64), intensity, resolution_m, *half_m)


@dataclass(frozen=True)
class EmbeddingMatcher:
    """The lidar localizer, once per query; it answers its best pose even where it would refuse (see the status)."""

    name = "localizer"
    half_length_m: float = 15.0  # extent of the observation ahead and behind
    half_width_m: float = 12.0  # and to each side

    def match(self, query: BenchQuery, decoded_map: DecodedMap, search: Search) -> Match:
        """Answer one query; see `Matcher`."""
        half_m = (self.half_length_m, self.half_width_m)
        resolution_m, prior = decoded_map.grid.resolution_m, query.world_SE2_prior
        observation = observe(query.points_vehicle_m, query.intensity, resolution_m, half_m)
        heading_rad = max(search.heading_rad, math.radians(0.5))
        count = max(3, 2 * math.ceil(math.degrees(search.heading_rad) - 1e-9) + 1)
        localizer = LidarLocalizer.open(decoded_map)
        if search.radius_m > _EXHAUSTIVE_PX * resolution_m:
            # Matches of a wide search lie around candidates, not around the prior: nothing to say where it refuses.
            found = localizer.localize(observation, prior, search.radius_m, heading_rad, count)
            return Match(found.pose, *_said(found))
        headings_rad = coarse_headings_rad(heading_rad, count)
        # Priors are off by up to the radius east and north; the window lies along the prior's axes.
        reach_m = search.radius_m * (abs(math.cos(prior.heading_rad)) + abs(math.sin(prior.heading_rad)))
        result = localizer.attempt_window(observation, prior, reach_m, headings_rad)
        pose = result.estimate.pose
        if pose is None and result.match is not None:
            pose = prior @ result.match.offset
        return Match(pose, *_said(result.estimate))


class FilterOnline:
    """The histogram filter along a drive whose map changes under it (leave-out maps); frames are ``step_s`` apart.

    It answers its belief's mean even where it would refuse (see the status).
    """

    name = "histogram-filter"

    def __init__(self, half_m: tuple[float, float] = (15.0, 12.0), step_s: float = 0.1) -> None:
        self._half_m, self._step_s = half_m, step_s
        self._prior: SE2 | None = None
        self._filter: LidarFilter | None = None

    def start(self, world_SE2_prior: SE2) -> None:
        """See `OnlineLocalizer`."""
        self._prior, self._filter = world_SE2_prior, None

    def step(self, step: Step, decoded_map: Any) -> Match:
        """See `OnlineLocalizer`."""
        localizer = LidarLocalizer.open(decoded_map)
        if self._filter is None:
            assert self._prior is not None
            self._filter = localizer.start(self._prior)
        self._filter.localizer = localizer
        resolution_m = decoded_map.grid.resolution_m
        observation = observe(step.points_vehicle_m, step.intensity, resolution_m, self._half_m)
        estimate = self._filter.step(observation, step.previous_SE2_current, self._step_s)
        best = estimate.pose or self._filter.belief.mean_and_covariance(localizer.settings.alpha)[0]
        return Match(best, *_said(estimate))


def _said(estimate: LidarEstimate) -> tuple[float, dict[str, float | str]]:
    """Score and diagnostics of an answer."""
    diagnostics = estimate.diagnostics
    said: dict[str, float | str] = {"status": estimate.status.value, "time_s": diagnostics.time_s}
    for name in ("score", "margin_sigma", "evidence_sigma", "surprise", "distinction", "agreement", "sigma_m"):
        value = getattr(diagnostics, name)
        if value is not None:
            said[name] = value
    return (diagnostics.score if diagnostics.score is not None else -1.0), said
