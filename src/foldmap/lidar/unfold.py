"""Read the lidar layer of a .fold file: codes of any window, and the embedding that a localizer matches."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from foldmap.atlas import FoldFile
from foldmap.errors import LayerError, LimitError, MapFormatError, MapInputError
from foldmap.geometry import MetricGrid
from foldmap.lidar.bundle import Bundle
from foldmap.lidar.codec import BLOCK_PX, DECODE_HALO, Decoder, known_of
from foldmap.lidar.defaults import shelf
from foldmap.lidar.fold import LAYER, MODEL
from foldmap.lidar.inference import Box
from foldmap.lidar.match.region import strips_of_turned
from foldmap.lidar.observation import Observation
from foldmap.types import BoolArray, ByteArray

MAX_WINDOW_PX = 1 << 26
_TILES_KEPT = 64


class FoldedLidar:
    """A folded lidar map: the `DecodedMap` of the localizer. Tiles are read when a window reaches them.

    ``fast`` networks compute in bfloat16 where the processor does.

    A LayerError where there is no such layer; a MapFormatError or ModelError where its parameters or model do not fit.
    """

    def __init__(self, file: FoldFile, layer: str = LAYER, *, fast: bool = True) -> None:
        info = file.layer(layer)
        if info.kind != "lidar":
            raise LayerError(f"layer {layer!r} is a {info.kind} layer, not a lidar layer", "name a lidar layer")
        self._file, self._layer = file, layer
        self.parameters = info.parameters
        self._grid, self.tile_blocks = _read_parameters(info.parameters)
        self.bundle = Bundle.from_bytes(shelf().read(file, layer, MODEL))
        self._decoder = Decoder(self.bundle, fast=fast)
        self._tiles: OrderedDict[tuple[int, int], ByteArray | None] = OrderedDict()

    @property
    def grid(self) -> MetricGrid:
        """Placement of the folded raster."""
        return self._grid

    @property
    def relief(self) -> bool:
        """Whether relief is mixed into what was folded, so that observations must have it, too."""
        return self.parameters.get("relief") is True

    @property
    def scale(self) -> int:
        """Pixels a code cell."""
        return self.bundle.model.preset.downsample

    def codes(self, row: int, column: int, height: int, width: int) -> ByteArray:
        """Codes of a window of cells, uint8 (G, height, width), 0 beyond the map; reads the tiles it touches."""
        side = self.tile_blocks * BLOCK_PX // self.scale
        window = np.zeros((self.bundle.model.preset.groups, height, width), np.uint8)
        for tile_row in range(row // side, (row + height - 1) // side + 1):
            for tile_column in range(column // side, (column + width - 1) // side + 1):
                codes = self._tile(tile_column, tile_row)
                if codes is None:
                    continue
                top, left = tile_row * side - row, tile_column * side - column
                into = np.s_[:, max(top, 0) : top + side, max(left, 0) : left + side]
                wanted = window[into]
                start = max(-top, 0), max(-left, 0)
                window[into] = codes[:, start[0] : start[0] + wanted.shape[1], start[1] : start[1] + wanted.shape[2]]
        return window

    def embedding(self, grid: MetricGrid) -> tuple[Tensor, BoolArray]:
        """Decode a window on the map's pixels, which may reach beyond the map: float32 (C, H, W), and known (H, W).

        A MapInputError where it does not lie on the map's pixels, a LimitError where it is too large to decode at once.
        """
        return self._decoded(grid, [(0, grid.height_px, 0, grid.width_px)])

    def embedding_for_crop(
        self, grid: MetricGrid, centre_rc: tuple[float, float], heading_rad: float, crop_shape: tuple[int, int]
    ) -> tuple[Tensor, BoolArray]:
        """Do as `embedding`, but decode only what a crop turned by ``heading_rad`` reads; the rest of the window is 0.

        Its centre is a fractional row and column in the window, its shape rows and columns.
        """
        return self._decoded(grid, strips_of_turned(grid.shape, centre_rc, heading_rad, crop_shape))

    def _decoded(self, grid: MetricGrid, boxes: list[Box]) -> tuple[Tensor, BoolArray]:
        row, column = self._pixel_offset(grid)
        scale = self.scale
        around_px = 2 * DECODE_HALO * scale
        if (grid.height_px + around_px) * (grid.width_px + around_px) > MAX_WINDOW_PX:
            raise LimitError(f"a window of {grid.height_px} x {grid.width_px} pixels", "decode smaller windows")
        top, left = row // scale - DECODE_HALO, column // scale - DECODE_HALO
        bottom = -(-(row + grid.height_px) // scale) + DECODE_HALO
        right = -(-(column + grid.width_px) // scale) + DECODE_HALO
        codes = self.codes(top, left, bottom - top, right - left)
        first_row, first_column = row - top * scale, column - left * scale
        cut = np.s_[first_row : first_row + grid.height_px, first_column : first_column + grid.width_px]
        known = np.ascontiguousarray(known_of(codes, scale)[cut])
        if not codes.any():
            channels = self.bundle.model.preset.embedding_channels
            return torch.zeros(channels, grid.height_px, grid.width_px), known
        return self._decoder.decode_window(codes, (first_row, first_column), grid.shape, boxes), known

    def embed_observation(self, observation: Observation) -> Tensor:
        """Embed what the vehicle sees, in its own axes: (C, H, W) float32."""
        return self._decoder.embed_observation(observation)

    def _tile(self, column: int, row: int) -> ByteArray | None:
        key = (column, row)
        if key in self._tiles:
            self._tiles.move_to_end(key)
            return self._tiles[key]
        payload = self._file.tile(self._layer, column, row) if column >= 0 and row >= 0 else None
        side = self.tile_blocks * BLOCK_PX // self.scale
        shape = (self.bundle.model.preset.groups, side, side)
        codes = self._tiles[key] = None if payload is None else self.bundle.coder.decode(payload, shape)
        if len(self._tiles) > _TILES_KEPT:
            self._tiles.popitem(last=False)
        return codes

    def forget(self) -> None:
        """Drop cached tiles: after an update of the file, or to measure decoding."""
        self._tiles.clear()

    def _pixel_offset(self, grid: MetricGrid) -> tuple[int, int]:
        here = self._grid
        row = (here.north_m - grid.north_m) / here.resolution_m
        column = (grid.west_m - here.west_m) / here.resolution_m
        aligned = abs(row - round(row)) < 1e-3 and abs(column - round(column)) < 1e-3
        if not aligned or not math.isclose(grid.resolution_m, here.resolution_m, rel_tol=1e-9):
            raise MapInputError("the window does not lie on the map's pixels", "cut it with grid.window")
        return round(row), round(column)


def _read_parameters(parameters: dict[str, Any]) -> tuple[MetricGrid, int]:
    try:
        grid = MetricGrid(**parameters["grid"])
        tile_blocks = parameters["tile_blocks"]
        if parameters["block_px"] != BLOCK_PX or type(tile_blocks) is not int or not 1 <= tile_blocks <= 16:
            raise MapFormatError("the lidar layer is cut into tiles this version does not know", "update foldmap")
    except (KeyError, TypeError, MapInputError) as error:
        wrong = f"the lidar layer's parameters do not make sense: {error}"
        raise MapFormatError(wrong, "fold the map again") from error
    return grid, tile_blocks
