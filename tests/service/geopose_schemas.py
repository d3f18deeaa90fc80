"""JSON schemas of what is answered, written from OGC 21-056r11 and the GeoPoseProtocol; strict: no further keys."""

from __future__ import annotations

from typing import Any

import jsonschema


def closed(**properties: Any) -> dict[str, Any]:
    """An object with these keys, all of them, and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


NUMBER = {"type": "number"}
POSITION = closed(
    lat={"type": "number", "minimum": -90, "maximum": 90},
    lon={"type": "number", "minimum": -180, "maximum": 180},
    h=NUMBER,
)
UNIT = {"type": "number", "minimum": -1, "maximum": 1}
QUATERNION = closed(x=UNIT, y=UNIT, z=UNIT, w=UNIT)
ANGLES = closed(yaw=NUMBER, pitch=NUMBER, roll=NUMBER)
BASIC_QUATERNION = closed(position=POSITION, quaternion=QUATERNION)
BASIC_YPR = closed(position=POSITION, angles=ANGLES)
FRAME = closed(
    authority={"const": "/geopose/1.0"},
    id={"const": "LTP-ENU"},
    parameters={"type": "string", "pattern": r"^longitude=-?[0-9.]+&latitude=-?[0-9.]+&height=-?[0-9.]+$"},
)
ADVANCED = closed(frameSpecification=FRAME, quaternion=QUATERNION, validTime={"type": "integer", "minimum": 0})
POSITIVE = {"type": "number", "exclusiveMinimum": 0}


def response(geopose: dict[str, Any]) -> dict[str, Any]:
    """Of the GeoPoseProtocol, version 2."""
    return closed(
        id={"type": "string"},
        timestamp=NUMBER,
        accuracy=closed(position=POSITIVE, orientation=POSITIVE),
        type={"const": "geopose"},
        geopose=geopose,
    )


PROBLEM = {
    "type": "object",
    "properties": {"error": closed(code={"type": "string"}, message={"type": "string"}, cure={"type": "string"})},
    "required": ["error"],
}
FORMS = {"basic-quaternion": BASIC_QUATERNION, "basic-ypr": BASIC_YPR, "advanced": ADVANCED}


def check(value: Any, schema: dict[str, Any]) -> None:
    """Raise where a value is not what a schema says."""
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(value)
