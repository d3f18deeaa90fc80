"""``foldmap fold``: a raster map, a scene or street maps into a .fold file; the tiles of a raster that changed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foldmap.cli.common import bar, bars, parse_size, put, read_bundle, require_file, require_folder, save_settings, say
from foldmap.cli.fold import options
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
    "  foldmap fold scene/ --into map.fold\n"
    "  foldmap fold karlsruhe.osm -o streets.fold --error 0.05\n"
    "  foldmap fold berlin.net.xml.gz bologna.net.xml.gz -o streets.fold --embeddings int8\n"
    "  foldmap fold tiles/ -o streets.fold --model out/street/model.safetensors --spacing 5"
)
Report = Callable[[int, int], None]


def fold(
    context: typer.Context,
    sources: options.Sources,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="The .fold file.")] = None,
    as_: options.As = None,
    budget: options.Budget = None,
    model: options.Model = None,
    embed_model: options.EmbedModel = False,
    rate: options.Rate = None,
    band: options.Band = None,
    tile_blocks: options.TileBlocks = None,
    update: options.Update = None,
    into: options.Into = None,
    features: options.Features = None,
    photos: options.Photos = None,
    globals_: options.Globals = None,
    points: options.Points = None,
    select: options.Select = None,
    alpha: options.Alpha = None,
    codec: options.Codec = None,
    step: options.Step = None,
    parts: options.Parts = None,
    epochs: options.Epochs = None,
    decoder: options.Decoder = None,
    error_px: options.ErrorPx = None,
    images: options.Images = None,
    metric: options.Metric = None,
    error_m: options.ErrorM = None,
    spacing: options.Spacing = None,
    embeddings: options.Embeddings = None,
    lanes: options.Lanes = None,
    tile_m: options.TileM = None,
    name: options.Name = None,
    format_: options.Format = None,
    strict: options.Strict = None,
    seed: options.Seed = None,
    report: options.Report = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Fold a map into one small file that holds, or names, all a localizer needs.

    A GeoTIFF is a raster of ground intensity. A folder with a COLMAP model or kapture is a scene, also what foldmap
    build visual made. Lane graphs are street maps, one file or many: Argoverse 2, Lanelet2, SUMO, OpenDRIVE, GeoJSON,
    GeoParquet, CSV of polylines, labelled ortho tiles.
    """
    if sum(target is not None for target in (output, update, into)) != 1:
        raise ConfigError("say where the map goes", "give one of -o MAP.fold, --update MAP.fold and --into MAP.fold")
    said, kind = options.said_in(context), options.kind_of_sources(sources, as_)
    options.refuse_strange(said, kind, sources[0])
    given = {key: value for key, value in context.params.items() if key in said}
    size = parse_size(budget) if budget is not None else None
    target = output or into
    if kind == options.STREET:
        assert target is not None
        put(_fold_street(sources, target, into is not None, given, size), as_json)
    elif kind == options.SCENE:
        assert target is not None
        put(_fold_scene(sources[0], target, into is not None, given, size, report), as_json)
    else:
        put(_fold_raster(sources[0], output, update, given, size), as_json)


def _fold_raster(
    source: Path, output: Path | None, update: Path | None, given: dict[str, Any], size: int | None
) -> dict[str, Any]:
    model, band, rate = given.get("model"), given.get("band") or 1, given.get("rate")
    with bar("Folding") as drawn:
        if update is not None:
            if rate is not None or size is not None or "embed_model" in given:
                raise ConfigError("an update keeps the file's model", "leave --rate, --budget and --embed-model out")
            return update_map(update, source, model, band=band, report=drawn)
        assert output is not None
        blocks = given.get("tile_blocks", 2)
        embed = given.get("embed_model", False)
        return fold_map(
            source,
            output,
            model,
            rate=rate,
            budget_bytes=size,
            band=band,
            tile_blocks=blocks,
            embed_model=embed,
            report=drawn,
        )


_OF_SCENE = {
    **dict.fromkeys(["features", "photos", "points", "select", "alpha", "codec", "step", "parts", "epochs", "decoder"]),
    **dict.fromkeys(["globals", "error_px", "images", "metric", "model", "seed"]),
}


def _fold_scene(
    scene: Path, target: Path, into: bool, given: dict[str, Any], size: int | None, report: Path | None
) -> dict[str, Any]:
    from foldmap.cli.fold.scene_options import SceneOptions
    from foldmap.cli.fold.visual import fold_scene_folder

    named = {key.rstrip("_"): value for key, value in given.items()}
    said = {key: named[key] for key in _OF_SCENE if key in named}
    with bars() as drawn:
        return fold_scene_folder(
            scene,
            target,
            SceneOptions(**said),
            budget_bytes=size,
            into=into,
            report_folder=report,
            report=drawn,
        )


def _fold_street(
    sources: list[Path], target: Path, into: bool, given: dict[str, Any], size: int | None
) -> dict[str, Any]:
    from foldmap.cli.fold.street import StreetOptions, fold_street_maps

    named = {"format_": "format", "seed": "seed"} | {key: key for key in StreetOptions.__dataclass_fields__}
    said = {named[key]: value for key, value in given.items() if key in named}
    with bar("Folding") as drawn:
        return fold_street_maps(sources, target, StreetOptions(**said), budget_bytes=size, into=into, report=drawn)


def fold_map(
    map_tif: Path,
    output: Path,
    model: Path | None = None,
    *,
    rate: float | None = None,
    budget_bytes: int | None = None,
    band: int = 1,
    tile_blocks: int = 2,
    embed_model: bool = False,
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
        embed_model: put a shipped model into the file, too.
        report: called with blocks done and in all.

    Returns:
        The summary that the command prints.

    Raises:
        BudgetError: no operating point is small enough; the output is left as it was.
        FoldmapError: what was brought cannot be used.
    """
    from foldmap.formats.raster.geotiff import open_raster

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
        bundle, done = fold_to_fit(
            source, output, bundles, rate, budget_bytes, tile_blocks, settings, report, embed_model=embed_model
        )
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
    *,
    embed_model: bool = False,
) -> tuple[Bundle, FoldReport]:
    """Fold with the first bundle, richest to leanest, whose result fits; the output appears only then.

    Raises:
        BudgetError: none fits.
    """
    from foldmap import __version__
    from foldmap.atlas.whole import scratch_beside
    from foldmap.lidar.fold import fold_lidar

    smallest: FoldReport | None = None
    with scratch_beside(output, "folding") as scratch:
        attempt = scratch / "attempt.fold"
        for bundle in bundles:
            made = {"foldmap": __version__, **provenance, "model": bundle.name, "trained": bundle.provenance}
            done = fold_lidar(
                attempt,
                source,
                bundle,
                tile_blocks=tile_blocks,
                embed_model=embed_model,
                provenance=made,
                report=report,
            )
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
    from foldmap.formats.raster.geotiff import open_raster
    from foldmap.lidar.defaults import bundle_named
    from foldmap.lidar.fold import LAYER, encode_tiles
    from foldmap.lidar.unfold import FoldedLidar

    require_file(fold_path)
    with FoldFile.open(fold_path) as file, open_raster(map_tif, band) as source:
        folded = FoldedLidar(file)
        parameters = folded.parameters
        bundle = read_bundle(model) if model is not None else bundle_named(folded.bundle.name)
        if bundle.to_bytes(localize_only=True) != folded.bundle.to_bytes(localize_only=True):
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
