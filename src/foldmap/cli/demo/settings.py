"""How long ``foldmap demo`` is."""

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
    """How many photos the demo takes."""

    map_photos: int = 20  # of the map, taken on one day
    queries: int = 6  # photos of another day, to be localized
    strangers: int = 2  # photos of another town, to be refused
    size_px: tuple[int, int] = (480, 360)  # width and height of all
    points: int = 1500  # most points that the file keeps
    step: float = 0.1  # quantization step of the descriptors
    spacing_m: float = 3.0  # between the places along drive 1's way at which four photos are taken

    def __post_init__(self) -> None:
        steps = self.step > 0 and self.spacing_m > 0
        if min(self.map_photos, self.queries, self.points) < 1 or self.strangers < 0 or not steps:
            raise ConfigError("a demo without photos, queries or points", "give positive numbers")


@dataclass(frozen=True)
class DemoStreetSettings:
    """How much of the town's streets the demo folds and drives."""

    side_m: float = 300.0  # of the square, about the town's middle, that is seen from above; its streets are folded
    queries: int = 16  # observations to retrieve with, of each kind
    rendered: int = 1  # frames that are traced ray by ray, with facades and vehicles
    frames: int = 20  # of a drive
    step_m: float = 8.0  # between them
    learnt: int = 20  # frames of the map's day that set the localizer's temperature
    passing: int = 16  # at most so many frames past each edit of the map

    def __post_init__(self) -> None:
        if not self.side_m >= 160 or min(self.queries, self.frames, self.learnt - 19, self.passing) < 1:
            raise ConfigError(f"a street demo of {self}", "give a side from 160 m, 20 frames to learn from")
        if self.rendered < 0 or not self.step_m > 0:
            raise ConfigError(f"a street demo of {self}", "give positive steps")


@dataclass(frozen=True)
class DemoJourneySettings:
    """How long the demo's last drive is, which begins lost and brings sweeps, photos and odometry."""

    sweeps: int = 50  # at 10 Hz and 8 m/s
    frame_every: int = 5  # sweeps a frame of three cameras

    def __post_init__(self) -> None:
        if min(self.sweeps, self.frame_every) < 1:
            raise ConfigError(f"a journey of {self}", "give 1 or more each")


@dataclass(frozen=True)
class DemoSettings:
    """How long the demo is."""

    seed: int = 0  # of the town, the days and all noise
    length_m: float = 160.0  # of the street that drive 1 maps
    spacing_m: float = 1.0  # between its sweeps
    steps: int = 24  # of drive 2
    step_m: float = 2.0  # between them
    aggregate: int = 5  # sweeps an observation
    prior_m: float = 0.5  # standard deviation of the GPS-like first pose
    prior_rad: float = math.radians(1.0)  # and of its heading
    odometry: tuple[float, float] = (0.02, 0.001)  # standard deviation of odometry per metre, in metres and in radians
    photos: DemoPhotoSettings | None = field(default_factory=DemoPhotoSettings)  # None leaves photos out
    streets: DemoStreetSettings | None = field(default_factory=DemoStreetSettings)  # None leaves lanes out
    journey: DemoJourneySettings | None = field(default_factory=DemoJourneySettings)  # needs photos and lanes

    def __post_init__(self) -> None:
        if not (self.length_m > 0 and self.spacing_m > 0 and self.step_m > 0 and self.steps >= 1):
            raise ConfigError(f"a demo of {self.length_m} m and {self.steps} steps", "give positive lengths and steps")
