"""Anybody's own images with their street maps: a folder with a list of poses.

::

    folder/
      pairs.csv      one row an observation, columns by their names:
                       map          name of a street map; may be left out where there is one only
                       x_m, y_m     where the vehicle was, in that map's frame
                       heading_rad  or heading_deg, counter-clockwise from x (east)
                       aerial       an image of the window in the ego frame, row 0 ahead, column 0 left
                     or one column a camera, by its name in ring.json; a cell is empty where a camera is missing
      ring.json      the cameras' calibration (`foldmap.formats.street.observations.ring`)
      maps/          anything `foldmap.formats.street.maps.read_street_maps` reads

Image names are relative to the folder.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

from foldmap.errors import MapInputError, PoseInputError
from foldmap.formats.street.maps import read_street_maps
from foldmap.formats.street.observations.images import read_rgb
from foldmap.formats.street.observations.ring import read_ring_file
from foldmap.formats.textual import read_text
from foldmap.geometry import SE2
from foldmap.geometry.se2 import wrap_rad
from foldmap.street.graph.chains import resample
from foldmap.street.graph.window import AROUND, Window, cut
from foldmap.street.images.observation import AerialCrop, CameraRing, Observation, Pair, RingFrame
from foldmap.street.source import LaneGraph, StreetMap

_PLACE = ("map", "x_m", "y_m", "heading_rad", "heading_deg")
_WHAT = "columns x_m, y_m, heading_rad or heading_deg, map, and aerial or the cameras of ring.json"


@dataclass(frozen=True)
class _Row:
    line: int
    map: StreetMap
    world_SE2_ego: SE2
    files: tuple[Path | None, ...]


class FolderPairs(Sequence[Pair]):
    """The pairs of a folder; images are decoded when they are asked for.

    Attributes:
        ring: calibration, or None for aerial crops.
        window: of the graphs, and what aerial crops cover.
    """

    def __init__(self, path: Path, rows: Sequence[_Row], ring: CameraRing | None, window: Window) -> None:
        self.path = path
        self.ring = ring
        self.window = window
        self._rows = tuple(rows)

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Pair: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Pair]: ...
    def __getitem__(self, index: int | slice) -> Pair | Sequence[Pair]:
        """Read a pair (or, for a slice, a list of them).

        Raises:
            MapInputError: an image cannot be used; the message names the line.
        """
        if isinstance(index, slice):
            return [self[k] for k in range(*index.indices(len(self)))]
        row = self._rows[index]
        images = [None if file is None else read_rgb(file) for file in row.files]
        try:
            seen: Observation
            if self.ring is not None:
                seen = RingFrame(self.ring, tuple(images))
            else:
                assert images[0] is not None  # a row without was refused
                seen = AerialCrop(images[0], self.window)
        except MapInputError as error:
            raise MapInputError(f"{self.path}, line {row.line}: {error.message}", error.cure) from error
        return Pair(seen, self.graph(index), row.map.name, row.world_SE2_ego)

    def places(self) -> list[tuple[str, SE2]]:
        """Map and world_SE2_ego of each pair; no image is decoded."""
        return [(row.map.name, row.world_SE2_ego) for row in self._rows]

    def graph(self, index: int) -> LaneGraph:
        """The truth of a pair, in the ego frame, cut to the window, vertices 1 m apart."""
        row = self._rows[index]
        return resample(cut(row.map.graph, row.world_SE2_ego, self.window), 1.0)


def read_pairs(folder: Path | str, window: Window = AROUND) -> FolderPairs:
    """Open a folder of images, poses and maps; everything but the images' content is checked at once.

    Args:
        folder: laid out as the module says.
        window: what the graphs, and aerial crops, cover.

    Raises:
        MapInputError: a file is missing or cannot be used, a camera has no calibration or no column, a row names an
            image or map that is not there.
        PoseInputError: a row's pose is none.
    """
    folder = Path(folder)
    listing = folder / "pairs.csv"
    if not listing.is_file():
        raise MapInputError(f"{folder} has no pairs.csv", f"write one with the {_WHAT}")
    maps = {street.name: street for street in read_street_maps(folder / "maps")}
    table = csv.reader(io.StringIO(read_text(listing)), skipinitialspace=True)
    try:
        header = [name.strip() for name in next(table, [])]
        cells = [(table.line_num, [cell.strip() for cell in row]) for row in table if any(row)]
    except csv.Error as error:
        raise MapInputError(f"{listing}, line {table.line_num}: {error}", f"give {_WHAT}") from error
    ring = _ring(folder, listing, header)
    rows = [_row(folder, listing, header, line, row, maps, ring) for line, row in cells]
    if not rows:
        raise MapInputError(f"{listing} lists no pairs", "give a row an observation")
    return FolderPairs(listing, rows, ring, window)


def _ring(folder: Path, listing: Path, header: list[str]) -> CameraRing | None:
    """The ring whose cameras have columns, in the order of ring.json; None for aerial crops."""
    if len(set(header)) < len(header):
        raise MapInputError(f"{listing} has two columns of one name", f"give {_WHAT}")
    missing = [name for name in ("x_m", "y_m") if name not in header]
    if missing or ("heading_rad" in header) == ("heading_deg" in header):
        raise MapInputError(
            f"{listing} has no column {missing[0]}" if missing else f"{listing} needs one column of headings",
            f"give {_WHAT}",
        )
    cameras = [name for name in header if name not in (*_PLACE, "aerial")]
    if "aerial" in header:
        if cameras:
            raise MapInputError(f"{listing} has aerial crops and the column {cameras[0]!r}", f"give {_WHAT}")
        return None
    if not cameras:
        raise MapInputError(f"{listing} names no images", f"give {_WHAT}")
    path = folder / "ring.json"
    if not path.is_file():
        raise MapInputError(f"{listing} has cameras, but there is no {path}", "write their calibration there")
    ring = read_ring_file(path)
    unknown = [name for name in cameras if name not in ring.names]
    if unknown:
        raise MapInputError(
            f"the camera {unknown[0]!r} of {listing} is not calibrated", f"{path} has {', '.join(ring.names)}"
        )
    return ring.take(*(name for name in ring.names if name in cameras))


def _row(
    folder: Path,
    listing: Path,
    header: list[str],
    line: int,
    cells: list[str],
    maps: dict[str, StreetMap],
    ring: CameraRing | None,
) -> _Row:
    where = f"{listing}, line {line}"
    if len(cells) != len(header):
        raise MapInputError(f"{where}: {len(cells)} cells for {len(header)} columns", f"give {_WHAT}")
    named = dict(zip(header, cells, strict=True))
    name = named.get("map", "") or (next(iter(maps)) if len(maps) == 1 else "")
    if name not in maps:
        raise MapInputError(f"{where}: no map is called {name!r}", f"there is {', '.join(maps)}")
    files = []
    for camera in ring.names if ring else ("aerial",):
        file = folder / named[camera] if named[camera] else None
        if file is not None and not file.is_file():
            raise MapInputError(f"{where}: there is no image {file}", "check the name, or leave the cell empty")
        files.append(file)
    if all(file is None for file in files):
        raise MapInputError(f"{where}: no image", "name at least one, or leave the row out")
    return _Row(line, maps[name], _pose(where, named), tuple(files))


def _pose(where: str, named: dict[str, str]) -> SE2:
    unit = "heading_rad" if "heading_rad" in named else "heading_deg"
    try:
        x, y, heading = (float(named[column]) for column in ("x_m", "y_m", unit))
    except ValueError as error:
        raise PoseInputError(f"{where}: {error}", f"give numbers in x_m, y_m and {unit}") from error
    if not all(math.isfinite(value) for value in (x, y, heading)):
        raise PoseInputError(f"{where}: NaN or infinite entries", "remove that row")
    if unit == "heading_rad" and abs(heading) > 4 * math.pi:
        raise PoseInputError(f"{where}: a heading of {heading:g} rad", "call the column heading_deg if it is degrees")
    return SE2(x, y, wrap_rad(heading if unit == "heading_rad" else math.radians(heading)))
