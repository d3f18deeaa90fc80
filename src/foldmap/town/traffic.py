"""Vehicles: parked ones differ from day to day, moving ones from moment to moment."""

from __future__ import annotations

import numpy as np

from foldmap.town.hashing import block_rng
from foldmap.town.lanes import street_lanes
from foldmap.town.plan import Street
from foldmap.types import DoubleArray

_SLOT_M = 6.2
_GAP_M = 19.0


def parked_boxes(streets: list[Street], day_seed: int, fill: float = 0.6) -> DoubleArray:
    """Parked vehicles as boxes, float64 (B, 7): centre x, y, cosine and sine of heading, half length, half width, height."""
    rows = []
    for street in streets:
        rng = block_rng(street.seed, 31, day_seed)
        for sign, bike, park in ((1, street.bike_m[0], street.park_m[0]), (-1, street.bike_m[1], street.park_m[1])):
            share = fill if park else 0.06 * fill
            width = park if park else 2.0
            base = street.style.lanes_each_way * street.style.lane_width_m + 0.1 + (bike if park else -1.6)
            for slot in np.arange(street.setback_m[0] + 14, street.length_m - street.setback_m[1] - 14, _SLOT_M):
                if rng.random() < share:
                    d = sign * (base + 0.5 * width + rng.normal(0, 0.1))
                    rows.append(_vehicle(street, float(slot + rng.uniform(0, 1)), float(d), rng))
    return np.array(rows, np.float64).reshape(-1, 7)


def moving_boxes(streets: list[Street], day_seed: int, time_s: float, density: float = 0.25) -> DoubleArray:
    """Moving vehicles at one time as boxes, as `parked_boxes`; they keep their lanes at constant speeds."""
    rows = []
    for street in streets:
        for lane in street_lanes(street):
            rng = block_rng(street.seed, 37, day_seed, lane.key[1] + 1, lane.key[2])
            speed, shift = rng.uniform(6, 13), rng.uniform(0, _GAP_M)
            d = -lane.key[1] * (lane.key[2] + 0.5) * street.style.lane_width_m
            for slot in range(int(street.length_m // _GAP_M) + 1):
                there = (slot * _GAP_M + shift + speed * time_s) % (street.length_m + _GAP_M)
                if rng.random() < density and there < street.length_m:
                    arc = there if lane.key[1] == 1 else street.length_m - there
                    rows.append(_vehicle(street, arc, d + float(rng.normal(0, 0.15)), rng))
    return np.array(rows, np.float64).reshape(-1, 7)


def _vehicle(street: Street, arc_m: float, lateral_m: float, rng: np.random.Generator) -> list[float]:
    _, tangent = street.frame_at(np.array([arc_m]))
    centre = street.offset_path(np.array([arc_m]), lateral_m)[0]
    van = rng.random() < 0.12
    length, width = (rng.uniform(5, 7), rng.uniform(1.9, 2.1)) if van else (rng.uniform(3.6, 4.9), rng.uniform(1.65, 1.9))
    height = rng.uniform(1.9, 2.9) if van else rng.uniform(1.4, 1.75)
    return [*centre, *tangent[0], 0.5 * length, 0.5 * width, height]
