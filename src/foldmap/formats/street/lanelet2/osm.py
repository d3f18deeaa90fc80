"""The OSM XML that Lanelet2 maps are kept in: nodes, ways, relations."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from foldmap.errors import MapInputError
from foldmap.formats.street.reading import LeftOut
from foldmap.formats.street.xml_stream import Attributes, needed, parse_xml

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
