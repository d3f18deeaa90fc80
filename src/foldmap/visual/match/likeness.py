"""How similar a keypoint and a decoded point must be to be taken for one: measured on the map's own observations.

SIFT's numbers are all positive, so any two of its descriptors are similar; those of networks are not, and coarse codes
make right pairs less similar. A map therefore brings its own threshold.
"""

import numpy as np

from foldmap.types import AnyArray, FloatArray, IntArray
from foldmap.visual.source import SceneModel, unit_descriptors

USUAL = 0.75  # of SIFT: for maps that do not say
_MOST_ROWS = 20_000


def least_similarity(scene: SceneModel, rows: IntArray, decoded: FloatArray) -> float:
    """The cosine midway between what an observation has with its own point, and with another one.

    Both are medians, so that wrong tracks do not count. Where observations are not at hand, `USUAL`. Of the points
    ``rows``, int64 (P,) ascending, are given the unit descriptors as a localizer has them, float32 (P, D).
    """
    if scene.tracks.descriptors is None or not len(rows):
        return USUAL
    place = np.full(len(scene.points_world), -1, np.int64)
    place[rows] = np.arange(len(rows))
    seen = np.flatnonzero(place[scene.tracks.point] >= 0)
    seen = seen[:: -(-len(seen) // _MOST_ROWS)]
    observed: AnyArray = unit_descriptors(scene.tracks.descriptors[seen])
    own = place[scene.tracks.point[seen]]
    # neighbours in a list are often neighbours in space: points half the list away are others for certain
    other = (own + max(1, len(rows) // 2)) % len(rows)
    right = float(np.median(np.einsum("ij,ij->i", observed, decoded[own])))
    wrong = float(np.median(np.einsum("ij,ij->i", observed, decoded[other]))) if len(rows) > 1 else 0.0
    return 0.5 * (right + wrong)
