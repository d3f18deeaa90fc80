"""Metric frames to longitude and latitude and back, through pyproj, which is optional."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from foldmap.errors import MapInputError, MissingExtraError
from foldmap.types import AnyArray, DoubleArray


def extra(module: str, what: str) -> Any:
    """Import a module of the extra "street".

    Args:
        module: its name.
        what: what needs it, for the message.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"{what} needs {module.split('.')[0]}, which is not installed", "pip install foldmap[street]"
        ) from error


def local_crs(latitude_deg: float, longitude_deg: float) -> str:
    """A transverse Mercator about a place: metres east and north of it, true to 2 ppm within 10 km."""
    return f"+proj=tmerc +lat_0={latitude_deg:.7f} +lon_0={longitude_deg:.7f} +k=1 +x_0=0 +y_0=0 +datum=WGS84 +units=m"


def to_lonlat(xy_m: AnyArray, crs: str) -> DoubleArray:
    """Metric coordinates to WGS84.

    Args:
        xy_m: (N, 2) easting, northing.
        crs: what pyproj reads.

    Returns:
        float64 (N, 2), longitude and latitude in degrees.

    Raises:
        MapInputError: pyproj does not read the crs, or a point is outside of it.
        MissingExtraError: pyproj is not installed.
    """
    return _transform(xy_m, crs, back=True)


def from_lonlat(lonlat_deg: AnyArray, crs: str) -> DoubleArray:
    """WGS84 longitude and latitude, (N, 2) degrees, to metric coordinates, float64 (N, 2); errors of `to_lonlat`."""
    return _transform(lonlat_deg, crs, back=False)


def about(lonlat_deg: AnyArray) -> str:
    """The `local_crs` about the middle of some places, (N, 2) longitude and latitude."""
    middle = (np.min(lonlat_deg, axis=0) + np.max(lonlat_deg, axis=0)) / 2
    return local_crs(float(middle[1]), float(middle[0]))


def require_metric(crs: Any, where: str) -> str:
    """A crs as text, after a look at its axes.

    Args:
        crs: what pyproj reads.
        where: the file, for the message.

    Raises:
        MapInputError: pyproj does not read it, or it is not projected to metres.
        MissingExtraError: pyproj is not installed.
    """
    pyproj = extra("pyproj", "a map with a coordinate reference system")
    try:
        found = pyproj.CRS.from_user_input(crs)
    except pyproj.exceptions.CRSError as error:
        raise MapInputError(
            f"{where}: {str(crs)[:80]!r} is no coordinate reference system", "give an EPSG code"
        ) from error
    if not found.is_projected or any(axis.unit_conversion_factor != 1 for axis in found.axis_info[:2]):
        raise MapInputError(f"{where}: {found.name!r} is not in metres", "project the map to UTM or another metric crs")
    code = found.to_epsg()
    return f"EPSG:{code}" if code else str(found.srs)


def _transform(points: AnyArray, crs: str, back: bool) -> DoubleArray:
    pyproj = extra("pyproj", "a map on Earth")
    try:
        change = pyproj.Transformer.from_crs(*((crs, "EPSG:4326") if back else ("EPSG:4326", crs)), always_xy=True)
    except (pyproj.exceptions.CRSError, pyproj.exceptions.ProjError) as error:
        raise MapInputError(f"{crs[:80]!r} is no coordinate reference system", "give an EPSG code") from error
    given = np.asarray(points, np.float64).reshape(-1, 2)
    moved = np.stack(change.transform(given[:, 0], given[:, 1]), 1) if len(given) else np.zeros((0, 2))
    lost = np.flatnonzero(~np.isfinite(moved).all(1))
    if len(lost):
        raise MapInputError(
            f"{given[lost[0]].tolist()} is outside of {crs[:80]!r}", "check the crs, and the order of the coordinates"
        )
    return np.asarray(moved, np.float64)
