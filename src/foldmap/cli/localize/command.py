"""``foldmap localize``: sweeps in a folded map, one by one or along a drive; photos are `localize_visual`'s."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foldmap.cli.common import bar, plain, put, require_file, require_folder, save_settings, write_text
from foldmap.cli.localize import options
from foldmap.errors import ConfigError, SweepInputError

if TYPE_CHECKING:
    from foldmap.geometry import SE2
    from foldmap.lidar.observation import Observation
    from foldmap.localize.lidar.confidence import LidarEstimate
    from foldmap.localize.lidar.localizer import LidarFilter
    from foldmap.types import DoubleArray

EXAMPLES = (
    "\b\nExamples:\n  foldmap localize map.fold sweeps/ --poses prior.txt -o estimates.txt\n"
    "  foldmap localize map.fold 'drive/*.bin' --poses odometry.txt --online -o estimates.txt --json\n"
    "  foldmap localize scene.fold --queries list.txt --features feats.h5 -o poses.txt\n"
    "  foldmap localize scene.fold --queries names.txt --camera PINHOLE,525,525,320,240 --photos photos/ -o poses.txt\n"
    "  foldmap localize scene.fold --rigs rigs.txt --features database.db --layout both -o poses.txt"
)
SWEEP_PERIOD_S = 0.1


def localize(
    context: typer.Context,
    fold_file: Annotated[Path, typer.Argument(metavar="MAP.fold", help="The folded map.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="File of the poses that were answered.")],
    sweeps: Annotated[
        str | None,
        typer.Argument(metavar="[SWEEPS]", help="Sweeps: folder, file or glob of .las .laz .pcd, KITTI .bin."),
    ] = None,
    poses: Annotated[
        Path | None, typer.Option(help="Sweeps: prior poses, KITTI or TUM, world_T_sensor, one a sweep.")
    ] = None,
    radius: Annotated[float, typer.Option(help="Sweeps: search so far around the prior, metres.")] = 1.0,
    heading_range: Annotated[float, typer.Option(help="Sweeps: and so far in heading, degrees.")] = 5.0,
    online: Annotated[
        bool, typer.Option("--online", help="Sweeps: filter along the drive from the first pose, then by increments.")
    ] = False,
    aggregate: Annotated[int, typer.Option(help="Sweeps an observation.")] = 5,
    calibration: options.Calibration = None,
    intensity_scale: options.IntensityScale = None,
    sensor_height: options.SensorHeight = None,
    time_limit: options.TimeLimit = 0.01,
    queries: options.Queries = None,
    rigs: options.Rigs = None,
    features: options.Features = None,
    photos: options.Photos = None,
    global_descriptors: options.Globals = None,
    camera: options.Intrinsics = "",
    model: options.Model = None,
    weights: options.Weights = None,
    matcher: options.Matcher = "direct",
    matcher_weights: options.MatcherWeights = None,
    max_keypoints: options.MaxKeypoints = 8192,
    layout: options.Layout = "hloc",
    seed: options.Seed = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Localize sweeps, or photos, in a folded map.

    Sweeps: SWEEPS and --poses are given; the answered poses are written as TUM rows. Photos: --queries or --rigs is
    given; they are written as name qw qx qy qz tx ty tz (world to camera), or TUM (camera to world; the time is the
    name's where names are numbers, else the query's number). Beside them OUTPUT.jsonl has one line for every sweep or
    query with its status, pose, covariance and diagnostics. What is not answered has no pose. Exit status 1 when
    nothing was answered.
    """
    given = queries is not None or rigs is not None
    options.refuse_mixed(context, sweeps, given)
    with bar("Localizing") as report:
        if given:
            from foldmap.cli.localize.photos import CameraOptions, localize_cameras

            asked = CameraOptions(
                queries=queries,
                rigs=rigs,
                features=features,
                photos=photos,
                global_descriptors=global_descriptors,
                camera=camera,
                model=model,
                weights=weights,
                matcher=matcher,
                matcher_weights=matcher_weights,
                max_keypoints=max_keypoints,
                layout=layout,
                seed=seed,
            )
            summary = localize_cameras(fold_file, output, asked, report)
        else:
            assert sweeps is not None
            assert poses is not None
            summary = localize_sweeps(
                fold_file,
                sweeps,
                poses,
                output,
                radius_m=radius,
                heading_range_rad=math.radians(heading_range),
                online=online,
                aggregate=aggregate,
                calibration=calibration,
                intensity_scale=intensity_scale,
                sensor_height_m=sensor_height,
                time_limit_s=time_limit,
                report=report,
            )
    put(summary, as_json)
    if summary["answered"] == 0:
        raise typer.Exit(1)


def localize_sweeps(
    fold_file: Path,
    sweeps: str | Path,
    poses: Path,
    output: Path,
    *,
    radius_m: float = 1.0,
    heading_range_rad: float = math.radians(5.0),
    online: bool = False,
    aggregate: int = 5,
    calibration: Path | None = None,
    intensity_scale: float | None = None,
    sensor_height_m: float | None = None,
    time_limit_s: float = 0.01,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Localize a drive's sweeps; the command without its printing.

    Args:
        fold_file: the map.
        sweeps: folder, file or glob.
        poses: priors, one a sweep; online only their increments count, after the first.
        output: TUM file; OUTPUT.jsonl and OUTPUT.settings.json are written beside it.
        radius_m: half the search window; online, three standard deviations of the first pose.
        heading_range_rad: the same in heading.
        online: filter along the drive.
        aggregate: sweeps an observation.
        calibration: KITTI calib.txt.
        intensity_scale: see `foldmap.formats.sweeps.files.read_sweep`.
        sensor_height_m: above the road.
        time_limit_s: where sweeps are named by times, their priors lie no farther away.
        report: called with sweeps done and in all.

    Returns:
        The summary: sweeps, answered, by_status, median_time_s.

    Raises:
        FoldmapError: what was brought cannot be used.
    """
    import numpy as np

    from foldmap.atlas import FoldFile
    from foldmap.formats.sweeps.drives import open_drive
    from foldmap.lidar.observation import observations
    from foldmap.lidar.unfold import FoldedLidar
    from foldmap.localize.lidar.localizer import LidarLocalizer

    require_file(fold_file)
    require_folder(output)
    if not (math.isfinite(radius_m) and radius_m > 0 and 0 <= heading_range_rad <= math.pi):
        raise ConfigError(f"a search of {radius_m} m", "give a positive radius, and 0 to 180 degrees of heading")
    # Priors of single sweeps need not agree with each other; those that lay sweeps together are odometry and must.
    together = online or aggregate > 1
    drive = open_drive(sweeps, poses, calibration, intensity_scale, time_limit_s=time_limit_s, aligned=together)
    world_SE3_priors = drive.world_SE3_sensors
    times_s = drive.times_s if drive.times_s is not None else np.arange(len(drive), dtype=np.float64)
    estimates: list[LidarEstimate] = []
    with FoldFile.open(fold_file) as file:
        folded = FoldedLidar(file)
        localizer = LidarLocalizer.open(folded)
        seen = observations(drive.read(), world_SE3_priors, folded.grid.resolution_m, aggregate, sensor_height_m)
        sigmas = radius_m / 3, max(heading_range_rad / 3, math.radians(0.1))
        poses_SE2 = [pose.to_se2() for pose in world_SE3_priors]
        running = localizer.start(poses_SE2[0], *sigmas) if online else None
        for index, observation in enumerate(seen):
            if running is not None:
                estimate = _filtered(running, observation, index, poses_SE2, drive.times_s)
            elif not isinstance(observation, SweepInputError):
                estimate = localizer.localize(observation, poses_SE2[index], radius_m, heading_range_rad)
            estimates.append(unobserved(str(observation)) if isinstance(observation, SweepInputError) else estimate)
            report(index + 1, len(drive))
    write_text(output, tum_rows(times_s.tolist(), estimates, [pose.translation_m[2] for pose in world_SE3_priors]))
    alone = [(time_s, name, unobserved(f"no prior within {time_limit_s:g} s")) for name, time_s in drive.alone]
    rows = sorted([*zip(times_s.tolist(), drive.names, estimates, strict=True), *alone], key=lambda row: row[0])
    write_text(Path(f"{output}.jsonl"), json_lines(rows))
    settings = {
        "map": str(fold_file),
        "sweeps": str(sweeps),
        "poses": str(poses),
        **drive.provenance(),
        "time_limit_s": time_limit_s,
        "radius_m": radius_m,
        "heading_range_rad": heading_range_rad,
        "online": online,
        "aggregate": aggregate,
        "sensor_height_m": sensor_height_m,
        "model": folded.bundle.name,
    }
    save_settings(output, "localize", settings)
    return summarized(output, [estimate for _, _, estimate in rows]) | {"paired": drive.pairing.words}


def unobserved(reason: str) -> LidarEstimate:
    """The estimate of a sweep that shows nothing."""
    from foldmap.localize.estimate import Estimate, Status
    from foldmap.localize.lidar.confidence import LidarDiagnostics

    return Estimate.without_pose(Status.NO_OBSERVATION, LidarDiagnostics(reason=reason))


def summarized(output: Path, estimates: list[LidarEstimate]) -> dict[str, Any]:
    """What the command prints: how many sweeps got which status."""
    import numpy as np

    return {
        "estimates": str(output),
        "sweeps": len(estimates),
        "answered": sum(estimate.pose is not None for estimate in estimates),
        "by_status": dict(Counter(estimate.status.value for estimate in estimates)),
        "median_time_s": float(np.median([estimate.diagnostics.time_s for estimate in estimates])),
    }


def _filtered(
    running: LidarFilter,
    observation: Observation | SweepInputError,
    index: int,
    world_SE2_priors: list[SE2],
    times_s: DoubleArray | None,
) -> LidarEstimate:
    """One step of the filter: of the poses only the increments count.

    Where the sweep cannot be used the filter only moves, and nothing is answered.
    """
    broken = unobserved(str(observation)) if isinstance(observation, SweepInputError) else None
    image = None if isinstance(observation, SweepInputError) else observation
    prior = world_SE2_priors[index]
    if index == 0:
        estimate = running.step(image, None, SWEEP_PERIOD_S)
        return broken or estimate
    step_s = SWEEP_PERIOD_S if times_s is None else float(times_s[index] - times_s[index - 1])
    estimate = running.step(image, world_SE2_priors[index - 1].inverse() @ prior, step_s)
    return broken or estimate


def tum_rows(times_s: list[float], estimates: list[LidarEstimate], heights_m: list[float]) -> str:
    """TUM rows ``t x y z qx qy qz qw`` of the estimates that have a pose."""
    rows = ["# t x y z qx qy qz qw, world_T_vehicle, metres"]
    for time_s, estimate, z_m in zip(times_s, estimates, heights_m, strict=True):
        if estimate.pose is not None:
            x, y, half = estimate.pose.x_m, estimate.pose.y_m, 0.5 * estimate.pose.heading_rad
            rows.append(f"{time_s:.6f} {x:.4f} {y:.4f} {z_m:.4f} 0 0 {math.sin(half):.9f} {math.cos(half):.9f}")
    return "\n".join(rows) + "\n"


def json_lines(rows: Sequence[tuple[float, str, LidarEstimate]]) -> str:
    """One JSON object a sweep: time, status, pose and covariance where there is one, diagnostics."""
    from dataclasses import asdict

    lines = []
    for time_s, name, estimate in rows:
        pose = estimate.pose
        row = {
            "time_s": time_s,
            "sweep": name,
            "status": estimate.status.value,
            "pose": None if pose is None else asdict(pose),
            "covariance": estimate.covariance,
            "diagnostics": asdict(estimate.diagnostics),
        }
        lines.append(json.dumps(plain(row)))
    return "\n".join(lines) + "\n"
