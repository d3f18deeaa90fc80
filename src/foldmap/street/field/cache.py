"""Pairs whose rendering is slow, looked at once: ground images and graphs in memory, other light each time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch

from foldmap.errors import ConfigError
from foldmap.street.field.draw import FieldSpec, draw
from foldmap.street.field.examples import Aging, FieldBatch, birds_eye, change_target, epoch_rows
from foldmap.street.images.observation import Pair
from foldmap.street.images.photometric import draw_light
from foldmap.street.source import LaneGraph
from foldmap.types import BoolArray, ByteArray


@dataclass(frozen=True)
class CachedExamples:
    """Ground images of pairs (a `FieldExamples`); 100 kB a pair at 160 px.

    Attributes:
        image_NHW3: uint8.
        seen_NHW: bool.
        graphs: truths in the ego frame.
        places: name of the map of each.
        field: how fields are drawn.
        light: strength of the change of light, 0 for none.
        aging: for a network with a map.
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
        pairs: Iterable[Pair],
        field: FieldSpec,
        light: float = 1.0,
        aging: Aging | None = None,
        report: Callable[[int], None] = lambda done: None,
    ) -> CachedExamples:
        """Look at every pair.

        Args:
            pairs: any source.
            field: of the model.
            light: as the attribute.
            aging: as the attribute.
            report: called with the number of pairs done.

        Raises:
            ConfigError: no pairs.
        """
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
        images, targets, olds = [], [], []
        for number, row in enumerate(rows):
            rng = np.random.default_rng([seed, step, number, 1])
            image = self.image_NHW3[row]
            images.append(draw_light(rng, self.light)(image) if self.light else image)
            truth = draw(self.graphs[row], self.field)
            if self.aging is None:
                targets.append(truth)
                continue
            old = draw(self.aging(self.graphs[row], rng), self.field)
            targets.append(change_target(truth, old))
            olds.append(old)
        return FieldBatch(
            torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float(),
            torch.from_numpy(self.seen_NHW[rows]).float(),
            torch.from_numpy(np.stack(targets)),
            torch.from_numpy(np.stack(olds)) if olds else None,
            self.field.headings,
        )
