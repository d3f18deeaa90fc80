"""Search against plain NumPy, fences against their definitions and a known outline."""

import numpy as np
import pytest

from benchmarks.street.search_speed import measure_rows, noisy_queries, street_like_rows
from foldmap.errors import ConfigError, MapInputError
from foldmap.street import search
from foldmap.street.library import inside_box, inside_radius, one_result_a_place, search_places
from foldmap.street.search import SearchIndex, images_for_graph


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    return street_like_rows(6000, 64, 3)


@pytest.fixture(scope="module")
def queries(rows: np.ndarray) -> np.ndarray:
    return noisy_queries(rows, 300, 0.6, 4)


def plain(rows: np.ndarray, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    products = queries.astype(np.float64) @ rows.astype(np.float64).T
    order = np.argsort(-products, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(products, order, 1), order


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_exact_search_is_a_full_sort(rows: np.ndarray, queries: np.ndarray, dtype: type) -> None:
    library = rows.astype(dtype)
    index = SearchIndex.build(library)
    assert index.kind == "exact"
    scores, ids = index.search(queries, 7)
    expected, order = plain(library, queries, 7)
    np.testing.assert_allclose(scores, expected, atol=1e-6)
    assert (ids == order).all()
    one_scores, one_ids = index.search(queries[5], 7)
    np.testing.assert_array_equal(one_ids, ids[5:6])
    np.testing.assert_array_equal(one_scores, scores[5:6])


def test_a_large_library_is_searched_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "EXACT_UP_TO", 20_000)
    library = street_like_rows(20_001, 16, 0)
    asked = noisy_queries(library, 40, 0.3, 1)
    ids = SearchIndex.build(library, "exact").search(asked, 5)[1]
    assert (ids == plain(library, asked, 5)[1]).all()
    auto = SearchIndex.build(library)
    assert auto.kind == "lists"
    assert (auto.search(asked, 5)[1][:, 0] == ids[:, 0]).mean() >= 0.99


@pytest.mark.parametrize("kind", ["lists", "hnsw"])
def test_approximate_search_finds_the_best(rows: np.ndarray, queries: np.ndarray, kind: str) -> None:
    index = SearchIndex.build(rows, kind, seed=1)
    scores, ids = index.search(queries, 3)
    expected, order = plain(rows, queries, 3)
    right = ids[:, 0] == order[:, 0]
    assert right.mean() >= 0.99
    np.testing.assert_allclose(scores[right, 0], expected[right, 0], atol=1e-6)
    again = SearchIndex.build(rows, kind, seed=1).search(queries, 3)
    np.testing.assert_array_equal(again[0], scores)
    np.testing.assert_array_equal(again[1], ids)
    assert 0 < index.extra_bytes < 4 * rows.nbytes
    whole = index.search(queries[0], len(rows))[1][0]
    assert (whole == plain(rows, queries[:1], len(rows))[1][0]).all()


def test_of_equal_rows_the_first_is_the_answer() -> None:
    library = np.tile(np.eye(4, dtype=np.float32), (3000, 1))
    for kind in ("exact", "lists"):
        with_ties = SearchIndex.build(library, kind)
        ids = with_ties.search(np.eye(4, dtype=np.float32), 2)[1]
        assert (ids[:, 0] < ids[:, 1]).all()
        np.testing.assert_allclose(with_ties.search(np.eye(4, dtype=np.float32), 2)[0], 1)
    small = SearchIndex.build(library[:12])
    assert small.search(library[2], 3)[1].tolist() == [[2, 6, 10]]


def test_a_fence_is_searched_exactly(rows: np.ndarray, queries: np.ndarray) -> None:
    among = np.random.default_rng(0).permutation(len(rows))[:500]
    expected = np.sort(among)[plain(rows[np.sort(among)], queries, 4)[1]]
    for kind in ("exact", "lists"):
        assert (SearchIndex.build(rows, kind).search(queries, 4, among)[1] == expected).all()
    few = SearchIndex.build(rows).search(queries[:2], 10, np.array([5, 3]))
    assert few[1].shape == (2, 2)
    assert sorted(few[1][0].tolist()) == [3, 5]


def test_images_for_a_graph_is_the_search_the_other_way_round(rows: np.ndarray) -> None:
    images, graphs = SearchIndex.build(noisy_queries(rows, 200, 0.2, 8)), rows[:3].astype(np.float32)
    scores, ids = images_for_graph(images, graphs[0], 5)
    expected, order = plain(images.vectors, graphs[:1], 5)
    assert ids.tolist() == order[0].tolist()
    np.testing.assert_allclose(scores, expected[0], atol=1e-6)
    with pytest.raises(MapInputError, match="one row"):
        images_for_graph(images, graphs, 5)


def test_bad_libraries_and_queries_are_named(rows: np.ndarray) -> None:
    index = SearchIndex.build(rows)
    with pytest.raises(MapInputError, match="empty"):
        SearchIndex.build(rows[:0])
    with pytest.raises(MapInputError, match="float64"):
        SearchIndex.build(rows.astype(np.float64))
    broken = rows.astype(np.float32)
    broken[4321, 3] = np.nan
    with pytest.raises(MapInputError, match="row 4321 is nan"):
        SearchIndex.build(broken)
    with pytest.raises(MapInputError, match="row 0 is 2"):
        SearchIndex.build(2 * rows.astype(np.float32))
    with pytest.raises(ConfigError, match="kd-tree"):
        SearchIndex.build(rows, "kd-tree")
    with pytest.raises(ConfigError, match="too few"):
        SearchIndex.build(rows[:999], "hnsw")
    with pytest.raises(MapInputError, match="width 64"):
        index.search(np.ones((1, 63), np.float32), 1)
    with pytest.raises(MapInputError, match="query 1 is nan"):
        index.search(np.stack([rows[0], np.full(64, np.nan)]), 1)
    with pytest.raises(ConfigError, match="0 rows"):
        index.search(rows[0], 0)
    with pytest.raises(MapInputError, match="inside the fence"):
        index.search(rows[0], 1, np.zeros(0, np.int64))
    with pytest.raises(MapInputError, match="beyond"):
        index.search(rows[0], 1, np.array([len(rows)]))


def test_fences_hold_what_lies_in_them() -> None:
    at = np.random.default_rng(1).uniform(-50, 50, (2000, 2))
    near = inside_radius(at, np.array([10.0, -5.0]), 20.0)
    assert set(near) == {i for i, (x, y) in enumerate(at) if (x - 10) ** 2 + (y + 5) ** 2 <= 400}
    box = inside_box(at, -10, 0, 20, 30)
    assert set(box) == {i for i, (x, y) in enumerate(at) if -10 <= x <= 20 and 0 <= y <= 30}
    for bad in (
        lambda: inside_radius(at, np.zeros(2), float("nan")),
        lambda: inside_box(at, 1, 0, -1, 1),
        lambda: one_result_a_place(np.arange(3), at, 0.0),
    ):
        with pytest.raises(ConfigError):
            bad()
    with pytest.raises(MapInputError, match="positions"):
        inside_radius(at[:, :1], np.zeros(2), 1.0)
    with pytest.raises(MapInputError, match="beyond"):
        one_result_a_place(np.array([2000]), at, 1.0)


def test_one_result_a_place() -> None:
    at = np.array([[0.0, 0], [3, 0], [8, 0], [8, 1], [0, 1]])
    assert one_result_a_place(np.array([1, 0, 3, 2, 4]), at, 5.0).tolist() == [1, 3]
    maps = np.array([0, 1, 0, 0, 0])
    assert one_result_a_place(np.array([1, 0, 3, 2, 4]), at, 5.0, maps).tolist() == [1, 0, 3]


def test_places_are_searched_until_enough_are_apart(rows: np.ndarray, queries: np.ndarray) -> None:
    index = SearchIndex.build(rows)
    at = np.stack([np.arange(len(rows)) * 0.05, np.zeros(len(rows))], 1)  # ten metres hold 200 rows: a lane
    for query in queries[:10]:
        scores, ids = search_places(index, query, 5, at, 10.0)
        order = plain(rows, query[None], len(rows))[1][0]
        kept: list[int] = []
        for row in order:
            if all(abs(at[row, 0] - at[other, 0]) >= 10.0 for other in kept):
                kept.append(int(row))
        assert ids.tolist() == kept[:5]
        np.testing.assert_allclose(scores, rows[ids].astype(np.float64) @ query, atol=1e-6)
    few = search_places(index, queries[0], 5, at, 10.0, among=np.arange(50))
    assert len(few[1]) == 1
    with pytest.raises(MapInputError, match="positions for"):
        search_places(index, queries[0], 5, at[:-1], 10.0)


def test_the_measurement_measures(rows: np.ndarray) -> None:
    exact = measure_rows(rows, kind="exact", queries=50)
    assert exact.recall_at_1 == exact.recall_at_10 == 1.0
    assert exact.vector_bytes == rows.nbytes
    assert exact.mean_ms > 0
    lists = measure_rows(rows, kind="lists", queries=50)
    assert lists.kind == "lists"
    assert lists.recall_at_1 >= 0.98
    assert lists.build_s > 0
    # street-like: neighbours are near-duplicates, and few axes hold most of it
    wide = street_like_rows(4000, 256, 0).astype(np.float32)
    energy = np.sort(np.linalg.eigvalsh(wide.T @ wide))[::-1]
    assert 0.85 < energy[:64].sum() / energy.sum() < 0.97
    assert np.median((wide[1:200] * wide[:199]).sum(1)) > 0.85
