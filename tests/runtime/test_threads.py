"""Threads of our own, and those of the libraries beside them."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from foldmap.runtime.threads import one_blas_thread, share_of_threads, share_out, use_threads


def test_products_take_one_thread_within() -> None:
    threadpoolctl = pytest.importorskip("threadpoolctl")

    def told() -> set[int]:
        return {one["num_threads"] for one in threadpoolctl.threadpool_info() if one["user_api"] == "blas"}

    def within() -> set[int]:
        with one_blas_thread(), one_blas_thread():
            return told()

    with threadpoolctl.threadpool_limits(3, user_api="blas"):
        assert told() == {3}
        assert within() == {1}
        assert told() == {3}
        with pytest.raises(ZeroDivisionError), one_blas_thread():
            raise ZeroDivisionError
        assert told() == {3}
    before = told()
    with ThreadPoolExecutor(2) as crew:  # their threads live on between the calls
        assert [crew.submit(within).result() for _ in range(4)] == [{1}] * 4
    assert told() == before


def test_work_is_shared_out_whole() -> None:
    before = use_threads(3)
    try:
        done = np.zeros(100, np.int64)

        def work(rows: range) -> None:
            done[rows.start : rows.stop : rows.step] += 1

        share_out(work, 100)
        assert (done == 1).all()
        assert [share_of_threads(workers) for workers in (1, 2, 3, 7)] == [3, 1, 1, 1]
    finally:
        use_threads(before)
