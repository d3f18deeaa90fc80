"""What a street benchmark is run on: maps, images of them, training pairs, queries, and the library of graphs."""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np

from foldmap.bench.street.drives import Drive, lane_walk, odometry, off_lane
from foldmap.bench.street.library import SPACING_M, Library, cut_all
from foldmap.bench.street.split import Distances, Split, check_disjoint, distances
from foldmap.errors import MapInputError
from foldmap.formats.street.observations.pairs import FolderPairs
from foldmap.geometry import SE2
from foldmap.localize.street.lane_places import lane_places
from foldmap.street.graph.window import AROUND, Window
from foldmap.street.images.observation import CameraRing, Pair
from foldmap.street.paper.pairs import AerialPairs, GroundTile, RingPairs, TilePairs
from foldmap.street.source import LaneGraph, StreetMap
from foldmap.types import IntArray

SEMI_SYNTHETIC = "SEMI-SYNTHETIC: ortho images warped into the cameras over flat ground"
_STEP_M = 1.0
_DRIVE_TRIES = 400


class StreetData(ABC):
    """Images with street maps, split.

    Args:
        maps: all of them.
        split: which are for what.
        window: of graphs.
        label: what the images are, for headings.
    """

    def __init__(self, maps: Sequence[StreetMap], split: Split, window: Window, label: str) -> None:
        self.maps = {street.name: street for street in maps}
        self.split, self.window, self.label = split, window, label

    @property
    def train_maps(self) -> list[StreetMap]:
        """Maps to learn from and to retrieve."""
        return [self.maps[name] for name in self.split.train]

    @property
    @abstractmethod
    def train(self) -> Sequence[Pair]:
        """Training pairs, rendered when asked for."""

    @property
    @abstractmethod
    def test(self) -> Sequence[Pair]:
        """Query pairs, rendered when asked for."""

    @abstractmethod
    def singles(self, name: str, count: int, seed: int) -> Sequence[Pair]:
        """At most so many single frames on a map, a little off the lanes."""

    @abstractmethod
    def drives(self, name: str, count: int, frames: int, step_m: float, seed: int) -> list[Drive]:
        """At most so many drives on a map."""

    def library(self, most: int = 0) -> Library:
        """Windows of the training maps."""
        return Library.of(self.train_maps, self.window, SPACING_M, most)

    def separation(self, queries: Sequence[Pair], library: Library, more: Sequence[StreetMap] = ()) -> Distances:
        """How far queries are from all that is learned from or retrieved; refuses a leak that nobody asked for.

        Raises:
            ConfigError: see `check_disjoint`.
        """
        names = np.asarray(library.maps)
        training = {name: library.poses[names == name, :2] for name in dict.fromkeys(library.maps)}
        xy = np.array([[pair.world_SE2_ego.x_m, pair.world_SE2_ego.y_m] for pair in queries])
        places = [pair.place for pair in queries]
        found = distances(
            {**self.maps, **{street.name: street for street in more}}, places, xy, training, self.split.leaky
        )
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


class LazyPairs(Sequence[Pair]):
    """Pairs that are rendered when they are asked for."""

    @abstractmethod
    def one(self, number: int) -> Pair:
        """Render a pair."""

    @overload
    def __getitem__(self, index: int) -> Pair: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Pair]: ...
    def __getitem__(self, index: int | slice) -> Pair | Sequence[Pair]:
        """One pair, or a list for a slice."""
        if isinstance(index, slice):
            return [self.one(number) for number in range(*index.indices(len(self)))]
        return self.one(range(len(self))[index])


class Some(LazyPairs):
    """Some rows of a sequence of pairs.

    Args:
        pairs: all.
        rows: int64 (N,).
    """

    def __init__(self, pairs: Sequence[Pair], rows: IntArray) -> None:
        self.pairs, self.rows = pairs, rows

    def __len__(self) -> int:
        return len(self.rows)

    def one(self, number: int) -> Pair:
        """Render a pair."""
        return self.pairs[int(self.rows[number])]


def places_of(pairs: Sequence[Pair]) -> list[tuple[str, SE2]]:
    """Map and pose of each pair; nothing is rendered where that can be helped."""
    if isinstance(pairs, Some):
        if isinstance(pairs.pairs, TilePairs):
            return [_place(pairs.pairs, row) for row in pairs.rows.tolist()]
        all_of = places_of(pairs.pairs)
        return [all_of[row] for row in pairs.rows.tolist()]
    if isinstance(pairs, TilePairs):
        return [_place(pairs, row) for row in range(len(pairs))]
    if isinstance(pairs, Frames):
        return [pairs.place(number) for number in range(len(pairs))]
    if isinstance(pairs, FolderPairs):
        return pairs.places()
    return [(pair.place, pair.world_SE2_ego) for pair in pairs]


def _place(pairs: TilePairs, row: int) -> tuple[str, SE2]:
    tile, pose = pairs.place(row)
    return tile.map.name, pose


def graphs_of(pairs: Sequence[Pair]) -> list[LaneGraph]:
    """The true graph of each pair; nothing is rendered where that can be helped."""
    rows = pairs.rows.tolist() if isinstance(pairs, Some) else list(range(len(pairs)))
    source = pairs.pairs if isinstance(pairs, Some) else pairs
    if isinstance(source, TilePairs):
        return [source.graph(*source.place(row)) for row in rows]
    if isinstance(source, Frames | FolderPairs):
        return [source.graph(row) for row in rows]
    return [source[row].graph for row in rows]


def thinned(pairs: Sequence[Pair], most: int, seed: int = 0) -> Sequence[Pair]:
    """At most so many pairs, an even random choice in their order."""
    if len(pairs) <= most:
        return pairs
    return Some(pairs, np.sort(np.random.default_rng([seed, 11]).permutation(len(pairs))[:most]))


def batches(pairs: Sequence[Pair], size: int = 32) -> Iterator[list[Pair]]:
    """Rendered a few at a time: a thousand ring frames at once would fill memory."""
    for first in range(0, len(pairs), size):
        yield list(pairs[first : first + size])


class TileData(StreetData):
    """Ortho tiles, as aerial crops or as a camera ring sees them over flat ground.

    Args:
        tiles: images with maps.
        split: of the maps.
        ring: calibration, for frames of a ring; None for aerial crops.
        cameras: only these of the ring, the others' images are missing; all where empty.
        window: of crops and graphs.

    Raises:
        ConfigError: no window fits into the tiles of a side.
        MapInputError: the ring lacks a camera.
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
        what = "aerial crops" if self.ring is None else f"{len(self.ring)}-camera frames, {SEMI_SYNTHETIC}"
        super().__init__([tile.map for tile in tiles], split, window, what)
        self.tiles = {tile.map.name: tile for tile in tiles}
        both = [self._pairs(names) for names in (split.train, split.test)]
        self._train, self._test = self._apart(both[0]) if split.leaky else (both[0], both[1])
        self._source = both[1]

    def _pairs(self, names: Sequence[str], spacing_m: float = SPACING_M) -> AerialPairs | RingPairs:
        tiles = [self.tiles[name] for name in names]
        if self.ring is None:
            return AerialPairs(tiles, spacing_m, self.window)
        return RingPairs(tiles, self.ring, spacing_m, self.window)

    def _apart(self, pairs: Sequence[Pair]) -> tuple[Sequence[Pair], Sequence[Pair]]:
        order = np.random.default_rng(5).permutation(len(pairs))
        cut = len(pairs) // 5
        return Some(pairs, np.sort(order[cut:])), Some(pairs, np.sort(order[:cut]))

    @property
    def train(self) -> Sequence[Pair]:
        """Every 5 m along the training maps."""
        return self._train

    @property
    def test(self) -> Sequence[Pair]:
        """Every 5 m along the held-out maps."""
        return self._test

    def library(self, most: int = 0) -> Library:
        """Windows that lie wholly on the training tiles; in a leaky split those of the training pairs."""
        rows = np.arange(len(self._train)) if not isinstance(self._train, Some) else self._train.rows
        source = self._train.pairs if isinstance(self._train, Some) else self._train
        if most and len(rows) > most:
            rows = np.sort(np.random.default_rng(0).permutation(rows)[:most])
        assert isinstance(source, AerialPairs | RingPairs)
        graphs, names, poses = [], [], []
        for row in rows.tolist():
            tile, pose = source.place(row)
            graphs.append(pose)
            names.append(tile.map.name)
            poses.append([pose.x_m, pose.y_m, pose.heading_rad])
        return Library(tuple(cut_all(self.maps, names, graphs, self.window)), tuple(names), np.array(poses))

    def frame(self, name: str, world_SE2_ego: SE2) -> Pair:
        """Render what is seen anywhere on a tile."""
        seen = self._source.observe(self.tiles[name], world_SE2_ego)
        return Pair(seen, self.graph(name, world_SE2_ego), name, world_SE2_ego)

    def graph(self, name: str, world_SE2_ego: SE2) -> LaneGraph:
        """The truth anywhere on a tile."""
        return self._source.graph(self.tiles[name], world_SE2_ego)

    def inside(self, name: str, world_SE2_ego: SE2) -> bool:
        """Whether the window lies wholly on the tile."""
        xy = np.array([[world_SE2_ego.x_m, world_SE2_ego.y_m]])
        return bool(self.tiles[name].ground.inside(xy, self.window.radius_m + 2.0)[0])

    def singles(self, name: str, count: int, seed: int) -> Sequence[Pair]:
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

    def drives(self, name: str, count: int, frames: int, step_m: float, seed: int) -> list[Drive]:
        """Drives along the lanes of a tile that never leave it, with odometry that drifts."""
        rng = np.random.default_rng([seed, 2])
        places = lane_places(self.maps[name].graph, _STEP_M)
        found: list[Drive] = []
        for _ in range(_DRIVE_TRIES):
            if len(found) == count or not len(places):
                break
            poses = lane_walk(places, frames, step_m, rng)
            poses = [off_lane(pose, rng) for pose in poses]
            if len(poses) == frames and all(self.inside(name, pose) for pose in poses):
                found.append(Drive(Frames(self, name, poses), tuple(poses), odometry(poses, rng)))
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

    def one(self, number: int) -> Pair:
        """Render a frame."""
        return self._data.frame(self._name, self.poses[number])

    def place(self, number: int) -> tuple[str, SE2]:
        """Map and pose of a frame, without rendering it."""
        return self._name, self.poses[number]

    def graph(self, number: int) -> LaneGraph:
        """The truth of a frame, without rendering it."""
        return self._data.graph(self._name, self.poses[number])


class FolderData(StreetData):
    """Anybody's folder of images, poses and maps (`foldmap.formats.street.observations.pairs`).

    Args:
        pairs: of the folder.
        maps: its maps.
        split: of them.
        window: of the graphs.

    Raises:
        MapInputError: no row lies on a map of a side.
    """

    def __init__(self, pairs: Sequence[Pair], maps: Sequence[StreetMap], split: Split, window: Window = AROUND) -> None:
        super().__init__(maps, split, window, "a folder of images")
        placed = places_of(pairs)
        self._places, self._poses = [name for name, _ in placed], [pose for _, pose in placed]
        rows = np.arange(len(pairs))
        of = np.asarray(self._places)
        train, test = rows[np.isin(of, split.train)], rows[np.isin(of, split.test)]
        if split.leaky:
            order = np.random.default_rng(5).permutation(rows)
            train, test = np.sort(order[len(rows) // 5 :]), np.sort(order[: len(rows) // 5])
        if not len(train) or not len(test):
            raise MapInputError(
                f"{len(train)} images on training maps, {len(test)} on held-out ones", "hold out maps that have images"
            )
        self._pairs = pairs
        self._train, self._test = Some(pairs, train), Some(pairs, test)

    @property
    def train(self) -> Sequence[Pair]:
        """Rows on training maps."""
        return self._train

    @property
    def test(self) -> Sequence[Pair]:
        """Rows on held-out maps."""
        return self._test

    def singles(self, name: str, count: int, seed: int) -> Sequence[Pair]:
        """Rows on a map."""
        rows = np.flatnonzero(np.asarray(self._places) == name)
        return thinned(Some(self._pairs, rows), count, seed)

    def drives(self, name: str, count: int, frames: int, step_m: float, seed: int) -> list[Drive]:
        """Runs of consecutive rows on a map that are at most four steps apart."""
        found: list[Drive] = []
        rng = np.random.default_rng([seed, 2])
        rows: list[int] = []
        for row in np.flatnonzero(np.asarray(self._places) == name).tolist():
            gap_m = math.dist(_xy(self._poses[rows[-1]]), _xy(self._poses[row])) if rows else 0.0
            if rows and (row != rows[-1] + 1 or not 0 < gap_m <= 4 * step_m):
                rows = []
            rows.append(row)
            if len(rows) == frames and len(found) < count:
                poses = [self._poses[k] for k in rows]
                found.append(Drive(Some(self._pairs, np.array(rows)), tuple(poses), odometry(poses, rng)))
                rows = []
        return found

    def _seal(self, seal: hashlib._Hash) -> None:
        seal.update(np.array([[*_xy(pose), pose.heading_rad] for pose in self._poses]).tobytes())


def _xy(pose: SE2) -> tuple[float, float]:
    return pose.x_m, pose.y_m


__all__ = [
    "SEMI_SYNTHETIC",
    "SPACING_M",
    "Drive",
    "FolderData",
    "Frames",
    "LazyPairs",
    "Library",
    "Some",
    "StreetData",
    "TileData",
    "batches",
    "graphs_of",
    "places_of",
    "thinned",
]
