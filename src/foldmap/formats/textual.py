"""Reading text files of numbers with errors that name the line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from foldmap.errors import PoseInputError
from foldmap.types import DoubleArray

_MAX_BYTES = 1 << 30


def read_text(path: Path) -> str:
    """Read a pose or calibration file as text.

    Raises:
        PoseInputError: missing, a folder, larger than 1 GiB, or not text.
    """
    path = Path(path)
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise PoseInputError(f"{path} is larger than 1 GiB", "this cannot be a pose file")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise PoseInputError(f"{path} cannot be read: {error.strerror or error}", "check the path") from error
    except UnicodeDecodeError as error:
        raise PoseInputError(f"{path} is not a text file", "give poses as KITTI or TUM text") from error


def content_lines(path: Path, after: int = 0) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, tokens) of the lines that are neither blank nor ``#`` comments; commas separate too.

    Args:
        path: the file.
        after: number of a header's line, which is passed over with all before it.
    """
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        tokens = line.split("#", 1)[0].replace(",", " ").split()
        if tokens and number > after:
            yield number, tokens


def number_rows(path: Path, columns: int, what: str, after: int = 0) -> Iterator[tuple[int, DoubleArray]]:
    """Yield (line number, float64 (columns,)) and refuse anything that is not that many finite numbers.

    Lines up to ``after`` are a header.

    Raises:
        PoseInputError: naming file, line and what is wrong there.
    """
    for number, tokens in content_lines(path, after):
        if len(tokens) != columns:
            raise PoseInputError(f"{path}, line {number}: {len(tokens)} columns", f"expected a {what}")
        try:
            row = np.array([float(token) for token in tokens])
        except ValueError as error:
            raise PoseInputError(f"{path}, line {number}: {error}", f"expected a {what}") from error
        if not np.isfinite(row).all():
            raise PoseInputError(f"{path}, line {number}: NaN or infinite entries", "remove that pose and its sweep")
        yield number, row
