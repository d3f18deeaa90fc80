"""A served map: twelve photographs of a generated street, four to be localized, anchored on Earth."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from foldmap.atlas import FoldWriter
from foldmap.geometry.geopose import Anchor
from foldmap.localize.visual.negatives import fold_calibrated
from foldmap.types import DoubleArray
from foldmap.visual.codes.basis import standard_basis
from foldmap.visual.codes.codecs import Transform
from foldmap.visual.fold import VisualPlan
from foldmap.visual.source import Query

HERE = Anchor(49.0112128, 8.42288504, 116.4, 0.35)
TIME_MS = 1_763_000_000_123


@dataclass(frozen=True)
class ServedStreet:
    """A folder with map.fold, and what was photographed, with PNG bytes and true camera_SE3_world."""

    folder: Path
    queries: list[tuple[Query, DoubleArray]]
    photos: list[bytes]

    def asked(self, number: int = 0, **changes: Any) -> dict[str, Any]:
        """A request about a photo."""
        camera = self.queries[number][0].camera
        reading = {
            "timestamp": TIME_MS,
            "sensorId": "camera",
            "sequenceNumber": 0,
            "imageFormat": "JPG",
            "size": [camera.width_px, camera.height_px],
            "imageBytes": base64.b64encode(self.photos[number]).decode(),
            "params": {"model": camera.model, "modelParams": camera.params.tolist()},
        }
        readings = {"cameraReadings": [{**reading, **changes}]}
        return {"id": f"q{number}", "timestamp": TIME_MS, "type": "geopose", "sensors": [], "sensorReadings": readings}


class Client:
    """Asks an application in this process, without a socket; an exception that is a bug is raised."""

    def __init__(self, app: Any) -> None:
        self.app, self._runner = app, asyncio.Runner()
        transport = httpx.ASGITransport(app)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://service")

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        return self._runner.run(self.http.request(method, path, **more))

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self.ask("GET", path, **more)

    def post(self, path: str, **more: Any) -> httpx.Response:
        return self.ask("POST", path, **more)

    def together(self, *asked: tuple[str, str, dict[str, Any]]) -> list[httpx.Response]:
        """Several requests at once."""

        async def all_of_them() -> list[httpx.Response]:
            return await asyncio.gather(*(self.http.request(how, path, **more) for how, path, more in asked))

        return self._runner.run(all_of_them())

    def close(self) -> None:
        self._runner.run(self.http.aclose())
        self._runner.close()
        self.app.state.service.close()


@pytest.fixture(scope="session")
def street(tmp_path_factory: pytest.TempPathFactory) -> ServedStreet:
    pytest.importorskip("pycolmap")
    pytest.importorskip("starlette")
    from PIL import Image

    from foldmap.town.camera.visual_scene import TownPhotos, town_queries, town_scene
    from foldmap.visual.features.extract import open_extractor

    folder = tmp_path_factory.mktemp("served")
    photos = TownPhotos(3, 12, 4, size_px=(320, 240))
    extract = open_extractor("sift").extract
    scene = town_scene(photos, extract)
    plan = VisualPlan(np.arange(len(scene.points_world)), Transform(standard_basis("sift"), 0.1, standard=True))
    with FoldWriter(folder / "map.fold") as writer:
        fold_calibrated(writer, scene, plan)
        writer.put_metadata("anchor", vars(HERE))
        writer.commit()
    kept = []
    for photo in photos.query_photos:
        file = io.BytesIO()
        Image.fromarray(photo.picture.image).save(file, "PNG")
        kept.append(file.getvalue())
    return ServedStreet(folder, town_queries(photos, extract), kept)


@pytest.fixture(scope="session")
def serving() -> Iterator[Callable[..., Client]]:
    """Makes clients of applications with some settings; all are closed at the end."""
    from foldmap.service.app import application
    from foldmap.service.settings import ServiceSettings

    made: list[Client] = []

    def client(path: Path, **settings: Any) -> Client:
        made.append(Client(application(ServiceSettings(path=path, **settings))))
        return made[-1]

    yield client
    for one in made:
        one.close()


@pytest.fixture(scope="session")
def client(street: ServedStreet, serving: Callable[..., Client]) -> Client:
    return serving(street.folder / "map.fold")


def text_of(question: dict[str, Any]) -> bytes:
    return json.dumps(question).encode()
