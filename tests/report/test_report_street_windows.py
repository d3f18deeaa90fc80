"""Pictures of windows, changes and errors along a drive: what they show is read back from their pixels."""

import io

import numpy as np
import pytest
from PIL import Image

from foldmap.errors import InputError
from foldmap.report.street_windows import WindowRow, change_map, error_line, window_rows
from foldmap.street.changes.detect import ADDED, MOVED, Change
from foldmap.street.graph.window import AROUND
from foldmap.street.source import LaneGraph

AHEAD = LaneGraph.from_polylines([np.array([[-15.0, 10.0], [15.0, 10.0]])])
"""A lane on the left side of the ego, in its direction."""


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def coloured(image: np.ndarray) -> np.ndarray:
    return np.ptp(image, axis=2) > 90


def test_a_lane_on_the_left_is_drawn_on_the_left_and_upright() -> None:
    grey = np.full((160, 160, 3), 128, np.uint8)
    row = WindowRow("place", [("seen", grey)], [("truth", AHEAD)])
    image = pixels(window_rows([row], AROUND))
    empty = pixels(window_rows([WindowRow("place", [("seen", grey)], [("truth", LaneGraph.empty())])], AROUND))
    ys, xs = np.nonzero(coloured(image) & ~coloured(empty))
    assert np.ptp(ys) > 4 * np.ptp(xs)  # ahead is up
    ego = np.nonzero((empty < 60).all(2)[:, image.shape[1] // 2 :])  # the triangle, the titles, the frame
    left, right = ego[1].min() + image.shape[1] // 2, ego[1].max() + image.shape[1] // 2
    assert xs.mean() < 0.5 * (left + right)
    assert window_rows([row], AROUND) == window_rows([row], AROUND)


def test_rows_of_different_lengths_are_refused() -> None:
    row = WindowRow("place", [], [("truth", AHEAD)])
    for rows in ([], [row, WindowRow("place", [], [])]):
        with pytest.raises(InputError, match="rows of windows"):
            window_rows(rows, AROUND)


def test_changes_are_drawn_where_they_are() -> None:
    nothing, edges = np.zeros((0, 2)), np.zeros(0, np.int64)
    ground = np.full((100, 100, 3), 40, np.uint8)
    line = np.array([[5.0, 20.0], [20.0, 20.0]])  # north of the middle
    added = Change(ADDED, line, nothing, edges, 0.8, 3)
    moved = Change(MOVED, line - [0, 15.0], line - [0, 18.0], edges, 0.8, 3)
    bare = pixels(change_map(ground, 0.0, 25.0, 0.25, [], LaneGraph.empty()))
    one = pixels(change_map(ground, 0.0, 25.0, 0.25, [added], LaneGraph.empty()))
    both = pixels(change_map(ground, 0.0, 25.0, 0.25, [added, moved], LaneGraph.empty()))
    assert not coloured(bare).any()
    body = (bare < 60).all(2)  # the ground
    ys, _ = np.nonzero(coloured(one) & body)
    yt, _ = np.nonzero(coloured(both) & ~coloured(one) & body)
    middle = np.nonzero(body)[0].mean()
    assert np.median(ys) < middle < np.median(yt)


def test_errors_along_a_drive() -> None:
    distance = np.arange(4.0)
    svg = error_line(distance, {"filter": np.array([9.0, 0.0, 1.0, np.inf])}, {"filter": np.array([False, True] * 2)})
    assert b"<svg" in svg[:600]
    assert svg == error_line(
        distance, {"filter": np.array([9.0, 0.0, 1.0, np.inf])}, {"filter": np.array([False, True] * 2)}
    )
