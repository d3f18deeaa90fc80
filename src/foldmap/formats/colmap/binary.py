"""Binary COLMAP models: cameras.bin, images.bin, points3D.bin."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from foldmap.errors import MapInputError
from foldmap.formats.colmap.checked_bytes import ByteSource
from foldmap.formats.colmap.raw import (
    KEYPOINT,
    OTHER_MODELS,
    REWRITE,
    RawImages,
    RawPoints,
    cannot_read,
    make_camera,
    put_camera,
    unknown_model,
)
from foldmap.geometry.camera import CAMERA_MODELS, Camera
from foldmap.types import AnyArray, BoolArray, IntArray

_CAMERA = struct.Struct("<IiQQ")
_IMAGE = struct.Struct("<I7dI")
_SMALLEST_IMAGE = _IMAGE.size + 1 + 8
_LENGTH = struct.Struct("<Q")
_BLOCK_BYTES = 1 << 24
POINT = np.dtype([("id", "<i8"), ("xyz", "<f8", 3), ("rgb", "u1", 3), ("error", "<f8"), ("length", "<u8")], align=False)
"""A record of points3D.bin; its observations follow, each an image id and a keypoint as uint32."""
OBSERVATION = np.dtype([("image_id", "<u4"), ("keypoint", "<u4")])
_LENGTH_AT = POINT.itemsize - _LENGTH.size
_MODELS = {number: (name, count) for name, (number, count) in CAMERA_MODELS.items()}


def read_cameras(path: Path) -> dict[int, Camera]:
    """Cameras by id.

    Raises:
        MapInputError: the file is cut short, damaged or foreign, or a camera is not usable.
    """
    cameras: dict[int, Camera] = {}
    with ByteSource(path) as source:
        for number in range(source.count(_CAMERA.size, "cameras")):
            source.what = f"camera number {number + 1}"
            camera_id, model, width_px, height_px = _CAMERA.unpack(source.take(_CAMERA.size))
            if model not in _MODELS:
                raise unknown_model(path, camera_id, f"{OTHER_MODELS.get(model, 'number')} ({model})")
            name, count = _MODELS[model]
            params = np.frombuffer(source.take(8 * count), "<f8")
            put_camera(path, cameras, camera_id, make_camera(path, camera_id, name, (width_px, height_px), params))
        source.finish()
    return cameras


def read_images(path: Path) -> RawImages:
    """Images; their keypoints are read only when asked for.

    Raises:
        MapInputError: the file is cut short, damaged or foreign.
    """
    rows, names, at, counts = [], [], [], []
    with ByteSource(path) as source:
        for number in range(source.count(_SMALLEST_IMAGE, "images")):
            source.what = f"image number {number + 1}"
            rows.append(_IMAGE.unpack(source.take(_IMAGE.size)))
            names.append(source.text())
            counts.append(source.count(KEYPOINT.itemsize, f"keypoints of image {names[-1]!r}"))
            at.append(source.at)
            source.skip(counts[-1] * KEYPOINT.itemsize)
        source.finish()
    table = np.array(rows, dtype=np.float64).reshape(-1, 9)  # ids of 32 bits are exact in float64

    def keypoints(image: int) -> AnyArray:
        try:
            records = np.fromfile(path, KEYPOINT, counts[image], offset=at[image])
        except OSError as error:
            raise cannot_read(path, error) from error
        if len(records) != counts[image]:
            raise MapInputError(f"{path} changed while it was read", "wait until it is written")
        return records

    return RawImages(
        ids=table[:, 0].astype(np.int64),
        camera_ids=table[:, 8].astype(np.int64),
        names=names,
        wxyz=table[:, 1:5],
        translation_world=table[:, 5:8],
        keypoints=keypoints,
    )


def read_points(path: Path) -> RawPoints:
    """Points and their tracks.

    Records differ in length, so one light pass finds where they start; then whole blocks are split at once.

    Raises:
        MapInputError: the file is cut short, damaged or foreign.
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
            raise MapInputError(
                f"{path} ends inside point number {number + 1} of {count:,}", f"it is cut short: {REWRITE}"
            )
        (length,) = read(data, at + _LENGTH_AT)
        at = head_end + OBSERVATION.itemsize * length
        if at > size:
            raise MapInputError(
                f"{path} ends inside the track of point number {number + 1} of {count:,} ({length:,} observations)",
                f"it is cut short or damaged: {REWRITE}",
            )
        lengths.append(length)
    if at != size:
        raise MapInputError(
            f"{path} has {size - at:,} bytes after its last point", f"it is damaged or no COLMAP file: {REWRITE}"
        )
    return np.array(lengths, dtype=np.int64)
