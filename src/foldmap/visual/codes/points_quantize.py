"""Where the point coder's boxes lie, and how small each must be."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from foldmap.errors import MapInputError
from foldmap.types import AnyArray, DoubleArray, IntArray
from foldmap.visual.source import SceneModel

MAX_BITS = 30
"""Halvings along one axis: the whole is at most 2^30 of the finest boxes wide."""

MAX_ORIGIN = 1 << 50


@dataclass(frozen=True)
class Grid:
    """Integer coordinates: a point lies in the cube from ``(origin + integer) * step`` to a step further.

    Attributes:
        step: side of the finest box, exactly a float32.
        origin: int64 (3,).
        bits: log2 of the whole's sides in steps.
    """

    step: float
    origin: IntArray
    bits: tuple[int, int, int]

    def axes(self) -> IntArray:
        """Axis of each halving: the longest side, x before y before z."""
        left = list(self.bits)
        axes = []
        while max(left):
            axis = left.index(max(left))
            left[axis] -= 1
            axes.append(axis)
        return np.array(axes, np.int64)

    def position(self, doubled: AnyArray) -> DoubleArray:
        """World coordinates (P, 3) of integers given doubled: one rounding each, so the same on every machine."""
        position: DoubleArray = (doubled + 2 * self.origin).astype(np.float64) * (self.step / 2)
        return position


def tolerance_from_views(scene: SceneModel, error_px: float) -> DoubleArray:
    """How far each point may move for its reprojections to move by ``error_px``, root mean square over its views.

    A point that is moved by a random vector within a cube of half-diagonal t moves in an image at distance d by
    ``f t / d * sqrt(2) / 3`` px in root mean square. The tolerance is that t for the mean of ``(f / d)^2`` over the
    images that see the point; so a far point is stored more coarsely.

    Args:
        scene: with tracks.
        error_px: a third of the reprojection noise, say.

    Returns:
        float64 (P,), world units.
    """
    if not error_px > 0:
        raise MapInputError(f"an error of {error_px} px is not positive", "give a third of the reprojection noise")
    tracks, points = scene.tracks, len(scene.points_world)
    focal = np.array([math.sqrt(c.focal_px[0] * c.focal_px[1]) for c in scene.cameras])[scene.image_camera]
    offset = scene.points_world[tracks.point] - scene.centres_world[tracks.image]
    squared = np.maximum(np.einsum("ok,ok->o", offset, offset), 1e-300)
    magnified = np.bincount(tracks.point, focal[tracks.image] ** 2 / squared, points)
    tolerance: DoubleArray = (
        (3 / math.sqrt(2)) * error_px * np.sqrt(np.bincount(tracks.point, minlength=points) / magnified)
    )
    return tolerance


def quantize(points: DoubleArray, tolerance: DoubleArray, shrink: float = 1.0) -> tuple[Grid, IntArray, IntArray]:
    """Choose the grid and how far each point's box is halved.

    Args:
        points: finite (P, 3), P > 0.
        tolerance: (P,) largest distances, positive.
        shrink: the finest step in units of the largest that will do, at most 1.

    Returns:
        The grid, its integers (P, 3), and the number of halvings (P,) after which each point's box is small enough.

    Raises:
        MapInputError: the tolerance is too fine for the extent or for the coordinates' size.
    """
    # A cube of side s has a half-diagonal of s sqrt(3) / 2; a hair less leaves room for rounding.
    finest = float(tolerance.min()) * shrink * (2 / math.sqrt(3)) * 0.9999
    if not 1e-37 < finest < 1e37:
        raise MapInputError(f"a step of {finest} world units cannot be stored", "scale the model")
    step = float(np.float32(finest))
    grid, integers = _integers(points, step)
    axes = grid.axes()
    ends = np.full(len(points), len(axes), np.int64)
    left = np.zeros(3, np.int64)
    fits = np.ones(len(points), bool)
    for level in range(len(axes) - 1, -1, -1):
        left[axes[level]] += 1
        # The half-diagonal, not where in it this point happens to be: neighbours then end alike, which is cheap to say.
        fits &= step * math.sqrt(float((4.0**left).sum())) / 2 * 1.00001 <= tolerance
        if not fits.any():
            break
        ends[fits] = level
    return grid, integers, ends


def _integers(points: DoubleArray, step: float) -> tuple[Grid, IntArray]:
    if not np.abs(points).max() / step < MAX_ORIGIN:
        raise MapInputError(
            f"a step of {step:.3g} is too fine for coordinates up to {np.abs(points).max():.3g}",
            "move the origin into the scene, drop far points or accept a larger error",
        )
    cell = np.floor(points / step).astype(np.int64)
    origin = cell.min(axis=0)
    integers = cell - origin
    bits = [int(v).bit_length() for v in integers.max(axis=0)]
    if max(bits) > MAX_BITS:
        raise MapInputError(
            f"the points span {2.0 ** max(bits):.3g} steps of {step:.3g}", "drop far points or accept a larger error"
        )
    return Grid(step, origin, (bits[0], bits[1], bits[2])), integers
