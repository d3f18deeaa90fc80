"""A scene out of a COLMAP model, by pycolmap alone."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from foldmap.geometry.camera import Camera
from foldmap.visual.source import SceneModel, Tracks


@cache
def colmap_scene(pycolmap: Any, folder: Path) -> tuple[Any, SceneModel]:
    model = pycolmap.Reconstruction(str(folder))
    images = sorted(model.images.values(), key=lambda image: image.name)
    index = {image.image_id: k for k, image in enumerate(images)}
    cameras = list(model.cameras.values())
    which = {camera.camera_id: k for k, camera in enumerate(cameras)}
    points = [model.points3D[key] for key in sorted(model.points3D)]
    rows = sorted({(p, index[e.image_id]) for p, point in enumerate(points) for e in point.track.elements})
    at = np.array(rows, np.int64)
    poses = np.stack([np.vstack([image.cam_from_world().matrix(), [0, 0, 0, 1]]) for image in images])
    scene = SceneModel(
        cameras=tuple(Camera(c.model.name, c.width, c.height, np.array(c.params)) for c in cameras),
        image_names=tuple(image.name for image in images),
        image_camera=np.array([which[image.camera_id] for image in images], np.int64),
        camera_SE3_world=poses,
        points_world=np.stack([point.xyz for point in points]),
        tracks=Tracks(at[:, 0].copy(), at[:, 1].copy(), np.zeros((len(at), 2), np.float32), None),
    )
    return model, scene
