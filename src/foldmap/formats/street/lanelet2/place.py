"""Where the nodes of a Lanelet2 map are: latitude and longitude, or the metres that editors write beside them."""

from __future__ import annotations

import math

import numpy as np

from foldmap.errors import ConfigError, MapInputError
from foldmap.formats.crs import TRUE_SCALE, about, from_lonlat, local_crs, require_metric, require_true, utm_of
from foldmap.formats.street.lanelet2.osm import OsmFile
from foldmap.formats.street.reading import FARTHEST_M
from foldmap.formats.street.xml_stream import Attributes, real
from foldmap.types import DoubleArray

POSITIONS = ("auto", "geographic", "tags")
_NULL_ISLAND_DEG = 1.0
"""No street is within a degree of (0, 0): such latitudes and longitudes hold a place for local coordinates."""
_AGREE_M = 0.2
_CONTRADICTED = "position by latitude and longitude, which local_x and local_y of all nodes contradict"


def place_nodes(osm: OsmFile, used: list[str], positions: str, crs: str) -> tuple[dict[str, DoubleArray], str | None]:
    """Metric coordinates of nodes, float64 (2,) by id, and their crs, None for tags; damaged positions are left out.

    Positions are "geographic" (latitude, longitude), projected to ``crs``: "local" (transverse Mercator about the
    middle of the map), "utm", or what pyproj reads; "tags" (``local_x``, ``local_y``); or "auto": as Autoware reads
    maps, the tags where all nodes have them and they contradict latitudes and longitudes (which is counted), or where
    those hold a place (empty, all the same, or within a degree of 0, 0 beside tags).
    """
    if positions not in POSITIONS:
        raise ConfigError(f"positions {positions!r}", f"give one of {', '.join(POSITIONS)}")
    if positions == "tags" or (positions == "auto" and used and _by_tags(osm, used)):
        return _by_tag(osm, used), None
    lonlat: dict[str, tuple[float, float]] = {}
    for identity in used:
        try:
            lonlat[identity] = _lonlat(osm.nodes[identity], f"node {identity}")
        except MapInputError as error:
            osm.lost[identity] = error.message
    xy_m, found = _project(np.array(list(lonlat.values())).reshape(-1, 2), crs)
    return dict(zip(lonlat, xy_m, strict=True)), found


def _by_tags(osm: OsmFile, used: list[str]) -> bool:
    """Whether tags say where nodes are; if against latitudes and longitudes, that is counted."""
    lonlat = np.array([_numbers(osm.nodes[identity], "lon", "lat") for identity in used])
    local = np.array([_numbers(osm.local.get(identity, {}), "local_x", "local_y") for identity in used])
    lonlat, local = (np.where(np.abs(each) < FARTHEST_M, each, np.nan) for each in (lonlat, local))
    known, tagged = np.isfinite(lonlat).all(1), np.isfinite(local).all(1)
    if not known.any():
        return True
    if 2 * tagged.sum() <= len(used) or not np.ptp(local[tagged], axis=0).any():
        return False
    if np.abs(lonlat[known]).max() <= _NULL_ISLAND_DEG:
        return True
    same = not np.ptp(lonlat[known], axis=0).any()
    if not tagged.all() and not same:
        return False
    against = len(used) if same else int((~known).sum()) + _contradicting(lonlat[known], local[known])
    if against:
        osm.left_out[_CONTRADICTED] += against
    return against > 0


def _numbers(attributes: Attributes, *keys: str) -> list[float]:
    try:
        return [float(attributes[key]) for key in keys]
    except (KeyError, ValueError):
        return [math.nan] * len(keys)


def _contradicting(lonlat_deg: DoubleArray, local_m: DoubleArray) -> int:
    """How many nodes are elsewhere by their tags, after the turn and shift that bring both together best."""
    if (np.abs(lonlat_deg) > (360.0, 90.0)).any():
        return len(lonlat_deg)
    placed = from_lonlat(lonlat_deg, about(lonlat_deg)) @ (1, 1j)
    tagged = local_m @ (1, 1j)
    placed, tagged = placed - placed.mean(), tagged - tagged.mean()
    turn = np.vdot(placed, tagged)
    turn = turn / abs(turn) if abs(turn) else 1.0
    return int((np.abs(tagged - turn * placed) > _AGREE_M + TRUE_SCALE * np.abs(placed)).sum())


def _by_tag(osm: OsmFile, used: list[str]) -> dict[str, DoubleArray]:
    placed: dict[str, DoubleArray] = {}
    for identity in used:
        tags, what = osm.local.get(identity, {}), f"node {identity}"
        if not tags:
            said = f"{osm.path}: {what} has neither latitude and longitude nor local_x and local_y"
            raise MapInputError(said, "write the map with positions")
        try:
            placed[identity] = np.array([real(tags, key, what) for key in ("local_x", "local_y")])
        except MapInputError as error:
            osm.lost[identity] = error.message
    return placed


def _lonlat(node: Attributes, what: str) -> tuple[float, float]:
    latitude, longitude = real(node, "lat", what), real(node, "lon", what)
    if abs(latitude) > 90 or abs(longitude) > 360:
        raise MapInputError(f"{what} is at latitude {latitude}, longitude {longitude}", "give degrees")
    return longitude, latitude


def _project(lonlat_deg: DoubleArray, crs: str) -> tuple[DoubleArray, str]:
    if crs == "local":
        crs = about(lonlat_deg) if len(lonlat_deg) else local_crs(0.0, 0.0)
    elif crs == "utm":
        crs = utm_of(lonlat_deg)
    else:
        require_metric(crs, "the option crs")
        if len(lonlat_deg):
            require_true(crs, from_lonlat(lonlat_deg, crs), "the option crs", "give {utm}")
    return from_lonlat(lonlat_deg, crs), crs
