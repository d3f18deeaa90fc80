"""The learned matcher on decoded rasters: the paper's "learned matcher"; `tuning` trains it on a codec's output."""

from __future__ import annotations

import copy
from typing import Any, cast

import numpy as np
import torch

from foldmap.bench.lidar.cases import BenchQuery, Match, Search
from foldmap.bench.lidar.learned import EmbeddingMatcher
from foldmap.errors import LimitError
from foldmap.geometry import MetricGrid
from foldmap.lidar.bundle import Bundle, require_fold
from foldmap.lidar.codec import HALO_PX, MIN_SHARE, Decoder, global_spread, known_of
from foldmap.lidar.model import Embedding
from foldmap.lidar.normalize import network_input
from foldmap.lidar.observation import Observation
from foldmap.lidar.presets import UNET_STRIDE
from foldmap.lidar.source import RasterMap
from foldmap.lidar.unfold import MAX_WINDOW_PX
from foldmap.types import BoolArray, FloatArray


class RasterEmbedding:
    """A raster as the localizer sees it: windows of its uncompressed embedding (a `DecodedMap`)."""

    def __init__(
        self, bundle: Bundle, decoder: Decoder, raster: RasterMap, map_network: Embedding | None = None
    ) -> None:
        require_fold(bundle)
        self.bundle, self.grid, self.thresholds = bundle, raster.grid, bundle.thresholds
        self._decoder, self._raster = decoder, raster
        self._network = map_network or map_network_of(bundle)
        self._spread = global_spread(raster)

    @torch.inference_mode()
    def embedding(self, grid: MetricGrid) -> tuple[FloatArray, BoolArray]:
        """Embed a window; it is computed on the raster's lattice of 16 px with `HALO_PX` around.

        Returns float32 (C, H, W), and known bool (H, W), by the cells that a code of this bundle would have. Raises
        LimitError: the window is too large to embed at once.
        """
        step = UNET_STRIDE
        if grid.height_px * grid.width_px > MAX_WINDOW_PX:
            raise LimitError(f"a window of {grid.height_px} x {grid.width_px} pixels", "embed smaller windows")
        row, col = self._raster.grid.offset_of(grid)
        top, left = ((at - HALO_PX) // step * step for at in (row, col))
        bottom = -(-(row + grid.height_px + HALO_PX) // step) * step
        right = -(-(col + grid.width_px + HALO_PX) // step) * step
        around = self._raster.read(top, left, bottom - top, right - left)
        cut = np.s_[row - top : row - top + grid.height_px, col - left : col - left + grid.width_px]
        known = np.ascontiguousarray(self._known(around)[cut])
        if not known.any():
            return np.zeros((self.bundle.model.preset.embedding_channels, *grid.shape), np.float32), known
        x = torch.from_numpy(network_input(around, self._spread))[None].to(memory_format=torch.channels_last)
        return self._network(x)[0][(slice(None), *cut)].float().contiguous().numpy(), known

    def embed_observation(self, observation: Observation) -> FloatArray:
        """Embed what the vehicle sees, in its own axes: (C, H, W) float32."""
        return self._decoder.embed_observation(observation)

    def _known(self, raster: RasterMap) -> BoolArray:
        """The same rule as for codes: cells observed enough, and their neighbours."""
        scale = self.bundle.model.preset.downsample
        height, width = raster.grid.shape
        share = raster.observed.reshape(height // scale, scale, width // scale, scale).mean(axis=(1, 3))
        return known_of((share >= MIN_SHARE)[None].astype(np.uint8), scale)


def map_network_of(bundle: Bundle) -> Embedding:
    """A copy of a bundle's map embedding for inference."""
    network = copy.deepcopy(bundle.model.map_embedding).eval()
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


class LearnedRasterMatcher:
    """A `Matcher` for the rasters that classical codecs decode to. Raises ConfigError: the bundle cannot fold."""

    def __init__(self, bundle: Bundle, half_m: tuple[float, float] = (15.0, 12.0), name: str = "learned") -> None:
        require_fold(bundle)
        self.bundle, self.name = bundle, name
        self._decoder, self._network = Decoder(bundle), map_network_of(bundle)
        self._matcher = EmbeddingMatcher(*half_m)
        self._last: tuple[RasterMap, RasterEmbedding] | None = None

    def match(self, query: BenchQuery, decoded_map: RasterMap, search: Search) -> Match:
        """Answer one query as the learned localizer would; see `Matcher`."""
        if self._last is None or self._last[0] is not decoded_map:
            self._last = decoded_map, RasterEmbedding(self.bundle, self._decoder, decoded_map, self._network)
        return self._matcher.match(query, cast(Any, self._last[1]), search)

    def another(self) -> LearnedRasterMatcher:
        """The same networks for another codec's maps: each matcher remembers the map it matched in last."""
        other = copy.copy(self)
        other._last = None
        return other
