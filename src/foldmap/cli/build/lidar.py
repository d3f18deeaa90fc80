"""``foldmap build``: maps from what was recorded."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foldmap.cli.build import visual as build_visual
from foldmap.cli.common import bar, put, require_folder, save_settings, say
from foldmap.cli.verbs import App
from foldmap.errors import SweepInputError

if TYPE_CHECKING:
    from foldmap.formats.sweeps.drives import RecordedDrive
    from foldmap.geometry import SE3
    from foldmap.lidar.mapping.raster import BuildSettings
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
    from foldmap.lidar.mapping.raster import BuildSettings

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
        say(f"note: {note}")
    put(summary if as_json else {key: value for key, value in summary.items() if key != "notes"}, as_json)


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
    """Build and write a lidar map, its settings beside it; parameters as the command's. Returns the summary.

    Raises:
        FoldmapError: what was brought cannot be used; the output is then left as it was.
    """
    from foldmap.atlas.whole import scratch_beside
    from foldmap.formats.raster.write import crs_wkt_of, write_map_geotiff, write_preview
    from foldmap.formats.sweeps.drives import open_drive
    from foldmap.lidar.mapping.raster import build_map

    started_s = time.perf_counter()
    require_folder(output)
    crs_wkt = crs_wkt_of(crs)
    drive = open_drive(sweeps, poses, calibration, intensity_scale, time_limit_s=time_limit_s)
    left_out: list[str] = []
    with (
        scratch_beside(output, "building") as scratch,
        build_map(_usable(drive, left_out), settings, crs_wkt, scratch=scratch) as built,
    ):
        block_px = settings.tile_px if settings.tile_px in (128, 256, 512, 1024) else 512
        observed_m2 = write_map_geotiff(output, built.grid, built.tiles(), block_px)
    notes = []
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
