"""OpenDRIVE maps against analytic truth and numerical integration."""

from __future__ import annotations

import itertools
from pathlib import Path

import networkx
import numpy as np
import pytest
from opendrive_samples import at_junction, document, geometry, joined, lane, road, section, width
from scipy.integrate import quad, solve_ivp

from foldmap.errors import MapInputError
from foldmap.formats.street.opendrive.graph import read_opendrive
from foldmap.formats.street.reading import faults_in_words, strict
from foldmap.street.source import LINK, StreetMap
from foldmap.types import DoubleArray


def put(folder: Path, text: str) -> Path:
    path = folder / "map.xodr"
    path.write_text(text)
    return path


def lines_of(street: StreetMap) -> dict[str, DoubleArray]:
    """Vertices of each lane in driving direction, by the lane's name."""
    graph = street.graph
    found = {}
    for number, each in enumerate(graph.lanes):
        run = graph.edges[graph.lane == number]
        follow = dict(run.tolist())
        at = next(iter(set(follow) - set(follow.values())), run[0, 0])
        chain = [at]
        while at in follow and len(chain) <= len(run):
            at = follow[at]
            chain.append(at)
        assert len(chain) == len(run) + 1
        found[each.identity] = graph.vertices_m[chain]
    return found


def follows(street: StreetMap) -> set[tuple[str, str]]:
    """Lanes that are followed by lanes, through link edges too."""
    graph = street.graph
    whole: networkx.DiGraph = networkx.DiGraph()
    for (a, b), number in zip(graph.edges.tolist(), graph.lane.tolist(), strict=True):
        whole.add_edge(a, b, lane=number)
    found = set()
    for _, b, number in whole.edges(data="lane"):
        reached = [b]
        while reached:
            at = reached.pop()
            for _, after, other in whole.out_edges(at, data="lane"):
                if other < 0:
                    reached.append(after)
                elif other != number and number >= 0:
                    found.add((graph.lanes[number].identity, graph.lanes[other].identity))
    return found


def test_a_circle(tmp_path: Path) -> None:
    radius = 40.0
    lanes = section([lane(1, 1, 1), lane(-1, -1, -1), lane(-2, -2, -2, width(1.5), "sidewalk")])
    ring = road(
        "7", [geometry(0, radius, 0, np.pi / 2, 2 * np.pi * radius, f'<arc curvature="{1 / radius}"/>')], lanes,
        2 * np.pi * radius, link=joined("predecessor", "7", "end") + joined("successor", "7", "start"),
        before='<type s="0" type="town"><speed max="50" unit="km/h"/></type>',
    )  # fmt: skip
    reading = read_opendrive(put(tmp_path, document(ring)))
    graph = reading.street_map.graph
    assert reading.left_out == {"lane of type sidewalk": 1}
    assert [each.identity for each in graph.lanes] == ["7/0/1", "7/0/-1"]
    assert graph.lanes[0].width_m == pytest.approx(3.5)
    assert graph.lanes[0].speed_limit_mps == pytest.approx(50 / 3.6)
    assert (graph.in_degree == 1).all()  # both rings are closed
    assert (graph.out_degree == 1).all()
    for number, (distance, turn) in enumerate(((radius - 1.75, -1), (radius + 1.75, 1))):
        ends = graph.vertices_m[graph.edges[graph.lane == number]]
        np.testing.assert_allclose(np.hypot(*ends[:, 0].T), distance, atol=1e-9)
        cross = ends[:, 0, 0] * ends[:, 1, 1] - ends[:, 0, 1] * ends[:, 1, 0]
        assert (np.sign(cross) == turn).all()  # counter-clockwise with s on the right, against it on the left
        assert np.hypot(*(ends[:, 1] - ends[:, 0]).T).sum() == pytest.approx(2 * np.pi * distance, rel=1e-3)


def test_left_hand_traffic_turns_lanes_round(tmp_path: Path) -> None:
    lanes = section([lane(1), lane(-1), lane(-2, attributes='direction="reversed"'), lane(-3, kind="bidirectional")])
    text = document(road("a", [geometry(0, 0, 0, 0, 10, "<line/>")], lanes, 10.0, attributes='rule="LHT"'))
    found = lines_of(read_opendrive(put(tmp_path, text)).street_map)
    ahead = {name: line[-1, 0] - line[0, 0] for name, line in found.items()}
    assert ahead == {"a/0/1": 10, "a/0/-1": -10, "a/0/-2": 10, "a/0/-3": 10, "a/0/-3/reversed": -10}
    assert {name: line[0, 1] for name, line in found.items()} == {
        "a/0/1": 1.75, "a/0/-1": -1.75, "a/0/-2": -5.25, "a/0/-3": -8.75, "a/0/-3/reversed": -8.75
    }  # fmt: skip


@pytest.mark.parametrize(("start", "end"), [(0.0, 0.08), (0.05, -0.03), (-0.02, -0.06), (0.01, 0.01 + 1e-9), (0.03, 0)])
def test_straight_arc_spiral(tmp_path: Path, start: float, end: float) -> None:
    """Headings are turned back into points by an ODE solver that knows nothing of Fresnel integrals."""
    straight, arc, spiral = 30.0, 25.0, 60.0

    def curvature(s: float) -> float:
        return 0.0 if s < straight else start if s < straight + arc else start + (end - start) * (s - 55) / spiral

    def ahead(s: float, state: DoubleArray) -> list[float]:
        return [np.cos(state[2]), np.sin(state[2]), curvature(s)]

    state = np.array([100.0, -50.0, 0.7])
    knots, truth, states = (0, straight, straight + arc, straight + arc + spiral), [], []
    for a, b in itertools.pairwise(knots):
        states.append(state)
        solved = solve_ivp(ahead, (a, b - 1e-12), state, rtol=1e-11, atol=1e-11, dense_output=True)
        truth.append(solved)
        state = solved.y[:, -1]
    shapes = ("<line/>", f'<arc curvature="{start!r}"/>', f'<spiral curvStart="{start!r}" curvEnd="{end!r}"/>')
    pieces = [geometry(knots[i], *(float(v) for v in states[i]), knots[i + 1] - knots[i], shapes[i]) for i in range(3)]
    offset = '<laneOffset s="0" a="1" b="0.02" c="0" d="0"/><laneOffset s="60" a="2.2" b="0" c="0.001" d="0"/>'
    lanes = offset + section([lane(-1, widths=width(3, 0.01) + width(3.4, 0, 0.0005, offset=40))])
    street = read_opendrive(put(tmp_path, document(road("r", pieces, lanes, 115.0)))).street_map
    line = lines_of(street)["r/0/-1"]
    s = [0.0]
    for target in (30, 40, 55, 60, 115):  # the marks: geometries, widths, offsets
        steps = int(np.ceil((target - s[-1]) - 1e-9))
        s += np.linspace(s[-1], target, steps + 1)[1:].tolist()
    assert len(s) == len(line)
    for at, point in zip(s, line, strict=True):
        number = 0 if at < 30 else 1 if at < 55 else 2
        x, y, heading = truth[number].sol(at)
        wide = 3 + 0.01 * at if at < 40 else 3.4 + 0.0005 * (at - 40) ** 2
        shift = 1 + 0.02 * at if at < 60 else 2.2 + 0.001 * (at - 60) ** 2
        t = shift - wide / 2
        np.testing.assert_allclose(point, [x - t * np.sin(heading), y + t * np.cos(heading)], atol=2e-6)


def test_polynomials(tmp_path: Path) -> None:
    b, c, d, length = 0.1, 0.01, -0.0002, 30.0
    arms = (0, 1, 0.02, -0.0003), (0, 0.2, 0.01, 0.0004)
    both = " ".join(
        f'{n}{axis}="{v}"' for axis, arm in zip("UV", arms, strict=True) for n, v in zip("abcd", arm, strict=True)
    )
    over = tuple(tuple(v * length**k for k, v in enumerate(arm)) for arm in arms)
    unit = " ".join(
        f'{n}{axis}="{v!r}"' for axis, arm in zip("UV", over, strict=True) for n, v in zip("abcd", arm, strict=True)
    )
    one = section([lane(-1, widths=width(0))])
    text = document(
        road("p", [geometry(0, 0, 0, 0, length, f'<poly3 a="0" b="{b}" c="{c}" d="{d}"/>')], one, length),
        road("q", [geometry(0, 5, 6, 1, length, f'<paramPoly3 pRange="arcLength" {both}/>')], one, length),
        road("n", [geometry(0, 5, 6, 1, length, f"<paramPoly3 {unit}/>")], one, length),
    )
    found = lines_of(read_opendrive(put(tmp_path, text)).street_map)
    for s, point in zip(np.linspace(0, length, 31), found["p/0/-1"], strict=True):
        u = point[0]
        assert point[1] == pytest.approx(b * u + c * u**2 + d * u**3, abs=1e-9)
        assert quad(lambda t: np.hypot(1, b + 2 * c * t + 3 * d * t * t), 0, u)[0] == pytest.approx(s, abs=1e-5)
    p = np.linspace(0, length, 31)
    u, v = (sum(k * p**n for n, k in enumerate(arm)) for arm in arms)
    truth = np.stack([5 + u * np.cos(1) - v * np.sin(1), 6 + u * np.sin(1) + v * np.cos(1)], 1)
    np.testing.assert_allclose(found["q/0/-1"], truth, atol=1e-9)
    np.testing.assert_allclose(found["n/0/-1"], truth, atol=1e-9)


def three_ways() -> list[str]:
    """Roads W, E, S with two lanes each end at a junction 10 m wide; W runs towards it, E and S away from it.

    Connecting roads: W to E, E to W, W to S (to the right); S to E is drawn backwards, from E's start to S's start.
    """
    quarter = np.pi / 2
    two = section([lane(1), lane(-1)])
    west = road("W", [geometry(0, -60, 0, 0, 50, "<line/>")], two, 50.0, link=at_junction("successor", "J"))
    east = road("E", [geometry(0, 10, 0, 0, 50, "<line/>")], two, 50.0, link=at_junction("predecessor", "J"))
    south = road("S", [geometry(0, 0, -10, -quarter, 50, "<line/>")], two, 50.0, link=at_junction("predecessor", "J"))
    arc = 10 * quarter

    def through(name: str, shape: str, lanes: str, length: float, start: str, end: str, ends: str) -> str:
        link = joined("predecessor", start, ends.split()[0]) + joined("successor", end, ends.split()[1])
        return road(name, [shape], section([lanes]), length, "J", link)

    line = geometry(0, -10, 0, 0, 20, "<line/>")
    right = geometry(0, -10, 0, 0, arc, '<arc curvature="-0.1"/>')
    back = geometry(0, 10, 0, np.pi, arc, '<arc curvature="0.1"/>')
    connection = '<connection id="{}" incomingRoad="{}" connectingRoad="{}" contactPoint="{}">{}</connection>'
    link = '<laneLink from="{}" to="{}"/>'
    return [
        west, east, south,
        through("we", line, lane(-1, -1, -1), 20.0, "W", "E", "end start"),
        through("ew", line, lane(1, 1, 1), 20.0, "W", "E", "end start"),
        through("ws", right, lane(-1, -1, -1), arc, "W", "S", "end start"),
        through("se", back, lane(1, -1, 1), arc, "E", "S", "start start"),
        '<junction id="J">',
        connection.format(0, "W", "we", "start", link.format(-1, -1)),
        connection.format(1, "E", "ew", "end", ""),  # without lane links: the same ids
        connection.format(2, "W", "ws", "start", link.format(-1, -1)),
        connection.format(3, "S", "se", "end", link.format(1, 1)),
        "</junction>",
    ]  # fmt: skip


def test_a_junction_of_three_ways(tmp_path: Path) -> None:
    street = read_opendrive(put(tmp_path, document(*three_ways()))).street_map
    assert follows(street) == {
        ("W/0/-1", "we/0/-1"), ("we/0/-1", "E/0/-1"), ("E/0/1", "ew/0/1"), ("ew/0/1", "W/0/1"),
        ("W/0/-1", "ws/0/-1"), ("ws/0/-1", "S/0/-1"), ("S/0/1", "se/0/1"), ("se/0/1", "E/0/-1"),
    }  # fmt: skip
    graph = street.graph
    assert (graph.lane >= 0).all()  # ends meet: no edges but those of lanes
    names = {graph.lanes[i].identity.split("/")[0] for i in np.unique(graph.lane[graph.kind == LINK])}
    assert names == {"we", "ew", "ws", "se"}
    found = lines_of(street)
    np.testing.assert_allclose(found["se/0/1"][[0, -1]], [[1.75, -10], [10, -1.75]], atol=1e-9)
    np.testing.assert_allclose(np.hypot(*(found["se/0/1"] - [10, -10]).T), 8.25, atol=1e-9)


def test_lanes_through_sections(tmp_path: Path) -> None:
    """A lane opens and one closes: ids change from section to section."""
    lanes = (
        section([lane(-1, after=-2)])
        + section([lane(-1, after=-1, widths=width(0, 0.35)), lane(-2, before=-1, after=-2)], 20.0)
        + section([lane(-1, before=-1), lane(-2, before=-2)], 30.0)
    )
    text = document(road("r", [geometry(0, 0, 0, 0, 50, "<line/>")], lanes, 50.0))
    street = read_opendrive(put(tmp_path, text)).street_map
    assert follows(street) == {("r/0/-1", "r/1/-2"), ("r/1/-1", "r/2/-1"), ("r/1/-2", "r/2/-2")}
    found = lines_of(street)
    np.testing.assert_allclose(found["r/1/-2"][:, 1], -1.75 - np.linspace(0, 3.5, 11), atol=1e-9)


def test_place_on_earth(tmp_path: Path) -> None:
    one = road("r", [geometry(0, 10, 0, 0, 5, "<line/>")], section([lane(-1, widths=width(0))]), 5.0)
    utm = "<geoReference><![CDATA[+proj=utm +zone=32 +datum=WGS84 +units=m]]></geoReference>"
    moved = f'{utm}<offset x="600000" y="5700000" z="0" hdg="{np.pi / 2}"/>'
    street = read_opendrive(put(tmp_path, document(one, header=moved))).street_map
    assert street.crs == "+proj=utm +zone=32 +datum=WGS84 +units=m"
    np.testing.assert_allclose(street.graph.vertices_m[0], [600000, 5700010], atol=1e-6)
    degrees = "<geoReference>+proj=longlat +datum=WGS84</geoReference>"
    reading = read_opendrive(put(tmp_path, document(one, header=degrees)))
    assert reading.street_map.crs is None
    assert any("longlat" in key for key in reading.left_out)


def single(text: str) -> str:
    return text.replace("<laneSection", '<laneSection singleSide="true"')


STRAIGHT = geometry(0, 0, 0, 0, 100, "<line/>")


@pytest.mark.parametrize(
    ("lanes", "spans", "links"),
    [
        (  # the left lane goes on while the right side changes, and the other way round
            section([lane(1), lane(-1, after=-1)]) + single(section([lane(-1, before=-1), lane(-2)], 30.0))
            + single(section([lane(1), lane(2)], 60.0)),
            {"r/0/1": (60, 0), "r/0/-1": (0, 30), "r/1/-1": (30, 100), "r/1/-2": (30, 100), "r/2/1": (100, 60),
             "r/2/2": (100, 60)},
            {("r/0/-1", "r/1/-1")},
        ),
        (  # linked over a section of the other side
            section([lane(1, after=1), lane(-1)]) + single(section([lane(-1)], 30.0))
            + single(section([lane(1, before=1)], 60.0)),
            {"r/0/1": (60, 0), "r/0/-1": (0, 30), "r/1/-1": (30, 100), "r/2/1": (100, 60)},
            {("r/2/1", "r/0/1")},
        ),
        (  # not of a single side: the left lane ends
            section([lane(1), lane(-1)]) + section([lane(-1)], 30.0),
            {"r/0/1": (30, 0), "r/0/-1": (0, 30), "r/1/-1": (30, 100)},
            set(),
        ),
        (  # sections in another order than that of s
            section([lane(-1, before=-1)], 30.0) + section([lane(-1, after=-1)]),
            {"r/0/-1": (30, 100), "r/1/-1": (0, 30)},
            {("r/1/-1", "r/0/-1")},
        ),
    ],
)  # fmt: skip
def test_sections_of_a_single_side(
    tmp_path: Path, lanes: str, spans: dict[str, tuple[float, float]], links: set[tuple[str, str]]
) -> None:
    street = read_opendrive(put(tmp_path, document(road("r", [STRAIGHT], lanes, 100.0)))).street_map
    found = lines_of(street)
    assert {name: (line[0, 0], line[-1, 0]) for name, line in found.items()} == spans
    assert street.graph.length_m == pytest.approx(sum(abs(b - a) for a, b in spans.values()))
    assert follows(street) == links


@pytest.mark.parametrize("at", [0.0, 40.0, 100.0, 100.0 - 1e-10, 140.0])
@pytest.mark.parametrize("copies", [1, 3])
def test_sections_without_length_hand_their_links_on(tmp_path: Path, at: float, copies: int) -> None:
    """At the start, in the middle, at the end of a road and past it: lanes stay straight, no link edge appears."""
    one = lane(-1, before=-1, after=-1)
    starts = sorted([0.0, 40.0, *[at] * copies])
    sections = "".join(section([one], s) for s in starts)
    first = road("1", [STRAIGHT], sections, 100.0, link=joined("successor", "2", "start"))
    line = geometry(0, 100, 0, 0, 50, "<line/>")
    second = road("2", [line], section([one]), 50.0, link=joined("predecessor", "1", "end"))
    reading = read_opendrive(put(tmp_path, document(first, second)))
    graph = reading.street_map.graph
    assert graph.length_m == pytest.approx(150.0)
    assert set(graph.kind.tolist()) == {0}
    np.testing.assert_allclose(graph.vertices_m[:, 1], -1.75)
    assert len(follows(reading.street_map)) == 2  # section to section, road to road
    assert [fault.what for fault in reading.faults] == ["lane section"] * copies


def test_lanes_that_cannot_be_placed_go_with_those_beyond_them(tmp_path: Path) -> None:
    lanes = section([lane(1), lane(2), lane(-1), lane(-2, widths=""), lane(-3), lane(-4, kind="sidewalk")])
    reading = read_opendrive(put(tmp_path, document(road("r", [STRAIGHT], lanes, 100.0))))
    assert set(lines_of(reading.street_map)) == {"r/0/1", "r/0/2", "r/0/-1"}
    assert [(fault.lanes, fault.length_m) for fault in reading.faults] == [(1, 100), (1, 100), (0, 0)]
    assert faults_in_words(reading.faults) == [
        "damaged: 3 x lane (2 lanes lost, 200 m): lane -2 of road r, section 0 has no width, and 2 more"
    ]


def test_a_width_counts_where_a_border_is_given_too(tmp_path: Path) -> None:
    one = section([lane(-1, widths=width(3.5) + '<border sOffset="0" a="-9" b="0" c="0" d="0"/>')])
    reading = read_opendrive(put(tmp_path, document(road("r", [STRAIGHT], one, 100.0))))
    np.testing.assert_allclose(reading.street_map.graph.vertices_m[:, 1], -1.75)
    assert reading.left_out == {"lane border beside a width, which counts": 1}
    assert not reading.faults


@pytest.mark.parametrize(
    ("unit", "mps"), [("KMH", 10 / 3.6), ("km/h", 10 / 3.6), ("MPH", 4.4704), ("m/s", 10.0), ("knots", None)]
)
def test_units_of_speed(tmp_path: Path, unit: str, mps: float | None) -> None:
    one = section([lane(-1, extra=f'<speed sOffset="0" max="10" unit="{unit}"/>')])
    reading = read_opendrive(put(tmp_path, document(road("r", [STRAIGHT], one, 100.0))))
    assert reading.street_map.graph.lanes[0].speed_limit_mps == (None if mps is None else pytest.approx(mps))
    assert len(reading.faults) == (mps is None)


LINE = geometry(0, 0, 0, 0, 10, "<line/>")
ONE = section([lane(-1)])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (document(road("r", [LINE], ONE, 10.0))[:-20], "line 1: "),
        ('<!DOCTYPE a [<!ENTITY b "c">]>' + document(road("r", [LINE], ONE, 10.0))[21:], "document type"),
        ("<osm/>", "no <OpenDRIVE>"),
        (document(), "holds no road"),
        (document(road("r", [], ONE, 10.0)), "road r has no plan view"),
        (document(road("r", [LINE, LINE], ONE, 10.0)), "geometries of road r start at one place"),
        (document(road("r", [geometry(0, 0, 0, 0, -3, "<line/>")], ONE, 10.0)), "road r at s = 0 is -3.0 m long"),
        (document(road("r", [geometry(0, 0, float("nan"), 0, 3, "<line/>")], ONE, 10.0)), "y of a geometry of road r"),
        (document(road("r", [geometry(0, 0, 0, 0, 3, "<bezier/>")], ONE, 10.0)), "road r at s = 0 holds bezier"),
        (document(road("r", [geometry(0, 0, 0, 0, 3, "<arc/>")], ONE, 10.0)), "the arc of road r at s = 0 has no"),
        (document(road("r", [LINE], "", 10.0)), "road r has no lane section"),
        (document(road("r", [LINE], section([lane(-1, widths="")]), 10.0)), "lane -1 of road r, section 0 has no"),
        (document(road("r", [LINE], section([lane(-1, widths=width(1, -0.2))]), 10.0)), "is -1 m wide at s = 10"),
        (document(road("r", [LINE], section([lane(-1, widths='<border a="1"/>')]), 10.0)), "has borders instead"),
        (document(road("r", [LINE], ONE, 10.0), "<include file='b'/>"), "<include>"),
    ],
)  # fmt: skip
def test_damage_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(MapInputError) as caught:
        read_opendrive(put(tmp_path, text))
    assert message in caught.value.message
    assert caught.value.cure


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (document(road("r", [LINE], ONE, 10.0), road("r", [LINE], ONE, 10.0)), "road r is there twice"),
        (document(road("r", [LINE], section([lane(-1), lane(-1)]), 10.0)), "lane -1 is there twice"),
        (document(road("r", [LINE], ONE, 10.0, link=joined("successor", "x", "end"))), "road x, which is not there"),
        (document(road("r", [LINE], ONE, 10.0, link=joined("successor", "r", "up"))), "contact point 'up'"),
        (
            document(road("r", [LINE], section([lane(-1, after=-4)]), 10.0, link=joined("successor", "r", "start"))),
            "lane -1 of road r, section 0, is linked to lane -4 of road r, which is not there",
        ),
        (document(*three_ways()).replace('incomingRoad="S"', 'incomingRoad="Q"'), "connection 3 of junction J is of"),
        (document(*three_ways()).replace('from="1" to="1"', 'from="5" to="1"'), "linked to lane 5 of road S"),
    ],
)  # fmt: skip
def test_one_bad_piece_is_dropped_and_named(tmp_path: Path, text: str, message: str) -> None:
    reading = read_opendrive(put(tmp_path, text))
    assert [fault.where for fault in reading.faults if message in fault.where]
    assert reading.street_map.graph.length_m >= 10
    with pytest.raises(MapInputError, match=r"the first: .*--strict"):
        strict(reading)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(MapInputError, match="cannot be read"):
        read_opendrive(tmp_path / "none.xodr")
