"""The picture of a belief on a street map."""

import io

import numpy as np
import PIL.Image
import pytest

from foldmap.errors import InputError
from foldmap.geometry import SE2
from foldmap.localize.estimate import Status
from foldmap.localize.street.estimate import StreetDiagnostics, StreetEstimate
from foldmap.localize.street.lane_places import lane_places
from foldmap.report.street_map import street_map
from foldmap.street.source import LaneGraph


def test_heat_shows_where_the_belief_is() -> None:
    lines = [np.array([[0.0, 0], [200, 0]]), np.array([[0.0, 100], [200, 100]])]
    places = lane_places(LaneGraph.from_polylines(lines))
    images = []
    for y_m in (0.0, 100.0):
        belief = (places.y_m == y_m) / (places.y_m == y_m).sum()
        png = street_map(places, belief)
        assert png == street_map(places, belief)
        image = np.asarray(PIL.Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
        images.append(image[:, : int(image.shape[1] * 0.8)])
    # dark where the heat is, of the two lanes the one that has it; rows count from the top, so north is first
    dark = [(image.max(2) < 60).sum(1) for image in images]
    assert np.argmax(dark[1]) < np.argmax(dark[0])


def test_answers_and_bad_beliefs() -> None:
    places = lane_places(LaneGraph.from_polylines([np.array([[0.0, 0], [100, 20]])]))
    belief = np.full(len(places), 1 / len(places))
    pose = SE2(50.0, 10.0, 0.2)
    sure = StreetEstimate(Status.OK, pose, np.diag([25.0, 4.0, 0.01]), StreetDiagnostics(), pose, belief)
    unsure = StreetEstimate(Status.AMBIGUOUS, None, None, StreetDiagnostics(), pose, belief)
    pictures = [street_map(places, belief, [pose], answer, "a drive") for answer in (sure, unsure, None)]
    assert len(set(pictures)) == 3
    for bad in (belief[:-1], belief * np.nan):
        with pytest.raises(InputError, match="belief of shape"):
            street_map(places, bad)
