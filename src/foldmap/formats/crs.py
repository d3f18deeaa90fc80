"""Coordinate reference systems: the one place that knows what a crs means for coordinates that must be metres.

A map is matched with what a vehicle sees, so a metre of it must be a metre of ground. That needs more than the word
"metre" in the crs: Web Mercator is in metres and stretches a street at 48 degrees north by half.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from pyproj import CRS, Proj, Transformer
from pyproj.exceptions import CRSError, ProjError

from foldmap.errors import MapInputError
from foldmap.geometry import SE2
from foldmap.geometry.geopose import Anchor
from foldmap.types import AnyArray, DoubleArray

TRUE_SCALE = 0.005
"""A crs whose scale at the map's place is farther than this from 1 is no frame to measure in; UTM has 0.0004 by design,
0.0027 at the far edge of a national grid that uses one zone for two."""

_LOST_SCALE = 0.1
"""A crs made for a region is never this wrong within it: the coordinates are of another one."""
_WGS84 = "EPSG:4326"
_SMALL_M = 10.0
"""On each side of a place: grids are straight over it, and a longitude is finer than its part in 10^8."""
_AT_NOUGHT_DEG = 0.2
"""Made maps lie as near (0, 0). No land is within pi degrees east or west and pi / 2 north or south of it, but sea."""
_MOST_TEXT = 1 << 16
_HEIGHTS = re.compile(r"\+(?:geoidgrids|geoid_crs|vunits|vto_meter)(?:=\S*)?")
_INIT = re.compile(r"\+init=(\w+):(\w+).*", re.IGNORECASE | re.DOTALL)
_METRES, _DEGREES, _LOCAL = "metres", "degrees", "local"
_REGIONAL = ("Transverse", "Oblique", "Hotine", "Laborde")
_TO_METRES = "project the map to UTM or another metric crs"
_TO_CHECK = "check the crs, and the order of the coordinates"
_PLANE_AXES = ({"east", "north"}, {"north"}, {"south"})
"""Directions of the axes of a grid, and of a polar grid."""


def read_crs(crs: Any, where: str) -> CRS:
    """The horizontal part of a crs: heights, and the geoid grids they would need, do not matter to a map of the ground.

    ``crs`` is what pyproj reads: EPSG code, PROJ text, WKT, PROJJSON, an URN. ``where``, the file or option, is for the
    message of the MapInputError otherwise.
    """
    given, cure = crs, "give an EPSG code"
    if isinstance(crs, str):
        given = _HEIGHTS.sub("", _INIT.sub(r"\1:\2", crs.strip())).strip()
        if len(given) > _MOST_TEXT:
            raise MapInputError(f"{where}: its crs has {len(given):,} characters", cure)
    try:
        found = CRS.from_user_input(given)
        while found.is_compound and found.sub_crs_list:
            found = found.sub_crs_list[0]
        return found.to_2d() if len(found.axis_info) > 2 else found
    except (CRSError, ProjError, ValueError, TypeError) as error:
        raise MapInputError(f"{where}: {str(crs)[:80]!r} is no coordinate reference system", cure) from error


def crs_name(crs: CRS) -> str:
    """What to call a crs in a message: its code, or its name."""
    authority = crs.to_authority()
    return ":".join(authority) if authority else str(crs.name)[:80]


def text_of(crs: CRS, given: Any = None) -> str:
    """What is kept of a crs: a PROJ text as it was given, an EPSG code where there is one, else what pyproj reads."""
    if isinstance(given, str) and given.lstrip().startswith("+proj"):
        return " ".join(_HEIGHTS.sub("", given).split())
    authority = crs.to_authority("EPSG")
    code = authority[1].removesuffix(".0") if authority else ""  # as JSON may write it; no other text is a code
    return f"EPSG:{code}" if code.isdecimal() else str(crs.srs)


def local_crs(latitude_deg: float, longitude_deg: float) -> str:
    """A transverse Mercator about a place: metres east and north of it, true to 2 ppm within 10 km."""
    return f"+proj=tmerc +lat_0={latitude_deg:.7f} +lon_0={longitude_deg:.7f} +k=1 +x_0=0 +y_0=0 +datum=WGS84 +units=m"


def about(lonlat_deg: AnyArray) -> str:
    """The `local_crs` about the middle of some places, (N, 2) longitude and latitude; they may lie across 180 E."""
    first = float(lonlat_deg[0, 0])
    longitude = first + (lonlat_deg[:, 0] - first + 180.0) % 360.0 - 180.0
    middle = (float(longitude.min() + longitude.max()) / 2 + 180.0) % 360.0 - 180.0
    return local_crs(float(lonlat_deg[:, 1].min() + lonlat_deg[:, 1].max()) / 2, middle)


def utm_of(lonlat_deg: AnyArray) -> str:
    """The UTM zone of the middle of some places."""
    longitude, latitude = lonlat_deg.mean(0) if len(lonlat_deg) else (0.0, 0.0)
    return f"EPSG:{(32600 if latitude >= 0 else 32700) + int((longitude + 180) % 360 // 6) + 1}"


def to_lonlat(xy_m: AnyArray, crs: Any, where: str = "the map") -> DoubleArray:
    """Coordinates (N, 2), longitude and latitude where the crs is geographic, to WGS84 longitude and latitude, float64.

    A point outside of the crs, which is what pyproj reads, is a MapInputError.
    """
    return _transform(xy_m, read_crs(crs, where), where, back=True)


def from_lonlat(lonlat_deg: AnyArray, crs: Any, where: str = "the map") -> DoubleArray:
    """WGS84 longitude and latitude, (N, 2) degrees, to metric coordinates, float64 (N, 2); errors of `to_lonlat`."""
    return _transform(lonlat_deg, read_crs(crs, where), where, back=False)


def anchor_at(x_m: float, y_m: float, crs: Any, where: str = "the map") -> Anchor:
    """What a place of a metric crs is to a map about it: the place on WGS84, and how the grid is turned there.

    Height 0. Errors of `to_lonlat`.
    """
    places = np.array([[x_m, y_m], [x_m - _SMALL_M, y_m], [x_m + _SMALL_M, y_m]])
    (longitude, latitude), first, second = to_lonlat(places, crs, where).tolist()
    here = Anchor(latitude, (longitude + 180.0) % 360.0 - 180.0)
    ways = [here.in_map(lat, lon) for lon, lat in (first, second)]
    east_m, north_m = (ways[1] - ways[0])[:2].tolist()
    return Anchor(latitude, here.longitude_deg, 0.0, math.atan2(north_m, east_m))


def same_crs(one: Any, other: Any, where: str = "the map") -> bool:
    """Whether two say the same, however they write it; a local frame, an empty text or None, is none but itself."""
    if not one or not other or one == other:
        return bool(one == other)
    return read_crs(one, where).equals(read_crs(other, where), ignore_axis_order=True)


def moved_points(xy_m: AnyArray, source: Any, target: Any, where: str) -> DoubleArray:
    """Coordinates (N, 2) of one metric crs in another, float64; errors of `to_lonlat`."""
    return from_lonlat(to_lonlat(xy_m, source, where), target, where)


def moved_poses(poses: Sequence[SE2], source: Any, target: Any, where: str) -> list[SE2]:
    """Poses of one metric crs in another, headings by where a few metres ahead lie; errors of `to_lonlat`."""
    if not poses or same_crs(source, target, where):
        return list(poses)
    ahead = SE2(_SMALL_M, 0.0, 0.0)
    at = np.array([(one.x_m, one.y_m) for pose in poses for one in (pose, pose @ ahead)])
    moved = moved_points(at, source, target, where).reshape(-1, 2, 2)
    way = moved[:, 1] - moved[:, 0]
    headings = np.arctan2(way[:, 1], way[:, 0])
    return [SE2(*row) for row in np.column_stack([moved[:, 0], headings]).tolist()]


def _transform(points: AnyArray, crs: CRS, where: str, back: bool) -> DoubleArray:
    given = np.asarray(points, np.float64).reshape(-1, 2)
    try:
        source, target = (crs, _WGS84) if back else (_WGS84, crs)
        change = Transformer.from_crs(source, target, always_xy=True)
        moved = np.stack(change.transform(given[:, 0], given[:, 1]), 1) if len(given) else np.zeros((0, 2))
    except (CRSError, ProjError) as error:
        raise MapInputError(f"{where}: PROJ cannot use {crs_name(crs)}: {error}"[:300], "give an EPSG code") from error
    lost = np.flatnonzero(~np.isfinite(moved).all(1))
    if len(lost):
        raise MapInputError(f"{where}: {given[lost[0]].tolist()} is outside of {crs_name(crs)}", _TO_CHECK)
    return np.asarray(moved, np.float64)


def require_metric(crs: Any, where: str, cure: str = _TO_METRES) -> str:
    """A crs as text, once it is known to be projected to metres east and north."""
    found = read_crs(crs, where)
    kind = _kind(found, where, cure)
    if kind != _METRES:
        said = "degrees" if kind == _DEGREES else "a local frame"
        raise MapInputError(f"{where} is in {said} ({crs_name(found)}), not in metres on Earth", cure)
    return text_of(found, crs)


def _kind(crs: CRS, where: str, cure: str) -> str:
    """Whether coordinates are metres on Earth, metres of a local frame, or degrees; all else is refused."""
    if crs.is_geographic:
        return _DEGREES
    if not (crs.is_projected or crs.is_engineering):
        raise MapInputError(f"{where} is in {crs_name(crs)}, a {crs.type_name} without eastings and northings", cure)
    axes = crs.axis_info[:2]
    for axis in axes:
        if not math.isclose(axis.unit_conversion_factor, 1.0, rel_tol=1e-9):
            unit = f"{axis.unit_name} of {axis.unit_conversion_factor:.9g} m"
            raise MapInputError(f"{where} is in {unit} ({crs_name(crs)}), not in metres", cure)
    if crs.is_projected and {axis.direction for axis in axes} not in _PLANE_AXES:
        directions = " and ".join(axis.direction for axis in axes)
        raise MapInputError(f"{where}: the axes of {crs_name(crs)} point {directions}, not east and north", cure)
    return _METRES if crs.is_projected else _LOCAL


def scale_error(crs: Any, lonlat_deg: AnyArray) -> float:
    """How far a projection's scale is from 1 at worst, over all directions at places (N, 2); infinite outside of it."""
    try:
        factors = (crs if isinstance(crs, Proj) else Proj(crs)).get_factors(lonlat_deg[:, 0], lonlat_deg[:, 1])
    except (CRSError, ProjError):
        return math.inf
    scales = np.stack([factors.tissot_semimajor, factors.tissot_semiminor])
    return float(np.abs(scales - 1.0).max()) if np.isfinite(scales).all() else math.inf


def _extremes(points: AnyArray) -> AnyArray:
    """The outermost of some points, and one in between."""
    outer = [point for by in (points, points @ [[1, 1], [1, -1]]) for point in (*by.argmin(0), *by.argmax(0))]
    return points[[*outer, len(points) // 2]]


def require_true(crs: Any, xy: AnyArray, where: str, cure: str = "reproject it with gdalwarp -t_srs {utm}") -> str:
    """A crs as text, whose metres are metres at ``xy`` to `TRUE_SCALE`; those of a local frame are such everywhere.

    ``xy`` are coordinates in it, (N, 2), N >= 1; ``{utm}`` in the cure becomes the UTM zone of the place.
    """
    plain = cure.format(utm="EPSG:326XX of its UTM zone")
    found = read_crs(crs, where)
    kind = _kind(found, where, plain)
    if kind == _DEGREES:
        raise MapInputError(f"{where} is in degrees ({crs_name(found)}), not in metres", plain)
    if kind == _METRES:
        lonlat = _transform(_extremes(xy), found, where, back=True)
        error = scale_error(found, lonlat)
        if error > TRUE_SCALE:
            place = f"{lonlat[-1, 1]:.2f} N, {lonlat[-1, 0]:.2f} E"
            said = f"{where}: metres of {crs_name(found)} are not metres of ground at {place}"
            raise MapInputError(f"{said}, but off by {100 * error:.3g} %", cure.format(utm=utm_of(lonlat)))
    return text_of(found, crs)


def metric_lines(
    lines: Sequence[DoubleArray], crs: Any, where: str, degrees: bool = True
) -> tuple[list[DoubleArray], str | None]:
    """Lines of any crs in metres of ground, and the crs they are in then; None for a local frame.

    Metric coordinates, float64 (P, 2) each, stay as they are, as do those without a crs. Those in degrees, or in a
    projection whose scale is off by more than `TRUE_SCALE` there, are projected to a transverse Mercator about the
    middle of the map. ``degrees`` is whether the format can be in degrees. Feet and other units, axes that point
    elsewhere than east and north, and a coordinate outside of the crs are a MapInputError.
    """
    if crs is None:
        return list(lines), None
    found = read_crs(crs, where)
    kind = _kind(found, where, _TO_METRES)
    if kind == _LOCAL:
        return list(lines), None
    if kind == _DEGREES and not degrees:
        raise MapInputError(f"{where} is in degrees ({crs_name(found)}), not in metres", _TO_METRES)
    if not lines:
        return [], text_of(found, crs) if kind == _METRES else None
    lonlat = _transform(np.concatenate(lines), found, where, back=True)
    if kind == _METRES:
        error = scale_error(found, _extremes(lonlat))
        if error <= TRUE_SCALE:
            return list(lines), text_of(found, crs)
        if error > _LOST_SCALE and not _worldwide(found):
            said = f"{where}: coordinates such as {lines[0][0].tolist()} are far outside of {crs_name(found)}"
            raise MapInputError(said, "check the crs and the offset of the map")
    return lonlat_lines(lonlat, [len(line) for line in lines], where)


def is_world_mercator(crs: Any) -> bool:
    """Whether a crs is a Mercator of the whole world: it stretches the ground the more the farther from the equator."""
    found = read_crs(crs, "the crs")
    return "Mercator" in _worldwide(found) and not any(
        each.name == "Latitude of 1st standard parallel" and each.value for each in _operation(found).params
    )


def _worldwide(crs: CRS) -> str:
    """The name of a projection that is used for the whole world; empty for one that is made for a region."""
    operation = _operation(crs)
    name = operation.method_name if operation is not None else ""
    cylindrical = "Mercator" in name or "Cylindrical" in name
    return name if cylindrical and not name.startswith(_REGIONAL) else ""


def _operation(crs: CRS) -> Any:
    return (crs.source_crs if crs.is_bound and crs.source_crs else crs).coordinate_operation


def require_degrees(lonlat_deg: DoubleArray, where: str) -> None:
    """Refuse places (N, 2), N >= 1, that are no longitude and latitude in degrees: the other order, or radians."""
    outside = np.flatnonzero((np.abs(lonlat_deg) > (360.0, 90.0)).any(1))
    if len(outside):
        swapped = not (np.abs(lonlat_deg) > (90.0, 360.0)).any()
        cure = "write longitude before latitude, as GeoJSON has it" if swapped else _TO_CHECK
        raise MapInputError(f"{where}: {lonlat_deg[outside[0]].tolist()} is no longitude and latitude", cure)
    if np.abs(lonlat_deg).max() > _AT_NOUGHT_DEG and (np.abs(lonlat_deg) <= (math.pi, math.pi / 2)).all():
        said = f"{where}: as degrees {lonlat_deg[0].tolist()} lies in the Gulf of Guinea"
        raise MapInputError(f"{said}: these are radians", "give degrees, or metres of a local frame")


def fixes_in(lonlat_deg: DoubleArray, crs: str, where: str) -> DoubleArray:
    """Places of a receiver, (N, 2) longitude and latitude, N >= 1, in a map's metric crs, float64 (N, 2).

    A MapInputError where they are no degrees (`require_degrees`), or where the crs was not made for most of them: the
    map is elsewhere.
    """
    require_degrees(lonlat_deg, where)
    found, projection, change = _ready(crs)
    middle = np.median(lonlat_deg, axis=0)[None]
    if scale_error(projection, middle) > _LOST_SCALE and not _worldwide(found):
        said = f"{where}: latitude {middle[0, 1]:.5f}, longitude {middle[0, 0]:.5f} is far outside of {crs_name(found)}"
        raise MapInputError(said, "give latitude and longitude under their names, and a map of that place")
    return np.stack(change.transform(lonlat_deg[:, 0], lonlat_deg[:, 1]), 1)


@lru_cache(4)
def _ready(crs: str) -> tuple[CRS, Proj, Transformer]:
    """A crs, its projection and the way from degrees into it: to make them takes longer than to use them."""
    found = read_crs(crs, "the map")
    return found, Proj(found), Transformer.from_crs(_WGS84, found, always_xy=True)


def lonlat_lines(
    lonlat_deg: DoubleArray, lengths: Sequence[int], where: str, crs: str | None = None
) -> tuple[list[DoubleArray], str]:
    """Longitudes and latitudes of lines in metres, and their crs: the given one where that is true, else `about` them.

    ``lonlat_deg`` float64 (N, 2) has all lines one after another, ``lengths`` are the points of each. What is no
    degrees, or too large for one frame in metres, is a MapInputError.
    """
    given = None if crs is None else require_metric(crs, where)
    require_degrees(lonlat_deg, where)
    extremes, local = _extremes(lonlat_deg), about(lonlat_deg)
    if given is not None and scale_error(read_crs(given, where), extremes) <= TRUE_SCALE:
        local = given
    elif scale_error(read_crs(local, where), extremes) > TRUE_SCALE:
        spans = " to ".join(f"({x:.2f}, {y:.2f})" for x, y in (lonlat_deg.min(0), lonlat_deg.max(0)))
        said = f"{where} spans longitudes and latitudes {spans}: no metres of {local[:40]} fit all of it"
        cure = "cut it into regions; if these are metres of a local frame, name no geographic crs"
        raise MapInputError(said, cure)
    return np.split(from_lonlat(lonlat_deg, local, where), np.cumsum(lengths)[:-1]), local
