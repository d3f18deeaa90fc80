"""Lane fields against their definition, summed plainly over a finely cut lane."""

import math
from dataclasses import asdict

import numpy as np
import pytest

from foldmap.errors import ConfigError
from foldmap.geometry import SE2
from foldmap.street.field.lane_field import FieldSpec, draw, draw_all, strokes
from foldmap.street.graph.chains import resample
from foldmap.street.graph.window import Window, cut
from foldmap.street.source import LaneGraph


def _plain(graph: LaneGraph, spec: FieldSpec) -> np.ndarray:
    """The definition: Gaussian density of lane metres at each cell's centre, shared between two headings."""
    field = np.zeros(spec.shape)
    headings, rows, columns = spec.shape
    for (ax, ay), (bx, by) in graph.vertices_m[graph.edges]:
        length = math.hypot(bx - ax, by - ay)
        turn = (math.atan2(by - ay, bx - ax) / (2 * math.pi) * headings) % headings
        for part in (np.arange(50) + 0.5) / 50:
            x, y = ax + part * (bx - ax), ay + part * (by - ay)
            for r in range(rows):
                for c in range(columns):
                    dx = spec.window.ahead_m - (r + 0.5) * spec.cell_m - x
                    dy = spec.window.left_m - (c + 0.5) * spec.cell_m - y
                    ink = length / 50 * math.exp(-(dx * dx + dy * dy) / (2 * spec.sigma_m**2))
                    ink *= spec.gain_m / (2 * math.pi * spec.sigma_m**2)
                    field[int(turn) % headings, r, c] += ink * (1 - turn % 1)
                    field[(int(turn) + 1) % headings, r, c] += ink * (turn % 1)
    return np.minimum(field, 1)


def _bend() -> LaneGraph:
    angle = np.linspace(0, 1.2, 12)
    return LaneGraph.from_polylines([np.stack([6 * np.sin(angle) - 3, 6 * np.cos(angle) - 4], 1)])


def test_a_field_is_what_its_definition_says() -> None:
    spec = FieldSpec(Window(-6, 6, -5, 5))
    assert np.abs(draw(_bend(), spec) - _plain(_bend(), spec)).max() < 0.02


def test_the_middle_of_a_straight_lane_is_the_gain_over_the_width_of_the_pen() -> None:
    spec = FieldSpec(sigma_m=1.5, gain_m=1.0)
    lane = LaneGraph.from_polylines([np.array([[-30.0, 0.5], [30.0, 0.5]])])
    field = draw(lane, spec)
    assert field[0, 20, 19] == pytest.approx(1 / (math.sqrt(2 * math.pi) * 1.5), rel=0.01)
    assert field[1:].max() == 0


def test_the_density_of_edges_does_not_matter() -> None:
    lane = LaneGraph.from_polylines([np.array([[-15.0, -3.0], [15.0, 9.0]])])
    assert np.abs(draw(lane, FieldSpec()) - draw(resample(lane, 0.3), FieldSpec())).max() < 0.03


def test_strokes_keep_every_metre() -> None:
    graph = _bend()
    assert strokes(graph)[:, 3].sum() == pytest.approx(graph.length_m)
    assert strokes(LaneGraph.empty()).shape == (0, 4)


def test_many_fields_are_those_of_each() -> None:
    graphs = [_bend(), LaneGraph.empty(), cut(_bend(), SE2(1, 1, 1))]
    assert np.array_equal(draw_all(graphs, FieldSpec()), np.stack([draw(graph, FieldSpec()) for graph in graphs]))


def test_parameters_round_trip_and_are_checked() -> None:
    spec = FieldSpec(Window(0, 50, -25, 25), 0.5, 16, 0.8, 1.5)
    assert FieldSpec.from_dict(asdict(spec)) == spec
    for bad in ({"cell_m": 0.0}, {"headings": 1}, {"sigma_m": math.nan}, {"cell_m": 7.0}, {"cell_m": 0.01}):
        with pytest.raises(ConfigError):
            FieldSpec(**bad)
    with pytest.raises(ConfigError, match="not the parameters"):
        FieldSpec.from_dict({"sides": 3, "window": {}})
