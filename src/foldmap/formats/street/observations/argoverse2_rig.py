"""Argoverse 2: camera calibration (feather tables)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from foldmap.errors import MapInputError
from foldmap.formats.extras import extra
from foldmap.formats.naming import naming
from foldmap.geometry import Camera
from foldmap.geometry.quaternion import rigid_from_wxyz
from foldmap.street.images.observation import CameraRing
from foldmap.types import AnyArray, DoubleArray

GROUND_Z_M = -0.33
"""Height of the ground in the egovehicle frame, whose origin is the middle of the rear axle: a wheel's radius."""

_POSE = ("qw", "qx", "qy", "qz", "tx_m", "ty_m", "tz_m")
_INTRINSIC = ("fx_px", "fy_px", "cx_px", "cy_px", "k1", "k2", "k3")
_MAX_BYTES = 1 << 30


def read_ring(
    intrinsics: Path,
    egovehicle_SE3_sensor: Path,
    cameras: str | Sequence[str] = "ring_",
    distorted: bool = False,
    ground_z_m: float = GROUND_Z_M,
) -> CameraRing:
    """Read the cameras of a log from ``intrinsics.feather``, in its order, and ``egovehicle_SE3_sensor.feather``.

    ``cameras`` are the names of those to take, or their start ("ring_" leaves the stereo pair out). The images that
    Argoverse publishes are undistorted already, for which cameras are PINHOLE; ``distorted`` gives the lens with k1,
    k2, k3 (FULL_OPENCV), as the raw images were. Without pyarrow this is a MissingExtraError.
    """
    lens = _table(intrinsics, ("sensor_name", *_INTRINSIC, "height_px", "width_px"))
    poses = _table(egovehicle_SE3_sensor, ("sensor_name", *_POSE))
    names = [str(name) for name in lens["sensor_name"]]
    taken = [name for name in names if name.startswith(cameras)] if isinstance(cameras, str) else list(cameras)
    missing = [name for name in taken if name not in names]
    if missing or not taken:
        lost = missing[0] if missing else repr(cameras)
        raise MapInputError(f"{intrinsics} has no camera {lost}", f"it has {', '.join(names) or 'none'}")
    placed = [str(name) for name in poses["sensor_name"]]
    found, rows = [], []
    for name in taken:
        if placed.count(name) != 1 or names.count(name) != 1:
            raise MapInputError(f"{egovehicle_SE3_sensor}: {name} has {placed.count(name)} poses", "give it one")
        found.append(_camera(lens, names.index(name), distorted, f"{intrinsics}, {name}"))
        rows.append(placed.index(name))
    with naming(egovehicle_SE3_sensor, MapInputError):
        return CameraRing(tuple(taken), tuple(found), _rigid(poses, rows), ground_z_m)


def _camera(lens: dict[str, AnyArray], row: int, distorted: bool, where: str) -> Camera:
    fx, fy, cx, cy, k1, k2, k3 = (float(lens[name][row]) for name in _INTRINSIC)
    model = "FULL_OPENCV" if distorted else "PINHOLE"
    params = [fx, fy, cx, cy, k1, k2, 0.0, 0.0, k3, 0.0, 0.0, 0.0] if distorted else [fx, fy, cx, cy]
    with naming(where):
        return Camera(model, int(lens["width_px"][row]), int(lens["height_px"][row]), np.array(params))


def _rigid(table: dict[str, AnyArray], rows: list[int]) -> DoubleArray:
    columns = np.stack([np.asarray(table[name], np.float64)[rows] for name in _POSE], 1)
    return rigid_from_wxyz(columns[:, :4], columns[:, 4:])


def _table(path: Path, columns: tuple[str, ...]) -> dict[str, AnyArray]:
    """Columns of a feather file as arrays; numbers unless the name says otherwise."""
    arrow = extra("pyarrow", "reading feather files")
    feather: Any = extra("pyarrow.feather", "reading feather files")
    path = Path(path)
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise MapInputError(f"{path} is larger than 1 GiB", "this cannot be a calibration")
        table = feather.read_table(str(path), memory_map=False)
        missing = [name for name in columns if name not in table.column_names]
        if missing:
            raise MapInputError(f"{path} has no column {missing[0]}", f"it has {', '.join(table.column_names)}")
        table = table.select(list(columns))
        table.validate(full=True)
        found: dict[str, AnyArray] = {name: table.column(name).to_numpy() for name in columns}
    except OSError as caught:
        raise MapInputError(f"{path} cannot be read: {str(caught)[:200]}", "give a feather file") from caught
    except (arrow.ArrowException, ValueError) as caught:
        said = f"{path} is no feather file, or damaged: {str(caught)[:200]}"
        raise MapInputError(said, "give one of Argoverse 2") from caught
    for name, values in found.items():
        if table.column(name).null_count or (name != "sensor_name" and values.dtype.kind not in "iuf"):
            raise MapInputError(f"{path}: column {name} has empty or other than number entries", "complete it")
    return found
