"""The simple codes that the learned one is held against, with the same coder and localizer."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.context import Board
from foldmap.bench.lidar.baselines.image_codecs import ImageMapCodec, ThresholdMapCodec
from foldmap.bench.lidar.baselines.town_fits import TownFits
from foldmap.bench.lidar.cases import Codec, Method
from foldmap.bench.lidar.methods import BEST, contrast_codecs, localizer_of, ncc_of

HALF_M = (15.0, 12.0)


def town_fits(board: Board, resolution_m: float) -> TownFits:
    """Coders and thresholds of simple codes, fitted once a run."""
    return board.shared(("town fits", resolution_m), lambda: TownFits(resolution_m, HALF_M))  # type: ignore[no-any-return]


def raw_and_sparse(board: Board, resolution_m: float, lines: float = 0.0) -> list[Codec]:
    """The uncompressed map, the best simple code and the one-bit map, of these two less a share of lines."""
    fits, kinds = town_fits(board, resolution_m), (("sparse", 0.2), ("1bit", 0.4))
    return [ImageMapCodec("raw16"), *(fits.codec(kind, pixel_m, lines) for kind, pixel_m in kinds)]


def strong_codecs(board: Board, resolution_m: float, every: bool = False) -> list[Codec]:
    """The codes on the front of size and error; with ``every`` all kinds and pixels, and images beside them."""
    fits = town_fits(board, resolution_m)
    if not every:
        return [*(fits.codec(kind, pixel_m) for kind, pixel_m in BEST), ThresholdMapCodec(0.4)]
    images = [ThresholdMapCodec(pixel_m) for pixel_m in (0.2, 0.4, 0.8)]
    lossy = (("avif", 20), ("avif", 5), ("jxl", 10), ("jpeg2000", 28), ("webp", 5))
    return [*contrast_codecs(fits), *images, *(ImageMapCodec(family, level, 4) for family, level in lossy)]


def matched(board: Board, resolution_m: float, codecs: Sequence[Codec], *, ncc: bool = True) -> list[Method]:
    """Codecs with the localizer, and with plain correlation too."""
    fits = town_fits(board, resolution_m)
    methods = [Method(codec, localizer_of(codec, fits, HALF_M)) for codec in codecs]
    return methods + ([Method(codec, ncc_of(codec)) for codec in codecs] if ncc else [])


def by_overlap(board: Board, resolution_m: float, codecs: Sequence[Codec], lines: float = 0.0) -> list[Method]:
    """Codecs with the localizer whose scores are by overlap, as those of masked NCC."""
    fits = town_fits(board, resolution_m)
    return [Method(codec, localizer_of(codec, fits, HALF_M, normalized=True, lines=lines)) for codec in codecs]
