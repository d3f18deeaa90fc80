"""JSON and arrays of the outside world: sizes limited, no NaN, errors that name the file and the place in it."""

from __future__ import annotations

import json
import zipfile
import zlib
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from foldmap.errors import MapInputError
from foldmap.formats.naming import read_bytes, reading
from foldmap.formats.street.reading import FARTHEST_M
from foldmap.types import AnyArray, DoubleArray

_MAX_BYTES = 1 << 29


def read_json(path: Path, what: str) -> Any:
    """Parse a file of UTF-8 text, 512 MiB at most, without NaN or infinity; ``what`` it should be is the cure."""
    try:
        text = read_bytes(Path(path), _MAX_BYTES, f"give {what}").decode("utf-8-sig")
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise MapInputError(f"{path} is no JSON: {error}", f"give {what}") from error


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def json_points(rows: Any, where: str, least: int = 2) -> DoubleArray:
    """Points of parsed JSON, the first two numbers of each, float64 (P, 2): finite, and `least` of them or more."""
    try:
        points = np.array([(row[0], row[1]) for row in rows], np.float64).reshape(-1, 2)
    except (TypeError, ValueError, IndexError, KeyError, OverflowError) as error:
        raise MapInputError(f"{where} is no list of points: {error}", "give two numbers a point") from error
    if len(points) < least or not (np.abs(points) < FARTHEST_M).all():
        raise MapInputError(f"{where} has {len(points)} points, or one that is not finite", f"give {least} or more")
    return points


def open_npz(path: Path, what: str) -> dict[str, AnyArray]:
    """All arrays of an npz file, 512 MiB at most; ``what`` it should be is the cure."""
    path = Path(path)
    try:
        with reading(path), zipfile.ZipFile(path) as packed:
            if sum(info.file_size for info in packed.infolist()) > _MAX_BYTES:
                raise MapInputError(f"{path} unpacks to more than 512 MiB", f"give {what}")
        with reading(path), np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (zipfile.BadZipFile, zlib.error, ValueError, KeyError, EOFError, NotImplementedError) as error:
        raise MapInputError(f"{path} is damaged or holds something else: {error}", f"give {what}") from error
