"""A map served by ``foldmap serve`` in processes of its own, and clients that ask it over sockets."""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foldmap.geometry.camera import Camera

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")
_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Request:
    """One request as it goes over the socket."""

    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Got:
    """What came back: status (0: the connection broke), JSON or None, and after how long."""

    status: int
    said: Any
    seconds: float


class Served:
    """A running service."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self._process, self.port = process, port

    def resident_bytes(self) -> int:
        """Of the service and its workers, pages that several share counted once each process."""
        return sum(int(words[1]) * _PAGE_BYTES for words in self._told("statm"))

    def processor_s(self) -> float:
        """Processor time of the service and its workers until now."""
        return sum(int(words[13]) + int(words[14]) for words in self._told("stat")) / _TICKS

    def _told(self, name: str) -> list[list[str]]:
        """The words of a file of Linux about each process."""
        own = self._process.pid
        children = Path(f"/proc/{own}/task/{own}/children").read_text().split()
        return [Path(f"/proc/{pid}/{name}").read_text().split() for pid in [str(own), *children]]

    def ask(self, requests: Sequence[Request], clients: int = 1) -> list[Got]:
        """Send requests, each client one after another on a connection of its own; answers in their order."""
        found: dict[int, Got] = {}
        lock, numbers = threading.Lock(), iter(range(len(requests)))

        def work() -> None:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_TIMEOUT_S)
            while True:
                with lock:
                    number = next(numbers, None)
                if number is None:
                    connection.close()
                    return
                got = _asked(connection, requests[number])
                with lock:
                    found[number] = got

        threads = [threading.Thread(target=work) for _ in range(clients)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        return [found[number] for number in range(len(requests))]


def _asked(connection: http.client.HTTPConnection, request: Request) -> Got:
    began_s = time.perf_counter()
    try:
        connection.request(request.method, request.path, request.body, dict(request.headers or {}))
        answer = connection.getresponse()
        content = answer.read()
    except (OSError, http.client.HTTPException, ValueError):
        connection.close()
        return Got(0, None, time.perf_counter() - began_s)
    seconds = time.perf_counter() - began_s
    try:
        said = json.loads(content)
    except ValueError:
        said = None
    return Got(answer.status, said, seconds)


@contextmanager
def served(path: Path, *options: str) -> Iterator[Served]:
    """Serve a map on a free port of this machine, warm, until the end of the block."""
    command = [sys.executable, "-m", "foldmap", "serve", str(path), "--port", "0", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            line = process.stderr.readline()
            found = re.search(r":(\d+)$", line.strip())
            if found is None:
                raise RuntimeError(f"the service did not start: {line}{process.stderr.read()}")
            service = Served(process, int(found[1]))
            service.ask([Request("GET", "/health")])
            yield service
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=_TIMEOUT_S)


def photo_question(name: str, payload: bytes, camera: Camera) -> dict[str, Any]:
    """A photo, the bytes of its file, as clients of the GeoPoseProtocol ask about it."""
    time_ms = 1_763_000_000_000
    reading = {
        "timestamp": time_ms,
        "sensorId": "camera",
        "sequenceNumber": 0,
        "imageFormat": "JPG",
        "size": [camera.width_px, camera.height_px],
        "imageBytes": base64.b64encode(payload).decode(),
        "params": {"model": camera.model, "modelParams": camera.params.tolist()},
    }
    return {
        "id": name,
        "timestamp": 1_763_000_000_000,
        "type": "geopose",
        "sensorReadings": {"cameraReadings": [reading]},
    }


def posted(question: Mapping[str, Any]) -> Request:
    """The request that asks it."""
    headers = {"Accept": "application/vnd.oscp+json;version=2.0", "Content-Type": "application/json"}
    return Request("POST", "/localize/geopose", json.dumps(question).encode(), headers)
