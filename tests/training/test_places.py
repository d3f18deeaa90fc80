"""Where models were trained: kept in their files, and refused where the same places are asked about."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from foldmap.api.training.trained_places import drive_place, map_places, refuse_trained_on, scene_place
from foldmap.errors import ConfigError, ModelError
from foldmap.geometry import SE3
from foldmap.street.defaults import weights_folder
from foldmap.street.source import LaneGraph, StreetMap
from foldmap.training.model_bytes import model_to_bytes, read_info
from foldmap.training.places import MOST_ITEMS, Place, place_of, places_of, recorded, refuse_overlap, town_place

PAYLOAD = model_to_bytes({"a": np.arange(6, dtype=np.float32)}, {"format": 1, "kind": "any"})


def drive(first: int, last: int, step_m: float = 1.0) -> list[SE3]:
    poses = []
    for number in range(first, last):
        pose = np.eye(4)
        pose[:3, 3] = step_m * number, math.sin(number), 0.0
        poses.append(SE3(pose))
    return poses


def test_a_model_keeps_its_places_and_its_numbers() -> None:
    places = [town_place(7), place_of("drive", "street", [bytes([k]) for k in range(200)], (8.0, 49.0, 8.1, 49.1))]
    told = recorded(PAYLOAD, places)
    assert told == recorded(PAYLOAD, places[::-1])
    assert places_of(PAYLOAD) == []
    found = {place.kind: place for place in places_of(told)}
    assert found["town"] == places[0]
    assert found["drive"].items == places[1].items[:MOST_ITEMS]
    assert found["drive"].box_deg == (8.0, 49.0, 8.1, 49.1)
    assert read_info(told, "")["kind"] == "any"
    assert told[-24:] == PAYLOAD[-24:]
    assert len(places_of(recorded(told, [town_place(8)]))) == 3  # what it began with is not forgotten


@pytest.mark.parametrize(
    ("one", "other", "meet"),
    [
        (town_place(3), town_place(3), True),
        (town_place(3), town_place(4), False),
        (Place("a", "x", ("01", "02")), Place("b", "y", ("02",)), True),
        (Place("a", "x", ("01",)), Place("a", "x", ("02",)), False),  # a name alone says nothing: frames restart at 0
        (Place("a", "x", (), (0, 0, 2, 2)), Place("b", "y", (), (1, 1, 3, 3)), True),
        (Place("a", "x", (), (0, 0, 2, 2)), Place("b", "y", (), (2, 0, 3, 3)), False),
        (Place("a", "x", (), (0, 0, 2, 2)), Place("b", "y"), False),
    ],
)
def test_places_meet(one: Place, other: Place, meet: bool) -> None:
    assert one.meets(other) == other.meets(one) == meet


def test_a_part_of_a_drive_meets_the_whole_and_another_drive_does_not() -> None:
    whole = drive_place("street", drive(0, 400)).sketched()
    assert whole.meets(drive_place("its end", drive(350, 400)))
    assert not whole.meets(drive_place("elsewhere", drive(0, 400, 1.01)))


def test_maps_and_scenes_are_known_by_what_is_there() -> None:
    def street(name: str, east_m: float) -> StreetMap:
        line = np.array([[east_m, 0.0], [east_m + 5.0, 1.0], [east_m + 9.0, 2.0]])
        graph = LaneGraph(line, np.array([[0, 1], [1, 2]], np.int64))
        return StreetMap(name, graph, "EPSG:32632" if east_m else None)

    here, renamed, away = map_places([street("a", 0.0), street("b", 0.0), street("c", 400_000.0)])
    assert here.meets(renamed)
    assert not here.meets(away)
    assert away.box_deg is not None
    assert map_places([street("town-901-0-0-day-3", 0.0)]) == [town_place(901)]
    poses = np.stack([pose.matrix for pose in drive(0, 3)])
    names = ["1.jpg", "2.jpg", "3.jpg"]
    assert scene_place("s", names, poses).meets(scene_place("t", names[1:], poses[1:]))
    assert not scene_place("s", names, poses).meets(scene_place("t", names, poses + 0.01))


def test_a_model_is_refused_where_it_was_trained(tmp_path: Path) -> None:
    path = tmp_path / "own.safetensors"
    path.write_bytes(recorded(PAYLOAD, [town_place(3)]))
    refuse_trained_on(path, [town_place(4)])
    with pytest.raises(ConfigError, match=r"own.safetensors was trained on town 3, and town 3 is asked .*hold other"):
        refuse_trained_on(path, [town_place(4), town_place(3)])
    with pytest.raises(ConfigError, match="street-field-1 was trained on town 104"):
        refuse_trained_on(weights_folder() / "street-field-1.safetensors", [town_place(104)], weights_folder())
    refuse_overlap("m", [], [town_place(3)])


@pytest.mark.parametrize("told", [5, ["x"], [{"name": "a"}], [{"kind": "a", "name": "b", "box_deg": [1, 2]}]])
def test_damaged_places_are_refused(told: object) -> None:
    payload = model_to_bytes({"a": np.zeros(1, np.float32)}, {"format": 1, "places": json.loads(json.dumps(told))})
    with pytest.raises(ModelError, match="training places"):
        places_of(payload)
