"""Rigs and frames of COLMAP models (3.12 and later): cameras mounted together, images taken at once."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foldmap.errors import FoldmapError, MapInputError
from foldmap.formats.colmap.checked_bytes import ByteSource
from foldmap.formats.colmap.files import find_model
from foldmap.formats.colmap.raw import REWRITE
from foldmap.formats.colmap.text import TextSource
from foldmap.geometry.quaternion import rigid_from_wxyz
from foldmap.types import DoubleArray

_CAMERA_SENSOR = {"CAMERA", "0"}
_HEAD = struct.Struct("<II")
_SENSOR = struct.Struct("<iI")
_POSE = struct.Struct("<7d")
_FRAME = struct.Struct("<II7dI")
_DATA = struct.Struct("<iIQ")


@dataclass(frozen=True)
class Rig:
    """Cameras mounted together; other sensors are left out.

    Attributes:
        rig_id: COLMAP's.
        reference: camera id of the sensor that is the rig's frame; None where that is no camera.
        camera_SE3_rig: by camera id, float64 (4, 4); the reference has the identity.
        uncalibrated: ids of cameras without a known mounting.
    """

    rig_id: int
    reference: int | None
    camera_SE3_rig: dict[int, DoubleArray]
    uncalibrated: tuple[int, ...]


@dataclass(frozen=True)
class Frame:
    """Images taken at once by a rig.

    Attributes:
        frame_id, rig_id: COLMAP's.
        rig_SE3_world: float64 (4, 4).
        images: COLMAP's id of the image of each camera, by camera id.
    """

    frame_id: int
    rig_id: int
    rig_SE3_world: DoubleArray
    images: dict[int, int]


def read_rigs(folder: Path) -> list[Rig]:
    """Read the rigs of a model.

    Args:
        folder: of the model or of the scene (`find_model`).

    Returns:
        In the file's order; empty where the model has no rigs file (COLMAP before 3.12).

    Raises:
        MapInputError: the file is cut short, damaged or foreign.
    """
    folder = find_model(folder)
    binary, text = folder / "rigs.bin", folder / "rigs.txt"
    if binary.is_file():
        return list(_binary_rigs(binary))
    return list(_text_rigs(text)) if text.is_file() else []


def read_frames(folder: Path) -> list[Frame]:
    """Read the frames of a model: frames.bin or frames.txt; otherwise as `read_rigs`."""
    folder = find_model(folder)
    binary, text = folder / "frames.bin", folder / "frames.txt"
    if binary.is_file():
        return list(_binary_frames(binary))
    return list(_text_frames(text)) if text.is_file() else []


def _binary_rigs(path: Path) -> Iterator[Rig]:
    with ByteSource(path) as source:
        for number in range(source.count(_HEAD.size, "rigs")):
            source.what = f"rig number {number + 1}"
            rig_id, sensors = _HEAD.unpack(source.take(_HEAD.size))
            mounted: list[tuple[str, int, tuple[float, ...] | None]] = []
            for sensor in range(sensors):
                kind, sensor_id = _SENSOR.unpack(source.take(_SENSOR.size))
                known = sensor > 0 and source.take(1) != b"\0"
                mounted.append((str(kind), sensor_id, _POSE.unpack(source.take(_POSE.size)) if known else None))
            yield _rig(path, rig_id, mounted)
        source.finish()


def _text_rigs(path: Path) -> Iterator[Rig]:
    source = TextSource(path, "rigs")
    count = 0
    for line in filter(source.is_record, source.lines()):
        tokens = iter(line.split())
        try:
            rig_id, sensors = int(next(tokens)), int(next(tokens))
            mounted: list[tuple[str, int, tuple[float, ...] | None]] = []
            for sensor in range(sensors):
                kind, sensor_id = next(tokens), int(next(tokens))
                known = sensor > 0 and int(next(tokens)) != 0
                mounted.append((kind, sensor_id, tuple(float(next(tokens)) for _ in range(7)) if known else None))
        except (ValueError, StopIteration, RuntimeError) as error:
            raise source.bad("this is no rig", "expected RIG_ID NUM_SENSORS and the sensors") from error
        _no_more(source, tokens)
        count += 1
        yield _rig(path, rig_id, mounted)
    source.check_count(count)


def _rig(path: Path, rig_id: int, mounted: list[tuple[str, int, tuple[float, ...] | None]]) -> Rig:
    """A rig of its sensors, the reference first."""
    poses: dict[int, DoubleArray] = {}
    uncalibrated = []
    reference = None
    for place, (kind, camera_id, pose) in enumerate(mounted):
        if kind not in _CAMERA_SENSOR:
            continue
        if camera_id in poses or camera_id in uncalibrated:
            raise MapInputError(f"{path}: rig {rig_id} holds camera {camera_id} twice", REWRITE)
        if place == 0:
            reference = camera_id
            poses[camera_id] = np.eye(4)
        elif pose is None:
            uncalibrated.append(camera_id)
        else:
            poses[camera_id] = _rigid(path, f"rig {rig_id}, camera {camera_id}", pose)
    return Rig(rig_id, reference, poses, tuple(uncalibrated))


def _binary_frames(path: Path) -> Iterator[Frame]:
    with ByteSource(path) as source:
        for number in range(source.count(_FRAME.size, "frames")):
            source.what = f"frame number {number + 1}"
            frame_id, rig_id, *pose, count = _FRAME.unpack(source.take(_FRAME.size))
            data = [_DATA.unpack(source.take(_DATA.size)) for _ in range(count)]
            images = {sensor: image for kind, sensor, image in data if str(kind) in _CAMERA_SENSOR}
            yield Frame(frame_id, rig_id, _rigid(path, f"frame {frame_id}", tuple(pose)), images)
        source.finish()


def _text_frames(path: Path) -> Iterator[Frame]:
    source = TextSource(path, "frames")
    total = 0
    for line in filter(source.is_record, source.lines()):
        tokens = iter(line.split())
        try:
            frame_id, rig_id = int(next(tokens)), int(next(tokens))
            pose = tuple(float(next(tokens)) for _ in range(7))
            count = int(next(tokens))
            data = [(next(tokens), int(next(tokens)), int(next(tokens))) for _ in range(count)]
        except (ValueError, StopIteration, RuntimeError) as error:
            raise source.bad("this is no frame", "expected FRAME_ID RIG_ID POSE NUM_DATA_IDS and the data") from error
        _no_more(source, tokens)
        total += 1
        images = {sensor: image for kind, sensor, image in data if kind in _CAMERA_SENSOR}
        yield Frame(frame_id, rig_id, _rigid(path, f"frame {frame_id}", pose), images)
    source.check_count(total)


def _no_more(source: TextSource, tokens: Iterator[str]) -> None:
    if next(tokens, None) is not None:
        raise source.bad("values are left over", REWRITE)


def _rigid(path: Path, what: str, pose: tuple[float, ...]) -> DoubleArray:
    try:
        with np.errstate(over="ignore"):  # absurd lengths become infinite, and are refused
            return rigid_from_wxyz(pose[:4], pose[4:])
    except FoldmapError as error:
        raise MapInputError(f"{path}: {what}: {error.message}", error.cure) from error
