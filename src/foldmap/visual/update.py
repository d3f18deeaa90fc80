"""Update the visual layer of a .fold file from a new scene: tiles whose points changed are written and no others.

points of the file <--within their tolerance, most alike--> points of the scene: what stays, goes and comes
each tile --same points, same codes, seen by the same images?--> kept, or coded again
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from foldmap.atlas import FoldUpdater
from foldmap.errors import MapInputError
from foldmap.types import BoolArray, DoubleArray, FloatArray, IntArray
from foldmap.visual.codes.codecs import DescriptorCodec
from foldmap.visual.codes.global_codec import encode_globals
from foldmap.visual.codes.points_codec import tolerance_from_views
from foldmap.visual.codes.viewing_codec import Viewing, encode_viewing
from foldmap.visual.fold import (
    LAYER,
    POSE_ERROR,
    TILE_POINTS,
    VIEWING_ROW,
    VisualPlan,
    put_images,
    seen_by_groups,
    similarity_of,
    split_boxes,
)
from foldmap.visual.retrieval.vlad import describe_images
from foldmap.visual.scene.average import track_means
from foldmap.visual.scene.noise import reprojection_noise_px
from foldmap.visual.select import choose_points
from foldmap.visual.source import SceneModel
from foldmap.visual.tile import PointTile, pack_tile, pack_visible, tile_parts
from foldmap.visual.unfold import FoldedVisual

_BOX_POINTS, _EMPTY_BOXES = 64, 0.75
_LEAST_SHARED = 0.5
_WORSE, _SLACK = 1.5, 0.01
"""Codes no longer fit where new descriptors come back so much less alike than the file's own did."""
_NEAREST = 4
_CURE = "fold the scene anew into the file (foldmap fold SCENE --into MAP.fold)"
Report = Callable[[int, int], None]


@dataclass(frozen=True)
class VisualUpdate:
    """What an update wrote.

    Attributes:
        changed: tiles that hold other points, codes or visibility than before, new ones included.
        removed: tiles that are no more.
        kept: tiles that stayed bit for bit.
        points: of the layer afterwards.
        added, lost: points that joined and that the scene has no more.
        rows: the scene's points that the layer holds now, int64, ascending.
        parameters: of the layer afterwards.
    """

    changed: tuple[int, ...]
    removed: tuple[int, ...]
    kept: int
    points: int
    added: int
    lost: int
    rows: IntArray
    parameters: Mapping[str, Any]

    def plan(self, codec: DescriptorCodec) -> VisualPlan:
        """What folds the same points anew, with the tolerances of the file."""
        images = bool(self.parameters["images"])
        return VisualPlan(self.rows, codec, float(self.parameters["error_px"]), images, self.parameters["group"] or 4)


def update_visual(
    updater: FoldUpdater,
    scene: SceneModel,
    *,
    points: int | None = None,
    layer: str = LAYER,
    report: Report = lambda done, total: None,
) -> VisualUpdate:
    """Fold again what changed of a scene, with the codec and the tolerances of the file.

    Points of the file that the scene still has stay. Of the others in the scene all join where the file holds about
    all of its points; a file of chosen points takes as many as it lost, from where it lost them.

    Args:
        updater: of the file; the caller commits.
        scene: the new scene, in the frame of the folded one.
        points: keep so many in all instead.
        layer: its name.
        report: called with tiles done and in all.

    Raises:
        MapInputError: another feature, another frame or scene, or descriptors that the file's codec does not fit: the
            message says to fold the scene anew.
    """
    means = track_means(scene)
    folded = FoldedVisual(updater.before, layer, tiles_kept=1)
    if (scene.feature, means.shape[1]) != (folded.feature, folded.dimension):
        there, here = f"{folded.feature} of {folded.dimension}", f"{scene.feature} descriptors of {means.shape[1]}"
        raise MapInputError(f"the scene has {here} numbers, the file {there}", _CURE)
    tiles = [folded.tile(number) for number in range(folded.tiles)]
    tolerance = tolerance_from_views(scene, float(folded.parameters["error_px"]))
    row_of = _rows_of(tiles, scene.points_world, tolerance, means)
    rows = _with_new_points(scene, tiles, row_of, points)
    every = np.sort(np.concatenate(rows))
    chosen = scene.keep_points(every)
    grouped = seen_by_groups(chosen, folded.group) if folded.groups else None
    payloads: dict[int, bytes] = {}
    sides: dict[int, bytes] = {}
    viewing = Viewing.of(scene)
    coded, kept = [], []
    for number, held in enumerate(rows):
        before = row_of[number] if number < len(row_of) else held[:0]
        visible = None if grouped is None else grouped[np.searchsorted(every, held)]
        if len(held) == len(before) and np.array_equal(np.sort(before), held):
            stored = updater.before.tile(layer, number, 0) or b""
            seen = None if grouped is None else grouped[np.searchsorted(every, before)]
            if _same(stored, tiles[number], folded.codec, means[before], seen):
                payloads[number] = stored
                sides[number] = updater.before.tile(layer, number, VIEWING_ROW) or b""
                kept.append(number)
        if len(held) and number not in payloads:
            points_world = scene.points_world[held]
            payloads[number], stored_as, _ = pack_tile(
                points_world, tolerance[held], means[held], visible, folded.codec
            )
            sides[number] = encode_viewing(viewing.take(held[stored_as]))
            coded.append(held)
        report(number + 1, len(rows))
    _require_fit(folded.codec, tiles, row_of, kept, means, coded)
    order = _without_gaps(len(rows), payloads)
    changed, removed = _put_tiles(updater, layer, [payloads[number] for number in order], folded.tiles)
    if folded.viewing:
        _put_tiles(updater, layer, [sides[number] for number in order], folded.tiles, VIEWING_ROW)
    parameters = dict(folded.parameters)
    if changed or removed or (folded.groups and not _same_images(folded, scene)):
        if grouped is not None:
            sees = np.array([grouped[np.searchsorted(every, rows[number])].any(axis=0) for number in order])
            put_images(updater, layer, chosen, sees, _global_codes(folded, chosen))
        facts = {
            "points": len(every),
            "tiles": len(order),
            "noise_px": round(reprojection_noise_px(chosen), 4),
            "similarity": round(similarity_of(chosen, means[every], folded.codec), 3),
            "images": len(scene.image_names) if folded.groups else 0,
        }
        parameters |= facts
        updater.set_parameters(layer, parameters)
    stayed = sum(int((found >= 0).sum()) for found in row_of)
    added, lost = len(every) - stayed, folded.points - stayed
    return VisualUpdate(changed, removed, len(order) - len(changed), len(every), added, lost, every, parameters)


def _rows_of(
    tiles: list[PointTile], points_world: DoubleArray, tolerance: DoubleArray, means: FloatArray
) -> list[IntArray]:
    """For each point of each tile the scene's point that it is, -1 where it has none: int64 (P,) a tile.

    Of several points within their tolerance the one with the most similar descriptor is taken, each once.
    """
    old = np.concatenate([tile.points_world for tile in tiles])
    looks = np.concatenate([tile.descriptors for tile in tiles])
    apart, near = cKDTree(points_world).query(old, k=min(_NEAREST, len(points_world)))
    apart, near = apart.reshape(len(old), -1), near.reshape(len(old), -1)
    of, rank = np.nonzero(apart <= 1.01 * tolerance[near])
    row = near[of, rank]
    order = np.argsort(-np.einsum("nd,nd->n", looks[of], means[row]), kind="stable")
    found = np.full(len(old), -1, np.int64)
    taken = np.zeros(len(points_world), bool)
    for one, this in zip(of[order].tolist(), row[order].tolist(), strict=True):
        if found[one] < 0 and not taken[this]:
            found[one] = this
            taken[this] = True
    shared = float((found >= 0).mean())
    if shared < _LEAST_SHARED:
        raise MapInputError(
            f"of the file's points the scene has {shared:.0%} where they were: another frame, or another scene", _CURE
        )
    return np.split(found, np.cumsum([len(tile) for tile in tiles])[:-1])


def _with_new_points(
    scene: SceneModel, tiles: list[PointTile], row_of: list[IntArray], wanted: int | None
) -> list[IntArray]:
    """The scene's points that each tile is to hold, ascending; tiles that grew too large are halved."""
    held = [np.sort(rows[rows >= 0]) for rows in row_of]
    stay, before = np.concatenate(held), sum(map(len, row_of))
    others = np.setdiff1d(np.arange(len(scene.points_world)), stay)
    owner = np.repeat(np.arange(len(tiles)), [len(tile) for tile in tiles])
    old_points = np.concatenate([tile.points_world for tile in tiles])
    nearest = cKDTree(old_points).query(scene.points_world[others])[1]
    tile_of = owner[nearest]
    if wanted is not None:
        room = wanted - len(stay)
    elif _holds_everything(old_points, nearest):
        room = len(others)
    else:
        room = before - len(stay)
        lossy = np.array([len(rows) < len(old) for rows, old in zip(held, row_of, strict=True)])
        others, tile_of = others[lossy[tile_of]], tile_of[lossy[tile_of]]
    if 0 < room < len(others):
        kept = choose_points(scene.keep_points(others), room).kept
        others, tile_of = others[kept], tile_of[kept]
    elif room <= 0:
        others, tile_of = others[:0], tile_of[:0]
    rows = [np.sort(np.concatenate([old, others[tile_of == number]])) for number, old in enumerate(held)]
    for number in range(len(rows)):
        if len(rows[number]) > 2 * TILE_POINTS:
            first, *more = split_boxes(scene.points_world[rows[number]], TILE_POINTS)
            rows += [rows[number][box] for box in more]
            rows[number] = rows[number][first]
    return rows


def _holds_everything(old_points: DoubleArray, nearest: IntArray) -> bool:
    """Whether a file was folded of all points of its scene: then most places in it have no other points about.

    ``nearest`` is the file's point nearest to each other point of the scene, int64 (N,).
    """
    boxes = split_boxes(old_points, _BOX_POINTS)
    others = np.bincount(nearest, minlength=len(old_points))
    return float(np.mean([others[box].sum() == 0 for box in boxes])) >= _EMPTY_BOXES


def _same(
    payload: bytes, tile: PointTile, codec: DescriptorCodec, means: FloatArray, visible: BoolArray | None
) -> bool:
    """Whether descriptors and visibility of points in their stored order code to what a tile holds."""
    _, _, codes, seen = tile_parts(payload)
    return codec.encode(means) == codes and (visible is None or pack_visible(visible, tile.points_world) == seen)


def _require_fit(
    codec: DescriptorCodec,
    tiles: list[PointTile],
    row_of: list[IntArray],
    kept: list[int],
    means: FloatArray,
    changed: list[IntArray],
) -> None:
    """Refuse descriptors that come back less alike than the file's own do, by the tiles that are kept, if any are."""
    if not changed:
        return
    of = kept or range(len(tiles))
    old, found = np.concatenate([tiles[k].descriptors for k in of]), np.concatenate([row_of[k] for k in of])
    usual = float(np.median(np.einsum("nd,nd->n", old[found >= 0], means[found[found >= 0]])))
    new = np.concatenate([codec.decode(codec.encode(means[rows]), len(rows)) for rows in changed])
    alike = float(np.einsum("nd,nd->n", new, means[np.concatenate(changed)]).mean())
    if 1 - alike > _WORSE * (1 - usual) + _SLACK:
        raise MapInputError(
            f"the file's codec does not fit what is new: descriptors come back {alike:.2f} alike, once {usual:.2f}",
            _CURE,
        )


def _without_gaps(count: int, payloads: dict[int, bytes]) -> list[int]:
    """Which tile stands at each number: tiles that lost all their points are replaced by the last ones."""
    order = list(range(count))
    for number in range(count):
        while number < len(order) and order[number] not in payloads:
            last = order.pop()
            if number < len(order):
                order[number] = last
    return order


def _put_tiles(
    updater: FoldUpdater, layer: str, payloads: list[bytes], before: int, row: int = 0
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Write the tiles of a row that differ, remove those beyond the last; numbers of both."""
    changed = [number for number, data in enumerate(payloads) if data != updater.before.tile(layer, number, row)]
    for number in changed:
        updater.put_tile(layer, number, row, payloads[number])
    removed = tuple(range(len(payloads), before))
    for number in removed:
        updater.remove_tile(layer, number, row)
    return tuple(changed), removed


def _same_images(folded: FoldedVisual, scene: SceneModel) -> bool:
    there = folded.images()
    if there.camera_SE3_world.shape != scene.camera_SE3_world.shape or there.image_names != scene.image_names:
        return False
    moved = np.abs(there.camera_SE3_world - scene.camera_SE3_world)
    return bool(moved[:, :3, :3].max() < 2 * POSE_ERROR and moved[:, :3, 3].max() < 4 * POSE_ERROR * scene.radius_world)


def _global_codes(folded: FoldedVisual, scene: SceneModel) -> bytes:
    """Global descriptors of the images: the user's, or those that the file's own vocabulary makes."""
    vlad = folded.retriever().vlad
    described = scene.global_descriptors if vlad is None else describe_images(scene, vlad)
    if described is None:
        raise MapInputError("the file is searched by global descriptors, and the scene has none", "give --globals")
    return encode_globals(described)
