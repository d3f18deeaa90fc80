"""Text lists: images, queries with intrinsics and pairs of images as hloc has them; queries of rigs.

A rig is several cameras with known extrinsics that ask together. One line an image, those of a rig shot share their
first word::

    # query_id image MODEL width height params... | qw qx qy qz tx ty tz
    shot-17 left/0017.jpg PINHOLE 640 480 500 500 320 240 | 1 0 0 0 0.1 0 0

After the bar stands camera_SE3_rig, in world units. The pose that answers is rig_SE3_world under the name ``query_id``.
"""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence
from pathlib import Path

from foldmap.errors import MapInputError, WriteError
from foldmap.formats.listing import (
    ListedImage,
    camera_of,
    camera_text,
    content,
    listed_name,
    named_lines,
    one_word,
    pose_of,
    pose_text,
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


def read_rig_list(path: Path | str) -> dict[str, list[ListedImage]]:
    """Read a rig list: the images of each query, in the file's order."""
    rigs: dict[str, list[ListedImage]] = {}
    for line, text in named_lines(path, "a rig list"):
        head, bar, tail = text.partition("|")
        query, rest = (*head.split(maxsplit=1), "", "")[:2]
        name, words = split_camera(path, line, rest)
        if not bar or not words:
            cure = "expected query_id image MODEL width height params | qw qx qy qz tx ty tz"
            raise MapInputError(f"{path}, line {line}: no line of a rig list", cure)
        camera, pose = camera_of(path, line, words), pose_of(path, line, tail.split())
        rigs.setdefault(query, []).append(ListedImage(name, camera, query_id=query, camera_SE3_rig=pose))
    if not rigs:
        raise MapInputError(f"{path} names no query", "give one image a line")
    unique(path, [image.name for images in rigs.values() for image in images])
    return rigs


def write_rig_list(path: Path | str, images: Sequence[ListedImage]) -> None:
    """Write a rig list; a WriteError where an image has no camera or extrinsics, or a name has white space."""
    lines = []
    for image in images:
        if image.camera is None or image.camera_SE3_rig is None:
            raise WriteError(f"{image.name!r} has no camera or no place in its rig", "give both")
        names = f"{one_word(image.query_id)} {listed_name(image.name)}"
        lines.append(f"{names} {camera_text(image.camera)} | {pose_text(image.camera_SE3_rig)}")
    write_lines(path, lines)
