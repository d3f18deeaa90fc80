"""Point Cloud Data (PCD) sweeps: ascii, binary and binary_compressed, fields in any order and of any type."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foldmap.errors import SweepInputError
from foldmap.formats.extras import extra
from foldmap.formats.naming import reading
from foldmap.formats.sweeps.cloud import INTENSITY_NAMES, Cloud, are_returns
from foldmap.types import AnyArray

_MAX_POINTS, _MAX_HEADER_BYTES = 50_000_000, 65_536
_NEVER_INTENSITY = re.compile(r"_|.*(ring|time|stamp|normal|curvature|range|label|line|tag|rgb).*|t|[xyz]")
_NOT_PCD = "give a PCD file of version 0.6 or 0.7"


@dataclass(frozen=True)
class _Header:
    dtype: np.dtype[np.void]
    names: tuple[str, ...]
    points: int
    encoding: str
    body_at: int


def read_pcd(path: Path) -> Cloud:
    """Read one sweep from a PCD file; its intensities keep the type of their field.

    What is no return (`are_returns`) is left out. Of several fields that may be the intensity the first of
    `INTENSITY_NAMES` counts; one that is zero throughout is refused.
    """
    path = Path(path)
    with reading(path, kind=SweepInputError):
        data = path.read_bytes()
    header = _parse_header(path, data)
    if header.points == 0:
        raise SweepInputError(f"{path} has no points", "leave this sweep and its pose out")
    names = [name for name in INTENSITY_NAMES if name in header.names]
    missing = [axis for axis in "xyz" if axis not in header.names]
    if missing:
        raise SweepInputError(f"{path} has no field {' '.join(missing)}", "export the sweeps with x y z intensity")
    if not names:
        said = f"{path} has no intensity field, only {' '.join(header.names)}"
        raise SweepInputError(said, "export the sweeps with their intensity")
    body = memoryview(data)[header.body_at :]
    columns = _read_body(path, header, body, ("x", "y", "z", *names))
    points = np.stack(columns[:3], axis=1).astype(np.float32)
    returned = are_returns(points)
    empty = next((at for at, column in enumerate(columns[3:]) if not column.any()), None)
    values = columns[3 + (empty or 0)]
    others = () if empty is None else _other_channels(path, header, body, names[empty])
    return Cloud(path, points[returned], values[returned], others)


def _other_channels(path: Path, header: _Header, body: memoryview, intensity: str) -> tuple[str, ...]:
    """Fields that could be meant as the intensity: scalar, with values, and their range."""
    named = [name for name in dict.fromkeys(header.names) if not _NEVER_INTENSITY.fullmatch(name)]
    names = tuple(name for name in named if name != intensity and not header.dtype[name].shape)
    columns = zip(names, _read_body(path, header, body, names), strict=True)
    return tuple(f"{name} {column.min():.4g} to {column.max():.4g}" for name, column in columns if column.any())


def _parse_header(path: Path, data: bytes) -> _Header:
    entries: dict[str, list[str]] = {}
    at = 0
    while "DATA" not in entries:
        end = data.find(b"\n", at, _MAX_HEADER_BYTES)
        if end < 0:
            raise SweepInputError(f"{path} has no PCD header", _NOT_PCD)
        line = data[at:end].decode("latin-1").split("#", 1)[0].split()
        at = end + 1
        if line:
            entries[line[0].upper()] = line[1:]
    try:
        names = [name.lower() for name in entries["FIELDS"]]
        sizes = [int(size) for size in entries["SIZE"]]
        counts = [int(count) for count in entries.get("COUNT", ["1"] * len(names))]
        points = int(entries["POINTS"][0]) if "POINTS" in entries else _product(entries)
        size = _product(entries) if "WIDTH" in entries and "HEIGHT" in entries else points
        encoding = entries["DATA"][0].lower()
        dtype = _point_type(names, sizes, entries["TYPE"], counts)
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise SweepInputError(f"{path} has a damaged PCD header: {error}", _NOT_PCD) from error
    if points and size != points:
        raise SweepInputError(f"{path} declares {points} points, but WIDTH x HEIGHT are {size}", "write the file again")
    if not 0 <= points <= _MAX_POINTS:
        raise SweepInputError(f"{path} declares {points} points", f"give at most {_MAX_POINTS} points a sweep")
    if encoding not in ("ascii", "binary", "binary_compressed"):
        raise SweepInputError(f"{path} has DATA {encoding}", "save it as ascii, binary or binary_compressed")
    return _Header(dtype, tuple(names), points, encoding, at)


def _product(entries: dict[str, list[str]]) -> int:
    return int(entries["WIDTH"][0]) * int(entries["HEIGHT"][0])


def _point_type(names: list[str], sizes: list[int], kinds: list[str], counts: list[int]) -> np.dtype[np.void]:
    if not len(names) == len(sizes) == len(kinds) == len(counts) or not names:
        raise ValueError("FIELDS, SIZE, TYPE and COUNT differ in length")
    if min(counts) < 0 or max(counts) > 65_536:
        raise ValueError("a COUNT is out of range")
    letters = {"F": "f", "I": "i", "U": "u"}
    fields: list[tuple[str, str, tuple[int, ...]]] = []
    for i, (name, size, kind, count) in enumerate(zip(names, sizes, kinds, counts, strict=True)):
        if size not in (1, 2, 4, 8) or (kind == "F" and size < 4):
            raise ValueError(f"field {name} has {size}-byte type {kind}")
        # Padding is written as fields named "_", more than one of them.
        unique = name if name != "_" and name not in names[:i] else f"_{i}"
        fields.append((unique, f"<{letters[kind]}{size}", (count,) if count != 1 else ()))
    return np.dtype(fields)


def _read_body(path: Path, header: _Header, body: memoryview, wanted: tuple[str, ...]) -> list[AnyArray]:
    for name in wanted:
        if header.dtype[name].shape:
            raise SweepInputError(f"{path}: field {name} has more than one value a point", "save it with COUNT 1")
    if header.encoding == "ascii":
        return _read_ascii(path, header, body, wanted)
    if header.encoding == "binary":
        size = header.points * header.dtype.itemsize
        if len(body) < size:
            raise _cut_short(path)
        if np.frombuffer(body, np.uint8)[size:].any():
            raise SweepInputError(f"{path} holds more than its {header.points} declared points", "write the file again")
        cloud = np.frombuffer(body, header.dtype, header.points)
        return [cloud[name] for name in wanted]
    return _read_compressed(path, header, body, wanted)


def _cut_short(path: Path) -> SweepInputError:
    return SweepInputError(f"{path} ends before its declared points", "the file is cut short; copy it again")


def _read_ascii(path: Path, header: _Header, body: memoryview, wanted: tuple[str, ...]) -> list[AnyArray]:
    starts = np.cumsum([0] + [int(np.prod(header.dtype[i].shape)) for i in range(len(header.names))])
    words, width = bytes(body).split(), int(starts[-1])
    if len(words) != header.points * width:
        said = f"{path} holds {len(words)} values for {header.points} points of {width}"
        raise SweepInputError(said, "the file is damaged or cut short")
    try:
        table = np.array(words).reshape(header.points, width)
        columns = [table[:, starts[header.names.index(name)]].astype(np.float64) for name in wanted]
    except ValueError as error:
        raise SweepInputError(f"{path} holds text where numbers belong: {error}", "check the file's rows") from error
    return [_typed(path, header, name, column) for name, column in zip(wanted, columns, strict=True)]


def _typed(path: Path, header: _Header, name: str, column: AnyArray) -> AnyArray:
    """A column of text in the type that the header gives it."""
    kind = header.dtype[name]
    with np.errstate(over="ignore", invalid="ignore"):
        typed = column.astype(kind)
    if kind.kind in "iu" and not np.array_equal(typed, column):
        raise SweepInputError(f"{path}: {name} holds values that are no {kind.name}", "check TYPE and SIZE")
    return typed


def _read_compressed(path: Path, header: _Header, body: memoryview, wanted: tuple[str, ...]) -> list[AnyArray]:
    """Binary_compressed: two lengths, then LZF over the fields one after another (not point by point)."""
    if len(body) < 8:
        raise _cut_short(path)
    packed, plain = np.frombuffer(body, "<u4", 2).tolist()
    if plain != header.points * header.dtype.itemsize:
        raise SweepInputError(f"{path} declares {plain} bytes for {header.points} points", "the file is damaged")
    if len(body) < 8 + packed:
        raise _cut_short(path)
    imagecodecs = extra("imagecodecs", f"{path} is compressed, and that")
    try:
        unpacked = np.frombuffer(imagecodecs.lzf_decode(bytes(body[8 : 8 + packed]), out=plain), np.uint8)
    except (imagecodecs.LzfError, ValueError) as error:
        raise SweepInputError(f"{path} has damaged compressed data: {error}", "copy the file again") from error
    if len(unpacked) != plain:
        raise SweepInputError(f"{path} has damaged compressed data", "copy the file again")
    starts = header.points * np.cumsum([0] + [header.dtype[i].itemsize for i in range(len(header.names))])
    which = [header.names.index(name) for name in wanted]
    return [unpacked[starts[at] : starts[at + 1]].view(header.dtype[at]) for at in which]
