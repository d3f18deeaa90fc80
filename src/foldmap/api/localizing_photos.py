"""Localize photos, or rigs of photos, in an open map."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from time import perf_counter

from foldmap.api.observing_photos import (
    PhotoQuery,
    QueryFeatures,
    assumed,
    open_query_features,
    read_photo_queries,
)
from foldmap.api.opened import FoldedMap
from foldmap.api.results import Begin, Localized, LocalizedObservation, silent
from foldmap.errors import InputError, MapInputError
from foldmap.formats.name_times import query_times
from foldmap.localize.estimate import Status
from foldmap.localize.visual.estimate import CameraDiagnostics, CameraEstimate
from foldmap.localize.visual.localizer import VisualLocalizer, VisualSettings
from foldmap.localize.visual.turned import also_turned


def localize_photos(
    town: FoldedMap,
    *,
    queries: Path | None = None,
    rigs: Path | None = None,
    features: Path | None = None,
    photos: Path | None = None,
    global_descriptors: Path | None = None,
    camera: str = "",
    model: Path | None = None,
    weights: Path | None = None,
    matcher: str = "direct",
    matcher_weights: Path | None = None,
    max_keypoints: int = 8192,
    max_side: int | None = None,
    seed: int = 0,
    only: Sequence[str] = (),
    begin: Begin = silent,
) -> Localized:
    """Localize photos or rigs of photos; needs neither the map's images nor COLMAP.

    What is asked is read by `read_photo_queries`, features are opened by `open_query_features`; of a folder of photos
    `only` those are asked that are named. The matcher is one of `VisualSettings`, the seed RANSAC's.
    """
    settings, notes, began_s = VisualSettings(matcher=matcher, weights=matcher_weights, seed=seed), [], perf_counter()
    folded = town.visual
    localizer = VisualLocalizer.open(folded, settings)
    if not folded.groups:
        folded.whole()
    loading_s = perf_counter() - began_s
    searched = folded.groups > 0 and folded.needs_global
    if searched and global_descriptors is None:
        cure = "give those of the queries with --globals FILE.h5"
        raise MapInputError("the map is searched by global descriptors", cure)
    if global_descriptors is not None and not searched:
        notes.append(f"the map is not searched by global descriptors; {global_descriptors} is not used")
    vectors = global_descriptors if searched else None
    with open_query_features(features, photos, vectors, folded.feature, weights, max_keypoints, max_side) as brought:
        asked = read_photo_queries(queries, rigs, camera, model, brought, only)
        brought.check(asked, folded.feature)
        began_s = perf_counter()
        estimates, unusable = _photo_estimates(asked, brought, localizer, begin("Localizing"))
        spent_s = perf_counter() - began_s
    times = query_times([one.name for one in asked])
    localized = [
        LocalizedObservation(one.name, at, estimate, photos=one.images)
        for one, at, estimate in zip(asked, times, estimates, strict=True)
    ]
    used_s = [estimate.diagnostics.time_s for estimate in estimates if estimate.diagnostics.time_s > 0]
    speed = {
        "loading_s": round(loading_s, 4),
        "features_s": round((spent_s - sum(used_s)) / len(asked), 4),
        "queries_per_second": round(len(used_s) / sum(used_s), 2),
    }
    intrinsics, said = assumed(asked)
    told = {**speed, "intrinsics": intrinsics}
    return Localized(localized, {"localizer": asdict(settings)}, told, [*notes, *said, *unusable])


def _turned(
    localizer: VisualLocalizer, brought: QueryFeatures, one: PhotoQuery, quarters: int, small: bool
) -> CameraEstimate:
    return localizer.localize(brought.query(one.images[0], quarters, small))


def _photo_estimates(
    asked: Sequence[PhotoQuery],
    brought: QueryFeatures,
    localizer: VisualLocalizer,
    report: Callable[[int, int], None],
) -> tuple[list[CameraEstimate], list[str]]:
    """An estimate a query, and a warning; what cannot be used is `no_observation` with its reason, others go on.

    Where none can be used the error of the first is raised.
    """
    estimates, problems = [], []
    for number, one in enumerate(asked):
        try:
            queries, lost = brought.queries(one)
            estimate = localizer.localize(queries)
            if brought.turned is not None and len(one.images) == 1:
                estimate = also_turned(estimate, partial(_turned, localizer, brought, one))
            if lost:
                reason = "; ".join(filter(None, [estimate.diagnostics.reason, *lost]))
                estimate = replace(estimate, diagnostics=replace(estimate.diagnostics, reason=reason))
        except InputError as error:
            problems.append((one.name, error))
            estimate = CameraEstimate.without_pose(Status.NO_OBSERVATION, CameraDiagnostics(reason=str(error)))
        estimates.append(estimate)
        report(number + 1, len(asked))
    if not problems:
        return estimates, []
    name, first = problems[0]
    if len(problems) == len(asked):
        more = f"; none of {len(asked)} queries can be used" if len(asked) > 1 else ""
        raise type(first)(f"{first.message}{more}", first.cure)
    return estimates, [f"{len(problems)} of {len(asked)} queries cannot be used, first {name!r}: {first}"]
