"""Symmetries of arrays against the same motions of lanes."""

import numpy as np
import pytest

from foldmap.errors import ConfigError
from foldmap.geometry import SE2
from foldmap.street.field.lane_field import FieldSpec, draw
from foldmap.street.field.symmetry import check_turns, mirror_field, turn_field, turn_image
from foldmap.street.source import LaneGraph


def _graph() -> LaneGraph:
    lines = [[[-12.0, 3.0], [10.0, 7.0]], [[2.0, -15.0], [9.0, 12.0]]]
    return LaneGraph.from_polylines([np.array(line) for line in lines])


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_turning_a_field_is_turning_the_ego(quarters: int) -> None:
    turned = draw(_graph().moved(SE2(0, 0, quarters * np.pi / 2)), FieldSpec())
    assert np.abs(turn_field(draw(_graph(), FieldSpec()), quarters) - turned).max() < 1e-4


def test_mirroring_a_field_is_mirroring_lanes_and_driving_them_the_other_way() -> None:
    graph = _graph()
    other = LaneGraph(graph.vertices_m * [1, -1], np.ascontiguousarray(graph.edges[:, ::-1]))
    mirrored = mirror_field(draw(graph, FieldSpec()))
    assert np.abs(mirrored - draw(other, FieldSpec())).max() < 1e-4


def test_what_is_ahead_is_on_the_left_after_a_quarter() -> None:
    image = np.zeros((1, 3, 16, 16))
    image[..., 0, 8] = 1  # ahead
    assert turn_image(image, 1)[0, 0, :, 0].any()


def test_turns_need_whole_channels() -> None:
    check_turns(8, 4)
    with pytest.raises(ConfigError):
        check_turns(6, 4)
    with pytest.raises(ConfigError):
        check_turns(8, 3)
