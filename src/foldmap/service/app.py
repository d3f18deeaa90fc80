"""The application: routes, and what one worker keeps."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from foldmap.errors import FoldmapError
from foldmap.service.answers import HEADERS, Answer, wanted_of
from foldmap.service.describing import described
from foldmap.service.extracts import Extracts
from foldmap.service.guard import Guard, read_body
from foldmap.service.maps import MapHolder, ServedMap
from foldmap.service.metrics import CONTENT_TYPE, Metrics
from foldmap.service.openapi import openapi
from foldmap.service.patches import PatchFolder
from foldmap.service.photos import answer_photo
from foldmap.service.pool import BoundedPool
from foldmap.service.problems import Problem, of_map
from foldmap.service.settings import ServiceSettings
from foldmap.service.slices import FileAnswer, hung_up, matches
from foldmap.service.sweeps import answer_sweep

_CUTTING = 4
_MAP, _FILE, _PATCHES = "/map", "/map/file", "/map/patches"
_GEOPOSE, _SWEEP = "/localize/geopose", "/localize/sweep"
ROUTES = (_GEOPOSE, _SWEEP, _MAP, _FILE, _PATCHES, f"{_PATCHES}/", "/health", "/metrics", "/openapi.json")


class Service:
    """What one worker keeps: the map, a thread that localizes, one that cuts, and what it counts.

    Raises:
        FoldmapError: the map cannot be opened.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        self.settings = settings
        self.localizing = BoundedPool("localize", settings.queue, settings.timeout_s)
        self.cutting = BoundedPool("extract", _CUTTING, settings.timeout_s)
        self.metrics = Metrics(lambda: self.localizing.pending)
        self.maps = MapHolder(settings.path, settings.anchor, self.metrics.swapped)
        self.extracts, self.patches = Extracts(self.maps), PatchFolder(settings.patches)
        self._described: tuple[str, dict[str, Any]] = ("", {})

    def close(self) -> None:
        """End what runs, and close the map."""
        self.localizing.close()
        self.cutting.close()
        self.maps.close()
        self.extracts.close()

    def warm(self) -> None:
        """Decode what the first question will need; what is missing is said when somebody asks for it."""
        with self.maps.use() as served:
            for make in (
                lambda: served.town.lidar_localizer(),
                lambda: served.town.visual_localizer(),
                lambda: served.town.visual.groups or served.town.visual.whole(),
                lambda: served.extractor(*self.settings.extraction),
            ):
                with suppress(FoldmapError):
                    make()

    async def localize_photo(self, request: Request) -> Response:
        """``POST /localize/geopose``."""
        wanted = wanted_of(request.headers.get("accept", ""), request.query_params)
        return await self._localize(
            "visual", request, lambda served, body: answer_photo(served, body, wanted, self.settings)
        )

    async def localize_sweep(self, request: Request) -> Response:
        """``POST /localize/sweep``."""
        wanted, query = wanted_of("*/*", request.query_params), request.query_params
        return await self._localize("lidar", request, lambda served, body: answer_sweep(served, body, query, wanted))

    async def _localize(self, layer: str, request: Request, answer: Callable[[ServedMap, bytes], Answer]) -> Response:
        limits = self.settings.max_body_bytes, self.settings.timeout_s
        try:
            self.localizing.require_room()
        except Problem:
            await read_body(request, *limits, keep=False)  # who still sends would not hear the answer
            raise
        body = await read_body(request, *limits)

        def job() -> Answer:
            try:
                with self.maps.use() as served:
                    found = answer(served, body)
            except Problem as problem:
                if problem.status == 404:
                    self.metrics.estimate(layer, problem.code)
                raise
            self.metrics.estimate(layer, found.headers["Foldmap-Status"])
            return found

        response = (await self.localizing.run(job, hung_up(request.receive))).response()
        if self.settings.workers > 1:  # a connection stays with its worker: the next request goes to one that is idle
            response.headers["Connection"] = "close"
        return response

    def ready(self, request: Request) -> Response:
        """``GET /localize/geopose``: clients look whether somebody is there."""
        return Answer({"status": "ready"}).response()

    def map(self, request: Request) -> Response:
        """``GET /map``."""
        with self.maps.use() as served:
            tag = f'"{served.seal}"'
            headers = {"ETag": tag, "Cache-Control": "no-cache"}
            if matches(request.headers.get("if-none-match", ""), tag):
                return Response(status_code=304, headers=headers)
            seal, known = self._described
            if seal != served.seal:
                try:
                    known = described(served)
                except FoldmapError as error:
                    raise of_map(error) from error
                self._described = served.seal, known
        return Answer(known, headers=headers).response()

    async def file(self, request: Request) -> Response:
        """``GET /map/file``: the map, or with ``?bbox=`` a part of it."""
        bbox, layers = request.query_params.get("bbox"), tuple(request.query_params.getlist("layer"))
        if bbox is not None:
            file, size, tag = await self.cutting.run(lambda: self.extracts.get(bbox, layers))
            return _sent(lambda: FileAnswer(request, file, size, tag, f"{tag}.fold"), file.close)
        if layers:
            raise Problem(400, "request", "layers are of parts", "give bbox=west,south,east,north too")
        with self.maps.use() as served:
            if not served.intact:
                said = "the map was written over where it lies while it is served"
                raise Problem(503, "map", said, "put another one in its place by one rename")
            file = os.fdopen(os.dup(served.handle), "rb")
            size, seal = served.size_bytes, served.seal
        return _sent(lambda: FileAnswer(request, file, size, seal, f"{seal}.fold"), file.close)

    def patches_since(self, request: Request) -> Response:
        """``GET /map/patches?since=``: those that lead from a seal to the map; without one all there are."""
        with self.maps.use() as served:
            seal = served.seal
        since = request.query_params.get("since")
        if since is None:
            found = list(self.patches.all().values())
        else:
            chain = self.patches.chain(since.strip('"').lower(), seal)
            if chain is None:
                said = f"no patches lead from {since[:40]!r} to {seal}"
                raise Problem(404, "patches", said, "get the map whole: GET /map/file", more={"seal": seal})
            found = chain
        return Answer({"seal": seal, "patches": [one.told() for one in found]}).response()

    def patch(self, request: Request) -> Response:
        """``GET /map/patches/NAME``."""
        known = self.patches.all().get(request.path_params["name"])
        if known is None:
            raise Problem(404, "patches", "there is no such patch", "see GET /map/patches")
        try:
            file = known.path.open("rb")
        except OSError as error:
            raise Problem(404, "patches", "the patch is gone", "see GET /map/patches") from error
        tag = f"{known.base}-{known.result}"
        return _sent(lambda: FileAnswer(request, file, known.size_bytes, tag, known.path.name), file.close)

    def health(self, request: Request) -> Response:
        """``GET /health``."""
        with self.maps.use() as served:
            seal = served.seal
        problem = self.maps.problem
        return Answer({"status": "degraded" if problem else "ok", "seal": seal, "problem": problem}).response()

    def told_metrics(self, request: Request) -> Response:
        """``GET /metrics``."""
        return Response(self.metrics.text(), media_type=CONTENT_TYPE)

    def told_openapi(self, request: Request) -> Response:
        """``GET /openapi.json``."""
        return Answer(openapi(bool(self.settings.token))).response()


def _sent(make: Callable[[], FileAnswer], close: Callable[[], None]) -> FileAnswer:
    """An answer that owns a file from now on; where it cannot be made the file is closed."""
    try:
        return make()
    except BaseException:
        close()
        raise


def application(settings: ServiceSettings) -> Starlette:
    """The ASGI application of one worker; its `Service` is ``app.state.service``.

    Raises:
        FoldmapError: the map cannot be opened.
    """
    service = Service(settings)

    @asynccontextmanager
    async def living(app: Starlette) -> AsyncIterator[None]:
        await asyncio.wrap_future(service.localizing.submit(service.warm))
        _take_signals_back()
        try:
            yield
        finally:
            service.close()

    cors = Middleware(
        CORSMiddleware,
        allow_origins=settings.origins,
        allow_methods=["GET", "POST"],
        allow_headers=["*"],
        expose_headers=HEADERS,
    )
    guard = Middleware(Guard, token=settings.token, metrics=service.metrics, routes=ROUTES)
    app = Starlette(
        routes=[
            Route(_GEOPOSE, service.localize_photo, methods=["POST"]),
            Route(_GEOPOSE, service.ready, methods=["GET"]),
            Route(_SWEEP, service.localize_sweep, methods=["POST"]),
            Route(_MAP, service.map),
            Route(_FILE, service.file),
            Route(_PATCHES, service.patches_since),
            Route(f"{_PATCHES}/{{name}}", service.patch),
            Route("/health", service.health),
            Route("/metrics", service.told_metrics),
            Route("/openapi.json", service.told_openapi),
        ],
        middleware=[*([cors] if settings.origins else []), guard],
        exception_handlers={Problem: _problem, HTTPException: _of_starlette, Exception: _bug},
        lifespan=living,
    )
    app.state.service = service
    return app


def _take_signals_back() -> None:
    """Install the handlers of Python's once more: importing pycolmap puts some in their place that end the process."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            handler = signal.getsignal(number)
            if handler is not None:
                signal.signal(number, handler)


async def _problem(request: Request, problem: Any) -> Response:
    return Answer(problem.body(), problem.status, headers=problem.headers).response()


async def _of_starlette(request: Request, error: Any) -> Response:
    said = {404: "there is nothing here", 405: "this is not how it is asked"}.get(error.status_code, str(error.detail))
    problem = Problem(error.status_code, "route", said, "see GET /openapi.json", error.headers)
    return await _problem(request, problem)


async def _bug(request: Request, error: Exception) -> Response:
    return await _problem(request, Problem(500, "bug", "the service has a bug", "tell who runs it: its log says more"))
