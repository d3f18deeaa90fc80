"""Single returns, sorted into tiles on disk, so that a drive of any length needs the memory of one tile."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from foldmap.types import AnyArray, BoolArray, IntArray

RETURN = np.dtype([("pixel", "<u4"), ("value", "<u2"), ("sweep", "<u2")])
_OCCUPIED = np.uint32(1 << 31)
_CHUNK = 1 << 20


def pack_returns(pixel: AnyArray, value: AnyArray, sweep: int, occupied: bool) -> AnyArray:
    """Pack one sweep's returns: flat pixel in the tile (< 2**31), intensity times 65535, sweep number modulo 65536."""
    returns = np.empty(len(pixel), RETURN)
    returns["pixel"] = pixel.astype(np.uint32) | (_OCCUPIED if occupied else np.uint32(0))
    returns["value"] = value
    returns["sweep"] = sweep % 65_536
    return returns


def unpack_returns(returns: AnyArray) -> tuple[IntArray, AnyArray, AnyArray, BoolArray]:
    """Flat pixel, intensity times 65535, sweep number, and whether it met something upright."""
    occupied = (returns["pixel"] & _OCCUPIED) > 0
    return (returns["pixel"] & ~_OCCUPIED).astype(np.int64), returns["value"], returns["sweep"], occupied


class ReturnLog:
    """An append-only log of returns per tile, one file each in an empty folder that the caller removes.

    At most ``buffer_returns`` are held in memory before they are written, and `read` gives at most ``max_returns``.
    """

    def __init__(self, folder: Path, buffer_returns: int, max_returns: int) -> None:
        self._folder, self._buffer_returns, self._max_returns = folder, buffer_returns, max_returns
        self._waiting: dict[tuple[int, int], list[AnyArray]] = {}
        self._held = 0
        self._tiles: set[tuple[int, int]] = set()

    @property
    def tiles(self) -> list[tuple[int, int]]:
        """(row, column) of every tile that has returns, in row-major order."""
        return sorted(self._tiles)

    def add(self, tile_row: AnyArray, tile_col: AnyArray, returns: AnyArray) -> None:
        """Append returns, each to its tile."""
        if len(returns) == 0:
            return
        order = np.lexsort((tile_col, tile_row))
        rows, cols = tile_row[order], tile_col[order]
        edges = np.flatnonzero((np.diff(rows) != 0) | (np.diff(cols) != 0)) + 1
        starts = np.concatenate([[0], edges])
        for start, piece in zip(starts, np.split(returns[order], edges), strict=True):
            tile = (int(rows[start]), int(cols[start]))
            self._tiles.add(tile)
            self._waiting.setdefault(tile, []).append(piece)
        self._held += len(returns)
        if self._held >= self._buffer_returns:
            self.flush()

    def flush(self) -> None:
        """Write what is held in memory."""
        for tile in sorted(self._waiting):
            with self._path(tile).open("ab") as file:
                file.writelines(piece.tobytes() for piece in self._waiting[tile])
        self._waiting.clear()
        self._held = 0

    def read(self, tile: tuple[int, int]) -> AnyArray:
        """Read a tile's returns in the order of their sweeps.

        A tile with more than ``max_returns`` is thinned to every second, fourth, ... sweep until it fits.
        """
        self.flush()
        kept: list[AnyArray] = []
        total, every = 0, 1
        with self._path(tile).open("rb") as file:
            while len(chunk := np.frombuffer(file.read(_CHUNK * RETURN.itemsize), RETURN)):
                kept.append(chunk[chunk["sweep"] % every == 0])
                total += len(kept[-1])
                while total > self._max_returns and every < 65_536:
                    every *= 2
                    kept = [piece[piece["sweep"] % every == 0] for piece in kept]
                    total = sum(len(piece) for piece in kept)
        return np.concatenate(kept)

    def _path(self, tile: tuple[int, int]) -> Path:
        return self._folder / f"{tile[0]}_{tile[1]}.returns"
