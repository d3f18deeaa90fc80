"""The paper's lossless coder (section 3.2): Huffman over the one-hot symbols, run-length over the flattened code map.

The paper gives two sentences and an example, ``5555558`` -> ``5 6 8 1``: pairs of a symbol and its run length. Read as
favourably as that allows: the map is flattened group by group, row by row; each run is one Huffman codeword for its
symbol and one for its length class (lengths ``2^c .. 2^(c+1) - 1``, then ``c`` plain bits), with one table for the
symbols and two for the length classes, of runs of nothing (symbol 0) and of active symbols. The dictionary is fitted
on all the tiles of a model. The bitstream is specified in ``docs/coders.md``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from foldmap.coding.checks import checked_array, checked_codes, checked_payload, checked_shape, header_numbers
from foldmap.coding.jit import inner_loop, loop
from foldmap.errors import ConfigError, MapFormatError, ModelError
from foldmap.types import AnyArray, ByteArray

FORMAT = 1
CLASSES = 27  # run lengths up to 2^27 - 1, more than a tile may hold
MAX_LENGTH = 14


def code_lengths(counts: AnyArray, limit: int = MAX_LENGTH) -> AnyArray:
    """Optimal codeword lengths of at most ``limit`` bits, uint8 (S,), for counts (S,), by package-merge.

    Every symbol gets a codeword (a count of 0 counts as 1).
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
    return np.asarray(lengths.astype(np.uint8))


def _check_lengths(lengths: AnyArray, what: str) -> None:
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


def _codewords(lengths: AnyArray) -> AnyArray:
    """Canonical codewords, int64 (S,): counted up in order of (length, symbol), as in DEFLATE."""
    words = np.zeros(lengths.size, np.int64)
    word, previous = 0, 0
    for symbol in np.lexsort((np.arange(lengths.size), lengths)):
        word <<= int(lengths[symbol]) - previous
        previous = int(lengths[symbol])
        words[symbol] = word
        word += 1
    return words


def _lookup(lengths: AnyArray) -> AnyArray:
    """Decoding table, int32 (2^MAX_LENGTH,): ``symbol << 8 | length`` by the next MAX_LENGTH bits; 0 if no codeword."""
    table = np.zeros(1 << MAX_LENGTH, np.int32)
    for symbol, (word, length) in enumerate(zip(_codewords(lengths), lengths.astype(int), strict=True)):
        first = int(word) << (MAX_LENGTH - length)
        table[first : first + (1 << (MAX_LENGTH - length))] = symbol << 8 | length
    return table


@inner_loop
def _run(codes, at):  # type: ignore[no-untyped-def]
    """Length of the run that begins at ``at``, and its length class."""
    length, order = 1, 0
    while at + length < codes.size and codes[at + length] == codes[at]:
        length += 1
    while length >> (order + 1):
        order += 1
    return length, order


@loop
def _runs(codes, symbols, classes):  # type: ignore[no-untyped-def]
    """Count runs by symbol, and length classes by (active, class)."""
    at = 0
    while at < codes.size:
        length, order = _run(codes, at)
        symbols[codes[at]] += 1
        classes[np.int64(codes[at] != 0), order] += 1
        at += length


@inner_loop
def _put(payload, at, word, length):  # type: ignore[no-untyped-def]
    """Write ``length`` bits, most significant first, into a zeroed payload from bit ``at``; returns the next bit."""
    left = length
    while left > 0:
        room = 8 - (at & 7)
        take = min(room, left)
        part = (word >> (left - take)) & ((1 << take) - 1)
        payload[at >> 3] |= np.uint8(part << (room - take))
        at += take
        left -= take
    return at


@loop
def _encode(codes, words, lengths, class_words, class_lengths, payload):  # type: ignore[no-untyped-def]
    at, bit = 0, 0
    while at < codes.size:
        symbol, active = codes[at], np.int64(codes[at] != 0)
        length, order = _run(codes, at)
        bit = _put(payload, bit, words[symbol], lengths[symbol])
        bit = _put(payload, bit, class_words[active, order], class_lengths[active, order])
        bit = _put(payload, bit, length, order)  # the bits below the leading one
        at += length
    return (bit + 7) >> 3


@inner_loop
def _peek(payload, at):  # type: ignore[no-untyped-def]
    """The next 32 bits from bit ``at``, zeros past the end."""
    first = at >> 3
    window = np.int64(0)
    for k in range(5):
        window <<= 8
        if first + k < payload.size:
            window |= np.int64(payload[first + k])
    return (window >> (8 - (at & 7))) & 0xFFFFFFFF


@loop
def _decode(payload, table, class_tables, codes):  # type: ignore[no-untyped-def]
    """Fill ``codes``; False for bytes that no encoder writes."""
    at, bit, before = 0, 0, -1
    while at < codes.size:
        entry = table[_peek(payload, bit) >> (32 - MAX_LENGTH)]
        symbol = entry >> 8
        bit += entry & 255
        class_entry = class_tables[np.int64(symbol != 0), _peek(payload, bit) >> (32 - MAX_LENGTH)]
        order = class_entry >> 8
        bit += class_entry & 255
        length = (1 << order) | ((_peek(payload, bit) >> 1) >> (31 - order))
        bit += order
        if entry == 0 or class_entry == 0 or symbol == before or length > codes.size - at or bit > 8 * payload.size:
            return False
        end = at + length
        while at < end:
            codes[at] = symbol
            at += 1
        before = symbol
    spare = 8 * payload.size - bit
    return spare < 8 and (spare == 0 or np.int64(payload[payload.size - 1]) & ((1 << spare) - 1) == 0)


@dataclass(frozen=True)
class HuffmanRleModel:
    """A fitted dictionary of codes 0..symbols."""

    symbols: int  # channels per group
    symbol_lengths: AnyArray  # uint8 (symbols + 1,), codeword lengths of the symbols
    class_lengths: AnyArray  # uint8 (2, CLASSES), of the length classes of inactive and active runs
    _runtime: dict[str, Any] = field(init=False, default_factory=dict, repr=False, compare=False)

    name: ClassVar[str] = "huffman-rle"
    format: ClassVar[int] = FORMAT

    def __post_init__(self) -> None:
        if not 1 <= self.symbols <= 255 or self.symbol_lengths.shape != (self.symbols + 1,):
            raise ModelError(f"a Huffman dictionary of {self.symbol_lengths.size} symbols, not {self.symbols} + 1")
        _check_lengths(self.symbol_lengths, "symbol")
        for row in self.class_lengths:
            _check_lengths(row, "run class")
        self._runtime.update(
            words=_codewords(self.symbol_lengths),
            table=_lookup(self.symbol_lengths),
            class_words=np.stack([_codewords(row) for row in self.class_lengths]),
            class_tables=np.stack([_lookup(row) for row in self.class_lengths]),
        )

    @classmethod
    def fit(cls, tiles: Sequence[ByteArray], symbols: int | None = None) -> HuffmanRleModel:
        """Dictionary of tiles uint8 (G, H, W); every symbol and run length gets a codeword, seen or not."""
        if not tiles:
            raise ConfigError("no code tiles to fit a Huffman dictionary on", "pass at least one")
        symbols = symbols or max(1, max(int(t.max(initial=0)) for t in tiles))
        counts, classes = np.zeros(symbols + 1, np.int64), np.zeros((2, CLASSES), np.int64)
        for tile in tiles:
            _runs(checked_codes(tile, symbols).ravel(), counts, classes)
        return cls(symbols, code_lengths(counts), np.stack([code_lengths(row) for row in classes]))

    def encode(self, codes: ByteArray) -> bytes:
        """Payload of one tile uint8 (G, H, W); errors as for the context coder."""
        flat = checked_codes(codes, self.symbols).ravel()
        seen, classes = np.zeros(self.symbols + 1, np.int64), np.zeros((2, CLASSES), np.int64)
        _runs(flat, seen, classes)
        own = np.arange(CLASSES) + self.class_lengths.astype(np.int64)
        bits = int((seen * self.symbol_lengths).sum() + (classes * own).sum())
        payload = np.zeros((bits + 7) // 8, np.uint8)
        words, class_words = self._runtime["words"], self._runtime["class_words"]
        _encode(flat, words, self.symbol_lengths, class_words, self.class_lengths, payload)
        return payload.tobytes()

    def decode(self, payload: bytes, shape: tuple[int, int, int]) -> ByteArray:
        """Codes uint8 (G, H, W); MapFormatError for bytes that ``encode`` does not write, LimitError for the shape."""
        codes = np.zeros(checked_shape(shape), np.uint8)
        if codes.size == 0 and not payload:
            return codes
        if not _decode(checked_payload(payload), self._runtime["table"], self._runtime["class_tables"], codes.ravel()):
            raise MapFormatError(f"a Huffman-coded payload of {len(payload)} bytes is damaged", "fold the map again")
        return codes

    def to_arrays(self) -> dict[str, AnyArray]:
        """The dictionary as small arrays, for a file."""
        numbers = np.array([FORMAT, self.symbols], np.int32)
        return {"header": numbers, "symbol_lengths": self.symbol_lengths, "class_lengths": self.class_lengths}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, AnyArray]) -> HuffmanRleModel:
        """The dictionary that ``to_arrays`` wrote; ModelError when malformed or of another format."""
        version, symbols = header_numbers(arrays, 2)
        if version != FORMAT:
            raise ModelError(f"huffman-rle format {version}, this version reads {FORMAT}", "update foldmap")
        lengths = checked_array(arrays, "symbol_lengths", np.uint8, (None,))
        return cls(symbols, lengths, checked_array(arrays, "class_lengths", np.uint8, (2, CLASSES)))
