"""Map images in the order in which a query resembles them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from foldmap.errors import ConfigError
from foldmap.types import FloatArray, IntArray


@dataclass(frozen=True)
class Ranking:
    """Images, best first.

    Attributes:
        images: int64 (k,), index into the map's images.
        scores: float32 (k,), descending; comparable within one ranking only.
    """

    images: IntArray
    scores: FloatArray

    def __len__(self) -> int:
        return len(self.images)


def best_first(scores: FloatArray, most: int) -> Ranking:
    """The ``most`` highest of scores float32 (I,); among equals the earlier image.

    Raises:
        ConfigError: fewer than one is asked for.
    """
    if most < 1:
        raise ConfigError(f"{most} images of a map cannot be retrieved", "ask for at least one")
    order = np.argsort(-scores, kind="stable")[:most].astype(np.int64)
    return Ranking(order, scores[order].astype(np.float32))
