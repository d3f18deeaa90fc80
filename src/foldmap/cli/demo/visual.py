"""The visual part of ``foldmap demo``: photos of the town join the lidar layer's file; others are localized in it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from foldmap.atlas import FoldFile, update
from foldmap.cli.demo.settings import DemoPhotoSettings, Report
from foldmap.localize.visual.estimate import CameraEstimate
from foldmap.localize.visual.localizer import VisualLocalizer
from foldmap.metrics.camera_pose import camera_errors, median_errors
from foldmap.town.camera.visual_scene import TownPhotos, town_queries, town_scene
from foldmap.types import DoubleArray
from foldmap.visual.codes.basis import basis_named
from foldmap.visual.codes.codecs import Transform
from foldmap.visual.features.extract import open_extractor
from foldmap.visual.fold import VisualPlan, VisualReport, fold_visual
from foldmap.visual.select import choose_points
from foldmap.visual.source import Query, SceneModel
from foldmap.visual.unfold import FoldedVisual


@dataclass
class DemoPhotos:
    """What the visual part made."""

    photos: TownPhotos  # pictures with their true poses
    scene: SceneModel  # of the map's photos
    folded: VisualReport  # where the layer's bytes went
    layer_bytes: int  # by how much the file grew
    queries: list[tuple[Query, DoubleArray]]  # with their true camera_SE3_world
    estimates: list[CameraEstimate]  # one a query
    strangers: list[CameraEstimate]  # answers to photos of another town
    seconds: float  # spent in localizing the queries
    loading_s: float  # and in reading and decoding the layer


def add_photos(path: Path, seed: int, settings: DemoPhotoSettings, report: Report) -> DemoPhotos:
    """Photograph the town, fold the scene into a file that is there already, and localize other photos in it."""
    extract = open_extractor("sift").extract
    photos = TownPhotos(seed, settings.map_photos, settings.queries, settings.size_px)
    report(1, 4)
    scene = town_scene(photos, extract)
    before = path.stat().st_size
    with update(path) as writer:
        folded = fold_visual(writer, scene, _plan(scene, settings))
        writer.commit()
    report(2, 4)
    queries = town_queries(photos, extract)
    others: list[tuple[Query, DoubleArray]] = []
    if settings.strangers:
        others = town_queries(TownPhotos(seed + 1, 1, settings.strangers, settings.size_px), extract)
    report(3, 4)
    loading_s, answers, took_s = _localize(path, [[query for query, _ in part] for part in (queries, others)])
    report(4, 4)
    grown = path.stat().st_size - before
    return DemoPhotos(photos, scene, folded, grown, queries, answers[0], answers[1], took_s[0], loading_s)


def _plan(scene: SceneModel, settings: DemoPhotoSettings) -> VisualPlan:
    """The chosen points, with transform codes."""
    points = len(scene.points_world)
    kept = np.arange(points)
    if settings.points < points:
        kept = np.sort(choose_points(scene, settings.points).order[: settings.points])
    return VisualPlan(kept, Transform(basis_named("sift-1"), settings.step, standard=True))


def _localize(path: Path, parts: Sequence[Sequence[Query]]) -> tuple[float, list[list[CameraEstimate]], list[float]]:
    """Seconds of loading, then the estimates and the seconds of each part."""
    began_s = time.perf_counter()
    with FoldFile.open(path) as file:
        folded = FoldedVisual(file)
        if not folded.groups:
            folded.whole()
        loading_s = time.perf_counter() - began_s
        localizer = VisualLocalizer(folded)
        answers, took_s = [], []
        for part in parts:
            began_s = time.perf_counter()
            answers.append([localizer.localize(query) for query in part])
            took_s.append(time.perf_counter() - began_s)
    return loading_s, answers, took_s


def summary_of(made: DemoPhotos) -> dict[str, Any]:
    """What the command prints of the visual layer."""
    errors = camera_errors([truth for _, truth in made.queries], [e.camera_SE3_world for e in made.estimates])
    median_m, median_deg = median_errors(errors)
    return {
        "photos": len(made.scene.image_names),
        "photo_points": made.folded.points,
        "visual_layer_bytes": made.layer_bytes,
        "photo_queries": len(errors),
        "photos_answered": int(np.isfinite(errors.centre).sum()),
        "median_photo_error_cm": 100 * median_m,
        "median_photo_error_deg": median_deg,
        "worst_photo_error_cm": 100 * float(np.max(errors.centre)),
        "photos_per_second": len(errors) / max(made.seconds, 1e-9),
        "strangers": len(made.strangers),
        "strangers_refused": sum(estimate.camera_SE3_world is None for estimate in made.strangers),
    }
