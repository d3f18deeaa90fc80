"""What a source is, by its content: a raster, a scene or street maps."""

from collections.abc import Sequence
from pathlib import Path

from foldmap.errors import ConfigError, FoldmapError, MapInputError

RASTER, SCENE, STREET = "raster", "scene", "street"
LAYERS = {RASTER: "lidar", SCENE: "visual", STREET: "street"}
KINDS = {RASTER: "a raster", SCENE: "a scene, which is a folder", STREET: "a street map"}
_STREETS = (
    "a street map of Argoverse 2, Lanelet2 (.osm), SUMO (.net.xml), OpenDRIVE (.xodr), GeoJSON, GeoParquet, "
    "GeoPackage, Shapefile, CSV of lines or a labelled tile (.npz)"
)
_MODEL_FOLDERS = (".", "sparse", "sparse/0")


def kinds_of_sources(sources: Sequence[Path], told: str | None = None) -> dict[str, list[Path]]:
    """Sources by their kind: rasters that are one map, at most one scene, street maps.

    Args:
        sources: files and folders.
        told: the kind of all of them, where their content does not tell.

    Raises:
        ConfigError: no source, several scenes, a folder that is both a scene and street maps, or an unknown kind.
        MapInputError: a source is missing, or none of these.
    """
    if told is not None and told not in KINDS:
        raise ConfigError(f"there is no kind of map {told!r}", f"give --as {', '.join(KINDS)}")
    if not sources:
        raise ConfigError("there is nothing to fold", "give a raster, a scene or street maps")
    found: dict[str, list[Path]] = {}
    for source in sources:
        found.setdefault(told or kind_of_source(source), []).append(source)
    if len(found.get(SCENE, [])) > 1:
        raise ConfigError(f"{found[SCENE][1]} is a second scene, and a file holds one", "give it a file of its own")
    return found


def kind_of_source(source: Path) -> str:
    """The kind of one source; errors as `kinds_of_sources`."""
    from foldmap.formats.street.maps import kind_of

    if source.is_dir():
        return _kind_of_folder(source)
    if not source.exists():
        raise MapInputError(f"there is no file or folder {source}", "check the path")
    if kind_of(source) is not None or source.suffix.lower() == ".csv":  # GDAL takes tables of points for rasters
        return STREET
    if _is_raster(source):
        return RASTER
    if source.suffix.lower() == ".fold":
        raise MapInputError(
            f"{source} is folded already", "see what it holds with foldmap show, decode it with foldmap unfold"
        )
    takes = f"give a GeoTIFF, a folder with a scene, or {_STREETS}"
    raise MapInputError(f"{source} is no map: neither a raster nor a street map", takes)


def _kind_of_folder(folder: Path) -> str:
    scene = _has(folder, ["cameras"]) or (folder / "sensors").is_dir() or (folder / "scene.json").is_file()
    street = _has_street_maps(folder)
    if scene and street:
        raise ConfigError(f"{folder} holds a scene and street maps", "say which with --as scene or --as street")
    # of half a COLMAP model its reader names what is missing
    if not scene and not street and not _has(folder, ["images", "points3D"]):
        raise MapInputError(
            f"{folder} holds no COLMAP model, no kapture and no street maps",
            "give a folder with cameras, images and points3D as .bin or .txt (itself, in sparse/ or in sparse/0/), "
            f"with kapture's sensors/, or with {_STREETS}",
        )
    return STREET if street else SCENE


def _has(folder: Path, names: list[str]) -> bool:
    """Whether a folder has one of these files of a COLMAP model."""
    files = [f"{name}.{suffix}" for name in names for suffix in ("bin", "txt")]
    return any((folder / inner / file).is_file() for inner in _MODEL_FOLDERS for file in files)


def _has_street_maps(folder: Path) -> bool:
    from foldmap.formats.street.maps import kind_of

    for file in sorted(folder.iterdir()):
        try:
            if file.is_file() and not file.name.startswith(".") and kind_of(file) is not None:
                return True
        except FoldmapError:  # what is damaged is named when it is read
            continue
    return False


def _is_raster(source: Path) -> bool:
    import rasterio
    from rasterio.errors import RasterioError

    try:
        with rasterio.open(source):
            return True
    except RasterioError:
        # a GeoTIFF that is damaged is named by its reader
        return source.suffix.lower() in (".tif", ".tiff")
