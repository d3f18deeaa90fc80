"""Level 1: planar and spatial poses, metric grids, cameras."""

from foldmap.geometry.camera import CAMERA_MODELS, Camera
from foldmap.geometry.grid import MetricGrid
from foldmap.geometry.se2 import SE2, wrap_rad
from foldmap.geometry.se3 import SE3

__all__ = ["CAMERA_MODELS", "SE2", "SE3", "Camera", "MetricGrid", "wrap_rad"]
