"""What `foldmap localize` says about photos: a JSON line a query, with status, pose, covariance and diagnostics.

Each line is an object::

    {"query": "a/0017.jpg", "status": "ok", "pose": [qw, qx, qy, qz, tx, ty, tz], "covariance": [[6 x 6]],
     "images": ["a/0017.jpg"], "image_poses": [[qw, ...]], "diagnostics": {...}}

``pose`` is camera_SE3_world (of a rig: rig_SE3_world), ``image_poses`` the camera_SE3_world of each image; all three
are null where nothing was answered.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from foldmap.errors import PoseInputError
from foldmap.formats.listing import content, pose_numbers, write_lines
from foldmap.geometry.quaternion import rigid_from_wxyz
from foldmap.localize.visual.estimate import CameraEstimate
from foldmap.types import AnyArray, DoubleArray

_CURE = "write it again with foldmap localize"


@dataclass(frozen=True)
class CameraAnswer:
    """What was answered about the images of one query: one image, or those of a rig.

    Attributes:
        camera_SE3_world: float64 (4, 4), one an image, or None where nothing was answered.
    """

    query: str
    images: tuple[str, ...]
    status: str
    camera_SE3_world: tuple[DoubleArray, ...] | None


def image_poses(estimate: CameraEstimate, camera_SE3_rig: Sequence[AnyArray | None]) -> tuple[DoubleArray, ...] | None:
    """The poses of a query's images, camera_SE3_world, one an entry of the extrinsics (None: the rig's own frame)."""
    world = estimate.camera_SE3_world
    if world is None:
        return None
    return tuple(world if inside is None else np.asarray(inside, np.float64) @ world for inside in camera_SE3_rig)


def write_answers(
    path: Path | str,
    queries: Sequence[tuple[str, Sequence[str], Sequence[AnyArray | None]]],
    estimates: Sequence[CameraEstimate],
) -> None:
    """Write a line a query: its name, images and their camera_SE3_rig (None for a single camera), and its estimate."""
    lines = []
    for (query, images, extrinsics), estimate in zip(queries, estimates, strict=True):
        poses = image_poses(estimate, extrinsics)
        row = {
            "query": query,
            "status": estimate.status.value,
            "pose": None if estimate.camera_SE3_world is None else pose_numbers(estimate.camera_SE3_world),
            "covariance": None if estimate.covariance is None else estimate.covariance.tolist(),
            "images": list(images),
            "image_poses": None if poses is None else [pose_numbers(pose) for pose in poses],
            "diagnostics": {key: _plain(value) for key, value in asdict(estimate.diagnostics).items()},
        }
        lines.append(json.dumps(row, ensure_ascii=False, allow_nan=False))
    write_lines(path, lines)


def read_answers(path: Path | str) -> list[CameraAnswer]:
    """Read what `write_answers` wrote; a PoseInputError names the line that is no such object."""
    answers = []
    for line, text in content(path, "the JSON lines of foldmap localize"):
        try:
            answers.append(_answer(json.loads(text)))
        except (ValueError, KeyError, TypeError, PoseInputError) as error:
            reason = error.message if isinstance(error, PoseInputError) else str(error)
            raise PoseInputError(f"{path}, line {line}: no answer about a camera: {reason}", _CURE) from error
    return answers


def is_about_images(path: Path) -> bool:
    """Whether a file holds JSON lines about images; those about sweeps are others."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return '"image_poses"' in file.readline()
    except OSError:
        return False


def _answer(row: Any) -> CameraAnswer:
    query, status, images, poses = row["query"], row["status"], row["images"], row["image_poses"]
    if not (isinstance(query, str) and isinstance(status, str) and isinstance(images, list)):
        raise ValueError("query, status or images are of another kind")
    if poses is None:
        return CameraAnswer(query, tuple(str(name) for name in images), status, None)
    sevens = np.array(poses, dtype=np.float64)
    if sevens.shape != (len(images), 7):
        raise ValueError(f"poses of shape {sevens.shape} for {len(images)} images")
    rigid = rigid_from_wxyz(sevens[:, :4], sevens[:, 4:])
    return CameraAnswer(query, tuple(str(name) for name in images), status, tuple(rigid))


def _plain(value: Any) -> Any:
    """Numbers that JSON has; infinite evidence becomes text, NaN nothing."""
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else ("inf" if value > 0 else "-inf")
    return value
