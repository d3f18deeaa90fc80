"""Results of visual localization, ``name qw qx qy qz tx ty tz`` a line: camera_SE3_world, as hloc and benchmarks do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from foldmap.errors import PoseInputError, WriteError
from foldmap.formats.listing import content, one_word, pose_of, pose_text, write_lines
from foldmap.types import AnyArray, DoubleArray


def read_results(path: Path | str) -> dict[str, DoubleArray]:
    """Read poses of images (or rigs) by name.

    Args:
        path: the text file; blank lines and ``#`` comments are skipped. A name may hold spaces: the pose is the last
            seven words.

    Returns:
        ``camera_SE3_world``, float64 (4, 4), by name, in the file's order. A file without poses is an empty result.

    Raises:
        PoseInputError: naming the line that has too few columns, no numbers or no unit quaternion, or the name that
            comes twice.
        MapInputError: the file cannot be read.
    """
    poses: dict[str, DoubleArray] = {}
    for line, text in content(path, "a results file"):
        words = text.rsplit(maxsplit=7)
        if len(words) != 8:
            raise PoseInputError(f"{path}, line {line}: {len(words)} columns", "expected name qw qx qy qz tx ty tz")
        if words[0] in poses:
            raise PoseInputError(f"{path}, line {line}: {words[0]!r} comes twice", "keep one pose an image")
        poses[words[0]] = pose_of(path, line, words[1:])
    return poses


def write_results(path: Path | str, camera_SE3_world: Mapping[str, AnyArray], base_names: bool = False) -> None:
    """Write poses by name.

    Args:
        path: the text file.
        camera_SE3_world: (4, 4) by name of image (or rig).
        base_names: leave the folders of the names out, as the Aachen benchmark wants it.

    Raises:
        WriteError: a name has white space, two images have one base name, or the file cannot be written.
    """
    lines: dict[str, str] = {}
    for name, pose in camera_SE3_world.items():
        short = one_word(PurePosixPath(name).name if base_names else name)
        if short in lines:
            raise WriteError(f"two images are called {short!r} without their folders", "write whole names")
        lines[short] = f"{short} {pose_text(pose)}"
    write_lines(path, list(lines.values()))
