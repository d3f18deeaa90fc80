"""Photos that lie on their side: networks know things upright, and describe what is turned as something else.

A phone held upright gives such photos where nothing in them says how it was held.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from foldmap.types import ByteArray
from foldmap.visual.features.extract import Extractor
from foldmap.visual.features.images import image_size_px
from foldmap.visual.source import Features


def known_upright_alone(feature: str) -> bool:
    """Whether features of this name are lost where an image is turned: all but SIFT, which has an orientation."""
    return feature != "sift"


def extract_turned(extractor: Extractor, image: ByteArray, quarters: int) -> Features:
    """Features of an image turned by so many quarters, with their places in the image as it is."""
    found = extractor.extract(np.ascontiguousarray(np.rot90(image, -quarters)))
    width, height = image_size_px(image)
    x, y = found.xy_px.T
    places = ((x, y), (y, height - x), (width - x, height - y), (width - y, x))
    return replace(found, xy_px=np.stack(places[quarters % 4], axis=1).astype(np.float32))
