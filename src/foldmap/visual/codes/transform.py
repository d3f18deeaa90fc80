"""Descriptors as a few quantized coefficients in a known basis: the default codec of the visual layer.

    descriptor (D) --basis--> coefficients --dead-zone quantization--> integers --adaptive range coder--> 3 to 10 bytes
    bytes --range coder--> integers --a step each, zeros at half their prediction--> basis --> unit descriptor

Nothing has to be learned from a map, nor stored beside its points' bytes, where a standard basis is at hand.
"""

import math
from functools import cached_property
from typing import Any

import numpy as np

from foldmap.errors import ConfigError, LimitError, MapFormatError, MapInputError, ModelError
from foldmap.types import AnyArray, DoubleArray, FloatArray
from foldmap.visual.codes.basis import RATIO_ONE, Basis
from foldmap.visual.codes.coefficient_coder import MAX_UNITS, UNIT, CoefficientCoder
from foldmap.visual.codes.coefficient_kernel import LEAN_ONE, MAX_MAGNITUDE

MIN_STEP, MAX_STEP = 1 / 512, 1.0
MAX_VALUES = 1 << 28  # descriptors times their dimension in one payload; a reader takes four bytes for each
_DEAD_ZONE = 0.55  # magnitude in steps below which a coefficient becomes zero; an encoder's choice
_USED_STEPS = 8  # a coefficient whose step is larger than so many spreads is never told
_LEAN_SHARE, _LEAN_MOST = 0.5, 0.4
_INSIDE = np.clip(
    np.arange(256, dtype=np.uint8).view(np.int8).astype(np.float32) * np.float32(_LEAN_SHARE / LEAN_ONE),
    -_LEAN_MOST,
    _LEAN_MOST,
)
_CHUNK = 1 << 10  # rows that stay in the cache
_SPAN_MOST = 0.8  # of the dimensions: a span of more is not worth its own numbers


class Transform:
    """Codes unit descriptors with a basis and a step. Raises `ConfigError`: a step out of range.

    Args:
        basis: of the descriptors' feature.
        step: quantization step of the widest coefficient, 1/512..1; 0.15 spends about 3, 0.1 about 5, 0.06 about 9
            bytes a SIFT descriptor. Rounded to 1 / 65536 (`step` says what is used; store that).
        standard: the basis is one of the format's own, which files name instead of holding it.
    """

    name = "transform"

    def __init__(self, basis: Basis, step: float, *, standard: bool = False) -> None:
        if not (math.isfinite(step) and MIN_STEP <= step <= MAX_STEP):
            raise ConfigError(f"a quantization step of {step!r}", f"take {MIN_STEP:g} to {MAX_STEP:g}")
        self.basis, self.dimension, self._standard = basis, basis.dimension, standard
        units = round(step * UNIT)
        self.step = units / UNIT
        step_units = np.clip((units * basis.step_ratio.astype(np.int64)) // RATIO_ONE, 16, MAX_UNITS)
        told = np.flatnonzero(step_units <= _USED_STEPS * basis.spread)
        used = int(told[-1]) + 1 if len(told) else 1
        self.coder = CoefficientCoder(basis.spread[:used], step_units[:used], basis.curvature.first(used))
        self.steps: DoubleArray = step_units[:used] / UNIT

    @cached_property
    def span(self) -> FloatArray | None:
        """Orthonormal columns float32 (D, R) that all decoded descriptors are sums of; None where that saves little."""
        if self.coder.rank + 1 > _SPAN_MOST * self.dimension:
            return None
        known = np.column_stack([self.basis.centre, self.basis.vectors[:, : self.coder.rank]])
        return np.ascontiguousarray(np.linalg.qr(known.astype(np.float64))[0], dtype=np.float32)

    def parameters(self) -> dict[str, Any]:
        """The basis by name, or that the file holds it, and the step."""
        return {"codec": self.name, "step": self.step, "basis": self.basis.name if self._standard else "own"}

    def model(self) -> bytes | None:
        """The basis, unless it is one of the format's own."""
        return None if self._standard else self.basis.to_bytes()

    def encode(self, descriptors: AnyArray) -> bytes:
        """Bytes of unit descriptors (N, D); a row of zeros decodes to a unit vector, too."""
        return self.coder.encode(self.quantize(descriptors))

    def quantize(self, descriptors: AnyArray) -> AnyArray:
        """The integers int16 (N, R) that `encode` stores.

        Raises `MapInputError`: values that are not finite, or far from unit length; `ModelError`: another dimension
        than the basis'; `LimitError`: more than `MAX_VALUES` values.
        """
        if descriptors.ndim != 2 or descriptors.shape[1] != self.dimension:
            what = f"descriptors of shape {descriptors.shape} do not fit a basis of {self.dimension} dimensions"
            raise ModelError(what, "take the basis of this feature")
        if descriptors.size > MAX_VALUES:
            raise LimitError(f"{len(descriptors)} descriptors are too many for one payload", "split the map")
        symbols = np.zeros((len(descriptors), self.coder.rank), np.int16)
        for first in range(0, len(descriptors), _CHUNK):
            rows = np.asarray(descriptors[first : first + _CHUNK], np.float64)
            if not np.isfinite(rows).all():
                bad = first + int(np.argwhere(~np.isfinite(rows))[0, 0])
                raise MapInputError(f"descriptor {bad} has NaN or infinite values", "recompute or drop it")
            if len(rows) and np.square(rows).sum(axis=1).max() > 1.1:
                raise MapInputError("descriptors are longer than one", "divide each by its length")
            scaled = self.basis.analyse(rows)[:, : self.coder.rank] / self.steps
            whole = np.minimum(np.floor(np.abs(scaled) + (1 - _DEAD_ZONE)), MAX_MAGNITUDE)
            symbols[first : first + _CHUNK] = np.copysign(whole, scaled)
        return symbols

    def decode(self, payload: bytes, count: int) -> FloatArray:
        """Unit descriptors float32 (count, D).

        A row that would be zero (only a basis without a mean can give one) becomes the basis' first axis. Raises
        `MapFormatError`: bytes that `encode` does not write for so many descriptors; `LimitError`: more descriptors
        than a reader accepts, or than the payload can hold.
        """
        return self._decoded(payload, count, self._known)

    def looks(self, payload: bytes, count: int) -> FloatArray:
        """The same in the `span`, rows (count, R), where there is one; errors as `decode`."""
        return self._decoded(payload, count, self._known if self.span is None else self._known @ self.span)

    @cached_property
    def _known(self) -> FloatArray:
        """The mean of descriptors and what each coefficient adds to it, float32 (1 + R, D)."""
        return np.vstack([self.basis.centre, self.basis.vectors[:, : self.coder.rank].T])

    def _decoded(self, payload: bytes, count: int, known_of: FloatArray) -> FloatArray:
        """Unit rows in the frame that the mean and what coefficients add are given in, float32 (1 + R, W)."""
        if count * self.dimension > MAX_VALUES:
            raise LimitError(f"{count} descriptors are too many for one payload", "the file is damaged")
        symbols, leans = self.coder.decode(payload, count)
        centre, vectors = known_of[0], np.ascontiguousarray(known_of[1:])
        steps = self.steps.astype(np.float32)
        decoded = np.empty((count, len(centre)), np.float32)
        squares = np.empty((min(count, _CHUNK), len(centre)), np.float32)
        for first in range(0, count, _CHUNK):
            rows = slice(first, first + _CHUNK)
            known = symbols[rows].astype(np.float32)
            # where nothing is told, what its lean says
            np.copyto(known, _INSIDE[leans[rows].view(np.uint8)], where=known == 0)
            known *= steps
            near = np.matmul(known, vectors, out=decoded[rows])
            near += centre
            length = np.sqrt(np.square(near, out=squares[: len(near)]).sum(axis=1, keepdims=True))
            if length.min() <= 1e-6:
                near[:] = np.where(length > 1e-6, near, vectors[0] / np.linalg.norm(vectors[0]))
                length = np.linalg.norm(near, axis=1, keepdims=True)
            near /= length
        if not np.isfinite(decoded).all():
            raise MapFormatError("coded descriptors leave the range of numbers", "fold the map again")
        return decoded
