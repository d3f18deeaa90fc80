"""The places of a folded street map as one library: embeddings, where they are, their lane graphs, and fences."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from foldmap.cli.common import require_file
from foldmap.errors import ConfigError, LayerError, MapInputError

if TYPE_CHECKING:
    from foldmap.geometry import SE2
    from foldmap.street.graph.window import Window
    from foldmap.street.model import EmbeddingModel
    from foldmap.street.search import SearchIndex
    from foldmap.street.source import LaneGraph
    from foldmap.street.unfold import StreetLayer
    from foldmap.types import AnyArray, DoubleArray, IntArray


@contextmanager
def open_street(path: Path) -> Iterator[StreetLayer]:
    """Open the street layer of a file.

    Raises:
        MapFormatError: no such file, or a damaged one.
        LayerError: it has no street layer.
    """
    from foldmap.atlas import FoldFile
    from foldmap.street.unfold import StreetLayer

    require_file(path)
    with FoldFile.open(path) as file:
        names = [layer.name for layer in file.layers() if layer.kind == "street"]
        if not names:
            raise LayerError(f"{path} has no street layer", "fold street maps with foldmap fold")
        yield StreetLayer(file, names[0])


@dataclass(frozen=True)
class Library:
    """Places of some regions, region after region.

    Attributes:
        layer: that they are of.
        regions: names.
        region: int64 (N,), index into `regions`.
        xy_m: float64 (N, 2), in the frame of the region.
        heading_rad: float64 (N,).
        vectors: float16 or float32 (N, D), unit rows.
    """

    layer: StreetLayer
    regions: tuple[str, ...]
    region: IntArray
    xy_m: DoubleArray
    heading_rad: DoubleArray
    vectors: AnyArray

    def __len__(self) -> int:
        return len(self.xy_m)

    def pose(self, row: int) -> SE2:
        """world_SE2_ego of a place."""
        from foldmap.geometry import SE2

        return SE2(float(self.xy_m[row, 0]), float(self.xy_m[row, 1]), float(self.heading_rad[row]))

    def region_of(self, row: int) -> str:
        """Name of the region of a place."""
        return self.regions[int(self.region[row])]

    def graph(self, row: int, window: Window) -> LaneGraph:
        """The lane graph around a place, in its ego frame, vertices 1 m apart."""
        return window_at(self.layer, self.region_of(row), self.pose(row), window)


def window_at(layer: StreetLayer, region: str, pose: SE2, window: Window) -> LaneGraph:
    """The part of a region around a pose, in the ego frame, vertices 1 m apart; reads the tiles around it."""
    from foldmap.street.graph.chains import resample
    from foldmap.street.graph.window import cut

    near = layer.graph_near(region, pose.x_m, pose.y_m, window.radius_m)
    return resample(cut(near, pose, window), 1.0)


def read_library(
    layer: StreetLayer,
    regions: Sequence[str] = (),
    report: Callable[[int, int], None] = lambda done, total: None,
    model: EmbeddingModel | None = None,
) -> Library:
    """Decode places and embeddings; draw those that are not stored with the model, the map's own where None.

    Raises:
        LayerError: no such region, or the map has neither embeddings nor a model.
        MapInputError: the regions have no places.
    """
    import numpy as np

    from foldmap.street.search import EXACT_UP_TO

    chosen = [layer.region(name) for name in regions] if regions else list(layer.regions)
    kind = np.float32 if sum(one.places for one in chosen) <= EXACT_UP_TO else np.float16
    xy, heading, number, vectors = [], [], [], []
    for index, one in enumerate(chosen):
        places = layer.places(one.name)
        rows = layer.embeddings(one.name, model)
        useful = np.einsum("nd,nd->n", rows, rows) > 0.25  # a place whose window held nothing is like nothing
        xy.append(places.xy_m[useful])
        heading.append(places.heading_rad[useful])
        number.append(np.full(int(useful.sum()), index, np.int64))
        vectors.append(rows[useful].astype(kind, copy=False))
        report(index + 1, len(chosen))
    found = Library(
        layer,
        tuple(one.name for one in chosen),
        np.concatenate(number),
        np.concatenate(xy),
        np.concatenate(heading),
        np.concatenate(vectors),
    )
    if not len(found):
        raise MapInputError("the street layer has no places to retrieve", "fold the map with --spacing 5")
    return found


@dataclass(frozen=True)
class Fence:
    """Where results may lie; None: anywhere.

    Attributes:
        near: centre of a disc.
        radius_m: of the disc.
        box: west, south, east, north.
    """

    near: tuple[float, float] | None = None
    radius_m: float | None = None
    box: tuple[float, float, float, float] | None = None

    @staticmethod
    def of(near: str | None, radius_m: float | None, box: str | None) -> Fence:
        """Read ``X,Y`` and ``W,S,E,N``.

        Raises:
            ConfigError: other than so many numbers.
        """
        centre = sides = None
        if near is not None:
            x, y = numbers_of(near, 2, "--near")
            centre = (x, y)
        if box is not None:
            west, south, east, north = numbers_of(box, 4, "--box")
            sides = (west, south, east, north)
        return Fence(centre, radius_m, sides)

    def rows(self, library: Library) -> IntArray | None:
        """Rows of the library inside, or None where there is no fence.

        Raises:
            ConfigError: a part of a fence is missing, or several regions have a frame of their own each.
        """
        import numpy as np

        from foldmap.street.fences import inside_box, inside_radius

        if (self.near is None) != (self.radius_m is None):
            raise ConfigError("a fence around a point has a radius", "give both --near X,Y and --radius M")
        if self.near is None and self.box is None:
            return None
        if len(library.regions) > 1:
            raise ConfigError(
                f"{len(library.regions)} regions have frames of their own", "name the one of the fence with --region"
            )
        rows = np.arange(len(library))
        if self.near is not None and self.radius_m is not None:
            rows = inside_radius(library.xy_m, np.array(self.near), self.radius_m)
        if self.box is not None:
            rows = np.intersect1d(rows, inside_box(library.xy_m, *self.box))
        return rows


def search_index(library: Library, kind: str) -> SearchIndex:
    """An index over the library, of a kind that `SearchIndex.build` knows."""
    from foldmap.street.search import SearchIndex

    return SearchIndex.build(library.vectors, kind)


def numbers_of(text: str, count: int, option: str) -> tuple[float, ...]:
    """Read ``1,2,3``.

    Raises:
        ConfigError: other than so many finite numbers.
    """
    import math

    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) != count or not all(math.isfinite(value) for value in values):
        raise ConfigError(f"{option} is {text!r}", f"give {count} numbers with commas between them")
    return values
