"""Localize over time: one observation after another, each kind by the filter of its layer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

from foldmap.errors import ConfigError
from foldmap.geometry import SE2, SE3

if TYPE_CHECKING:
    from foldmap.lidar.observation import SweepStack
    from foldmap.lidar.unfold import FoldedLidar
    from foldmap.localize.estimate import Diagnostics, Estimate
    from foldmap.localize.lidar.localizer import LidarFilter, LidarLocalizer
    from foldmap.localize.street.localizer import StreetFilter, StreetLocalizer, StreetPrior

SWEEP_PERIOD_S = 0.1
_SWEEPS = 5
_RADIUS_M = {"lidar": 1.0, "street": 64.0}
_HEADING_RANGE_RAD = math.radians(5.0)


class Localizers(Protocol):
    """An open map, which makes its localizers when they are wanted."""

    @property
    def lidar(self) -> FoldedLidar:
        """The lidar layer."""
        ...

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
        prior: where the drive begins: a pose; for streets also a `StreetPrior`, or None for anywhere.
        radius_m: the prior is right to so many metres; by default 1 for sweeps and 64 for streets.
        region: of a street map with several.
    """

    def __init__(
        self,
        localizers: Localizers,
        prior: SE2 | SE3 | StreetPrior | None = None,
        radius_m: float | None = None,
        region: str | None = None,
    ) -> None:
        self._localizers, self._prior, self._radius_m, self._region = localizers, prior, radius_m, region
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
        gps: tuple[float, float, float] | None = None,
    ) -> Estimate[SE2, Diagnostics]:
        """Drive on, look, and answer.

        Args:
            observation: a `Sweep` (the last five are laid together by odometry); a `RingFrame` or an `AerialCrop`;
                None where nothing was seen: the step is dead-reckoned.
            odometry: previous_SE2_current, since the last step; None: the vehicle did not move.
            time_s: of the observation; a tenth of a second after the last one where None. Sweeps alone need it.
            gps: east, north and standard deviation in metres, if there is a fix. Sweeps alone use it.

        Raises:
            ConfigError: the first step has no observation, a drive of sweeps no prior, an observation of another kind
                than the first one, or time runs backwards.
            InputError: the observation, the odometry or the fix cannot be used.
            LayerError: the map has no layer for it.
        """
        from foldmap.lidar.source import Sweep

        self._odometry = self._odometry if odometry is None else self._odometry @ odometry
        dt_s = SWEEP_PERIOD_S if time_s is None or self._time_s is None else time_s - self._time_s
        self._time_s = time_s
        if self._street is None and (self._lidar is not None or isinstance(observation, Sweep)):
            return self._lidar_step(observation, odometry, dt_s, gps)
        if observation is None and self._street is None:
            raise ConfigError("a drive begins with an observation", "give a Sweep, a RingFrame or an AerialCrop")
        if observation is not None and not is_of_streets(observation):
            cure = "give a Sweep, a RingFrame or an AerialCrop; localize photos one by one"
            raise ConfigError(f"a {type(observation).__name__} cannot be tracked", cure)
        if self._street is None:
            localizer = self._localizers.street_localizer(self._region)
            self._street = localizer.start(street_prior(self._prior, self._radius_m))
        return self._street.step(observation, odometry)

    def _lidar_step(
        self, sweep: Any, odometry: SE2 | None, dt_s: float, gps: tuple[float, float, float] | None
    ) -> Estimate[SE2, Diagnostics]:
        from foldmap.lidar.observation import Observation, SweepStack
        from foldmap.lidar.source import Sweep

        if self._lidar is None or self._stack is None:
            prior = vehicle_pose(self._prior)
            localizer, radius_m = self._localizers.lidar_localizer(), self._radius_m or _RADIUS_M["lidar"]
            self._lidar = localizer.start(prior, radius_m / 3, _HEADING_RANGE_RAD / 3)
            folded = self._localizers.lidar
            self._stack = SweepStack(folded.grid.resolution_m, _SWEEPS, relief=folded.relief)
        if isinstance(sweep, Sweep):
            sweep = self._stack.add(sweep, SE3.from_se2(self._odometry))
        elif not (sweep is None or isinstance(sweep, Observation)):
            raise ConfigError(f"a {type(sweep).__name__} in a drive of sweeps", "track it by a tracker of its own")
        return self._lidar.step(sweep, odometry, dt_s, gps)


def vehicle_pose(prior: Any) -> SE2:
    """The planar pose that a prior gives; one that is none is a ConfigError."""
    if isinstance(prior, SE3):
        return prior.to_se2()
    if not isinstance(prior, SE2):
        raise ConfigError(f"a sweep is localized near a pose, not near {prior!r}", "give prior=SE2(x_m, y_m, heading)")
    return prior


def street_prior(prior: SE2 | SE3 | StreetPrior | None, radius_m: float | None) -> StreetPrior | None:
    """The disc around a prior; the heading of a pose is not used."""
    from foldmap.localize.street.localizer import StreetPrior

    if prior is None or isinstance(prior, StreetPrior):
        return prior
    pose = vehicle_pose(prior)
    return StreetPrior(pose.x_m, pose.y_m, radius_m or _RADIUS_M["street"])


def is_of_streets(observation: Any) -> bool:
    """Whether this is what cameras see of the streets."""
    from foldmap.street.images.observation import AerialCrop, RingFrame

    return isinstance(observation, RingFrame | AerialCrop)
