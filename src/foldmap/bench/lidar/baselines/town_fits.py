"""Coders and thresholds of simple codes, fitted on the generated town: elsewhere than whatever is measured."""

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np

from foldmap.bench.lidar.baselines.contrast_codec import KINDS, Coders, ContrastMapCodec
from foldmap.bench.lidar.baselines.contrast_localizer import ContrastMap
from foldmap.bench.lidar.cases import Codec
from foldmap.coding.context import ContextModel
from foldmap.errors import ConfigError, MapInputError
from foldmap.lidar.fit_coder import raster_of
from foldmap.lidar.pairs.sampling import RasterPair
from foldmap.localize.lidar.calibrate import match_features
from foldmap.localize.lidar.confidence import calibrate
from foldmap.town.lidar.sampling import sample_pair
from foldmap.types import ByteArray

PAIRS = 60
QUICK_PAIRS = 24
_MARGIN_M = 4.0  # of a place's map around its query

Report = Callable[[int, int], None]


class TownFits:
    """Everything that is fitted for simple codes, made where it is first asked for and kept."""

    def __init__(
        self,
        resolution_m: float,  # of the maps
        half_m: tuple[float, float],  # of the observations, half length and half width
        count: int = PAIRS,  # places of the town
        seed: int = 0,
        pairs: Sequence[RasterPair] | None = None,  # used instead of the town's
    ) -> None:
        self.resolution_m, self._half_m, self._count, self._seed = resolution_m, half_m, count, seed
        self._given = pairs
        self._coders: dict[str, Coders] = {}
        self._thresholds: dict[tuple[str, bool, float], dict[str, float]] = {}

    def codec(self, kind: str, pixel_m: float, lines: float = 0.0) -> ContrastMapCodec:
        """A codec whose coder is fitted here."""
        return ContrastMapCodec(kind, pixel_m, self.coders, lines)

    def settings(self) -> dict[str, float | str]:
        """What decides the fits, for kept answers."""
        where = "given" if self._given is not None else "town"
        return {"fitted_on": where, "fitted_places": len(self._given or ()) or self._count, "fitted_seed": self._seed}

    @cached_property
    def pairs(self) -> Sequence[RasterPair]:
        """The places, each seen twice."""
        return self._given if self._given is not None else [self._draw(index) for index in range(self._count)]

    def coders(self, codec: ContrastMapCodec) -> Coders:
        """The coder for a codec's levels and mask, fitted on the places' maps."""
        if codec.name not in self._coders:
            coded = [codec.quantize(raster_of(pair, self.resolution_m)) for pair in self.pairs]
            codes, masks = ([_turned(part) for part in parts] for parts in zip(*coded, strict=True))
            symbols = len(KINDS[codec.kind].levels) - 1
            fitted = (ContextModel.fit([*flat], n) for flat, n in ((_flat(codes), symbols), (_flat(masks), 1)))
            self._coders[codec.name] = Coders(*fitted)
        return self._coders[codec.name]

    def thresholds(self, codec: Codec, is_contrast: bool, lines: float = 0.0) -> dict[str, float]:
        """Thresholds for the localizer in a codec's maps; empty, which is the defaults, where matches are too few."""
        key = codec.name, is_contrast, lines
        if key not in self._thresholds:
            self._thresholds[key] = self._calibrated(codec, is_contrast, lines)
        return self._thresholds[key]

    def _calibrated(self, codec: Codec, is_contrast: bool, lines: float) -> dict[str, float]:
        maps, pairs = [], []
        for pair in self.pairs:
            try:
                decoded = codec.decode(codec.encode(raster_of(pair, self.resolution_m)))
            except MapInputError:
                continue
            maps.append(ContrastMap(decoded, is_contrast, lines=lines))
            pairs.append(pair)
        found = match_features(maps, pairs, self.resolution_m, range(len(pairs)), len(pairs), seed=self._seed)
        try:
            return calibrate(found.right, found.wrong).thresholds.to_dict()
        except ConfigError:
            return {}

    def _draw(self, index: int) -> RasterPair:
        half_length_m, half_width_m = self._half_m
        sweep_px = round(2 * half_width_m / self.resolution_m), round(2 * half_length_m / self.resolution_m)
        margin_px = 2 * round(_MARGIN_M / self.resolution_m)
        rows, columns = (side + margin_px for side in sweep_px)
        rng = np.random.default_rng([self._seed, 83, index])
        drawn = sample_pair(rng, resolution_m=self.resolution_m, map_size_px=(rows, columns), sweep_size_px=sweep_px)
        shift_px = (-drawn.offset_px[0], -drawn.offset_px[1])
        seen = drawn.sweep_intensity, drawn.sweep_observed
        return RasterPair(drawn.map.intensity, drawn.map.observed, *seen, shift_px)


def _turned(codes: ByteArray) -> list[ByteArray]:
    """A map as it is and a quarter turn on, (1, H, W) each: real streets run any way."""
    return [np.ascontiguousarray(np.rot90(codes, turn)[None]) for turn in (0, 1)]


def _flat(tiles: list[list[ByteArray]]) -> list[ByteArray]:
    return [tile for turns in tiles for tile in turns]
