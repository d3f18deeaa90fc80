"""Planar rigid poses."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from foldmap.types import DoubleArray


def wrap_rad(angle_rad: float) -> float:
    """Wrap an angle to [-pi, pi)."""
    return (angle_rad + math.pi) % (2 * math.pi) - math.pi


@dataclass(frozen=True)
class SE2:
    """A planar pose ``target_SE2_source``: source coordinates in metres to target coordinates in metres.

    Attributes:
        x_m: east component of the source origin in the target frame.
        y_m: north component.
        heading_rad: rotation, counter-clockwise from x.
    """

    x_m: float
    y_m: float
    heading_rad: float

    def __matmul__(self, other: SE2) -> SE2:
        """Compose: ``a_SE2_b @ b_SE2_c -> a_SE2_c``."""
        cos, sin = math.cos(self.heading_rad), math.sin(self.heading_rad)
        return SE2(
            self.x_m + cos * other.x_m - sin * other.y_m,
            self.y_m + sin * other.x_m + cos * other.y_m,
            wrap_rad(self.heading_rad + other.heading_rad),
        )

    def inverse(self) -> SE2:
        """Return ``source_SE2_target``."""
        cos, sin = math.cos(self.heading_rad), math.sin(self.heading_rad)
        return SE2(-cos * self.x_m - sin * self.y_m, sin * self.x_m - cos * self.y_m, wrap_rad(-self.heading_rad))

    def apply(self, points_source_m: DoubleArray) -> DoubleArray:
        """Transform points of shape (N, 2) from the source to the target frame."""
        cos, sin = math.cos(self.heading_rad), math.sin(self.heading_rad)
        rotation = np.array([[cos, -sin], [sin, cos]])
        return np.asarray(np.asarray(points_source_m, dtype=np.float64) @ rotation.T + (self.x_m, self.y_m))
