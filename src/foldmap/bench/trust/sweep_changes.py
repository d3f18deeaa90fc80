"""What can be wrong with sweeps, or with the map that they are asked in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from foldmap.bench.trust.answers import Expect
from foldmap.lidar.observation import Observation
from foldmap.lidar.source import Sweep
from foldmap.localize.lidar.calibrate import blank_like, shuffled
from foldmap.types import FloatArray, IntArray

SweepChange = Callable[[Sweep, np.random.Generator], Sweep]
DrawnChange = Callable[[Observation, np.random.Generator], Observation]

_RING_RAD = np.radians(0.4)
_TILT_RAD = np.radians(5.0)
_PATCH_M = 4.0
HERE, ELSEWHERE, TOWN = "here", "elsewhere", "town"


def as_driven(sweep: Sweep, rng: np.random.Generator) -> Sweep:
    """The sweep itself."""
    return sweep


def as_drawn(observation: Observation, rng: np.random.Generator) -> Observation:
    """The observation itself."""
    return observation


@dataclass(frozen=True)
class SweepKind:
    """One kind of query: its name, what is asked for, what is done to each sweep and to what is drawn of them.

    `place` is where it is asked: at its own place (`HERE`), at another one of the map (`ELSEWHERE`), or whatever sweeps
    of a generated town are asked about (`TOWN`).
    """

    name: str
    expect: Expect
    sweep: SweepChange = as_driven
    drawn: DrawnChange = as_drawn
    place: str = HERE


def _noise(observation: Observation, rng: np.random.Generator) -> Observation:
    """The same pixels observed, each with an intensity of its own."""
    noise = rng.uniform(0, 1, observation.intensity.shape).astype(np.float32)
    return replace(observation, intensity=np.where(observation.observed, noise, np.float32(0)))


def mirrored(sweep: Sweep, rng: np.random.Generator) -> Sweep:
    """Left for right."""
    return replace(sweep, points_sensor_m=sweep.points_sensor_m * np.array([1, -1, 1], np.float32))


def rings_of(points_sensor_m: FloatArray) -> IntArray:
    """Which ring each return is of, by its elevation, int64 (N,)."""
    level_m = np.hypot(points_sensor_m[:, 0], points_sensor_m[:, 1])
    elevation = np.arctan2(points_sensor_m[:, 2], np.maximum(level_m, 1e-6))
    _, ring = np.unique(np.floor(elevation / _RING_RAD).astype(np.int64), return_inverse=True)
    return np.asarray(ring.ravel(), np.int64)


def scrambled_rings(sweep: Sweep, rng: np.random.Generator) -> Sweep:
    """Each ring turned by an angle of its own."""
    ring = rings_of(sweep.points_sensor_m)
    turn = rng.uniform(-np.pi, np.pi, int(ring.max()) + 1)[ring]
    x, y, z = sweep.points_sensor_m.astype(np.float64).T
    moved = np.column_stack([np.cos(turn) * x - np.sin(turn) * y, np.sin(turn) * x + np.cos(turn) * y, z])
    return replace(sweep, points_sensor_m=moved.astype(np.float32))


def tilted(sweep: Sweep, rng: np.random.Generator) -> Sweep:
    """A sensor that leans by five degrees, in any direction."""
    way = rng.uniform(0, 2 * np.pi)
    axis, angle = np.array([np.cos(way), np.sin(way), 0.0]), _TILT_RAD
    cross = np.array([[0, 0, axis[1]], [0, 0, -axis[0]], [-axis[1], axis[0], 0]])
    turn = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    return replace(sweep, points_sensor_m=(sweep.points_sensor_m @ turn.T).astype(np.float32))


def other_lidar(sweep: Sweep, rng: np.random.Generator) -> Sweep:
    """Every other ring, and a response of another exponent and level."""
    kept = rings_of(sweep.points_sensor_m) % 2 == 0
    kept = kept if kept.any() else ~kept
    answer = np.clip(rng.uniform(0.6, 1.4) * sweep.intensity[kept] ** rng.uniform(0.5, 1.8), 0, 1)
    return Sweep(sweep.points_sensor_m[kept], answer.astype(np.float32))


def half_covered(sweep: Sweep, rng: np.random.Generator) -> Sweep:
    """What one half of the horizon hides, at random."""
    way = rng.uniform(-np.pi, np.pi)
    points = sweep.points_sensor_m
    kept = points[:, 0] * np.cos(way) + points[:, 1] * np.sin(way) > 0
    return Sweep(points[kept], sweep.intensity[kept]) if kept.any() else sweep


def repainted(observation: Observation, rng: np.random.Generator) -> Observation:
    """Half of the ground painted anew since the map was made: patches of 4 m show what lies elsewhere in the image."""
    side = max(1, round(_PATCH_M / observation.resolution_m))
    height, width = observation.intensity.shape
    rolled = [np.roll(observation.intensity, shift, (0, 1)) for shift in ((side, 2 * side), (2 * side, -side))]
    shown = [np.roll(observation.observed, shift, (0, 1)) for shift in ((side, 2 * side), (2 * side, -side))]
    image, observed = observation.intensity.copy(), observation.observed.copy()
    for row in range(0, height, side):
        for column in range(0, width, side):
            if rng.random() < 0.5:
                here, which = np.s_[row : row + side, column : column + side], int(rng.integers(2))
                image[here], observed[here] = rolled[which][here], shown[which][here]
    return replace(observation, intensity=np.where(observed, image, np.float32(0)), observed=observed)


AS_DRIVEN = "as driven"
KINDS: tuple[SweepKind, ...] = (
    SweepKind(AS_DRIVEN, Expect.RIGHT),
    SweepKind("half covered", Expect.BOUND, half_covered),
    SweepKind("other lidar", Expect.BOUND, other_lidar),
    SweepKind("tilted by 5 degrees", Expect.BOUND, tilted),
    SweepKind("map out of date", Expect.BOUND, drawn=repainted),
    SweepKind("other place", Expect.REFUSED, place=ELSEWHERE),
    SweepKind("other map (generated town)", Expect.REFUSED, place=TOWN),
    SweepKind("mirrored", Expect.REFUSED, mirrored),
    SweepKind("scrambled rings", Expect.REFUSED, scrambled_rings),
    SweepKind("shuffled blocks", Expect.REFUSED, drawn=shuffled),
    SweepKind("blank", Expect.REFUSED, drawn=blank_like),
    SweepKind("noise", Expect.REFUSED, drawn=_noise),
)
