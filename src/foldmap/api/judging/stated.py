"""Whether errors are what answers said that they might be: for ``foldmap evaluate``, whatever the layer."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from foldmap.api.results import Stated
from foldmap.metrics.consistency import consistency, level_score, squared_distances
from foldmap.types import DoubleArray

NOTHING = "unknown: the covariances of these poses are in the .jsonl that foldmap localize wrote, which is not there"


def consistency_summary(
    positions: Sequence[DoubleArray], rotations: Sequence[DoubleArray], stated: Sequence[Stated | None]
) -> dict[str, Any] | str:
    """Hold errors of answered poses against what each said; in words where none said anything.

    Args:
        positions: (2,) or (3,), estimate minus truth in the world.
        rotations: (1,) of a heading or (3,) in the camera's frame, rad.
        stated: what each answer said of itself; None where nobody knows.
    """
    rows = [number for number, one in enumerate(stated) if one is not None]
    if not rows:
        return NOTHING if stated else "unknown: nothing was answered"
    said = [one for one in stated if one is not None]
    axes, found = len(positions[rows[0]]), dict[str, Any]()
    for name, errors, part in (
        ("position", positions, np.s_[:axes]),
        ("rotation", rotations, np.s_[axes:]),
    ):
        off = np.array([errors[row] for row in rows])
        spread = np.array([one.covariance[part, part] for one in said])
        bounds = np.array([one.level if name == "position" else one.level_rad for one in said])
        told = consistency(squared_distances(off, spread), off.shape[1]).row()
        known = np.isfinite(bounds)
        if known.any():
            told |= level_score(np.linalg.norm(off[known], axis=1), bounds[known]).row()
        else:
            told["protection_level"] = "none: the map's errors are not calibrated"
        found[name] = {key: round(value, 4) if isinstance(value, float) and math.isfinite(value) else value
                       for key, value in told.items()}  # fmt: skip
    return found
