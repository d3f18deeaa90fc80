"""Lossless coding of the small integers that a transform leaves: adaptive, and good from the first row on.

Each coefficient's chances start where its spread in steps says they should if it is Laplacian, and what rows have in
common (`Curvature`) was learned from other descriptors, so that a map of a thousand points pays next to nothing for
learning; from there everything follows the rows. What a chance is computed from are integers only, so every machine
reads the same rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Context, Decimal
from functools import cache

import numpy as np

from foldmap.coding import mixing
from foldmap.coding.rangecoder import DECODE, ENCODE
from foldmap.errors import LimitError, MapFormatError, ModelError
from foldmap.types import AnyArray, ByteArray, IntArray
from foldmap.visual.codes import coefficient_kernel as kernel

MAX_RANK = 512
MAX_PRODUCTS = 32
MAX_COEFFICIENTS = 1 << 28  # rows times coefficients of one stream; a reader takes three bytes for each
UNIT = 65536  # spreads and steps are in 1 / 65536, 1 to 16 units of length
MAX_UNITS = 1 << 20
_SHIFT_BITS = 20  # what a stored shift of 1 is in the kernel: 1 / 16 of a nat
_PRIOR = 20
_RATE = 3
_NAT = 256
_DEAD_ZONE = 141  # 0.55 in 1 / 256: where zero ends, in steps
_CURE = "use a basis of foldmap"


@dataclass(frozen=True)
class Curvature:
    """What the first m coefficients of a row tell of the others. Raises `ModelError`: not such arrays."""

    # int8 (m (m + 1) / 2, R), -127..127: what the product of coefficients i <= k, in row k (k + 1) / 2 + i, adds to
    # coefficient j > k, in `scale`
    bend: AnyArray
    scale: IntArray  # int64 (R,), the unit of each column of `bend` in 1 / 65536, below 65536
    shift: AnyArray  # int8 (`kernel.SHIFTS`,), log-odds that the classes of decisions start with in 1 / 16 nat; or (0,)

    def __post_init__(self) -> None:
        bend, rank = self.bend, len(self.scale)
        if bend.dtype != np.int8 or bend.ndim != 2 or bend.shape != (triangle(self.products), rank):
            raise ModelError(f"the basis' bend is {bend.dtype} {bend.shape} for {rank} coefficients", _CURE)
        if self.products > min(rank, MAX_PRODUCTS):
            raise ModelError(f"the basis multiplies {self.products} of {rank} coefficients", _CURE)
        if bend.size and int(bend.min()) < -127:
            raise ModelError("the basis' bend leaves -127..127", _CURE)
        whole = self.scale.dtype == np.int64 and self.scale.ndim == 1
        if not (whole and (self.scale >= 0).all() and (self.scale < UNIT).all()):
            raise ModelError("the basis' bend scale is not within 0..65535", _CURE)
        if self.shift.dtype != np.int8 or self.shift.shape not in ((0,), (kernel.SHIFTS,)):
            raise ModelError(f"the basis' shifts are {self.shift.dtype} {self.shift.shape}", _CURE)

    @classmethod
    def flat(cls, rank: int) -> Curvature:
        """The first coefficients tell nothing."""
        return cls(np.zeros((0, rank), np.int8), np.zeros(rank, np.int64), np.zeros(0, np.int8))

    @property
    def products(self) -> int:
        """How many first coefficients are multiplied, m."""
        return (math.isqrt(8 * len(self.bend) + 1) - 1) // 2

    def first(self, rank: int) -> Curvature:
        """The same for the first ``rank`` coefficients."""
        rows = triangle(min(self.products, rank))
        return Curvature(np.ascontiguousarray(self.bend[:rows, :rank]), self.scale[:rank].copy(), self.shift)


def triangle(count: int) -> int:
    """Products of ``count`` numbers with each other and themselves."""
    return count * (count + 1) // 2


@dataclass(frozen=True)
class CoefficientCoder:
    """Codes rows of R integers: of a `Basis`, which has checked them, and of steps in its range."""

    spread: IntArray  # int64 (R,), standard deviation of each coefficient, in `UNIT`, 1..`MAX_UNITS`
    step: IntArray  # int64 (R,), size of its quantization step, alike; at least 16
    curvature: Curvature  # of the same R coefficients

    @property
    def rank(self) -> int:
        """R."""
        return len(self.spread)

    def encode(self, symbols: AnyArray) -> bytes:
        """Bytes of integers (N, R), at most `MAX_COEFFICIENTS`, of magnitude at most `kernel.MAX_MAGNITUDE`."""
        rows = np.array(symbols, dtype=np.int16, order="C")
        if not rows.size:
            return b""
        payload = self._room(rows)
        size = self._walk(ENCODE, rows, np.zeros(rows.shape, np.int8), payload, self._shifts())
        return payload[:size].tobytes()

    def decode(self, payload: bytes, count: int) -> tuple[AnyArray, AnyArray]:
        """Integers int16 (count, R), and how far they lean.

        A lean, int8 (count, R), is where a row's first coefficients predict one, in 1 / `kernel.LEAN_ONE` of its step.
        Raises `MapFormatError`: bytes that `encode` does not write for so many rows; truncated and extended ones
        always; `LimitError`: more rows than a reader accepts, or than such a payload can hold.
        """
        if count < 0 or count * self.rank > MAX_COEFFICIENTS:
            raise LimitError(f"{count} rows of {self.rank} coefficients are too many", "the file is damaged")
        # the cheapest decision costs log2(65536 / 65520) bits, more than 1 / 2880
        if count * self.rank > 8 * (len(payload) + 8) * 2880:
            raise LimitError(f"{len(payload)} bytes cannot hold {count} rows", "the file is damaged")
        symbols, leans = np.zeros((count, self.rank), np.int16), np.zeros((count, self.rank), np.int8)
        if not count:
            if payload:
                raise MapFormatError(f"no coefficients in {len(payload)} bytes", "the file is damaged")
            return symbols, leans
        held = np.frombuffer(payload, np.uint8).copy()
        if not len(held) or self._walk(DECODE, symbols, leans, held, self._shifts()) != 0:
            raise MapFormatError(f"{len(payload)} bytes of coded coefficients are damaged", "fold the map again")
        return symbols, leans

    def learned_shift(self, symbols: AnyArray) -> AnyArray:
        """The shifts after coding ``symbols``, int8 (`kernel.SHIFTS`,): a `Curvature` starts better with them."""
        rows, shift = np.array(symbols, dtype=np.int16, order="C"), self._shifts()
        if rows.size:
            self._walk(ENCODE, rows, np.zeros(rows.shape, np.int8), self._room(rows), shift)
        whole: IntArray = (shift + (1 << (_SHIFT_BITS - 1))) >> _SHIFT_BITS
        return np.clip(whole, -127, 127).astype(np.int8)

    def _room(self, rows: AnyArray) -> ByteArray:
        """A buffer for the worst: 12 bits a decision, so two bytes for each zero, sign and unit, and an escape's 30."""
        units = np.abs(rows.astype(np.int32))
        escapes = int(np.count_nonzero(units >= kernel.UNARY))
        return np.zeros(64 + 2 * (2 * rows.size + int(np.minimum(units, kernel.UNARY).sum())) + 4 * escapes, np.uint8)

    def _shifts(self) -> IntArray:
        stored = self.curvature.shift if len(self.curvature.shift) else np.zeros(kernel.SHIFTS, np.int8)
        return stored.astype(np.int64) << _SHIFT_BITS

    def _walk(self, mode: int, symbols: AnyArray, leans: AnyArray, payload: ByteArray, shift: IntArray) -> int:
        steps_a_spread = (self.step << 8) // self.spread
        width, expected = _classes(steps_a_spread)
        square = np.minimum((self.spread * self.spread) >> 22, kernel.MAX_SQUARE)
        turn = (self.curvature.scale << 17) // self.step
        size = kernel.walk(
            mode, symbols, leans, np.stack([width, expected, self.step, square, turn]),
            self.curvature.bend.astype(np.int32), np.zeros(self.rank, np.int32),
            np.zeros(self.curvature.products, np.int64), _RATE, (*_start(steps_a_spread), shift), _fixed(),
            np.zeros(4, np.uint64), payload,
        )  # fmt: skip
        return int(size)


@cache
def _fixed() -> tuple[AnyArray, AnyArray, AnyArray]:
    """`mixing.tables`, with chances that remember more outcomes."""
    squash, stretch, _ = mixing.tables()
    return squash, stretch, np.array([65536 * 2 // (2 * i + 3) for i in range(kernel.MEMORY + 1)], np.int64)


@cache
def _decay() -> IntArray:
    """exp(-i / 256) in 1 / 2^32, from correctly rounded decimal arithmetic: int64 (4096,)."""
    exact = Context(prec=40)
    values = [int(exact.multiply(exact.exp(Decimal(-i) / _NAT), Decimal(1 << 32))) for i in range(4096)]
    return np.minimum(np.array(values, np.int64), (1 << 32) - (1 << 18))


def _nonzero(steps_a_spread: IntArray) -> tuple[IntArray, IntArray]:
    """Chances that a Laplacian leaves the dead zone, and that it reaches a step further, in 1 / 2^32.

    Its density falls by e within spread / sqrt(2), and sqrt(2) is 181 / 128 nearly enough.
    """
    nats = (steps_a_spread * 181) >> 7
    return _decay()[np.minimum((nats * _DEAD_ZONE) >> 8, 4095)], _decay()[np.minimum(nats, 4095)]


def _classes(steps_a_spread: IntArray) -> tuple[IntArray, IntArray]:
    """Width class of each coefficient, two an octave, and its expected magnitude in 1 / 256."""
    edges = np.array([(4 << (k // 2)) * (3 if k % 2 else 2) for k in range(kernel.WIDTHS - 1)], np.int64)
    width = np.searchsorted(edges, steps_a_spread, side="right").astype(np.int64)
    leave, further = _nonzero(steps_a_spread)
    # A geometric tail: leave / (1 - further).
    return width, np.maximum((leave << 8) // ((1 << 32) - further), 1)


def _start(steps_a_spread: IntArray) -> tuple[IntArray, IntArray]:
    """Chances and how much they count at the start of a stream."""
    rank, unary = len(steps_a_spread), kernel.UNARY + 1
    leave, further = _nonzero(steps_a_spread)
    chance = np.repeat(further[:, None], unary + 1, axis=1)
    chance[:, 0] = leave
    chance[:, unary] = 1 << 31
    return chance.ravel(), np.full(rank * (unary + 1), _PRIOR, np.int64)
