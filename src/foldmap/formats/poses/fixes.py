"""Fixes of a satellite receiver: a line each, east, north and standard deviation in the map's frame, or degrees.

``time east north sigma`` without a header, TUM rows, or a table whose first line names its columns; of that, time and
sigma may be missing and other columns are passed over. Rows in which the receiver had no fix are passed over, too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foldmap.errors import ConfigError, PoseInputError
from foldmap.formats.listing import is_number
from foldmap.formats.name_times import seconds_per_unit
from foldmap.formats.poses.trajectories import pose_columns, read_tum_poses
from foldmap.formats.street.observations.track import require_metres_of_track
from foldmap.formats.textual import numbers, read_text
from foldmap.geometry.association import associate_times
from foldmap.types import BoolArray, DoubleArray

WHAT = (
    "rows time east north sigma, or a first line of names: time_s (a number), latitude and longitude (or east, north), "
    "sigma_m"
)
_NAMES = {
    "time": "t time timestamp time_stamp stamp sec seconds unix_time gps_time",
    "east": "east easting x east_m easting_m x_m",
    "north": "north northing y north_m northing_m y_m",
    "latitude": "latitude lat latitude_deg lat_deg",
    "longitude": "longitude lon lng long longitude_deg lon_deg",
    "status": "status fix_status status.status",
    "sigma": "sigma sigma_m std std_m stddev accuracy accuracy_m hacc horizontal_accuracy horizontal_accuracy_m",
}
_KIND = {name: kind for kind, names in _NAMES.items() for name in names.split()}
_UNIT = re.compile(r"\s*[\[(].*?[\])]\s*$|_(?:s|sec|ns|ms|us)$")
_TICKS = re.compile(r"(?:[\[(]|_)\s*(ms|us|ns)\s*[\])]?\s*$")
_LEAST_SIGMA_M = 1e-3
_TICK_S = {"ms": 1e-3, "us": 1e-6, "ns": 1e-9}


@dataclass(frozen=True)
class Fixes:
    """Fixes in the order of their lines.

    Attributes:
        path: of the file.
        xy: float64 (N, 2), east and north in metres, or where ``in_degrees`` longitude and latitude.
        sigma_m: (N,) standard deviation along each axis.
        in_degrees: whether they are on WGS84 instead of in the map's frame.
        times_s: (N,) seconds, None where the file has no times.
    """

    path: Path
    xy: DoubleArray
    sigma_m: DoubleArray
    in_degrees: bool
    times_s: DoubleArray | None = None

    def __len__(self) -> int:
        return len(self.xy)

    def in_crs(self, crs: str) -> DoubleArray:
        """East and north in the crs of a map, float64 (N, 2); a PoseInputError where degrees meet a map without one."""
        if not self.in_degrees:
            return self.xy
        if not crs:
            said = f"{self.path} gives latitude and longitude, and the map is in a local frame, without a crs"
            raise PoseInputError(said, "give east and north in the map's frame, or fold the map with its crs")
        from foldmap.formats.crs import fixes_in

        return fixes_in(self.xy, crs, str(self.path))

    def of_sweeps(self, times_s: DoubleArray | None, count: int, limit_s: float) -> tuple[list[int | None], str]:
        """The fix of each of so many sweeps, and in words how they were paired.

        By time where both have times, each fix with the nearest sweep at most ``limit_s`` away; else by number.
        """
        if self.times_s is None or times_s is None:
            if len(self) != count:
                which = "the fixes have no times" if self.times_s is None else "the sweeps have no times"
                cure = "give one fix a sweep, or times to both: in the fixes, and in the poses or the names of sweeps"
                raise PoseInputError(f"{self.path} holds {len(self)} fixes for {count} sweeps, and {which}", cure)
            return list(range(count)), f"{count} fixes by number"
        rows, fixes, apart_s = associate_times(times_s, self.times_s, limit_s)
        if not len(rows):
            spans = [f"{each.min():.10g} to {each.max():.10g} s" for each in (self.times_s, times_s)]
            said = f"{self.path}: no fix lies within {limit_s:.3g} s of a sweep; fixes are of {spans[0]}, sweeps of"
            raise PoseInputError(
                f"{said} {spans[1]}", "give fixes in the clock of the sweeps, or without times, a line each"
            )
        found: list[int | None] = [None] * count
        for row, fix in zip(rows.tolist(), fixes.tolist(), strict=True):
            found[row] = fix
        most_ms = 1e3 * float(np.abs(apart_s).max())
        return found, f"{len(rows)} of {len(self)} fixes by time, at most {most_ms:.3g} ms apart"


def read_fixes(path: Path | str, sigma_m: float = 2.0) -> Fixes:
    """Read a file of fixes; ``sigma_m`` is the standard deviation of those that say none.

    Raises:
        PoseInputError: the file cannot be read or used; the message names the line.
    """
    path = Path(path)
    if not (np.isfinite(sigma_m) and sigma_m > 0):
        raise ConfigError(f"fixes with a standard deviation of {sigma_m} m", "give positive metres")
    rows = [
        (
            number,
            [word.strip() for word in text.lstrip("#% \t").split(next((mark for mark in ";," if mark in text), None))],
            text.startswith("#"),
        )
        for number, text in enumerate(read_text(path, f"give {WHAT}").splitlines(), start=1)
        if text.strip()
    ]
    columns: dict[str, int] | None = None
    ticks_s: float | None = None
    data: list[tuple[int, list[str]]] = []
    for number, words, comment in rows:
        if not comment and (data or columns is not None or is_number(words[0])):
            data.append((number, words))
        elif columns is None and not data:
            columns, ticks_s = _named(words)
            if columns is None and not comment:
                raise PoseInputError(f"{path}, line {number}: no columns of fixes are named", f"give {WHAT}")
    if not data:
        raise PoseInputError(f"{path} holds no fixes", f"give {WHAT}")
    if columns is None:
        if len(data[0][1]) == 8 or pose_columns(path) is not None:
            times_s, poses = read_tum_poses(path)
            xy = np.array([pose.translation_m[:2] for pose in poses])
            return Fixes(path, xy, np.full(len(xy), sigma_m), False, times_s)
        columns = {"time": 0, "east": 1, "north": 2, "sigma": 3}
        if len(data[0][1]) != 4:
            raise PoseInputError(f"{path}, line {data[0][0]}: {len(data[0][1])} columns without names", f"give {WHAT}")
    values = _values(path, data, columns)
    taken = _taken(path, values)
    values = {kind: column[taken] for kind, column in values.items()}
    data = [data[int(row)] for row in np.flatnonzero(taken)]
    _check(path, data, values)
    if "latitude" not in values:
        require_metres_of_track(path, np.stack([values["east"], values["north"]], 1))
    sigmas = values.get("sigma", np.full(len(data), sigma_m))
    in_degrees = "latitude" in values
    xy = np.stack([values["longitude"], values["latitude"]] if in_degrees else [values["east"], values["north"]], 1)
    times = values.get("time")
    if times is not None:
        times = times * (ticks_s or seconds_per_unit(float(np.abs(times).max())))
    return Fixes(path, xy, sigmas, in_degrees, times)


def _named(words: list[str]) -> tuple[dict[str, int] | None, float | None]:
    """Columns by kind as a header names them, and what a unit of time is; None where it names no place."""
    found: dict[str, int] = {}
    ticks_s = None
    for column, word in enumerate(words):
        name = word.strip().lower().replace(" ", "_").removeprefix("field.").removeprefix("header.")  # rostopic echo -p
        kind = _KIND.get(name) or _KIND.get(_UNIT.sub("", name).rstrip("_"))
        if kind is not None and kind not in found:
            found[kind] = column
            tick = _TICKS.search(name) if kind == "time" else None
            ticks_s = _TICK_S[tick[1]] if tick else ticks_s
    if {"latitude", "longitude"} <= set(found):
        return {kind: at for kind, at in found.items() if kind not in ("east", "north")}, ticks_s
    if {"east", "north"} <= set(found):
        return {kind: at for kind, at in found.items() if kind not in ("latitude", "longitude")}, ticks_s
    return None, None


def _values(path: Path, data: list[tuple[int, list[str]]], columns: Mapping[str, int]) -> dict[str, DoubleArray]:
    """The columns as float64 (N,); a line that lacks one, or has no number there, is named."""
    least, rows = max(columns.values()) + 1, []
    for number, words in data:
        if len(words) < least:
            raise PoseInputError(f"{path}, line {number}: {len(words)} columns", f"give {WHAT}")
        rows.append(numbers(path, number, [words[at] for at in columns.values()], f"numbers in {', '.join(columns)}"))
    return dict(zip(columns, np.array(rows).T, strict=True))


def _taken(path: Path, values: Mapping[str, DoubleArray]) -> BoolArray:
    """Which rows a receiver had a fix in: without one many write latitude and longitude 0, or a status below 0."""
    none = values["status"] < 0 if "status" in values else np.zeros(len(next(iter(values.values()))), np.bool_)
    if "latitude" in values:
        none = none | ((values["latitude"] == 0) & (values["longitude"] == 0))
    if none.all() or ("time" not in values and none.any()):
        said = "the receiver had no fix" if none.all() else f"the receiver had no fix in row {int(none.argmax()) + 1}"
        raise PoseInputError(f"{path}: {said}", "give rows in which it had one, with times where some are missing")
    return np.asarray(~none)


def _check(path: Path, data: list[tuple[int, list[str]]], values: Mapping[str, DoubleArray]) -> None:
    """Refuse what is no place, and what is no standard deviation, by its line."""
    wrong: list[tuple[str, str, Callable[[DoubleArray], BoolArray], str]] = [
        ("sigma", "the standard deviation is {}", lambda value: value < _LEAST_SIGMA_M, "give metres, 0.001 or more"),
        ("latitude", "{} is no latitude", lambda value: np.abs(value) > 90, "give degrees under the right name"),
        ("longitude", "{} is no longitude", lambda value: np.abs(value) > 360, "give degrees under the right name"),
    ]
    for kind, said, is_wrong, cure in wrong:
        at = np.flatnonzero(is_wrong(values[kind])) if kind in values else np.zeros(0, np.int64)
        if len(at):
            value = f"{values[kind][at[0]]:g}"
            raise PoseInputError(f"{path}, line {data[int(at[0])][0]}: {said.format(value)}", cure)
