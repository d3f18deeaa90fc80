"""Lane graphs name the first thing that no graph has; windows hold what shapely says lies in them."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from foldmap.errors import MapInputError
from foldmap.geometry import SE2
from foldmap.street.graph.chains import resample
from foldmap.street.graph.window import Window, cut
from foldmap.street.places import windows
from foldmap.street.source import LaneGraph

SQUARE = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]


@pytest.mark.parametrize(
    ("vertices", "edges", "said"),
    [
        ([*SQUARE, [np.inf, 0.0], [np.nan, 0.0]], [[0, 1]], "vertex 3 of the lane graph is not finite"),
        ([*SQUARE, [2e9, 0.0], [0.0, np.nan]], [[0, 1]], "vertex 4 of the lane graph is not finite"),
        ([*SQUARE, [0.0, -2e9]], [[0, 1]], r"vertex 3 .* at \[0.0, -2000000000.0\]: no place on Earth"),
        (SQUARE, [[0, 1], [1, 3], [9, 9]], r"edge 1 of the lane graph is \[1, 3\], there are 3 vertices"),
        (SQUARE, [[0, 1], [-1, 1]], r"edge 1 of the lane graph is \[-1, 1\], there are 3 vertices"),
        (SQUARE, [[0, 1], [2, 2], [1, 1]], "edge 1 of the lane graph is a self-loop at vertex 2"),
        (SQUARE, [[1, 2], [0, 1], [1, 0], [1, 2]], "edge 3 of the lane graph is there twice"),
    ],
)
def test_the_first_offender_is_named(vertices: list[list[float]], edges: list[list[int]], said: str) -> None:
    with pytest.raises(MapInputError, match=said):
        LaneGraph(np.array(vertices), np.array(edges))


def crossing_lines(seed: int) -> LaneGraph:
    """Lines about the origin in all directions; some run along the axes, as the rims of windows do."""
    rng = np.random.default_rng(seed)
    lines = [rng.uniform(-40, 40, (2, 2)) for _ in range(60)]
    lines += [np.array([[x, -30.0], [x, 30.0]]) for x in (-20.0, 0.0, 20.0)]
    lines += [np.array([[30.0, y], [-30.0, y]]) for y in (-20.0, 7.0)]
    return LaneGraph.from_polylines(lines)


def lines_of(graph: LaneGraph) -> list[tuple[float, ...]]:
    """Both ends of each edge, in millimetres."""
    return sorted(tuple(np.round(ends.ravel(), 3) + 0.0) for ends in graph.vertices_m[graph.edges])


@pytest.mark.parametrize("seed", range(3))
def test_a_window_holds_what_lies_in_it(seed: int) -> None:
    graph, window, pose = crossing_lines(seed), Window(-12.0, 17.0, -20.0, 9.0), SE2(3.0, -2.0, 0.5 * seed)
    local = pose.inverse().apply(graph.vertices_m)
    box = shapely.box(window.back_m, window.right_m, window.ahead_m, window.left_m)
    clipped = [shapely.intersection(shapely.linestrings(local[edge]), box) for edge in graph.edges]
    expected = [
        tuple(np.round(np.ravel(one.coords), 3) + 0.0)
        for one in clipped
        if one.geom_type == "LineString" and one.length > 1e-6
    ]
    assert 10 < len(expected) < len(graph.edges)
    assert lines_of(cut(graph, pose, window)) == sorted(expected)
    (one,) = windows(graph, [pose], window, lanes=True)
    whole = resample(cut(graph, pose, window), 1.0)
    assert one.length_m == pytest.approx(sum(line.length for line in clipped), abs=1e-6)
    np.testing.assert_array_equal(one.vertices_m, whole.vertices_m)
    np.testing.assert_array_equal(one.edges, whole.edges)


def test_lanes_of_one_piece_between_the_same_places_stay_apart() -> None:
    """Three chains of less than a metre between two forks: an edge each would be one edge three times."""
    vertices = [[0, 0], [0.6, 0], [0.3, 0.1], [0.3, -0.1], [-5, 0], [5, 0]]
    edges = [[4, 0], [0, 1], [0, 2], [2, 1], [0, 3], [3, 1], [1, 5]]
    found = resample(LaneGraph(np.array(vertices, np.float64), np.array(edges)), 1.0)
    assert (found.out_degree.max(), found.in_degree.max()) == (3, 3)
    assert found.length_m == pytest.approx(10.0 + 4 * np.hypot(0.3, 0.1))
