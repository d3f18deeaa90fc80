"""``foldmap show``: what a .fold file holds, and where its bytes go; or which topics a bag has, and what for."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foldmap.cli.common import put, require_file, write_bytes
from foldmap.errors import ConfigError, MapInputError

if TYPE_CHECKING:
    from foldmap.atlas import FoldFile
    from foldmap.atlas.reader import Layer

EXAMPLES = (
    "\b\nExamples:\n  foldmap show map.fold\n  foldmap show map.fold --json\n"
    "  foldmap show map.fold --codes codes.png --embedding embedding.png\n"
    "  foldmap show scene.fold --picture scene.png\n  foldmap show streets.fold --picture streets.png\n"
    "  foldmap show drive.mcap"
)
_MOST_DRAWN = 6


def show(
    fold_file: Annotated[Path, typer.Argument(metavar="MAP.fold", help="The file; or a bag of ROS.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
    codes: Annotated[Path | None, typer.Option(help="Draw the binary channels to this PNG.")] = None,
    embedding: Annotated[Path | None, typer.Option(help="Draw the decoded embedding to this PNG.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Draw a scene's points, or streets, to this PNG.")] = None,
) -> None:
    """Show the layers of a file, where its bytes go, what was folded and with which settings.

    Pictures show the whole map, or the neighbourhood of its richest tile when the map is large.
    """
    from foldmap.atlas import FoldFile
    from foldmap.formats.bags.files import is_bag

    if is_bag(fold_file):
        if codes or embedding or picture:
            raise ConfigError("pictures are of maps", "leave them out: a bag has none")
        from foldmap.formats.bags.drive import describe as describe_bag

        put(describe_bag(fold_file), as_json)
        return
    require_file(fold_file)
    with FoldFile.open(fold_file) as file:
        described = describe(file)
        put(described if as_json else _for_people(described), as_json)
        if codes is not None or embedding is not None:
            _draw_lidar(file, codes, embedding)
        if picture is not None:
            kinds = {layer.kind for layer in file.layers()}
            draw = draw_streets if "street" in kinds and "visual" not in kinds else _draw_scene
            write_bytes(picture, draw(file))


def describe(file: FoldFile) -> dict[str, Any]:
    """Describe a file as plain data: bytes by use, layers, provenance."""
    from foldmap.atlas import FORMAT_VERSION
    from foldmap.atlas.shelf import named_models

    sizes = file.byte_report()
    layers = {}
    for layer in file.layers():
        held = dict(sizes["layers"][layer.name])
        if named := named_models(file, layer.name):
            held["named_models"] = named
        known = {"lidar": _of_lidar, "visual": _of_scene, "street": _of_streets}[layer.kind]
        layers[layer.name] = held | known(file, layer)
    totals = {key: value for key, value in sizes.items() if key != "layers"}
    return {"file": str(file.path), "format_version": FORMAT_VERSION, **totals, "layers": layers, **file.metadata()}


def _for_people(described: dict[str, Any]) -> dict[str, Any]:
    """The same for people: an anchor with all its digits, a raster's CRS by its name."""
    from foldmap.api.georeference import ANCHOR, read_anchor
    from foldmap.formats.crs import crs_name, read_crs

    shown = {**described, "layers": dict(described["layers"])}
    if anchor := read_anchor(described):
        shown[ANCHOR] = anchor.words
    for name, layer in described["layers"].items():
        if isinstance(grid := layer.get("grid"), Mapping) and grid.get("crs_wkt"):
            with suppress(MapInputError):  # a text that nobody reads is shown as it is
                crs = crs_name(read_crs(grid["crs_wkt"], name))
                shown["layers"][name] = {**layer, "grid": {**grid, "crs_wkt": crs}}
    return shown


def _of_lidar(file: FoldFile, layer: Layer) -> dict[str, Any]:
    shown = dict(layer.parameters)
    grid, observed_px = shown.get("grid"), shown.get("observed_px")
    if isinstance(grid, dict) and isinstance(observed_px, int) and observed_px > 0:
        observed_m2 = observed_px * float(grid["resolution_m"]) ** 2
        shown["observed_m2"] = round(observed_m2, 2)
        shown["bit_per_m2"] = round(8 * layer.tile_bytes / observed_m2, 4)
        shown["bpp_of_raster"] = 8 * layer.tile_bytes / (grid["height_px"] * grid["width_px"])
    return shown


def _of_scene(file: FoldFile, layer: Layer) -> dict[str, Any]:
    """Bytes by use, which add up to the layer's tiles and models, and of a point."""
    from foldmap.visual.unfold import bytes_by_use

    used, points = bytes_by_use(file, layer.name), layer.parameters.get("points")
    each = round(sum(used.values()) / points, 3) if isinstance(points, int) and points > 0 else None
    return {**layer.parameters, "bytes": used, "bytes_a_point": each}


def _of_streets(file: FoldFile, layer: Layer) -> dict[str, Any]:
    """Regions, and bytes by use, in all and a lane-km."""
    from foldmap.street.fold import bytes_per_km
    from foldmap.street.unfold import FoldedStreet

    streets = FoldedStreet(file, layer.name)
    used = streets.byte_report()
    return {
        **{key: value for key, value in layer.parameters.items() if key not in ("regions", "tile", "spacing")},
        "regions": {
            one.name: {"lane_km": round(one.length_m / 1000, 3), "places": one.places, "crs": one.crs}
            for one in streets.regions
        },
        "lane_km": round(used["lane_km"], 3),
        "spacing_m": streets.spacing * streets.step_m,
        "tile_m": layer.parameters["tile"] * streets.step_m,
        "bytes": used["bytes"],
        "bytes_a_lane_km": bytes_per_km(used["bytes"], used["lane_km"]),
    }


def _draw_scene(file: FoldFile) -> bytes:
    """The decoded points of a visual layer, and where its photos were taken if it keeps them, as a PNG."""
    import numpy as np

    from foldmap.report.scene_view import scene_png
    from foldmap.visual.unfold import FoldedVisual

    folded = FoldedVisual(file)
    points_world = folded.whole().points_world
    centres_world = np.zeros((0, 3))
    if folded.groups:
        poses = folded.images().camera_SE3_world
        centres_world = -np.einsum("iba,ib->ia", poses[:, :3, :3], poses[:, :3, 3])
    colours = np.full((len(points_world), 3), 70, np.uint8)
    return scene_png(points_world, colours, centres_world, folded.parameters.get("metric") is True)


def draw_streets(file: FoldFile) -> bytes:
    """The lanes of the first regions, links thin, as a PNG."""
    from matplotlib.collections import LineCollection

    from foldmap.report.style import ACCENT, INK, new_figure, styled, to_png
    from foldmap.street.source import LINK
    from foldmap.street.unfold import FoldedStreet

    layer = FoldedStreet(file)
    regions = layer.regions[:_MOST_DRAWN]
    columns = min(3, len(regions))
    rows = -(-len(regions) // columns)
    with styled():
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
        return to_png(figure)


def _draw_lidar(file: FoldFile, codes: Path | None, embedding: Path | None) -> None:
    """Codes and decoded embedding of a lidar layer, each as a PNG."""
    from foldmap.atlas.whole import together
    from foldmap.report.codes_view import codes_png, embedding_png

    with together():
        if codes is not None:
            write_bytes(codes, codes_png(file))
        if embedding is not None:
            write_bytes(embedding, embedding_png(file))
