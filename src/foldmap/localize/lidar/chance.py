"""What chance would give: the scores of the very observation, mirrored, in the very window, that no pose explains.

Mirrored, an observation keeps its statistics and those of the ground, lanes along the street included, and loses its
place. Its scores need no window of a certain size, hold no true peak, and their tail says how likely a peak is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from foldmap.localize.tail import LEAST, Tail
from foldmap.types import AnyArray, DoubleArray

MIRRORS = ((1, -1), (-1, 1), (-1, -1))
"""Of x and y: left for right, ahead for behind, and both."""
RADIUS_M = 1.5  # in which chance is looked at, at least
TRIAL_M, TRIAL_RAD = 0.25, math.radians(1.5)
"""Poses so far apart have scores of their own."""
_SHARE = 0.02


def trials_of(radius_m: float, range_rad: float, resolution_m: float) -> float:
    """Number of independent poses within a radius along both axes and a heading range to both sides."""
    side = 1.0 + 2.0 * radius_m / max(TRIAL_M, resolution_m)
    return side * side * (1.0 + 2.0 * range_rad / TRIAL_RAD)


class Chance(NamedTuple):
    """What speaks against chance: minus log10 of the probability that a peak so high has nothing to do with the place.

    Attributes:
        surprise: that no street at all gives it.
        distinction: that a street alike, with lanes that lie as here, does not give it either.
    """

    surprise: float
    distinction: float


def chance_of(peak: float, mirrored: Sequence[AnyArray], trials: float) -> Chance:
    """Judge a peak by the scores of each mirror image, and by all of them, in so many trials.

    A street is its own mirror image along its lanes: that one is what a street alike gives. The one that the peak
    leaves farthest behind is what chance gives, and it was picked among all.
    """
    if not math.isfinite(peak) or any(scores.size < LEAST or not np.ptp(scores) > 0 for scores in mirrored):
        return Chance(0.0, 0.0)
    alone = [-Tail.of(scores, _SHARE).log10_beyond(peak, trials * len(mirrored)) for scores in mirrored]
    every = np.concatenate([np.ravel(scores) for scores in mirrored])
    return Chance(max(alone), -Tail.of(every, _SHARE).log10_beyond(peak, trials))


def heading_range(headings_rad: DoubleArray) -> float:
    """Half of what headings span, their own steps included."""
    step = float(headings_rad[1] - headings_rad[0]) if len(headings_rad) > 1 else 0.0
    return 0.5 * (float(headings_rad[-1] - headings_rad[0]) + step)
