"""Train a D-PQED layer on a scene's descriptors, or adapt a trained one to it (paper section 4.2, supplement A).

The layer learns on track means, one descriptor a point, as maps store them; or, as in the paper, on the descriptors of
the database images, every observation of every point. An epoch draws every row once. Validation folds means, as folding
does, and asks for observations of points that are not learned from.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from foldmap.coding.additive import AdditiveQuantizer
from foldmap.coding.pq import ProductQuantizer
from foldmap.errors import ConfigError, MapInputError
from foldmap.training.loop import Trainer, cosine, descend, set_rate, train
from foldmap.types import AnyArray, FloatArray, IntArray
from foldmap.visual.dpq.losses import n_pair_loss, reconstruction_loss, triplet_loss
from foldmap.visual.dpq.model import DpqedLayer
from foldmap.visual.dpq.serialize import LayerShape, StoredLayer
from foldmap.visual.source import unit_descriptors

LOSSES = ("triplet", "l2", "n-pair")
ROWS = ("track-means", "image-descriptors")
"""What a layer can learn on. The paper trains on the descriptors of database images."""


@dataclass(frozen=True)
class LayerSettings:
    """Everything that decides a run, apart from the descriptors; defaults without "paper" are measured ones.

    Attributes:
        loss: one of `LOSSES` (paper: "triplet").
        rows: one of `ROWS` (paper: "image-descriptors"), what k-means and the training draw.
        epochs: of training (paper: 30).
        batch: rows a step (paper: 1000).
        learning_rate: Adam's (paper: 1e-3), falling to a twentieth along a cosine when `decay`.
        decay: whether it falls.
        margin: m of the triplet loss (paper: 0.9).
        decoded_weight: lambda_1 of eq. 7.
        pairs: N of the N-pair loss.
        tau: temperature of the soft assignment.
        beam: width of the search of additive codes while training.
        l2_weight: of the reconstruction loss, added to the chosen one; 0 leaves it out.
        validation: share of the points kept for validation.
        seed: of everything random.
    """

    loss: str = "triplet"
    rows: str = "track-means"
    epochs: int = 30
    batch: int = 1000
    learning_rate: float = 1e-3
    decay: bool = False
    margin: float = 0.9
    decoded_weight: float = 1.0
    pairs: int = 10
    tau: float = 0.05
    beam: int = 4
    l2_weight: float = 0.0
    validation: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise ConfigError(f"there is no loss {self.loss!r}", f"choose one of {', '.join(LOSSES)}")
        if self.rows not in ROWS:
            raise ConfigError(f"nothing is learned on {self.rows!r}", f"choose one of {', '.join(ROWS)}")
        if self.epochs < 1 or self.batch < 2 or not self.learning_rate > 0 or not self.tau > 0 or self.pairs < 2:
            raise ConfigError("epochs, batch, rates and pairs must be positive", "give positive numbers")
        if not 0 <= self.validation < 0.9:
            raise ConfigError(f"a share of {self.validation} for validation", "give 0 to 0.9")


@dataclass(frozen=True)
class Descriptors:
    """What a layer is trained on, everything of unit length.

    Attributes:
        mean_PD: float32 (P, D), the mean of each point's track (the paper's HLoc-avg).
        seen_OD: float32 (O, D), observations sorted by point.
        first: int64 (P + 1,): observations of point p are rows ``first[p]`` to ``first[p + 1]``.
    """

    mean_PD: FloatArray
    seen_OD: FloatArray
    first: IntArray

    @staticmethod
    def of_tracks(descriptors: AnyArray, point: IntArray) -> Descriptors:
        """Average the observations of each point: (O, D) as the extractor wrote them, and the points of these rows.

        Raises:
            MapInputError: lengths disagree, points are not ascending or have gaps, values are not finite.
        """
        steps = np.diff(point)
        if descriptors.ndim != 2 or len(descriptors) != len(point) or not len(point):
            raise MapInputError(f"{descriptors.shape} descriptors for {len(point)} observations", "give one a row")
        if point[0] != 0 or ((steps != 0) & (steps != 1)).any():
            raise MapInputError("observations are not sorted by point, or a point has none", "sort and renumber them")
        seen = unit_descriptors(descriptors)
        if not np.isfinite(seen).all():
            raise MapInputError("descriptors have NaN or infinite values", "recompute or drop them")
        first = np.concatenate([[0], np.flatnonzero(steps) + 1, [len(point)]]).astype(np.int64)
        return Descriptors(unit_descriptors(np.add.reduceat(seen, first[:-1], axis=0)), seen, first)

    def rows(self, kind: str) -> tuple[FloatArray, IntArray]:
        """One of `ROWS`: float32 (N, D), and the point of each, int64 (N,), ascending."""
        points = np.arange(len(self.mean_PD))
        if kind == "track-means":
            return self.mean_PD, points
        return self.seen_OD, np.repeat(points, np.diff(self.first))

    def one_seen(self, points: IntArray, random: np.random.Generator) -> FloatArray:
        """One observation of each point."""
        first, end = self.first[points], self.first[points + 1]
        seen: FloatArray = self.seen_OD[first + (random.random(len(points)) * (end - first)).astype(np.int64)]
        return seen

    def take(self, most: int) -> Descriptors:
        """At most so many points, evenly taken."""
        kept = np.unique(np.linspace(0, len(self.mean_PD) - 1, most).round().astype(np.int64))
        counts = np.diff(self.first)[kept]
        rows = np.concatenate([np.arange(self.first[point], self.first[point + 1]) for point in kept])
        return Descriptors(self.mean_PD[kept], self.seen_OD[rows], np.concatenate([[0], np.cumsum(counts)]))


@dataclass(frozen=True)
class LayerProgress:
    """One line of the training log: losses, and the share of held-out observations that find their own point."""

    epoch: int
    loss: float
    held_out_loss: float = float("nan")
    held_out_top1: float = float("nan")


class LayerTrainer(Trainer[list[IntArray], LayerProgress]):
    """Trains codebooks, decoder and front together; a step of the loop is an epoch. Arguments as `train_layer`.

    `curve` has one line an epoch, those of a resumed run included; `best` are the best weights by validation (the last
    where nothing was held out).
    """

    network: DpqedLayer

    def __init__(
        self,
        data: Descriptors,
        shape: LayerShape,
        settings: LayerSettings,
        start: DpqedLayer | None = None,
        rank: int = 0,
    ) -> None:
        if rank and start is None:
            raise ConfigError("LoRA adapts a trained layer, and there is none", "give one, or train without")
        torch.manual_seed(settings.seed)
        layer = DpqedLayer(shape, settings.tau, settings.beam)
        self._rows_ND, self._point_N = data.rows(settings.rows)
        if start is not None:
            layer.load_state_dict(start.state_dict())
        trained = layer.decoder.adapt(rank) if rank else list(layer.parameters())
        optimizer = torch.optim.Adam(trained, lr=settings.learning_rate)
        identity: dict[str, Any] = {"shape": asdict(shape), "settings": asdict(settings)}
        identity |= {"points": len(data.mean_PD), "start": start is not None, "rank": rank}
        super().__init__(layer, optimizer, identity, settings.epochs, 1, LayerProgress)
        self._data, self._settings, self._fits = data, settings, start is None
        mixed = np.random.default_rng(settings.seed).permutation(len(data.mean_PD)).astype(np.int64)
        kept = int(settings.validation * len(mixed))
        self._held_out = np.sort(mixed[:kept])
        self._learn = np.flatnonzero(~np.isin(self._point_N, self._held_out))
        self.curve: list[LayerProgress] = []
        self.best = _copied(layer.state_dict())

    def begin(self) -> None:
        """Fit the codebooks, unless a layer was given."""
        if self._fits:
            shape = self.network.shape
            quantizer = AdditiveQuantizer if shape.additive else ProductQuantizer
            fitted = quantizer.fit(self._rows_ND, shape.parts, shape.centroids, seed=self._settings.seed)
            self.network.start_from(fitted)
            self.best = _copied(self.network.state_dict())

    def kept(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The best weights so far."""
        return self.best, {}

    def restore(self, tensors: dict[str, Tensor], facts: dict[str, Any], lines: list[LayerProgress]) -> None:
        """The best weights so far, and the curve."""
        self.best, self.curve = _copied({name: tensors[name] for name in self.best}), lines

    def draw(self, step: int) -> list[IntArray]:
        """Rows of an epoch's steps, which do not depend on the epochs before."""
        order = np.random.default_rng([self._settings.seed, step]).permutation(len(self._learn))
        cuts = range(self._settings.batch, len(order), self._settings.batch)
        return [batch for batch in np.split(self._learn[order], list(cuts)) if len(batch) > 1]

    def step(self, step: int, drawn: list[IntArray]) -> LayerProgress:
        """One epoch."""
        settings, losses = self._settings, []
        for index, rows in enumerate(drawn):
            done = (step - 1 + index / len(drawn)) / settings.epochs
            set_rate(self.optimizer, settings.learning_rate * (cosine(done, 0.05) if settings.decay else 1.0))
            raw = torch.from_numpy(self._rows_ND[rows])
            decoded = self.network(raw)
            loss = objective(raw, decoded, torch.from_numpy(self._point_N[rows]), settings)
            if settings.l2_weight:
                loss = loss + settings.l2_weight * reconstruction_loss(raw, decoded)
            descend(self.optimizer, loss)
            losses.append(float(loss.detach()))
        return LayerProgress(step, float(np.mean(losses)))

    def validated(self, line: LayerProgress) -> LayerProgress:
        """Look for held-out observations among their decoded points; keep the best weights."""
        points = self._held_out[:4096]
        if len(points):
            seen = torch.from_numpy(self._data.one_seen(points, np.random.default_rng(self._settings.seed)))
            decoded = self.network(torch.from_numpy(self._data.mean_PD[points]))
            held_out = float(objective(seen, decoded, torch.from_numpy(points), self._settings))
            own = torch.cdist(seen, decoded).argmin(1) == torch.arange(len(points))
            line = LayerProgress(line.epoch, line.loss, held_out, float(own.double().mean()))
        if not self.curve or not len(points) or line.held_out_top1 >= max(p.held_out_top1 for p in self.curve):
            self.best = _copied(self.network.state_dict())
        self.curve.append(line)
        return line

    def best_layer(self) -> StoredLayer:
        """What a file keeps of the best weights so far."""
        layer = copy.deepcopy(self.network)
        layer.load_state_dict(self.best)
        return layer.stored()


def _copied(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in state.items()}


def train_layer(
    data: Descriptors,
    shape: LayerShape,
    settings: LayerSettings,
    *,
    folder: Path | None = None,
    start: DpqedLayer | None = None,
    rank: int = 0,
    report: Callable[[LayerProgress], None] = lambda progress: None,
) -> LayerTrainer:
    """Fit codebooks by PQ, then train codebooks, decoder and front together; the network ends with the best weights.

    `start` is a trained layer to go on from instead of PQ; a rank above 0 adapts its decoder by LoRA, everything else
    frozen. Without a folder nothing is kept. `report` is called after each epoch.

    Raises:
        ConfigError: the folder holds a run with other settings, LoRA without a layer to adapt.
        ModelError: `start` is of another shape.
    """
    trainer = LayerTrainer(data, shape, settings, start, rank)
    for _ in train(trainer, folder, report):
        pass
    trainer.network.load_state_dict(trainer.best)
    return trainer


def objective(raw_ND: Tensor, decoded_ND: Tensor, point_N: Tensor, settings: LayerSettings) -> Tensor:
    """The loss that the settings name, of one batch."""
    if settings.loss == "l2":
        return reconstruction_loss(raw_ND, decoded_ND)
    if settings.loss == "n-pair":
        return n_pair_loss(raw_ND, decoded_ND, point_N, settings.pairs)
    return triplet_loss(raw_ND, decoded_ND, point_N, settings.margin, settings.decoded_weight)
