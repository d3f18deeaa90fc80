"""Binary COLMAP models: cameras.bin, images.bin, points3D.bin."""

from __future__ import annotations

import os
import stat
import struct
from pathlib import Path
from typing import Any

import numpy as np

from foldmap.errors import MapInputError
from foldmap.formats.colmap.files import KEYPOINT, OTHER_MODELS, REWRITE, RawImages, RawPoints, put_camera
from foldmap.formats.naming import reading
from foldmap.geometry.camera import CAMERA_MODELS, Camera
from foldmap.types import AnyArray, BoolArray, IntArray

_SMALLEST_CAMERA, _SMALLEST_IMAGE = struct.calcsize("<IiQQ"), struct.calcsize("<I7dI") + 1 + 8
_LENGTH = struct.Struct("<Q")
_BLOCK_BYTES = 1 << 24
_CUT, _FOREIGN = f"it is cut short: {REWRITE}", f"it is damaged or no COLMAP file: {REWRITE}"
POINT = np.dtype([("id", "<i8"), ("xyz", "<f8", 3), ("rgb", "u1", 3), ("error", "<f8"), ("length", "<u8")], align=False)
"""A record of points3D.bin; its observations follow, each an image id and a keypoint as uint32."""
OBSERVATION = np.dtype([("image_id", "<u4"), ("keypoint", "<u4")])
_LENGTH_AT = POINT.itemsize - _LENGTH.size
_MODELS = {number: (name, count) for name, (number, count) in CAMERA_MODELS.items()}


class ByteSource:
    """One binary file, read from front to back in a ``with``, to its last byte.

    No count is believed: each is compared with the bytes that are left before anything is read or allocated.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.what = "its header"
        with reading(path):
            self._file = path.open("rb")
            status = os.fstat(self._file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_size == 0:
            self._file.close()
            raise MapInputError(f"{path} is empty", REWRITE)
        self.left = status.st_size

    def __enter__(self) -> ByteSource:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        with self._file:
            if kind is None and self.left:
                raise MapInputError(f"{self.path} has {self.left:,} bytes after its last record", _FOREIGN)

    def take(self, size: int) -> bytes:
        """The next bytes."""
        self._spend(size)
        data = self._file.read(size)
        if len(data) != size:
            raise self._cut()
        return data

    def unpack(self, form: str) -> tuple[Any, ...]:
        """The next values, by a format of `struct` without its byte order: little-endian, unpadded."""
        return struct.unpack(f"<{form}", self.take(struct.calcsize(f"<{form}")))

    def skip(self, size: int) -> int:
        """Pass over bytes; returns where they lie."""
        self._spend(size)
        return self._file.seek(size, os.SEEK_CUR) - size

    def count(self, smallest: int, of: str) -> int:
        """A 64-bit count of records, each of ``smallest`` bytes at least."""
        (count,) = self.unpack("Q")
        if count * smallest > self.left:
            said = f"{self.path} declares {count:,} {of}, more than its {self.left:,} remaining bytes can hold"
            raise MapInputError(said, f"it is cut short, damaged or no COLMAP file: {REWRITE}")
        return int(count)

    def text(self, longest: int = 4096) -> str:
        """UTF-8 text that ends with a zero byte."""
        start = self._file.tell()
        head = self._file.read(min(longest, self.left))
        self._file.seek(start)
        end = head.find(b"\0")
        if end < 0:
            raise MapInputError(f"{self.path}: {self.what} has a name without end", f"the file is damaged: {REWRITE}")
        raw = self.take(end + 1)[:-1]
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as error:
            said = f"{self.path}: {self.what} has the name {raw[:80]!r}, which is not UTF-8"
            raise MapInputError(said, "rename the image, or the file is damaged") from error

    def _cut(self) -> MapInputError:
        return MapInputError(f"{self.path} ends inside {self.what}", _CUT)

    def _spend(self, size: int) -> None:
        if size > self.left:
            raise self._cut()
        self.left -= size


def read_cameras(path: Path) -> dict[int, Camera]:
    """Cameras by id."""
    cameras: dict[int, Camera] = {}
    with ByteSource(path) as source:
        for number in range(source.count(_SMALLEST_CAMERA, "cameras")):
            source.what = f"camera number {number + 1}"
            camera_id, model, width_px, height_px = source.unpack("IiQQ")
            name, count = _MODELS.get(model, (f"{OTHER_MODELS.get(model, 'number')} ({model})", 0))
            params = np.frombuffer(source.take(8 * count), "<f8")
            put_camera(path, cameras, camera_id, name, (width_px, height_px), params)
    return cameras


def read_images(path: Path) -> RawImages:
    """Images; their keypoints are read only when asked for."""
    rows, names, at, counts = [], [], [], []
    with ByteSource(path) as source:
        for number in range(source.count(_SMALLEST_IMAGE, "images")):
            source.what = f"image number {number + 1}"
            rows.append(source.unpack("I7dI"))
            names.append(source.text())
            counts.append(source.count(KEYPOINT.itemsize, f"keypoints of image {names[-1]!r}"))
            at.append(source.skip(counts[-1] * KEYPOINT.itemsize))
    table = np.array(rows, dtype=np.float64).reshape(-1, 9)  # ids of 32 bits are exact in float64

    def keypoints(image: int) -> AnyArray:
        with reading(path):
            records = np.fromfile(path, KEYPOINT, counts[image], offset=at[image])
        if len(records) != counts[image]:
            raise MapInputError(f"{path} changed while it was read", "wait until it is written")
        return records

    ids, camera_ids = table[:, 0].astype(np.int64), table[:, 8].astype(np.int64)
    return RawImages(ids, camera_ids, names, table[:, 1:5], table[:, 5:8], keypoints)


def read_points(path: Path) -> RawPoints:
    """Points and their tracks.

    Records differ in length, so one light pass finds where they start; then whole blocks are split at once.
    """
    with ByteSource(path) as source:
        count = source.count(POINT.itemsize, "points")
        data = source.take(source.left)
    lengths = _lengths(path, data, count)
    starts = np.concatenate([[0], np.cumsum(POINT.itemsize + OBSERVATION.itemsize * lengths)])
    ids = np.empty(count, np.int64)
    points_world = np.empty((count, 3))
    image_ids = np.empty(int(lengths.sum()), np.int64)
    keypoint = np.empty_like(image_ids)
    first = done = 0
    while first < count:
        last = max(first + 1, int(np.searchsorted(starts, starts[first] + _BLOCK_BYTES, "right")) - 1)
        block = np.frombuffer(data, np.uint8, int(starts[last] - starts[first]), int(starts[first]))
        is_head = heads(lengths[first:last])
        points, seen = block[is_head].view(POINT), block[~is_head].view(OBSERVATION)
        ids[first:last], points_world[first:last] = points["id"], points["xyz"]
        image_ids[done : done + len(seen)], keypoint[done : done + len(seen)] = seen["image_id"], seen["keypoint"]
        first, done = last, done + len(seen)
    return RawPoints(ids, points_world, lengths, image_ids, keypoint)


def heads(lengths: IntArray) -> BoolArray:
    """Which bytes of consecutive point records are heads, the others being observations."""
    sizes = np.empty(2 * len(lengths), np.int64)
    sizes[::2], sizes[1::2] = POINT.itemsize, OBSERVATION.itemsize * lengths
    return np.repeat(np.arange(len(sizes)) % 2 == 0, sizes)


def _lengths(path: Path, data: bytes, count: int) -> IntArray:
    """Length of every track, each compared with the bytes left."""
    lengths: list[int] = []
    at, size, read = 0, len(data), _LENGTH.unpack_from
    for number in range(count):
        head_end = at + POINT.itemsize
        if head_end > size:
            raise MapInputError(f"{path} ends inside point number {number + 1} of {count:,}", _CUT)
        (length,) = read(data, at + _LENGTH_AT)
        at = head_end + OBSERVATION.itemsize * length
        if at > size:
            said = f"{path} ends inside the track of point number {number + 1} of {count:,} ({length:,} observations)"
            raise MapInputError(said, f"it is cut short or damaged: {REWRITE}")
        lengths.append(length)
    if at != size:
        raise MapInputError(f"{path} has {size - at:,} bytes after its last point", _FOREIGN)
    return np.array(lengths, dtype=np.int64)
