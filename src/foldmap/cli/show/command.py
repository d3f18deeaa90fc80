"""``foldmap show``: what a .fold file holds, and where its bytes go."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foldmap.cli.common import put, require_file, write_bytes

if TYPE_CHECKING:
    from foldmap.atlas import FoldFile
    from foldmap.lidar.unfold import FoldedLidar
    from foldmap.types import ByteArray

EXAMPLES = (
    "\b\nExamples:\n  foldmap show map.fold\n  foldmap show map.fold --json\n"
    "  foldmap show map.fold --codes codes.png --embedding embedding.png\n"
    "  foldmap show scene.fold --picture scene.png\n  foldmap show streets.fold --picture streets.png"
)
PICTURE_PX = 2048


def show(
    fold_file: Annotated[Path, typer.Argument(metavar="MAP.fold", help="The file.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
    codes: Annotated[Path | None, typer.Option(help="Draw the binary channels to this PNG.")] = None,
    embedding: Annotated[Path | None, typer.Option(help="Draw the decoded embedding to this PNG.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Draw a scene's points, or streets, to this PNG.")] = None,
) -> None:
    """Show the layers of a file, where its bytes go, what was folded and with which settings.

    Pictures show the whole map, or the neighbourhood of its richest tile when the map is large.
    """
    put(describe(fold_file), as_json)
    if codes is not None or embedding is not None:
        draw(fold_file, codes, embedding)
    if picture is not None:
        _draw_picture(fold_file, picture)


def _draw_picture(path: Path, picture_png: Path) -> None:
    """Streets where the file has no scene."""
    from foldmap.atlas import FoldFile
    from foldmap.cli.show.street import draw_street

    with FoldFile.open(path) as file:
        kinds = {layer.kind for layer in file.layers()}
    if "street" in kinds and "visual" not in kinds:
        draw_street(path, picture_png)
    else:
        draw_scene(path, picture_png)


def describe(path: Path) -> dict[str, Any]:
    """Describe a file as plain data: bytes by use, layers, provenance.

    Raises:
        MapFormatError: it is missing, damaged or something else.
    """
    from foldmap.atlas import FORMAT_VERSION, FoldFile

    require_file(path)
    with FoldFile.open(path) as file:
        bytes_of = file.byte_report()
        layers = {layer.name: _layer(file, layer.name, bytes_of["layers"][layer.name]) for layer in file.layers()}
        totals = {key: value for key, value in bytes_of.items() if key != "layers"}
        return {"file": str(path), "format_version": FORMAT_VERSION, **totals, "layers": layers, **file.metadata()}


def _layer(file: FoldFile, name: str, bytes_of: dict[str, Any]) -> dict[str, Any]:
    from foldmap.atlas.shelf import named_models

    layer = file.layer(name)
    if named := named_models(file, name):
        bytes_of = {**bytes_of, "named_models": named}
    if layer.kind == "street":
        from foldmap.cli.show.street import describe_street

        dropped = ("regions", "tile", "spacing")
        known = {key: value for key, value in layer.parameters.items() if key not in dropped}
        return {**bytes_of, **known, **describe_street(file, name)}
    shown: dict[str, Any] = {**bytes_of, **{k: v for k, v in layer.parameters.items() if k != "grid"}}
    if layer.kind == "visual":
        return {**shown, **_scene(file, name)}
    grid = layer.parameters.get("grid")
    if layer.kind == "lidar" and isinstance(grid, dict):
        shown["grid"] = grid
        observed_px = layer.parameters.get("observed_px")
        if isinstance(observed_px, int) and observed_px > 0:
            observed_m2 = observed_px * float(grid["resolution_m"]) ** 2
            shown["observed_m2"] = round(observed_m2, 2)
            shown["bit_per_m2"] = round(8 * layer.tile_bytes / observed_m2, 4)
            shown["bpp_of_raster"] = 8 * layer.tile_bytes / (grid["height_px"] * grid["width_px"])
    return shown


def _scene(file: FoldFile, name: str) -> dict[str, Any]:
    """Bytes of a visual layer by use, which add up to its tiles and models, and of a point."""
    from foldmap.visual.unfold import bytes_by_use

    layer = file.layer(name)
    used = bytes_by_use(file, name)
    points = layer.parameters.get("points")
    each = round(sum(used.values()) / points, 3) if isinstance(points, int) and points > 0 else None
    return {"bytes": used, "bytes_a_point": each}


def draw_scene(path: Path, picture_png: Path) -> None:
    """Draw the decoded points of a visual layer, and where its photos were taken if it keeps them.

    Raises:
        FoldmapError: the file has no visual layer, or the picture cannot be written.
    """
    import numpy as np

    from foldmap.atlas import FoldFile
    from foldmap.report.scene_view import scene_png
    from foldmap.visual.unfold import FoldedVisual

    require_file(path)
    with FoldFile.open(path) as file:
        folded = FoldedVisual(file)
        points_world = folded.whole().points_world
        centres_world = np.zeros((0, 3))
        if folded.groups:
            poses = folded.images().camera_SE3_world
            centres_world = -np.einsum("iba,ib->ia", poses[:, :3, :3], poses[:, :3, 3])
        colours = np.full((len(points_world), 3), 70, np.uint8)
        picture = scene_png(points_world, colours, centres_world, folded.parameters.get("metric") is True)
    write_bytes(picture_png, picture)


def draw(path: Path, codes_png: Path | None, embedding_png: Path | None) -> None:
    """Draw codes and decoded embedding of a lidar layer.

    Raises:
        FoldmapError: the file has no lidar layer, or a picture cannot be written.
    """
    from foldmap.atlas import FoldFile
    from foldmap.lidar.unfold import FoldedLidar
    from foldmap.report import code_mosaic, embedding_image, strip

    require_file(path)
    with FoldFile.open(path) as file:
        folded = FoldedLidar(file)
        row, column, height, width = picture_window(file, folded)
        if codes_png is not None:
            scale = folded.scale
            cells = folded.codes(row // scale, column // scale, -(-height // scale), -(-width // scale))
            write_bytes(codes_png, code_mosaic(binary_channels(folded, cells), title=path.name))
        if embedding_png is not None:
            decoded, _ = folded.embedding(folded.grid.window(row, column, height, width))
            write_bytes(embedding_png, strip([("decoded embedding", embedding_image(decoded.numpy()))], height_in=6.0))


def binary_channels(folded: FoldedLidar, codes_GHW: ByteArray) -> ByteArray:
    """Spread symbols over the binary channels they stand for: uint8 (G * K, h, w)."""
    import numpy as np

    channels = np.arange(1, folded.bundle.model.preset.group_channels + 1, dtype=np.uint8)
    bits: ByteArray = (codes_GHW[:, None] == channels[None, :, None, None]).astype(np.uint8)
    return bits.reshape(-1, *codes_GHW.shape[1:])


def picture_window(file: FoldFile, folded: FoldedLidar) -> tuple[int, int, int, int]:
    """Row, column, height and width in pixels of what a picture shows."""
    from foldmap.lidar.codec import BLOCK_PX
    from foldmap.lidar.fold import LAYER

    grid = folded.grid
    if max(grid.shape) <= PICTURE_PX:
        return 0, 0, grid.height_px, grid.width_px
    side = folded.tile_blocks * BLOCK_PX
    column, row = max(file.tiles(LAYER), key=lambda key: len(file.tile(LAYER, *key) or b""))
    height, width = min(PICTURE_PX, grid.height_px), min(PICTURE_PX, grid.width_px)
    top = min(max(0, row * side + side // 2 - height // 2), grid.height_px - height)
    left = min(max(0, column * side + side // 2 - width // 2), grid.width_px - width)
    return top, left, height, width
