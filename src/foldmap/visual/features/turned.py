"""Photos that lie on their side: networks know things upright, and describe what is turned as something else.

A phone held upright gives such photos where nothing in them says how it was held.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from PIL import Image

from foldmap.types import ByteArray
from foldmap.visual.features.extract import Extractor
from foldmap.visual.features.images import image_size_px, scaled_size_px
from foldmap.visual.source import Features

_USUAL_SIDE_PX = 1600  # networks make larger images so small anyway
_LEAST_SIDE_PX = 448


def known_upright_alone(feature: str) -> bool:
    """Whether features of this name are lost where an image is turned: all but SIFT, which has an orientation."""
    return feature != "sift"


def extract_turned(extractor: Extractor, image: ByteArray, quarters: int, small: bool = False) -> Features:
    """Features of an image turned by so many quarters, with their places in the image as it is.

    They are found in half of its size where it is ``small``, which is enough to see whether it is worth a whole look.
    """
    (width, height), pixels = image_size_px(image), image
    if small:
        side_px = max(_LEAST_SIDE_PX, min(max(width, height), _USUAL_SIDE_PX) // 2)
        inner = scaled_size_px(width, height, side_px)
        pixels = np.asarray(Image.fromarray(image).resize(inner, Image.Resampling.BILINEAR))
    found = extractor.extract(np.ascontiguousarray(np.rot90(pixels, -quarters)))
    inner_width, inner_height = image_size_px(pixels)
    x, y = found.xy_px.T
    places = ((x, y), (y, inner_height - x), (inner_width - x, inner_height - y), (inner_width - y, x))
    stretch = np.array([width / inner_width, height / inner_height])
    return replace(found, xy_px=(np.stack(places[quarters % 4], axis=1) * stretch).astype(np.float32))
