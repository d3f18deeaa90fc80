"""``foldmap fold``: rasters, a scene and street maps into one .fold file; of a file what changed."""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foldmap.cli.common import bars, put, save_settings, say
from foldmap.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from foldmap.api.folding import LidarOptions, StreetOptions, VisualOptions

EXAMPLES = (
    "\b\nExamples:\n  foldmap fold map.tif scene/ streets.osm -o town.fold --budget 1MB\n"
    "  foldmap fold map.tif -o map.fold --model out/train/model.safetensors --json\n"
    "  foldmap fold --update town.fold new.tif\n"
    "  foldmap fold scene/ --into town.fold\n"
    "  foldmap fold scene/ -o scene.fold --budget 100kB --report out/report\n"
    "  foldmap fold colmap/sparse/0 -o scene.fold --features feats-superpoint-n4096-r1024.h5\n"
    "  foldmap fold karlsruhe.osm -o streets.fold --error 0.05\n"
    "  foldmap fold berlin.net.xml.gz bologna.net.xml.gz -o streets.fold --embeddings int8\n"
    "  foldmap fold tiles/ -o streets.fold --model out/street/model.safetensors --spacing 5"
)
_LIDAR, _PHOTOS, _STREETS, _MORE = "Lidar", "Photos", "Streets", "More"
_FIELDS = {"globals_": "globals", "format_": "format", "report": "curve"}
"""Parameters whose field of the options has another name."""


def fold(
    context: typer.Context,
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="MAP...", help="GeoTIFF of ground intensity; a scene; street maps: files and folders, in any mix."
        ),
    ],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="The .fold file.")] = None,
    budget: Annotated[str | None, typer.Option(help="Largest size of the file, like 1MB.")] = None,
    into: Annotated[
        Path | None, typer.Option(metavar="MAP.fold", help="Add to this file, or replace what it has of the kind.")
    ] = None,
    update: Annotated[
        Path | None, typer.Option(metavar="MAP.fold", help="Fold again the tiles of this file whose source changed.")
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="Raster, street: a model of foldmap train; else a shipped one.")
    ] = None,
    rate: Annotated[
        float | None, typer.Option(help="Most bits per m2 of observed ground.", rich_help_panel=_LIDAR)
    ] = None,
    band: Annotated[int | None, typer.Option(help="Band that holds intensity, from 1.", rich_help_panel=_LIDAR)] = None,
    tile_blocks: Annotated[
        int | None, typer.Option(help="Blocks of 512 px a tile side, 1 to 16; 2.", rich_help_panel=_LIDAR)
    ] = None,
    features: Annotated[
        Path | None,
        typer.Option(help="hloc .h5 or COLMAP .db; else what lies beside the model.", rich_help_panel=_PHOTOS),
    ] = None,
    photos: Annotated[
        Path | None, typer.Option(help="Folder of the photos, to extract SIFT again.", rich_help_panel=_PHOTOS)
    ] = None,
    globals_: Annotated[
        Path | None,
        typer.Option("--globals", help="hloc .h5 of one descriptor a photo, for retrieval.", rich_help_panel=_PHOTOS),
    ] = None,
    points: Annotated[int | None, typer.Option(help="At most so many points.", rich_help_panel=_PHOTOS)] = None,
    select: Annotated[
        str | None, typer.Option(help="spread, cover, gamma, longest or random.", rich_help_panel=_PHOTOS)
    ] = None,
    alpha: Annotated[float | None, typer.Option(help="Of --select gamma, 0 to 1.", rich_help_panel=_PHOTOS)] = None,
    codec: Annotated[
        str | None,
        typer.Option(help="transform, pq, opq, additive, dpqed, dpqed+ or raw.", rich_help_panel=_PHOTOS),
    ] = None,
    step: Annotated[
        float | None, typer.Option(help="Of transform codes; larger is smaller.", rich_help_panel=_PHOTOS)
    ] = None,
    parts: Annotated[int | None, typer.Option(help="Bytes a descriptor of pq, dpqed.", rich_help_panel=_PHOTOS)] = None,
    epochs: Annotated[int | None, typer.Option(help="Of training dpqed.", rich_help_panel=_PHOTOS)] = None,
    decoder: Annotated[
        Path | None, typer.Option(help="A trained dpqed layer, to be adapted.", rich_help_panel=_PHOTOS)
    ] = None,
    error_px: Annotated[
        float | None,
        typer.Option(help="Error of positions as reprojected; a third of the noise.", rich_help_panel=_PHOTOS),
    ] = None,
    images: Annotated[
        bool | None,
        typer.Option("--keep-images/--no-images", help="Poses of photos, who sees what.", rich_help_panel=_PHOTOS),
    ] = None,
    metric: Annotated[
        bool | None, typer.Option("--metric/--not-metric", help="Whether in metres.", rich_help_panel=_PHOTOS)
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Folder for the curve of accuracy against bytes.", rich_help_panel=_PHOTOS)
    ] = None,
    error_m: Annotated[
        float | None,
        typer.Option("--error", help="Error of the stored lanes, metres; 0.10.", rich_help_panel=_STREETS),
    ] = None,
    spacing: Annotated[
        float | None,
        typer.Option(help="Metres between places along a lane; 5, 0 for none.", rich_help_panel=_STREETS),
    ] = None,
    embeddings: Annotated[
        str | None,
        typer.Option(help="none (drawn when wanted), half, int8, int4, 1bit or pq.", rich_help_panel=_STREETS),
    ] = None,
    lanes: Annotated[
        str | None,
        typer.Option(help="Of lanes keep none, traits (width, speed, type) or all.", rich_help_panel=_STREETS),
    ] = None,
    tile_m: Annotated[
        float | None, typer.Option("--tile", help="Metres a tile side; 512.", rich_help_panel=_STREETS)
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Of the region, where there is one map.", rich_help_panel=_STREETS)
    ] = None,
    format_: Annotated[
        str | None,
        typer.Option("--format", help="Of the maps, where their content does not tell.", rich_help_panel=_STREETS),
    ] = None,
    strict: Annotated[
        bool | None,
        typer.Option("--strict", help="Refuse a map in which anything is damaged.", rich_help_panel=_STREETS),
    ] = None,
    as_: Annotated[
        str | None,
        typer.Option("--as", help="raster, scene or street, where the content does not tell.", rich_help_panel=_MORE),
    ] = None,
    embed_model: Annotated[
        bool,
        typer.Option(
            "--embed-model",
            help="Raster, street: put a shipped model in, not its name.",
            rich_help_panel=_MORE,
        ),
    ] = False,
    seed: Annotated[
        int | None, typer.Option(help="Scene, street: of every random choice.", rich_help_panel=_MORE)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.", rich_help_panel=_MORE)] = False,
) -> None:
    """Fold maps into one small file that holds, or names, all a localizer needs.

    A GeoTIFF is a raster of ground intensity. A folder with a COLMAP model or kapture is a scene, also what foldmap
    build visual made. Lane graphs are street maps, one file or many: Argoverse 2, Lanelet2, SUMO, OpenDRIVE, GeoJSON,
    GeoParquet, CSV of polylines, labelled ortho tiles. Several kinds at once share the budget.
    """
    from foldmap.api.folding.one_file import fold as fold_all
    from foldmap.api.folding.one_file import parse_size
    from foldmap.api.folding.sources import kinds_of_sources

    targets = [target for target in (output, into, update) if target is not None]
    if len(targets) != 1:
        raise ConfigError("say where the map goes", "give one of -o MAP.fold, --update MAP.fold and --into MAP.fold")
    size = parse_size(budget) if budget is not None else None
    found = kinds_of_sources(sources, as_)
    options = _options(context, found)
    with bars() as begin:
        adds, changes = into is not None, update is not None
        summary = fold_all(found, targets[0], budget=size, into=adds, update=changes, note=say, report=begin, **options)
    layers = {name: summary.pop(name) for name in options if name in summary}
    if update is None:
        asked = {"sources": sources, "budget_bytes": size, "into": into is not None}
        said = {name: asdict(value) for name, value in options.items() if name in layers}
        save_settings(targets[0], "fold", {**asked, **said, "chosen": layers})
    put({**summary, **(next(iter(layers.values())) if len(layers) == 1 else layers)}, as_json)


def _options(context: typer.Context, found: Mapping[str, list[Path]]) -> dict[str, Any]:
    """What the user said, by layer.

    Raises:
        ConfigError: an option is for no source of those that were given, or could be for two.
    """
    from foldmap.api.folding import LidarOptions, StreetOptions, VisualOptions
    from foldmap.api.folding.sources import KINDS, RASTER, SCENE, STREET

    taking: dict[str, type[LidarOptions | VisualOptions | StreetOptions]] = {
        RASTER: LidarOptions,
        SCENE: VisualOptions,
        STREET: StreetOptions,
    }
    names = {kind: {field.name for field in fields(options)} for kind, options in taking.items()}
    said: dict[str, dict[str, Any]] = {kind: {} for kind in taking}
    labels = {one.name: max(one.opts, key=len) for one in context.command.params}
    for name, value in context.params.items():
        field, label = _FIELDS.get(name, name), labels[name]
        kinds = [kind for kind in taking if field in names[kind]]
        if not kinds or not str(context.get_parameter_source(name)).endswith("COMMANDLINE"):
            continue
        here = [kind for kind in kinds if kind in found]
        if not here:
            kind, source = next((kind, paths[0]) for kind, paths in found.items())
            what = {SCENE: "is a scene", STREET: "is a street map"}.get(kind, "is no folder")
            belongs = " or ".join(KINDS[one] for one in kinds)
            raise ConfigError(f"{source} {what}, and {label} is for {belongs}", f"leave {label} out, or check the path")
        if field == "model" and len(here) > 1:
            raise ConfigError(f"{label} could be the raster's or the streets'", "fold one of them later, with --into")
        for kind in here:
            said[kind][field] = value
    layers = {RASTER: "lidar", SCENE: "visual", STREET: "street"}
    return {layers[kind]: options(**said[kind]) for kind, options in taking.items()}
