"""The town as a source of street maps, ortho images and frames: they agree with the town's own ground and lanes."""

import networkx as nx
import numpy as np
import pytest

from foldmap.errors import ConfigError
from foldmap.geometry import SE2, MetricGrid
from foldmap.street.graph.window import Window
from foldmap.street.images.ground import GroundView
from foldmap.street.images.ground_image import window_points_m
from foldmap.street.images.observation import RingFrame
from foldmap.street.images.rig import surround_ring
from foldmap.street.paper.pairs import AerialPairs
from foldmap.street.source import LANE, LINK
from foldmap.town import TownWorld, lane_graph
from foldmap.town.street.map import town_street_map
from foldmap.town.street.ortho import town_ortho, town_tile
from foldmap.town.street.pairs import TownRingPairs

WORLD = TownWorld(7)
BOX = (-60.0, -60.0, 60.0, 60.0)
GRID = MetricGrid(-40.0, 40.0, 0.25, 320, 320)


def test_the_street_map_has_the_lanes_and_successors_of_the_town() -> None:
    truth = lane_graph(WORLD.plan, *BOX)
    graph = town_street_map(WORLD, *BOX).graph
    length = sum(np.hypot(*np.diff(lane.points_m, axis=0).T).sum() for lane in truth.lanes.values())
    assert graph.take_edges(graph.kind == LANE).length_m == pytest.approx(length)
    net = nx.DiGraph(graph.edges.tolist())
    ends = {}
    for key, lane in truth.lanes.items():
        ends[key] = [int(np.hypot(*(graph.vertices_m - lane.points_m[at]).T).argmin()) for at in (0, -1)]
        assert nx.shortest_path_length(net, *ends[key]) == len(lane.points_m) - 1
    links = nx.DiGraph(graph.edges[graph.kind == LINK].tolist())
    found = {(a, b) for a in truth.lanes for b in truth.lanes if a != b and _linked(links, ends[a][1], ends[b][0])}
    assert found == {(a, b) for a, after in truth.successors.items() for b, _ in after}
    assert {graph.lanes[k].width_m for k in np.unique(graph.lane[graph.lane >= 0])} <= {
        WORLD.plan.line_style(axis, j if axis == 0 else i).lane_width_m for (i, j, axis), _, _ in truth.lanes
    }


def _linked(links: nx.DiGraph, a: int, b: int) -> bool:
    return a in links and b in links and nx.has_path(links, a, b)


def test_nothing_where_the_town_has_no_street() -> None:
    assert len(TownWorld(7).streets_near(0, 0, 1, 1)) > 0
    west = next(k for k in range(200) if not WORLD.streets_near(k * 7.0, 33.0, k * 7.0 + 0.1, 33.1))
    assert len(town_street_map(WORLD, west * 7.0, 33.0, west * 7.0 + 0.1, 33.1).graph) == 0


def test_the_ortho_image_shows_the_paint_of_the_town() -> None:
    image = town_ortho(WORLD, GRID, day_seed=3).image.astype(float).mean(-1)
    ground = WORLD.ground(GRID)
    road = (ground.kerb_m < -0.5) & (ground.kerb_m > -20)

    def likeness(shift: int) -> float:
        truth = np.roll(ground.reflectance, shift, axis=1)
        ratio = np.log(np.maximum(image, 4)) - _blurred(np.log(np.maximum(image, 4)))
        paint = np.log(truth) - _blurred(np.log(truth))
        return float(np.corrcoef(ratio[road], paint[road])[0, 1])

    assert likeness(0) > 0.4
    assert max(likeness(4), likeness(-4)) < 0.5 * likeness(0)


def _blurred(values: np.ndarray) -> np.ndarray:
    from scipy.ndimage import uniform_filter

    return uniform_filter(values, 9)


def test_another_day_is_another_picture_of_the_same_streets() -> None:
    one, again, other = (town_ortho(WORLD, GRID, day_seed=day).image for day in (3, 3, 4))
    assert one.tobytes() == again.tobytes()
    assert np.abs(one.astype(float) - other).mean() > 5


def test_lanes_of_a_tile_lie_on_its_carriageway() -> None:
    tile = town_tile(WORLD, -50.0, -50.0, 100.0, 0.25, 5)
    pairs = AerialPairs([tile], 10.0, Window(-15, 15, -15, 15), 60)
    assert len(pairs) > 5
    for pair in pairs[::4]:
        inside = pair.graph.vertices_m[np.abs(pair.graph.vertices_m).max(1) < 14.9]
        world = pair.world_SE2_ego.apply(inside)
        lattice = [WORLD.ground_along(SE2(x, y, 0.0), 0.1, 1, 1, shade=False).kerb_m[0, 0] for x, y in world[::5]]
        assert np.mean(np.array(lattice) < 0) > 0.95  # links may cut a corner


def test_rendered_frames_show_the_ground_where_the_graph_says() -> None:
    ring = surround_ring((0.0, 180.0), (240, 160), pitch_deg=12)
    pairs = TownRingPairs(WORLD, ring, 20.0, reach_m=60.0)
    pair = pairs[2]
    again = pairs[2].observation
    assert isinstance(pair.observation, RingFrame)
    assert isinstance(again, RingFrame)
    assert all(np.array_equal(a, b) for a, b in zip(pair.observation.images, again.images, strict=True))
    window = Window(5, 13, -3, 3)
    view, seen = GroundView(pair.observation.ring, window, 64)(pair.observation)
    points = window_points_m(window, 64)
    world = pair.world_SE2_ego.apply(points.reshape(-1, 2))
    near = WORLD.neighbourhood(world.min(0) - 1, world.max(0) + 1)
    assert near is not None
    truth = WORLD.reflectance_at(world, near, 0.12).reshape(points.shape[:2])
    assert seen.mean() > 0.95
    grey = view.astype(float).mean(-1)
    assert np.corrcoef(grey[seen], truth[seen])[0, 1] > 0.6


def test_errors_name_the_cure() -> None:
    with pytest.raises(ConfigError, match="finer"):
        town_ortho(WORLD, MetricGrid(0.0, 40.0, 1.0, 40, 40))
    with pytest.raises(ConfigError, match="positive"):
        town_tile(WORLD, side_m=0.0)
    with pytest.raises(ConfigError, match="pinhole"):
        TownRingPairs(WORLD, surround_ring(distortion=(-0.1,)))
