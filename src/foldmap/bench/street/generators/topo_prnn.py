"""TOPO-PRNN style: where lines start, then vertex after vertex of each by a recurrent network.

After Acuna et al., "Efficient Interactive Annotation of Segmentation Datasets with Polygon-RNN++" (CVPR 2018), as Can
et al. (ICCV 2021, CVPR 2022) adapt it to lanes: a heatmap gives first vertices; a recurrent network that sees the image
where it stands emits the next vertex, or the end; its states decide which line follows which. Where streets fork
several lines start at one place: a cell of the heatmap has slots, the line farthest to the left in the first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from foldmap.bench.street.generators.common import GeneratorSettings, Head, LinkHead, cell_places, layers, link_loss
from foldmap.bench.street.generators.lines import assemble, equal_steps, half_size_m, line_targets, to_metres
from foldmap.street.source import LaneGraph
from foldmap.types import BoolArray, DoubleArray, FloatArray, IntArray

SLOTS = 3
"""Lines at most that start in one cell."""
STEP_M = 4.0
"""Between vertices that are emitted."""
MAX_STEPS = 20
"""Vertices at most of a line, the first aside."""
_NOISE_M = 0.6
_APART_M = 1.5
_BUMP_CELLS = 0.8
_RARE = -3.0
_STEP_WEIGHT, _OFFSET_WEIGHT = 3.0, 3.0


@dataclass(frozen=True)
class StepTargets:
    """The C lines of one graph as they are to be emitted.

    `points` float32 (C, MAX_STEPS + 1, 2), -1 .. 1, the last vertex repeated; `steps` int64 (C,), vertices after the
    first; `follows` bool (C, C); `cell` int64 (C, 2), row and column of the first vertex; `slot` int64 (C,), rank among
    the lines that start in the cell, leftmost first.
    """

    points: FloatArray
    steps: IntArray
    follows: BoolArray
    cell: IntArray
    slot: IntArray

    def __len__(self) -> int:
        return len(self.steps)


class TopoPrnn(Head):
    """Recurrent polylines."""

    exist = 0.3
    step: Tensor
    noise: Tensor

    def __init__(self, settings: GeneratorSettings) -> None:
        super().__init__(settings)
        width = settings.width
        self.cells = (settings.image_px[0] // 8, settings.image_px[1] // 8)
        half = torch.from_numpy(half_size_m(settings.window)).float()
        self.register_buffer("step", STEP_M / half, persistent=False)
        self.register_buffer("noise", _NOISE_M / half, persistent=False)
        told = nn.Conv2d(width, SLOTS * 3, 1)  # a slot: score, and where in the cell
        with torch.no_grad():
            told.bias.view(SLOTS, 3)[:, 0] = _RARE  # type: ignore[union-attr]
        self.starts = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), told)
        self.slot = nn.Embedding(SLOTS, width)
        self.begin = layers(3 * width, width, width)
        self.recur = nn.GRUCell(width + 4, width)
        self.emit = layers(2 * width, width, 3)  # a step, and whether the line ends with it
        self.links = LinkHead(width)

    def targets(self, graph: LaneGraph, rng: np.random.Generator) -> StepTargets:
        """Lines of a graph as steps."""
        lines = line_targets(graph, self.settings.window, self.settings.shortest_m)
        steps = np.clip(np.round(lines.length_m / STEP_M), 1, MAX_STEPS).astype(np.int64)
        points = np.zeros((len(lines), MAX_STEPS + 1, 2), np.float32)
        for c, count in enumerate(steps):
            points[c, : count + 1] = equal_steps(lines.points[c].astype(np.float64), int(count) + 1)
            points[c, count + 1 :] = points[c, count]
        rows, columns = self.cells
        cell = np.clip(((1 - points[:, 0]) / 2 * (rows, columns)).astype(np.int64), 0, (rows - 1, columns - 1))
        slot = left_first(cell[:, 0] * columns + cell[:, 1], (points[:, -1] - points[:, 0]).astype(np.float64))
        kept = np.flatnonzero(slot < SLOTS)
        return StepTargets(points[kept], steps[kept], lines.follows[np.ix_(kept, kept)], cell[kept], slot[kept])

    def loss(self, maps: Tensor, targets: list[StepTargets], rng: np.random.Generator) -> Tensor:
        """Heatmap and places of starts, steps, ends and connections; steps are taught from places beside the line."""
        image = torch.from_numpy(np.repeat(np.arange(len(targets)), [len(target) for target in targets]))
        points, steps, cell, slot = (
            torch.from_numpy(np.concatenate([getattr(target, name) for target in targets]))
            for name in ("points", "steps", "cell", "slot")
        )
        total = self._loss_of_starts(maps, image, points[:, 0], cell, slot)
        if not len(image):
            return total
        noise = torch.from_numpy(rng.standard_normal(tuple(points.shape)).astype(np.float32)) * self.noise
        noise[:, 0] *= 0.3
        state = first = self._begin(maps, image, points[:, 0], slot)
        final = torch.zeros_like(state)
        before = points[:, 0] + noise[:, 0]
        last = torch.zeros_like(before)
        for k in range(int(steps.max())):
            state, move, end = self._step(maps, image, state, before, last)
            going = torch.gt(steps, k).float()
            wanted = (points[:, k + 1] - before) / self.step
            off = (functional.smooth_l1_loss(move, wanted, beta=0.2, reduction="none").sum(1) * going).sum()
            ends = functional.binary_cross_entropy_with_logits(end, torch.eq(steps, k + 1).float(), reduction="none")
            total = total + (_STEP_WEIGHT * off + (ends * going).sum()) / steps.sum()
            final = torch.where(torch.eq(steps, k + 1)[:, None], state, final)
            last = (points[:, k + 1] + noise[:, k + 1] - before) / self.step
            before = points[:, k + 1] + noise[:, k + 1]
        for b, target in enumerate(targets):
            own = torch.eq(image, b)
            if len(target) > 1:
                logit = self.links(final[own], first[own], points[own, -1], points[own, 0])
                total = total + link_loss(logit, torch.from_numpy(target.follows)) / len(targets)
        return total

    def _loss_of_starts(self, maps: Tensor, image: Tensor, start: Tensor, cell: Tensor, slot: Tensor) -> Tensor:
        """Penalty-reduced focal loss of the heatmap (Zhou et al., "Objects as Points", eq. 1), and L1 of the places."""
        told = self.starts(maps).unflatten(1, (SLOTS, 3))
        rows = torch.arange(self.cells[0])[None, :, None]
        columns = torch.arange(self.cells[1])[None, None]
        away = (rows - cell[:, 0, None, None]) ** 2 + (columns - cell[:, 1, None, None]) ** 2
        bump = torch.exp(-away / (2 * _BUMP_CELLS**2))
        spot = (image * SLOTS + slot)[:, None, None].expand_as(bump)
        heat = torch.zeros(len(maps) * SLOTS, *self.cells).scatter_reduce(0, spot, bump, "amax")
        heat = heat.reshape(len(maps), SLOTS, *self.cells)
        logit = told[:, :, 0]
        chance = logit.sigmoid()
        peak = heat == 1
        hit = (1 - chance) ** 2 * functional.logsigmoid(logit) * peak
        miss = (1 - heat) ** 4 * chance**2 * functional.logsigmoid(-logit) * ~peak
        total: Tensor = -(hit.sum() + miss.sum()) / max(1, len(image))
        if not len(image):
            return total
        place = told[image, slot, 1:, cell[:, 0], cell[:, 1]]
        off: Tensor = (place - self._in_cell(start, cell)).abs().sum(1).mean()
        return total + _OFFSET_WEIGHT * off

    def _in_cell(self, start: Tensor, cell: Tensor) -> Tensor:
        """Where in its cell a point lies, in cells from the centre, x and y."""
        size = torch.tensor(self.cells)
        return (start - (1 - (2 * cell + 1) / size)) * size / 2

    def _begin(self, maps: Tensor, image: Tensor, start: Tensor, slot: Tensor) -> Tensor:
        here = _at(maps, image, start)
        around = maps.mean((2, 3))[image]
        return torch.tanh(self.begin(torch.cat([here, around, self.slot(slot)], 1)))

    def _step(
        self, maps: Tensor, image: Tensor, state: Tensor, before: Tensor, last: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One vertex on: state, step in units of STEP_M, logit of the end."""
        state = self.recur(torch.cat([_at(maps, image, before), before, last], 1), state)
        ahead = _at(maps, image, before + last * self.step)
        told = self.emit(torch.cat([state, ahead], 1))
        return state, last + told[:, :2], told[:, 2]

    def draw(self, maps: Tensor) -> list[LaneGraph]:
        """Follow every start, and join what connects."""
        told = self.starts(maps).unflatten(1, (SLOTS, 3))
        found = [self._found(told[b]) for b in range(len(maps))]
        image = torch.from_numpy(np.repeat(np.arange(len(found)), [len(start) for start, _ in found]))
        before = torch.cat([start for start, _ in found])
        state = first = self._begin(maps, image, before, torch.cat([slot for _, slot in found]))
        final = torch.zeros_like(state)
        path, steps = [before], torch.full((len(before),), MAX_STEPS)
        last = torch.zeros_like(before)
        for k in range(MAX_STEPS if len(before) else 0):
            state, last, end = self._step(maps, image, state, before, last)
            before = before + last * self.step
            path.append(before)
            going = steps == MAX_STEPS
            final = torch.where(going[:, None], state, final)
            steps[going & ((end > 0) | (before.abs() > 1.02).any(1))] = k + 1
            if (steps < MAX_STEPS).all():
                break
        return [
            self._graph(torch.stack(path, 1)[image == b], steps[image == b], final[image == b], first[image == b])
            for b in range(len(maps))
        ]

    def _found(self, told: Tensor) -> tuple[Tensor, Tensor]:
        """Starts of one image (S, 2) and their slots (S,): the best of those that stand close together."""
        chance = told[:, 0].sigmoid()
        x, y = cell_places(*self.cells)
        place = torch.stack([x, y]) + told[:, 1:].clamp(-1, 1) * (2 / torch.tensor(self.cells))[:, None, None]
        row, column = torch.nonzero(chance[0] >= self.least, as_tuple=True)
        order = torch.argsort(chance[0, row, column], descending=True, stable=True)
        taken: list[tuple[int, int]] = []
        spots: list[DoubleArray] = []
        for r, c in zip(row[order].tolist(), column[order].tolist(), strict=True):
            spot = to_metres(place[0, :, r, c].numpy(), self.settings.window)
            if all(np.hypot(*(spot - other)) >= _APART_M for other in spots):
                taken.append((r, c))
                spots.append(spot)
        own = [(s, r, c) for r, c in taken for s in range(SLOTS) if s == 0 or chance[s, r, c] >= self.least]
        starts = [place[s, :, r, c] for s, r, c in own]
        return torch.stack(starts) if starts else torch.zeros(0, 2), torch.tensor([s for s, _, _ in own]).long()

    def _graph(self, path: Tensor, steps: Tensor, final: Tensor, first: Tensor) -> LaneGraph:
        if not len(path):
            return LaneGraph.empty()
        ends = path[torch.arange(len(path)), steps.clamp(max=path.shape[1] - 1)]
        follows = (self.links(final, first, ends, path[:, 0]).sigmoid() >= self.settings.link).numpy()
        np.fill_diagonal(follows, False)
        window = self.settings.window
        lines = [to_metres(p[: int(n) + 1].numpy(), window) for p, n in zip(path, steps, strict=True)]
        return assemble(lines, follows, window, self.settings.shortest_m)


def left_first(group: IntArray, chord: DoubleArray) -> IntArray:
    """Rank of each line within its group by where its chord (x ahead, y left) leads, left to right of their mean."""
    rank = np.zeros(len(group), np.int64)
    for number in np.unique(group):
        own = np.flatnonzero(group == number)
        mean = chord[own].sum(0)
        x, y = chord[own].T
        side = np.arctan2(mean[0] * y - mean[1] * x, mean[0] * x + mean[1] * y)
        rank[own[np.argsort(-side, kind="stable")]] = np.arange(len(own))
    return rank


def _at(maps: Tensor, image: Tensor, points: Tensor) -> Tensor:
    """Features (S, C) of maps (B, C, H, W) at one point each of image (S,): only what is looked at is read."""
    rows, columns = maps.shape[2:]
    place = ((1 - points) / 2 * torch.tensor([rows, columns]) - 0.5).clamp(min=0)
    place = torch.minimum(place, torch.tensor([rows - 1.0, columns - 1.0]))
    low = place.floor().long()
    share = place - low
    high = torch.minimum(low + 1, torch.tensor([rows - 1, columns - 1]))
    down, right = share[:, :1], share[:, 1:]
    top = maps[image, :, low[:, 0], low[:, 1]] * (1 - right) + maps[image, :, low[:, 0], high[:, 1]] * right
    bottom = maps[image, :, high[:, 0], low[:, 1]] * (1 - right) + maps[image, :, high[:, 0], high[:, 1]] * right
    return top * (1 - down) + bottom * down
