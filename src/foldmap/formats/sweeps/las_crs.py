"""The unit that a LAS file says its coordinates are in."""

from __future__ import annotations

from typing import Any

import pyproj
from pyproj.exceptions import CRSError

from foldmap.errors import SweepInputError

_UNITS = {9001: 1.0, 9002: 0.3048, 9003: 1200 / 3937, 9036: 1000.0}
_UNIT_KEYS = {3076: "horizontal", 4099: "vertical"}
_CURE = "give sweeps in metres, such as las2las -target_utm or pdal translate makes of them"


def require_metric_las(header: Any, where: str) -> None:
    """Refuse points that the file's own records place in degrees, feet or kilometres.

    Args:
        header: of laspy.
        where: the file, for the message.

    Raises:
        SweepInputError: names the unit.
    """
    try:
        crs = header.parse_crs()
    except Exception:
        # a crs that laspy cannot read says nothing about the unit, which the keys below may still say
        crs = None
    for axis in _axes(crs):
        unit = axis.unit_name or "unknown"
        if unit in ("degree", "grad", "radian"):
            raise SweepInputError(f"{where} is in {unit}s ({str(crs.name)[:60]}), not in metres", _CURE)
        if abs(axis.unit_conversion_factor - 1.0) > 1e-9:
            raise SweepInputError(
                f"{where} is in {unit} of {axis.unit_conversion_factor:.9g} m ({str(crs.name)[:60]})", _CURE
            )
    for record in header.vlrs:
        for key in getattr(record, "geo_keys", None) or ():
            metres = _UNITS.get(key.value_offset, 1.0)
            if key.id in _UNIT_KEYS and metres != 1.0:
                raise SweepInputError(f"{where} has {_UNIT_KEYS[key.id]} units of {metres:.9g} m", _CURE)


def _axes(crs: Any) -> list[Any]:
    try:
        return [] if crs is None else list(pyproj.CRS.from_user_input(crs).axis_info)
    except CRSError:
        return []
