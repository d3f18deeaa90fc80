"""A service run: a socket that is bound first, then one worker, or several that share it."""

from __future__ import annotations

import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from typing import Any

import uvicorn
from uvicorn.supervisors import Multiprocess

from foldmap.errors import ConfigError
from foldmap.runtime.threads import share_of_threads
from foldmap.service.maps import MapHolder
from foldmap.service.metrics import SHARED
from foldmap.service.settings import ServiceSettings

_BESIDE_QUEUE = 24
"""Connections that are served at once, beside those of the queue; they bound what bodies take."""
_HEALTH_S, _GRACE_S = 120, 30


def serve(settings: ServiceSettings, host: str, port: int, started: Callable[[str], None] = lambda url: None) -> None:
    """Serve a map until a signal ends it; requests in flight are answered.

    Args:
        settings: of the service.
        host: address to listen at.
        port: 0 for any that is free.
        started: called with the address once it is listened at.

    Raises:
        ConfigError: the address cannot be had.
        FoldmapError: the map cannot be opened.
    """
    MapHolder(settings.path, settings.anchor).close()  # what is wrong with it is said before anything listens
    listening = listening_at(host, port)
    try:
        with tempfile.TemporaryDirectory(prefix="foldmap-metrics-") as shared:
            if settings.workers > 1:
                os.environ[SHARED] = shared
                # workers read it when they begin: else each would use all processors, and they would fight for them
                os.environ["OMP_NUM_THREADS"] = str(share_of_threads(settings.workers))
            started(_url(listening, host))
            _run(_config(settings), listening)
    finally:
        listening.close()


def _config(settings: ServiceSettings) -> uvicorn.Config:
    return uvicorn.Config(
        partial(_application, settings),
        factory=True,
        workers=settings.workers,
        http="h11",
        ws="none",
        lifespan="on",
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=settings.queue + 1 + _BESIDE_QUEUE,
        timeout_graceful_shutdown=_GRACE_S,
        timeout_worker_healthcheck=_HEALTH_S,
    )


def _application(settings: ServiceSettings) -> Any:
    """Made in the worker, which shares nothing with the process that started it."""
    from foldmap.service.app import application

    return application(settings)


def _run(config: uvicorn.Config, listening: socket.socket) -> None:
    if config.workers > 1:
        Multiprocess(config, sockets=[listening]).run()
        return
    for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn raises them again when all is answered: then we just end
        signal.signal(number, lambda *_: None)
    server = uvicorn.Server(config)
    server.run(sockets=[listening])
    if not server.started:
        sys.exit(3)


def listening_at(host: str, port: int) -> socket.socket:
    """A socket at an address; a ConfigError where it cannot be had."""
    cure = "choose another --host or --port"
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.create_server((host, port), family=family, backlog=256)
    except (OSError, OverflowError, UnicodeError) as error:
        raise ConfigError(f"{host}:{port} cannot be listened at: {error}", cure) from error
    # connections have it from here: asyncio sets it where a socket names its protocol only, and this one does not.
    # Without it the body of an answer waits until the client says, 40 ms later, that it has the head
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listening.set_inheritable(True)
    return listening


def _url(listening: socket.socket, host: str) -> str:
    port = listening.getsockname()[1]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
