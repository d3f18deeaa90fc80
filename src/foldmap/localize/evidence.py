"""What speaks for an answer, for all layers alike: what chance would give here, what a rival gives, what must hold.

A layer measures its signals; here they become evidence (minus log10 of the probability that chance gives as much),
rules, and what a map keeps of how it was calibrated.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np

from foldmap.atlas.parameters import number_of, value_of, whole_of
from foldmap.errors import MapFormatError
from foldmap.localize.estimate import Status
from foldmap.localize.tail import Scatter, Tail, gaussian_exceeded_at
from foldmap.types import AnyArray, DoubleArray

KEY = "calibration"
"""Of a layer's parameters."""
SCORES = ("fit", "rival")
_MOST = 1_000_000_000
_MOST_PLACES = 1000
_TWO_SIGMA = 0.9545  # of a Gaussian

Rule: TypeAlias = tuple[bool, Status, str]
"""Whether an estimate breaks it, what the estimate is worth then, and why."""


def below(status: Status, name: str, value: float, least: float, form: str = ".2f") -> Rule:
    """The rule that a signal is at least something."""
    return value < least, status, f"{name} {value:{form}} < {least:g}"


def above(status: Status, name: str, value: float, most: float, form: str = ".2f") -> Rule:
    """The rule that a signal is at most something."""
    return value > most, status, f"{name} {value:{form}} > {most:g}"


def first_broken(rules: Iterable[Rule]) -> tuple[Status, str]:
    """What the first broken rule says; `ok` where none is."""
    return next(((status, reason) for broken, status, reason in rules if broken), (Status.OK, ""))


def surprise(found: float, asked: float, chance: float) -> float:
    """Minus log10 of Chernoff's bound on the probability of ``found`` or more successes among ``asked``."""
    share = found / asked
    if share <= chance:
        return 0.0
    missed = (1.0 - share) * math.log((1.0 - share) / (1.0 - chance)) if share < 1.0 else 0.0
    return asked * (share * math.log(share / chance) + missed) / math.log(10.0)


@dataclass(frozen=True)
class Place:
    """A place in the world, and by how much larger than elsewhere sigma is in what lies nearer to it than to others."""

    x: float
    y: float
    z: float
    times: float


def doubt_at(places: Sequence[Place], centre_world: DoubleArray) -> float:
    """What the place says that lies nearest to a centre, (3,); 1 where there are none."""
    if not places:
        return 1.0
    x, y, z = (float(number) for number in centre_world)
    return min(places, key=lambda one: (one.x - x) ** 2 + (one.y - y) ** 2 + (one.z - z) ** 2).times


@dataclass(frozen=True)
class MapCalibration:
    """What a map, or a model, was found to be worth, kept in its layer's parameters.

    Attributes:
        chance: by signal, the tail of what wrong answers reach.
        sigma_scale: by which the standard deviations that a match gives are multiplied.
        errors: tail of the position's Mahalanobis distance to the truth, after scaling; None where nobody knows.
        answers, negatives: how many right answers and wrong queries it was set on.
        fit: nine tenths of the score that half of the right answers have; None where nobody knows.
        rival: the score that wrong queries have one time in ten, each at the best of some 300 times as many poses as
            a query asks about; None where nobody knows.
        addend: standard deviations that the map itself adds to a photo's position, by its camera's axes, world units.
        places: where sigma is larger than elsewhere in a map of photos.
        lengths: tail of the lengths of a photo's errors, after all of this (`Tail.of_lengths`); None where not known.
        turn: of a photo's rotation, the scale of its standard deviations and what is added by the camera's axes, rad;
            none where it has the position's scale.
    """

    chance: Mapping[str, Tail] = field(default_factory=dict)
    sigma_scale: float = 1.0
    errors: Tail | None = None
    answers: int = 0
    negatives: int = 0
    fit: float | None = None
    rival: float | None = None
    addend: tuple[float, ...] = ()
    places: tuple[Place, ...] = ()
    lengths: Tail | None = None
    turn: tuple[float, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As it is stored; what is of photos alone only where there is something."""
        of_photos: dict[str, Any] = {}
        if any(self.addend):
            of_photos["addend"] = [float(f"{number:.3g}") for number in self.addend]
        if self.places:
            of_photos["places"] = [[float(f"{number:.4g}") for number in vars(one).values()] for one in self.places]
        if self.lengths is not None:
            of_photos["lengths"] = self.lengths.to_dict()
        if self.turn:
            of_photos["turn"] = [float(f"{number:.3g}") for number in self.turn]
        return {
            **of_photos,
            "chance": {name: tail.to_dict() for name, tail in sorted(self.chance.items())},
            "sigma_scale": float(f"{self.sigma_scale:.4g}"),
            "errors": None if self.errors is None else self.errors.to_dict(),
            "answers": self.answers,
            "negatives": self.negatives,
            **{name: float(f"{getattr(self, name):.4g}") for name in SCORES if getattr(self, name) is not None},
        }

    @staticmethod
    def read(parameters: Mapping[str, Any], layer: str) -> MapCalibration | None:
        """That of a layer's parameters; None where it has none, a MapFormatError where it makes no sense."""
        if parameters.get(KEY) is None:
            return None
        stored = value_of(parameters, layer, KEY, dict)
        chance, errors = value_of(stored, layer, "chance", dict), stored.get("errors")
        lengths = stored.get("lengths")
        known = [name for name in SCORES if stored.get(name) is not None]
        scores: dict[str, Any] = {name: number_of(stored, layer, name, -1.0, 1.0) for name in known}
        if any(type(tail) is not dict for tail in (*chance.values(), errors or {}, lengths or {})):
            raise MapFormatError(f"the {layer} layer's calibration is damaged", "calibrate the map again")
        return MapCalibration(
            {name: Tail.read(tail, name) for name, tail in chance.items()},
            number_of(stored, layer, "sigma_scale", 1e-3, 1e3),
            None if errors is None else Tail.read(errors, "errors"),
            whole_of(stored, layer, "answers", 0, _MOST),
            whole_of(stored, layer, "negatives", 0, _MOST),
            **scores,
            addend=_row(stored, layer, "addend", 3),
            places=_places(stored, layer),
            lengths=None if lengths is None else Tail.read(lengths, "lengths"),
            turn=_turn(stored, layer),
        )

    def scaled(self, covariance: DoubleArray) -> DoubleArray:
        """A covariance whose standard deviations are those that errors have here."""
        return np.asarray(covariance * self.sigma_scale**2)

    def at(self, covariance: DoubleArray, camera_SE3_world: DoubleArray) -> DoubleArray:
        """The same of a photo's pose, (6, 6), with what the map adds, and where it is doubted."""
        axes, scales = camera_SE3_world[:3, :3], np.full(6, self.sigma_scale)
        scales[3:] = self.turn[0] if self.turn else self.sigma_scale
        found = covariance * np.outer(scales, scales) * doubt_at(self.places, -axes.T @ camera_SE3_world[:3, 3]) ** 2
        if self.addend:
            found[:3, :3] += axes.T @ np.diag(np.square(self.addend)) @ axes
        if self.turn:
            found[3:, 3:] += np.diag(np.square(self.turn[1:]))
        return np.asarray(found)

    def widened(self, by: float) -> MapCalibration:
        """With all standard deviations larger by a factor."""
        addend, turn = (tuple(by * number for number in numbers) for numbers in (self.addend, self.turn))
        return replace(self, sigma_scale=self.sigma_scale * by, addend=addend, turn=turn)

    def with_errors(self, distances: AnyArray, axes: int) -> MapCalibration:
        """The same with the scale and the tail that right answers ask for; a ConfigError for fewer than 20 of them.

        Distances are the positions' Mahalanobis distances (`mahalanobis`) to the truth by the formal covariance, of 2
        or 3 axes. The scale is the least under which the half, two thirds and nineteen of twenty lie where a Gaussian
        has them; of 3 axes (photos, which come in dozens) two thirds, and what is expected of twenty-one of twenty-two.
        """
        values = np.asarray(distances, np.float64)
        reached = {q: float(np.quantile(values, q)) for q in (0.5, 0.683, 0.95)}
        if axes == 3:
            # some dozen distances have few large ones: all of them tell how these are distributed
            reached = {0.683: reached[0.683], _TWO_SIGMA: Scatter.of(values, axes).exceeded_at(1.0 - _TWO_SIGMA)}
        scale = max(max(here / gaussian_exceeded_at(1.0 - q, axes) for q, here in reached.items()), 1e-3)
        scaled = values / scale
        errors = Tail.of_distances(scaled, axes) if axes == 3 else Tail.of(scaled)
        return replace(self, sigma_scale=scale, errors=errors, answers=len(values), lengths=None)


def _row(stored: Mapping[str, Any], layer: str, key: str, count: int) -> tuple[float, ...]:
    """So many finite numbers; none where the key is missing."""
    found = stored.get(key, [])
    numbers = type(found) is list and all(type(one) in (int, float) and abs(one) < math.inf for one in found)
    if not numbers or len(found) not in (0, count):
        raise MapFormatError(f"the {layer} layer's {key} is {found!r}"[:200], "calibrate the map again")
    return tuple(float(one) for one in found)


def _turn(stored: Mapping[str, Any], layer: str) -> tuple[float, ...]:
    """A scale above zero and three standard deviations; none where the key is missing."""
    found = _row(stored, layer, "turn", 4)
    if found and not 1e-3 <= found[0] <= 1e3:
        raise MapFormatError(f"the {layer} layer's turn is {found!r}"[:200], "calibrate the map again")
    return found


def _places(stored: Mapping[str, Any], layer: str) -> tuple[Place, ...]:
    """Stored places, each as x, y, z and a factor of at least 1."""
    found = stored.get("places", [])
    rows: list[tuple[float, ...]] = [()]
    if type(found) is list:
        rows = [_row({"places": one}, layer, "places", 4) for one in found]
    if len(rows) > _MOST_PLACES or any(len(row) != 4 or row[3] < 1.0 for row in rows):
        raise MapFormatError(f"the {layer} layer's places are {found!r}"[:200], "calibrate the map again")
    return tuple(Place(*row) for row in rows)


def mahalanobis(error: DoubleArray, covariance: DoubleArray) -> float:
    """The length of an error (K,) in standard deviations of a covariance (K, K)."""
    return float(np.sqrt(error @ np.linalg.solve(covariance, error)))
