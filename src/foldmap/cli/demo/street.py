"""The street part of ``foldmap demo``: the town's lanes join the file; cameras of another day retrieve and localize."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from foldmap.atlas import FoldFile, update
from foldmap.cli.demo.settings import REGION, DemoStreetSettings, Report
from foldmap.cli.demo.street_drive import Driven, drive_rows, drive_streets
from foldmap.cli.demo.street_update import Updated, age_map, bring_up_to_date
from foldmap.metrics.street_chamfer import PointSets, chamfer_matrix
from foldmap.street.field.model import FieldEmbedding
from foldmap.street.fold import StreetPlan, StreetReport, fold_street
from foldmap.street.images.observation import StreetPair
from foldmap.street.images.rig import surround_ring
from foldmap.street.paper.pairs import AerialPairs, GroundTile, RingPairs
from foldmap.street.places import windows
from foldmap.street.search import SearchIndex
from foldmap.street.source import LaneGraph, StreetMap
from foldmap.street.unfold import FoldedStreet
from foldmap.town.street.map import town_street_map
from foldmap.town.street.ortho import town_tile
from foldmap.town.street.pairs import TownRingPairs

_MARGIN_M = 60.0
_PIXEL_M = 0.25
_SPACING_M = 8.0


@dataclass(frozen=True)
class Retrieved:
    """What one observation retrieved."""

    kind: str  # of observation
    pair: StreetPair  # the observation with its true graph
    best: LaneGraph  # the retrieved graph
    chamfer_m: float  # of that graph to the truth
    random_m: float  # the mean over the file's graphs
    oracle_m: float  # of the file's best
    apart_m: float  # from the observation to the place whose graph was retrieved


@dataclass
class DemoStreets:
    """What the street part made."""

    folded: StreetReport
    layer_bytes: int  # by how much the file grew
    model: FieldEmbedding
    tile: GroundTile  # the town from above on the day of the drives
    updated: Updated | None = None  # None where no model finds changes
    retrieved: list[Retrieved] = field(default_factory=list)
    driven: Driven | None = None


def add_streets(
    path: Path,
    world: Any,
    settings: DemoStreetSettings,
    models: tuple[FieldEmbedding, FieldEmbedding | None],
    report: Report,
) -> DemoStreets:
    """Fold lanes into a file by the model that embeds, mend them by the one that finds changes, and localize."""
    model, finder = models
    far = 0.5 * settings.side_m + _MARGIN_M
    truth = town_street_map(world, -far, -far, far, far, REGION).graph
    aged = age_map(truth, world.seed, 0.5 * settings.side_m - 45.0) if finder is not None else None
    before = path.stat().st_size
    with update(path) as writer:
        graph = truth if aged is None else aged.graph
        folded = fold_street(writer, [StreetMap(REGION, graph)], StreetPlan(spacing_m=_SPACING_M, model=model))
        writer.commit()
    grown = path.stat().st_size - before
    report(1, 6)
    tile = seen_from_above(world, settings.side_m, 2)
    made = DemoStreets(folded, grown, model, tile)
    report(2, 6)
    if aged is not None and finder is not None:
        made.updated = bring_up_to_date(path, aged, truth, ring_pairs(tile), (model, finder), settings)
    report(3, 6)
    with FoldFile.open(path) as file:
        layer = FoldedStreet(file)
        made.retrieved = _retrieve(layer, model, _observed(world, tile, settings))
        report(4, 6)
        stranger = seen_from_above(type(world)(world.seed + 1), settings.side_m, 2)
        learnt = ring_pairs(seen_from_above(world, settings.side_m, 1))
        report(5, 6)
        made.driven = drive_streets(layer, model, (learnt, ring_pairs(tile), ring_pairs(stranger)), settings)
    report(6, 6)
    return made


def seen_from_above(world: Any, side_m: float, day: int, corner_m: tuple[float, float] | None = None) -> GroundTile:
    """A square of a town on a day, with its true lanes, from its south-west corner; about the town's middle if None."""
    west_m, south_m = corner_m or (-0.5 * side_m, -0.5 * side_m)
    return town_tile(world, west_m, south_m, side_m, _PIXEL_M, day)


def ring_pairs(tile: GroundTile) -> RingPairs:
    """What a ring of seven cameras sees of a tile's flat ground."""
    return RingPairs([tile], surround_ring(), 5.0)


def spread(pairs: Sequence[StreetPair] | AerialPairs | RingPairs, count: int, seed: int) -> list[StreetPair]:
    """Some pairs, at random, in order."""
    chosen = np.random.default_rng([seed, len(pairs)]).permutation(len(pairs))[:count]
    return [pairs[int(index)] for index in np.sort(chosen)]


def _observed(world: Any, tile: GroundTile, settings: DemoStreetSettings) -> list[tuple[str, StreetPair]]:
    """Observations of the day with their truth: crops from above, ring frames of flat ground, traced ring frames."""
    found = [("aerial crop", pair) for pair in spread(AerialPairs([tile], 5.0), settings.queries, world.seed)]
    found += [("seven cameras, flat ground", pair) for pair in spread(ring_pairs(tile), settings.queries, world.seed)]
    if settings.rendered:
        traced = TownRingPairs(world, reach_m=0.5 * settings.side_m - 40.0)
        found += [("seven cameras, traced", pair) for pair in spread(traced, settings.rendered, world.seed)]
    return found


def _retrieve(layer: FoldedStreet, model: FieldEmbedding, observed: list[tuple[str, StreetPair]]) -> list[Retrieved]:
    """The best graph of the file for each observation, among all of its places."""
    places = layer.places(REGION)
    graphs = list(windows(layer.graph(REGION), places, layer.window))
    rows = model.embed_observations([pair.observation for _, pair in observed])
    _, ids = SearchIndex.build(layer.embeddings(REGION, model)).search(rows, 1)
    truths = PointSets.of([pair.graph.vertices_m for _, pair in observed])
    matrix = chamfer_matrix(truths, PointSets.of([graph.vertices_m for graph in graphs]))
    found = []
    for (kind, pair), best, distances in zip(observed, ids[:, 0].tolist(), matrix, strict=True):
        at = pair.world_SE2_ego
        apart = float(np.hypot(*(places.xy_m[best] - (at.x_m, at.y_m))))
        numbers = (float(distances[best]), float(distances.mean()), float(distances.min()))
        found.append(Retrieved(kind, pair, graphs[best], *numbers, apart))
    return found


def retrieval_rows(retrieved: Sequence[Retrieved]) -> list[dict[str, Any]]:
    """Mean figures of each kind of observation."""
    rows = []
    for kind in dict.fromkeys(one.kind for one in retrieved):
        some = [one for one in retrieved if one.kind == kind]
        random, oracle, own = (
            sum(values) / len(some)
            for values in zip(*((one.random_m, one.oracle_m, one.chamfer_m) for one in some), strict=True)
        )
        rows.append(
            {
                "kind": kind,
                "queries": len(some),
                "random_m": random,
                "chamfer_m": own,
                "oracle_m": oracle,
                "way": 100 * (random - own) / max(random - oracle, 1e-9),
                "near": sum(one.apart_m <= 5.0 for one in some),
            }
        )
    return rows


def summary_of(made: DemoStreets) -> dict[str, Any]:
    """What the command prints of the street layer."""
    rows = {row["kind"]: row for row in retrieval_rows(made.retrieved)}
    summary: dict[str, Any] = {
        "street_lane_km": made.folded.lane_km,
        "street_layer_bytes": made.layer_bytes,
        "street_places": made.folded.places,
        "street_aerial_way_percent": rows["aerial crop"]["way"],
        "street_ring_way_percent": rows["seven cameras, flat ground"]["way"],
    }
    if made.driven is not None:
        own, other, _ = drive_rows(made.driven)
        summary |= {
            "street_frames": own["frames"],
            "street_frames_answered": own["answered"],
            "street_median_error_m": own["median_m"],
            "street_final_error_m": own["final_m"],
            "street_stranger_frames_ok": other["ok"],
            "street_stranger_frames_degraded": other["degraded"],
        }
    if made.updated is not None:
        summary |= {
            "street_edits": len(made.updated.aged.edits),
            "street_edits_found": sum(made.updated.found),
            "street_changes_reported": len(made.updated.changes),
        }
    return summary
