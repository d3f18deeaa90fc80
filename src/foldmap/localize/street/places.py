"""Places along the lanes of a folded map, each with the embedding of the lanes around it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from foldmap.errors import ConfigError
from foldmap.localize.street.lane_places import LanePlaces, lane_places
from foldmap.street.embed import embed_places
from foldmap.street.model import EmbeddingModel
from foldmap.street.places import EdgeIndex, Places
from foldmap.street.unfold import StreetLayer
from foldmap.types import FloatArray

STEP_M = 2.0


class Disc(Protocol):
    """Where lanes are looked for."""

    @property
    def x_m(self) -> float:
        """Of the centre, in the map's frame."""
        ...

    @property
    def y_m(self) -> float:
        """Of the centre, in the map's frame."""
        ...

    @property
    def radius_m(self) -> float:
        """Of the disc."""
        ...


def embedded_places(
    layer: StreetLayer,
    region: str | None,
    model: EmbeddingModel,
    step_m: float,
    near: Sequence[Disc] | None,
    report: Callable[[int, int], None],
) -> tuple[LanePlaces, FloatArray]:
    """Places every so many metres and the embeddings of what is around each, float32 (N, D).

    Arguments and errors as `foldmap.localize.street.localizer.StreetLocalizer.open`.
    """
    if region is None and len(layer.regions) != 1:
        raise ConfigError(f"the map has {len(layer.regions)} regions, each in a frame of its own", "name one")
    graph = layer.graph(region if region is not None else layer.regions[0].name)
    lanes = graph
    if near is not None:
        index = EdgeIndex(graph)
        found = [index.near(disc.x_m, disc.y_m, disc.radius_m) for disc in near]
        lanes = graph.take_edges(np.unique(np.concatenate(found)))
    places = lane_places(lanes, step_m)
    none = np.zeros(len(places), np.int64)
    poses = Places(places.x_m, places.y_m, places.heading_rad, none, none.astype(np.float64))
    return places, embed_places(graph, poses, model, report)
