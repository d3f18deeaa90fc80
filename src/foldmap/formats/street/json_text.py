"""JSON of the outside world: size limited, no NaN, errors that name the file and the place in it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from foldmap.errors import MapInputError
from foldmap.formats.street.reading import FARTHEST_M
from foldmap.types import DoubleArray

_MAX_BYTES = 1 << 29


def read_json(path: Path, what: str) -> Any:
    """Parse a file.

    Args:
        path: UTF-8 text, 512 MiB at most.
        what: what the file should be, for the cure.

    Raises:
        MapInputError: missing, too large, no JSON, NaN or infinity in it, or nested too deep.
    """
    path = Path(path)
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise MapInputError(f"{path} is larger than 512 MiB", "split the map")
        text = path.read_text(encoding="utf-8-sig")
        return json.loads(text, parse_constant=_constant)
    except OSError as error:
        raise MapInputError(f"{path} cannot be read: {error.strerror or error}", "check the path") from error
    except (ValueError, RecursionError) as error:
        raise MapInputError(f"{path} is no JSON: {error}", f"give {what}") from error


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def numbers(rows: Any, where: str, least: int = 2) -> DoubleArray:
    """Points of parsed JSON, the first two numbers of each, float64 (P, 2).

    Raises:
        MapInputError: it is no list of points with two finite numbers each, or fewer than `least`.
    """
    try:
        points = np.array([(row[0], row[1]) for row in rows], np.float64).reshape(-1, 2)
    except (TypeError, ValueError, IndexError, KeyError, OverflowError) as error:
        raise MapInputError(f"{where} is no list of points: {error}", "give two numbers a point") from error
    if len(points) < least or not (np.abs(points) < FARTHEST_M).all():
        raise MapInputError(f"{where} has {len(points)} points, or one that is not finite", f"give {least} or more")
    return points


def positive(value: Any) -> float | None:
    """A number above zero, or None: a width or speed that the map does not know."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        return None
    # compared before it is converted: an integer may be too large for a float
    return float(value) if 0 < value <= sys.float_info.max else None


def word(value: Any) -> str | None:
    """A text that is not empty, or None."""
    return value if isinstance(value, str) and value else None
