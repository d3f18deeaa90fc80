"""Rows of the journey: random starts, layers cut off, a jump, another town."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from benchmarks.context import Board
from benchmarks.journey.town import RATE_HZ, SILENT, Cut, TownDrives, driven, fold_town, jumped, layers_of, without
from benchmarks.lines import Line, RowSkipped, at_most, information
from foldmap.errors import ModelError
from foldmap.localize.journey.events import CameraEvent, SweepEvent
from foldmap.localize.journey.senses import Layers


def _town(board: Board, extent_m: float, seed: int) -> tuple[Layers, int]:
    """The layers of a folded town, made once, and the bytes of its file."""

    def make() -> tuple[tempfile.TemporaryDirectory[str], Layers, int]:
        folder = tempfile.TemporaryDirectory()
        path = Path(folder.name) / "town.fold"
        try:
            size = fold_town(path, board, extent_m, seed)
        except ModelError as error:
            raise RowSkipped(f"skipped: {error.message}") from error
        return folder, layers_of(path), size

    _, layers, size = board.shared(("journey town", extent_m, seed), make)
    return layers, size


@dataclass(frozen=True)
class Starts:
    """Row 1: random starts anywhere, without prior, satellites or photos; and what comes after.

    Streets that are their own mirror image are not told apart so; row 6 has all layers.

    Attributes:
        starts: how many drives.
        frames: sweeps of each, at 10 Hz and 8 m/s, each with a frame of seven cameras.
        within: frames in which the place is to be found.
        extent_m: side of the town.
        seed: of the town.
    """

    number: ClassVar[int] = 1
    name: ClassVar[str] = "starts"
    title: ClassVar[str] = "random starts in a town, lidar and street"
    starts: int = 20
    frames: int = 40
    within: int = 20
    extent_m: float = 240.0
    seed: int = 5

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`."""
        layers, size = _town(board, self.extent_m, self.seed)
        drives, report = TownDrives(self.seed, self.extent_m, self.frames), board.report("starts")
        told = []
        for number in range(self.starts):
            told.append(driven(layers, drives.events(number)))
            report(number + 1, self.starts)
        found = [one.found_at for one in told]
        soon = np.mean([at is not None and at < self.within for at in found])
        detail = {"found_at": found, "wrong": [one.wrong for one in told]}
        yield information(1, f"right place within {self.within} frames", 100 * float(soon), "%", detail=detail)
        yield at_most(1, "wrong ok, over all sweeps", sum(one.wrong for one in told), 0)
        sure = np.concatenate([one.errors_m[one.ok] for one in told])
        after = [one.ok[at:] for one, at in zip(told, found, strict=True) if at is not None]
        yield at_most(1, "error while ok, median", 100 * _of(np.median, sure), 5, "cm")
        yield at_most(1, "error while ok, p99", 100 * _of(lambda e: np.quantile(e, 0.99), sure), 20, "cm")
        yield information(
            1, "ok, of the sweeps after the first", 100 * _of(np.mean, np.concatenate([*after, np.zeros(0, bool)])), "%"
        )
        spent = [estimate.diagnostics.time_s for one in told for estimate in one.estimates]
        tracked = [spent_s for one in told for spent_s in one.tracked_s()]
        yield at_most(1, "a tracked sweep, p99", 1000 * _of(lambda e: np.quantile(e, 0.99), tracked), 150, "ms")
        yield information(1, "a sweep, slowest", 1000 * max(spent), "ms")
        yield information(1, "the file", size / 1000, "kB")


@dataclass(frozen=True)
class Cuts:
    """Row 2: sensors cut off along drives, a jump of 20 m: how often `ok` is wrong, and how soon it is back.

    Attributes:
        drives: so many for each cut.
        frames: sweeps of each.
        gap_s: of one sensor; all together are silent for five seconds.
        extent_m, seed: of the town.
    """

    number: ClassVar[int] = 2
    name: ClassVar[str] = "cuts"
    title: ClassVar[str] = "layers cut off, a jump"
    drives: int = 2
    frames: int = 130
    gap_s: float = 5.0
    extent_m: float = 240.0
    seed: int = 5

    def longer(self, gap_s: float) -> dict[str, Any]:
        """What another gap changes of the row: drives are longer by it."""
        return {"gap_s": gap_s, "frames": self.frames + round((gap_s - self.gap_s) * RATE_HZ)}

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`."""
        layers, _ = _town(board, self.extent_m, self.seed)
        made, begin_s = TownDrives(self.seed, self.extent_m, self.frames), 4.0
        end_s = begin_s + self.gap_s
        cuts: dict[str, tuple[Cut, float]] = {
            f"no sweeps for {self.gap_s:g} s": (without((SweepEvent,), begin_s, end_s), end_s),
            f"no cameras for {self.gap_s:g} s": (without((CameraEvent,), begin_s, end_s), end_s),
            "nothing seen for 5 s": (without(SILENT, begin_s, begin_s + 5.0), begin_s + 5.0),
            "a jump of 20 m": (jumped(begin_s, 2.5), begin_s),
        }
        drives = [made.events(100 + number, 5) for number in range(self.drives)]
        for what, (cut, again_s) in cuts.items():
            wrong, back_s = 0, list[float]()
            for events in drives:
                kept = list(cut(events))
                told = driven(layers, kept)
                times_s = np.array([event.time_s for event, _ in kept if isinstance(event, SweepEvent)])
                right = told.ok & (told.errors_m <= 0.5) & (times_s >= again_s + 0.05)
                back_s.append(float(times_s[right][0] - again_s) if right.any() else np.inf)
                wrong += told.wrong
            yield at_most(2, f"{what}: wrong ok", wrong, 0)
            yield at_most(2, f"{what}: back to ok, slowest", max(back_s), 5, "s")


@dataclass(frozen=True)
class Stranger:
    """Row 3: drives in another town are never `ok`.

    Attributes:
        drives: so many.
        frames: sweeps of each.
        extent_m, seed: of the town; the other one's seed is the next.
    """

    number: ClassVar[int] = 3
    name: ClassVar[str] = "stranger"
    title: ClassVar[str] = "drives in another town"
    drives: int = 10
    frames: int = 40
    extent_m: float = 240.0
    seed: int = 5

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`."""
        layers, _ = _town(board, self.extent_m, self.seed)
        other = TownDrives(self.seed + 1, self.extent_m, self.frames)
        told = [driven(layers, other.events(number)) for number in range(self.drives)]
        yield at_most(3, "ok in another town, sweeps", sum(int(one.ok.sum()) for one in told), 0)
        answered = [estimate.status.has_pose for one in told for estimate in one.estimates]
        yield information(3, "degraded in another town", 100 * float(np.mean(answered)), "%")


def _of(figure, values) -> float:  # type: ignore[no-untyped-def]
    """A figure of numbers; NaN of none."""
    return float(figure(values)) if len(values) else float("nan")
