"""The ways to store a descriptor, behind one face: transform codes, product codes with or without a decoder, bytes."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from foldmap.errors import ConfigError, LimitError, MapFormatError, ModelError
from foldmap.types import ByteArray, FloatArray
from foldmap.visual.codes.basis import Basis, basis_named
from foldmap.visual.codes.transform import MAX_VALUES, Transform
from foldmap.visual.dpq.serialize import StoredLayer
from foldmap.visual.source import unit_descriptors

__all__ = ["DescriptorCodec", "Product", "Raw", "Transform", "raw_for", "read_codec"]


class DescriptorCodec(Protocol):
    """Turns unit descriptors into bytes and back."""

    @property
    def name(self) -> str:
        """One of "transform", "pq", "dpqed", "raw"."""

    @property
    def dimension(self) -> int:
        """Length of a descriptor."""

    @property
    def span(self) -> FloatArray | None:
        """Orthonormal columns float32 (D, R) that all decoded descriptors are sums of; None where that saves little."""

    def encode(self, descriptors: FloatArray) -> bytes:
        """Code float32 (N, D) unit rows."""

    def decode(self, payload: bytes, count: int) -> FloatArray:
        """Decode float32 (count, D) unit rows; `MapFormatError` for bytes that `encode` does not write."""

    def looks(self, payload: bytes, count: int) -> FloatArray:
        """The same as rows (count, R) of the `span`, where there is one: cosines are the same, for less."""

    def parameters(self) -> dict[str, Any]:
        """What a layer's parameters say of it; JSON values."""

    def model(self) -> bytes | None:
        """What the file must hold for `decode`; None where every reader has it."""


class Product:
    """A byte or less for each part of a descriptor, with the codebooks, and the decoder if there is one, in the file.

    Args:
        layer: codebooks and decoder; or bytes of them, which are kept as they are.
        precision: of what the file stores: "half", "int8" or "int4". Codes are made by the numbers as stored.
        name: "pq" or "dpqed".
    """

    def __init__(self, layer: StoredLayer | bytes, precision: str = "int8", name: str = "pq") -> None:
        self._bytes = layer if isinstance(layer, bytes) else layer.to_bytes(precision)
        self._layer = StoredLayer.from_bytes(self._bytes)
        self.name, self.dimension, self.span = name, self._layer.shape.dimension, None

    def encode(self, descriptors: FloatArray) -> bytes:
        """Code unit rows: one byte a part, parts of one descriptor together."""
        return np.ascontiguousarray(self._layer.assign(descriptors), dtype=np.uint8).tobytes()

    def decode(self, payload: bytes, count: int) -> FloatArray:
        """Decode unit rows."""
        codes = _rows(payload, count, self._layer.shape.parts)
        if len(codes) and int(codes.max()) >= self._layer.shape.centroids:
            raise MapFormatError("a code names a centroid that the codebook does not have", "fold the map again")
        return unit_descriptors(self._layer.dequantize(codes))

    looks = decode  # they have no span

    def parameters(self) -> dict[str, Any]:
        """How many bytes a descriptor."""
        return {"codec": self.name, "parts": self._layer.shape.parts}

    def model(self) -> bytes | None:
        """Codebooks and decoder."""
        return self._bytes


class Raw:
    """A byte a number, ``low`` to ``high``: SIFT as COLMAP stores it; others by one scale."""

    name = "raw"
    span = None

    def __init__(self, dimension: int, low: float = 0.0, high: float = 0.5) -> None:
        if not (dimension > 0 and np.isfinite([low, high]).all() and low < high):
            raise ConfigError(f"raw descriptors of {dimension} numbers from {low} to {high}", "give low < high")
        self.dimension, self._low, self._high = dimension, float(low), float(high)

    def encode(self, descriptors: FloatArray) -> bytes:
        """Code unit rows; numbers beyond the range are clipped."""
        share = (descriptors - self._low) / (self._high - self._low)
        return bytes(np.clip(np.rint(share * 255.0), 0, 255).astype(np.uint8))

    def decode(self, payload: bytes, count: int) -> FloatArray:
        """Decode unit rows."""
        codes = _rows(payload, count, self.dimension)
        return unit_descriptors(codes.astype(np.float32) * ((self._high - self._low) / 255.0) + self._low)

    looks = decode  # they have no span

    def parameters(self) -> dict[str, Any]:
        """The range."""
        return {"codec": self.name, "low": self._low, "high": self._high}

    def model(self) -> bytes | None:
        """Nothing."""
        return None


def raw_for(descriptors: FloatArray) -> Raw:
    """A byte a number, over the range of given descriptors."""
    low, high = (float(descriptors.min()), float(descriptors.max())) if len(descriptors) else (0.0, 1.0)
    return Raw(descriptors.shape[1], low, max(high, low + 1e-6))


def read_codec(parameters: Mapping[str, Any], dimension: int, model: bytes | None) -> DescriptorCodec:
    """The codec that a layer's parameters name, with the model that the file holds for it.

    Raises `MapFormatError`: parameters that make no sense together; `ModelError`: the model inside does not fit.
    """
    try:
        codec = _named(parameters, dimension, model)
    except (KeyError, TypeError, ValueError, ConfigError) as error:
        raise MapFormatError(f"the layer's codec does not make sense: {error}", "fold the map again") from error
    if codec.dimension != dimension:
        raise MapFormatError(f"the codec makes {codec.dimension} numbers, the layer says {dimension}", "fold it again")
    return codec


def _named(parameters: Mapping[str, Any], dimension: int, model: bytes | None) -> DescriptorCodec:
    name = parameters["codec"]
    if name == "raw":
        return Raw(dimension, float(parameters["low"]), float(parameters["high"]))
    if name == "transform":
        standard = parameters["basis"] != "own"
        basis = basis_named(str(parameters["basis"])) if standard else Basis.from_bytes(_needed(model))
        return Transform(basis, float(parameters["step"]), standard=standard)
    if name in ("pq", "dpqed"):
        return Product(_needed(model), name=str(name))
    raise MapFormatError(f"descriptor codec {name!r} is not known", "update foldmap")


def _needed(model: bytes | None) -> bytes:
    if model is None:
        raise ModelError("the codec's model is missing from the file", "fold the map again")
    return model


def _rows(payload: bytes, count: int, width: int) -> ByteArray:
    if count < 0 or count * width > MAX_VALUES:
        raise LimitError(f"{count} descriptors of {width} bytes are too many at once", "fold the map in smaller tiles")
    if len(payload) != count * width:
        raise MapFormatError(f"{len(payload)} bytes for {count} descriptors of {width}", "fold the map again")
    return np.frombuffer(payload, np.uint8).reshape(count, width)
