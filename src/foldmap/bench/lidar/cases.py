"""What a benchmark asks: queries with a prior, searches, methods, and the answers."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from foldmap.errors import ConfigError
from foldmap.geometry import SE2
from foldmap.lidar.source import RasterMap
from foldmap.types import FloatArray


@dataclass(frozen=True)
class Search:
    """Where a matcher looks: within the radius of the prior in x and in y, and the heading range (0: it is given)."""

    radius_m: float = 1.0
    heading_rad: float = 0.0

    def __post_init__(self) -> None:
        if not (self.radius_m > 0 and self.heading_rad >= 0):
            raise ConfigError(f"{self}", "give a positive radius and a heading range of at least 0")


@dataclass(frozen=True)
class BenchQuery:
    """What a matcher is shown; the truth is not part of it."""

    points_vehicle_m: FloatArray  # float32 (N, 2), x forward, y left
    intensity: FloatArray  # float32 (N,)
    world_SE2_prior: SE2  # where the vehicle is believed to be


@dataclass(frozen=True)
class Case:
    """One query, its map and its truth; cases of one `map_key` share their map, which is then folded once."""

    name: str
    query: BenchQuery
    world_SE2_true: SE2
    map_key: str
    raster: RasterMap


@dataclass(frozen=True)
class Match:
    """A matcher's answer: the pose or None, its own score (higher is better), and diagnostics that JSON can hold."""

    world_SE2_vehicle: SE2 | None
    score: float
    diagnostics: dict[str, float | str] = field(default_factory=dict)


class Codec(Protocol):
    """Folds a raster map and unfolds it into whatever its matcher reads (a raster, an embedding)."""

    @property
    def name(self) -> str:
        """What tables call it."""

    def encode(self, raster: RasterMap) -> bytes:
        """Return the complete payload; its length is the map's size."""

    def decode(self, payload: bytes) -> Any:
        """Return what the matcher reads, from the payload alone."""


class RasterMatcher(Protocol):
    """Finds the vehicle in a decoded map."""

    @property
    def name(self) -> str:
        """What tables call it."""

    def match(self, query: BenchQuery, decoded_map: Any, search: Search) -> Match:
        """Answer one query."""


@dataclass(frozen=True)
class Method:
    """A codec with a matcher; kept answers are compared with `settings`, whatever else decides the result."""

    codec: Codec
    matcher: RasterMatcher
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """``codec + matcher``."""
        return f"{self.codec.name} + {self.matcher.name}"


class Benchmark(Protocol):
    """A set of cases that can say what decides them."""

    @property
    def search(self) -> Search:
        """How far the priors may be off."""

    def configuration(self) -> dict[str, Any]:
        """Everything that decides the cases, as plain JSON values, data fingerprint included."""

    def cases(self) -> Iterable[Case]:
        """The cases; those that share a map come one after another."""

    def __len__(self) -> int:
        """How many cases there are."""


def perturbed(world_SE2_true: SE2, search: Search, rng: np.random.Generator) -> SE2:
    """Draw a prior around the truth: x, y and heading uniform within the search (section 4 of the paper)."""
    dx_m, dy_m = rng.uniform(-search.radius_m, search.radius_m, 2)
    turn_rad = rng.uniform(-search.heading_rad, search.heading_rad) if search.heading_rad else 0.0
    return SE2(world_SE2_true.x_m + dx_m, world_SE2_true.y_m + dy_m, world_SE2_true.heading_rad + turn_rad)
