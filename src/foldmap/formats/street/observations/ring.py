"""A camera ring as JSON: anybody's calibration in one small file.

::

    {"ground_z_m": -0.33,
     "cameras": [{"name": "front", "model": "OPENCV", "width_px": 1920, "height_px": 1080,
                  "params": [1100, 1100, 960, 540, -0.1, 0.01, 0, 0],
                  "vehicle_SE3_camera": [[0, 0, 1, 1.6], [-1, 0, 0, 0], [0, -1, 0, 1.4], [0, 0, 0, 1]]}]}

Models and parameters are COLMAP's (`foldmap.geometry.camera`), the first pixel's centre is (0.5, 0.5). Vehicle frame x
ahead, y left, z up; camera frame x right, y down, z ahead; metres.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from foldmap.atlas.whole import write_whole
from foldmap.errors import MapInputError
from foldmap.formats.naming import naming
from foldmap.formats.street.reading import FARTHEST_M
from foldmap.formats.street.untrusted import read_json
from foldmap.geometry import Camera
from foldmap.geometry.camera import require_plausible
from foldmap.street.images.observation import CameraRing

_WHAT = "a camera ring: JSON with cameras, each with name, model, width_px, height_px, params, vehicle_SE3_camera"


def read_ring_file(path: Path | str) -> CameraRing:
    """Read a ring."""
    path = Path(path)
    content = read_json(path, _WHAT)
    cameras = content.get("cameras") if isinstance(content, Mapping) else None
    if not isinstance(cameras, list) or not cameras:
        raise MapInputError(f"{path} lists no cameras", f"give {_WHAT}")
    names, lenses, poses = [], [], []
    for number, row in enumerate(cameras):
        if not isinstance(row, Mapping) or not isinstance(row.get("name"), str):
            raise MapInputError(f"{path}: camera {number} has no name", f"give {_WHAT}")
        names.append(row["name"])
        lenses.append(_lens(path, row))
        poses.append(_numbers(path, row, "vehicle_SE3_camera", (4, 4)))
    ground_z_m = content.get("ground_z_m", 0.0)
    if isinstance(ground_z_m, bool) or not isinstance(ground_z_m, (int, float)) or not abs(ground_z_m) < FARTHEST_M:
        raise MapInputError(f"{path} has the ground_z_m {str(ground_z_m)[:40]}", "give metres, as a number")
    with naming(path):
        return CameraRing(tuple(names), tuple(lenses), np.stack(poses), float(ground_z_m))


def write_ring_file(path: Path | str, ring: CameraRing) -> None:
    """Write a ring such that `read_ring_file` returns it bit for bit."""
    cameras = []
    for name, camera, pose in zip(ring.names, ring.cameras, ring.vehicle_SE3_camera, strict=True):
        lens = {"model": camera.model, "width_px": camera.width_px, "height_px": camera.height_px}
        values = {"params": camera.params.tolist(), "vehicle_SE3_camera": pose.tolist()}
        cameras.append({"name": name, **lens, **values})
    text = json.dumps({"ground_z_m": ring.ground_z_m, "cameras": cameras}, indent=1)
    write_whole(path, text + "\n")


def _lens(path: Path, row: Mapping[str, Any]) -> Camera:
    missing = [k for k in ("model", "width_px", "height_px", "params", "vehicle_SE3_camera") if k not in row]
    if missing:
        raise MapInputError(f"{path}: {row['name']} is not calibrated, it has no {missing[0]}", f"give {_WHAT}")
    size = [row["width_px"], row["height_px"]]
    if not all(isinstance(side, int) and not isinstance(side, bool) for side in size):
        raise MapInputError(f"{path}: {row['name']} has the size {size}", "give whole pixels")
    params = _numbers(path, row, "params", None)
    with naming(f"{path}: {row['name']}"):
        camera = Camera(str(row["model"]), size[0], size[1], params)
        require_plausible(camera)
        return camera


def _numbers(path: Path, row: Mapping[str, Any], key: str, shape: tuple[int, ...] | None) -> Any:
    try:
        values = np.array(row[key], np.float64)
    except (TypeError, ValueError, KeyError, OverflowError) as error:
        raise MapInputError(f"{path}: {row['name']} has no numbers in {key}", f"give {_WHAT}") from error
    if (shape is not None and values.shape != shape) or values.ndim not in (1, 2) or not np.isfinite(values).all():
        raise MapInputError(f"{path}: {row['name']} has {key} of shape {values.shape}", "give finite numbers, all")
    return values
