"""The service as OpenAPI 3.1 describes it."""

from __future__ import annotations

from typing import Any

from foldmap.service.answers import FORMS, GEOPOSE, JSON, OSCP
from foldmap.service.sweeps import PARAMETERS
from foldmap.version import __version__

_NUMBER: dict[str, Any] = {"type": "number"}
_TEXT: dict[str, Any] = {"type": "string"}


def _object(required: tuple[str, ...], closed: bool = True, **properties: Any) -> dict[str, Any]:
    said: dict[str, Any] = {"type": "object", "properties": properties, "required": list(required)}
    return {**said, "additionalProperties": False} if closed else said


def _named(schema: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{schema}"}


def _schemas() -> dict[str, Any]:
    quaternion = _object(("x", "y", "z", "w"), x=_NUMBER, y=_NUMBER, z=_NUMBER, w=_NUMBER)
    position = _object(("lat", "lon", "h"), lat=_NUMBER, lon=_NUMBER, h=_NUMBER)
    frame = _object(("authority", "id", "parameters"), authority=_TEXT, id=_TEXT, parameters=_TEXT)
    angles = _object(("yaw", "pitch", "roll"), yaw=_NUMBER, pitch=_NUMBER, roll=_NUMBER)
    advanced = _object(
        ("frameSpecification", "quaternion"),
        frameSpecification=frame,
        quaternion=quaternion,
        validTime={"type": "integer"},
    )
    geopose = {
        "oneOf": [
            _object(("position", "quaternion"), position=position, quaternion=quaternion),
            _object(("position", "angles"), position=position, angles=angles),
            advanced,
        ]
    }
    accuracy = _object(("position", "orientation"), position=_NUMBER, orientation=_NUMBER)
    params = _object(
        ("model", "modelParams"), closed=False, model=_TEXT, modelParams={"type": "array", "items": _NUMBER}
    )
    camera = _object(
        ("imageBytes", "params"),
        closed=False,
        imageBytes={"type": "string", "contentEncoding": "base64"},
        imageFormat=_TEXT,
        size={"type": "array", "items": _NUMBER},
        params=params,
    )
    fix = _object(("latitude", "longitude"), closed=False, latitude=_NUMBER, longitude=_NUMBER, accuracy=_NUMBER)
    readings = _object(
        ("cameraReadings",),
        closed=False,
        cameraReadings={"type": "array", "minItems": 1, "items": camera},
        geolocationReadings={"type": "array", "items": fix},
    )
    error = _object(("code", "message", "cure"), code=_TEXT, message=_TEXT, cure=_TEXT)
    return {
        "GeoPose": geopose,
        "Accuracy": accuracy,
        "GeoPoseRequest": _object(
            ("sensorReadings",),
            closed=False,
            id=_TEXT,
            timestamp=_NUMBER,
            sensorReadings=readings,
            priorPoses={"type": "array", "items": {"type": "object"}},
        ),
        "GeoPoseResponse": _object(
            ("id", "timestamp", "accuracy", "type", "geopose"),
            id=_TEXT,
            timestamp=_NUMBER,
            accuracy=_named("Accuracy"),
            type={"const": "geopose"},
            geopose=_named("GeoPose"),
            foldmap={"type": "object"},
        ),
        "SweepResponse": _object(
            ("status", "pose", "covariance", "accuracy", "geopose", "seal"),
            closed=False,
            status={"enum": ["ok", "degraded"]},
            pose=_object(("x_m", "y_m", "heading_rad"), x_m=_NUMBER, y_m=_NUMBER, heading_rad=_NUMBER),
            accuracy=_named("Accuracy"),
            geopose={"oneOf": [_named("GeoPose"), {"type": "null"}]},
            seal=_TEXT,
        ),
        "Problem": _object(("error",), closed=False, error=error, status=_TEXT, reason=_TEXT),
    }


def _answer(text: str, *media: str, schema: str = "Problem") -> dict[str, Any]:
    return {"description": text, "content": {one: {"schema": _named(schema)} for one in media or (JSON,)}}


def _query(name: str, text: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": text, "required": False, "schema": schema}


def _refusals(*more: tuple[int, str]) -> dict[str, Any]:
    said = {400: "The request cannot be used.", 401: "The token is missing or wrong.", **dict(more)}
    return {str(status): _answer(text) for status, text in said.items()}


_LOCALIZING = (
    (404, "There is no pose: status and reason say why."),
    (408, "The body took too long."),
    (413, "The body is too long."),
    (415, "The body is compressed."),
    (429, "Too many wait: Retry-After says when to come again."),
    (501, "The map cannot answer such questions."),
    (503, "No answer in time."),
)


def _paths() -> dict[str, Any]:
    form = _query("geopose", "Encoding of the pose.", {"enum": list(FORMS)})
    details = _query("details", "Also the estimate in the map's frame.", {"type": "boolean"})
    numbers = [
        _query(name, text, {"type": "number", "minimum": least, "maximum": most})
        for name, (least, most, _, text) in PARAMETERS.items()
    ]
    octets = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    bbox = _query("bbox", "west,south,east,north in the map's metres: that part alone.", _TEXT)
    layer = _query("layer", "Of a part: this layer alone; may be given again.", _TEXT)
    since = _query("since", "Seal of the map that the client has.", _TEXT)
    plain = {"200": {"description": "JSON.", "content": {JSON: {"schema": {"type": "object"}}}}, **_refusals()}
    nothing = _refusals((404, "There is none."), (416, "The range lies outside."))
    whole = {"200": {"description": "Whole.", "content": octets}, "206": {"description": "A range.", "content": octets}}
    name = {"name": "name", "in": "path", "required": True, "schema": _TEXT}
    return {
        "/localize/geopose": {
            "post": {
                "summary": "Where a photo was taken (GeoPoseProtocol, version 2).",
                "parameters": [form, details],
                "requestBody": {"required": True, "content": {JSON: {"schema": _named("GeoPoseRequest")}}},
                "responses": {
                    "200": {
                        "description": "A pose.",
                        "content": {
                            OSCP: {"schema": _named("GeoPoseResponse")},
                            JSON: {"schema": _named("GeoPoseResponse")},
                            GEOPOSE: {"schema": _named("GeoPose")},
                        },
                    },
                    **_refusals((406, "Nothing that is accepted is answered."), *_LOCALIZING),
                },
            },
            "get": {"summary": "Whether somebody is there.", "responses": plain},
        },
        "/localize/sweep": {
            "post": {
                "summary": "Where a sweep was made: rows of x y z intensity, float32, little-endian.",
                "parameters": [form, *numbers],
                "requestBody": {"required": True, "content": octets},
                "responses": {"200": _answer("A pose.", schema="SweepResponse"), **_refusals(*_LOCALIZING)},
            }
        },
        "/map": {"get": {"summary": "What the map holds.", "responses": plain}},
        "/map/file": {
            "get": {
                "summary": "The map, or a part of it.",
                "parameters": [bbox, layer],
                "responses": {**whole, "304": {"description": "As before."}, **nothing, **_refusals(*_LOCALIZING[4:])},
            }
        },
        "/map/patches": {
            "get": {"summary": "Patches to the map.", "parameters": [since], "responses": {**plain, **nothing}}
        },
        "/map/patches/{name}": {
            "get": {
                "summary": "A patch.",
                "parameters": [name],
                "responses": {**whole, "304": {"description": "As before."}, **nothing},
            }
        },
        "/health": {"get": {"summary": "Whether the map is served as it lies there.", "responses": plain}},
        "/metrics": {
            "get": {
                "summary": "For Prometheus.",
                "responses": {"200": {"description": "Text.", "content": {"text/plain": {"schema": _TEXT}}}},
            }
        },
        "/openapi.json": {"get": {"summary": "This.", "responses": plain}},
    }


def openapi(token: bool) -> dict[str, Any]:
    """The description; ``token``: whether clients must bear one."""
    said: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "foldmap", "version": __version__, "description": "Localization in a folded map."},
        "paths": _paths(),
        "components": {"schemas": _schemas()},
    }
    if token:
        said["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        said["security"] = [{"token": []}]
    return said
