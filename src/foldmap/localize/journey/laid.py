"""Whether a drive's sweeps lie on each other where its motion put them: asked where lidar never found its place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

from foldmap.errors import PoseInputError
from foldmap.geometry import SE2, SE3
from foldmap.lidar.mapping.alignment import outline
from foldmap.lidar.mapping.belonging import check_alignment
from foldmap.lidar.source import Sweep
from foldmap.localize.journey.events import Event, Moves, SweepEvent
from foldmap.localize.journey.moving import Moving, distance_m

_STRIDE_M, _KEPT = 2.0, 6


class LaidSweeps:
    """A few sweeps of a drive, some metres apart, and where its odometry or speeds put them."""

    def __init__(self) -> None:
        self._moving, self._kept = Moving(), list[tuple[Sweep, SE2]]()

    def watch(self, events: Iterable[Event]) -> Iterator[Event]:
        """The events themselves, in order of time; sweeps that are far enough from the one before are kept."""
        for event in events:
            if isinstance(event, Moves):
                self._moving.add(event)
            elif isinstance(event, SweepEvent) and isinstance(event.sweep, Sweep) and len(self._kept) < _KEPT:
                at, known = self._moving.at(event.time_s)
                if known and (not self._kept or distance_m(at, self._kept[-1][1]) >= _STRIDE_M):
                    self._kept.append((event.sweep, at))
            yield event

    def contradiction(self) -> str:
        """What contradicts the motion, in words; empty where nothing does, or too little is known."""
        seen = [(outline(sweep), SE3.from_se2(at)) for sweep, at in self._kept]
        pairs = [(first, second, one, other) for (first, one), (second, other) in pairwise(seen)]
        try:
            check_alignment(pairs, "the drive's motion")
        except PoseInputError as error:
            return str(error)
        return ""
