"""Visual layers: where their tiles lie, cut along tiles with the images that see them, joined where one code fits."""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from foldmap.api.reshaping.area import Area
from foldmap.api.reshaping.parts import Note, Part, Source, around, numbers_of, require_alike, without_calibration
from foldmap.atlas.drawn import Drawn
from foldmap.errors import MapFormatError, MapInputError
from foldmap.types import BoolArray, DoubleArray, IntArray
from foldmap.visual.codes.global_codec import take_globals
from foldmap.visual.codes.poses_codec import take_images
from foldmap.visual.fold import GLOBALS_KEY, IMAGES_KEY, TILES_KEY, VIEWING_ROW
from foldmap.visual.retrieval.image_index import SMALL_MAP
from foldmap.visual.tile import take_groups, tile_parts, tile_points
from foldmap.visual.unfold import FoldedVisual

_ALIKE = ("feature", "dimension", "codec", "step", "basis", "parts", "metric", "viewing")
_REFOLD = "fold the scenes anew, joined into one, or with the same feature and codec"


def cut(source: Source, area: Area, note: Note) -> Part:
    """The tiles that an area reaches, numbered anew, and the groups of images that see any of them.

    A scene whose units are not metres is in no frame of the map, and stays whole.
    """
    folded = FoldedVisual(source.file, source.layer, tiles_kept=1)
    boxes = np.stack([_box(_payload(source, number), folded.points) for number in range(folded.tiles)])
    if folded.parameters.get("metric") is not True:
        note(f"layer {source.layer} is in units of its own (no metres): it is kept whole")
        return Part("visual", source.parameters, [Drawn(source.file, source.layer)], kept=len(boxes), of=len(boxes))
    kept = np.flatnonzero(area.reaches(boxes[:, [0, 1, 3, 4]])).astype(np.int64)
    counts = [tile_parts(_payload(source, number))[0] for number in kept.tolist()]
    facts = {"points": sum(counts), "tiles": len(kept)}
    part = Part("visual", {**source.parameters, **facts}, [], kept=len(kept), of=len(boxes))
    if folded.groups and len(kept):
        _cut_images(source, folded, kept, part)
        return part
    part.drawn.append(_tiles(source, kept, 0, _rows(folded.viewing)))
    return part


def join(sources: Sequence[Source], prefer: str | None, note: Note) -> Part:
    """The points of all layers, in one frame, by one code; a layer that is there twice counts once.

    Raises:
        MapInputError: other features, codes or units; or layers that are searched by image, whose vocabularies differ.
    """
    first, *others = _different(sources)
    if not others:
        whole = Drawn(first.file, first.layer)
        count = len(whole)
        return Part("visual", first.parameters, [whole], kept=count, of=len(sources) * count)
    folded = [FoldedVisual(source.file, source.layer, tiles_kept=1) for source in (first, *others)]
    for source, layer in zip((first, *others), folded, strict=True):
        if layer.groups:
            what = f"{source.said} is searched by its own images, and no other layer can be"
            raise MapInputError(what, "fold the scenes anew, joined into one, or each with --no-images")
        if source is not first:
            require_alike(first, source, _ALIKE, _REFOLD)
    if folded[0].parameters.get("metric") is not True:
        cure = "bring both into one frame in metres when they are folded (--align, --positions)"
        raise MapInputError(f"{first.said} is in units of its own, which no other scene shares", cure)
    drawn, start = [], 0
    for source, layer in zip((first, *others), folded, strict=True):
        drawn.append(_tiles(source, np.arange(layer.tiles), start, _rows(layer.viewing)))
        start += layer.tiles
    points = sum(layer.points for layer in folded)
    if points > SMALL_MAP:
        note(f"the joined scene has {points:,} points and is searched whole, which is slow beyond {SMALL_MAP:,}")
    facts = {"points": points, "tiles": start}
    for name, worst in (("error_px", max), ("noise_px", max), ("similarity", min)):
        said = [layer.parameters[name] for layer in folded if isinstance(layer.parameters.get(name), int | float)]
        facts |= {name: worst(said)} if said else {}
    parameters = without_calibration(first.parameters, sources, note) | facts
    parameters.pop("radius_world", None)  # of one scene
    return Part("visual", parameters, drawn, kept=start, of=start)


def bounds(source: Source) -> DoubleArray:
    """West, south, east and north of all points, float64 (4,), in the scene's units; reads every tile."""
    return around(np.stack(list(boxes(source))))


def boxes(source: Source) -> Iterator[DoubleArray]:
    """The same of each tile; one is read when its turn comes."""
    folded = FoldedVisual(source.file, source.layer, tiles_kept=1)
    for number in range(folded.tiles):
        yield _box(_payload(source, number), folded.points)[[0, 1, 3, 4]]


def frames(source: Source) -> set[str]:
    """None: a scene says whether it is in metres, not where they are."""
    return set()


def _different(sources: Sequence[Source]) -> list[Source]:
    """Layers without those that are one to the bit with one before."""
    found: list[Source] = []
    for source in sources:
        if not any(_same(source, other) for other in found):
            found.append(source)
    return found


def _rows(viewing: bool) -> tuple[int, ...]:
    """Rows of the tiles that go with points."""
    return (0, VIEWING_ROW) if viewing else (0,)


def _tiles(source: Source, kept: IntArray, start: int, rows: Sequence[int]) -> Drawn:
    """Some tiles of points, numbered anew from a start, with what goes with them."""
    there = source.file.directory(source.layer)
    index = np.array([there.find(number, row) for row in rows for number in kept.tolist()], np.int64)
    if (index < 0).any():
        raise MapFormatError(f"{source.said}: a tile of its points is missing", "fold the map again")
    columns = np.tile(np.arange(start, start + len(kept)), len(rows))
    return Drawn(source.file, source.layer, index, columns, np.repeat(np.array(rows, np.int64), len(kept)))


def _same(one: Source, other: Source) -> bool:
    mine, theirs = (numbers_of(Drawn(source.file, source.layer)) for source in (one, other))
    if one.parameters != other.parameters or not np.array_equal(mine, theirs):
        return False
    return all(one.file.tile_at(one.layer, k) == other.file.tile_at(other.layer, k) for k in range(len(mine)))


def _cut_images(source: Source, folded: FoldedVisual, kept: IntArray, part: Part) -> None:
    """Leave out what no kept tile is seen by: columns of every tile's visibility, images, their descriptors."""
    sees: BoolArray = folded.tile_groups()[kept]
    groups = np.flatnonzero(sees.any(axis=0)).astype(np.int64)
    images = np.arange(folded.image_count)
    images = images[np.isin(images // folded.group, groups)].astype(np.int64)
    if not len(images):
        raise MapFormatError(f"{source.said}: no image sees what is kept", "fold the map again")
    for new, number in enumerate(kept.tolist()):
        part.put[new, 0] = partial(_with_groups, source, number, folded.groups, groups)
    part.put[IMAGES_KEY] = lambda: take_images(_payload(source, *IMAGES_KEY), images)
    part.put[TILES_KEY] = lambda: np.packbits(sees[:, groups]).tobytes()
    part.put[GLOBALS_KEY] = lambda: take_globals(_payload(source, *GLOBALS_KEY), images)
    # models, and from where points were seen
    part.drawn.append(_tiles(source, kept, 0, _rows(folded.viewing)[1:]))
    part.parameters |= {"images": len(images)}


def _with_groups(source: Source, number: int, groups: int, kept: IntArray) -> bytes:
    return take_groups(_payload(source, number), groups, kept)


def _payload(source: Source, column: int, row: int = 0) -> bytes:
    found = source.file.tile(source.layer, column, row)
    if found is None:
        raise MapFormatError(f"{source.said}: tile {(column, row)} is missing", "fold the map again")
    return found


def _box(payload: bytes, most: int) -> DoubleArray:
    """Least x, y, z and largest of a tile's points, float64 (6,)."""
    points = tile_points(payload, most)
    return np.concatenate([points.min(axis=0), points.max(axis=0)])
