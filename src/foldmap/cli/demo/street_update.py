"""What has changed, in the street part of ``foldmap demo``: a map with known edits is driven past and mended."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from foldmap.atlas import FoldFile, FoldUpdater
from foldmap.cli.demo.settings import REGION, DemoStreetSettings
from foldmap.errors import ConfigError
from foldmap.geometry import SE2
from foldmap.street.changes.detect import Change, apply_changes, find_changes
from foldmap.street.changes.edits import Edit
from foldmap.street.changes.edits import edit as edit_lane
from foldmap.street.changes.survey import gather
from foldmap.street.field.model import FieldEmbedding
from foldmap.street.graph.chains import densified, resample, thinned
from foldmap.street.graph.window import Window, cut
from foldmap.street.paper.pairs import RingPairs
from foldmap.street.places import sample_places
from foldmap.street.source import LANE, LaneGraph, StreetMap
from foldmap.street.unfold import FoldedStreet
from foldmap.street.update import StreetUpdate, update_street
from foldmap.types import DoubleArray

KINDS = {"lane removed": "added", "lane shifted": "moved", "lane added": "removed"}
"""What is done to the map -> what a drive then finds to have happened in the world."""
_LENGTH_M = 25.0, 140.0
_APART_M = 45.0
_BESIDE_M = 8.0
_SAME_M = 2.0


@dataclass(frozen=True)
class AgedMap:
    """A map that is out of date, as it is folded, and what was done to it."""

    graph: LaneGraph
    edits: tuple[Edit, ...]


@dataclass(frozen=True)
class Updated:
    """What driving past the edits found and wrote."""

    aged: AgedMap  # the map before
    old: LaneGraph  # the map as the file had it, vertices about 1 m apart
    changes: list[Change]  # found and applied, most confident first
    found: list[bool]  # for each edit, whether a change of the right kind lies on it
    wrong: int  # changes that lie on no edit
    poses: list[SE2]  # of all frames
    wrote: StreetUpdate  # tiles that the transaction changed
    off_m: tuple[float, float]  # lane metres by which the map differs from the truth, before and after


def age_map(truth: LaneGraph, seed: int, reach_m: float) -> AgedMap:
    """Edit one lane of each kind within a square about the origin, far apart; a ConfigError where none can be."""
    rng = np.random.default_rng([seed, 44])
    window = Window(-reach_m, reach_m, -reach_m, reach_m)
    graph, edits = truth, list[Any]()
    for kind in KINDS:
        for _ in range(60):
            done = edit_lane(graph, kind, rng, window)
            if done is not None and _has_room(done[1], edits, reach_m):
                graph = done[0]
                edits.append(done[1])
                break
    if not edits:
        raise ConfigError(f"no lane within {reach_m:g} m of the town's middle can be edited", "take a larger side")
    return AgedMap(graph, tuple(edits))


def line_of(edit: Edit) -> DoubleArray:
    """Where an edit is: the lane as it truly is, or the one that the map has and the world has not."""
    return edit.before_m if len(edit.before_m) else edit.after_m


def _has_room(edit: Edit, others: list[Edit], reach_m: float) -> bool:
    line = line_of(edit)
    length = float(np.hypot(*np.diff(line, axis=0).T).sum())
    if not _LENGTH_M[0] <= length <= _LENGTH_M[1] or np.abs(line).max() > reach_m:
        return False
    return all(float(cKDTree(line_of(other)).query(line)[0].min()) > _APART_M for other in others)


def bring_up_to_date(
    path: Path,
    aged: AgedMap,
    truth: LaneGraph,
    pairs: RingPairs,
    models: tuple[FieldEmbedding, FieldEmbedding],
    settings: DemoStreetSettings,
) -> Updated:
    """Drive past every edit, find by the second model what changed, and write it as one transaction."""
    model, finder = models
    with FoldFile.open(path) as file:
        old, between_m = densified(FoldedStreet(file).graph(REGION))
    poses = [pose for edit in aged.edits for pose in passing(truth, line_of(edit), settings.passing)]
    seen = [pairs.observe(pairs.tiles[0], pose) for pose in poses]
    evidence = gather(finder, seen, [cut(old, pose, finder.window) for pose in poses])
    changes = find_changes(old, poses, evidence, finder.field)
    new = thinned(apply_changes(old, changes), between_m)
    with FoldUpdater(path) as updater:
        wrote = update_street(updater, StreetMap(REGION, new), model=model)
    on = [_edits_hit(change, aged.edits) for change in changes]
    found = [
        any(change.kind == KINDS[edit.kind] and number in hit for change, hit in zip(changes, on, strict=True))
        for number, edit in enumerate(aged.edits)
    ]
    off = _difference_m(old, truth), _difference_m(new, truth)
    return Updated(aged, old, changes, found, sum(not hit for hit in on), poses, wrote, off)


def passing(truth: LaneGraph, line_m: DoubleArray, most: int) -> list[SE2]:
    """Poses on the true lanes that run beside a line the same way."""
    places = sample_places(truth, 4.0)
    distance, index = cKDTree(line_m).query(places.xy_m)
    way = np.gradient(line_m, axis=0)
    turn = places.heading_rad - np.arctan2(way[index, 1], way[index, 0])
    beside = (distance < _BESIDE_M) & (np.cos(turn) > 0.7) & (truth.kind[places.edge] == LANE)
    rows = np.flatnonzero(beside)
    if len(rows) > most:
        rows = rows[np.unique(np.linspace(0, len(rows) - 1, most).round().astype(np.int64))]
    return [places.pose(int(row)) for row in rows]


def _edits_hit(change: Change, edits: tuple[Edit, ...]) -> list[int]:
    """Which edits a change lies on: most of it within 2 m of the edit's lines."""
    hit = []
    for number, edit in enumerate(edits):
        lines = [line for line in (edit.before_m, edit.after_m) if len(line)]
        if float(np.median(cKDTree(np.concatenate(lines)).query(change.line_m)[0])) <= _SAME_M:
            hit.append(number)
    return hit


def _difference_m(graph: LaneGraph, truth: LaneGraph) -> float:
    """Metres of lane, links left out, that one of two maps has and the other has not within 1.5 m, both ways."""
    total = 0.0
    every = [resample(one, 1.0) for one in (graph, truth)]
    for one, other in (every, every[::-1]):
        lanes = one.kind == LANE
        middle = one.vertices_m[one.edges].mean(1)
        far = cKDTree(other.vertices_m).query(middle)[0] > 1.5
        total += float(np.sum(one.edge_lengths_m[far & lanes]))
    return total


def update_rows(updated: Updated) -> list[dict[str, Any]]:
    """A row an edit."""
    return [
        {
            "edit": edit.kind,
            "length_m": float(np.hypot(*np.diff(line_of(edit), axis=0).T).sum()),
            "expected": KINDS[edit.kind],
            "found": "yes" if found else "no",
        }
        for edit, found in zip(updated.aged.edits, updated.found, strict=True)
    ]
