"""What observations say has changed in a folded street map: found, written as GeoJSON, put into the map."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from foldmap.api import opened
from foldmap.api.observing_streets import StreetObservations, StreetSource
from foldmap.api.street_layers import comparing_model, layer_model, one_region
from foldmap.atlas import FoldUpdater
from foldmap.errors import ConfigError, MapInputError, ModelError
from foldmap.formats.crs import moved_poses
from foldmap.formats.street.geojson import LineFeature, write_features
from foldmap.geometry import SE2
from foldmap.localize.street.estimate import least_similarity
from foldmap.street.changes.detect import (
    ADDED,
    LEAST,
    NEVER,
    Change,
    ChangeSettings,
    apply_changes,
    asked_confidence,
    find_changes,
)
from foldmap.street.changes.survey import MappedRegion, Survey, drawn, surveyed
from foldmap.street.field.lane_field import FieldSpec
from foldmap.street.field.model import FieldEmbedding
from foldmap.street.graph.chains import thinned
from foldmap.street.library import read_library
from foldmap.street.model import EmbeddingModel, read_street_model
from foldmap.street.search import SearchIndex
from foldmap.street.source import StreetMap
from foldmap.street.unfold import FoldedStreet
from foldmap.street.update import StreetUpdate, update_street

Report = Callable[[int, int], None]
_FAR_M = 1000.0
"""Observations that are all farther from a map are of another frame."""


@dataclass(frozen=True)
class FoundChanges:
    """Changes of one region, most confident first, how many observations counted, and what was left out, for people."""

    region: MappedRegion
    changes: list[Change]
    windows: int
    settings: ChangeSettings
    notes: list[str] = field(default_factory=list)

    def put_into(self, fold_file: Path) -> StreetUpdate:
        """Bring the map up to date: one transaction that writes the tiles that changed, embeddings included.

        Raises `MapInputError`: nothing would be left of the region; `WriteError`: the file cannot be written.
        """
        changed = thinned(apply_changes(self.region.fine, self.changes, self.settings), self.region.between_m)
        if not len(changed.edges):
            raise MapInputError(f"no lane of {self.region.name!r} would be left", "fold the region anew")
        with FoldUpdater(fold_file) as updater:
            return update_street(updater, StreetMap(self.region.name, changed, self.region.crs))

    def write(self, path: Path, applied: bool) -> None:
        """Write one GeoJSON feature a change; ``before`` is where a moved lane was."""
        features = []
        for one in self.changes:
            said = {"kind": one.kind, "confidence": round(one.confidence, 4), "windows": one.windows}
            said |= {"region": self.region.name, "applied": applied}
            before = {"before": one.before_m} if len(one.before_m) else {}
            features.append(LineFeature([one.line_m], self.region.crs, said, before))
        write_features(path, features, {"foldmap:changes": 1})

    def summary(self, done: StreetUpdate | None) -> dict[str, Any]:
        """What was found, and what was written."""
        metres = Counter[str]()
        for one in self.changes:
            metres[one.kind] += round(float(np.hypot(*np.diff(one.line_m, axis=0).T).sum()))
        shown: dict[str, Any] = {
            "region": self.region.name,
            "changes": len(self.changes),
            "min_confidence": self.settings.least,
            "by_kind": dict(Counter(one.kind for one in self.changes)),
            "metres": dict(metres),
            "applied": done is not None,
            "windows": self.windows,
        }
        if done is not None:
            shown |= {"tiles_changed": len(done.changed), "tiles_removed": len(done.removed)}
            shown |= {"tiles_kept": done.kept, "places_embedded": done.places}
        return shown


def find_updates(
    fold_file: Path,
    source: StreetSource,
    report: Report,
    *,
    region: str | None = None,
    model: Path | None = None,
    min_confidence: float | None = None,
) -> FoundChanges:
    """Compare what was seen with the map there: lanes added, removed and moved.

    The model's network takes a map; where none is given, it is the map's or a shipped one. Where no confidence is
    given, it is the model's own (`asked_confidence`).
    """
    settings = _settings(LEAST if min_confidence is None else min_confidence)
    with opened.open(fold_file) as town:
        layer = town.street
        network = comparing_model(layer, model)
        seen, mapped, poses = _opened(layer, source, region, network)
        survey = surveyed(network, mapped, seen.batches(range(len(seen)), report), poses)
    notes = list(seen.notes)
    if min_confidence is None and survey.poses:
        settings = _settings(asked_confidence(network, mapped.fine, survey.poses, survey.evidence))
        notes += _told_why(network, settings.least)
    return _found(mapped, survey, settings, notes)


def _told_why(network: FieldEmbedding, least: float) -> list[str]:
    """What people should know of the confidence from which changes count."""
    learn = "foldmap train street --update --hold-out MAP learns from such images, and measures it"
    if network.least_change is None:
        return [f"nobody measured how often this model tells of changes where there are none; {learn}"]
    if least >= NEVER:
        return [f"this model told of changes on lanes that had none, however sure it was: none is told; {learn}"]
    if network.reads is not None and least > LEAST:
        return [f"the model doubts the map's lanes here: changes count from {least:g} on; {learn}"]
    return []


def find_new_lanes(
    fold_file: Path,
    source: StreetSource,
    report: Report,
    *,
    region: str | None = None,
    model: Path | None = None,
    min_confidence: float = LEAST,
    free_m: float = 10.0,
    library: Path | None = None,
    min_similarity: float | None = None,
) -> FoundChanges:
    """Find lanes where the map has none: observations count that have no lane of the map within `free_m`.

    The model reads lanes in images; or, where a library is given, the graphs of that map are taken that are most
    similar to the images, from `min_similarity` on. The model is the map's, the least similarity what suits the model,
    where they are not given.
    """
    settings = _settings(min_confidence)
    if not 0 <= free_m < np.inf:
        raise ConfigError(f"no lane within {free_m} m", "give metres from 0")
    with opened.open(fold_file) as town:
        layer = town.street
        network = read_street_model(model) if model is not None else layer_model(layer)
        seen, mapped, poses = _opened(layer, source, region, network)
        numbers, notes = mapped.without_lanes(poses, free_m), seen.notes
        if len(numbers) < len(seen):
            left_out = len(seen) - len(numbers)
            notes.append(f"{left_out} of {len(seen)} observations are where the map has lanes: left out")
        if library is not None:
            survey, unlike = _from_library(library, min_similarity, network, mapped, (seen, poses, numbers), report)
            if unlike:
                notes.append(f"nothing in {library} is similar to {unlike} observations")
        elif isinstance(network, FieldEmbedding):
            survey = surveyed(network, mapped, seen.batches(numbers, report), poses)
        else:
            cure = "give a field model, or --from-library MAP.fold"
            raise ModelError(f"a model {network.name} traces no lanes", cure)
    found = _found(mapped, survey, settings, notes)
    return replace(found, changes=[one for one in found.changes if one.kind == ADDED])


def _settings(min_confidence: float) -> ChangeSettings:
    if not 0 < min_confidence <= 1:
        raise ConfigError(f"a confidence of {min_confidence}", "give more than 0, and 1 at most")
    return ChangeSettings(least=min_confidence)


def _opened(
    layer: FoldedStreet, source: StreetSource, region: str | None, model: EmbeddingModel
) -> tuple[StreetObservations, MappedRegion, list[SE2]]:
    seen = source.open(model.window)
    poses = seen.placed(source.poses)
    name = one_region([one.name for one in layer.regions], region, seen.maps)
    mapped = MappedRegion.read(layer, name)
    if seen.crs and mapped.crs:
        poses = moved_poses(poses, seen.crs, mapped.crs, f"{source.paths[0]} and {name}")
    away_m = mapped.away_m(poses)
    if away_m > _FAR_M:
        cure = "give poses in the frame of the street map; an ortho image with its crs is brought there"
        raise MapInputError(f"the nearest observation is {away_m / 1000:,.1f} km from any lane of {name!r}", cure)
    return seen, mapped, poses


def _found(mapped: MappedRegion, survey: Survey, settings: ChangeSettings, notes: list[str]) -> FoundChanges:
    changes = find_changes(mapped.fine, survey.poses, survey.evidence, survey.spec, settings) if survey.poses else []
    return FoundChanges(mapped, changes, len(survey.poses), settings, notes)


def _from_library(
    path: Path,
    min_similarity: float | None,
    model: EmbeddingModel,
    mapped: MappedRegion,
    brought: tuple[StreetObservations, list[SE2], Sequence[int]],
    report: Report,
) -> tuple[Survey, int]:
    """The most similar graph of a library at each place, drawn as a field; and how many have none."""
    least = least_similarity(model, min_similarity)
    seen, poses, numbers = brought
    part = StreetObservations(tuple(seen.names[k] for k in numbers), lambda k: seen.read(numbers[k]))
    with opened.open(path) as town:
        layer = town.street
        if layer.codec is not None and layer.dimension != model.dim:
            said = f"{path} has embeddings of {layer.dimension} numbers, the model makes {model.dim}"
            raise ModelError(said, "fold the library with this model")
        library = read_library(layer, model=model)
        index = SearchIndex.build(library.vectors)
        kept, graphs, unlike = [], [], 0
        for k, row in zip(numbers, part.embedded(model, report), strict=True):
            if row is None:
                continue
            scores, rows = library.most_similar(index, row, 1, 0.0)
            if scores[0] < least:
                unlike += 1
            else:
                kept.append(poses[k])
                graphs.append(library.graph(rows[0], model.window))
    spec = model.field if isinstance(model, FieldEmbedding) else FieldSpec(window=model.window)
    return drawn(graphs, kept, mapped, spec), unlike
