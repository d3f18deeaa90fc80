"""What a street benchmark is run on: maps, images of them, training pairs, queries, and the library of graphs."""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from foldmap.bench.street.drives import StreetDrive, lane_walk, odometry, off_lane
from foldmap.bench.street.split import Distances, Split, check_disjoint, distances
from foldmap.errors import ConfigError, MapInputError
from foldmap.geometry import SE2
from foldmap.localize.street.lane_places import lane_places
from foldmap.street.graph.window import AROUND, Window
from foldmap.street.images.observation import CameraRing, LazyPairs, StreetPair
from foldmap.street.paper.pairs import AerialPairs, GroundTile, RingPairs
from foldmap.street.places import sample_places, windows
from foldmap.street.source import LaneGraph, StreetMap
from foldmap.types import DoubleArray, IntArray

SEMI_SYNTHETIC = "SEMI-SYNTHETIC: ortho images warped into the cameras over flat ground"
SPACING_M = 5.0
"""Between windows along a lane."""
_STEP_M = 1.0
_DRIVE_TRIES = 400

Placed = Sequence[tuple[str, SE2]]
"""Map and world_SE2_ego."""


@dataclass(frozen=True)
class Library:
    """Windows of lane graph that can be retrieved: N graphs in ego frames, names of their maps, poses float64 (N, 3).

    A pose is x_m, y_m, heading_rad in the map's frame.
    """

    graphs: tuple[LaneGraph, ...]
    maps: tuple[str, ...]
    poses: DoubleArray

    def __len__(self) -> int:
        return len(self.graphs)

    def take(self, rows: IntArray) -> Library:
        """Some rows."""
        return Library(tuple(self.graphs[k] for k in rows), tuple(self.maps[k] for k in rows), self.poses[rows])

    @staticmethod
    def at(placed: Placed, graphs: Sequence[LaneGraph]) -> Library:
        """Windows whose graphs are known."""
        poses = np.array([[*_xy(pose), pose.heading_rad] for _, pose in placed]).reshape(-1, 3)
        return Library(tuple(graphs), tuple(name for name, _ in placed), poses)

    @staticmethod
    def cut(maps: Mapping[str, StreetMap], placed: Placed, window: Window, *, lanes: bool = False) -> Library:
        """Windows at poses, which come map by map."""
        graphs: list[LaneGraph] = []
        for name, run in groupby(placed, lambda one: one[0]):
            graphs += windows(maps[name].graph, [pose for _, pose in run], window, lanes=lanes)
        return Library.at(placed, graphs)

    @staticmethod
    def of(maps: Sequence[StreetMap], window: Window = AROUND, spacing_m: float = SPACING_M, most: int = 0) -> Library:
        """Windows along all lanes of some maps; an even random choice where there are more than `most` (0: all)."""
        placed = [(street.name, pose) for street in maps for pose in sample_places(street.graph, spacing_m)]
        if not placed:
            raise ConfigError("the library has no lane graph", "give maps with lanes")
        kept = np.sort(np.random.default_rng(0).permutation(len(placed))[: most or len(placed)])
        return Library.cut({street.name: street for street in maps}, [placed[row] for row in kept], window)


class StreetBenchData(ABC):
    """Images with street maps, split.

    `train` and `test` are pairs to learn from and queries, rendered when asked for; `label` says what the images are.
    """

    def __init__(
        self,
        maps: Sequence[StreetMap],
        split: Split,
        window: Window,
        label: str,
        train: Sequence[StreetPair],
        test: Sequence[StreetPair],
    ) -> None:
        self.maps = {street.name: street for street in maps}
        self.split, self.window, self.label = split, window, label
        self.train, self.test = train, test

    @abstractmethod
    def singles(self, name: str, count: int, seed: int) -> Sequence[StreetPair]:
        """At most so many single frames on a map, a little off the lanes."""

    @abstractmethod
    def drives(self, name: str, count: int, frames: int, step_m: float, seed: int) -> list[StreetDrive]:
        """At most so many drives on a map."""

    def library(self, most: int = 0) -> Library:
        """Windows of the training maps."""
        return Library.of([self.maps[name] for name in self.split.train], self.window, SPACING_M, most)

    def separation(self, queries: Sequence[StreetPair], library: Library, more: Sequence[StreetMap] = ()) -> Distances:
        """How far queries are from all that is learned from or retrieved; refuses a leak (`check_disjoint`)."""
        names = np.asarray(library.maps)
        training = {name: library.poses[names == name, :2] for name in dict.fromkeys(library.maps)}
        placed = places_of(queries)
        xy, maps = np.array([_xy(pose) for _, pose in placed]), self.maps | {street.name: street for street in more}
        found = distances(maps, [name for name, _ in placed], xy, training, self.split.leaky)
        check_disjoint(found, self.window)
        return found

    def fingerprint(self) -> str:
        """Of maps, split and places; predictions are kept under it."""
        seal = hashlib.sha256(repr((self.split, self.window, self.label)).encode())
        for name, street in self.maps.items():
            seal.update(name.encode() + street.graph.vertices_m.tobytes() + street.graph.edges.tobytes())
        self._seal(seal)
        return seal.hexdigest()[:16]

    @abstractmethod
    def _seal(self, seal: hashlib._Hash) -> None:
        """Add what the images are."""


class Some(LazyPairs):
    """Some rows, int64 (N,), of a sequence of pairs."""

    def __init__(self, pairs: Sequence[StreetPair], rows: IntArray) -> None:
        self.pairs, self.rows = pairs, rows

    def __len__(self) -> int:
        return len(self.rows)

    def render(self, number: int) -> StreetPair:
        """Render a pair."""
        return self.pairs[int(self.rows[number])]

    def places(self) -> list[tuple[str, SE2]]:
        """Map and pose of each."""
        every = places_of(self.pairs)
        return [every[row] for row in self.rows.tolist()]

    def graph(self, number: int) -> LaneGraph:
        """The truth of a pair."""
        return _graph(self.pairs, int(self.rows[number]))


def places_of(pairs: Sequence[StreetPair]) -> list[tuple[str, SE2]]:
    """Map and pose of each pair; nothing is rendered where that can be helped."""
    if isinstance(pairs, LazyPairs):
        return pairs.places()
    return [(pair.place, pair.world_SE2_ego) for pair in pairs]


def graphs_of(pairs: Sequence[StreetPair]) -> list[LaneGraph]:
    """The true graph of each pair; nothing is rendered where that can be helped."""
    return [_graph(pairs, number) for number in range(len(pairs))]


def _graph(pairs: Sequence[StreetPair], number: int) -> LaneGraph:
    return pairs.graph(number) if isinstance(pairs, LazyPairs) else pairs[number].graph


def thinned(pairs: Sequence[StreetPair], most: int, seed: int = 0) -> Sequence[StreetPair]:
    """At most so many pairs, an even random choice in their order."""
    if len(pairs) <= most:
        return pairs
    return Some(pairs, np.sort(np.random.default_rng([seed, 11]).permutation(len(pairs))[:most]))


def batches(pairs: Sequence[StreetPair], size: int = 32) -> Iterator[list[StreetPair]]:
    """Rendered a few at a time: a thousand ring frames at once would fill memory."""
    for first in range(0, len(pairs), size):
        yield list(pairs[first : first + size])


def _fifths(pairs: Sequence[StreetPair]) -> tuple[Sequence[StreetPair], Sequence[StreetPair]]:
    """Four fifths to learn from and one to ask about, drawn among each other: a leaky split."""
    order = np.random.default_rng(5).permutation(len(pairs))
    cut = len(pairs) // 5
    return Some(pairs, np.sort(order[cut:])), Some(pairs, np.sort(order[:cut]))


class TileData(StreetBenchData):
    """Ortho tiles, as aerial crops or as a camera ring sees them over flat ground: every 5 m along the lanes.

    `ring` is None for aerial crops; where only some `cameras` of it are named, the others' images are missing.
    `window` is of crops and graphs; it must fit into the tiles of either side (ConfigError).
    """

    def __init__(
        self,
        tiles: Sequence[GroundTile],
        split: Split,
        ring: CameraRing | None = None,
        cameras: Sequence[str] = (),
        window: Window = AROUND,
    ) -> None:
        self.ring = ring.take(*cameras) if ring is not None and cameras else ring
        self.tiles = {tile.map.name: tile for tile in tiles}
        what = "aerial crops" if self.ring is None else f"{len(self.ring)}-camera frames, {SEMI_SYNTHETIC}"
        learn, self._source = (self._pairs(names, window) for names in (split.train, split.test))
        train, test = _fifths(learn) if split.leaky else (learn, self._source)
        super().__init__([tile.map for tile in tiles], split, window, what, train, test)

    def _pairs(self, names: Sequence[str], window: Window) -> AerialPairs | RingPairs:
        tiles = [self.tiles[name] for name in names]
        if self.ring is None:
            return AerialPairs(tiles, SPACING_M, window)
        return RingPairs(tiles, self.ring, SPACING_M, window)

    def library(self, most: int = 0) -> Library:
        """Windows that lie wholly on the training tiles; in a leaky split those of the training pairs."""
        rows = np.arange(len(self.train))
        if most and len(rows) > most:
            rows = np.sort(np.random.default_rng(0).permutation(rows)[:most])
        return Library.cut(self.maps, Some(self.train, rows).places(), self.window, lanes=True)

    def frame(self, name: str, world_SE2_ego: SE2) -> StreetPair:
        """Render what is seen anywhere on a tile."""
        seen = self._source.observe(self.tiles[name], world_SE2_ego)
        return StreetPair(seen, self.graph(name, world_SE2_ego), name, world_SE2_ego)

    def graph(self, name: str, world_SE2_ego: SE2) -> LaneGraph:
        """The truth anywhere on a tile."""
        return self._source.graph_at(self.tiles[name], world_SE2_ego)

    def inside(self, name: str, world_SE2_ego: SE2) -> bool:
        """Whether the window lies wholly on the tile."""
        xy = np.array([_xy(world_SE2_ego)])
        return bool(self.tiles[name].ground.inside(xy, self.window.radius_m + 2.0)[0])

    def singles(self, name: str, count: int, seed: int) -> Sequence[StreetPair]:
        """Frames at random along the lanes of a tile, each a little off its lane."""
        rng = np.random.default_rng([seed, 1])
        places = lane_places(self.maps[name].graph, _STEP_M)
        found: list[SE2] = []
        for row in rng.permutation(len(places)).tolist():
            pose = off_lane(places.pose(row), rng)
            if self.inside(name, pose):
                found.append(pose)
            if len(found) == count:
                break
        return Frames(self, name, found)

    def drives(self, name: str, count: int, frames: int, step_m: float, seed: int) -> list[StreetDrive]:
        """Drives along the lanes of a tile that never leave it, with odometry that drifts."""
        rng = np.random.default_rng([seed, 2])
        places = lane_places(self.maps[name].graph, _STEP_M)
        found: list[StreetDrive] = []
        for _ in range(max(_DRIVE_TRIES, 2 * count) if len(places) else 0):
            if len(found) == count:
                break
            poses = [off_lane(pose, rng) for pose in lane_walk(places, frames, step_m, rng)]
            if len(poses) == frames and all(self.inside(name, pose) for pose in poses):
                found.append(StreetDrive(Frames(self, name, poses), tuple(poses), odometry(poses, rng)))
        return found

    def _seal(self, seal: hashlib._Hash) -> None:
        for tile in self.tiles.values():
            seal.update(np.ascontiguousarray(tile.ground.image[::16, ::16]).tobytes())
        if self.ring is not None:
            seal.update(self.ring.vehicle_SE3_camera.tobytes())


class Frames(LazyPairs):
    """Frames of a tile at poses."""

    def __init__(self, data: TileData, name: str, poses: Sequence[SE2]) -> None:
        self._data, self._name, self.poses = data, name, list(poses)

    def __len__(self) -> int:
        return len(self.poses)

    def render(self, number: int) -> StreetPair:
        """Render a frame."""
        return self._data.frame(self._name, self.poses[number])

    def places(self) -> list[tuple[str, SE2]]:
        """Map and pose of each frame."""
        return [(self._name, pose) for pose in self.poses]

    def graph(self, number: int) -> LaneGraph:
        """The truth of a frame."""
        return self._data.graph(self._name, self.poses[number])


class FolderData(StreetBenchData):
    """Anybody's folder of images, poses and maps (`foldmap.formats.street.observations.pairs`), some on either side."""

    def __init__(
        self, pairs: Sequence[StreetPair], maps: Sequence[StreetMap], split: Split, window: Window = AROUND
    ) -> None:
        self._placed, self._pairs = places_of(pairs), pairs
        if split.leaky:
            train, test = _fifths(pairs)
        else:
            train, test = Some(pairs, self._rows(*split.train)), Some(pairs, self._rows(*split.test))
        if not len(train) or not len(test):
            raise MapInputError(
                f"{len(train)} images on training maps, {len(test)} on held-out ones", "hold out maps that have images"
            )
        super().__init__(maps, split, window, "a folder of images", train, test)

    def _rows(self, *names: str) -> IntArray:
        return np.flatnonzero([name in names for name, _ in self._placed])

    def singles(self, name: str, count: int, seed: int) -> Sequence[StreetPair]:
        """Rows on a map."""
        return thinned(Some(self._pairs, self._rows(name)), count, seed)

    def drives(self, name: str, count: int, frames: int, step_m: float, seed: int) -> list[StreetDrive]:
        """Runs of consecutive rows on a map that are at most four steps apart."""
        found: list[StreetDrive] = []
        rng = np.random.default_rng([seed, 2])
        rows: list[int] = []
        pose = [pose for _, pose in self._placed]
        for row in self._rows(name).tolist():
            gap_m = math.dist(_xy(pose[rows[-1]]), _xy(pose[row])) if rows else 0.0
            if rows and (row != rows[-1] + 1 or not 0 < gap_m <= 4 * step_m):
                rows = []
            rows.append(row)
            if len(rows) == frames and len(found) < count:
                poses = [pose[k] for k in rows]
                found.append(StreetDrive(Some(self._pairs, np.array(rows)), tuple(poses), odometry(poses, rng)))
                rows = []
        return found

    def _seal(self, seal: hashlib._Hash) -> None:
        seal.update(np.array([[*_xy(pose), pose.heading_rad] for _, pose in self._placed]).tobytes())


def _xy(pose: SE2) -> tuple[float, float]:
    return pose.x_m, pose.y_m
