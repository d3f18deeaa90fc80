"""Where on Earth a map lies: by its coordinate reference system, or by the anchor of its local frame."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from foldmap.atlas import FoldFile
from foldmap.errors import ConfigError, MapFormatError, MapInputError
from foldmap.geometry import SE3
from foldmap.geometry.geopose import Anchor, GeoPose

ANCHOR = "anchor"
"""Key of a file's metadata: an object of the four numbers of an `Anchor`."""


@dataclass(frozen=True)
class Georeference:
    """What turns poses of a map into poses on Earth: a coordinate reference system, or else an anchor.

    A crs says nothing about heights: z counts as height above the ellipsoid.
    """

    crs: str = ""
    anchor: Anchor | None = None

    def near(self, x_m: float, y_m: float) -> tuple[Anchor, SE3]:
        """An anchor that holds about a place of the map, and the map's origin in the frame that it anchors."""
        if not self.crs:
            assert self.anchor is not None
            return self.anchor, SE3(np.eye(4))
        from foldmap.formats.crs import anchor_at

        shift = np.eye(4)
        shift[:2, 3] = -x_m, -y_m
        return anchor_at(x_m, y_m, self.crs), SE3(shift)

    def geopose(self, world_SE3_body: SE3) -> GeoPose:
        """A pose in the map's frame, metres, as one on Earth.

        Raises:
            MapInputError: the place is outside of the crs.
        """
        x_m, y_m, _ = world_SE3_body.translation_m.tolist()
        anchor, origin = self.near(x_m, y_m)
        return anchor.geopose(origin @ world_SE3_body)

    def place(self, latitude_deg: float, longitude_deg: float) -> tuple[float, float]:
        """Where a place on Earth is in the map, x and y in metres.

        Raises:
            MapInputError: it is outside of the crs.
        """
        if not self.crs:
            assert self.anchor is not None
            x_m, y_m, _ = self.anchor.in_map(latitude_deg, longitude_deg).tolist()
            return x_m, y_m
        from foldmap.formats.crs import from_lonlat

        x_m, y_m = from_lonlat(np.array([[longitude_deg, latitude_deg]]), self.crs)[0].tolist()
        return x_m, y_m

    def grid_heading_rad(self, x_m: float, y_m: float) -> float:
        """Of the map's x axis at a place, counter-clockwise from true east."""
        return self.near(x_m, y_m)[0].heading_rad


def georeference_of(file: FoldFile, anchor: Anchor | None = None) -> Georeference | None:
    """How an open file lies on Earth; None where nobody placed it there. A given anchor takes the place of its own.

    Raises `ConfigError`: an anchor is given for a map that has a crs; `MapFormatError`: its anchor is damaged.
    """
    crs = crs_of(layer.parameters for layer in file.layers())
    if crs:
        if anchor is not None:
            raise ConfigError(f"{file.path.name} has a coordinate reference system", "leave the anchor out")
        return Georeference(crs)
    anchor = anchor or read_anchor(file.metadata())
    return None if anchor is None else Georeference("", anchor)


def crs_of(layers: Iterable[Mapping[str, Any]]) -> str:
    """The first crs that parameters of layers name; empty where all are in a local frame."""
    for parameters in layers:
        grid, regions = parameters.get("grid"), parameters.get("regions")
        named = [grid.get("crs_wkt")] if isinstance(grid, dict) else []
        if isinstance(regions, list):
            named += [region.get("crs") for region in regions if isinstance(region, dict)]
        for crs in named:
            if isinstance(crs, str) and crs:
                return crs
    return ""


def read_anchor(metadata: Mapping[str, Any]) -> Anchor | None:
    """The anchor among a file's metadata; None where there is none, a MapFormatError where it makes no sense."""
    said = metadata.get(ANCHOR)
    if said is None:
        return None
    try:
        if not isinstance(said, dict) or said.keys() != Anchor.__dataclass_fields__.keys():
            raise ConfigError(f"the anchor is {str(said)[:80]!r}")
        return Anchor(**said)
    except ConfigError as error:
        raise MapFormatError(error.message, "fold the map again, with --anchor") from error


def refuse_anchor_beside(crs: str, where: str) -> None:
    """Refuse an anchor for a map with a crs: two answers to one question; a ConfigError."""
    if crs:
        said = f"{where} has a coordinate reference system ({crs[:40]}), and an anchor is of a local frame"
        raise ConfigError(said, "leave --anchor out, or fold maps without a crs")


def require_one_place(files: Sequence[FoldFile]) -> None:
    """Check that files which are put together lie at one place on Earth, as far as they say.

    Raises:
        MapInputError: two are anchored at different places, or one is anchored and another has a crs.
    """
    said = [(file, read_anchor(file.metadata()), crs_of(layer.parameters for layer in file.layers())) for file in files]
    anchored = [(file, anchor) for file, anchor, _ in said if anchor is not None]
    cure = "fold one of them anew, in the frame of the other"
    for file, anchor in anchored[1:]:
        if anchor != anchored[0][1]:
            first = anchored[0]
            what = f"{file.path.name} is anchored at {anchor.words}, {first[0].path.name} at {first[1].words}"
            raise MapInputError(what, cure)
    placed = [file for file, _, crs in said if crs]
    if anchored and placed:
        what = f"{anchored[0][0].path.name} is anchored in a local frame, {placed[0].path.name} has a crs"
        raise MapInputError(what, cure)
