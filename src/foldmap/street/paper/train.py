"""Train the paper's networks on pairs of observations and lane graphs.

Each step: a seeded batch, both encoders, cosine similarities, the paper's three terms (`losses`), AdamW.
A run resumes from its last checkpoint and is the same run, byte for byte.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from foldmap.errors import ConfigError, ModelError
from foldmap.street.checkpoint import load_checkpoint, save_checkpoint
from foldmap.street.paper.encoders.image import PackedViews
from foldmap.street.paper.encoders.network import PaperNetwork
from foldmap.street.paper.losses import chamfer_loss, contrastive_loss, edge_loss, similarities, soft_retrieval
from foldmap.street.paper.prepared import Batch, PreparedPairs
from foldmap.types import IntArray

LOG = "log.jsonl"
_VALIDATED = 512
"""At most so many held-out pairs are looked at in a validation."""


@dataclass(frozen=True)
class TrainSettings:
    """Everything that decides a run, apart from the pairs and the sizes of the networks.

    Attributes:
        steps: in all.
        batch: pairs a step.
        learning_rate: AdamW's, after a linear warm-up; it decays to a hundredth along a cosine.
        warmup_steps: of the learning rate.
        weight_decay: of matrices and kernels; biases, norms and the temperature have none.
        contrastive_weight, chamfer_weight, edge_weight: omega 1 to 3; the chamfer term is in metres.
        per_vertex: whether the sums over vertices are divided by their number (see `foldmap.street.paper.losses`).
        temperature: at the start; 1 is the paper's.
        learn_temperature: whether it is learned; the paper has none.
        mirror: share of pairs with left and right exchanged.
        jitter: brightness and contrast vary by this share.
        imagenet: whether the image trunk starts from ImageNet, if it has such weights.
        half: whether convolutions and matrix products run in bfloat16; sums, norms and the loss never do.
        validate_every: steps between validations and checkpoints.
        seed: of everything random.
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
            raise ConfigError(
                f"learning rate {self.learning_rate}, temperature {self.temperature}",
                "give a positive rate and a temperature of 0.01 to 100",
            )
        if not (0 <= self.mirror <= 1 and 0 <= self.jitter < 1):
            raise ConfigError(f"mirror {self.mirror}, jitter {self.jitter}", "give shares from 0 to 1")


@dataclass(frozen=True)
class Progress:
    """One line of the training log.

    Attributes:
        step: done.
        loss, contrastive, chamfer_m, edge: of the step's batch, terms without their weights.
        temperature: of the similarity.
        recall1: share of the batch whose image finds its own graph first.
        held_out_recall1: share of held-out images that find their own graph first among all graphs of their place;
            mean over the places; None between validations, or with nothing held out.
        held_out_median_rank: of the own graph there, 1 is first.
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


def train(
    learn: PreparedPairs,
    held_out: PreparedPairs | None,
    settings: TrainSettings,
    folder: Path,
    *,
    start: PaperNetwork | None = None,
    report: Callable[[Progress], None] = lambda progress: None,
) -> Iterator[tuple[PaperNetwork, Progress]]:
    """Train, yielding network and progress at each validation; the last yield is the finished run.

    Args:
        learn: pairs to learn from.
        held_out: pairs of other places, for validation.
        settings: the run.
        folder: checkpoint and log (one JSON line a step); a checkpoint of the same settings is resumed, of others
            refused.
        start: a trained network to begin with.
        report: called after each step, for a progress bar.

    Raises:
        ConfigError: the folder holds a run with other settings, fewer pairs than a batch, or a place in both parts.
        ModelError: checkpoint or log are damaged.
        MissingExtraError: ImageNet weights are asked for and not installed.
    """
    _check_parts(learn, held_out, settings)
    torch.manual_seed(settings.seed)
    network = start if start is not None else PaperNetwork(learn.shape)
    if start is None:
        network.log_scale.data.fill_(-math.log(settings.temperature))
        if settings.imagenet:
            network.load_imagenet()
    network.log_scale.requires_grad_(settings.learn_temperature)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(_groups(network, settings.weight_decay), lr=settings.learning_rate)
    identity = {"shape": learn.shape.to_dict(), "settings": asdict(settings), "pairs": len(learn), "start": bool(start)}
    done = load_checkpoint(folder, network, optimizer, identity)
    lines = _kept_lines(folder / LOG, done)
    folder.mkdir(parents=True, exist_ok=True)
    if done == settings.steps:
        yield network.eval(), _read_line(lines[-1])
        return
    with (folder / LOG).open("w") as log:
        log.writelines(lines)
        for step in range(done + 1, settings.steps + 1):
            _set_rate(optimizer, settings, step)
            random = np.random.default_rng([settings.seed, step])  # a step's draws do not depend on those before it
            rows = _rows(len(learn), settings, step)
            batch = learn.batch(rows, random.random(len(rows)) < settings.mirror)
            progress = _step(network.train(), optimizer, batch, settings, step, random)
            last = step == settings.steps
            if step % settings.validate_every == 0 or last:
                progress = validated(network, held_out, progress)
            log.write(json.dumps(asdict(progress)) + "\n")
            report(progress)
            if step % settings.validate_every == 0 or last:
                log.flush()
                save_checkpoint(folder, network, optimizer, identity, step)  # before anyone stops at the yield
                yield network.eval(), progress


def _step(
    network: PaperNetwork,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    settings: TrainSettings,
    step: int,
    random: np.random.Generator,
) -> Progress:
    views = _jittered(batch.views, settings.jitter, random)
    with torch.autocast("cpu", torch.bfloat16, enabled=settings.half):
        images_ND, graphs_ND = network.embed_views(views), network.embed_graphs(batch.graphs)
    similarity_NN = similarities(images_ND, graphs_ND)
    alpha_NN = soft_retrieval(similarity_NN, network.scale)
    contrastive = contrastive_loss(similarity_NN, network.scale)
    chamfer = chamfer_loss(alpha_NN, batch.targets, per_vertex=settings.per_vertex)
    edge = edge_loss(alpha_NN, batch.targets, per_vertex=settings.per_vertex)
    loss = settings.contrastive_weight * contrastive + settings.chamfer_weight * chamfer + settings.edge_weight * edge
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimizer.step()
    found = (similarity_NN.detach().argmax(1) == torch.arange(len(similarity_NN))).double().mean()
    numbers = [float(value.detach()) for value in (loss, contrastive, chamfer, edge, 1 / network.scale, found)]
    return Progress(step, *numbers)


@torch.no_grad()
def validated(network: PaperNetwork, held_out: PreparedPairs | None, progress: Progress) -> Progress:
    """Add the retrieval of held-out graphs within their places to a line; at most 512 pairs, evenly taken."""
    if held_out is None:
        return progress
    network.eval()
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
    line = {**asdict(progress), "held_out_recall1": float(np.mean(recalls))}
    return Progress(**{**line, "held_out_median_rank": float(torch.cat(ranks).double().median())})


def _check_parts(learn: PreparedPairs, held_out: PreparedPairs | None, settings: TrainSettings) -> None:
    if len(learn) < settings.batch:
        raise ConfigError(f"{len(learn)} pairs are less than a batch of {settings.batch}", "give a smaller batch")
    shared = set(learn.places) & set(held_out.places if held_out is not None else ())
    if shared:
        raise ConfigError(f"{min(shared)} is trained on and held out", "split by place: `PreparedPairs.split`")
    if held_out is not None and held_out.shape != learn.shape:
        raise ConfigError("held-out pairs were prepared for another shape", "prepare both for one shape")


def _rows(count: int, settings: TrainSettings, step: int) -> IntArray:
    """Pairs of a step: each epoch is a permutation of its own; what does not fill a batch is left to other epochs."""
    a_epoch = count // settings.batch
    epoch, index = divmod(step - 1, a_epoch)
    order = np.random.default_rng([settings.seed, 1, epoch]).permutation(count)
    rows: IntArray = order[index * settings.batch : (index + 1) * settings.batch].astype(np.int64)
    return rows


def _jittered(views: PackedViews, jitter: float, random: np.random.Generator) -> PackedViews:
    """Brightness and contrast vary from observation to observation, alike for the cameras of one."""
    if not jitter:
        return views
    gain_N, shift_N = random.uniform(1 - jitter, 1 + jitter, views.count), random.uniform(-jitter, jitter, views.count)
    gain, shift = (
        torch.from_numpy(a.astype(np.float32))[views.frame_K][:, None, None, None] for a in (gain_N, shift_N)
    )
    pixels = ((views.images_K3HW.float() - 127.5) * gain + 127.5 + 127.5 * shift).clamp(0, 255)
    return PackedViews(pixels, views.rays_KR, views.frame_K, views.count)


def _groups(network: PaperNetwork, weight_decay: float) -> list[dict[str, object]]:
    trained = [value for value in network.parameters() if value.requires_grad]
    matrices: list[Tensor] = [value for value in trained if value.ndim > 1]
    others: list[Tensor] = [value for value in trained if value.ndim <= 1]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def _set_rate(optimizer: torch.optim.Optimizer, settings: TrainSettings, step: int) -> None:
    warm = min(1.0, step / max(1, settings.warmup_steps))
    factor = warm * (0.505 + 0.495 * math.cos(math.pi * step / settings.steps))
    for group in optimizer.param_groups:
        group["lr"] = settings.learning_rate * factor


def _kept_lines(path: Path, done: int) -> list[str]:
    """Lines of the log up to the checkpoint: those after it are about to be written again."""
    lines = path.read_text().splitlines(keepends=True)[:done] if path.exists() else []
    if len(lines) < done:
        raise ModelError(
            f"{path.name} has {len(lines)} lines, the checkpoint beside it {done} steps", "remove both and train anew"
        )
    return lines


def _read_line(line: str) -> Progress:
    try:
        return Progress(**json.loads(line))
    except (ValueError, TypeError) as error:
        raise ModelError(f"the last line of {LOG} cannot be read: {error}", "remove the run and train anew") from error


__all__ = ["LOG", "Progress", "TrainSettings", "train", "validated"]
