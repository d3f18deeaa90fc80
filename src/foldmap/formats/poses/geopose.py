"""Poses on Earth as GeoPose 1.0 (OGC 21-056), one Advanced object a line."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
from pyproj import Geod

from foldmap.formats.crs import to_lonlat
from foldmap.geometry import SE2

_AHEAD_M = 10.0


def geopose_lines(times_s: Sequence[float], poses: Sequence[SE2], crs: str) -> list[str]:
    """A line a pose of a map in ``crs``; orientation is in east, north, up at the place, x of the vehicle ahead.

    Grid north is turned to true north there. The height is not estimated, and 0.
    """
    if not poses:
        return []
    at_m = np.array([(pose.x_m, pose.y_m) for pose in poses])
    headings = np.array([pose.heading_rad for pose in poses])
    lonlat = to_lonlat(at_m, crs)
    ahead = to_lonlat(at_m + _AHEAD_M * np.stack([np.cos(headings), np.sin(headings)], 1), crs)
    azimuth_deg, _, _ = Geod(ellps="WGS84").inv(lonlat[:, 0], lonlat[:, 1], ahead[:, 0], ahead[:, 1])
    half = 0.5 * np.radians(90.0 - np.asarray(azimuth_deg))
    lines = []
    for time_s, (longitude, latitude), turn in zip(times_s, lonlat.tolist(), half.tolist(), strict=True):
        place = f"longitude={longitude:.10f}&latitude={latitude:.10f}&height=0"
        pose = {
            "validTime": round(time_s * 1000),
            "frameSpecification": {"authority": "/geopose/1.0", "id": "LTP-ENU", "parameters": place},
            "quaternion": {"x": 0.0, "y": 0.0, "z": float(np.sin(turn)), "w": float(np.cos(turn))},
        }
        lines.append(json.dumps(pose))
    return lines
