"""Scatter of tracks against a plain loop, and the weights made of it."""

from __future__ import annotations

import numpy as np
import pytest

from foldmap.errors import MapInputError
from foldmap.geometry.camera import Camera
from foldmap.visual.scene import average
from foldmap.visual.scene.average import scatter_of, tightness_of
from foldmap.visual.source import SceneModel, Tracks


def scene_of(lengths: np.ndarray, descriptors: np.ndarray | None) -> SceneModel:
    rows, images = int(lengths.sum()), int(lengths.max())
    point = np.repeat(np.arange(len(lengths)), lengths).astype(np.int64)
    image = np.concatenate([np.arange(n) for n in lengths]).astype(np.int64)
    return SceneModel(
        (Camera("SIMPLE_PINHOLE", 64, 48, np.array([50.0, 32.0, 24.0])),),
        tuple(str(k) for k in range(images)),
        np.zeros(images, np.int64),
        np.tile(np.eye(4), (images, 1, 1)),
        np.random.default_rng(0).normal(size=(len(lengths), 3)),
        Tracks(point, image, np.ones((rows, 2), np.float32), descriptors),
    )


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32])
@pytest.mark.parametrize("block", [1, 7, 65_536])
def test_scatter_is_that_of_a_plain_loop_in_blocks_of_any_size(
    dtype: type, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(1)
    lengths = rng.integers(1, 9, 40)
    rows = rng.integers(1, 200, (lengths.sum(), 16)).astype(dtype)
    monkeypatch.setattr(average, "_ROWS_AT_ONCE", block)
    got = scatter_of(scene_of(lengths, rows))
    unit = rows.astype(np.float64) / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    tracks = np.split(unit, np.cumsum(lengths)[:-1])
    squares = np.array([((track - track.mean(0)) ** 2).sum() for track in tracks])
    pooled = squares.sum() / (lengths - 1).sum()
    np.testing.assert_allclose(got, np.sqrt((squares + pooled) / lengths), rtol=1e-4)


def test_steady_tracks_weigh_more_and_lone_observations_like_the_average() -> None:
    rng = np.random.default_rng(2)
    lengths = np.array([6] * 20 + [6] * 20 + [1] * 5)
    look = rng.normal(size=(45, 32))
    noise = np.repeat([0.1, 1.0, 0.5], [120, 120, 5])[:, None] * rng.normal(size=(245, 32))
    weight = tightness_of(scene_of(lengths, (np.repeat(look, lengths, axis=0) + noise).astype(np.float32)))
    assert weight.mean() == pytest.approx(1)
    assert weight[:20].min() > 1.5 * weight[20:40].max()
    assert np.ptp(weight[40:]) < 1e-5
    assert weight[20:40].mean() < weight[40] < weight[:20].mean()


def test_blank_descriptors_are_not_taken_for_steady_ones() -> None:
    rows = np.random.default_rng(3).integers(1, 200, (20, 8)).astype(np.uint8)
    rows[:4] = 0
    weight = tightness_of(scene_of(np.full(5, 4), rows))
    assert weight.argmin() == 0


def test_a_scene_without_descriptors_has_equal_weights_but_no_scatter() -> None:
    scene = scene_of(np.array([3, 3]), None)
    assert tightness_of(scene).tolist() == [1, 1]
    with pytest.raises(MapInputError, match="no descriptors"):
        scatter_of(scene)
