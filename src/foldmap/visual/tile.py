"""One tile of a folded visual map as bytes: positions, descriptor codes, and which groups of images see what."""

from __future__ import annotations

import itertools
import struct
from dataclasses import dataclass

import numpy as np

from foldmap.errors import LimitError, MapFormatError
from foldmap.types import BoolArray, DoubleArray, FloatArray, IntArray
from foldmap.visual.codes.codecs import DescriptorCodec
from foldmap.visual.codes.points_codec import MAX_POINTS, decode_points, encode_points
from foldmap.visual.codes.visibility_codec import MAX_DECISIONS, decode_visibility, encode_visibility

_HEADER = struct.Struct("<BIIII")
_VERSION = 1
_CURE = "fold the map again"


@dataclass(frozen=True)
class PointTile:
    """Decoded points of one tile, float64 (P, 3), and their looks, float32 (P, R) unit rows.

    ``visible`` is bool (P, groups of images), or None where the map keeps no images; looks, span and ``seen_from`` as
    of `MapPoints`.
    """

    points_world: DoubleArray
    looks: FloatArray
    span: FloatArray | None
    visible: BoolArray | None
    seen_from: DoubleArray | None = None

    def __len__(self) -> int:
        return len(self.points_world)

    @property
    def descriptors(self) -> FloatArray:
        """Float32 (P, D), unit rows."""
        return self.looks if self.span is None else self.looks @ self.span.T


def pack_tile(
    points_world: DoubleArray,
    tolerance_world: DoubleArray,
    descriptors: FloatArray,
    visible: BoolArray | None,
    codec: DescriptorCodec,
) -> tuple[bytes, IntArray, dict[str, int]]:
    """Code some points: a tile's bytes, order (row i of the tile is row ``order[i]`` given), and the size of each part.

    Args:
        points_world: float64 (P, 3), P > 0.
        tolerance_world: float64 (P,), how far each may move.
        descriptors: float32 (P, D), unit rows.
        visible: bool (P, groups), or None.
        codec: of the descriptors.
    """
    geometry, order = encode_points(points_world, tolerance_world)
    codes = codec.encode(descriptors[order])
    seen = b"" if visible is None else pack_visible(visible[order], decode_points(geometry))
    header = _HEADER.pack(_VERSION, len(points_world), len(geometry), len(codes), len(seen))
    sizes = {"geometry": len(geometry), "codes": len(codes), "visibility": len(seen)}
    return header + geometry + codes + seen, order, sizes


def tile_parts(payload: bytes) -> tuple[int, bytes, bytes, bytes]:
    """How many points a tile has, and its bytes of geometry, codes and visibility, as they are stored.

    Raises:
        MapFormatError: bytes that `pack_tile` does not write.
    """
    if len(payload) < _HEADER.size:
        raise MapFormatError("a tile of the visual layer is cut", _CURE)
    version, count, *sizes = _HEADER.unpack_from(payload)
    if version != _VERSION:
        raise MapFormatError(f"a tile of the visual layer has version {version}", "update foldmap")
    if _HEADER.size + sum(sizes) != len(payload) or count == 0:
        raise MapFormatError("a tile of the visual layer does not have the length it says", _CURE)
    ends = np.cumsum([_HEADER.size, *sizes]).tolist()
    geometry, codes, seen = (payload[begin:end] for begin, end in itertools.pairwise(ends))
    return count, geometry, codes, seen


def unpack_tile(payload: bytes, codec: DescriptorCodec, groups: int, most: int = MAX_POINTS) -> PointTile:
    """Decode a tile of a layer with so many groups of images (0: it keeps none) and at most so many points in all.

    Raises:
        MapFormatError: bytes that `pack_tile` does not write for this layer.
    """
    count, geometry, codes, seen = tile_parts(payload)
    if count > most:
        raise MapFormatError(f"a tile says {count} points, the layer has {most}", _CURE)
    points_world = decode_points(geometry, count)
    if len(points_world) != count:
        raise MapFormatError(f"a tile says {count} points and holds {len(points_world)}", _CURE)
    looks = codec.looks(codes, count)
    if seen and not groups:
        raise MapFormatError("a tile says which images see it, and the map has none", _CURE)
    visible = _unpack_visible(seen, points_world, groups) if groups else None
    return PointTile(points_world, looks, codec.span, visible)


def pack_visible(visible: BoolArray, points_world: DoubleArray) -> bytes:
    """A bit a group, whether it sees the tile at all, then the matrix of those that do; points as they decode."""
    looking = visible.any(axis=0)
    return bytes(np.packbits(looking).tobytes()) + encode_visibility(visible[:, looking], points_world)


def take_groups(payload: bytes, groups: int, kept: IntArray) -> bytes:
    """A tile of a layer with so many groups of images, as it is with some of them, ascending int64 (K,), alone."""
    count, geometry, codes, seen = tile_parts(payload)
    points_world = decode_points(geometry, count)
    seen = pack_visible(_unpack_visible(seen, points_world, groups)[:, kept], points_world)
    return _HEADER.pack(_VERSION, count, len(geometry), len(codes), len(seen)) + geometry + codes + seen


def tile_points(payload: bytes, most: int = MAX_POINTS) -> DoubleArray:
    """The points of a tile alone, float64 (P, 3); errors as `unpack_tile`."""
    count, geometry, _, _ = tile_parts(payload)
    if count > most:
        raise MapFormatError(f"a tile says {count} points, the layer has {most}", _CURE)
    return decode_points(geometry, count)


def _unpack_visible(seen: bytes, points_world: DoubleArray, groups: int) -> BoolArray:
    size = -(-groups // 8)
    bits = np.unpackbits(np.frombuffer(seen[:size], np.uint8)).astype(bool)
    if len(bits) < groups or bits[groups:].any():
        raise MapFormatError("a tile does not say which groups of images see it", _CURE)
    looking = bits[:groups]
    columns = decode_visibility(seen[size:], points_world)
    if columns.shape[1] != looking.sum():
        raise MapFormatError(f"a tile's visibility is of {columns.shape[1]} groups, not {looking.sum()}", _CURE)
    if len(points_world) * groups > MAX_DECISIONS:
        raise LimitError(f"a tile of {len(points_world)} points and {groups} groups of images is too large", _CURE)
    visible = np.zeros((len(points_world), groups), bool)
    visible[:, looking] = columns
    return visible
