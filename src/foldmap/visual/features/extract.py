"""Local features of an image: the choice of an extractor, its settings, and SIFT."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from foldmap.errors import ConfigError
from foldmap.types import ByteArray
from foldmap.visual.features.images import check_image, grey, image_size_px, scaled_size_px
from foldmap.visual.scene.colmap_library import pycolmap_module, quiet_pycolmap
from foldmap.visual.source import Features

FEATURES = ("sift", "aliked", "xfeat")
"""What `open_extractor` knows; of ALIKED also its variants by their names, like "aliked-n16"."""

_MOST_KEYPOINTS = 32767
_SIFT_SIDE_PX, _LEARNED_SIDE_PX = 3200, 1600


class Extractor(Protocol):
    """Finds and describes keypoints."""

    @property
    def feature(self) -> str:
        """Its name, as scenes keep it: "sift", "aliked-n16", "xfeat"."""

    def extract(self, image: ByteArray) -> Features:
        """Features of an image, uint8 (H, W) or (H, W, 3) RGB; `MapInputError` for another shape or type."""


@dataclass(frozen=True)
class ExtractorSettings:
    """How features are extracted. Raises `ConfigError`: a value is out of range."""

    max_keypoints: int = 8192  # an image, the best ones; at most 32,767, which hloc's matches can name
    # larger images are scaled down first (keypoints stay in pixels of the whole image); None for the extractor's own:
    # 3200 for SIFT as in COLMAP, 1600 for networks
    max_side_px: int | None = None
    first_octave: int = -1  # of SIFT; -1 doubles the image first, 0 does not (faster, fewer small keypoints)
    detection_threshold: float | None = None  # of networks; None for the network's own

    def __post_init__(self) -> None:
        if not 1 <= self.max_keypoints <= _MOST_KEYPOINTS:
            raise ConfigError(f"{self.max_keypoints} keypoints an image", "take 1 to 32767")
        if self.max_side_px is not None and self.max_side_px < 32:
            raise ConfigError(f"images of at most {self.max_side_px} px", "take 32 or more")
        if not -1 <= self.first_octave <= 4:
            raise ConfigError(f"first octave {self.first_octave}", "take -1 to 4")


def open_extractor(
    feature: str, weights: Path | None = None, settings: ExtractorSettings | None = None, threads: int = 1
) -> Extractor:
    """Make an extractor ready: "sift", "aliked", a variant of it like "aliked-n16", or "xfeat".

    Weights are a file or a folder; SIFT needs none. Threads are SIFT's; networks run on those that torch has. Raises
    `ConfigError`: there is no such extractor, or its weights are not given; `ModelError`: the weights do not fit;
    `MissingExtraError`: pycolmap or kornia is not installed.
    """
    settings = settings or ExtractorSettings()
    if feature == "sift":
        if weights is not None:
            raise ConfigError("SIFT needs no weights", "leave them out, or choose aliked or xfeat")
        return SiftExtractor(settings, threads)
    if feature == "xfeat" or feature.startswith("aliked"):
        from foldmap.visual.features import learned

        how = (settings.max_keypoints, settings.max_side_px or _LEARNED_SIDE_PX, settings.detection_threshold)
        return learned.XFeat(weights, *how) if feature == "xfeat" else learned.Aliked(weights, feature, *how)
    what = f"there is no extractor {feature!r}"
    raise ConfigError(what, f"choose {', '.join(FEATURES)}; SuperPoint only as your own hloc file")


class SiftExtractor:
    """SIFT as COLMAP computes it: the same keypoints, descriptors and order, whatever the number of threads.

    Of an image with more than `ExtractorSettings.max_keypoints` those of the largest scale stay, which COLMAP too takes
    first; COLMAP itself keeps more, as it counts a place of several orientations once (``as_colmap``). Scores are the
    keypoints' scales in px.
    """

    feature = "sift"

    def __init__(self, settings: ExtractorSettings | None = None, threads: int = 1, *, as_colmap: bool = False) -> None:
        settings = settings or ExtractorSettings()
        self._most = _MOST_KEYPOINTS if as_colmap else settings.max_keypoints
        self._pycolmap = pycolmap_module()
        options = self._pycolmap.FeatureExtractionOptions()
        options.num_threads, options.use_gpu = threads if threads > 0 else os.cpu_count() or 1, False
        options.sift.max_num_features = settings.max_keypoints
        options.sift.first_octave = settings.first_octave
        self._side_px = settings.max_side_px or _SIFT_SIDE_PX
        with quiet_pycolmap():
            self._extractor = self._pycolmap.FeatureExtractor.create(options, self._pycolmap.Device.cpu)

    def extract(self, image: ByteArray) -> Features:
        """See `Extractor.extract`; descriptors are uint8 (N, 128), square root of L1-normalized, times 512."""
        check_image(image)
        width, height = image_size_px(image)
        inner = scaled_size_px(width, height, self._side_px)
        bitmap = self._pycolmap.Bitmap.from_array(grey(image))
        if inner != (width, height):
            bitmap.rescale(*inner)
        keypoints, descriptors = self._extractor.extract(bitmap)
        if not len(keypoints):
            return Features(np.zeros((0, 2), np.float32), np.zeros((0, 128), np.uint8), np.zeros(0, np.float32))
        matrix = np.asarray(self._pycolmap.keypoints_to_matrix(keypoints), dtype=np.float32)
        described = np.array(descriptors.data, dtype=np.uint8)
        if len(matrix) > self._most:  # COLMAP counts places, and describes some of them in several orientations
            kept = np.sort(np.argsort(-matrix[:, 2], kind="stable")[: self._most])
            matrix, described = matrix[kept], described[kept]
        stretch = np.array([width / inner[0], height / inner[1]], dtype=np.float32)
        scale_px = (matrix[:, 2] * stretch.mean()).astype(np.float32)
        return Features(matrix[:, :2] * stretch, described, scale_px)
