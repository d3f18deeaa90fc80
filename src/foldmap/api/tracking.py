"""Localize over time: one observation after another, each kind by the filter of its layer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from foldmap.errors import ConfigError
from foldmap.geometry import SE2, SE3

if TYPE_CHECKING:
    from foldmap.lidar.observation import SweepStack
    from foldmap.localize.estimate import Diagnostics, Estimate
    from foldmap.localize.lidar.gps_start import GpsStart
    from foldmap.localize.lidar.localizer import LidarFilter, LidarLocalizer
    from foldmap.localize.street.localizer import StreetFilter, StreetLocalizer
    from foldmap.localize.street.settings import StreetPrior

SWEEP_PERIOD_S = 0.1
_SWEEPS = 5
_RADIUS_M = {"lidar": 1.0, "street": 64.0}
_HEADING_RANGE_RAD = math.radians(5.0)


Fix: TypeAlias = tuple[float, float, float]
"""Of a satellite receiver: east, north and standard deviation in metres."""


class Localizers(Protocol):
    """An open map, which makes its localizers when they are wanted."""

    def lidar_localizer(self) -> LidarLocalizer:
        """Of the lidar layer."""
        ...

    def street_localizer(self, region: str | None = None) -> StreetLocalizer:
        """Of a region of the street layer."""
        ...


class Tracker:
    """Follows a vehicle through sweeps, or through what cameras see of the streets; the first observation says which.

    Args:
        localizers: of the map.
        prior: where the drive begins: a pose; for streets also a `StreetPrior`, or None for anywhere. A drive of sweeps
            without a prior begins once GPS fixes and odometry tell where, heading included; nothing is answered before.
        radius_m: the prior is right to so many metres; by default 1 for sweeps and 64 for streets.
        region: of a street map with several.
        layer: "lidar" or "street", where the first observation may be None.
        heading_range_rad: a prior of sweeps is right to so much.
    """

    def __init__(
        self,
        localizers: Localizers,
        prior: SE2 | SE3 | StreetPrior | None = None,
        radius_m: float | None = None,
        region: str | None = None,
        *,
        layer: str | None = None,
        heading_range_rad: float = _HEADING_RANGE_RAD,
    ) -> None:
        if layer not in (None, "lidar", "street"):
            raise ConfigError(f"there is no tracking in the layer {layer!r}", "give lidar or street")
        self._localizers, self._prior, self._radius_m, self._region = localizers, prior, radius_m, region
        self._layer, self._heading_range_rad = layer, heading_range_rad
        self._start: GpsStart | None = None
        self._lidar: LidarFilter | None = None
        self._street: StreetFilter | None = None
        self._stack: SweepStack | None = None
        self._odometry = SE2(0.0, 0.0, 0.0)
        self._time_s: float | None = None

    def step(
        self,
        observation: Any,
        odometry: SE2 | None = None,
        time_s: float | None = None,
        gps: Fix | None = None,
    ) -> Estimate[SE2, Diagnostics]:
        """Drive on, look, and answer.

        Args:
            observation: a `Sweep` (the last five are laid together by odometry), or an `Observation` drawn of some; a
                `RingFrame` or an `AerialCrop`; None where nothing was seen: the step is dead-reckoned.
            odometry: previous_SE2_current, since the last step; None: the vehicle did not move.
            time_s: of the observation; a tenth of a second after the last one where None. Sweeps alone need it.
            gps: east, north and standard deviation in metres, if there is a fix. Sweeps alone use it.

        Raises:
            ConfigError: the first step has no observation and there is no layer, a drive of sweeps has neither prior
                nor fix, an observation is of another kind than the first one, or time runs backwards.
            InputError: the observation, the odometry or the fix cannot be used.
            LayerError: the map has no layer for it.
        """
        self._odometry = self._odometry if odometry is None else self._odometry @ odometry
        dt_s = SWEEP_PERIOD_S if time_s is None or self._time_s is None else time_s - self._time_s
        self._time_s = time_s
        if self._layer is None and is_of_sweeps(observation):
            if self._prior is None and gps is None:
                vehicle_pose(None)
            self._layer = "lidar"
        if self._layer == "lidar":
            return self._lidar_step(observation, odometry, dt_s, gps)
        if observation is None and self._layer is None:
            raise ConfigError("a drive begins with an observation", "give a Sweep, a RingFrame or an AerialCrop")
        if observation is not None and not is_of_streets(observation):
            cure = "give a Sweep, a RingFrame or an AerialCrop; localize photos one by one"
            raise ConfigError(f"a {type(observation).__name__} cannot be tracked", cure)
        self._layer = "street"
        if self._street is None:
            localizer = self._localizers.street_localizer(self._region)
            self._street = localizer.start(street_prior(self._prior, self._radius_m))
        return self._street.step(observation, odometry)

    def _lidar_step(self, sweep: Any, odometry: SE2 | None, dt_s: float, gps: Fix | None) -> Estimate[SE2, Diagnostics]:
        from foldmap.lidar.observation import Observation, SweepStack
        from foldmap.lidar.source import Sweep

        localizer = self._localizers.lidar_localizer()
        folded = localizer.folded
        relief = bool(getattr(folded, "relief", False))
        self._stack = self._stack or SweepStack(folded.grid.resolution_m, _SWEEPS, relief=relief)
        if isinstance(sweep, Sweep):
            sweep = self._stack.add(sweep, SE3.from_se2(self._odometry))
        elif not (sweep is None or isinstance(sweep, Observation)):
            raise ConfigError(f"a {type(sweep).__name__} in a drive of sweeps", "track it by a tracker of its own")
        if self._lidar is None and self._prior is not None:
            radius_m = self._radius_m or _RADIUS_M["lidar"]
            self._lidar = localizer.start(vehicle_pose(self._prior), radius_m / 3, self._heading_range_rad / 3)
        if self._lidar is not None:
            return self._lidar.step(sweep, odometry, dt_s, gps)
        return self._begin(localizer, sweep, odometry, gps)

    def _begin(
        self, localizer: LidarLocalizer, observation: Any, odometry: SE2 | None, gps: Fix | None
    ) -> Estimate[SE2, Diagnostics]:
        """Begin the drive once fixes and odometry tell where; until then, say what is missing."""
        from foldmap.localize.estimate import Estimate, Status
        from foldmap.localize.lidar.confidence import LidarDiagnostics
        from foldmap.localize.lidar.gps_start import GpsStart

        self._start = self._start or GpsStart()
        if odometry is not None:
            self._start.move(odometry)
        if gps is not None:
            self._start.add(*gps)
        found = self._start.pose()
        if found is None:
            return Estimate.without_pose(Status.AMBIGUOUS, LidarDiagnostics(reason=self._start.reason))
        self._lidar = localizer.start(*found)
        return self._lidar.step(observation, None, 0.0)  # the move and the fix are in the pose


def vehicle_pose(prior: Any) -> SE2:
    """The planar pose that a prior gives; one that is none is a ConfigError."""
    if isinstance(prior, SE3):
        return prior.to_se2()
    if not isinstance(prior, SE2):
        raise ConfigError(f"a sweep is localized near a pose, not near {prior!r}", "give prior=SE2(x_m, y_m, heading)")
    return prior


def street_prior(prior: SE2 | SE3 | StreetPrior | None, radius_m: float | None) -> StreetPrior | None:
    """The disc around a prior; the heading of a pose is not used."""
    from foldmap.localize.street.settings import StreetPrior

    if prior is None or isinstance(prior, StreetPrior):
        return prior
    pose = vehicle_pose(prior)
    return StreetPrior(pose.x_m, pose.y_m, radius_m or _RADIUS_M["street"])


def is_of_sweeps(observation: Any) -> bool:
    """Whether this is a sweep, or an image that was drawn of some."""
    from foldmap.lidar.source import Sweep

    # where the class was never imported there is none of it
    return isinstance(observation, Sweep) or type(observation).__module__ == "foldmap.lidar.observation"


def is_of_streets(observation: Any) -> bool:
    """Whether this is what cameras see of the streets."""
    from foldmap.street.images.observation import AerialCrop, RingFrame

    return isinstance(observation, RingFrame | AerialCrop)
