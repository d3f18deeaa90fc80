"""Descriptors that only fill a place: all zero, or all the same, as tools write them that need none."""

from __future__ import annotations

import numpy as np

from foldmap.errors import MapInputError
from foldmap.types import AnyArray

_LEAST, _ASKED = 4, 8
_CURE = "extract features again, with their descriptors"


def refuse_dummies(descriptors: AnyArray) -> None:
    """Refuse the descriptors of an image, if most of them cannot tell anything apart.

    Args:
        descriptors: (N, D); fewer than four are not judged.

    Raises:
        MapInputError: more than half are zero, or one and the same.
    """
    count = len(descriptors)
    if count < _LEAST:
        return
    zero = int((~descriptors.any(axis=1)).sum())
    if 2 * zero > count:
        raise MapInputError(f"{zero:,} of {count:,} descriptors are all zero", _CURE)
    # what more than half of the rows are, most of some rows spread over them are too
    for row in np.linspace(0, count - 1, _ASKED).astype(np.int64):
        same = int((descriptors == descriptors[row]).all(axis=1).sum())
        if 2 * same > count:
            raise MapInputError(f"{same:,} of {count:,} descriptors are one and the same", _CURE)
