"""Whether poses of a vehicle are in the units that their table says, judged by how the vehicle moved."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from foldmap.errors import PoseInputError
from foldmap.types import DoubleArray

_LEAST_STEPS = 5
_STEP_M = (0.2, 100.0)
"""Between poses one after another: nearer ones have no direction, farther ones are of no one drive."""
_FITS_RAD, _OFF_RAD = math.radians(15), math.radians(30)
_CREEP, _ISLAND_DEG = 2e-3, 1.0
_FROM_NORTH: Mapping[str, Callable[[DoubleArray], DoubleArray]] = {
    "degrees, clockwise from north": lambda values: np.pi / 2 - np.radians(values),
    "radians, clockwise from north": lambda values: np.pi / 2 - values,
}
_READINGS: Mapping[str, Mapping[str, Callable[[DoubleArray], DoubleArray]]] = {
    "heading_rad": {"degrees, counter-clockwise from x": np.radians, **_FROM_NORTH},
    "heading_deg": {"radians, counter-clockwise from x": lambda values: values, **_FROM_NORTH},
}
"""What else the numbers of a column of headings may be, to radians counter-clockwise from x."""


def require_metres_of_track(path: Path, xy: DoubleArray) -> None:
    """Refuse positions (N, 2) along a drive that can only be longitude and latitude, in either order.

    They lie within 180 by 180 and not about 0, 0; all within one unit; and go somewhere in steps of less than 2 mm,
    which no vehicle does: one that stands jitters about a place.
    """
    if len(xy) < 3 or np.abs(xy).max() > 180 or np.abs(xy).max() < _ISLAND_DEG or np.ptp(xy, axis=0).max() > 1:
        return
    steps = np.hypot(*np.diff(xy, axis=0).T)
    gone = float(np.hypot(*np.ptp(xy, axis=0)))
    if steps.any() and np.median(steps[steps > 0]) < _CREEP and gone > max(steps.sum() / 2, 1e-5):
        first = f"({xy[0, 0]:.7g}, {xy[0, 1]:.7g})"
        cure = "project them to the metric frame of the map, such as UTM"
        raise PoseInputError(f"{path}: positions such as {first} are degrees, not metres", cure)


def require_headings(
    path: Path, unit: str, xy_m: DoubleArray, values: DoubleArray, maps: Sequence[str] | None = None
) -> None:
    """Refuse headings that are something else than their column says; the message says what.

    Where poses (N, 2) follow each other along a drive, on one of the ``maps``, the direction of motion tells: half of
    the headings differ from it by more than 30 degrees, and by less than 15 if read otherwise. Else, radians beyond a
    turn are refused. ``unit`` is "heading_rad" or "heading_deg", ``values`` are (N,) as in the table.
    """
    said = values if unit == "heading_rad" else np.radians(values)
    step = np.diff(xy_m, axis=0)
    length = np.hypot(*step.T) if len(step) else np.zeros(0)
    along = (length > _STEP_M[0]) & (length < _STEP_M[1])
    if maps is not None:
        along &= np.array(maps[1:]) == np.array(maps[:-1])
    moved = along.sum() >= _LEAST_STEPS
    direction = np.arctan2(step[along, 1], step[along, 0]) if moved else np.zeros(0)

    def off_rad(heading: DoubleArray) -> float:
        apart = heading[:-1][along] - direction
        return float(np.median(np.abs(np.arctan2(np.sin(apart), np.cos(apart)))))

    if moved and off_rad(said) > _OFF_RAD:
        found = min((off_rad(read(values)), what) for what, read in _READINGS[unit].items())
        if found[0] < _FITS_RAD:
            cure = "give radians in heading_rad or degrees in heading_deg, counter-clockwise from x"
            was = f"{path}: {unit} such as {values[0]:g} against the direction of motion are {found[1]}"
            raise PoseInputError(was, cure)
    fits = moved and off_rad(said) < _FITS_RAD
    most = values[np.abs(values).argmax()]
    if unit == "heading_rad" and not fits and abs(most) > 2 * math.pi + 1e-6:
        cure = "call the column heading_deg if degrees, else give radians within a turn"
        raise PoseInputError(f"{path} has headings beyond a turn, such as {most:g} rad", cure)
