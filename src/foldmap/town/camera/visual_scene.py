"""Photographs of a generated street with exact poses, and a scene made of them without structure from motion."""

import math
from collections.abc import Callable
from dataclasses import astuple, dataclass
from functools import cached_property

import numpy as np

from foldmap.errors import ConfigError
from foldmap.geometry import SE2, SE3
from foldmap.geometry.camera import Camera
from foldmap.town.camera.photo_tracks import SeenImage, join_tracks
from foldmap.town.camera.render import RenderedPicture, TownCamera
from foldmap.town.hashing import block_rng
from foldmap.town.plan import Street, arc_lengths
from foldmap.town.scene import pose_on
from foldmap.town.world import TownWorld
from foldmap.types import AnyArray, DoubleArray
from foldmap.visual.source import Features, Query, SceneModel

_YAWS_RAD = (0.55, -0.55, 1.1, -1.1)
_TRIES = 40


@dataclass(frozen=True)
class TownPhoto:
    """One photograph of the town with its exact pose and the day it was taken."""

    name: str
    picture: RenderedPicture
    world_SE3_camera: SE3
    day_seed: int


class TownPhotos:
    """A walk along a street: photographs of one day for a map, and of another, from other places, as queries.

    It is the main street of a town of that seed, or, where a world and a path, float64 (N, 2), are given, that path.
    """

    def __init__(
        self,
        seed: int,  # of town, place and days
        map_count: int = 40,  # photographs of the map
        query_count: int = 12,  # photographs to localize
        size_px: tuple[int, int] = (480, 360),  # (width, height)
        focal_px: float | None = None,  # focal length; 0.8 of the width where it is None
        *,
        spacing_m: float = 1.0,  # between successive places, at each of which four photographs are taken
        along: tuple[TownWorld, DoubleArray] | None = None,  # the town, and the path from its beginning
    ) -> None:
        if min(map_count, query_count, *size_px) < 1 or not spacing_m > 0:
            raise ConfigError("a walk without photographs", "give positive counts, sizes and spacing")
        width, height = size_px
        focal = 0.8 * width if focal_px is None else focal_px
        self.seed = seed
        self.camera = Camera("PINHOLE", width, height, np.array([focal, focal, 0.5 * width, 0.5 * height]))
        self._way_m = spacing_m * math.ceil(map_count / len(_YAWS_RAD))
        if along is None:
            world = TownWorld(seed)
            street = _main_street(world, seed)
            self._way, self._middle_m = _of_street(street), 0.5 * street.length_m
        else:
            world, self._way, self._middle_m = along[0], _of_path(along[1]), 0.5 * self._way_m
        self.town = TownCamera(world, self._way(self._middle_m, 0.0)[0])
        self._counts = map_count, query_count

    @cached_property
    def map_photos(self) -> tuple[TownPhoto, ...]:
        """Of the map's day, drawn when first asked for; a ConfigError where no ground is open on the way."""
        return tuple(self._photo(k, self._counts[0], query=False) for k in range(self._counts[0]))

    @cached_property
    def query_photos(self) -> tuple[TownPhoto, ...]:
        """Of another day, as `map_photos`; the first of them are the same however many there are."""
        return tuple(self._photo(k, self._counts[1], query=True) for k in range(self._counts[1]))

    def _photo(self, index: int, count: int, query: bool) -> TownPhoto:
        """Photograph ``index``; a query at a random place of the way, the first that is open ground."""
        day = 2 * self.seed + (1 if query else 0)
        rng = block_rng(self.seed, 71, int(query), index)
        places = math.ceil(count / len(_YAWS_RAD))
        for _ in range(_TRIES):
            share = float(rng.uniform(0.1, 0.9)) if query else (index // len(_YAWS_RAD) + 0.5) / places
            pose = self._pose(share, _YAWS_RAD[index % len(_YAWS_RAD)], rng, query)
            if self.town.is_open(pose.translation_m[:2], day):
                break
        else:
            raise ConfigError(f"town {self.seed} has no open ground on the way", "take another seed")
        picture = self.town.picture(self.camera, pose, day, shot_seed=1000 * int(query) + index)
        return TownPhoto(f"{'query' if query else 'map'}_{index:04d}.png", picture, pose, day)

    def _pose(self, share: float, yaw: float, rng: np.random.Generator, query: bool) -> SE3:
        loose = 1.0 if query else 0.25
        height = 1.6 + rng.normal(0, 0.1 * loose)
        pitch = 0.1 + rng.normal(0, 0.04 * loose)
        arc = self._middle_m + (share - 0.5) * self._way_m
        ahead = float(rng.normal(0, 0.3))
        lateral = float(rng.normal(0, 0.8 * loose))
        place = self._way(arc + ahead * loose, lateral)[0]
        heading = self._way(arc, 0.0)[1] + yaw
        return look_along(place, height, heading + rng.normal(0, 0.08 * loose), pitch, rng.normal(0, 0.02 * loose))


_Way = Callable[[float, float], tuple[DoubleArray, float]]
"""From metres along and to the left: the place (2,), and where the way leads, rad."""


def _of_street(street: Street) -> _Way:
    def at(arc_m: float, left_m: float) -> tuple[DoubleArray, float]:
        tangent = street.frame_at(np.array([arc_m]))[1][0]
        return street.offset_path(np.array([arc_m]), left_m)[0], math.atan2(tangent[1], tangent[0])

    return at


def _of_path(path_m: DoubleArray) -> _Way:
    arcs_m = arc_lengths(path_m)

    def at(arc_m: float, left_m: float) -> tuple[DoubleArray, float]:
        here = pose_on(path_m, arcs_m, arc_m, 0.8)
        return np.array(astuple(here @ SE2(0.0, left_m, 0.0))[:2]), here.heading_rad

    return at


def look_along(place_m: DoubleArray, height_m: float, heading_rad: float, pitch_rad: float, roll_rad: float) -> SE3:
    """``world_SE3_camera`` of a camera at (x, y) and a height, looking along a heading, ``pitch_rad`` upwards."""
    cos, sin = math.cos(heading_rad), math.sin(heading_rad)
    ahead = np.array([cos * math.cos(pitch_rad), sin * math.cos(pitch_rad), math.sin(pitch_rad)])
    level = np.array([sin, -cos, 0.0])
    down = np.cross(ahead, level)
    right = math.cos(roll_rad) * level + math.sin(roll_rad) * down
    pose = np.eye(4)
    pose[:3, 0], pose[:3, 1], pose[:3, 2] = right, np.cross(ahead, right), ahead
    pose[:3, 3] = place_m[0], place_m[1], height_m
    return SE3(pose)


def town_scene(photos: TownPhotos, extractor: Callable[[AnyArray], Features], feature: str = "sift") -> SceneModel:
    """Make the scene that structure from motion would, metric and with the exact poses.

    Keypoints are lifted by the true depth, projected into the other photographs and joined with keypoints near there
    that look alike; points are triangulated from their tracks, and those that three photographs or more see remain. The
    extractor takes an image uint8 (H, W), for example `open_extractor("sift").extract`; ``feature`` is its name. Raises
    MapInputError: no point is seen by three photographs.
    """
    seen = [
        SeenImage(extractor(photo.picture.image), photo.picture.depth_m, photo.picture.kind, photo.world_SE3_camera)
        for photo in photos.map_photos
    ]
    points, tracks = join_tracks(seen, photos.camera)
    return SceneModel(
        cameras=(photos.camera,),
        image_names=tuple(photo.name for photo in photos.map_photos),
        image_camera=np.zeros(len(seen), np.int64),
        camera_SE3_world=np.stack([photo.world_SE3_camera.inverse().matrix for photo in photos.map_photos]),
        points_world=points,
        tracks=tracks,
        feature=feature,
        metric=True,
    )


def town_queries(photos: TownPhotos, extractor: Callable[[AnyArray], Features]) -> list[tuple[Query, DoubleArray]]:
    """The queries with their true ``camera_SE3_world``, float64 (4, 4)."""
    return [
        (Query(p.name, photos.camera, extractor(p.picture.image)), p.world_SE3_camera.inverse().matrix)
        for p in photos.query_photos
    ]


def _main_street(world: TownWorld, seed: int) -> Street:
    """A long street near the middle of the town."""
    streets = world.streets_near(-60.0, -60.0, 60.0, 60.0)
    if not streets:
        raise ConfigError(f"town {seed} has no street in its middle", "take another seed")
    return max(streets, key=lambda street: street.length_m)
