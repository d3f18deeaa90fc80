"""Photographs of a flat picture: homographies, blur, exposure, noise and compression, with the exact homography."""

# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators, allow-any-generics
# (compiled loops: numba infers their types)
from __future__ import annotations

import math
from dataclasses import dataclass

import imagecodecs
import numpy as np
from numba import njit
from scipy.ndimage import gaussian_filter

from foldmap.types import AnyArray, DoubleArray, FloatArray

_BLUR_STEP = math.sqrt(2.0)
_LEVELS = 5


@dataclass(frozen=True)
class LeafView:
    """One photograph.

    Attributes:
        image: uint8 (H, W).
        canvas_H_view: float64 (3, 3), from pixels of the photograph (COLMAP's, first centre at 0.5) to those of the
            canvas.
    """

    image: AnyArray
    canvas_H_view: DoubleArray


def photograph(
    canvas: FloatArray, rng: np.random.Generator, count: int, size_px: tuple[int, int] = (480, 640)
) -> list[LeafView]:
    """Take ``count`` photographs of one picture, from other directions and distances and in other light.

    Args:
        canvas: float32 (S, S) radiance.
        rng: source of all randomness.
        count: photographs.
        size_px: (height, width) of each.
    """
    pyramid = _pyramid(canvas)
    distance = math.exp(rng.uniform(math.log(0.4), math.log(1.5)))  # canvas pixels a pixel, of the whole group
    place = 0.5 * len(canvas) + rng.uniform(-60, 60, 2)
    return [_one(pyramid, rng, distance, place, size_px) for _ in range(count)]


def expose(radiance: FloatArray, rng: np.random.Generator) -> AnyArray:
    """What a camera makes of an image of radiances: blur, exposure, tone curve, noise, compression; uint8."""
    lit = gaussian_filter(radiance, float(rng.choice([0.3, 0.6, 0.9, 1.4], p=[0.25, 0.3, 0.3, 0.15])))
    lit = np.clip(lit, 0.0, None) * math.exp(rng.normal(0, 0.22))
    value = 255.0 * lit ** math.exp(rng.normal(-0.25, 0.22)) + rng.normal(0, 6.0)
    value += math.exp(rng.normal(0.3, 0.6)) * rng.standard_normal(lit.shape, np.float32)
    image: AnyArray = np.clip(np.rint(value), 0, 255).astype(np.uint8)
    if rng.random() < 0.7:
        coded = imagecodecs.jpeg_encode(image, level=int(rng.integers(70, 97)))
        image = np.asarray(imagecodecs.jpeg_decode(coded), np.uint8)
    return image


def map_points(target_H_source: DoubleArray, xy_px: AnyArray) -> DoubleArray:
    """Points (N, 2) through a homography."""
    mapped = np.column_stack([xy_px, np.ones(len(xy_px))]) @ target_H_source.T
    points: DoubleArray = mapped[:, :2] / mapped[:, 2:]
    return points


def _pyramid(canvas: FloatArray) -> FloatArray:
    levels = [canvas]
    for k in range(1, _LEVELS):
        sigma = 0.55 * _BLUR_STEP**k
        levels.append(gaussian_filter(canvas, sigma, mode="nearest"))
    pyramid: FloatArray = np.stack(levels)
    return pyramid


def _one(
    pyramid: FloatArray, rng: np.random.Generator, distance: float, place: DoubleArray, size_px: tuple[int, int]
) -> LeafView:
    height, width = size_px
    scale = distance * math.exp(rng.normal(0, 0.16))
    roll = rng.normal(0, 0.12) if rng.random() < 0.85 else rng.uniform(-math.pi, math.pi)
    tilt, direction = math.radians(min(abs(rng.normal(0, 25.0)), 58.0)), rng.uniform(0, math.pi)
    focal = 1.1 * width
    # the plane turns about an axis in it, seen from a distance at which its centre has the wanted scale
    axis = np.array([math.cos(direction), math.sin(direction), 0.0])
    cross = np.array([[0, 0, axis[1]], [0, 0, -axis[0]], [-axis[1], axis[0], 0]])
    turn = np.eye(3) + math.sin(tilt) * cross + (1 - math.cos(tilt)) * cross @ cross
    cos, sin = math.cos(roll), math.sin(roll)
    turn = turn @ np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1.0]])
    centre = place + rng.normal(0, 0.08 * width * scale, 2)
    view_H_canvas = np.array([[focal, 0, 0.5 * width], [0, focal, 0.5 * height], [0, 0, 1]]) @ (
        np.column_stack([turn[:, 0], turn[:, 1], np.array([0, 0, focal * scale])])
        @ np.array([[1, 0, -centre[0]], [0, 1, -centre[1]], [0, 0, 1.0]])
    )
    canvas_H_view = np.linalg.inv(view_H_canvas)
    radiance = _warp(pyramid, canvas_H_view, height, width)
    return LeafView(expose(radiance, rng), canvas_H_view)


@njit(cache=True, fastmath=True)
def _warp(pyramid, h, height, width):
    """Sample the canvas at every pixel from the level whose blur suits the local scale; mirrored beyond its edges."""
    size = pyramid.shape[1]
    out = np.empty((height, width), np.float32)
    for j in range(height):
        for i in range(width):
            x, y = i + 0.5, j + 0.5
            w = h[2, 0] * x + h[2, 1] * y + h[2, 2]
            a, b = (h[0, 0] * x + h[0, 1] * y + h[0, 2]) / w, (h[1, 0] * x + h[1, 1] * y + h[1, 2]) / w
            area = abs(
                (h[0, 0] - h[2, 0] * a) * (h[1, 1] - h[2, 1] * b) - (h[0, 1] - h[2, 1] * a) * (h[1, 0] - h[2, 0] * b)
            ) / (w * w)
            level = 0
            if area > 1.0:
                level = min(int(math.log2(area) + 0.5), pyramid.shape[0] - 1)
            a, b = abs(a - 0.5), abs(b - 0.5)
            period = 2.0 * (size - 1)
            a, b = a - period * math.floor(a / period), b - period * math.floor(b / period)
            a, b = min(a, period - a), min(b, period - b)
            c, r = min(int(a), size - 2), min(int(b), size - 2)
            u, v = a - c, b - r
            p = pyramid[level]
            out[j, i] = (p[r, c] * (1 - u) + p[r, c + 1] * u) * (1 - v) + (
                p[r + 1, c] * (1 - u) + p[r + 1, c + 1] * u
            ) * v
    return out
