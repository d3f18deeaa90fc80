"""``foldmap train``: models of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from foldmap.cli.common import put
from foldmap.cli.train import street as train_street
from foldmap.cli.verbs import App
from foldmap.errors import ConfigError

app = App(help="Train models.", no_args_is_help=True)

EXAMPLES = (
    "\b\nExamples:\n  foldmap train lidar -o out/train --preset small-16x --rate 3\n"
    "  foldmap train lidar -o out/train --map city.tif --start model.safetensors\n"
    "  foldmap train lidar -o out/train --map aeva.tif --map-query avia.tif\n"
    "  foldmap train lidar -o out/train --sweeps drive/ --poses poses.txt\n"
    "  foldmap train lidar -o out/train --sweeps drive/ --poses poses.txt --pairs out/pairs --start model.safetensors"
)


@app.callback()
def _train() -> None:
    """Train models."""


app.command(short_help="Train a street model.", epilog=train_street.EXAMPLES)(train_street.street)


@app.command(epilog=EXAMPLES)
def lidar(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the run; an interrupted one resumes.")],
    town: Annotated[bool, typer.Option("--town", help="Train on the generated town (the default).")] = False,
    pairs: Annotated[Path | None, typer.Option(help="Cache of the town's pairs; OUTPUT/pairs where left out.")] = None,
    pair_count: Annotated[int, typer.Option(help="Pairs to draw where none are cached.")] = 1000,
    coarse: Annotated[bool, typer.Option("--coarse", help="The town at 0.33 m instead of 0.05 m.")] = False,
    map_tif: Annotated[Path | None, typer.Option("--map", help="Train on this GeoTIFF instead.")] = None,
    map_query: Annotated[Path | None, typer.Option(help="Queries are crops of this GeoTIFF of the same place.")] = None,
    query_offset: Annotated[
        tuple[float, float], typer.Option(help="Map minus query coordinates, east and north, metres.")
    ] = (0.0, 0.0),
    sweeps: Annotated[str | None, typer.Option(help="Train on these sweeps instead (needs --poses).")] = None,
    poses: Annotated[Path | None, typer.Option(help="KITTI or TUM poses, one a sweep.")] = None,
    resolution: Annotated[float, typer.Option(help="Pixel size for sweeps, metres.")] = 0.05,
    guard: Annotated[int, typer.Option(help="Sweeps left out of the map on each side of a query.")] = 15,
    intensity_scale: Annotated[float | None, typer.Option(help="Intensity of full reflectance, like 255.")] = None,
    preset: Annotated[str, typer.Option(help="Sizes of the networks.")] = "small-16x",
    mode: Annotated[str, typer.Option(help="match, scratch or recon.")] = "match",
    rate: Annotated[float, typer.Option(help="Zero-order code entropy aimed at, bit per m2 of observed cells.")] = 2.2,
    steps: Annotated[int, typer.Option(help="Steps with the codec.")] = 3000,
    matcher_steps: Annotated[int, typer.Option(help="Steps of the matcher before.")] = 600,
    batch: Annotated[int, typer.Option(help="Pairs a step.")] = 8,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    start: Annotated[Path | None, typer.Option(help="Begin with this model.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    name: Annotated[str, typer.Option(help="Name of the model; PRESET-RATE where left out.")] = "",
    time_limit: Annotated[
        float, typer.Option(help="Where sweeps are named by times: seconds to their pose, at most.")
    ] = 0.01,
    smoke: Annotated[bool, typer.Option("--smoke", help="A tiny run that shows that all parts fit together.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Train a matcher and codec, and write OUTPUT/model.safetensors, ready for foldmap fold --model.

    OUTPUT also gets the validation curve (curve.csv, curve.png) and the settings. Without --map or --sweeps, pairs
    of the generated town are drawn; with --sweeps and --pairs, half are of the drive and half of the town, which is
    how to adapt a shipped model (--start) to a sensor from a short drive.
    """
    from foldmap.cli.train import sources as train_sources
    from foldmap.cli.train.run import RunSettings, train_lidar

    if sum((town, map_tif is not None, sweeps is not None)) > 1 or (map_tif is not None and pairs is not None):
        raise ConfigError("several sources of pairs were named", "give one of --town, --map and --sweeps")
    if (sweeps is None) != (poses is None):
        raise ConfigError("sweeps and poses go together", "give both --sweeps and --poses")
    if smoke:
        preset, steps, matcher_steps, batch, pair_count = "tiny-8x", 12, 12, 2, min(pair_count, 20)
    run = RunSettings(preset, mode, rate, steps, matcher_steps, batch, seed, start, device, name, smoke)
    run.check()
    if map_tif is not None:
        source = train_sources.raster_source(map_tif, map_query, query_offset, pair_count, seed, smoke=smoke)
    elif sweeps is not None and poses is not None:
        source = train_sources.sweep_source(
            sweeps, poses, resolution, guard, intensity_scale, smoke=smoke, time_limit_s=time_limit
        )
        if pairs is not None:
            town_pairs = train_sources.town_source(pairs, pair_count, seed, coarse=coarse, smoke=smoke)
            source = train_sources.mixed_source(source, town_pairs)
    else:
        folder = pairs or output / "pairs"
        source = train_sources.town_source(folder, pair_count, seed, coarse=coarse, smoke=smoke)
    put(train_lidar(output, source, run), as_json)
