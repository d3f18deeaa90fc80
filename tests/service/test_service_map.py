"""The map itself over HTTP: whole, in ranges, in parts, as patches; swapped while served; for whom, and how many."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from foldmap.api.reshaping.area import Area
from foldmap.api.reshaping.extracting import extract
from foldmap.atlas import FoldFile, update
from foldmap.atlas.patches import write_patch
from foldmap.atlas.whole import write_whole
from foldmap.errors import NotAFoldFileError
from foldmap.localize.protection import ProtectionLevel
from foldmap.service.answers import worth_headers
from foldmap.service.maps import MapHolder
from foldmap.service.openapi import openapi
from foldmap.service.pool import BoundedPool
from foldmap.service.problems import Problem
from tests.service.conftest import HERE, Client, ServedStreet
from tests.service.geopose_schemas import PROBLEM, check

PHOTO = "/localize/geopose"


def seal_of(path: Path) -> str:
    with FoldFile.open(path) as file:
        return file.seal.hex()


@pytest.fixture
def own(street: ServedStreet, serving: Callable[..., Client], tmp_path: Path) -> Client:
    """A client of a map that a test may change."""
    write_whole(tmp_path / "map.fold", (street.folder / "map.fold").read_bytes())
    (tmp_path / "patches").mkdir()
    return serving(tmp_path / "map.fold", patches=tmp_path / "patches")


def test_the_map_says_what_it_holds(client: Client, street: ServedStreet) -> None:
    said = client.get("/map").json()
    assert (said["seal"], said["anchor"]) == (seal_of(street.folder / "map.fold"), vars(HERE))
    assert said["bytes"] == (street.folder / "map.fold").stat().st_size
    layer = said["layers"]["visual"]
    west, south, east, north = layer["bounds_m"]
    for query, pose in street.queries:
        centre = -pose[:3, :3].T @ pose[:3, 3]
        assert west - 30 < centre[0] < east + 30, query.name
        assert south - 30 < centre[1] < north + 30, query.name
    low_lon, low_lat, high_lon, high_lat = layer["bounds_deg"]
    assert 0 < high_lat - low_lat < 0.01
    assert 0 < high_lon - low_lon < 0.01
    tag = client.get("/map").headers["etag"]
    assert client.get("/map", headers={"If-None-Match": tag}).status_code == 304


def test_the_file_whole_and_in_ranges(client: Client, street: ServedStreet) -> None:
    content = (street.folder / "map.fold").read_bytes()
    whole = client.get("/map/file")
    assert whole.content == content
    tag = whole.headers["etag"]
    assert tag == f'"{seal_of(street.folder / "map.fold")}"'
    assert client.get("/map/file", headers={"If-None-Match": f'"x", W/{tag}'}).status_code == 304
    head = client.ask("HEAD", "/map/file")
    assert (head.content, head.headers["content-length"]) == (b"", str(len(content)))
    last = len(content) - 1
    for asked, first, stop in (
        ("bytes=0-0", 0, 1),
        ("bytes=100-299", 100, 300),
        (f"bytes={last}-", last, last + 1),
        ("bytes=-7", len(content) - 7, len(content)),
        (f"bytes=5-{10**9}", 5, len(content)),
        (f"bytes=-{10**9}", 0, len(content)),
    ):
        part = client.get("/map/file", headers={"Range": asked, "If-Range": tag})
        assert (part.status_code, part.content) == (206, content[first:stop]), asked
        assert part.headers["content-range"] == f"bytes {first}-{stop - 1}/{len(content)}"
    for ignored in ("bytes=3-1", "bytes=-", "lines=0-1", "bytes=0-1,3-4", "bytes=a-b", ""):
        assert client.get("/map/file", headers={"Range": ignored}).content == content
    assert client.get("/map/file", headers={"Range": "bytes=0-1", "If-Range": '"other"'}).content == content
    for beyond in (f"bytes={len(content)}-", "bytes=-0"):
        refused = client.get("/map/file", headers={"Range": beyond})
        assert (refused.status_code, refused.headers["content-range"]) == (416, f"bytes */{len(content)}")


def test_a_part_is_that_of_the_command_line(client: Client, street: ServedStreet, tmp_path: Path) -> None:
    west, south, east, north = client.get("/map").json()["layers"]["visual"]["bounds_m"]
    box = f"{west},{south},{(west + east) / 2},{north}"
    extract(street.folder / "map.fold", Area.box(box), tmp_path / "part.fold")
    part = client.get("/map/file", params={"bbox": box})
    assert part.content == (tmp_path / "part.fold").read_bytes()
    assert client.get("/map/file", params={"bbox": box, "layer": "visual"}).status_code == 200
    again = client.get("/map/file", params={"bbox": box}, headers={"If-None-Match": part.headers["etag"]})
    assert again.status_code == 304
    ranged = client.get("/map/file", params={"bbox": box}, headers={"Range": "bytes=16-99"})
    assert ranged.content == part.content[16:100]
    for wrong, status in (
        ({"bbox": "1,2,3"}, 400),
        ({"bbox": "1,1,0,0"}, 400),
        ({"bbox": "1e6,1e6,2e6,2e6"}, 404),
        ({"bbox": box, "layer": "lidar"}, 404),
        ({"layer": "visual"}, 400),
    ):
        answer = client.get("/map/file", params=wrong)
        assert answer.status_code == status, answer.text
        check(answer.json(), PROBLEM)
        assert str(street.folder) not in answer.text


def test_patches_lead_to_the_map(own: Client, tmp_path: Path) -> None:
    versions = []
    for number in range(3):
        with update(tmp_path / "map.fold") as updater:
            updater.put_metadata("version", number)
        versions.append(tmp_path / f"v{number}.fold")
        versions[-1].write_bytes((tmp_path / "map.fold").read_bytes())
    for old, new in pairwise(versions):
        write_patch(old, new, tmp_path / "patches" / f"zu ü {new.stem}.foldpatch")
    (tmp_path / "patches" / "broken.foldpatch").write_bytes(b"no patch")
    seals = [seal_of(path) for path in versions]
    told = own.get("/map/patches", params={"since": seals[0]}).json()
    assert told["seal"] == seals[2]
    assert [(one["from"], one["to"]) for one in told["patches"]] == [(seals[0], seals[1]), (seals[1], seals[2])]
    for one in told["patches"]:
        served = own.get(one["href"])
        assert served.content == (tmp_path / "patches" / one["name"]).read_bytes()
        assert len(served.content) == one["bytes"]
        assert own.get(one["href"], headers={"Range": "bytes=0-3"}).content == served.content[:4]
    assert own.get("/map/patches", params={"since": seals[2]}).json()["patches"] == []
    assert len(own.get("/map/patches").json()["patches"]) == 2
    for path in ("/map/patches?since=00", "/map/patches/broken.foldpatch", "/map/patches/..%2Fmap.fold"):
        answer = own.get(path)
        assert answer.status_code == 404
        check(answer.json(), PROBLEM)


def test_another_map_takes_its_place_while_requests_end_on_the_old(own: Client, tmp_path: Path) -> None:
    path = tmp_path / "map.fold"
    old = seal_of(path)
    service = own.app.state.service
    with service.maps.use() as before:
        with update(path) as updater:
            updater.put_metadata("version", 1)
        with service.maps.use() as after:
            assert (before.seal, after.seal) == (old, seal_of(path))
        assert before.town.visual.whole() is not None  # still open
        assert os.pread(before.handle, 6, 0) == b"SQLite"
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(before.handle)
    assert own.get("/map").json()["seal"] == seal_of(path)
    assert own.get("/health").json() == {"status": "ok", "seal": seal_of(path), "problem": ""}
    assert "foldmap_map_swaps_total 1.0" in own.get("/metrics").text
    # what is no map is not served, nor is nothing
    kept = path.read_bytes()
    write_whole(path, kept[:5000])
    health = own.get("/health").json()
    assert (health["status"], health["seal"]) == ("degraded", own.get("/map").json()["seal"])
    path.unlink()
    assert own.get("/health").json()["status"] == "degraded"
    assert own.get("/map/file").content == kept
    write_whole(path, kept)
    assert own.get("/health").json()["status"] == "ok"


@pytest.mark.parametrize("written", [b"", bytes(3000)])
def test_a_map_that_is_written_over_in_place_is_not_sent_under_its_old_seal(
    own: Client, tmp_path: Path, written: bytes
) -> None:
    path = tmp_path / "map.fold"
    kept = path.read_bytes()
    with path.open("r+b") as file:  # cut, or of another content
        file.write(written)
        file.truncate(len(kept) if written else 20_000)
    answer = own.get("/map/file")
    assert answer.status_code == 503
    assert "by one rename" in answer.json()["error"]["cure"]
    check(answer.json(), PROBLEM)
    write_whole(path, kept)
    assert own.get("/map/file").content == kept


def test_a_map_is_swapped_while_many_ask(own: Client, street: ServedStreet, tmp_path: Path) -> None:
    path, seals, stop = tmp_path / "map.fold", {seal_of(tmp_path / "map.fold")}, threading.Event()

    def swap() -> None:
        for number in range(50):
            with update(path) as updater:
                updater.put_metadata("version", number)
            seals.add(seal_of(path))
            if stop.wait(0.01):
                return

    swapping = threading.Thread(target=swap)
    swapping.start()
    asked = [("POST", PHOTO, {"json": street.asked(n % 4)}) for n in range(4)]
    asked += [("GET", where, {}) for where in ("/map", "/map/file", "/health") for _ in range(8)]
    answers = own.together(*asked)
    stop.set()
    swapping.join()
    assert [answer.status_code for answer in answers] == [200] * len(answers)
    for answer in answers:
        seal = answer.headers.get("foldmap-seal") or answer.headers.get("etag", "").strip('"') or answer.json()["seal"]
        assert seal in seals
    assert own.get("/map").json()["seal"] == seal_of(path)


def test_who_bears_no_token_gets_nothing(street: ServedStreet, serving: Callable[..., Client]) -> None:
    guarded = serving(street.folder / "map.fold", token="s3cret")
    for headers in (
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic s3cret"},
        {"Authorization": "s3cret"},
    ):
        for method, path in (("GET", "/map"), ("GET", "/metrics"), ("POST", PHOTO), ("GET", "/nothing")):
            answer = guarded.ask(method, path, headers=headers)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
            check(answer.json(), PROBLEM)
    assert guarded.get("/map", headers={"Authorization": "bearer s3cret"}).status_code == 200
    assert guarded.get("/health").status_code == 200


def test_pages_of_an_origin_may_ask(street: ServedStreet, serving: Callable[..., Client]) -> None:
    ours = serving(street.folder / "map.fold", origins=("https://app.example.org",), token="x")
    asked = {"Origin": "https://app.example.org", "Access-Control-Request-Method": "POST"}
    asked["Access-Control-Request-Headers"] = "authorization,content-type"
    answer = ours.ask("OPTIONS", PHOTO, headers=asked)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, asked["Origin"])
    assert ours.ask("OPTIONS", PHOTO, headers={**asked, "Origin": "https://other.org"}).status_code == 400


def test_more_than_the_queue_holds_are_told_to_come_again(street: ServedStreet, serving: Callable[..., Client]) -> None:
    small = serving(street.folder / "map.fold", queue=1)
    hold, began = threading.Event(), threading.Event()
    service = small.app.state.service
    busy = service.localizing.submit(lambda: (began.set(), hold.wait(20)))
    assert began.wait(20)
    waiting = service.localizing.submit(lambda: 7)
    answer = small.post(PHOTO, json=street.asked())
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) >= 1
    check(answer.json(), PROBLEM)
    hold.set()
    assert waiting.result(20) == 7
    assert busy.result(20) is not None
    assert small.post(PHOTO, json=street.asked()).status_code == 200
    assert "foldmap_pending 0.0" in small.get("/metrics").text


def test_who_hung_up_is_not_worked_for() -> None:
    """Clients that wait no longer ask again: what they asked first must not keep those behind them waiting."""
    pool, hold, worked = BoundedPool("test", 8, 20.0), threading.Event(), list[int]()

    async def asked() -> list[object]:
        busy = asyncio.ensure_future(pool.run(lambda: hold.wait(20)))
        left = [pool.run(lambda: worked.append(1), asyncio.sleep(0.05)) for _ in range(3)]
        stays = asyncio.ensure_future(pool.run(lambda: worked.append(2), asyncio.sleep(60)))
        gone = await asyncio.gather(*left, return_exceptions=True)
        assert pool.pending == 2
        hold.set()
        await asyncio.gather(busy, stays)
        return gone

    gone = asyncio.run(asked())
    assert all(isinstance(one, Problem) and one.status == 400 for one in gone)
    assert (worked, pool.pending) == ([2], 0)
    pool.close()


def test_of_several_workers_each_request_finds_an_idle_one(
    street: ServedStreet, serving: Callable[..., Client], client: Client
) -> None:
    several = serving(street.folder / "map.fold", workers=2)
    assert several.post(PHOTO, json=street.asked()).headers["connection"] == "close"
    assert "connection" not in client.post(PHOTO, json=street.asked()).headers


def test_nobody_waits_for_ever(street: ServedStreet, serving: Callable[..., Client]) -> None:
    hasty = serving(street.folder / "map.fold", timeout_s=0.2)
    hold = threading.Event()
    hasty.app.state.service.localizing.submit(lambda: hold.wait(20))
    answer = hasty.post(PHOTO, json=street.asked())
    hold.set()
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "timeout")
    assert answer.headers["retry-after"]


def test_bodies_have_a_limit(street: ServedStreet, serving: Callable[..., Client]) -> None:
    small = serving(street.folder / "map.fold", max_body_bytes=1000)

    async def parts() -> Any:
        for _ in range(20):
            yield b"x" * 100

    for body in (b"x" * 1001, parts()):
        answer = small.post(PHOTO, content=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "size")
    assert small.post(PHOTO, content=b"x" * 1000).status_code == 400
    assert small.post(PHOTO, content=b"x", headers={"Content-Encoding": "gzip"}).status_code == 415


def test_what_is_not_there_is_json_too(client: Client) -> None:
    for method, path, status in (("GET", "/", 404), ("PUT", PHOTO, 405), ("POST", "/map", 405)):
        answer = client.ask(method, path)
        assert answer.status_code == status
        check(answer.json(), PROBLEM)
    assert client.get(PHOTO).json() == {"status": "ready"}


def test_metrics_count_requests_and_answers(client: Client, street: ServedStreet) -> None:
    client.post(PHOTO, json=street.asked())
    told = client.get("/metrics").text
    assert 'foldmap_requests_total{route="/localize/geopose",status="200"}' in told
    assert 'foldmap_estimates_total{layer="visual",status=' in told
    assert "foldmap_request_seconds_bucket" in told


def test_openapi_describes_every_route(client: Client) -> None:
    said = client.get("/openapi.json").json()
    assert said == openapi(False)
    routes = {(route.path, how) for route in client.app.routes for how in route.methods - {"HEAD"}}
    assert routes == {(path, how.upper()) for path, hows in said["paths"].items() for how in hows}
    for schema in said["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    assert openapi(True)["security"] == [{"token": []}]


def test_the_worth_of_an_answer_is_in_its_headers() -> None:
    told = worth_headers("degraded", ProtectionLevel(1e-3, 0.25, np.pi / 180), "ab")
    assert told["Foldmap-Protection-Level"] == "position_m=0.2500;orientation_deg=1.0000;risk=0.001"
    assert told["Foldmap-Status"] == "degraded"


def test_what_is_no_map_is_not_served(tmp_path: Path) -> None:
    with pytest.raises(NotAFoldFileError):
        MapHolder(tmp_path / "nothing.fold")
    (tmp_path / "text.fold").write_text("no map")
    with pytest.raises(NotAFoldFileError):
        MapHolder(tmp_path / "text.fold")
