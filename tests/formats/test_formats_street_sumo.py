"""SUMO networks against small ones made by hand, and against the counts of real ones."""

from __future__ import annotations

import gzip
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import networkx
import numpy as np
import pytest

from foldmap.errors import MapInputError
from foldmap.formats.street.sumo import read_sumo
from foldmap.street.source import LINK

NET = """<?xml version="1.0" encoding="UTF-8"?>
<net version="1.16">
    <location netOffset="-1000.00,-2000.00" projParameter="{projection}"/>
    <edge id=":J_0" function="internal">
        <lane id=":J_0_0" index="0" speed="5" length="10" shape="50,0 55,0 60,0"/>
    </edge>
    <edge id=":J_1" function="internal">
        <lane id=":J_1_0" index="0" disallow="pedestrian tram" speed="5" shape="50,0 54,1,7"/>
    </edge>
    <edge id=":J_2" function="internal"><lane id=":J_2_0" index="0" speed="5" shape="54,1 55,10"/></edge>
    <edge id=":J_w0" function="walkingarea"><lane id=":J_w0_0" index="0" allow="pedestrian" shape="1,1 2,2"/></edge>
    <edge id="in" from="A" to="J" type="highway.primary">
        <lane id="in_0" index="0" allow="pedestrian" speed="3" shape="0,-3 50,-3"/>
        <lane id="in_1" index="1" disallow="tram" speed="13.89" width="3.2" shape="0,0 50,0"/>
    </edge>
    <edge id="out"><lane id="out_0" index="0" speed="13.89" shape="60,0 100,0"/></edge>
    <edge id="up"><lane id="up_0" index="0" allow="bus passenger" speed="8" shape="55,10 55,60"/></edge>
    <edge id="far"><lane id="far_0" index="0" speed="8" shape="105,0 120,0"/></edge>
    <connection from="in" to="out" fromLane="1" toLane="0" via=":J_0_0" dir="s"/>
    <connection from="in" to="up" fromLane="1" toLane="0" via=":J_1_0" dir="l"/>
    <connection from=":J_0" to="out" fromLane="0" toLane="0" dir="s"/>
    <connection from=":J_1" to="up" fromLane="0" toLane="0" via=":J_2_0" dir="l"/>
    <connection from=":J_2" to="up" fromLane="0" toLane="0" dir="l"/>
    <connection from="out" to="far" fromLane="0" toLane="0" dir="s"/>
    <connection from="in" to=":J_w0" fromLane="0" toLane="0" dir="s"/>
</net>
"""


def put(folder: Path, text: str, name: str = "town.net.xml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_a_network_made_by_hand(tmp_path: Path) -> None:
    reading = read_sumo(put(tmp_path, NET.format(projection="+proj=utm +zone=33 +datum=WGS84 +units=m")))
    graph = reading.street_map.graph
    assert reading.street_map.name == "town"
    assert reading.street_map.crs == "+proj=utm +zone=33 +datum=WGS84 +units=m"
    assert reading.left_out == {
        "lane of a walkingarea": 1, "normal lane closed to passenger": 1, "connection closed to passenger": 1
    }  # fmt: skip
    # a vertex a place: in, in-out, in-up across the waiting place in the junction, the gap before far
    truth = {
        ((0, 0), (50, 0)), ((50, 0), (55, 0)), ((55, 0), (60, 0)), ((60, 0), (100, 0)), ((100, 0), (105, 0)),
        ((105, 0), (120, 0)), ((50, 0), (54, 1)), ((54, 1), (55, 10)), ((55, 10), (55, 60)),
    }  # fmt: skip
    places = [tuple(place) for place in (graph.vertices_m - [1000, 2000]).tolist()]
    found = {(places[a], places[b]) for a, b in graph.edges.tolist()}
    assert found == truth
    assert len(graph) == len(set(places))
    kinds = {
        (places[a], places[b]) for (a, b), kind in zip(graph.edges.tolist(), graph.kind, strict=True) if kind == LINK
    }
    assert kinds == {
        ((50, 0), (55, 0)), ((55, 0), (60, 0)), ((100, 0), (105, 0)), ((50, 0), (54, 1)), ((54, 1), (55, 10))
    }  # fmt: skip
    wide = next(each for each in graph.lanes if each.identity == "in_1")
    assert (wide.width_m, wide.speed_limit_mps, wide.lane_type) == (3.2, 13.89, "highway.primary")


def test_other_vehicles_and_places(tmp_path: Path) -> None:
    path = put(tmp_path, NET.format(projection="!"))
    packed = tmp_path / "packed.net.xml.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    street = read_sumo(packed).street_map
    assert (street.name, street.crs) == ("packed", None)
    assert street.graph.vertices_m.min(0).tolist() == [0, 0]
    np.testing.assert_array_equal(street.graph.vertices_m, read_sumo(path).street_map.graph.vertices_m)
    assert {each.identity for each in read_sumo(path, "pedestrian").street_map.graph.lanes} >= {"in_0", ":J_w0_0"}
    # trucks may not go up, so no part of that turn is left
    trucks = read_sumo(path, "truck").street_map.graph
    assert {each.identity for each in trucks.lanes} == {"in_1", ":J_0_0", "out_0", "far_0"}
    simple = read_sumo(put(tmp_path, NET.format(projection="-")))
    assert simple.street_map.crs is None
    assert simple.left_out["projection '-', which pyproj does not read"] == 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("</net>", "", "no element found"),
        ("<net ", "<nut ", "line"),
        ('<?xml version="1.0" encoding="UTF-8"?>', '<!DOCTYPE n [<!ENTITY a "a"><!ENTITY b "&a;&a;">]>', "document"),
        ('projParameter="!"', 'projParameter="+proj=longlat"', "in degrees"),
        ('netOffset="-1000.00,-2000.00"', 'netOffset="-1000.00"', "the offset of town.net.xml"),
    ],
)  # fmt: skip
def test_damage_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = NET.format(projection="!")
    assert old in text
    with pytest.raises(MapInputError) as caught:
        read_sumo(put(tmp_path, text.replace(old, new, 1)))
    assert message in caught.value.message
    assert caught.value.cure


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('shape="60,0 100,0"', 'shape="60,0 nan,0"', "lane 'out_0' has a coordinate that is not finite"),
        ('shape="60,0 100,0"', 'shape="60 100"', "shape of lane 'out_0'"),
        ('shape="60,0 100,0"', 'shape="60,0 1e3x,0"', "shape of lane 'out_0'"),
        ('shape="60,0 100,0"', "", "lane 'out_0' has no 'shape'"),
        ('width="3.2"', 'width="-3.2"', "width of lane 'in_1' is -3.2"),
        ('width="3.2"', 'width="wide"', "width of lane 'in_1' is 'wide'"),
        ('speed="13.89"', 'speed="inf"', "speed of lane 'in_1' is 'inf'"),
        ('speed="13.89"', 'speed="-1"', "speed of lane 'in_1' is -1"),
        ('id="out_0"', 'id="up_0"', "lane 'up_0' is there twice"),
        ('from="out" to="far"', 'from="out" to="fur"', "there is no lane 0 of edge 'fur'"),
        ('via=":J_0_0"', 'via=":J_9_0"', "there is no lane ':J_9_0'"),
        ('toLane="0" via=":J_0_0"', 'via=":J_0_0"', "from 'in' to 'out' has no 'toLane'"),
    ],
)  # fmt: skip
def test_one_bad_piece_is_dropped_and_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = NET.format(projection="!")
    assert old in text
    whole = read_sumo(put(tmp_path, text)).street_map.graph
    reading = read_sumo(put(tmp_path, text.replace(old, new, 1)))
    assert message in reading.faults[0].where
    kept = reading.street_map.graph
    trait = any(word in message for word in ("width", "speed"))
    assert (kept.length_m == whole.length_m) == trait
    assert len(kept.lanes) >= len(whole.lanes) - 2
    assert all(fault.lanes == ("connection" not in fault.what and not trait) for fault in reading.faults[:1])


def test_an_index_that_is_repeated_is_the_place_in_the_edge(tmp_path: Path) -> None:
    """Some writers leave ``index`` at 0: connections mean the order of the lanes. A shuffled index counts."""
    plain = """<net><edge id="a"><lane id="a_0" index="0" shape="0,0 50,0"/><lane id="a_1" index="{second}"
        shape="0,3 50,3"/></edge><edge id="b"><lane id="b_0" index="0" shape="60,0 90,0"/></edge>
        <edge id="c"><lane id="c_0" index="0" shape="60,3 90,3"/></edge>
        <connection from="a" to="b" fromLane="0" toLane="0"/>
        <connection from="a" to="c" fromLane="1" toLane="0"/></net>"""
    good = read_sumo(put(tmp_path, plain.format(second=1)))
    again = read_sumo(put(tmp_path, plain.format(second=0)))
    assert not again.faults
    np.testing.assert_array_equal(again.street_map.graph.vertices_m, good.street_map.graph.vertices_m)
    np.testing.assert_array_equal(again.street_map.graph.edges, good.street_map.graph.edges)
    turned = plain.format(second=0).replace('id="a_0" index="0"', 'id="a_0" index="1"')
    crossed = read_sumo(put(tmp_path, turned)).street_map.graph
    assert crossed.length_m > good.street_map.graph.length_m  # links from the other lane each


def test_files_that_are_no_networks(tmp_path: Path) -> None:
    with pytest.raises(MapInputError, match="no <net> element"):
        read_sumo(put(tmp_path, "<osm/>"))
    with pytest.raises(MapInputError, match="holds no lane"):
        read_sumo(put(tmp_path, "<net/>"))
    whole = gzip.compress(NET.encode())
    for name, data in {"cut": whole[:-200], "spoiled": whole[:100] + b"\0\0\0" + whole[103:]}.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(MapInputError, match=r"damaged gzip|line|well-formed"):
            read_sumo(tmp_path / name)
    with pytest.raises(MapInputError, match="nested too deeply"):
        read_sumo(put(tmp_path, "<net>" + "<a>" * 100_000))


SHARED = {
    "a10_koenigs_wusterhausen": (1967, 63.1, 2662),
    "berlin_adlershof": (9026, 182.4, 12689),
    "bologna_joined": (1093, 63.1, 1255),
    "braunschweig": (1811, 40.0, 2470),
    "ingolstadt_small": (325, 7.0, 344),
}


@pytest.mark.parametrize("name", SHARED)
def test_real_networks(shared_data: Path, name: str) -> None:
    """Against a plain twin that walks the tree: lanes, lengths, and which lane is reached from which."""
    path = shared_data / "street" / "sumo" / f"{name}.net.xml.gz"
    with gzip.open(path) as stream:
        root = ElementTree.parse(stream).getroot()
    lanes = {each.get("id", ""): each for each in root.iter("lane")}
    connections = list(root.iter("connection"))
    assert (len(lanes), len(connections)) == (SHARED[name][0], SHARED[name][2])
    assert sum(float(each.get("length", "")) for each in lanes.values()) / 1000 == pytest.approx(
        SHARED[name][1], abs=0.06
    )

    def open_(each: ElementTree.Element) -> bool:
        if each.get("allow") is not None:
            return bool({"passenger", "all"} & set(each.get("allow", "").split()))
        return not {"passenger", "all"} & set(each.get("disallow", "").split())

    reading = read_sumo(path)
    graph = reading.street_map.graph
    normal = {name for name, each in lanes.items() if not name.startswith(":") and open_(each)}
    assert {each.identity for each in graph.lanes if not each.identity.startswith(":")} == normal
    turns = {
        (f"{each.get('from')}_{each.get('fromLane')}", f"{each.get('to')}_{each.get('toLane')}")
        for each in connections
        if not each.get("from", "").startswith(":")
        and open_(each)
        and all(open_(lanes[lane]) for lane in ([each.get("via", "")] if each.get("via") else []))
    }
    turns = {(a, b) for a, b in turns if a in normal and b in normal}
    whole: networkx.DiGraph = networkx.DiGraph(graph.edges.tolist())
    names = [each.identity for each in graph.lanes] + [":"]
    starting: dict[int, set[str]] = {}
    for number in np.unique(graph.lane):
        run = graph.edges[graph.lane == number]
        if number >= 0 and not names[number].startswith(":"):
            starting.setdefault(int((set(run[:, 0]) - set(run[:, 1])).pop()), set()).add(names[number])
    through = networkx.DiGraph(
        (a, b) for (a, b), kind in zip(graph.edges.tolist(), graph.kind, strict=True) if kind == LINK
    )
    reached = set()
    for number in np.unique(graph.lane):
        run = graph.edges[graph.lane == number]
        if number < 0 or names[number].startswith(":"):
            continue
        end = int((set(run[:, 1]) - set(run[:, 0])).pop())
        ends = {end} | (set(networkx.descendants(through, end)) if end in through else set())
        reached |= {(names[number], other) for at in ends for other in starting.get(at, ())}
    assert reached == turns
    kept = [lanes[each.identity].get("shape", "").split() for each in graph.lanes]
    length = sum(
        np.hypot(*np.diff([list(map(float, p.split(",")[:2])) for p in shape], axis=0).T).sum() for shape in kept
    )
    assert graph.length_m == pytest.approx(length, rel=2e-4)
    assert whole.number_of_edges() == len(graph.edges)
