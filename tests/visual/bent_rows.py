"""Rows for tests of transform coding."""

from __future__ import annotations

import numpy as np

from foldmap.types import AnyArray


def bent_descriptors(count: int, dimension: int = 24, seed: int = 0) -> AnyArray:
    """Unit rows on a bent surface, around a mean, as descriptors are."""
    random = np.random.default_rng(seed)
    inner = random.normal(size=(count, 4)) * [1.0, 0.8, 0.6, 0.5]
    pairs = np.stack([inner[:, i] * inner[:, k] for k in range(4) for i in range(k + 1)], axis=1)
    fixed = np.random.default_rng(99)
    values = inner @ fixed.normal(size=(4, dimension)) + 0.5 * pairs @ fixed.normal(size=(10, dimension))
    values += 0.3 * random.normal(size=values.shape) + 4
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)
