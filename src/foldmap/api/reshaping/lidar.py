"""Lidar layers: where their tiles lie, cut along tiles, joined where their grids are one lattice of tiles."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace

import numpy as np

from foldmap.api.reshaping.area import Area
from foldmap.api.reshaping.parts import (
    LAST,
    Note,
    Part,
    Source,
    around,
    first_unlike,
    numbers_of,
    places_in,
    require_alike,
    without_calibration,
)
from foldmap.atlas.drawn import Drawn
from foldmap.atlas.parameters import whole_of
from foldmap.errors import MapFormatError, MapInputError
from foldmap.geometry import MetricGrid
from foldmap.types import DoubleArray

_ALIKE = ("codec", "cell_px", "tile_cells", "known_cells", "tile_blocks", "block_px", "coder", "relief")
_REFOLD = "fold both rasters as one map, with one model"
_ON_LATTICE_PX = 1e-3
_AT_ONCE = 1 << 16


def cut(source: Source, area: Area, note: Note) -> Part:
    """The tiles that an area reaches, under their keys, on the grid that they are of."""
    there = source.file.directory(source.layer)
    found = [start + np.flatnonzero(area.reaches(boxes_m)) for start, boxes_m in _boxes_m(source)]
    index = np.concatenate([np.zeros(0, np.int64), *found])
    parameters = dict(source.parameters)
    if isinstance(parameters.get("observed_px"), int) and len(there):
        # tiles do not say how much of them was observed: in proportion to how many there are
        parameters["observed_px"] = round(parameters["observed_px"] * len(index) / len(there))
    return Part("lidar", parameters, [Drawn(source.file, source.layer, index)], kept=len(index), of=len(there))


def join(sources: Sequence[Source], prefer: str | None, note: Note) -> Part:
    """All tiles on the lattice of the first; where two have a tile and it differs, the one that is preferred.

    Raises:
        MapInputError: another code, model, frame, resolution or lattice, or tiles that differ and no preference.
    """
    first = sources[0]
    grids = [_grid(source) for source in sources]
    side_px = _tile_px(first)
    for source, grid in zip(sources[1:], grids[1:], strict=True):
        require_alike(first, source, _ALIKE, _REFOLD)
        if (grid.crs_wkt, grid.resolution_m) != (grids[0].crs_wkt, grids[0].resolution_m):
            what = f"{source.said} has another frame or pixel size than {first.said}"
            raise MapInputError(what, "project and resample the raster to the other's grid, and fold it again")
        if any(source.parameters.get(name) != first.parameters.get(name) for name in ("spread", "contrast")):
            note(f"{source.said} was folded at another level of contrast; updates go on with that of {first.said}")
    offsets = [_offset_tiles(first, source, side_px) for source in sources]
    top, left = (min(axis) for axis in zip(*offsets, strict=True))
    drawn = [_moved(source, row - top, column - left) for source, (row, column) in zip(sources, offsets, strict=True)]
    drawn = _ordered(sources, drawn, prefer, note)
    bottom = max(row * side_px + grid.height_px for (row, _), grid in zip(offsets, grids, strict=True))
    right = max(column * side_px + grid.width_px for (_, column), grid in zip(offsets, grids, strict=True))
    corner = grids[0].window(top * side_px, left * side_px, bottom - top * side_px, right - left * side_px)
    corner = replace(corner, crs_wkt=grids[0].crs_wkt)
    parameters = without_calibration(first.parameters, sources, note) | {"grid": asdict(corner)}
    keys, observed = np.zeros(0, np.int64), 0.0
    for one in drawn:
        mine = numbers_of(one)
        new = mine[places_in(keys, mine) < 0]
        of = one.file.layer(one.layer).parameters.get("observed_px")
        observed += (of if isinstance(of, int) else 0) * len(new) / max(len(mine), 1)
        keys = np.concatenate([keys, new])
        keys.sort(kind="stable")
    if any(source.parameters.get("sweeps") != first.parameters.get("sweeps") for source in sources):
        parameters.pop("sweeps", None)  # no one way holds for all
        note("sweeps of the maps were put together in different ways: the joined map says none")
    parameters["observed_px"] = round(observed)
    return Part("lidar", parameters, drawn, kept=len(keys), of=sum(map(len, drawn)))


def bounds(source: Source) -> DoubleArray:
    """West, south, east and north of all tiles, float64 (4,), metres."""
    return around(np.stack([around(boxes_m) for _, boxes_m in _boxes_m(source)] or [np.full(4, np.nan)]))


def frames(source: Source) -> set[str]:
    """The coordinate reference systems of a layer."""
    return {_grid(source).crs_wkt}


def _ordered(sources: Sequence[Source], drawn: list[Drawn], prefer: str | None, note: Note) -> list[Drawn]:
    """What is drawn, the preferred first; refuses tiles that differ where nothing is preferred."""
    for at, (source, one) in enumerate(zip(sources, drawn, strict=True)):
        for before, other in zip(sources[:at], drawn[:at], strict=True):
            count, key = first_unlike(other, one)
            if count and prefer is None:
                what = f"{source.said} and {before.said} both have tile {key}, and {count} tiles differ"
                raise MapInputError(what, "say which map counts with --prefer first or --prefer last")
            if count:
                note(f"{count} tiles differ between {before.said} and {source.said}: of the {prefer} they are kept")
    return drawn[::-1] if prefer == LAST else drawn


def _moved(source: Source, rows: int, columns: int) -> Drawn:
    there = source.file.directory(source.layer)
    if not rows and not columns:
        return Drawn(source.file, source.layer)
    return Drawn(source.file, source.layer, None, there.columns + columns, there.rows + rows)


def _offset_tiles(first: Source, source: Source, side_px: int) -> tuple[int, int]:
    """Rows and columns of tiles from the first layer's corner to another's."""
    mine, theirs = _grid(first), _grid(source)
    row = (mine.north_m - theirs.north_m) / mine.resolution_m / side_px
    column = (theirs.west_m - mine.west_m) / mine.resolution_m / side_px
    if max(abs(row - round(row)), abs(column - round(column))) * side_px > _ON_LATTICE_PX:
        what = f"tiles of {source.said} lie between those of {first.said} ({side_px} px a side)"
        raise MapInputError(what, "fold both rasters as one map, or cut them at the same lattice of tiles")
    return round(row), round(column)


def _boxes_m(source: Source) -> Iterator[tuple[int, DoubleArray]]:
    """West, south, east and north of each tile, float64 (N, 4), metres: some tiles at a time, and the first's index."""
    there, grid = source.file.directory(source.layer), _grid(source)
    side_m = _tile_px(source) * grid.resolution_m
    for start in range(0, len(there), _AT_ONCE):
        columns, rows = there.keys(slice(start, start + _AT_ONCE))
        west, north = grid.west_m + columns * side_m, grid.north_m - rows * side_m
        yield start, np.stack([west, north - side_m, west + side_m, north], axis=1).astype(np.float64)


def _grid(source: Source) -> MetricGrid:
    try:
        return MetricGrid(**source.parameters["grid"])
    except (KeyError, TypeError, MapInputError) as error:
        raise MapFormatError(f"{source.said}: its grid does not make sense: {error}", "fold the map again") from error


def _tile_px(source: Source) -> int:
    """Pixels a tile side."""
    said = source.parameters
    if "tile_cells" in said:  # of marks
        cells = whole_of(said, "lidar", "tile_cells", 1, 4096)
        return cells * whole_of(said, "lidar", "cell_px", 1, 256)
    return whole_of(said, "lidar", "tile_blocks", 1, 16) * whole_of(said, "lidar", "block_px", 1, 1 << 16)
