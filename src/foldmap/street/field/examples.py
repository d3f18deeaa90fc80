"""What the field network learns from: windows as tensors, drawn by index so that a run can be resumed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from foldmap.errors import ConfigError
from foldmap.street.field.draw import FieldSpec, draw
from foldmap.street.field.network import IMAGE_PER_CELL
from foldmap.street.images.ground import BirdsEye
from foldmap.street.images.observation import Observation, Pair
from foldmap.street.source import LaneGraph
from foldmap.types import FloatArray, IntArray


@dataclass(frozen=True)
class FieldBatch:
    """What one step sees.

    Attributes:
        image_B3HW: float32 RGB, 0 to 255.
        seen_BHW: float32, 1 where ground is seen.
        target_BCRS: float32 fields: of the truth; where a map is given also what the map lacks and what is gone.
        map_BCRS: float32 field of the old map, or None.
        headings: channels of one field.
    """

    image_B3HW: Tensor
    seen_BHW: Tensor
    target_BCRS: Tensor
    map_BCRS: Tensor | None
    headings: int


class FieldExamples(Protocol):
    """A source of batches."""

    def __len__(self) -> int:
        """Windows in an epoch."""
        ...

    def batch(self, size: int, seed: int, step: int) -> FieldBatch:
        """The batch of a step, the same whenever it is asked for; steps count from 1."""
        ...


Aging = Callable[[LaneGraph, np.random.Generator], LaneGraph]
"""Makes an out-of-date map of a true graph."""


class PairExamples:
    """Batches out of pairs.

    Args:
        epoch: number of the epoch -> its pairs, all of one length: a source renders jittered pairs anew for each
            epoch, or gives the same ones.
        field: how fields are drawn.
        aging: for a network with a map: makes the old map of a window.
    """

    def __init__(self, epoch: Callable[[int], Sequence[Pair]], field: FieldSpec, aging: Aging | None = None) -> None:
        self._epoch_pairs = epoch
        self._current = (0, epoch(0))
        self.field = field
        self.aging = aging
        self._eye = birds_eye(field)

    def __len__(self) -> int:
        return len(self._current[1])

    def batch(self, size: int, seed: int, step: int) -> FieldBatch:
        """Render a batch; each epoch is a permutation of its own."""
        epoch, rows = epoch_rows(len(self), size, seed, step)
        if epoch != self._current[0]:
            self._current = (epoch, self._epoch_pairs(epoch))
        images, seen, targets, olds = [], [], [], []
        for number, row in enumerate(rows):
            pair = self._current[1][int(row)]
            image, shown = self._eye(pair.observation)
            truth = draw(pair.graph, self.field)
            images.append(image)
            seen.append(shown)
            if self.aging is None:
                targets.append(truth)
                continue
            old = draw(self.aging(pair.graph, np.random.default_rng([seed, step, number, 1])), self.field)
            targets.append(change_target(truth, old))
            olds.append(old)
        return FieldBatch(
            torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float(),
            torch.from_numpy(np.stack(seen)).float(),
            torch.from_numpy(np.stack(targets)),
            torch.from_numpy(np.stack(olds)) if olds else None,
            self.field.headings,
        )


class Alternating:
    """Batches of several sources in turn: step 1 from the first, step 2 from the second, and around again.

    Args:
        sources: at least one.
    """

    def __init__(self, *sources: FieldExamples) -> None:
        if not sources:
            raise ConfigError("there are no examples to train on", "give images with lane graphs")
        self._sources = sources

    def __len__(self) -> int:
        return sum(len(source) for source in self._sources)

    def batch(self, size: int, seed: int, step: int) -> FieldBatch:
        """The batch of a step."""
        turn, index = divmod(step - 1, len(self._sources))
        return self._sources[index].batch(size, seed + index, turn + 1)


def birds_eye(field: FieldSpec) -> BirdsEye:
    """The view that the field network takes."""
    return BirdsEye(field.window, field.shape[1] * IMAGE_PER_CELL)


def ground_tensors(observations: Sequence[Observation], eye: BirdsEye) -> tuple[Tensor, Tensor]:
    """Images (B, 3, H, W), 0 to 255, and where they show ground (B, H, W)."""
    seen = [eye(observation) for observation in observations]
    images = torch.from_numpy(np.stack([image for image, _ in seen])).permute(0, 3, 1, 2).float()
    return images, torch.from_numpy(np.stack([shown for _, shown in seen])).float()


def change_target(truth: FloatArray, old: FloatArray) -> FloatArray:
    """Present, lacking and gone: the truth, what it has beyond the old map, what the old map has beyond it."""
    lacking, gone = np.maximum(truth - old, 0), np.maximum(old - truth, 0)
    return np.concatenate([truth, lacking, gone])


def epoch_rows(count: int, size: int, seed: int, step: int) -> tuple[int, IntArray]:
    """Epoch of a step, and the rows of its batch: each epoch is a permutation of its own."""
    an_epoch = count // size
    if not an_epoch:
        raise ConfigError(f"{count} windows are less than a batch of {size}", "give more images")
    epoch, index = divmod(step - 1, an_epoch)
    order = np.random.default_rng([seed, 1, epoch]).permutation(count)
    rows: IntArray = order[index * size : (index + 1) * size].astype(np.int64)
    return epoch, rows
