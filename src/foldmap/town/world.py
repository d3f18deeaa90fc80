"""The generated town itself, apart from any sensor."""

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from foldmap.errors import ConfigError
from foldmap.geometry import SE2, MetricGrid
from foldmap.town.plan import REACH_M, Street, StreetKey, TownPlan
from foldmap.town.render import BUILT_REFLECTANCE, CELL_M, nearest_segments, render_lattice, render_points
from foldmap.town.tables import PackedStreet, join_streets, pack_street
from foldmap.types import AnyArray, DoubleArray, FloatArray

KERB_STEP_M = 0.12


@dataclass(frozen=True)
class Ground:
    """The ground on a lattice, each float32 (H, W)."""

    reflectance: FloatArray  # 0 to 1
    kerb_m: FloatArray  # signed distance to the kerb, negative on the carriageway
    obstacle_m: FloatArray  # height of what stands there; 0 where the ground is open


class Neighbourhood(NamedTuple):
    """The streets about a box and, for each world-anchored cell of it, which of them matter."""

    cell0_x: int
    cell0_y: int
    cells_x: int
    cells: AnyArray
    table: tuple[AnyArray, ...]


class TownWorld:
    """A seeded town; every part of it is generated when it is asked for, the same whatever was asked before.

    ``extent_m`` is the side of the square, centred on the origin, that maps of the town cover; it must be positive.
    Streets may be closed to vehicles (`TownPlan`).
    """

    def __init__(self, seed: int, extent_m: float = 2000.0, closed: Collection[StreetKey] = ()) -> None:
        if not (math.isfinite(extent_m) and extent_m > 0):
            raise ConfigError(f"a town of {extent_m} m", "give a positive extent in metres")
        self.seed, self.extent_m, self.plan = seed, extent_m, TownPlan(seed, closed)
        self._packed: dict[StreetKey, PackedStreet] = {}

    def ground(self, grid: MetricGrid) -> Ground:
        """Evaluate the ground on a north-up grid."""
        half = 0.5 * grid.resolution_m
        origin = SE2(grid.west_m + half, grid.north_m - half, 0.0)
        return self.ground_along(origin, grid.resolution_m, grid.height_px, grid.width_px)

    def ground_along(
        self, world_SE2_corner: SE2, resolution_m: float, height_px: int, width_px: int, *, shade: bool = True
    ) -> Ground:
        """Evaluate the ground on a turned lattice; without ``shade`` reflectance is left out, which is faster.

        The corner is the centre of pixel (0, 0): columns run along its x axis, rows along minus y. Marks are averaged
        over a footprint of the resolution.
        """
        cos, sin = math.cos(world_SE2_corner.heading_rad), math.sin(world_SE2_corner.heading_rad)
        step = np.array([[cos, sin], [sin, -cos]]) * resolution_m  # per column, per row
        corner = np.array([world_SE2_corner.x_m, world_SE2_corner.y_m])
        far = [corner + step[0] * c + step[1] * r for c in (0, width_px - 1) for r in (0, height_px - 1)]
        near = self.neighbourhood(np.min(far, axis=0), np.max(far, axis=0))
        if near is None:
            flat = np.full((height_px, width_px), BUILT_REFLECTANCE, np.float32)
            return Ground(flat, flat + 99, flat * 0 + 6)
        seed = self.seed & 0xFFFFFFF
        place = (*corner, *step[0], *step[1], height_px, width_px, resolution_m, seed)
        rendered: tuple[FloatArray, FloatArray, FloatArray] = render_lattice(*(*place, tuple(near), shade))
        return Ground(*rendered)

    def neighbourhood(self, low_m: DoubleArray, high_m: DoubleArray) -> Neighbourhood | None:
        """Everything that decides the ground in the box low..high (x, y), or None where no street reaches."""
        streets = self.plan.streets_near(low_m[0] - 2, low_m[1] - 2, high_m[0] + 2, high_m[1] + 2)
        if not streets:
            return None
        table = join_streets(streets, [self._pack(s) for s in streets])
        cell0 = np.floor(low_m / CELL_M).astype(int) - 1
        cells = np.floor(high_m / CELL_M).astype(int) + 2 - cell0
        near = nearest_segments(*(*cell0, *cells, table.points_m, table.first, table.streets, REACH_M))
        return Neighbourhood(int(cell0[0]), int(cell0[1]), int(cells[0]), near, tuple(table))

    def reflectance_at(self, xy_m: DoubleArray, near: Neighbourhood, footprint_m: float = 0.02) -> DoubleArray:
        """Reflectance float64 (N,) at points (N, 2) inside the box for which ``near`` was made."""
        points, seed = np.asarray(xy_m, np.float64), self.seed & 0xFFFFFFF
        value: DoubleArray = render_points(points, footprint_m, seed, tuple(near))
        return value

    def streets_near(self, west_m: float, south_m: float, east_m: float, north_m: float) -> list[Street]:
        """The streets that reach into a box."""
        return self.plan.streets_near(west_m, south_m, east_m, north_m)

    def _pack(self, street: Street) -> PackedStreet:
        if street.key not in self._packed:
            if len(self._packed) > 1024:
                self._packed.clear()
            self._packed[street.key] = pack_street(street)
        return self._packed[street.key]
