"""Vehicles: parked ones differ from day to day, moving ones from moment to moment."""

import numpy as np

from foldmap.town.hashing import block_rng
from foldmap.town.plan import Street
from foldmap.types import AnyArray, DoubleArray

_SLOT_M = 6.2
_GAP_M = 19.0


def parked_boxes(streets: list[Street], day_seed: int, fill: float = 0.6) -> DoubleArray:
    """Parked vehicles as boxes, float64 (B, 7): centre x, y, cosine, sine, half length, half width, height.

    None are in closed streets.
    """
    found = [np.zeros((0, 7))]
    for street in streets:
        if street.closed:
            continue
        rng = block_rng(street.seed, 31, day_seed)
        slots: DoubleArray = np.arange(street.setback_m[0] + 14, street.length_m - street.setback_m[1] - 14, _SLOT_M)
        for sign, bike, park in street.sides:
            taken = rng.random(len(slots)) < (fill if park else 0.06 * fill)
            width = park if park else 2.0
            base = street.style.lanes_each_way * street.style.lane_width_m + 0.1 + (bike if park else -1.6)
            lateral = sign * (base + 0.5 * width + rng.normal(0, 0.1, len(slots)))
            found.append(_vehicles(street, (slots + rng.random(len(slots)))[taken], lateral[taken], rng))
    return np.concatenate(found)


def parked_on(streets: list[Street], day_seed: int) -> DoubleArray:
    """As `parked_boxes`, as full as that day has it."""
    return parked_boxes(streets, day_seed, float(block_rng(day_seed, 57).uniform(0.2, 0.9)))


def moving_boxes(streets: list[Street], day_seed: int, time_s: float, density: float = 0.25) -> DoubleArray:
    """Moving vehicles at one time as boxes, as `parked_boxes`; each keeps its lane, its speed and its size."""
    found = [np.zeros((0, 7))]
    for street in streets:
        if street.closed:
            continue
        loop = street.length_m + _GAP_M
        for direction in (1, -1):
            for index in range(street.style.lanes_each_way):
                rng = block_rng(street.seed, 37, day_seed, direction + 1, index)
                count = int(street.length_m // _GAP_M) + 1
                driven = rng.uniform(0, _GAP_M) + rng.uniform(6, 13) * time_s
                there = (np.arange(count) * _GAP_M + driven) % loop
                taken = rng.random(count) < density
                lateral = -direction * (index + 0.5) * street.style.lane_width_m + rng.normal(0, 0.15, count)
                at = (there if direction == 1 else street.length_m - there)[taken]
                boxes = _vehicles(street, at, lateral[taken], rng)
                found.append(boxes[(there < street.length_m)[taken]])
    return np.concatenate(found)


def _vehicles(street: Street, arc_m: AnyArray, lateral_m: DoubleArray, rng: np.random.Generator) -> DoubleArray:
    """Vehicles of random sizes at places of a street, along it."""
    count = len(arc_m)
    van = rng.random(count) < 0.12
    share = rng.random((3, count))
    boxes = np.empty((count, 7))
    if count == 0:
        return boxes
    _, boxes[:, 2:4] = street.frame_at(arc_m)
    boxes[:, :2] = street.offset_path(arc_m, lateral_m)
    boxes[:, 4] = 0.5 * np.where(van, 5.0 + 2.0 * share[0], 3.6 + 1.3 * share[0])
    boxes[:, 5] = 0.5 * np.where(van, 1.9 + 0.2 * share[1], 1.65 + 0.25 * share[1])
    boxes[:, 6] = np.where(van, 1.9 + 1.0 * share[2], 1.4 + 0.35 * share[2])
    return boxes
