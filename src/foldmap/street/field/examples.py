"""What the field network learns from: windows as tensors, drawn by index so that a run can be resumed.

Ortho tiles give crops made anew each epoch, or the frames of a ring, drawn once: other light each time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from foldmap.errors import ConfigError
from foldmap.street.changes.edits import RandomAging
from foldmap.street.field.lane_field import FieldSpec, draw
from foldmap.street.field.shape import birds_eye
from foldmap.street.images.observation import CameraRing, StreetPair
from foldmap.street.images.photometric import draw_light
from foldmap.street.paper.pairs import AerialPairs, GroundTile, Jitter, RingPairs
from foldmap.street.source import LaneGraph
from foldmap.types import BoolArray, ByteArray, FloatArray, IntArray

AGED_SHARE = 0.8
"""Of windows whose map is edited while a network learns to compare images with maps."""
_SPACING_M = 2.0
_RING_SPACING_M = 8.0
FRAMES = 5000


@dataclass(frozen=True)
class FieldBatch:
    """What a step sees: float32 RGB images, 0 to 255, and 1 where ground is seen; fields of the truth and the old map.

    With a map the targets are also what the map lacks and what is gone. `headings` are the channels of one field.
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

    def batch(self, size: int, seed: int, step: int) -> FieldBatch:
        """The batch of a step, the same whenever it is asked for; steps count from 1."""


Aging = Callable[[LaneGraph, np.random.Generator], LaneGraph]
"""Makes an out-of-date map of a true graph."""


class PairExamples:
    """Batches out of pairs, rendered for each batch.

    `epoch` gives the pairs of an epoch, of one length: jittered anew for each, or the same ones. `aging`, for a network
    with a map, makes the old map of a window.
    """

    def __init__(
        self, epoch: Callable[[int], Sequence[StreetPair]], field: FieldSpec, aging: Aging | None = None
    ) -> None:
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
        pairs = [self._current[1][int(row)] for row in rows]
        images, seen = zip(*(self._eye(pair.observation) for pair in pairs), strict=True)
        return _batch(images, seen, [pair.graph for pair in pairs], self.field, self.aging, _draws(size, seed, step))


@dataclass(frozen=True)
class CachedExamples:
    """Ground images of pairs whose rendering is slow, kept in memory (100 kB a pair at 160 px): other light each time.

    Images are uint8, where they see the ground bool; graphs are truths in the ego frame, places the names of their
    maps; `light` is the strength of the change of light, 0 for none; `aging` as in `PairExamples`.
    """

    image_NHW3: ByteArray
    seen_NHW: BoolArray
    graphs: list[LaneGraph]
    places: list[str]
    field: FieldSpec
    light: float = 1.0
    aging: Aging | None = None

    @staticmethod
    def of(
        pairs: Iterable[StreetPair],
        field: FieldSpec,
        light: float = 1.0,
        aging: Aging | None = None,
        report: Callable[[int], None] = lambda done: None,
    ) -> CachedExamples:
        """Look at every pair of any source (ConfigError: no pairs)."""
        eye = birds_eye(field)
        images, seen, graphs, places = [], [], [], []
        for number, pair in enumerate(pairs, start=1):
            image, shown = eye(pair.observation)
            images.append(image)
            seen.append(shown)
            graphs.append(pair.graph)
            places.append(pair.place)
            report(number)
        if not images:
            raise ConfigError("there are no pairs to train on", "give images with lane graphs")
        return CachedExamples(np.stack(images), np.stack(seen), graphs, places, field, light, aging)

    def __len__(self) -> int:
        return len(self.graphs)

    def batch(self, size: int, seed: int, step: int) -> FieldBatch:
        """The batch of a step; each epoch is a permutation of its own."""
        _, rows = epoch_rows(len(self), size, seed, step)
        draws = _draws(size, seed, step)
        images = [self.image_NHW3[row] for row in rows]
        if self.light:
            images = [draw_light(rng, self.light)(image) for rng, image in zip(draws, images, strict=True)]
        graphs = [self.graphs[row] for row in rows]
        return _batch(images, list(self.seen_NHW[rows]), graphs, self.field, self.aging, draws)


class AlternatingExamples:
    """Batches of several sources in turn: step 1 from the first, step 2 from the second, and around again."""

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


def aerial_examples(
    tiles: Sequence[GroundTile], field: FieldSpec, *, update: bool = False, seed: int = 0, spacing_m: float = _SPACING_M
) -> PairExamples:
    """Crops along every lane of the training tiles, with a new pose and another light in every epoch.

    With `update` each window comes with a map that may be out of date.
    """
    jitter = Jitter(4.0, 1.5, 0.4, 1.0, seed=seed)
    first = AerialPairs(tiles, spacing_m, field.window, birds_eye(field).size_px, jitter)
    aging = RandomAging(AGED_SHARE, field.window) if update else None
    return PairExamples(lambda epoch: first.with_jitter(replace(jitter, seed=seed + epoch)), field, aging)


def ring_examples(
    tiles: Sequence[GroundTile],
    ring: CameraRing,
    field: FieldSpec,
    *,
    update: bool = False,
    frames: int = FRAMES,
    seed: int = 7,
    report: Callable[[int, int], None] = lambda done, count: None,
) -> CachedExamples:
    """Frames of a ring over flat tiles (SEMI-SYNTHETIC), drawn once; light changes in every epoch.

    At most `frames`, evenly random among windows 8 m apart. `update` as in `aerial_examples`; `report` is called with
    the frames done and their number.
    """
    pairs = RingPairs(tiles, ring, _RING_SPACING_M, field.window, jitter=Jitter(2.0, 2.0, 0.3, 0.5, seed=seed))
    chosen = np.arange(len(pairs))
    if len(pairs) > frames:
        chosen = np.sort(np.random.default_rng(seed).choice(len(pairs), frames, replace=False))
    aging = RandomAging(AGED_SHARE, field.window) if update else None
    drawn = (pairs[int(index)] for index in chosen)
    return CachedExamples.of(drawn, field, 0.7, aging, lambda done: report(done, len(chosen)))


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


def _draws(size: int, seed: int, step: int) -> list[np.random.Generator]:
    """A source of chance for each window of a batch."""
    return [np.random.default_rng([seed, step, number, 1]) for number in range(size)]


def _batch(
    images: Sequence[ByteArray],
    seen: Sequence[BoolArray],
    graphs: Sequence[LaneGraph],
    field: FieldSpec,
    aging: Aging | None,
    draws: Sequence[np.random.Generator],
) -> FieldBatch:
    targets, olds = [draw(graph, field) for graph in graphs], []
    if aging is not None:
        olds = [draw(aging(graph, rng), field) for graph, rng in zip(graphs, draws, strict=True)]
        targets = [change_target(truth, old) for truth, old in zip(targets, olds, strict=True)]
    return FieldBatch(
        torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float(),
        torch.from_numpy(np.stack(seen)).float(),
        torch.from_numpy(np.stack(targets)),
        torch.from_numpy(np.stack(olds)) if olds else None,
        field.headings,
    )
