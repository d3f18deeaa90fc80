"""Compare a trajectory of planar poses with the truth."""

import json
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from foldmap.api.judging.answers import ANOTHER_FRAME_M, known_trajectory, read_answers
from foldmap.api.judging.stated import consistency_summary
from foldmap.api.results import COLUMNS, Stated
from foldmap.atlas.whole import write_whole
from foldmap.errors import PoseInputError
from foldmap.formats.poses.trajectories import read_tum_poses
from foldmap.formats.textual import content_lines
from foldmap.geometry import SE2
from foldmap.geometry.association import DEFAULT_LIMIT_S, associate_times
from foldmap.metrics import PoseErrors, failure_rates, planar_difference, pose_errors, summarize, travelled_m
from foldmap.types import DoubleArray


def compare_sweeps(
    estimates: Path,
    truth: Path,
    *,
    calibration: Path | None = None,
    segment_m: float = 1000.0,
    limit_m: float = 1.0,
    limit_s: float | None = None,
    plot: Path | None = None,
) -> dict[str, Any]:
    """Compute errors and failure rates; rows are paired by nearest time, or by number where the truth has no times.

    A true pose that was not answered has an infinite error; a segment of `segment_m` fails at an error beyond
    `limit_m`; times farther apart than `limit_s` do not belong together. Statuses are those of ESTIMATES.jsonl where
    that tells of the same poses. `plot` is an SVG of the distribution of the errors.

    Raises:
        PoseInputError: a file cannot be used, an estimate has no true pose within the limit of its time, or all are of
            another frame.
    """
    true_s, world_SE2_true = known_trajectory(truth, calibration, limit_s)
    times_s = true_s if true_s is not None else np.arange(len(world_SE2_true), dtype=np.float64)
    answered_s, answered = read_planar(estimates)
    limit_s = DEFAULT_LIMIT_S if limit_s is None else limit_s
    mine, theirs, apart_s = associate_times(answered_s, times_s, limit_s)
    if len(mine) < len(answered):
        alone = int(np.setdiff1d(np.arange(len(answered)), mine)[0])
        near_s = float(np.abs(times_s - answered_s[alone]).min())
        raise PoseInputError(
            f"{estimates}: {len(answered) - len(mine)} of {len(answered)} estimates have no true pose at their time, "
            f"first {answered_s[alone]:.6f} s, {near_s:.3g} s from the nearest (limit {limit_s:g} s)",
            "give the truth of the same drive with the same times, or another --time-limit; estimates of sweeps whose "
            "poses had no times count them, and so do KITTI rows",
        )
    estimated: list[SE2 | None] = [None] * len(times_s)
    for row, other in zip(mine.tolist(), theirs.tolist(), strict=True):
        estimated[other] = answered[row]
    errors = pose_errors(world_SE2_true, estimated)
    away_m = float(errors.total_m.min(initial=np.inf))
    if ANOTHER_FRAME_M < away_m < np.inf:
        raise PoseInputError(f"{estimates} lies {away_m / 1000:,.1f} km from {truth}", "give both in one frame")
    rates = failure_rates(errors.total_m, travelled_m(world_SE2_true), segment_m, limit_m)
    if plot is not None:
        from foldmap.report import error_cdf_plot

        write_whole(plot, error_cdf_plot({"foldmap": errors.total_m}))
    statuses, stated = _told(estimates if estimates.suffix == ".jsonl" else Path(f"{estimates}.jsonl"), answered)
    true_poses = [world_SE2_true[row] for row in theirs]
    apart = [planar_difference(true, answered[row]) for true, row in zip(true_poses, mine, strict=True)]
    said = consistency_summary([one[:2] for one in apart], [one[2:] for one in apart], [stated[row] for row in mine])
    most_s = float(np.abs(apart_s).max(initial=0.0))
    how = "by number" if true_s is None else f"by time, at most {most_s:.6f} s apart (limit {limit_s:g} s)"
    return {
        "poses": len(times_s),
        "answered": len(answered),
        **_spreads(errors),
        "fail_within_100_m": rates.within_100_m,
        "fail_within_500_m": rates.within_500_m,
        "fail_at_end": rates.at_end,
        "segments": rates.segments,
        "segment_m": rates.segment_m,
        "by_status": statuses,
        "consistency": said,
        "paired": f"{len(mine)} of {len(answered)} {how}",
        "judged": "sweeps, in the plane: x, y and heading",
    }


def _spreads(errors: PoseErrors) -> dict[str, float]:
    rows = {"total": errors.total_m, "lateral": errors.lateral_m, "longitudinal": errors.longitudinal_m}
    told: dict[str, float] = {}
    for name, error in (rows | {"heading": np.degrees(errors.heading_rad)}).items():
        spread, unit = summarize(error), "deg" if name == "heading" else "m"
        told |= {f"{name}_{key}_{unit}": getattr(spread, f"{key}_m") for key in ("median", "p95", "p99")}
    return told


def read_planar(path: Path) -> tuple[DoubleArray, list[SE2]]:
    """Times and answered poses of a trajectory, of JSON lines, or of those beside a table that was written with them.

    A file of comments alone answers nothing. Of several answers of one moment the last counts, as in a trajectory.
    """
    first = next(content_lines(path), None)
    if first is None:
        return np.zeros(0), []
    if path.suffix == ".jsonl" or first[1][:3] == list(COLUMNS[:3]):
        rows = [row for row in read_answers(path).rows if row["pose"] is not None]
        last = {float(row["time_s"]): SE2(**row["pose"]) for row in rows}
        return np.array(sorted(last)), [last[time] for time in sorted(last)]
    times_s, poses = read_tum_poses(path)
    return times_s, [pose.to_se2() for pose in poses]


def _told(path: Path, answered: Sequence[SE2]) -> tuple[dict[str, int] | str, list[Stated | None]]:
    """Counted statuses, and what each answer says of its error, of the lines that `foldmap localize` wrote.

    They are used if they tell of the same poses; else it is told in words that they are not.
    """
    nothing: list[Stated | None] = [None] * len(answered)
    if not path.is_file():
        return {}, nothing
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        posed = sorted((row for row in rows if row["pose"] is not None), key=lambda row: float(row.get("time_s", 0.0)))
        last = list({float(row.get("time_s", 0.0)): row for row in posed}.values())
        posed = last if len(last) == len(answered) else posed
        if len(posed) != len(answered) or not all(map(_same, [row["pose"] for row in posed], answered)):
            return f"unknown: {path.name} tells of other poses, and is not used", nothing
        return dict(Counter(str(row["status"]) for row in rows)), [Stated.of(row, 3) for row in posed]
    except (OSError, ValueError, KeyError, TypeError):
        return f"unknown: {path.name} does not tell of sweeps, and is not used", nothing


def _same(told: dict[str, float], answered: SE2) -> bool:
    """Whether two poses are one, which two files may write with other digits."""
    turn_rad = math.remainder(told["heading_rad"] - answered.heading_rad, math.tau)
    return math.dist((told["x_m"], told["y_m"]), (answered.x_m, answered.y_m)) < 1e-3 and abs(turn_rad) < 1e-4
