"""Localization along a drive, step by step: the errors behind tables 2 to 4 and figure 1."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from foldmap.bench.lidar.cases import BenchQuery, Codec, Match, RasterMatcher, Search, perturbed
from foldmap.bench.lidar.drive import Drive, LeaveOutMaps
from foldmap.bench.lidar.predict import Prediction, Predictions, prediction_of
from foldmap.bench.lidar.protocol import configuration_of, drive_case, raster_fingerprint
from foldmap.bench.lidar.tables import centimetres, errors_of
from foldmap.errors import ConfigError
from foldmap.geometry import SE2
from foldmap.lidar.source import RasterMap
from foldmap.metrics import bits_per_m2, bits_per_px, failure_rates, travelled_m
from foldmap.types import FloatArray

ONLINE_COLUMNS = {
    "method": "method",
    "lateral_median_cm": "lateral [cm]",
    "longitudinal_median_cm": "longitudinal [cm]",
    "median_cm": "total [cm]",
    "p95_cm": "p95 [cm]",
    "p99_cm": "p99 [cm]",
    "fail_100_m_pct": "fail ≤ 100 m [%]",
    "fail_500_m_pct": "fail ≤ 500 m [%]",
    "fail_end_pct": "fail end [%]",
    "bits_per_px": "bit/px of raster",
    "bits_per_m2": "bit/m² observed",
    "segments": "segments",
    "segment_m": "segment [m]",
}


@dataclass(frozen=True)
class Step:
    """What a vehicle has at one moment."""

    points_vehicle_m: FloatArray  # float32 (N, 2) of the last sweeps, in the current vehicle frame
    intensity: FloatArray  # float32 (N,)
    previous_SE2_current: SE2  # odometry since the last step, noise included; the identity at the first


class OnlineLocalizer(Protocol):
    """A filter that is started once and then stepped through a drive."""

    @property
    def name(self) -> str:
        """What tables call it."""

    def start(self, world_SE2_prior: SE2) -> None:
        """Forget everything and believe this."""

    def step(self, step: Step, decoded_map: Any) -> Match:
        """Take one step in a map; a pose of None means that it declines to answer."""


class TrackingLocalizer:
    """The plainest localizer: dead reckoning, corrected by a matcher at every step. No belief is kept."""

    def __init__(self, matcher: RasterMatcher, search: Search | None = None) -> None:
        self.name = f"tracking-{matcher.name}"
        self._matcher, self._search = matcher, search or Search(1.0, math.radians(2.0))
        self._world_SE2_vehicle: SE2 | None = None

    def start(self, world_SE2_prior: SE2) -> None:
        """See `OnlineLocalizer`."""
        self._world_SE2_vehicle = world_SE2_prior

    def step(self, step: Step, decoded_map: Any) -> Match:
        """See `OnlineLocalizer`; a `ConfigError` where it was not started."""
        if self._world_SE2_vehicle is None:
            raise ConfigError("the localizer was not started", "call start with a prior first")
        predicted = self._world_SE2_vehicle @ step.previous_SE2_current
        match = self._matcher.match(
            BenchQuery(step.points_vehicle_m, step.intensity, predicted), decoded_map, self._search
        )
        self._world_SE2_vehicle = match.world_SE2_vehicle or predicted
        return match


@dataclass(frozen=True)
class OnlineProtocol:
    """A drive in the map of its other frames (consecutive ones share it), or in one map of other recordings."""

    drive: Drive  # the drive
    resolution_m: float = 0.05  # of the maps, also of a given one
    sweeps: int = 5  # frames aggregated a step, in the frame of the last
    guard: int = 15  # frames left out of the map before and after the block it serves
    block: int = 10  # steps that share a map
    half_length_m: float = 15.0  # points ahead and behind
    half_width_m: float = 12.0  # points to each side
    start: Search = field(default_factory=lambda: Search(0.5, math.radians(1.0)))  # how far the first prior is off
    # standard deviation of the odometry's error per metre driven, in metres and in radians
    odometry_noise: tuple[float, float] = (0.02, 0.001)
    seed: int = 0  # of all noise
    raster: RasterMap | None = None  # drive in this map; nothing is left out of it, so guard and block say nothing

    def __post_init__(self) -> None:
        if min(self.sweeps, self.block) < 1 or self.guard < 0:
            raise ConfigError(f"sweeps {self.sweeps}, block {self.block}, guard {self.guard}", "give positive counts")
        if self.raster is not None:
            if self.sweeps > len(self.drive.frames):
                raise ConfigError(f"{self.sweeps} sweeps a step of {len(self.drive.frames)}", "give a longer drive")
        elif len(self.drive.frames) <= self.sweeps - 1 + self.block + 2 * self.guard:
            raise ConfigError(
                f"{len(self.drive.frames)} frames leave no map: blocks of {self.block}, guards of {self.guard}",
                "give a longer drive, or a smaller block or guard",
            )

    @property
    def frames(self) -> range:
        """The frames at which the vehicle localizes."""
        return range(self.sweeps - 1, len(self.drive.frames))

    def left_out(self, frame: int) -> tuple[int, int]:
        """First and last frame (unclipped) that the map used at ``frame`` does without; none of a given map."""
        if self.raster is not None:
            return 0, -1
        first = frame - (frame - self.frames.start) % self.block
        return first - self.sweeps + 1 - self.guard, first + self.block - 1 + self.guard

    def configuration(self) -> dict[str, Any]:
        """Everything that decides the steps, as plain JSON values."""
        names = ("resolution_m", "sweeps", "guard", "block", "half_length_m", "half_width_m", "seed")
        given = {"protocol": "online", "laid_by": "odometry"}
        if self.raster is not None:
            given |= {"protocol": "online-given-map", "map_fingerprint": raster_fingerprint(self.raster)}
        # Heading is always estimated online, whatever the first prior's.
        noise = list(self.odometry_noise)
        return {**given, **configuration_of(self, names, self.start), "odometry_noise": noise}

    @cached_property
    def _maps(self) -> LeaveOutMaps:
        return LeaveOutMaps(self.drive, self.resolution_m)

    def map_without(self, first: int, last: int) -> RasterMap:
        """The given map, or that of all frames but first..last."""
        return self.raster if self.raster is not None else self._maps.without(first, last)

    def step_at(self, frame: int) -> Step:
        """What the vehicle has at a frame, its noise seeded by the frame."""
        first = frame - self.sweeps + 1
        query = drive_case(self, first, frame, frame, self.start, drive=self._laid(first, frame)).query
        motion = self._moved(frame) if frame > self.frames.start else SE2(0.0, 0.0, 0.0)
        return Step(query.points_vehicle_m, query.intensity, motion)

    def _laid(self, first: int, last: int) -> Drive:
        """The drive with some frames where odometry puts them, seen from the last."""
        frames = list(self.drive.frames)
        for frame in range(last, first, -1):
            pose = frames[frame].world_SE2_vehicle @ self._moved(frame).inverse()
            frames[frame - 1] = replace(frames[frame - 1], world_SE2_vehicle=pose)
        return replace(self.drive, frames=tuple(frames))

    def _moved(self, frame: int) -> SE2:
        """What odometry says of the way to a frame from the one before."""
        rng = np.random.default_rng((self.seed, frame, 1))
        motion = self.drive.frames[frame - 1].world_SE2_vehicle.inverse() @ self.drive.frames[frame].world_SE2_vehicle
        driven_m = math.hypot(motion.x_m, motion.y_m)
        dx_m, dy_m = rng.normal(0.0, self.odometry_noise[0] * driven_m, 2)
        return motion @ SE2(dx_m, dy_m, rng.normal(0.0, self.odometry_noise[1] * driven_m))


def run_online(
    codec: Codec,
    localizer: OnlineLocalizer,
    protocol: OnlineProtocol,
    progress: Callable[[int, int], None] | None = None,
) -> Predictions:
    """Drive once with a codec and a localizer; one prediction a frame, in driving order."""
    rows: list[Prediction] = []
    first = protocol.frames.start
    folded: tuple[tuple[int, int], int, Any] | None = None
    raster = None
    for frame in protocol.frames:
        truth = protocol.drive.frames[frame].world_SE2_vehicle
        if frame == first:
            localizer.start(perturbed(truth, protocol.start, np.random.default_rng((protocol.seed, frame))))
        left_out = protocol.left_out(frame)
        if folded is None or raster is None or folded[0] != left_out:
            raster = protocol.map_without(*left_out)
            payload = codec.encode(raster)
            folded = left_out, len(payload), codec.decode(payload)
        match = localizer.step(protocol.step_at(frame), folded[2])
        rows.append(prediction_of(f"{frame:06d}", truth, truth, match, folded[1], raster))
        if progress:
            progress(len(rows), len(protocol.frames))
    configuration = {**protocol.configuration(), "codec": codec.name, "localizer": localizer.name}
    return Predictions(f"{codec.name} + {localizer.name}", configuration, tuple(rows))


def online_row(predictions: Predictions) -> dict[str, Any]:
    """Summarize one drive or several end to end (tables 2 to 4); segments fail as `failure_rates` says."""
    errors = errors_of(predictions)
    rates = failure_rates(errors.total_m, travelled_m([r.world_SE2_true for r in predictions.rows]))
    size = sum(row.payload_bytes for row in predictions.rows)
    return {
        "method": predictions.method,
        **centimetres(errors, "median", "lateral_median", "longitudinal_median", "p95", "p99"),
        **centimetres(errors, "lateral_p95", "longitudinal_p95", "lateral_p99", "longitudinal_p99"),
        "fail_100_m_pct": 100 * rates.within_100_m,
        "fail_500_m_pct": 100 * rates.within_500_m,
        "fail_end_pct": 100 * rates.at_end,
        "segments": rates.segments,
        "segment_m": rates.segment_m,
        "bits_per_px": bits_per_px(size, sum(row.raster_px for row in predictions.rows)),
        "bits_per_m2": bits_per_m2(size, sum(row.observed_m2 for row in predictions.rows)),
        "frames": len(predictions.rows),
    }
