"""A street map that was read, and what of its file is not in it: left out by design, or damaged and dropped."""

from __future__ import annotations

import functools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import numpy as np

from foldmap.errors import MapInputError
from foldmap.formats.naming import naming
from foldmap.street.source import StreetMap

FARTHEST_M = 1e8
"""Coordinates beyond this are no place on Earth in any frame, and too large to compute with."""
_LONGEST_PIECE_M, _WIDEST_M, _SMALLEST_M = 5000.0, 50.0, 1.0
_Given = ParamSpec("_Given")
_Read = TypeVar("_Read")


@dataclass(frozen=True)
class Fault:
    """Something wrong in a file that its reader passed over, and how many lanes of what length are lost with it.

    ``what`` is the kind of thing, in the singular: "lanelet"; ``where`` is which one, and what is wrong with it.
    """

    what: str
    where: str
    lanes: int = 0
    length_m: float = 0.0


class LeftOut(Counter[str]):
    """How often each thing that a file has was left out by design, metres of lanes among them, and its faults."""

    def __init__(self) -> None:
        super().__init__()
        self.length_m: defaultdict[str, float] = defaultdict(float)
        self.faults: list[Fault] = []

    def lane(self, what: str, length_m: float) -> None:
        """Count a lane that is left out by design."""
        self[what] += 1
        self.length_m[what] += length_m

    def fault(self, what: str, where: str, lanes: int = 0, length_m: float = 0.0) -> None:
        """Note something wrong that is dropped."""
        self.faults.append(Fault(what, where, lanes, length_m))

    @contextmanager
    def dropping(self, what: str, lanes: int = 0, length_m: float = 0.0) -> Iterator[None]:
        """Drop what the body reads where that is damaged."""
        try:
            yield
        except MapInputError as error:
            self.fault(what, error.message, lanes, length_m)


@dataclass(frozen=True)
class MapReading:
    """A map, and what of the file is not in it: left out by design, or wrong and passed over.

    ``left_out`` is how often each thing that the file has was left out, such as ``{"lanelet of subtype walkway": 2}``,
    ``left_out_m`` are the metres of those that are lanes.
    """

    street_map: StreetMap
    left_out: Mapping[str, int] = field(default_factory=dict)
    left_out_m: Mapping[str, float] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()


def reading_of(street_map: StreetMap, left_out: LeftOut, where: object, kept: int | None = None) -> MapReading:
    """The reading of a file, where its faults leave most of the map; ``kept`` are its lanes, where its graph has none.

    More lanes that are damaged than are left, or none left, are a MapInputError: the rest would mislead.
    """
    _require_sizes(street_map, where)
    kept = len(street_map.graph.lanes) if kept is None else kept
    lost = sum(fault.lanes for fault in left_out.faults)
    if lost > kept or (left_out.faults and not kept):
        first = next((fault for fault in left_out.faults if fault.lanes), left_out.faults[0])
        said = f"{lost} of {lost + kept} lanes are damaged" if lost else "no lane is left"
        raise MapInputError(f"{where}: {said}, the first fault: {first.where}", "mend the map")
    counts = {what: count for what, count in left_out.items() if count > 0}
    metres = {what: length for what, length in left_out.length_m.items() if what in counts}
    return MapReading(street_map, counts, metres, tuple(left_out.faults))


def _require_sizes(street_map: StreetMap, where: object) -> None:
    """Refuse lanes of a size that no street has in metres: half of their pieces, or widths, too large, or all tiny."""
    graph = street_map.graph
    widths_m = [lane.width_m for lane in graph.lanes if lane.width_m is not None]
    piece_m = float(np.median(graph.edge_lengths_m)) if len(graph.edges) else 0.0
    width_m = float(np.median(widths_m)) if widths_m else 0.0
    extent_m = float(np.ptp(graph.vertices_m, axis=0).max()) if len(graph.edges) else _SMALLEST_M
    if extent_m < _SMALLEST_M:
        cure = "give metres, not kilometres, or degrees as GeoJSON has them: longitude, latitude"
        raise MapInputError(f"{where}: all lanes are within {extent_m:.3g} m", cure)
    if piece_m > _LONGEST_PIECE_M or width_m > _WIDEST_M:
        size = f"lanes are {width_m:,.0f} m wide" if width_m > _WIDEST_M else f"lanes have pieces of {piece_m:,.0f} m"
        raise MapInputError(f"{where}: {size}", "give metres, not millimetres or pixels")


def strict(reading: MapReading) -> MapReading:
    """The reading itself; if something is wrong in its file, a MapInputError that names the first fault."""
    if reading.faults:
        first, count = reading.faults[0], len(reading.faults)
        said = f"{reading.street_map.name} has {count} fault{'s' * (count > 1)}, the first: {first.where}"
        raise MapInputError(said, "mend the map, or fold it without --strict, which drops what is damaged")
    return reading


def faults_in_words(faults: Iterable[Fault]) -> list[str]:
    """A line for each kind of fault: how many, how many lanes and metres went with it, and the first of them."""
    kinds: dict[str, list[Fault]] = {}
    for fault in faults:
        kinds.setdefault(fault.what, []).append(fault)
    lines = []
    for what, of_kind in kinds.items():
        lanes, length_m = sum(fault.lanes for fault in of_kind), sum(fault.length_m for fault in of_kind)
        metres = f", {length_m:,.0f} m" if length_m else ""
        lost = f" ({lanes} lane{'s' * (lanes > 1)} lost{metres})" if lanes else ""
        more = f", and {len(of_kind) - 1} more" if len(of_kind) > 1 else ""
        lines.append(f"damaged: {len(of_kind)} x {what}{lost}: {of_kind[0].where}{more}")
    return lines


def naming_file(read: Callable[Concatenate[Path, _Given], _Read]) -> Callable[Concatenate[Path | str, _Given], _Read]:
    """Let every message of a reader begin with the file that it was about, where it does not name that already."""

    @functools.wraps(read)
    def named(path: Path | str, /, *args: _Given.args, **given: _Given.kwargs) -> _Read:
        path = Path(path)
        with naming(path):
            return read(path, *args, **given)

    return named
