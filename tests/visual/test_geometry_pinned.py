"""The streams themselves are pinned: a change of any coder's bytes needs a new format, and must not pass unnoticed."""

from __future__ import annotations

import hashlib

import numpy as np

from foldmap.coding.integers import decode_integers, encode_integers
from foldmap.visual.codes.points_codec import encode_points
from foldmap.visual.codes.visibility_codec import encode_visibility


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def lattice(count: int) -> np.ndarray:
    """Points with exact coordinates, made by integer arithmetic alone."""
    k = np.arange(count, dtype=np.int64)
    return np.stack([k * 7919 % 4096, k * k * 104729 % 4096, k * 31 % 512], axis=1) / 256.0


def test_points_are_pinned() -> None:
    assert digest(encode_points(lattice(500), 2.0 ** -(np.arange(500) % 4) / 8)[0]) == "674edf9c393d9807"


def test_visibility_is_pinned() -> None:
    points = lattice(200)
    seen = np.abs(points[:, :1] - np.arange(40) / 2.5) < 2
    assert digest(encode_visibility(seen, points)) == "b9a506988544621f"


def test_integers_are_pinned_and_survive() -> None:
    k = np.arange(900, dtype=np.int64)
    values = (k * k * 7919 % 2001 - 1000).reshape(300, 3) >> np.array([0, 3, 7])
    values[5] = (0, 2**61, -(2**61))
    data = encode_integers(values)
    assert (decode_integers(data, (300, 3)) == values).all()
    assert digest(data) == "0c84bd2f6670c70f"
