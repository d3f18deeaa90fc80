"""Training pairs, prepared once: resized images, calibration and graph rows in memory, batches by index."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from foldmap.errors import ConfigError
from foldmap.geometry import SE2
from foldmap.street.graph.chains import resample
from foldmap.street.images.observation import StreetPair
from foldmap.street.paper.encoders.image import PackedViews, Views, mirrored_rays, pack_views, prepare
from foldmap.street.paper.encoders.packing import GraphRows, PackedGraphs, graph_rows, pack
from foldmap.street.paper.encoders.shape import PaperShape
from foldmap.street.paper.losses import SoftTargets, soft_targets
from foldmap.types import BoolArray, DoubleArray, IntArray


@dataclass(frozen=True)
class PaperBatch:
    """What one training step sees."""

    views: PackedViews
    graphs: PackedGraphs
    targets: SoftTargets


@dataclass(frozen=True)
class PreparedPairs:
    """Pairs as the networks take them. A camera of 128 x 128 px takes 49 kB.

    Views are images and calibration of each observation, graphs rows for the graph encoder, `loss_graphs` vertices (V,
    2) in metres and edges (E, 2) for the chamfer and edge terms.
    """

    shape: PaperShape
    views: list[Views]
    graphs: list[GraphRows]
    loss_graphs: list[tuple[DoubleArray, IntArray]]
    places: list[str]
    poses: list[SE2]

    def __len__(self) -> int:
        return len(self.views)

    @staticmethod
    def of(pairs: Iterable[StreetPair], shape: PaperShape, loss_step_m: float = 2.0) -> PreparedPairs:
        """Prepare pairs one by one: a source may make them as they are asked for.

        Truth graphs are cut to the window of `shape`; `loss_step_m` is between their vertices in the chamfer and edge
        terms.
        """
        out = PreparedPairs(shape, [], [], [], [], [])
        for pair in pairs:
            out.views.append(prepare(pair.observation, shape.image, shape.window))
            out.graphs.append(graph_rows(pair.graph, shape.graph, shape.window))
            even = resample(pair.graph, loss_step_m)
            out.loss_graphs.append((even.vertices_m, even.edges))
            out.places.append(pair.place)
            out.poses.append(pair.world_SE2_ego)
        if not len(out):
            raise ConfigError("there are no pairs to train on", "give images with lane graphs")
        return out

    def take(self, rows: Sequence[int] | IntArray) -> PreparedPairs:
        """Some of the pairs, in the given order; nothing is copied."""
        lists = (self.views, self.graphs, self.loss_graphs, self.places, self.poses)
        return PreparedPairs(self.shape, *([held[i] for i in rows] for held in lists))  # type: ignore[arg-type]

    def split(self, held_out: Sequence[str]) -> tuple[PreparedPairs, PreparedPairs]:
        """Pairs of other places, pairs of the held-out places; there must be some of both."""
        missing = set(held_out) - set(self.places)
        if missing or not held_out:
            raise ConfigError(
                f"held out are {sorted(held_out)}, pairs are of {sorted(set(self.places))}", "hold out known places"
            )
        out = np.array([place in set(held_out) for place in self.places])
        if out.all():
            raise ConfigError("every place is held out", "leave one to train on")
        return self.take(np.flatnonzero(~out)), self.take(np.flatnonzero(out))

    def batch(self, rows: IntArray, mirror: BoolArray | None = None) -> PaperBatch:
        """Gather a batch; left and right are exchanged, calibration and graph too, where bool (N,) `mirror` is set."""
        views, graphs, loss = [], [], []
        turned = np.zeros(len(rows), bool) if mirror is None else mirror
        for row, turn in zip(rows, turned, strict=True):
            view, graph, (vertices_m, edges) = self.views[row], self.graphs[row], self.loss_graphs[row]
            if turn:
                view = Views(view.images_CHW3[:, :, ::-1], mirrored_rays(view.rays_CR))
                graph, vertices_m = graph.mirrored(), vertices_m * [1, -1]
            views.append(view)
            graphs.append(graph)
            loss.append((vertices_m, edges))
        far_m = float(np.hypot(*self.shape.window.size_m))
        targets = soft_targets([vertices for vertices, _ in loss], [edges for _, edges in loss], far_m)
        return PaperBatch(pack_views(views), pack(graphs, self.shape.graph.direction), targets)
