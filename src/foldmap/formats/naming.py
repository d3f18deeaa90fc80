"""Errors of readers: each names the file, and the place in it, that it is about."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from foldmap.errors import InputError, MapInputError


@contextmanager
def naming(where: object, kind: type[InputError] | None = None) -> Iterator[None]:
    """Let messages of what the body refuses begin with a place, where they do not name it; errors become ``kind``."""
    try:
        yield
    except InputError as error:
        told = error.message if str(where) in error.message else f"{where}: {error.message}"
        if told == error.message and isinstance(error, kind or InputError):
            raise
        raise (kind or type(error))(told, error.cure) from error


@contextmanager
def reading(
    path: Path, cure: str = "check the path and its rights", kind: type[InputError] = MapInputError
) -> Iterator[None]:
    """Turn what the system says of a file that cannot be read into an error that names it."""
    try:
        yield
    except OSError as error:
        raise kind(f"{path} cannot be read: {error.strerror or error}", cure) from error


def read_bytes(path: Path, most: int, cure: str, kind: type[InputError] = MapInputError) -> bytes:
    """The whole of a file, once its size is known to be no more than `most` bytes."""
    with reading(path, cure, kind):
        if path.stat().st_size > most:
            raise kind(f"{path} is larger than {most >> 20:,} MiB", cure)
        return path.read_bytes()
