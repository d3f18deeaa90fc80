"""Tiny tiles of the generated town, and a model that sees all: what is left then is the benchmark itself."""

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from foldmap.geometry import SE2, MetricGrid
from foldmap.street.field.lane_field import FieldSpec, draw_all
from foldmap.street.field.spectrum import SpectrumSpec, spectrum
from foldmap.street.graph.window import AROUND, Window
from foldmap.street.images.ground_image import GroundImage
from foldmap.street.images.observation import AerialCrop, Observation
from foldmap.street.paper.pairs import AerialPairs, GroundTile
from foldmap.street.source import LaneGraph
from foldmap.town.street.map import town_street_map
from foldmap.town.world import TownWorld
from foldmap.types import FloatArray

KNOWN: dict[bytes, LaneGraph] = {}
"""What each image shows."""


def tiny_tiles(count: int = 3) -> list[GroundTile]:
    """Tiles of 180 m, each of a town of its own; what lies on the ground is not painted."""
    blank = GroundImage(np.full((360, 360, 3), 128, np.uint8), MetricGrid(-90.0, 90.0, 0.5, 360, 360))
    maps = [town_street_map(TownWorld(seed), -150, -150, 150, 150, f"town-{seed}") for seed in range(300, 300 + count)]
    return [GroundTile(blank, streets) for streets in maps]


def see_all(patch: pytest.MonkeyPatch) -> None:
    """From here on crops are noise that stands for a graph."""

    def observe(self: AerialPairs, tile: GroundTile, world_SE2_ego: SE2) -> AerialCrop:
        text = f"{tile.map.name} {world_SE2_ego}".encode()
        seed = int.from_bytes(hashlib.sha256(text).digest()[:8], "little")
        image = np.random.default_rng(seed).integers(0, 255, (16, 16, 3)).astype(np.uint8)
        KNOWN[image.tobytes()] = self.graph_at(tile, world_SE2_ego)
        return AerialCrop(image, self.window)

    patch.setattr(AerialPairs, "observe", observe)


def shown(observation: Observation) -> LaneGraph:
    """The graph that an image stands for."""
    assert isinstance(observation, AerialCrop)
    return KNOWN[observation.image.tobytes()]


class AllSeeing:
    """Embeds an image as the graph that it shows."""

    name = "sight"
    window: Window = AROUND
    field = FieldSpec()
    dim = SpectrumSpec(100, 2).dim

    def embed_graphs(self, graphs: Sequence[LaneGraph]) -> FloatArray:
        """Of the lane field."""
        return spectrum(draw_all(graphs, self.field), self.field, SpectrumSpec(100, 2))

    def embed_observations(self, observations: Sequence[Observation]) -> FloatArray:
        """Of what they show."""
        return self.embed_graphs([shown(one) for one in observations])

    def payload(self) -> bytes:
        """Its name."""
        return b"sight"


def patched() -> Iterator[pytest.MonkeyPatch]:
    """A patch for a whole module."""
    with pytest.MonkeyPatch.context() as patch:
        see_all(patch)
        yield patch
