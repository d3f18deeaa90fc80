"""One answer to a query that may have no right one, and how answers are counted."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import numpy as np
from scipy.stats import chi2, norm

from foldmap.geometry import SE2
from foldmap.localize.estimate import Estimate, Status
from foldmap.metrics.camera_pose import camera_differences
from foldmap.metrics.consistency import squared_distances
from foldmap.metrics.pose import planar_difference
from foldmap.types import DoubleArray

Pose = SE2 | DoubleArray
Stage = Callable[[str], Callable[[int, int], None]]
"""Told what is being done; gives a callback of (done, total)."""
_THREE_SIGMA = 1.0 - 2.0 * float(norm.sf(3.0))


class Expect(Enum):
    """What a query asks of a localizer."""

    RIGHT = "right"
    """It must be localized as well as before: it is the right place, well seen."""
    BOUND = "bounded"
    """It may be localized or not; a pose must be as near as the answer itself says."""
    REFUSED = "refused"
    """There is no right answer: whatever pose is answered is wrong."""


@dataclass(frozen=True)
class Answer:
    """What was answered to one query.

    Attributes:
        map: name of the map.
        layer: "visual", "lidar" or "street".
        kind: what was done to the query.
        query: its name.
        expect: what was asked for.
        status: of the answer.
        beyond: whether it has a pose farther off than it says: beyond its protection level, of maps without one beyond
            three sigma; any pose where there is no right one.
        position, rotation_rad: error of the pose, world units; NaN where there is no pose, or no right one.
        level, level_rad: its protection level; NaN where the map has none.
        squared, squared_turn: squared Mahalanobis distances of position and rotation to the truth.
        axes: of the position.
        time_s: what it took.
        reason: in words, for what is not `ok`.
    """

    map: str
    layer: str
    kind: str
    query: str
    expect: Expect
    status: Status
    beyond: bool = False
    position: float = math.nan
    rotation_rad: float = math.nan
    level: float = math.nan
    level_rad: float = math.nan
    squared: float = math.nan
    squared_turn: float = math.nan
    axes: int = 0
    time_s: float = 0.0
    reason: str = ""

    def row(self) -> dict[str, Any]:
        """As a row of a table."""
        shown = {key: value for key, value in vars(self).items() if key not in ("expect", "status")}
        return {**shown, "expect": self.expect.value, "status": self.status.value}

    @staticmethod
    def read(row: dict[str, Any]) -> Answer:
        """One of a table's row."""
        return Answer(**{**row, "expect": Expect(row["expect"]), "status": Status(row["status"])})


def answer_of(
    estimate: Estimate[Any, Any],
    truth: Pose | None,
    *,
    map_name: str,
    layer: str,
    kind: str,
    query: str,
    expect: Expect,
) -> Answer:
    """Hold an estimate against the truth; None where there is no right answer."""
    said = {"map": map_name, "layer": layer, "kind": kind, "query": query, "expect": expect}
    health = estimate.diagnostics
    found = Answer(**said, status=estimate.status, time_s=health.time_s, reason=health.reason)  # type: ignore[arg-type]
    if estimate.pose is None or estimate.covariance is None:
        return found
    level = estimate.protection_level()
    levels = (math.nan, math.nan) if level is None else (level.position, level.rotation_rad)
    if truth is None:
        return replace(found, beyond=True, level=levels[0], level_rad=levels[1])
    position, turn = differences(truth, estimate.pose)
    axes = len(position)
    squared = _squared(position, estimate.covariance[:axes, :axes])
    squared_turn = _squared(turn, estimate.covariance[axes:, axes:])
    off, off_rad = float(np.linalg.norm(position)), float(np.linalg.norm(turn))
    if level is not None:
        beyond = off > level.position or off_rad > level.rotation_rad
    else:
        beyond = squared > chi2.ppf(_THREE_SIGMA, axes) or squared_turn > chi2.ppf(_THREE_SIGMA, len(turn))
    return replace(
        found,
        beyond=bool(beyond),
        position=off,
        rotation_rad=off_rad,
        level=levels[0],
        level_rad=levels[1],
        squared=squared,
        squared_turn=squared_turn,
        axes=axes,
    )


def differences(truth: Pose, pose: Pose) -> tuple[DoubleArray, DoubleArray]:
    """Error of the position (2 or 3 axes, in the world) and of heading (1) or rotation (3, the camera's frame), rad."""
    if isinstance(truth, SE2) and isinstance(pose, SE2):
        apart = planar_difference(truth, pose)
        return apart[:2], apart[2:]
    return camera_differences(truth, pose)  # type: ignore[arg-type]


def _squared(error: DoubleArray, covariance: DoubleArray) -> float:
    return float(squared_distances(error[None], covariance[None])[0])


def counted(answers: Sequence[Answer]) -> dict[str, int]:
    """How many were asked, answered rightly and wrongly, doubted and refused."""
    ok = [one for one in answers if one.status is Status.OK]
    doubted = [one for one in answers if one.status is Status.DEGRADED]
    return {
        "asked": len(answers),
        "ok_right": sum(not one.beyond for one in ok),
        "ok_beyond": sum(one.beyond for one in ok),
        "degraded": len(doubted),
        "degraded_beyond": sum(one.beyond for one in doubted),
        "refused": len(answers) - len(ok) - len(doubted),
    }


def kind_rows(answers: Iterable[Answer]) -> list[dict[str, Any]]:
    """A row a map and kind, in the order in which they were asked."""
    groups: dict[tuple[str, str, str], list[Answer]] = {}
    for one in answers:
        groups.setdefault((one.map, one.layer, one.kind), []).append(one)
    rows = []
    for (map_name, layer, kind), some in groups.items():
        seconds = float(np.median([one.time_s for one in some]))
        head = {"map": map_name, "layer": layer, "kind": kind, "expect": some[0].expect.value}
        rows.append({**head, **counted(some), "median_time_s": seconds})
    return rows


def hostile(answers: Iterable[Answer]) -> list[Answer]:
    """Those to queries that need not be answered."""
    return [one for one in answers if one.expect is not Expect.RIGHT]


def placed(answers: Iterable[Answer], ok_only: bool = True) -> list[Answer]:
    """Those with a pose and a truth to hold it against; of `ok` alone, or of degraded ones too."""
    return [one for one in answers if math.isfinite(one.position) and (one.status is Status.OK or not ok_only)]
