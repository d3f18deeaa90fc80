"""The graph encoder: a transformer whose attention mask is the adjacency matrix of each graph (Pix2Map).

A lane graph has two or three edges a vertex, so a mask over all pairs of vertices is empty but for one in fifty. The
attention here walks the edges instead of masking pairs: the softmax over a vertex's neighbours and itself is the
softmax over all vertices with minus infinity elsewhere, number by number, and costs V + E in place of V x V. A batch is
one disjoint union: no padding, no limit on vertices, and a graph's embedding does not depend on its company.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from foldmap.street.paper.encoders.packing import EDGE_TYPES, FEATURES, PackedGraphs
from foldmap.street.paper.encoders.shape import GraphShape


class AdjacencyAttention(nn.Module):
    """Multi-head attention of each vertex to itself and its neighbours; scores may get a learned bias by edge type."""

    def __init__(self, width: int, heads: int, *, edge_bias: bool) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.bias_TH = nn.Parameter(torch.zeros(EDGE_TYPES, heads)) if edge_bias else None

    def forward(self, x_VD: Tensor, packed: PackedGraphs) -> Tensor:
        """Attend: (V, D) -> (V, D)."""
        vertices, width = x_VD.shape
        q, k, v = self.qkv(x_VD).float().view(vertices, 3, self.heads, width // self.heads).unbind(1)
        seer, seen = packed.seer_A, packed.seen_A
        score_AH = (q.index_select(0, seer) * k.index_select(0, seen)).sum(-1) / math.sqrt(width // self.heads)
        if self.bias_TH is not None:
            score_AH = score_AH + self.bias_TH.index_select(0, packed.type_A)
        with torch.no_grad():  # any shift gives the same softmax; the largest keeps it finite
            top_VH = score_AH.new_full((vertices, self.heads), -torch.inf)
            top_VH.scatter_reduce_(0, seer[:, None].expand_as(score_AH), score_AH, "amax")
        weight_AH = (score_AH - top_VH.index_select(0, seer)).exp()
        total_VH = torch.zeros_like(top_VH).index_add(0, seer, weight_AH)
        mixed_VHd = torch.zeros_like(v).index_add(0, seer, weight_AH[..., None] * v.index_select(0, seen))
        mixed: Tensor = self.out((mixed_VHd / total_VH[..., None]).reshape(vertices, width))
        return mixed


class _Block(nn.Module):
    def __init__(self, shape: GraphShape) -> None:
        super().__init__()
        self.before_attention = nn.LayerNorm(shape.width)
        self.attention = AdjacencyAttention(shape.width, shape.heads, edge_bias=shape.edge_bias)
        self.before_mlp = nn.LayerNorm(shape.width)
        wide = 2 * shape.width
        self.mlp = nn.Sequential(nn.Linear(shape.width, wide), nn.GELU(), nn.Linear(wide, shape.width))

    def forward(self, x_VD: Tensor, packed: PackedGraphs) -> Tensor:
        x_VD = x_VD + self.attention(self.before_attention(x_VD), packed)
        out: Tensor = x_VD + self.mlp(self.before_mlp(x_VD))
        return out


class GraphEncoder(nn.Module):
    """Vertices embedded by position and direction, transformer blocks along the edges, pooled vertices.

    Positions are scaled by half the longer side of the window.
    """

    def __init__(self, shape: GraphShape, half_side_m: float, dim: int) -> None:
        super().__init__()
        self.shape, self.half_side_m = shape, half_side_m
        inputs = FEATURES + 4 * shape.frequencies
        self.embed = nn.Sequential(nn.Linear(inputs, shape.width), nn.GELU(), nn.Linear(shape.width, shape.width))
        self.blocks = nn.ModuleList([_Block(shape) for _ in range(shape.layers)])
        self.norm = nn.LayerNorm(shape.width)
        pooled = shape.width * (2 if shape.pooling == "mean-max" else 1)
        self.nothing = nn.Parameter(torch.zeros(pooled))  # what an empty window pools to
        self.head = nn.Sequential(nn.Linear(pooled, dim), nn.GELU(), nn.Linear(dim, dim))

    def forward(self, packed: PackedGraphs) -> Tensor:
        """Embed a batch of graphs: (N, dim), not yet of unit length."""
        x_VD = self.embed(self._inputs(packed.features_VF))
        for block in self.blocks:
            x_VD = block(x_VD, packed)
        embedding: Tensor = self.head(self._pool(self.norm(x_VD), packed))
        return embedding

    def _inputs(self, features_VF: Tensor) -> Tensor:
        xy_V2 = features_VF[:, :2] / self.half_side_m
        octaves = math.pi / 2 * 2.0 ** torch.arange(self.shape.frequencies, device=xy_V2.device)
        phase = (xy_V2[:, :, None] * octaves).flatten(1)
        return torch.cat([xy_V2, features_VF[:, 2:], phase.sin(), phase.cos()], 1)

    def _pool(self, x_VD: Tensor, packed: PackedGraphs) -> Tensor:
        graph_V = packed.graph_V
        number_N = torch.bincount(graph_V, minlength=packed.count)[:, None]
        pooled = x_VD.new_zeros(packed.count, x_VD.shape[1]).index_add(0, graph_V, x_VD) / number_N.clamp_min(1)
        if self.shape.pooling == "mean-max":
            top = x_VD.new_zeros(packed.count, x_VD.shape[1])
            rows = graph_V[:, None].expand_as(x_VD)
            pooled = torch.cat([pooled, top.scatter_reduce(0, rows, x_VD, "amax", include_self=False)], 1)
        return torch.where(number_N > 0, pooled, self.nothing.to(pooled.dtype))
