"""Write a scene's chosen points into a .fold file: tiles of points, and what finds them again.

Tiles of row 0 hold points, those of row 3 from where these were seen; (0, 1) the images, (1, 1) which tiles each group
of images sees, (0, 2) the images' global descriptors. Small maps have one tile of points and nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from foldmap.atlas import FoldWriter
from foldmap.errors import ConfigError, MapInputError
from foldmap.types import BoolArray, DoubleArray, FloatArray, IntArray
from foldmap.visual.codes.codecs import DescriptorCodec
from foldmap.visual.codes.points_codec import tolerance_from_views
from foldmap.visual.codes.poses_codec import MapImages, encode_images
from foldmap.visual.codes.viewing_codec import Viewing, encode_viewing
from foldmap.visual.codes.visibility_codec import MAX_DECISIONS, visibility_matrix
from foldmap.visual.match.guided import thinned
from foldmap.visual.match.likeness import least_similarity
from foldmap.visual.retrieval.image_index import SMALL_MAP, fold_retrieval
from foldmap.visual.scene.average import track_means
from foldmap.visual.scene.noise import reprojection_noise_px
from foldmap.visual.source import SceneModel
from foldmap.visual.tile import pack_tile

LAYER = "visual"
CODEC_MODEL, VLAD_MODEL = "codec", "vlad"
IMAGES_KEY, TILES_KEY, GLOBALS_KEY = (0, 1), (1, 1), (0, 2)
VIEWING_ROW, VIEWING = 3, 1  # of tiles that say from where points were seen, and how
TILE_POINTS = 8192
SAMPLED_POINTS = 4096
POSE_ERROR = 1e-3
"""Of stored image poses: radians, and share of the scene's radius."""


@dataclass(frozen=True)
class VisualPlan:
    """What of a scene goes into a file, and how.

    Attributes:
        kept: int64, ascending indices of the points.
        codec: of their descriptors.
        error_px: how far quantized positions may move reprojections, root mean square; None: a third of the noise.
        images: keep the images' poses, names, visibility and what retrieval needs; None: only for maps of more than
            `SMALL_MAP` points, which need it.
        group: images in sequence that share one visibility.
        tile_points: most points of a tile.
        seed: of retrieval's vocabulary.
    """

    kept: IntArray
    codec: DescriptorCodec
    error_px: float | None = None
    images: bool | None = None
    group: int = 4
    tile_points: int = TILE_POINTS
    seed: int = 0

    @property
    def keeps_images(self) -> bool:
        """Whether the file is searched by image."""
        return len(self.kept) > SMALL_MAP if self.images is None else self.images


@dataclass(frozen=True)
class VisualReport:
    """What a folded scene holds, and its bytes by use: geometry, codes, viewing, visibility, retrieval, codec.

    ``error_px`` is of the positions, as `VisualPlan.error_px`; ``noise_px`` is the scene's reprojection noise, robust,
    one direction.
    """

    points: int
    tiles: int
    images: int
    bytes: Mapping[str, int]
    error_px: float
    noise_px: float


def fold_visual(
    writer: FoldWriter,
    scene: SceneModel,
    plan: VisualPlan,
    *,
    means: FloatArray | None = None,
    layer: str = LAYER,
    facts: Mapping[str, Any] | None = None,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> VisualReport:
    """Fold a scene into a file that is being written; a layer of that name is replaced whole.

    Args:
        writer: of the file; the caller commits.
        scene: with tracks and descriptors.
        plan: which points, and how.
        means: float32 (P, D), `track_means` of the scene, where they are at hand.
        layer: its name.
        facts: more of its parameters.
        report: called with tiles done and in all.

    Raises:
        MapInputError: nothing is kept, or descriptors do not fit the points or the codec.
        ConfigError: a plan that makes no sense.
    """
    means = track_means(scene) if means is None else means
    _check(scene, means, plan)
    chosen = scene.keep_points(plan.kept)
    means = means[plan.kept]
    noise_px = reprojection_noise_px(chosen)
    error_px = noise_px / 3.0 if plan.error_px is None else plan.error_px
    tolerance_world = tolerance_from_views(chosen, error_px)
    tiles = split_boxes(chosen.points_world, plan.tile_points)
    grouped = seen_by_groups(chosen, plan.group) if plan.keeps_images else None
    writer.put_layer(layer, "visual", {})
    used: Counter[str] = Counter()
    viewing = Viewing.of(chosen)
    sees = np.zeros((len(tiles), 0 if grouped is None else grouped.shape[1]), bool)
    for number, rows in enumerate(tiles):
        visible = None if grouped is None else grouped[rows]
        payload, order, sizes = pack_tile(
            chosen.points_world[rows], tolerance_world[rows], means[rows], visible, plan.codec
        )
        writer.put_tile(layer, number, 0, payload)
        sides = encode_viewing(viewing.take(rows[order]))
        writer.put_tile(layer, number, VIEWING_ROW, sides)
        used["viewing"] += len(sides)
        if visible is not None:
            sees[number] = visible.any(axis=0)
        used.update(sizes)
        report(number + 1, len(tiles))
    retrieval = None
    if grouped is not None:
        retrieval = fold_retrieval(chosen, seed=plan.seed)
        put_images(writer, layer, chosen, sees, retrieval.images)
        if retrieval.vlad is not None:
            writer.put_model(layer, VLAD_MODEL, retrieval.vlad, "retrieval")
    model = plan.codec.model()
    if model is not None:
        writer.put_model(layer, CODEC_MODEL, model, "descriptor codec")
    told = {
        **(facts or {}),
        **plan.codec.parameters(),
        "feature": scene.feature,
        "dimension": plan.codec.dimension,
        "points": len(chosen.points_world),
        "tiles": len(tiles),
        "viewing": VIEWING,
        "error_px": round(error_px, 4),
        "noise_px": round(noise_px, 4),
        "similarity": round(similarity_of(chosen, means, plan.codec), 3),
        "metric": scene.metric,
        "radius_world": float(f"{chosen.radius_world:.6g}"),
        "images": 0 if retrieval is None else len(chosen.image_names),
        "group": 0 if retrieval is None else plan.group,
        "retrieval": "none" if retrieval is None else "vlad" if retrieval.vlad is not None else "global",
    }
    writer.set_parameters(layer, told)
    used["codec"] = len(model or b"")
    used["retrieval"] = 0 if retrieval is None else retrieval.size
    return VisualReport(len(chosen.points_world), len(tiles), told["images"], used, error_px, noise_px)


def split_boxes(points_world: DoubleArray, most: int) -> list[IntArray]:
    """Indices (int64, ascending) of boxes of at most so many points, halved at the median of their longest side."""
    pending, done = [np.arange(len(points_world), dtype=np.int64)], []
    while pending:
        rows = pending.pop()
        if len(rows) <= most:
            done.append(np.sort(rows))
            continue
        side = int(np.argmax(np.ptp(points_world[rows], axis=0)))
        order = rows[np.argsort(points_world[rows, side], kind="stable")]
        pending += [order[len(order) // 2 :], order[: len(order) // 2]]
    return done


def _check(scene: SceneModel, means: FloatArray, plan: VisualPlan) -> None:
    if not len(plan.kept):
        raise MapInputError("no points are kept", "keep some")
    if means.shape != (len(scene.points_world), plan.codec.dimension):
        raise MapInputError(
            f"descriptors {means.shape} do not fit {len(scene.points_world)} points of {plan.codec.dimension} numbers",
            "give the mean descriptor of each track, and a codec of that feature",
        )
    if plan.tile_points < 1 or plan.group < 1:
        raise ConfigError(f"tiles of {plan.tile_points} points, groups of {plan.group} images", "give at least 1")
    groups = -(-len(scene.image_names) // plan.group)
    if plan.keeps_images and min(plan.tile_points, len(plan.kept)) * groups > MAX_DECISIONS:
        raise ConfigError(
            f"tiles of {plan.tile_points} points seen by {groups} groups of images are more than a reader decodes",
            "share visibility among more images in a group, or make tiles smaller",
        )


def seen_by_groups(scene: SceneModel, group: int) -> BoolArray:
    """Which groups of so many images in sequence see which points, bool (P, groups)."""
    shape = (len(scene.points_world), -(-len(scene.image_names) // group))
    return visibility_matrix(scene.tracks.point, scene.tracks.image // group, shape)


def similarity_of(scene: SceneModel, means: FloatArray, codec: DescriptorCodec) -> float:
    """What `least_similarity` says of some of the points, as they will be decoded."""
    rows = thinned(np.arange(len(means), dtype=np.int64), SAMPLED_POINTS)
    return least_similarity(scene, rows, codec.decode(codec.encode(means[rows]), len(rows)))


def put_images(writer: FoldWriter, layer: str, scene: SceneModel, sees: BoolArray, global_codes: bytes) -> None:
    """Write what finds the points of a large map: images, which groups of them see which tiles, global descriptors."""
    images = MapImages(scene.cameras, scene.image_camera, scene.camera_SE3_world, scene.image_names)
    writer.put_tile(layer, *IMAGES_KEY, encode_images(images, POSE_ERROR * scene.radius_world, POSE_ERROR))
    writer.put_tile(layer, *TILES_KEY, np.packbits(sees).tobytes())
    writer.put_tile(layer, *GLOBALS_KEY, global_codes)
