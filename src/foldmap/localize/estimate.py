"""What a localizer answers: a status always, a pose only when it stands behind it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Generic, Self, TypeVar

import numpy as np

from foldmap.errors import ConfigError, PoseInputError
from foldmap.geometry import SE2
from foldmap.localize.protection import RISK, AlertLimit, ProtectionLevel
from foldmap.localize.tail import Tail, distance_at, length_at
from foldmap.types import DoubleArray


class Status(Enum):
    """What an estimate is worth: `ok` and `degraded` carry a pose; the others never do."""

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
    """The observation shows too little to say anything."""

    @property
    def has_pose(self) -> bool:
        """Whether an estimate of this status carries a pose."""
        return self in (Status.OK, Status.DEGRADED)


@dataclass(frozen=True)
class Diagnostics:
    """Health signals of one estimate; each layer adds its own. None: could not be computed for this status.

    The reason is the signal that decided, in words; empty when `ok`.
    """

    reason: str = ""
    time_s: float = 0.0


def largest_sigma(covariance: DoubleArray) -> float:
    """The standard deviation along the axis where it is largest."""
    return float(np.sqrt(np.linalg.eigvalsh(covariance).max()))


Pose = TypeVar("Pose", covariant=True)
Signals = TypeVar("Signals", bound=Diagnostics, covariant=True)


@dataclass(frozen=True)
class Estimate(Generic[Pose, Signals]):
    """An honest answer: status and diagnostics are always there.

    Attributes:
        pose: there exactly when the status is `ok` or `degraded`. From sweeps and streets an `SE2`, world_SE2_vehicle;
            from photos float64 (4, 4), camera_SE3_world (of a rig: rig_SE3_world).
        covariance: there exactly when a pose is. Of an `SE2` (3, 3) over x_m, y_m, heading_rad in the world frame; of a
            photo (6, 6) over the centre in the world (x, y, z, world units) and a rotation vector in the camera's frame
            (rad). A PoseInputError where it is not finite, symmetric and positive definite.
        errors: how far errors go beyond the covariance in this map: the tail of the position's Mahalanobis distance to
            the truth; None where the map was not calibrated.
        lengths: of photos where the map knows it, the tail of `Tail.of_lengths`: then it sets the protection level.
    """

    status: Status
    pose: Pose | None
    covariance: DoubleArray | None
    diagnostics: Signals
    errors: Tail | None = field(default=None, kw_only=True)
    lengths: Tail | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if (self.pose is not None) != self.status.has_pose:
            raise PoseInputError(f"an estimate of status {self.status.value} with pose {self.pose}")
        if (self.covariance is None) != (self.pose is None):
            raise PoseInputError("an estimate needs a covariance exactly when it has a pose")
        if self.pose is None or self.covariance is None:
            return
        plane = self.pose if isinstance(self.pose, SE2) else None
        pose = np.array(self.pose if plane is None else [plane.x_m, plane.y_m, plane.heading_rad], np.float64)
        covariance, side = np.array(self.covariance, np.float64), 6 if plane is None else 3
        if pose.shape != ((4, 4) if plane is None else (3,)) or not np.isfinite(pose).all():
            raise PoseInputError(f"the estimated pose {self.pose} is not finite, or neither an SE2 nor 4x4")
        if covariance.shape != (side, side) or not np.isfinite(covariance).all():
            raise PoseInputError(f"the covariance is not a finite {side}x{side} matrix")
        scale = np.sqrt(np.maximum(np.diag(covariance), 0.0))
        if not np.allclose(covariance, covariance.T) or not (scale > 0).all():
            raise PoseInputError("the covariance is not symmetric and positive definite")
        if np.linalg.eigvalsh(covariance / np.outer(scale, scale)).min() <= 0:
            raise PoseInputError("the covariance is not positive definite")
        kept = {"covariance": covariance, "pose": pose} if plane is None else {"covariance": covariance}
        for name, matrix in kept.items():
            matrix.setflags(write=False)
            object.__setattr__(self, name, matrix)

    @classmethod
    def without_pose(cls, status: Status, diagnostics: Signals) -> Self:  # type: ignore[misc]
        """Build an estimate that answers no pose."""
        return cls(status, None, None, diagnostics)

    def protection_level(self, risk: float = RISK) -> ProtectionLevel | None:
        """What the error stays under but for this risk; None without a pose, or where the map was not calibrated.

        A planar position whose Mahalanobis distance is d is off by at most d standard deviations in every direction,
        so the distance exceeded at the risk bounds them all; of a photo, errors of that distance lie all around, or
        their lengths have a tail of their own. It is never taken below a Gaussian's. Rotations are given the same
        tail, of their own covariance.
        """
        if self.pose is None or self.covariance is None or self.errors is None:
            return None
        if not isinstance(self.pose, SE2):
            sides = (self.covariance[:3, :3], self.covariance[3:, 3:])
            if self.lengths is None:
                return ProtectionLevel(risk, *(length_at(self.errors, risk, side) for side in sides))
            times = self.lengths.exceeded_at(risk)
            each = (max(length_at(None, risk, side), times * length_at(None, RISK, side)) for side in sides)
            return ProtectionLevel(risk, *each)
        distance = distance_at(self.errors, risk, 2)
        position = distance * largest_sigma(self.covariance[:2, :2])
        rotation_rad = distance * largest_sigma(self.covariance[2:, 2:])
        cos, sin = math.cos(self.pose.heading_rad), math.sin(self.pose.heading_rad)
        ways = np.array([[cos, sin], [-sin, cos]])
        along, across = distance * np.sqrt(np.einsum("ki,ij,kj->k", ways, self.covariance[:2, :2], ways))
        return ProtectionLevel(risk, position, rotation_rad, float(along), float(across))

    def within(self, limit: AlertLimit | str, risk: float = RISK) -> Self:
        """The same, but at best `degraded` where its protection level exceeds the limit, or that of such a name."""
        limit = AlertLimit.read(limit) if isinstance(limit, str) else limit
        told = limit.exceeded_by(self.protection_level(risk)) if self.status is Status.OK else ""
        return (
            self
            if not told
            else replace(self, status=Status.DEGRADED, diagnostics=replace(self.diagnostics, reason=told))
        )


def check_numbers(settings: object, what: str, least: float = -math.inf) -> None:
    """Refuse settings of which one is no finite number, or below the least."""
    for name, value in vars(settings).items():
        if type(value) not in (int, float) or not (math.isfinite(value) and value >= least):
            at_least = "" if math.isinf(least) else f" >= {least:g}"
            raise ConfigError(f"the {what} {name} is {value!r}", f"give a finite number{at_least}")
