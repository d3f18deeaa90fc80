"""The town itself: the same whatever was asked before, seamless, bounded, and painted where its tables say."""

import numpy as np
import pytest

from foldmap.errors import ConfigError
from foldmap.geometry import MetricGrid
from foldmap.town import TownWorld, lane_graph
from foldmap.town.marks import METAL, RECT, street_marks
from foldmap.town.plan import Street
from foldmap.town.render import _coverage

TILE = MetricGrid(10.0, 40.0, 0.05, 200, 200)


def test_same_seed_same_bytes_whatever_was_asked_before() -> None:
    fresh, used = TownWorld(3), TownWorld(3)
    for west in (500.0, -200.0, 0.0):
        used.ground(MetricGrid(west, 80.0, 0.2, 100, 100))
    assert fresh.ground(TILE).reflectance.tobytes() == used.ground(TILE).reflectance.tobytes()
    assert TownWorld(4).ground(TILE).reflectance.tobytes() != used.ground(TILE).reflectance.tobytes()


def test_tiles_join_without_a_seam() -> None:
    world = TownWorld(3)
    whole = world.ground(TILE)
    for row, col, height, width in ((0, 0, 200, 83), (0, 83, 200, 117), (77, 31, 64, 150)):
        part = TownWorld(3).ground(TILE.window(row, col, height, width))
        inside = np.s_[row : row + height, col : col + width]
        np.testing.assert_array_equal(part.reflectance, whole.reflectance[inside])
        np.testing.assert_array_equal(part.obstacle_m, whole.obstacle_m[inside])


def test_reflectance_and_occupancy_are_bounded() -> None:
    world = TownWorld(11)
    grid = MetricGrid(-60.0, 60.0, 0.5, 240, 240)
    ground = world.ground(grid)
    reflectance, occupied = ground.reflectance, ground.obstacle_m > 0
    assert reflectance.min() > 0.0
    assert reflectance.max() <= 1.0
    assert 0.2 < occupied.mean() < 0.95
    road = ground.kerb_m < 0
    assert 0.05 < road.mean() < 0.6
    assert not occupied[road].any()


def test_no_positive_extent_is_refused() -> None:
    with pytest.raises(ConfigError, match="extent"):
        TownWorld(0, extent_m=0.0)


def _tram_street(world: TownWorld) -> Street:
    for i in range(-8, 8):
        for j in range(-8, 8):
            for axis in (0, 1):
                street = world.plan.street((i, j, axis))
                if street is not None and street.style.tram:
                    return street
    raise AssertionError("no tram in this town")


def test_rails_lie_where_the_street_says_to_a_few_millimetres() -> None:
    world = TownWorld(3)
    street = _tram_street(world)
    marks = street_marks(street)
    long = (marks[:, 0] == RECT) & (marks[:, 11] == METAL) & (marks[:, 2] - marks[:, 1] > 0.9 * street.length_m)
    rail = marks[long & np.isclose(marks[:, 4] - marks[:, 3], 0.07)][0]
    arc = np.linspace(0.3, 0.7, 60) * street.length_m
    low, high = street.points_m.min(0) - 10, street.points_m.max(0) + 10
    near = world.neighbourhood(low, high)
    assert near is not None

    def value(lateral: float) -> np.ndarray:
        return world.reflectance_at(street.offset_path(arc, np.full(len(arc), lateral)), near, footprint_m=1e-3)

    inside = [np.isclose(value(d), rail[10], atol=1e-6).mean() for d in (rail[3] + 0.006, rail[4] - 0.006)]
    outside = [np.isclose(value(d), rail[10], atol=1e-6).mean() for d in (rail[3] - 0.006, rail[4] + 0.006)]
    assert min(inside) > 0.8  # later marks may cover the rest
    assert max(outside) < 0.2


@pytest.mark.parametrize("stripes", [False, True])
def test_coverage_equals_the_area_counted_point_by_point(stripes: bool) -> None:
    mark = np.array([0, 1.0, 3.03, -0.07, 0.06, 0.5 if stripes else 0.0, 0.2, 1.0, 0.0, 0.1, 0.6, 0.0])
    footprint = 0.05
    rng = np.random.default_rng(0)
    fine = (np.arange(200) + 0.5) / 200 * footprint - 0.5 * footprint
    for _ in range(60):
        s, d = rng.uniform(0.9, 3.1), rng.uniform(-0.12, 0.12)
        on = (s + fine > mark[1]) & (s + fine < mark[2])
        if stripes:
            on &= np.mod(s + fine + mark[9], mark[5]) < mark[6]
        across = ((d + fine > mark[3]) & (d + fine < mark[4])).mean()
        expected = on.mean() * across
        # a stripe and the box's end may share one pixel, where the product of shares is only close
        assert _coverage(mark, s, d, footprint) == pytest.approx(expected, abs=0.011 if not stripes else 0.12)


def test_lanes_follow_one_another_end_to_start() -> None:
    graph = lane_graph(TownWorld(5).plan, -150, -150, 150, 150)
    links = [(graph.lanes[key], graph.lanes[after], curve) for key, n in graph.successors.items() for after, curve in n]
    assert len(graph.lanes) > 20
    assert len(links) > 20
    for lane, after, curve in links:
        path = np.concatenate([lane.points_m[-2:], curve, after.points_m[:2]])
        step = np.diff(path, axis=0)
        assert np.linalg.norm(step, axis=1).max() < 4.0
        turn = np.diff(np.unwrap(np.arctan2(step[:, 1], step[:, 0])))
        assert np.abs(turn).max() < 1.2
