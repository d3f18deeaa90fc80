"""What GeoJSON coordinates are in: degrees by its standard, metres by the habits of many."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from foldmap.errors import MapInputError
from foldmap.formats.crs import lonlat_lines, metric_lines
from foldmap.street.graph.repair import METRES, UNSURE, unit_of
from foldmap.types import DoubleArray


def metric_geojson(
    lines: list[DoubleArray], content: Mapping[str, Any], path: Path
) -> tuple[list[DoubleArray], str | None]:
    """Lines in metres and their crs: what the file says of itself; else degrees, as RFC 7946 has it.

    Files of local metres are common in spite of the RFC: coordinates that cannot be degrees are taken for such.

    Args:
        lines: float64 (P, 2) each, at least one.
        content: the file's collection.
        path: for messages.

    Returns:
        The lines, and their crs, None for a local frame.

    Raises:
        MapInputError: a crs that pyproj does not read or that is in feet, or coordinates that may be both.
    """
    label = _named_crs(content, path)
    if label is not None:
        return metric_lines(lines, label, str(path))
    if content.get("foldmap:crs", "") is None:
        return lines, None
    whole, lengths = np.concatenate(lines), [len(line) for line in lines]
    unit = unit_of(lines)
    if unit == METRES:
        return lines, None
    if unit == UNSURE:
        raise MapInputError(
            f"{path}: coordinates such as {whole[0].tolist()} may be degrees of a coarse map or metres of a small one",
            'name it: "crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:OGC:1.3:CRS84"}} for degrees, '
            '"foldmap:crs": null for metres of a local frame',
        )
    return lonlat_lines(whole, lengths, str(path))


def _named_crs(content: Mapping[str, Any], path: Path) -> Any:
    """What the ``crs`` member that GeoJSON had before RFC 7946 names, None where there is none."""
    crs = content.get("crs")
    if crs is None:
        return None
    named = crs.get("properties") if isinstance(crs, Mapping) else None
    label = named.get("name", named.get("code")) if isinstance(named, Mapping) else None
    if isinstance(label, bool) or not isinstance(label, str | int):
        raise MapInputError(f"{path}: its crs has no name", "drop the crs member, or name an EPSG code")
    return label
