"""The lane graph of the town: directed centre lines and which may follow which."""

from dataclasses import dataclass

import numpy as np

from foldmap.town.plan import Street, StreetKey, TownPlan
from foldmap.types import DoubleArray

STATION_M = 1.0

LaneKey = tuple[StreetKey, int, int]
"""(street, direction +1 with its axis or -1 against it, lane counted from the centre line)."""


@dataclass(frozen=True)
class Lane:
    """A directed lane of a street with its centre line float64 (P, 2) in driving direction, between the junctions."""

    key: LaneKey
    points_m: DoubleArray


@dataclass(frozen=True)
class TownLanes:
    """Lanes by key, and for each the (next lane, connecting curve float64 (Q, 2)) pairs within the graph."""

    lanes: dict[LaneKey, Lane]
    successors: dict[LaneKey, list[tuple[LaneKey, DoubleArray]]]


def street_lanes(street: Street) -> list[Lane]:
    """All lanes of a street, none of a closed one; traffic keeps right."""
    if street.closed:
        return []
    first, last = (back + 1.0 for back in street.setback_m)
    arc = np.linspace(first, street.length_m - last, max(3, round((street.length_m - first - last) / STATION_M)))
    lanes = []
    for direction in (1, -1):
        for index in range(street.style.lanes_each_way):
            points = street.offset_path(arc, -direction * (index + 0.5) * street.style.lane_width_m)
            lanes.append(Lane((street.key, direction, index), points[::direction]))
    return lanes


def next_lanes(plan: TownPlan, lane: Lane) -> list[tuple[Lane, DoubleArray]]:
    """The lanes that may follow and the curves that lead to them: straight on, left and right, no turning back."""
    (i, j, axis), direction, index = lane.key
    node = ((i + 1, j) if axis == 0 else (i, j + 1)) if direction == 1 else (i, j)
    found = []
    for key, leaving in (
        ((node[0], node[1], 0), 1),
        ((node[0] - 1, node[1], 0), -1),
        ((node[0], node[1], 1), 1),
        ((node[0], node[1] - 1, 1), -1),
    ):
        street = plan.street(key)
        if street is None or key == (i, j, axis):
            continue
        for candidate in street_lanes(street):
            same = min(index, street.style.lanes_each_way - 1)
            if candidate.key[1] == leaving and candidate.key[2] == same:
                found.append((candidate, _connector(lane.points_m, candidate.points_m)))
    return found


def lane_graph(plan: TownPlan, west_m: float, south_m: float, east_m: float, north_m: float) -> TownLanes:
    """The graph of all lanes whose street reaches into a box."""
    lanes = {lane.key: lane for s in plan.streets_near(west_m, south_m, east_m, north_m) for lane in street_lanes(s)}
    successors = {
        key: [(after.key, curve) for after, curve in next_lanes(plan, lane) if after.key in lanes]
        for key, lane in lanes.items()
    }
    return TownLanes(lanes, successors)


def wander(plan: TownPlan, start: Lane, length_m: float, rng: np.random.Generator) -> DoubleArray:
    """Drive on from the beginning of a lane, ``length_m`` or until a street ends: points (N, 2) about 1 m apart."""
    parts, done, lane = [start.points_m], _length_m(start.points_m), start
    while done < length_m:
        choices = next_lanes(plan, lane)
        if not choices:
            break
        lane, curve = choices[rng.integers(len(choices))]
        parts += [curve, lane.points_m]
        done += _length_m(curve) + _length_m(lane.points_m)
    path = np.concatenate(parts)
    distinct = np.concatenate([[True], np.linalg.norm(np.diff(path, axis=0), axis=1) > 0.05])
    kept: DoubleArray = path[distinct]
    return kept


def _length_m(points: DoubleArray) -> float:
    return float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum())


def _connector(before: DoubleArray, after: DoubleArray) -> DoubleArray:
    """Interior points of a cubic curve from the end of one lane to the beginning of another."""
    start, end = before[-1], after[0]
    reach = float(np.linalg.norm(end - start))
    leave, arrive = before[-1] - before[-2], after[1] - after[0]
    a = start + leave / np.linalg.norm(leave) * 0.42 * reach
    b = end - arrive / np.linalg.norm(arrive) * 0.42 * reach
    t = np.linspace(0, 1, max(4, round(reach / STATION_M)) + 1)[1:-1, None]
    curve: DoubleArray = (1 - t) ** 3 * start + 3 * (1 - t) ** 2 * t * a + 3 * (1 - t) * t**2 * b + t**3 * end
    return curve
