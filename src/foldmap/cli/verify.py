"""``foldmap verify``: is a .fold file sound, and does all of it decode."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foldmap.cli.common import require_file
from foldmap.errors import FoldmapError, ModelError

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
    checks = {"lidar": _faults_of_lidar, "visual": _faults_of_scene, "street": _faults_of_streets}
    with atlas.FoldFile.open(path) as file:
        for layer in file.layers():
            try:
                found = checks[layer.kind](file, layer.name)
            except FoldmapError as error:
                found = [str(error)]
            faults += [f"layer {layer.name}: {fault}" for fault in found]
    return faults


def _undecodable(what: str, decode: Callable[[], object]) -> list[str]:
    """What decoding something complains of."""
    try:
        decode()
    except FoldmapError as error:
        return [f"{what} does not decode: {error}"]
    return []


def _faults_of_lidar(file: FoldFile, layer: str) -> list[str]:
    from foldmap.lidar.codec import BLOCK_PX
    from foldmap.lidar.unfold import FoldedLidar

    folded = FoldedLidar(file, layer)
    preset, faults = folded.bundle.model.preset, []
    side = folded.tile_blocks * BLOCK_PX // folded.scale
    columns, rows = (-(-extent // (folded.tile_blocks * BLOCK_PX)) for extent in reversed(folded.grid.shape))
    for column, row in file.tiles(layer):
        tile = f"tile ({column}, {row})"
        if not (0 <= column < columns and 0 <= row < rows):
            faults.append(f"{tile} lies off the map")
            continue
        try:
            codes = folded.bundle.coder.decode(file.tile(layer, column, row) or b"", (preset.groups, side, side))
        except FoldmapError as error:
            faults.append(f"{tile} does not decode: {error}")
        else:
            if int(codes.max(initial=0)) > preset.group_channels:
                faults.append(f"{tile} holds codes beyond the model's channels")
    return faults


def _faults_of_scene(file: FoldFile, layer: str) -> list[str]:
    import numpy as np

    from foldmap.visual.fold import GLOBALS_KEY, IMAGES_KEY, TILES_KEY
    from foldmap.visual.unfold import FoldedVisual

    folded = FoldedVisual(file, layer, tiles_kept=1)
    faults, points = [], 0
    for number in range(folded.tiles):
        try:
            points += len(folded.tile(number))
        except FoldmapError as error:
            faults.append(f"tile ({number}, 0) does not decode: {error}")
    if not faults and points != folded.points:
        faults.append(f"{points} points are there, {folded.points} are said to be")
    known = {(number, 0) for number in range(folded.tiles)}
    if folded.groups:
        known |= {IMAGES_KEY, TILES_KEY, GLOBALS_KEY}
        faults += _undecodable("images", folded.images) + _undecodable("retrieval", folded.retriever)
        faults += _undecodable("visibility", lambda: folded.seen_by(np.zeros(1, np.int64)))
    strange = sorted(set(file.tiles(layer)) - known)
    return [*faults, *(f"tile {key} belongs to nothing" for key in strange)]


def _faults_of_streets(file: FoldFile, layer: str) -> list[str]:
    from foldmap.street.unfold import StreetLayer

    streets = StreetLayer(file, layer)
    faults = []
    for name in (region.name for region in streets.regions):
        try:
            streets.graph(name)
            streets.places(name)
            if streets.codec is not None:
                streets.embeddings(name)
        except FoldmapError as error:
            faults.append(f"region {name!r} does not decode: {error}")
    if streets.model_name is not None:
        try:
            model = streets.model()
            made = (model.name, model.dim, model.window)
            if streets.codec is not None and made != (streets.model_name, streets.dimension, streets.window):
                raise ModelError("it did not make the layer's embeddings", "fold the map again")
        except FoldmapError as error:
            faults.append(f"the model cannot be used: {error}")
    strange = [key for key in file.tiles(layer) if not 0 <= key[1] >> 16 < len(streets.regions)]
    return [*faults, *(f"tile {key} belongs to no region" for key in sorted(strange))]
