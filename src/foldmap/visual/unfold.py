"""Read the visual layer of a .fold file: the points that a query may see, tile by tile as it needs them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from foldmap.atlas import FoldFile
from foldmap.atlas.parameters import number_of, value_of, whole_of
from foldmap.errors import LayerError, MapFormatError
from foldmap.runtime.threads import one_blas_thread, share_out
from foldmap.types import AnyArray, BoolArray, IntArray
from foldmap.visual.codes.codecs import read_codec
from foldmap.visual.codes.poses_codec import MapImages, decode_images
from foldmap.visual.codes.viewing_codec import any_viewing, decode_viewing
from foldmap.visual.decoded import ImageVisibility, MapPoints
from foldmap.visual.fold import (
    CODEC_MODEL,
    GLOBALS_KEY,
    IMAGES_KEY,
    LAYER,
    TILES_KEY,
    VIEWING,
    VIEWING_ROW,
    VLAD_MODEL,
)
from foldmap.visual.match.likeness import USUAL
from foldmap.visual.match.view import View
from foldmap.visual.retrieval.image_index import RETRIEVED_IMAGES, Retriever, interleaved
from foldmap.visual.source import Query
from foldmap.visual.tile import PointTile, tile_parts, unpack_tile

MAX_POINTS = 1 << 24
USES = ("geometry", "codes", "visibility", "viewing", "images", "retrieval", "codec", "headers")
_CURE = "fold the map again"


class FoldedVisual:
    """A folded visual map: the `VisualMap` of the localizer.

    Args:
        file: an open .fold file.
        layer: name of its visual layer.
        images: map images that retrieval looks at for a query (for a rig in all, at least one a camera), where the map
            is searched by image.
        tiles_kept: decoded tiles that stay in memory.

    Raises:
        LayerError: no such layer, or one of another kind.
        MapFormatError: the layer's parameters do not make sense.
        ModelError: a model inside does not fit.
    """

    def __init__(
        self, file: FoldFile, layer: str = LAYER, *, images: int = RETRIEVED_IMAGES, tiles_kept: int = 64
    ) -> None:
        info = file.layer(layer)
        if info.kind != "visual":
            raise LayerError(f"layer {layer!r} is a {info.kind} layer, not a visual layer", "name a visual layer")
        self._file, self._layer = file, layer
        self.parameters = info.parameters
        self.feature = str(value_of(self.parameters, "visual", "feature", str))
        self.dimension = whole_of(self.parameters, "visual", "dimension", 1, 1 << 16)
        self.points = whole_of(self.parameters, "visual", "points", 1, MAX_POINTS)
        self.tiles = whole_of(self.parameters, "visual", "tiles", 1, self.points)
        self.image_count = whole_of(self.parameters, "visual", "images", 0, 1 << 20)
        self.group = whole_of(self.parameters, "visual", "group", 0, 1 << 20)
        self.similarity = number_of({"similarity": USUAL, **self.parameters}, "visual", "similarity", -1, 1)
        self.noise_px = number_of({"noise_px": 0.0, **self.parameters}, "visual", "noise_px", 0, 1e6)
        self.viewing = self.parameters.get("viewing") == VIEWING
        models = {model.name for model in info.models}
        decoder = file.model(layer, CODEC_MODEL) if CODEC_MODEL in models else None
        self.codec = read_codec(self.parameters, self.dimension, decoder)
        self._vlad = file.model(layer, VLAD_MODEL) if VLAD_MODEL in models else None
        self._most_images, self._tiles_kept = images, tiles_kept
        self._lock = threading.Lock()  # of the tiles in memory and of the file: several threads may ask
        self._tiles: OrderedDict[int, PointTile] = OrderedDict()
        self._whole: MapPoints | None = None
        self._retriever: Retriever | None = None
        self._images: MapImages | None = None
        self._sees: BoolArray | None = None

    @property
    def groups(self) -> int:
        """Groups of images that share one visibility; 0 where the map keeps no images."""
        return -(-self.image_count // self.group) if self.group else 0

    @property
    def needs_global(self) -> bool:
        """Whether queries must bring the user's global descriptors."""
        return self.parameters.get("retrieval") == "global"

    def around(self, queries: Sequence[Query], views: Sequence[View]) -> MapPoints:
        """The points that the queries may see: the whole map, or what retrieval finds."""
        if not self.groups:
            return self.whole()
        # a blank camera of a rig resembles nothing
        seeing = [query for query, view in zip(queries, views, strict=True) if len(view.xy_px)]
        each = max(1, self._most_images // max(len(seeing), 1))
        return self.seen_by(interleaved([self.retriever().rank(query, each) for query in seeing]))

    def whole(self) -> MapPoints:
        """Every point of the map."""
        if self._whole is None:
            self.load()
            self._whole = self._joined([self.tile(number) for number in range(self.tiles)], None, None)
        return self._whole

    def seen_by(self, images: IntArray) -> MapPoints:
        """The points that images of these numbers (int64) see, in that order; reads the tiles they lie in."""
        groups, column = np.unique(np.asarray(images) // max(self.group, 1), return_inverse=True)
        tiles, rows, visible = [], [], []
        numbers = np.flatnonzero(self.tile_groups()[:, groups].any(axis=1)).tolist()
        self.load(numbers)
        for number in numbers:
            tile = self.tile(number)
            sees = np.ones((len(tile), len(groups)), bool) if tile.visible is None else tile.visible[:, groups]
            seen = np.flatnonzero(sees.any(axis=1))
            tiles.append(tile)
            rows.append(seen)
            visible.append(sees[seen])
        joined = np.concatenate(visible) if visible else np.zeros((0, len(groups)), bool)
        visibility = ImageVisibility(np.asarray(images, dtype=np.int64), joined, column.astype(np.int64))
        return self._joined(tiles, rows, visibility)

    def tile(self, number: int) -> PointTile:
        """One tile, decoded; the last ones stay in memory."""
        with self._lock:
            known = self._tiles.get(number)
            if known is not None:
                self._tiles.move_to_end(number)
                return known
            packed = self._packed(number)
        tile = self._decoded(packed)
        with self._lock:
            self._tiles[number] = tile
            if len(self._tiles) > self._tiles_kept:
                self._tiles.popitem(last=False)
        return tile

    def load(self, numbers: Iterable[int] | None = None) -> None:
        """Decode tiles, all of them or those of some numbers, on all threads, so that no query waits for them.

        Of more than stay in memory, the first ones alone.
        """
        wanted = range(self.tiles) if numbers is None else numbers
        with self._lock:
            missing = [number for number in wanted if number not in self._tiles]
            missing = missing[: max(0, self._tiles_kept - len(self._tiles))]
            packed = [self._packed(number) for number in missing]
        decoded: list[PointTile | None] = [None] * len(missing)

        def decode(rows: range) -> None:
            for row in rows:
                decoded[row] = self._decoded(packed[row])

        with one_blas_thread():
            share_out(decode, len(missing))
        with self._lock:
            self._tiles.update(
                (number, tile) for number, tile in zip(missing, decoded, strict=True) if tile is not None
            )

    def _packed(self, number: int) -> tuple[bytes, bytes | None]:
        return self._payload((number, 0)), self._payload((number, VIEWING_ROW)) if self.viewing else None

    def _decoded(self, packed: tuple[bytes, bytes | None]) -> PointTile:
        tile = unpack_tile(packed[0], self.codec, self.groups, self.points)
        return tile if packed[1] is None else replace(tile, seen_from=decode_viewing(packed[1], len(tile)))

    def images(self) -> MapImages:
        """Cameras, poses and names of the map's images.

        Raises:
            LayerError: the map keeps none.
        """
        if not self.groups:
            raise LayerError("this map keeps no images", "fold it with --keep-images")
        if self._images is not None:
            return self._images
        images = decode_images(self._payload(IMAGES_KEY))
        if len(images.camera_SE3_world) != self.image_count:
            raise MapFormatError("the map's images are not as many as it says", _CURE)
        self._images = images
        return images

    def retriever(self) -> Retriever:
        """Finds the images that a query resembles."""
        if self._retriever is None:
            self._retriever = Retriever.stored(self._payload(GLOBALS_KEY), self._vlad)
            if len(self._retriever) != self.image_count:
                raise MapFormatError("the map's global descriptors are not as many as its images", _CURE)
        return self._retriever

    def tile_groups(self) -> BoolArray:
        """Which groups of images see which tiles, bool (tiles, groups)."""
        if self._sees is None:
            packed = np.frombuffer(self._payload(TILES_KEY), np.uint8)
            cells = self.tiles * self.groups
            if len(packed) != -(-cells // 8):
                raise MapFormatError("the list of tiles that images see has the wrong length", _CURE)
            self._sees = np.unpackbits(packed, count=cells).reshape(self.tiles, self.groups).astype(bool)
        return self._sees

    def _joined(
        self, tiles: Sequence[PointTile], rows: Sequence[IntArray] | None, visibility: ImageVisibility | None
    ) -> MapPoints:
        """All points of tiles, or some ``rows`` of each."""
        span = self.codec.span
        if not tiles:
            none = np.zeros((0, self.dimension if span is None else span.shape[1]), np.float32)
            tiles, rows = [PointTile(np.zeros((0, 3)), none, span, None, any_viewing(0))], None
        return MapPoints(
            _gathered([tile.points_world for tile in tiles], rows),
            _gathered([tile.looks for tile in tiles], rows),
            0 if visibility is None else len(visibility.images),
            visibility,
            self.similarity,
            _gathered([tile.seen_from for tile in tiles if tile.seen_from is not None], rows) if self.viewing else None,
            self.noise_px,
            span,
        )

    def _payload(self, key: tuple[int, int]) -> bytes:
        payload = self._file.tile(self._layer, *key)
        if payload is None:
            raise MapFormatError(f"tile {key} of the visual layer is missing", _CURE)
        return payload


def _gathered(parts: Sequence[AnyArray], rows: Sequence[IntArray] | None) -> AnyArray:
    """Arrays, or some rows of each, one after the other; each number is copied once."""
    if rows is None:
        return np.concatenate(parts)
    ends = np.cumsum([len(some) for some in rows]).tolist()
    joined = np.empty((ends[-1], *parts[0].shape[1:]), parts[0].dtype)
    for part, some, end in zip(parts, rows, ends, strict=True):
        np.take(part, some, axis=0, out=joined[end - len(some) : end], mode="clip")
    return joined


def bytes_by_use(file: FoldFile, layer: str = LAYER) -> dict[str, int]:
    """Bytes of a visual layer's tiles and models, for each of `USES`.

    Visibility is of points and of tiles, retrieval the global descriptors with their vocabulary.
    """
    used = dict.fromkeys(USES, 0)
    whole = {IMAGES_KEY: "images", TILES_KEY: "visibility", GLOBALS_KEY: "retrieval"}
    for key in file.tiles(layer):
        payload = file.tile(layer, *key) or b""
        if key[1] == 0:
            _, *parts = tile_parts(payload)
            for use, part in zip(USES, parts, strict=False):
                used[use] += len(part)
            used["headers"] += len(payload) - sum(map(len, parts))
        else:
            used["viewing" if key[1] == VIEWING_ROW else whole.get(key, "headers")] += len(payload)
    for model in file.layer(layer).models:
        use = {CODEC_MODEL: "codec", VLAD_MODEL: "retrieval"}.get(model.name, "headers")
        used[use] += model.payload_bytes
    return used
