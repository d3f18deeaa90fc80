"""What ``foldmap localize`` answered, read back, and held against the truth."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from foldmap.api.judging.agreeing import refuse_other_meaning
from foldmap.errors import ConfigError, PoseInputError
from foldmap.formats.drives.read import is_drive, read_drive
from foldmap.formats.listing import content
from foldmap.formats.poses.photos import read_image_poses
from foldmap.formats.poses.trajectories import read_poses
from foldmap.geometry import SE2
from foldmap.geometry.association import DEFAULT_LIMIT_S, associate_times
from foldmap.geometry.quaternion import centres_of, rigid_from_wxyz
from foldmap.lidar.mapping.belonging import check_poses
from foldmap.metrics.consistency import squared_distances
from foldmap.types import BoolArray, DoubleArray

ANOTHER_FRAME_M = 1000.0
"""Estimates that are all farther from the truth do not err, but are of another frame."""
WITH_POSE = ("ok", "degraded")
_KNOWN = ("ok", "degraded", "ambiguous", "no_match", "no_map", "no_observation")


@dataclass(frozen=True)
class Answers:
    """The JSON lines of one run, in their order.

    Attributes:
        path: of the lines.
        kind: of the layer that answered: "lidar", "visual" or "street".
        rows: the lines as they are.
        positions: float64 (N, K) where each was answered to be, world units; NaN where nothing was. K is 2, of photos
            3, and those are the centres of the cameras (of a rig: of the rig).
        covariances: float64 (N, K, K) of the positions, NaN likewise.
        levels: float64 (N,) protection level of the position; NaN where there is none.
    """

    path: Path
    kind: str
    rows: Sequence[dict[str, Any]]
    positions: DoubleArray
    covariances: DoubleArray
    levels: DoubleArray

    @property
    def answered(self) -> BoolArray:
        """Which have a pose, (N,)."""
        return np.isfinite(self.positions[:, 0])

    @property
    def times_s(self) -> DoubleArray:
        """Of the observations, (N,)."""
        return np.array([row["time_s"] for row in self.rows], np.float64)

    @property
    def statuses(self) -> list[str]:
        """Of the observations."""
        return [str(row["status"]) for row in self.rows]


def read_answers(path: Path) -> Answers:
    """The lines of a run: a .jsonl, or that beside the poses; a PoseInputError where they are none."""
    lines = path if path.suffix == ".jsonl" else Path(f"{path}.jsonl")
    rows, found = list[dict[str, Any]](), list[tuple[DoubleArray, DoubleArray, float]]()
    for line, text in content(lines, "the JSON lines of foldmap localize"):
        try:
            row = json.loads(text)
            found.append(_pose(row))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            said = f"{lines}, line {line}: no answer of foldmap localize: {error}"
            raise PoseInputError(said, "write it again") from error
        rows.append(row)
    if not rows:
        raise PoseInputError(f"{lines} holds no answers", "write it with foldmap localize")
    kinds = {_kind(row) for row in rows}
    if len(kinds) > 1:
        raise PoseInputError(f"{lines} has answers of {' and '.join(sorted(kinds))} layers", "give those of one")
    positions, covariances, levels = (np.array(part) for part in zip(*found, strict=True))
    return Answers(lines, kinds.pop(), rows, positions, covariances, levels)


def known_trajectory(
    truth: Path, calibration: Path | None = None, limit_s: float | None = None
) -> tuple[DoubleArray | None, list[SE2]]:
    """Times, float64 (N,), where it has any, and poses of a trajectory, or of the truth of a drive's folder.

    A PoseInputError where they are no world_SE3_sensor, such as a camera's without its calibration; a ConfigError where
    a calibration, or a limit of times, is given to what has no use for it.
    """
    if is_drive(truth):
        if calibration is not None:
            raise ConfigError(f"the truth of a drive is the vehicle's, and takes no {calibration}", "leave it out")
        told = read_drive(truth).truth
        if told is None:
            raise PoseInputError(
                f"the drive {truth} has no truth", "name its table in drive.json, or give a trajectory"
            )
        return told
    true = read_poses(truth, calibration)
    check_poses(true.world_SE3_sensors, str(truth))
    if limit_s is not None and true.times_s is None:
        raise ConfigError(f"{truth} has no times", "leave --time-limit out")
    return true.times_s, [pose.to_se2() for pose in true.world_SE3_sensors]


def true_positions(answers: Answers, truth: Path, limit_s: float | None = None) -> DoubleArray:
    """Where each observation was made, float64 (N, K), NaN where nobody knows.

    Photos are paired by name, others by time, or by number where the truth has no times; times farther apart than the
    limit do not belong together. A PoseInputError where the truth cannot be used, knows less than half of what was
    answered, or is of another frame.
    """
    found = np.full(answers.positions.shape, np.nan)
    if answers.kind == "visual":
        named = {row["images"][0]: number for number, row in enumerate(answers.rows) if len(row["images"]) == 1}
        within_s = DEFAULT_LIMIT_S if limit_s is None else limit_s
        known = read_image_poses(truth, list(named), within_s, cameras=False).camera_SE3_world
        poses = {name: _camera(answers.rows[row]) for name, row in named.items() if answers.answered[row]}
        refuse_other_meaning(poses, {name: known[name] for name in known.keys() & named.keys()}, answers.path, truth)
        for name in known.keys() & named.keys():
            found[named[name]] = centres_of(known[name][None])[0]
    else:
        times_s, true = known_trajectory(truth, limit_s=limit_s)
        places = np.array([(pose.x_m, pose.y_m) for pose in true])
        if times_s is not None:
            moments, of = np.unique(answers.times_s, return_inverse=True)  # a sweep and a frame may be of one moment
            mine, theirs, _ = associate_times(moments, times_s, DEFAULT_LIMIT_S if limit_s is None else limit_s)
            there = np.full((len(moments), places.shape[1]), np.nan)
            there[mine] = places[theirs]
            found[:] = there[of]
        elif len(places) == len(found):
            found[:] = places
        else:
            said = f"{truth} has {len(places)} poses without times for {len(found)} observations"
            raise PoseInputError(said, "give a pose an observation, or a trajectory with times")
    if not np.isfinite(found).any():
        raise PoseInputError(f"{truth} knows none of the observations", "give the truth of the same drive")
    if answers.kind != "visual":
        _refuse_another_drive(answers, found, truth)
    return found


def _refuse_another_drive(answers: Answers, true: DoubleArray, truth: Path) -> None:
    """Refuse truth, (N, 2), that tells of few of the answers, or lies where none of them does."""
    off_m = np.linalg.norm(answers.positions - true, axis=1)[answers.answered]
    told = int(np.isfinite(off_m).sum())
    if 2 * told < len(off_m):
        said = f"{truth} has a pose at the time of {told} of {len(off_m)} answers"
        cure = "give the truth of the same drive with the same times"
        raise PoseInputError(said, f"{cure}; sweeps whose poses had no times are counted, as KITTI rows are")
    if told and float(np.nanmin(off_m)) > ANOTHER_FRAME_M:
        away_km = float(np.nanmin(off_m)) / 1000
        raise PoseInputError(f"{answers.path} lies {away_km:,.1f} km from {truth}", "give both in one frame")


def distances_to(answers: Answers, true: DoubleArray) -> DoubleArray:
    """Mahalanobis distances (M,) of the M positions that were answered and are known to the truth, in their order."""
    known = answers.answered & np.isfinite(true[:, 0])
    return np.sqrt(squared_distances((answers.positions - true)[known], answers.covariances[known]))


def _kind(row: dict[str, Any]) -> str:
    return "visual" if "image_poses" in row else "street" if "guess" in row else "lidar"


def _pose(row: dict[str, Any]) -> tuple[DoubleArray, DoubleArray, float]:
    """Position, covariance and protection level of one line; NaN where there is none."""
    axes = 3 if _kind(row) == "visual" else 2
    if row["status"] not in _KNOWN or not isinstance(row["diagnostics"].get("reason"), str):
        raise ValueError(f"status {row['status']!r}, diagnostics {row['diagnostics']!r}"[:200])
    float(row["time_s"])
    len(row.get("images", ()))
    if row["status"] not in WITH_POSE:
        return np.full(axes, np.nan), np.full((axes, axes), np.nan), np.nan
    covariance = np.array(row["covariance"], np.float64)
    if covariance.shape != ((6, 6) if axes == 3 else (3, 3)) or not np.isfinite(covariance).all():
        raise ValueError(f"a covariance of shape {covariance.shape}")
    level = row.get("protection_level") or {}
    return _position(row, axes), covariance[:axes, :axes], float(level.get("position", np.nan))


def _position(row: dict[str, Any], axes: int) -> DoubleArray:
    pose = row["pose"]
    position = np.array([pose["x_m"], pose["y_m"]], np.float64) if axes == 2 else centres_of(_camera(row))
    if not np.isfinite(position).all():
        raise ValueError("a pose that is not finite")
    return position


def _camera(row: dict[str, Any]) -> DoubleArray:
    seven = np.array(row["pose"], np.float64).reshape(7)
    return rigid_from_wxyz(seven[:4], seven[4:])
