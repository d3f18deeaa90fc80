"""``foldmap train visual``: a descriptor code of one's own, from scenes."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from foldmap.cli.common import bars, put
from foldmap.cli.train.options import DATA, MODEL, RUN, Json, Output, Resume, Seed, Smoke, Start, open_run
from foldmap.cli.verbs import option
from foldmap.errors import ConfigError

EXAMPLES = (
    "\b\nExamples:\n  foldmap train visual scene/ -o out/visual\n"
    "  foldmap train visual hall/ yard/ -o out/visual --parts 8 --epochs 10\n"
    "  foldmap fold other/ -o other.fold --model out/visual/model.safetensors\n"
    "  foldmap train visual --town 12 -o out/paper --codec dpqed --learn-on image-descriptors\n"
    "  foldmap fold other/ -o other.fold --codec dpqed --decoder out/paper/model.safetensors"
)


def visual(
    output: Output,
    scenes: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[SCENES]...", help="Of foldmap build visual, COLMAP models, kaptures."),
    ] = None,
    codec: Annotated[str, typer.Option(help="dpqed+ (additive codes) or dpqed (the paper's).")] = "dpqed+",
    parts: Annotated[int | None, typer.Option(help="Bytes a descriptor; 4 if left out.")] = None,
    start: Start = None,
    smoke: Smoke = False,
    as_json: Json = False,
    features: Annotated[
        list[Path] | None, option(DATA, "hloc HDF5 or COLMAP database, one a scene; else beside the model.")
    ] = None,
    photos: Annotated[
        list[Path] | None, option(DATA, "Folder of photos to extract SIFT from instead, one a scene.")
    ] = None,
    town: Annotated[
        int | None, option(DATA, "Learn from photos of so many generated towns instead of scenes (needs foldmap[sfm]).")
    ] = None,
    learn_on: Annotated[
        str,
        option(DATA, "track-means (one a point, as maps store them) or image-descriptors (the paper's)."),
    ] = "track-means",
    precision: Annotated[str, option(MODEL, "Of the model: half, int8 or int4.")] = "int8",
    epochs: Annotated[int | None, option(RUN, "Of training; the codec's if left out.")] = None,
    seed: Seed = 0,
    resume: Resume = True,
) -> None:
    """Train a code for local descriptors, and write OUTPUT/model.safetensors, ready for foldmap fold --model.

    A model serves every scene with the same features. Folding with --model takes it as it is; with --codec dpqed
    --decoder its decoder is adapted to the scene by LoRA. OUTPUT also gets the log, the curve and the settings.
    """
    from foldmap.api.training.visual import FIRST_TOWN, VisualRun, scene_descriptors, town_descriptors, train_visual

    if (town is None) == (not scenes):
        raise ConfigError("say what is learned from", "give SCENES, or --town COUNT for generated towns")
    if town is not None and (town < 1 or features or photos):
        raise ConfigError(f"{town} towns, or features of them", "give 1 or more, without --features and --photos")
    run = VisualRun(codec, parts, epochs, learn_on, precision, seed, start, smoke)
    with bars() as begin:
        if town is not None:
            learned = town_descriptors(range(FIRST_TOWN, FIRST_TOWN + town), begin, smoke=smoke)
        else:
            learned = scene_descriptors(scenes or [], features or [], photos or [], begin)
        said = {"scenes": scenes, "features": features, "photos": photos, "town": town}
        points = len(learned.descriptors.mean_PD)
        open_run(output, "train visual", {**said, **asdict(run), "points": points}, resume)
        summary = train_visual(learned, output, run, begin)
    put(summary, as_json)
