"""Cameras and poses survive coding within their errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from foldmap.errors import LimitError, MapFormatError, MapInputError
from foldmap.geometry.camera import Camera
from foldmap.visual.codes.poses_codec import MapImages, decode_images, encode_images

CAMERA = Camera("SIMPLE_RADIAL", 640, 480, np.array([526.25, 320.0, 240.0, -0.03125]))


def poses(rotation: Rotation, centre: np.ndarray) -> np.ndarray:
    pose = np.tile(np.eye(4), (len(centre), 1, 1))
    pose[:, :3, :3] = rotation.as_matrix()
    pose[:, :3, 3] = -np.einsum("iab,ib->ia", rotation.as_matrix(), centre)
    return pose


def walk(count: int, seed: int) -> np.ndarray:
    """A camera that turns more than once around while it walks."""
    rng = np.random.default_rng(seed)
    turn = np.cumsum(rng.normal(0.05, 0.01, (count, 3)), axis=0) + rng.uniform(-3, 3, 3)
    return poses(Rotation.from_rotvec(turn), np.cumsum(rng.normal(0.1, 0.02, (count, 3)), axis=0))


def centres(pose: np.ndarray) -> np.ndarray:
    return -np.einsum("iba,ib->ia", pose[:, :3, :3], pose[:, :3, 3])


def errors(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    turned = Rotation.from_matrix(a[:, :3, :3]) * Rotation.from_matrix(b[:, :3, :3]).inv()
    return np.linalg.norm(centres(a) - centres(b), axis=1), turned.magnitude()


@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(1, 40),
    smooth=st.booleans(),
    scale=st.sampled_from([1e-6, 1.0, 1e6]),
    error=st.sampled_from([1e-4, 1e-2, 0.3]),
    seed=st.integers(0, 1000),
)
def test_poses_stay_within_their_errors(count: int, smooth: bool, scale: float, error: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pose = walk(count, seed) if smooth else poses(Rotation.random(count, rng=rng), rng.normal(size=(count, 3)))
    pose[:, :3, 3] *= scale
    images = MapImages((CAMERA, CAMERA), rng.integers(0, 2, count), pose)
    data = encode_images(images, error * scale, error)
    back = decode_images(data)
    shift, turn = errors(back.camera_SE3_world, pose)
    assert shift.max() <= error * scale * (1 + 1e-6)
    assert turn.max() <= error * (1 + 1e-6)
    assert (back.image_camera == images.image_camera).all()
    gram = np.einsum("iab,icb->iac", back.camera_SE3_world[:, :3, :3], back.camera_SE3_world[:, :3, :3])
    assert np.abs(gram - np.eye(3)).max() < 1e-12
    assert encode_images(images, error * scale, error) == data


@pytest.mark.parametrize(
    "names", [None, ("a/0001.png", "a/0002.png", "a/0003.png"), ("ä.jpg", "längerer name.jpg", "写真")]
)
def test_cameras_and_names_survive(names: tuple[str, ...] | None) -> None:
    other = Camera("OPENCV", 1920, 1080, np.arange(1, 9, dtype=float))
    images = MapImages((CAMERA, other), np.array([1, 0, 1]), walk(3, 0), names)
    back = decode_images(encode_images(images, 0.01, 0.01))
    assert back.image_names == names
    assert [c.model for c in back.cameras] == ["SIMPLE_RADIAL", "OPENCV"]
    assert all((a.params == b.params).all() for a, b in zip(back.cameras, images.cameras, strict=True))
    assert [(c.width_px, c.height_px) for c in back.cameras] == [(640, 480), (1920, 1080)]


def test_a_smooth_walk_costs_few_bytes() -> None:
    smooth, numbered = walk(250, 1), tuple(f"frame-{4 * k:06d}.color.png" for k in range(250))
    images = MapImages((CAMERA,), np.zeros(250, np.int64), smooth)
    plain = encode_images(images, 0.01, 0.005)
    assert len(plain) < 250 * 4
    named = encode_images(MapImages(images.cameras, images.image_camera, smooth, numbered), 0.01, 0.005)
    assert len(named) - len(plain) < 150
    assert decode_images(named).image_names == numbered


def test_no_images() -> None:
    back = decode_images(encode_images(MapImages((), np.zeros(0, np.int64), np.zeros((0, 4, 4)), ()), 0.01, 0.01))
    assert len(back.camera_SE3_world) == 0
    assert back.image_names == ()


def test_bad_poses_are_refused() -> None:
    good = walk(3, 0)
    which = np.zeros(3, np.int64)
    for pose, cameras, error, names in [
        (good * 2, which, 0.1, None),
        (np.where(np.arange(4) == 0, -good, good), which, 0.1, None),
        (good, which, 0.0, None),
        (good, which, 1e-60, None),
        (good, which, 0.1, ("a\0", "b", "c")),
        (good, which, 0.1, ("a", "b")),
        (good, which, 0.1, ("a", "b", "b")),
    ]:
        with pytest.raises(MapInputError):
            encode_images(MapImages((CAMERA,), cameras, pose, names), error, 0.1)


def test_damage_is_noticed() -> None:
    images = MapImages((CAMERA,), np.zeros(20, np.int64), walk(20, 0), tuple(f"{k:04d}.png" for k in range(20)))
    data = encode_images(images, 0.01, 0.01)
    for end in range(len(data)):
        with pytest.raises(MapFormatError):
            decode_images(data[:end])
    with pytest.raises(MapFormatError):
        decode_images(data + b"\0")
    with pytest.raises(LimitError):
        decode_images(b"\xff" * 8 + data[8:])
    rng = np.random.default_rng(5)
    noticed = 0
    for _ in range(800):
        bad = bytearray(data)
        bad[rng.integers(len(bad))] ^= 1 << rng.integers(8)
        try:
            back = decode_images(bytes(bad))
            assert np.isfinite(back.camera_SE3_world).all()
        except MapFormatError:
            noticed += 1
    assert noticed > 0
