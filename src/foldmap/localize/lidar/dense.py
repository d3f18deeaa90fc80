"""Matching by dense embeddings: the map's window, cut and turned, against the observation's."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np

from foldmap.geometry import SE2
from foldmap.lidar.match.exhaustive import coarse_headings_rad, match_fft
from foldmap.lidar.observation import Observation
from foldmap.localize.lidar.search import WindowMatch, match_window
from foldmap.localize.lidar.view import DecodedMap, cut
from foldmap.types import DoubleArray, FloatArray

CANDIDATE_RADIUS_M = 0.8
_POOL = 4
_CANDIDATES = 4


class WindowMatcher(Protocol):
    """A way of matching observations with one map."""

    def match(
        self, observation: Observation, prior: SE2, radius_px: int, headings_rad: DoubleArray, least_known: float
    ) -> WindowMatch | None:
        """Search +-radius_px and the headings around a prior (world_SE2_vehicle), exhaustively, in its axes.

        Headings are relative to the prior's, ascending, evenly spaced. None where map is known on a smaller share of
        the window than ``least_known``. A PoseInputError where the prior is not finite.
        """

    def candidates(self, observation: Observation, prior: SE2, radius_m: float, heading_range_rad: float) -> list[SE2]:
        """Look coarsely in a wide window: poses of the best modes, more than `CANDIDATE_RADIUS_M` apart."""


class DenseMatcher:
    """Matches by what a map decodes to. The observation that it embedded last is not embedded again."""

    def __init__(self, folded: DecodedMap) -> None:
        self.folded = folded
        self._embedded: tuple[Observation, FloatArray] | None = None

    def match(
        self, observation: Observation, prior: SE2, radius_px: int, headings_rad: DoubleArray, least_known: float
    ) -> WindowMatch | None:
        """See `WindowMatcher.match`."""
        crop = cut(self.folded, prior, observation.observed.shape, radius_px)
        if float(crop.known.mean()) < least_known:
            return None
        own_CHW, resolution_m = self._embedding_of(observation), self.folded.grid.resolution_m
        return match_window(
            crop.embedding_CHW,
            crop.known,
            own_CHW,
            observation.observed,
            headings_rad,
            radius_px,
            resolution_m,
            normalized=getattr(self.folded, "normalized", False),
        )

    def candidates(self, observation: Observation, prior: SE2, radius_m: float, heading_range_rad: float) -> list[SE2]:
        """See `WindowMatcher.candidates`: an exhaustive search at a quarter of the resolution."""
        step_m = _POOL * self.folded.grid.resolution_m
        rows, columns = (side // _POOL * _POOL for side in observation.observed.shape)
        radius_px = math.ceil(radius_m / step_m)
        crop = cut(self.folded, prior, (rows, columns), radius_px * _POOL)
        if not crop.known.any():
            return []
        # Trimmed alike on both sides, so that the centre stays the centre up to half a fine pixel.
        top, left = (observation.observed.shape[0] - rows) // 2, (observation.observed.shape[1] - columns) // 2
        trimmed = self._embedding_of(observation)[:, top : top + rows, left : left + columns]
        headings = coarse_headings_rad(heading_range_rad, 2 * math.ceil(heading_range_rad / math.radians(1.5)) + 1)
        volume = match_fft(_pooled(crop.embedding_CHW * crop.known), _pooled(trimmed), headings, radius_px)
        return [prior @ one for one in modes_of(volume, headings, radius_px, step_m)]

    def _embedding_of(self, observation: Observation) -> FloatArray:
        if self._embedded is None or self._embedded[0] is not observation:
            self._embedded = observation, self.folded.embed_observation(observation)
        return self._embedded[1]


def modes_of(volume: FloatArray, headings_rad: DoubleArray, radius_px: int, step_m: float) -> list[SE2]:
    """The best poses of scores (T, H, W), each more than `CANDIDATE_RADIUS_M` from the better; the scores are spent."""
    down, across = np.ogrid[: volume.shape[1], : volume.shape[2]]
    poses = []
    for _ in range(_CANDIDATES):
        t, row, col = (int(i) for i in np.unravel_index(volume.argmax(), volume.shape))
        poses.append(SE2((col - radius_px) * step_m, -(row - radius_px) * step_m, float(headings_rad[t])))
        volume[:, (down - row) ** 2 + (across - col) ** 2 <= (CANDIDATE_RADIUS_M / step_m) ** 2] = -np.inf
        if not np.isfinite(volume).any():
            break
    return poses


def _pooled(image_CHW: FloatArray) -> FloatArray:
    """Means of squares of `_POOL` pixels, whole ones only."""
    channels, rows, columns = image_CHW.shape[0], image_CHW.shape[1] // _POOL, image_CHW.shape[2] // _POOL
    whole = image_CHW[:, : rows * _POOL, : columns * _POOL]
    pooled: FloatArray = whole.reshape(channels, rows, _POOL, columns, _POOL).mean((2, 4), dtype=np.float32)
    return pooled
