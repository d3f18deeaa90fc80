"""``foldmap build``: maps from what was recorded."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foldmap.cli.build import visual as build_visual
from foldmap.cli.verbs import App

if TYPE_CHECKING:
    from foldmap.formats.sweeps.drives import RecordedDrive
    from foldmap.geometry import SE3
    from foldmap.lidar.build.raster import BuildSettings, BuiltMap
    from foldmap.lidar.source import Sweep

app = App(help="Build maps from recordings.", no_args_is_help=True)
app.command("visual", short_help="Build a scene from photos.", epilog=build_visual.EXAMPLES)(build_visual.visual)


@app.callback()
def _build() -> None:
    """Build maps from recordings."""


@app.command(
    epilog="Example: foldmap build lidar drive/velodyne --poses drive/poses.txt --crs EPSG:25832 -o map.tif --preview"
)
def lidar(
    sweeps: Annotated[str, typer.Argument(help="Folder, file or glob of .las .laz .pcd or KITTI .bin sweeps.")],
    poses: Annotated[Path, typer.Option(help="KITTI or TUM poses, world_T_sensor, one a sweep.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The map, a Cloud Optimized GeoTIFF.")],
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
        float, typer.Option(help="Where sweeps are named by times: seconds to their pose, at most.")
    ] = 0.01,
    preview: Annotated[bool, typer.Option("--preview", help="Also draw the map as a PNG beside it.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Build a ground-intensity map from lidar sweeps and their poses.

    Keeps ground returns, leaves out what stands or moves on the road, averages intensity robustly, and writes the bands
    intensity, count and spread. Its settings are written beside it as OUTPUT.settings.json.
    """
    from foldmap.lidar.build.raster import BuildSettings

    summary = build_lidar(
        sweeps,
        poses,
        output,
        BuildSettings(resolution_m=resolution, max_range_m=max_range, sensor_height_m=sensor_height),
        crs=crs,
        calibration=calibration,
        intensity_scale=intensity_scale,
        time_limit_s=time_limit,
        preview=preview,
    )
    for note in summary["notes"]:
        typer.echo(f"note: {note}", err=True)
    if as_json:
        typer.echo(json.dumps(summary, indent=2))
    else:
        _print_summary(summary)


def build_lidar(
    sweeps: str | Path,
    poses: Path,
    output: Path,
    settings: BuildSettings,
    *,
    crs: str = "",
    calibration: Path | None = None,
    intensity_scale: float | None = None,
    time_limit_s: float = 0.01,
    preview: bool = False,
) -> dict[str, Any]:
    """Build and write a lidar map; the command without its printing.

    Args:
        sweeps: folder, file or glob.
        poses: KITTI or TUM file.
        output: the GeoTIFF; ``OUTPUT.settings.json`` is written beside it.
        settings: how the map is built.
        crs: CRS of the poses; local where empty.
        calibration: KITTI calib.txt, when the poses are the camera's.
        intensity_scale: see `foldmap.formats.sweeps.files.read_sweep`.
        time_limit_s: where sweeps are named by times, their poses lie no farther away.
        preview: draw OUTPUT with suffix .png as well.

    Returns:
        The summary: observed_m2, sweeps, resolution_m, seconds and more.

    Raises:
        FoldmapError: what was brought cannot be used; the output is then left as it was.
    """
    import time
    from dataclasses import asdict

    from foldmap.atlas.whole import scratch_beside
    from foldmap.cli.common import save_settings
    from foldmap.errors import ConfigError
    from foldmap.formats.raster.write import crs_wkt_of, write_map_geotiff, write_preview
    from foldmap.formats.sweeps.drives import open_drive
    from foldmap.lidar.build.raster import build_map

    started_s = time.perf_counter()
    if not output.parent.is_dir():
        raise ConfigError(f"there is no folder {output.parent}", "make it first")
    crs_wkt = crs_wkt_of(crs)
    drive = open_drive(sweeps, poses, calibration, intensity_scale, time_limit_s=time_limit_s)
    left_out: list[str] = []
    with (
        scratch_beside(output, "building") as scratch,
        build_map(_usable(drive, left_out), settings, crs_wkt, scratch=scratch) as built,
    ):
        observed_m2 = write_map_geotiff(output, built.grid, built.tiles(), _block_px(settings))
        summary = _summary(built, output, observed_m2)
    summary |= drive.provenance() | {"sweeps_left_out": len(left_out), "notes": _notes(drive, left_out)}
    chosen = {
        "sweeps": str(sweeps),
        "poses": str(poses),
        **drive.provenance(),
        "calibration": str(calibration) if calibration else None,
        "time_limit_s": time_limit_s,
        "sweeps_left_out": left_out,
        "crs": crs or None,
        **asdict(settings),
    }
    save_settings(output, "build lidar", chosen)
    if preview:
        picture = output.with_suffix(".png")
        write_preview(output, picture)
        summary["preview"] = str(picture)
    summary["seconds"] = round(time.perf_counter() - started_s, 2)
    return summary


def _block_px(settings: BuildSettings) -> int:
    return settings.tile_px if settings.tile_px in (128, 256, 512, 1024) else 512


def _usable(drive: RecordedDrive, left_out: list[str]) -> Iterator[tuple[Sweep, SE3]]:
    """Sweeps with their poses; those that cannot be used are noted. A bar on stderr where somebody is watching.

    Raises:
        SweepInputError: more than half of the sweeps cannot be used.
    """
    from rich.console import Console
    from rich.progress import track

    from foldmap.errors import SweepInputError

    console = Console(stderr=True)
    pairs = zip(drive.read(), drive.world_SE3_sensors, strict=True)
    for sweep, world_SE3_sensor in track(
        pairs, "Reading sweeps", total=len(drive), console=console, disable=not sys.stderr.isatty(), transient=True
    ):
        if isinstance(sweep, SweepInputError):
            left_out.append(sweep.message)
        else:
            yield sweep, world_SE3_sensor
    if 2 * len(left_out) > len(drive):
        raise SweepInputError(
            f"{len(left_out)} of {len(drive)} sweeps cannot be used; the first: {left_out[0]}",
            "a map of the rest would mislead: export the sweeps again",
        )


def _notes(drive: RecordedDrive, left_out: list[str]) -> list[str]:
    """What is missing in the map, in words."""
    notes = []
    if left_out:
        notes.append(f"{len(left_out)} of {len(drive)} sweeps were left out; the first: {left_out[0]}")
    if drive.alone:
        notes.append(f"{len(drive.alone)} sweeps have no pose and were left out; the first: {drive.alone[0][0]}")
    return notes


def _summary(built: BuiltMap, output: Path, observed_m2: float) -> dict[str, Any]:
    counts, grid = built.counts, built.grid
    return {
        "map": str(output),
        "bytes": output.stat().st_size,
        "observed_m2": round(observed_m2, 2),
        "resolution_m": grid.resolution_m,
        "width_px": grid.width_px,
        "height_px": grid.height_px,
        "sweeps": counts.sweeps,
        "sweeps_skipped_standing": counts.skipped_standing,
        "sweeps_without_ground": counts.without_ground,
        "ground_looks": counts.ground_returns,
        "dropped_beside_obstacles": counts.dropped_beside_obstacles,
    }


def _print_summary(summary: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    rows = {
        "map": summary["map"],
        "observed ground": f"{summary['observed_m2']:,.1f} m2",
        "sweeps": f"{summary['sweeps']}, of which {summary['sweeps_skipped_standing']} standing, "
        f"{summary['sweeps_without_ground']} without ground",
        "poses": summary["paired"],
        "resolution": f"{summary['resolution_m']:g} m, {summary['width_px']} x {summary['height_px']} px",
        "looks at the ground": f"{summary['ground_looks']:,}",
        "file": f"{summary['bytes'] / 1e6:.2f} MB",
        "time": f"{summary['seconds']:.1f} s",
    }
    table = Table(show_header=False, box=None)
    for name, value in rows.items():
        table.add_row(name, value)
    Console().print(table)
