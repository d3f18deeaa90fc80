"""Threads for loops that release Python's lock: as many as ``OMP_NUM_THREADS`` says, or as there are processors.

What runs in them gives the same numbers for any number of threads: work is shared out, sums are not.
"""

from __future__ import annotations

import importlib.util
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, nullcontext
from functools import cache
from typing import Any

from foldmap.errors import ConfigError

_chosen: list[int] = []
_WORKERS_A_CORE = 32


def thread_count() -> int:
    """How many threads a localizer's loops use."""
    if not _chosen:
        said = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
        _chosen.append(int(said) if said.isdecimal() and int(said) > 0 else len(os.sched_getaffinity(0)))
    return _chosen[0]


def use_threads(count: int) -> int:
    """Set the number of threads, for all of the process; gives the one before. A ConfigError where it is below 1."""
    if count < 1:
        raise ConfigError(f"{count} threads", "give at least one")
    before = thread_count()
    _chosen[0] = count
    return before


def require_workers(count: int) -> None:
    """Refuse so many processes side by side: a ConfigError where there are none, or far more than processors."""
    cores = len(os.sched_getaffinity(0))
    if not 1 <= count <= _WORKERS_A_CORE * cores:
        said = "give at least one" if count < 1 else f"this machine has {cores} cores: give at most a few for each"
        raise ConfigError(f"{count} workers", said)


def share_of_threads(workers: int) -> int:
    """How many threads each of some processes side by side uses, so that they do not fight for the processors."""
    return max(1, thread_count() // workers)


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Let torch use one thread within: its sums may depend on how many there are."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Let matrix products of NumPy, SciPy and FAISS use one thread within.

    OpenBLAS has one crew for a process. Callers side by side wait for it, and while its threads wait for small products
    they cost as much processor time as the products do. So they take more time without threadpoolctl, no other numbers.
    """
    with _LOCK:  # one for all, also where several ask first
        blas = _blas()
    with nullcontext() if blas is None else blas.one_thread():
        yield


_LOCK = threading.Lock()


class _Blas:
    """The libraries that are loaded by now.

    A crew for a process is held back from the first of several callers within until the last has left, whichever
    thread that is in. Of OpenBLAS with OpenMP each thread that calls has its own, which each caller holds back.
    """

    def __init__(self) -> None:
        from threadpoolctl import OpenBLASController, ThreadpoolController

        self._all = ThreadpoolController().select(user_api="blas")
        self._own = self._all.select(threading_layer="openmp")
        self._callers = 0
        self._limit: Any = None
        # a process's crew listens to the thread that limited it first, and to no other
        self._listen = OpenBLASController.clear_controlling_thread

    @contextmanager
    def one_thread(self) -> Iterator[None]:
        """Hold them back within."""
        with self._own.limit(limits=1):
            with _LOCK:
                if self._callers == 0:
                    self._listen(force=True)
                    self._limit = self._all.limit(limits=1)
                self._callers += 1
            try:
                yield
            finally:
                with _LOCK:
                    self._callers -= 1
                    if self._callers == 0:
                        self._listen(force=True)
                        self._limit.restore_original_limits()
                        self._listen(force=True)


@cache
def _blas() -> _Blas | None:
    return None if importlib.util.find_spec("threadpoolctl") is None else _Blas()


def share_out(work: Callable[[range], None], count: int) -> None:
    """Do ``work`` on ranges that make up ``range(count)``, one a thread, the caller's among them; not within itself."""
    threads = max(1, min(thread_count(), count))
    begun = [_pool(threads - 1).submit(work, range(k, count, threads)) for k in range(1, threads)]
    try:
        work(range(0, count, threads))
    finally:
        wait(begun)
    for one in begun:
        one.result()


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="foldmap")
