"""Reading text files of numbers with errors that name the line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from foldmap.errors import PoseInputError
from foldmap.formats.naming import read_bytes
from foldmap.types import DoubleArray

_MAX_BYTES = 1 << 30


def read_text(path: Path, cure: str = "give poses as KITTI or TUM text") -> str:
    """Read a table of poses, a calibration, or another file of UTF-8 text, no larger than 1 GiB."""
    data = read_bytes(Path(path), _MAX_BYTES, cure, PoseInputError)
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise PoseInputError(f"{path} is not a text file", cure) from error


def content_lines(path: Path, after: int = 0) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, words) of the lines that are neither blank nor ``#`` comments; commas separate too.

    Lines up to ``after`` are a header.
    """
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        words = line.split("#", 1)[0].replace(",", " ").split()
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
