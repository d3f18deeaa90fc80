"""How layers of each kind are cut and joined; only the kinds that a file has are loaded."""

from collections.abc import Sequence
from typing import Protocol

from foldmap.api.reshaping.area import Area
from foldmap.api.reshaping.parts import Note, Part, Source
from foldmap.types import DoubleArray


class Kind(Protocol):
    """What there is for each kind of layers: `foldmap.api.reshaping.lidar`, `street` and `visual`."""

    def cut(self, source: Source, area: Area, note: Note) -> Part:
        """The tiles that an area reaches."""

    def join(self, sources: Sequence[Source], prefer: str | None, note: Note) -> Part:
        """All tiles of several layers; a MapInputError where they do not go together."""

    def bounds(self, source: Source) -> DoubleArray:
        """West, south, east and north of what a layer holds, float64 (4,), in its frame."""

    def frames(self, source: Source) -> set[str]:
        """The coordinate reference systems that a layer is in; empty texts are local frames."""


def kind_of(source: Source) -> Kind:
    """How the layers of a source's kind are treated."""
    name = source.file.layer(source.layer).kind
    if name == "lidar":
        from foldmap.api.reshaping import lidar

        return lidar
    if name == "street":
        from foldmap.api.reshaping import street

        return street
    from foldmap.api.reshaping import visual

    return visual
