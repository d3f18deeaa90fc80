"""Rigs and frames of COLMAP models (3.12 and later): cameras mounted together, images taken at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from foldmap.errors import MapInputError
from foldmap.formats.colmap.binary import ByteSource
from foldmap.formats.colmap.files import REWRITE, find_model
from foldmap.formats.colmap.text import TextSource
from foldmap.formats.naming import naming
from foldmap.geometry.quaternion import rigid_from_wxyz
from foldmap.types import DoubleArray

_CAMERA = ("CAMERA", 0)
_SMALLEST = {"rigs": 8, "frames": 68}
_Record = TypeVar("_Record")
_Next = Callable[[str], Any]
"""Gives the next value of a record, by its code of `struct`; ``k`` is the kind of a sensor, int32 or a word."""


@dataclass(frozen=True)
class Rig:
    """Cameras mounted together, float64 (4, 4) by COLMAP's id; other sensors are left out.

    ``reference`` is the camera that is the rig's frame, None where that is no camera; ``uncalibrated`` are those
    without a known mounting.
    """

    rig_id: int
    reference: int | None
    camera_SE3_rig: dict[int, DoubleArray]
    uncalibrated: tuple[int, ...]


@dataclass(frozen=True)
class Frame:
    """Images taken at once by a rig: COLMAP's id of the image of each camera, by camera id; rig_SE3_world (4, 4)."""

    frame_id: int
    rig_id: int
    rig_SE3_world: DoubleArray
    images: dict[int, int]


def read_rigs(folder: Path) -> list[Rig]:
    """The rigs of a model (`find_model`), in the file's order; none where it has no rigs file (COLMAP before 3.12)."""
    return _read(find_model(folder), "rigs", _rig)


def read_frames(folder: Path) -> list[Frame]:
    """The frames of a model, as `read_rigs`."""
    return _read(find_model(folder), "frames", _frame)


def _read(folder: Path, stem: str, record: Callable[[Path, _Next], _Record]) -> list[_Record]:
    """All records of ``STEM.bin``, else of ``STEM.txt``."""
    path, found = folder / f"{stem}.bin", []
    if path.is_file():
        with ByteSource(path) as binary:
            for number in range(binary.count(_SMALLEST[stem], stem)):
                binary.what = f"{stem[:-1]} number {number + 1}"
                found.append(record(path, lambda code: binary.unpack(code.replace("k", "i"))[0]))
        return found
    path = folder / f"{stem}.txt"
    text = TextSource(path, stem)
    for words in text.records() if path.is_file() else ():
        left = iter(words)
        with text.expecting(f"a {stem[:-1]}, as COLMAP writes it"):
            found.append(record(path, lambda code, left=left: _value(code, next(left))))  # type: ignore[misc]
        if next(left, None) is not None:
            raise text.bad("values are left over", REWRITE)
    text.check_count(len(found))
    return found


def _value(code: str, word: str) -> str | int | float:
    return word if code == "k" else float(word) if code == "d" else int(word)


def _rig(path: Path, following: _Next) -> Rig:
    """A rig of its sensors, the reference first."""
    rig_id, sensors = following("I"), following("I")
    poses: dict[int, DoubleArray] = {}
    uncalibrated = []
    reference = None
    for place in range(sensors):
        kind, camera_id = following("k"), following("I")
        known = place > 0 and bool(following("B"))
        pose = [following("d") for _ in range(7)] if known else None
        if kind not in _CAMERA:
            continue
        if camera_id in poses or camera_id in uncalibrated:
            raise MapInputError(f"{path}: rig {rig_id} holds camera {camera_id} twice", REWRITE)
        if place == 0:
            reference, poses[camera_id] = camera_id, np.eye(4)
        elif pose is None:
            uncalibrated.append(camera_id)
        else:
            poses[camera_id] = _rigid(f"{path}: rig {rig_id}, camera {camera_id}", pose)
    return Rig(rig_id, reference, poses, tuple(uncalibrated))


def _frame(path: Path, following: _Next) -> Frame:
    frame_id, rig_id = following("I"), following("I")
    pose = [following("d") for _ in range(7)]
    data = [(following("k"), following("I"), following("Q")) for _ in range(following("I"))]
    images = {sensor: image for kind, sensor, image in data if kind in _CAMERA}
    return Frame(frame_id, rig_id, _rigid(f"{path}: frame {frame_id}", pose), images)


def _rigid(where: str, pose: list[float]) -> DoubleArray:
    with naming(where, MapInputError), np.errstate(over="ignore"):  # absurd lengths become infinite, and are refused
        return rigid_from_wxyz(pose[:4], pose[4:])
