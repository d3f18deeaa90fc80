"""``foldmap fold``: rasters, a scene and street maps into one .fold file; of a file what changed."""

from collections.abc import Mapping
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from foldmap.cli.common import bars, put, save_settings, say
from foldmap.errors import ConfigError

EXAMPLES = (
    "\b\nExamples:\n  foldmap fold map.tif scene/ streets.osm -o town.fold --budget 1MB\n"
    "  foldmap fold map.tif -o map.fold --model out/train/model.safetensors --json\n"
    "  foldmap fold --update town.fold new.tif\n"
    "  foldmap fold scene/ --into town.fold --positions gnss.csv\n"
    "  foldmap fold scene/ -o scene.fold --budget 100kB --report out/report\n"
    "  foldmap fold colmap/sparse/0 -o scene.fold --features feats-superpoint-n4096-r1024.h5\n"
    "  foldmap fold karlsruhe.osm -o streets.fold --error 0.05\n"
    "  foldmap fold berlin.net.xml.gz bologna.net.xml.gz -o streets.fold --embeddings int8\n"
    "  foldmap fold tiles/ -o streets.fold --model out/street/model.safetensors --spacing 5"
)
_file = partial(typer.Option, metavar="MAP.fold")
_lidar, _photos, _streets, _more = (
    partial(typer.Option, rich_help_panel=panel) for panel in ("Lidar", "Photos", "Streets", "More")
)
_FIELDS = {"globals_": "globals", "format_": "format", "report": "curve"}
"""Parameters whose field of the options has another name."""


def fold(
    context: typer.Context,
    sources: Annotated[
        list[Path], typer.Argument(metavar="MAP...", help="GeoTIFFs of intensity; a scene; street maps; in any mix.")
    ],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="The .fold file.")] = None,
    budget: Annotated[str | None, typer.Option(help="Largest size of the file, like 1MB.")] = None,
    into: Annotated[Path | None, _file(help="Add to this file, or replace what it has of the kind.")] = None,
    update: Annotated[Path | None, _file(help="Fold again the tiles of this file whose source changed.")] = None,
    model: Annotated[Path | None, typer.Option(help="Of foldmap train; else one that ships.")] = None,
    rate: Annotated[float | None, _lidar(help="Most bits per m2 of observed ground.")] = None,
    band: Annotated[int | None, _lidar(help="Band that holds intensity, from 1.")] = None,
    relief_band: Annotated[int | None, _lidar(help="Band of the variance of heights, m2, to mix in.")] = None,
    tile_blocks: Annotated[int | None, _lidar(help="Blocks of 512 px a tile side, 1 to 16; 2.")] = None,
    gaps: Annotated[bool, _lidar("--gaps", help="Leave out tiles that cannot be coded, and say which.")] = False,
    outline: Annotated[bool, _lidar("--outline/--no-outline", help="Of built maps: fold what stands, too.")] = True,
    on: Annotated[str, _lidar(help="Where tiles are coded: local, dask.")] = "local",
    workers: Annotated[int | None, _lidar(help="Processes that code tiles; as many as there are cores.")] = None,
    before: Annotated[Path | None, _lidar(help="With --update: the raster that was folded; saves time.")] = None,
    features: Annotated[Path | None, _photos(help="hloc .h5 or COLMAP .db; else what lies beside the model.")] = None,
    photos: Annotated[Path | None, _photos(help="Folder of the photos, to extract SIFT again.")] = None,
    globals_: Annotated[Path | None, _photos("--globals", help="hloc .h5, one descriptor a photo.")] = None,
    points: Annotated[int | None, _photos(help="At most so many points.")] = None,
    select: Annotated[str | None, _photos(help="spread, cover, gamma, longest or random.")] = None,
    alpha: Annotated[float | None, _photos(help="Of --select gamma, 0 to 1.")] = None,
    codec: Annotated[
        str | None,
        typer.Option(help="Raster: auto, marks, learned. Scene: transform, pq, opq, additive, dpqed, dpqed+, raw."),
    ] = None,
    step: Annotated[float | None, _photos(help="Of transform codes; larger is smaller.")] = None,
    parts: Annotated[int | None, _photos(help="Bytes a descriptor of pq and dpqed.")] = None,
    epochs: Annotated[int | None, _photos(help="Of training dpqed.")] = None,
    decoder: Annotated[Path | None, _photos(help="A trained dpqed layer, to be adapted.")] = None,
    error_px: Annotated[float | None, _photos(help="Error of positions as reprojected; a third of the noise.")] = None,
    images: Annotated[bool | None, _photos("--keep-images/--no-images", help="Poses of photos, who sees what.")] = None,
    metric: Annotated[bool | None, _photos("--metric/--not-metric", help="Whether in metres.")] = None,
    positions: Annotated[
        Path | None, _photos(help="Where photos were taken in the map's frame, name x y z: brings the scene there.")
    ] = None,
    align: Annotated[
        Path | None, typer.Option(help="Points in both frames, to bring a scene (x y z, x y z) or streets (x y, x y).")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Folder for a page: codes tried, a scene's curve.")] = None,
    error_m: Annotated[float | None, _streets("--error", help="Error of the stored lanes, metres; 0.10.")] = None,
    spacing: Annotated[float | None, _streets(help="Metres between places along a lane; 5, 0 for none.")] = None,
    embeddings: Annotated[str | None, _streets(help="none (drawn when wanted), half, int8, int4, 1bit or pq.")] = None,
    lanes: Annotated[str | None, _streets(help="Of lanes keep none, traits (width, speed, type) or all.")] = None,
    tile_m: Annotated[float | None, _streets("--tile", help="Metres a tile side; 512.")] = None,
    name: Annotated[str | None, _streets(help="Of the region, where there is one map.")] = None,
    format_: Annotated[str | None, _streets("--format", help="Of the maps, where content does not tell.")] = None,
    strict: Annotated[bool | None, _streets("--strict", help="Refuse a map in which anything is damaged.")] = None,
    anchor: Annotated[str | None, _more(help="LAT,LON[,H[,HEADING]] of a local frame's origin and x axis.")] = None,
    as_: Annotated[str | None, _more("--as", help="raster, scene or street, where content does not tell.")] = None,
    embed_model: Annotated[bool, _more("--embed-model", help="Put a shipped model in, not its name alone.")] = False,
    seed: Annotated[int | None, _more(help="Scene, street: of every random choice.")] = None,
    as_json: Annotated[bool, _more("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Fold maps into one small file that holds, or names, all a localizer needs.

    A GeoTIFF is a raster of ground intensity. A folder with a COLMAP model or kapture is a scene, also what foldmap
    build visual made. Lane graphs are street maps, one file or many: Argoverse 2, Lanelet2, SUMO, OpenDRIVE, GeoJSON,
    GeoParquet, GeoPackage, Shapefile, CSV of polylines, labelled ortho tiles. Several kinds at once share the budget.
    """
    from foldmap.api.folding.one_file import fold as fold_all
    from foldmap.api.folding.one_file import parse_size
    from foldmap.api.folding.sources import kinds_of_sources
    from foldmap.geometry.geopose import Anchor
    from foldmap.runtime.crew import Crew

    targets = [target for target in (output, into, update) if target is not None]
    if len(targets) != 1:
        raise ConfigError("say where the map goes", "give one of -o MAP.fold, --update MAP.fold and --into MAP.fold")
    size, place = None if budget is None else parse_size(budget), None if anchor is None else Anchor.read(anchor)
    found = kinds_of_sources(sources, as_)
    options, crew = _options(context, found), Crew(on, workers)

    def beside(layers: Mapping[str, Any]) -> None:
        asked = {"sources": sources, "budget_bytes": size, "into": into is not None, "anchor": anchor}
        said = {name: asdict(value) for name, value in options.items() if name in layers}
        save_settings(targets[0], "fold", {**asked, **said, "chosen": layers})

    with bars() as begin:
        how: dict[str, Any] = {"budget": size, "into": into is not None, "update": update is not None}
        how |= {"anchor": place, "crew": crew, "beside": beside}
        summary = fold_all(found, targets[0], **how, note=say, report=begin, **options)
    layers = {name: summary.pop(name) for name in options if name in summary}
    put({**summary, **(next(iter(layers.values())) if len(layers) == 1 else layers)}, as_json)


def _options(context: typer.Context, found: Mapping[str, list[Path]]) -> dict[str, Any]:
    """What the user said, by layer; refuses options that are for no source that was given."""
    from foldmap.api.folding.options import LidarOptions, StreetOptions, VisualOptions
    from foldmap.api.folding.sources import KINDS, LAYERS, RASTER, SCENE, STREET

    taking: dict[str, Any] = {RASTER: LidarOptions, SCENE: VisualOptions, STREET: StreetOptions}
    names = {kind: {field.name for field in fields(options)} for kind, options in taking.items()}
    said: dict[str, dict[str, Any]] = {kind: {} for kind in taking}
    labels = {one.name: max(one.opts, key=len) for one in context.command.params}
    for name, value in context.params.items():
        field, label = _FIELDS.get(name, name), labels[name]
        kinds = [kind for kind in taking if field in names[kind]]
        if not str(context.get_parameter_source(name)).endswith("COMMANDLINE"):
            continue
        if name in ("on", "workers") and (RASTER not in found or context.params["update"] is not None):
            raise ConfigError(f"{label} is of rasters that are folded anew", f"leave {label} out")
        if not kinds:
            continue
        here = [kind for kind in kinds if kind in found]
        if not here:
            kind, source = next((kind, paths[0]) for kind, paths in found.items())
            what = {SCENE: "is a scene", STREET: "is a street map"}.get(kind, "is no folder")
            belongs = " or ".join(KINDS[one] for one in kinds)
            raise ConfigError(f"{source} {what}, and {label} is for {belongs}", f"leave {label} out, or check the path")
        if field in ("model", "codec", "align") and len(here) > 1:
            raise ConfigError(f"{label} could be for {' or '.join(here)}", "fold one of them later, with --into")
        for kind in here:
            said[kind][field] = value
    return {LAYERS[kind]: options(**said[kind]) for kind, options in taking.items()}
