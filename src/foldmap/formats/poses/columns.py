"""What a pose table's own header says about its columns: EuRoC's ``#timestamp [ns], p_x [m], ..., q_w [], ...``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from foldmap.errors import PoseInputError
from foldmap.formats.textual import read_text

_TIME = re.compile(
    r"(?:t|ts|time|stamp|timestamp|time_?stamp|sec|secs|seconds|nsec)(?:_?(ns|nsec|us|usec|ms|msec|s|sec))?"
)
_POSITION = re.compile(r"(?:.*position[._])?(?:(?:p|t|pos|position|trans|translation)(?:[._].*?)?[._]?)?([xyz])")
_QUATERNION = re.compile(
    r"(?:.*orientation[._])?(?:(?:q|quat|quaternion|orientation|rot|rotation)(?:[._].*?)?[._]?)?([wxyz])"
)
_UNIT = re.compile(r"[\[(]\s*([^\])]*?)\s*[\])]")
_SECONDS = {"": 1.0, "s": 1.0, "sec": 1.0, "ms": 1e-3, "msec": 1e-3, "us": 1e-6, "usec": 1e-6, "ns": 1e-9, "nsec": 1e-9}
_W_FIRST = re.compile(r"q?_?w\b.{0,12}\bq?_?x\b", re.IGNORECASE)


@dataclass(frozen=True)
class PoseColumns:
    """Where a row of a table has its time, position and quaternion.

    Attributes:
        header_line: number of the line that says so; 0 where TUM's own order is taken.
        count: columns of a row.
        order: columns of t x y z qx qy qz qw.
        seconds: what one unit of time is, where the header names the unit.
    """

    header_line: int = 0
    count: int = 8
    order: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6, 7)
    seconds: float | None = None


def pose_columns(path: Path) -> PoseColumns | None:
    """Read the header of a pose table.

    Returns:
        The columns, or None where no line before the first row of numbers names them.

    Raises:
        PoseInputError: positions are not in metres, or the header puts qw first in a way that is not understood.
    """
    comments: list[tuple[int, str]] = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        tokens = line.replace(",", " ").split()
        if tokens and _is_number(tokens[0]):
            return _of_comments(path, comments, len(line.split("#", 1)[0].replace(",", " ").split()))
        if tokens:
            comments.append((number, line))
        if len(comments) > 50:
            break
    return None


def _of_comments(path: Path, comments: list[tuple[int, str]], count: int) -> PoseColumns | None:
    for number, line in comments:
        found = _parsed(path, number, line.lstrip("# \t"), count)
        if found is not None:
            return found
    w_first = [number for number, line in comments if line.startswith("#") and _W_FIRST.search(line)]
    if count == 8 and w_first:
        raise PoseInputError(
            f"{path}, line {w_first[0]} puts qw before qx",
            "give rows t x y z qx qy qz qw, or name the columns: # t x y z qw qx qy qz",
        )
    return None


def _parsed(path: Path, number: int, header: str, count: int) -> PoseColumns | None:
    pieces = header.split(",") if header.count(",") >= count - 1 else re.sub(r"\s+(?=[\[(])", "", header).split()
    units = [(_UNIT.search(piece) or [piece, ""])[1].lower() for piece in pieces]
    names = [_UNIT.sub("", piece).strip(" \t,").lower() for piece in pieces]
    if len(names) < count:
        return None
    found: dict[str, int] = {}
    for column, name in enumerate(names[:count]):
        kind = _kind(name, set(found))
        if kind is not None:
            found.setdefault(kind, column)
    wanted = ("t", "x", "y", "z", "qx", "qy", "qz", "qw")
    if not all(kind in found for kind in wanted):
        return None
    strange = [units[found[axis]] for axis in "xyz" if units[found[axis]] not in ("", "m", "metre", "metres", "meters")]
    if strange:
        raise PoseInputError(f"{path}, line {number}: positions are in {strange[0]}", "give them in metres")
    match = _TIME.fullmatch(names[found["t"]])
    unit = units[found["t"]] or (match[1] if match and match[1] else "")
    if names[found["t"]] == "nsec":
        unit = "ns"
    if unit not in _SECONDS:
        raise PoseInputError(f"{path}, line {number}: times are in {unit}", "give them in seconds")
    return PoseColumns(number, count, tuple(found[kind] for kind in wanted), _SECONDS[unit] if unit else None)


def _kind(name: str, taken: set[str]) -> str | None:
    """What a column is: t, x, y, z, qx, qy, qz or qw. A bare x after a position has been named is the quaternion's."""
    if _TIME.fullmatch(name) and "t" not in taken:
        return "t"
    match = _POSITION.fullmatch(name)
    if match and match[1] not in taken:
        return match[1]
    match = _QUATERNION.fullmatch(name)
    return f"q{match[1]}" if match else None


def _is_number(token: str) -> bool:
    try:
        float(token)
    except ValueError:
        return False
    return True
