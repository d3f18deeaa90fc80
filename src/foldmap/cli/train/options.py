"""What all training verbs share: options of one meaning, and the folder of a run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from foldmap.cli.common import make_folder, save_settings
from foldmap.cli.verbs import option

MODEL, RUN, DATA = "Model", "Run", "What is learned from"
"""Panels of options."""

Output = Annotated[Path, typer.Option("-o", "--output", help="Folder of the run: model.safetensors and its curve.")]
Start = Annotated[Path | None, typer.Option(help="Begin with this model.")]
Smoke = Annotated[bool, typer.Option("--smoke", help="A tiny run that shows that all parts fit together.")]
Seed = Annotated[int, option(RUN, "Of everything random.")]
Resume = Annotated[bool, option(RUN, "Go on with the run in OUTPUT, or discard it.", "--resume/--anew")]
Json = Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")]


def open_run(folder: Path, command: str, settings: Mapping[str, Any], resume: bool) -> None:
    """Make the folder of a run, write its settings into it, and discard an earlier run where that is asked for."""
    from foldmap.training.loop import discard

    make_folder(folder)
    if not resume:
        discard(folder)
    save_settings(folder / "train", command, settings)
