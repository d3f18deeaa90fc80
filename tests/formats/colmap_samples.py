"""Small scenes with everything in them that COLMAP models may have."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from foldmap.geometry import Camera
from foldmap.visual.source import SceneModel, Tracks

NAMES = ("Straße/Münster 001.jpg", "a b c.png", "empty.png", "z.png", "画像/一.jpg")


def small_scene(points: int = 12, seed: int = 0, names: tuple[str, ...] = NAMES) -> SceneModel:
    """Five images of three cameras, one without points; observations are exact projections."""
    draw = np.random.default_rng(seed)
    cameras = (
        Camera("SIMPLE_RADIAL", 640, 480, np.array([500.0, 320, 240, 0.05])),
        Camera("OPENCV", 800, 600, np.array([600.0, 610, 400, 300, 0.01, -0.002, 0.001, 0.0005])),
        Camera("OPENCV_FISHEYE", 700, 700, np.array([300.0, 310, 350, 350, 0.01, 0.002, 0.0, 0.0])),
    )
    image_camera = np.array([0, 1, 2, 2, 0])
    poses = np.tile(np.eye(4), (len(NAMES), 1, 1))
    poses[:, :3, :3] = Rotation.from_rotvec(draw.normal(0, 0.2, (len(NAMES), 3))).as_matrix()
    poses[:, :3, 3] = draw.normal(0, 0.3, (len(NAMES), 3)) + np.array([0, 0, 5])
    points_world = draw.uniform(-1, 1, (points, 3))
    sees = draw.uniform(size=(points, len(NAMES))) < 0.7
    sees[:, 2], sees[:, 3] = False, True
    point, image = np.nonzero(sees)
    moved = np.einsum("oij,oj->oi", poses[image, :3, :3], points_world[point]) + poses[image, :3, 3]
    pixels = np.empty((len(point), 2))
    for at, camera in enumerate(image_camera):
        pixels[image == at] = cameras[camera].project(moved[image == at])
    tracks = Tracks(point, image, pixels.astype(np.float32), None)
    return SceneModel(cameras, names, image_camera, poses, points_world, tracks)


def with_loose_keypoints(scene: SceneModel, loose: int = 3, seed: int = 1) -> tuple[list[np.ndarray], np.ndarray]:
    """Keypoints of every image, some seeing no point, shuffled; and which of them each observation is."""
    draw = np.random.default_rng(seed)
    index = np.empty(len(scene.tracks), np.int64)
    keypoints = []
    for image in range(len(scene.image_names)):
        rows = np.flatnonzero(scene.tracks.image == image)
        xy_px = np.concatenate([scene.tracks.xy_px[rows], draw.uniform(0, 400, (loose, 2)).astype(np.float32)])
        place = draw.permutation(len(xy_px))
        shuffled = np.empty_like(xy_px)
        shuffled[place] = xy_px
        keypoints.append(shuffled)
        index[rows] = place[: len(rows)]
    return keypoints, index


def assert_same(one: SceneModel, other: SceneModel) -> None:
    """Both scenes hold the same to the last bit but for poses, which went through quaternions."""
    assert one.image_names == other.image_names
    assert [(c.model, c.width_px, c.height_px, c.params.tolist()) for c in one.cameras] == [
        (c.model, c.width_px, c.height_px, c.params.tolist()) for c in other.cameras
    ]
    np.testing.assert_array_equal(one.image_camera, other.image_camera)
    np.testing.assert_allclose(one.camera_SE3_world, other.camera_SE3_world, atol=1e-12)
    np.testing.assert_array_equal(one.points_world, other.points_world)
    np.testing.assert_array_equal(one.tracks.point, other.tracks.point)
    np.testing.assert_array_equal(one.tracks.image, other.tracks.image)
    np.testing.assert_array_equal(one.tracks.xy_px, other.tracks.xy_px)
