"""Results of visual localization, ``name qw qx qy qz tx ty tz`` a line: camera_SE3_world, as hloc and benchmarks do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import numpy as np

from foldmap.errors import PoseInputError, WriteError
from foldmap.formats.listing import content, is_number, listed_name, plain_name, pose_of, pose_text, write_lines
from foldmap.types import AnyArray, DoubleArray

_ROWS, _UNIT = 1000, 1e-2


def read_results(path: Path | str) -> dict[str, DoubleArray]:
    """Poses of images (or rigs), ``camera_SE3_world`` float64 (4, 4) by name, in the file's order.

    Blank lines and ``#`` comments are skipped. A name may hold spaces: the pose is the last seven words. A file without
    poses is an empty result.
    """
    poses: dict[str, DoubleArray] = {}
    for line, text in content(path, "a results file"):
        words = text.rsplit(maxsplit=7)
        if len(words) != 8:
            raise PoseInputError(f"{path}, line {line}: {len(words)} columns", "expected name qw qx qy qz tx ty tz")
        name = plain_name(words[0])
        if name in poses:
            raise PoseInputError(f"{path}, line {line}: {name!r} comes twice", "keep one pose an image")
        poses[name] = pose_of(path, line, words[1:])
    return poses


def is_results(path: Path | str) -> bool:
    """Whether a text file is one of poses by name: its rows begin with names, which may be numbers.

    ``17 qw qx qy qz tx ty tz`` is told from ``t x y z qx qy qz qw`` by where the quaternions of length 1 stand; where
    both may be, it is no file of names.
    """
    numeric = []
    for _, text in content(path, "poses"):
        words = text.rsplit(maxsplit=7)
        if len(words) != 8 or not all(is_number(word) for word in words[1:]):
            return False
        if not is_number(words[0]):
            return True
        numeric.append([float(word) for word in words[1:]])
        if len(numeric) == _ROWS:
            break
    if not numeric:
        return False
    rows = np.array(numeric)
    first, last = (np.abs(np.linalg.norm(part, axis=1) - 1.0) < _UNIT for part in (rows[:, :4], rows[:, 3:]))
    return bool(first.all() and not last.all())


def write_results(path: Path | str, camera_SE3_world: Mapping[str, AnyArray], base_names: bool = False) -> None:
    """Write poses, ``camera_SE3_world`` (4, 4) by name of image (or rig).

    ``base_names`` leave the folders of the names out, as the Aachen benchmark wants it. A name with a line break, or
    two images of one base name, are a WriteError.
    """
    lines: dict[str, str] = {}
    for name, pose in camera_SE3_world.items():
        short = listed_name(PurePosixPath(name).name if base_names else name)
        if short in lines:
            raise WriteError(f"two images are called {short!r} without their folders", "write whole names")
        lines[short] = f"{short} {pose_text(pose)}"
    write_lines(path, list(lines.values()))
