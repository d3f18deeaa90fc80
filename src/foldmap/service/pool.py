"""Work off the event loop: one thread, a queue that ends, and a time after which nobody waits."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from foldmap.service.problems import Problem

Made = TypeVar("Made")
_FORGETTING = 0.8


class BoundedPool:
    """Runs jobs one after another in a thread of its own; so what they share needs no lock.

    Args:
        name: of the thread.
        waiting: jobs that wait at most, beside the one that runs.
        timeout_s: how long a job may take from being handed in. A job that has begun is not stopped then, only nobody
            waits for it: it keeps its place in the queue until it ends.
    """

    def __init__(self, name: str, waiting: int, timeout_s: float) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._most, self._timeout_s = waiting + 1, timeout_s
        self._lock = threading.Lock()
        self._pending, self._usual_s = 0, 1.0

    @property
    def pending(self) -> int:
        """Jobs that run or wait."""
        return self._pending

    def require_room(self) -> None:
        """Refuse where the queue is full; a Problem, 429, that tells when to come again."""
        if self._pending >= self._most:
            said = f"{self._pending} requests wait already"
            raise Problem(429, "busy", said, "ask again later", self._again(self._pending))

    async def run(self, job: Callable[[], Made], gone: Awaitable[None] | None = None) -> Made:
        """What a job gives; its exceptions pass. One that waits is dropped once its client is ``gone``.

        Raises:
            Problem: 429, too many wait; 503, it takes too long. Both tell when to come again. 400, the client hung up.
        """
        future = self.submit(job)
        watched = asyncio.ensure_future(asyncio.Event().wait() if gone is None else gone)
        watched.add_done_callback(lambda ended: None if ended.cancelled() else future.cancel())
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), self._timeout_s)
        except TimeoutError as error:
            said = f"no answer within {self._timeout_s:g} s"
            raise Problem(503, "timeout", said, "ask again later", self._again(self._pending)) from error
        except asyncio.CancelledError as error:
            if not watched.done():  # the service ends
                raise
            raise Problem(400, "request", "the client hung up") from error
        finally:
            watched.cancel()

    def submit(self, job: Callable[[], Made]) -> Future[Made]:
        """Hand in a job for whose answer anybody may wait as long as he likes; a Problem, 429, where too many wait."""
        with self._lock:
            self.require_room()
            self._pending += 1
        future: Future[Made] = self._executor.submit(self._timed, job)
        future.add_done_callback(self._done)
        return future

    def close(self) -> None:
        """Drop what waits; what runs ends by itself."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _timed(self, job: Callable[[], Made]) -> Made:
        began_s = time.perf_counter()
        try:
            return job()
        finally:
            spent_s = time.perf_counter() - began_s
            self._usual_s = _FORGETTING * self._usual_s + (1 - _FORGETTING) * spent_s

    def _done(self, future: Future[Made]) -> None:
        with self._lock:
            self._pending -= 1

    def _again(self, before: int) -> dict[str, str]:
        return {"Retry-After": str(max(1, math.ceil(before * self._usual_s)))}
