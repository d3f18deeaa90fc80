"""A map's own images taken out of it and localized in what is folded of the rest: how far its answers are off.

Blocks of consecutive images are taken out, since neighbours in a sequence are near twins. Their errors, in standard
deviations of the answers, say by how much these are too small: what matches share, what the map errs, what quantizing
moved, none of which the residuals of one image tell.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from foldmap.atlas import FoldFile, FoldWriter
from foldmap.localize.evidence import MapCalibration, mahalanobis
from foldmap.localize.tail import LEAST, Tail
from foldmap.localize.visual.freed import CORRELATION
from foldmap.localize.visual.localizer import VisualLocalizer
from foldmap.localize.visual.search import LEAST_NOISE_PX
from foldmap.types import BoolArray, DoubleArray
from foldmap.visual.fold import VisualPlan, fold_visual
from foldmap.visual.match import solve
from foldmap.visual.match.lens import moved_by, normal_equations
from foldmap.visual.match.solve import Correspondences, noise_px, residuals_px
from foldmap.visual.match.view import prepare
from foldmap.visual.scene.average import track_means
from foldmap.visual.source import Features, Query, SceneModel
from foldmap.visual.unfold import FoldedVisual

TRIALS = 48
_TURNS = 3  # times that other blocks of images are held out, where one time gives fewer than are asked for
_BLOCKS = (0.15, 0.4, 0.65, 0.9)
_AXES = 3
_CONTRADICTED = 3.0
"""Times as far as the median image's, in standard deviations, a pose may lie from what all points seen there say."""


def with_errors(
    calibration: MapCalibration, scene: SceneModel, plan: VisualPlan, distances: DoubleArray | None = None
) -> MapCalibration:
    """A map's calibration with the scale of its standard deviations and the tail of its errors.

    They are of held-out images, in the map that the plan gives; of ``distances`` where these are at hand. Unchanged
    where fewer than 20 are answered: of a few images nobody knows. The scale is no smaller than 1: what was held out is
    of the map's own day, and only what became points of the scene, and so errs less than a photo does.
    """
    if distances is None or len(distances) < LEAST:
        distances = _tried(scene, plan)
    if len(distances) < LEAST:
        return calibration
    found = calibration.with_errors(distances, _AXES)
    if found.sigma_scale >= 1.0:
        return found
    return replace(found, sigma_scale=1.0, errors=Tail.of_distances(distances, _AXES))


def _tried(scene: SceneModel, plan: VisualPlan) -> DoubleArray:
    found = [np.zeros(0)]
    with tempfile.TemporaryDirectory() as folder:
        for names in held_out_turns(scene, TRIALS):
            found.append(HeldOutImages(scene, names).localize(plan, Path(folder) / "trial.fold")[1])
    return np.concatenate(found)


def held_out_turns(scene: SceneModel, trials: int) -> list[list[str]]:
    """Names of up to so many images, in turns; each turn's are blocks along the sequence, at most a sixth of all."""
    names = sorted(scene.image_names)
    block = min(trials // len(_BLOCKS), len(names) // (6 * len(_BLOCKS)))
    if block < 1:
        return []
    turns = min(_TURNS, -(-trials // (block * len(_BLOCKS))))
    starts = [int(share * (len(names) - block)) for share in _BLOCKS]
    return [
        [name for start in starts for name in names[start + turn : start + turn + block]]
        for turn in range(0, turns * block, block)
    ]


class HeldOutImages:
    """Images taken out of a scene, with what they saw of all its points, and the rest of the scene."""

    def __init__(self, scene: SceneModel, names: Sequence[str]) -> None:
        tracks, taken = scene.tracks, np.isin(np.array(scene.image_names), np.array(names))
        assert tracks.descriptors is not None
        stays = np.bincount(tracks.point[~taken[tracks.image]], minlength=len(scene.points_world)) >= 2
        # where each point of the whole scene is in the rest; -1 where it is gone
        self.alive = np.where(stays, np.cumsum(stays) - 1, -1).astype(np.int64)
        self.rest = scene.without_images(names, min_observations=2)
        self.means = track_means(self.rest)
        images = [scene.image_names.index(name) for name in names]
        self.camera_SE3_world = scene.camera_SE3_world[images]
        self.queries = list[Query]()
        for name, image in zip(names, images, strict=True):
            rows = tracks.image == image
            features = Features(tracks.xy_px[rows], tracks.descriptors[rows])
            whole = None if scene.global_descriptors is None else scene.global_descriptors[image]
            self.queries.append(Query(name, scene.camera_of(image), features, whole))
        points = [scene.points_world[tracks.point[tracks.image == image]] for image in images]
        self.trusted = _trusted(self.queries, points, self.camera_SE3_world)

    def localize(self, plan: VisualPlan, path: Path) -> tuple[DoubleArray, DoubleArray]:
        """Localize the images in what a plan gives of the rest, folded into a file at ``path``.

        Returns distances of the answers' centres from the truth, share of the scene's radius, infinite without an
        answer; and, of those that were answered with their own cameras, and whose poses all points confirm, the
        Mahalanobis distance by the covariance before calibration.
        """
        kept = self.alive[plan.kept]
        with FoldWriter(path) as writer:
            fold_visual(writer, self.rest, replace(plan, kept=kept[kept >= 0]), means=self.means)
        errors, distances = np.full(len(self.queries), np.inf), []
        with FoldFile.open(path) as file:
            localizer = VisualLocalizer(FoldedVisual(file))
            for number, (query, truth) in enumerate(zip(self.queries, self.camera_SE3_world, strict=True)):
                estimate = localizer.localize(query)
                centre, covariance = estimate.centre_world, estimate.covariance
                if centre is None or covariance is None:
                    continue
                off = centre + truth[:3, :3].T @ truth[:3, 3]
                errors[number] = np.linalg.norm(off)
                if self.trusted[number] and estimate.diagnostics.focal == 1.0:
                    distances.append(mahalanobis(off, covariance[:_AXES, :_AXES]))
        return errors / self.rest.radius_world, np.array(distances, np.float64)


def _trusted(queries: Sequence[Query], points_world: Sequence[DoubleArray], given: DoubleArray) -> BoolArray:
    """Whether the given pose of each image, camera_SE3_world (N, 4, 4), is the truth to hold an answer against, (N,).

    A recording's poses err, some of them by more than an answer does: all points seen there, ten times as many as a
    small map has, say where the camera was. Where that is far off for this scene, the error found would be the pose's.
    """
    off = np.zeros(len(queries))
    for number, (query, points) in enumerate(zip(queries, points_world, strict=True)):
        view = prepare(query)
        seen = Correspondences(view.xy_px, np.asarray(points, np.float64))
        if len(seen) < solve.MIN_MATCHES or len(seen.xy_px) < len(points):
            continue  # a lens that does not image all of them gives no one-to-one list
        pose = given[number]
        for _ in range(2):
            noise = max(noise_px(residuals_px(view, seen, pose)), LEAST_NOISE_PX)
            pose = solve.refine_pose([view], [seen], pose, 3.0 * noise)
        normal = normal_equations([view], [seen], pose, noise, CORRELATION, 3.0 * noise)
        step = moved_by(pose, given[number])
        off[number] = np.sqrt(step @ normal.matrix[:6, :6] @ step)
    return off <= _CONTRADICTED * np.median(off)
