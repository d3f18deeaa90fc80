"""Visibility survives coding exactly; smaller forms keep what they say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scene_samples import colmap_scene

from foldmap.errors import LimitError, MapFormatError, MapInputError
from foldmap.visual.codes import visibility_kernel
from foldmap.visual.codes.points_codec import decode_points, encode_points
from foldmap.visual.codes.visibility_codec import (
    decode_visibility,
    encode_visibility,
    visibility_matrix,
)
from foldmap.visual.source import SceneModel, Tracks


def walk_past(count: int, images: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Points along a wall, and a camera that walks past and sees what is within a metre, with dropouts."""
    rng = np.random.default_rng(seed)
    points = np.sort(rng.uniform(0, 10, (count, 3)), axis=0)
    camera_x = np.linspace(0, 10, images)
    seen = (np.abs(points[:, :1] - camera_x[None]) < 1) & (rng.uniform(size=(count, images)) < 0.9)
    return points, seen


@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(0, 60),
    images=st.integers(0, 50),
    density=st.sampled_from([0.0, 0.05, 0.5, 1.0]),
    scale=st.sampled_from([0.0, 1e-9, 1.0, 1e12]),
    seed=st.integers(0, 1000),
)
def test_any_matrix_survives(count: int, images: int, density: float, scale: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    seen = rng.uniform(size=(count, images)) < density
    points = rng.uniform(-1, 1, (count, 3)) * scale
    data = encode_visibility(seen, points)
    assert (decode_visibility(data, points) == seen).all()
    assert decode_visibility(data, points).shape == (count, images)
    assert encode_visibility(seen, points) == data


def test_matrices_in_either_order_are_walked_by_one_compiled_loop() -> None:
    points, seen = walk_past(40, 30, 3)
    data = encode_visibility(np.asfortranarray(seen), points)
    assert data == encode_visibility(np.ascontiguousarray(seen), points)
    assert (decode_visibility(data, points) == seen).all()
    assert len(visibility_kernel.walk.signatures) == 1


def test_a_walk_costs_little_more_than_its_noise() -> None:
    """What cannot be predicted: which of a tenth of the sightings drop out, and where each row begins and ends."""
    points, seen = walk_past(1500, 200, 0)
    bits = 8 * len(encode_visibility(seen, points))
    share = seen.mean()
    independent = -seen.size * (share * np.log2(share) + (1 - share) * np.log2(1 - share))
    dropouts = seen.sum() / 0.9 * 0.469
    assert dropouts < bits < 0.5 * independent


def test_noise_costs_no_more_than_noise() -> None:
    seen = np.random.default_rng(1).uniform(size=(300, 200)) < 0.5
    assert 8 * len(encode_visibility(seen, np.random.default_rng(2).uniform(size=(300, 3)))) < 1.04 * seen.size


def test_damage_is_noticed() -> None:
    points, seen = walk_past(40, 30, 3)
    data = encode_visibility(seen, points)
    for end in range(len(data)):
        with pytest.raises(MapFormatError):
            decode_visibility(data[:end], points)
    with pytest.raises(MapFormatError):
        decode_visibility(data + b"\0", points)
    with pytest.raises(MapFormatError):
        decode_visibility(data, points[:-1])
    with pytest.raises(LimitError):
        decode_visibility(b"\xff" * 8 + data[8:], points)
    rng = np.random.default_rng(5)
    noticed = 0
    for _ in range(500):
        bad = bytearray(data)
        bad[rng.integers(len(bad))] ^= 1 << rng.integers(8)
        try:
            assert decode_visibility(bytes(bad), points).shape[0] == 40
        except MapFormatError:
            noticed += 1
    assert noticed > 0


def test_bad_matrices_are_refused() -> None:
    with pytest.raises(MapInputError):
        encode_visibility(np.zeros((3, 2), bool), np.zeros((4, 3)))
    with pytest.raises(MapInputError):
        encode_visibility(np.zeros((3, 2), np.uint8), np.zeros((3, 3)))


def ring(count: int, images: int) -> SceneModel:
    """Cameras on a ring of radius 5 looking at points near its centre, each point seen from a quarter of it."""
    from foldmap.geometry.camera import Camera

    rng = np.random.default_rng(0)
    angle = np.arange(images) * 2 * np.pi / images
    centre = np.stack([5 * np.cos(angle), 5 * np.sin(angle), np.ones(images)], axis=1)
    ahead = -centre / np.linalg.norm(centre, axis=1, keepdims=True)
    right = np.cross(ahead, [0, 0, 1.0])
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    rotation = np.stack([right, np.cross(ahead, right), ahead], axis=1)
    pose = np.tile(np.eye(4), (images, 1, 1))
    pose[:, :3, :3] = rotation
    pose[:, :3, 3] = -np.einsum("iab,ib->ia", rotation, centre)
    points = rng.uniform(-1, 1, (count, 3))
    facing = rng.uniform(0, 2 * np.pi, count)
    seen = np.cos(angle[None] - facing[:, None]) > np.cos(np.pi / 4)
    point, image = np.nonzero(seen)
    tracks = Tracks(point.astype(np.int64), image.astype(np.int64), np.zeros((len(point), 2), np.float32), None)
    camera = Camera("PINHOLE", 640, 480, np.array([500.0, 500, 320, 240]))
    names = tuple(f"{k}.png" for k in range(images))
    return SceneModel((camera,), names, np.zeros(images, np.int64), pose, points, tracks)


def test_real_geometry_fits_six_bytes_a_point(shared_data: Path) -> None:
    pycolmap = pytest.importorskip("pycolmap")
    from foldmap.visual.codes.points_codec import tolerance_from_views

    model, scene = colmap_scene(pycolmap, shared_data / "visual" / "redkitchen" / "sparse")
    noise_px = np.mean([point.error for point in model.points3D.values()])
    scene = scene.keep_points(np.random.default_rng(0).permutation(len(scene.points_world))[:2000])
    data, order = encode_points(scene.points_world, tolerance_from_views(scene, noise_px / 3))
    groups = -(-len(scene.image_names) // 4)
    grouped = visibility_matrix(scene.tracks.point, scene.tracks.image // 4, (2000, groups))[order]
    assert len(data) + len(encode_visibility(grouped, decode_points(data))) < 5 * 2000
