"""``foldmap fold``: a raster map into a .fold file, and the tiles of one that changed."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foldmap.cli.common import bar, parse_size, put, read_bundle, require_file, require_folder, save_settings, say
from foldmap.errors import BudgetError, ConfigError, MapInputError, ModelError

if TYPE_CHECKING:
    from foldmap.lidar.bundle import Bundle
    from foldmap.lidar.fold import FoldReport
    from foldmap.lidar.source import RasterSource

EXAMPLES = (
    "\b\nExamples:\n  foldmap fold map.tif -o map.fold\n  foldmap fold map.tif -o map.fold --budget 1MB\n"
    "  foldmap fold map.tif -o map.fold --model out/train/model.safetensors --json\n"
    "  foldmap fold --update map.fold new.tif"
)
Report = Callable[[int, int], None]


def fold(
    map_tif: Annotated[Path, typer.Argument(metavar="MAP.tif", help="GeoTIFF of ground intensity.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="The .fold file.")] = None,
    model: Annotated[Path | None, typer.Option(help="A model of foldmap train; a shipped one where left out.")] = None,
    rate: Annotated[float | None, typer.Option(help="Spend at most so many bit per m2 of observed ground.")] = None,
    budget: Annotated[str | None, typer.Option(help="Largest size of the file, like 1MB.")] = None,
    band: Annotated[int, typer.Option(help="Band that holds intensity, from 1.")] = 1,
    tile_blocks: Annotated[int, typer.Option(help="Blocks of 512 pixels a tile side, 1 to 16.")] = 2,
    update: Annotated[
        Path | None, typer.Option(metavar="MAP.fold", help="Fold the tiles of this file again that MAP.tif changes.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Fold a ground-intensity map into one small file that holds all a localizer needs."""
    if (output is None) == (update is None):
        raise ConfigError("say where the map goes", "give -o MAP.fold, or --update MAP.fold")
    with bar("Folding") as report:
        if update is not None:
            if rate is not None or budget is not None:
                raise ConfigError("an update keeps the file's model", "leave --rate and --budget out")
            summary = update_map(update, map_tif, model, band=band, report=report)
        else:
            assert output is not None
            size = parse_size(budget) if budget is not None else None
            summary = fold_map(
                map_tif, output, model, rate=rate, budget_bytes=size, band=band, tile_blocks=tile_blocks, report=report
            )
    put(summary, as_json)


def fold_map(
    map_tif: Path,
    output: Path,
    model: Path | None = None,
    *,
    rate: float | None = None,
    budget_bytes: int | None = None,
    band: int = 1,
    tile_blocks: int = 2,
    report: Report = lambda done, total: None,
) -> dict[str, Any]:
    """Fold a GeoTIFF.

    Args:
        map_tif: the map.
        output: the .fold file; its settings are written beside it.
        model: a model file; a shipped one where None.
        rate: most bits per m2 of observed ground.
        budget_bytes: most bytes of the file on disk.
        band: that holds intensity.
        tile_blocks: blocks a tile side.
        report: called with blocks done and in all.

    Returns:
        The summary that the command prints.

    Raises:
        BudgetError: no operating point is small enough; the output is left as it was.
        FoldmapError: what was brought cannot be used.
    """
    from foldmap.formats.geotiff import open_raster

    require_folder(output)
    if rate is not None and not rate > 0:
        raise ConfigError(f"a rate of {rate} bit/m2", "give a positive rate")
    started_s = time.perf_counter()
    with open_raster(map_tif, band) as source:
        bundles = _candidates(model, source.grid.resolution_m, rate, budget_bytes)
        settings = {
            "map": str(map_tif),
            "band": band,
            "model": str(model) if model else None,
            "rate_bit_m2": rate,
            "budget_bytes": budget_bytes,
            "tile_blocks": tile_blocks,
        }
        bundle, done = fold_to_fit(source, output, bundles, rate, budget_bytes, tile_blocks, settings, report)
    save_settings(output, "fold", {**settings, "chosen_model": bundle.name})
    return {
        "file": str(output),
        "model": bundle.name,
        "file_bytes": done.file_bytes,
        "payload_bytes": done.payload_bytes,
        "tiles": done.tiles,
        "observed_m2": done.observed_m2,
        "bit_per_m2": done.bit_per_m2,
        "bpp_of_raster": done.bpp,
        "seconds": round(time.perf_counter() - started_s, 2),
    }


def _candidates(model: Path | None, resolution_m: float, rate: float | None, budget: int | None) -> list[Bundle]:
    from foldmap.lidar.defaults import bundles_for, default_bundle, within_rate

    if model is not None:
        return [read_bundle(model)]
    if rate is not None:
        return within_rate(bundles_for(resolution_m), rate)
    return bundles_for(resolution_m) if budget is not None else [default_bundle(resolution_m)]


def fold_to_fit(
    source: RasterSource,
    output: Path,
    bundles: list[Bundle],
    rate: float | None,
    budget_bytes: int | None,
    tile_blocks: int,
    provenance: dict[str, Any],
    report: Report = lambda done, total: None,
) -> tuple[Bundle, FoldReport]:
    """Fold with the first bundle, richest to leanest, whose result fits; the output appears only then.

    Raises:
        BudgetError: none fits.
    """
    from foldmap import __version__
    from foldmap.lidar.fold import fold_lidar

    smallest: FoldReport | None = None
    with tempfile.TemporaryDirectory(prefix=".foldmap-", dir=output.parent) as scratch:
        attempt = Path(scratch) / "attempt.fold"
        for bundle in bundles:
            made = {"foldmap": __version__, **provenance, "model": bundle.name, "trained": bundle.provenance}
            done = fold_lidar(attempt, source, bundle, tile_blocks=tile_blocks, provenance=made, report=report)
            fits = budget_bytes is None or done.file_bytes <= budget_bytes
            if fits and (rate is None or done.bit_per_m2 <= rate):
                os.replace(attempt, output)
                return bundle, done
            say(f"{bundle.name}: {done.file_bytes:,} bytes, {done.bit_per_m2:.2f} bit/m2: too large")
            if smallest is None or done.file_bytes < smallest.file_bytes:
                smallest = done
    assert smallest is not None
    raise BudgetError(
        f"the smallest size reached is {smallest.file_bytes:,} bytes ({smallest.bit_per_m2:.2f} bit/m2)",
        "allow more, fold a part of the map, or train a leaner model",
    )


def update_map(
    fold_path: Path,
    map_tif: Path,
    model: Path | None = None,
    *,
    band: int = 1,
    report: Report = lambda done, total: None,
) -> dict[str, Any]:
    """Fold the tiles again that a new raster on the same grid changes, in one transaction.

    Args:
        fold_path: the file.
        map_tif: the new raster.
        model: the model file it was folded with; the shipped one of that name where None.
        band: that holds intensity.
        report: called with blocks done and in all.

    Raises:
        FoldmapError: another grid, another model, or a file that cannot be written.
    """
    from foldmap.atlas import FoldFile, FoldUpdater
    from foldmap.formats.geotiff import open_raster
    from foldmap.lidar.defaults import bundle_named
    from foldmap.lidar.fold import LAYER, MODEL, encode_tiles
    from foldmap.lidar.unfold import FoldedLidar

    require_file(fold_path)
    with FoldFile.open(fold_path) as file, open_raster(map_tif, band) as source:
        folded = FoldedLidar(file)
        parameters = folded.parameters
        bundle = read_bundle(model) if model is not None else bundle_named(folded.bundle.name)
        if bundle.to_bytes(localize_only=True) != file.model(LAYER, MODEL):
            raise ModelError(
                f"the model {bundle.name} is not the one that {fold_path} was folded with",
                "give that model with --model, or fold the whole map anew",
            )
        mine, theirs = asdict(source.grid), asdict(folded.grid)
        if any(mine[name] != theirs[name] for name in mine if name != "crs_wkt"):
            raise MapInputError(f"{map_tif} lies on another grid than the folded map", "resample it to the map's grid")
        gone = {(int(column), int(row)) for column, row in file.tiles(LAYER)}
        changed, observed_px = 0, 0
        with FoldUpdater(fold_path) as updater:
            for tile in encode_tiles(bundle, source, parameters["spread"], folded.tile_blocks, report):
                key = (tile.column, tile.row)
                gone.discard(key)
                observed_px += tile.observed_px
                payload = bundle.coder.encode(tile.codes)
                if payload != file.tile(LAYER, *key):
                    updater.put_tile(LAYER, *key, payload)
                    changed += 1
            if observed_px == 0:
                raise MapInputError(f"{map_tif} has no observed ground", "check its nodata value and the band")
            for key in sorted(gone):
                updater.remove_tile(LAYER, *key)
            if changed or gone:
                updater.set_parameters(LAYER, {**parameters, "observed_px": observed_px})
                updater.put_metadata("updated", {"map": str(map_tif), "tiles": changed, "removed": len(gone)})
    return {
        "file": str(fold_path),
        "tiles_changed": changed,
        "tiles_removed": len(gone),
        "file_bytes": fold_path.stat().st_size,
    }
