"""Train the paper's networks on pairs of observations and lane graphs.

Each step: a seeded batch, both encoders, cosine similarities, the paper's three terms (`losses`), AdamW.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import NamedTuple

import numpy as np
import torch

from foldmap.errors import ConfigError
from foldmap.street.field.examples import epoch_rows
from foldmap.street.paper.encoders.image import PackedViews
from foldmap.street.paper.losses import chamfer_loss, contrastive_loss, edge_loss, similarities, soft_retrieval
from foldmap.street.paper.model import PaperNetwork
from foldmap.street.paper.prepared import PaperBatch, PreparedPairs
from foldmap.training.loop import Trainer, cosine, descend, set_rate

_VALIDATED = 512
"""At most so many held-out pairs are looked at in a validation."""


@dataclass(frozen=True)
class PaperTrainSettings:
    """Everything that decides a run, apart from the pairs and the sizes of the networks.

    Attributes:
        learning_rate: AdamW's, after a linear warm-up; it decays to a hundredth along a cosine.
        weight_decay: of matrices and kernels; biases, norms and the temperature have none.
        contrastive_weight, chamfer_weight, edge_weight: omega 1 to 3; the chamfer term is in metres.
        per_vertex: whether the sums over vertices are divided by their number (see `foldmap.street.paper.losses`).
        temperature: at the start; 1 is the paper's, which does not learn it.
        mirror: share of pairs with left and right exchanged.
        jitter: brightness and contrast vary by this share.
        imagenet: whether the image trunk starts from ImageNet, if it has such weights.
        half: whether convolutions and matrix products run in bfloat16; sums, norms and the loss never do.
        validate_every: steps between validations and checkpoints.
    """

    steps: int = 2000
    batch: int = 64
    learning_rate: float = 1e-3
    warmup_steps: int = 100
    weight_decay: float = 0.05
    contrastive_weight: float = 1.0
    chamfer_weight: float = 0.1
    edge_weight: float = 0.1
    per_vertex: bool = True
    temperature: float = 0.1
    learn_temperature: bool = True
    mirror: float = 0.5
    jitter: float = 0.2
    imagenet: bool = True
    half: bool = False
    validate_every: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 2 or self.validate_every < 1 or self.warmup_steps < 0:
            raise ConfigError(
                f"{self.steps} steps of {self.batch} pairs, validated every {self.validate_every}",
                "give at least one step and two pairs a batch: other pairs are what one is told from",
            )
        weights = (self.contrastive_weight, self.chamfer_weight, self.edge_weight, self.weight_decay)
        if not (all(0 <= weight < math.inf for weight in weights) and sum(weights[:3]) > 0):
            raise ConfigError(f"weights of {weights}", "give numbers from zero, not all of them zero")
        if not (self.learning_rate > 0 and 0.01 <= self.temperature <= 100):
            what = f"learning rate {self.learning_rate}, temperature {self.temperature}"
            raise ConfigError(what, "give a positive rate and a temperature of 0.01 to 100")
        if not (0 <= self.mirror <= 1 and 0 <= self.jitter < 1):
            raise ConfigError(f"mirror {self.mirror}, jitter {self.jitter}", "give shares from 0 to 1")


@dataclass(frozen=True)
class PaperProgress:
    """One line of the training log: loss and terms of the step's batch, these without their weights.

    `recall1` is the share of the batch whose image finds its own graph first; `held_out_recall1` that of held-out
    images among all graphs of their place, mean over the places, and the median rank there, 1 is first: None between
    validations, or with nothing held out.
    """

    step: int
    loss: float
    contrastive: float
    chamfer_m: float
    edge: float
    temperature: float
    recall1: float
    held_out_recall1: float | None = None
    held_out_median_rank: float | None = None


class Drawn(NamedTuple):
    """What a step sees, and the generator of the rest of its draws."""

    batch: PaperBatch
    random: np.random.Generator


class PaperTrainer(Trainer[Drawn, PaperProgress]):
    """Trains the paper's networks, or goes on with a trained one, `start`; pairs of other places are held out.

    Raises:
        ConfigError: fewer pairs than a batch, or a place in both parts.
        MissingExtraError: ImageNet weights are asked for and not installed.
    """

    network: PaperNetwork

    def __init__(
        self,
        learn: PreparedPairs,
        held_out: PreparedPairs | None,
        settings: PaperTrainSettings,
        start: PaperNetwork | None = None,
    ) -> None:
        if len(learn) < settings.batch:
            raise ConfigError(f"{len(learn)} pairs are less than a batch of {settings.batch}", "give a smaller batch")
        shared = set(learn.places) & set(held_out.places if held_out is not None else ())
        if shared:
            raise ConfigError(f"{min(shared)} is trained on and held out", "split by place: `PreparedPairs.split`")
        if held_out is not None and held_out.shape != learn.shape:
            raise ConfigError("held-out pairs were prepared for another shape", "prepare both for one shape")
        torch.manual_seed(settings.seed)
        network = start if start is not None else PaperNetwork(learn.shape)
        if start is None:
            network.log_scale.data.fill_(-math.log(settings.temperature))
            if settings.imagenet:
                network.load_imagenet()
        network.log_scale.requires_grad_(settings.learn_temperature)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = torch.optim.AdamW(_groups(network, settings.weight_decay), lr=settings.learning_rate)
        identity = {"shape": asdict(learn.shape), "settings": asdict(settings), "pairs": len(learn)}
        identity["start"] = start is not None
        super().__init__(network, optimizer, identity, settings.steps, settings.validate_every, PaperProgress)
        self._learn, self._held_out, self._settings = learn, held_out, settings

    def draw(self, step: int) -> Drawn:
        """A batch; a step's draws do not depend on those before it."""
        random = np.random.default_rng([self._settings.seed, step])
        _, rows = epoch_rows(len(self._learn), self._settings.batch, self._settings.seed, step)
        return Drawn(self._learn.batch(rows, random.random(len(rows)) < self._settings.mirror), random)

    def step(self, step: int, drawn: Drawn) -> PaperProgress:
        """One step."""
        settings, network = self._settings, self.network
        warm = min(1.0, step / max(1, settings.warmup_steps))
        set_rate(self.optimizer, settings.learning_rate * (warm * cosine(step / settings.steps, 0.01)))
        batch, views = drawn.batch, _jittered(drawn.batch.views, settings.jitter, drawn.random)
        with torch.autocast("cpu", torch.bfloat16, enabled=settings.half):
            images_ND, graphs_ND = network.embed_views(views), network.embed_graphs(batch.graphs)
        similarity_NN = similarities(images_ND, graphs_ND)
        alpha_NN = soft_retrieval(similarity_NN, network.scale)
        contrastive = contrastive_loss(similarity_NN, network.scale)
        chamfer = chamfer_loss(alpha_NN, batch.targets, per_vertex=settings.per_vertex)
        edge = edge_loss(alpha_NN, batch.targets, per_vertex=settings.per_vertex)
        weighted = settings.contrastive_weight * contrastive + settings.chamfer_weight * chamfer
        loss = weighted + settings.edge_weight * edge
        descend(self.optimizer, loss, clip=network)
        found = (similarity_NN.detach().argmax(1) == torch.arange(len(similarity_NN))).double().mean()
        numbers = [float(value.detach()) for value in (loss, contrastive, chamfer, edge, 1 / network.scale, found)]
        return PaperProgress(step, *numbers)

    def validated(self, line: PaperProgress) -> PaperProgress:
        """Add the retrieval of held-out graphs within their places; at most 512 pairs, evenly taken."""
        held_out, network = self._held_out, self.network
        if held_out is None:
            return line
        rows = np.unique(np.linspace(0, len(held_out) - 1, _VALIDATED).round().astype(np.int64))
        parts = [held_out.batch(part) for part in np.array_split(rows, len(rows) // 64 + 1)]
        images = torch.cat([network.embed_views(part.views) for part in parts])
        graphs = torch.cat([network.embed_graphs(part.graphs) for part in parts])
        places = np.array([held_out.places[row] for row in rows])
        recalls, ranks = [], []
        for place in sorted(set(places)):
            of = torch.from_numpy(np.flatnonzero(places == place))
            similarity = images[of] @ graphs[of].T
            rank = (similarity > similarity.diagonal()[:, None]).sum(1) + 1
            recalls.append(float((rank == 1).double().mean()))
            ranks.append(rank)
        median = float(torch.cat(ranks).double().median())
        return replace(line, held_out_recall1=float(np.mean(recalls)), held_out_median_rank=median)


def _jittered(views: PackedViews, jitter: float, random: np.random.Generator) -> PackedViews:
    """Brightness and contrast vary from observation to observation, alike for the cameras of one."""
    if not jitter:
        return views
    gain_N, shift_N = random.uniform(1 - jitter, 1 + jitter, views.count), random.uniform(-jitter, jitter, views.count)
    both = torch.from_numpy(np.stack([gain_N, shift_N]).astype(np.float32))
    gain, shift = both[:, views.frame_K][..., None, None, None]
    pixels = ((views.images_K3HW.float() - 127.5) * gain + 127.5 + 127.5 * shift).clamp(0, 255)
    return PackedViews(pixels, views.rays_KR, views.frame_K, views.count)


def _groups(network: PaperNetwork, weight_decay: float) -> list[dict[str, object]]:
    trained = [value for value in network.parameters() if value.requires_grad]
    matrices, others = ([value for value in trained if (value.ndim > 1) == wide] for wide in (True, False))
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
