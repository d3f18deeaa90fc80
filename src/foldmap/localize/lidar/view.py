"""The folded map as a localizer sees it, and the window it cuts for one search."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from foldmap.errors import ConfigError, PoseInputError
from foldmap.geometry import SE2, MetricGrid
from foldmap.lidar.match.warp import turned_crop
from foldmap.lidar.observation import Observation
from foldmap.types import BoolArray, FloatArray

_CUBIC_REACH_PX = 3


class DecodedMap(Protocol):
    """A folded lidar layer that decodes what is asked for, and what embeds observations alike."""

    @property
    def grid(self) -> MetricGrid:
        """Placement of the whole map; windows are asked for on its pixels."""

    def embedding(self, grid: MetricGrid) -> tuple[FloatArray, BoolArray]:
        """Decode a window, which may reach beyond the map: (C, H, W) float32, and where map is known (H, W)."""

    def embed_observation(self, observation: Observation) -> FloatArray:
        """Embed an observation in its own axes: (C, H, W) float32."""


@runtime_checkable
class CropDecoder(Protocol):
    """A decoded map that can leave out what a turned crop of the window does not read."""

    def embedding_for_crop(
        self, grid: MetricGrid, centre_rc: tuple[float, float], heading_rad: float, crop_shape: tuple[int, int]
    ) -> tuple[FloatArray, BoolArray]:
        """Do as `DecodedMap.embedding`; values that the crop does not read are arbitrary."""


@dataclass(frozen=True)
class MapCrop:
    """A piece of map in the vehicle's axes, larger than an observation by twice a search radius; where it is known."""

    embedding_CHW: FloatArray
    known: BoolArray


def cut(decoded: DecodedMap, prior: SE2, observation_shape: tuple[int, int], radius_px: int) -> MapCrop:
    """Cut the map around a pose (world_SE2_vehicle), turned into its axes; decodes the tiles it touches and no more.

    The crop is as large as the observation and ``radius_px`` to every side.
    """
    if not np.isfinite([prior.x_m, prior.y_m, prior.heading_rad]).all():
        raise PoseInputError(f"the prior {prior} is not finite", "give a finite pose")
    rows, columns = (side + 2 * radius_px for side in observation_shape)
    cos, sin = abs(math.cos(prior.heading_rad)), abs(math.sin(prior.heading_rad))
    half_rows = math.ceil((rows * cos + columns * sin) / 2) + _CUBIC_REACH_PX
    half_cols = math.ceil((columns * cos + rows * sin) / 2) + _CUBIC_REACH_PX
    row, col = decoded.grid.pixel_of(np.array([[prior.x_m, prior.y_m]]))[0]
    top, left = math.floor(row) - half_rows, math.floor(col) - half_cols
    window = decoded.grid.window(top, left, 2 * half_rows + 2, 2 * half_cols + 2)
    centre = (float(row) - top, float(col) - left)
    if isinstance(decoded, CropDecoder):
        embedding_CHW, known = decoded.embedding_for_crop(window, centre, prior.heading_rad, (rows, columns))
    else:
        embedding_CHW, known = decoded.embedding(window)
    if not known.any():
        return MapCrop(np.zeros((len(embedding_CHW), rows, columns), np.float32), np.zeros((rows, columns), np.bool_))
    known = np.ascontiguousarray(known, np.bool_)
    return MapCrop(*turned_crop(embedding_CHW, known, centre, prior.heading_rad, (rows, columns)))


def check_resolution(decoded: DecodedMap, observation: Observation) -> float:
    """The common resolution in metres; a ConfigError where they differ."""
    if not math.isclose(observation.resolution_m, decoded.grid.resolution_m, rel_tol=1e-6):
        raise ConfigError(
            f"the observation has {observation.resolution_m} m pixels, the map {decoded.grid.resolution_m} m",
            "draw the observation at the map's resolution",
        )
    return decoded.grid.resolution_m
