"""The greedy covers against a naive twin, brute force and what they promise each image."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from foldmap.visual.select.cover import Coverage, by_cell, by_image, k_cover


def tracks(points: int, images: int, seed: int, longest: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """Visibility rows: each point in a few images near one another."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(points):
        length = min(images, int(rng.integers(1, longest + 1)))
        rows.append(np.sort((rng.integers(images) + rng.permutation(length + 2)[:length]) % images))
        rows[-1] = np.unique(rows[-1])
    first = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    return first, np.concatenate(rows).astype(np.int64)


def value_of(coverage: Coverage, chosen: list[int], weight: np.ndarray, factor: float = 1.0) -> float:
    covered = np.zeros(len(coverage.capacity))
    for point in chosen:
        covered[coverage.element[coverage.first[point] : coverage.first[point + 1]]] += weight[point]
    return float(np.minimum(covered, factor * coverage.capacity).sum())


def naive(coverage: Coverage, count: int, weight: np.ndarray) -> list[int]:
    """Greedy as one would write it down: all gains anew for every choice."""
    points = len(coverage.first) - 1
    chosen: list[int] = []
    free, factor = set(range(points)), 1.0
    size = np.diff(coverage.first) * weight
    while free and len(chosen) < count:
        base = value_of(coverage, chosen, weight, factor)
        gain = {p: value_of(coverage, [*chosen, p], weight, factor) - base for p in free}
        if max(gain.values()) < 1e-9:
            factor *= 2
            continue
        best = min(free, key=lambda p: (-round(gain[p], 9), -size[p], p))
        free.remove(best)
        chosen.append(best)
    return chosen


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("weighted", [False, True])
def test_the_lazy_greedy_chooses_what_the_naive_one_does_in_the_same_order(seed: int, weighted: bool) -> None:
    first, image = tracks(45, 8, seed)
    # Quarters keep every sum exact, so that ties are ties in both.
    weight = np.random.default_rng(seed).integers(1, 9, 45) / 4.0 if weighted else np.ones(45)
    coverage = by_image(first, image, 8, per_image=3)
    assert k_cover(coverage, 30, weight).tolist() == naive(coverage, 30, weight)


@pytest.mark.parametrize("seed", range(8))
def test_greedy_reaches_its_bound_against_brute_force(seed: int) -> None:
    first, image = tracks(12, 6, seed, longest=4)
    weight = np.random.default_rng(seed).uniform(0.5, 2, 12)
    coverage = by_image(first, image, 6, per_image=2)
    for count in (1, 2, 3, 4):
        best = max(value_of(coverage, list(some), weight) for some in combinations(range(12), count))
        got = value_of(coverage, k_cover(coverage, count, weight).tolist(), weight)
        assert (1 - 1 / np.e) * best - 1e-12 <= got <= best + 1e-12


def test_a_prefix_of_the_order_is_the_choice_of_fewer() -> None:
    first, image = tracks(400, 20, seed=1)
    coverage = by_image(first, image, 20, per_image=3)
    more = k_cover(coverage, 300)
    for count in (1, 17, 150):
        np.testing.assert_array_equal(k_cover(coverage, count), more[:count])


def test_every_image_is_respected_where_long_tracks_forget_some() -> None:
    # 50 long tracks through images 0..9, short ones in images 10..14.
    rows = [list(range(10))] * 50 + [[10 + k % 5] for k in range(60)]
    first = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    image = np.concatenate(rows).astype(np.int64)
    got = k_cover(by_image(first, image, 15, per_image=4), 24)
    seen = np.bincount(image[np.repeat(np.isin(np.arange(110), got), np.diff(first))], minlength=15)
    assert seen.tolist() == [4] * 15


def test_capacities_grow_until_the_count_is_reached_even_for_points_that_cover_nothing() -> None:
    first, image = tracks(100, 5, seed=2)
    first = np.append(first, [first[-1]] * 3)  # three points that no image sees
    got = k_cover(by_image(first, image, 5, per_image=1), 103)
    assert sorted(got.tolist()) == list(range(103))
    assert got[-3:].tolist() == [100, 101, 102]


def test_the_grid_spreads_points_within_an_image() -> None:
    rng = np.random.default_rng(3)
    # One image; 300 points crowd in a corner and come first, 100 lie anywhere.
    xy = np.concatenate([rng.uniform(0, 40, (300, 2)), rng.uniform(0, 1, (100, 2)) * [640, 480]])
    first, image = np.arange(401), np.zeros(400, np.int64)
    plain = k_cover(by_image(first, image, 1, per_image=10), 40)
    spread = k_cover(by_cell(first, image, xy, np.array([[640, 480]]), 8, per_image=10, per_cell=1), 40)
    cells = lambda kept: len(np.unique((xy[kept] / [80, 60]).astype(int), axis=0))  # noqa: E731
    assert cells(plain) == 1
    everywhere = len(np.unique((xy / [80, 60]).astype(int), axis=0))
    assert cells(spread) == min(40, everywhere)


def test_points_on_the_border_of_an_image_fall_into_its_last_cell() -> None:
    xy = np.array([[-3.0, 2.0], [640.0, 480.0], [0.5, 0.5]])
    got = by_cell(np.arange(4), np.zeros(3, np.int64), xy, np.array([[640, 480]]), 4, per_image=1, per_cell=1)
    assert got.element.reshape(3, 2)[:, 1].tolist() == [1, 16, 1]
