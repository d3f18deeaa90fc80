"""Tables with a line of column names, as CSV."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from foldmap.errors import InputError, MapInputError
from foldmap.formats.naming import naming
from foldmap.formats.textual import read_text


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
