"""Lanelet2 maps against the reference package of the format."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import networkx
import numpy as np
import pyproj
import pytest
import shapely
from scipy.spatial import cKDTree

from foldmap.errors import ConfigError, MapInputError, WriteError
from foldmap.formats.street.bounds import aligned, middle_line, side
from foldmap.formats.street.lanelet2.read import read_lanelet2
from foldmap.formats.street.lanelet2.write import write_lanelet2
from foldmap.street.graph.chains import chains
from foldmap.street.source import LINK, LaneAttributes, LaneGraph, StreetMap
from foldmap.types import DoubleArray

lanelet2 = pytest.importorskip("lanelet2", reason="the reference package is not installed")

SHARED = {  # lanelets for vehicles, lanes (two where both directions are open), what has no extent
    "kit_karlsruhe_mapping_example": (328, 388, 0),
    "gyor_university": (468, 467, 1),
    "zalazone_smartcity": (237, 237, 0),
    "zalazone_handling": (8, 8, 0),
}


def reference(path: Path, latitude: float, longitude: float) -> tuple[Any, Any, Any]:
    """Map, traffic rules and routing graph of the reference package, its frame about a place."""
    from lanelet2 import io, projection, routing, traffic_rules

    found, _ = io.loadRobust(str(path), projection.LocalCartesianProjector(io.Origin(latitude, longitude)))
    rules = traffic_rules.create(traffic_rules.Locations.Germany, traffic_rules.Participants.Vehicle)
    return found, rules, routing.RoutingGraph(found, rules)


def name_of(lanelet: Any) -> str:
    return f"{lanelet.id}/reversed" if lanelet.inverted() else str(lanelet.id)


def following(found: Any, rules: Any, routes: Any) -> set[tuple[str, str]]:
    pairs = set()
    for lanelet in found.laneletLayer:
        if rules.canPass(lanelet):
            for each in [lanelet] if rules.isOneWay(lanelet) else [lanelet, lanelet.invert()]:
                pairs |= {(name_of(each), name_of(after)) for after in routes.following(each)}
    return pairs


def ends(graph: LaneGraph) -> dict[str, tuple[int, int]]:
    """First and last vertex of each lane."""
    found = {}
    for number, each in enumerate(graph.lanes):
        run = graph.edges[graph.lane == number].tolist()
        starts, stops = {a for a, _ in run}, {b for _, b in run}
        found[each.identity] = (starts - stops or {run[0][0]}).pop(), (stops - starts or {run[0][0]}).pop()
    return found


def our_following(graph: LaneGraph) -> set[tuple[str, str]]:
    assert (graph.lane >= 0).all()
    first: dict[int, list[str]] = {}
    for name, (start, _) in ends(graph).items():
        first.setdefault(start, []).append(name)
    return {(name, other) for name, (_, end) in ends(graph).items() for other in first.get(end, [])}


def line_of(graph: LaneGraph, number: int) -> DoubleArray:
    run = graph.edges[graph.lane == number]
    after = dict(run.tolist())
    at = ends(graph)[graph.lanes[number].identity][0]
    chain = [at]
    for _ in run:
        at = after[at]
        chain.append(at)
    return graph.vertices_m[chain]


def placed(path: Path, folder: Path) -> Path:
    """A map with latitudes and longitudes for the reference package, where the file has local tags only."""
    text = path.read_text()
    if 'lat="" lon=""' not in text:
        return path
    import xml.etree.ElementTree as ElementTree

    tree = ElementTree.parse(path)
    for node in tree.iter("node"):
        tags = {
            tag.get("k"): float(tag.get("v", "0")) for tag in node.iter("tag") if tag.get("k", "").startswith("local")
        }
        node.set("lat", f"{tags['local_y'] / 110574.2758:.11f}")
        node.set("lon", f"{tags['local_x'] / 111319.4908:.11f}")
    tree.write(folder / "placed.osm")
    return folder / "placed.osm"


@pytest.mark.parametrize("name", SHARED)
def test_real_maps_as_the_reference_reads_them(shared_data: Path, tmp_path: Path, name: str) -> None:
    path = shared_data / "street" / "lanelet2" / f"{name}.osm"
    passable, lanes, empty = SHARED[name]
    reading = read_lanelet2(path)
    graph, crs = reading.street_map.graph, reading.street_map.crs
    assert (crs is None) == (name == "zalazone_smartcity")
    about = pyproj.CRS(crs).coordinate_operation.params[:2] if crs else []
    origin = tuple(float(each.value) for each in about) or (0.0, 0.0)
    found, rules, routes = reference(placed(path, tmp_path), *origin)
    theirs = {str(each.id): each for each in found.laneletLayer if rules.canPass(each)}
    mine = {each.identity for each in graph.lanes}
    assert len(theirs) == passable
    assert len(mine) == len(graph.lanes) == lanes
    lost = set(theirs) - mine
    assert len(lost) == empty
    assert sum("bounds" in fault.where for fault in reading.faults) == len(reading.faults) == empty
    assert {each for each in mine if "/" not in each} == set(theirs) - lost
    truth = following(found, rules, routes)
    assert our_following(graph) == {pair for pair in truth if not set(pair) & lost}
    assert len(truth) > len(mine) / 2
    off, uneven = [], []
    for number in range(0, lanes, 1 + lanes // 100):
        identity = graph.lanes[number].identity
        each = theirs[identity.split("/")[0]]
        other = string((each.invert() if "/" in identity else each).centerline)
        line = shapely.LineString(line_of(graph, number))
        assert shapely.Point(line.coords[0]).distance(shapely.Point(other.coords[0])) < 0.05
        off.append(shapely.hausdorff_distance(line, other, 0.1))
        uneven.append([unevenness(middle, each) for middle in (line, other)])
    # both lines are approximate: ours is at least as near to the middle of the bounds
    assert np.median(off) < 0.15
    assert np.quantile(off, 0.9) < 0.7
    assert np.median(uneven, 0)[0] < min(0.04, np.median(uneven, 0)[1] + 0.001)


def string(points: Any) -> shapely.LineString:
    return shapely.LineString([(point.x, point.y) for point in points])


def unevenness(line: shapely.LineString, lanelet: Any) -> float:
    """How far the line is from the middle between the nearest points of both bounds, at worst."""
    samples = shapely.line_interpolate_point(line, np.linspace(0.1, 0.9, 50), normalized=True)
    left, right = (shapely.distance(samples, string(bound)) for bound in (lanelet.leftBound, lanelet.rightBound))
    return float(np.abs(left - right).max() / 2)


def test_speed_and_turns_of_a_real_map(shared_data: Path) -> None:
    street = read_lanelet2(shared_data / "street" / "lanelet2" / "zalazone_smartcity.osm").street_map
    speeds = [each.speed_limit_mps for each in street.graph.lanes]
    assert {round(speed * 3.6) for speed in speeds if speed is not None} == {10, 20, 30, 40}
    links = np.unique(street.graph.lane[street.graph.kind == LINK])
    assert len(links) == 51 + 30 + 4  # of turn_direction right, left, straight


def by_hand(rng: np.random.Generator, crs: str | None) -> StreetMap:
    """A fork, a merge, a ring, a lane of one edge, and curves of radius 8 m and more; of several widths."""
    turn = np.linspace(0, np.pi / 2, 14)
    quarter = np.stack([8 * np.sin(turn), 8 - 8 * np.cos(turn)], 1)
    ring = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    around = np.stack([60 + 15 * np.cos(ring), -40 + 15 * np.sin(ring)], 1)
    wave = np.arange(0, 41.0)
    lines = [
        np.stack([np.arange(-30.0, 1), np.zeros(31)], 1), quarter, np.stack([wave, 3 * (1 - np.cos(wave / 12))], 1),
        np.array([[8.0, 8], [8, 30]]), np.array([[-20.0, 8.0], [-12, 8], [-5, 5], [0, 0]]),
    ]  # fmt: skip
    vertices, edges, kinds, lanes, index = [], [], [], [], {}
    for number, line in enumerate([*lines, around]):
        keys = [tuple(np.round(point, 6)) for point in line]
        ids = [index.setdefault(key, len(index)) for key in keys]
        vertices += [point for point, at in zip(line, ids, strict=True) if at >= len(vertices)]
        chain = [*ids, ids[0]] if number == 5 else ids
        edges += list(itertools.pairwise(chain))
        kinds += [LINK if number == 1 else 0] * (len(chain) - 1)
        lanes += [number] * (len(chain) - 1)
    base = np.array([458000.0, 5428000.0]) if crs else np.zeros(2)
    attributes = tuple(
        LaneAttributes(f"l{number}", None if number == 0 else float(rng.uniform(2.5, 4.5)), 8.0 + number)
        for number in range(6)
    )
    graph = LaneGraph(
        np.array(vertices) + base, np.array(edges, np.int64), np.array(kinds, np.uint8), np.array(lanes), attributes
    )
    return StreetMap("hand", graph, crs)


def contracted(graph: LaneGraph) -> networkx.MultiDiGraph:
    """Chains between the places where something happens, also through changes of the lane."""
    found = chains(graph)
    whole: networkx.MultiDiGraph = networkx.MultiDiGraph()
    for c in range(len(found)):
        run = found.edge[found.offset[c] : found.offset[c + 1]]
        whole.add_edge(int(graph.edges[run[0], 0]), int(graph.edges[run[-1], 1]))
    for vertex in list(whole):
        if whole.in_degree(vertex) == whole.out_degree(vertex) == 1 and not whole.has_edge(vertex, vertex):
            (a, _), (_, b) = next(iter(whole.in_edges(vertex))), next(iter(whole.out_edges(vertex)))
            whole.remove_node(vertex)
            whole.add_edge(a, b)
    return whole


def same_topology(one: LaneGraph, two: LaneGraph) -> bool:
    """The same chains between the same places (a ring that nothing joins has no place of its own)."""
    a, b = contracted(one), contracted(two)
    free = [{v for v in each if each.degree(v) == 2 and each.has_edge(v, v)} for each in (a, b)]
    places = [np.array(sorted(set(each) - loose)) for each, loose in zip((a, b), free, strict=True)]
    if len(free[0]) != len(free[1]) or len(places[0]) != len(places[1]):
        return False
    distance, at = cKDTree(two.vertices_m[places[1]]).query(one.vertices_m[places[0]])
    there = dict(zip(places[0].tolist(), places[1][at].tolist(), strict=True))
    mine = Counter((there[u], there[v]) for u, v in a.edges() if u in there)
    return distance.max() < 1e-3 and mine == Counter((u, v) for u, v in b.edges() if u not in free[1])


def apart(a: LaneGraph, b: LaneGraph) -> float:
    pieces = [shapely.linestrings(each.vertices_m[each.edges]) for each in (a, b)]
    worst = 0.0
    for one, other in (pieces, pieces[::-1]):
        samples = shapely.line_interpolate_point(
            np.repeat(one, 5), np.tile(np.linspace(0, 1, 5), len(one)), normalized=True
        )
        _, distance = shapely.STRtree(other).query_nearest(samples, return_distance=True, all_matches=False)
        worst = max(worst, float(distance.max()))
    return worst


@pytest.mark.parametrize("crs", [None, "EPSG:32632"])
def test_what_is_written_is_read_again(tmp_path: Path, crs: str | None) -> None:
    street = by_hand(np.random.default_rng(4), crs)
    path = tmp_path / "hand.osm"
    write_lanelet2(path, street)
    again = read_lanelet2(path, crs=crs or "local").street_map
    assert again.crs == crs
    assert apart(street.graph, again.graph) < 0.05
    assert same_topology(street.graph, again.graph)
    assert again.graph.length_m == pytest.approx(street.graph.length_m, rel=2e-3)
    turned = np.unique(again.graph.lane[again.graph.kind == LINK])
    assert [round(again.graph.lanes[i].speed_limit_mps or 0) for i in turned] == [9]
    known = {round(each.speed_limit_mps or 0): each.width_m or 0 for each in street.graph.lanes}
    for each in again.graph.lanes:
        if round(each.speed_limit_mps or 0) == 12:  # the others are slimmer where they meet
            assert each.width_m == pytest.approx(known[12], rel=0.2)
    # and the reference package sees the same
    found, rules, routes = reference(path, *((49.0, 8.43) if crs else (0.0, 0.0)))
    assert len(found.laneletLayer) == len(again.graph.lanes) == 7  # the ring in two
    assert following(found, rules, routes) == our_following(again.graph)
    assert len(our_following(again.graph)) == 7


def test_a_real_map_written_again(shared_data: Path, tmp_path: Path) -> None:
    street = read_lanelet2(shared_data / "street" / "lanelet2" / "zalazone_smartcity.osm").street_map
    write_lanelet2(tmp_path / "again.osm", street)
    again = read_lanelet2(tmp_path / "again.osm", crs=street.crs or "local").street_map
    assert apart(street.graph, again.graph) < 0.06
    assert same_topology(street.graph, again.graph)
    found, rules, routes = reference(tmp_path / "again.osm", 0.0, 0.0)
    assert following(found, rules, routes) == our_following(again.graph)


def test_lanes_that_part_at_right_angles(tmp_path: Path) -> None:
    vertices = np.array([[-20.0, 0], [0, 0], [20, 0], [0, 20], [0, -20]])
    graph = LaneGraph(vertices, np.array([[0, 1], [1, 2], [1, 3], [4, 1]]))
    write_lanelet2(tmp_path / "t.osm", StreetMap("t", graph))
    again = read_lanelet2(tmp_path / "t.osm").street_map.graph
    assert apart(graph, again) < 0.06
    assert same_topology(graph, again)
    found, rules, routes = reference(tmp_path / "t.osm", 0.0, 0.0)
    assert following(found, rules, routes) == our_following(again)


def test_edges_without_length_keep_what_they_join(tmp_path: Path) -> None:
    """Two lanes end where two start, but only one way round: short lanes, edges of no length, in rows as well."""
    vertices = np.array([[0.0, 0], [30, 0], [30, 0], [60, 0], [30, 0], [30, 0], [30, 40], [0, 4], [30, 0]])
    edges = np.array([[0, 1], [1, 2], [2, 3], [1, 4], [4, 5], [5, 6], [7, 8], [8, 2]])
    graph = LaneGraph(vertices, edges)
    write_lanelet2(tmp_path / "t.osm", StreetMap("t", graph))
    again = read_lanelet2(tmp_path / "t.osm").street_map.graph
    assert apart(graph, again) < 0.12
    assert networkx.is_isomorphic(contracted(graph), contracted(again))
    found, rules, routes = reference(tmp_path / "t.osm", 0.0, 0.0)
    assert following(found, rules, routes) == our_following(again)


@pytest.mark.parametrize("back_m", [0.13, 0.54, 2.0])
@pytest.mark.parametrize("turn", [0.05, -0.05, 0.5])
def test_lanes_that_turn_back_on_themselves(tmp_path: Path, back_m: float, turn: float) -> None:
    """A kink that no bounds can follow is left out; the lane keeps its direction and what it joins."""
    kink = np.array([30.3 - back_m * np.cos(turn), -back_m * np.sin(turn)])
    vertices = np.array([[0.0, 0], [15, 0], [30.3, 0], kink, [45, 0.5], [60, 0], [60, 20]])
    graph = LaneGraph(vertices, np.array([[0, 1], [1, 2], [2, 3], [3, 4], [4, 5], [4, 6]]))
    write_lanelet2(tmp_path / "t.osm", StreetMap("t", graph))
    again = read_lanelet2(tmp_path / "t.osm").street_map.graph
    assert apart(graph, again) < max(0.06, back_m)
    assert same_topology(graph, again)


def test_writing_what_cannot_be_written(tmp_path: Path) -> None:
    street = by_hand(np.random.default_rng(0), None)
    with pytest.raises(WriteError):
        write_lanelet2(tmp_path / "none" / "a.osm", street)
    with pytest.raises(ConfigError):
        write_lanelet2(tmp_path / "a.osm", street, width_m=-1)
    with pytest.raises(MapInputError, match="holds no lane"):
        write_lanelet2(tmp_path / "a.osm", StreetMap("void", LaneGraph.empty()))
    with pytest.raises(MapInputError, match="holds no lane"):  # a point
        write_lanelet2(tmp_path / "a.osm", StreetMap("s", LaneGraph(np.zeros((2, 2)), np.array([[0, 1]]))))
    wrong = LaneGraph(np.eye(2), np.array([[0, 1]]), lane=np.array([0]), lanes=(LaneAttributes("w", -2.0),))
    with pytest.raises(MapInputError, match=r"lane w is -2.0 m wide"):
        write_lanelet2(tmp_path / "a.osm", StreetMap("s", wrong))
    with pytest.raises(MapInputError, match="not in metres"):
        write_lanelet2(tmp_path / "a.osm", StreetMap("s", street.graph, "EPSG:4326"))


def test_sides_and_alignment_against_the_reference() -> None:
    """Random bounds in random directions: turned as the reference package turns them."""
    from lanelet2.core import BasicPoint2d, LineString2d, Point3d, getId
    from lanelet2.geometry import toArcCoordinates

    rng = np.random.default_rng(7)
    for _ in range(200):
        heading = np.cumsum(rng.normal(0, 0.4, rng.integers(1, 9)))
        line = np.concatenate([[[0.0, 0.0]], np.cumsum(np.stack([np.cos(heading), np.sin(heading)], 1) * 3, 0)])
        point = line[rng.integers(len(line))] + rng.normal(0, 2, 2)
        string = LineString2d(getId(), [Point3d(getId(), *xy, 0.0) for xy in line.tolist()])
        theirs = toArcCoordinates(string, BasicPoint2d(*point)).distance
        assert side(line, point) == pytest.approx(theirs, abs=1e-9)


def test_alignment_rule(tmp_path: Path) -> None:
    """Bounds drawn in any direction give one centre line, in the direction that left and right say."""
    left, right = np.array([[0.0, 3], [5, 3.5], [10, 3], [15, 3]]), np.array([[0.0, 0], [7, 0], [15, 0]])
    for flip_left in (False, True):
        for flip_right in (False, True):
            given = left[::-1] if flip_left else left, right[::-1] if flip_right else right
            assert aligned(*given) == (flip_left, flip_right)
            text = osm(given[0], given[1])
            (tmp_path / "a.osm").write_text(text)
            graph = read_lanelet2(tmp_path / "a.osm").street_map.graph
            line = line_of(graph, 0)
            np.testing.assert_allclose(line[[0, -1]], [[0, 1.5], [15, 1.5]], atol=1e-9)
            found, _, _ = reference(tmp_path / "a.osm", 0.0, 0.0)
            first = next(iter(found.laneletLayer)).leftBound[0]
            np.testing.assert_allclose([first.x, first.y], left[0], atol=1e-3)


def test_the_middle_of_a_turn() -> None:
    """Straight, then a quarter turn: at equal shares of both lengths the bounds would be at different places."""

    def offset(t: float) -> DoubleArray:
        turn = np.linspace(0, np.pi / 2, 40)
        arc = np.stack([50 + (7 - t) * np.sin(turn), 7 - (7 - t) * np.cos(turn)], 1)
        return np.concatenate([[[0.0, t]], arc])

    line, width = middle_line(offset(1.75), offset(-1.75), 1.0)
    assert shapely.hausdorff_distance(shapely.LineString(line), shapely.LineString(offset(0)), 0.1) < 0.03
    assert width == pytest.approx(3.5, abs=0.02)
    assert np.hypot(*np.diff(line, axis=0).T).max() <= 1 + 1e-9


def osm(left: DoubleArray, right: DoubleArray, tags: str = "", head: str = "") -> str:
    """One lanelet between two bounds, in a local frame."""
    rows = np.concatenate([left, right])
    nodes = "".join(
        f'<node id="{n}" lat="{y / 110574.2758:.11f}" lon="{x / 111319.4908:.11f}">'
        f'<tag k="local_x" v="{x}"/><tag k="local_y" v="{y}"/></node>'
        for n, (x, y) in enumerate(rows.tolist(), 1)
    )
    refs = [
        "".join(f'<nd ref="{n}"/>' for n in run)
        for run in (range(1, len(left) + 1), range(len(left) + 1, len(rows) + 1))
    ]
    return (
        f'<?xml version="1.0"?>{head}<osm version="0.6">{nodes}'
        f'<way id="101">{refs[0]}</way><way id="102">{refs[1]}</way>'
        '<relation id="200"><member type="way" ref="101" role="left"/><member type="way" ref="102" role="right"/>'
        f'<tag k="type" v="lanelet"/><tag k="subtype" v="road"/>{tags}</relation></osm>'
    )


PLAIN = osm(np.array([[0.0, 3], [10, 3]]), np.array([[0.0, 0], [10, 0]]))


def tag(key: str, value: str) -> str:
    return f'<tag k="{key}" v="{value}"/>'


@pytest.mark.parametrize(
    ("tags", "participant", "lanes"),
    [
        ("", "vehicle", 1),
        ("", "pedestrian", 0),
        ("", None, 1),
        (tag("one_way", "no"), "vehicle", 2),
        (tag("one_way", "no") + tag("one_way:vehicle", "yes"), "vehicle", 1),
        (tag("participant:bicycle", "yes"), "vehicle", 0),
        (tag("participant:vehicle", "no"), "vehicle", 0),
        (tag("participant:vehicle", "no") + tag("participant:vehicle:bus", "yes"), "vehicle:bus", 1),
        (tag("subtype", "bus_lane"), "vehicle", 0),
        (tag("subtype", "bus_lane"), "vehicle:bus", 1),
        (tag("subtype", "shared_walkway"), "bicycle", 1),
        (tag("subtype", "hovercraft"), "vehicle", 0),
        (tag("subtype", ""), "vehicle", 1),
        (tag("subtype", ""), "bicycle", 0),
        (tag("participant:vehicle", "True"), "vehicle", 0),
        (tag("participant:vehicle", "1"), "vehicle", 1),
        (tag("participant", "vehicle"), "vehicle", 0),
    ],
)
def test_who_may_pass(tmp_path: Path, tags: str, participant: str | None, lanes: int) -> None:
    (tmp_path / "a.osm").write_text(PLAIN.replace("</relation>", f"{tags}</relation>"))
    reading = read_lanelet2(tmp_path / "a.osm", participant)
    assert len(reading.street_map.graph.lanes) == lanes
    assert bool(reading.left_out) == (lanes == 0)
    if participant == "vehicle" and "one_way:" not in tags:  # there the package ignores what the documentation says
        found, rules, _ = reference(tmp_path / "a.osm", 0.0, 0.0)
        each = next(iter(found.laneletLayer))
        assert (2 - rules.isOneWay(each) if rules.canPass(each) else 0) == lanes


@pytest.mark.parametrize(
    ("text", "mps"),
    [
        ("50", 50 / 3.6),
        ("50 km/h", 50 / 3.6),
        ("30 mph", 13.4112),
        ("5 m/s", 5),
        ("fast", None),
        ("-3", None),
        ("nan", None),
    ],
)
def test_speed_limits(tmp_path: Path, text: str, mps: float | None) -> None:
    (tmp_path / "a.osm").write_text(PLAIN.replace("</relation>", f"{tag('speed_limit', text)}</relation>"))
    reading = read_lanelet2(tmp_path / "a.osm")
    assert reading.street_map.graph.lanes[0].speed_limit_mps == (None if mps is None else pytest.approx(mps))
    assert reading.left_out == {}
    assert len(reading.faults) == (mps is None)


BOMB = '<!DOCTYPE o [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;">]>'


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("</osm>", "", "no element found"),
        ("<osm ", f"{BOMB}<osm ", "document type or entity"),
        ("<osm ", '<!DOCTYPE o SYSTEM "file:///etc/hostname"><osm ', "document type or entity"),
        ('<nd ref="2"/>', '<nd ref="77"/>', "node 77 of way 101, left of lanelet 200, is not there"),
        ('<nd ref="2"/>', "", "way 101, left of lanelet 200, has 1 nodes"),
        ('<way id="101">', '<way id="109">', "way 101, left of lanelet 200, is not there"),
        ('<way id="101">', '<way id="101" action="delete">', "way 101, left of lanelet 200, is not there"),
        ('role="left"', 'role="both"', "lanelet 200 has 0 left ways"),
        ('ref="101" role="left"', 'ref="101" role="right"', "lanelet 200 has 0 left ways"),
        ('<node id="2"', '<node id="1"', "node 2 of way 101, left of lanelet 200, is not there"),
        ('<node id="1"', '<node id="2"', "node 1 of way 101, left of lanelet 200, is not there"),
        ("<node id=", "<node nr=", "node 1 of way 101, left of lanelet 200, is not there"),
        (
            "</osm>",
            '<way id="101"><nd ref="3"/><nd ref="4"/></way></osm>',
            "way 101, left of lanelet 200, is there twice",
        ),
        ("</osm>", '<node id="2" lat="0" lon="0.1"/></osm>', "node 2 of way 101, left of lanelet 200, is there twice"),
        ('k="local_x" v="10.0"', 'k="local_x" v="nan"', "local_x of node 2 is 'nan'"),
        ('k="local_x" v="10.0"', 'k="local_x" v="ten"', "local_x of node 2 is 'ten'"),
        ('k="local_x" v="10.0"', 'k="lokal_x" v="10.0"', "node 2 has no 'local_x'"),
        ('<tag k="local_x" v="10.0"/><tag k="local_y" v="3.0"/>', "", "node 2 has neither latitude and longitude nor"),
        ('v="lanelet"', 'v="multipolygon"', "holds no lanelet"),
        ("osm", "osn", "no <osm> element"),
    ],
)
def test_damage_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in PLAIN
    (tmp_path / "a.osm").write_text(PLAIN.replace(old, new, -1 if old == "osm" else 1))
    with pytest.raises(MapInputError) as caught:
        read_lanelet2(tmp_path / "a.osm")
    assert message in caught.value.message
    assert caught.value.cure


TWO = osm(np.array([[0.0, 3], [10, 3], [20, 3]]), np.array([[0.0, 0], [10, 0], [20, 0]]))


def with_second_lanelet(left: str, right: str, ways: str = "") -> str:
    """The map of one lanelet, and another one between ways of a member's own."""
    lanelet = f'<relation id="300">{left}{right}{tag("type", "lanelet")}</relation>'
    return TWO.replace("</osm>", f"{ways}{lanelet}</osm>")


def member(role: str, *ways: int) -> str:
    return "".join(f'<member type="way" ref="{way}" role="{role}"/>' for way in ways)


RIGHT = '<way id="103"><nd ref="4"/><nd ref="5"/></way><way id="104"><nd ref="6"/><nd ref="5"/></way>'


@pytest.mark.parametrize(
    ("left", "right", "ways", "lanes", "fault"),
    [
        (member("left", 101), member("right", 103, 104), RIGHT, 2, None),  # ways that make one line
        (member("left", 101), member("right", 104, 103), RIGHT, 2, None),
        (member("left", 101), member("right", 102, 103), RIGHT, 1, "lanelet 300 has 2 right ways"),
        (member("left", 101), "", "", 1, "lanelet 300 has 0 right ways"),
        (member("left", 101), member("right", 999), "", 1, "way 999, right of lanelet 300, is not there"),
        (member("left", 101), member("right", 101), "", 1, "both bounds of lanelet 300 are the same"),
        (member("left", 101), member("right", 102) + '<member type="relation" ref="77" role="regulatory_element"/>', "",
         2, None),
        (member("left", 101), member("right", 102) + member("centerline", 77), "", 2, "way 77, centerline of"),
    ],
)  # fmt: skip
def test_a_bad_lanelet_is_dropped_as_the_reference_drops_it(
    tmp_path: Path, left: str, right: str, ways: str, lanes: int, fault: str | None
) -> None:
    (tmp_path / "a.osm").write_text(with_second_lanelet(left, right, ways))
    reading = read_lanelet2(tmp_path / "a.osm")
    assert len(reading.street_map.graph.lanes) == lanes
    assert [each.where for each in reading.faults if fault is None or fault not in each.where] == []
    assert len(reading.faults) == (fault is not None)


def test_ids_that_come_again(tmp_path: Path) -> None:
    """The same once more does no harm; something else leaves open which is meant."""
    good = with_second_lanelet(member("left", 101), member("right", 102))
    start = good.index('<way id="101"')
    way = good[start : good.index("</way>", start) + 6]
    (tmp_path / "a.osm").write_text(good.replace("</osm>", f"{way}</osm>"))
    reading = read_lanelet2(tmp_path / "a.osm")
    assert (len(reading.street_map.graph.lanes), reading.faults) == (2, ())
    assert reading.left_out == {"way that is there twice, alike": 1}
    again = f'<relation id="300">{member("left", 102)}{member("right", 101)}{tag("type", "lanelet")}</relation>'
    (tmp_path / "a.osm").write_text(good.replace("</osm>", f"{again}</osm>"))
    reading = read_lanelet2(tmp_path / "a.osm")
    assert len(reading.street_map.graph.lanes) == 2
    assert [each.where for each in reading.faults] == ["relation 300 is there twice"]


def test_degrees_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "a.osm"
    path.write_text(PLAIN.replace('lat="0.', 'lat="97.'))
    with pytest.raises(MapInputError, match=r"node \d is at latitude 97"):
        read_lanelet2(path, positions="geographic")
    with pytest.raises(MapInputError, match="not in metres"):
        read_lanelet2(tmp_path / "a.osm", positions="geographic", crs="EPSG:4326").street_map if path.write_text(
            PLAIN
        ) else None
    with pytest.raises(ConfigError, match="positions 'maybe'"):
        read_lanelet2(path, positions="maybe")
    with pytest.raises(ConfigError, match="step"):
        read_lanelet2(path, step_m=0)
