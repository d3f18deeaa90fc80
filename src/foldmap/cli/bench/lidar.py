"""``foldmap bench``: the tables of the papers, on anybody's recordings and scenes."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated

import typer

from foldmap.cli.bench import street as bench_street
from foldmap.cli.bench import visual as bench_visual
from foldmap.cli.common import plain, put
from foldmap.cli.verbs import App

app = App(help="Measure methods against each other.", no_args_is_help=True)

EXAMPLES = (
    "\b\nExamples:\n  foldmap bench lidar --sweeps drive/ --poses poses.txt -o out/bench --online\n"
    "  foldmap bench lidar --sweeps drive/ --poses poses.txt --map map.tif -o out/bench --radius 2\n"
    "  foldmap bench lidar --map a.tif --map-query b.tif --scored east --radius 5 --heading 0 -o out/pair\n"
    "  foldmap bench lidar --sweeps drive/ --poses poses.txt -o out/bench --methods foldmap --methods webp --quick\n"
    "  foldmap bench lidar --sweeps drive/ --poses poses.txt -o out/b --pairs pairs/ --train-ablations 3000"
)


@app.callback()
def _bench() -> None:
    """Measure methods against each other."""


app.command(epilog=bench_visual.EXAMPLES)(bench_visual.visual)
app.command(epilog=bench_street.EXAMPLES)(bench_street.street)


Radius = Annotated[float, typer.Option(help="Priors are off by up to so many metres.")]
Heading = Annotated[float, typer.Option(help="And by up to so many degrees.")]
Guard = Annotated[int, typer.Option(help="Sweeps left out of the map on each side of a query.")]
Matchers = Annotated[
    list[str] | None, typer.Option(help="Match classical codes with ncc or learned; repeat. Both where left out.")
]
Methods = Annotated[
    list[str] | None, typer.Option(help="Keep methods whose name starts so; repeat for more. All where left out.")
]
Model = Annotated[
    list[Path] | None, typer.Option(help="Models to measure, files or folders; the shipped ones where left out.")
]


@app.command(epilog=EXAMPLES)
def lidar(
    context: typer.Context,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for tables, plots and the page.")],
    sweeps: Annotated[str | None, typer.Option(help="Folder, file or glob of sweeps.")] = None,
    poses: Annotated[Path | None, typer.Option(help="KITTI or TUM poses, one a sweep.")] = None,
    map_tif: Annotated[
        Path | None, typer.Option("--map", help="Match in this map; in the drive's own leave-out maps where left out.")
    ] = None,
    map_query: Annotated[Path | None, typer.Option(help="Queries are crops of this map, in --map.")] = None,
    scored: Annotated[
        str, typer.Option(help="Side of two maps that is scored; the other gives their offset.")
    ] = "east",
    crop: Annotated[float, typer.Option(help="Side of such crops, metres.")] = 21.0,
    stride: Annotated[float, typer.Option(help="Between them, metres.")] = 10.5,
    methods: Methods = None,
    matchers: Matchers = None,
    model: Model = None,
    matcher: Annotated[
        Path | None, typer.Option(help="Model whose embeddings match classical codes; the first where left out.")
    ] = None,
    pairs: Annotated[Path | None, typer.Option(help="Pairs to train on (python -m foldmap.town.lidar.pairs).")] = None,
    most_pairs: Annotated[int, typer.Option(help="Use at most so many of them.")] = 400,
    train_matchers: Annotated[int, typer.Option(help="Train the matcher so many steps on each codec's output.")] = 0,
    ablations: Annotated[list[Path] | None, typer.Option(help="More models for table 4, files or folders.")] = None,
    train_ablations: Annotated[int, typer.Option(help="Train recon/match x 8x/16x, so many steps each.")] = 0,
    resolution: Annotated[float, typer.Option(help="Pixel size of leave-out maps, metres.")] = 0.05,
    radius: Radius = 1.0,
    heading: Heading = 5.0,
    guard: Guard = 15,
    aggregate: Annotated[int, typer.Option(help="Sweeps a query.")] = 5,
    every: Annotated[int, typer.Option(help="A query at every so many sweeps.")] = 3,
    online: Annotated[bool, typer.Option("--online", help="Also localize along the drive (tables 2 and 3).")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="A dozen queries, few codecs, a short drive.")] = False,
    calibration: Annotated[Path | None, typer.Option(help="KITTI calib.txt, when the poses are the camera's.")] = None,
    intensity_scale: Annotated[float | None, typer.Option(help="Intensity of full reflectance, like 255.")] = None,
    time_limit: Annotated[
        float, typer.Option(help="Where sweeps are named by times: seconds to their pose, at most.")
    ] = 0.01,
    seed: Annotated[int, typer.Option(help="Of the priors and of training.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")] = False,
) -> None:
    """Match and localize with foldmap and with classical codes of the same map; write JSON, CSV, plots and a page."""
    from foldmap.bench.lidar.ablations import Variants
    from foldmap.bench.lidar.benchmark import BenchData, BenchSettings, read_drive, run_bench
    from foldmap.cli.bench import inputs
    from foldmap.cli.common import make_folder
    from foldmap.errors import ConfigError
    from foldmap.lidar.bundle import read_bundle

    if (sweeps is None) != (poses is None):
        raise ConfigError("sweeps and poses belong together", "give both --sweeps and --poses")
    settings = BenchSettings(
        resolution_m=resolution,
        radius_m=radius,
        heading_rad=math.radians(heading),
        guard=guard,
        sweeps=aggregate,
        every=every,
        methods=tuple(methods or ()),
        matchers=tuple(matchers or BenchSettings.matchers),
        train_matchers=train_matchers,
        scored=scored,
        crop_m=crop,
        stride_m=stride,
        online=online,
        quick=quick,
        seed=seed,
    )
    make_folder(output)
    data = BenchData(
        drive=read_drive(sweeps, poses, calibration, intensity_scale, time_limit) if sweeps and poses else None,
        raster=inputs.read_raster(map_tif),
        query_raster=inputs.read_raster(map_query),
        map_name=" ".join(path.name for path in (map_tif, map_query) if path is not None),
        bundles=inputs.read_models(model) if model else None,
        ablations=inputs.read_models(ablations),
        matcher=read_bundle(matcher) if matcher is not None else None,
        places=inputs.read_places(pairs, most_pairs, seed),
        variants=Variants(train_ablations) if train_ablations else None,
    )
    with inputs.stages() as stage:
        rows = run_bench(data, output, settings, command=inputs.spoken(context), stage=stage)
    if as_json:
        typer.echo(json.dumps(plain(rows), indent=2))
        return
    for row in rows:
        put({key: row[key] for key in ("method", "bits_per_m2", "median_cm", "p95_cm", "answered_pct")}, False)
    typer.echo(str(output / "index.html"))
