"""``foldmap view``: a map and a run, to be turned, zoomed and gone through in time."""

from pathlib import Path
from typing import Annotated

import typer

from foldmap.cli.common import put, require_folder

EXAMPLES = (
    "\b\nExamples:\n  foldmap view town.fold -o town.rrd\n"
    "  foldmap view town.fold --run run/ --drive drive/ -o run.rrd && rerun run.rrd"
)


def view(
    fold_file: Annotated[Path, typer.Argument(metavar="MAP.fold", help="The map.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="VIEW.rrd", help="The recording.")],
    run: Annotated[
        Path | None, typer.Option("--run", metavar="RUN", help="What foldmap localize wrote, or the folder of it.")
    ] = None,
    truth: Annotated[Path | None, typer.Option(help="True poses, as evaluate takes them.")] = None,
    drive: Annotated[
        Path | None, typer.Option(metavar="DRIVE", help="The drive: its sweeps and photos are shown as they came.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Write a recording for the rerun viewer: the map's layers, what was seen, and what was answered over time.

    It needs the extra view: pip install 'foldmap[view]'.
    """
    from foldmap.api.judging.viewing import view_map

    require_folder(output)
    put(view_map(fold_file, output, run=run, truth=truth, drive=drive), as_json)
