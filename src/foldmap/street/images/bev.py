"""Any observation as a ground image in the ego frame: what the field network looks at."""

from __future__ import annotations

import numpy as np
from PIL import Image

from foldmap.errors import MapInputError
from foldmap.street.graph.window import Window
from foldmap.street.images.ground import GroundView
from foldmap.street.images.ground_image import window_shape
from foldmap.street.images.observation import AerialCrop, CameraRing, Observation
from foldmap.types import BoolArray, ByteArray

_KEPT_RINGS = 4


class BirdsEye:
    """Turns observations into ground images; the table of a ring is made once and kept.

    A ring of cameras is laid on flat ground through its calibration (`ground`), which spares the network
    from learning the calibration and makes any number of cameras one image.

    Args:
        window: what the ground image covers.
        size_px: its rows.
    """

    def __init__(self, window: Window, size_px: int) -> None:
        self.window = window
        self.size_px = size_px
        self.shape = window_shape(window, size_px)
        self._views: list[tuple[CameraRing, GroundView]] = []

    def __call__(self, observation: Observation) -> tuple[ByteArray, BoolArray]:
        """Ground image uint8 (H, W, 3) and where it shows ground, bool (H, W).

        Raises:
            MapInputError: an aerial crop that covers another window.
        """
        if not isinstance(observation, AerialCrop):
            return self._view(observation.ring)(observation)
        if observation.window != self.window:
            raise MapInputError(
                f"the aerial crop covers {observation.window}, the model wants {self.window}",
                "cut the crop to the model's window",
            )
        image = observation.image
        if image.shape[:2] != self.shape:
            way = Image.Resampling.BOX if image.shape[0] > self.shape[0] else Image.Resampling.BILINEAR
            image = np.asarray(Image.fromarray(image).resize(self.shape[::-1], way))
        return image, np.ones(self.shape, bool)

    def _view(self, ring: CameraRing) -> GroundView:
        for known, view in self._views:
            if known is ring:
                return view
        view = GroundView(ring, self.window, self.size_px)
        self._views = [*self._views[1 - _KEPT_RINGS :], (ring, view)]
        return view
