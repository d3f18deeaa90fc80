"""Row 4: noticing that the map is out of date, window by window and over a few windows in a row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from benchmarks.context import Board
from benchmarks.lines import Line, at_least, at_most, information
from benchmarks.street.data import StreetBoard, street
from foldmap.bench.street.data import StreetBenchData
from foldmap.bench.street.drives import StreetDrive
from foldmap.bench.street.updates import (
    QUIET_SHARE,
    SAME,
    Driven,
    Updates,
    UpdateSettings,
    best_threshold,
    best_within,
    driven,
    edited_windows,
    least_change,
    measure_updates,
)
from foldmap.geometry import SE2
from foldmap.metrics.detection import DetectionScore
from foldmap.street.changes.detect import FALSE_A_KM, NEVER
from foldmap.street.changes.edits import EDITS, edit
from foldmap.street.changes.survey import gather
from foldmap.street.defaults import default_model
from foldmap.street.field.model import FieldEmbedding
from foldmap.street.graph.chains import resample
from foldmap.street.graph.window import Window, cut
from foldmap.street.source import LaneGraph
from foldmap.types import DoubleArray

OURS = "foldmap"
_REGION_M = 60.0
_SEEN_M = 6.0
_STEP_M = 5.0
_MOST_FALSE = (FALSE_A_KM, 1.0)


@dataclass(frozen=True)
class Changing:
    """Row 4. Half of the windows have a map with one edit: a lane removed, added, shifted by 3 m or more, a link gone.

    The threshold of a tile comes from the other held-out tiles, never from its own: on a tile that the network has
    learned from it finds fewer odd things.

    Attributes:
        windows: a tile.
        runs: of consecutive windows, a tile.
        drives: a tile, every second past a map with an edit.
        frames: windows of a run at most: those that see the edit count.
        least_f1: target, of single windows.
        seed: of everything drawn.
    """

    number: ClassVar[int] = 4
    name: ClassVar[str] = "update"
    title: ClassVar[str] = "update detection on edited maps"
    windows: int = 200
    runs: int = 50
    drives: int = 100
    frames: int = 5
    least_f1: float = 0.8
    seed: int = 0

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`."""
        board = street(board)
        used = board.model("update")
        part, asked = self._windows(board)
        n, ours, by_kind = self.number, part.windows[OURS], part.by_kind[OURS]
        yield at_least(n, "windows: F1", ours.f1, self.least_f1, note=used.note)
        yield information(n, "windows: precision", ours.precision)
        yield information(n, "windows: recall", ours.recall)
        for kind in EDITS:
            yield information(n, f"windows: recall, {kind}", by_kind.get(kind, 0.0))
        yield information(n, "windows: false alarms, untouched", by_kind[SAME])
        quiet, few = part.quiet[OURS], f"windows, from what {100 * QUIET_SHARE:g} % of the others' untouched exceed"
        yield at_most(n, f"{few}: false alarms, untouched", part.quiet_by_kind[OURS][SAME], QUIET_SHARE)
        yield information(n, f"{few}: F1", quiet.f1)
        yield information(n, f"{few}: recall", quiet.recall)
        for method, score in part.windows.items():
            if method != OURS:
                yield information(n, f"{method}: F1", score.f1)
                yield information(n, f"{method}, {few}: F1", part.quiet[method].f1)
        yield information(n, "windows", sum(asked.values()))
        yield from self._drives(board, {"drives": used.model, "the shipped model, drives": default_model(update=True)})
        over = self._runs(board, used.model)
        yield information(n, f"up to {self.frames} windows in a row: F1", over.f1)
        yield information(n, f"up to {self.frames} windows in a row: precision", over.precision)
        yield information(n, f"up to {self.frames} windows in a row: recall", over.recall)

    def _windows(self, board: StreetBoard) -> tuple[Updates, Counter[str]]:
        """What was measured, and how many windows of each kind there are."""
        settings = UpdateSettings(windows=self.windows, drives=0, seed=self.seed)
        plain = board.model("aerial").model
        retrieval = (plain, board.library(), board.library_rows())
        data = board.split((board.calibration,), tuple(board.held_out))
        part = measure_updates(
            data, board.model("update").model, settings, plain=plain, retrieval=retrieval,
            kept=board.kept, stage=board.report,
        )  # fmt: skip
        asked: Counter[str] = Counter()
        for name in board.held_out:
            asked += Counter(edited_windows(data, name, settings).kinds)
        return part, asked

    def _drives(self, board: StreetBoard, models: Mapping[str, FieldEmbedding]) -> Iterator[Line]:
        """Changes told over drives, from the model's confidence, or one that the other tiles set; and what is in it.

        The last lines are no choice that anybody could have made: they know how many false changes these drives tell.
        """
        data = board.split((board.calibration,), tuple(board.held_out))
        settings = UpdateSettings(drives=self.drives, seed=self.seed)
        say, made = board.report("drives"), dict[str, list[list[Driven]]]()
        for number, name in enumerate(board.held_out, start=1):
            made[name] = driven(data, name, tuple(models.values()), settings)
            say(number, len(board.held_out))
        for number, (what, model) in enumerate(models.items()):
            mine = {name: drives[number] for name, drives in made.items()}
            total, km = DetectionScore(0, 0, 0), 0.0
            for name, drives in mine.items():
                others = [drive for other in mine if other != name for drive in mine[other]]
                own = model.least_change or least_change(others) or NEVER
                asking = replace(model, least_change=own)
                for drive in drives:
                    total, km = total + drive.score(drive.asked(asking)), km + drive.km
            yield at_most(self.number, f"{what}: false changes a km", total.false_positives / km, FALSE_A_KM)
            yield at_least(self.number, f"{what}: F1", total.f1, self.least_f1)
            yield information(self.number, f"{what}: recall", total.recall)
            every = [drive for drives in mine.values() for drive in drives]
            for most in _MOST_FALSE:
                best = best_within(every, most)
                yield information(self.number, f"{what}, {most:g} false changes a km at most: F1", best.f1)

    def _runs(self, board: StreetBoard, model: FieldEmbedding) -> DetectionScore:
        """Means of the score over windows in a row; a tile's threshold comes from the other tiles."""
        data = board.split((board.calibration,), tuple(board.held_out))
        made = {name: self._run_scores(board, data, name, model) for name in board.held_out}
        total = DetectionScore(0, 0, 0)
        for name, (mean, edited) in made.items():
            others = [made[other] for other in made if other != name] or [made[name]]
            limit = best_threshold(*(np.concatenate([one[k] for one in others]) for k in (0, 1)))
            total = total + DetectionScore.of_flags(mean > limit, edited)
        return total

    def _run_scores(self, board: StreetBoard, data: StreetBenchData, name: str, model: FieldEmbedding):  # type: ignore[no-untyped-def]
        rng = np.random.default_rng([self.seed, 23])
        mean, edited = [], []
        say = board.report(f"changes, runs on {name}")
        drives = data.drives(name, self.runs, self.frames, _STEP_M, self.seed + 3)
        for number, drive in enumerate(drives):
            say(number, len(drives))
            made = aged_run(data, name, drive, EDITS[(number // 2) % len(EDITS)], rng)
            if made is None:
                continue
            chosen, edited_maps, true_maps = made
            seen = [drive.frames[k].observation for k in chosen]
            maps = edited_maps if number % 2 else true_maps
            mean.append(float(np.mean([one.score for one in gather(model, seen, maps)])))
            edited.append(bool(number % 2))
        return np.array(mean), np.array(edited, bool)


def aged_run(
    data: StreetBenchData, name: str, drive: StreetDrive, kind: str, rng: np.random.Generator
) -> tuple[list[int], list[LaneGraph], list[LaneGraph]] | None:
    """One edit near the middle of a drive.

    Returns:
        Which frames see it (6 m or more of the line before or after it), their windows of the edited map, and of the
        true one; None where nothing can be edited.
    """
    middle = drive.poses[len(drive.poses) // 2]
    wide = Window(-_REGION_M, _REGION_M, -_REGION_M, _REGION_M)
    region = resample(cut(data.maps[name].graph, middle, wide), 1.0)
    done = edit(region, kind, rng, data.window)
    if done is None:
        return None
    poses = [middle.inverse() @ pose for pose in drive.poses]
    lines = [line for line in (done[1].before_m, done[1].after_m) if len(line)]
    chosen = [k for k, pose in enumerate(poses) if max(inside_m(line, pose, data.window) for line in lines) >= _SEEN_M]
    if not chosen:
        return None
    return chosen, _cut(done[0], poses, chosen, data.window), _cut(region, poses, chosen, data.window)


def inside_m(line_m: DoubleArray, region_SE2_ego: SE2, window: Window) -> float:
    """Metres of a line inside a window: of the pieces whose middle is."""
    local = region_SE2_ego.inverse().apply(line_m)
    middle, length = 0.5 * (local[1:] + local[:-1]), np.hypot(*np.diff(local, axis=0).T)
    low, high = (window.back_m, window.right_m), (window.ahead_m, window.left_m)
    return float(length[((middle >= low) & (middle <= high)).all(1)].sum())


def _cut(graph: LaneGraph, poses: Sequence[SE2], chosen: Sequence[int], window: Window) -> list[LaneGraph]:
    return [cut(graph, poses[k], window) for k in chosen]
