"""``foldmap verify``: is a .fold file sound, and does all of it decode."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foldmap.cli.common import require_file
from foldmap.errors import FoldmapError

if TYPE_CHECKING:
    from foldmap.atlas import FoldFile

EXAMPLES = "\b\nExamples:\n  foldmap verify map.fold\n  foldmap verify map.fold --json && echo sound"


def verify(
    fold_file: Annotated[Path, typer.Argument(metavar="MAP.fold", help="The file.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Check every row, page, checksum, model and tile of a file; exit status 1 when something is wrong."""
    faults = find_faults(fold_file)
    if as_json:
        typer.echo(json.dumps({"file": str(fold_file), "sound": not faults, "faults": faults}, indent=2))
    else:
        for fault in faults or [f"{fold_file} is sound"]:
            typer.echo(fault)
    if faults:
        raise typer.Exit(1)


def find_faults(path: Path) -> list[str]:
    """Say what is wrong with a file, one line each; empty for a sound one.

    Raises:
        MapFormatError: there is no such file.
    """
    from foldmap import atlas

    require_file(path)
    faults = atlas.verify(path)
    if faults:
        return faults
    with atlas.FoldFile.open(path) as file:
        return [fault for layer in file.layers() if layer.kind == "lidar" for fault in _undecodable(file, layer.name)]


def _undecodable(file: FoldFile, layer: str) -> list[str]:
    """Tiles of a lidar layer that its model and coder do not decode."""
    from foldmap.lidar.codec import BLOCK_PX
    from foldmap.lidar.unfold import FoldedLidar

    try:
        folded = FoldedLidar(file, layer)
    except FoldmapError as error:
        return [f"layer {layer}: {error}"]
    preset, faults = folded.bundle.model.preset, []
    side = folded.tile_blocks * BLOCK_PX // folded.scale
    columns, rows = (-(-extent // (folded.tile_blocks * BLOCK_PX)) for extent in reversed(folded.grid.shape))
    for column, row in file.tiles(layer):
        if not (0 <= column < columns and 0 <= row < rows):
            faults.append(f"layer {layer}: tile ({column}, {row}) lies off the map")
            continue
        try:
            codes = folded.bundle.coder.decode(file.tile(layer, column, row) or b"", (preset.groups, side, side))
        except FoldmapError as error:
            faults.append(f"layer {layer}: tile ({column}, {row}) does not decode: {error}")
            continue
        if int(codes.max(initial=0)) > preset.group_channels:
            faults.append(f"layer {layer}: tile ({column}, {row}) holds codes beyond the model's channels")
    return faults
