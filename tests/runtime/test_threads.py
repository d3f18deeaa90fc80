"""Threads of our own, and those of the libraries beside them."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
import pytest

from foldmap.runtime.threads import one_blas_thread, share_of_threads, share_out, use_threads


def told() -> set[int]:
    """Threads of the libraries of this process, as this thread sees them."""
    threadpoolctl = pytest.importorskip("threadpoolctl")
    return {one["num_threads"] for one in threadpoolctl.threadpool_info() if one["user_api"] == "blas"}


def test_products_take_one_thread_within() -> None:
    threadpoolctl = pytest.importorskip("threadpoolctl")

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


def test_callers_that_overlap_leave_the_threads_as_they_were() -> None:
    first_is_in, second_is_in, first_is_out = Event(), Event(), Event()

    def first() -> None:
        with one_blas_thread():
            first_is_in.set()
            assert second_is_in.wait(60)

    def second() -> set[int]:
        assert first_is_in.wait(60)
        with one_blas_thread():
            second_is_in.set()
            assert first_is_out.wait(60)
            return told()  # the limit that the first one set holds on

    limits = pytest.importorskip("threadpoolctl").threadpool_limits
    with limits(3, user_api="blas"), ThreadPoolExecutor(2) as crew:
        one, other = crew.submit(first), crew.submit(second)
        one.result()
        first_is_out.set()
        assert other.result() == {1}
        assert told() == {3}


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
