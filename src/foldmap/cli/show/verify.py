"""``foldmap verify``: is a .fold file sound, and does all of it decode."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foldmap.cli.common import require_file
from foldmap.errors import FoldmapError

if TYPE_CHECKING:
    from foldmap.atlas import FoldFile
    from foldmap.visual.unfold import FoldedVisual

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
    from foldmap.cli.show.street import faults_of_street

    require_file(path)
    faults = atlas.verify(path)
    if faults:
        return faults
    with atlas.FoldFile.open(path) as file:
        checks = {"lidar": _undecodable, "visual": _unreadable, "street": faults_of_street}
        found = [checks[layer.kind](file, layer.name) for layer in file.layers() if layer.kind in checks]
        return [fault for faults in found for fault in faults]


def _unreadable(file: FoldFile, layer: str) -> list[str]:
    """What of a visual layer does not decode: tiles of points, images, what retrieval needs."""
    from foldmap.visual.fold import GLOBALS_KEY, IMAGES_KEY, TILES_KEY
    from foldmap.visual.unfold import FoldedVisual

    try:
        folded = FoldedVisual(file, layer, tiles_kept=1)
    except FoldmapError as error:
        return [f"layer {layer}: {error}"]
    faults, points = [], 0
    for number in range(folded.tiles):
        try:
            points += len(folded.tile(number))
        except FoldmapError as error:
            faults.append(f"layer {layer}: tile ({number}, 0) does not decode: {error}")
    if not faults and points != folded.points:
        faults.append(f"layer {layer}: {points} points are there, {folded.points} are said to be")
    known = {(number, 0) for number in range(folded.tiles)}
    if folded.groups:
        known |= {IMAGES_KEY, TILES_KEY, GLOBALS_KEY}
        faults += _unreadable_images(folded, layer)
    strange = sorted(set(file.tiles(layer)) - known)
    return [*faults, *(f"layer {layer}: tile {key} belongs to nothing" for key in strange)]


def _unreadable_images(folded: FoldedVisual, layer: str) -> list[str]:
    import numpy as np

    faults = []
    checks: dict[str, Callable[[], object]] = {
        "images": folded.images,
        "retrieval": folded.retriever,
        "visibility": lambda: folded.seen_by(np.zeros(1, np.int64)),
    }
    for what, check in checks.items():
        try:
            check()
        except FoldmapError as error:
            faults.append(f"layer {layer}: {what} does not decode: {error}")
    return faults


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
