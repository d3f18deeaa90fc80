"""Before any endpoint: who may ask. After it: how long it took. And bodies, read within limits."""

from __future__ import annotations

import asyncio
import hmac
import time

from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from foldmap.service.answers import Answer
from foldmap.service.metrics import Metrics
from foldmap.service.problems import Problem

OPEN = ("/health",)
"""Paths that need no token."""


class Guard:
    """Refuses requests without the token, in constant time, and counts all of them.

    Args:
        app: what is guarded.
        token: that requests must bear; empty for none.
        metrics: are told of each request.
        routes: paths that are told apart when they are counted; one that ends with ``/`` stands for all below it.
    """

    def __init__(self, app: ASGIApp, token: str, metrics: Metrics, routes: tuple[str, ...]) -> None:
        self._app, self._token, self._metrics, self._routes = app, token.encode(), metrics, routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began_s, status = time.perf_counter(), 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            if self._token and scope["path"] not in OPEN and not self._bears_token(scope):
                problem = Problem(401, "token", "the token is missing or wrong", "send Authorization: Bearer TOKEN")
                answer = Answer(problem.body(), 401, headers={"WWW-Authenticate": "Bearer"})
                await answer.response()(scope, receive, watched)
            else:
                await self._app(scope, receive, watched)
        finally:
            self._metrics.request(self._route(scope["path"]), status, time.perf_counter() - began_s)

    def _bears_token(self, scope: Scope) -> bool:
        said = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        kind, _, token = said.partition(b" ")
        return hmac.compare_digest(token.strip(), self._token) and kind.lower() == b"bearer"

    def _route(self, path: str) -> str:
        for route in self._routes:
            if path == route or (route.endswith("/") and path.startswith(route)):
                return route
        return "other"


async def read_body(request: Request, most_bytes: int, timeout_s: float, *, keep: bool = True) -> bytes:
    """The body of a request; nothing where it is not kept.

    Raises:
        Problem: 413, it is longer; 408, it takes longer; 415, it is compressed; 400, the client hung up.
    """
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Problem(415, "encoding", "compressed bodies are not read", "send it as it is")
    too_long = Problem(413, "size", f"the body has more than {most_bytes:,} bytes", "send a smaller image or sweep")
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and len(declared) < 20 and int(declared) > most_bytes:
        raise too_long
    parts, size = [], 0
    try:
        async with asyncio.timeout(timeout_s):
            async for part in request.stream():
                size += len(part)
                if size > most_bytes:
                    raise too_long
                if keep:
                    parts.append(part)
    except TimeoutError as error:
        raise Problem(408, "timeout", f"the body took more than {timeout_s:g} s", "send it faster") from error
    except ClientDisconnect as error:
        raise Problem(400, "request", "the client hung up") from error
    return b"".join(parts)
