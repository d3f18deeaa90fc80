"""Measured sizes and speeds of the coders on given tiles, against the entropy bounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import process_time
from typing import Any

from foldmap.coding.context import ContextModel
from foldmap.coding.entropy import conditional_bits, zero_order_bits
from foldmap.coding.registry import CODERS, Coder
from foldmap.errors import ConfigError, FoldmapError
from foldmap.types import ByteArray


def _fastest_s(work: Callable[[], object], repeats: int) -> float:
    """Processor seconds of the fastest pass; the coders use one thread, so this is one undisturbed core's time."""
    times = []
    for _ in range(repeats):
        begin = process_time()
        work()
        times.append(process_time() - begin)
    return min(times)


def _row(coder: Coder, tiles: Sequence[ByteArray], repeats: int) -> dict[str, float]:
    codes = sum(tile.size for tile in tiles)
    payloads = [coder.encode(tile) for tile in tiles]
    pairs = list(zip(payloads, tiles, strict=True))
    for payload, tile in pairs:
        if not (coder.decode(payload, (tile.shape[0], tile.shape[1], tile.shape[2])) == tile).all():
            raise FoldmapError(f"coder {coder.name!r} is not lossless", "report this as a bug")
    encode_s = _fastest_s(lambda: [coder.encode(tile) for tile in tiles], repeats)
    decode_s = _fastest_s(lambda: [coder.decode(p, (t.shape[0], t.shape[1], t.shape[2])) for p, t in pairs], repeats)
    return {
        "payload_bytes": sum(map(len, payloads)),
        "bits_per_code": 8 * sum(map(len, payloads)) / max(codes, 1),
        "model_bytes": sum(array.nbytes for array in coder.to_arrays().values()),
        "encode_codes_per_s": codes / encode_s,
        "decode_codes_per_s": codes / decode_s,
    }


def measure(
    tiles: Sequence[ByteArray],
    *,
    train: Sequence[ByteArray] | None = None,
    coders: dict[str, Coder] | None = None,
    repeats: int = 5,
) -> dict[str, Any]:
    """Sizes, bounds and single-core speeds of the coders on ``tiles``.

    Args:
        tiles: uint8 (G, H, W) codes to be coded, each on its own.
        train: tiles to fit the coders on; without them they are fitted on ``tiles`` themselves, and the result says so.
        coders: fitted coders by name, instead of fitting.
        repeats: the fastest of so many passes is reported.

    Returns:
        ``tiles``, ``codes``, ``active_share``, ``fitted_on`` ("train", "self" or "given"); ``bounds_bytes`` of zero
        order (pooled and per group), order 1 (west) and 2 (west, north), and the context model's own cross-entropy
        (static and adaptive); ``coders``: per name bytes, bits per code, model bytes and codes per second.

    Raises:
        ConfigError: no tiles.
    """
    if not tiles:
        raise ConfigError("no code tiles to measure", "pass at least one")
    fitted = coders or {name: kind.fit(train or tiles) for name, kind in CODERS.items()}
    bounds = {
        "zero_order": zero_order_bits(tiles) / 8,
        "zero_order_per_group": zero_order_bits(tiles, per_group=True) / 8,
        "order_1": conditional_bits(tiles) / 8,
        "order_2": conditional_bits(tiles, order=2) / 8,
    }
    model = fitted.get("context")
    if isinstance(model, ContextModel):
        bounds["context_static"] = sum(model.cross_entropy_bits(t, adaptive=False) for t in tiles) / 8
        bounds["context_adaptive"] = sum(model.cross_entropy_bits(t) for t in tiles) / 8
    codes = sum(tile.size for tile in tiles)
    return {
        "tiles": len(tiles),
        "codes": codes,
        "active_share": sum(int((tile != 0).sum()) for tile in tiles) / max(codes, 1),
        "fitted_on": "given" if coders else "train" if train else "self",
        "bounds_bytes": bounds,
        "coders": {name: _row(coder, tiles, repeats) for name, coder in fitted.items()},
    }
