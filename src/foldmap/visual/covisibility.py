"""Retrieved images in groups that see the same points, so that a pose is sought in one place at a time."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from foldmap.errors import MapInputError
from foldmap.types import IntArray


def covisible_groups(images: IntArray, point: IntArray, image: IntArray, least_shared: int = 1) -> list[IntArray]:
    """Group images that are linked by points they share, directly or through each other (as hloc does).

    Args:
        images: int64 (k,), retrieved images, best first, each once.
        point: int64 (O,), points of the map's observations, 0 or more.
        image: int64 (O,), the image of each.
        least_shared: points that two images must share to be linked.

    Returns:
        Groups of ``images``, the largest first and among equals the one with the best image; each best first.

    Raises:
        MapInputError: an image is named twice or is negative.
    """
    if len(np.unique(images)) != len(images) or (images < 0).any():
        raise MapInputError("retrieved images are not each named once", "give a ranking")
    if not len(images):
        return []
    rank = np.full(max(int(images.max()), int(image.max(initial=-1))) + 1, -1, np.int64)
    rank[images] = np.arange(len(images))
    kept = rank[image] >= 0
    seen = sparse.csr_matrix(
        (np.ones(int(kept.sum()), np.int64), (rank[image[kept]], point[kept])),
        (len(images), int(point.max(initial=0)) + 1),
    )
    seen.data[:] = 1  # an image may observe a point twice
    shared = seen @ seen.T
    shared.data[:] = shared.data >= least_shared
    shared.eliminate_zeros()
    count, label = connected_components(shared, directed=False)
    groups = [images[label == group] for group in range(count)]
    best = [int(np.flatnonzero(label == group)[0]) for group in range(count)]
    return [groups[k] for k in sorted(range(count), key=lambda k: (-len(groups[k]), best[k]))]
