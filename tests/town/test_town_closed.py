"""A closed street: no lanes, no vehicles, other ground; and all around it as before."""

import numpy as np
from scipy.spatial import KDTree

from foldmap.geometry import MetricGrid
from foldmap.town import TownWorld
from foldmap.town.lanes import lane_graph
from foldmap.town.traffic import moving_boxes, parked_boxes

KEY, BOX_M = (0, -1, 1), (-150.0, -150.0, 150.0, 150.0)


def test_a_closed_street_has_no_lanes_and_no_vehicles_and_others_keep_theirs() -> None:
    open_town, closed_town = TownWorld(0), TownWorld(0, closed=[KEY])
    before, after = (lane_graph(world.plan, *BOX_M) for world in (open_town, closed_town))
    gone = {key for key in before.lanes if key[0] == KEY}
    assert gone
    assert set(after.lanes) == set(before.lanes) - gone
    for key, lane in after.lanes.items():
        np.testing.assert_array_equal(lane.points_m, before.lanes[key].points_m)
        assert {n for n, _ in after.successors[key]} == {n for n, _ in before.successors[key]} - gone
    every = [street for street in closed_town.streets_near(*BOX_M) if street.key != KEY]
    all_streets = closed_town.streets_near(*BOX_M)
    np.testing.assert_array_equal(parked_boxes(all_streets, 3), parked_boxes(every, 3))
    np.testing.assert_array_equal(moving_boxes(all_streets, 3, 5.0), moving_boxes(every, 3, 5.0))


def test_the_ground_changes_in_the_closed_street_alone() -> None:
    street = TownWorld(0).plan.street(KEY)
    assert street is not None
    middle = street.points_m[len(street.points_m) // 2]
    grid = MetricGrid(float(middle[0]) - 30.0, float(middle[1]) + 30.0, 0.2, 300, 300)
    before, after = (world.ground(grid) for world in (TownWorld(0), TownWorld(0, closed=[KEY])))
    np.testing.assert_array_equal(before.kerb_m, after.kerb_m)
    np.testing.assert_array_equal(before.obstacle_m, after.obstacle_m)
    row, col = np.nonzero(np.abs(before.reflectance - after.reflectance) > 1e-6)
    changed = grid.world_of(np.stack([row, col], axis=1).astype(np.float64))
    away_m = KDTree(street.points_m).query(changed)[0]
    wide_m = street.base_half_m + max(street.extra_m)
    assert away_m.max() < wide_m + 0.5
    carriageway = (before.kerb_m < -0.5) & (before.obstacle_m == 0)
    seen = grid.world_of(np.argwhere(carriageway).astype(np.float64))
    inner = KDTree(street.points_m).query(seen)[0] < street.base_half_m - 0.5
    assert np.isin(np.argwhere(carriageway)[inner] @ [1000, 1], np.stack([row, col], 1) @ [1000, 1]).mean() > 0.99
    shown = after.reflectance[carriageway].reshape(-1)[inner]
    assert 0.2 < shown.mean() < 0.6  # slabs
    assert shown.std() < before.reflectance[carriageway].reshape(-1)[inner].std()  # and no paint on them
