"""``foldmap bench``: the tables of the papers, on anybody's recordings and scenes; here those of the lidar layer."""

import math
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from foldmap.cli.bench import street as bench_street
from foldmap.cli.bench import trust as bench_trust
from foldmap.cli.bench import visual as bench_visual
from foldmap.cli.common import make_folder, require_both
from foldmap.cli.verbs import App
from foldmap.errors import ConfigError

app = App(help="Measure methods against each other.", no_args_is_help=True)

EXAMPLES = (
    "\b\nExamples:\n  foldmap bench lidar --sweeps drive/ --poses poses.txt -o out/bench --online\n"
    "  foldmap bench lidar --sweeps drive/ --poses poses.txt --map map.tif -o out/bench --radius 2\n"
    "  foldmap bench lidar --map a.tif --map-query b.tif --relief-band 3 --radius 5 --heading 0 -o out/pair\n"
    "  foldmap bench lidar --sweeps drive/ --poses poses.txt -o out/bench --methods foldmap --methods webp --quick\n"
    "  foldmap bench lidar --sweeps drive/ --poses poses.txt -o out/b --ablations models/"
)
_data = partial(typer.Option, rich_help_panel="Recordings and maps")
_method = partial(typer.Option, rich_help_panel="Methods and models")
_query = partial(typer.Option, rich_help_panel="Queries")


@app.callback()
def _bench() -> None:
    """Measure methods against each other."""


app.command(epilog=bench_visual.EXAMPLES)(bench_visual.visual)
app.command(epilog=bench_street.EXAMPLES)(bench_street.street)
app.command(epilog=bench_trust.EXAMPLES)(bench_trust.trust)


@app.command(epilog=EXAMPLES)
def lidar(
    context: typer.Context,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for tables, plots and the page.")],
    sweeps: Annotated[str | None, typer.Option(help="Folder, file or glob of sweeps.")] = None,
    poses: Annotated[Path | None, typer.Option(help="KITTI or TUM poses, one a sweep.")] = None,
    map_tif: Annotated[
        Path | None, typer.Option("--map", help="Match in this map; in the drive's own leave-out maps where left out.")
    ] = None,
    online: Annotated[bool, typer.Option("--online", help="Also localize along the drive (tables 2 and 3).")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="A dozen queries, few codecs, a short drive.")] = False,
    map_query: Annotated[Path | None, _data(help="Queries are crops of this map, in --map.")] = None,
    relief_band: Annotated[int | None, _data(help="Of both maps: band of the variance of heights, to mix in.")] = None,
    scored: Annotated[str, _data(help="Side of two maps that is scored; the other gives their offset.")] = "east",
    calibration: Annotated[Path | None, _data(help="KITTI calib.txt, when the poses are the camera's.")] = None,
    intensity_scale: Annotated[float | None, _data(help="Intensity of full reflectance, like 255.")] = None,
    time_limit: Annotated[float | None, _data(help="Of sweeps named by times: s to their pose at most; 0.01.")] = None,
    methods: Annotated[
        list[str] | None, _method(help="Keep methods whose name starts so; repeat for more. All where left out.")
    ] = None,
    matchers: Annotated[
        list[str] | None,
        _method(help="Match classical codes with ncc, localizer, learned; repeat."),
    ] = None,
    all_codecs: Annotated[
        bool, _method("--all-codecs", help="All families, qualities and sizes of classical codes, not only the best.")
    ] = False,
    model: Annotated[
        list[Path] | None, _method(help="Models to measure, files or folders; the shipped ones where left out.")
    ] = None,
    matcher: Annotated[
        Path | None, _method(help="Model whose embeddings match classical codes; the first where left out.")
    ] = None,
    ablations: Annotated[list[Path] | None, _method(help="More models for table 4, files or folders.")] = None,
    pairs: Annotated[Path | None, _method(help="Pairs to train on (python -m foldmap.town.lidar.pairs).")] = None,
    most_pairs: Annotated[int, _method(help="Use at most so many of them.")] = 400,
    train_matchers: Annotated[int, _method(help="Train the matcher so many steps on each codec's output.")] = 0,
    resolution: Annotated[float, _query(help="Pixel size of leave-out maps, metres.")] = 0.05,
    radius: Annotated[float, _query(help="Priors are off by up to so many metres.")] = 1.0,
    heading: Annotated[float, _query(help="And by up to so many degrees.")] = 5.0,
    guard: Annotated[int, _query(help="Sweeps left out of the map on each side of a query.")] = 15,
    aggregate: Annotated[int, _query(help="Sweeps a query.")] = 5,
    every: Annotated[int, _query(help="A query at every so many sweeps.")] = 3,
    crop: Annotated[float, _query(help="Side of crops of --map-query, metres.")] = 21.0,
    stride: Annotated[float, _query(help="Between them, metres.")] = 10.5,
    seed: Annotated[int, _query(help="Of the priors and of training.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")] = False,
) -> None:
    """Match and localize with foldmap and with classical codes of the same map; write JSON, CSV, plots and a page."""
    from foldmap.bench.lidar.baselines.tuning import read_places
    from foldmap.bench.lidar.benchmark import BenchSettings, LidarBenchData, read_drive, run_bench
    from foldmap.cli.bench import inputs
    from foldmap.lidar.defaults import read_bundle

    require_both(sweeps, poses)
    _check_relief(relief_band, map_tif, map_query)
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
        every_codec=all_codecs,
        scored=scored,
        crop_m=crop,
        stride_m=stride,
        online=online,
        quick=quick,
        seed=seed,
    )
    given = [*inputs.model_files(model), *inputs.model_files(ablations), *([matcher] if matcher is not None else [])]
    inputs.refuse_trained_there(given, sweeps, poses, calibration, [map_tif, map_query])
    make_folder(output)
    data = LidarBenchData(
        drive=read_drive(sweeps, poses, calibration, intensity_scale, time_limit) if sweeps and poses else None,
        raster=inputs.read_raster(map_tif, relief_band),
        query_raster=inputs.read_raster(map_query, relief_band),
        map_name=" ".join(path.name for path in (map_tif, map_query) if path is not None),
        bundles=inputs.read_models(model) if model else None,
        ablations=inputs.read_models(ablations),
        matcher=read_bundle(matcher) if matcher is not None else None,
        places=read_places(pairs, most_pairs, seed) if pairs is not None else None,
    )
    with inputs.stages() as stage:
        rows = run_bench(data, output, settings, command=inputs.typed(context), stage=stage)
    keys = ("method", "bits_per_m2", "median_cm", "p95_cm", "answered_pct")
    inputs.print_rows(rows, rows, keys, output / "index.html", as_json)


def _check_relief(relief_band: int | None, map_tif: Path | None, map_query: Path | None) -> None:
    """Relief is mixed into maps alone: sweeps are drawn without it here."""
    if relief_band is not None and (map_tif is None or map_query is None):
        cure = "give both maps; what sweeps see of relief in a folded map, foldmap localize and evaluate measure"
        raise ConfigError("--relief-band is of --map and --map-query", cure)
