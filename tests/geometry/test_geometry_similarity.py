"""Similarities against Horn's quaternions, and what wrong pairs, lines and foreign points do to them."""

import numpy as np
import pytest

from foldmap.errors import PoseInputError
from foldmap.geometry.camera import Camera
from foldmap.geometry.similarity import align, umeyama


def horn(source: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Horn 1987: the rotation is the largest eigenvector of a 4 x 4 matrix; no singular values."""
    near, far = source - source.mean(axis=0), target - target.mean(axis=0)
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = near.T @ far
    matrix = [
        [xx + yy + zz, yz - zy, zx - xz, xy - yx],
        [yz - zy, xx - yy - zz, xy + yx, zx + xz],
        [zx - xz, xy + yx, yy - xx - zz, yz + zy],
        [xy - yx, zx + xz, yz + zy, zz - xx - yy],
    ]
    w, x, y, z = np.linalg.eigh(np.array(matrix))[1][:, -1]
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    turned = near @ rotation.T
    scale = (turned * far).sum() / (near**2).sum()
    return float(scale), rotation, target.mean(axis=0) - scale * rotation @ source.mean(axis=0)


def _frames(
    seed: int, count: int = 40, noise: float = 0.02, shift: float = 5e6
) -> tuple[np.ndarray, np.ndarray, float, np.ndarray]:
    """Points, the same in a frame as far off as UTM's, with noise; the scale and rotation."""
    rng = np.random.default_rng(seed)
    points = rng.normal(0, 1, (count, 3)) * [8.0, 5.0, 0.5]
    rotation = np.linalg.qr(rng.normal(0, 1, (3, 3)))[0]
    rotation *= np.sign(np.linalg.det(rotation))
    scale = float(rng.uniform(0.2, 5))
    target = scale * points @ rotation.T + rng.uniform(-1, 1, 3) * shift + rng.normal(0, noise, (count, 3))
    return points, target, scale, rotation


@pytest.mark.parametrize("seed", range(5))
def test_least_squares_are_horns(seed: int) -> None:
    source, target, *_ = _frames(seed, noise=0.5, shift=100.0)
    found, (scale, rotation, shift) = umeyama(source, target), horn(source, target)
    assert found.scale == pytest.approx(scale, rel=1e-9)
    assert found.rotation == pytest.approx(rotation, abs=1e-9)
    assert found.shift == pytest.approx(shift, abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_wrong_pairs_are_found_and_left_out(seed: int) -> None:
    source, target, scale, rotation = _frames(seed)
    rng = np.random.default_rng(100 + seed)
    wrong = rng.choice(40, 16, replace=False)
    target[wrong] += rng.normal(0, 1, (16, 3)) * 30 * scale
    found = align(source, target)
    right = np.setdiff1d(np.arange(40), wrong)
    assert found.agrees[right].mean() > 0.85
    assert not found.agrees[wrong].any()
    assert found.similarity.scale == pytest.approx(scale, rel=0.01)
    assert np.degrees(np.abs(found.similarity.rotation - rotation).max()) < 1.0
    clean = horn(source[right], target[right])
    apart = found.similarity.apply(source) - (clean[0] * source @ clean[1].T + clean[2])
    assert np.abs(apart).max() < 0.03
    assert align(source, target).residuals.tolist() == found.residuals.tolist()


def test_without_noise_it_is_exact() -> None:
    source, target, *_ = _frames(3, noise=0.0)
    found = align(source, target)
    assert found.agrees.all()
    assert found.residuals.max() < 1e-7
    assert found.turn_sigma_rad < 1e-6


def test_moved_cameras_see_what_they_saw() -> None:
    source, target, *_ = _frames(4, noise=0.0)
    by = align(source, target).similarity
    rng = np.random.default_rng(0)
    poses = np.tile(np.eye(4), (5, 1, 1))
    for pose in poses:
        turn = np.linalg.qr(rng.normal(0, 1, (3, 3)))[0]
        pose[:3, :3] = turn * np.sign(np.linalg.det(turn))
        pose[:3, 3] = np.add(rng.normal(0, 1, 3), [0, 0, 40])
    camera = Camera("PINHOLE", 640, 480, np.array([450.0, 450.0, 320.0, 240.0]))
    moved, places = by.move_cameras(poses), by.apply(source)
    for old, new in zip(poses, moved, strict=True):
        before = camera.project(source @ old[:3, :3].T + old[:3, 3])
        after = camera.project(places @ new[:3, :3].T + new[:3, 3])
        assert after == pytest.approx(before, abs=1e-4)  # at 5,000 km


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda a, b: (a[:3], b[:3]), "3 pairs of points align nothing"),
        (lambda a, b: (a * [1, 0, 0], b), "first frame lie on one line"),
        (lambda a, b: (a, b[:1] + np.arange(40)[:, None]), "second frame lie on one line"),
        (lambda a, b: (a, b[np.random.default_rng(0).permutation(40)]), "frames do not fit"),
        (lambda a, b: (a * [1, 1e-3, 1e-3], np.arange(40)[:, None] * [3.0, 0, 0]), "line"),
    ],
)
def test_what_is_absurd_is_refused(change: object, said: str) -> None:
    source, target, *_ = _frames(1, shift=100.0)
    with pytest.raises(PoseInputError, match=said):
        align(*change(source, target))  # type: ignore[operator]


def test_a_straight_drive_leaves_its_roll_open() -> None:
    rng = np.random.default_rng(0)
    along = np.stack([np.linspace(0, 100, 60), np.zeros(60), np.zeros(60)], axis=1)
    with pytest.raises(PoseInputError, match=r"nearly on one line.*turn about it open by"):
        align(along + rng.normal(0, 0.02, (60, 3)), along + rng.normal(0, 0.5, (60, 3)))
    bent = along + np.stack([np.zeros(60), 20 * np.sin(along[:, 0] / 30), np.zeros(60)], axis=1)
    assert align(bent + rng.normal(0, 0.02, (60, 3)), bent + rng.normal(0, 0.5, (60, 3))).turn_sigma_rad < 0.05


@pytest.mark.parametrize("seed", range(3))
def test_in_the_plane_a_rigid_motion_is_that_of_complex_numbers(seed: int) -> None:
    rng = np.random.default_rng(seed)
    source = rng.normal(0, 50, (30, 2))
    turn = np.exp(1j * rng.uniform(-np.pi, np.pi))
    there = (source @ [1, 1j]) * turn + (4.5e5 + 5.4e6j)
    target = np.stack([there.real, there.imag], axis=1) + rng.normal(0, 0.05, (30, 2))
    wrong = rng.choice(30, 9, replace=False)
    target[wrong] += rng.normal(0, 20, (9, 2))
    found = align(source, target, rigid=True)
    assert not found.agrees[wrong].any()
    right = np.setdiff1d(np.arange(30), wrong)
    near, far = source[right] @ [1, 1j], target[right] @ [1, 1j]
    product = (np.conj(near - near.mean()) * (far - far.mean())).sum()
    turned = (source @ [1, 1j] - near.mean()) * product / abs(product) + far.mean()
    assert np.abs(found.similarity.apply(source) @ [1, 1j] - turned).max() < 0.05
    assert found.similarity.scale == 1.0
    assert np.linalg.det(found.similarity.rotation) == pytest.approx(1.0)
    with pytest.raises(PoseInputError, match="at one place"):
        align(np.zeros((5, 2)), target[:5], rigid=True)
    line = np.stack([source[:, 0], 0 * source[:, 0]], axis=1)
    assert align(line, np.add(line, [3.0, 4.0]), rigid=True).agrees.all()  # in the plane, a line tells the turn
