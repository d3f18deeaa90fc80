"""Text COLMAP models: cameras.txt, images.txt, points3D.txt."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from foldmap.errors import MapInputError
from foldmap.formats.colmap.raw import (
    KEYPOINT,
    REWRITE,
    RawImages,
    RawPoints,
    cannot_read,
    make_camera,
    put_camera,
    unknown_model,
)
from foldmap.geometry.camera import CAMERA_MODELS, Camera
from foldmap.types import AnyArray

_DECLARED = re.compile(r"#\s*Number of [\w ]+:\s*(\d{1,18})\b")


class TextSource:
    """The lines of one file, their numbers, and the count that its comment declares.

    COLMAP ends every line, so a last line without an end tells of a file that was cut short.

    Args:
        path: the file.
        what: its records, for messages: "cameras", "images", "points".
    """

    def __init__(self, path: Path, what: str) -> None:
        self.path = path
        self.what = what
        self.number = 0
        self._declared: int | None = None

    def lines(self) -> Iterator[str]:
        """Every line without its end.

        Raises:
            MapInputError: the file cannot be read, is not text, or ends inside a line.
        """
        try:
            with self.path.open(encoding="utf-8-sig", newline="\n") as file:
                for line in file:
                    self.number += 1
                    if not line.endswith("\n"):
                        raise self.bad(
                            "ends without a line end", "if the file is complete, add one; else it is cut short"
                        )
                    yield line.rstrip("\r\n")
        except OSError as error:
            raise cannot_read(self.path, error) from error
        except UnicodeDecodeError as error:
            raise MapInputError(f"{self.path} is not UTF-8 text", "give a COLMAP model as text") from error

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
        """Compare the number of records with the one the file declares, if it does.

        Raises:
            MapInputError: they differ.
        """
        if self._declared is not None and self._declared != count:
            raise MapInputError(
                f"{self.path} declares {self._declared:,} {self.what} and has {count:,}",
                f"it is cut short: {REWRITE}; if you edited it, correct its comment too",
            )

    def bad(self, message: str, cure: str) -> MapInputError:
        """An error that names the line."""
        return MapInputError(f"{self.path}, line {self.number}: {message}", cure)


def read_cameras(path: Path) -> dict[int, Camera]:
    """Cameras by id.

    Raises:
        MapInputError: the file is cut short, damaged or foreign, or a camera is not usable.
    """
    source = TextSource(path, "cameras")
    cameras: dict[int, Camera] = {}
    for line in filter(source.is_record, source.lines()):
        tokens = line.split()
        if len(tokens) < 4:
            raise source.bad(f"{len(tokens)} values", "expected CAMERA_ID MODEL WIDTH HEIGHT PARAMS")
        try:
            camera_id, size_px = int(tokens[0]), (int(tokens[2]), int(tokens[3]))
            params = np.array([float(token) for token in tokens[4:]])
        except ValueError as error:
            raise source.bad(str(error), "expected CAMERA_ID MODEL WIDTH HEIGHT PARAMS") from error
        if tokens[1] not in CAMERA_MODELS:
            raise unknown_model(path, camera_id, tokens[1])
        put_camera(path, cameras, camera_id, make_camera(path, camera_id, tokens[1], size_px, params))
    source.check_count(len(cameras))
    return cameras


def read_images(path: Path) -> RawImages:
    """Images with their keypoints; names may hold spaces.

    Raises:
        MapInputError: the file is cut short, damaged or foreign.
    """
    source = TextSource(path, "images")
    ids, camera_ids, pose, names = array("q"), array("q"), array("d"), []
    keypoints: list[AnyArray] = []
    lines = source.lines()
    for line in lines:
        if not source.is_record(line):
            continue
        tokens = line.strip().split(maxsplit=9)
        if len(tokens) < 10:
            raise source.bad(f"{len(tokens)} values", "expected IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME")
        try:
            ids.append(int(tokens[0]))
            pose.extend([float(token) for token in tokens[1:8]])
            camera_ids.append(int(tokens[8]))
        except (ValueError, OverflowError) as error:
            raise source.bad(str(error), "expected IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME") from error
        names.append(tokens[9])
        second = next(lines, None)
        if second is None:
            raise source.bad("no line of keypoints follows", "the file is cut short; a line of keypoints may be empty")
        keypoints.append(_keypoints(source, second))
    source.check_count(len(names))
    poses = np.array(pose, dtype=np.float64).reshape(-1, 7)
    return RawImages(
        ids=np.array(ids, dtype=np.int64),
        camera_ids=np.array(camera_ids, dtype=np.int64),
        names=names,
        wxyz=poses[:, :4],
        translation_world=poses[:, 4:],
        keypoints=keypoints.__getitem__,
    )


def _keypoints(source: TextSource, line: str) -> AnyArray:
    tokens = line.split()
    if len(tokens) % 3:
        raise source.bad(f"{len(tokens)} values", "expected three a keypoint: X Y POINT3D_ID")
    records = np.empty(len(tokens) // 3, KEYPOINT)
    try:
        records["x"] = [float(token) for token in tokens[::3]]
        records["y"] = [float(token) for token in tokens[1::3]]
        records["point_id"] = [int(token) for token in tokens[2::3]]
    except (ValueError, OverflowError) as error:
        raise source.bad(str(error), "expected three a keypoint: X Y POINT3D_ID") from error
    return records


def read_points(path: Path) -> RawPoints:
    """Points and their tracks.

    Raises:
        MapInputError: the file is cut short, damaged or foreign.
    """
    source = TextSource(path, "points")
    ids, xyz, lengths = array("q"), array("d"), array("q")
    image_ids, keypoint = array("q"), array("q")
    for line in filter(source.is_record, source.lines()):
        tokens = line.split()
        if len(tokens) < 8 or len(tokens) % 2:
            raise source.bad(
                f"{len(tokens)} values", "expected POINT3D_ID X Y Z R G B ERROR and pairs of IMAGE_ID POINT2D_IDX"
            )
        try:
            ids.append(int(tokens[0]))
            xyz.extend([float(token) for token in tokens[1:4]])
            image_ids.extend([int(token) for token in tokens[8::2]])
            keypoint.extend([int(token) for token in tokens[9::2]])
        except (ValueError, OverflowError) as error:
            raise source.bad(str(error), "expected whole numbers for ids and decimal numbers for X Y Z") from error
        lengths.append(len(tokens) // 2 - 4)
    source.check_count(len(ids))
    return RawPoints(
        ids=np.array(ids, dtype=np.int64),
        points_world=np.array(xyz, dtype=np.float64).reshape(-1, 3),
        lengths=np.array(lengths, dtype=np.int64),
        image_ids=np.array(image_ids, dtype=np.int64),
        keypoint=np.array(keypoint, dtype=np.int64),
    )
