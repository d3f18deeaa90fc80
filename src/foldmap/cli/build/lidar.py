"""``foldmap build``: maps from what was recorded."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foldmap.cli.build import visual as build_visual
from foldmap.cli.common import bar, bars, put, require_folder, save_settings, say
from foldmap.cli.verbs import App
from foldmap.errors import ConfigError, SweepInputError

if TYPE_CHECKING:
    from foldmap.api.folding.drives import DriveFold
    from foldmap.formats.sweeps.drives import RecordedDrive
    from foldmap.geometry import SE3
    from foldmap.lidar.mapping.raster import BuildSettings
    from foldmap.lidar.source import Sweep

_fold = partial(typer.Option, rich_help_panel="Folding")
app = App(help="Build maps from recordings.", no_args_is_help=True)
app.command("visual", short_help="Build a scene from photos.", epilog=build_visual.EXAMPLES)(build_visual.visual)


@app.callback()
def _build() -> None:
    """Build maps from recordings."""


@app.command(
    epilog=(
        "\b\nExamples:\n  foldmap build lidar drive/ --poses poses.txt --crs EPSG:25832 -o map.tif --preview\n"
        "  foldmap build lidar drive/ --poses poses.txt -o map.tif --fold map.fold --report out/report\n"
        "  foldmap build lidar drive/ --poses poses.txt -o map.tif --fold map.fold --adapt 5min\n"
        "  foldmap build lidar drive.mcap -o map.tif --topic lidar=/velodyne_points"
    )
)
def lidar(
    sweeps: Annotated[
        str, typer.Argument(help="Folder, file or glob of .las .laz .pcd or KITTI .bin sweeps; or a bag of ROS.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The map, a Cloud Optimized GeoTIFF.")],
    poses: Annotated[
        Path | None,
        typer.Option(
            help="KITTI or TUM poses, world_T_sensor, one a sweep. Left out: a bag's odometry, else what sweeps tell."
        ),
    ] = None,
    resolution: Annotated[float, typer.Option(help="Pixel size in metres.")] = 0.05,
    crs: Annotated[str, typer.Option(help="CRS of the poses, like EPSG:25832; local where left out.")] = "",
    calibration: Annotated[Path | None, typer.Option(help="KITTI calib.txt, when the poses are the camera's.")] = None,
    intensity_scale: Annotated[
        float | None, typer.Option(help="Intensity of full reflectance, like 255; the format's own where left out.")
    ] = None,
    max_range: Annotated[float, typer.Option(help="Leave out returns farther than this, metres.")] = 40.0,
    sensor_height: Annotated[
        float | None, typer.Option(help="Height of the sensor above the road, metres; estimated where left out.")
    ] = None,
    time_limit: Annotated[
        float | None, typer.Option(help="Where sweeps are named by times: seconds to their pose, at most; 0.01.")
    ] = None,
    topic: Annotated[
        list[str] | None, typer.Option(metavar="ROLE=TOPIC", help="Of a bag: as foldmap localize takes it.")
    ] = None,
    base_frame: Annotated[str | None, typer.Option(help="Of a bag: the vehicle's frame in TF.")] = None,
    deskew: Annotated[
        bool,
        typer.Option(
            "--deskew/--no-deskew",
            help="Put sweeps together as if seen at once: by times of points, else by how the lidar spins.",
        ),
    ] = True,
    preview: Annotated[bool, typer.Option("--preview", help="Also draw the map as a PNG beside it.")] = False,
    fold: Annotated[
        Path | None,
        _fold(metavar="MAP.fold", help="Fold the map, too: the code is chosen by sweeps held out of it."),
    ] = None,
    adapt: Annotated[
        str | None, _fold(help="Adapt a network to this sensor for so long, like 5min: one more code to choose from.")
    ] = None,
    adapt_steps: Annotated[
        int | None, _fold(help="The same for so many steps, which repeats what a time gave.")
    ] = None,
    report: Annotated[Path | None, _fold(help="Folder for the page of which codes were tried.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Build a ground-intensity map from lidar sweeps and their poses.

    Without --poses, sweeps of one pass are registered to each other; OUTPUT.poses.txt has the poses that they told.
    Keeps ground returns, leaves out what stands or moves on the road, averages intensity robustly, and writes the bands
    intensity, count and spread. Its settings are written beside it as OUTPUT.settings.json.

    With --fold the map is folded, too, while its sweeps are at hand. Marks, the shipped network and, with --adapt, one
    that is adapted to this sensor are tried with sweeps held out of the map; the smallest that loses little is taken.
    How many steps of training a time holds is not the same twice: it is said, and --adapt-steps repeats it.
    """
    from foldmap.lidar.mapping.raster import BuildSettings

    folding = _folding(fold, adapt, adapt_steps, report)
    build = partial(
        build_lidar,
        output=output,
        settings=BuildSettings(resolution_m=resolution, max_range_m=max_range, sensor_height_m=sensor_height),
        crs=crs,
        calibration=calibration,
        time_limit_s=time_limit,
        deskew=deskew,
        preview=preview,
        folding=folding,
    )
    summary = _of_any(sweeps, poses, topic, base_frame, intensity_scale, output, build)
    for note in summary["notes"]:
        say(f"note: {note}")
    if as_json:
        put(summary, as_json)
        return
    folded = summary.pop("folded", None)
    put({key: value for key, value in summary.items() if key != "notes"}, as_json)
    if folded is not None:
        say("")
        put(folded, as_json)


def _of_any(
    sweeps: str,
    poses: Path | None,
    topic: list[str] | None,
    base_frame: str | None,
    intensity_scale: float | None,
    output: Path,
    build: partial[dict[str, Any]],
) -> dict[str, Any]:
    """Build of files, or of a bag, which is unpacked beside the output for so long."""
    from foldmap.formats.bags.files import is_bag

    if not is_bag(Path(sweeps)):
        if topic or base_frame:
            raise ConfigError("--topic and --base-frame are of bags", "leave them out")
        told, notes = (poses, []) if poses is not None else _registered(sweeps, intensity_scale, output, build)
        summary = build(sweeps, told, intensity_scale=intensity_scale)
        return {**summary, "notes": [*notes, *summary["notes"]]}
    from foldmap.atlas.whole import scratch_beside
    from foldmap.formats.bags.survey import BagOptions, topics_of
    from foldmap.formats.bags.unpack import unpack_bag

    require_folder(output)
    deskew = build.keywords["deskew"]
    options = BagOptions(topics_of(topic or []), base_frame, deskew=deskew, intensity_scale=intensity_scale)
    with scratch_beside(output, "unpacking") as scratch:
        with bar("Unpacking") as report:
            unpacked = unpack_bag(sweeps, scratch, options, report)
        told, notes = poses or unpacked.poses, unpacked.notes
        if poses is None and len(unpacked.poses.read_text().splitlines()) < 2:  # no odometry
            told, more = _registered(unpacked.sweeps, 1.0, output, build)
            notes = [*notes, *more]
        summary = build(unpacked.sweeps, told, intensity_scale=1.0, bag=Path(sweeps))
    return {**summary, "notes": [*notes, *summary["notes"]]}


def _registered(
    sweeps: str | Path, intensity_scale: float | None, output: Path, build: partial[dict[str, Any]]
) -> tuple[Path, list[str]]:
    """The poses that sweeps tell of themselves, written beside the map, and what there is to say of them."""
    from foldmap.api.sweep_motion import registered_poses
    from foldmap.formats.sweeps.kitti import write_kitti_poses

    for label, name in (("crs", "crs"), ("calibration", "calibration"), ("time-limit", "time_limit_s")):
        if build.keywords[name] not in (None, ""):
            raise ConfigError(f"--{label} is of poses", f"give --poses too, or leave --{label} out")
    require_folder(output)
    with bars() as begin:
        poses = registered_poses(sweeps, intensity_scale, build.keywords["deskew"], begin)
    path = output.with_name(f"{output.name}.poses.txt")
    write_kitti_poses(path, poses)
    return path, [f"no --poses: the sweeps, registered to each other, say how the sensor moved; {path} has it"]


def _folding(fold: Path | None, adapt: str | None, steps: int | None, report: Path | None) -> DriveFold | None:
    """What was said about folding."""
    said = {"--adapt": adapt, "--adapt-steps": steps, "--report": report}
    if fold is None:
        for label, value in said.items():
            if value is not None:
                raise ConfigError(f"{label} is of folding", f"give --fold MAP.fold, or leave {label} out")
        return None
    from foldmap.api.folding.drives import DriveFold
    from foldmap.api.training.adapting import Adapting, parse_seconds

    if adapt is None and steps is None:
        return DriveFold(fold, report=report)
    return DriveFold(fold, Adapting(None if adapt is None else parse_seconds(adapt), steps), report)


def _oddities(drive: RecordedDrive, poses: Path) -> list[str]:
    """What people should know of the poses that a map is built by."""
    from foldmap.lidar.mapping.belonging import storeys_note
    from foldmap.lidar.mapping.rigidity import blur_note

    given = drive.world_SE3_sensors
    return [*filter(None, [storeys_note(given), blur_note(drive.sweep, given, str(poses))])]


def build_lidar(
    sweeps: str | Path,
    poses: Path,
    output: Path,
    settings: BuildSettings,
    *,
    crs: str = "",
    calibration: Path | None = None,
    intensity_scale: float | None = None,
    time_limit_s: float | None = None,
    deskew: bool = True,
    preview: bool = False,
    folding: DriveFold | None = None,
    bag: Path | None = None,
) -> dict[str, Any]:
    """Build and write a lidar map, its settings beside it; parameters as the command's. Returns the summary.

    Where ``folding`` says so, the map is folded, too; of that the summary is under ``folded``. ``bag`` is what the
    sweeps were unpacked from.

    Raises:
        FoldmapError: what was brought cannot be used; the output is then left as it was.
    """
    from foldmap.atlas.whole import scratch_beside, together
    from foldmap.formats.raster.write import crs_wkt_of, write_map_geotiff, write_preview
    from foldmap.formats.sweeps.drives import open_drive
    from foldmap.lidar.mapping.raster import build_map
    from foldmap.lidar.mapping.spin import told

    started_s = time.perf_counter()
    require_folder(output)
    crs_wkt = crs_wkt_of(crs)
    drive = open_drive(sweeps, poses, calibration, intensity_scale, time_limit_s=time_limit_s, deskew=deskew)
    left_out: list[str] = []
    with (
        scratch_beside(output, "building") as scratch,
        build_map(_usable(drive, left_out), settings, crs_wkt, scratch=scratch) as built,
    ):
        block_px = settings.tile_px if settings.tile_px in (128, 256, 512, 1024) else 512
        with together():
            observed_m2 = write_map_geotiff(output, built.grid, built.tiles(), block_px, drive.sweeps.spun)
            chosen = {
                "sweeps": str(bag or sweeps),
                "poses": "odometry of the bag" if bag and poses.parent == Path(sweeps).parent else str(poses),
                **drive.provenance(),
                "calibration": str(calibration) if calibration else None,
                "time_limit_s": time_limit_s,
                "sweeps_left_out": left_out,
                "crs": crs or None,
                **asdict(settings),
            }
            save_settings(output, "build lidar", chosen)
    notes = [*told(drive.sweeps.spin), *_oddities(drive, poses)]
    if left_out:
        notes.append(f"{len(left_out)} of {len(drive)} sweeps were left out; the first: {left_out[0]}")
    if drive.alone:
        notes.append(f"{len(drive.alone)} sweeps have no pose and were left out; the first: {drive.alone[0][0]}")
    summary = {
        "map": str(output),
        "bytes": output.stat().st_size,
        "observed_m2": round(observed_m2, 2),
        "resolution_m": built.grid.resolution_m,
        "width_px": built.grid.width_px,
        "height_px": built.grid.height_px,
        "sweeps": built.counts.sweeps,
        "sweeps_skipped_standing": built.counts.skipped_standing,
        "sweeps_without_ground": built.counts.without_ground,
        "ground_looks": built.counts.ground_returns,
        "dropped_beside_obstacles": built.counts.dropped_beside_obstacles,
        **drive.provenance(),
        "sweeps_left_out": len(left_out),
        "notes": notes,
    }
    if preview:
        picture = output.with_suffix(".png")
        write_preview(output, picture)
        summary["preview"] = str(picture)
    if folding is not None:
        from foldmap.api.folding.drives import fold_drive

        with bars() as begin:
            how = output, built.grid.resolution_m, settings.max_range_m, drive, folding, say, begin
            said = {**chosen, **asdict(folding)}
            summary["folded"] = fold_drive(
                *how, lambda folded: save_settings(folding.output, "build lidar", {**said, "chosen": folded})
            )
    summary["seconds"] = round(time.perf_counter() - started_s, 2)
    return summary


def _usable(drive: RecordedDrive, left_out: list[str]) -> Iterator[tuple[Sweep, SE3]]:
    """Sweeps with their poses; those that cannot be used are noted, and not more than half may be such."""
    with bar("Reading sweeps") as report:
        pairs = zip(drive.read(), drive.world_SE3_sensors, strict=True)
        for number, (sweep, world_SE3_sensor) in enumerate(pairs, start=1):
            if isinstance(sweep, SweepInputError):
                left_out.append(sweep.message)
            else:
                yield sweep, world_SE3_sensor
            report(number, len(drive))
    if 2 * len(left_out) > len(drive):
        raise SweepInputError(
            f"{len(left_out)} of {len(drive)} sweeps cannot be used; the first: {left_out[0]}",
            "a map of the rest would mislead: export the sweeps again",
        )
