"""Which image of a map sees which of its points: lossless context coding, of images or of groups of them.

visible (P, I) --nearest earlier points, the row so far--> probability of each bit --range coder--> bytes
"""

import struct

import numpy as np

from foldmap.coding import mixing
from foldmap.coding.rangecoder import DECODE, ENCODE
from foldmap.errors import LimitError, MapFormatError, MapInputError
from foldmap.types import AnyArray, BoolArray, DoubleArray, IntArray
from foldmap.visual.codes import visibility_kernel as kernel

MAX_DECISIONS = 1 << 28  # points times images of one stream; a reader takes a byte for each
MAX_IMAGES = 1 << 16  # columns of one stream; a reader takes about 80 bytes for each
_HEADER = struct.Struct("<II")
_GRID = 1 << 20
_SEARCH = 1 << 22


def encode_visibility(visible: AnyArray, points_world: DoubleArray) -> bytes:
    """Code which image sees which point, without loss; `MapInputError` or `LimitError` where that cannot be.

    Rows of ``visible``, bool (P, I), are the points as `decode_points` returns them (the decoder must have the same),
    columns the images in the order they were taken.
    """
    seen = np.array(visible, dtype=np.uint8, order="C")  # as the decoder's: the walk is compiled once
    if seen.ndim != 2 or points_world.shape != (len(seen), 3):
        raise MapInputError(f"visibility {seen.shape} does not fit points {points_world.shape}", "give (P, I)")
    if visible.dtype != np.bool_:
        raise MapInputError(f"visibility is {visible.dtype}, not bool", "compare with zero first")
    if seen.size > MAX_DECISIONS or seen.shape[1] > MAX_IMAGES:
        raise LimitError(f"{len(seen)} points in {seen.shape[1]} images are too many", "group images")
    header = _HEADER.pack(*seen.shape)
    if not seen.size:
        return header
    payload = np.zeros(2 * seen.size + 64, np.uint8)
    size = _walk(ENCODE, seen, points_world, payload)
    return header + payload[:size].tobytes()


def decode_visibility(data: bytes, points_world: DoubleArray) -> BoolArray:
    """The matrix bool (P, I) of `encode_visibility`.

    Raises `MapFormatError`: bytes that `encode_visibility` does not write for these points; `LimitError`: a larger
    matrix than a reader accepts.
    """
    if len(data) < _HEADER.size:
        raise MapFormatError(f"coded visibility of {len(data)} bytes is truncated", "fold the map again")
    points, images = _HEADER.unpack_from(data)
    if points * images > MAX_DECISIONS or images > MAX_IMAGES:
        raise LimitError(f"coded visibility claims {points} points in {images} images", "the file is damaged")
    if points_world.shape != (points, 3):
        raise MapFormatError(f"visibility of {points} points, but {len(points_world)} points", "the file is damaged")
    seen = np.zeros((points, images), np.uint8)
    payload = np.frombuffer(data, np.uint8, offset=_HEADER.size).copy()
    if seen.size:
        if not payload.size or _walk(DECODE, seen, points_world, payload) < 0:
            raise MapFormatError("coded visibility is damaged", "fold the map again")
    elif payload.size:
        raise MapFormatError("coded visibility of nothing has a payload", "the file is damaged")
    return seen.view(np.bool_)


def visibility_matrix(point: IntArray, image: IntArray, shape: tuple[int, int]) -> BoolArray:
    """Bool (P, I) of tracks' rows ``point`` and ``image``, int64 (O,)."""
    visible: BoolArray = np.zeros(shape, np.bool_)
    visible[point, image] = True
    return visible


def _integers(points_world: DoubleArray) -> IntArray:
    """Points on a grid of 2^20 over their extent: one subtraction and one division, rounded alike everywhere."""
    low = points_world.min(axis=0)
    side = float((points_world - low).max())
    if not 0 < side < np.inf:
        return np.zeros(points_world.shape, np.int64)
    cell = side / (_GRID - 1)
    return np.asarray(np.clip(np.floor((points_world - low) / max(cell, 1e-300)), 0, _GRID - 1).astype(np.int64))


def _walk(mode: int, seen: AnyArray, points_world: DoubleArray, payload: AnyArray) -> int:
    points, images = seen.shape
    window = max(48, min(4096, _SEARCH // max(points, 1)))
    points_xyz = np.ascontiguousarray(_integers(np.asarray(points_world, dtype=np.float64)).T, dtype=np.float64)
    popular, support, *nearest = (np.zeros(n, np.int64) for n in (images, images, *[kernel.NEIGHBOURS] * 2))
    scratch = (popular, support, np.zeros(window), *nearest)
    model = mixing.fresh(kernel.FIXED_SLOTS + 4 * images, kernel.SETS, int(kernel.INPUTS))
    stream = (np.zeros(4, np.uint64), payload)
    return int(kernel.walk(mode, points_xyz, window, seen, *scratch, model, mixing.tables(), *stream))
