"""Where the bytes of a visual layer are, out of the file itself."""

from __future__ import annotations

from foldmap.atlas import FoldFile
from foldmap.visual.fold import CODEC_MODEL, GLOBALS_KEY, IMAGES_KEY, LAYER, TILES_KEY, VLAD_MODEL
from foldmap.visual.tile import tile_sizes

USES = ("geometry", "codes", "visibility", "images", "retrieval", "codec", "headers")


def bytes_by_use(file: FoldFile, layer: str = LAYER) -> dict[str, int]:
    """Bytes of a visual layer's tiles and models, by what they are for.

    Returns:
        For each of `USES`: positions; descriptor codes; which images see what (points and tiles); cameras with poses
        and names; global descriptors with their vocabulary; what decodes descriptors; the tiles' headers.

    Raises:
        LayerError: no such layer.
        MapFormatError: a damaged file.
    """
    used = dict.fromkeys(USES, 0)
    for column, row in file.tiles(layer):
        payload = file.tile(layer, column, row) or b""
        if row == 0:
            _, *sizes = tile_sizes(payload)
            for use, size in zip(("geometry", "codes", "visibility"), sizes, strict=True):
                used[use] += size
            used["headers"] += len(payload) - sum(sizes)
        else:
            use = {IMAGES_KEY: "images", TILES_KEY: "visibility", GLOBALS_KEY: "retrieval"}.get(
                (column, row), "headers"
            )
            used[use] += len(payload)
    for model in file.layer(layer).models:
        use = {CODEC_MODEL: "codec", VLAD_MODEL: "retrieval"}.get(model.name, "headers")
        used[use] += model.payload_bytes
    return used
