"""Which focal length most matches agree with: poses are sought with the given one, and with others beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from foldmap.localize.visual.search import Hypothesis, residuals_of
from foldmap.types import DoubleArray
from foldmap.visual.match import solve
from foldmap.visual.match.lens import seen_with
from foldmap.visual.match.solve import Correspondences
from foldmap.visual.match.view import View

_BESIDE, _FARTHEST = 0.02, 4
"""With focal lengths that are off by so much a pose is sought, too; farther, in so many steps, while more agree."""
SHARP = 0.25  # of an inlier's largest error: matches agree so well where the pose and its camera are right
TELLING = 0.95, 1.05
"""Shares of the matches that agree with the given focal length: where fewer than the first agree with one beside it, it
is told; where more than the second, a given one is wrong (none of 260 right photos of two scenes)."""
RIVAL_MATCHES = 150
_RIVAL_SAMPLES, _RIVAL_POLISH = 100, 10


@dataclass(frozen=True)
class Beside:
    """A pose with a focal length beside the given one, and how many agree with it over those with the given one's."""

    rig_SE3_world: DoubleArray
    numbers: DoubleArray
    share: float


def found_beside(
    views: Sequence[View], surer: Sequence[Correspondences], best: Hypothesis, error_px: float
) -> list[Beside]:
    """What focal lengths beside the given one explain, shorter and longer ones, as far as more and more agree.

    Where a photo sees two depths, and few points of one of them, the best pose hangs on the other, and so does what is
    refined from it: nothing near it tells that with another focal length both agree.
    """
    agreeing = max(agreeing_with(views, surer, best.rig_SE3_world, SHARP * error_px), 1e-9)
    few = [Correspondences(part.xy_px[:RIVAL_MATCHES], part.points_world[:RIVAL_MATCHES]) for part in surer]
    found = []
    for way in (-_BESIDE, _BESIDE):
        last: Beside | None = None
        for step in range(1, _FARTHEST + 1):
            numbers = np.tile([way * step, 0.0, 0.0, 0.0], len(views))
            now = seen_with(views, numbers)
            solved = solve.ransac_pose(now, few, 0.5 * error_px, _RIVAL_SAMPLES, polish=_RIVAL_POLISH)
            share = 0.0 if solved is None else agreeing_with(now, surer, solved[0], SHARP * error_px) / agreeing
            if solved is None or (last is not None and share <= last.share):
                break
            last = Beside(solved[0], numbers, share)
            if share < TELLING[1]:
                break
        found += [] if last is None else [last]
    return found


def most_agree(
    views: Sequence[View], parts: Sequence[Correspondences], factors: Sequence[float], most: float, error_px: float
) -> tuple[DoubleArray, DoubleArray] | None:
    """The pose and the intrinsics of the focal length by which most agree; None where not more than so many do."""
    found = None
    for factor in factors:
        numbers = np.tile([np.log(factor), 0.0, 0.0, 0.0], len(views))
        now = seen_with(views, numbers)
        solved = solve.ransac_pose(now, parts, 2.0 * error_px, _RIVAL_SAMPLES, polish=_RIVAL_POLISH)
        if solved is not None and (agreeing := agreeing_with(now, parts, solved[0], error_px)) > most:
            most, found = agreeing, (solved[0], numbers)
    return found


def agreeing_with(
    views: Sequence[View], parts: Sequence[Correspondences], rig_SE3_world: DoubleArray, error_px: float
) -> float:
    """How many matches agree with a pose, the less the farther they are off: none beyond two inlier errors."""
    square = (residuals_of(views, parts, rig_SE3_world) ** 2).sum(axis=1)
    return float(np.maximum(1.0 - square / (2.0 * error_px) ** 2, 0.0).sum())
