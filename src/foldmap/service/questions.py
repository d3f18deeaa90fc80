"""What clients of the GeoPoseProtocol (version 2) send, read strictly: a camera's image, its intrinsics, and priors."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from foldmap.atlas.jsontext import load_json
from foldmap.errors import InputError, MapFormatError
from foldmap.geometry.camera import CAMERA_MODELS, Camera, require_plausible
from foldmap.service.problems import bad_request, of_client
from foldmap.types import ByteArray
from foldmap.visual.features.images import image_size_px, is_turned, read_image_bytes

LEAST_RADIUS_M = 64.0
"""Around a prior no smaller disc is believed in: as `foldmap.api.opened.FoldedMap.localize` has it."""
_SIGMAS = 3.0
_MOST_ID, _MOST_READINGS = 256, 1000
_MOST_PARAMETER = 1e6
_RAW = {"GRAY8": 1, "RGBA32": 4}
"""Formats of bare pixels, and bytes a pixel; what begins as an image file is one, whatever it is called."""


@dataclass(frozen=True)
class GeoPrior:
    """Where the camera is, roughly: WGS84 degrees, right to so many metres; told at a time, ms since 1970."""

    latitude_deg: float
    longitude_deg: float
    radius_m: float
    time_ms: float


@dataclass(frozen=True)
class PhotoQuestion:
    """A photo, uint8 (H, W) or (H, W, 3), to be localized; id and timestamp (ms since 1970) go back as they came."""

    id: str
    timestamp: int | float
    pixels: ByteArray
    camera: Camera
    prior: GeoPrior | None


def read_question(body: bytes, max_pixels: int) -> PhotoQuestion:
    """The question in a request's body.

    Of several camera readings the first is asked about. Of priors the newest counts: readings of satellites with an
    accuracy, and poses of before with theirs.

    Raises:
        Problem: 400, says what cannot be used.
    """
    said = _parsed(body)
    readings = _object(said, "sensorReadings")
    cameras = _list(readings, "cameraReadings")
    if not cameras:
        raise bad_request("there are no cameraReadings", "send an image with its intrinsics")
    reading = _is_object(cameras[0], "the camera reading")
    identity = said.get("id", "")
    if not isinstance(identity, str) or len(identity) > _MOST_ID:
        raise bad_request("the id is no text", f"send at most {_MOST_ID} characters")
    timestamp = _number(said, "timestamp", 0) if "timestamp" in said else _number(reading, "timestamp", 0)
    priors = [*_fixes(_list(readings, "geolocationReadings")), *_poses(_list(said, "priorPoses"))]
    prior = max(priors, key=lambda one: one.time_ms, default=None)
    try:
        pixels = _pixels(reading, max_pixels)
        camera = _camera(reading, *image_size_px(pixels))
    except InputError as error:
        raise of_client(error) from error
    return PhotoQuestion(identity, timestamp, pixels, camera, prior)


def _parsed(body: bytes) -> Mapping[str, Any]:
    try:
        return _is_object(load_json("the request", body.decode("utf-8-sig")), "the request")
    except (UnicodeDecodeError, MapFormatError) as error:
        reason = error.message if isinstance(error, MapFormatError) else f"the request is no UTF-8: {error}"
        raise bad_request(reason[:300], "send a GeoPoseProtocol request as JSON", "json") from error


def _pixels(reading: Mapping[str, Any], max_pixels: int) -> ByteArray:
    text, size = reading.get("imageBytes"), _list(reading, "size")
    if not isinstance(text, str) or not text:
        raise bad_request("the camera reading has no imageBytes", "send the image in base64")
    orientation = _is_object(reading.get("imageOrientation") or {}, "imageOrientation")
    if orientation.get("mirrored") is True:
        raise bad_request("a mirrored image shows no place", "send it as the camera sees it")
    rotation_deg = _number(orientation, "rotation", 0)
    if rotation_deg % 360:
        raise bad_request(
            f"the image is turned by {rotation_deg:g} degrees", "send it upright, with intrinsics of that"
        )
    text = text.partition(",")[2] if text.startswith("data:") else text
    try:
        payload = base64.b64decode(_standard(text), validate=True)
    except ValueError as error:
        raise bad_request("imageBytes are no base64", "send the image in base64") from error
    if size and not (len(size) == 2 and all(type(one) in (int, float) and 0 <= one < 1e6 for one in size)):
        raise bad_request("the size of the image is no width and height", "send [width, height]")
    width, height = (int(one) for one in size) if size else (0, 0)
    each = _RAW.get(str(reading.get("imageFormat")).upper(), 0)
    if each and 0 < width * height <= max_pixels and len(payload) == each * width * height:
        raw = np.frombuffer(payload, np.uint8).reshape(height, width, each)
        return np.ascontiguousarray(raw[:, :, 0] if each == 1 else raw[:, :, :3])
    pixels = read_image_bytes(payload, max_pixels)
    if not size and is_turned(payload):
        said = "the photo's EXIF says that it is turned, and nobody says of which image the intrinsics are"
        raise bad_request(said, "send it upright, or the size of the image as its pixels are stored")
    found = image_size_px(pixels)
    if width and height and (width, height) != found:
        said = f"the image is {found[0]} x {found[1]} px, its size is said to be {width} x {height}"
        raise bad_request(said, "send the intrinsics and the size of the image that is sent")
    return pixels


def _standard(text: str) -> str:
    """Base64 in its standard alphabet, in one line and padded, also of what was written for URLs (RFC 4648, 5)."""
    joined = "".join(text.split()).replace("-", "+").replace("_", "/").rstrip("=")
    return joined + "=" * (-len(joined) % 4)


def _camera(reading: Mapping[str, Any], width: int, height: int) -> Camera:
    params = _is_object(reading.get("params") or {}, "params")
    model = str(params.get("model", "")).upper()
    values = _list(params, "modelParams")
    if model not in CAMERA_MODELS:
        known = ", ".join(CAMERA_MODELS)
        raise bad_request(f"the camera's model is {model[:40]!r}", f"send params with model and modelParams: {known}")
    if not all(type(one) in (int, float) and abs(one) <= _MOST_PARAMETER for one in values):
        raise bad_request("modelParams are no numbers", "send COLMAP's parameters of the model, px")
    camera = Camera(model, width, height, np.array(values, np.float64))
    require_plausible(camera)
    return camera


def _fixes(readings: Sequence[Any]) -> list[GeoPrior]:
    """Readings of satellites; those without an accuracy say nothing."""
    found = []
    for one in readings:
        reading = _is_object(one, "a geolocation reading")
        accuracy_m = _number(reading, "accuracy", 0)
        if accuracy_m > 0:
            place = _number(reading, "latitude"), _number(reading, "longitude")
            found.append(_prior(*place, accuracy_m, _number(reading, "timestamp", 0)))
    return found


def _poses(answers: Sequence[Any]) -> list[GeoPrior]:
    """Answers of before, as this protocol has them; those without an accuracy say nothing."""
    found = []
    for one in answers:
        answer = _is_object(one, "a prior pose")
        accuracy_m = _number(_object(answer, "accuracy"), "position", 0)
        if accuracy_m > 0:
            position = _object(_object(answer, "geopose"), "position")
            place = _number(position, "lat"), _number(position, "lon")
            found.append(_prior(*place, accuracy_m, _number(answer, "timestamp", 0)))
    return found


def _prior(latitude_deg: float, longitude_deg: float, accuracy_m: float, time_ms: float) -> GeoPrior:
    if abs(latitude_deg) > 90 or abs(longitude_deg) > 180:
        raise bad_request(f"there is no place at {latitude_deg}, {longitude_deg}", "send degrees")
    return GeoPrior(latitude_deg, longitude_deg, max(LEAST_RADIUS_M, _SIGMAS * accuracy_m), time_ms)


def _object(said: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    return _is_object(said.get(key) or {}, key)


def _is_object(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise bad_request(f"{what} is no object", "see GET /openapi.json")
    return value


def _list(said: Mapping[str, Any], key: str) -> Sequence[Any]:
    value = said.get(key)
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > _MOST_READINGS:
        raise bad_request(f"{key} is no list, or a longer one than {_MOST_READINGS}", "see GET /openapi.json")
    return value


def _number(said: Mapping[str, Any], key: str, default: int | None = None) -> int | float:
    value = said.get(key, default)
    if value is None and default is not None:
        return default
    if type(value) not in (int, float) or not math.isfinite(value):
        raise bad_request(f"{key} is no number", "see GET /openapi.json")
    found: int | float = value
    return found
