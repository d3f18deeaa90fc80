"""How long ``foldmap demo`` is."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from foldmap.errors import ConfigError

REGION = "town"
"""Name of the street layer's map."""

Report = Callable[[int, int], None]
"""Called with steps done and in all."""


@dataclass(frozen=True)
class DemoPhotoSettings:
    """How many photos the demo takes.

    Attributes:
        map_photos: of the map, taken on one day.
        queries: photos of another day, to be localized.
        strangers: photos of another town, to be refused.
        size_px: width and height of all.
        points: most points that the file keeps.
        step: quantization step of the descriptors.
    """

    map_photos: int = 24
    queries: int = 8
    strangers: int = 2
    size_px: tuple[int, int] = (480, 360)
    points: int = 1500
    step: float = 0.1

    def __post_init__(self) -> None:
        if min(self.map_photos, self.queries, self.points) < 1 or self.strangers < 0 or not self.step > 0:
            raise ConfigError("a demo without photos, queries or points", "give positive numbers")


@dataclass(frozen=True)
class DemoStreetSettings:
    """How much of the town's streets the demo folds and drives.

    Attributes:
        side_m: of the square, about the town's middle, that is seen from above; its streets are folded.
        queries: observations to retrieve with, of each kind.
        rendered: frames that are traced ray by ray, with facades and vehicles.
        frames: of a drive.
        step_m: between them.
        learnt: frames of the map's day that set the localizer's temperature.
        passing: at most so many frames past each edit of the map.
    """

    side_m: float = 300.0
    queries: int = 16
    rendered: int = 2
    frames: int = 20
    step_m: float = 8.0
    learnt: int = 20
    passing: int = 16

    def __post_init__(self) -> None:
        if not self.side_m >= 160 or min(self.queries, self.frames, self.learnt - 19, self.passing) < 1:
            raise ConfigError(f"a street demo of {self}", "give a side from 160 m, 20 frames to learn from")
        if self.rendered < 0 or not self.step_m > 0:
            raise ConfigError(f"a street demo of {self}", "give positive steps")


@dataclass(frozen=True)
class DemoSettings:
    """How long the demo is.

    Attributes:
        seed: of the town, the days and all noise.
        length_m, spacing_m: of the street that drive 1 maps, and between its sweeps.
        steps, step_m: of drive 2, and between them.
        aggregate: sweeps an observation.
        prior_m, prior_rad: standard deviations of the GPS-like first pose.
        odometry: standard deviation of odometry per metre, in metres and in radians.
        photos, streets: the visual and the street layer's part; None leaves it out.
    """

    seed: int = 0
    length_m: float = 160.0
    spacing_m: float = 1.0
    steps: int = 40
    step_m: float = 2.0
    aggregate: int = 5
    prior_m: float = 0.5
    prior_rad: float = math.radians(1.0)
    odometry: tuple[float, float] = (0.02, 0.001)
    photos: DemoPhotoSettings | None = field(default_factory=DemoPhotoSettings)
    streets: DemoStreetSettings | None = field(default_factory=DemoStreetSettings)

    def __post_init__(self) -> None:
        if not (self.length_m > 0 and self.spacing_m > 0 and self.step_m > 0 and self.steps >= 1):
            raise ConfigError(f"a demo of {self.length_m} m and {self.steps} steps", "give positive lengths and steps")
