"""What chance reaches in one map: its own images, mirrored and torn, are localized in it when it is folded.

Their keypoints look exactly like the map's points, and no place in it explains them: nothing that a camera brings from
elsewhere is harder to refuse.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from foldmap.atlas import FoldFile, FoldWriter
from foldmap.localize.evidence import KEY, MapCalibration, Place
from foldmap.localize.tail import Tail
from foldmap.localize.visual.heldout import with_errors
from foldmap.localize.visual.localizer import EVIDENCE, LEAST_KEYPOINTS, VisualLocalizer
from foldmap.localize.visual.widening import HeldErrors
from foldmap.types import DoubleArray, FloatArray
from foldmap.visual.decoded import VisualMap
from foldmap.visual.fold import LAYER, VisualPlan, VisualReport, fold_visual
from foldmap.visual.source import Features, Query, SceneModel
from foldmap.visual.unfold import FoldedVisual

NEGATIVES = 36
CALIBRATION_BYTES, PLACE_BYTES = 450, 48
"""So long is what is stored of a calibration at most, and of each of its places."""
_MIRRORED, _AMPLE = 1.2, 40.0  # no answer needs more evidence than so many times the worst negative's, and than so much
_SEEN = 0.5  # of the negatives, at least so many must have keypoints to speak of

Report = Callable[[int, int], None]


def fold_calibrated(
    writer: FoldWriter,
    scene: SceneModel,
    plan: VisualPlan,
    *,
    means: FloatArray | None = None,
    layer: str = LAYER,
    errors: HeldErrors | None = None,
    places: tuple[Place, ...] | None = None,
    report: Report = lambda done, total: None,
) -> VisualReport:
    """As `fold_visual`, and the map knows what chance reaches in it, and how far its answers are off.

    ``errors`` and ``places`` are those of `with_errors`; ``report`` is called with images tried.
    """
    calibration = calibrated(scene, plan, means=means, errors=errors, places=places, report=report)
    facts = {} if calibration is None else {KEY: calibration.to_dict()}
    return fold_visual(writer, scene, plan, means=means, layer=layer, facts=facts)


def calibrated(
    scene: SceneModel,
    plan: VisualPlan,
    *,
    means: FloatArray | None = None,
    errors: HeldErrors | None = None,
    places: tuple[Place, ...] | None = None,
    report: Report = lambda done, total: None,
) -> MapCalibration | None:
    """What the map that a plan gives of a scene is worth; None where its images do not tell what chance reaches."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "map.fold"
        with FoldWriter(path) as trial:
            fold_visual(trial, scene, plan, means=means)
        with FoldFile.open(path) as file:
            calibration = chance_in(FoldedVisual(file), scene, report=report)
    return None if calibration is None else with_errors(calibration, scene, plan, errors, places)


def chance_in(
    visual_map: VisualMap, scene: SceneModel, count: int = NEGATIVES, report: Report = lambda done, total: None
) -> MapCalibration | None:
    """The tail of the evidence that wrong answers reach in the map of a scene; None where its images do not tell."""
    if scene.tracks.descriptors is None:
        return None
    localizer = VisualLocalizer(visual_map)
    evidence, seen = [], 0
    for number in range(count):
        health = localizer.localize(negative(scene, number, count)).diagnostics
        evidence.append(health.evidence or 0.0)
        seen += health.keypoints >= LEAST_KEYPOINTS
        report(number + 1, count)
    if seen < _SEEN * count:
        return None
    return MapCalibration(chance={EVIDENCE: _bounded(np.array(evidence), localizer.settings.risks[1])}, negatives=count)


def _bounded(evidence: DoubleArray, risk: float) -> Tail:
    """The tail of some evidence, by which no answer needs far more than the worst of it, however few are bad.

    A map whose points were seen from all around fits its own mirror image; a few such among many that fit nothing would
    ask for evidence that no right answer reaches.
    """
    tail = Tail.of(evidence)
    most = max(_MIRRORED * float(evidence.max()), _AMPLE)
    if tail.exceeded_at(risk) <= most or tail.share <= risk:
        return tail
    return replace(tail, scale=max((most - tail.level) / math.log(tail.share / risk), tail.scale * 1e-3))


def negative(scene: SceneModel, number: int, count: int) -> Query:
    """One of so many queries that no pose explains: of images all over the scene, in turn mirrored and torn."""
    image = (number * len(scene.image_names)) // count
    tracks, camera = scene.tracks, scene.camera_of(image)
    rows = tracks.image == image
    xy_px = np.asarray(tracks.xy_px[rows], np.float64)
    size_px = np.array([camera.width_px, camera.height_px], np.float64)
    if number % 2:
        xy_px = _torn(xy_px, size_px, number)
    xy_px[:, 0] = size_px[0] - xy_px[:, 0]
    described = scene.described[rows]
    whole = None if scene.global_descriptors is None else scene.global_descriptors[image]
    return Query(f"negative {number}", camera, Features(xy_px.astype(np.float32), described), whole)


def _torn(xy_px: DoubleArray, size_px: DoubleArray, seed: int, parts: int = 4) -> DoubleArray:
    """An image cut into so many parts a side, which change places: neighbours stay neighbours."""
    side_px = size_px / parts
    cell = np.clip(xy_px // side_px, 0, parts - 1).astype(np.int64)
    to = np.random.default_rng(seed).permutation(parts * parts)[cell[:, 1] * parts + cell[:, 0]]
    moved: DoubleArray = xy_px + (np.stack([to % parts, to // parts], axis=1) - cell) * side_px
    return moved
