"""The town's lanes as a street map: what the street layer folds and learns from."""

import numpy as np

from foldmap.street.source import LANE, LINK, LaneAttributes, LaneGraph, StreetMap
from foldmap.town.lanes import LaneKey, lane_graph
from foldmap.town.world import TownWorld
from foldmap.types import DoubleArray, IntArray


def town_street_map(
    world: TownWorld, west_m: float, south_m: float, east_m: float, north_m: float, name: str = ""
) -> StreetMap:
    """All lanes whose streets reach into a box, joined by turning links; vertices are about 1 m apart."""
    lanes = lane_graph(world.plan, west_m, south_m, east_m, north_m)
    points: list[DoubleArray] = []
    edges: list[IntArray] = []
    kinds: list[int] = []
    owners: list[int] = []
    first: dict[LaneKey, int] = {}
    last: dict[LaneKey, int] = {}
    attributes = []
    count = 0

    def chain(inner: DoubleArray, start: int | None, end: int | None, kind: int, owner: int) -> None:
        """Add points and the edges through them, from a vertex and to a vertex that are there."""
        nonlocal count
        at = count + np.arange(len(inner))
        whole = np.concatenate([[] if start is None else [start], at, [] if end is None else [end]]).astype(np.int64)
        points.append(inner)
        edges.append(np.stack([whole[:-1], whole[1:]], 1))
        kinds.extend([kind] * (len(whole) - 1))
        owners.extend([owner] * (len(whole) - 1))
        count += len(inner)

    for number, (key, lane) in enumerate(lanes.lanes.items()):
        (i, j, axis), direction, index = key
        width = world.plan.line_style(axis, j if axis == 0 else i).lane_width_m
        attributes.append(LaneAttributes(f"{i},{j},{axis},{direction},{index}", width_m=width, lane_type="VEHICLE"))
        first[key], last[key] = count, count + len(lane.points_m) - 1
        chain(lane.points_m, None, None, LANE, number)
    for key, followers in lanes.successors.items():
        for after, curve in followers:
            chain(curve, last[key], first[after], LINK, -1)
    named = name or f"town-{world.seed}-{west_m:g}-{south_m:g}"
    if not points:
        return StreetMap(named, LaneGraph.empty())
    graph = LaneGraph(
        np.concatenate(points),
        np.concatenate(edges),
        np.array(kinds, np.uint8),
        np.array(owners, np.int64),
        tuple(attributes),
    )
    return StreetMap(named, graph)
