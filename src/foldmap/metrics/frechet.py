"""Discrete Frechet distance between directed polylines (Eiter and Mannila, 1994)."""

from collections.abc import Sequence

import numpy as np
from numba import njit

from foldmap.errors import InputError
from foldmap.types import DoubleArray


def frechet_matrix(
    ones_m: Sequence[DoubleArray], others_m: Sequence[DoubleArray], limit_m: float = np.inf
) -> DoubleArray:
    """Distance of each polyline with each other one, float64 (A, B), metres; infinite where it exceeds `limit_m`.

    Raises `InputError`: a polyline without points, or of another shape.
    """
    first, first_offset = _packed(ones_m)
    second, second_offset = _packed(others_m)
    out = np.full((len(ones_m), len(others_m)), np.inf)
    _frechet(first, first_offset, second, second_offset, float(limit_m), out)
    return out


def _packed(lines_m: Sequence[DoubleArray]):  # type: ignore[no-untyped-def]
    for number, line in enumerate(lines_m):
        if line.ndim != 2 or line.shape[1] != 2 or not len(line):
            raise InputError(f"polyline {number} has shape {line.shape}", "give (P, 2) with a point at least")
    offset = np.concatenate([[0], np.cumsum([len(line) for line in lines_m])]).astype(np.int64)
    return np.concatenate([np.zeros((0, 2)), *lines_m]).astype(np.float64), offset


@njit(cache=True, nogil=True)
def _frechet(one, one_offset, other, other_offset, limit, out):  # type: ignore[no-untyped-def]
    for i in range(len(one_offset) - 1):
        a = one[one_offset[i] : one_offset[i + 1]]
        for j in range(len(other_offset) - 1):
            b = other[other_offset[j] : other_offset[j + 1]]
            # Both ends are always paired: the farther of them bounds the leash from below.
            if np.sqrt(max(_apart(a[0], b[0]), _apart(a[-1], b[-1]))) > limit:
                continue
            row = np.empty(len(b), np.float64)
            row[0] = _apart(a[0], b[0])
            for k in range(1, len(b)):
                row[k] = max(row[k - 1], _apart(a[0], b[k]))
            for m in range(1, len(a)):
                diagonal = row[0]
                row[0] = max(row[0], _apart(a[m], b[0]))
                for k in range(1, len(b)):
                    before = min(diagonal, row[k], row[k - 1])
                    diagonal = row[k]
                    row[k] = max(before, _apart(a[m], b[k]))
            distance = np.sqrt(row[-1])
            if distance <= limit:
                out[i, j] = distance


@njit(cache=True, inline="always")
def _apart(p, q):  # type: ignore[no-untyped-def]
    dx, dy = p[0] - q[0], p[1] - q[1]
    return dx * dx + dy * dy
