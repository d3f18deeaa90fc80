"""A scene made of what a ring of cameras sees at places of a generated town, without structure from motion."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from foldmap.errors import MapInputError
from foldmap.geometry import SE2
from foldmap.town.camera.photo_tracks import SeenImage, join_tracks
from foldmap.town.camera.ring_view import RingView
from foldmap.types import AnyArray
from foldmap.visual.source import Features, SceneModel


def ring_scene(
    view: RingView, places: Iterable[SE2], extract: Callable[[AnyArray], Features], feature: str
) -> SceneModel:
    """The metric scene of the frames at some places, with the exact poses; as `town_scene` makes one.

    A MapInputError where the ring's cameras are not alike, or no point is seen by three photographs.
    """
    camera = view.ring.cameras[0]
    if len({(one.model, one.width_px, one.height_px, *one.params) for one in view.ring.cameras}) > 1:
        raise MapInputError("a ring of different cameras", "give cameras that are alike")
    seen, names = list[SeenImage](), list[str]()
    for number, place in enumerate(places):
        for name, taken in zip(view.ring.names, view.pictures(place), strict=True):
            if taken is not None:
                picture, world_SE3_camera = taken
                seen.append(SeenImage(extract(picture.image), picture.depth_m, picture.kind, world_SE3_camera))
                names.append(f"{name}/{number:04d}.png")
    if not seen:
        raise MapInputError("no camera can stand at any of the places", "place them on streets")
    points, tracks = join_tracks(seen, camera)
    return SceneModel(
        cameras=(camera,),
        image_names=tuple(names),
        image_camera=np.zeros(len(seen), np.int64),
        camera_SE3_world=np.stack([one.world_SE3_camera.inverse().matrix for one in seen]),
        points_world=points,
        tracks=tracks,
        feature=feature,
        metric=True,
    )
