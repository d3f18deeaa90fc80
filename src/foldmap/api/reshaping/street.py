"""Street layers: where their tiles lie, cut along tiles, joined region by region."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from foldmap.api.reshaping.area import Area
from foldmap.api.reshaping.parts import LAST, Note, Part, Source, around, require_alike, without_calibration
from foldmap.atlas.drawn import Drawn
from foldmap.errors import MapInputError
from foldmap.street.fold import MAX_REGIONS
from foldmap.street.graph.tiling import MAX_TILE, TilePosition
from foldmap.street.unfold import FoldedStreet, Region
from foldmap.types import DoubleArray, IntArray

_ALIKE = (
    *("codec", "step_m", "error_m", "tile", "spacing", "lanes", "model", "window_m", "vectors", "dimension"),
    "most_cosine",
)
_REFOLD = "fold the maps anew, together or with the same options"


def cut(source: Source, area: Area, note: Note) -> Part:
    """The tiles that an area reaches, with all edges in them; regions without any are left out."""
    streets = FoldedStreet(source.file, source.layer)
    there = source.file.directory(source.layer)
    number = there.rows >> 16
    reached = np.zeros(len(there), np.bool_)
    for region in streets.regions:
        mine = np.flatnonzero(number == region.number)
        reached[mine] = area.reaches(_boxes_m(streets, region, there.columns[mine], there.rows[mine]))
    index = np.flatnonzero(reached).astype(np.int64)
    regions: list[dict[str, Any]] = []
    rows = there.rows[index].copy()
    for region in streets.regions:
        mine = number[index] == region.number
        if mine.any():
            rows[mine] += (len(regions) - region.number) << 16
            old = source.parameters["regions"][region.number]
            regions.append({**old, **_facts(streets, region, there.columns[index[mine]], there.rows[index[mine]])})
    drawn = Drawn(source.file, source.layer, index, there.columns[index], rows)
    return Part("street", {**source.parameters, "regions": regions}, [drawn], kept=len(index), of=len(there))


def join(sources: Sequence[Source], prefer: str | None, note: Note) -> Part:
    """All regions of all layers; of two of one name that differ, the one that is preferred.

    Raises:
        MapInputError: layers of other options or models, or regions that differ and no preference.
    """
    first = sources[0]
    for source in sources[1:]:
        require_alike(first, source, _ALIKE, _REFOLD)
    taken: dict[str, tuple[Source, Region]] = {}
    for source in sources:
        for region in FoldedStreet(source.file, source.layer).regions:
            before = taken.get(region.name)
            if before is not None and not _same(before, (source, region)):
                if prefer is None:
                    what = f"{source.said} and {before[0].said} both have a region {region.name!r}, and it differs"
                    cure = "say which counts with --prefer first or --prefer last, or fold one under another --name"
                    raise MapInputError(what, cure)
                note(f"region {region.name!r} is that of the {prefer} file")
            if before is None or (prefer == LAST and not _same(before, (source, region))):
                taken[region.name] = source, region
    if len(taken) > MAX_REGIONS:
        raise MapInputError(f"{len(taken)} regions together", f"a file holds {MAX_REGIONS}")
    drawn, regions = [], []
    for number, (source, region) in enumerate(taken.values()):
        there = source.file.directory(source.layer)
        index = np.flatnonzero(there.rows >> 16 == region.number).astype(np.int64)
        rows = there.rows[index] + ((number - region.number) << 16)
        drawn.append(Drawn(source.file, source.layer, index, there.columns[index], rows))
        regions.append(source.parameters["regions"][region.number])
    parameters = without_calibration(first.parameters, sources, note) | {"regions": regions}
    kept = sum(map(len, drawn))
    of = sum(source.file.layer(source.layer).tile_count for source in sources)
    return Part("street", parameters, drawn, kept=kept, of=of)


def bounds(source: Source) -> DoubleArray:
    """West, south, east and north of all that the tiles of all regions may hold, float64 (4,), metres."""
    streets, there = FoldedStreet(source.file, source.layer), source.file.directory(source.layer)
    boxes = []
    for region in streets.regions:
        mine = there.rows >> 16 == region.number
        boxes.append(_boxes_m(streets, region, there.columns[mine], there.rows[mine]))
    return around(np.concatenate(boxes) if boxes else np.zeros((0, 4)))


def frames(source: Source) -> set[str]:
    """The coordinate reference systems of a layer's regions."""
    return {region.crs or "" for region in FoldedStreet(source.file, source.layer).regions}


def _same(one: tuple[Source, Region], other: tuple[Source, Region]) -> bool:
    """Whether two regions are the same to the bit."""
    rows = []
    for source, region in (one, other):
        there = source.file.directory(source.layer)
        index = np.flatnonzero(there.rows >> 16 == region.number)
        keys = np.stack([there.columns[index], there.rows[index] & 0xFFFF], axis=1)
        rows.append((index, keys, source.parameters["regions"][region.number]))
    (index, keys, facts), (others, other_keys, other_facts) = rows
    if facts != other_facts or not np.array_equal(keys, other_keys):
        return False
    return all(
        one[0].file.tile_at(one[0].layer, mine) == other[0].file.tile_at(other[0].layer, theirs)
        for mine, theirs in zip(index.tolist(), others.tolist(), strict=True)
    )


def _boxes_m(streets: FoldedStreet, region: Region, columns: IntArray, rows: IntArray) -> DoubleArray:
    """West, south, east and north of all that tiles may hold, float64 (N, 4), metres."""
    side = int(streets.parameters["tile"])
    at = np.stack([columns, (rows & 0xFFFF) - MAX_TILE], axis=1)
    low = np.array(region.origin) + at * side
    return np.concatenate([low - region.reach, low + side + region.reach], axis=1) * streets.step_m


def _facts(streets: FoldedStreet, region: Region, columns: IntArray, rows: IntArray) -> dict[str, Any]:
    """How many edges and places some tiles of a region have, and how long their lanes are."""
    edges, places, length_m = 0, 0, 0.0
    for column, row in zip(columns.tolist(), rows.tolist(), strict=True):
        position: TilePosition = column, (row & 0xFFFF) - MAX_TILE
        tile = streets.tile(region, position)
        edges, places = edges + len(tile.part.grid.edges), places + len(tile.edge)
        length_m += tile.part.grid.graph().length_m
    return {"edges": edges, "places": places, "length_m": round(length_m, 1)}
