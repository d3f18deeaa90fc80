"""Query lists of rigs: several cameras with known extrinsics that ask together.

One line an image, the images of a rig shot share their first word::

    # query_id image MODEL width height params... | qw qx qy qz tx ty tz
    shot-17 left/0017.jpg PINHOLE 640 480 500 500 320 240 | 1 0 0 0 0.1 0 0

After the bar stands camera_SE3_rig, in world units. The pose that answers is rig_SE3_world under the name ``query_id``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from foldmap.errors import MapInputError, WriteError
from foldmap.formats.listing import (
    ListedImage,
    camera_of,
    camera_text,
    listed_name,
    named_lines,
    one_word,
    pose_of,
    pose_text,
    split_camera,
    unique,
    write_lines,
)


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
