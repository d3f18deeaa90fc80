"""Writing a lane graph as a Lanelet2 map."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias
from xml.sax.saxutils import quoteattr

import numpy as np

from foldmap.errors import ConfigError, MapInputError
from foldmap.formats.crs import require_metric, to_lonlat
from foldmap.formats.listing import write_lines
from foldmap.formats.street.bounds import aligned, middle_line
from foldmap.formats.street.lanelet2.osm import USERS
from foldmap.street.graph.chains import chains
from foldmap.street.source import LINK, LaneGraph, StreetMap
from foldmap.types import DoubleArray

WIDTH_M = 3.5
"""Of lanes whose width the map does not say."""
_ERROR_M, _SLIMMEST_M, _TAPER = 0.03, 0.05, 0.2
_SPREAD_M, _MOST_SPREADS = 0.05, 16
_BLUNT_COSINE, _STRAIGHT_RAD = 0.9, np.radians(20)
_DEGREE_NORTH_M, _DEGREE_EAST_M = 110574.2758, 111319.4908
"""Metres a degree at (0, 0), where maps in a local frame are put."""
_FARTHEST_M = 100_000.0
_Nodes: TypeAlias = dict[int, tuple[DoubleArray, DoubleArray]]


def write_lanelet2(path: Path | str, street_map: StreetMap, width_m: float = WIDTH_M) -> None:
    """Write each chain of the graph as a lanelet (a ring as two).

    Bounds are half the lane's width from its centre line, less where it turns too sharply or where lanes part at an
    angle, so that the middle of the bounds stays within 5 cm of it. All lanelets that meet at a vertex share the two
    nodes there, so each that ends at it is followed by each that starts. Edges of no length become some centimetres
    long, points at which a lane turns back on itself are left out. `LINK` edges get a ``turn_direction``. Lanes whose
    width is not known are ``width_m`` wide. A map without crs is written about latitude and longitude 0, 0, with tags
    ``local_x`` and ``local_y``; where that is over 200 km wide, or a crs is not metric, it is a MapInputError.
    """
    if not (np.isfinite(width_m) and width_m > 0):
        raise ConfigError(f"lanes {width_m} m wide", "give a positive width")
    street_map = replace(street_map, graph=_spread(street_map.graph))
    if not len(street_map.graph.edges):
        raise MapInputError(f"{street_map.name} holds no lane to write", "give a map with lanes")
    lines = _lines(street_map.graph)
    sides = _fitted(street_map.graph, lines, width_m)
    write_lines(path, list(_xml(street_map, lines, *sides)))


@dataclass(frozen=True)
class _Line:
    """What becomes one lanelet: points, the graph's vertices at its ends, one of its edges."""

    points: DoubleArray
    start: int
    end: int
    edge: int


def _spread(graph: LaneGraph) -> LaneGraph:
    """The graph with its edges of no length drawn out by some centimetres along the lanes that they join.

    Folding puts ends that lie closer than its grid on one point. The edge between them still says which lane goes on
    into which; a lanelet of no length would have no direction. Edges that join nothing are dropped.
    """
    vertices = graph.vertices_m.copy()
    for _ in range(_MOST_SPREADS):
        ends = vertices[graph.edges]
        step = ends[:, 1] - ends[:, 0]
        length = np.hypot(*step.T)
        short = length <= 0
        if not short.any():
            break
        moved, weight = np.zeros_like(vertices), np.zeros(len(vertices))
        unit = np.divide(step, length[:, None], out=np.zeros_like(step), where=~short[:, None])
        draw = (unit.T * np.minimum(_SPREAD_M, length / 4)).T
        for end, sign in ((1, -1), (0, 1)):  # starts of short edges move back, their ends move on
            near = np.isin(graph.edges[:, end], graph.edges[short, 1 - end]) & ~short
            np.add.at(moved, graph.edges[near, end], sign * draw[near])
            np.add.at(weight, graph.edges[near, end], 1.0)
        if not weight.any():
            break
        vertices += np.divide(moved, weight[:, None], out=np.zeros_like(moved), where=weight[:, None] > 0)
    spread = replace(graph, vertices_m=vertices)
    return spread.take_edges(spread.edge_lengths_m > 0)


def _lines(graph: LaneGraph) -> list[_Line]:
    found, lines = chains(graph), []
    for c in range(len(found)):
        run = found.edge[found.offset[c] : found.offset[c + 1]]
        ring = graph.edges[run[0], 0] == graph.edges[run[-1], 1]
        for part in (run[: len(run) // 2], run[len(run) // 2 :]) if ring else (run,):
            vertices = np.append(graph.edges[part, 0], graph.edges[part[-1], 1])
            points = _with_middle(graph.vertices_m[vertices])
            lines.append(_Line(points, int(vertices[0]), int(vertices[-1]), int(part[0])))
    return lines


def _with_middle(points: DoubleArray) -> DoubleArray:
    """At least one point between the ends of a line, so that its bounds have a middle of their own."""
    return np.stack([points[0], points.mean(0), points[1]]) if len(points) == 2 else points


def _fitted(graph: LaneGraph, lines: list[_Line], width_m: float) -> tuple[list[DoubleArray], _Nodes]:
    """Inner points of both bounds of each line (2, P - 2, 2), and both nodes at each vertex where lines meet."""
    half = np.array([_width(graph, line, width_m) / 2 for line in lines])
    while True:
        nodes = _nodes(lines, half)
        inner = [_offset(line.points, _tapered(line, h, nodes)) for line, h in zip(lines, half, strict=True)]
        bad = [i for i, line in enumerate(lines) if not _good(line, *_bounds(line, inner[i], nodes))]
        slim = [i for i in bad if half[i] <= _SLIMMEST_M]
        turned = [i for i in slim if aligned(*_bounds(lines[i], inner[i], nodes)) != (False, False)]
        if len(slim) == len(bad) and not turned:
            break
        half[bad] = np.maximum(half[bad] / 2, _SLIMMEST_M)
        for i in turned if len(slim) == len(bad) else ():
            lines[i] = _blunted(lines[i])
    return inner, nodes


def _blunted(line: _Line) -> _Line:
    """The line without the inner point at which it turns back on itself most: no bounds lie on both sides of that."""
    steps = np.diff(line.points, axis=0)
    units = steps / np.hypot(*steps.T)[:, None]
    cosine = (units[:-1] * units[1:]).sum(1)
    if cosine.min() > _BLUNT_COSINE:
        cure = "let `foldmap.street.graph.repair` mend the graph, or resample it"
        raise MapInputError(f"the lane from {line.points[0].round(2).tolist()} turns too sharply for bounds", cure)
    return replace(line, points=_with_middle(np.delete(line.points, 1 + int(cosine.argmin()), axis=0)))


def _width(graph: LaneGraph, line: _Line, width_m: float) -> float:
    lane = int(graph.lane[line.edge])
    known = graph.lanes[lane].width_m if lane >= 0 else None
    if known is None:
        return width_m
    if not (np.isfinite(known) and known > 0):
        raise MapInputError(f"lane {graph.lanes[lane].identity} is {known} m wide", "give a positive width, or none")
    return known


def _nodes(lines: list[_Line], half: DoubleArray) -> _Nodes:
    """Left and right node at each vertex where lines meet, across the mean direction of those that meet.

    Lines that leave it at an angle get bounds with a skew end, which shifts their middle by the half width times
    (1 - cos angle) / 2: the half width is cut down until that is small, and until a skew end is within the first piece.
    """
    meeting: dict[int, list[tuple[DoubleArray, float, float]]] = {}
    where: dict[int, DoubleArray] = {}
    for line, h in zip(lines, half, strict=True):
        steps = np.diff(line.points, axis=0)
        for vertex, at in ((line.start, 0), (line.end, -1)):
            length = float(np.hypot(*steps[at]))
            meeting.setdefault(vertex, []).append((steps[at] / length, length, float(h)))
            where[vertex] = line.points[at]
    nodes = {}
    for vertex, met in meeting.items():
        directions = np.stack([direction for direction, _, _ in met])
        mean = directions.mean(0)
        size = float(np.hypot(*mean))
        mean = mean / size if size > 1e-6 else directions[0]
        cosine = (directions @ mean).clip(-1, 1)
        sine = np.sqrt(1 - cosine**2)
        room = min(length for _, length, _ in met)
        h = min(min(h for _, _, h in met), _ERROR_M / max(1 - cosine.min(), 1e-9), 0.4 * room / max(sine.max(), 1e-9))
        normal = np.array([-mean[1], mean[0]])
        nodes[vertex] = (where[vertex] + h * normal, where[vertex] - h * normal)
    return nodes


def _tapered(line: _Line, half: float, nodes: _Nodes) -> DoubleArray:
    """Half widths at the inner points: they grow slowly from slim ends, so that what is abreast stays nearest."""
    along = np.cumsum(np.hypot(*np.diff(line.points, axis=0).T))
    start, end = (float(np.hypot(*(nodes[at][0] - nodes[at][1]))) / 2 for at in (line.start, line.end))
    ends = np.minimum(start + _TAPER * along[:-1], end + _TAPER * (along[-1] - along[:-1]))
    found: DoubleArray = np.minimum(half, ends)
    return found


def _offset(points: DoubleArray, half: DoubleArray) -> DoubleArray:
    """Inner points moved to the left and to the right by half widths (P - 2,), to (2, P - 2, 2)."""
    steps = np.diff(points, axis=0)
    units = steps / np.hypot(*steps.T)[:, None]
    both = units[:-1] + units[1:]
    size = np.hypot(*both.T)
    sharp = size < 0.2  # nearly back on itself: across the first piece
    across = np.where(sharp[:, None], units[:-1], both / np.where(sharp, 1, size)[:, None])
    # at a corner the bounds of both pieces meet farther out
    out = half / np.maximum(np.where(sharp, 1, size / 2), 0.5)
    normal = np.stack([-across[:, 1], across[:, 0]], 1) * out[:, None]
    return np.stack([points[1:-1] + normal, points[1:-1] - normal])


def _bounds(line: _Line, inner: DoubleArray, nodes: _Nodes) -> tuple[DoubleArray, DoubleArray]:
    start, end = nodes[line.start], nodes[line.end]
    left, right = (np.concatenate([start[s][None], inner[s], end[s][None]]) for s in range(2))
    return left, right


def _good(line: _Line, left: DoubleArray, right: DoubleArray) -> bool:
    """Whether a reader finds the bounds as they are meant, and the centre line between them."""
    if aligned(left, right) != (False, False):
        return False
    middle, _ = middle_line(left, right, 0.5)
    a, steps = line.points[:-1], np.diff(line.points, axis=0)
    off = middle[:, None] - a
    share = ((off * steps).sum(2) / (steps**2).sum(1)).clip(0, 1)
    return bool(np.hypot(*(off - share[..., None] * steps).transpose(2, 0, 1)).min(1).max() <= _ERROR_M)


def _xml(street_map: StreetMap, lines: list[_Line], inner: list[DoubleArray], nodes: _Nodes) -> Iterator[str]:
    graph = street_map.graph
    yield '<?xml version="1.0" encoding="UTF-8"?>\n<osm version="0.6" generator="foldmap">'
    ends = {vertex: 2 * at for at, vertex in enumerate(nodes)}
    every = np.concatenate([np.array(list(nodes.values())).reshape(-1, 2), *(i.reshape(-1, 2) for i in inner)])
    yield from _node_xml(every, street_map.crs)
    ways: list[tuple[int, int]] = []
    at, identity = 2 * len(nodes), len(every) + 1
    for line, points in zip(lines, inner, strict=True):
        for s in range(2):
            between = range(at, at + points.shape[1])
            at += points.shape[1]
            refs = [ends[line.start] + s, *between, ends[line.end] + s]
            yield f'  <way id="{identity + s}" version="1">'
            yield from (f'    <nd ref="{ref + 1}"/>' for ref in refs)
            yield '    <tag k="type" v="virtual"/>\n  </way>'
        ways.append((identity, identity + 1))
        identity += 2
    for line, (left, right) in zip(lines, ways, strict=True):
        yield f'  <relation id="{identity}" version="1">'
        yield f'    <member type="way" ref="{left}" role="left"/>\n    <member type="way" ref="{right}" role="right"/>'
        yield from (f"    <tag k={quoteattr(key)} v={quoteattr(value)}/>" for key, value in _tags(graph, line).items())
        yield "  </relation>"
        identity += 1
    yield "</osm>"


def _tags(graph: LaneGraph, line: _Line) -> dict[str, str]:
    lane = int(graph.lane[line.edge])
    known = graph.lanes[lane] if lane >= 0 else None
    subtype = known.lane_type if known is not None and known.lane_type in USERS else "road"
    tags = {"type": "lanelet", "subtype": str(subtype), "location": "urban", "one_way": "yes"}
    if known is not None and known.speed_limit_mps is not None:
        tags["speed_limit"] = f"{known.speed_limit_mps * 3.6:.6g} km/h"
    if graph.kind[line.edge] == LINK:
        first, last = line.points[1] - line.points[0], line.points[-1] - line.points[-2]
        turn = np.arctan2(first[0] * last[1] - first[1] * last[0], first @ last)
        tags["turn_direction"] = "straight" if abs(turn) < _STRAIGHT_RAD else "left" if turn > 0 else "right"
    return tags


def _node_xml(xy_m: DoubleArray, crs: str | None) -> Iterator[str]:
    if crs is not None:
        require_metric(crs, "the map to be written")
        for at, (longitude, latitude) in enumerate(to_lonlat(xy_m, crs)):
            yield f'  <node id="{at + 1}" version="1" lat="{latitude:.11f}" lon="{longitude:.11f}"/>'
        return
    off = xy_m - (xy_m.min(0) + xy_m.max(0)) / 2
    if np.abs(off).max() > _FARTHEST_M:
        raise MapInputError("a map without crs that is over 200 km wide", "name its crs, or cut it into parts")
    degrees = off / [_DEGREE_EAST_M, _DEGREE_NORTH_M]
    for at, ((x, y), (longitude, latitude)) in enumerate(zip(xy_m, degrees, strict=True)):
        yield f'  <node id="{at + 1}" version="1" lat="{latitude:.11f}" lon="{longitude:.11f}">'
        yield f'    <tag k="local_x" v="{x:.6f}"/>\n    <tag k="local_y" v="{y:.6f}"/>\n  </node>'
