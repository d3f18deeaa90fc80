"""A second reader of street layers, written from docs/street-codes.md and format.md alone; shares no code."""

from __future__ import annotations

import json
import sys
import zlib
from dataclasses import dataclass, field
from math import isqrt
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "visual"))

from graph_reader import Graph, read_graph, varint
from range_reader import read_integers

import second_reader


@dataclass
class Tile:
    """One tile: its graph with ranks by vertex, places as (edge, steps along it), vectors, and lanes of edges."""

    graph: Graph
    ranks: dict[int, int]
    places: list[tuple[int, int]]
    vectors: np.ndarray
    lanes: list[list | None]


@dataclass
class Region:
    """A region joined: vertices by key, edges in order with kind and lane, places as (edge, along), vectors."""

    keys: list[tuple[int, int, int]] = field(default_factory=list)
    edges: list[tuple[int, int]] = field(default_factory=list)
    kind: list[int] = field(default_factory=list)
    lanes: list[list | None] = field(default_factory=list)
    places: list[tuple[int, int]] = field(default_factory=list)
    vectors: list[np.ndarray] = field(default_factory=list)


def candidates(graph: Graph, spacing: int) -> list[tuple[int, int]]:
    """Where places may be: (edge, steps along it)."""
    if not spacing:
        return []
    into: dict[int, list[int]] = {}
    out: dict[int, list[int]] = {}
    for edge, (a, b) in enumerate(graph.edges):
        out.setdefault(a, []).append(edge)
        into.setdefault(b, []).append(edge)

    def key(vertex: int) -> bool:
        ins, outs = into.get(vertex, []), out.get(vertex, [])
        return len(ins) != 1 or len(outs) != 1 or graph.kind[ins[0]] != graph.kind[outs[0]]

    taken: set[int] = set()
    found = []
    for rings in (False, True):
        for start, (a, _) in enumerate(graph.edges):
            if start in taken or not (rings or key(a)):
                continue
            run = [start]
            while not key(graph.edges[run[-1]][1]):
                following = out[graph.edges[run[-1]][1]][0]
                if following == start:
                    break
                run.append(following)
            taken.update(run)
            found += on_run(graph, run, spacing)
    return found


def on_run(graph: Graph, run: list[int], spacing: int) -> list[tuple[int, int]]:
    sizes = []
    for edge in run:
        (ax, ay), (bx, by) = (graph.xy[end] for end in graph.edges[edge])
        sizes.append(isqrt((bx - ax) ** 2 + (by - ay) ** 2))
    whole, found = sum(sizes), []
    count = (2 * whole + spacing) // (2 * spacing)
    for i in range(count):
        left = (2 * i + 1) * whole // (2 * count)
        for edge, size in zip(run, sizes, strict=True):
            if left < size:
                found.append((edge, left))
                break
            left -= size
    return found


def read_vectors(data: bytes, rows: int, parameters: dict, codebooks: np.ndarray | None) -> np.ndarray:
    """Unit rows."""
    form, size = parameters["vectors"], parameters["dimension"]
    if form == "none" or not rows:
        assert not data
        return np.zeros((rows, size))
    assert len(data) % rows == 0
    lines = np.frombuffer(data, np.uint8).reshape(rows, -1)
    scale = lines[:, :2].copy().view("<f2").astype(float)
    if form == "float16":
        values = lines.copy().view("<f2").astype(float)
    elif form == "int8":
        values = lines[:, 2:].copy().view(np.int8) * scale
    elif form == "int4":
        values = (np.stack([lines[:, 2:] & 15, lines[:, 2:] >> 4], 2).reshape(rows, -1)[:, :size] - 8.0) * scale
    elif form == "1bit":
        values = np.unpackbits(lines, axis=1)[:, :size] * 2.0 - 1
    else:
        assert codebooks is not None
        values = np.concatenate([codebooks[m, lines[:, m]] for m in range(lines.shape[1])], 1).astype(float)
    assert values.shape == (rows, size)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def read_tile(data: bytes, parameters: dict, codebooks: np.ndarray | None = None) -> Tile:
    """Section 1."""
    assert data[0] == 1
    at, head = 1, []
    for _ in range(6):
        value, at = varint(data, at)
        head.append(value)
    ranks = {}
    for _ in range(head[5]):
        vertex, at = varint(data, at)
        ranks[vertex], at = varint(data, at)
    parts = []
    for size in head[1:5]:
        parts.append(data[at : at + size])
        at += size
    assert at == len(data)
    graph = read_graph(parts[0], parameters["step_m"])
    may = candidates(graph, parameters["spacing"])
    dropped = read_integers(parts[1], len(may), 1)[:, 0].tolist()
    places = [place for place, gone in zip(may, dropped, strict=True) if not gone]
    assert len(places) == head[0]
    lanes: list[list | None] = [None] * len(graph.edges)
    if parts[3]:
        text, at = varint(parts[3], 0)
        size, at = varint(parts[3], at)
        said = zlib.decompress(parts[3][at : at + size])
        assert len(said) == text
        table = json.loads(said)
        index = np.cumsum(read_integers(parts[3][at + size :], len(lanes), 1)[:, 0]) - 1
        lanes = [table[k] if k >= 0 else None for k in index.tolist()]
    return Tile(graph, ranks, places, read_vectors(parts[2], head[0], parameters, codebooks), lanes)


def read(path: Path, name: str = "street", codebooks: np.ndarray | None = None) -> dict[str, Region]:
    """All regions of a file's street layer."""
    file = second_reader.read(path)
    ((_, kind, parameters),) = [layer for layer in file["layers"] if layer[0] == name]
    assert kind == "street"
    assert parameters["codec"] == "lanes-1"
    regions = [Region() for _ in parameters["regions"]]
    numbers: list[dict[tuple[int, int, int], int]] = [{} for _ in regions]
    for (x, row), payload in sorted(file["tiles"][name].items(), key=lambda item: (item[0][1], item[0][0])):
        number, y = row >> 16, (row & 65535) - 32768
        region, known, tile = regions[number], numbers[number], read_tile(payload, parameters, codebooks)
        origin, first = parameters["regions"][number]["origin"], len(region.edges)
        keys = [(*at, tile.ranks.get(v, 0)) for v, at in enumerate(tile.graph.xy)]
        for a, b in tile.graph.edges:
            middle = [keys[a][k] + keys[b][k] - 2 * origin[k] for k in range(2)]
            assert [middle[k] // (2 * parameters["tile"]) for k in range(2)] == [x, y]
            region.edges.append((known.setdefault(keys[a], len(known)), known.setdefault(keys[b], len(known))))
        region.kind += tile.graph.kind
        region.lanes += tile.lanes
        region.places += [(first + edge, along) for edge, along in tile.places]
        region.vectors += list(tile.vectors)
    for region, known in zip(regions, numbers, strict=True):
        region.keys = list(known)
        assert len(set(region.edges)) == len(region.edges)
        assert all(a != b for a, b in region.edges)
    return {said["name"]: region for said, region in zip(parameters["regions"], regions, strict=True)}
