"""Image-graph pairs out of ortho tiles with street maps: aerial crops, and the same tiles as a camera ring sees them.

Any ortho image with a street map in its frame will do. Pairs are made when they are asked for; the same index of the
same source gives the same bytes.
"""

from __future__ import annotations

import copy
import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from foldmap.errors import ConfigError, MapInputError
from foldmap.geometry import SE2
from foldmap.street.graph.chains import resample
from foldmap.street.graph.window import AROUND, Window, cut
from foldmap.street.images.ground_image import GroundImage, window_shape
from foldmap.street.images.ground_warp import RingWarp
from foldmap.street.images.observation import AerialCrop, CameraRing, LazyPairs, Observation, RingFrame, StreetPair
from foldmap.street.images.photometric import draw_light
from foldmap.street.places import Places, sample_places
from foldmap.street.source import LaneGraph, StreetMap


@dataclass(frozen=True)
class GroundTile:
    """An ortho image and the street map in its frame; they must have a place in common (MapInputError)."""

    ground: GroundImage
    map: StreetMap

    def __post_init__(self) -> None:
        vertices = self.map.graph.vertices_m
        if len(vertices) and not self.ground.inside(vertices).any():
            raise MapInputError(
                f"no vertex of the street map {self.map.name!r} lies on its ground image",
                "bring both into one frame: metres, x east, y north",
            )


@dataclass(frozen=True)
class Jitter:
    """How poses and images are varied for training; another seed is another epoch.

    Offsets are at most `lateral_m` to either side of the lane and `along_m` along it, turns at most `heading_rad`;
    `light` is the strength of the photometric change, 0 for none.
    """

    lateral_m: float = 1.0
    along_m: float = 2.0
    heading_rad: float = math.radians(5.0)
    light: float = 1.0
    seed: int = 0

    @property
    def reach_m(self) -> float:
        """Farthest from its place that a pose is moved."""
        return math.hypot(self.lateral_m, self.along_m)

    def pose(self, world_SE2_place: SE2, rng: np.random.Generator) -> SE2:
        """Move a pose."""
        along, side, turn = rng.uniform(-1, 1, 3) * (self.along_m, self.lateral_m, self.heading_rad)
        return world_SE2_place @ SE2(float(along), float(side), float(turn))


class TilePairs(LazyPairs):
    """Places along the lanes of some tiles, and their graphs: what aerial and ring pairs share.

    Names of the maps are the pairs' places; without jitter every place is rendered as it is.

    Raises:
        ConfigError: no tile, two of one name, or no place whose window lies within its tile.
    """

    def __init__(self, tiles: Sequence[GroundTile], spacing_m: float, window: Window, jitter: Jitter | None) -> None:
        names = [tile.map.name for tile in tiles]
        if not tiles or len(set(names)) < len(names):
            raise ConfigError(f"pairs of the tiles {names}", "give at least one tile, each with a name of its own")
        self.tiles = tuple(tiles)
        self.window = window
        self.jitter = jitter
        reach = jitter.reach_m if jitter else 0.0
        self._places: list[tuple[GroundTile, Places]] = []
        for tile in tiles:
            places = sample_places(tile.map.graph, spacing_m)
            self._places.append((tile, places.take(tile.ground.inside(places.xy_m, window.radius_m + reach))))
        self._ends = np.cumsum([len(places) for _, places in self._places])
        if not len(self):
            raise ConfigError(
                f"no lane of {', '.join(names)} is {window.radius_m + reach:.0f} m away from its image's edges",
                "give larger images or a smaller window",
            )

    def __len__(self) -> int:
        return int(self._ends[-1])

    def render(self, number: int) -> StreetPair:
        """Render a pair."""
        tile, pose = self.place(number)
        rng = np.random.default_rng([self.jitter.seed if self.jitter else 0, number])
        if self.jitter:
            pose = self.jitter.pose(pose, rng)
        seen = self.observe(tile, pose)
        if self.jitter and self.jitter.light > 0:
            seen = relit(seen, rng, self.jitter.light)
        return StreetPair(seen, self.graph_at(tile, pose), tile.map.name, pose)

    def places(self) -> list[tuple[str, SE2]]:
        """Map and world_SE2_ego of each pair before any jitter."""
        return [(tile.map.name, pose) for tile, places in self._places for pose in places]

    def graph(self, number: int) -> LaneGraph:
        """The truth of a pair before any jitter."""
        return self.graph_at(*self.place(number))

    def place(self, number: int) -> tuple[GroundTile, SE2]:
        """Tile and pose of a pair before any jitter, without rendering it."""
        which = int(np.searchsorted(self._ends, number, side="right"))
        tile, places = self._places[which]
        return tile, places.pose(number - int(self._ends[which]) + len(places))

    def with_jitter(self, jitter: Jitter) -> Self:
        """The same places with other draws, another epoch; it may not reach farther than the one it was made with."""
        if self.jitter is None or jitter.reach_m > self.jitter.reach_m:
            raise ConfigError(f"these pairs were placed for {self.jitter}", "make them anew for a wider jitter")
        other = copy.copy(self)
        other.jitter = jitter
        return other

    def graph_at(self, tile: GroundTile, world_SE2_ego: SE2) -> LaneGraph:
        """The truth at a pose: cut to the window, vertices 1 m apart."""
        return resample(cut(tile.map.graph, world_SE2_ego, self.window), 1.0)

    @abstractmethod
    def observe(self, tile: GroundTile, world_SE2_ego: SE2) -> Observation:
        """Render what is seen at a pose."""


class AerialPairs(TilePairs):
    """Aerial crops of `size_px` rows in the ego frame with the lane graphs below them."""

    def __init__(
        self,
        tiles: Sequence[GroundTile],
        spacing_m: float = 5.0,
        window: Window = AROUND,
        size_px: int = 160,
        jitter: Jitter | None = None,
    ) -> None:
        window_shape(window, size_px)
        super().__init__(tiles, spacing_m, window, jitter)
        self.size_px = size_px

    def observe(self, tile: GroundTile, world_SE2_ego: SE2) -> AerialCrop:
        """Cut the crop."""
        return tile.ground.crop(world_SE2_ego, self.window, self.size_px)


class RingPairs(TilePairs):
    """The same tiles as a camera ring sees flat ground (SEMI-SYNTHETIC, see `foldmap.street.images.ground_warp`)."""

    def __init__(
        self,
        tiles: Sequence[GroundTile],
        ring: CameraRing,
        spacing_m: float = 5.0,
        window: Window = AROUND,
        width_px: int = 400,
        jitter: Jitter | None = None,
    ) -> None:
        super().__init__(tiles, spacing_m, window, jitter)
        self.warp = RingWarp(ring, width_px)

    def observe(self, tile: GroundTile, world_SE2_ego: SE2) -> RingFrame:
        """Draw the frame."""
        return self.warp(tile.ground, world_SE2_ego)


def relit(seen: Observation, rng: np.random.Generator, strength: float) -> Observation:
    """Change the light of an observation: alike over all cameras, and a little for each of them."""
    light = draw_light(rng, strength)
    if isinstance(seen, AerialCrop):
        return replace(seen, image=light(seen.image))
    images = []
    for image in seen.images:
        own = draw_light(rng, 0.25 * strength)
        images.append(None if image is None else own(light(image)))
    return replace(seen, images=tuple(images))
