"""What finds images, as docs/visual-codes.md (section 7) says, in plain Python; shares no code with the package."""

from __future__ import annotations

import struct

import numpy as np
from coefficient_reader import safetensors


def unit(rows: np.ndarray) -> np.ndarray:
    length = np.sqrt((rows * rows).sum(axis=-1, keepdims=True))
    return rows / np.where(length > 0, length, 1)


def read_tiles_seen(data: bytes, tiles: int, groups: int) -> np.ndarray:
    """Tile (1, 1): bool (tiles, groups)."""
    assert len(data) == -(-tiles * groups // 8)
    bits = [(byte >> (7 - k)) & 1 for byte in data for k in range(8)]
    assert not any(bits[tiles * groups :])
    return np.array(bits[: tiles * groups], bool).reshape(tiles, groups)


def read_globals(data: bytes) -> np.ndarray:
    """Tile (0, 2): float64 (I, N)."""
    version, b, parts, images, size = struct.unpack_from("<BBHII", data)
    assert version == 1
    if b:
        mean_scale, step_scale = struct.unpack_from("<ff", data, 12)
        means = np.frombuffer(data, np.int8, size, 20).astype(np.float64) * mean_scale
        steps = np.frombuffer(data, np.uint8, size, 20 + size).astype(np.float64) * step_scale
        packed = data[20 + 2 * size :]
        assert len(packed) == -(-images * size * b // 8)
        codes = [(byte >> (b * k)) & (2**b - 1) for byte in packed for k in range(8 // b)]
        table = np.array(codes[: images * size]).reshape(images, size)
        return unit(turn_back((table - (2 ** (b - 1) - 0.5)) * steps + means))
    (centroids,) = struct.unpack_from("<H", data, 12)
    scales = struct.unpack_from(f"<{parts}f", data, 14)
    first = 14 + 4 * parts
    books = np.frombuffer(data, np.int8, centroids * size, first).reshape(parts, centroids, size // parts)
    table = np.frombuffer(data, np.uint8, offset=first + centroids * size).reshape(images, parts)
    rows = [np.concatenate([books[m, u] * float(scales[m]) for m, u in enumerate(row)]) for row in table]
    return unit(np.array(rows))


def turn_back(rows: np.ndarray) -> np.ndarray:
    rows = rows.copy()
    size = rows.shape[1]
    whole = 1
    while 2 * whole <= size:
        whole *= 2
    numbers = np.arange(whole)
    common = np.array([[int(i & j).bit_count() for j in numbers] for i in numbers])
    matrix = np.where(common % 2, -1.0, 1.0) / np.sqrt(whole)
    if whole < size:
        rows[:, -whole:] = (rows[:, -whole:] @ matrix) * _signs(whole, whole)
    rows[:, :whole] = (rows[:, :whole] @ matrix) * _signs(0, whole)
    return rows


def _signs(first: int, count: int) -> np.ndarray:
    signs = []
    for counter in range(first + 1, first + count + 1):
        v = counter * 0x9E3779B97F4A7C15 % 2**64
        v = (v ^ (v >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        v = (v ^ (v >> 27)) * 0x94D049BB133111EB % 2**64
        v ^= v >> 31
        signs.append(-1.0 if v >> 63 else 1.0)
    return np.array(signs)


def describe(model: bytes, descriptors: np.ndarray) -> np.ndarray:
    """Model `vlad`: a query's global descriptor, float64 (N,)."""
    held, _ = safetensors(model)
    assert held["format"].tolist() == [1]
    left = int(held["left"][0])
    whole = np.rint(65536 * unit(descriptors.astype(np.float64))) / 65536
    axes = held["axes"].astype(np.float64)
    coefficients = (whole @ axes - held["mean"].astype(np.float64) @ axes) * held["axis_scale"].astype(np.float64)
    words = held["words"].astype(np.float64) * held["word_scale"].astype(np.float64)
    sums = np.zeros((len(words), left))
    for row in coefficients:
        nearest = np.argmin(((words - row) ** 2).sum(axis=1))
        sums[nearest] += (row - words[nearest])[:left]
    return unit(unit(np.sign(sums) * np.sqrt(np.abs(sums))).ravel())
