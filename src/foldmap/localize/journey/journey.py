"""The journey on one screen: from somewhere in town to centimetres, and back to the start when it is lost."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator

import numpy as np

from foldmap.geometry import SE2, SE3
from foldmap.lidar.mapping.spin import AS_IT_IS, REVOLUTION_S, SpinFinder, Turn, put_together
from foldmap.lidar.observation import Observation
from foldmap.lidar.source import Sweep
from foldmap.localize.journey.answer import answer
from foldmap.localize.journey.coarse import Coarse, Region, everywhere
from foldmap.localize.journey.estimate import JourneyEstimate, JourneySettings, LayerHealth
from foldmap.localize.journey.events import CameraEvent, Event, FixEvent, Moves, SweepEvent, in_order
from foldmap.localize.journey.fine import Fine
from foldmap.localize.journey.moving import Moving, distance_m
from foldmap.localize.journey.search import Search
from foldmap.localize.journey.senses import Layers, Senses
from foldmap.localize.lidar.localizer import LidarLocalizer
from foldmap.localize.lidar.outline import Around
from foldmap.localize.lidar.whole_map import WholeMap

_WIDE_EVERY = 5
_CELLS = 6  # windows of the whole map that one sweep is searched in where nothing tells where to begin
_HEADINGS = 24  # at which one sweep searches the whole map, or goes on with an earlier sweep's search
_JUMP_RAD = math.radians(15.0)
_QUARTERS = (1, 1), (-1, -1), (1, -1), (-1, 1)
_VERIFIED = (8, 1)  # hypotheses that a sweep matches while a pose is doubted: without and with a region to search


class Journey:
    """Localizes one drive in the layers of one map, without a prior unless one is given.

    A prior is a pose and how far it is right to, metres. Events come in order of time (`in_order`); the same events
    give the same estimates.
    """

    def __init__(
        self, layers: Layers, prior: tuple[SE2, float] | None = None, settings: JourneySettings | None = None
    ) -> None:
        self.settings, self._layers = settings or JourneySettings(), layers
        self._moving, self._senses = Moving(), Senses(layers, self.settings.sweeps)
        outline = layers.outline if self.settings.deskew else None
        self.spin = SpinFinder(AS_IT_IS if outline is None else outline.spin)
        self._swept_s, self._smear_m = -math.inf, np.zeros(3)
        near = None if prior is None else Region(*prior, math.radians(10.0), "prior")
        self._coarse, self._search = Coarse(layers.street, near), Search(self.settings)
        self._cell = 0
        self._fine: Fine | None = None
        self._upright: SE3 | None = None
        alone = layers.lidar if layers.street is None else None  # then nothing else tells where to begin
        outlined = layers.outline is not None and layers.outline.fits  # then that is searched
        self._whole = None if alone is None or outlined else alone.whole_map()
        self._begun_here = SE2(0.0, 0.0, 0.0)  # where its search began
        searched = outlined or self._whole is not None
        self._cells = [] if alone is None or searched else everywhere(alone.folded.grid)
        self._here, self._time_s, self._sweeps, self._restarts = SE2(0.0, 0.0, 0.0), -math.inf, 0, 0

    def run(self, events: Iterable[Event]) -> Iterator[tuple[Event, JourneyEstimate]]:
        """Estimates at each observation, of events that may come out of order."""
        for event in in_order(events):
            estimate = self.step(event)
            if estimate is not None:
                yield event, estimate

    def step(self, event: Event) -> JourneyEstimate | None:
        """Take the next event; None where it only tells of motion."""
        begin_s = time.perf_counter()
        if isinstance(event, Moves):
            self._moving.add(event)
            return None
        known, self._upright = self._drive_on(event.time_s), None
        if isinstance(event, FixEvent):
            self._fix(event)
        elif isinstance(event, CameraEvent):
            self._camera(event)
        else:
            self._sweep(event, known)
        if (found := self._search.decided()) is not None:  # the evidence has decided: track from here on
            if self._fine is None or distance_m(self._fine.pose, found.pose) > 1.0 or self._doubted(self._fine):
                self._fine = Fine(found.pose, found.covariance, self._layers.lidar, self.settings)
                self._fine.ok_age_s[found.layer] = 0.0
            self._search = Search(self.settings)
        elif self._fine is not None and self._is_lost(self._fine):  # it has gone wrong: begin again from there
            hint = Region(self._fine.pose, min(3 * self._fine.sigma_m + 5.0, self.settings.jump_m), _JUMP_RAD, "last")
            self._coarse.begin(hint)
            self._fine, self._restarts = None, self._restarts + 1
        if self._fine is not None:
            self._fine.smeared(self._smear_m)
        parts = self._fine, self._coarse, self._search, self._senses
        spent_s = time.perf_counter() - begin_s
        return answer(*parts, self._layers, self.settings, self._restarts, spent_s, self._upright)

    def _drive_on(self, time_s: float) -> bool:
        """Move all beliefs to a time; whether motion is known up to then."""
        here, known = self._moving.at(time_s)
        step, dt_s = self._here.inverse() @ here, time_s - self._time_s
        self._here, self._time_s = here, time_s
        if math.isfinite(dt_s):
            for belief in (self._coarse, self._fine):
                if isinstance(belief, Coarse):
                    belief.move(step, known)
                elif belief is not None:
                    belief.move(step, dt_s, known)
            self._search.move(step, dt_s)
            self._senses.older(dt_s)
        return known

    def _fix(self, event: FixEvent) -> None:
        self._coarse.fix(event.east_m, event.north_m, event.sigma_m)
        self._senses.told("gnss", "ok")
        if self._fine is not None:
            self._fine.fix(event.east_m, event.north_m, event.sigma_m)

    def _camera(self, event: CameraEvent) -> None:
        """The street first, then photos: the street's region is where the photos are looked for."""
        if event.frame is not None and (street := self._coarse.look(event.frame)) is not None:
            self._senses.told("street", street.status.value, street.diagnostics.reason)
            if self._fine is not None and street.status.value == "ok" and street.pose is not None:
                assert street.covariance is not None
                self._fine.street(street.pose, street.covariance)
        if self._layers.visual is None:
            return
        fine = None if self._fine is None or self._doubted(self._fine) else self._fine
        queries = self._senses.queries(event, self._cameras(fine))
        if not queries:
            return
        found = self._senses.seen(queries, None if fine is None else (fine.pose, 3 * fine.sigma_m + 20.0))
        if found is None:
            return
        if fine is None and not found.sure:  # not to be believed, and a good place to look at with lidar
            self._coarse.glimpse(found.pose, found.covariance)
        elif fine is None:
            self._search.photo(found.pose, found.covariance)
        elif found.sure and fine.photo(found.pose, found.covariance):
            self._upright = found.world_SE3_vehicle

    def _cameras(self, fine: Fine | None) -> int:
        """At how many of a frame's cameras to look: at few while lidar is sure, or what was seen last.

        While lidar is sure none is looked at until the last look is old.
        """
        s, last = self.settings, self._senses.health.get("visual", LayerHealth())
        by_lidar = fine is not None and fine.ok_age_s.get("lidar", math.inf) <= s.fresh_s
        if by_lidar and last.age_s is not None and last.age_s < s.photo_s - 1e-6:
            return 0
        sure = by_lidar or (fine is not None and last.status == "ok")
        return s.cameras_tracked if sure else s.cameras_lost

    def _sweep(self, event: SweepEvent, known: bool) -> None:
        """Track by lidar; where there is nothing to track, or it is doubted, search in the regions that are left."""
        if self._layers.lidar is None:
            return
        self._sweeps += 1
        sweep = self.at_once(event)
        observation = self._senses.drawn(sweep, self._here, known)
        if self._fine is not None:
            self._senses.told("lidar", *self._fine.sweep(observation))
            if self._senses.broken:
                self._fine.moved()
        if self._fine is None or self._doubted(self._fine):
            regions = self._regions()
            # a pose that is only doubted is kept meanwhile: its sweeps are to take no longer than they may
            most = None if self._fine is None else _VERIFIED[bool(regions)]
            self._search.sweep(self._layers.lidar, observation, regions, most)
            if self._whole is not None and self._fine is None and not regions:
                self._look_everywhere(self._whole, self._layers.lidar, observation)
        if isinstance(sweep, Sweep):
            self._stand(sweep)
        if self._fine is None:
            self._senses.told("lidar", "ambiguous" if self._search.alive else "no_match", "no place is decided yet")

    def at_once(self, event: SweepEvent) -> Sweep | Observation:
        """The sweep as if all of it had been seen at once, by how the vehicle moves and the lidar spins."""
        sweep, since_s, self._swept_s = event.sweep, event.time_s - self._swept_s, event.time_s
        here, known = self._moving.at(event.time_s)
        if not isinstance(sweep, Sweep) or event.at_once or not (known and self.settings.deskew):
            return sweep
        turn = Turn.level(self._moving.within(since_s if since_s < 1.5 * REVOLUTION_S else REVOLUTION_S))
        assumed = self.spin.spin
        self.spin.add(sweep, here, turn)
        self._ask_map(sweep, here, turn)
        if self._fine is not None and self.spin.spin != assumed:  # where it is was told by sweeps of the wrong way
            self._fine = self._fine.anew(turn.smear_m)
        self._smear_m = np.zeros(3) if self.spin.told or self._layers.outline is None else turn.smear_m
        return put_together(sweep, self.spin.spin, turn)

    def _ask_map(self, sweep: Sweep, here: SE2, turn: Turn) -> None:
        """Which way the lidar spins, by what stands: put together the right way, more of it stands in the map."""
        at = self._fine or max(self._search.alive, key=lambda one: one.evidence, default=None)
        if self._layers.outline is None or at is None or not self.spin.asks_map(here, turn):
            return
        self.spin.stood(self._layers.outline.matcher.missing(sweep, turn, at.pose), here)

    def _stand(self, sweep: Sweep) -> None:
        """Lay what stands around on the map's outline: at the tracked pose, or everywhere, some headings now."""
        whole, fine = self._layers.outline, self._fine
        if whole is None or (fine is not None and not self._doubted(fine) and fine.stood_m < self.settings.stand_m):
            return
        seen = Around.of(sweep)
        if fine is not None and not self._doubted(fine):
            found = whole.matcher.match(seen, fine.pose)
            if found is not None:
                self._senses.told("outline", fine.stands(found))
            return
        poses = list[SE2]()
        if fine is None and whole.fits:
            if whole.idle and whole.begin(seen):
                self._begun_here = self._here
            moved = self._begun_here.inverse() @ self._here
            poses = [pose @ moved for pose in whole.advance(_HEADINGS)]
        self._search.stand(whole.matcher, seen, poses)

    def _look_everywhere(self, whole: WholeMap, lidar: LidarLocalizer, observation: Observation) -> None:
        """Search the whole map, some headings by each sweep, and look now at what was found by an earlier one."""
        if whole.idle:
            if self._sweeps < self.settings.sweeps:  # more is seen by as many as are laid together
                return
            whole.begin(observation)
            self._begun_here = self._here
        moved = self._begun_here.inverse() @ self._here
        self._search.look_at(lidar, observation, [pose @ moved for pose in whole.advance(_HEADINGS)])

    def _regions(self) -> list[Region]:
        """Where this sweep is searched: one region at a time, the likely ones more often than the rest of the map."""
        regions, turn = self._coarse.regions(self.settings.regions), self._sweeps
        if self._fine is not None:
            return self._around(self._fine.pose, regions)
        if self._cells and (not regions or turn % _WIDE_EVERY == 0):
            count = min(1 if regions else _CELLS, len(self._cells))
            first, self._cell = self._cell, self._cell + count
            return [self._cells[(first + number) % len(self._cells)] for number in range(count)]
        count = min(self.settings.at_once, len(regions))
        return [regions[(turn * count + number) % len(regions)] for number in range(count)]

    def _around(self, pose: SE2, regions: list[Region]) -> list[Region]:
        """Where a doubted pose may have jumped to: of three sweeps one has a quarter of what lies around, one a region.

        The third has none.
        """
        turn, kind = divmod(self._sweeps, 3)
        if kind == 2:
            return []
        if kind == 1 and regions:
            return [regions[turn % len(regions)]]
        half_m = 0.5 * self.settings.jump_m
        ahead, left = _QUARTERS[turn % 4]
        return [Region(pose @ SE2(ahead * half_m, left * half_m, 0.0), half_m, _JUMP_RAD, "last")]

    def _doubted(self, fine: Fine) -> bool:
        return fine.unmatched_s > self.settings.doubt_s or bool(fine.conflicts)

    def _is_lost(self, fine: Fine) -> bool:
        """Nothing matches, others contradict, or nothing was seen for so long that odometry is all there is."""
        sure = min(fine.ok_age_s.values(), default=math.inf) <= self.settings.fresh_s
        against = max((n for layer, n in fine.conflicts.items() if layer != "gnss" or not sure), default=0)
        s = self.settings
        return fine.unmatched_s > s.drop_s or against >= s.conflicts or fine.sigma_m > 4 * s.lost_sigma_m
