"""What ``foldmap localize`` writes, for all layers alike: poses in OUTPUT, a line an observation in OUTPUT.jsonl.

Each line is an object::

    {"name": "a/0017.jpg", "time_s": 17.0, "status": "ok", "pose": ..., "covariance": [[...]],
     "protection_level": {...}, "diagnostics": {...}}

``pose`` is world_SE2_vehicle, ``{"x_m": ..., "y_m": ..., "heading_rad": ...}``; of photos it is camera_SE3_world (of a
rig: rig_SE3_world), ``[qw, qx, qy, qz, tx, ty, tz]``. Pose and covariance are null where nothing was answered; so is
the protection level, a `ProtectionLevel`, there and where the map's errors are not calibrated.
``time_s`` is the number of the observation where nothing says more. Lines of photos also have ``images``, the names of
a photo or of a rig's photos, and ``image_poses``, the camera_SE3_world of each, and
``intrinsics``, where those of each are from ("given", "exif" or "guessed"). Lines of street observations have
``guess``, the most probable place even where nothing was answered.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

import numpy as np

from foldmap.api.plain import plain
from foldmap.atlas.whole import write_whole
from foldmap.errors import ConfigError, PoseInputError
from foldmap.formats.hloc.results import write_results
from foldmap.formats.listing import ListedImage, content, pose_numbers, write_lines
from foldmap.formats.name_times import seconds_per_unit
from foldmap.geometry import SE3
from foldmap.geometry.quaternion import inverse_rigid, rigid_from_wxyz, wxyz_from_rigid
from foldmap.localize.protection import AlertLimit
from foldmap.types import DoubleArray

CAMERA_HEADER, VEHICLE_HEADER = "world_SE3_camera", "world_T_vehicle"
"""What the first comment of a trajectory says its poses are."""

Begin = Callable[[str], Callable[[int, int], None]]
"""Given a kind of work, makes a callback of ``(done, total)``."""

LAYOUTS = ("hloc", "tum", "both")
COLUMNS = ("name", "time_s", "status", "x_m", "y_m", "heading_deg", "sigma_m", "along_m", "across_m", "score")


def silent(doing: str) -> Callable[[int, int], None]:
    """Tell nobody how far the work has come."""
    return lambda done, total: None


@dataclass(frozen=True)
class LocalizedObservation:
    """What was answered about one observation.

    Attributes:
        name: of the sweep, photo, rig or street observation.
        time: as text, with the digits that it has; the number of the observation where nothing says more.
        estimate: of its layer.
        z_m: height of a planar pose, in files that have one.
        photos: the photo, or those of a rig, with their place in it; empty for other observations.
    """

    name: str
    time: str
    estimate: Any
    z_m: float = 0.0
    photos: tuple[ListedImage, ...] = ()

    @property
    def time_s(self) -> float:
        """Seconds, also where the time counts milli-, micro- or nanoseconds since 1970."""
        return float(self.time) * seconds_per_unit(float(self.time))

    @property
    def answered(self) -> bool:
        """Whether there is a pose."""
        return bool(self.estimate.status.has_pose)

    @property
    def world_SE3(self) -> DoubleArray:
        """float64 (4, 4): world_SE3_camera (of a rig: world_SE3_rig) of photos, else world_SE3_vehicle."""
        if self.photos:
            return inverse_rigid(self.estimate.pose)
        return SE3.from_se2(self.estimate.pose, self.z_m).matrix

    def photo_poses(self) -> dict[str, DoubleArray]:
        """The camera_SE3_world of each photo, float64 (4, 4), by name; empty where nothing was answered."""
        world = self.estimate.pose
        if world is None:
            return {}
        inside = {photo.name: photo.camera_SE3_rig for photo in self.photos}
        return {name: world if pose is None else np.asarray(pose, np.float64) @ world for name, pose in inside.items()}

    def line(self) -> dict[str, Any]:
        """The JSON line; see the module."""
        estimate, pose = self.estimate, None
        if self.answered:
            pose = pose_numbers(estimate.pose) if self.photos else asdict(estimate.pose)
        row = {
            "name": self.name,
            "time_s": self.time_s,
            "status": estimate.status.value,
            "pose": pose,
            "covariance": estimate.covariance,
            "protection_level": None if (level := estimate.protection_level()) is None else asdict(level),
            "diagnostics": asdict(estimate.diagnostics),
        }
        if self.photos:
            poses = [pose_numbers(one) for one in self.photo_poses().values()]
            row |= {"images": [photo.name for photo in self.photos], "image_poses": poses or None}
            row["intrinsics"] = [photo.intrinsics for photo in self.photos]
        elif hasattr(estimate, "guess"):
            row["guess"] = None if estimate.guess is None else asdict(estimate.guess)
        found: dict[str, Any] = plain(row)
        return found


@dataclass(frozen=True)
class Localized:
    """What was answered, and how.

    Attributes:
        observations: one each, in order.
        settings: what was effective beside the options.
        told: for people, beside what is counted.
        notes: what was left out or could not be used, for people.
    """

    observations: list[LocalizedObservation]
    settings: dict[str, Any]
    told: dict[str, Any]
    notes: list[str]

    def within(self, limit: AlertLimit) -> Self:
        """The same; what was `ok` is `degraded` where its protection level exceeds an alert limit."""
        judged = [replace(one, estimate=one.estimate.within(limit)) for one in self.observations]
        return replace(self, observations=judged, settings={**self.settings, "alert_limit": asdict(limit)})

    def summary(self) -> dict[str, Any]:
        """How many observations got which status, how long one took, and what else there is to tell."""
        spent_s = [one.estimate.diagnostics.time_s for one in self.observations if one.estimate.diagnostics.time_s > 0]
        return {
            "observations": len(self.observations),
            "answered": sum(one.answered for one in self.observations),
            "by_status": dict(Counter(one.estimate.status.value for one in self.observations)),
            "median_time_s": round(float(np.median(spent_s or [0.0])), 5),
            **self.told,
        }


def write_estimates(output: Path, observations: Sequence[LocalizedObservation], layout: str = "hloc") -> None:
    """Write poses to OUTPUT and a line an observation to OUTPUT.jsonl.

    OUTPUT is a trajectory (TUM), or CSV where it is called .csv. Of photos it has the layout "hloc" (``name qw qx qy qz
    tx ty tz``, camera_SE3_world), "tum" (a trajectory), or "both", the trajectory then in OUTPUT.tum.

    Raises:
        WriteError: a file cannot be written.
    """
    if not any(one.photos for one in observations):
        text = csv_text if output.suffix.lower() == ".csv" else trajectory_text
        write_whole(output, text(observations))
    else:
        if layout != "tum":
            write_results(output, {name: pose for one in observations for name, pose in one.photo_poses().items()})
        if layout != "hloc":
            write_whole(output if layout == "tum" else Path(f"{output}.tum"), trajectory_text(observations))
    write_json_lines(Path(f"{output}.jsonl"), observations)


def write_json_lines(path: Path | str, observations: Sequence[LocalizedObservation]) -> None:
    """Write the JSON lines alone."""
    write_lines(path, [json.dumps(one.line(), ensure_ascii=False, allow_nan=False) for one in observations])


def check_layout(layout: str) -> None:
    """Refuse a layout that there is not."""
    if layout not in LAYOUTS:
        raise ConfigError(f"there is no layout {layout!r}", f"choose {', '.join(LAYOUTS)}")


def last_of_moments(observations: Sequence[LocalizedObservation]) -> list[LocalizedObservation]:
    """Those that have a pose in order of time, one a moment: the last of a sweep and a fix of one time knows most.

    Readers of trajectories, foldmap's own among them, take no time twice.
    """
    last = {Decimal(one.time): one for one in observations if one.answered}
    return [last[time] for time in sorted(last)]


def trajectory_text(observations: Sequence[LocalizedObservation]) -> str:
    """TUM rows ``t x y z qx qy qz qw`` of `last_of_moments`."""
    what = f"{CAMERA_HEADER}, world units" if any(one.photos for one in observations) else f"{VEHICLE_HEADER}, metres"
    rows = [f"# t x y z qx qy qz qw, {what}"]
    for one in last_of_moments(observations):
        pose = one.world_SE3
        values = [*pose[:3, 3], *np.roll(wxyz_from_rigid(pose), -1)]
        rows.append(" ".join([one.time, *(f"{value:.12g}" for value in values)]))
    return "\n".join(rows) + "\n"


def csv_text(observations: Sequence[LocalizedObservation]) -> str:
    """A line an observation; the pose is empty where nothing was answered."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for one in observations:
        said = asdict(one.estimate.diagnostics)
        row: dict[str, Any] = {"name": one.name, "time_s": one.time, "status": one.estimate.status.value}
        if one.answered:
            pose = one.estimate.pose
            row |= {"x_m": f"{pose.x_m:.3f}", "y_m": f"{pose.y_m:.3f}"}
            row["heading_deg"] = f"{math.degrees(pose.heading_rad):.3f}"
            row |= {key: f"{said[key]:.3f}" for key in ("sigma_m", "along_m", "across_m") if said.get(key) is not None}
        if said.get("score") is not None:
            row["score"] = f"{said['score']:.5f}"
        writer.writerow(row)
    return text.getvalue()


@dataclass(frozen=True)
class Stated:
    """How far off an answer says that it may be: covariance float64 (3, 3) or (6, 6), and the protection level.

    The level is of the position, world units, and of the rotation, rad; NaN where the map was not calibrated.
    """

    covariance: DoubleArray
    level: float
    level_rad: float

    @staticmethod
    def of(row: Mapping[str, Any], side: int) -> Stated | None:
        """What a JSON line says; None where it says nothing, a ValueError where that is no covariance."""
        if row.get("covariance") is None:
            return None
        covariance, level = np.array(row["covariance"], np.float64), row.get("protection_level") or {}
        if covariance.shape != (side, side) or not np.isfinite(covariance).all():
            raise ValueError(f"a covariance of shape {covariance.shape}")
        bounds = (float(level.get(key, math.nan)) for key in ("position", "rotation_rad"))
        return Stated(covariance, *bounds)


@dataclass(frozen=True)
class PhotoLine:
    """What a line says about a query: its photo, or those of a rig, and if answered their poses, float64 (4, 4).

    Of a single photo also its `Stated`, where the line has one.
    """

    name: str
    images: tuple[str, ...]
    status: str
    camera_SE3_world: tuple[DoubleArray, ...] | None
    stated: Stated | None = None


def read_photo_lines(path: Path | str) -> list[PhotoLine]:
    """Read the JSON lines about photos; a PoseInputError names a line that is no such object."""
    found = []
    for line, text in content(path, "the JSON lines of foldmap localize"):
        try:
            found.append(_photo_line(json.loads(text)))
        except (ValueError, KeyError, TypeError, PoseInputError) as error:
            reason = error.message if isinstance(error, PoseInputError) else str(error)
            said = f"{path}, line {line}: no answer about a photo: {reason}"
            raise PoseInputError(said, "write it again with foldmap localize") from error
    return found


def is_about_photos(path: Path) -> bool:
    """Whether a file holds JSON lines about photos; those about sweeps are others."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return '"image_poses"' in file.readline()
    except OSError:
        return False


def _photo_line(row: Any) -> PhotoLine:
    name, status, images, poses = row["name"], row["status"], row["images"], row["image_poses"]
    if not (isinstance(name, str) and isinstance(status, str) and isinstance(images, list)):
        raise ValueError("name, status or images are of another kind")
    found, stated = None, None
    if poses is not None:
        sevens = np.array(poses, dtype=np.float64)
        if sevens.shape != (len(images), 7):
            raise ValueError(f"poses of shape {sevens.shape} for {len(images)} images")
        found = tuple(rigid_from_wxyz(sevens[:, :4], sevens[:, 4:]))
        # of a photo within a rig the covariance is of another frame
        stated = Stated.of(row, 6) if len(images) == 1 and row.get("pose") == poses[0] else None
    return PhotoLine(name, tuple(map(str, images)), status, found, stated)
