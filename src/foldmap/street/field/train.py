"""Train the lane field network: every cell of every window is a question with a known answer.

Each step: a seeded batch of ground images and the fields of their graphs, one of the window's eight symmetries, the
network, binary cross-entropy, AdamW.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from foldmap.errors import ConfigError
from foldmap.street.field.examples import FieldBatch, FieldExamples
from foldmap.street.field.network import FieldNetwork
from foldmap.street.field.shape import FieldReader, FieldShape
from foldmap.street.field.symmetry import mirror_field, mirror_image, turn_field, turn_image
from foldmap.training.loop import Trainer, cosine, descend, set_rate


@dataclass(frozen=True)
class FieldTrainSettings:
    """Everything that decides a run, apart from the examples and the shape of the network.

    Attributes:
        batch: windows a step.
        learning_rate: AdamW's, for everything but the trunk; linear warm-up, then a cosine to zero.
        trunk_rate: factor on it for the trunk, which starts from ImageNet where `imagenet` is set.
        symmetries: whether windows are turned and mirrored (only square windows can be).
        present_weight: of the field itself where a map is given, beside what it lacks and what is gone.
    """

    steps: int = 5000
    batch: int = 16
    learning_rate: float = 2e-3
    trunk_rate: float = 0.3
    warmup_steps: int = 100
    weight_decay: float = 0.01
    symmetries: bool = True
    imagenet: bool = True
    present_weight: float = 0.15
    checkpoint_every: int = 250
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 2 or self.warmup_steps < 0 or self.checkpoint_every < 1:
            raise ConfigError(f"{self.steps} steps of {self.batch} windows", "give at least one step of two windows")
        numbers = (self.learning_rate, self.trunk_rate, self.present_weight)
        if not all(math.isfinite(n) and n > 0 for n in numbers) or not 0 <= self.weight_decay < 1:
            raise ConfigError(f"rates of {numbers}", "give positive numbers")


PRESETS = {
    "tiny": FieldTrainSettings(steps=150, batch=8, warmup_steps=20, checkpoint_every=50),
    "small": FieldTrainSettings(),
    "paper": FieldTrainSettings(steps=20000, batch=32),
}
"""Preset -> settings; "small" takes less than an hour on two cores."""


@dataclass(frozen=True)
class FieldProgress:
    """A line of the training log: loss of the batch, nats a cell above the targets' entropy; 0 is perfect."""

    step: int
    loss: float


class FieldTrainer(Trainer[FieldBatch, FieldProgress]):
    """Trains the lane field network; tensors of the same name and size are taken over from `start`, a trained one.

    Raises:
        ConfigError: fewer windows than a batch.
        MissingExtraError: ImageNet weights are asked for and not installed.
    """

    network: FieldNetwork

    def __init__(
        self,
        examples: FieldExamples,
        shape: FieldShape,
        settings: FieldTrainSettings,
        start: FieldReader | None = None,
    ) -> None:
        if len(examples) < settings.batch:
            raise ConfigError(f"{len(examples)} windows are less than a batch of {settings.batch}", "give more images")
        torch.manual_seed(settings.seed)
        network = FieldNetwork(shape)
        if start is not None:
            mine, begun = network.state_dict(), start.packed()
            fitting = {
                name: torch.from_numpy(value.astype("float32"))
                for name, value in begun.items()
                if mine[name].shape == value.shape
            }
            network.load_state_dict({**mine, **fitting})
        elif settings.imagenet:
            network.load_imagenet()
        _remember(network, settings.steps)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        identity = {"shape": asdict(shape), "settings": asdict(settings), "windows": len(examples)}
        identity["start"] = start is not None
        trunk = network.trunk_parameters()
        known = {id(value) for value in trunk}
        groups = [{"params": trunk}, {"params": [value for value in network.parameters() if id(value) not in known]}]
        optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, weight_decay=settings.weight_decay)
        super().__init__(network, optimizer, identity, settings.steps, settings.checkpoint_every, FieldProgress)
        self._examples, self._settings = examples, settings

    def draw(self, step: int) -> FieldBatch:
        """A batch."""
        return self._examples.batch(self._settings.batch, self._settings.seed, step)

    def step(self, step: int, drawn: FieldBatch) -> FieldProgress:
        """One step."""
        settings = self._settings
        rate = min(1.0, step / max(1, settings.warmup_steps)) * cosine(step / settings.steps)
        set_rate(self.optimizer, *(settings.learning_rate * factor * rate for factor in (settings.trunk_rate, 1.0)))
        if settings.symmetries:
            drawn = _one_of_eight(drawn, np.random.default_rng([settings.seed, step, 8]))
        excess = field_loss(self.network(drawn.image_B3HW, drawn.seen_BHW, drawn.map_BCRS), drawn.target_BCRS)
        loss = excess
        if drawn.map_BCRS is not None:
            present, lacking, gone = excess.chunk(3)
            loss = settings.present_weight * present + lacking + gone
        descend(self.optimizer, loss.sum())
        return FieldProgress(step, float(excess.detach().sum()))


def field_loss(logits_BCRS: Tensor, target_BCRS: Tensor) -> Tensor:
    """Binary cross-entropy of each channel above the entropy of its target, mean over windows and cells, (C,).

    The target is a share, not a class: its own entropy cannot be learned away, so it is taken off.
    """
    cross = functional.binary_cross_entropy_with_logits(logits_BCRS, target_BCRS, reduction="none")
    own = functional.binary_cross_entropy(target_BCRS, target_BCRS, reduction="none")
    return (cross - own).mean((0, 2, 3))


def _one_of_eight(batch: FieldBatch, rng: np.random.Generator) -> FieldBatch:
    quarters, mirrored = int(rng.integers(4)), bool(rng.integers(2))

    def image(x: Tensor) -> Tensor:
        plain = x.numpy()
        return torch.from_numpy(turn_image(mirror_image(plain) if mirrored else plain, quarters))

    def field(x: Tensor) -> Tensor:
        parts = np.split(x.numpy(), x.shape[1] // batch.headings, 1)
        turned = [turn_field(mirror_field(part) if mirrored else part, quarters) for part in parts]
        return torch.from_numpy(np.concatenate(turned, 1))

    old = None if batch.map_BCRS is None else field(batch.map_BCRS)
    return FieldBatch(image(batch.image_B3HW), image(batch.seen_BHW), field(batch.target_BCRS), old, batch.headings)


def _remember(network: FieldNetwork, steps: int) -> None:
    """Batch norms keep means over the last fifth of a short run; lite0's own memory is a hundred steps."""
    for part in network.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.momentum = max(part.momentum or 0.0, min(0.5, 5 / steps))
