"""What the visual layer folds (a structure-from-motion scene) and what a camera brings: plain validated data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from foldmap.errors import MapInputError
from foldmap.geometry.camera import Camera
from foldmap.geometry.quaternion import centres_of
from foldmap.types import AnyArray, DoubleArray, FloatArray, IntArray

INTRINSICS = ("given", "exif", "guessed")
"""Where the intrinsics of a query are from."""


@dataclass(frozen=True)
class Tracks:
    """Which image sees which point, where, and how it looked: one row an observation, sorted by point."""

    point: IntArray  # int64 (O,), index into the scene's points, ascending
    image: IntArray  # int64 (O,), index into the scene's images
    xy_px: FloatArray  # float32 (O, 2), COLMAP pixels
    # (O, D) as the extractor wrote them: uint8 (COLMAP's SIFT), float16 or float32; None before features were joined to
    # the model
    descriptors: AnyArray | None

    def __len__(self) -> int:
        return len(self.point)

    def take(self, kept: AnyArray) -> Tracks:
        """Some rows, by mask or index."""
        described = None if self.descriptors is None else self.descriptors[kept]
        return Tracks(self.point[kept], self.image[kept], self.xy_px[kept], described)


@dataclass(frozen=True)
class SceneModel:
    """A structure-from-motion map.

    Lengths are in world units: metres where the model is metric (`metric`), else whatever scale it was built at. Raises
    `MapInputError`: an array has another shape, an index points nowhere, a value is not finite, a track is empty or
    observations are not sorted by point; the message names the first offender.
    """

    cameras: tuple[Camera, ...]  # intrinsics
    image_names: tuple[str, ...]  # (I,) names, as the model writes them
    image_camera: IntArray  # int64 (I,), index into `cameras`
    camera_SE3_world: DoubleArray  # float64 (I, 4, 4), poses of the images
    points_world: DoubleArray  # float64 (P, 3)
    tracks: Tracks  # observations
    feature: str = "sift"  # which extractor made the descriptors: "sift", "aliked-n16", "xfeat", "superpoint", ...
    global_descriptors: FloatArray | None = None  # float32 (I, G) one an image, or None
    metric: bool = False  # whether world units are metres

    def __post_init__(self) -> None:
        images, points, rows = len(self.image_names), len(self.points_world), len(self.tracks)
        _shape("image_camera", self.image_camera, (images,))
        _shape("camera_SE3_world", self.camera_SE3_world, (images, 4, 4))
        _shape("points_world", self.points_world, (points, 3))
        _shape("tracks.point", self.tracks.point, (rows,))
        _shape("tracks.image", self.tracks.image, (rows,))
        _shape("tracks.xy_px", self.tracks.xy_px, (rows, 2))
        if len(set(self.image_names)) != images:
            twice = next(name for at, name in enumerate(self.image_names) if name in self.image_names[:at])
            raise MapInputError(f"two images of the scene are called {twice!r}", "rename one")
        _within("image_camera", self.image_camera, len(self.cameras), "cameras")
        _within("tracks.point", self.tracks.point, points, "points")
        _within("tracks.image", self.tracks.image, images, "images")
        if (np.diff(self.tracks.point) < 0).any():
            raise MapInputError("observations are not sorted by point", "sort the rows of the tracks by point")
        empty = np.flatnonzero(np.bincount(self.tracks.point, minlength=points) == 0)
        if len(empty):
            raise MapInputError(f"point {empty[0]} has an empty track", "drop points that no image sees")
        _finite("points_world", self.points_world)
        _finite("camera_SE3_world", self.camera_SE3_world)
        _finite("tracks.xy_px", self.tracks.xy_px)
        if self.tracks.descriptors is not None:
            _described(self.tracks.descriptors, rows, "observation")
            if self.tracks.descriptors.shape[1] == 0:
                raise MapInputError("descriptors have no numbers", "extract features again")
        if self.global_descriptors is not None:
            if self.global_descriptors.ndim != 2 or len(self.global_descriptors) != images:
                shape = self.global_descriptors.shape
                raise MapInputError(f"global descriptors have shape {shape} for {images} images", "give one an image")
            _finite("global descriptors", self.global_descriptors)

    @property
    def track_first(self) -> IntArray:
        """int64 (P + 1,): observations of point p are rows ``track_first[p]`` to ``track_first[p + 1]``."""
        return np.searchsorted(self.tracks.point, np.arange(len(self.points_world) + 1)).astype(np.int64)

    @property
    def described(self) -> AnyArray:
        """The descriptors of `tracks`; `MapInputError` where features were not joined to the scene."""
        if self.tracks.descriptors is None:
            raise MapInputError("the scene has no descriptors", "give its features: features.h5, or a database")
        return self.tracks.descriptors

    @property
    def centres_world(self) -> DoubleArray:
        """Where the images were taken, float64 (I, 3)."""
        return centres_of(self.camera_SE3_world)

    @property
    def radius_world(self) -> float:
        """The scene's radius: 80th percentile of the points' distance from their median."""
        if not len(self.points_world):
            raise MapInputError("the scene has no points", "triangulate points first")
        from_median = np.linalg.norm(self.points_world - np.median(self.points_world, axis=0), axis=1)
        return float(np.percentile(from_median, 80))

    def camera_of(self, image: int) -> Camera:
        """Intrinsics of an image."""
        return self.cameras[int(self.image_camera[image])]

    def keep_points(self, kept: AnyArray) -> SceneModel:
        """The scene with some of its points only, in their order: bool (P,) or indices."""
        mask = np.zeros(len(self.points_world), bool)
        mask[kept] = True
        renumber = np.cumsum(mask) - 1
        tracks = self.tracks.take(mask[self.tracks.point])
        tracks = replace(tracks, point=renumber[tracks.point].astype(np.int64))
        return replace(self, points_world=self.points_world[mask], tracks=tracks)

    def without_images(self, names: Sequence[str], min_observations: int = 3) -> SceneModel:
        """The scene as if some images had never been taken, for honest tests.

        Their observations leave every track, then points with fewer than ``min_observations`` leave. `MapInputError`
        where a name is no image of the scene, or no point is left.
        """
        gone = set(names)
        unknown = gone - set(self.image_names)
        if unknown:
            raise MapInputError(f"the scene has no image {min(unknown)!r}", "check the list of names")
        stay = np.array([name not in gone for name in self.image_names], dtype=bool)
        rows = stay[self.tracks.image]
        seen = np.bincount(self.tracks.point[rows], minlength=len(self.points_world)) >= min_observations
        if not seen.any():
            raise MapInputError(f"no point is left with {min_observations} observations", "take fewer images away")
        tracks = self.tracks.take(rows & seen[self.tracks.point])
        point, image = ((np.cumsum(mask) - 1).astype(np.int64) for mask in (seen, stay))
        return replace(
            self,
            image_names=tuple(name for name in self.image_names if name not in gone),
            image_camera=self.image_camera[stay],
            camera_SE3_world=self.camera_SE3_world[stay],
            points_world=self.points_world[seen],
            tracks=replace(tracks, point=point[tracks.point], image=image[tracks.image]),
            global_descriptors=None if self.global_descriptors is None else self.global_descriptors[stay],
        )


class FeatureSource(Protocol):
    """Features of images, read one image at a time: an hloc HDF5 file, a COLMAP database, an extractor at work."""

    @property
    def feature(self) -> str:
        """Which extractor: "sift", "aliked-n16", ..."""

    def names(self) -> Sequence[str]:
        """The images it has features of."""

    def load(self, name: str) -> Features:
        """Read one image's features; `MapInputError` where there are none of it, or damaged ones."""


@dataclass(frozen=True)
class Features:
    """Local features of one image; `MapInputError` where shapes disagree or values are not finite.

    Attributes:
        xy_px: float32 (N, 2) keypoints, COLMAP pixels.
        descriptors: (N, D) uint8, float16 or float32.
        scores: float32 (N,) of the detector, higher is better (SIFT: the keypoint's scale in px), or None.
    """

    xy_px: FloatArray
    descriptors: AnyArray
    scores: FloatArray | None = None

    def __post_init__(self) -> None:
        count = len(self.xy_px)
        _shape("keypoints", self.xy_px, (count, 2))
        _finite("keypoints", self.xy_px)
        _described(self.descriptors, count, "keypoint")
        if self.scores is not None:
            _shape("scores", self.scores, (count,))


@dataclass(frozen=True)
class Query:
    """What one camera image brings to be localized.

    Attributes:
        name: for messages and results.
        camera: intrinsics.
        features: local features.
        global_descriptor: float32 (G,) for retrieval with the user's own global descriptors, or None.
        camera_SE3_rig: float64 (4, 4) extrinsics within a rig; None for a single camera.
        intrinsics: where they are from: "given", "exif" (a focal length in EXIF) or "guessed".
    """

    name: str
    camera: Camera
    features: Features
    global_descriptor: FloatArray | None = None
    camera_SE3_rig: DoubleArray | None = None
    intrinsics: str = "given"

    def __post_init__(self) -> None:
        if self.intrinsics not in INTRINSICS:
            what = f"image {self.name!r} has intrinsics {self.intrinsics!r}"
            raise MapInputError(what, f"say {', '.join(INTRINSICS)}")


def unit_descriptors(descriptors: AnyArray) -> FloatArray:
    """Rows as float32 of length 1; an all-zero row stays zero."""
    values = np.asarray(descriptors, dtype=np.float32)
    norm = np.linalg.norm(values, axis=1, keepdims=True)
    return np.asarray((values / np.where(norm > 0, norm, 1)).astype(np.float32))


def _shape(what: str, array: AnyArray, shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise MapInputError(f"{what} has shape {array.shape}, not {shape}", "check what made the scene")


def _described(descriptors: AnyArray, count: int, of: str) -> None:
    if descriptors.ndim != 2 or len(descriptors) != count:
        raise MapInputError(f"descriptors have shape {descriptors.shape} for {count} {of}s", f"give one a {of}")
    if descriptors.dtype not in (np.uint8, np.float16, np.float32):
        raise MapInputError(f"descriptors are {descriptors.dtype}", "give uint8, float16 or float32")
    if descriptors.dtype != np.uint8:
        _finite("descriptors", descriptors)


def _within(what: str, index: AnyArray, size: int, of: str) -> None:
    if len(index) and not (index.min() >= 0 and index.max() < size):
        raise MapInputError(f"{what} points to {index.min()}..{index.max()} of {size} {of}", "the model is damaged")


def _finite(what: str, array: AnyArray) -> None:
    if not np.isfinite(array).all():
        row = int(np.argwhere(~np.isfinite(array))[0][0])
        raise MapInputError(f"{what} has NaN or infinite values, first in row {row}", "recompute or drop that row")
