"""``foldmap unfold``: the decoded embedding as a GeoTIFF, a scene's points as PLY or NPZ, streets for any GIS."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foldmap.cli.common import bar, put, require_file, require_folder, write_bytes
from foldmap.errors import ConfigError, WriteError

if TYPE_CHECKING:
    from foldmap.atlas import FoldFile
    from foldmap.types import DoubleArray
    from foldmap.visual.unfold import FoldedVisual

EXAMPLES = (
    "\b\nExamples:\n  foldmap unfold map.fold -o embedding.tif\n  foldmap unfold scene.fold -o points.ply\n"
    "  foldmap unfold scene.fold -o points.npz\n  foldmap unfold streets.fold -o streets.geojson\n"
    "  foldmap unfold streets.fold --region karlsruhe -o karlsruhe.osm"
)
SUFFIXES = {
    "lidar": (".tif", ".tiff"),
    "visual": (".ply", ".npz"),
    "street": (".geojson", ".json", ".osm", ".parquet", ".geoparquet"),
}
_HELD = {"lidar": "a lidar map", "visual": "a scene", "street": "street maps"}
_BLOCK_PX = 512
Report = Callable[[int, int], None]


def unfold(
    fold_file: Annotated[Path, typer.Argument(metavar="MAP.fold", help="The file.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="By its suffix: .tif; .ply, .npz; .geojson, .osm, .parquet.")
    ],
    region: Annotated[str | None, typer.Option(help="Of a street map that has several.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Decode what a localizer matches.

    Of a map, the embedding: one float32 band a channel, NaN where there is no map. Of a scene, its points: .ply holds
    x, y, z; .npz also descriptors, and names and poses of its images where it keeps them. Of a street map, the lane
    graph of a region: GeoJSON (.geojson, .json), Lanelet2 (.osm) or GeoParquet (.parquet).
    """
    from foldmap.atlas import FoldFile

    require_file(fold_file)
    with FoldFile.open(fold_file) as file:
        kind = _kind_for(file, output)
        if region is not None and kind != "street":
            raise ConfigError(
                f"{output} is no file of streets", "leave --region out, or name it .geojson, .osm, .parquet"
            )
        require_folder(output)
        if kind == "street":
            summary = _unfold_region(file, output, region)
        elif kind == "visual":
            summary = _unfold_points(file, output)
        else:
            with bar("Unfolding") as report:
                summary = _unfold_embedding(file, output, report)
    put({"file": str(output), **summary}, as_json)


def _kind_for(file: FoldFile, output: Path) -> str:
    """The kind of layer that a file has and that is written under this suffix; if none, says what would do."""
    kinds = sorted({layer.kind for layer in file.layers()})
    for kind in kinds:
        if output.suffix.lower() in SUFFIXES[kind]:
            return kind
    held = " and ".join(_HELD[kind] for kind in kinds) or "no layer"
    as_ = f"as {output.suffix}" if output.suffix else f"to {output.name}, which has no suffix"
    suffixes = ", ".join(suffix for kind in kinds for suffix in SUFFIXES[kind])
    raise ConfigError(
        f"{file.path} holds {held}, which cannot be unfolded {as_}",
        f"name the output {suffixes}" if kinds else "fold a map first",
    )


def _unfold_embedding(file: FoldFile, output: Path, report: Report) -> dict[str, Any]:
    """Write the decoded embedding window by window, in the map's CRS; memory does not grow with the map."""
    import numpy as np
    import rasterio
    from rasterio.errors import RasterioError
    from rasterio.windows import Window

    from foldmap.atlas.whole import put_whole, scratch_beside
    from foldmap.formats.raster.write import require_written, tiled_profile
    from foldmap.lidar.folded import open_lidar

    folded = open_lidar(file)
    grid, channels = folded.grid, folded.channels
    profile = tiled_profile(grid, channels, "float32", float("nan"), _BLOCK_PX)
    corners = [(r, c) for r in range(0, grid.height_px, _BLOCK_PX) for c in range(0, grid.width_px, _BLOCK_PX)]
    known_px = 0
    with scratch_beside(output, "unfolding") as scratch:
        try:
            with rasterio.open(scratch / "embedding.tif", "w", **profile, predictor=3) as dataset:
                for done, (row, column) in enumerate(corners, start=1):
                    height = min(_BLOCK_PX, grid.height_px - row)
                    width = min(_BLOCK_PX, grid.width_px - column)
                    decoded, known = folded.embedding(grid.window(row, column, height, width))
                    if known.any():
                        known_px += int(known.sum())
                        values = np.where(known, decoded, np.float32("nan")).astype(np.float32)
                        dataset.write(values, window=Window(column, row, width, height))
                    report(done, len(corners))
            require_written(scratch / "embedding.tif", known_px)
            put_whole(scratch / "embedding.tif", output)
        except (RasterioError, OSError) as error:
            raise ConfigError(f"{output} cannot be written: {error}", "check space and permissions") from error
    return {"channels": channels, "width_px": grid.width_px, "height_px": grid.height_px, "known_px": known_px}


def _unfold_points(file: FoldFile, output: Path) -> dict[str, Any]:
    """Write the decoded points of a visual layer."""
    from foldmap.visual.unfold import FoldedVisual

    folded = FoldedVisual(file)
    points_world = folded.whole().points_world
    payload = _ply(points_world) if output.suffix.lower() == ".ply" else _npz(folded)
    write_bytes(output, payload)
    return {"points": len(points_world), "file_bytes": len(payload)}


def _ply(points_world: DoubleArray) -> bytes:
    head = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(points_world)}\n"
    head += "property double x\nproperty double y\nproperty double z\nend_header\n"
    return head.encode("ascii") + bytes(points_world.astype("<f8").tobytes())


def _npz(folded: FoldedVisual) -> bytes:
    import numpy as np

    whole = folded.whole()
    arrays: dict[str, Any] = {"points_world": whole.points_world, "descriptors": whole.descriptors}
    if folded.groups:
        images = folded.images()
        arrays["camera_SE3_world"] = images.camera_SE3_world
        if images.image_names is not None:
            arrays["image_names"] = np.array(images.image_names)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def _unfold_region(file: FoldFile, output: Path, name: str | None) -> dict[str, Any]:
    """Write the lane graph of a region; the file appears only when it is whole."""
    from foldmap.atlas.whole import put_whole, scratch_beside
    from foldmap.street.source import StreetMap
    from foldmap.street.unfold import FoldedStreet

    layer = FoldedStreet(file)
    if name is None and len(layer.regions) > 1:
        shown = ", ".join(one.name for one in layer.regions[:8])
        raise ConfigError(f"{file.path} has {len(layer.regions)} regions", f"name one with --region: {shown}")
    found = layer.region(name) if name is not None else layer.regions[0]
    street_map = StreetMap(found.name, layer.graph(found.name), found.crs)
    with scratch_beside(output, "unfolding") as scratch:
        part = scratch / f"map{output.suffix.lower()}"
        _write_streets(street_map, part)
        try:
            put_whole(part, output)
        except OSError as error:
            raise WriteError(f"{output} cannot be written: {error.strerror or error}", "check the folder") from error
    return {
        "region": found.name,
        "crs": found.crs,
        "vertices": len(street_map.graph),
        "edges": len(street_map.graph.edges),
        "lane_km": round(street_map.graph.length_m / 1000, 3),
        "file_bytes": output.stat().st_size,
    }


def _write_streets(street_map: Any, path: Path) -> None:
    if path.suffix == ".osm":
        from foldmap.formats.street.lanelet2.write import write_lanelet2

        write_lanelet2(path, street_map)
    elif path.suffix in (".parquet", ".geoparquet"):
        from foldmap.formats.street.geoparquet import write_geoparquet

        write_geoparquet(street_map, path)
    else:
        from foldmap.formats.street.geojson import write_geojson

        write_geojson(street_map, path)
