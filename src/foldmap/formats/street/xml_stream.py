"""Reading XML maps: a stream of elements, no document type, no entities, sizes limited."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn
from xml.parsers import expat

import numpy as np

from foldmap.errors import MapInputError
from foldmap.formats.naming import reading
from foldmap.formats.street.reading import FARTHEST_M
from foldmap.types import DoubleArray

MAX_BYTES = 1 << 30
"""Larger files, or larger contents of a compressed file, are refused."""
MAX_DEPTH = 64
"""No street map nests elements deeper."""
_CHUNK = 1 << 18
_SPEEDS = {
    **dict.fromkeys(("m/s", "mps", "ms", "m/sec"), 1.0),
    **dict.fromkeys(("km/h", "kmh", "kph", "kmph", "km/hr"), 1 / 3.6),
    **dict.fromkeys(("mph", "mi/h", "miles/h"), 0.44704),
}

Attributes = dict[str, str]


def first_element(path: Path) -> str | None:
    """The name of the first element of an XML file, plain or gzip; None where it is damaged before that."""

    def enter(name: str, _: Attributes) -> None:
        raise _FoundError(name)

    with reading(path), path.open("rb"):
        pass  # what cannot be read at all is an error, not a file of another kind
    try:
        parse_xml(path, "an XML map", enter)
    except _FoundError as found:
        return str(found)
    except MapInputError:
        pass
    return None


class _FoundError(Exception):
    """Ends a parse at the element that was looked for."""


def parse_xml(
    path: Path,
    what: str,
    start: Callable[[str, Attributes], None],
    end: Callable[[str], None] | None = None,
    text: Callable[[str], None] | None = None,
) -> None:
    """Call back for each start, end and text of elements of an XML file, plain or gzip, in the order of the file.

    Raises:
        MapInputError: missing, larger than 1 GiB, not well-formed or cut short (with the line), nested without end, or
            with a document type or entities, which no street map needs and which can blow up a reader.
    """

    def refuse(*_: Any) -> NoReturn:
        where = f"{path}, line {parser.CurrentLineNumber}"
        raise MapInputError(f"{where}: a document type or entity", f"remove it: {what} needs none")

    depth = 0

    def enter(name: str, attributes: Attributes) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise MapInputError(f"{path}, line {parser.CurrentLineNumber}: nested too deeply", f"this is not {what}")
        start(name, attributes)

    def leave(name: str) -> None:
        nonlocal depth
        depth -= 1
        if end is not None:
            end(name)

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = parser.ExternalEntityRefHandler = refuse
    parser.StartElementHandler, parser.EndElementHandler = enter, leave
    if text is not None:
        parser.CharacterDataHandler = text
    try:
        for chunk in _chunks(path, what):
            parser.Parse(chunk, False)
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        if error.code == expat.errors.codes[expat.errors.XML_ERROR_INVALID_TOKEN] and parser.ErrorByteIndex >= 0:
            _check_encoding(path, parser.ErrorByteIndex, error.lineno)
        said = f"{path}, line {error.lineno}: {expat.ErrorString(error.code)}"
        raise MapInputError(said, f"give {what}, not cut short") from error
    except (ValueError, LookupError) as error:  # an encoding that Python does not know or cannot decode
        raise MapInputError(f"{path} is not readable XML: {error}", f"give {what} in UTF-8") from error


def _check_encoding(path: Path, index: int, line: int) -> None:
    """Refuse a file for its encoding, if what is at a byte is not UTF-8."""
    done = 0
    for chunk in _chunks(path, "XML"):
        if index < done + len(chunk):
            around = chunk[max(0, index - done) :]
            if around[:1] > b"\x7f":
                said = f"byte 0x{around[0]:02X} is not UTF-8, the encoding of XML that declares none"
                cure = 'save the file in UTF-8, or declare its encoding: <?xml version="1.0" encoding="ISO-8859-1"?>'
                raise MapInputError(f"{path}, line {line}: {said}", cure)
            return
        done += len(chunk)


def _chunks(path: Path, what: str) -> Iterator[bytes]:
    with reading(path), path.open("rb") as plain:
        packed = plain.read(2) == b"\x1f\x8b"
        plain.seek(0)
        stream = gzip.GzipFile(fileobj=plain) if packed else plain
        done = 0
        try:
            while chunk := stream.read(_CHUNK):
                done += len(chunk)
                if done > MAX_BYTES:
                    raise MapInputError(f"{path} is larger than {MAX_BYTES >> 20} MiB", "cut the map into parts")
                yield chunk
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise MapInputError(f"{path} is a damaged gzip file: {error}", f"give {what}, not cut short") from error


def needed(attributes: Attributes, key: str, element: str) -> str:
    """An attribute that must be there; a MapInputError names the element."""
    found = attributes.get(key)
    if found is None:
        raise MapInputError(f"{element} has no {key!r}", "the map is damaged or of another kind")
    return found


def real(attributes: Attributes, key: str, element: str, default: float | None = None) -> float:
    """An attribute that is a finite number."""
    if default is not None and key not in attributes:
        return default
    text = needed(attributes, key, element)
    try:
        value = float(text)
    except ValueError as error:
        raise MapInputError(f"{key} of {element} is {text[:40]!r}", "give a number") from error
    if not math.isfinite(value):
        raise MapInputError(f"{key} of {element} is {text[:40]!r}", "give a finite number")
    return value


def whole(attributes: Attributes, key: str, element: str) -> int:
    """An attribute that is an integer."""
    text = needed(attributes, key, element)
    try:
        return int(text[:20])
    except ValueError as error:
        raise MapInputError(f"{key} of {element} is {text[:40]!r}", "give an integer") from error


def metres_a_second(value: str, unit: str) -> float:
    """A speed limit, a number from 0 on as text, in a unit as maps spell it; else a ValueError says what was found."""
    factor = _SPEEDS.get(unit.strip().lower())
    if factor is None:
        raise ValueError(f"is in {unit[:40]!r}, not in m/s, km/h or mph")
    try:
        number = float(value)
    except ValueError:
        raise ValueError(f"is {value[:40]!r}, which is no number") from None
    if not (math.isfinite(number) and number >= 0):
        raise ValueError(f"is {value[:40]}, not a finite number from 0 on")
    return number * factor


def points(text: str, element: str) -> DoubleArray:
    """``x,y x,y ...`` or ``x,y,z ...`` as finite float64 (P, 2); heights are dropped."""
    words = text.split()
    try:
        rows = [[float(number) for number in word.split(",")] for word in words]
    except ValueError as error:
        raise MapInputError(f"the shape of {element}: {error}", "give x,y pairs") from error
    if not rows or any(len(row) not in (2, 3) for row in rows):
        raise MapInputError(f"the shape of {element} is {text[:40]!r}", "give x,y pairs")
    found = np.array([row[:2] for row in rows], np.float64)
    if not (np.abs(found) < FARTHEST_M).all():
        raise MapInputError(f"the shape of {element} has a coordinate that is not finite", "drop or mend it")
    return found
