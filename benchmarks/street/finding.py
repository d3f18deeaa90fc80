"""Row 3: where in the street map of a held-out tile, by single aerial crops and over drives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from benchmarks.context import Board
from benchmarks.lines import Line, at_least, information
from benchmarks.street.data import StreetBoard, street
from foldmap.bench.street.localization import Found, LocalizationSettings, measure_localization
from foldmap.types import DoubleArray

WITHIN_M = (1.0, 3.0, 5.0, 10.0)
_SINGLE, _WHOLE, _LAST, _ALL = "single, 64 m prior", "single, whole map", "drive, last frame", "drive, all frames"
_HALF = 10


@dataclass(frozen=True)
class Finding:
    """Row 3. Each held-out tile's own graph is the library: places every 2 m along its lanes.

    Temperature and thresholds of a tile come from single images on the other held-out tiles, never from its own: on a
    tile that the network has learned from it is surer than it ought to be. Drives have 20 frames 10 m apart (beside
    it: 5 m), start anywhere on the tile, and odometry drifts by 2 % and half a degree a step.

    Attributes:
        asked: how many images and drives a tile, and how they are made.
        closer_m: between frames of the drives that are measured beside.
        within_m: what counts as found.
        least_single_pct: target for a single image within 64 m.
        least_drive_pct: target for the last frame of a drive, the whole tile in question.
    """

    number: ClassVar[int] = 3
    name: ClassVar[str] = "localize"
    title: ClassVar[str] = "localization in held-out tiles"
    asked: LocalizationSettings = field(
        default_factory=lambda: LocalizationSettings(singles=150, drives=12, step_m=10.0)
    )
    closer_m: float = 5.0
    within_m: float = 5.0
    least_single_pct: float = 40.0
    least_drive_pct: float = 80.0

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`."""
        board = street(board)
        used = board.model("aerial")
        found = self._measured(board, self.asked)
        closer = self._measured(board, replace(self.asked, singles=60, step_m=self.closer_m))
        n, near = self.number, f"recall at {self.within_m:g} m"
        single, last = self._recall(found[_SINGLE, "foldmap"]), self._recall(found[_LAST, "foldmap"])
        rows = {"rows": [one.row() for one in found.values()]}
        yield at_least(
            n, f"single image, 64 m prior: {near}", single, self.least_single_pct, "%", note=used.note, detail=rows
        )
        name = f"last of {self.asked.frames} frames {self.asked.step_m:g} m apart, whole tile: {near}"
        yield at_least(n, name, last, self.least_drive_pct, "%")
        beside = self._recall(closer[_LAST, "foldmap"])
        yield information(n, f"the same, frames {self.closer_m:g} m apart: {near}", beside, "%")
        later = found[_ALL, "foldmap"].error_m.reshape(-1, self.asked.frames)[:, min(_HALF, self.asked.frames - 1) :]
        yield information(n, f"frames {_HALF} to {self.asked.frames - 1}, whole tile: {near}", self._share(later), "%")
        yield information(n, f"odometry alone, last frame: {near}", self._recall(found[_LAST, "odometry alone"]), "%")
        yield information(n, f"random place, 64 m prior: {near}", self._recall(found[_SINGLE, "random place"]), "%")
        for question, what in ((_SINGLE, "single, 64 m prior"), (_WHOLE, "single, whole tile"), (_LAST, "last frame")):
            row = found[question, "foldmap"].row()
            for limit in WITHIN_M:
                yield information(n, f"{what}: recall at {limit:g} m", row[f"within_{limit:g}m_pct"], "%")
            yield information(n, f"{what}: median heading error", row["heading_median_deg"], "deg")
        stands = found[_LAST, "foldmap"].row()
        yield information(n, "last frame: answered with a pose", stands["stands_pct"], "%")
        yield information(n, "last frame: of those within 10 m", stands["right_when_stands_pct"], "%")
        yield information(n, "single images", len(found[_SINGLE, "foldmap"].truth))
        yield information(n, "drives", len(found[_LAST, "foldmap"].truth))

    def _measured(self, board: StreetBoard, asked: LocalizationSettings) -> dict[tuple[str, str], Found]:
        """All held-out tiles together; each is calibrated by the others alone."""
        data = board.split((board.calibration,), tuple(board.held_out))
        return measure_localization(data, board.model("aerial").model, asked, kept=board.kept, stage=board.report).found

    def _recall(self, found: Found) -> float:
        return self._share(found.error_m)

    def _share(self, error_m: DoubleArray) -> float:
        return 100 * float(np.mean(error_m <= self.within_m))
