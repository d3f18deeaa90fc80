"""The elements of an OpenDRIVE file that say where lanes are and how they go on, as a tree."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from foldmap.errors import MapInputError
from foldmap.formats.street.reading import LeftOut
from foldmap.formats.street.xml_stream import Attributes, parse_xml

WHAT = "an OpenDRIVE map (.xodr)"
_SKIPPED = {
    "objects": "objects", "signals": "signals", "railroad": "railroad", "surface": "surface", "userData": "user data",
    "elevationProfile": "", "roadMark": "", "material": "", "dataQuality": "", "height": "", "controller": "controller",
    "junctionGroup": "", "station": "station", "license": "", "vectorScene": "", "priority": "", "rule": "",
    "visibility": "", "boundary": "", "planView3D": "",
}  # fmt: skip
"""What is not read, with the word it is counted under where it could matter to someone who drives."""


@dataclass
class Element:
    """An XML element: its tag, the children in the order of the file, and the characters directly within."""

    name: str
    attributes: Attributes
    children: list[Element] = field(default_factory=list)
    text: str = ""

    def all(self, name: str) -> list[Element]:
        """Children of a name."""
        return [child for child in self.children if child.name == name]

    def one(self, name: str) -> Element | None:
        """The first child of a name."""
        return next((child for child in self.children if child.name == name), None)


def read_tree(path: Path, left_out: LeftOut) -> Element:
    """The root element of a map that is all in one file."""
    top = Element("", {})
    stack = [top]
    skipping = 0

    def start(name: str, attributes: Attributes) -> None:
        nonlocal skipping
        if skipping or name in _SKIPPED:
            if not skipping and _SKIPPED[name]:
                left_out[_SKIPPED[name]] += 1
            skipping += 1
            return
        if name == "include":
            raise MapInputError(f"{path}: <include>: a file that is not in this one", "write the map without")
        element = Element(name, attributes)
        stack[-1].children.append(element)
        stack.append(element)

    def end(_: str) -> None:
        nonlocal skipping
        if skipping:
            skipping -= 1
        else:
            stack.pop()

    def text(characters: str) -> None:
        if not skipping and stack[-1].name == "geoReference":
            stack[-1].text += characters

    parse_xml(path, WHAT, start, end, text)
    root = top.one("OpenDRIVE")
    if root is None:
        raise MapInputError(f"{path} has no <OpenDRIVE> element", f"give {WHAT}")
    return root
