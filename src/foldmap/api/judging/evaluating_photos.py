"""Compare answers about photos with the truth: camera poses of COLMAP models, 7-Scenes, kapture, TUM or hloc's text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from foldmap.api.judging.agreeing import refuse_other_meaning
from foldmap.api.judging.stated import consistency_summary
from foldmap.api.results import CAMERA_HEADER, VEHICLE_HEADER, PhotoLine, Stated, is_about_photos, read_photo_lines
from foldmap.atlas.whole import write_whole
from foldmap.errors import ConfigError, FoldmapError, PoseInputError
from foldmap.formats.colmap.scene import model_radius_world
from foldmap.formats.drives.read import is_drive
from foldmap.formats.hloc.lists import read_names
from foldmap.formats.hloc.results import is_results, read_results
from foldmap.formats.listing import is_number
from foldmap.formats.name_times import query_times
from foldmap.formats.poses.photos import read_image_poses
from foldmap.formats.poses.trajectories import read_tum_poses
from foldmap.formats.textual import content_lines
from foldmap.geometry.association import DEFAULT_LIMIT_S
from foldmap.metrics.camera_pose import NAMED_THRESHOLDS as NAMED
from foldmap.metrics.camera_pose import (
    CameraErrors,
    Threshold,
    accuracy,
    camera_differences,
    camera_errors,
    median_errors,
)
from foldmap.types import DoubleArray

UNITS = ("world", "m", "radius")
_DEFAULT = ((0.005, 0.5), (0.02, 2.0), (0.05, 5.0), (0.25, 2.0), (0.5, 5.0), (5.0, 10.0))
_DEFAULT_PERCENT = ((0.5, 0.5), (2.0, 2.0), (5.0, 5.0))
_TILT = 1e-3
_SAME = 1e-6


@dataclass
class AnsweredPhotos:
    """What was said about photos.

    Names are of all that were asked, or, where not `complete`, of those that were answered. Poses (camera_SE3_world)
    and, where known, statuses and what each answer says of its error are by name. The note says what of the files
    beside was not used.
    """

    names: list[str] = field(default_factory=list)
    poses: dict[str, DoubleArray] = field(default_factory=dict)
    statuses: dict[str, str] = field(default_factory=dict)
    stated: dict[str, Stated] = field(default_factory=dict)
    complete: bool = True
    note: str = ""

    @classmethod
    def of(cls, answers: Sequence[PhotoLine]) -> AnsweredPhotos:
        """What JSON lines say."""
        found = cls()
        for answer in answers:
            found.names += answer.images
            found.statuses |= dict.fromkeys(answer.images, answer.status)
            if answer.camera_SE3_world is not None:
                found.poses |= zip(answer.images, answer.camera_SE3_world, strict=True)
            if answer.stated is not None:
                found.stated[answer.images[0]] = answer.stated
        return found


def why_photos(estimates: Path, truth: Path) -> str:
    """Why the estimates are of photos, judged in 6 degrees of freedom; empty where they are planar.

    What was named decides: lines about photos, a true model, the file's own first comment, rows that begin with names.
    A trajectory that says nothing is one of sweeps if its poses turn about the vertical alone, as `foldmap localize`
    writes them.
    """
    if estimates.suffix == ".jsonl":
        return "its lines are about photos" if is_about_photos(estimates) or not estimates.is_file() else ""
    if truth.is_dir() and not is_drive(truth):
        return "the truth is a folder"
    if not estimates.is_file():
        return ""
    head = _first_comment(estimates)
    if CAMERA_HEADER in head:
        return f"its first line says {CAMERA_HEADER}"
    if VEHICLE_HEADER in head:
        return ""
    if is_results(estimates):
        return "its rows begin with names"
    if any(is_about_photos(beside) for beside in _lines_beside(estimates)):
        return "the lines beside are about photos"
    return "its poses roll or pitch" if _tilts(estimates) and _columns(truth) == 8 else ""


def compare_photos(
    estimates: Path,
    truth: Path,
    *,
    queries: Path | None = None,
    thresholds: str = "",
    unit: str | None = None,
    limit_s: float | None = None,
    plot: Path | None = None,
) -> dict[str, Any]:
    """Compute errors of camera poses; photos that were not answered are infinitely far off, see `read_answered`.

    Args:
        estimates: hloc results, a TUM trajectory of cameras, or JSON lines of ``foldmap localize``.
        truth: folder of a COLMAP model or of 7-Scenes poses, TUM or hloc text.
        queries: list of the photos that were asked, where no JSON lines tell.
        thresholds: see `read_thresholds`.
        unit: one of `UNITS`: "world" is as the truth has it, "radius" percent of the radius of a true COLMAP model;
            metres where the truth is known to have them, else world units.
        limit_s: times of photos and of a true trajectory that are farther apart do not belong together.
        plot: SVG of the distribution of the errors.

    Raises:
        FoldmapError: a file or an option cannot be used, no photo that was asked has a true pose, or the files are of
            two frames or conventions.
    """
    answered = read_answered(estimates, queries)
    known = read_image_poses(truth, answered.names, DEFAULT_LIMIT_S if limit_s is None else limit_s, cameras=False)
    if limit_s is not None and not known.by_time:
        raise ConfigError(f"poses are paired {known.paired}, not by time", "leave --time-limit out")
    names = [name for name in answered.names if name in known.camera_SE3_world]
    if not names:
        example = next(iter(known.camera_SE3_world), "none")
        shown = f"{len(answered.names)} images (asked {answered.names[0]!r}, there {example!r})"
        raise PoseInputError(f"{truth} has no true pose of any of {shown}", "name images alike in both")
    refuse_other_meaning(answered.poses, {name: known.camera_SE3_world[name] for name in names}, estimates, truth)
    chosen, length = _unit(unit or ("m" if known.metric else "world"), truth)
    limits = read_thresholds(thresholds, chosen)
    errors = camera_errors(
        [known.camera_SE3_world[name] for name in names], [answered.poses.get(name) for name in names], length
    )
    if plot is not None:
        from foldmap.report.camera_figures import camera_error_plot

        write_whole(plot, camera_error_plot({"foldmap": (errors.centre, errors.rotation_deg)}, chosen, limits))
    summary = _summary(errors, chosen, limits) | {"truth": known.layout, "paired": known.paired}
    if answered.note:
        summary["beside"] = answered.note
    if not answered.complete:
        summary["unanswered"] = "unknown: give --queries LIST, or keep the .jsonl beside"
    statuses = [answered.statuses.get(name, "answered" if name in answered.poses else "none") for name in names]
    summary |= {"without_truth": len(answered.names) - len(names), "by_status": dict(Counter(statuses))}
    for status in ("ok", "degraded"):  # the same for each status that carries poses, and its worst errors
        rows = np.array([one == status for one in statuses])
        if rows.any():
            some = errors.take(rows)
            worst = {f"centre_max_{chosen}": some.centre.max(), "rotation_max_deg": some.rotation_deg.max()}
            summary[status] = _summary(some, chosen, limits) | {key: float(value) for key, value in worst.items()}
    posed = [name for name in names if name in answered.poses]
    apart = [camera_differences(known.camera_SE3_world[name], answered.poses[name]) for name in posed]
    stated = [answered.stated.get(name) for name in posed]
    summary["consistency"] = consistency_summary([one for one, _ in apart], [turn for _, turn in apart], stated)
    return summary


def read_thresholds(text: str, unit: str) -> tuple[Threshold, ...]:
    """Thresholds as a user writes them: ``0.005,0.5 0.02,2`` (centre, degrees) or a name; where empty, a usual range.

    Pairs of other than positive numbers are a ConfigError, so are named ones (metres) in another unit.
    """
    percent = unit.startswith("percent")
    if not text.strip():
        return _DEFAULT_PERCENT if percent else _DEFAULT
    if text.strip() in NAMED:
        if percent:
            raise ConfigError(f"the thresholds {text.strip()!r} are in metres", "write them as 0.5,0.5 2,2")
        return NAMED[text.strip()]
    limits = []
    for word in text.split():
        parts = word.split(",")
        if len(parts) != 2 or not all(is_number(part) and float(part) > 0 for part in parts):
            known = ", ".join(NAMED)
            raise ConfigError(f"{word!r} is no threshold", f"write '0.05,5 0.25,2' (centre,degrees), or one of {known}")
        limits.append((float(parts[0]), float(parts[1])))
    return tuple(limits)


def _summary(errors: CameraErrors, unit: str, limits: Sequence[Threshold]) -> dict[str, Any]:
    centre, rotation_deg = median_errors(errors)
    within = {f"within_{far:g}_{unit}_{deg:g}_deg_percent": 100.0 * accuracy(errors, (far, deg)) for far, deg in limits}
    return {
        "images": len(errors),
        "answered": int(np.isfinite(errors.centre).sum()),
        f"centre_median_{unit}": centre,
        "rotation_median_deg": rotation_deg,
        **within,
    }


def _unit(unit: str, truth: Path) -> tuple[str, float]:
    """Its name in results, and its length in world units."""
    if unit not in UNITS:
        raise ConfigError(f"there is no unit {unit!r}", f"choose {', '.join(UNITS)}")
    if unit != "radius":
        return unit, 1.0
    if not truth.is_dir():
        raise ConfigError("only a COLMAP model has a radius", "give the model as the truth, or another --unit")
    return "percent_of_radius", 0.01 * model_radius_world(truth)


def read_answered(estimates: Path, queries: Path | None) -> AnsweredPhotos:
    """Read what was answered, and what was asked as far as files tell.

    Poses are those of the file that was named. Lines beside it tell what else was asked, and statuses, if they tell of
    the same poses.
    """
    if estimates.suffix == ".jsonl":
        found = AnsweredPhotos.of(read_photo_lines(estimates))
    else:
        poses, timed = _poses(estimates)
        found = AnsweredPhotos(list(poses), poses, complete=False)
        beside = next((path for path in _lines_beside(estimates) if path.is_file()), None)
        if beside is not None:
            told = _told(beside, poses, timed)
            if isinstance(told, str):
                found.note = f"{beside.name} {told}, and is not used"
            else:
                found = told
    if queries is not None:
        asked = read_names(queries)
        if strays := set(found.poses) - set(asked):
            said = f"{estimates} answers {min(strays)!r}, which {queries} does not ask"
            raise PoseInputError(said, "give the list that was localized")
        found.names, found.complete = asked, True
    if not found.names:
        raise PoseInputError(f"{estimates} holds no poses", "give --queries LIST to count unanswered queries")
    return found


def _poses(path: Path) -> tuple[dict[str, DoubleArray], bool]:
    """Poses of the named file; of a trajectory by its times as they are written, and that they are."""
    trajectory = CAMERA_HEADER in _first_comment(path) or _columns(path) == 8
    if not trajectory or is_results(path) or not _columns(path):
        return read_results(path), False
    times = [words[0] for _, words in content_lines(path)]
    return {time: pose.inverse().matrix for time, pose in zip(times, read_tum_poses(path)[1], strict=True)}, True


def _told(beside: Path, poses: dict[str, DoubleArray], timed: bool) -> AnsweredPhotos | str:
    """What the lines beside tell, poses under the names there; why they are not used where they are not of them."""
    try:
        answers = read_photo_lines(beside)
    except FoldmapError:
        return "does not tell of these photos"
    found = AnsweredPhotos.of(answers)
    named = _by_time(answers, poses) if timed else poses
    if named.keys() != found.poses.keys() or not all(_alike(named[name], found.poses[name]) for name in named):
        return "tells of other poses"
    found.poses = named
    return found


def _by_time(answers: Sequence[PhotoLine], poses: dict[str, DoubleArray]) -> dict[str, DoubleArray]:
    """The rows of a trajectory by the names of the photos that they answer; by their times where they answer others."""
    if any(len(answer.images) != 1 for answer in answers):
        return poses
    times = query_times([answer.name for answer in answers])
    named = {answer.images[0]: poses[time] for answer, time in zip(answers, times, strict=True) if time in poses}
    return named if len(named) == len(poses) else poses


def _alike(one: DoubleArray, other: DoubleArray) -> bool:
    apart, far = np.abs(one[:3] - other[:3]), 1.0 + np.abs(other[:3, 3]).max()
    return bool(apart[:, :3].max() < _SAME and apart[:, 3].max() < _SAME * far)


def _lines_beside(estimates: Path) -> list[Path]:
    """Where the JSON lines of a file of poses may be; those of OUTPUT.tum are OUTPUT's."""
    own = Path(f"{estimates}.jsonl")
    return [own, Path(f"{estimates.with_suffix('')}.jsonl")] if estimates.suffix == ".tum" else [own]


def _first_comment(path: Path) -> str:
    with path.open(encoding="utf-8", errors="replace") as file:
        line = file.readline(1000).lstrip("\ufeff")
    return line if line.startswith("#") else ""


def _columns(path: Path) -> int:
    first = next(content_lines(path), None) if path.is_file() else None
    return 0 if first is None else len(first[1])


def _tilts(path: Path) -> bool:
    """Whether a trajectory turns about more than the vertical."""
    poses = read_tum_poses(path)[1] if _columns(path) == 8 else ()
    return any(abs(float(pose.matrix[2, axis])) > _TILT for pose in poses for axis in (0, 1))
