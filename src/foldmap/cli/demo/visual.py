"""The visual part of ``foldmap demo``: photos of the town join the file, others are localized; and its report."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial import KDTree

from foldmap.atlas import FoldFile, update
from foldmap.cli.demo.settings import DemoPhotoSettings, Report
from foldmap.localize.visual.estimate import CameraEstimate
from foldmap.localize.visual.localizer import VisualLocalizer
from foldmap.localize.visual.negatives import fold_calibrated
from foldmap.metrics.camera_pose import camera_errors, median_errors
from foldmap.report import Page
from foldmap.report.camera_figures import camera_plan
from foldmap.report.photo_matches import photo_pair, photo_points
from foldmap.town import TownWorld
from foldmap.town.camera.visual_scene import TownPhotos, town_queries, town_scene
from foldmap.types import DoubleArray, IntArray
from foldmap.visual.codes.basis import basis_named
from foldmap.visual.codes.codecs import Transform
from foldmap.visual.decoded import MapPoints
from foldmap.visual.features.extract import open_extractor
from foldmap.visual.fold import VisualPlan, VisualReport
from foldmap.visual.match.guided import best_nearby, one_point_a_keypoint
from foldmap.visual.match.view import prepare
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


def add_photos(
    path: Path, along: tuple[TownWorld, DoubleArray], settings: DemoPhotoSettings, report: Report
) -> DemoPhotos:
    """Photograph a way through the town, fold the scene into a file that is there, and localize other photos in it."""
    extract, seed = open_extractor("sift").extract, along[0].seed
    counts = settings.map_photos, settings.queries, settings.size_px
    photos = TownPhotos(seed, *counts, spacing_m=settings.spacing_m, along=along)
    report(1, 4)
    scene = town_scene(photos, extract)
    before = path.stat().st_size
    with update(path) as writer:
        folded = fold_calibrated(writer, scene, _plan(scene, settings))
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


def add_visual(page: Page, path: Path, made: DemoPhotos, summary: dict[str, Any]) -> None:
    """Append the visual layer's tables and pictures."""
    page.heading("Photos in the same file")
    page.text(
        f"{summary['photos']} photos of the town, taken on one day, became a scene of {len(made.scene.points_world):,} "
        f"points. {made.folded.points:,} of them were folded into the same file; photos of another day, taken from "
        "other places, were localized in it without the map's photos."
    )
    page.table(
        byte_rows(path, made),
        {"what": "what", "bytes": "bytes", "each": "bytes a point"},
        "The map as it was built, and where the bytes of its layer in the file go.",
    )
    page.table(
        [summary],
        {
            "photo_queries": "queries",
            "photos_answered": "answered",
            "median_photo_error_cm": "median [cm]",
            "median_photo_error_deg": "median [deg]",
            "worst_photo_error_cm": "worst [cm]",
            "photos_per_second": "photos/s",
            "strangers": "photos of another town",
            "strangers_refused": "of them refused",
        },
        f"Reading and decoding the layer took {1000 * made.loading_s:.0f} ms.",
    )
    best = max(range(len(made.queries)), key=lambda row: made.estimates[row].diagnostics.found or 0)
    for image, caption in _pictures(path, made, best):
        page.figure(image, caption)
    seen, truths = _points_in(path).points_world, np.stack([truth for _, truth in made.queries])
    found = [estimate.camera_SE3_world for estimate in made.estimates]
    plan = camera_plan(seen, made.scene.camera_SE3_world, truths, found, "Cameras from above")
    page.figure(plan, "The map's photos, and the queries where they were and where they were found to be.")


def byte_rows(path: Path, made: DemoPhotos) -> list[dict[str, Any]]:
    """Bytes of the scene in memory, of the parts of its layer, and of the whole file."""
    scene, folded = made.scene, made.folded
    points = len(scene.points_world)
    described = 0 if scene.tracks.descriptors is None else scene.tracks.descriptors.nbytes
    rows = [("scene: descriptors of all observations", described, points)]
    rows += [(f"visual layer: {use}", size, folded.points) for use, size in folded.bytes.items() if size]
    rows += [("visual layer in the file, overhead included", made.layer_bytes, folded.points)]
    rows += [("whole file, all layers", path.stat().st_size, 0)]
    return [{"what": name, "bytes": size, "each": size / count if count else None} for name, size, count in rows]


def _points_in(path: Path) -> MapPoints:
    """All points of the file's visual layer."""
    with FoldFile.open(path) as file:
        return FoldedVisual(file).whole()


def _pictures(path: Path, made: DemoPhotos, row: int) -> list[tuple[bytes, str]]:
    """A query with the points found in it, and beside the map's photo that shows most of them."""
    (query, _), estimate = made.queries[row], made.estimates[row]
    if estimate.camera_SE3_world is None:
        return []
    image = made.photos.query_photos[row].picture.image
    points = _points_in(path)
    point, keypoint, missed_px = _found(query, estimate.camera_SE3_world, estimate.diagnostics.noise_px or 1.0, points)
    found_px = query.features.xy_px[keypoint]
    caption = "A photo of another day: the file's points found in it, and those in view that were not."
    pictures = [(photo_points(image, found_px, missed_px, f"{query.name}: {estimate.status.value}"), caption)]
    number, scene_rows, among = _best_map_photo(made, points.points_world[point])
    if len(among):
        other, other_px = made.photos.map_photos[number], made.scene.tracks.xy_px[scene_rows]
        pair = photo_pair(image, other.picture.image, found_px[among], other_px, (query.name, other.name))
        caption = "The same points in the map's photo that shows most of them; the file does not hold that photo."
        pictures.append((pair, caption))
    return pictures


def _found(
    query: Query, camera_SE3_world: DoubleArray, noise_px: float, points: MapPoints
) -> tuple[IntArray, IntArray, DoubleArray]:
    """Points found where the pose puts them, the keypoints that show them, and where the others in view should be."""
    view = prepare(query)
    xy_px, seen = view.project(camera_SE3_world, points.points_world)
    visible = np.flatnonzero(seen)
    radius_px = max(1.5, 4.0 * noise_px)
    nearby = best_nearby(view, xy_px[visible], points.looks, radius_px, visible, points.compared(view))
    rows = one_point_a_keypoint(nearby)
    rows = rows[nearby.similarity[rows] > 0.75]
    missed = np.setdiff1d(np.arange(len(visible)), rows)
    return visible[rows], nearby.keypoint[rows], xy_px[visible[missed]]


def _best_map_photo(made: DemoPhotos, points_world: DoubleArray) -> tuple[int, IntArray, IntArray]:
    """The map's photo that sees most of some of the file's points: its number, rows of the tracks, which points."""
    scene = made.scene
    _, own = KDTree(scene.points_world).query(points_world)  # the file's points moved by less than their spacing
    among = np.flatnonzero(np.isin(scene.tracks.point, own))
    most = int(np.bincount(scene.tracks.image[among], minlength=len(scene.image_names)).argmax())
    in_photo = among[scene.tracks.image[among] == most]
    where = {int(point): index for index, point in enumerate(own)}
    rows = np.array([where[int(point)] for point in scene.tracks.point[in_photo]], dtype=np.int64)
    return most, in_photo.astype(np.int64), rows
