"""Colour images of the ground as seen from above (ortho tiles), and crops of them in an ego frame."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from foldmap.errors import ConfigError, MapInputError
from foldmap.geometry import SE2, MetricGrid
from foldmap.street.graph.window import AROUND, Window
from foldmap.street.images.observation import AerialCrop, check_rgb
from foldmap.street.images.pyramid import Pyramid, build_pyramid, sample_affine
from foldmap.types import BoolArray, ByteArray, DoubleArray

_LARGEST_PX = 4096
_LOOKED_AT_PX, _LEAST_SHOWN = 80, 0.995


@dataclass(frozen=True)
class GroundImage:
    """An ortho image, uint8 (H, W, 3), row 0 north: every pixel shows the ground straight below it.

    `grid` says where its pixels lie, in the frame of the street map that goes with it; `observed`, bool (H, W), which
    of them show ground, None where all do.
    """

    image: ByteArray
    grid: MetricGrid
    observed: BoolArray | None = None

    def __post_init__(self) -> None:
        check_rgb("the ground image", self.image)
        if self.image.shape[:2] != self.grid.shape:
            grid = f"its grid {self.grid.width_px} x {self.grid.height_px}"
            size = f"{self.image.shape[1]} x {self.image.shape[0]} px"
            raise MapInputError(f"the ground image is {size}, {grid}", "give the grid of this image")

    @cached_property
    def pyramid(self) -> Pyramid:
        """The image and its halves, made when first asked for."""
        return build_pyramid(np.ascontiguousarray(self.image))

    def xy_px(self, points_m: DoubleArray) -> DoubleArray:
        """Pixels (N, 2), x right, y down, first centre at 0.5, of points (N, 2) in the map's frame."""
        return (np.asarray(points_m) - (self.grid.west_m, self.grid.north_m)) * [1.0, -1.0] / self.grid.resolution_m

    def inside(self, points_m: DoubleArray, margin_m: float = 0.0) -> BoolArray:
        """Which points (N, 2) lie within the image, at least that far from its edges."""
        size = np.array([self.grid.width_px, self.grid.height_px])
        margin = margin_m / self.grid.resolution_m
        xy = self.xy_px(points_m)
        return np.asarray(((xy >= margin) & (xy <= size - margin)).all(-1))

    def shows(self, world_SE2_ego: SE2, window: Window = AROUND) -> bool:
        """Whether a window lies within the image, and all but a two-hundredth of it shows ground."""
        corners = np.array([(x, y) for x in (window.back_m, window.ahead_m) for y in (window.right_m, window.left_m)])
        if not self.inside(world_SE2_ego.apply(corners)).all():
            return False
        if self.observed is None:
            return True
        points = world_SE2_ego.apply(window_points_m(window, _LOOKED_AT_PX).reshape(-1, 2))
        column, row = np.floor(self.xy_px(points)).astype(np.int64).T
        return float(self.observed[row, column].mean()) >= _LEAST_SHOWN

    def crop(self, world_SE2_ego: SE2, window: Window = AROUND, size_px: int = 160) -> AerialCrop:
        """Cut a window of `size_px` rows out and turn it into the ego frame, filtered over each pixel's footprint.

        MapInputError: the window reaches beyond the image, or where it shows no ground.
        """
        shape = window_shape(window, size_px)
        if not self.shows(world_SE2_ego, window):
            raise MapInputError(
                f"the window about ({world_SE2_ego.x_m:.1f}, {world_SE2_ego.y_m:.1f}) reaches beyond the ground image",
                f"stay {window.radius_m:.0f} m away from its edges",
            )
        pixel_m = window.size_m[0] / shape[0]
        first = world_SE2_ego.apply(np.array([[window.ahead_m - 0.5 * pixel_m, window.left_m - 0.5 * pixel_m]]))
        cos, sin = math.cos(world_SE2_ego.heading_rad), math.sin(world_SE2_ego.heading_rad)
        step = pixel_m / self.grid.resolution_m
        # to the right in the crop is minus y of the ego, down is minus x; image y counts southwards
        column, row = step * np.array([sin, cos]), step * np.array([-cos, sin])
        out = np.empty((*shape, 3), np.uint8)
        sample_affine(*self.pyramid, self.xy_px(first)[0], column, row, out)
        return AerialCrop(out, window)


def window_shape(window: Window, size_px: int) -> tuple[int, int]:
    """Rows and columns of a window's image of square pixels (ConfigError: a side is below 16 px or above 4096 px)."""
    length, width = window.size_m
    shape = size_px, round(size_px * width / length)
    if min(shape) < 16 or max(shape) > _LARGEST_PX:
        raise ConfigError(f"a window's image of {shape[1]} x {shape[0]} px", f"give 16 to {_LARGEST_PX} px a side")
    return shape


def window_points_m(window: Window, size_px: int) -> DoubleArray:
    """Centres of the pixels of a window's image in the ego frame, float64 (H, W, 2): x ahead, y left."""
    rows, columns = window_shape(window, size_px)
    pixel_m = window.size_m[0] / rows
    x = window.ahead_m - pixel_m * (np.arange(rows) + 0.5)
    y = window.left_m - pixel_m * (np.arange(columns) + 0.5)
    return np.stack(np.broadcast_arrays(x[:, None], y), -1)
