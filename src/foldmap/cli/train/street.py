"""``foldmap train street``: a model of one's own, from images whose street map is known."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from foldmap.cli.common import bars, put
from foldmap.cli.train.options import DATA, MODEL, RUN, Json, Output, Resume, Seed, Smoke, Start, open_run
from foldmap.cli.verbs import option

EXAMPLES = (
    "\b\nExamples:\n  foldmap train street tiles/ -o out/street --hold-out tile_3 --hold-out tile_9\n"
    "  foldmap train street ortho.tif --map city.osm -o out/street --preset tiny\n"
    "  foldmap train street tiles/ -o out/ring --ring ring.json --start out/street/model.safetensors\n"
    "  foldmap train street pairs/ -o out/own\n  foldmap train street --town -o out/town\n"
    "  foldmap train street tiles/ -o out/update --update --start out/street/model.safetensors\n"
    "  foldmap train street tiles/ -o out/paper --model paper --preset small"
)


def street(
    output: Output,
    data: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[DATA]...",
            help="Labelled ortho tiles (folder or .npz), a GeoTIFF with --map, or a folder of pairs.",
        ),
    ] = None,
    street_map: Annotated[Path | None, typer.Option("--map", help="Street map of the GeoTIFF.")] = None,
    preset: Annotated[str, typer.Option(help="tiny, small (under an hour on two cores) or paper.")] = "small",
    update: Annotated[bool, typer.Option("--update", help="A model that compares images with a map.")] = False,
    start: Start = None,
    smoke: Smoke = False,
    as_json: Json = False,
    town: Annotated[bool, option(DATA, "Train on generated towns instead.", "--town")] = False,
    ring: Annotated[
        Path | None,
        option(DATA, "See the tiles as these cameras would (semi-synthetic): ring.json, or Argoverse 2's folder."),
    ] = None,
    camera: Annotated[list[str] | None, option(DATA, "Use this camera alone; repeat for more.")] = None,
    hold_out: Annotated[list[str] | None, option(DATA, "Name of a map not to learn from; repeat for more.")] = None,
    model: Annotated[str, option(MODEL, "field (accurate) or paper (the paper's networks).")] = "field",
    steps: Annotated[int | None, option(RUN, "The preset's if left out.")] = None,
    batch: Annotated[int | None, option(RUN, "Windows a step; the preset's if left out.")] = None,
    seed: Seed = 0,
    random_start: Annotated[bool, option(RUN, "Do not begin with ImageNet weights.", "--random-start")] = False,
    resume: Resume = True,
) -> None:
    """Train a street model, and write OUTPUT/model.safetensors, ready for foldmap fold --model.

    OUTPUT also gets the log (log.jsonl, a line a step), the curve and the settings. Frames of a ring are drawn from
    ortho tiles on flat ground: call what they train and measure semi-synthetic.
    """
    from foldmap.api.observing_streets import open_ring
    from foldmap.api.training.street import train_street
    from foldmap.api.training.street_data import StreetRun, open_street_data

    if smoke:
        preset, steps, batch, random_start = "tiny", 4, 2, True
    cameras, held_out = tuple(camera or ()), tuple(hold_out or ())
    run = StreetRun(
        town, street_map, preset, model, ring, cameras, update, start, held_out, steps, batch, seed, random_start
    )
    opened = open_street_data(data or [], run, open_ring(ring) if ring is not None else None)
    open_run(output, "train street", {"data": data, **asdict(run), "places": opened.places}, resume)
    with bars() as begin:
        summary = train_street(opened, output, run, begin)
    put(summary, as_json)
