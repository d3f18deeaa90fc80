"""``foldmap fold``: a raster map or a scene into a .fold file, and the tiles of one that changed."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foldmap.cli.common import bar, bars, parse_size, put, read_bundle, require_file, require_folder, save_settings, say
from foldmap.errors import BudgetError, ConfigError, MapInputError, ModelError

if TYPE_CHECKING:
    from foldmap.lidar.bundle import Bundle
    from foldmap.lidar.fold import FoldReport
    from foldmap.lidar.source import RasterSource

EXAMPLES = (
    "\b\nExamples:\n  foldmap fold map.tif -o map.fold\n  foldmap fold map.tif -o map.fold --budget 1MB\n"
    "  foldmap fold map.tif -o map.fold --model out/train/model.safetensors --json\n"
    "  foldmap fold --update map.fold new.tif\n"
    "  foldmap fold scene/ -o scene.fold --budget 100kB --report out/report\n"
    "  foldmap fold colmap/sparse/0 -o scene.fold --features feats-superpoint-n4096-r1024.h5\n"
    "  foldmap fold scene/ --into map.fold"
)
Report = Callable[[int, int], None]


def fold(
    source: Annotated[Path, typer.Argument(metavar="MAP.tif|SCENE", help="GeoTIFF of ground intensity, or a scene.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="The .fold file.")] = None,
    budget: Annotated[str | None, typer.Option(help="Largest size of the file, like 1MB.")] = None,
    model: Annotated[Path | None, typer.Option(help="Map: a model of foldmap train; else a shipped one.")] = None,
    rate: Annotated[float | None, typer.Option(help="Map: most bits per m2 of observed ground.")] = None,
    band: Annotated[int | None, typer.Option(help="Map: band that holds intensity, from 1.")] = None,
    tile_blocks: Annotated[int | None, typer.Option(help="Map: blocks of 512 px a tile side, 1 to 16; 2.")] = None,
    update: Annotated[
        Path | None, typer.Option(metavar="MAP.fold", help="Map: fold the tiles of this file again that changed.")
    ] = None,
    into: Annotated[
        Path | None, typer.Option(metavar="MAP.fold", help="Scene: add to this file, or replace what it has of one.")
    ] = None,
    features: Annotated[
        Path | None, typer.Option(help="Scene: hloc .h5 or COLMAP .db; else what lies beside the model.")
    ] = None,
    photos: Annotated[Path | None, typer.Option(help="Scene: folder of its photos, to extract SIFT again.")] = None,
    globals_: Annotated[
        Path | None, typer.Option("--globals", help="Scene: hloc .h5 of one descriptor a photo, for retrieval.")
    ] = None,
    points: Annotated[int | None, typer.Option(help="Scene: at most so many points.")] = None,
    select: Annotated[str | None, typer.Option(help="Scene: spread, cover, gamma, longest or random.")] = None,
    alpha: Annotated[float | None, typer.Option(help="Scene: of --select gamma, 0 to 1.")] = None,
    codec: Annotated[
        str | None, typer.Option(help="Scene: transform, pq, opq, additive, dpqed, dpqed+ or raw.")
    ] = None,
    step: Annotated[float | None, typer.Option(help="Scene: of transform codes; larger is smaller.")] = None,
    parts: Annotated[int | None, typer.Option(help="Scene: bytes a descriptor of pq and dpqed.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Scene: of training dpqed.")] = None,
    decoder: Annotated[Path | None, typer.Option(help="Scene: a trained dpqed layer, to be adapted.")] = None,
    error_px: Annotated[
        float | None, typer.Option(help="Scene: error of positions as reprojected; a third of the noise.")
    ] = None,
    images: Annotated[
        bool | None, typer.Option("--keep-images/--no-images", help="Scene: poses of photos, who sees what.")
    ] = None,
    metric: Annotated[bool | None, typer.Option("--metric/--not-metric", help="Scene: whether in metres.")] = None,
    seed: Annotated[int | None, typer.Option(help="Scene: of every random choice.")] = None,
    report: Annotated[Path | None, typer.Option(help="Scene: folder for the curve of accuracy against bytes.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Fold a map into one small file that holds all a localizer needs.

    A file is a raster of ground intensity. A folder is a scene: of foldmap build visual, COLMAP or kapture.
    """
    of_map = {"--model": model, "--rate": rate, "--band": band, "--tile-blocks": tile_blocks, "--update": update}
    of_scene: dict[str, Any] = {
        "features": features,
        "photos": photos,
        "globals": globals_,
        "points": points,
        "select": select,
        "alpha": alpha,
        "codec": codec,
        "step": step,
        "parts": parts,
        "epochs": epochs,
        "decoder": decoder,
        "error_px": error_px,
        "images": images,
        "metric": metric,
        "seed": seed,
    }
    if sum(target is not None for target in (output, update, into)) != 1:
        raise ConfigError("say where the map goes", "give one of -o MAP.fold, --update MAP.fold and --into MAP.fold")
    size = parse_size(budget) if budget is not None else None
    said = {key: value for key, value in of_scene.items() if value is not None}
    if source.is_dir():
        _refuse([name for name, value in of_map.items() if value is not None], f"{source} is a scene", "a raster")
        put(_fold_scene(source, output, into, said, size, report), as_json)
        return
    others = [_option(name) for name in said] + [
        name for name, value in (("--into", into), ("--report", report)) if value is not None
    ]
    _refuse(others, f"{source} is no folder", "a scene, which is a folder")
    with bar("Folding") as drawn:
        if update is not None:
            if rate is not None or budget is not None:
                raise ConfigError("an update keeps the file's model", "leave --rate and --budget out")
            summary = update_map(update, source, model, band=band or 1, report=drawn)
        else:
            assert output is not None
            blocks = 2 if tile_blocks is None else tile_blocks
            summary = fold_map(
                source, output, model, rate=rate, budget_bytes=size, band=band or 1, tile_blocks=blocks, report=drawn
            )
    put(summary, as_json)


def _option(name: str) -> str:
    return {"images": "--keep-images"}.get(name, "--" + name.replace("_", "-"))


def _refuse(options: list[str], what: str, belongs: str) -> None:
    if options:
        raise ConfigError(f"{what}, and {options[0]} is for {belongs}", f"leave {options[0]} out, or check the path")


def _fold_scene(
    scene: Path, output: Path | None, into: Path | None, said: dict[str, Any], size: int | None, report: Path | None
) -> dict[str, Any]:
    from foldmap.cli.fold_visual import fold_scene_folder
    from foldmap.cli.scene_options import SceneOptions

    target = output or into
    assert target is not None
    with bars() as drawn:
        return fold_scene_folder(
            scene,
            target,
            SceneOptions(**said),
            budget_bytes=size,
            into=into is not None,
            report_folder=report,
            report=drawn,
        )


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
