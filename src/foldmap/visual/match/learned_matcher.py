"""A learned matcher of image pairs used on a map: each retrieved image shows the points that it sees.

query's keypoints --network, image by image--> pairs with projected points --scores added up--> 2D-3D matches

A folded map has no keypoints of its images any more; where a point appears in one follows from the image's stored
pose, and how it looks from the point's decoded descriptor.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from foldmap.errors import MapInputError
from foldmap.types import DoubleArray, FloatArray, IntArray
from foldmap.visual.codes.poses_codec import MapImages
from foldmap.visual.decoded import MapPoints
from foldmap.visual.match.guided import thinned
from foldmap.visual.match.matching import Matches
from foldmap.visual.match.pair_networks import PairNetwork, Side
from foldmap.visual.match.view import View, ideal_extent


class ImageMap(Protocol):
    """A map that keeps its images' poses: a folded one."""

    @property
    def dimension(self) -> int:
        """Length of a descriptor."""

    def images(self) -> MapImages:
        """Cameras and poses of the map's images; raises LayerError where it keeps none."""


@dataclass(frozen=True)
class PairSettings:
    """How pairs of images are matched."""

    images: int = 5  # so many of the images that retrieval finds are matched, the best ones
    keypoints: int = 1024  # at most so many of the query, the first: extractors write the strongest first
    points: int = 1024  # at most so many points of an image, evenly chosen
    score: float = 0.1  # least score of a pair


class LearnedMatcher:
    """Matches with a network of `open_pair_network`; see `foldmap.visual.match.matchers.Matcher`.

    Raises `MapInputError`: the network was trained for other descriptors; `LayerError`: the map keeps no images.
    """

    def __init__(self, network: PairNetwork, visual_map: ImageMap, settings: PairSettings | None = None) -> None:
        if network.dimension != visual_map.dimension:
            what = f"the matcher wants descriptors of {network.dimension} numbers"
            raise MapInputError(f"{what}, the map's are of {visual_map.dimension}", "give this feature's matcher")
        self._network, self._images = network, visual_map.images()
        self._extent = [ideal_extent(camera) for camera in self._images.cameras]
        self.settings = settings or PairSettings()

    def match(self, view: View, around: MapPoints, most: int) -> Matches:
        """See `Matcher.match`; the ratio of a match is one minus the mean of its scores over the images tried."""
        if around.visibility is None:
            raise MapInputError("the map's points come without images", "localize in a map folded with --keep-images")
        settings = self.settings
        count = min(most, settings.keypoints, len(view.xy_px))
        query = Side(_centred(view.xy_px[:count], view.low_px, view.high_px), view.descriptors[:count])
        keypoints, points, scores = [], [], []
        descriptors, tried = around.descriptors, 0
        for image, seen in around.visibility:
            if tried == settings.images:
                break
            shown, xy = self._shown(image, around.points_world, seen)
            if not len(shown) or not count:
                continue
            tried += 1
            pairs, score = self._network.pair(query, Side(xy, descriptors[shown]))
            sure = score >= settings.score
            keypoints.append(pairs[sure, 0])
            points.append(shown[pairs[sure, 1]])
            scores.append(score[sure])
        if not tried:
            return Matches(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))
        joined = np.concatenate(keypoints), np.concatenate(points), np.concatenate(scores)
        return _merged(*joined, tried, len(around))

    def _shown(self, image: int, points_world: DoubleArray, seen: IntArray) -> tuple[IntArray, FloatArray]:
        """Which of the points a map's image shows, and where, as networks want it; distortion is removed."""
        which = int(self._images.image_camera[image])
        camera, pose = self._images.cameras[which], self._images.camera_SE3_world[image]
        local = points_world[seen] @ pose[:3, :3].T + pose[:3, 3]
        xy_px = camera.project(local)
        size_px = (camera.width_px, camera.height_px)
        ahead = (local[:, 2] > 1e-9) & np.isfinite(xy_px).all(axis=1)
        inside = np.flatnonzero(ahead & (xy_px >= 0).all(axis=1) & (xy_px <= size_px).all(axis=1))
        inside = thinned(inside, self.settings.points)
        ideal_px = local[inside, :2] / local[inside, 2:] * camera.focal_px + camera.centre_px
        return seen[inside], _centred(ideal_px, *self._extent[which])


def _centred(xy_px: DoubleArray, low_px: tuple[float, float], high_px: tuple[float, float]) -> FloatArray:
    """Places from the middle of an image, over half its longer side."""
    low, high = np.asarray(low_px), np.asarray(high_px)
    return np.asarray(((xy_px - (low + high) / 2) / (np.max(high - low) / 2)).astype(np.float32))


def _merged(keypoint: IntArray, point: IntArray, score: FloatArray, tried: int, points: int) -> Matches:
    """One list out of those of several images.

    Scores of a pair add up; a pair stays that is the best one of its keypoint and of its point.
    """
    pair, where = np.unique(keypoint * points + point, return_inverse=True)
    total = np.bincount(where, weights=score, minlength=len(pair))
    order = np.argsort(-total, kind="stable")
    keypoint, point, total = pair[order] // points, pair[order] % points, total[order]
    of_keypoint, of_point = (np.unique(rows, return_index=True)[1] for rows in (keypoint, point))
    kept = np.intersect1d(of_keypoint, of_point)
    return Matches(keypoint[kept], point[kept], (1.0 - total[kept] / tried).astype(np.float32))
