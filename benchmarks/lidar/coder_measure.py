"""Sizes and speeds of fitted coders on given tiles, against the entropy bounds of their codes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from time import process_time
from typing import Any

import numpy as np

from foldmap.coding.context import ContextModel
from foldmap.coding.registry import Coder
from foldmap.errors import ConfigError, FoldmapError
from foldmap.types import AnyArray, ByteArray


def measure(tiles: Sequence[ByteArray], coders: Mapping[str, Coder], repeats: int = 5) -> dict[str, Any]:
    """Sizes, bounds and single-core speeds of coders.

    Args:
        tiles: uint8 (G, H, W) codes to be coded, each on its own.
        coders: fitted ones by name.
        repeats: the fastest of so many passes is reported.

    Returns:
        ``tiles``, ``codes``, ``active_share``; ``bounds_bytes`` of zero order (pooled and per group), order 1 (west)
        and 2 (west, north), and the context model's own cross-entropy (static and adaptive); ``coders``: per name
        bytes, bits per code, model bytes and codes per second.

    Raises:
        ConfigError: no tiles.
    """
    if not tiles:
        raise ConfigError("no code tiles to measure", "pass at least one")
    bounds = {
        "zero_order": zero_order_bits(tiles) / 8,
        "zero_order_per_group": zero_order_bits(tiles, per_group=True) / 8,
        "order_1": conditional_bits(tiles) / 8,
        "order_2": conditional_bits(tiles, order=2) / 8,
    }
    model = coders.get("context")
    if isinstance(model, ContextModel):
        bounds["context_static"] = sum(model.cross_entropy_bits(t, adaptive=False) for t in tiles) / 8
        bounds["context_adaptive"] = sum(model.cross_entropy_bits(t) for t in tiles) / 8
    codes = sum(tile.size for tile in tiles)
    return {
        "tiles": len(tiles),
        "codes": codes,
        "active_share": sum(int((tile != 0).sum()) for tile in tiles) / max(codes, 1),
        "bounds_bytes": bounds,
        "coders": {name: _row(coder, tiles, repeats) for name, coder in coders.items()},
    }


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


def _fastest_s(work: Callable[[], object], repeats: int) -> float:
    """Processor seconds of the fastest pass; the coders use one thread, so this is one undisturbed core's time."""
    times = []
    for _ in range(repeats):
        begin = process_time()
        work()
        times.append(process_time() - begin)
    return min(times)


def _entropy_bits(counts: AnyArray) -> float:
    """Total bits of outcomes ``counts`` (..., S) at the entropy of each row."""
    wide = counts.astype(np.float64)
    total = wide.sum(axis=-1, keepdims=True)
    share = np.divide(wide, total, out=np.ones_like(wide), where=wide > 0)
    return float(-(wide * np.log2(share)).sum())


def zero_order_bits(tiles: Sequence[ByteArray], *, per_group: bool = False) -> float:
    """Bits of all codes of tiles (G, H, W), drawn independently from one distribution, or from one per group."""
    groups = tiles[0].shape[0] if tiles and per_group else 1
    counts = np.zeros((groups, 256), np.int64)
    for tile in tiles:
        for g in range(groups):
            counts[g] += np.bincount((tile[g] if per_group else tile).ravel(), minlength=256)
    return _entropy_bits(counts)


def conditional_bits(tiles: Sequence[ByteArray], *, order: int = 1) -> float:
    """Bits of all codes given the code to the west (order 1), and the one to the north too (order 2), per group.

    Empirical, so optimistic: the tables' own cost is not counted. Outside the tile counts as 0.
    """
    total = 0.0
    for g in range(tiles[0].shape[0] if tiles else 0):
        size = 1 + max(int(tile[g].max(initial=0)) for tile in tiles)
        counts = np.zeros(size ** (order + 1), np.int64)
        for tile in tiles:
            padded = np.pad(tile[g].astype(np.int64), ((1, 0), (1, 0)))
            index = padded[1:, :-1] * size + padded[1:, 1:]
            if order == 2:
                index = index + padded[:-1, 1:] * size * size
            counts += np.bincount(index.ravel(), minlength=counts.size)
        total += _entropy_bits(counts.reshape(-1, size))
    return total
