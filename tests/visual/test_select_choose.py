"""The entry that folding calls: every method on a generated scene, and unusable input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from foldmap.errors import ConfigError, MapInputError
from foldmap.geometry.camera import Camera
from foldmap.visual.select.choose import choose_points, distinctiveness_of
from foldmap.visual.source import SceneModel, Tracks

WIDTH, HEIGHT, FOCAL = 640, 480, 500.0


@pytest.fixture(scope="module")
def room() -> SceneModel:
    """Cameras on a circle look inwards at the walls of a room; dense texture on one small patch of a wall."""
    rng = np.random.default_rng(0)
    wall = rng.uniform(-4, 4, (600, 3)) * [1, 1, 0.4]
    wall[np.arange(600), rng.integers(0, 2, 600)] = rng.choice([-4.0, 4.0], 600)
    patch = np.stack([np.full(900, 4.0), rng.uniform(-0.3, 0.3, 900), rng.uniform(-0.3, 0.3, 900)], axis=1)
    points = np.concatenate([wall, patch])
    poses, point, image, xy = [], [], [], []
    for k, angle in enumerate(np.linspace(0, 2 * np.pi, 24, endpoint=False)):
        forward = -np.array([np.cos(angle), np.sin(angle), 0.0])
        right = np.cross(forward, [0.0, 0.0, 1.0])
        rotation = np.stack([right, [0.0, 0.0, -1.0], forward])
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = rotation, rotation @ forward * 2.0
        poses.append(pose)
        camera = points @ rotation.T + pose[:3, 3]
        pixel = camera[:, :2] / camera[:, 2:] * FOCAL + [WIDTH / 2, HEIGHT / 2]
        inside = (camera[:, 2] > 0.1) & (pixel > 0).all(1) & (pixel < [WIDTH, HEIGHT]).all(1)
        inside &= rng.random(len(points)) < 0.7
        point.append(np.flatnonzero(inside))
        image.append(np.full(inside.sum(), k))
        xy.append(pixel[inside])
    rows = np.argsort(np.concatenate(point), kind="stable")
    tracks = Tracks(
        np.concatenate(point)[rows].astype(np.int64),
        np.concatenate(image)[rows].astype(np.int64),
        np.concatenate(xy)[rows].astype(np.float32),
        None,
    )
    seen = np.unique(tracks.point)
    number = np.searchsorted(seen, tracks.point).astype(np.int64)
    camera_model = Camera("SIMPLE_PINHOLE", WIDTH, HEIGHT, np.array([FOCAL, WIDTH / 2, HEIGHT / 2]))
    return SceneModel(
        (camera_model,),
        tuple(f"{k:02}.jpg" for k in range(24)),
        np.zeros(24, np.int64),
        np.array(poses),
        points[seen],
        Tracks(number, tracks.image, tracks.xy_px, None),
    )


def seen_per_image(scene: SceneModel, kept: np.ndarray) -> np.ndarray:
    mask = np.zeros(len(scene.points_world), bool)
    mask[kept] = True
    return np.bincount(scene.tracks.image[mask[scene.tracks.point]], minlength=len(scene.image_names))


def cells_per_image(scene: SceneModel, kept: np.ndarray) -> np.ndarray:
    mask = np.zeros(len(scene.points_world), bool)
    mask[kept] = True
    rows = mask[scene.tracks.point]
    cell = (scene.tracks.xy_px[rows] / [WIDTH / 8, HEIGHT / 8]).astype(int)
    pairs = np.unique(np.column_stack([scene.tracks.image[rows], cell]), axis=0)
    return np.bincount(pairs[:, 0], minlength=len(scene.image_names))


@pytest.mark.parametrize("method", ["spread", "cover", "gamma", "longest", "random"])
def test_every_method_keeps_as_many_as_asked_and_the_kept_make_a_scene(room: SceneModel, method: str) -> None:
    for count in (1, 60, len(room.points_world)):
        got = choose_points(room, count, method)
        assert len(np.unique(got.kept)) == count
        assert sorted(got.order.tolist()) == got.kept.tolist()
        assert len(room.keep_points(got.kept).points_world) == count
        np.testing.assert_array_equal(choose_points(room, count, method).order, got.order)


def test_covers_respect_every_image_and_the_default_spreads_within_each(room: SceneModel) -> None:
    kept = {method: choose_points(room, 150, method).kept for method in ("spread", "cover", "random", "longest")}
    fewest = {method: seen_per_image(room, some).min() for method, some in kept.items()}
    assert fewest["cover"] > max(fewest["random"], fewest["longest"])
    assert fewest["spread"] > max(fewest["random"], fewest["longest"])
    cells = {method: cells_per_image(room, some).mean() for method, some in kept.items()}
    assert cells["spread"] > 1.2 * max(cells["cover"], cells["random"], cells["longest"])
    np.testing.assert_array_equal(choose_points(room, 150).kept, kept["spread"])


def test_longest_and_random_are_what_they_say(room: SceneModel) -> None:
    length = np.bincount(room.tracks.point)
    kept = choose_points(room, 100, "longest").kept
    assert length[kept].min() >= np.delete(length, kept).max()
    one, other = (choose_points(room, 100, "random", seed=seed).kept for seed in (0, 1))
    assert 0 < len(np.intersect1d(one, other)) < 100


def test_distinctiveness_counts_images_not_keypoints(room: SceneModel) -> None:
    tracks = room.tracks
    doubled = np.sort(np.r_[np.arange(len(tracks)), np.arange(50)])
    scene = SceneModel(
        room.cameras,
        room.image_names,
        room.image_camera,
        room.camera_SE3_world,
        room.points_world,
        tracks.take(doubled),
    )
    np.testing.assert_array_equal(distinctiveness_of(scene), np.bincount(tracks.point) / 24)
    np.testing.assert_array_equal(choose_points(scene, 80).order, choose_points(room, 80).order)


def test_points_that_look_the_same_are_preferred_by_default(room: SceneModel) -> None:
    rng = np.random.default_rng(5)
    steady = rng.random(len(room.points_world)) < 0.5
    look = rng.normal(size=(len(room.points_world), 32))
    noise = np.where(steady, 0.1, 1.0)[room.tracks.point, None] * rng.normal(size=(len(room.tracks), 32))
    described = replace(room, tracks=replace(room.tracks, descriptors=(look[room.tracks.point] + noise).astype("f4")))
    share = [steady[choose_points(some, 200).kept].mean() for some in (described, room)]
    assert share[0] > share[1] + 0.15
    assert 0.35 < share[1] < 0.65


def test_alpha_replaces_the_count(room: SceneModel) -> None:
    assert len(choose_points(room, method="gamma", alpha=0.25).kept) == len(room.points_world) // 4


def test_unusable_input_is_named(room: SceneModel) -> None:
    points = len(room.points_world)
    for count in (0, points + 1, -3):
        for method in ("spread", "cover", "gamma", "longest", "random"):
            with pytest.raises(ConfigError, match=f"of {points} points"):
                choose_points(room, count, method)
    with pytest.raises(ConfigError, match="cannot choose None"):
        choose_points(room, method="longest")
    with pytest.raises(ConfigError, match="'best'"):
        choose_points(room, 10, "best")
    with pytest.raises(ConfigError, match="no alpha"):
        choose_points(room, 10, "spread", alpha=0.5)
    with pytest.raises(ConfigError, match="alpha"):
        choose_points(room, method="gamma", alpha=1.5)
    place = SceneModel(
        room.cameras,
        room.image_names,
        room.image_camera,
        room.camera_SE3_world,
        np.ones_like(room.points_world),
        room.tracks,
    )
    with pytest.raises(MapInputError, match="one place"):
        choose_points(place, 10)
    none = Tracks(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 2), np.float32), None)
    empty = SceneModel(room.cameras, room.image_names, room.image_camera, room.camera_SE3_world, np.zeros((0, 3)), none)
    with pytest.raises(MapInputError, match="no points"):
        choose_points(empty, 10)
