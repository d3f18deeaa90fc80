"""``foldmap unfold``: the decoded embedding as a GeoTIFF, a scene's points as PLY or NPZ, streets for any GIS."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from foldmap.cli.common import bar, put, require_file, require_folder
from foldmap.errors import ConfigError

EXAMPLES = (
    "\b\nExamples:\n  foldmap unfold map.fold -o embedding.tif\n  foldmap unfold scene.fold -o points.ply\n"
    "  foldmap unfold scene.fold -o points.npz\n  foldmap unfold streets.fold -o streets.geojson\n"
    "  foldmap unfold streets.fold --region karlsruhe -o karlsruhe.osm"
)
_BLOCK_PX = 512


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
    from foldmap.cli.show.street import SUFFIXES, unfold_street

    check_suffix(fold_file, output)
    if output.suffix.lower() in SUFFIXES:
        put(unfold_street(fold_file, output, region), as_json)
        return
    if region is not None:
        raise ConfigError(f"{output} is no file of streets", "leave --region out, or name it .geojson, .osm, .parquet")
    if output.suffix.lower() in (".ply", ".npz"):
        from foldmap.cli.unfold.visual import unfold_scene

        put(unfold_scene(fold_file, output), as_json)
        return
    with bar("Unfolding") as report:
        summary = unfold_map(fold_file, output, report=report)
    put(summary, as_json)


def check_suffix(path: Path, output: Path) -> None:
    """Check that an output is named as a format that what the file holds is written in.

    Raises:
        ConfigError: names what the file holds, and the suffixes for it.
        MapFormatError: there is no such file, or it is no .fold file.
    """
    from foldmap.atlas import FoldFile
    from foldmap.cli.show.street import SUFFIXES

    written = {"lidar": (".tif", ".tiff"), "visual": (".ply", ".npz"), "street": SUFFIXES}
    what = {"lidar": "a lidar map", "visual": "a scene", "street": "street maps"}
    require_file(path)
    with FoldFile.open(path) as file:
        kinds = sorted({layer.kind for layer in file.layers() if layer.kind in written})
    if not any(output.suffix.lower() in written[kind] for kind in kinds):
        held = " and ".join(what[kind] for kind in kinds) or "no layer"
        as_ = f"as {output.suffix}" if output.suffix else f"to {output.name}, which has no suffix"
        suffixes = ", ".join(suffix for kind in kinds for suffix in written[kind])
        raise ConfigError(
            f"{path} holds {held}, which cannot be unfolded {as_}",
            f"name the output {suffixes}" if kinds else "fold a map first",
        )


def unfold_map(
    path: Path, output: Path, *, report: Callable[[int, int], None] = lambda done, total: None
) -> dict[str, Any]:
    """Write the decoded embedding window by window; memory does not grow with the map.

    Args:
        path: the .fold file.
        output: the GeoTIFF, in the map's CRS; it appears only when it is whole.
        report: called with windows done and in all.

    Raises:
        FoldmapError: the file has no lidar layer or is damaged, or the output cannot be written.
    """
    import numpy as np
    import rasterio
    from rasterio.errors import RasterioError
    from rasterio.windows import Window

    from foldmap.atlas import FoldFile
    from foldmap.atlas.whole import scratch_beside
    from foldmap.lidar.unfold import FoldedLidar

    require_file(path)
    require_folder(output)
    with FoldFile.open(path) as file, scratch_beside(output, "unfolding") as scratch:
        folded = FoldedLidar(file)
        grid, channels = folded.grid, folded.bundle.model.preset.embedding_channels
        profile = {
            "driver": "GTiff",
            "dtype": "float32",
            "count": channels,
            "height": grid.height_px,
            "width": grid.width_px,
            "nodata": float("nan"),
            "crs": grid.crs_wkt or None,
            "transform": rasterio.Affine(grid.resolution_m, 0, grid.west_m, 0, -grid.resolution_m, grid.north_m),
            "tiled": True,
            "blockxsize": _BLOCK_PX,
            "blockysize": _BLOCK_PX,
            "compress": "deflate",
            "predictor": 3,
            "sparse_ok": True,
            "bigtiff": "IF_SAFER",
        }
        corners = [(r, c) for r in range(0, grid.height_px, _BLOCK_PX) for c in range(0, grid.width_px, _BLOCK_PX)]
        known_px = 0
        try:
            with rasterio.open(scratch / "embedding.tif", "w", **profile) as dataset:
                for done, (row, column) in enumerate(corners, start=1):
                    height = min(_BLOCK_PX, grid.height_px - row)
                    width = min(_BLOCK_PX, grid.width_px - column)
                    decoded, known = folded.embedding(grid.window(row, column, height, width))
                    if known.any():
                        known_px += int(known.sum())
                        values = np.where(known, decoded.numpy(), np.float32("nan")).astype(np.float32)
                        dataset.write(values, window=Window(column, row, width, height))
                    report(done, len(corners))
            os.replace(scratch / "embedding.tif", output)
        except (RasterioError, OSError) as error:
            raise ConfigError(f"{output} cannot be written: {error}", "check space and permissions") from error
    return {
        "file": str(output),
        "channels": channels,
        "width_px": grid.width_px,
        "height_px": grid.height_px,
        "known_px": known_px,
    }
