"""Level 1: planar and spatial poses, metric grids."""

from foldmap.geometry.grid import MetricGrid
from foldmap.geometry.se2 import SE2, wrap_rad
from foldmap.geometry.se3 import SE3

__all__ = ["SE2", "SE3", "MetricGrid", "wrap_rad"]
