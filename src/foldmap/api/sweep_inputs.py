"""What is known about a drive beside its sweeps: priors, odometry, fixes, read and paired with the sweeps."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foldmap.api.tracking import Fix
from foldmap.errors import ConfigError, PoseInputError
from foldmap.formats.poses.fixes import read_fixes
from foldmap.formats.poses.trajectories import read_poses
from foldmap.formats.sweeps.drives import RecordedDrive, open_drive
from foldmap.geometry import SE2, MetricGrid
from foldmap.geometry.association import DEFAULT_LIMIT_S
from foldmap.types import DoubleArray

_FAR_M = 10_000.0
"""Fixes and priors are of another place, or in another frame, where the nearest is farther than this from the map."""


@dataclass(frozen=True)
class SweepInputs:
    """The files, and how they are read.

    Attributes:
        sweeps: as `open_sweeps` has them.
        poses: prior poses, one a sweep; with odometry and a filter the first one will do; None for a drive that begins
            anywhere in the map.
        odometry: poses of which increments count; without it the differences of the priors have to do, or the sweeps.
        gps: as `read_fixes` has them.
        gps_sigma_m: of fixes that say none.
        calibration: KITTI's calib.txt, where poses are the camera's.
        intensity_scale: of the sweeps.
        time_limit_s: sweeps named by times and their poses are no farther apart, see `pair_sweeps`.
    """

    sweeps: Path | str
    poses: Path | None
    odometry: Path | None
    gps: Path | None
    gps_sigma_m: float
    calibration: Path | None
    intensity_scale: float | None
    time_limit_s: float | None

    def __post_init__(self) -> None:
        if self.gps is not None and self.poses is None and self.odometry is None:
            said = "fixes alone do not say how the vehicle moves and where it heads"
            raise ConfigError(said, "give --odometry too, or --poses")
        if self.time_limit_s is not None and self.poses is None and self.odometry is None:
            raise ConfigError("--time-limit is of poses, odometry and fixes", "leave it out")

    @property
    def limit_s(self) -> float:
        """Times farther apart do not belong together."""
        return DEFAULT_LIMIT_S if self.time_limit_s is None else self.time_limit_s

    @property
    def moves(self) -> Path:
        """The file that says how the sensor moved."""
        found = self.odometry or self.poses
        assert found is not None
        return found

    def open(self) -> RecordedDrive:
        """The drive with the poses that say how the sensor moved; they may have errors of their own."""
        return self._drive(self.moves)

    def priors(self, drive: RecordedDrive, filtered: bool) -> Sequence[SE2 | None]:
        """The prior of each sweep; None where there is none. A filter needs the first alone."""
        if self.odometry is None:
            return [pose.to_se2() for pose in drive.world_SE3_sensors]
        if self.poses is None:
            return [None] * len(drive)
        if filtered:
            first = read_poses(self.poses, self._calibration(self.poses)).world_SE3_sensors
            if len(first) == 1:
                return [first[0].to_se2(), *[None] * (len(drive) - 1)]
        other = self._drive(self.poses)
        known = {name: pose.to_se2() for name, pose in zip(other.names, other.world_SE3_sensors, strict=True)}
        if filtered and drive.names[0] not in known:
            said = f"{self.poses} has no pose of the first sweep, {drive.names[0]}"
            raise PoseInputError(said, "the drive begins there: add it, or give --gps")
        return [known.get(name) for name in drive.names]

    def require_near(self, priors: Sequence[SE2 | None], grid: MetricGrid) -> None:
        """Refuse priors that are all of another frame than the map."""
        xy_m = np.array([(prior.x_m, prior.y_m) for prior in priors if prior is not None]).reshape(-1, 2)
        away_m = _away_m(xy_m, grid) if len(xy_m) else 0.0
        if away_m > _FAR_M:
            said = f"{self.poses}: the nearest prior lies {away_m / 1000:,.0f} km from the map"
            raise PoseInputError(said, "give priors in the frame of the map; foldmap show says where that lies")

    def fixes(self, drive: RecordedDrive, grid: MetricGrid) -> tuple[list[Fix | None], str]:
        """The fix of each sweep in the frame of the map, and in words how they were paired.

        A fix that is not of the very moment is the less sure, the farther the vehicle moves in between.
        """
        if self.gps is None:
            return [None] * len(drive), ""
        fixes = read_fixes(self.gps, self.gps_sigma_m)
        xy_m, times_s = fixes.in_crs(grid.crs_wkt), sweep_times_s(drive)
        require_fixes_near(self.gps, xy_m, grid)
        step_s = 0.0 if times_s is None or len(times_s) < 2 else float(np.median(np.diff(times_s)))
        rows, words = fixes.of_sweeps(times_s, len(drive), max(self.limit_s, 0.5 * step_s))
        at_m = np.array([pose.translation_m[:2] for pose in drive.world_SE3_sensors])
        found: list[Fix | None] = []
        for index, row in enumerate(rows):
            if row is None:
                found.append(None)
                continue
            sigma_m = float(fixes.sigma_m[row])
            if times_s is not None and fixes.times_s is not None and len(at_m) > 1:
                near = min(index, len(at_m) - 2)
                speed_m_s = float(np.hypot(*(at_m[near + 1] - at_m[near])) / (times_s[near + 1] - times_s[near]))
                sigma_m = float(np.hypot(sigma_m, speed_m_s * (fixes.times_s[row] - times_s[index])))
            found.append((float(xy_m[row, 0]), float(xy_m[row, 1]), sigma_m))
        return found, words

    def _drive(self, poses: Path) -> RecordedDrive:
        return open_drive(
            self.sweeps,
            poses,
            self._calibration(poses),
            self.intensity_scale,
            time_limit_s=self.time_limit_s,
            others_heed=self.gps is not None or None not in (self.poses, self.odometry),
            aligned=False,
        )

    def _calibration(self, poses: Path) -> Path | None:
        """Of two files the calibration is that of the one with KITTI rows; TUM takes none."""
        if self.calibration is None or self.poses is None or self.odometry is None:
            return self.calibration
        layouts = {path: read_poses(path).layout for path in (self.poses, self.odometry)}
        return self.calibration if layouts[poses] == "kitti" or "kitti" not in layouts.values() else None


def sweep_times_s(drive: RecordedDrive) -> DoubleArray | None:
    """Times of the sweeps of a drive, float64 (N,): of their poses, else of their names; None where neither has any."""
    if drive.times_s is not None:
        return drive.times_s
    named = drive.pairing.times_s
    return None if named is None else named[list(drive.pairing.sweeps)]


def require_fixes_near(where: Path, xy_m: DoubleArray, grid: MetricGrid) -> None:
    """Refuse fixes (N, 2) that are all of another frame than the map, or of another place."""
    away_m = _away_m(xy_m, grid)
    if away_m > _FAR_M:
        said = f"{where}: the nearest fix lies {away_m / 1000:,.0f} km from the map"
        raise PoseInputError(said, "give fixes in the frame of the map, east before north, or latitude and longitude")


def _away_m(xy_m: DoubleArray, grid: MetricGrid) -> float:
    """How far the nearest of some places is from a map."""
    low = np.array([grid.west_m, grid.north_m - grid.height_px * grid.resolution_m])
    high = np.array([grid.west_m + grid.width_px * grid.resolution_m, grid.north_m])
    return float(np.linalg.norm(np.maximum(np.maximum(low - xy_m, xy_m - high), 0.0), axis=1).min())
