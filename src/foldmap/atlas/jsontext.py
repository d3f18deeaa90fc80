"""JSON as the format allows it: one canonical text for one value, nothing that two readers could take differently."""

import json
import math
from typing import Any

from foldmap.atlas.limits import MAX_JSON_BYTES
from foldmap.errors import ConfigError, LimitError, MapFormatError

_LONGEST_INTEGER = 20


def dump_json(what: str, value: Any) -> str:
    """Canonical text: sorted keys, no blanks, no NaN; ``what`` the value is, for messages.

    What is no text in a name (a file's may be any bytes) is written as a question mark.
    Raises `ConfigError`: JSON cannot say it; `LimitError`: it is longer than a reader accepts.
    """
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
        text = text.encode(errors="replace").decode()
        size = len(text.encode())
        load_json(what, text)  # nothing is written that a reader would refuse
    except (TypeError, ValueError, RecursionError, MapFormatError) as error:
        raise ConfigError(f"{what} cannot be written as JSON: {error}", "use plain numbers, texts and lists") from error
    if size > MAX_JSON_BYTES:
        raise LimitError(f"{what} has {size} bytes of JSON, the limit is {MAX_JSON_BYTES}", "store less")
    return text


def load_json(what: str, text: str) -> Any:
    """Parse strictly: no NaN, infinity, or number beyond 64 bits, no key twice, not nested too deeply."""
    try:
        return json.loads(
            text, object_pairs_hook=_unique, parse_constant=_refuse, parse_float=_finite, parse_int=_integer
        )
    except (ValueError, RecursionError) as error:
        raise MapFormatError(f"{what} is not valid JSON: {error}") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key occurs twice")
    return found


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is too large for a 64-bit float")
    return value


def _integer(text: str) -> int:
    if len(text) > _LONGEST_INTEGER or not -(1 << 63) <= int(text) < 1 << 63:
        raise ValueError(f"{text[:30]} does not fit a signed 64-bit integer")
    return int(text)


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not a number")
