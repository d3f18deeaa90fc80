"""PINET style: key points of lanes on a grid, with offsets, directions and an embedding, linked to a directed graph.

After Ko et al., "Key Points Estimation and Point Instance Segmentation Approach for Lane Detection" (IEEE T-ITS 2021):
each cell tells whether a lane runs there, where in the cell, and an embedding that is alike along one lane and apart
between lanes. A direction is added, since graphs have one; `pinet_link` makes the graph.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor, nn
from torch.nn import functional

from foldmap.bench.street.generators.heads import Head
from foldmap.bench.street.generators.pinet_link import KeyPoints, link
from foldmap.bench.street.generators.settings import GeneratorSettings
from foldmap.bench.street.generators.targets import equal_steps, half_size_m, line_targets, to_metres, to_unit
from foldmap.bench.street.generators.trunk import cell_places
from foldmap.street.source import LaneGraph
from foldmap.types import BoolArray, FloatArray, IntArray

EMBEDDING = 4
MARGIN = 1.0
"""Embeddings of different lanes are taught to be farther apart than this."""
_REACH_M = 1.0
_DENSE_M = 0.25
_PAIR_M = 8.0
_PAIRS = 256
_OFFSET_WEIGHT, _TURN_WEIGHT, _EMBED_WEIGHT = 1.0, 1.0, 0.5


@dataclass(frozen=True)
class CellTargets:
    """What the cells of one image are taught.

    Attributes:
        cell: int64 (P,), cells that a lane runs through, row-major.
        offset: float32 (P, 2), metres from the cell's centre to the lane's nearest point.
        direction: float32 (P, 2), unit, of the lane there.
        line: int64 (P,), which line.
        pairs: int64 (M, 2), rows of the above that lie close together.
    """

    cell: IntArray
    offset: FloatArray
    direction: FloatArray
    line: IntArray
    pairs: IntArray

    def __len__(self) -> int:
        return len(self.cell)


class PiNet(Head):
    """Key points, linked."""

    exist = 0.4
    centre_m: Tensor

    def __init__(self, settings: GeneratorSettings) -> None:
        super().__init__(settings)
        width = settings.width
        self.cells = (settings.image_px[0] // 4, settings.image_px[1] // 4)
        with torch.device("cpu"):  # whatever weights are made on
            x, y = cell_places(*self.cells)
        centres = to_metres(torch.stack([x, y], -1).flatten(0, 1).numpy(), settings.window)
        self.register_buffer("centre_m", torch.from_numpy(centres).float(), persistent=False)
        self.widen = nn.Conv2d(width, 4 * (width // 2), 1)
        self.tell = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(width // 2, width // 2, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width // 2, width // 2, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width // 2, 5 + EMBEDDING, 1),  # existence, offset, direction, embedding
        )

    def targets(self, graph: LaneGraph, rng: np.random.Generator) -> CellTargets:
        """Cells that lanes of a graph run through."""
        window = self.settings.window
        lines = line_targets(graph, window, self.settings.shortest_m)
        points, turns, owner = [], [], []
        for c in range(len(lines)):
            line = to_metres(lines.points[c], window)
            line = equal_steps(line, max(3, round(lines.length_m[c] / _DENSE_M)))
            turn = np.gradient(line, axis=0)
            points.append(line)
            turns.append(turn / np.maximum(np.hypot(*turn.T), 1e-9)[:, None])
            owner.append(np.full(len(line), c))
        if not points:
            nothing = np.zeros((0, 2), np.float32)
            return CellTargets(
                np.zeros(0, np.int64), nothing, nothing, np.zeros(0, np.int64), np.zeros((0, 2), np.int64)
            )
        dense = np.concatenate(points)
        centres = self.centre_m.numpy().astype(np.float64)
        apart, nearest = cKDTree(dense).query(centres, distance_upper_bound=_REACH_M)
        cell = np.flatnonzero(np.isfinite(apart))
        near = nearest[cell]
        pairs = cKDTree(centres[cell]).query_pairs(_PAIR_M, output_type="ndarray")
        pairs = pairs[np.sort(rng.permutation(len(pairs))[:_PAIRS])]
        return CellTargets(
            cell,
            (dense[near] - centres[cell]).astype(np.float32),
            np.concatenate(turns)[near].astype(np.float32),
            np.concatenate(owner)[near],
            pairs.astype(np.int64).reshape(-1, 2),
        )

    def _tell(self, maps: Tensor) -> Tensor:
        """(B, cells, 5 + EMBEDDING)."""
        told: Tensor = self.tell(functional.pixel_shuffle(self.widen(maps), 2))
        return told.flatten(2).transpose(1, 2)

    def loss(self, maps: Tensor, targets: list[CellTargets], rng: np.random.Generator) -> Tensor:
        """Existence, offsets, directions, and embeddings drawn together along a line and apart between lines."""
        told = self._tell(maps)
        image = np.repeat(np.arange(len(targets)), [len(target.cell) for target in targets])
        cell = np.concatenate([target.cell for target in targets])
        wanted = torch.zeros(told.shape[:2])
        wanted[image, cell] = 1.0
        total = functional.binary_cross_entropy_with_logits(told[..., 0], wanted) * 3
        if not len(cell):
            return total
        here = told[image, cell]
        offset = torch.from_numpy(np.concatenate([target.offset for target in targets]))
        direction = torch.from_numpy(np.concatenate([target.direction for target in targets]))
        total = total + _OFFSET_WEIGHT * functional.l1_loss(here[:, 1:3], offset)
        total = total + _TURN_WEIGHT * functional.mse_loss(here[:, 3:5], direction)
        base = np.cumsum([0] + [len(target.cell) for target in targets])
        pairs = np.concatenate([target.pairs + start for target, start in zip(targets, base[:-1], strict=True)])
        line = np.concatenate([target.line for target in targets])
        same = torch.from_numpy(line[pairs[:, 0]] == line[pairs[:, 1]])
        gap = ((here[pairs[:, 0], 5:] - here[pairs[:, 1], 5:]) ** 2).sum(1)
        push = functional.relu(MARGIN - torch.sqrt(gap + 1e-6)) ** 2
        return total + _EMBED_WEIGHT * torch.where(same, gap, push).mean() if len(pairs) else total

    def draw(self, maps: Tensor) -> list[LaneGraph]:
        """Key points of enough confidence, linked."""
        told = self._tell(maps)
        limit = float(np.max(half_size_m(self.settings.window)))
        graphs = []
        for one in told:
            chance = one[:, 0].sigmoid()
            kept: BoolArray = (chance >= self.least).numpy()
            place = self.centre_m + one[:, 1:3].clamp(-limit, limit)
            inside = (np.abs(to_unit(place.numpy().astype(np.float64), self.settings.window)) <= 1.05).all(1)
            rows = np.flatnonzero(kept & inside)
            turn = one[rows, 3:5].numpy().astype(np.float64)
            points = KeyPoints(
                place[rows].numpy().astype(np.float64),
                turn / np.maximum(np.hypot(*turn.T), 1e-9)[:, None],
                one[rows, 5:].numpy().astype(np.float64),
                chance[rows].numpy().astype(np.float64),
            )
            graphs.append(link(points, MARGIN, self.settings.window))
        return graphs
