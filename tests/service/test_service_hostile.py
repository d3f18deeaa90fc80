"""Hostile requests: whatever is sent, nothing is a bug, nothing is answered by default, and all errors are JSON."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.world.hostile import hostile_requests
from tests.service.conftest import Client, ServedStreet
from tests.service.geopose_schemas import PROBLEM, check

ALLOWED = {200, 206, 304, 400, 404, 405, 406, 408, 413, 415, 416, 429, 501}
PATHS = ["/localize/geopose", "/localize/sweep", "/map", "/map/file", "/map/patches", "/health", "/openapi.json", "/x"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
HEADER = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30)
FEW = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


def encoded(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")


def judged(answer: Any) -> None:
    assert answer.status_code in ALLOWED, (answer.status_code, answer.text[:500])
    if answer.status_code >= 400:
        check(answer.json(), PROBLEM)


@pytest.fixture(scope="module")
def small(street: ServedStreet, serving: Callable[..., Client]) -> Client:
    return serving(street.folder / "map.fold", max_pixels=200_000, queue=50)


@FEW
@given(path=st.sampled_from(PATHS), method=st.sampled_from(["GET", "POST", "PUT", "HEAD"]), data=st.data())
def test_any_bytes_anywhere(small: Client, path: str, method: str, data: st.DataObject) -> None:
    body = data.draw(
        st.binary(max_size=64) | JSON.map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass"))
    )
    names = st.sampled_from(["bbox", "since", "x_m", "y_m", "heading_deg", "geopose", "radius_m", "layer", "q"])
    query = data.draw(st.dictionaries(names, st.text(max_size=12), max_size=4))
    headers = data.draw(
        st.dictionaries(st.sampled_from(["Accept", "Range", "If-None-Match", "If-Range", "Authorization"]), HEADER)
    )
    answer = small.ask(method, path, content=body, params=query, headers=headers)
    assert answer.status_code in ALLOWED, (answer.status_code, answer.text[:500])
    if answer.status_code >= 400 and method != "HEAD":
        check(answer.json(), PROBLEM)


def paths_in(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where a JSON value holds something."""
    found = [at]
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in children:
        found += paths_in(inner, (*at, key))
    return found


def replaced(value: Any, at: tuple[Any, ...], by: Any) -> Any:
    if not at:
        return by
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[at[0]] = replaced(copy[at[0]], at[1:], by)
    return copy


@FEW
@given(data=st.data())
def test_a_right_request_with_anything_in_one_place(small: Client, street: ServedStreet, data: st.DataObject) -> None:
    asked = street.asked()
    asked["sensorReadings"]["geolocationReadings"] = [
        {"latitude": 49.0, "longitude": 8.4, "accuracy": 1e6, "timestamp": 1}
    ]
    position = {"lat": 49.0, "lon": 8.4, "h": 0.0}
    asked["priorPoses"] = [{"timestamp": 0, "accuracy": {"position": 1e6}, "geopose": {"position": position}}]
    at = data.draw(st.sampled_from(paths_in(asked)))
    by = data.draw(JSON | st.sampled_from([1e308, -1e308, 1e-308, 2**63, -1, 0, "", [], {}]))
    judged(
        small.post("/localize/geopose", content=json.dumps(replaced(asked, at, by)).encode("utf-8", "surrogatepass"))
    )


def test_what_the_scoreboard_sends(small: Client, street: ServedStreet) -> None:
    photos = [street.asked(number) for number in range(2)]
    requests = hostile_requests(25, 7, photos)
    assert requests == hostile_requests(25, 7, photos)
    for one in requests:
        headers = {key: value for key, value in (one.headers or {}).items() if value.isascii()}
        answer = small.ask(one.method, one.path, content=one.body, headers=headers)
        assert answer.status_code in ALLOWED, (one, answer.text[:500])


@pytest.mark.parametrize("seed", range(5))
def test_damaged_images(small: Client, street: ServedStreet, seed: int) -> None:
    rng = random.Random(seed)
    payload = bytearray(street.photos[0])
    for _ in range(rng.randint(1, 6)):
        payload[rng.randrange(len(payload))] = rng.randrange(256)
    payload = payload[: rng.randrange(len(payload) // 2, len(payload) + 1)]
    judged(small.post("/localize/geopose", json=street.asked(0, imageBytes=base64.b64encode(payload).decode())))


@pytest.mark.parametrize("model", ["OPENCV", "FULL_OPENCV", "OPENCV_FISHEYE", "RADIAL"])
@pytest.mark.parametrize("size", [0.5, 1e6])
def test_any_distortion(small: Client, street: ServedStreet, model: str, size: float) -> None:
    many = {"OPENCV": 4, "FULL_OPENCV": 8, "OPENCV_FISHEYE": 4, "RADIAL": 2}[model]
    lens = [300.0, *([300.0] if model != "RADIAL" else []), 160.0, 120.0]
    params = {"model": model, "modelParams": [*lens, *[(-1) ** k * size for k in range(many)]]}
    judged(small.post("/localize/geopose", json=street.asked(0, params=params)))
