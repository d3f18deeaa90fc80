"""Generated requests, most of them hostile: seeded, so that what broke once can be asked again."""

from __future__ import annotations

import base64
import json
import random
import string
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import numpy as np

from benchmarks.world.served import Request, posted

_PATHS = ("/localize/geopose", "/localize/sweep", "/map", "/map/file", "/map/patches", "/map/patches/x", "/health", "/")
_METHODS = ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH")
_NAMES = ("bbox", "layer", "since", "geopose", "details", "x_m", "y_m", "heading_deg", "radius_m", "latitude_deg")
_TEXTS = (
    "",
    "0",
    "-1",
    "1e309",
    "nan",
    "inf",
    "0,0,1,1",
    "1,2,3",
    "\u00e9",
    "../../etc",
    "%00",
    "A" * 300,
    "basic-ypr",
)
_HEADERS = ("Accept", "Range", "If-Range", "If-None-Match", "Authorization", "Content-Encoding", "Content-Type")
_SAID = ("*/*", "text/html", "bytes=0-", "bytes=9-1", "bytes=-5", "bytes=0-0,2-3", "gzip", '"x"', "Bearer x", ";;,=q")
_VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 1e308, -1e-308, 2**63, "", "x", [], {}, [[]], {"x": 1}, "NaN", 10**30, "\ud800"),
)


def hostile_requests(count: int, seed: int, photos: Sequence[Mapping[str, Any]]) -> list[Request]:
    """So many requests: any bytes anywhere, right questions with a wrong value in one place, damaged images, sweeps."""
    rng = random.Random(seed)
    kinds = [_anything] * 6 + [_json] * 2 + [_bent] * 4 + [_image, _sweep, _right]
    return [rng.choice(kinds)(rng, photos) for _ in range(count)]


def _anything(rng: random.Random, photos: Sequence[Mapping[str, Any]]) -> Request:
    query = "&".join(f"{rng.choice(_NAMES)}={quote(rng.choice(_TEXTS))}" for _ in range(rng.randrange(4)))
    headers = {rng.choice(_HEADERS): rng.choice(_SAID) for _ in range(rng.randrange(3))}
    body = rng.randbytes(rng.choice((0, 0, 1, 16, 1000, 100_000)))
    return Request(rng.choice(_METHODS), f"{rng.choice(_PATHS)}?{query}", body, headers)


def _json(rng: random.Random, photos: Sequence[Mapping[str, Any]]) -> Request:
    text = json.dumps(_value(rng, 4))
    cut = text[: rng.randrange(len(text) + 1)] if rng.random() < 0.3 else text
    return Request("POST", "/localize/geopose", cut.encode("utf-8", "surrogatepass"))


def _value(rng: random.Random, depth: int) -> Any:
    if depth == 0 or rng.random() < 0.4:
        return rng.choice(_VALUES)
    keys = ("id", "timestamp", "sensorReadings", "cameraReadings", "priorPoses", "params", rng.choice(string.printable))
    if rng.random() < 0.5:
        return [_value(rng, depth - 1) for _ in range(rng.randrange(4))]
    return {rng.choice(keys): _value(rng, depth - 1) for _ in range(rng.randrange(5))}


def _bent(rng: random.Random, photos: Sequence[Mapping[str, Any]]) -> Request:
    """A right question with anything in one place of it."""
    question = json.loads(json.dumps(rng.choice(photos)))
    inner = question
    while True:
        keys = list(inner) if isinstance(inner, dict) else list(range(len(inner)))
        key = rng.choice(keys)
        if not isinstance(inner[key], dict | list) or not inner[key] or rng.random() < 0.3:
            inner[key] = _value(rng, 2)
            return posted(question)
        inner = inner[key]


def _image(rng: random.Random, photos: Sequence[Mapping[str, Any]]) -> Request:
    """A damaged photo."""
    question = json.loads(json.dumps(rng.choice(photos)))
    reading = question["sensorReadings"]["cameraReadings"][0]
    payload = bytearray(base64.b64decode(reading["imageBytes"]))
    for _ in range(rng.randint(1, 8)):
        payload[rng.randrange(len(payload))] = rng.randrange(256)
    cut = payload[: rng.randrange(len(payload) + 1)] if rng.random() < 0.5 else payload
    reading["imageBytes"] = base64.b64encode(cut).decode()
    return posted(question)


def _sweep(rng: random.Random, photos: Sequence[Mapping[str, Any]]) -> Request:
    rows = np.random.default_rng(rng.randrange(2**32)).normal(0, 10 ** rng.uniform(-3, 6), (rng.randrange(200), 4))
    body = rows.astype("<f4").tobytes()[: rng.choice((None, -1, -3))]
    return Request("POST", "/localize/sweep?x_m=0&y_m=0&heading_deg=0", body)


def _right(rng: random.Random, photos: Sequence[Mapping[str, Any]]) -> Request:
    return posted(rng.choice(photos))
