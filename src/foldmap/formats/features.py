"""Local features as files hold them: checked, and refused where their descriptors only fill a place."""

from __future__ import annotations

import numpy as np

from foldmap.errors import MapInputError
from foldmap.formats.naming import naming
from foldmap.types import AnyArray, FloatArray
from foldmap.visual.source import Features

_LEAST, _ASKED = 4, 8
_MANY, _LEAST_SIDE_PX = 50, 3.0
_CURE = "extract features again, with their descriptors"


def features_of(where: str, xy_px: AnyArray, descriptors: AnyArray, scores: FloatArray | None = None) -> Features:
    """The `Features` of one image; what is refused begins with ``where``.

    Tools that need no descriptors write them all zero, or all the same: an image where that is so of more than half, of
    four or more, is refused. So are keypoints that are normalized: many that all lie within a few pixels.
    """
    with naming(where):
        features = Features(xy_px, descriptors, scores)
        count = len(descriptors)
        if count < _LEAST:
            return features
        side_px = float(np.ptp(features.xy_px, axis=0).max())
        if count >= _MANY and side_px < _LEAST_SIDE_PX:
            what = f"{count:,} keypoints lie within {side_px:.3g} px: these are shares of the image, not pixels"
            raise MapInputError(what, "give keypoints in pixels of the whole image")
        zero = int((~descriptors.any(axis=1)).sum())
        if 2 * zero > count:
            raise MapInputError(f"{zero:,} of {count:,} descriptors are all zero", _CURE)
        # what more than half of the rows are, most of some rows spread over them are too
        for row in np.linspace(0, count - 1, _ASKED).astype(np.int64):
            same = int((descriptors == descriptors[row]).all(axis=1).sum())
            if 2 * same > count:
                raise MapInputError(f"{same:,} of {count:,} descriptors are one and the same", _CURE)
    return features
