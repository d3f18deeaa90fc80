"""Rows of the service: generated requests, how long answers take, growth, photos of elsewhere."""

from __future__ import annotations

import base64
import io
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from benchmarks.context import Board
from benchmarks.lines import Line, RowSkipped, at_least, at_most, information
from benchmarks.visual.data import VisualBoard, fold_place
from benchmarks.world.hostile import hostile_requests
from benchmarks.world.served import Got, Request, photo_question, posted, served
from foldmap.formats.colmap.scene import read_model_poses
from foldmap.geometry import SE3
from foldmap.geometry.geopose import Anchor, ecef_of
from foldmap.geometry.quaternion import inverse_rigid

HERE = Anchor(47.6422, -122.1369, 60.0, 0.3)
"""Where the scene is said to lie: what is measured does not depend on it."""
_ANCHOR = f"{HERE.latitude_deg},{HERE.longitude_deg},{HERE.height_m},{np.degrees(HERE.heading_rad)}"
MB = 1e6


@dataclass(frozen=True)
class ServedScene:
    """A recorded scene without blocks of its photos, folded and served; questions are about those photos."""

    scene: str = "redkitchen"

    def path(self, board: Board) -> Path:
        """Of the file, folded without a budget once a run, or once for all rows where something is kept.

        A RowSkipped where scene or extractor are not here.
        """

        def make() -> Path:
            place, folder = _visual(board).place(self.scene), _visual(board).kept or _visual(board).scratch
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"{self.scene}-served.fold"
            if not path.is_file():
                fold_place(path, place, None, board.report)
            return path

        return board.shared(("served", self.scene), make)  # type: ignore[no-any-return]

    def questions(self, board: Board) -> list[dict[str, Any]]:
        """About each photo that the map is not made of."""
        held, images = _visual(board).place(self.scene).held_out, _visual(board).recordings(self.scene) / "images"
        return [photo_question(q.name, (images / q.name).read_bytes(), q.camera) for q in held.queries]

    def errors_m(self, board: Board, answers: Sequence[Got]) -> list[float]:
        """How far each pose that was answered is from where the photo was taken, on Earth."""
        found = []
        for got, truth in zip(answers, _visual(board).place(self.scene).held_out.truth, strict=False):
            if got.status == 200:
                true = HERE.geopose(SE3(inverse_rigid(truth)))
                place, said = (true.latitude_deg, true.longitude_deg, true.height_m), got.said["geopose"]["position"]
                apart = ecef_of(*place) - ecef_of(said["lat"], said["lon"], said["h"])
                found.append(float(np.linalg.norm(apart)))
        return found


def _visual(board: Board) -> VisualBoard:
    if not isinstance(board, VisualBoard):
        raise RowSkipped("skipped: these rows are of the board of photos")
    return board


@dataclass(frozen=True)
class Requests:
    """Row 3: generated requests of all kinds, from several clients at once, and what they leave behind.

    Attributes:
        place: what is served.
        count: of the requests.
        clients: at once.
        seed: of the requests.
        minutes: ask on with others of the same kinds, as many a turn, until so long has passed.
    """

    number: ClassVar[int] = 3
    name: ClassVar[str] = "requests"
    title: ClassVar[str] = "generated requests to the service"
    place: ServedScene = ServedScene()
    count: int = 2000
    clients: int = 4
    seed: int = 0
    minutes: float = 0.0

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`."""
        path, photos = self.place.path(board), self.place.questions(board)[:8]
        small = [_shrunk(one) for one in photos]
        with served(path, "--anchor", _ANCHOR, "--queue", "16") as service:
            warm = hostile_requests(self.count // 10, self.seed + 1, small)
            service.ask([*map(posted, photos), *warm], self.clients)
            before, began_s = service.resident_bytes(), time.perf_counter()
            statuses: Counter[int] = Counter()
            turn = 0
            while turn == 0 or time.perf_counter() - began_s < 60 * self.minutes:
                # seeds of one turn lie apart from those of the next and of what warmed the service
                asked = hostile_requests(self.count, self.seed + 2 * turn, small)
                statuses.update(one.status for one in service.ask(asked, self.clients))
                turn += 1
            after, took_s = service.resident_bytes(), time.perf_counter() - began_s
            health = service.ask([Request("GET", "/health")])[0]
        detail = {"statuses": dict(sorted(statuses.items())), "seconds": round(took_s)}
        yield at_most(3, f"status 500, of {statuses.total()} generated requests", statuses[500], 0, detail=detail)
        yield at_most(3, "connections that broke", statuses[0], 0)
        yield at_least(3, "healthy after them", float(health.status == 200), 1)
        growth = 100.0 * (after - before) / before
        memory = {"before_MB": round(before / MB, 1), "after_MB": round(after / MB, 1)}
        yield at_most(3, "resident memory grew", growth, 5, "%", detail=memory)
        yield information(3, "resident memory", after / MB, "MB")
        yield information(3, "requests a second", statuses.total() / took_s, "1/s")


@dataclass(frozen=True)
class Clients:
    """Row 3: photos that the map is not made of, asked by some clients at once; workers side by side.

    Attributes:
        place: what is served.
        clients: how many ask at once, in turn.
        workers: of the service.
        least: requests of each; the first photos of the protocol, again from the start where they run out.
    """

    number: ClassVar[int] = 3
    name: ClassVar[str] = "clients"
    title: ClassVar[str] = "photos asked by several clients"
    place: ServedScene = ServedScene()
    clients: tuple[int, ...] = (1, 2, 8)
    workers: tuple[int, ...] = (1, 2)
    least: int = 30

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`."""
        path, photos = self.place.path(board), self.place.questions(board)
        asked = [posted(photos[k % len(photos)]) for k in range(self.least)]
        rates: dict[int, float] = {}
        for workers in self.workers:
            with served(path, "--anchor", _ANCHOR, "--workers", str(workers)) as service:
                service.ask(asked[:8], 2 * workers)
                for clients in self.clients:
                    before_s, began_s = service.processor_s(), time.perf_counter()
                    answers = service.ask(asked, clients)
                    spent_s, took_s = service.processor_s() - before_s, time.perf_counter() - began_s
                    yield from self._told(answers, workers, clients, spent_s / len(answers))
                    rates[workers] = len(answers) / took_s
                if workers == self.workers[0]:
                    once = answers[: len(photos)]
                    errors_m = self.place.errors_m(board, once)
                    yield information(3, f"photos answered, of {len(once)}", len(errors_m))
                    yield information(3, "their error, median", 100 * float(np.median(errors_m or [np.nan])), "cm")
        if len(rates) > 1:
            few, many = self.workers[0], self.workers[-1]
            yield information(3, f"photos a second, {many} workers over {few}", rates[many] / rates[few], "x")

    def _told(self, answers: Sequence[Got], workers: int, clients: int, each_s: float) -> Iterator[Line]:
        what = f"{workers} worker{'s' * (workers > 1)}, {clients} client{'s' * (clients > 1)}"
        seconds = np.array([one.seconds for one in answers])
        detail = {"statuses": dict(Counter(one.status for one in answers))}
        yield information(3, f"{what}: p50", 1000 * float(np.median(seconds)), "ms", detail=detail)
        yield information(3, f"{what}: p99", 1000 * float(np.quantile(seconds, 0.99)), "ms")
        yield information(3, f"{what}: processor time a photo", 1000 * each_s, "ms")
        odd = sum(one.status not in (200, 404) for one in answers)
        yield at_most(3, f"{what}: neither a pose nor an honest no", odd, 0)


@dataclass(frozen=True)
class Strangers:
    """Row 4: photos of another scene, with their own intrinsics."""

    number: ClassVar[int] = 4
    name: ClassVar[str] = "strangers"
    title: ClassVar[str] = "photos of another scene"
    place: ServedScene = ServedScene()
    other: str = "bonsai"
    count: int = 30

    def lines(self, board: Board) -> Iterator[Line]:
        """See `Row`."""
        path, folder = self.place.path(board), _visual(board).recordings(self.other)
        cameras = read_model_poses(folder / "sparse", cameras=True).cameras
        every = sorted(cameras)
        names = [every[row] for row in np.linspace(0, len(every) - 1, self.count).astype(int)]
        asked = [posted(photo_question(name, (folder / "images" / name).read_bytes(), cameras[name])) for name in names]
        with served(path, "--anchor", _ANCHOR) as service:
            answers = service.ask(asked, 2)
        statuses = Counter(one.said["status"] if one.status == 404 else str(one.status) for one in answers)
        yield at_most(4, f"poses of {len(answers)} photos of another scene", statuses["200"], 0, detail=dict(statuses))
        odd = sum(one.status not in (200, 404) for one in answers)
        yield at_most(4, "neither a pose nor an honest no", odd, 0)


def _shrunk(question: dict[str, Any]) -> dict[str, Any]:
    """The same photo at a quarter of its side: what is asked about it is as right, and sooner answered."""
    small: dict[str, Any] = json.loads(json.dumps(question))
    reading = small["sensorReadings"]["cameraReadings"][0]
    with Image.open(io.BytesIO(base64.b64decode(reading["imageBytes"]))) as image:
        width, height = image.width // 4, image.height // 4
        file = io.BytesIO()
        image.resize((width, height)).convert("RGB").save(file, "JPEG", quality=90)
    reading["imageBytes"], reading["size"] = base64.b64encode(file.getvalue()).decode(), [width, height]
    reading["params"] = {"model": "SIMPLE_PINHOLE", "modelParams": [131.0, width / 2, height / 2]}
    return small
