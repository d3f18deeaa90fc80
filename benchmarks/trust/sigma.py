"""Rows of what answers say of themselves: sigma against errors, and protection levels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from benchmarks.context import Board
from benchmarks.lines import Line, RowSkipped, at_least, at_most, information, number
from benchmarks.trust.board import TrustBoard, trust
from benchmarks.trust.drives import StreetMaps
from benchmarks.trust.photos import PhotoMaps, asked_each
from benchmarks.trust.sweeps import LidarMaps
from foldmap.bench.trust.answers import Answer, placed
from foldmap.bench.trust.streets import AS_DRIVEN
from foldmap.metrics.consistency import consistency, level_score
from foldmap.types import DoubleArray

Some = Callable[[], list[Answer]]


def right_of(board: TrustBoard) -> dict[str, Some]:
    """Right `ok` answers of each layer, of all its maps, made when they are asked for."""
    photos, sweeps, drives = PhotoMaps(), LidarMaps(), StreetMaps()

    def of_drives(tile: str, step_m: float) -> Some:
        return lambda: [one for one in drives.answers(board, tile, step_m) if one.kind == AS_DRIVEN]

    every: dict[str, list[Some]] = {"photos": [partial(photos.right, board, *one) for one in photos.each()]}
    if not board.photo_maps:
        every["sweeps"] = [partial(sweeps.as_driven, board, *one) for one in sweeps.each()]
        every["drives"] = [of_drives(*one) for one in drives.each()]
    return {layer: partial(answers_of, some) for layer, some in every.items()}


def beside_whole_maps(board: TrustBoard) -> list[Answer]:
    """Right photos' answers held against what the maps say as they were built, not against the recordings' poses.

    These err, too, and where they do all maps of a scene err alike.
    """
    photos = PhotoMaps()
    return answers_of([partial(photos.beside_whole_map, board, *one) for one in photos.each()])


def answers_of(some: list[Some]) -> list[Answer]:
    """`ok` answers of those maps that can be asked; a RowSkipped where none can."""
    found, why = list[Answer](), ""
    for one in some:
        try:
            found += one()
        except RowSkipped as skipped:
            why = str(skipped)
    if not (kept := placed(found)):
        raise RowSkipped(why or "skipped: nothing was answered ok")
    return kept


def column(answers: list[Answer], name: str) -> DoubleArray:
    """A number of each answer."""
    return np.array([getattr(one, name) for one in answers], np.float64)


def ratios(answers: list[Answer]) -> tuple[float, dict[str, float]]:
    """Median level over median error of answers, and of each map's: scenes have units of their own.

    Levels and errors are taken in units of their map's median error.
    """
    errors, levels = column(answers, "position"), column(answers, "level")
    maps = np.array([one.map for one in answers])
    unit = {name: float(np.median(errors[maps == name])) for name in dict.fromkeys(maps.tolist())}
    units = np.array([unit[name] for name in maps.tolist()])
    each = {name: float(np.median(levels[maps == name])) / one for name, one in unit.items()}
    return float(np.median(levels / units) / np.median(errors / units)), each


@dataclass(frozen=True)
class SigmaRow:
    """Row 9: shares of position errors in the regions that hold 68.3, 95.4 and 99.7 % of a Gaussian."""

    number: ClassVar[int] = 9
    name: ClassVar[str] = "sigma"
    title: ClassVar[str] = "errors within 1, 2 and 3 sigma"
    one_sigma_pct: tuple[float, float] = (55.0, 80.0)
    least_pct: tuple[float, float] = (93.0, 99.0)
    least: int = 300

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`."""
        for layer, answers in asked_each(self.number, right_of(trust(board))):
            if isinstance(answers, Line):
                yield answers
                continue
            judged = consistency(column(answers, "squared"), answers[0].axes)
            one, two, three = (100.0 * share for share in judged.covered)
            low, high = self.one_sigma_pct
            target = f"{number(low)}-{number(high)}"
            yield Line(
                self.number, f"{layer}: within 1 sigma", one, "%", target, low <= one <= high, detail=judged.row()
            )
            yield at_least(self.number, f"{layer}: within 2 sigma", two, self.least_pct[0], "%")
            yield at_least(self.number, f"{layer}: within 3 sigma", three, self.least_pct[1], "%")
            bounds = f"{judged.nees_low:.2f} to {judged.nees_high:.2f} where sigma is right"
            yield information(self.number, f"{layer}: NEES an axis", judged.nees, note=bounds)
            yield at_least(self.number, f"{layer}: answers", judged.count, self.least)
            if layer == "photos":
                beside = beside_whole_maps(trust(board))
                judged = consistency(column(beside, "squared"), beside[0].axes)
                shares = ", ".join(f"{100.0 * share:.1f}" for share in judged.covered[:2])
                note = f"within 1 and 2: {shares} %; of {judged.count}"
                name = "photos: within 3 sigma of what the whole map answers"
                yield information(self.number, name, 100.0 * judged.covered[2], "%", note=note, detail=judged.row())


@dataclass(frozen=True)
class LevelRow:
    """Row 10: errors of position and rotation beyond the protection level of 1 in 1,000."""

    number: ClassVar[int] = 10
    name: ClassVar[str] = "level"
    title: ClassVar[str] = "errors beyond the protection level"
    most_of_1000: float = 1.0
    most_ratio: float = 5.0

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`."""
        for layer, answers in asked_each(self.number, right_of(trust(board))):
            if isinstance(answers, Line):
                yield answers
                continue
            known = [one for one in answers if math.isfinite(one.level)]
            yield information(self.number, f"{layer}: ok answers with a level", 100.0 * len(known) / len(answers), "%")
            if not known:
                yield Line(
                    self.number, f"{layer}: beyond the level", math.nan, "/1000", "<= 1", False, "not calibrated"
                )
                continue
            score = level_score(column(known, "position"), column(known, "level"))
            told = f"at most {1000 * score.most_share:.1f} with 95 % confidence"
            what, share = f"{layer}: beyond the level, of {score.count}", 1000.0 * score.share
            yield at_most(self.number, what, share, self.most_of_1000, "/1000", note=told, detail=score.row())
            ratio, each = ratios(known)
            told = ", ".join(f"{name} {one:.1f}" for name, one in each.items())
            yield at_most(self.number, f"{layer}: median level over median error", ratio, self.most_ratio, note=told)
            if layer == "photos":
                beside = beside_whole_maps(trust(board))
                ratio, each = ratios(beside)
                told = ", ".join(f"{name} {one:.1f}" for name, one in each.items())
                name = "photos: median level over median distance to what the whole map answers"
                yield information(self.number, name, ratio, note=told)
            turn = level_score(column(known, "rotation_rad"), column(known, "level_rad"))
            yield information(self.number, f"{layer}: rotations beyond the level", 1000.0 * turn.share, "/1000")
