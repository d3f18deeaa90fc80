"""What a localizer answers: a status always, a pose only when it stands behind it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from foldmap.errors import PoseInputError
from foldmap.geometry import SE2
from foldmap.types import DoubleArray


class Status(Enum):
    """What an estimate is worth.

    `ok` and `degraded` carry a pose; the others never do.
    """

    OK = "ok"
    """The match is significant, unique and sharp."""
    DEGRADED = "degraded"
    """There is a pose, with an honest covariance, but a signal is in its warning range, or it is dead-reckoned."""
    AMBIGUOUS = "ambiguous"
    """Something matches, but in several places, along a line, or at the rim of what was searched."""
    NO_MATCH = "no_match"
    """Nothing matches better than chance would."""
    NO_MAP = "no_map"
    """The map holds no ground where the observation was to be laid."""
    NO_OBSERVATION = "no_observation"
    """The observation shows too little ground to say anything."""

    @property
    def has_pose(self) -> bool:
        """Whether an estimate of this status carries a pose."""
        return self in (Status.OK, Status.DEGRADED)


@dataclass(frozen=True)
class Diagnostics:
    """Health signals of one estimate. None: could not be computed for this status.

    Which value warns (at best `degraded`) and which rejects (no pose) is set by `ConfidenceThresholds`, whose defaults
    are given here.

    Attributes:
        reason: the signal that decided, in words; empty when `ok`.
        score: normalized correlation of the two embeddings at the best pose, -1 to 1. Rejects below 0.05.
        evidence_sigma: best score above the window's mean, in standard errors over blocks. Rejects below 6 (no_match).
        margin_sigma: best score above the best of any other mode (> 0.3 m away), in standard errors over blocks. Warns
            below 3.5, rejects below 2.5 (ambiguous).
        agreement: share of block bootstraps that peak within 0.15 m of the best pose. Warns below 0.95, rejects below
            0.7 (ambiguous).
        sigma_m: largest position standard deviation. Warns above 0.1, rejects above 0.3 (ambiguous).
        observed_fraction: share of the observation's pixels that are observed and lie on known map. Warns below 0.04,
            rejects below 0.01.
        prior_distance_m: from the prior's position to the pose. Information; a pose at the rim of the search rejects.
        prior_turn_rad: from the prior's heading to the pose's.
        entropy: of the score volume, 0 (one pose) to 1 (flat). Information.
        lidar_age_s: time since lidar last agreed (localizer over time). Warns above 0.
        time_s: time spent.
    """

    reason: str = ""
    score: float | None = None
    evidence_sigma: float | None = None
    margin_sigma: float | None = None
    agreement: float | None = None
    sigma_m: float | None = None
    observed_fraction: float | None = None
    prior_distance_m: float | None = None
    prior_turn_rad: float | None = None
    entropy: float | None = None
    lidar_age_s: float | None = None
    time_s: float = 0.0


@dataclass(frozen=True)
class Estimate:
    """An honest answer.

    Attributes:
        status: always there.
        pose: world_SE2_vehicle; there exactly when the status is `ok` or `degraded`.
        covariance: (3, 3) over x_m, y_m, heading_rad in the world frame; there exactly when a pose is.
        diagnostics: always there.

    Raises:
        PoseInputError: an invariant is violated, or a covariance is not finite, symmetric and positive definite.
    """

    status: Status
    pose: SE2 | None
    covariance: DoubleArray | None
    diagnostics: Diagnostics

    def __post_init__(self) -> None:
        if (self.pose is not None) != self.status.has_pose:
            raise PoseInputError(f"an estimate of status {self.status.value} with pose {self.pose}")
        if (self.covariance is None) != (self.pose is None):
            raise PoseInputError("an estimate needs a covariance exactly when it has a pose")
        if self.pose is not None and not np.isfinite([self.pose.x_m, self.pose.y_m, self.pose.heading_rad]).all():
            raise PoseInputError(f"the estimated pose {self.pose} is not finite")
        if self.covariance is not None:
            matrix = np.array(self.covariance, dtype=np.float64)
            if matrix.shape != (3, 3) or not np.isfinite(matrix).all() or not np.allclose(matrix, matrix.T):
                raise PoseInputError("the covariance is not a finite symmetric 3x3 matrix")
            if np.linalg.eigvalsh(matrix).min() <= 0:
                raise PoseInputError("the covariance is not positive definite")
            matrix.setflags(write=False)
            object.__setattr__(self, "covariance", matrix)

    @staticmethod
    def without_pose(status: Status, diagnostics: Diagnostics) -> Estimate:
        """Build an estimate that answers no pose."""
        return Estimate(status, None, None, diagnostics)
