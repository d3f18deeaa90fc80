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

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from foldmap.errors import MapInputError, PoseInputError
from foldmap.formats.naming import naming
from foldmap.formats.street.maps import read_street_maps
from foldmap.formats.street.observations.images import read_rgb
from foldmap.formats.street.observations.poses import read_pose_table
from foldmap.formats.street.observations.ring import read_ring_file
from foldmap.formats.textual import CsvTable, numbers, read_csv_table
from foldmap.geometry import SE2
from foldmap.geometry.se2 import wrap_rad
from foldmap.street.graph.chains import resample
from foldmap.street.graph.window import AROUND, Window, cut
from foldmap.street.images.observation import AerialCrop, CameraRing, LazyPairs, Observation, RingFrame, StreetPair
from foldmap.street.source import LaneGraph, StreetMap

_PLACE = ("map", "x_m", "y_m", "heading_rad", "heading_deg")
_WHAT = "columns x_m, y_m, heading_rad or heading_deg, map, and aerial or the cameras of ring.json"


@dataclass(frozen=True)
class _Row:
    line: int
    map: StreetMap
    world_SE2_ego: SE2
    files: tuple[Path | None, ...]


class FolderPairs(LazyPairs):
    """The pairs of a folder, decoded when they are asked for: of a ring, or, where that is None, of aerial crops."""

    def __init__(self, path: Path, rows: Sequence[_Row], ring: CameraRing | None, window: Window) -> None:
        self.path, self.ring, self.window, self._rows = path, ring, window, tuple(rows)

    def __len__(self) -> int:
        return len(self._rows)

    def render(self, number: int) -> StreetPair:
        """Read a pair."""
        row = self._rows[number]
        images = [None if file is None else read_rgb(file) for file in row.files]
        observation: Observation
        with naming(f"{self.path}, line {row.line}"):
            if self.ring is not None:
                observation = RingFrame(self.ring, tuple(images))
            else:
                assert images[0] is not None  # a row without was refused
                observation = AerialCrop(images[0], self.window)
        return StreetPair(observation, self.graph(number), row.map.name, row.world_SE2_ego)

    def places(self) -> list[tuple[str, SE2]]:
        """Map and world_SE2_ego of each pair; no image is decoded."""
        return [(row.map.name, row.world_SE2_ego) for row in self._rows]

    def graph(self, number: int) -> LaneGraph:
        """The truth of a pair, in the ego frame, cut to the window, vertices 1 m apart."""
        row = self._rows[number]
        return resample(cut(row.map.graph, row.world_SE2_ego, self.window), 1.0)


def read_pairs(folder: Path | str, window: Window = AROUND) -> FolderPairs:
    """Open a folder, laid out as the module says; everything but the images' content is checked at once.

    ``window`` is what the graphs, and aerial crops, cover.
    """
    folder = Path(folder)
    listing = folder / "pairs.csv"
    if not listing.is_file():
        raise MapInputError(f"{folder} has no pairs.csv", f"write one with the {_WHAT}")
    maps = {street.name: street for street in read_street_maps(folder / "maps")}
    table = read_csv_table(listing, ("x_m", "y_m"), _WHAT)
    ring = _ring(folder, table)
    rows = [_row(folder, table, line, cells, maps, ring) for line, cells in table.rows]
    if not rows:
        raise MapInputError(f"{listing} lists no pairs", "give a row an observation")
    read_pose_table(listing)  # refuses degrees, and headings that are something else than their column says
    return FolderPairs(listing, rows, ring, window)


def _ring(folder: Path, table: CsvTable) -> CameraRing | None:
    """The ring whose cameras have columns, in the order of ring.json; None for aerial crops."""
    if ("heading_rad" in table.columns) == ("heading_deg" in table.columns):
        raise MapInputError(f"{table.path} needs one column of headings", f"give {_WHAT}")
    cameras = [name for name in table.columns if name not in (*_PLACE, "aerial")]
    if "aerial" in table.columns:
        if cameras:
            raise MapInputError(f"{table.path} has aerial crops and the column {cameras[0]!r}", f"give {_WHAT}")
        return None
    if not cameras:
        raise MapInputError(f"{table.path} names no images", f"give {_WHAT}")
    path = folder / "ring.json"
    if not path.is_file():
        raise MapInputError(f"{table.path} has cameras, but there is no {path}", "write their calibration there")
    ring = read_ring_file(path)
    unknown = [name for name in cameras if name not in ring.names]
    if unknown:
        cure = f"{path} has {', '.join(ring.names)}"
        raise MapInputError(f"the camera {unknown[0]!r} of {table.path} is not calibrated", cure)
    return ring.take(*(name for name in ring.names if name in cameras))


def _row(
    folder: Path, table: CsvTable, line: int, cells: dict[str, str], maps: dict[str, StreetMap], ring: CameraRing | None
) -> _Row:
    where = f"{table.path}, line {line}"
    name = cells.get("map", "") or (next(iter(maps)) if len(maps) == 1 else "")
    if name not in maps:
        raise MapInputError(f"{where}: no map is called {name!r}", f"there is {', '.join(maps)}")
    files = []
    for camera in ring.names if ring else ("aerial",):
        file = folder / cells[camera] if cells[camera] else None
        if file is not None and not file.is_file():
            raise MapInputError(f"{where}: there is no image {file}", "check the name, or leave the cell empty")
        files.append(file)
    if all(file is None for file in files):
        raise MapInputError(f"{where}: no image", "name at least one, or leave the row out")
    return _Row(line, maps[name], _pose(table.path, line, cells), tuple(files))


def _pose(path: Path, line: int, cells: dict[str, str]) -> SE2:
    unit = "heading_rad" if "heading_rad" in cells else "heading_deg"
    place = [cells[column] for column in ("x_m", "y_m", unit)]
    x, y, heading = numbers(path, line, place, f"numbers in x_m, y_m and {unit}").tolist()
    if unit == "heading_rad" and abs(heading) > 4 * math.pi:
        cure = "call the column heading_deg if it is degrees"
        raise PoseInputError(f"{path}, line {line}: a heading of {heading:g} rad", cure)
    return SE2(x, y, wrap_rad(heading if unit == "heading_rad" else math.radians(heading)))
