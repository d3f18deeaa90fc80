"""How answers are written: what clients accept, the encodings of GeoPose 1.0, and what it says of a pose's worth."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from starlette.responses import Response

from foldmap.api.plain import plain
from foldmap.geometry.geopose import GeoPose
from foldmap.localize.protection import ProtectionLevel
from foldmap.service.problems import Problem
from foldmap.types import DoubleArray

OSCP, GEOPOSE, JSON = "application/vnd.oscp+json", "application/geopose+json", "application/json"
VERSIONS = {OSCP: "2.0", GEOPOSE: "1.0"}
BASIC_QUATERNION, BASIC_YPR, ADVANCED = FORMS = ("basic-quaternion", "basic-ypr", "advanced")
"""Encodings of GeoPose 1.0 that are answered."""
_SAME = {OSCP: {"2", "2.0"}, GEOPOSE: {"1", "1.0"}}


@dataclass(frozen=True)
class Wanted:
    """The media type and the encoding of a pose that a client takes, and whether it wants all that is known of it."""

    media: str = OSCP
    form: str = BASIC_QUATERNION
    details: bool = False

    @property
    def content_type(self) -> str:
        """Of the answer."""
        return f"{self.media};version={VERSIONS[self.media]}" if self.media in VERSIONS else self.media

    def encoded(self, geopose: GeoPose, time_ms: float) -> dict[str, Any]:
        """A pose as it is wanted."""
        if self.form == ADVANCED:
            return geopose.advanced(int(time_ms) if time_ms > 0 else None)
        return geopose.basic_ypr() if self.form == BASIC_YPR else geopose.basic_quaternion()


@dataclass(frozen=True)
class Answer:
    """What an endpoint answers: JSON with its status, media type and headers."""

    body: Mapping[str, Any]
    status: int = 200
    media: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self) -> Response:
        """As Starlette sends it."""
        # ASCII, for ids may hold halves of characters
        text = json.dumps(plain(self.body), allow_nan=False)
        return Response(text, self.status, dict(self.headers), media_type=self.media)


def wanted_of(accept: str, query: Mapping[str, str]) -> Wanted:
    """What a client takes: by its Accept header; ``?geopose=`` names the encoding, ``?details=true`` asks for all.

    Raises:
        Problem: 406, nothing that it takes is answered here; 400, there is no such encoding.
    """
    media, told = _media_of(accept)
    form = query.get("geopose") or told.get("geopose") or BASIC_QUATERNION
    if form not in FORMS:
        raise Problem(400, "request", f"there is no encoding {form[:40]!r}", f"choose {', '.join(FORMS)}")
    return Wanted(media, form, query.get("details", "").lower() in ("1", "true", "yes"))


def _media_of(accept: str) -> tuple[str, dict[str, str]]:
    """The best media type of an Accept header that is answered here, with its parameters."""
    best: tuple[float, str, dict[str, str]] | None = None
    for one in accept.split(",") if accept.strip() else ["*/*"]:
        name, *rest = (word.strip() for word in one.split(";"))
        told = {
            key.strip().lower(): value.strip().strip('"') for key, _, value in (word.partition("=") for word in rest)
        }
        name = name.lower()
        media = OSCP if name in ("*/*", "application/*") else name
        fits = media == JSON or (media in VERSIONS and told.get("version", VERSIONS[media]) in _SAME[media])
        weight = _weight(told.get("q", "1"))
        if fits and weight > 0 and (best is None or weight > best[0]):
            best = weight, media, told
    if best is None:
        known = ", ".join([*(f"{name};version={version}" for name, version in VERSIONS.items()), JSON])
        raise Problem(406, "accept", "nothing that is accepted is answered here", f"accept {known}")
    return best[1], best[2]


def _weight(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if 0 <= value <= 1 else 0.0


def accuracy_of(covariance: DoubleArray, axes: int) -> dict[str, float]:
    """What the protocol calls accuracy: one standard deviation, in the mean of the axes' squares, metres and degrees.

    Args:
        covariance: of the position's axes first, then of the rotation's.
        axes: of the position.
    """
    variances = np.diag(covariance)
    position, orientation = (math.sqrt(float(part.mean())) for part in (variances[:axes], variances[axes:]))
    return {"position": position, "orientation": math.degrees(orientation)}


def worth_headers(status: str, level: ProtectionLevel | None, seal: str) -> dict[str, str]:
    """What an answer is worth, and of which map, where the protocol has no place for it."""
    said = {"Foldmap-Status": status, "Foldmap-Seal": seal}
    if level is not None:
        turn_deg = math.degrees(level.rotation_rad)
        bound = f"position_m={level.position:.4f};orientation_deg={turn_deg:.4f};risk={level.risk:g}"
        said["Foldmap-Protection-Level"] = bound
    return said


HEADERS = ("Foldmap-Status", "Foldmap-Seal", "Foldmap-Protection-Level", "ETag", "Retry-After")


def lost(status: str, reason: str, known: Iterable[tuple[str, Any]] = ()) -> Problem:
    """No pose is answered: 404, with the estimate's status and why."""
    more = {"status": status, "reason": reason, **dict(known)}
    return Problem(404, status, reason or status, "ask again from elsewhere", {"Foldmap-Status": status}, more)
