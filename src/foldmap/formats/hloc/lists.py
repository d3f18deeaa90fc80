"""hloc's text lists: images, queries with intrinsics, pairs of images."""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence
from pathlib import Path

from foldmap.errors import MapInputError
from foldmap.formats.listing import (
    ListedImage,
    camera_of,
    camera_text,
    content,
    listed_name,
    named_lines,
    one_word,
    split_camera,
    unique,
    write_lines,
)
from foldmap.geometry.camera import Camera


def read_names(path: Path | str) -> list[str]:
    """Read a list of image names, each once, which may hold spaces; cameras and numbers after them are left alone."""
    lines = named_lines(path, "a list of image names, one a line")
    names = [split_camera(path, line, text)[0] for line, text in lines]
    if not names:
        raise MapInputError(f"{path} names no image", "give one name a line")
    unique(path, names)
    return names


def read_query_list(path: Path | str) -> list[ListedImage]:
    """Read queries: ``name MODEL width height params...`` a line, or names alone, each once, without any camera.

    The path may be a pattern with ``*`` for several lists (``queries/*_time_queries_with_intrinsics.txt``), which are
    read in the order of their names.
    """
    paths = [Path(path)]
    if not Path(path).exists() and any(sign in str(path) for sign in "*?["):
        paths = [Path(found) for found in sorted(glob.glob(str(path)))]
        if not paths:
            raise MapInputError(f"no file is called {path}", "check the pattern of the query lists")
    queries: list[ListedImage] = []
    for each in paths:
        for line, text in named_lines(each, "a query list"):
            name, rest = split_camera(each, line, text)
            queries.append(ListedImage(name, camera_of(each, line, rest) if rest else None))
    if not queries:
        raise MapInputError(f"{path} names no query", "give one image a line")
    unique(path, [query.name for query in queries])
    bare = [query.name for query in queries if query.camera is None]
    if 0 < len(bare) < len(queries):
        raise MapInputError(f"{path}: query {bare[0]!r} has no camera, others have", "give a camera on every line")
    return queries


def write_query_list(path: Path | str, cameras: Mapping[str, Camera]) -> None:
    """Write ``name MODEL width height params...`` lines, as hloc reads them."""
    write_lines(path, [f"{listed_name(name)} {camera_text(camera)}" for name, camera in cameras.items()])


def read_pairs(path: Path | str) -> dict[str, list[str]]:
    """Read a pairs list, ``query image`` a line: for each query the images, best first."""
    pairs: dict[str, list[str]] = {}
    for line, text in content(path, "a pairs list"):
        words = text.split()
        if len(words) != 2:
            cure = "expected two image names a line, without spaces"
            raise MapInputError(f"{path}, line {line}: {len(words)} words", cure)
        pairs.setdefault(words[0], []).append(words[1])
    if not pairs:
        raise MapInputError(f"{path} holds no pair", "give two image names a line")
    return pairs


def write_pairs(path: Path | str, pairs: Mapping[str, Sequence[str]]) -> None:
    """Write a pairs list; a WriteError where a name has white space."""
    write_lines(path, [f"{one_word(query)} {one_word(image)}" for query, images in pairs.items() for image in images])
