"""``foldmap train visual``: a descriptor code of one's own, from scenes."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from foldmap.cli.common import bars, put
from foldmap.cli.train.options import DATA, MODEL, RUN, Json, Output, Resume, Seed, Smoke, Start, open_run
from foldmap.cli.verbs import option

EXAMPLES = (
    "\b\nExamples:\n  foldmap train visual scene/ -o out/visual\n"
    "  foldmap train visual hall/ yard/ -o out/visual --parts 8 --epochs 10\n"
    "  foldmap fold other/ -o other.fold --model out/visual/model.safetensors\n"
    "  foldmap train visual scene/ -o out/paper --codec dpqed\n"
    "  foldmap fold other/ -o other.fold --codec dpqed --decoder out/paper/model.safetensors"
)


def visual(
    scenes: Annotated[list[Path], typer.Argument(help="Scenes: of foldmap build visual, COLMAP models, kaptures.")],
    output: Output,
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
    precision: Annotated[str, option(MODEL, "Of the model: half, int8 or int4.")] = "int8",
    epochs: Annotated[int | None, option(RUN, "Of training; the codec's if left out.")] = None,
    seed: Seed = 0,
    resume: Resume = True,
) -> None:
    """Train a code for local descriptors, and write OUTPUT/model.safetensors, ready for foldmap fold --model.

    A model serves every scene with the same features. Folding with --model takes it as it is; with --codec dpqed
    --decoder its decoder is adapted to the scene. OUTPUT also gets the log, the curve and the settings.
    """
    from foldmap.api.training.visual import VisualRun, scene_descriptors, train_visual

    run = VisualRun(codec, parts, epochs, precision, seed, start, smoke)
    with bars() as begin:
        data = scene_descriptors(scenes, features or [], photos or [], begin)
        said = {"scenes": scenes, "features": features, "photos": photos}
        open_run(output, "train visual", {**said, **asdict(run), "points": len(data.mean_PD)}, resume)
        summary = train_visual(data, output, run, begin)
    put(summary, as_json)
