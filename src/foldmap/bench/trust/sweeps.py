"""Hostile sweeps of anybody's lidar map: which are asked, where, and what is answered."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np

from foldmap.atlas import FoldFile
from foldmap.bench.lidar.cases import Search, perturbed
from foldmap.bench.trust.answers import Answer, Expect, Stage, answer_of
from foldmap.bench.trust.sweep_changes import ELSEWHERE, HERE, KINDS, TOWN, SweepKind, as_driven
from foldmap.errors import ConfigError, PoseInputError
from foldmap.geometry import SE2, SE3
from foldmap.lidar.folded import open_lidar
from foldmap.lidar.observation import Observation, SweepStack
from foldmap.lidar.source import Sweep
from foldmap.localize.lidar.localizer import LidarLocalizer
from foldmap.town import TownWorld, build_lidar, drive, street_lanes, wander

_AWAY_M = 15.0
"""From its own place, at least, that a sweep is asked about elsewhere; beyond what searches reach."""
_TOWN_M, _TOWN_TRIES = 120.0, 10


class Readable(Protocol):
    """Sweeps that are read when they are asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sweep: ...


@dataclass(frozen=True)
class SweepSet:
    """A drive whose poses are in the map's frame, and how it is asked.

    Attributes:
        sweeps: read when they are asked for.
        world_SE3_sensors: a pose each, the truth.
        aggregate: sweeps that are laid together.
        count: queries a kind, evenly chosen.
        kinds: begin so; all where empty.
        search: how far priors are off, and where is searched.
        seed: of priors and changes.
    """

    sweeps: Readable
    world_SE3_sensors: Sequence[SE3]
    aggregate: int = 5
    count: int = 20
    kinds: tuple[str, ...] = ()
    search: Search = field(default_factory=lambda: Search(1.0, math.radians(5.0)))
    seed: int = 0

    def __post_init__(self) -> None:
        if len(self.sweeps) != len(self.world_SE3_sensors) or len(self.sweeps) < self.aggregate:
            said = f"{len(self.sweeps)} sweeps, {len(self.world_SE3_sensors)} poses, {self.aggregate} a query"
            raise ConfigError(said, "give one pose a sweep, and as many sweeps as a query has")

    def plan(self) -> list[SweepKind]:
        """The kinds that can be asked: of another place only where the drive leaves each query's own."""
        found = [one for one in KINDS if not self.kinds or any(one.name.startswith(kind) for kind in self.kinds)]
        leaves = all(self.away(last) for last in self.last)
        return [one for one in found if one.place != ELSEWHERE or leaves]

    @property
    def last(self) -> list[int]:
        """The last sweep of each query."""
        first, count = self.aggregate - 1, len(self.sweeps)
        rows = np.linspace(first, count - 1, min(self.count, count - first))
        return [int(row) for row in np.unique(rows.round())]

    def away(self, last: int) -> list[int]:
        """Sweeps that were driven elsewhere than one."""
        xy_m = np.array([pose.translation_m[:2] for pose in self.world_SE3_sensors])
        return np.flatnonzero(np.linalg.norm(xy_m - xy_m[last], axis=1) > _AWAY_M).tolist()

    @cached_property
    def town(self) -> SweepSet:
        """As many sweeps of a generated town, by a lidar like an HDL-64E."""
        sweeps, poses = town_drive(max(self.count, self.aggregate + 1), self.seed)
        return replace(self, sweeps=sweeps, world_SE3_sensors=poses, count=len(sweeps))


@lru_cache(maxsize=1)
def town_drive(count: int, seed: int) -> tuple[tuple[Sweep, ...], tuple[SE3, ...]]:
    """So many revolutions through a generated town."""
    for attempt in range(_TOWN_TRIES):
        world, rng = TownWorld(7000 + seed + 100 * attempt), np.random.default_rng([seed, 21, attempt])
        lanes = [lane for street in world.streets_near(-60, -60, 60, 60) for lane in street_lanes(street)]
        if not lanes:
            continue
        path = wander(world.plan, lanes[int(rng.integers(len(lanes)))], _TOWN_M, rng)
        made = list(_first(drive(world, path, seed + 1, build_lidar("spinning64", rng), 10.0, 10.0), count))
        if len(made) == count:
            return tuple(sweep for sweep, _, _ in made), tuple(pose for _, pose, _ in made)
    raise PoseInputError(f"no town of the seed {seed} has a street for {count} sweeps", "take another seed")


def _first(frames: Iterator[tuple[Sweep, SE3, float]], count: int) -> Iterator[tuple[Sweep, SE3, float]]:
    for _, one in zip(range(count), frames, strict=False):
        yield one


def ask_sweeps(path: Path, name: str, asked: SweepSet, stage: Stage) -> Iterator[Answer]:
    """Ask every kind of sweep in the lidar layer of a file."""
    with FoldFile.open(path) as file:
        folded = open_lidar(file)
        localizer = LidarLocalizer.open(folded)
        yield from ask_localizer(localizer, folded.grid.resolution_m, folded.relief, name, asked, stage)


def ask_localizer(
    localizer: LidarLocalizer, resolution_m: float, relief: bool, name: str, asked: SweepSet, stage: Stage
) -> Iterator[Answer]:
    """The same of a localizer that is open, in a map of a pixel size, with relief mixed in or without."""
    plan = asked.plan()
    for where in (HERE, TOWN):
        kinds = [kind for kind in plan if (kind.place == TOWN) == (where == TOWN)]
        if not kinds:
            continue
        source = asked.town if where == TOWN else asked
        told, lasts = stage(f"{name}: sweeps of {'a generated town' if where == TOWN else 'the drive'}"), source.last
        for number, last in enumerate(lasts):
            drawn = _Drawn(source, last, resolution_m, relief)
            for done, kind in enumerate(kinds, 1):
                rng = np.random.default_rng([asked.seed, last, *kind.name.encode()])
                image = drawn.of(kind, rng)
                prior = perturbed(_asked_at(asked, kind, last, rng), asked.search, rng)
                reach_m = math.sqrt(2) * asked.search.radius_m
                estimate = localizer.localize(image, prior, reach_m, asked.search.heading_rad)
                truth = None if kind.expect is Expect.REFUSED else source.world_SE3_sensors[last].to_se2()
                query = f"{last:06d}"
                yield answer_of(
                    estimate, truth, map_name=name, layer="lidar", kind=kind.name, query=query, expect=kind.expect
                )
                told(number * len(kinds) + done, len(lasts) * len(kinds))


def _asked_at(asked: SweepSet, kind: SweepKind, last: int, rng: np.random.Generator) -> SE2:
    """Where a query is asked: at its place, or at one of the drive that is not its own."""
    if kind.place not in (ELSEWHERE, TOWN):
        return asked.world_SE3_sensors[last].to_se2()
    rows = asked.away(last) if kind.place == ELSEWHERE else range(len(asked.sweeps))
    return asked.world_SE3_sensors[int(rng.choice(rows))].to_se2()


class _Drawn:
    """The last few sweeps, each changed alike, laid together and drawn; read once, and drawn once as they are."""

    def __init__(self, source: SweepSet, last: int, resolution_m: float, relief: bool) -> None:
        rows = range(last - source.aggregate + 1, last + 1)
        self._sweeps = [(source.sweeps[row], source.world_SE3_sensors[row]) for row in rows]
        self._resolution_m, self._relief = resolution_m, relief
        self._as_driven: Observation | None = None

    def of(self, kind: SweepKind, rng: np.random.Generator) -> Observation:
        """As a kind of query changes them."""
        seed = int(rng.integers(1 << 30))
        if kind.sweep is not as_driven:
            return kind.drawn(self._laid(kind, seed), rng)
        if self._as_driven is None:
            self._as_driven = self._laid(kind, seed)
        return kind.drawn(self._as_driven, rng)

    def _laid(self, kind: SweepKind, seed: int) -> Observation:
        stack = SweepStack(self._resolution_m, len(self._sweeps), relief=self._relief)
        images = [stack.add(kind.sweep(one, np.random.default_rng(seed)), pose) for one, pose in self._sweeps]
        return images[-1]
