"""``foldmap train lidar``: a matcher and codec of one's own, for a sensor or a place."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foldmap.cli.common import bars, put, require_both, say
from foldmap.cli.train.options import DATA, MODEL, RUN, Json, Output, Resume, Seed, Smoke, Start, open_run
from foldmap.cli.verbs import option
from foldmap.errors import ConfigError

if TYPE_CHECKING:
    from foldmap.api.training.lidar_pairs import LidarPairs
    from foldmap.api.training.marks import MarksRun

EXAMPLES = (
    "\b\nExamples:\n  foldmap train lidar -o out/train --preset small-16x --rate 3\n"
    "  foldmap train lidar -o out/train --preset small-8x --resolution 0.1\n"
    "  foldmap train lidar -o out/train --map city.tif --start model.safetensors\n"
    "  foldmap train lidar -o out/train --map aeva.tif --map-query avia.tif --relief-band 3\n"
    "  foldmap train lidar -o out/train --sweeps drive/ --poses poses.txt\n"
    "  foldmap train lidar -o out/train --sweeps drive/ --poses poses.txt --pairs out/pairs --start model.safetensors"
)


def lidar(
    output: Output,
    map_tif: Annotated[Path | None, typer.Option("--map", help="Train on this GeoTIFF.")] = None,
    sweeps: Annotated[str | None, typer.Option(help="Train on these sweeps (needs --poses).")] = None,
    poses: Annotated[Path | None, typer.Option(help="KITTI or TUM poses, one a sweep.")] = None,
    start: Start = None,
    rate: Annotated[float, typer.Option(help="Zero-order code entropy aimed at, bit per m2 of observed cells.")] = 2.2,
    smoke: Smoke = False,
    as_json: Json = False,
    town: Annotated[bool, option(DATA, "Train on the generated town (the default).", "--town")] = False,
    pairs: Annotated[Path | None, option(DATA, "Cache of the town's pairs; OUTPUT/pairs if left out.")] = None,
    pair_count: Annotated[int, option(DATA, "Pairs to draw where none are cached.")] = 1000,
    coarse: Annotated[bool, option(DATA, "The town at 0.33 m instead of 0.05 m.", "--coarse")] = False,
    relief: Annotated[bool, option(DATA, "The town with relief mixed in, for --relief-band.", "--relief")] = False,
    relief_band: Annotated[int | None, option(DATA, "Of the maps: band of the variance of heights, to mix in.")] = None,
    map_query: Annotated[Path | None, option(DATA, "Queries are crops of this GeoTIFF of the same place.")] = None,
    query_offset: Annotated[
        tuple[float, float], option(DATA, "Map minus query coordinates, east and north, metres.")
    ] = (0.0, 0.0),
    resolution: Annotated[float | None, option(DATA, "Pixel size of sweeps and the town, metres; 0.05.")] = None,
    guard: Annotated[int, option(DATA, "Sweeps left out of the map on each side of a query.")] = 15,
    intensity_scale: Annotated[float | None, option(DATA, "Intensity of full reflectance, like 255.")] = None,
    time_limit: Annotated[float | None, option(DATA, "Of sweeps named by times: s to a pose at most; 0.01.")] = None,
    marks: Annotated[
        float | None, option(MODEL, "Fit a code of so many marks a m2, which has no network, instead of training.")
    ] = None,
    bit_price: Annotated[float, option(MODEL, "Contrast, in deviations, that a bit of --marks must bring.")] = 0.1,
    told: Annotated[float, option(MODEL, "Contrast that it is worth a mark to tell twice as much of the place.")] = 0.3,
    lines: Annotated[float, option(MODEL, "Share of what goes on along a line that --marks leave out.")] = 0.0,
    preset: Annotated[str | None, option(MODEL, "Sizes of the networks; small-16x.")] = None,
    mode: Annotated[str, option(MODEL, "match, scratch or recon.")] = "match",
    paper_objective: Annotated[
        bool, option(MODEL, "Eq. 7 alone: no reconstruction, no warm-up, lambda_1 fixed.", "--paper-objective")
    ] = False,
    code_weight: Annotated[
        float | None, option(MODEL, "lambda_1 per bit/m2: fixed with --paper-objective, else to begin with.")
    ] = None,
    name: Annotated[str, option(MODEL, "Of the model; PRESET-RATE if left out.")] = "",
    steps: Annotated[int, option(RUN, "Steps with the codec.")] = 3000,
    matcher_steps: Annotated[int, option(RUN, "Steps of the matcher before.")] = 600,
    batch: Annotated[int, option(RUN, "Pairs a step.")] = 8,
    seed: Seed = 0,
    device: Annotated[str, option(RUN, "auto, cpu or cuda.")] = "auto",
    resume: Resume = True,
) -> None:
    """Train a matcher and codec, and write OUTPUT/model.safetensors, ready for foldmap fold --model.

    OUTPUT also gets the log, the validation curve (curve.csv, curve.png) and the settings. Without --map or --sweeps,
    pairs of the generated town are drawn; with --sweeps and --pairs, half are of the drive: so a model is adapted.
    """
    from foldmap.api.training import lidar_pairs
    from foldmap.api.training.lidar import LidarRun, train_lidar
    from foldmap.api.training.marks import MarksRun

    if sum((town, map_tif is not None, sweeps is not None)) > 1 or (map_tif is not None and pairs is not None):
        raise ConfigError("several sources of pairs were named", "give one of --town, --map and --sweeps")
    require_both(sweeps, poses)
    _check_relief(relief, relief_band, map_tif, sweeps)
    kind: dict[str, Any] = {"resolution_m": _one_size(coarse, resolution), "coarse": coarse, "relief": relief}
    if smoke:
        steps, matcher_steps, batch, pair_count = 12, 12, 2, min(pair_count, 20)
        if preset is None:
            say("--smoke trains the preset tiny-8x where none is named")
    sizes = preset or ("tiny-8x" if smoke else "small-16x")
    run = LidarRun(
        sizes, mode, rate, steps, matcher_steps, batch, seed, start, device, name, smoke, paper_objective, code_weight
    )

    def of_town(folder: Path) -> LidarPairs:
        return lidar_pairs.pairs_of_town(folder, pair_count, seed, smoke=smoke, **kind)

    if map_tif is not None:
        source = lidar_pairs.pairs_of_raster(
            map_tif, map_query, query_offset, pair_count, seed, smoke=smoke, relief_band=relief_band
        )
    elif sweeps is not None and poses is not None:
        source = lidar_pairs.pairs_of_drive(
            sweeps, poses, resolution or 0.05, guard, intensity_scale, smoke=smoke, time_limit_s=time_limit
        )
        if pairs is not None:
            source = lidar_pairs.mixed_pairs(source, of_town(pairs))
    else:
        source = of_town(pairs or output / "pairs")
    if marks is not None:
        put(_fitted(source, output, MarksRun(marks, bit_price, seed, name, told, lines), resume), as_json)
        return
    open_run(output, "train lidar", {**asdict(run), "source": source.name, "pairs": len(source.training)}, resume)
    with bars() as begin:
        summary = train_lidar(source, output, run, begin, say)
    put(summary, as_json)


def _one_size(coarse: bool, resolution_m: float | None) -> float | None:
    if coarse and resolution_m is not None:
        raise ConfigError("--coarse and --resolution are two pixel sizes", "give one of them")
    return resolution_m


def _check_relief(relief: bool, relief_band: int | None, map_tif: Path | None, sweeps: str | None) -> None:
    if relief and (map_tif is not None or sweeps is not None):
        raise ConfigError("--relief is of the generated town", "leave it, or --map and --sweeps, out")
    if relief_band is not None and map_tif is None:
        raise ConfigError("--relief-band is of a map", "give --map, or --relief for the generated town")


def _fitted(source: LidarPairs, output: Path, run: MarksRun, resume: bool) -> dict[str, Any]:
    """Fit marks, and sum up."""
    from foldmap.api.training.marks import train_marks

    open_run(output, "train lidar", {**asdict(run), "source": source.name}, resume)
    with bars() as begin:
        return train_marks(source, output, run, begin)
