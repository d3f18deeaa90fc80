"""Pictures of photos and cameras: marks lie on the pixels that they name, and equal input gives equal bytes."""

import imagecodecs
import numpy as np
import pytest

from foldmap.errors import InputError
from foldmap.report.camera_figures import camera_plan
from foldmap.report.photo_matches import photo_pair, photo_points


def _green(png: bytes) -> np.ndarray:
    """Pixels in the colour of what was found, (N, 2) column and row."""
    pixels = imagecodecs.png_decode(png)[..., :3].astype(int)
    rows, cols = np.nonzero((pixels[..., 1] > 150) & (pixels[..., 0] < 110) & (pixels[..., 2] < 130))
    return np.stack([cols, rows], axis=1)


def test_found_points_are_drawn_where_they_were_found() -> None:
    image = np.full((120, 160), 60, np.uint8)
    at = np.array([[40.0, 30.0], [120.0, 30.0], [120.0, 60.0]])
    first = photo_points(image, at, np.array([[80.0, 100.0]]), "photo")
    assert first == photo_points(image, at, np.array([[80.0, 100.0]]), "photo")
    green = _green(first)
    upper = green[green[:, 1] < green[:, 1].min() + 20]  # the two in one row
    left, right = upper[:, 0].min(), upper[:, 0].max()
    lower = green[(green[:, 1] > upper[:, 1].max() + 5) & (green[:, 0] > 0.5 * (left + right))]
    scale = (right - left) / 80.0
    assert scale > 2
    down = (lower[:, 1].min() + lower[:, 1].max() - upper[:, 1].min() - upper[:, 1].max()) / 2
    assert down / scale == pytest.approx(30.0, abs=2.0)


def test_a_pair_is_joined_by_lines() -> None:
    photos = np.full((2, 100, 140), 60, np.uint8)
    level = np.array([[30.0, 50.0]])
    joined = _green(photo_pair(photos[0], photos[1], level, level))
    assert np.ptp(joined[:, 0]) > 0.4 * imagecodecs.png_decode(photo_pair(photos[0], photos[1], level, level)).shape[1]
    assert np.ptp(joined[:, 1]) < 12
    wrong = photo_pair(photos[0], photos[1], level, level, right_or_wrong=np.array([False]))
    assert not len(_green(wrong))
    with pytest.raises(InputError, match="2 places"):
        photo_pair(photos[0], photos[1], np.repeat(level, 2, axis=0), level)
    with pytest.raises(InputError):
        photo_points(np.zeros((0, 5), np.uint8), level)


def test_cameras_from_above() -> None:
    rng = np.random.default_rng(0)
    poses = np.repeat(np.eye(4)[None], 5, axis=0)
    poses[:, :3, 3] = rng.normal(0, 2, (5, 3))
    points = rng.normal(0, 4, (300, 3))
    some = camera_plan(points, poses, poses[:2], [poses[0], None], "cameras")
    assert some == camera_plan(points, poses, poses[:2], [poses[0], None], "cameras")
    assert some != camera_plan(points, poses, poses[:2], [poses[0], poses[1]], "cameras")
    assert len(camera_plan(points, poses, poses[:2], [None, None])) > 1000
