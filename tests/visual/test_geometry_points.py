"""Positions survive coding within their tolerance, cheaply, and damage is noticed."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foldmap.errors import LimitError, MapFormatError, MapInputError
from foldmap.visual.codes.points_codec import MAX_POINTS, decode_points, encode_points, tolerance_from_views

SHAPES = ("one", "duplicates", "line", "plane", "cube", "outlier")


def cloud(shape: str, count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    points = rng.uniform(-1, 1, (count, 3))
    if shape == "one":
        return points[:1]
    if shape == "duplicates":
        return points[rng.integers(0, max(1, count // 5), count)]
    if shape == "line":
        return points[:, :1] * np.array([[1.0, 2.0, -0.5]])
    if shape == "plane":
        points[:, 2] = 0.25
    if shape == "outlier":
        points[0] = (1000, -2000, 500)
    return points


def check(points: np.ndarray, tolerance: float | np.ndarray) -> bytes:
    data, order = encode_points(points, tolerance)
    decoded = decode_points(data)
    assert sorted(order.tolist()) == list(range(len(points)))
    moved = np.linalg.norm(decoded - points[order], axis=1)
    assert (moved <= np.broadcast_to(tolerance, (len(points),))[order] * (1 + 1e-9)).all()
    assert encode_points(points, tolerance)[0] == data
    return data


@settings(max_examples=60, deadline=None)
@given(
    shape=st.sampled_from(SHAPES),
    count=st.integers(1, 120),
    scale=st.sampled_from([1e-12, 1e-3, 1.0, 1e5, 1e12]),
    shift=st.sampled_from([0.0, 10.0, -1e4]),
    fineness=st.sampled_from([0.5, 1e-2, 1e-5]),
    spread=st.sampled_from([1.0, 30.0]),
    seed=st.integers(0, 1000),
)
def test_each_point_stays_within_its_tolerance(
    shape: str, count: int, scale: float, shift: float, fineness: float, spread: float, seed: int
) -> None:
    points = (cloud(shape, count, seed) + shift) * scale
    varied = np.random.default_rng(seed).uniform(1, spread, len(points))
    check(points, fineness * scale * varied)


def test_uniform_points_cost_what_theory_says() -> None:
    """A set of n cells out of 2^b is worth log2(2^b choose n) bits; nothing can be gained or much lost on noise."""
    count = 4000
    points = np.random.default_rng(1).uniform(0, 1, (count, 3))
    data = check(points, 1 / 1024)
    step = 2 / math.sqrt(3) / 1024
    # At best the finest box is exactly as large as the tolerance allows.
    ideal = (3 * count * math.log2(1 / step) - math.lgamma(count + 1) / math.log(2)) / count
    assert ideal - 0.1 <= 8 * len(data) / count <= ideal + 0.8


def test_surfaces_cost_less_than_volumes() -> None:
    sizes = [len(check(cloud(shape, 3000, 2), 1e-3)) for shape in ("line", "plane", "cube")]
    assert sizes[0] < 0.7 * sizes[1] < 0.7 * 0.8 * sizes[2]


def test_coarse_points_cost_less() -> None:
    points = cloud("cube", 2000, 3)
    tolerance = np.where(points[:, 0] > 0, 1e-3, 0.016)
    both, fine = len(check(points, tolerance)), len(check(points, 1e-3))
    # Half of the points need four bits an axis less.
    assert fine - both > 0.8 * 1000 * 12 / 8


def test_no_points() -> None:
    data, order = encode_points(np.zeros((0, 3)), 1.0)
    assert len(order) == 0
    assert decode_points(data).shape == (0, 3)


@pytest.mark.parametrize(
    ("points", "tolerance"),
    [
        (np.zeros((3, 3)), 0.0),
        (np.zeros((3, 3)), -1.0),
        (np.zeros((3, 3)), np.nan),
        (np.zeros((3, 3)), 1e-60),
        (np.array([[0.0, 0, 0], [1e12, 0, 0]]), 1.0),
        (np.array([[1e20, 0, 0], [1e20, 1, 0]]), 1.0),
        (np.array([[1e300, 0, 0], [-1e300, 1, 0]]), 1.0),
    ],
)
def test_bad_points_are_refused(points: np.ndarray, tolerance: float) -> None:
    with pytest.raises(MapInputError):
        encode_points(points, tolerance)


def test_damage_is_noticed() -> None:
    points = cloud("cube", 60, 4)
    data, _ = encode_points(points, np.random.default_rng(0).uniform(0.01, 0.05, 60))
    right = decode_points(data)
    for end in range(1, len(data)):
        with pytest.raises(MapFormatError):
            decode_points(data[:end])
    with pytest.raises(MapFormatError):
        decode_points(data + b"\0")
    rng = np.random.default_rng(5)
    noticed = 0
    for _ in range(400):
        bad = bytearray(data)
        for _ in range(rng.integers(1, 4)):
            bad[rng.integers(len(bad))] ^= 1 << rng.integers(8)
        try:
            decoded = decode_points(bytes(bad))
        except MapFormatError:
            noticed += 1
        else:
            assert len(decoded) < 1 << 20
            assert np.isfinite(decoded).all()
    assert noticed > 0
    assert (decode_points(data) == right).all()


def test_absurd_counts_are_refused_before_memory_is_taken() -> None:
    data, _ = encode_points(cloud("cube", 60, 4), 0.01)
    with pytest.raises(LimitError):
        decode_points((MAX_POINTS + 1).to_bytes(4, "little") + data[4:])
    with pytest.raises(MapFormatError):
        decode_points((1 << 19).to_bytes(4, "little") + data[4:])


def test_tolerance_moves_reprojections_as_asked(shared_data: Path) -> None:
    """Against pycolmap's own projection of the moved points."""
    pycolmap = pytest.importorskip("pycolmap")
    from scene_samples import colmap_scene

    model, scene = colmap_scene(pycolmap, shared_data / "visual" / "redkitchen" / "sparse")
    rng = np.random.default_rng(0)
    scene = scene.keep_points(np.sort(rng.choice(len(scene.points_world), 2000, replace=False)))
    error_px = 0.289
    data, order = encode_points(scene.points_world, tolerance_from_views(scene, error_px))
    moved = np.empty_like(scene.points_world)
    moved[order] = decode_points(data)
    images = sorted(model.images.values(), key=lambda image: image.name)
    rows = rng.choice(len(scene.tracks), 2000, replace=False)
    shift = []
    for row in rows:
        image, point = images[scene.tracks.image[row]], scene.tracks.point[row]
        before, after = (image.project_point(xyz[point]) for xyz in (scene.points_world, moved))
        shift.append(np.linalg.norm(before - after))
    rms = float(np.sqrt(np.mean(np.square(shift))))
    assert 0.7 * error_px < rms < 1.02 * error_px
    assert len(data) / 2000 < 2.8
