"""``foldmap demo``: a generated town is mapped on one day, folded, driven through and photographed on another."""

from pathlib import Path
from typing import Annotated

import typer

from foldmap.cli.common import put

EXAMPLES = "\b\nExamples:\n  foldmap demo -o out/demo\n  foldmap demo -o out/other --seed 7"


def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the map, the file and the report.")],
    seed: Annotated[int, typer.Option(help="Another seed is another town.")] = 0,
    model: Annotated[
        Path | None, typer.Option(help="A model of foldmap train; what foldmap fold chooses where left out.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Map a generated town by lidar, photos and lanes, fold all into one file, localize in it, write a report."""
    from foldmap.api.folding.rasters import codes_for
    from foldmap.cli.demo.run import run_demo
    from foldmap.cli.demo.settings import DemoSettings
    from foldmap.lidar.defaults import read_model

    models = [read_model(model)] if model is not None else codes_for(0.05)
    put(run_demo(output, models, DemoSettings(seed=seed)), as_json)
