"""Whether the tables of a drive can be what their columns say, in their units and in one clock."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from foldmap.errors import PoseInputError
from foldmap.formats.name_times import seconds_per_unit
from foldmap.formats.street.observations.track import require_headings, require_metres_of_track
from foldmap.types import DoubleArray

_FASTEST_MPS, _FASTEST_RADPS = 60.0, 2 * math.pi
_SIDEWAYS_MPS2 = 30.0
"""No vehicle drives a curve at three times its weight."""
_OFTEN = 95
"""Percentile that has to be possible: single rows may be noise."""
_APART_S, _SILENT_S = 5.0, 60.0  # of motion; of what is seen, which a drive may bring for a part of its way
_ASIDE, _APART_M = 2.0, 5.0  # no vehicle drives more to the side than ahead, where it drives
_MOTION = ("odometry", "twist", "yaw_rate")


def check_tables(folder: Path, rows: Mapping[str, DoubleArray], spans_s: Mapping[str, tuple[float, float]]) -> None:
    """Check the tables of a drive, each float64 (N, columns) with times first; a PoseInputError names the table.

    ``spans_s`` are the first and last times of all tables, fixes among them.
    """
    for name, span in spans_s.items():
        if seconds_per_unit(max(map(abs, span))) != 1:
            raise PoseInputError(f"{folder}: times of {name} such as {span[0]:.6g} are no seconds", "give seconds")
    seen = [name for name in ("sweeps", "images", "fixes") if name in spans_s]
    for name in (name for name in (*seen, *_MOTION, "truth") if name in spans_s):
        others = [spans_s[other] for other in seen if other != name]
        if not others:
            continue
        first_s, last_s = min(span[0] for span in others), max(span[1] for span in others)
        apart_s = max(spans_s[name][0] - last_s, first_s - spans_s[name][1])
        if apart_s > (_SILENT_S if name in seen else _APART_S):
            said = f"{folder}: {name} is of {spans_s[name][0]:.10g} to {spans_s[name][1]:.10g} s, observations of"
            raise PoseInputError(f"{said} {first_s:.10g} to {last_s:.10g} s", "give times of one clock")
    for name, table in rows.items():
        if name == "odometry" and len(table) > 1:
            _check_steps(folder, table)
        elif name in ("twist", "yaw_rate") and len(table):
            speed = table[:, 1] if name == "twist" else np.zeros(len(table))
            _check_rates(folder, name, speed, table[:, -1] if table.shape[1] > 2 or name == "yaw_rate" else 0 * speed)
    if "truth" in rows:
        require_metres_of_track(folder / "truth", rows["truth"][:, 1:3])
        require_headings(folder / "truth", "heading_rad", rows["truth"][:, 1:3], rows["truth"][:, 3])


def _check_steps(folder: Path, table: DoubleArray) -> None:
    """Odometry is how far the vehicle came since the row before."""
    if np.abs(table[:, 3]).max() > math.pi + 1e-6:
        what = f"turns between rows of odometry such as {table[np.abs(table[:, 3]).argmax(), 3]:.4g} rad"
        raise PoseInputError(f"{folder}: {what}", "give radians, since the row before")
    lasted_s = np.diff(table[:, 0])
    speed_mps = np.hypot(table[1:, 1], table[1:, 2])[lasted_s > 0] / lasted_s[lasted_s > 0]
    if len(speed_mps) and float(np.percentile(speed_mps, _OFTEN)) > _FASTEST_MPS:
        said = f"the steps of odometry make {np.percentile(speed_mps, _OFTEN):,.0f} m/s"
        cure = "give metres since the row before (previous_SE2_current), not poses in one frame"
        raise PoseInputError(f"{folder}: {said}", cure)
    ahead_m, left_m = np.abs(table[1:, 1:3]).sum(axis=0)
    if left_m > max(_ASIDE * ahead_m, _APART_M):
        said = f"the steps of odometry go {left_m:.1f} m to the side and {ahead_m:.1f} m ahead"
        raise PoseInputError(f"{folder}: {said}", "give x_m ahead and y_m to the left of the vehicle")
    whole_s = lasted_s > 0
    _check_rates(folder, "odometry", speed_mps, table[1:, 3][whole_s] / lasted_s[whole_s])


def _check_rates(folder: Path, name: str, speed_mps: DoubleArray, rate_radps: DoubleArray) -> None:
    if not len(speed_mps):
        return
    fast, turning = (float(np.percentile(np.abs(each), _OFTEN)) for each in (speed_mps, rate_radps))
    if fast > _FASTEST_MPS:
        raise PoseInputError(f"{folder}: speeds of {name} reach {fast:.4g} m/s", "give metres a second")
    if turning > _FASTEST_RADPS or float(np.percentile(np.abs(speed_mps * rate_radps), _OFTEN)) > _SIDEWAYS_MPS2:
        said = f"yaw rates of {name} reach {turning:.4g} rad/s"
        raise PoseInputError(f"{folder}: {said}, which no vehicle does at its speed", "give radians a second")
