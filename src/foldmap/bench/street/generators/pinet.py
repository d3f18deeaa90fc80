"""PINET style: key points of lanes on a grid, with offsets, directions and an embedding, linked to a directed graph.

After Ko et al., "Key Points Estimation and Point Instance Segmentation Approach for Lane Detection" (IEEE T-ITS 2021):
each cell tells whether a lane runs there, where in the cell, and an embedding that is alike along one lane and apart
between lanes. A direction is added, since graphs have one. `link` makes the graph: thin, link, close gaps, smooth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from torch import Tensor, nn
from torch.nn import functional

from foldmap.bench.street.generators.common import GeneratorSettings, Head, cell_places
from foldmap.bench.street.generators.lines import STEP_M, equal_steps, half_size_m, line_targets, to_metres, to_unit
from foldmap.geometry import SE2
from foldmap.street.graph.chains import resample
from foldmap.street.graph.window import Window, cut
from foldmap.street.source import LaneGraph
from foldmap.types import BoolArray, DoubleArray, FloatArray, IntArray

EMBEDDING = 4
MARGIN = 1.0
"""Embeddings of different lanes are taught to be farther apart than this."""
_NEAR_M = 1.0
_DENSE_M = 0.25
_PAIR_M = 8.0
_PAIRS = 256
_OFFSET_WEIGHT, _TURN_WEIGHT, _EMBED_WEIGHT = 1.0, 1.0, 0.5
APART_M = 0.9
"""Key points of one heading that are closer than this are one."""
REACH_M = 3.0
"""From a key point to the next of the same lane."""
GAP_M = 6.0
"""From a lane's end to the next lane's start."""
SHORTEST_M = 4.0
"""Pieces of the graph with fewer metres are dropped: they are noise."""
_SAME_HEADING = 0.7
_ALIKE_HEADING = 0.5
_SIDEWAYS = 0.6
_SMOOTHINGS = 3


@dataclass(frozen=True)
class CellTargets:
    """What the P cells of one image that a lane runs through are taught.

    `cell` int64 (P,), row-major; `offset` float32 (P, 2), metres from the cell's centre to the lane's nearest point;
    `direction` float32 (P, 2), unit, of the lane there; `line` int64 (P,), which line; `pairs` int64 (M, 2), rows of
    these that lie close together.
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
            none, nowhere = np.zeros(0, np.int64), np.zeros((0, 2), np.float32)
            return CellTargets(none, nowhere, nowhere, none, np.zeros((0, 2), np.int64))
        dense = np.concatenate(points)
        centres = self.centre_m.numpy().astype(np.float64)
        apart, nearest = cKDTree(dense).query(centres, distance_upper_bound=_NEAR_M)
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

    def suited(self, maps: Sequence[Tensor], targets: Sequence[CellTargets]) -> float | None:
        """The probability at which as many cells are taken as lanes run through.

        Lanes run through few cells, and a network of short training is sure of none: at a fixed probability it drew
        nothing at all, and was scored the worst distance there is for every image.
        """
        chance = torch.cat([self._tell(one)[..., 0].sigmoid().flatten() for one in maps])
        right = sum(len(target) for target in targets)
        return float(chance.topk(max(1, right)).values[-1])

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


@dataclass(frozen=True)
class KeyPoints:
    """What a network found: places (P, 2) in the ego frame, unit directions (P, 2), embeddings (P, D), confidence."""

    place_m: DoubleArray
    direction: DoubleArray
    embedding: DoubleArray
    chance: DoubleArray


def link(points: KeyPoints, margin: float, window: Window) -> LaneGraph:
    """Make a graph of the key points of one image, in the ego frame, vertices 1 m apart; maybe an empty one.

    Points are thinned, the most confident first. Each is linked to the best next point and the best previous point of
    its lane: ahead of it, of like heading, of an embedding within half the margin between lanes. Points that are left
    without a next or a previous one look farther, whatever the embedding: so lanes connect, fork and merge.
    """
    kept = thin(points)
    place, direction = points.place_m[kept], points.direction[kept]
    if len(place) < 2:
        return LaneGraph.empty()
    cost = _cost(place, direction)
    alike = np.linalg.norm(points.embedding[kept][:, None] - points.embedding[kept][None], axis=2) <= margin / 2
    near = np.where(alike, cost, np.inf)
    near[_apart(place) > REACH_M] = np.inf
    edges = _best(near, np.ones(len(place), bool), np.ones(len(place), bool))
    far = cost.copy()
    far[_apart(place) > GAP_M] = np.inf
    more = _best(far, ~np.isin(np.arange(len(place)), edges[:, 0]), ~np.isin(np.arange(len(place)), edges[:, 1]))
    edges = without_shortcuts(np.unique(np.concatenate([edges, more]), axis=0), len(place))
    graph = _long_pieces(LaneGraph(place, edges))
    graph = LaneGraph(_smooth(graph), graph.edges.copy())
    return resample(cut(graph, SE2(0.0, 0.0, 0.0), window), STEP_M)


def thin(points: KeyPoints) -> IntArray:
    """Rows to keep: of points close together and of one heading the most confident, ascending."""
    apart = _apart(points.place_m)
    rival = (apart < APART_M) & (points.direction @ points.direction.T > _SAME_HEADING)
    free = np.ones(len(apart), bool)
    kept = []
    for row in np.argsort(-points.chance, kind="stable"):
        if free[row]:
            kept.append(row)
            free &= ~rival[row]
    return np.sort(np.array(kept, np.int64))


def without_shortcuts(edges: IntArray, count: int) -> IntArray:
    """Drop edges (i, k) where (i, j) and (j, k) are there too."""
    net = np.zeros((count, count), bool)
    net[edges[:, 0], edges[:, 1]] = True
    around = (net.astype(np.float32) @ net.astype(np.float32)) > 0
    return np.argwhere(net & ~around).astype(np.int64)


def _apart(place: DoubleArray) -> DoubleArray:
    apart: DoubleArray = np.linalg.norm(place[:, None] - place[None], axis=2)
    return apart


def _cost(place: DoubleArray, direction: DoubleArray) -> DoubleArray:
    """Of each step i to j: its length and how far it leaves both headings sideways; infinite where no lane would."""
    move = place[None] - place[:, None]
    along = np.minimum((move * direction[:, None]).sum(2), (move * direction[None]).sum(2))
    aside = np.maximum(_cross(direction[:, None], move), _cross(direction[None], move))
    possible = (along > 0) & (aside <= _SIDEWAYS * along) & (direction @ direction.T > _ALIKE_HEADING)
    return np.where(possible, along + 3 * aside, np.inf)


def _cross(a: DoubleArray, b: DoubleArray) -> DoubleArray:
    return np.abs(a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0])


def _best(cost: DoubleArray, seek_next: BoolArray, seek_previous: BoolArray) -> IntArray:
    """Cheapest next of the points that seek one, cheapest previous of those that seek one, (E, 2)."""
    rows = np.flatnonzero(seek_next & np.isfinite(cost.min(1)))
    columns = np.flatnonzero(seek_previous & np.isfinite(cost.min(0)))
    ahead = np.stack([rows, cost[rows].argmin(1)], 1)
    behind = np.stack([cost[:, columns].argmin(0), columns], 1)
    return np.unique(np.concatenate([ahead, behind]), axis=0).astype(np.int64)


def _long_pieces(graph: LaneGraph) -> LaneGraph:
    ones = np.ones(len(graph.edges))
    net = coo_array((ones, (graph.edges[:, 0], graph.edges[:, 1])), shape=(len(graph), len(graph)))
    piece = connected_components(net, directed=False)[1][graph.edges[:, 0]]
    length = np.bincount(piece, graph.edge_lengths_m, minlength=len(graph))
    return graph.take_edges(length[piece] >= SHORTEST_M)


def _smooth(graph: LaneGraph) -> DoubleArray:
    """Vertices with one edge in and one out move halfway to the middle of their neighbours, a few times."""
    place = graph.vertices_m.copy()
    inner = np.flatnonzero((graph.in_degree == 1) & (graph.out_degree == 1))
    before, after = np.zeros(len(graph), np.int64), np.zeros(len(graph), np.int64)
    before[graph.edges[:, 1]] = graph.edges[:, 0]
    after[graph.edges[:, 0]] = graph.edges[:, 1]
    for _ in range(_SMOOTHINGS):
        place[inner] = place[inner] / 2 + (place[before[inner]] + place[after[inner]]) / 4
    return place
