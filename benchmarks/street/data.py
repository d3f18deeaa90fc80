"""What the street rows share: ortho tiles, the split of them, trained models, and the library of graphs."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.context import Board
from benchmarks.lines import Line, RowSkipped, number
from benchmarks.street.recipes import RECIPES, SHIPPED, Measured, Recipe, given_file, given_model, trained_model
from foldmap.api.training.trained_places import map_places, refuse_trained_on
from foldmap.bench.street.data import Library, TileData
from foldmap.bench.street.predict import Kept
from foldmap.bench.street.split import Split
from foldmap.errors import MissingExtraError
from foldmap.formats.street.observations.argoverse2_rig import read_ring
from foldmap.formats.street.observations.ortho import read_ground_tile
from foldmap.street.defaults import default_model
from foldmap.street.field.model import FieldEmbedding
from foldmap.street.images.observation import CameraRing
from foldmap.street.paper.pairs import GroundTile
from foldmap.types import FloatArray

HELD_OUT = ("tile_3", "tile_9", "tile_15", "tile_24")
"""One tile a city; no model that is measured has seen them."""
CALIBRATION = "tile_20"
"""A training tile: temperatures and thresholds come from it."""
FRONT = "ring_front_center"
_RIG = ("7fab2350_intrinsics.feather", "7fab2350_egovehicle_SE3_sensor.feather")


class StreetBoard(Board):
    """Tiles with their maps, each read once.

    Args:
        data: folder of the recordings (aerial, argoverse2, lanelet2, nuscenes-lanes, sumo).
        threads: of torch.
        quiet: no progress on stderr.
        models: folder of trained models to measure; None trains them by their recipes.
        cache: where trained models are kept between runs.
        tables: where the paper's tables keep what they have so far; None keeps it for this run.
        steps: of training at most; None for as many as each recipe says.
        held_out: tiles that queries come from.
        calibration: the training tile of thresholds.
    """

    def __init__(
        self,
        data: Path,
        threads: int = 2,
        quiet: bool = False,
        models: Path | None = None,
        cache: Path = Path("out/board/street/models"),
        held_out: Sequence[str] = HELD_OUT,
        calibration: str = CALIBRATION,
        tables: Path | None = None,
        steps: int | None = None,
    ) -> None:
        super().__init__(data, (), threads, quiet)
        self.held_out, self.calibration = tuple(held_out), calibration
        self._given, self._cache, self._tables, self._steps = models, cache, tables, steps
        self._scratch = tempfile.TemporaryDirectory(prefix="foldmap-board-")

    @property
    def scratch(self) -> Path:
        """A folder that goes when the board does."""
        return Path(self._scratch.name)

    @property
    def kept(self) -> Kept:
        """Embeddings and scores, beside the paper's tables."""
        return Kept(self.tables / "kept")

    @property
    def tables(self) -> Path:
        """Folder of the paper's tables: their answers, embeddings, trained generators."""
        return self._tables or self.scratch / "tables"

    def recipe(self, name: str) -> Recipe:
        """How a model is trained, with no more steps than were asked for."""
        recipe = RECIPES[name]
        steps = recipe.settings.steps if self._steps is None else min(recipe.settings.steps, self._steps)
        return replace(recipe, settings=replace(recipe.settings, steps=steps))

    def close(self) -> None:
        """Remove what was kept for this run."""
        super().close()
        self._scratch.cleanup()

    def names(self) -> tuple[str, ...]:
        """Of all tiles.

        Raises:
            RowSkipped: the tiles, or one that is held out, are not here.
        """
        folder = self.recordings("aerial")
        found = sorted(folder.glob("tile_*_graph.npz"), key=lambda path: (len(path.name), path.name))
        names = tuple(path.name.removesuffix("_graph.npz") for path in found)
        missing = [name for name in (*self.held_out, self.calibration) if name not in names]
        if missing:
            raise RowSkipped(f"skipped: no {missing[0]} in {folder}")
        return names

    def tile(self, name: str) -> GroundTile:
        """An ortho image with its map."""
        path = self.recordings("aerial") / f"{name}_graph.npz"
        return self.shared(("tile", name), lambda: read_ground_tile(path))  # type: ignore[no-any-return]

    def training_names(self) -> tuple[str, ...]:
        """All tiles that are not held out."""
        return tuple(name for name in self.names() if name not in self.held_out)

    def training_tiles(self) -> list[GroundTile]:
        """All tiles that are not held out."""
        return [self.tile(name) for name in self.training_names()]

    def ring(self) -> CameraRing:
        """The calibrated seven-camera rig.

        Raises:
            RowSkipped: it is not here, or its files cannot be read on this installation.
        """
        lenses, poses = (self.recordings(f"argoverse2/{name}") for name in _RIG)
        try:
            return self.shared("ring", lambda: read_ring(lenses, poses))  # type: ignore[no-any-return]
        except MissingExtraError as error:
            raise RowSkipped(f"skipped: {error.message} ({error.cure})") from error

    def split(self, train: Sequence[str], test: Sequence[str], cameras: Sequence[str] | None = None) -> TileData:
        """Tiles as aerial crops, or (cameras not None) as cameras of the rig see them; all of them where empty."""
        ring = None if cameras is None else self.ring()

        def make() -> TileData:
            tiles = [self.tile(name) for name in (*train, *test)]
            return TileData(tiles, Split("place", tuple(train), tuple(test)), ring, cameras or ())

        return self.shared(("split", tuple(train), tuple(test), cameras), make)  # type: ignore[no-any-return]

    def model(self, name: str) -> Measured:
        """A model of `RECIPES`, given or trained on the training tiles.

        Raises:
            RowSkipped: what training needs is not here.
        """

        def make() -> Measured:
            if self._given is not None:
                path = given_file(self._given, name)
                refuse_trained_on(path, map_places([self.tile(held_out).map for held_out in self.held_out]))
                return given_model(path, name)
            recipe = self.recipe(name)
            start = self.start(recipe)
            ring = None if recipe.cameras is None else self.ring()
            if ring is not None and recipe.cameras:
                ring = ring.take(*recipe.cameras)
            say = self.report(f"training {name}")
            try:
                return trained_model(self._cache, recipe, self.training_tiles(), ring, start, say)
            except MissingExtraError as error:
                raise RowSkipped(f"skipped: {error.message} ({error.cure})") from error

        return self.shared(("model", name), make)  # type: ignore[no-any-return]

    def start(self, recipe: Recipe) -> FieldEmbedding | None:
        """The trained model that a recipe begins with."""
        if recipe.start == SHIPPED:
            return default_model(recipe.update)
        return self.model(recipe.start).model if recipe.start else None

    def library(self) -> Library:
        """Windows every 5 m of the training tiles."""
        data = self.split(self.training_names(), self.held_out)
        return self.shared("library", data.library)  # type: ignore[no-any-return]

    def library_rows(self) -> FloatArray:
        """Their embeddings; the graph side of every field model is the same, nothing of it is learned."""
        model, graphs = self.model("aerial").model, self.library().graphs
        say = self.report("embedding the library")

        def make() -> FloatArray:
            parts = []
            for at in range(0, len(graphs), 512):
                parts.append(model.embed_graphs(graphs[at : at + 512]))
                say(at, len(graphs))
            return np.concatenate(parts)

        return self.shared("library rows", make)  # type: ignore[no-any-return]


def street(board: Board) -> StreetBoard:
    """The board as the street rows need it.

    Raises:
        RowSkipped: it is another layer's.
    """
    if not isinstance(board, StreetBoard):
        raise RowSkipped("skipped: this row needs the street layer's board")
    return board


def better(row: int, name: str, measured: float, other: float, unit: str = "", *, less: bool, **more: Any) -> Line:
    """A figure that must be strictly better than another one of the same run."""
    met = bool(measured < other) if less else bool(measured > other)
    return Line(row, name, float(measured), unit, f"{'<' if less else '>'} {number(other)}", met, **more)


def one_turn(model: FieldEmbedding) -> FieldEmbedding:
    """The same model without averaging over turns: four times as fast, a little less accurate."""
    return FieldEmbedding(model.network, model.field, model.frequencies, 1)
