"""Lies in a street layer under sound checksums: parameters, tiles and models, sealed anew."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from driver import Case, Family, Files, Rng
from fuzz_visual import Parts, mutated
from mutations import members, pick

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "street"))

from test_street_fold import Counts, folded

from foldmap.atlas import FoldFile
from foldmap.street.unfold import FoldedStreet

NAME = "a.fold"


def street_seeds() -> Sequence[Files]:
    """Two regions: with vectors, and with lanes alone."""
    made = []
    for model, plan in (
        (Counts(), {}),
        (Counts(), {"vectors": "pq", "lanes": "all"}),
        (None, {"vectors": "none", "lanes": "traits"}),
    ):
        with tempfile.TemporaryDirectory() as scratch:
            made.append({NAME: folded(Path(scratch) / NAME, model, **plan).read_bytes()})
    return made


def street_lie(rng: Rng, files: Files) -> Case:
    """One lie of one part; where the writer refuses it, none."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / NAME
        path.write_bytes(files[NAME])
        good = Parts.of(path, "street")
        try:
            if rng.random() < 0.3:
                what, parts = "parameters", good
                for _ in range(int(pick(rng, (1, 1, 2)))):
                    parts.parameters = json.loads(members(rng, json.dumps(parts.parameters)))
            else:
                what, parts = mutated(rng, good)
            parts.write(path)
        except Exception:  # no parameters or no tile that a file may have
            return Case(files, "nothing")
        return Case({NAME: path.read_bytes()}, what)


def read_street(folder: Path) -> Any:
    """All that a street layer tells."""
    found = []
    with FoldFile.open(folder / NAME) as file:
        layer = FoldedStreet(file)
        layer.byte_report()
        for region in layer.regions:
            graph, places = layer.graph(region.name), layer.places(region.name)
            x_m, y_m = graph.vertices_m[0] if len(graph.vertices_m) else (0.0, 0.0)
            near = layer.graph_near(region.name, float(x_m), float(y_m), 30.0)
            found += [region, graph.vertices_m, graph.edges, graph.lanes, places.xy_m, places.heading_rad]
            found += [near.vertices_m, near.edges]
            if layer.dimension:
                found.append(layer.embeddings(region.name))
    return found


def fold_families() -> list[Family]:
    """Of layers of .fold files."""
    return [Family("street-layer", street_seeds, street_lie, read_street, 20, names_file=False)]
