"""The shipped street models: what they know of a town that they have never seen, and what happens without them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from foldmap.errors import ModelError
from foldmap.metrics.street_chamfer import PointSets, chamfer_matrix
from foldmap.street.defaults import NAMES, default_model, weights_folder
from foldmap.street.field.model import FieldEmbedding
from foldmap.street.field.network import FieldNetwork, FieldShape
from foldmap.street.images.observation import StreetPair
from foldmap.street.images.rig import surround_ring
from foldmap.street.paper.pairs import AerialPairs, GroundTile, RingPairs
from foldmap.street.places import sample_places, windows
from foldmap.town.street.ortho import town_tile
from foldmap.town.street.training import TRAINED_SEEDS
from foldmap.town.world import TownWorld

UNSEEN = 7
SIDE_M = 240.0
LEAST_WAY = {"aerial": 0.85, "ring": 0.85}
"""Of the way from a random graph of the town to the best one; measured: 0.98 of both."""


@cache
def unseen_town() -> GroundTile:
    assert UNSEEN not in TRAINED_SEEDS
    return town_tile(TownWorld(UNSEEN), -SIDE_M / 2, -SIDE_M / 2, SIDE_M, 0.25, day_seed=3)


@pytest.mark.parametrize("kind", list(LEAST_WAY))
def test_an_unseen_town_is_read(kind: str) -> None:
    tile = unseen_town()
    pairs = AerialPairs([tile], 5.0) if kind == "aerial" else RingPairs([tile], surround_ring(), 5.0)
    chosen = np.sort(np.random.default_rng(0).permutation(len(pairs))[:20])
    queries: list[StreetPair] = [pairs[int(k)] for k in chosen]
    model = default_model()
    graph = tile.map.graph
    library = list(windows(graph, sample_places(graph, 8.0), model.window))  # not where the queries are
    similarity = model.embed_observations([q.observation for q in queries]) @ model.embed_graphs(library).T
    distance = chamfer_matrix(
        PointSets.of([q.graph.vertices_m for q in queries]), PointSets.of([g.vertices_m for g in library])
    )
    retrieved = float(distance[np.arange(len(queries)), similarity.argmax(1)].mean())
    random, oracle = float(distance.mean()), float(distance.min(1).mean())
    way = (random - retrieved) / (random - oracle)
    print(f"{kind}: random {random:.2f} m, retrieved {retrieved:.2f} m, oracle {oracle:.2f} m, {way:.0%} of the way")
    assert oracle < 0.5 * random
    assert way >= LEAST_WAY[kind]


def test_shipped_files_are_small_and_of_their_kind() -> None:
    paths = sorted(weights_folder().glob("*.safetensors"))
    assert {path.stem for path in paths} <= set(NAMES.values())
    assert NAMES[False] in {path.stem for path in paths}
    for path in paths:
        assert path.stat().st_size < 4_000_000
        assert default_model(update=path.stem == NAMES[True]).network.shape.with_map == (path.stem == NAMES[True])


def test_a_missing_damaged_or_other_model_is_refused(tmp_path: Path) -> None:
    for update, more in ((False, ""), (True, " --update")):
        with pytest.raises(ModelError, match=f"{NAMES[update]} is not installed") as caught:
            default_model(update, folder=tmp_path)
        assert f"foldmap train street{more} -o" in caught.value.cure
    torch.manual_seed(0)
    payload = FieldEmbedding(FieldNetwork(FieldShape(width=8))).payload()
    (tmp_path / f"{NAMES[False]}.safetensors").write_bytes(payload)
    assert default_model(folder=tmp_path).payload() == payload
    (tmp_path / f"{NAMES[True]}.safetensors").write_bytes(payload)
    with pytest.raises(ModelError, match="no model that takes a map"):
        default_model(update=True, folder=tmp_path)
    (tmp_path / f"{NAMES[False]}.safetensors").write_bytes(payload[:-9])
    with pytest.raises(ModelError):
        default_model(folder=tmp_path)
