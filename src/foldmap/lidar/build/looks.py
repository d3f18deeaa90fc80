"""Single looks at the ground, sorted into tiles on disk, so that a drive of any length needs the memory of one tile."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from foldmap.types import AnyArray, BoolArray, IntArray

LOOK = np.dtype([("pixel", "<u4"), ("value", "<u2"), ("sweep", "<u2")])
_OCCUPIED = np.uint32(1 << 31)
_CHUNK = 1 << 20


def pack_looks(pixel: AnyArray, value: AnyArray, sweep: int, occupied: bool) -> AnyArray:
    """Pack one sweep's looks: flat pixel in the tile (< 2**31), intensity times 65535, sweep number modulo 65536."""
    looks = np.empty(len(pixel), LOOK)
    looks["pixel"] = pixel.astype(np.uint32) | (_OCCUPIED if occupied else np.uint32(0))
    looks["value"] = value
    looks["sweep"] = sweep % 65_536
    return looks


def unpack_looks(looks: AnyArray) -> tuple[IntArray, AnyArray, AnyArray, BoolArray]:
    """Flat pixel, intensity times 65535, sweep number, and whether the look met something upright."""
    occupied = (looks["pixel"] & _OCCUPIED) > 0
    return (looks["pixel"] & ~_OCCUPIED).astype(np.int64), looks["value"], looks["sweep"], occupied


class LookLog:
    """An append-only log of looks per tile.

    Args:
        folder: an empty folder for one file a tile; the caller removes it.
        buffer_looks: looks held in memory before they are written.
        max_looks: looks of one tile that `read` returns at most.
    """

    def __init__(self, folder: Path, buffer_looks: int, max_looks: int) -> None:
        self._folder = folder
        self._buffer_looks = buffer_looks
        self._max_looks = max_looks
        self._waiting: dict[tuple[int, int], list[AnyArray]] = {}
        self._held = 0
        self._tiles: set[tuple[int, int]] = set()

    @property
    def tiles(self) -> list[tuple[int, int]]:
        """(row, column) of every tile that has looks, in row-major order."""
        return sorted(self._tiles)

    def add(self, tile_row: AnyArray, tile_col: AnyArray, looks: AnyArray) -> None:
        """Append looks, each to its tile."""
        if len(looks) == 0:
            return
        order = np.lexsort((tile_col, tile_row))
        rows, cols = tile_row[order], tile_col[order]
        edges = np.flatnonzero((np.diff(rows) != 0) | (np.diff(cols) != 0)) + 1
        starts = np.concatenate([[0], edges])
        for start, piece in zip(starts, np.split(looks[order], edges), strict=True):
            tile = (int(rows[start]), int(cols[start]))
            self._tiles.add(tile)
            self._waiting.setdefault(tile, []).append(piece)
        self._held += len(looks)
        if self._held >= self._buffer_looks:
            self.flush()

    def flush(self) -> None:
        """Write what is held in memory."""
        for tile in sorted(self._waiting):
            with self._path(tile).open("ab") as file:
                for piece in self._waiting[tile]:
                    file.write(piece.tobytes())
        self._waiting.clear()
        self._held = 0

    def read(self, tile: tuple[int, int]) -> AnyArray:
        """Read a tile's looks in the order of their sweeps.

        A tile with more than ``max_looks`` is thinned to every second, fourth, ... sweep until it fits, evenly over the
        drive.
        """
        self.flush()
        kept: list[AnyArray] = []
        total, every = 0, 1
        with self._path(tile).open("rb") as file:
            while len(chunk := np.frombuffer(file.read(_CHUNK * LOOK.itemsize), LOOK)):
                kept.append(chunk[chunk["sweep"] % every == 0])
                total += len(kept[-1])
                while total > self._max_looks and every < 65_536:
                    every *= 2
                    kept = [piece[piece["sweep"] % every == 0] for piece in kept]
                    total = sum(len(piece) for piece in kept)
        return np.concatenate(kept)

    def _path(self, tile: tuple[int, int]) -> Path:
        return self._folder / f"{tile[0]}_{tile[1]}.looks"
