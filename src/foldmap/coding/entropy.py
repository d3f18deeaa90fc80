"""Entropy bounds of codes in bits, to report a coder's rate against."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from foldmap.types import AnyArray, ByteArray


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
