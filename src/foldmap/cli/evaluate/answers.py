"""What ``foldmap evaluate`` is given: whether it is about photos or sweeps, and what was answered about photos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from foldmap.errors import FoldmapError, PoseInputError

if TYPE_CHECKING:
    from foldmap.formats.poses.answers import CameraAnswer
    from foldmap.types import DoubleArray

CAMERA_HEADER, SWEEP_HEADER = "world_SE3_camera", "world_T_vehicle"
"""What the first comment of a file of ``foldmap localize`` says."""

_TILT = 1e-3
_SAME = 1e-6


@dataclass(frozen=True)
class Answered:
    """What was said about the images that were asked.

    Attributes:
        names: of all images that were asked; without ``complete`` of those that were answered.
        poses: camera_SE3_world by name of those that were answered.
        statuses: by name, where they are known.
        complete: whether unanswered images are among the names.
        note: what of the files beside was not used, in words.
    """

    names: list[str]
    poses: dict[str, DoubleArray]
    statuses: dict[str, str]
    complete: bool
    note: str = ""


def why_cameras(estimates: Path, truth: Path) -> str:
    """Why the estimates are of photos, judged in 6 degrees of freedom; empty where they are of sweeps, planar.

    What was named decides: lines about images, a true model, the file's own first comment, rows that begin with names.
    A trajectory that says nothing is one of sweeps if its poses turn about the vertical alone, as `foldmap localize`
    writes them.

    Raises:
        PoseInputError: a file cannot be read, or its lines are about something else.
    """
    from foldmap.formats.hloc.results import is_results
    from foldmap.formats.poses.answers import is_about_images

    if estimates.suffix == ".jsonl":
        if estimates.is_file() and not is_about_images(estimates):
            raise PoseInputError(f"{estimates} has no lines about photos", "of sweeps give the poses beside it")
        return "its lines are about photos"
    if truth.is_dir():
        return "the truth is a folder"
    if not estimates.is_file():
        return ""
    head = _comment(estimates)
    if CAMERA_HEADER in head:
        return f"its first line says {CAMERA_HEADER}"
    if SWEEP_HEADER in head:
        return ""
    if is_results(estimates):
        return "its rows begin with names"
    if any(is_about_images(beside) for beside in _beside(estimates)):
        return "the lines beside are about photos"
    return "its poses roll or pitch" if _tilts(estimates) and _columns(truth) == 8 else ""


def read_answered(estimates: Path, queries: Path | None) -> Answered:
    """Read what was answered, and what was asked as far as files tell.

    Poses are those of the file that was named. Lines beside it tell what else was asked, and statuses, if they tell of
    the same poses.

    Raises:
        FoldmapError: a file cannot be read, or nothing was asked.
    """
    from foldmap.formats.hloc.lists import read_names
    from foldmap.formats.poses.answers import read_answers

    names: list[str] = []
    poses: dict[str, DoubleArray] = {}
    statuses: dict[str, str] = {}
    complete, note = True, ""
    if estimates.suffix == ".jsonl":
        for answer in read_answers(estimates):
            names += answer.images
            statuses |= dict.fromkeys(answer.images, answer.status)
            if answer.camera_SE3_world is not None:
                poses |= zip(answer.images, answer.camera_SE3_world, strict=True)
    else:
        poses, numbered = _poses(estimates)
        names, complete = list(poses), False
        beside = next((path for path in _beside(estimates) if path.is_file()), None)
        if beside is not None:
            told = _told(beside, poses, numbered)
            if isinstance(told, str):
                note = told
            else:
                names, poses, statuses, complete = told.names, told.poses, told.statuses, True
    if queries is not None:
        asked = read_names(queries)
        strays = set(poses) - set(asked)
        if strays:
            raise PoseInputError(
                f"{estimates} answers {min(strays)!r}, which {queries} does not ask", "give the list that was localized"
            )
        names, complete = asked, True
    if not names:
        raise PoseInputError(f"{estimates} holds no poses", "give --queries LIST to count unanswered queries")
    return Answered(names, poses, statuses, complete, note)


def _poses(path: Path) -> tuple[dict[str, DoubleArray], bool]:
    """Poses of the named file; of a trajectory by its times as they are written, and that they are."""
    from foldmap.formats.hloc.results import is_results, read_results
    from foldmap.formats.poses.tum import read_tum_poses
    from foldmap.formats.textual import content_lines

    if is_results(path) or next(content_lines(path), None) is None:
        return read_results(path), False
    if CAMERA_HEADER not in _comment(path) and _columns(path) != 8:
        return read_results(path), False
    _, trajectory = read_tum_poses(path)
    times = [words[0] for _, words in content_lines(path)]
    return {time: pose.inverse().matrix for time, pose in zip(times, trajectory, strict=True)}, True


def _told(beside: Path, poses: dict[str, DoubleArray], numbered: bool) -> Answered | str:
    """What the lines beside tell, poses under the names there; why they are not used where they are not of them."""
    from foldmap.formats.poses.answers import read_answers

    try:
        answers = read_answers(beside)
    except FoldmapError:
        return f"{beside.name} does not tell of these photos, and is not used"
    named = _by_time(answers, poses) if numbered else poses
    told = {
        image: pose
        for answer in answers
        if answer.camera_SE3_world is not None
        for image, pose in zip(answer.images, answer.camera_SE3_world, strict=True)
    }
    if named is None or named.keys() != told.keys() or not all(_alike(named[name], told[name]) for name in told):
        return f"{beside.name} tells of other poses, and is not used"
    names = [image for answer in answers for image in answer.images]
    statuses = {image: answer.status for answer in answers for image in answer.images}
    return Answered(names, named, statuses, True)


def _by_time(answers: Sequence[CameraAnswer], poses: dict[str, DoubleArray]) -> dict[str, DoubleArray] | None:
    """The rows of a trajectory by the names of the photos that they answer; None where they answer others."""
    from foldmap.formats.name_times import query_times

    if any(len(answer.images) != 1 for answer in answers):
        return None
    times = query_times([answer.query for answer in answers])
    named = {answer.images[0]: poses[time] for answer, time in zip(answers, times, strict=True) if time in poses}
    return named if len(named) == len(poses) else None


def _alike(one: DoubleArray, other: DoubleArray) -> bool:
    import numpy as np

    far = 1.0 + float(np.abs(other[:3, 3]).max())
    same = np.abs(one[:3, :3] - other[:3, :3]).max() < _SAME and np.abs(one[:3, 3] - other[:3, 3]).max() < _SAME * far
    return bool(same)


def _beside(estimates: Path) -> list[Path]:
    """Where the JSON lines of a file of poses may be; those of OUTPUT.tum are OUTPUT's."""
    own = Path(f"{estimates}.jsonl")
    return [own, Path(f"{estimates.with_suffix('')}.jsonl")] if estimates.suffix == ".tum" else [own]


def _comment(path: Path) -> str:
    with path.open(encoding="utf-8", errors="replace") as file:
        line = file.readline(1000).lstrip("\ufeff")
    return line if line.startswith("#") else ""


def _columns(path: Path) -> int:
    from foldmap.formats.textual import content_lines

    first = next(content_lines(path), None) if path.is_file() else None
    return 0 if first is None else len(first[1])


def _tilts(path: Path) -> bool:
    """Whether a trajectory turns about more than the vertical."""
    from foldmap.formats.poses.tum import read_tum_poses

    if _columns(path) != 8:
        return False
    return any(abs(float(pose.matrix[2, axis])) > _TILT for pose in read_tum_poses(path)[1] for axis in (0, 1))
