"""Pure functions over many items: in this process, on the cores of this machine, or on a cluster.

A result depends on its item alone, so it is the same whatever the number of workers; they come in any order. A worker
that dies costs what it was at: that is done again, and given up only where it kills the next worker, too.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

from foldmap.errors import ConfigError, MissingExtraError
from foldmap.runtime.allocator import keep_freed_memory
from foldmap.runtime.threads import require_workers, share_of_threads, thread_count, use_threads

LOCAL, DASK = "local", "dask"
WHERE = (LOCAL, DASK)
_AHEAD = 3  # items a worker of a cluster is given at once, so that it never waits for the next

Item = TypeVar("Item")
Common = TypeVar("Common")
Result = TypeVar("Result")


class LostWorkerError(Exception):
    """What stands for the result of an item whose workers die."""


@dataclass(frozen=True)
class Crew:
    """Who works.

    Attributes:
        on: ``local`` or ``dask``. The scheduler of Dask is the one that the environment variable
            DASK_SCHEDULER_ADDRESS names; where it names none, Dask starts one on this machine.
        workers: of ``local`` how many processes, 1: this one; of a Dask that is started here likewise. None: as many
            as `thread_count`. Processes are started afresh: a program of one's own that asks for several does so under
            ``if __name__ == "__main__"``.
    """

    on: str = LOCAL
    workers: int | None = None

    def __post_init__(self) -> None:
        if self.on not in WHERE:
            raise ConfigError(f"there is no way to work on {self.on!r}", f"choose one of {', '.join(WHERE)}")
        if self.workers is not None:
            require_workers(self.workers)

    def run(
        self, work: Callable[[Common, Item], Result], common: Common, items: Sequence[Item]
    ) -> Iterator[tuple[Item, Result | LostWorkerError]]:
        """Do ``work(common, item)`` for each item; pairs come as they are done.

        ``work`` is a function of a module, its arguments and result are plain data. What it raises ends all.
        """
        count = self.workers or thread_count()
        if self.on == DASK:
            return _on_dask(work, common, items, self.workers)
        if count == 1 or len(items) < 2:
            return ((item, work(common, item)) for item in items)
        return _on_cores(work, common, items, min(count, len(items)))


def _on_cores(
    work: Callable[[Common, Item], Result], common: Common, items: Sequence[Item], workers: int
) -> Iterator[tuple[Item, Result | LostWorkerError]]:
    waiting = iter(items)
    suspects: list[Item] = []
    more = True
    while more:
        more = False
        running: dict[Future[Result], Item] = {}
        pool = _pool(workers)
        try:
            while True:
                while len(running) < workers and (item := next(waiting, None)) is not None:
                    try:
                        running[pool.submit(work, common, item)] = item
                    except BrokenProcessPool:
                        suspects.append(item)
                        raise
                if not running:
                    break
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    result = future.result()
                    yield running.pop(future), result
        except BrokenProcessPool:
            suspects += running.values()
            more = True
        finally:
            pool.shutdown(cancel_futures=True)
    for item in suspects:  # each alone, so that none is given up for what another did
        with _pool(1) as alone:
            try:
                outcome: Result | LostWorkerError = alone.submit(work, common, item).result()
            except BrokenProcessPool:
                outcome = LostWorkerError("its worker died, twice: out of memory, perhaps")
        yield item, outcome


def _pool(workers: int) -> ProcessPoolExecutor:
    # processes are started afresh: a fork of one that has threads may stand still
    fresh, threads = multiprocessing.get_context("spawn"), share_of_threads(workers)
    return ProcessPoolExecutor(workers, fresh, initializer=_begin, initargs=(threads,))


def _begin(threads: int) -> None:
    """Leave interrupts to the process that started this one, and end when it ends, however it does.

    Libraries are loaded after this: the variable tells them, too, how many threads are theirs.
    """
    os.environ["OMP_NUM_THREADS"] = str(threads)
    use_threads(threads)
    keep_freed_memory()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def follow() -> None:
        if parent is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _on_dask(
    work: Callable[[Common, Item], Result], common: Common, items: Sequence[Item], workers: int | None
) -> Iterator[tuple[Item, Result | LostWorkerError]]:
    try:
        import dask
        from distributed import Client, KilledWorker, as_completed
    except ImportError as error:
        cure = "pip install 'foldmap[cluster]'"
        raise MissingExtraError("--on dask needs dask and distributed, which are not installed", cure) from error
    given = dask.config.get("scheduler-address", None)
    if given is not None and workers is not None:
        raise ConfigError("a scheduler of Dask has its own workers", "leave --workers out")
    here: dict[str, Any] = {"n_workers": workers or thread_count(), "threads_per_worker": 1, "dashboard_address": None}
    with Client(**({} if given is not None else here)) as client:
        shared = client.scatter(common, broadcast=True)
        many = max(1, len(client.scheduler_info(n_workers=-1)["workers"])) * _AHEAD
        waiting = iter(items)
        running: dict[Any, Item] = {}

        def next_ones(count: int) -> list[Any]:
            begun = [(client.submit(work, shared, item, pure=False), item) for item in islice(waiting, count)]
            running.update(begun)
            return [future for future, _ in begun]

        done = as_completed(next_ones(many))
        for future in done:
            try:
                outcome = future.result()
            except KilledWorker as error:
                outcome = LostWorkerError(str(error))
            yield running.pop(future), outcome
            future.release()
            for one in next_ones(1):
                done.add(one)
