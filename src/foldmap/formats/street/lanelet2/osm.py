"""The OSM XML that Lanelet2 maps are kept in: nodes, ways, relations, and where the nodes are.

That is latitude and longitude, or the metres that editors write beside them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from foldmap.errors import ConfigError, MapInputError
from foldmap.formats.crs import (
    TRUE_SCALE,
    about,
    from_lonlat,
    local_crs,
    require_degrees,
    require_metric,
    require_true,
    utm_of,
)
from foldmap.formats.street.reading import FARTHEST_M, LeftOut
from foldmap.formats.street.xml_stream import Attributes, needed, parse_xml, real
from foldmap.types import DoubleArray

WHAT = "a Lanelet2 map (OSM XML)"
_WALK, _RIDE, _DRIVE = ("pedestrian",), ("bicycle",), ("vehicle", "bicycle")
USERS: dict[str, tuple[str, ...]] = {
    "": ("vehicle",), "road": _DRIVE, "highway": ("vehicle",), "play_street": _WALK + _DRIVE, "exit": _WALK + _DRIVE,
    "emergency_lane": ("vehicle:emergency",), "bus_lane": ("vehicle:bus", "vehicle:emergency", "vehicle:taxi"),
    "bicycle_lane": _RIDE, "walkway": _WALK, "shared_walkway": _WALK + _RIDE, "crosswalk": _WALK, "stairs": _WALK,
}  # fmt: skip
"""Who may pass a lanelet of a subtype, if no tag says otherwise; of none, as lanelet2's traffic rules have it."""
_AGAIN = "\0again"


@dataclass
class Relation:
    """Members as (kind, role, id), and tags."""

    members: list[tuple[str, str, str]] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)


@dataclass
class OsmFile:
    """What an OSM file holds, by id in the order of the file; what an editor marked as deleted is left out.

    ``local`` are the tags ``local_x`` and ``local_y`` of nodes, ``unclear`` the kinds and ids of nodes and ways that
    are there twice, not alike, ``lost`` what is wrong with the position of a node.
    """

    path: Path
    left_out: LeftOut
    found: bool = False
    nodes: dict[str, Attributes] = field(default_factory=dict)
    local: dict[str, dict[str, str]] = field(default_factory=dict)
    ways: dict[str, list[str]] = field(default_factory=dict)
    relations: dict[str, Relation] = field(default_factory=dict)
    unclear: set[tuple[str, str]] = field(default_factory=set)
    lost: dict[str, str] = field(default_factory=dict)
    _open: tuple[str, str] | None = None

    def enter(self, name: str, attributes: Attributes) -> None:
        """One element of the file."""
        if name in ("node", "way", "relation"):
            self._open = None
            identity = attributes.get("id")
            if identity is None:
                self.left_out.fault(f"{name} without id", f"a {name} has no 'id'")
                return
            if attributes.get("action") == "delete":
                return
            if identity in self._known(name):
                identity += _AGAIN
            self._open = (name, identity)
            self._known(name)[identity] = attributes if name == "node" else [] if name == "way" else Relation()
        elif name == "osm":
            self.found = True
        elif self._open is not None:
            with self.left_out.dropping(f"part of a {self._open[0]}"):
                self._part(name, attributes, *self._open)

    def _known(self, name: str) -> dict[str, Any]:
        return self.nodes if name == "node" else self.ways if name == "way" else self.relations

    def _part(self, name: str, attributes: Attributes, owner: str, identity: str) -> None:
        what = f"{owner} {identity.removesuffix(_AGAIN)}"
        if name == "tag":
            key, value = needed(attributes, "k", f"a tag of {what}"), needed(attributes, "v", f"a tag of {what}")
            if owner == "relation":
                self.relations[identity].tags[key] = value
            elif owner == "node" and key in ("local_x", "local_y"):
                self.local.setdefault(identity, {})[key] = value
        elif name == "nd" and owner == "way":
            self.ways[identity].append(needed(attributes, "ref", f"a node of {what}"))
        elif name == "member" and owner == "relation":
            kind, role, ref = (needed(attributes, key, f"a member of {what}") for key in ("type", "role", "ref"))
            self.relations[identity].members.append((kind, role, ref))

    def leave(self, name: str) -> None:
        """The end of an element."""
        if name in ("node", "way", "relation"):
            if self._open is not None and self._open[1].endswith(_AGAIN):
                self._compare(*self._open)
            self._open = None

    def _compare(self, name: str, again: str) -> None:
        """An id that comes again: the same once more does no harm, something else leaves open which is meant."""
        identity = again.removesuffix(_AGAIN)
        if name == "node":
            places = [(self.nodes[key].get("lat"), self.nodes[key].get("lon")) for key in (identity, again)]
            same = places[0] == places[1] and self.local.get(identity) == self.local.get(again)
            del self.nodes[again]
            self.local.pop(again, None)
        else:
            same = self._known(name)[identity] == self._known(name).pop(again)
        if same:
            self.left_out[f"{name} that is there twice, alike"] += 1
        elif name == "relation":
            self.left_out.fault(f"{name} of an id that was there before", f"{name} {identity} is there twice", 1)
        else:
            self.unclear.add((name, identity))


def read_osm(path: Path, left_out: LeftOut) -> OsmFile:
    """Read an OSM file."""
    osm = OsmFile(path, left_out)
    parse_xml(path, WHAT, osm.enter, osm.leave)
    if not osm.found:
        raise MapInputError(f"{path} has no <osm> element", f"give {WHAT}")
    return osm


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
        node, what = osm.nodes[identity], f"node {identity}"
        try:
            latitude, longitude = real(node, "lat", what), real(node, "lon", what)
        except MapInputError as error:
            osm.lost[identity] = error.message
            continue
        if abs(latitude) > 90 or abs(longitude) > 360:
            osm.lost[identity] = f"{what} is at latitude {latitude}, longitude {longitude}"
        else:
            lonlat[identity] = (longitude, latitude)
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


def _project(lonlat_deg: DoubleArray, crs: str) -> tuple[DoubleArray, str]:
    if len(lonlat_deg):
        require_degrees(lonlat_deg, "nodes")
    if crs == "local":
        crs = about(lonlat_deg) if len(lonlat_deg) else local_crs(0.0, 0.0)
    elif crs == "utm":
        crs = utm_of(lonlat_deg)
    else:
        require_metric(crs, "the option crs")
        if len(lonlat_deg):
            require_true(crs, from_lonlat(lonlat_deg, crs), "the option crs", "give {utm}")
    return from_lonlat(lonlat_deg, crs), crs
