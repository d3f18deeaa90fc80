"""``foldmap merge``: files into one."""

from pathlib import Path
from typing import Annotated

import typer

from foldmap.cli.common import put, require_file, tell

EXAMPLES = (
    "\b\nExamples:\n  foldmap merge lidar.fold streets.fold -o town.fold\n"
    "  foldmap merge north.fold south.fold -o town.fold --prefer last"
)


def merge(
    files: Annotated[list[Path], typer.Argument(metavar="MAP.fold...", help="The files.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The new file.")],
    prefer: Annotated[
        str | None, typer.Option(help="first or last: which file counts where both have a place and differ.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Put files together: layers of other kinds beside each other, those of one kind joined tile by tile.

    Lidar layers are joined that were folded with one model on one lattice of tiles, street layers with the same
    options, scenes in one frame in metres by one codec. What differs is named, with a cure.
    """
    from foldmap.api.reshaping.merging import merge as merge_files

    for path in files:
        require_file(path)
    notes: list[str] = []
    summary = merge_files(files, output, prefer=prefer, note=notes.append)
    tell(notes)
    put(summary, as_json)
