"""Rows of street drives: hostile ones and right ones, along real tiles that the model has not seen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

from benchmarks.context import Board
from benchmarks.lines import Line, RowSkipped, at_least
from benchmarks.trust.board import TrustBoard, trust
from benchmarks.trust.photos import hostile_row
from foldmap.atlas import FoldWriter
from foldmap.bench.street.data import TileData
from foldmap.bench.street.split import Split
from foldmap.bench.trust.answers import Answer, counted
from foldmap.bench.trust.streets import AS_DRIVEN, See, StreetSet, Travelled, ask_streets
from foldmap.errors import ModelError
from foldmap.street.defaults import default_model
from foldmap.street.fold import StreetPlan, fold_street

SCORED = ("tile_7", "tile_19", "tile_8", "tile_21", "tile_9", "tile_24")
"""Phoenix and Miami in turn; what chance reaches was set on Boston and Seattle."""


@dataclass(frozen=True)
class StreetMaps:
    """Which tiles are asked, each with drives of its own and those of the next one, which is another city.

    The model is the shipped one, which has seen generated towns alone.
    """

    tiles: tuple[str, ...] = SCORED
    steps_m: tuple[float, ...] = (10.0, 5.0)
    frames: int = 20
    count: int = 15
    seed: int = 0

    def each(self) -> Iterator[tuple[str, float]]:
        """Tile and distance of frames of each set."""
        for step_m in self.steps_m:
            for tile in self.tiles:
                yield tile, step_m

    def answers(self, board: TrustBoard, tile: str, step_m: float) -> list[Answer]:
        """Answers to all kinds of drives."""

        def make() -> list[Answer]:
            other = self.tiles[(self.tiles.index(tile) + 1) % len(self.tiles)]
            count = board.queries or self.count
            right, elsewhere = (self.drives(board, name, step_m) for name in (tile, other))
            asked = StreetSet(right, elsewhere, self.frames, step_m, count, seed=self.seed)
            name = f"{tile}, {self.frames} frames {step_m:g} m apart"
            return list(ask_streets(self.file(board, tile), name, asked, board.stage))

        return board.each((self, tile, step_m), make)

    def at(self, board: TrustBoard, step_m: float) -> list[Answer]:
        """Answers of all tiles to drives of one distance of frames."""
        return [one for tile in self.tiles for one in self.answers(board, tile, step_m)]

    def drives(self, board: TrustBoard, tile: str, step_m: float) -> list[Travelled]:
        """Drives along a tile, by aerial crops, with odometry that drifts."""
        data = TileData([board.street.tile(tile)], Split("place", (tile,), (tile,)))
        drives = data.drives(tile, board.queries or self.count, self.frames, step_m, self.seed)

        def see(number: int) -> See:
            return lambda frame: drives[number].frames[frame].observation

        return [
            Travelled(f"{tile}-{k}", self.frames, see(k), one.increments, one.poses) for k, one in enumerate(drives)
        ]

    def file(self, board: TrustBoard, tile: str) -> Path:
        """A tile's lanes, folded with the shipped model."""

        def make() -> Path:
            board.street.names()
            try:
                model = default_model()
            except ModelError as error:
                raise RowSkipped(f"skipped: {error.message}") from error
            path = board.scratch / f"{tile}.fold"
            with FoldWriter(path) as writer:
                fold_street(writer, [board.street.tile(tile).map], StreetPlan(model=model))
                writer.commit()
            return path

        return board.shared(("street file", tile), make)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class HostileDrives:
    """Row 7."""

    number: ClassVar[int] = 7
    name: ClassVar[str] = "drives"
    title: ClassVar[str] = "hostile drives, by distance of frames"
    maps: StreetMaps = StreetMaps()
    least: int = 1000

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`."""
        board = trust(board)
        board.street.names()  # says first that the tiles are not here
        asks = {f"frames {step_m:g} m apart": partial(self.maps.at, board, step_m) for step_m in self.maps.steps_m}
        yield from hostile_row(self.number, "drives", asks, self.least, "all drives")


@dataclass(frozen=True)
class RightDrives:
    """Row 8: drives whose last frame is `ok` and within its bound, of all."""

    number: ClassVar[int] = 8
    name: ClassVar[str] = "right-drives"
    title: ClassVar[str] = "right drives"
    maps: StreetMaps = StreetMaps()
    least_pct: float = 97.0

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`."""
        board = trust(board)
        for step_m in self.maps.steps_m:
            found = [one for one in self.maps.at(board, step_m) if one.kind == AS_DRIVEN]
            counts = counted(found)
            share = 100.0 * counts["ok_right"] / max(len(found), 1)
            what = f"frames {step_m:g} m apart: right drives ok at their end"
            yield at_least(self.number, what, share, self.least_pct, "%", detail=counts)
