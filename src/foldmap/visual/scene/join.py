"""Joins features to a structure-from-motion model: each observation gets the descriptor of its keypoint.

A model either kept every keypoint of its features in order (hloc, COLMAP with its database): then the keypoint's index
finds the descriptor, once the coordinates agree. Or it kept only those that saw a point: then the nearest keypoint is
taken. Several keypoints may lie in one place (SIFT at different orientations or scales); then their order decides where
the model kept them all, else a second pass takes the one that agrees best with how the track looks from where there was
no choice.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from scipy.spatial import cKDTree

from foldmap.errors import MapInputError
from foldmap.types import AnyArray, BoolArray, FloatArray, IntArray
from foldmap.visual.scene.consensus import Candidates, Choices, choose
from foldmap.visual.source import Features, FeatureSource, SceneModel, Tracks

_INDEX_AGREES = 0.9  # an image's indices are believed when so many of its observations lie at the named keypoint
_AMBIGUOUS_PX = 0.1  # keypoints at most this much farther than the nearest (or twice as far) are candidates too
_MOST_CANDIDATES = 8
_LEAST_FRACTION = 0.5  # the smallest share of the observations that must be joined
_ALIKE, _LEAST_PAIRS, _MOST_PAIRS = 0.95, 500, 5000  # of one point: share of the distance of any two, 0.2 of SIFT
_DIMENSIONS = {"sift": 128, "superpoint": 256, "aliked-n16": 128, "xfeat": 64, "disk": 128, "r2d2": 128, "d2net": 512}


class GlobalSource(Protocol):
    """Global descriptors by name of image."""

    def load(self, name: str) -> FloatArray:
        """Read one image's global descriptor, float32 (G,)."""


@dataclass(frozen=True)
class JoinReport:
    """How the join went: observations joined by keypoint index and by nearest coordinates, points with one that is.

    Ambiguous are those by place that had several keypoints to choose from, and no order to tell them apart.
    """

    observations: int
    by_index: int
    by_place: int
    ambiguous: int
    points: int
    points_left: int

    @property
    def fraction(self) -> float:
        """Share of the observations that found a descriptor."""
        return (self.by_index + self.by_place) / max(self.observations, 1)


@dataclass
class _Joining:
    """The state of a join while images pass by."""

    descriptors: AnyArray | None
    how: AnyArray  # int8 (O,): 0 not joined, 1 by index, 2 by place
    choices: list[Choices]
    beyond: str = ""


def join_features(
    scene: SceneModel,
    features: FeatureSource,
    keypoint_index: IntArray | None = None,
    tolerance_px: float = 1.0,
    report: Callable[[JoinReport], None] | None = None,
) -> SceneModel:
    """Give each observation of a model its descriptor.

    Observations without a keypoint within the tolerance are dropped, and points that lose all of theirs. Descriptors
    are of the source's own type; those that the model had are replaced. Raises `MapInputError`: the model has no
    observations, an image has no features, descriptors change type or dimension between images or are not those of the
    named extractor, or fewer than half of the observations found a keypoint; the message says which.

    Args:
        scene: the model.
        features: of all its images that see points, read one at a time.
        keypoint_index: int64 (O,), which keypoint of its image each observation was (COLMAP's POINT2D_IDX), -1 where
            unknown; None to go by coordinates alone.
        tolerance_px: how far a keypoint may lie from the observation.
        report: is told how it went, before anything is refused.
    """
    tracks = scene.tracks
    if not len(tracks):
        raise MapInputError("the model has no observations", "triangulate points first")
    if keypoint_index is not None and keypoint_index.shape != (len(tracks),):
        raise MapInputError(f"keypoint indices have shape {keypoint_index.shape} for {len(tracks)} observations", "")
    order = np.argsort(tracks.image, kind="stable")
    bounds = np.searchsorted(tracks.image[order], np.arange(len(scene.image_names) + 1))
    _all_there(scene, features, np.flatnonzero(np.diff(bounds)))
    state = _Joining(None, np.zeros(len(tracks), dtype=np.int8), [])
    for image, name in enumerate(scene.image_names):
        rows = order[bounds[image] : bounds[image + 1]]
        if len(rows):
            index = None if keypoint_index is None else keypoint_index[rows]
            _join_image(state, name, rows, tracks.xy_px[rows], features, index, tolerance_px)
    if state.descriptors is None:
        raise MapInputError("no image of the model has a feature", "extract features of these images")
    choices = Choices.stack(state.choices, state.descriptors)
    choose(choices, tracks.point, state.how > 0, state.descriptors)
    joined = state.how > 0
    left = np.bincount(tracks.point[joined], minlength=len(scene.points_world)) > 0
    told = JoinReport(
        observations=len(tracks),
        by_index=int((state.how == 1).sum()),
        by_place=int((state.how == 2).sum()),
        ambiguous=len(choices.row),
        points=len(left),
        points_left=int(left.sum()),
    )
    if report is not None:
        report(told)
    if told.fraction < _LEAST_FRACTION:
        raise MapInputError(
            f"the features do not match the model: {100 * told.fraction:.1f} % of its {told.observations} observations "
            f"lie within {tolerance_px:g} px of a {features.feature} keypoint{state.beyond}",
            "give the features that the model was made from, in pixels of the same image size",
        )
    _require_alike(tracks.point[joined], state.descriptors[joined])
    point = (np.cumsum(left) - 1)[tracks.point[joined]].astype(np.int64)
    kept = Tracks(point, tracks.image[joined], tracks.xy_px[joined], state.descriptors[joined])
    return replace(scene, points_world=scene.points_world[left], tracks=kept, feature=features.feature)


def _require_alike(point: IntArray, descriptors: AnyArray) -> None:
    """Refuse descriptors that tell nothing of their points: in another order than the keypoints, or of other photos."""
    order = np.argsort(point, kind="stable")
    same = point[order[1:]] == point[order[:-1]]
    pairs = np.stack([order[:-1][same], order[1:][same]])
    if pairs.shape[1] < _LEAST_PAIRS:
        return
    one, again = pairs[:, :: -(-pairs.shape[1] // _MOST_PAIRS)]
    seen, other = (descriptors[again].astype(np.float32), descriptors[np.roll(again, len(again) // 2)])
    alike, unlike = (float(np.median(np.linalg.norm(seen - of, axis=1))) for of in (descriptors[one], other))
    if alike > _ALIKE * unlike:
        said = f"descriptors of one point are as unlike as those of others ({alike:.3g} and {unlike:.3g} apart)"
        raise MapInputError(said, "give keypoints and descriptors of one extraction, in one order, of these photos")


def join_global_descriptors(scene: SceneModel, source: GlobalSource) -> SceneModel:
    """Give each image of a model its global descriptor; `MapInputError` where one has none, or lengths differ."""
    rows = [source.load(name) for name in scene.image_names]
    for name, row in zip(scene.image_names, rows, strict=True):
        if row.shape != rows[0].shape:
            raise MapInputError(f"global descriptors of {name!r} have shape {row.shape}, not {rows[0].shape}", "")
    if len(rows) > 1 and all((row == rows[0]).all() for row in rows):
        raise MapInputError(f"the global descriptors of all {len(rows)} images are the same", "compute them again")
    return replace(scene, global_descriptors=np.stack(rows).astype(np.float32))


def _all_there(scene: SceneModel, features: FeatureSource, seeing: IntArray) -> None:
    known = set(features.names())
    missing = [scene.image_names[image] for image in seeing if scene.image_names[image] not in known]
    if missing:
        raise MapInputError(
            f"there are no features of image {missing[0]!r} and {len(missing) - 1} more of the model's {len(seeing)}",
            f"extract features of all images; those there are called like {min(known, default='')!r}",
        )


def _join_image(
    state: _Joining,
    name: str,
    rows: IntArray,
    xy_px: FloatArray,
    source: FeatureSource,
    index: IntArray | None,
    tolerance_px: float,
) -> None:
    """Find the keypoints of one image's observations."""
    found = source.load(name)
    if not len(found.xy_px):
        return
    table = _table(state, name, found, source.feature)
    at_index, by_index = _by_index(state, name, found, xy_px, index, tolerance_px)
    table[rows[by_index]] = found.descriptors[at_index[by_index]]
    state.how[rows[by_index]] = 1
    rest = np.flatnonzero(~by_index)
    if not len(rest):
        return
    most = min(_MOST_CANDIDATES, len(found.xy_px))
    distance, nearest = cKDTree(found.xy_px).query(
        xy_px[rest], k=np.arange(1, most + 1), distance_upper_bound=np.nextafter(tolerance_px, np.inf)
    )
    near = np.isfinite(distance[:, 0])
    rest, distance, nearest = rest[near], distance[near], nearest[near]
    chosen = nearest[:, 0].copy()
    reach = np.minimum(distance[:, :1] + np.maximum(_AMBIGUOUS_PX, distance[:, :1]), tolerance_px)
    candidates = Candidates(distance <= reach, nearest)
    open_ = candidates.several
    if index is not None:
        ranked, keypoint = candidates.by_rank(index[rest])
        chosen[ranked] = keypoint[ranked]
        open_ = open_ & ~ranked
    table[rows[rest]] = found.descriptors[chosen]
    state.how[rows[rest]] = 2
    if open_.any():
        state.choices.append(candidates.choices(open_, rows[rest], found.descriptors))


def _table(state: _Joining, name: str, found: Features, feature: str) -> AnyArray:
    """The descriptors of all observations, made for the first image and checked for the others."""
    size, kind = found.descriptors.shape[1], found.descriptors.dtype
    if state.descriptors is None:
        expected = _DIMENSIONS.get(feature, size)
        if size != expected or (kind == np.uint8 and feature in _DIMENSIONS and feature != "sift"):
            what = f"descriptors of {name!r} have {size} values of type {kind}, {feature} has {expected}"
            raise MapInputError(what, "name the extractor that made the features")
        state.descriptors = np.zeros((len(state.how), size), dtype=kind)
    table = state.descriptors
    whose = f"descriptors of {name!r} have"
    if table.shape[1] != size:
        raise MapInputError(f"{whose} dimension {size}, those before {table.shape[1]}", "use one extractor for all")
    if table.dtype != kind:
        raise MapInputError(f"{whose} type {kind}, those before {table.dtype}", "write all with one type")
    return table


def _by_index(
    state: _Joining, name: str, found: Features, xy_px: FloatArray, index: IntArray | None, tolerance_px: float
) -> tuple[IntArray, BoolArray]:
    """Which observations lie at the keypoint that their index names, if nearly all of the image do."""
    nobody = np.zeros(len(xy_px), dtype=bool)
    if index is None:
        return np.zeros(len(xy_px), dtype=np.int64), nobody
    count = len(found.xy_px)
    if not state.beyond and index.max(initial=-1) >= count:
        state.beyond = f"; the model has a keypoint {index.max()} in {name!r}, of which there are {count} features"
    inside = (index >= 0) & (index < count)
    safe = np.where(inside, index, 0)
    agrees = inside & (np.linalg.norm(found.xy_px[safe] - xy_px, axis=1) <= tolerance_px)
    return safe, agrees if agrees.mean() >= _INDEX_AGREES else nobody
