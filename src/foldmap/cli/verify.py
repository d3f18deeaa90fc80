"""``foldmap verify``: is a .fold file sound, and does all of it decode."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
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
            with _noting(faults, f"layer {layer.name}"):
                faults += [f"layer {layer.name}: {fault}" for fault in checks[layer.kind](file, layer.name)]
    return faults


@contextmanager
def _noting(faults: list[str], what: str) -> Iterator[None]:
    """Make an error within a fault."""
    try:
        yield
    except FoldmapError as error:
        faults.append(f"{what}: {error}")


def _faults_of_lidar(file: FoldFile, layer: str) -> list[str]:
    from foldmap.lidar.folded import open_lidar

    folded = open_lidar(file, layer)
    faults: list[str] = []
    columns, rows = (-(-extent // folded.tile_px) for extent in reversed(folded.grid.shape))
    for column, row in file.tiles(layer):
        tile = f"tile ({column}, {row})"
        if not (0 <= column < columns and 0 <= row < rows):
            faults.append(f"{tile} lies off the map")
            continue
        with _noting(faults, f"{tile} does not decode"):
            folded.tile(column, row)
    return faults


def _faults_of_scene(file: FoldFile, layer: str) -> list[str]:
    import numpy as np

    from foldmap.visual.fold import GLOBALS_KEY, IMAGES_KEY, TILES_KEY, VIEWING_ROW
    from foldmap.visual.unfold import FoldedVisual

    folded = FoldedVisual(file, layer, tiles_kept=1)
    faults: list[str] = []
    points = 0
    for number in range(folded.tiles):
        with _noting(faults, f"tile ({number}, 0) does not decode"):
            points += len(folded.tile(number))
    if not faults and points != folded.points:
        faults.append(f"{points} points are there, {folded.points} are said to be")
    rows = (0, VIEWING_ROW) if folded.viewing else (0,)
    known = {(number, row) for number in range(folded.tiles) for row in rows}
    if folded.groups:
        known |= {IMAGES_KEY, TILES_KEY, GLOBALS_KEY}
        with _noting(faults, "images does not decode"):
            folded.images()
        with _noting(faults, "retrieval does not decode"):
            folded.retriever()
        with _noting(faults, "visibility does not decode"):
            folded.seen_by(np.zeros(1, np.int64))
    strange = sorted(set(file.tiles(layer)) - known)
    return [*faults, *(f"tile {key} belongs to nothing" for key in strange)]


def _faults_of_streets(file: FoldFile, layer: str) -> list[str]:
    from foldmap.street.unfold import FoldedStreet

    streets = FoldedStreet(file, layer)
    faults: list[str] = []
    for name in (region.name for region in streets.regions):
        with _noting(faults, f"region {name!r} does not decode"):
            streets.graph(name)
            streets.places(name)
            if streets.codec is not None:
                streets.embeddings(name)
    if streets.model_name is not None:
        with _noting(faults, "the model cannot be used"):
            model = streets.model()
            made = (model.name, model.dim, model.window)
            if streets.codec is not None and made != (streets.model_name, streets.dimension, streets.window):
                raise ModelError("it did not make the layer's embeddings", "fold the map again")
    strange = [key for key in file.tiles(layer) if not 0 <= key[1] >> 16 < len(streets.regions)]
    return [*faults, *(f"tile {key} belongs to no region" for key in sorted(strange))]
