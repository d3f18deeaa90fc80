"""What a context may look at: planes and offsets that the decoder already knows, by numbers that are stored in models.

A feature is ``(source, dy, dx)``. Source 0 is the group being coded (earlier cells only), 1..G-1 the group that many
before it (any cell within two), and four derived planes: how many earlier groups are active in a cell, the position
inside a block that has shown nothing yet, the block flags of this group (offsets in blocks), and the number of active
cells among the ten nearest earlier ones. Block flags themselves are coded with sources 0, 1..G-1 and COUNT in blocks.
"""

from typing import TypeAlias

import numpy as np

from foldmap.coding import kernel
from foldmap.types import AnyArray

Feature: TypeAlias = tuple[int, int, int]

OWN = 0
COUNT, PENDING, FLAGGED, NEAR = 240, 241, 242, 243
MAX_GROUPS = 64
REACH = 2
_DERIVED = {COUNT: kernel.COUNT, PENDING: kernel.PENDING, FLAGGED: kernel.FLAGGED, NEAR: kernel.NEAR}
_WINDOW = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
_EARLIER = [
    (0, -1), (-1, 0), (-1, -1), (-1, 1), (0, -2), (-2, 0), (-1, -2), (-1, 2), (-2, -1), (-2, 1), (-2, -2), (-2, 2),
]  # fmt: skip


def feature_values(groups: int, symbols: int, block: int) -> int:
    """How many values a neighbour can take: a symbol, a count of groups or cells, or a position in a block."""
    return max(symbols, groups, block * block, 10) + 1


def is_known(kind: int, group: int, feature: Feature) -> bool:
    """Whether the decoder knows ``feature`` when it reaches a decision of ``kind`` in ``group``."""
    source, dy, dx = feature
    if max(abs(dy), abs(dx)) > REACH:
        return False
    if source == OWN:
        return dy < 0 or (dy == 0 and dx < 0)
    if source <= group or source == COUNT:
        return True
    if kind == kernel.FLAG:
        return False
    if source == FLAGGED:
        return max(abs(dy), abs(dx)) <= 1
    return source in (PENDING, NEAR) and (dy, dx) == (0, 0)


def candidate_features(kind: int, group: int) -> list[Feature]:
    """Features that are tried when a tree is grown."""
    features = [(OWN, dy, dx) for dy, dx in _EARLIER]
    for lag in range(1, group + 1):
        window = _WINDOW if lag <= 2 else [(0, 0)]
        features += [(lag, dy, dx) for dy, dx in window]
    if group:
        features += [(COUNT, dy, dx) for dy, dx in _WINDOW]
    if kind != kernel.FLAG:
        features += [(FLAGGED, dy, dx) for dy, dx in _WINDOW if (dy, dx) != (0, 0)]
        features += [(PENDING, 0, 0), (NEAR, 0, 0)]
    return features


def cell_pad(block: int) -> int:
    """Margin of the cell buffer that keeps every feature inside it."""
    return max(REACH, block)


def offsets(kind: int, group: int, features: AnyArray, shape: tuple[int, int, int], block: int) -> AnyArray:
    """Flat offsets, int32 (N,), of features (N, 3) from a cell of ``group``, in the kernel's buffer for a tile's shape.

    ``kind`` is FLAG, ACTIVE or SYMBOL of the kernel, ``block`` the cells per side of a block.
    """
    groups, height, width = shape
    if kind == kernel.FLAG:
        height, width = -(-height // block), -(-width // block)
    pad = kernel.BLOCK_PAD if kind == kernel.FLAG else cell_pad(block)
    pitch = width + 2 * pad
    size = (height + 2 * pad) * pitch
    source, dy, dx = (features[:, k].astype(np.int64) for k in range(3))
    plane = -source
    for number, extra in _DERIVED.items():
        plane[source == number] = groups + extra - group
    scale = np.where(source == FLAGGED, block, 1)
    return np.asarray((plane * size + scale * (dy * pitch + dx)).astype(np.int32))
