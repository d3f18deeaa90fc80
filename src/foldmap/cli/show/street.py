"""``foldmap show``, ``verify`` and ``unfold`` of a street layer."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foldmap.cli.common import require_folder, write_bytes
from foldmap.errors import ConfigError, FoldmapError, ModelError, WriteError

if TYPE_CHECKING:
    from foldmap.atlas import FoldFile

SUFFIXES = (".geojson", ".json", ".osm", ".parquet", ".geoparquet")
_MOST_DRAWN = 6


def describe_street(file: FoldFile, name: str) -> dict[str, Any]:
    """Regions of a street layer, and its bytes by use, in all and a lane-km."""
    from foldmap.street.unfold import StreetLayer

    layer = StreetLayer(file, name)
    used = layer.byte_report()
    regions = {
        one.name: {"lane_km": round(one.length_m / 1000, 3), "places": one.places, "crs": one.crs}
        for one in layer.regions
    }
    per_km = {use: round(size, 1) for use, size in used["bytes_per_km"].items() if use != "model"}
    return {
        "regions": regions,
        "lane_km": round(used["lane_km"], 3),
        "spacing_m": layer.spacing * layer.step_m,
        "tile_m": layer.parameters["tile"] * layer.step_m,
        "bytes": used["bytes"],
        "bytes_a_lane_km": {**per_km, "all": round(sum(per_km.values()), 1)},
    }


def faults_of_street(file: FoldFile, name: str) -> list[str]:
    """What of a street layer does not decode: tiles, graphs, places, embeddings, the model."""
    from foldmap.street.unfold import StreetLayer

    try:
        layer = StreetLayer(file, name)
    except FoldmapError as error:
        return [f"layer {name}: {error}"]
    faults = []
    for region in layer.regions:
        try:
            layer.graph(region.name)
            layer.places(region.name)
            if layer.codec is not None:
                layer.embeddings(region.name)
        except FoldmapError as error:
            faults.append(f"layer {name}: region {region.name!r} does not decode: {error}")
    if layer.model_name is not None:
        try:
            model = layer.model()
            made = (model.name, model.dim, model.window)
            if layer.codec is not None and made != (layer.model_name, layer.dimension, layer.window):
                raise ModelError("it did not make the layer's embeddings", "fold the map again")
        except FoldmapError as error:
            faults.append(f"layer {name}: the model cannot be used: {error}")
    strange = [key for key in file.tiles(name) if not 0 <= key[1] >> 16 < len(layer.regions)]
    return [*faults, *(f"layer {name}: tile {key} belongs to no region" for key in sorted(strange))]


def street_layers(path: Path) -> list[str]:
    """Names of a file's street layers."""
    from foldmap.atlas import FoldFile

    with FoldFile.open(path) as file:
        return [layer.name for layer in file.layers() if layer.kind == "street"]


def draw_street(path: Path, picture_png: Path) -> None:
    """Draw the lanes of the first regions, links thin.

    Raises:
        FoldmapError: the file has no street layer, or the picture cannot be written.
    """
    from matplotlib.collections import LineCollection

    from foldmap.api import opened
    from foldmap.report.style import ACCENT, INK, new_figure, styled, to_png
    from foldmap.street.source import LINK

    with opened.open(path) as town, styled():
        layer = town.street
        regions = layer.regions[:_MOST_DRAWN]
        columns = min(3, len(regions))
        rows = -(-len(regions) // columns)
        figure = new_figure(5.0 * columns, 5.0 * rows)
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes in grid.ravel()[len(regions) :]:
            axes.axis("off")
        for axes, region in zip(grid.ravel(), regions, strict=False):
            graph = layer.graph(region.name)
            ends, link = graph.vertices_m[graph.edges], graph.kind == LINK
            axes.add_collection(LineCollection(list(ends[~link]), colors=INK, linewidths=0.9))
            axes.add_collection(LineCollection(list(ends[link]), colors=ACCENT, linewidths=0.6))
            axes.set_aspect("equal")
            axes.autoscale_view()
            axes.set(xlabel="x [m]", ylabel="y [m]", title=f"{region.name}: {region.length_m / 1000:.1f} lane-km")
        write_bytes(picture_png, to_png(figure))


def unfold_street(path: Path, output: Path, region: str | None = None) -> dict[str, Any]:
    """Write the lane graph of a region as GeoJSON, Lanelet2 or GeoParquet, by the suffix.

    Args:
        path: the .fold file.
        output: .geojson, .json, .osm, .parquet or .geoparquet; it appears only when it is whole.
        region: which; needed where there are several.

    Raises:
        ConfigError: several regions, and none is named.
        FoldmapError: the file has no street layer or is damaged, or the output cannot be written.
    """
    from foldmap.api import opened
    from foldmap.atlas.whole import scratch_beside
    from foldmap.street.source import StreetMap

    require_folder(output)
    with opened.open(path) as town:
        layer = town.street
        if region is None and len(layer.regions) > 1:
            shown = ", ".join(one.name for one in layer.regions[:8])
            raise ConfigError(f"{path} has {len(layer.regions)} regions", f"name one with --region: {shown}")
        found = layer.region(region) if region is not None else layer.regions[0]
        street_map = StreetMap(found.name, layer.graph(found.name), found.crs)
    with scratch_beside(output, "unfolding") as scratch:
        part = scratch / f"map{output.suffix.lower()}"
        _write(street_map, part)
        try:
            os.replace(part, output)
        except OSError as error:
            raise WriteError(f"{output} cannot be written: {error.strerror or error}", "check the folder") from error
    return {
        "file": str(output),
        "region": found.name,
        "crs": found.crs,
        "vertices": len(street_map.graph),
        "edges": len(street_map.graph.edges),
        "lane_km": round(street_map.graph.length_m / 1000, 3),
        "file_bytes": output.stat().st_size,
    }


def _write(street_map: Any, path: Path) -> None:
    if path.suffix == ".osm":
        from foldmap.formats.street.lanelet2.write import write_lanelet2

        write_lanelet2(path, street_map)
    elif path.suffix in (".parquet", ".geoparquet"):
        from foldmap.formats.street.geoparquet import write_geoparquet

        write_geoparquet(street_map, path)
    else:
        from foldmap.formats.street.geojson import write_geojson

        write_geojson(street_map, path)
