"""Read the lidar layer of a .fold file: codes of any window, and the embedding that a localizer matches."""

from __future__ import annotations

from collections import OrderedDict
from functools import cached_property
from typing import Any

import numpy as np

from foldmap.atlas import FoldFile
from foldmap.errors import LayerError, LimitError, MapFormatError, MapInputError
from foldmap.geometry import MetricGrid
from foldmap.lidar.bundle import Bundle
from foldmap.lidar.codec import DECODE_HALO, known_of
from foldmap.lidar.match.region import strips_of_turned
from foldmap.lidar.observation import Observation
from foldmap.lidar.runtime.session import networks_of
from foldmap.lidar.shipped import LAYER, MODEL, shelf
from foldmap.lidar.source import BLOCK_PX
from foldmap.lidar.stored import StoredModel
from foldmap.types import AnyArray, BoolArray, ByteArray, FloatArray

MAX_WINDOW_PX = 1 << 26
_TILES_KEPT = 64
_SQUARES_KEPT = 96
_SQUARE_CELLS = 16


class FoldedLidar:
    """A folded lidar map: the `DecodedMap` of the localizer. Tiles are read when a window reaches them.

    ``fast`` networks compute in bfloat16 where the processor does; the runtime is "torch", "onnx" or the faster one.

    A LayerError where there is no such layer; a MapFormatError or ModelError where its parameters or model do not fit;
    a MissingExtraError where the runtime is not installed.
    """

    def __init__(self, file: FoldFile, layer: str = LAYER, *, fast: bool = True, runtime: str | None = None) -> None:
        info = file.layer(layer)
        if info.kind != "lidar":
            raise LayerError(f"layer {layer!r} is a {info.kind} layer, not a lidar layer", "name a lidar layer")
        self._file, self._layer = file, layer
        self.parameters = info.parameters
        self._grid, self.tile_blocks = _read_parameters(info.parameters)
        self._model_bytes = shelf().read(file, layer, MODEL)
        self.model: StoredModel | Bundle = StoredModel.from_bytes(self._model_bytes)
        self._decoder = networks_of(self.model, lambda: self.bundle, fast=fast, runtime=runtime)
        self._tiles: OrderedDict[tuple[int, int], ByteArray | None] = OrderedDict()
        self._squares: OrderedDict[tuple[int, int], FloatArray | None] = OrderedDict()

    @property
    def grid(self) -> MetricGrid:
        """Placement of the folded raster."""
        return self._grid

    @cached_property
    def bundle(self) -> Bundle:
        """The model with its networks, by torch."""
        return Bundle.from_bytes(self._model_bytes)

    @property
    def tile_px(self) -> int:
        """Pixels a tile side."""
        return self.tile_blocks * BLOCK_PX

    @property
    def channels(self) -> int:
        """Of the embedding."""
        return self.model.preset.embedding_channels

    @property
    def relief(self) -> bool:
        """Whether relief is mixed into what was folded, so that observations must have it, too."""
        return self.parameters.get("relief") is True

    @property
    def scale(self) -> int:
        """Pixels a code cell."""
        return self.model.preset.downsample

    def codes(self, row: int, column: int, height: int, width: int) -> ByteArray:
        """Codes of a window of cells, uint8 (G, height, width), 0 beyond the map; reads the tiles it touches."""
        side = self.tile_blocks * BLOCK_PX // self.scale
        window = np.zeros((self.model.preset.groups, height, width), np.uint8)
        for tile_row in range(row // side, (row + height - 1) // side + 1):
            for tile_column in range(column // side, (column + width - 1) // side + 1):
                codes = self.tile(tile_column, tile_row)
                if codes is None:
                    continue
                _paste(window, codes, tile_row * side - row, tile_column * side - column)
        return window

    def code_image(self, row: int, column: int, height: int, width: int) -> ByteArray:
        """The binary channels of a window of pixels, uint8 (G * K, h, w) in cells: all that is stored."""
        scale = self.scale
        codes = self.codes(row // scale, column // scale, -(-height // scale), -(-width // scale))
        channels = np.arange(1, self.model.preset.group_channels + 1, dtype=np.uint8)
        bits: ByteArray = (codes[:, None] == channels[None, :, None, None]).astype(np.uint8)
        return bits.reshape(-1, *codes.shape[1:])

    def embedding(self, grid: MetricGrid) -> tuple[FloatArray, BoolArray]:
        """Decode a window on the map's pixels, which may reach beyond the map: float32 (C, H, W), and known (H, W).

        A MapInputError where it does not lie on the map's pixels, a LimitError where it is too large to decode at once.
        """
        (row, column), known, scale = self._grid.offset_of(grid), self._known(grid), self.scale
        top, left = row // scale - DECODE_HALO, column // scale - DECODE_HALO
        bottom = -(-(row + grid.height_px) // scale) + DECODE_HALO
        right = -(-(column + grid.width_px) // scale) + DECODE_HALO
        codes = self.codes(top, left, bottom - top, right - left)
        if not codes.any():
            return self._nothing(grid), known
        first, everywhere = (row - top * scale, column - left * scale), [(0, grid.height_px, 0, grid.width_px)]
        return self._decoder.decode_window(codes, first, grid.shape, everywhere), known

    def embedding_for_crop(
        self, grid: MetricGrid, centre_rc: tuple[float, float], heading_rad: float, crop_shape: tuple[int, int]
    ) -> tuple[FloatArray, BoolArray]:
        """Do as `embedding`, but only what a crop turned by ``heading_rad`` reads; the rest is there or 0.

        Its centre is a fractional row and column in the window, its shape rows and columns. What is decoded is kept:
        squares of the map's lattice, so that they are the same whatever was asked for before.
        """
        (row, column), known, side = self._grid.offset_of(grid), self._known(grid), _SQUARE_CELLS * self.scale
        window = self._nothing(grid)
        if not known.any():
            return window, known
        squares = set[tuple[int, int]]()
        for r, r_end, c, c_end in strips_of_turned(grid.shape, centre_rc, heading_rad, crop_shape):
            rows = range((r + row) // side, (r_end - 1 + row) // side + 1)
            squares.update((k, j) for k in rows for j in range((c + column) // side, (c_end - 1 + column) // side + 1))
        for at in sorted(squares):
            decoded = self._square(at)
            if decoded is not None:
                _paste(window, decoded, at[0] * side - row, at[1] * side - column)
        return window, known

    def _known(self, grid: MetricGrid) -> BoolArray:
        """Where there is map in a window; errors as `embedding`."""
        (row, column), scale = self._grid.offset_of(grid), self.scale
        around_px = 2 * DECODE_HALO * scale
        if (grid.height_px + around_px) * (grid.width_px + around_px) > MAX_WINDOW_PX:
            raise LimitError(
                f"a window of {grid.height_px} x {grid.width_px} pixels",
                "take a smaller part: of a search a smaller --radius",
            )
        top, left = row // scale - 1, column // scale - 1
        bottom, right = -(-(row + grid.height_px) // scale) + 1, -(-(column + grid.width_px) // scale) + 1
        known = known_of(self.codes(top, left, bottom - top, right - left), scale)
        row, column = row - top * scale, column - left * scale
        return np.ascontiguousarray(known[row : row + grid.height_px, column : column + grid.width_px])

    def _nothing(self, grid: MetricGrid) -> FloatArray:
        return np.zeros((self.model.preset.embedding_channels, grid.height_px, grid.width_px), np.float32)

    def _square(self, at: tuple[int, int]) -> FloatArray | None:
        """A decoded square of the lattice by its row and column; None where no code is in reach."""
        if at in self._squares:
            self._squares.move_to_end(at)
            return self._squares[at]
        top, left = (k * _SQUARE_CELLS - DECODE_HALO for k in at)
        codes = self.codes(top, left, _SQUARE_CELLS + 2 * DECODE_HALO, _SQUARE_CELLS + 2 * DECODE_HALO)
        side, first = _SQUARE_CELLS * self.scale, DECODE_HALO * self.scale
        decoded = None
        if codes.any():
            decoded = self._decoder.decode_window(codes, (first, first), (side, side), [(0, side, 0, side)])
        self._squares[at] = decoded
        if len(self._squares) > _SQUARES_KEPT:
            self._squares.popitem(last=False)
        return decoded

    def embed_observation(self, observation: Observation) -> FloatArray:
        """Embed what the vehicle sees, in its own axes: (C, H, W) float32."""
        return self._decoder.embed_observation(observation)

    def tile(self, column: int, row: int) -> ByteArray | None:
        """Codes of a tile, uint8 (G, S, S); None where there is none."""
        key = (column, row)
        if key in self._tiles:
            self._tiles.move_to_end(key)
            return self._tiles[key]
        payload = self._file.tile(self._layer, column, row) if column >= 0 and row >= 0 else None
        side = self.tile_blocks * BLOCK_PX // self.scale
        shape = (self.model.preset.groups, side, side)
        codes = None if payload is None else self.model.coder.decode(payload, shape)
        if codes is not None and int(codes.max(initial=0)) > self.model.preset.group_channels:
            raise MapFormatError(f"tile {key} holds codes beyond the model's channels", "fold the map again")
        self._tiles[key] = codes
        if len(self._tiles) > _TILES_KEPT:
            self._tiles.popitem(last=False)
        return codes

    def forget(self) -> None:
        """Drop cached tiles and what they were decoded to: after an update of the file, or to measure decoding."""
        self._tiles.clear()
        self._squares.clear()


def _paste(window_CHW: AnyArray, piece_CHW: AnyArray, top: int, left: int) -> None:
    """Copy what of a piece lies in a window, its corner being at a row and column of that."""
    into = np.s_[:, max(top, 0) : max(top + piece_CHW.shape[1], 0), max(left, 0) : max(left + piece_CHW.shape[2], 0)]
    wanted = window_CHW[into]
    first = max(-top, 0), max(-left, 0)
    wanted[:] = piece_CHW[:, first[0] : first[0] + wanted.shape[1], first[1] : first[1] + wanted.shape[2]]


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
