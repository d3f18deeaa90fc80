"""``foldmap bench lidar``: the tables of the paper, on anybody's recordings."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from foldmap.cli.common import bar, put

app = typer.Typer(help="Measure methods against each other.", no_args_is_help=True)

EXAMPLES = (
    "\b\nExamples:\n  foldmap bench lidar --sweeps drive/ --poses poses.txt -o out/bench\n"
    "  foldmap bench lidar --sweeps drive/ --poses poses.txt --map map.tif -o out/bench --radius 2\n"
    "  foldmap bench lidar --sweeps drive/ --poses poses.txt -o out/bench --methods foldmap --methods webp --quick"
)


@app.callback()
def _bench() -> None:
    """Measure methods against each other."""


@app.command(epilog=EXAMPLES)
def lidar(
    sweeps: Annotated[str, typer.Option(help="Folder, file or glob of sweeps.")],
    poses: Annotated[Path, typer.Option(help="KITTI or TUM poses, one a sweep.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for tables, plots and the page.")],
    map_tif: Annotated[
        Path | None, typer.Option("--map", help="Match in this map; in the drive's own leave-out maps where left out.")
    ] = None,
    methods: Annotated[
        list[str] | None, typer.Option(help="Keep methods whose name starts so; repeat for more. All where left out.")
    ] = None,
    model: Annotated[
        list[Path] | None, typer.Option(help="Models to measure; the shipped ones where left out.")
    ] = None,
    resolution: Annotated[float, typer.Option(help="Pixel size of leave-out maps, metres.")] = 0.05,
    radius: Annotated[float, typer.Option(help="Priors are off by up to so many metres.")] = 1.0,
    heading: Annotated[float, typer.Option(help="And by up to so many degrees.")] = 5.0,
    guard: Annotated[int, typer.Option(help="Sweeps left out of the map on each side of a query.")] = 15,
    aggregate: Annotated[int, typer.Option(help="Sweeps a query.")] = 5,
    every: Annotated[int, typer.Option(help="A query at every so many sweeps.")] = 3,
    online: Annotated[bool, typer.Option("--online", help="Also localize along the drive (tables 2 and 3).")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="A dozen queries and four baselines.")] = False,
    calibration: Annotated[Path | None, typer.Option(help="KITTI calib.txt, when the poses are the camera's.")] = None,
    intensity_scale: Annotated[float | None, typer.Option(help="Intensity of full reflectance, like 255.")] = None,
    seed: Annotated[int, typer.Option(help="Of the priors.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")] = False,
) -> None:
    """Match and localize with foldmap and with classical codes of the same map; write JSON, CSV, plots and a page."""
    import json

    from foldmap.bench.lidar_bench import BenchSettings, read_drive, run_bench
    from foldmap.cli.common import make_folder, plain, read_bundle
    from foldmap.formats.geotiff import open_raster

    settings = BenchSettings(
        resolution_m=resolution,
        radius_m=radius,
        heading_rad=math.radians(heading),
        guard=guard,
        sweeps=aggregate,
        every=every,
        methods=tuple(methods or ()),
        online=online,
        quick=quick,
        seed=seed,
    )
    bundles = [read_bundle(path) for path in model] if model else None
    make_folder(output)
    drive = read_drive(sweeps, poses, calibration, intensity_scale)
    raster = None
    if map_tif is not None:
        with open_raster(map_tif) as source:
            raster = source.read(0, 0, *source.grid.shape)
    with bar("Measuring") as report:
        rows = run_bench(
            drive, output, settings, bundles=bundles, raster=raster, map_name=str(map_tif or ""), report=report
        )
    if as_json:
        typer.echo(json.dumps(plain(rows), indent=2))
        return
    for row in rows:
        put({key: row[key] for key in ("method", "bits_per_m2", "median_cm", "p95_cm", "answered_pct")}, False)
    typer.echo(str(output / "index.html"))
