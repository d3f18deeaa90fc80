"""Embeddings in few bytes: half precision, 8, 4 or 1 bits a number, or a byte for each part by product quantization.

Every row is coded by itself, so rows can be replaced one by one; only the codebooks of ``pq`` are shared, and lie in
the file as a model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from foldmap.coding.pq import ProductQuantizer, checked_vectors
from foldmap.errors import ConfigError, FoldmapError, MapFormatError, ModelError
from foldmap.types import AnyArray, ByteArray, FloatArray

FORMS = ("float16", "int8", "int4", "1bit", "pq")
MAX_DIMENSION = 1 << 14
MAX_NUMBERS = 1 << 28
_CURE = "the file is damaged; fold the map again"


@dataclass(frozen=True)
class VectorCodec:
    """How embeddings of `dimension` numbers are stored, in one of `FORMS`.

    ``int8`` and ``int4`` scale each row to its largest number (2 bytes more a row); ``pq`` has a quantizer, see `fit`.
    """

    form: str
    dimension: int
    quantizer: ProductQuantizer | None = None

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise ConfigError(f"embeddings cannot be stored as {self.form!r}", f"one of {', '.join(FORMS)}")
        if not 1 <= self.dimension <= MAX_DIMENSION:
            raise ConfigError(f"embeddings of {self.dimension} numbers", f"1 to {MAX_DIMENSION}")
        if (self.form == "pq") != (self.quantizer is not None):
            raise ConfigError(f"the form {self.form!r} and codebooks do not go together", "use VectorCodec.fit")
        if self.quantizer is not None and self.quantizer.dimension != self.dimension:
            raise ConfigError("the codebooks are of another dimension", "fit them to these embeddings")

    @staticmethod
    def fit(form: str, embeddings: FloatArray, *, parts: int = 64, seed: int = 0) -> VectorCodec:
        """A codec for these embeddings, float32 (N, D); only ``pq`` looks at them (M = `parts`, a divisor of D)."""
        if form != "pq":
            return VectorCodec(form, embeddings.shape[1])
        fitted = ProductQuantizer.fit(embeddings, parts, seed=seed)
        return VectorCodec.from_model(VectorCodec("pq", fitted.dimension, fitted).model(), embeddings.shape[1])

    @property
    def row_bytes(self) -> int:
        """Bytes of one embedding."""
        if self.quantizer is not None:
            return self.quantizer.parts
        d = self.dimension
        return {"float16": 2 * d, "int8": 2 + d, "int4": 2 + -(-d // 2), "1bit": -(-d // 8)}[self.form]

    def encode(self, embeddings: FloatArray) -> bytes:
        """Store rows of the codec's dimension (else ModelError); finite ones (else MapInputError)."""
        if embeddings.ndim == 2 and not len(embeddings):
            return b""
        rows = checked_vectors(embeddings)
        if rows.shape[1] != self.dimension:
            raise ModelError(f"embeddings of {rows.shape[1]} numbers where {self.dimension} belong")
        if self.quantizer is not None:
            return self.quantizer.encode(rows).tobytes()
        if self.form == "float16":
            return rows.astype("<f2").tobytes()
        if self.form == "1bit":
            return np.packbits(rows >= 0, axis=1).tobytes()
        most = 127 if self.form == "int8" else 7
        scale = np.maximum(np.abs(rows).max(axis=1) / most, 1e-6).astype("<f2")
        levels = np.clip(np.rint(rows / scale.astype(np.float32)[:, None]), -most, most).astype(np.int8)
        body: ByteArray = levels.view(np.uint8) if self.form == "int8" else _nibbles(levels)
        return np.concatenate([scale[:, None].view(np.uint8), body], axis=1).tobytes()

    def decode(self, payload: bytes, count: int) -> FloatArray:
        """Rows as stored, made unit, float32 (count, D); MapFormatError where `encode` does not write such bytes."""
        if count * self.dimension > MAX_NUMBERS or len(payload) != count * self.row_bytes:
            raise MapFormatError(f"{len(payload)} bytes are not {count} embeddings", _CURE)
        codes = np.frombuffer(payload, np.uint8).reshape(count, self.row_bytes)
        rows = self._numbers(codes)
        length = np.linalg.norm(rows, axis=1, keepdims=True)
        if not np.isfinite(length).all() or (length == 0).any():
            raise MapFormatError("an embedding is not finite, or zero", _CURE)
        unit: FloatArray = rows / length
        return unit

    def _numbers(self, codes: ByteArray) -> FloatArray:
        if self.quantizer is not None:
            try:
                return self.quantizer.decode(codes)
            except ModelError as error:
                raise MapFormatError(f"embeddings do not fit their codebooks: {error.message}", _CURE) from error
        if self.form == "float16":
            return codes.view("<f2").astype(np.float32)
        if self.form == "1bit":
            return np.unpackbits(codes, axis=1, count=self.dimension).astype(np.float32) * 2 - 1
        scale = np.ascontiguousarray(codes[:, :2]).view("<f2").astype(np.float32)
        if self.form == "int8":
            levels: FloatArray = codes[:, 2:].view(np.int8).astype(np.float32)
        else:
            halves = np.stack([codes[:, 2:] & 15, codes[:, 2:] >> 4], 2).reshape(len(codes), -1)
            levels = halves[:, : self.dimension].astype(np.float32) - np.float32(8)
        return levels * scale

    def model(self) -> bytes:
        """The codebooks of ``pq`` as safetensors (half precision), for the file."""
        if self.quantizer is None:
            return b""
        return save({"codebooks": self.quantizer.codebooks.astype(np.float16)})

    @staticmethod
    def from_model(data: bytes, dimension: int) -> VectorCodec:
        """The ``pq`` codec of `model` (MapFormatError: bytes that it does not write, or of another dimension)."""
        try:
            books = load(data)["codebooks"]
            if books.dtype != np.float16 or books.ndim != 3 or books.shape[0] * books.shape[2] != dimension:
                raise MapFormatError("the codebooks of the embeddings have another shape", _CURE)
            return VectorCodec("pq", dimension, ProductQuantizer(books.astype(np.float32)))
        except (SafetensorError, KeyError, ValueError, FoldmapError) as error:
            raise MapFormatError(f"the codebooks of the embeddings cannot be read: {error}", _CURE) from error


def _nibbles(levels: AnyArray) -> ByteArray:
    """-7..7 as 1..15, two a byte, the first in the low half."""
    shifted = (levels + 8).astype(np.uint8)
    if shifted.shape[1] % 2:
        shifted = np.pad(shifted, ((0, 0), (0, 1)))
    return (shifted[:, 0::2] + 16 * shifted[:, 1::2]).astype(np.uint8)
