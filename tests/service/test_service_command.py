"""``foldmap serve`` as a user runs it: a process, a port, a photo, a signal; and what it refuses."""

from __future__ import annotations

import http.client
import importlib.util
import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from foldmap.cli import app
from foldmap.runtime.threads import use_threads
from tests.service.conftest import Client, ServedStreet, text_of
from tests.service.geopose_schemas import BASIC_QUATERNION, check, response


def asked(port: int, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_a_photo_is_asked_over_a_socket(street: ServedStreet, client: Client) -> None:
    command = [sys.executable, "-m", "foldmap", "serve", str(street.folder / "map.fold"), "--port", "0"]
    with subprocess.Popen([*command, "--token", "s3cret"], stderr=subprocess.PIPE, text=True) as served:
        try:
            assert served.stderr is not None
            line = served.stderr.readline()
            found = re.fullmatch(r"serving map\.fold at http://127\.0\.0\.1:(\d+)\n", line)
            assert found, line
            port, bearer = int(found[1]), {"Authorization": "Bearer s3cret"}
            status, body = asked(port, "POST", "/localize/geopose", text_of(street.asked()), **bearer)
            assert status == 200, body
            check(json.loads(body), response(BASIC_QUATERNION))
            assert json.loads(body) == client.post("/localize/geopose", json=street.asked()).json()
            assert asked(port, "POST", "/localize/geopose", text_of(street.asked()))[0] == 401
            content = (street.folder / "map.fold").read_bytes()
            assert asked(port, "GET", "/map/file", Range="bytes=10-99", **bearer) == (206, content[10:100])
            with socket.create_connection(("127.0.0.1", port)) as raw:
                raw.sendall(b"POST /localize/geopose HTTP/1.1\r\nContent-Length: -5\r\n\r\n\x00\xff")
                assert raw.recv(100).startswith(b"HTTP/1.1 400")
        finally:
            served.send_signal(signal.SIGTERM)
            _, err = served.communicate(timeout=60)
    assert (served.returncode, err) == (0, "")


def test_answers_leave_at_once() -> None:
    pytest.importorskip("uvicorn")
    from foldmap.service.serving import listening_at

    with listening_at("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname()):
        accepted, _ = listening.accept()
        with accepted:
            # else a body waits for the 40 ms after which a client says that it has the head
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_workers_share_the_threads(street: ServedStreet, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("uvicorn")
    from foldmap.service import serving
    from foldmap.service.settings import ServiceSettings

    told: list[str] = []
    monkeypatch.setattr(serving, "_run", lambda config, listening: told.append(os.environ["OMP_NUM_THREADS"]))
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    monkeypatch.setenv(serving.SHARED, "")
    before = use_threads(5)
    try:
        for workers in (1, 2, 8):
            serving.serve(ServiceSettings(path=street.folder / "map.fold", workers=workers), "127.0.0.1", 0)
    finally:
        use_threads(before)
    assert told == ["5", "2", "1"]


def test_what_cannot_be_served_is_said_before_anything_listens(tmp_path: Path, street: ServedStreet) -> None:
    path = street.folder / "map.fold"
    (tmp_path / "text.fold").write_text("no map")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for given, words in (
            ([tmp_path / "nothing.fold"], "there is no file"),
            ([tmp_path / "text.fold"], "is not a .fold file"),
            ([path, "--port", port], "cannot be listened at"),
            ([path, "--host", "no.such.host.invalid"], "cannot be listened at"),
            ([path, "--workers", "0"], "0 workers"),
            ([path, "--workers", "99999"], "99999 workers"),
            ([path, "--anchor", "north"], "is no anchor"),
            ([path, "--patches", tmp_path / "none"], "there is no folder"),
            ([path, "--max-body", "much"], "is no size"),
            ([path, "--timeout", "0"], "a timeout of 0"),
            ([path, "--weights", tmp_path / "none.pth"], "there are no weights"),
            ([path, "--token", "two words"], "the token"),
        ):
            ran = CliRunner().invoke(app, ["serve", *map(str, given)])
            assert (ran.exit_code, words in ran.stderr) == (2, True), ran.output


def test_without_the_extra_it_says_what_to_install(street: ServedStreet, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "uvicorn" else found(name, *more)
    )
    ran = CliRunner().invoke(app, ["serve", str(street.folder / "map.fold")])
    assert (ran.exit_code, "pip install 'foldmap[serve]'" in ran.stderr) == (2, True)
