"""What is around each place of a map, embedded: as a map is folded, or when embeddings are wanted and not stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from foldmap.errors import ModelError
from foldmap.street.model import DrawingModel, EmbeddingModel
from foldmap.street.places import EdgeIndex, Places, windows
from foldmap.street.source import LaneGraph
from foldmap.types import DoubleArray, FloatArray

_BATCH = 256
_CELL_M = 32.0


def embed_places(
    graph: LaneGraph,
    places: Places,
    model: EmbeddingModel,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> FloatArray:
    """Embeddings of the lanes around places, float32 (P, D) unit rows; zeros where no lane is in the window.

    The graph is of the whole neighbourhood, in the frame of the places; `report` is called with places done and in all.
    ModelError: the model makes other rows than it says, or such that are not finite.
    """
    embed = _drawn if isinstance(model, DrawingModel) else _windowed
    found = embed(graph, places, model, report)
    if found.shape != (len(places), model.dim) or not np.isfinite(found).all():
        belong = f"({len(places)}, {model.dim}) belong"
        raise ModelError(f"the model {model.name} made embeddings {found.shape}", belong)
    return found


def _windowed(graph: LaneGraph, places: Places, model: Any, report: Callable[[int, int], None]) -> FloatArray:
    """Cut a window out for each place."""
    rows = [np.zeros((0, model.dim), np.float32)]
    batch: list[LaneGraph] = []
    for number, window in enumerate(windows(graph, places, model.window), start=1):
        batch.append(window)
        if len(batch) == _BATCH or number == len(places):
            rows.append(np.asarray(model.embed_graphs(batch), np.float32))
            batch = []
            report(number, len(places))
    return np.concatenate(rows)


def _drawn(graph: LaneGraph, places: Places, model: Any, report: Callable[[int, int], None]) -> FloatArray:
    """Draw the windows of the places of a cell of the map from the edges about that cell."""
    found = np.zeros((len(places), model.dim), np.float32)
    if not len(places):
        return found
    index, ends = EdgeIndex(graph), graph.vertices_m[graph.edges]
    poses: DoubleArray = np.column_stack([places.xy_m, places.heading_rad])
    cell = np.floor(places.xy_m / _CELL_M)
    cells, member = np.unique(cell, axis=0, return_inverse=True)
    order = np.argsort(member.ravel(), kind="stable")
    stops = np.cumsum(np.bincount(member.ravel(), minlength=len(cells)))
    for number, stop in enumerate(stops.tolist()):
        rows = order[stops[number - 1] if number else 0 : stop]
        x, y = ((cells[number] + 0.5) * _CELL_M).tolist()
        near = index.near(x, y, 0.5 * _CELL_M + model.window.radius_m)
        found[rows] = model.embed_around(ends[near], poses[rows])
        report(stop, len(places))
    return found
