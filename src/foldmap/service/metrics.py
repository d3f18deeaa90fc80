"""What Prometheus is told; of several workers what all of them did."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

SHARED = "PROMETHEUS_MULTIPROC_DIR"
"""Of the environment: the folder by which workers share what they count, as prometheus-client wants it."""
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)


class Metrics:
    """Counters of one application; ``pending`` tells how many requests wait or are worked on."""

    def __init__(self, pending: Callable[[], int]) -> None:
        self._registry = CollectorRegistry()
        ours: dict[str, Any] = {"registry": self._registry}
        self._requests = Counter("foldmap_requests", "Requests by route and status.", ["route", "status"], **ours)
        self._seconds = Histogram(
            "foldmap_request_seconds", "From request to answer.", ["route"], buckets=_SECONDS, **ours
        )
        self._estimates = Counter(
            "foldmap_estimates", "Localizations by layer and status.", ["layer", "status"], **ours
        )
        self._swaps = Counter("foldmap_map_swaps", "Maps that took the place of another.", **ours)
        self._pending = Gauge("foldmap_pending", "Requests that wait or run.", multiprocess_mode="livesum", **ours)
        if SHARED not in os.environ:  # a shared gauge is a number in a file, and cannot ask
            self._pending.set_function(pending)
        ProcessCollector(registry=self._registry)

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def estimate(self, layer: str, status: str) -> None:
        """Count what a localization came to."""
        self._estimates.labels(layer, status).inc()

    def swapped(self) -> None:
        """Count a map that took the place of another."""
        self._swaps.inc()

    def text(self) -> bytes:
        """All of it, in Prometheus' text format."""
        if SHARED not in os.environ:
            return bytes(generate_latest(self._registry))
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        ProcessCollector(registry=together)
        return bytes(generate_latest(together))
