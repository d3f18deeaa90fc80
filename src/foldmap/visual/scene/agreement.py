"""Whether known poses explain the matches of photos, before points are made of the few that they explain by chance."""

from collections.abc import Mapping, Sequence

import numpy as np

from foldmap.errors import MapInputError
from foldmap.geometry.camera import Camera
from foldmap.geometry.quaternion import inverse_rigid, other_readings
from foldmap.types import DoubleArray, IntArray
from foldmap.visual.scene.colmap_library import ColmapRun
from foldmap.visual.scene.pair_lists import Pair

_FAR_PX = 4.0  # as far as matches may lie from their epipolar lines when pairs are verified without poses
_LEAST_SHARE, _SOME_SHARE = 0.6, 0.3
_ALIKE = (
    "where places look alike (a symmetric room, the same poster twice) match photos of one place alone, --matching "
    "sequential or a file of their pairs; else, "
)
_LEAST_MATCHES, _ENOUGH = 100, 20_000


def require_agreement(
    run: ColmapRun, pairs: Sequence[Pair], cameras: Mapping[str, Camera], camera_SE3_world: Mapping[str, DoubleArray]
) -> None:
    """Refuse poses that contradict what the photos show.

    Matches of two photos were verified without poses: what is left has a geometry of its own. Right poses and cameras
    put nearly all of those matches near their epipolar lines. Raises `MapInputError`: fewer than 60 % of the matches,
    of 100 or more, lie within 4 px of their epipolar lines; it names another reading of the poses under which they do.
    """
    given = dict(camera_SE3_world)
    near, total = _explained(run, pairs, cameras, [given])
    if total < _LEAST_MATCHES or near[0] >= _LEAST_SHARE * total:
        return
    said = f"the known poses explain {100 * near[0] / total:.0f} % of {total:,} matches of the photos"
    words, poses = zip(*other_readings(np.stack(list(given.values()))), strict=True)
    readings = [dict(zip(given, read, strict=True)) for read in poses]
    others, of = _explained(run, pairs, cameras, readings, _ENOUGH)
    best = int(np.argmax(others))
    if others[best] >= _LEAST_SHARE * of:
        said = f"{said}, and {100 * others[best] / of:.0f} % where they are read {words[best]}"
    alike = near[0] >= _SOME_SHARE * total and others[best] * total < near[0] * of
    raise MapInputError(
        said,
        f"{_ALIKE if alike else ''}check that poses are camera_SE3_world (hloc, COLMAP; qw first) or world_SE3_camera "
        "(TUM; qw last, 7-Scenes), "
        "the camera's x right, y down, z ahead, that each is of its own photo, and the camera",
    )


def _explained(
    run: ColmapRun,
    pairs: Sequence[Pair],
    cameras: Mapping[str, Camera],
    readings: Sequence[Mapping[str, DoubleArray]],
    enough: int | None = None,
) -> tuple[IntArray, int]:
    """How many matches each reading of the poses explains, (R,), of how many; no more are looked at than are enough."""
    near, total = np.zeros(len(readings), np.int64), 0
    with run.opened() as opened:
        keypoints: dict[int, DoubleArray] = {}
        for first, second in pairs:
            verified = opened.read_two_view_geometry(first + 1, second + 1)
            matches = np.asarray(verified.inlier_matches, dtype=np.int64).reshape(-1, 2)
            if not len(matches):
                continue
            rays = []
            for index, rows in ((first, matches[:, 0]), (second, matches[:, 1])):
                if index not in keypoints:
                    xy_px = np.asarray(opened.read_keypoints(index + 1), dtype=np.float64)[:, :2]
                    keypoints[index] = cameras[run.names[index]].unproject(xy_px)
                rays.append(keypoints[index][rows])
            focal_px = float(np.mean([cameras[run.names[index]].focal_px for index in (first, second)]))
            for number, poses in enumerate(readings):
                one, other = (poses[run.names[index]] for index in (first, second))
                errors_px = epipolar_errors(other @ inverse_rigid(one), *rays) * focal_px
                near[number] += int((errors_px < _FAR_PX).sum())
            total += len(matches)
            if enough is not None and total >= enough:
                break
    return near, total


def epipolar_errors(second_SE3_first: DoubleArray, first: DoubleArray, second: DoubleArray) -> DoubleArray:
    """Sampson distances (N,) of rays (N, 2), ``x / z, y / z``, to first order the distance to the nearest true pair."""
    x, y, z = second_SE3_first[:3, 3]
    essential = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) @ second_SE3_first[:3, :3]
    one, other = (np.column_stack([rays, np.ones(len(rays))]) for rays in (first, second))
    lines, back = one @ essential.T, other @ essential
    squared = (lines[:, :2] ** 2).sum(axis=1) + (back[:, :2] ** 2).sum(axis=1)
    return np.asarray(np.abs((other * lines).sum(axis=1)) / np.sqrt(np.maximum(squared, 1e-300)))
