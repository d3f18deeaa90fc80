"""Text COLMAP models: cameras.txt, images.txt, points3D.txt."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from foldmap.errors import MapInputError
from foldmap.formats.colmap.files import KEYPOINT, REWRITE, RawImages, RawPoints, put_camera
from foldmap.formats.naming import reading
from foldmap.geometry.camera import Camera
from foldmap.types import AnyArray

_DECLARED = re.compile(r"#\s*Number of [\w ]+:\s*(\d{1,18})\b")


class TextSource:
    """The lines of one file, their numbers, and the count of records (``what``) that its comment declares.

    COLMAP ends every line, so a last line without an end tells of a file that was cut short.
    """

    def __init__(self, path: Path, what: str) -> None:
        self.path, self.what, self.number = path, what, 0
        self._declared: int | None = None

    def lines(self) -> Iterator[str]:
        """Every line without its end."""
        try:
            with reading(self.path), self.path.open(encoding="utf-8-sig", newline="\n") as file:
                for line in file:
                    self.number += 1
                    if not line.endswith("\n"):
                        cure = "if the file is complete, add one; else it is cut short"
                        raise self.bad("ends without a line end", cure)
                    yield line.rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise MapInputError(f"{self.path} is not UTF-8 text", "give a COLMAP model as text") from error

    def records(self) -> Iterator[list[str]]:
        """The words of every line that is neither blank nor a comment."""
        return (line.split() for line in self.lines() if self.is_record(line))

    def is_record(self, line: str) -> bool:
        """Whether a line is neither blank nor a comment; the declared count is taken from comments."""
        if not line.strip():
            return False
        if not line.startswith("#"):
            return True
        declared = _DECLARED.match(line)
        if declared and self._declared is None:
            self._declared = int(declared[1])
        return False

    def check_count(self, count: int) -> None:
        """Compare the number of records with the one the file declares, if it does."""
        if self._declared is not None and self._declared != count:
            cure = f"it is cut short: {REWRITE}; if you edited it, correct its comment too"
            raise MapInputError(f"{self.path} declares {self._declared:,} {self.what} and has {count:,}", cure)

    def bad(self, message: str, cure: str) -> MapInputError:
        """An error that names the line."""
        return MapInputError(f"{self.path}, line {self.number}: {message}", cure)

    @contextmanager
    def expecting(self, form: str) -> Iterator[None]:
        """Refuse the line where what the body takes for numbers is none."""
        try:
            yield
        except (ValueError, OverflowError, StopIteration) as error:
            raise self.bad(str(error) or "values are missing", f"expected {form}") from error


def read_cameras(path: Path) -> dict[int, Camera]:
    """Cameras by id."""
    source, form = TextSource(path, "cameras"), "CAMERA_ID MODEL WIDTH HEIGHT PARAMS"
    cameras: dict[int, Camera] = {}
    for words in source.records():
        if len(words) < 4:
            raise source.bad(f"{len(words)} values", f"expected {form}")
        with source.expecting(form):
            camera_id, size_px = int(words[0]), (int(words[2]), int(words[3]))
            params = np.array([float(word) for word in words[4:]])
        put_camera(path, cameras, camera_id, words[1], size_px, params)
    source.check_count(len(cameras))
    return cameras


def read_images(path: Path) -> RawImages:
    """Images with their keypoints; names may hold spaces."""
    source, form = TextSource(path, "images"), "IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME"
    ids, camera_ids, pose, names = array("q"), array("q"), array("d"), []
    keypoints: list[AnyArray] = []
    lines = source.lines()
    for line in filter(source.is_record, lines):
        words = line.strip().split(maxsplit=9)
        if len(words) < 10:
            raise source.bad(f"{len(words)} values", f"expected {form}")
        with source.expecting(form):
            ids.append(int(words[0]))
            pose.extend([float(word) for word in words[1:8]])
            camera_ids.append(int(words[8]))
        names.append(words[9])
        second = next(lines, None)
        if second is None:
            raise source.bad("no line of keypoints follows", "the file is cut short; a line of keypoints may be empty")
        keypoints.append(_keypoints(source, second.split()))
    source.check_count(len(names))
    poses = np.array(pose, dtype=np.float64).reshape(-1, 7)
    return RawImages(np.array(ids), np.array(camera_ids), names, poses[:, :4], poses[:, 4:], keypoints.__getitem__)


def _keypoints(source: TextSource, words: list[str]) -> AnyArray:
    form = "three a keypoint: X Y POINT3D_ID"
    if len(words) % 3:
        raise source.bad(f"{len(words)} values", f"expected {form}")
    records = np.empty(len(words) // 3, KEYPOINT)
    with source.expecting(form):
        records["x"] = [float(word) for word in words[::3]]
        records["y"] = [float(word) for word in words[1::3]]
        records["point_id"] = [int(word) for word in words[2::3]]
    return records


def read_points(path: Path) -> RawPoints:
    """Points and their tracks."""
    source, form = TextSource(path, "points"), "POINT3D_ID X Y Z R G B ERROR and pairs of IMAGE_ID POINT2D_IDX"
    ids, xyz, lengths = array("q"), array("d"), array("q")
    image_ids, keypoint = array("q"), array("q")
    for words in source.records():
        if len(words) < 8 or len(words) % 2:
            raise source.bad(f"{len(words)} values", f"expected {form}")
        with source.expecting(form):
            ids.append(int(words[0]))
            xyz.extend([float(word) for word in words[1:4]])
            image_ids.extend([int(word) for word in words[8::2]])
            keypoint.extend([int(word) for word in words[9::2]])
        lengths.append(len(words) // 2 - 4)
    source.check_count(len(ids))
    points_world = np.array(xyz).reshape(-1, 3)
    return RawPoints(np.array(ids), points_world, np.array(lengths), np.array(image_ids), np.array(keypoint))
