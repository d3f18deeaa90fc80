"""TOPO-TR style: a transformer decodes a set of curves, and which follows which.

After Can et al., "Structured Bird's-Eye-View Traffic Scene Understanding from Onboard Images" (ICCV 2021), and
"Topology Preserving Local Road Network Estimation from Single Onboard Camera Image" (CVPR 2022): queries attend to
image features, each tells whether it is a line, its Bezier curve, and an embedding by whose pairs connections are
decided; Hungarian matching assigns queries to lines. Two things are added so that a short training suffices: queries
start at anchor curves, the k-means of the training lines, and each decoder layer looks at the features along its
present curve and refines it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from torch.nn import functional

from foldmap.bench.street.generators.common import GeneratorSettings, Head, LinkHead, cell_places, layers, link_loss
from foldmap.bench.street.generators.lines import POINTS, LineTargets, assemble, line_targets, to_metres
from foldmap.street.source import LaneGraph
from foldmap.types import DoubleArray, FloatArray

CONTROLS = 4
"""Control points of a curve: a cubic."""
_HEADS = 4
_CURVE_WEIGHT, _LINK_WEIGHT = 10.0, 1.0
_MATCH_CURVE, _MATCH_EXIST = 10.0, 1.0
_DRAWN_POINTS = 41
_ROUNDS = 20

State = tuple[Tensor, Tensor, Tensor]
"""After a layer: queries (B, Q, width), existence (B, Q), control points (B, Q, CONTROLS, 2)."""


def bezier(count: int) -> DoubleArray:
    """Weights of the control points at `count` equal steps of the parameter, (count, CONTROLS)."""
    t = np.linspace(0, 1, count)[:, None]
    k = np.arange(CONTROLS)
    ways = np.array([math.comb(CONTROLS - 1, i) for i in k])
    return ways * t**k * (1 - t) ** (CONTROLS - 1 - k)


class TopoTr(Head):
    """A set transformer of curves."""

    exist = 0.5
    weights_draw: Tensor
    weights_teach: Tensor

    def __init__(self, settings: GeneratorSettings) -> None:
        super().__init__(settings)
        width = settings.width
        self.anchor = nn.Parameter(torch.zeros(settings.queries, CONTROLS, 2))
        self.place = layers(2, width, width)
        self.decoder = nn.ModuleList(_Layer(width) for _ in range(settings.layers))
        self.links = LinkHead(width)
        self.register_buffer("weights_teach", torch.from_numpy(bezier(POINTS)).float())
        self.register_buffer("weights_draw", torch.from_numpy(bezier(_DRAWN_POINTS)).float())

    def targets(self, graph: LaneGraph, rng: np.random.Generator) -> LineTargets:
        """Lines of a graph; the longest where there are more than queries."""
        found = line_targets(graph, self.settings.window, self.settings.shortest_m)
        kept = np.sort(np.argsort(-found.length_m, kind="stable")[: self.settings.queries])
        return LineTargets(found.points[kept], found.follows[np.ix_(kept, kept)], found.length_m[kept])

    def start(self, targets: Sequence[LineTargets], rng: np.random.Generator) -> None:
        """Anchors start at the k-means of the lines."""
        points = np.concatenate([target.points for target in targets])
        fitted = np.linalg.pinv(bezier(POINTS)) @ anchors(points, self.settings.queries, rng)
        with torch.no_grad():
            self.anchor.copy_(torch.from_numpy(fitted).float())

    def _decode(self, maps: Tensor) -> list[State]:
        """After each layer."""
        x, y = cell_places(*maps.shape[2:])
        keys = self.place(torch.stack([x, y], -1).flatten(0, 1))[None]
        memory = maps.flatten(2).transpose(1, 2)
        controls = self.anchor[None].expand(len(maps), -1, -1, -1)
        query = maps.new_zeros(len(maps), len(self.anchor), maps.shape[1])
        states: list[State] = []
        for layer in self.decoder:
            query, exist, controls = layer(query, controls.detach() if states else controls, maps, memory, keys)
            states.append((query, exist, controls))
        return states

    def loss(self, maps: Tensor, targets: list[LineTargets], rng: np.random.Generator) -> Tensor:
        """Existence, curves and, of the last layer, connections among matched queries."""
        total = maps.new_zeros(())
        lines = max(1, sum(len(target) for target in targets))
        states = self._decode(maps)
        truth = [torch.from_numpy(target.points) for target in targets]
        for depth, (query, exist, controls) in enumerate(states):
            curve = torch.einsum("pk,bqkd->bqpd", self.weights_teach, controls)
            pairs = match(curve.detach(), exist.detach(), truth)
            wanted = torch.zeros_like(exist)
            off = maps.new_zeros(())
            for b, (rows, columns) in enumerate(pairs):
                wanted[b, rows] = 1.0
                off = off + (curve[b, rows] - truth[b][columns]).abs().mean((1, 2)).sum()
                if depth == len(states) - 1 and len(rows) > 1:
                    follows = torch.from_numpy(targets[b].follows)[columns][:, columns]
                    logit = self.links(query[b, rows], query[b, rows], controls[b, rows, -1], controls[b, rows, 0])
                    total = total + _LINK_WEIGHT * link_loss(logit, follows) / len(targets)
            total = total + _CURVE_WEIGHT * off / lines
            total = total + functional.binary_cross_entropy_with_logits(exist, wanted, reduction="sum") / lines
        return total

    def draw(self, maps: Tensor) -> list[LaneGraph]:
        """Curves that exist, joined where they connect."""
        query, exist, controls = self._decode(maps)[-1]
        curve = torch.einsum("pk,bqkd->bqpd", self.weights_draw, controls)
        graphs = []
        for b in range(len(maps)):
            kept = torch.nonzero(exist[b].sigmoid() >= self.least)[:, 0]
            logit = self.links(query[b, kept], query[b, kept], controls[b, kept, -1], controls[b, kept, 0])
            follows = (logit.sigmoid() >= self.settings.link).numpy()
            np.fill_diagonal(follows, False)
            lines = to_metres(curve[b, kept].numpy(), self.settings.window)
            graphs.append(assemble(list(lines), follows, self.settings.window, self.settings.shortest_m))
        return graphs


class _Layer(nn.Module):
    """One decoder layer: look along the present curve, at each other, at the image; then refine."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.where = layers(CONTROLS * 2, width, width)
        self.along = nn.Linear(CONTROLS * width, width)
        self.others = nn.MultiheadAttention(width, _HEADS, batch_first=True)
        self.image = nn.MultiheadAttention(width, _HEADS, batch_first=True)
        self.think = layers(width, 2 * width, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(4))
        self.exist = nn.Linear(width, 1)
        self.step = layers(width, width, CONTROLS * 2)
        nn.init.zeros_(self.step[-1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.step[-1].bias)  # type: ignore[arg-type]

    def forward(self, query: Tensor, controls: Tensor, maps: Tensor, memory: Tensor, keys: Tensor) -> State:
        where = self.where(controls.flatten(2))
        query = self.norms[0](query + self.along(sample(maps, controls).flatten(2)))
        asked = query + where
        query = self.norms[1](query + self.others(asked, asked, query, need_weights=False)[0])
        query = self.norms[2](query + self.image(query + where, memory + keys, memory, need_weights=False)[0])
        query = self.norms[3](query + self.think(query))
        moved = controls + self.step(query).unflatten(-1, (CONTROLS, 2))
        return query, self.exist(query)[..., 0], moved


def sample(maps: Tensor, points: Tensor) -> Tensor:
    """Feature maps (B, C, H, W) at points (B, ..., 2) of -1 .. 1 (x ahead, y left), bilinear: (B, ..., C)."""
    where = -points.flatten(1, -2).flip(-1)[:, :, None]  # columns grow to the right, rows to the back
    found = functional.grid_sample(maps, where, mode="bilinear", padding_mode="border", align_corners=False)
    return found[..., 0].transpose(1, 2).reshape(*points.shape[:-1], maps.shape[1])


def match(curve: Tensor, exist: Tensor, truth: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Queries and lines that belong together in each image, all lines once: the assignment of least cost.

    Curves (B, Q, POINTS, 2) and logits of existence (B, Q) against lines (C, POINTS, 2) an image, C at most Q.
    """
    pairs = []
    for b, lines in enumerate(truth):
        apart = torch.cdist(curve[b].flatten(1), lines.flatten(1), p=1) / (2 * POINTS)
        cost = _MATCH_CURVE * apart - _MATCH_EXIST * exist[b].sigmoid()[:, None]
        rows, columns = linear_sum_assignment(cost.numpy())
        pairs.append((torch.from_numpy(rows), torch.from_numpy(columns)))
    return pairs


def anchors(points: FloatArray, count: int, rng: np.random.Generator) -> DoubleArray:
    """Curves (count, POINTS, 2) that stand for the lines (C, POINTS, 2): k-means, started at scattered lines."""
    flat = points.reshape(len(points), -1).astype(np.float64)
    flat = flat[np.sort(rng.permutation(len(flat))[:20_000])]
    centre = flat[[int(rng.integers(len(flat)))]]
    nearest = ((flat - centre) ** 2).sum(1)
    while len(centre) < count:
        total = nearest.sum()
        pick = int(rng.choice(len(flat), p=nearest / total)) if total > 0 else int(rng.integers(len(flat)))
        centre = np.concatenate([centre, flat[[pick]]])
        nearest = np.minimum(nearest, ((flat - flat[pick]) ** 2).sum(1))
    for _ in range(_ROUNDS):
        apart = (flat**2).sum(1)[:, None] - 2 * flat @ centre.T + (centre**2).sum(1)
        owner = apart.argmin(1)
        sums = np.zeros_like(centre)
        np.add.at(sums, owner, flat)
        size = np.bincount(owner, minlength=count)[:, None]
        centre = np.where(size > 0, sums / np.maximum(size, 1), centre)
    return centre.reshape(count, POINTS, 2)
