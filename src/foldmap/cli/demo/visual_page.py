"""What ``foldmap demo``'s report shows of the visual layer."""

from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial import KDTree

from foldmap.atlas import FoldFile
from foldmap.cli.demo.visual import DemoPhotos
from foldmap.report import Page
from foldmap.report.camera_figures import camera_plan
from foldmap.report.photo_matches import photo_pair, photo_points
from foldmap.types import DoubleArray, IntArray
from foldmap.visual.decoded import MapPoints
from foldmap.visual.match.guided import best_nearby, one_point_a_keypoint
from foldmap.visual.match.view import prepare
from foldmap.visual.source import Query
from foldmap.visual.unfold import FoldedVisual


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
    seen = _points_in(path).points_world
    page.figure(
        camera_plan(
            seen,
            made.scene.camera_SE3_world,
            np.stack([truth for _, truth in made.queries]),
            [estimate.camera_SE3_world for estimate in made.estimates],
            "Cameras from above",
        ),
        "The map's photos, and the queries where they were and where they were found to be.",
    )


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
    name = f"{query.name}: {estimate.status.value}"
    pictures = [
        (
            photo_points(image, found_px, missed_px, name),
            "A photo of another day: the file's points found in it, and those in view that were not.",
        )
    ]
    other, scene_rows, among = _best_map_photo(made, points.points_world[point])
    if len(among):
        pictures.append(
            (
                photo_pair(
                    image,
                    made.photos.map_photos[other].picture.image,
                    found_px[among],
                    made.scene.tracks.xy_px[scene_rows],
                    (query.name, made.photos.map_photos[other].name),
                ),
                "The same points in the map's photo that shows most of them; the file does not hold that photo.",
            )
        )
    return pictures


def _found(
    query: Query, camera_SE3_world: DoubleArray, noise_px: float, points: MapPoints
) -> tuple[IntArray, IntArray, DoubleArray]:
    """Points found where the pose puts them, the keypoints that show them, and where the others in view should be."""
    view = prepare(query)
    xy_px, seen = view.project(camera_SE3_world, points.points_world)
    visible = np.flatnonzero(seen)
    nearby = best_nearby(view, xy_px[visible], points.descriptors[visible], max(1.5, 4.0 * noise_px))
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
