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
    from foldmap.geometry import SE2

EXAMPLES = (
    "\b\nExamples:\n  foldmap evaluate estimates.txt truth.txt\n"
    "  foldmap evaluate estimates.txt truth.txt --json --plot errors.svg\n"
    "  foldmap evaluate poses.txt scene/sparse --thresholds '0.005,0.5 0.02,2'\n"
    "  foldmap evaluate poses.txt.jsonl scene/sparse --unit radius --plot errors.svg"
)


def evaluate(
    estimates: Annotated[Path, typer.Argument(help="What foldmap localize wrote: TUM, hloc text, or .jsonl.")],
    truth: Annotated[
        Path, typer.Argument(help="True poses. Sweeps: TUM or KITTI. Photos: COLMAP, 7-Scenes, TUM or hloc.")
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
    ESTIMATES.jsonl where that is there. Photos: every query that has a true pose counts; one that was not answered has
    infinite error. ESTIMATES.jsonl tells which were asked; without it give --queries.
    """
    from foldmap.cli.evaluate_cameras import compare_cameras, is_about_cameras

    if queries is not None or is_about_cameras(estimates, truth):
        shown = compare_cameras(estimates, truth, queries=queries, thresholds=thresholds, unit=unit, plot=plot)
        put(shown, as_json)
        return
    if thresholds or unit is not None:
        raise ConfigError(f"{estimates} is not about photos", "leave --thresholds and --unit out")
    put(compare(estimates, truth, calibration, segment, limit, plot), as_json)


def compare(
    estimates: Path,
    truth: Path,
    calibration: Path | None = None,
    segment_m: float = 1000.0,
    limit_m: float = 1.0,
    plot: Path | None = None,
) -> dict[str, Any]:
    """Compute errors and failure rates; rows are paired by time, or by number where the truth has no times.

    Raises:
        PoseInputError: a file cannot be used, or no estimate has the time of a true pose.
    """
    import numpy as np

    from foldmap.formats.poses import read_poses
    from foldmap.lidar.belonging import check_poses
    from foldmap.metrics import failure_rates, pose_errors, summarize, travelled_m

    true = read_poses(truth, calibration)
    check_poses(true.world_SE3_sensors, str(truth))
    times_s = true.times_s if true.times_s is not None else np.arange(len(true), dtype=np.float64)
    answered = read_answers(estimates)
    keys = [round(float(time_s), 4) for time_s in times_s]
    strays = set(answered) - set(keys)
    if strays:
        raise PoseInputError(
            f"{estimates}: {len(strays)} of {len(answered)} estimates have no true pose at their time",
            "give the truth of the same drive with the same times",
        )
    world_SE2_true = [pose.to_se2() for pose in true.world_SE3_sensors]
    errors = pose_errors(world_SE2_true, [answered.get(key) for key in keys])
    rates = failure_rates(errors.total_m, travelled_m(world_SE2_true), segment_m, limit_m)
    if plot is not None:
        from foldmap.report import error_cdf_plot

        write_bytes(plot, error_cdf_plot({"foldmap": errors.total_m}))
    summary: dict[str, Any] = {"poses": len(keys), "answered": len(answered)}
    for name, error in (
        ("total", errors.total_m),
        ("lateral", errors.lateral_m),
        ("longitudinal", errors.longitudinal_m),
    ):
        spread = summarize(error)
        summary |= {f"{name}_{key}_m": getattr(spread, f"{key}_m") for key in ("median", "p95", "p99")}
    turn = summarize(errors.heading_rad)
    summary |= {f"heading_{key}_deg": math.degrees(getattr(turn, f"{key}_m")) for key in ("median", "p95", "p99")}
    return {
        **summary,
        "fail_within_100_m": rates.within_100_m,
        "fail_within_500_m": rates.within_500_m,
        "fail_at_end": rates.at_end,
        "segments": rates.segments,
        "segment_m": rates.segment_m,
        "by_status": _statuses(Path(f"{estimates}.jsonl")),
    }


def read_answers(path: Path) -> dict[float, SE2]:
    """Answered poses by time; a file of comments alone answers nothing.

    Raises:
        PoseInputError: the file is missing or malformed.
    """
    from foldmap.formats.textual import content_lines
    from foldmap.formats.tum import read_tum_poses

    if next(content_lines(path), None) is None:
        return {}
    times_s, poses = read_tum_poses(path)
    return {round(float(time_s), 4): pose.to_se2() for time_s, pose in zip(times_s, poses, strict=True)}


def _statuses(path: Path) -> dict[str, int]:
    """Count statuses in the lines that `foldmap localize` wrote; nothing where there is no such file."""
    if not path.is_file():
        return {}
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        return dict(Counter(str(row["status"]) for row in rows))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PoseInputError(
            f"{path} does not hold estimates: {error}", "write it again with foldmap localize"
        ) from error
