"""A second reader, written from docs/street-codes.md alone: it must agree with the package on every map."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from graph_samples import crossing
from street_reader import read
from write_street_golden import GOLDEN, Stripes, far, junction

from foldmap.atlas import FoldFile, FoldWriter
from foldmap.street.fold import StreetPlan, fold_street
from foldmap.street.source import LaneAttributes, LaneGraph, StreetMap
from foldmap.street.unfold import FoldedStreet


def agree(path: Path) -> int:
    """Hold both readers against each other; how many edges were compared."""
    compared = 0
    with FoldFile.open(path) as file:
        layer = FoldedStreet(file)
        books = None if layer.codec is None or layer.codec.quantizer is None else layer.codec.quantizer.codebooks
        found = read(path, codebooks=None if books is None else np.asarray(books, np.float16))
        assert list(found) == [region.name for region in layer.regions]
        for name, second in found.items():
            graph, places = layer.graph(name), layer.places(name)
            ours = np.rint(graph.vertices_m / layer.step_m).astype(int)
            theirs = np.array([key[:2] for key in second.keys])
            # which number a vertex has is a reader's own; which vertices are one is not
            one = dict(zip(graph.edges.ravel().tolist(), np.ravel(second.edges).tolist(), strict=True))
            assert len(one) == len(set(one.values())) == len(graph) == len(second.keys)
            assert [(one[a], one[b]) for a, b in graph.edges.tolist()] == second.edges
            assert np.array_equal(ours, theirs[[one[v] for v in range(len(graph))]])
            assert np.array_equal(graph.vertices_m, ours * layer.step_m)
            assert graph.kind.tolist() == second.kind
            assert [None if k < 0 else [*vars(graph.lanes[k]).values()] for k in graph.lane.tolist()] == second.lanes
            assert list(zip(places.edge.tolist(), np.rint(places.along_m / layer.step_m), strict=True)) == second.places
            ends = theirs[np.array(second.edges)] * layer.step_m
            edge = np.array([place[0] for place in second.places], int)
            along = np.array([place[1] for place in second.places]) * layer.step_m
            step = ends[edge, 1] - ends[edge, 0]
            step /= np.linalg.norm(step, axis=1, keepdims=True)
            assert np.allclose(places.xy_m, ends[edge, 0] + step * along[:, None], rtol=0, atol=1e-6)
            assert np.allclose(places.heading_rad, np.arctan2(step[:, 1], step[:, 0]))
            if layer.codec is not None:
                assert np.allclose(layer.embeddings(name), np.reshape(second.vectors, (-1, layer.dimension)), atol=1e-5)
            compared += len(graph.edges)
    return compared


def test_the_second_reader_agrees_on_the_golden_file() -> None:
    assert agree(GOLDEN / "v1-street.fold") > 60


SEEDS = {"float16": 0, "int4": 2, "int8": 4, "pq": 6}


def wild(seed: int) -> LaneGraph:
    """Edges at random: knots, rings, vertices at one point, junctions of many arms, far jumps, lanes without names."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(2, 60))
    points = np.round(rng.normal(0, rng.choice([3.0, 100.0]), (count, 2)), 1)
    points[rng.integers(count)] = points[0]
    pairs = rng.integers(count, size=(count * 2, 2))
    pairs = np.unique(pairs[np.abs(points[pairs[:, 0]] - points[pairs[:, 1]]).sum(1) > 0.5], axis=0)
    lanes = tuple(LaneAttributes(str(k), float(k), None, None) for k in range(4))
    kind = rng.integers(2, size=len(pairs)).astype(np.uint8)
    return LaneGraph(points, rng.permutation(pairs), kind, rng.integers(-1, 4, len(pairs)), lanes)


@pytest.mark.parametrize(
    ("vectors", "lanes", "tile_m", "spacing_m"),
    [("none", "none", 512.0, 5.0), ("float16", "traits", 50.0, 5.0), ("int4", "all", 100.0, 0.0),
     ("1bit", "none", 64.0, 9.0), ("int8", "all", 64.0, 11.0), ("pq", "traits", 80.0, 7.0)],
)  # fmt: skip
def test_the_second_reader_agrees_on_other_maps(
    vectors: str, lanes: str, tile_m: float, spacing_m: float, tmp_path: Path
) -> None:
    graphs = (
        [junction(), far(), wild(SEEDS[vectors]), wild(SEEDS[vectors] + 1)]
        if lanes != "none"
        else [crossing(3, blocks=2)]
    )
    maps = [StreetMap(str(k), graph) for k, graph in enumerate(graphs) if len(graph.edges)]
    plan = StreetPlan(tile_m=tile_m, spacing_m=spacing_m, vectors=vectors, lanes=lanes, parts=4, model=Stripes())
    with FoldWriter(tmp_path / "a.fold") as writer:
        fold_street(writer, maps, plan)
        writer.commit()
    assert agree(tmp_path / "a.fold") > 100
