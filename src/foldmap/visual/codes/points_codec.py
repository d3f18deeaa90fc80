"""The positions of a map's points: each quantized to its own stated error, ordered and entropy-coded.

    points --quantize--> integers in a box --halve the box, level by level--> counts --context mixing--> bytes

What is coded is a set of boxes, so the order of the points costs nothing: it is the coder's to choose, and all other
per-point arrays of a file follow it. See ``points_kernel`` for the walk.
"""

import math
import struct
from dataclasses import dataclass

import numpy as np

from foldmap.coding import mixing
from foldmap.coding.rangecoder import DECODE, ENCODE
from foldmap.errors import LimitError, MapFormatError, MapInputError
from foldmap.types import AnyArray, ByteArray, DoubleArray, IntArray
from foldmap.visual.codes import points_kernel as kernel
from foldmap.visual.source import SceneModel

MAX_POINTS = 1 << 22  # points of one stream; a reader takes about 100 bytes for each
MAX_BITS = 30  # halvings along one axis: the whole is at most 2^30 of the finest boxes wide
MAX_ORIGIN = 1 << 50

_HEADER = struct.Struct("<IBBBBBBf")
_SHRINKS = (1.0, 0.89, 0.79)  # thirds of an octave: where between two halvings the tolerances fall is tried out
_REACH_SMALL, _REACH_LARGE, _SMALL = 8, 4, 1 << 16


@dataclass(frozen=True)
class Grid:
    """Integer coordinates: a point lies in the cube from ``(origin + integer) * step`` to a step further.

    The step, side of the finest box, is exactly a float32; bits are log2 of the whole's sides in steps.
    """

    step: float
    origin: IntArray
    bits: tuple[int, int, int]

    def axes(self) -> IntArray:
        """Axis of each halving: the longest side, x before y before z."""
        left = list(self.bits)
        axes = []
        while max(left):
            axis = left.index(max(left))
            left[axis] -= 1
            axes.append(axis)
        return np.array(axes, np.int64)

    def position(self, doubled: AnyArray) -> DoubleArray:
        """World coordinates (P, 3) of integers given doubled: one rounding each, so the same on every machine."""
        return np.asarray((doubled + 2 * self.origin).astype(np.float64) * (self.step / 2))


def encode_points(points_world: DoubleArray, tolerance_world: float | DoubleArray) -> tuple[bytes, IntArray]:
    """Code positions (P, 3) so that none moves further than its tolerance, world units: one for all or (P,).

    Returns the bytes, and ``order`` int64 (P,): row i of the decoded points is ``points_world[order[i]]``. Raises
    `MapInputError`: a tolerance is not positive and finite, or too fine for the extent (2^30 steps) or for the
    coordinates' size; `LimitError`: more than `MAX_POINTS`.
    """
    points = np.ascontiguousarray(points_world, dtype=np.float64)
    if len(points) > MAX_POINTS:
        raise LimitError(f"{len(points)} points exceed the {MAX_POINTS} of one stream", "choose fewer points")
    tolerance = np.broadcast_to(np.asarray(tolerance_world, np.float64), len(points))
    if not (np.isfinite(tolerance) & (tolerance > 0)).all():
        raise MapInputError("a tolerance of a point is not positive and finite", "give lengths in world units")
    if not len(points):
        return b"", np.zeros(0, np.int64)
    shrinks = _SHRINKS if len(points) <= _SMALL else _SHRINKS[:1]
    return min((_encode(*_quantize(points, tolerance, shrink)) for shrink in shrinks), key=lambda each: len(each[0]))


def decode_points(data: bytes, most: int = MAX_POINTS) -> DoubleArray:
    """Positions as coded, float64 (P, 3), world units; memory is taken for no more than ``most`` points.

    Raises `MapFormatError`: bytes that `encode_points` does not write; `LimitError`: more points than a reader accepts.
    """
    if not data:
        return np.zeros((0, 3))
    count, first_stop, depth, grid, start = _read_header(data)
    if count > most:
        raise MapFormatError(f"coded points claim to be {count}, where {most} are expected", "fold the map again")
    boxes = _boxes(count, grid)
    payload = np.frombuffer(data, np.uint8, offset=start).copy()
    nothing = np.zeros((3, 0), np.int64)
    total, _ = _walk(DECODE, nothing, nothing[0], grid, depth, first_stop, boxes, payload)
    if total < 0:
        raise MapFormatError("coded points are damaged", "fold the map again")
    boxes = boxes[:, :total]
    return grid.position(np.repeat(boxes[:3].T, boxes[kernel.COUNT], axis=0))


def _encode(grid: Grid, integers: IntArray, ends: IntArray) -> tuple[bytes, IntArray]:
    depth = int(ends.max())
    first_stop = min(int(ends.min()), depth)
    order = _order(integers, grid, depth)
    payload = np.zeros(16 * len(integers) + 8 * depth + 64, np.uint8)
    in_order = np.ascontiguousarray(integers[order].T)
    _, size = _walk(ENCODE, in_order, ends[order], grid, depth, first_stop, _boxes(len(integers), grid), payload)
    width = max(int(v).bit_length() // 8 + 1 for v in grid.origin)
    head = _HEADER.pack(len(integers), *grid.bits, first_stop, depth, width, grid.step)
    origin = b"".join(int(v).to_bytes(width, "little", signed=True) for v in grid.origin)
    return head + origin + payload[:size].tobytes(), order


def _read_header(data: bytes) -> tuple[int, int, int, Grid, int]:
    """``(count, first_stop, depth, grid, where the payload starts)``, all within limits."""
    if len(data) < _HEADER.size:
        raise MapFormatError(f"coded points of {len(data)} bytes are truncated", "fold the map again")
    count, *bits, first_stop, depth, width, step = _HEADER.unpack_from(data)
    start = _HEADER.size + 3 * width
    if count > MAX_POINTS:
        raise LimitError(f"coded points claim to be {count}", f"a reader accepts {MAX_POINTS}")
    if not 1 <= width <= 8 or len(data) <= start:
        raise MapFormatError("coded points are truncated or damaged", "fold the map again")
    cut = [data[k : k + width] for k in range(_HEADER.size, start, width)]
    origin = np.array([int.from_bytes(part, "little", signed=True) for part in cut], np.int64)
    sane = count > 0 and max(bits) <= MAX_BITS and first_stop <= depth <= sum(bits)
    sane = sane and origin.min() >= -MAX_ORIGIN and origin.max() <= MAX_ORIGIN
    if not (sane and math.isfinite(step) and step > 0):
        raise MapFormatError("coded points have an impossible header", "the file is damaged")
    return count, first_stop, depth, Grid(step, origin, (bits[0], bits[1], bits[2])), start


def _order(integers: IntArray, grid: Grid, depth: int) -> IntArray:
    """Points sorted by their path through the boxes; equal paths keep the order they came in."""
    left = list(grid.bits)
    keys = []
    key = np.zeros(len(integers), np.uint64)
    for level, axis in enumerate(grid.axes()[:depth]):
        left[axis] -= 1
        key = (key << np.uint64(1)) | ((integers[:, axis] >> left[axis]) & 1).astype(np.uint64)
        if level % 60 == 59:
            keys.append(key)
            key = np.zeros(len(integers), np.uint64)
    return np.asarray(np.lexsort([key, *reversed(keys)]).astype(np.int64))


def _boxes(count: int, grid: Grid) -> AnyArray:
    boxes = np.zeros((kernel.ROWS, count), np.int64)
    boxes[:3, 0] = [1 << b for b in grid.bits]
    boxes[kernel.COUNT, 0] = count
    return boxes


def _walk(
    mode: int,
    points: AnyArray,
    ends: AnyArray,
    grid: Grid,
    depth: int,
    first_stop: int,
    boxes: AnyArray,
    payload: ByteArray,
) -> tuple[int, int]:
    reach = _REACH_SMALL if boxes.shape[1] <= _SMALL else _REACH_LARGE
    near, apart, look = (np.zeros(n, np.int64) for n in ((2, kernel.NEIGHBOURS), kernel.NEIGHBOURS, 8))
    model = mixing.fresh(kernel.SLOTS, kernel.SETS, kernel.INPUTS)
    bits = np.array(grid.bits, np.int64)
    scratch = (boxes, np.zeros_like(boxes), near, apart, look, bits)
    stream = (np.zeros(4, np.uint64), payload)
    axes = grid.axes()[:depth]
    total, size = kernel.walk(mode, points, ends, axes, first_stop, reach, *scratch, model, mixing.tables(), *stream)
    return int(total), int(size)


def tolerance_from_views(scene: SceneModel, error_px: float) -> DoubleArray:
    """How far each point may move for its reprojections to move by ``error_px``, root mean square over its views.

    A point that is moved by a random vector within a cube of half-diagonal t moves in an image at distance d by
    ``f t / d * sqrt(2) / 3`` px in root mean square. The tolerance is that t for the mean of ``(f / d)^2`` over the
    images that see the point, float64 (P,), world units; so a far point is stored more coarsely.
    """
    if not error_px > 0:
        raise MapInputError(f"an error of {error_px} px is not positive", "give a third of the reprojection noise")
    tracks, points = scene.tracks, len(scene.points_world)
    focal = np.array([math.sqrt(c.focal_px[0] * c.focal_px[1]) for c in scene.cameras])[scene.image_camera]
    offset = scene.points_world[tracks.point] - scene.centres_world[tracks.image]
    squared = np.maximum(np.einsum("ok,ok->o", offset, offset), 1e-300)
    magnified = np.bincount(tracks.point, focal[tracks.image] ** 2 / squared, points)
    seen = np.bincount(tracks.point, minlength=points)
    return np.asarray((3 / math.sqrt(2)) * error_px * np.sqrt(seen / magnified))


def _quantize(points: DoubleArray, tolerance: DoubleArray, shrink: float = 1.0) -> tuple[Grid, IntArray, IntArray]:
    """Choose the grid and how far each point's box is halved.

    The finest step is ``shrink`` (at most 1) of the largest that will do. Gives the grid, its integers (P, 3), and the
    number of halvings (P,) after which each point's box is small enough.
    """
    # A cube of side s has a half-diagonal of s sqrt(3) / 2; a hair less leaves room for rounding.
    finest = float(tolerance.min()) * shrink * (2 / math.sqrt(3)) * 0.9999
    if not 1e-37 < finest < 1e37:
        raise MapInputError(f"a step of {finest} world units cannot be stored", "scale the model")
    step = float(np.float32(finest))
    grid, integers = _integers(points, step)
    axes = grid.axes()
    ends = np.full(len(points), len(axes), np.int64)
    left = np.zeros(3, np.int64)
    fits = np.ones(len(points), bool)
    for level in range(len(axes) - 1, -1, -1):
        left[axes[level]] += 1
        # The half-diagonal, not where in it this point happens to be: neighbours then end alike, which is cheap to say.
        fits &= step * math.sqrt(float((4.0**left).sum())) / 2 * 1.00001 <= tolerance
        if not fits.any():
            break
        ends[fits] = level
    return grid, integers, ends


def _integers(points: DoubleArray, step: float) -> tuple[Grid, IntArray]:
    if not np.abs(points).max() / step < MAX_ORIGIN:
        far = np.abs(points).max()
        what = f"a step of {step:.3g} is too fine for coordinates up to {far:.3g}"
        raise MapInputError(what, "move the origin into the scene")
    cell = np.floor(points / step).astype(np.int64)
    origin = cell.min(axis=0)
    integers = cell - origin
    bits = [int(v).bit_length() for v in integers.max(axis=0)]
    if max(bits) > MAX_BITS:
        what = f"the points span {2.0 ** max(bits):.3g} steps of {step:.3g}"
        raise MapInputError(what, "drop far points or accept a larger error")
    return Grid(step, origin, (bits[0], bits[1], bits[2])), integers
