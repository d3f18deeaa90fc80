"""PointCloud2 as sweeps: any layout of fields, organized or not, with the time of each point where it is told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from foldmap.errors import BagInputError, SweepInputError
from foldmap.formats.sweeps.cloud import INTENSITY_NAMES, Cloud, are_returns
from foldmap.types import AnyArray, DoubleArray

_KINDS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}
_TIMES = ("t", "time", "timestamp", "offset_time", "time_stamp", "time_offset", "ts")
_UNITS_S = (1.0, 1e-3, 1e-6, 1e-9)
_SHORTEST_S, _LONGEST_S = 2e-3, 0.9
"""How long one revolution takes; that tells the unit of the times."""
_MOST_POINTS = 1 << 24


@dataclass(frozen=True)
class TimedCloud:
    """Points with intensities, and when each was measured, in seconds after the stamp (N,), where that is known."""

    cloud: Cloud
    offsets_s: DoubleArray | None


def intensity_field(message: Any) -> str | None:
    """The field that holds reflectances: the first known name with values in it; None where there is none."""
    names = {field.name for field in message.fields}
    if not {"x", "y", "z"} <= names:
        return None
    found = [name for name in INTENSITY_NAMES if name in names]
    held = (name for name in found if _rows(message, [name])[name].any())
    return next(held, found[0] if found else None)


def read_cloud(message: Any, intensity: str, where: str, stamp_s: float) -> TimedCloud:
    """A sweep's points that are returns: finite, and not the origin.

    ``where`` names the message. Times of points become seconds after the stamp: see `offsets_s`.

    Raises `SweepInputError`: no points, no intensity; `BagInputError`: the fields do not fit the data.
    """
    names = {field.name for field in message.fields}
    missing = sorted({"x", "y", "z", intensity} - names)
    if missing:
        raise BagInputError(f"{where}: the cloud has no field {missing[0]}", "record x, y, z and an intensity")
    time = next((name for name in _TIMES if name in names), None)
    rows = _rows(message, ["x", "y", "z", intensity, *([time] if time else [])])
    points = np.stack([rows[axis].astype(np.float32) for axis in "xyz"], 1)
    values = rows[intensity]
    returned = np.isfinite(points).all(1) & are_returns(points)
    if values.dtype.kind == "f":
        returned &= np.isfinite(values)
    if not returned.any():
        raise SweepInputError(f"{where} has no returns", "leave it out")
    cloud = Cloud(Path(where), points[returned], np.ascontiguousarray(values[returned]))
    return TimedCloud(cloud, None if time is None else offsets_s(rows[time][returned], stamp_s))


def offsets_s(times: AnyArray, stamp_s: float) -> DoubleArray | None:
    """Seconds after the stamp (N,) of times in whatever unit a driver writes; None where they tell nothing.

    Ouster's ``t`` and Livox' ``offset_time`` count nanoseconds, Velodyne's ``time`` seconds since the stamp;
    ``timestamp`` of Hesai (s) and of Livox (ns) is absolute. A revolution takes between 2 ms and 0.9 s, so of the four
    units no more than one is possible. Absolute times of another clock than the stamp's tell nothing.
    """
    raw = times.astype(np.float64)
    if not np.isfinite(raw).all():
        return None
    span = float(raw.max() - raw.min())
    unit_s = next((unit for unit in _UNITS_S if _SHORTEST_S <= span * unit <= _LONGEST_S), None)
    if unit_s is None:
        return None
    seconds = raw * unit_s
    if float(np.abs(seconds).max()) > 1.0:
        seconds = seconds - stamp_s
    return seconds if float(np.abs(seconds).max()) <= 1.0 else None


def _rows(message: Any, names: list[str]) -> AnyArray:
    """Some fields of all points, a structured array (N,); of a field of several values the first."""
    width, height, step = int(message.width), int(message.height), int(message.point_step)
    if width * height > _MOST_POINTS or step <= 0:
        raise BagInputError(f"a cloud of {width} x {height} points of {step} bytes", "record sweeps")
    chosen = {field.name: field for field in message.fields if field.name in names}
    order = ">" if message.is_bigendian else "<"
    formats, offsets = [], []
    for name in names:
        kind, offset = _KINDS.get(int(chosen[name].datatype)), int(chosen[name].offset)
        if kind is None or not 0 <= offset <= step - int(kind[1]):
            raise BagInputError(f"the field {name} does not fit into points of {step} bytes", "record it again")
        formats.append(order + kind)
        offsets.append(offset)
    layout = np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": step})
    data = np.frombuffer(message.data, np.uint8)
    row = int(message.row_step) if height > 1 and int(message.row_step) else width * step
    if row < width * step or len(data) < (row * (height - 1) + width * step if height else 0):
        raise BagInputError(f"a cloud of {width} x {height} points has {len(data)} bytes", "record it again")
    if row > width * step:
        whole = np.zeros(row * height, np.uint8)
        whole[: min(len(data), len(whole))] = data[: len(whole)]
        data = np.ascontiguousarray(whole.reshape(height, row)[:, : width * step]).reshape(-1)
    return data[: width * height * step].view(layout)
