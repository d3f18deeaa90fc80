"""Reading text files of numbers, and tables with a line of column names (CSV), with errors that name the line."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foldmap.errors import InputError, MapInputError, PoseInputError
from foldmap.formats.naming import naming, read_bytes
from foldmap.types import DoubleArray

_MAX_BYTES = 1 << 30


def read_text(path: Path, cure: str = "give poses as KITTI or TUM text") -> str:
    """Read a table of poses, a calibration, or another file of UTF-8 text, no larger than 1 GiB."""
    data = read_bytes(Path(path), _MAX_BYTES, cure, PoseInputError)
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
            raise PoseInputError(f"{path} is not a text file of UTF-8, but of UTF-16", "write it as UTF-8") from error
        raise PoseInputError(f"{path} is not a text file", cure) from error


def content_lines(path: Path, after: int = 0) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, words) of the lines that are neither blank nor ``#`` comments; , and ; separate too.

    Lines up to ``after`` are a header.
    """
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        words = line.split("#", 1)[0].replace(",", " ").replace(";", " ").split()
        if words and number > after:
            yield number, words


def numbers(path: Path | str, line: int, words: Sequence[str], what: str) -> DoubleArray:
    """Finite float64 numbers of a line; what is none is a PoseInputError."""
    try:
        row = np.array([float(word) for word in words])
    except ValueError as error:
        raise PoseInputError(f"{path}, line {line}: {error}", f"expected {what}") from error
    if not np.isfinite(row).all():
        raise PoseInputError(f"{path}, line {line}: NaN or infinite entries", "remove that line, and what it is of")
    return row


def number_rows(path: Path, columns: int, what: str, after: int = 0) -> Iterator[tuple[int, DoubleArray]]:
    """Yield (line number, float64 (columns,)) of the lines after a header of ``after`` lines."""
    for number, words in content_lines(path, after):
        if len(words) != columns:
            raise PoseInputError(f"{path}, line {number}: {len(words)} columns", f"expected a {what}")
        yield number, numbers(path, number, words, f"a {what}")


@dataclass(frozen=True)
class CsvTable:
    """A table: the names of its columns, and of each line that is not empty its number and its cells by column."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[tuple[int, dict[str, str]], ...]


def read_csv_table(
    path: Path, needed: tuple[str, ...], what: str, kind: type[InputError] = MapInputError, ragged: bool = False
) -> CsvTable:
    """Read a table of UTF-8; lines that begin with ``#`` are comments, white space about cells does not count.

    No two columns may have one name. Lines of a ``ragged`` one may have fewer or more cells than there are columns.
    ``what`` to give instead is for messages, ``kind`` is that of the errors.
    """
    with naming(path, kind):
        reader = csv.reader(io.StringIO(read_text(path, f"give {what}")), skipinitialspace=True, strict=True)
        try:
            lines = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
        except csv.Error as error:
            raise kind(f"{path}, line {reader.line_num}: this is no table: {error}", f"give {what}") from error
    lines = [(number, row) for number, row in lines if any(row) and not row[0].startswith("#")]
    columns = lines[0][1] if lines else []
    missing = [name for name in needed if name not in columns]
    if missing or len(set(columns)) < len(columns):
        found = f"no column {missing[0]}" if missing else "two columns of one name"
        raise kind(f"{path} has {found}", f"give {what}")
    rows = []
    for number, row in lines[1:]:
        if len(row) != len(columns) and not ragged:
            raise kind(f"{path}, line {number}: {len(row)} cells for {len(columns)} columns", f"give {what}")
        rows.append((number, dict(zip(columns, [*row, *[""] * len(columns)], strict=False))))
    return CsvTable(path, tuple(columns), tuple(rows))
