"""``foldmap extract``: a part of a map as a map of its own."""

from pathlib import Path
from typing import Annotated

import typer

from foldmap.cli.common import put, require_file, tell
from foldmap.errors import ConfigError

EXAMPLES = (
    "\b\nExamples:\n  foldmap extract town.fold --bbox 691000,5335000,691500,5335400 -o part.fold\n"
    "  foldmap extract town.fold --corridor drive.txt --within 30 --dry-run\n"
    "  foldmap extract town.fold --corridor drive.txt --within 30 --layer lidar -o drive.fold"
)


def extract(
    fold_file: Annotated[Path, typer.Argument(metavar="MAP.fold", help="The file.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="The new file.")] = None,
    bbox: Annotated[str | None, typer.Option(help="west,south,east,north in the map's metres.")] = None,
    corridor: Annotated[Path | None, typer.Option(help="Poses of a drive in the map's frame, KITTI or TUM.")] = None,
    within: Annotated[float | None, typer.Option(help="Of --corridor: metres on each side; 30.")] = None,
    layer: Annotated[list[str] | None, typer.Option(help="Take this layer alone; may be given again.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write nothing, tell the size.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Take the tiles of all layers in reach of a box or a drive; they stay as they were, bit for bit."""
    from foldmap.api.reshaping.area import Area
    from foldmap.api.reshaping.extracting import extract as extract_part

    require_file(fold_file)
    if (bbox is None) == (corridor is None):
        raise ConfigError("say which part", "give --bbox or --corridor")
    if within is not None and corridor is None:
        raise ConfigError("--within is of --corridor", "give --corridor, or leave it out")
    if output is None and not dry_run:
        raise ConfigError("say where the part goes", "give -o PART.fold, or --dry-run to learn its size")
    area = Area.box(bbox or "") if corridor is None else Area.corridor(corridor, 30.0 if within is None else within)
    notes: list[str] = []
    summary = extract_part(fold_file, area, None if dry_run else output, layers=layer or (), note=notes.append)
    tell(notes)
    put({name: value for name, value in summary.items() if value is not None}, as_json)
