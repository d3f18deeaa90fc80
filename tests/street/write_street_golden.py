"""Write the golden file of the street layer: ``python tests/street/write_street_golden.py``."""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

from foldmap.atlas import FoldFile, FoldWriter
from foldmap.street.defaults import NAMES, weights_folder
from foldmap.street.fold import StreetPlan, fold_street
from foldmap.street.graph.window import AROUND
from foldmap.street.source import LANE, LINK, LaneAttributes, LaneGraph, StreetMap
from foldmap.street.unfold import FoldedStreet

GOLDEN = Path(__file__).resolve().parents[1] / "golden"


class Stripes:
    """In place of the shipped model, whose file it names: rows of whole numbers, the same on every machine."""

    name, dim, window = "field", 16, AROUND

    def embed_graphs(self, graphs: list[LaneGraph]) -> np.ndarray:
        rows = np.arange(len(graphs))[:, None] * 7 + np.arange(16) * 5
        rows = (rows % 23 - 11).astype(np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def embed_observations(self, observations: list[object]) -> np.ndarray:
        raise NotImplementedError

    def payload(self) -> bytes:
        return (weights_folder() / f"{NAMES[False]}.safetensors").read_bytes()


def junction() -> LaneGraph:
    """A two-way street, a curve that turns off it, a merge, a bridge without a junction, and a ring, in metres."""
    turn = [[40.0 + 0.25 * k, 1.5 - 0.01 * k * k] for k in range(0, 41, 5)]
    ring = [[90.0, 20.0], [100.0, 20.0], [103.0, 27.0], [95.0, 33.0], [87.0, 27.0]]
    points = [
        *[[0.0, 1.5], [40.0, 1.5], [80.0, 1.75], [130.0, 2.0]],  # 0..3, east
        *[[130.0, -1.5], [50.0, -1.75], [0.0, -1.5]],  # 4..6, west
        *turn[1:],  # 7..14, right turn
        [52.0, -60.0],  # 15
        *ring,  # 16..20
        *[[100.0, -40.0], [100.0, 1.85], [100.0, 40.0]],  # 21..23, over the street, at a point of it
        [60.0, -1.0],  # 24
    ]
    runs = [
        ([0, 1, 2, 3], LANE, 0), ([4, 5, 6], LANE, 1), ([1, *range(7, 15)], LINK, 2), ([14, 15], LANE, 3),
        ([16, 17, 18, 19, 20, 16], LANE, -1), ([21, 22, 23], LANE, 4), ([5, 24], LINK, -1), ([24, 2], LINK, 2),
    ]  # fmt: skip
    edges = [(a, b, kind, lane) for line, kind, lane in runs for a, b in itertools.pairwise(line)]
    table = np.array(edges, np.int64)
    lanes = (
        LaneAttributes("east", 3.5, 13.9, "VEHICLE"), LaneAttributes("west", 3.5, 13.9, "VEHICLE"),
        LaneAttributes("turn"), LaneAttributes("süd", 3.0, None, "BUS"), LaneAttributes("bridge", None, 8.3),
    )  # fmt: skip
    return LaneGraph(np.array(points), table[:, :2], table[:, 2].astype(np.uint8), table[:, 3], lanes)


def far() -> LaneGraph:
    """Parallel lanes that bend alike, far from the frame's origin."""
    along = np.arange(0, 100, 5.0)
    lines = []
    for side in (-1.75, 1.75, 5.25):
        bent = np.stack([500000.0 + along, 5400000.0 + side + 0.004 * along**2], 1)
        lines.append(bent if side > 0 else bent[::-1])
    names = [LaneAttributes(f"{number}", 3.25, 27.75, "road") for number in range(3)]
    return LaneGraph.from_polylines(lines, lanes=names)


def write(path: Path) -> None:
    """Two regions in several tiles, with names of lanes, places, embeddings in bytes, and a model that is named."""
    maps = [StreetMap("junction", junction()), StreetMap("far", far(), "EPSG:25832")]
    plan = StreetPlan(tile_m=64.0, spacing_m=20.0, vectors="int8", lanes="all", model=Stripes())
    with FoldWriter(path) as writer:
        fold_street(writer, maps, plan)
        writer.commit()


def read(path: Path) -> dict[str, Any]:
    """What a reader learns: whole numbers exactly, the others rounded."""
    with FoldFile.open(path) as file:
        layer = FoldedStreet(file)
        regions = {}
        for region in layer.regions:
            graph, places = layer.graph(region.name), layer.places(region.name)
            said = [None if k < 0 else vars(graph.lanes[k]) for k in graph.lane.tolist()]
            regions[region.name] = {
                "crs": region.crs,
                "vertices": np.rint(graph.vertices_m / layer.step_m).astype(int).tolist(),
                "edges": graph.edges.tolist(),
                "kind": graph.kind.tolist(),
                "lanes": said,
                "places": places.edge.tolist(),
                "along": np.rint(places.along_m / layer.step_m).astype(int).tolist(),
                "xy_m": np.round(places.xy_m, 6).tolist(),
                "heading_rad": np.round(places.heading_rad, 6).tolist(),
                "vectors": np.round(layer.embeddings(region.name)[:, ::5].astype(float), 4).tolist(),
            }
        models = [(model.name, file.model("street", model.name).decode()) for model in file.layer("street").models]
        return {"parameters": layer.parameters, "models": models, "regions": regions}


if __name__ == "__main__":
    write(GOLDEN / "v1-street.fold")
    (GOLDEN / "v1-street.json").write_text(json.dumps(read(GOLDEN / "v1-street.fold")) + "\n")
