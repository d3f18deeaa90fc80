"""Nearest neighbours and looking nearby, against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from point_shell import CAMERA
from scipy.spatial import cKDTree

from foldmap.visual.match.guided import best_nearby, best_within, chosen_back, one_point_a_keypoint, thinned
from foldmap.visual.match.matching import DescriptorIndex, Matches, mutual, nearest_two
from foldmap.visual.match.view import View, prepare
from foldmap.visual.source import Features, Query, unit_descriptors


def unit(rng: np.random.Generator, count: int, dimension: int = 24) -> np.ndarray:
    return unit_descriptors(rng.normal(size=(count, dimension)))


def crowd(rng: np.random.Generator, count: int) -> View:
    """Keypoints that crowd at some places."""
    middles = rng.uniform(0, [640, 480], (6, 2))
    xy = np.clip(middles[rng.integers(6, size=count)] + rng.normal(0, 40, (count, 2)), 0, 639).astype(np.float32)
    return prepare(Query("crowd", CAMERA, Features(xy, unit(rng, count))))


def test_matches_are_the_nearest_points_by_ratio() -> None:
    rng = np.random.default_rng(0)
    points = unit(rng, 700)
    asked = unit_descriptors(points[rng.integers(700, size=400)] + rng.normal(0, 0.12, (400, 24)))
    found = DescriptorIndex(points).match(asked)
    distance = np.linalg.norm(asked[:, None].astype(np.float64) - points[None], axis=2)
    nearest = distance.argmin(axis=1)
    two = np.sort(distance, axis=1)[:, :2]
    ratio = two[:, 0] / two[:, 1]
    assert np.array_equal(found.point, nearest[found.keypoint])
    assert np.abs(found.ratio - ratio[found.keypoint]).max() < 1e-3
    assert (np.diff(found.ratio) >= 0).all()
    assert sorted(found.point) == sorted(set(nearest.tolist()))
    for point, keypoint in zip(found.point, found.keypoint, strict=True):
        rivals = np.flatnonzero(nearest == point)
        assert ratio[keypoint] < ratio[rivals].min() + 1e-3


@pytest.mark.parametrize("count", [1, 2, 1023, 2500])
def test_the_two_nearest_are_those_of_an_exact_search(count: int) -> None:
    rng = np.random.default_rng(count)
    points, asked = unit(rng, count), unit(rng, 300)
    similarity, nearest = nearest_two(asked, points)
    exact = asked.astype(np.float64) @ points.astype(np.float64).T
    order = np.argsort(-exact, axis=1, kind="stable")[:, :2]
    assert np.array_equal(nearest[:, : order.shape[1]], order)
    assert np.abs(similarity[:, : order.shape[1]] - np.take_along_axis(exact, order, 1)).max() < 1e-5
    assert count > 1 or (nearest[:, 1] == -1).all()


def test_a_large_map_is_searched_in_part_and_finds_nearly_all() -> None:
    rng = np.random.default_rng(1)
    points = unit(rng, 30_500, 16)
    which = rng.permutation(30_500)[:500]
    index = DescriptorIndex(points)
    found = index.match(unit_descriptors(points[which] + rng.normal(0, 0.03, (500, 16))))
    right = (found.point == which[found.keypoint]).sum()
    assert right >= 0.9 * len(which)
    again = DescriptorIndex(points).match(points[which])
    assert np.array_equal(again.point, DescriptorIndex(points).match(points[which]).point)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_maps_of_hardly_any_points(count: int) -> None:
    rng = np.random.default_rng(2)
    points = unit(rng, count)
    found = DescriptorIndex(points).match(unit(rng, 5))
    assert len(found) <= count
    assert np.isfinite(found.ratio).all()
    assert not len(DescriptorIndex(unit(rng, 5)).match(unit(rng, 0)))


def test_mutual_is_nearest_both_ways() -> None:
    rng = np.random.default_rng(3)
    points = unit(rng, 300)
    asked = unit_descriptors(points[rng.integers(300, size=200)] + rng.normal(0, 0.15, (200, 24)))
    found = DescriptorIndex(points).match(asked)
    back = (points.astype(np.float64) @ asked.T).argmax(axis=1)
    same = mutual(found, asked, points)
    assert np.array_equal(same, back[found.point] == found.keypoint)
    assert 0 < same.sum() < len(same)


@pytest.mark.parametrize("radius", [0.5, 6.0, 40.0, 2000.0])
def test_best_nearby_is_the_most_similar_of_those_within(radius: float) -> None:
    rng = np.random.default_rng(4)
    view = crowd(rng, 600)
    places = np.concatenate([rng.uniform(-100, 800, (300, 2)), view.xy_px[:100] + 0.1])
    wanted = unit(rng, 500)
    rows = rng.integers(500, size=400)
    found = best_nearby(view, places, wanted, radius, rows)
    near = cKDTree(view.xy_px).query_ball_point(places, radius)
    for p, candidates in enumerate(near):
        if not candidates:
            assert found.keypoint[p] == -1
            assert found.similarity[p] == -1
            continue
        cosine = view.descriptors[candidates].astype(np.float64) @ wanted[rows[p]]
        assert abs(found.similarity[p] - cosine.max()) < 1e-5
        chosen = view.descriptors[found.keypoint[p]].astype(np.float64) @ wanted[rows[p]]
        assert found.keypoint[p] in candidates
        assert abs(chosen - cosine.max()) < 1e-5


@pytest.mark.parametrize("radius", [3.0, 40.0])
def test_chosen_back_is_the_most_similar_place_within(radius: float) -> None:
    rng = np.random.default_rng(9)
    view, places, looks = crowd(rng, 150), rng.uniform(-20, 660, (400, 2)), unit(rng, 400)
    asked = np.flatnonzero(rng.random(150) < 0.5)
    chosen = chosen_back(view, asked, view.descriptors, places, looks, radius)
    for keypoint, place in zip(asked, chosen, strict=True):
        within = np.flatnonzero(np.linalg.norm(places - view.xy_px[keypoint], axis=1) <= radius)
        similar = looks[within] @ view.descriptors[keypoint]
        assert place == (within[similar.argmax()] if len(within) else -1)


def test_several_radii_at_once_are_each_alone() -> None:
    rng = np.random.default_rng(5)
    view = crowd(rng, 500)
    places, wanted = rng.uniform(0, 640, (200, 2)), unit(rng, 200)
    for radius, found in zip((20.0, 10.0, 5.0), best_within(view, places, wanted, (20.0, 10.0, 5.0)), strict=True):
        alone = best_nearby(view, places, wanted, radius)
        assert np.array_equal(found.keypoint, alone.keypoint)
        assert np.array_equal(found.similarity, alone.similarity)


def test_nothing_is_found_where_there_is_nothing() -> None:
    rng = np.random.default_rng(6)
    empty = prepare(Query("blank", CAMERA, Features(np.zeros((0, 2), np.float32), np.zeros((0, 24), np.float32))))
    found = best_nearby(empty, rng.uniform(0, 640, (50, 2)), unit(rng, 50), 30.0)
    assert (found.keypoint == -1).all()
    # far from all cells, on every side
    view = crowd(rng, 100)
    far = np.array([[-1e6, 0], [1e6, 1e6], [0, -1e6], [1e9, -1e9]])
    assert (best_nearby(view, far, unit(rng, 4), 30.0).keypoint == -1).all()


def test_a_keypoint_serves_its_most_similar_point_only() -> None:
    rng = np.random.default_rng(7)
    view = crowd(rng, 80)
    found = best_nearby(view, rng.uniform(0, 640, (400, 2)), unit(rng, 400), 60.0)
    kept = one_point_a_keypoint(found)
    assert len(set(found.keypoint[kept].tolist())) == len(kept)
    assert set(found.keypoint[kept].tolist()) == set(found.keypoint[found.keypoint >= 0].tolist())
    for row in kept:
        assert found.similarity[row] == found.similarity[found.keypoint == found.keypoint[row]].max()


def test_thinning_is_even_and_takes() -> None:
    rows = np.arange(1000, 2000)
    some = thinned(rows, 300)
    assert len(some) == 300
    assert set(np.diff(some).tolist()) <= {3, 4}
    assert thinned(rows, 1000) is rows
    found = Matches(np.arange(3), np.arange(3), np.zeros(3, np.float32)).take(slice(2))
    assert len(found) == 2
