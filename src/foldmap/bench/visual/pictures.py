"""Correspondences of product codes and of a trained layer on real pairs of photos (figure 2)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foldmap.bench.common.tables import Picture
from foldmap.bench.visual.methods import MapSpec
from foldmap.bench.visual.protocol import HeldOut
from foldmap.bench.visual.workshop import Workshop
from foldmap.report.photo_matches import photo_pair
from foldmap.types import BoolArray, DoubleArray
from foldmap.visual.decoded import MapPoints
from foldmap.visual.features.images import read_image
from foldmap.visual.match.view import View, prepare
from foldmap.visual.source import Query

RIGHT_PX = 5.0
"""A match is right when its point lies so close to its keypoint under the true pose."""

_RATIO = 0.97


@dataclass(frozen=True)
class PhotoPair:
    """A query's matches to points that one map image sees."""

    image: int  # of the map
    query_px: DoubleArray  # float64 (N, 2), COLMAP pixels in the query
    image_px: DoubleArray  # float64 (N, 2), where the map image saw the same points
    right: BoolArray  # bool (N,)


def correspondences(held_out: HeldOut, workshop: Workshop, photos: Path, specs: Sequence[MapSpec]) -> list[Picture]:
    """Draw each map's matches between two queries and the map image that shares most with them.

    Matching is direct and over the whole map; shown are the matches whose point that map image sees. Photos lie in the
    folder as the scene names them; a `MapInputError` where one is missing or damaged.
    """
    pictures = []
    for number in _spread(len(held_out.queries), 2):
        query, truth = held_out.queries[number], held_out.truth[number]
        view = prepare(query)
        shared = _shared_image(workshop, view, truth)
        for spec in specs:
            pair = matched_pair(workshop, spec, query, truth, shared)
            name = held_out.scene.image_names[shared]
            share = 100.0 * float(pair.right.mean()) if len(pair.right) else 0.0
            titles = f"{spec.name}: {share:.0f} % right", name
            seen = read_image(photos / query.name), read_image(photos / name)
            png = photo_pair(*seen, pair.query_px, pair.image_px, titles, pair.right)
            caption = (
                f"Figure 2. {query.name} (left) against what {name} sees, descriptors of {spec.name}: "
                f"{int(pair.right.sum())} of {len(pair.right)} matches lie within {RIGHT_PX:g} px of where the true "
                "pose puts their point (green)."
            )
            pictures.append(Picture(f"matches-{number}-{spec.name}", caption, png))
    return pictures


def matched_pair(workshop: Workshop, spec: MapSpec, query: Query, truth: DoubleArray, image: int) -> PhotoPair:
    """Match a query of known camera_SE3_world to all points; keep the matches that a map image sees."""
    view = prepare(query)
    scene, codec = workshop.scene, workshop.codec(spec)
    decoded = MapPoints(scene.points_world, codec.decode(codec.encode(workshop.means), len(workshop.means)))
    found = decoded.index.match(view.descriptors)
    found = found.take(found.ratio < _RATIO)
    rows = np.flatnonzero(scene.tracks.image == image)
    place = np.full(len(scene.points_world), -1, np.int64)
    place[scene.tracks.point[rows]] = rows
    found = found.take(place[found.point] >= 0)
    where_px, seen = view.project(truth, scene.points_world[found.point])
    right = seen & (np.linalg.norm(where_px - view.xy_px[found.keypoint], axis=1) <= RIGHT_PX)
    # the view left out what distortion sends to infinity
    query_px = query.features.xy_px.astype(np.float64)
    query_px = query_px[np.isfinite(query.camera.unproject(query_px)).all(axis=1)]
    return PhotoPair(
        image, query_px[found.keypoint], np.asarray(scene.tracks.xy_px[place[found.point]], np.float64), right
    )


def _shared_image(workshop: Workshop, view: View, truth: DoubleArray) -> int:
    """The map image that sees most of the points in view of a query."""
    scene = workshop.scene
    _, seen = view.project(truth, scene.points_world)
    counts = np.bincount(scene.tracks.image[seen[scene.tracks.point]], minlength=len(scene.image_names))
    return int(counts.argmax())


def _spread(total: int, wanted: int) -> list[int]:
    return [int((k + 0.5) * total / min(wanted, total)) for k in range(min(wanted, total))]
