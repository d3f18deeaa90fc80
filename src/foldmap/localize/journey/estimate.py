"""What a journey answers, and how well each layer is."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from foldmap.errors import ConfigError
from foldmap.geometry import SE2
from foldmap.localize.estimate import Diagnostics, Estimate
from foldmap.localize.motion import MotionNoise

ALIKE = 0.58
"""Share of a map's marks that other streets, which look alike, may show."""


@dataclass
class LayerHealth:
    """Of one layer: what it said last, when it last said `ok` (seconds ago, None: never), and since when it speaks.

    Explained is the share of lidar's marks in sight that its last match at a tracked pose saw: where it stays below
    `ALIKE`, other ground than the map's would show as much. None without one.
    """

    status: str = "silent"
    reason: str = ""
    age_s: float | None = None
    ok_age_s: float | None = None
    explained: float | None = None


@dataclass(frozen=True)
class JourneyDiagnostics(Diagnostics):
    """Health signals of one estimate.

    Attributes:
        phase: "lost", "street" (the street is known), "search" (hypotheses are tried) or "track".
        spoke: the layers that this answer rests on.
        layers: the health of each, by name; "gnss" and "motion" are among them.
        hypotheses: how many poses are alive.
        sigma_m: largest standard deviation of the position; None without a pose.
        restarts: how often the journey has begun again.
        z_m, roll_rad, pitch_rad: of the vehicle where cameras just confirmed the pose: the rest of world_SE3_vehicle.
    """

    phase: str = "lost"
    spoke: tuple[str, ...] = ()
    layers: dict[str, LayerHealth] = field(default_factory=dict)
    hypotheses: int = 0
    sigma_m: float | None = None
    restarts: int = 0
    z_m: float | None = None
    roll_rad: float | None = None
    pitch_rad: float | None = None


JourneyEstimate = Estimate[SE2, JourneyDiagnostics]


@dataclass(frozen=True)
class JourneySettings:
    """When a hypothesis is believed, and when no longer.

    Attributes:
        motion: noise of odometry; of what is dead-reckoned, its share of the way is taken as systematic.
        sweeps: laid together to one observation.
        hits, witness_m: a hypothesis is taken after so many matches, spread over so many metres of driving, each on its
            own ground; standing still is one witness.
        evidence: that it needs by then, minus log10 of chance, of one match at most 3; in a map of marks 0.7 of it
            where nearly all marks in sight are seen, and up to ten times as much where few are.
        rival_share: of the best hypothesis' evidence; another one with more leaves the place undecided.
        misses: in a row; a hypothesis with more is dropped.
        regions, at_once: most regions that are searched, in turn; so many of them by each sweep.
        fresh_s: a fine layer that matched so lately makes an estimate `ok`.
        doubt_s: fine layers that see, but do not match, for so long are doubted: other places are searched again.
        drop_s: and dropped, for no pose, after so long.
        warn_sigma_m, lost_sigma_m: above, an estimate is `degraded`, or there is no pose.
        conflicts: so many contradictions of another layer in a row begin the journey again.
        jump_m: how far around a doubted pose one searches.
        stand_m: a tracked pose is laid on the map's outline once in so many metres.
        cameras_lost, cameras_tracked: of a frame's cameras at most so many are looked at as photos, in turn: where
            lidar is not sure of the pose, and where it is.
        photo_s: where lidar is sure, photos are looked at once in so long: by then they only check it, and the features
            of one take as long as several sweeps.
        deskew: sweeps without times of points are put together by how their lidar spins, once they have told.
    """

    motion: MotionNoise = field(default_factory=MotionNoise)
    sweeps: int = 5
    hits: int = 3
    evidence: float = 12.0
    witness_m: float = 2.0
    rival_share: float = 0.5
    misses: int = 4
    regions: int = 8
    at_once: int = 3
    fresh_s: float = 0.3
    doubt_s: float = 0.5
    drop_s: float = 3.0
    warn_sigma_m: float = 0.3
    lost_sigma_m: float = 2.0
    conflicts: int = 3
    jump_m: float = 25.0
    stand_m: float = 1.0
    cameras_lost: int = 3
    cameras_tracked: int = 1
    photo_s: float = 1.0
    deskew: bool = True

    def __post_init__(self) -> None:
        cameras = self.cameras_lost, self.cameras_tracked
        if min(self.sweeps, self.hits, self.misses, self.regions, self.at_once, self.conflicts, *cameras) < 1:
            raise ConfigError("the journey's counts are out of range", "give 1 or more each")
        s = self
        lengths = s.evidence, s.witness_m, s.fresh_s, s.doubt_s, s.drop_s, s.warn_sigma_m, s.jump_m, s.photo_s
        if not all(math.isfinite(one) and one > 0 for one in lengths) or self.lost_sigma_m < self.warn_sigma_m:
            raise ConfigError("the journey's limits are out of range", "give them positive, warn below lost")
