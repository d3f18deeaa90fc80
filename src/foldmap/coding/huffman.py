"""Canonical, length-limited Huffman codes."""

from __future__ import annotations

import numpy as np

from foldmap.errors import ModelError
from foldmap.types import AnyArray

MAX_LENGTH = 14


def code_lengths(counts: AnyArray, limit: int = MAX_LENGTH) -> AnyArray:
    """Optimal codeword lengths of at most ``limit`` bits, uint8 (S,), by package-merge.

    Args:
        counts: int (S,), how often each symbol occurs; every symbol gets a codeword (a count of 0 counts as 1).
        limit: longest codeword; ``2^limit`` must be at least S.
    """
    weights = np.maximum(np.asarray(counts, np.int64), 1)
    size = weights.size
    if size == 1:
        return np.ones(1, np.uint8)
    if size > 1 << limit:
        raise ModelError(f"{size} symbols do not fit codewords of {limit} bits")
    order = np.argsort(weights, kind="stable")
    coins = [(int(weights[s]), np.eye(1, size, int(s), dtype=np.int64)[0]) for s in order]
    packages: list[tuple[int, AnyArray]] = []
    for _ in range(limit):
        merged = sorted(coins + packages, key=lambda coin: coin[0])
        packages = [(a[0] + b[0], a[1] + b[1]) for a, b in zip(merged[::2], merged[1::2], strict=False)]
    lengths = sum((package[1] for package in packages[: size - 1]), np.zeros(size, np.int64))
    result: AnyArray = lengths.astype(np.uint8)
    return result


def check_lengths(lengths: AnyArray, what: str) -> None:
    """Refuse lengths that are not those of a complete prefix code (a lone symbol has length 1)."""
    wide = lengths.astype(np.int64)
    if wide.size == 1 and wide[0] == 1:
        return
    if (
        wide.size < 2
        or wide.min() < 1
        or wide.max() > MAX_LENGTH
        or int((1 << (MAX_LENGTH - wide)).sum()) != 1 << MAX_LENGTH
    ):
        raise ModelError(f"the {what} lengths are not those of a complete prefix code", "the model is damaged")


def codewords(lengths: AnyArray) -> AnyArray:
    """Canonical codewords, int64 (S,): counted up in order of (length, symbol), as in DEFLATE."""
    words = np.zeros(lengths.size, np.int64)
    word, previous = 0, 0
    for symbol in np.lexsort((np.arange(lengths.size), lengths)):
        word <<= int(lengths[symbol]) - previous
        previous = int(lengths[symbol])
        words[symbol] = word
        word += 1
    return words


def lookup(lengths: AnyArray) -> AnyArray:
    """Decoding table, int32 (2^MAX_LENGTH,): ``symbol << 8 | length`` by the next MAX_LENGTH bits; 0 if no codeword."""
    table = np.zeros(1 << MAX_LENGTH, np.int32)
    for symbol, (word, length) in enumerate(zip(codewords(lengths), lengths.astype(int), strict=True)):
        first = int(word) << (MAX_LENGTH - length)
        table[first : first + (1 << (MAX_LENGTH - length))] = symbol << 8 | length
    return table
