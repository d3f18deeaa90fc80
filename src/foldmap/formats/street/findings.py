"""GeoJSON of findings: lines with properties, such as retrieved graphs and changes, on Earth or in a local frame."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from foldmap.atlas.whole import write_whole
from foldmap.errors import MapInputError
from foldmap.formats.crs import to_lonlat
from foldmap.types import DoubleArray

_LONLAT_DIGITS, _METRE_DIGITS = 10, 3


@dataclass(frozen=True)
class LineFeature:
    """Some lines, float64 (P, 2), that belong together; none makes a feature without a geometry.

    ``crs`` is what pyproj reads, or None for a local frame; ``other_lines_m`` are properties that are written as
    coordinates, for example where a lane was before.
    """

    lines_m: Sequence[DoubleArray]
    crs: str | None
    properties: Mapping[str, Any]
    other_lines_m: Mapping[str, DoubleArray] = field(default_factory=dict)


def write_features(path: Path, features: Sequence[LineFeature], members: Mapping[str, Any] | None = None) -> None:
    """Write a FeatureCollection, with further members if wanted.

    Coordinates are longitude and latitude where all features have a crs; metres of the local frame where none has one,
    which ``"foldmap:crs": null`` says; a MapInputError where some have one.
    """
    placed = {one.crs is not None for one in features}
    if len(placed) > 1:
        said = "some of the street maps are placed on Earth and some are in local frames"
        raise MapInputError(said, "write them one by one")
    found = []
    for number, one in enumerate(features):
        lines = [_coordinates(line, one.crs) for line in one.lines_m]
        kind, coordinates = ("LineString", lines[0]) if len(lines) == 1 else ("MultiLineString", lines)
        geometry = {"type": kind, "coordinates": coordinates} if lines else None
        others = {name: _coordinates(line, one.crs) for name, line in one.other_lines_m.items()}
        properties = {**one.properties, **others}
        found.append({"type": "Feature", "id": number, "properties": properties, "geometry": geometry})
    crs = {} if placed == {True} else {"foldmap:crs": None}
    content = {"type": "FeatureCollection", **crs, **(members or {}), "features": found}
    write_whole(path, json.dumps(content, ensure_ascii=False, allow_nan=False) + "\n")


def _coordinates(line_m: DoubleArray, crs: str | None) -> Any:
    return (
        np.round(line_m, _METRE_DIGITS) if crs is None else np.round(to_lonlat(line_m, crs), _LONLAT_DIGITS)
    ).tolist()
