"""``foldmap evaluate``: estimates against the truth."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foldmap.cli.common import put, write_bytes
from foldmap.errors import ConfigError, PoseInputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from foldmap.geometry import SE2
    from foldmap.metrics import PoseErrors
    from foldmap.types import DoubleArray

EXAMPLES = (
    "\b\nExamples:\n  foldmap evaluate estimates.txt truth.txt\n"
    "  foldmap evaluate estimates.txt truth.txt --json --plot errors.svg\n"
    "  foldmap evaluate poses.txt scene/sparse --thresholds '0.005,0.5 0.02,2'\n"
    "  foldmap evaluate poses.txt.jsonl scene/sparse --unit radius --plot errors.svg"
)

_FOR_SWEEPS = ("calibration", "segment", "limit")
_FOR_PHOTOS = ("thresholds", "unit")


def evaluate(
    context: typer.Context,
    estimates: Annotated[Path, typer.Argument(help="What foldmap localize wrote: TUM, hloc text, or .jsonl.")],
    truth: Annotated[
        Path, typer.Argument(help="True poses. Sweeps: TUM or KITTI. Photos: COLMAP, 7-Scenes, kapture, TUM or hloc.")
    ],
    calibration: Annotated[
        Path | None, typer.Option(help="Sweeps: KITTI calib.txt, when the truth is the camera's.")
    ] = None,
    segment: Annotated[float, typer.Option(help="Sweeps: failure rates are over segments of so many metres.")] = 1000.0,
    limit: Annotated[float, typer.Option(help="Sweeps: a segment fails at an error beyond this, metres.")] = 1.0,
    thresholds: Annotated[
        str, typer.Option(help="Photos: '0.05,5 0.25,2' (centre,degrees), or aachen, cambridge, 7scenes, tight.")
    ] = "",
    unit: Annotated[
        str | None, typer.Option(help="Photos: m, world, or radius (percent of the true model's radius).")
    ] = None,
    time_limit: Annotated[
        float, typer.Option(help="Times of estimates and truth farther apart do not belong together, seconds.")
    ] = 0.01,
    queries: Annotated[
        Path | None, typer.Option(help="Photos: list of what was asked, where no .jsonl lies beside.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", "--picture", help="Draw the distribution of the error to this SVG.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Compare estimates with the truth.

    Sweeps: every true pose counts; one that has no estimate has infinite error. Statuses are counted from
    ESTIMATES.jsonl where that tells of the same poses. Photos: every query that has a true pose counts; one that was
    not answered has infinite error. ESTIMATES.jsonl tells which were asked; without it give --queries. Rows are paired
    by whole names or nearest times; what was paired, how, and as what it was judged is printed too.
    """
    from foldmap.cli.evaluate.answers import why_cameras
    from foldmap.cli.evaluate.cameras import compare_cameras

    said = {name for name in context.params if str(context.get_parameter_source(name)).endswith("COMMANDLINE")}
    why = "--queries is given" if queries is not None else why_cameras(estimates, truth)
    strange = [f"--{name}" for name in (_FOR_SWEEPS if why else _FOR_PHOTOS) if name in said]
    if strange and why:
        raise ConfigError(f"{estimates} is about photos ({why})", f"leave {' and '.join(strange)} out")
    if strange:
        raise ConfigError(f"{estimates} is not about photos", f"leave {' and '.join(strange)} out")
    limit_s = time_limit if "time_limit" in said else None
    if why:
        shown = compare_cameras(
            estimates, truth, queries=queries, thresholds=thresholds, unit=unit, plot=plot, limit_s=limit_s
        )
        put({**shown, "judged": f"photos, in 6 degrees of freedom: {why}"}, as_json)
        return
    put(compare(estimates, truth, calibration, segment, limit, plot, limit_s), as_json)


def compare(
    estimates: Path,
    truth: Path,
    calibration: Path | None = None,
    segment_m: float = 1000.0,
    limit_m: float = 1.0,
    plot: Path | None = None,
    time_limit_s: float | None = None,
) -> dict[str, Any]:
    """Compute errors and failure rates; rows are paired by nearest time, or by number where the truth has no times.

    Raises:
        PoseInputError: a file cannot be used, or an estimate has no true pose within the limit of its time.
    """
    import numpy as np

    from foldmap.formats.poses.trajectories import read_poses
    from foldmap.geometry.association import DEFAULT_LIMIT_S, associate_times
    from foldmap.lidar.build.belonging import check_poses
    from foldmap.metrics import failure_rates, pose_errors, travelled_m

    true = read_poses(truth, calibration)
    if time_limit_s is not None and true.times_s is None:
        raise ConfigError(f"{truth} has no times", "leave --time-limit out")
    check_poses(true.world_SE3_sensors, str(truth))
    times_s = true.times_s if true.times_s is not None else np.arange(len(true), dtype=np.float64)
    answered_s, answered = read_answers(estimates)
    limit_s = DEFAULT_LIMIT_S if time_limit_s is None else time_limit_s
    mine, theirs, apart_s = associate_times(answered_s, times_s, limit_s)
    if len(mine) < len(answered):
        alone = int(np.setdiff1d(np.arange(len(answered)), mine)[0])
        near_s = float(np.abs(times_s - answered_s[alone]).min())
        raise PoseInputError(
            f"{estimates}: {len(answered) - len(mine)} of {len(answered)} estimates have no true pose at their time, "
            f"first {answered_s[alone]:.6f} s, {near_s:.3g} s from the nearest (limit {limit_s:g} s)",
            "give the truth of the same drive with the same times, or another --time-limit",
        )
    estimated: list[SE2 | None] = [None] * len(times_s)
    for row, other in zip(mine.tolist(), theirs.tolist(), strict=True):
        estimated[other] = answered[row]
    world_SE2_true = [pose.to_se2() for pose in true.world_SE3_sensors]
    errors = pose_errors(world_SE2_true, estimated)
    rates = failure_rates(errors.total_m, travelled_m(world_SE2_true), segment_m, limit_m)
    if plot is not None:
        from foldmap.report import error_cdf_plot

        write_bytes(plot, error_cdf_plot({"foldmap": errors.total_m}))
    most_s = float(np.abs(apart_s).max(initial=0.0))
    how = "by number" if true.times_s is None else f"by time, at most {most_s:.6f} s apart (limit {limit_s:g} s)"
    return {
        "poses": len(times_s),
        "answered": len(answered),
        **_spreads(errors),
        "fail_within_100_m": rates.within_100_m,
        "fail_within_500_m": rates.within_500_m,
        "fail_at_end": rates.at_end,
        "segments": rates.segments,
        "segment_m": rates.segment_m,
        "by_status": _statuses(Path(f"{estimates}.jsonl"), answered),
        "paired": f"{len(mine)} of {len(answered)} {how}",
        "judged": "sweeps, in the plane: x, y and heading",
    }


def _spreads(errors: PoseErrors) -> dict[str, float]:
    from foldmap.metrics import summarize

    told: dict[str, float] = {}
    for name, error in (
        ("total", errors.total_m),
        ("lateral", errors.lateral_m),
        ("longitudinal", errors.longitudinal_m),
    ):
        spread = summarize(error)
        told |= {f"{name}_{key}_m": getattr(spread, f"{key}_m") for key in ("median", "p95", "p99")}
    turn = summarize(errors.heading_rad)
    return told | {f"heading_{key}_deg": math.degrees(getattr(turn, f"{key}_m")) for key in ("median", "p95", "p99")}


def read_answers(path: Path) -> tuple[DoubleArray, list[SE2]]:
    """Times and answered poses; a file of comments alone answers nothing.

    Raises:
        PoseInputError: the file is missing or malformed.
    """
    import numpy as np

    from foldmap.formats.poses.tum import read_tum_poses
    from foldmap.formats.textual import content_lines

    if next(content_lines(path), None) is None:
        return np.zeros(0), []
    times_s, poses = read_tum_poses(path)
    return times_s, [pose.to_se2() for pose in poses]


def _statuses(path: Path, answered: Sequence[SE2]) -> dict[str, int] | str:
    """Count statuses in the lines that `foldmap localize` wrote, if they tell of the same poses; see `_same`."""
    if not path.is_file():
        return {}
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        told = [row["pose"] for row in rows if row["pose"] is not None]
        if len(told) != len(answered) or not all(map(_same, told, answered)):
            return f"unknown: {path.name} tells of other poses, and is not used"
        return dict(Counter(str(row["status"]) for row in rows))
    except (OSError, ValueError, KeyError, TypeError):
        return f"unknown: {path.name} does not tell of sweeps, and is not used"


def _same(told: dict[str, float], answered: SE2) -> bool:
    """Whether two poses are one, written with four decimals in one of two files."""
    turn_rad = math.remainder(told["heading_rad"] - answered.heading_rad, math.tau)
    return math.dist((told["x_m"], told["y_m"]), (answered.x_m, answered.y_m)) < 1e-3 and abs(turn_rad) < 1e-4
