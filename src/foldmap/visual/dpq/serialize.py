"""The half of a D-PQED layer that a file keeps: codebooks and decoder as numbers, as bytes, and at work in NumPy.

Bytes are safetensors with the shape as JSON beside. A layer of D = 128, hidden 256, K = 256 takes, whatever M is
(product codebooks hold K D values, and their scales take 2 bytes a part):

    M                        2         4         8        16        32      without decoder
    half               197,992   197,992   197,992   197,992   197,992       66 kB
    int8               100,668   100,672   100,680   100,696   100,728       33 kB
    int4                51,508    51,512    51,520    51,544    51,576       17 kB

Additive codebooks hold M K D values; without decoder:

    half               131,376   262,448   524,592 1,048,888 2,097,464
    int8                66,936   133,504   266,624   532,864 1,065,344
    int4                34,168    67,960   135,544   270,712   541,056
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from foldmap.coding.additive import AdditiveQuantizer, add_up
from foldmap.coding.pq import MAX_CENTROIDS, ProductQuantizer, gather
from foldmap.errors import ModelError
from foldmap.training.model_bytes import model_from_bytes, model_to_bytes, read_model_file
from foldmap.types import AnyArray, ByteArray, FloatArray

FORMAT = 1
MAX_BYTES = 64 << 20
PRECISIONS = ("half", "int8", "int4")
_MAX_SIDE = 4096
_LEVELS = {"int8": 127, "int4": 7}
ASSIGN_BEAM = 16
"""Candidates of additive codes among which the decoder picks when a map is folded."""
_ROWS = 16384
_SEARCH_ROWS = 2048
_CURE = "use a layer written by foldmap"


@dataclass(frozen=True)
class LayerShape:
    """Sizes and variant of a layer.

    Attributes:
        dimension: D of the descriptors.
        parts: M, bytes a descriptor.
        centroids: K, at most 256.
        hidden: width of the decoder (paper: 256); 0 for no decoder: decoded are the centroids.
        shortcut: what is added to the decoder's output: "" nothing (the paper's), "identity" the centroids
            themselves, so that training starts at plain PQ, "linear" a learned linear map of them.
        unit: whether decoded descriptors are brought to unit length, as the raw ones are.
        front: always 0; reserved for a network before the codebooks.
        additive: whether a code names full-length centroids that are summed (`foldmap.coding.additive`) instead of
            one for each part.

    Raises:
        ModelError: a size out of range, M does not divide D, an unknown shortcut.
    """

    dimension: int = 128
    parts: int = 4
    centroids: int = 256
    hidden: int = 256
    shortcut: str = ""
    unit: bool = True
    front: int = 0
    additive: bool = False

    def __post_init__(self) -> None:
        for name, low, high in (
            ("dimension", 1, _MAX_SIDE),
            ("parts", 1, 256),
            ("centroids", 1, MAX_CENTROIDS),
            ("hidden", 0, _MAX_SIDE),
            ("front", 0, 0),
        ):
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise ModelError(f"a layer with {name} {value!r}", f"take {low} to {high}")
        if type(self.additive) is not bool:
            raise ModelError(f"a layer with additive {self.additive!r}", _CURE)
        if self.dimension % self.parts and not self.additive:
            raise ModelError(f"descriptors of {self.dimension} values do not split into {self.parts} equal parts")
        if self.shortcut not in ("", "identity", "linear") or type(self.unit) is not bool:
            raise ModelError(f"a layer with shortcut {self.shortcut!r}, unit {self.unit!r}", _CURE)

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Stored tensors and their shapes."""
        side, wide = self.dimension, self.hidden
        length = side if self.additive else side // self.parts
        named: dict[str, tuple[int, ...]] = {"codebooks": (self.parts, self.centroids, length)}
        if wide:
            named |= {"first.weight": (wide, side), "first.bias": (wide,)}
            named |= {"second.weight": (side, wide), "second.bias": (side,)}
        if self.shortcut == "linear":
            named["shortcut.weight"] = (side, side)
        return named


@dataclass(frozen=True)
class StoredLayer:
    """Codebooks and decoder as float32 arrays by name, as `LayerShape.tensors` lists them, else a ModelError."""

    shape: LayerShape
    tensors: Mapping[str, FloatArray]

    def __post_init__(self) -> None:
        wanted = self.shape.tensors()
        if set(self.tensors) != set(wanted):
            raise ModelError(f"the layer holds {sorted(self.tensors)}, not {sorted(wanted)}", _CURE)
        for name, size in wanted.items():
            array = self.tensors[name]
            if array.dtype != np.float32 or array.shape != size or not np.isfinite(array).all():
                raise ModelError(f"{name} is {array.dtype} {array.shape}, not finite float32 {size}", _CURE)

    def dequantize(self, codes: ByteArray) -> FloatArray:
        """Decoded descriptors, uint8 (N, M) -> float32 (N, D); a ModelError where codes do not go with this layer."""
        look_up = add_up if self.shape.additive else gather
        decoded = np.empty((len(codes), self.shape.dimension), np.float32)
        for first in range(0, len(codes), _ROWS):
            rows = slice(first, first + _ROWS)
            decoded[rows] = self._decode(look_up(self.tensors["codebooks"], codes[rows]))
        return decoded

    def assign(self, vectors: AnyArray) -> ByteArray:
        """Codes by these very codebooks, rounded as they are stored: nearest centroids, or beam search if additive.

        Decoding what this returns for a query's descriptors is what symmetric matching compares with the map.

        Raises `ModelError`: vectors of another dimension; `MapInputError`: values that are not finite.
        """
        books = self.tensors["codebooks"]
        if not self.shape.additive:
            turned = self.shape.shortcut == "linear" and not self.shape.hidden  # a plain turn back: OPQ's
            return ProductQuantizer(books).encode(vectors @ self.tensors["shortcut.weight"] if turned else vectors)
        if not (self.shape.hidden or self.shape.unit):  # what is decoded is the sum itself
            return AdditiveQuantizer(books).encode(vectors)
        return self._best_decoded(vectors)

    @staticmethod
    def of_quantizer(quantizer: ProductQuantizer | AdditiveQuantizer, *, unit: bool = False) -> StoredLayer:
        """A layer of plain codebooks, without decoder; a rotation becomes its linear shortcut."""
        parts, centroids, length = quantizer.codebooks.shape
        additive = isinstance(quantizer, AdditiveQuantizer)
        tensors = {"codebooks": quantizer.codebooks}
        turn = None if isinstance(quantizer, AdditiveQuantizer) else quantizer.rotation
        if turn is not None:
            tensors["shortcut.weight"] = np.ascontiguousarray(turn.T)
        shortcut = "" if turn is None else "linear"
        side = length if additive else parts * length
        return StoredLayer(LayerShape(side, parts, centroids, 0, shortcut, unit, additive=additive), tensors)

    def to_bytes(self, precision: str = "int8") -> bytes:
        """Serialize; the same layer gives the same bytes.

        Precision is "half" for float16; "int8" or "int4" for whole numbers with a float16 scale for each row of a
        matrix, part of product codebooks or centroid of additive ones; biases are float16 always.

        Raises:
            ModelError: unknown precision, or values beyond float16.
        """
        if precision not in PRECISIONS:
            raise ModelError(f"a layer is not stored in {precision!r}", f"choose one of {', '.join(PRECISIONS)}")
        packed: dict[str, AnyArray] = {}
        for name, array in sorted(self.tensors.items()):
            if float(np.abs(array).max(initial=0)) > float(np.finfo(np.float16).max):
                raise ModelError(f"{name} exceeds half precision", "train with a smaller learning rate")
            if precision == "half" or array.ndim == 1:
                packed[name] = array.astype(np.float16)
            else:
                groups = _groups(self.shape, array.shape)
                packed[name], packed[name + ".scale"] = _quantized(array, _LEVELS[precision], groups)
        info = {"format": FORMAT, "precision": precision, "shape": asdict(self.shape)}
        return model_to_bytes(packed, info)

    @staticmethod
    def from_bytes(payload: bytes) -> StoredLayer:
        """Rebuild, trusting nothing; bytes that are no layer of this version are a ModelError."""
        return model_from_bytes(payload, _rebuilt, FORMAT, most_bytes=MAX_BYTES, cure=_CURE)

    def _best_decoded(self, vectors: AnyArray) -> ByteArray:
        """Of the codes that beam search ends with, those that the decoder brings closest."""
        search = AdditiveQuantizer(self.tensors["codebooks"])
        codes = np.empty((len(vectors), self.shape.parts), np.uint8)
        for first in range(0, len(vectors), _SEARCH_ROWS):
            rows = vectors[first : first + _SEARCH_ROWS]
            found = search.candidates(rows, ASSIGN_BEAM)
            decoded = self.dequantize(found.reshape(-1, self.shape.parts)).reshape(*found.shape[:2], -1)
            chosen = ((decoded - rows[:, None]) ** 2).sum(2).argmin(1)
            codes[first : first + len(rows)] = found[np.arange(len(rows)), chosen]
        return codes

    def _decode(self, joined_ND: FloatArray) -> FloatArray:
        shape, held = self.shape, self.tensors
        out = joined_ND
        if shape.hidden:
            hidden = np.maximum(joined_ND @ held["first.weight"].T + held["first.bias"], 0)
            out = hidden @ held["second.weight"].T + held["second.bias"]
            if shape.shortcut == "identity":
                out = out + joined_ND
        if shape.shortcut == "linear":
            straight = joined_ND @ held["shortcut.weight"].T
            out = out + straight if shape.hidden else straight
        if shape.unit:
            out = out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-12)
        return np.asarray(out, dtype=np.float32)


def _quantized(array: FloatArray, levels: int, groups: int) -> tuple[AnyArray, AnyArray]:
    """Whole numbers, two to a byte when they are of 4 bits, and a float16 scale for each of equal groups of values."""
    rows = array.reshape(groups, -1)
    scale = (np.abs(rows).max(1) / levels).astype(np.float16)
    step = np.where(scale > 0, scale, 1).astype(np.float32)[:, None]
    whole = np.clip(np.rint(rows / step), -levels, levels).astype(np.int8)
    if levels == 127:
        return whole.reshape(array.shape), scale
    nibbles = (whole.ravel() + 8).astype(np.uint8)
    nibbles = np.append(nibbles, np.zeros(nibbles.size % 2, np.uint8))
    return nibbles[::2] | (nibbles[1::2] << 4), scale


def _groups(shape: LayerShape, size: tuple[int, ...]) -> int:
    """Values that share a scale: a row of a matrix, a part of product codebooks, one centroid of additive ones."""
    return size[0] * size[1] if shape.additive and len(size) == 3 else size[0]


def _unpacked(
    arrays: dict[str, AnyArray], shape: LayerShape, name: str, size: tuple[int, ...], precision: str
) -> FloatArray:
    """Take a tensor out of `arrays`, of the type and size that it must have."""
    if precision == "half" or len(size) == 1:
        return _taken(arrays, name, np.float16, size).astype(np.float32)
    groups, count = _groups(shape, size), int(np.prod(size))
    scale = _taken(arrays, name + ".scale", np.float16, (groups,)).astype(np.float32)
    if precision == "int8":
        whole = _taken(arrays, name, np.int8, size)
    else:
        pairs = _taken(arrays, name, np.uint8, (-(-count // 2),))
        whole = np.stack([pairs & 15, pairs >> 4], axis=1).ravel()[:count].astype(np.int8) - np.int8(8)
    scaled: FloatArray = (whole.reshape(groups, -1).astype(np.float32) * scale[:, None]).reshape(size)
    return scaled


def _taken(arrays: dict[str, AnyArray], name: str, dtype: type, size: tuple[int, ...]) -> AnyArray:
    array = arrays.pop(name)
    if array.dtype != dtype or array.shape != size:
        raise ModelError(f"{name} is {array.dtype} {array.shape}, not {np.dtype(dtype)} {size}", _CURE)
    if not np.isfinite(array).all():
        raise ModelError(f"{name} holds NaN or infinite values", _CURE)
    return array


def _rebuilt(info: dict[str, Any], arrays: dict[str, AnyArray]) -> StoredLayer:
    if info["precision"] not in PRECISIONS:
        raise ModelError(f"the layer is stored in {info['precision']!r}", _CURE)
    shape = LayerShape(**info["shape"])
    tensors = {name: _unpacked(arrays, shape, name, size, info["precision"]) for name, size in shape.tensors().items()}
    if arrays:
        raise ModelError(f"the layer holds {min(arrays)!r} besides", _CURE)
    return StoredLayer(shape, tensors)


def read_layer(path: Path) -> StoredLayer:
    """Read a stored layer from its own file; a ModelError where it is missing, or no layer of this version."""
    return read_model_file(path, StoredLayer.from_bytes, MAX_BYTES, "train visual")
