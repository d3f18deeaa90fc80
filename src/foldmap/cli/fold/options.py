"""Options of ``foldmap fold``, what kind of source they are for, and what kind a source is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from foldmap.errors import ConfigError, FoldmapError, MapInputError

_STREETS = (
    "a street map of Argoverse 2, Lanelet2 (.osm), SUMO (.net.xml), OpenDRIVE (.xodr), GeoJSON, GeoParquet, CSV of "
    "lines or a labelled tile (.npz)"
)
RASTER, SCENE, STREET = "raster", "scene", "street"
KINDS = {"raster": "a raster", "scene": "a scene, which is a folder", "street": "a street map"}

Sources = Annotated[
    list[Path],
    typer.Argument(metavar="MAP...", help="GeoTIFF of ground intensity; a scene; or street maps, files or folders."),
]
As = Annotated[str | None, typer.Option("--as", help="raster, scene or street, where the content does not tell.")]
Budget = Annotated[str | None, typer.Option(help="Largest size of the file, like 1MB.")]
Model = Annotated[
    Path | None, typer.Option(help="A model of foldmap train; else a shipped one, a scene's code by its codec.")
]
EmbedModel = Annotated[
    bool, typer.Option("--embed-model", help="Raster, street: put a shipped model in, too; else it is named.")
]
Rate = Annotated[float | None, typer.Option(help="Raster: most bits per m2 of observed ground.")]
Band = Annotated[int | None, typer.Option(help="Raster: band that holds intensity, from 1.")]
TileBlocks = Annotated[int | None, typer.Option(help="Raster: blocks of 512 px a tile side, 1 to 16; 2.")]
Update = Annotated[
    Path | None, typer.Option(metavar="MAP.fold", help="Raster: fold the tiles of this file again that changed.")
]
Into = Annotated[
    Path | None,
    typer.Option(metavar="MAP.fold", help="Scene, street: add to this file, or replace what it has of one."),
]
Features = Annotated[Path | None, typer.Option(help="Scene: hloc .h5 or COLMAP .db; else what lies beside the model.")]
Photos = Annotated[Path | None, typer.Option(help="Scene: folder of its photos, to extract SIFT again.")]
Globals = Annotated[
    Path | None, typer.Option("--globals", help="Scene: hloc .h5 of one descriptor a photo, for retrieval.")
]
Points = Annotated[int | None, typer.Option(help="Scene: at most so many points.")]
Select = Annotated[str | None, typer.Option(help="Scene: spread, cover, gamma, longest or random.")]
Alpha = Annotated[float | None, typer.Option(help="Scene: of --select gamma, 0 to 1.")]
Codec = Annotated[str | None, typer.Option(help="Scene: transform, pq, opq, additive, dpqed, dpqed+ or raw.")]
Step = Annotated[float | None, typer.Option(help="Scene: of transform codes; larger is smaller.")]
Parts = Annotated[int | None, typer.Option(help="Scene: bytes a descriptor of pq and dpqed.")]
Epochs = Annotated[int | None, typer.Option(help="Scene: of training dpqed.")]
Decoder = Annotated[Path | None, typer.Option(help="Scene: a trained dpqed layer, to be adapted.")]
ErrorPx = Annotated[float | None, typer.Option(help="Scene: error of positions as reprojected; a third of the noise.")]
Images = Annotated[
    bool | None, typer.Option("--keep-images/--no-images", help="Scene: poses of photos, who sees what.")
]
Metric = Annotated[bool | None, typer.Option("--metric/--not-metric", help="Scene: whether in metres.")]
Seed = Annotated[int | None, typer.Option(help="Scene, street: of every random choice.")]
Report = Annotated[Path | None, typer.Option(help="Scene: folder for the curve of accuracy against bytes.")]
ErrorM = Annotated[float | None, typer.Option("--error", help="Street: error of the stored lanes, metres; 0.10.")]
Spacing = Annotated[float | None, typer.Option(help="Street: metres between places along a lane; 5, 0 for none.")]
Embeddings = Annotated[
    str | None, typer.Option(help="Street: none (the default: drawn when wanted), half, int8, int4, 1bit or pq.")
]
Lanes = Annotated[str | None, typer.Option(help="Street: of lanes keep none, traits (width, speed, type) or all.")]
TileM = Annotated[float | None, typer.Option("--tile", help="Street: metres a tile side; 512.")]
Name = Annotated[str | None, typer.Option(help="Street: name of the region, where there is one map.")]
Format = Annotated[
    str | None, typer.Option("--format", help="Street: the maps' format, where their content does not tell.")
]
Strict = Annotated[
    bool | None, typer.Option("--strict", help="Street: refuse a map in which anything is damaged, drop nothing.")
]

_FOR = {
    "model": ("--model", (RASTER, SCENE, STREET)),
    "embed_model": ("--embed-model", (RASTER, STREET)),
    "rate": ("--rate", (RASTER,)),
    "band": ("--band", (RASTER,)),
    "tile_blocks": ("--tile-blocks", (RASTER,)),
    "update": ("--update", (RASTER,)),
    "into": ("--into", (SCENE, STREET)),
    "features": ("--features", (SCENE,)),
    "photos": ("--photos", (SCENE,)),
    "globals_": ("--globals", (SCENE,)),
    "points": ("--points", (SCENE,)),
    "select": ("--select", (SCENE,)),
    "alpha": ("--alpha", (SCENE,)),
    "codec": ("--codec", (SCENE,)),
    "step": ("--step", (SCENE,)),
    "parts": ("--parts", (SCENE,)),
    "epochs": ("--epochs", (SCENE,)),
    "decoder": ("--decoder", (SCENE,)),
    "error_px": ("--error-px", (SCENE,)),
    "images": ("--keep-images", (SCENE,)),
    "metric": ("--metric", (SCENE,)),
    "seed": ("--seed", (SCENE, STREET)),
    "report": ("--report", (SCENE,)),
    "error_m": ("--error", (STREET,)),
    "spacing": ("--spacing", (STREET,)),
    "embeddings": ("--embeddings", (STREET,)),
    "lanes": ("--lanes", (STREET,)),
    "tile_m": ("--tile", (STREET,)),
    "name": ("--name", (STREET,)),
    "format_": ("--format", (STREET,)),
    "strict": ("--strict", (STREET,)),
}


def said_in(context: typer.Context) -> set[str]:
    """Parameters that the user gave."""
    return {name for name in context.params if str(context.get_parameter_source(name)).endswith("COMMANDLINE")}


def refuse_strange(said: set[str], kind: str, source: Path) -> None:
    """Check that all options are for this kind of source.

    Raises:
        ConfigError: names the first that is not.
    """
    for name, (option, kinds) in _FOR.items():
        if name in said and kind not in kinds:
            what = {SCENE: "is a scene", STREET: "is a street map"}.get(kind, "is no folder")
            belongs = " or ".join(KINDS[one] for one in kinds)
            raise ConfigError(
                f"{source} {what}, and {option} is for {belongs}", f"leave {option} out, or check the path"
            )


def kind_of_sources(sources: list[Path], told: str | None) -> str:
    """What is to be folded: a raster, a scene, or street maps.

    Raises:
        ConfigError: several sources that are not all street maps, a folder that is both a scene and street maps, or an
            unknown kind was told.
    """
    if told is not None:
        if told not in KINDS:
            raise ConfigError(f"there is no kind of map {told!r}", f"give --as {', '.join(KINDS)}")
        kinds = [told] * len(sources)
    else:
        kinds = [_kind(source) for source in sources]
    if len(sources) > 1 and set(kinds) != {STREET}:
        odd = next(source for source, kind in zip(sources, kinds, strict=True) if kind != STREET)
        raise ConfigError(f"{odd} is no street map, and only street maps are folded together", "fold one by one")
    return kinds[0]


def _kind(source: Path) -> str:
    if source.is_dir():
        scene, street = _is_scene(source), _has_street_maps(source)
        if scene and street:
            raise ConfigError(f"{source} holds a scene and street maps", "say which with --as scene or --as street")
        if not scene and not street and not _is_part_of_scene(source):
            raise MapInputError(
                f"{source} holds no COLMAP model, no kapture and no street maps",
                "give a folder with cameras, images and points3D as .bin or .txt (itself, in sparse/ or in sparse/0/), "
                f"with kapture's sensors/, or with {_STREETS}",
            )
        return STREET if street else SCENE
    if not source.exists():
        raise MapInputError(f"there is no file or folder {source}", "check the path")
    from foldmap.formats.street.maps import kind_of

    if kind_of(source) is not None:
        return STREET
    if not _is_raster(source):
        raise MapInputError(*_what_else(source))
    return RASTER


def _is_raster(source: Path) -> bool:
    import rasterio
    from rasterio.errors import RasterioError

    try:
        with rasterio.open(source):
            return True
    except RasterioError:
        # a GeoTIFF that is damaged is named by its reader
        return source.suffix.lower() in (".tif", ".tiff")


def _what_else(source: Path) -> tuple[str, str]:
    """What a file is that cannot be folded, and the cure."""
    if source.suffix.lower() == ".fold":
        return f"{source} is folded already", "see what it holds with foldmap show, decode it with foldmap unfold"
    cure = f"give a GeoTIFF, a folder with a scene, or {_STREETS}"
    return f"{source} is no map: neither a raster nor a street map", cure


def _is_scene(folder: Path) -> bool:
    """Whether a folder has what only scenes have: a COLMAP model, kapture's sensors, or scene.json."""
    if (folder / "sensors").is_dir() or (folder / "scene.json").is_file():
        return True
    return any(
        (folder / inner / f"cameras.{suffix}").is_file()
        for inner in (".", "sparse", "sparse/0")
        for suffix in ("bin", "txt")
    )


def _is_part_of_scene(folder: Path) -> bool:
    """Whether a folder has a file of a COLMAP model at least, so that what is missing can be named."""
    names = [f"{name}.{suffix}" for name in ("images", "points3D") for suffix in ("bin", "txt")]
    return any((folder / inner / name).is_file() for inner in (".", "sparse", "sparse/0") for name in names)


def _has_street_maps(folder: Path) -> bool:
    from foldmap.formats.street.maps import kind_of

    for file in sorted(folder.iterdir()):
        try:
            if file.is_file() and not file.name.startswith(".") and kind_of(file) is not None:
                return True
        except FoldmapError:  # what is damaged is named when it is read
            continue
    return False
