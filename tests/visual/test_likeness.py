"""How similar is similar enough: the number that a map brings, against what its descriptors were made with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from foldmap.atlas import FoldFile, FoldWriter
from foldmap.errors import MapFormatError
from foldmap.geometry.camera import Camera
from foldmap.localize.visual.localizer import VisualLocalizer, VisualSettings
from foldmap.localize.visual.negatives import fold_calibrated
from foldmap.visual.codes.basis_fit import fit_basis
from foldmap.visual.codes.codecs import Transform, raw_for
from foldmap.visual.fold import VisualPlan, fold_visual
from foldmap.visual.match.likeness import USUAL, least_similarity
from foldmap.visual.scene.average import track_means
from foldmap.visual.source import Features, Query, SceneModel, Tracks
from foldmap.visual.unfold import FoldedVisual

CAMERA = Camera("PINHOLE", 640, 480, np.array([500.0, 500.0, 320.0, 240.0]))
POINTS, IMAGES = 600, 6


def tilted(rows: np.ndarray, cosine: float, rng: np.random.Generator) -> np.ndarray:
    """Unit rows that have exactly that cosine with the given unit rows."""
    aside = rng.normal(size=rows.shape)
    aside -= np.sum(aside * rows, axis=1, keepdims=True) * rows
    aside /= np.linalg.norm(aside, axis=1, keepdims=True)
    return (cosine * rows + np.sqrt(1 - cosine**2) * aside).astype(np.float32)


def places(dimension: int, offset: float, rng: np.random.Generator) -> np.ndarray:
    """Unit descriptors of points; with an offset all of them lean one way, as SIFT's do."""
    rows = rng.normal(size=(POINTS, dimension)) / np.sqrt(dimension) + offset / np.sqrt(dimension)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def room(truth: np.ndarray, cosine: float, seed: int = 0) -> tuple[SceneModel, Query, np.ndarray]:
    """Images of points, and one more from between them as a query with its pose."""
    rng = np.random.default_rng(seed)
    points_world = rng.uniform([-3, -2, 5], [3, 2, 8], (POINTS, 3))
    poses = np.tile(np.eye(4), (IMAGES + 1, 1, 1))
    poses[:, :2, 3] = rng.uniform(-0.4, 0.4, (IMAGES + 1, 2))
    point = np.repeat(np.arange(POINTS), IMAGES)
    image = np.tile(np.arange(IMAGES), POINTS)
    xy_px = CAMERA.project(points_world[point] + poses[image, :3, 3])
    tracks = Tracks(point, image, xy_px.astype(np.float32), tilted(truth[point], cosine, rng))
    names = tuple(f"{k}.jpg" for k in range(IMAGES))
    scene = SceneModel((CAMERA,), names, np.zeros(IMAGES, np.int64), poses[:-1], points_world, tracks, feature="made")
    seen = CAMERA.project(points_world + poses[-1, :3, 3])
    inside = ((seen >= 0) & (seen <= [640, 480])).all(axis=1)
    features = Features(seen[inside].astype(np.float32), tilted(truth[inside], cosine, rng))
    return scene, Query("query.jpg", CAMERA, features), poses[-1]


@pytest.mark.parametrize("offset", [0.0, 1.5])
@pytest.mark.parametrize("cosine", [0.95, 0.7])
def test_midway_between_right_and_wrong(offset: float, cosine: float) -> None:
    rng = np.random.default_rng(1)
    truth = places(64, offset, rng)
    scene, _, _ = room(truth, cosine)
    every = np.arange(POINTS)
    # against the true descriptors an observation has exactly `cosine`; with another point it shares the offset alone
    between = truth[rng.integers(0, POINTS, 4000)], truth[rng.integers(0, POINTS, 4000)]
    wrong = cosine * float(np.median(np.sum(between[0] * between[1], axis=1)))
    found = least_similarity(scene, every, truth.astype(np.float32))
    assert found == pytest.approx((cosine + wrong) / 2, abs=0.02)
    some = np.arange(0, POINTS, 7)
    assert least_similarity(scene, some, truth[some].astype(np.float32)) == pytest.approx(found, abs=0.03)


def test_without_observations_the_usual() -> None:
    scene, _, _ = room(places(16, 0.0, np.random.default_rng(2)), 0.9)
    bare = replace(scene, tracks=replace(scene.tracks, descriptors=None))
    assert least_similarity(bare, np.arange(POINTS), np.zeros((POINTS, 16), np.float32)) == USUAL


def fold(scene: SceneModel, path: Path, change: dict[str, object] | None = None) -> FoldedVisual:
    means = track_means(scene)
    basis = fit_basis(means, 48)
    plan = VisualPlan(np.arange(POINTS), Transform(basis, 0.1, standard=False))
    with FoldWriter(path) as writer:
        (fold_calibrated if change is None else fold_visual)(writer, scene, plan, means=means)
        if change is not None:
            parameters = {**_parameters(scene, means), **change}
            writer.set_parameters("visual", {k: v for k, v in parameters.items() if v is not None})
        writer.commit()
    return FoldedVisual(FoldFile.open(path))


def _parameters(scene: SceneModel, means: np.ndarray) -> dict[str, object]:
    raw = raw_for(means)
    said = {"feature": scene.feature, "dimension": means.shape[1], "points": POINTS, "tiles": 1, "images": 0}
    return {**raw.parameters(), **said, "group": 0, "retrieval": "none"}


def test_descriptors_that_vary_much_are_still_found(tmp_path: Path) -> None:
    """Views of a point that have a cosine of 0.7 with its true descriptor, as a network's have on a hard scene."""
    scene, query, true = room(places(64, 0.0, np.random.default_rng(3)), 0.7)
    folded = fold(scene, tmp_path / "room.fold")
    assert 0.2 < folded.similarity < 0.5
    assert folded.whole().similarity == folded.similarity
    found = VisualLocalizer(folded).localize(query)
    assert found.status.value == "ok"
    assert found.camera_SE3_world is not None
    assert np.abs(found.camera_SE3_world - true).max() < 0.005
    fixed = VisualLocalizer(folded, VisualSettings(similarity=0.75)).localize(query)
    # with SIFT's number most of the points are thrown away
    assert fixed.diagnostics.sigma_rad is None or fixed.diagnostics.sigma_rad > 1.5 * found.diagnostics.sigma_rad


@pytest.mark.parametrize("value", [7, "much", True, [0.5]])
def test_a_number_that_is_no_cosine_is_refused(tmp_path: Path, value: object) -> None:
    scene, _, _ = room(places(64, 0.0, np.random.default_rng(4)), 0.9)
    with pytest.raises(MapFormatError, match="similarity"):
        fold(scene, tmp_path / "bad.fold", {"similarity": value})


def test_maps_that_do_not_say(tmp_path: Path) -> None:
    scene, _, _ = room(places(64, 0.0, np.random.default_rng(5)), 0.9)
    assert fold(scene, tmp_path / "old.fold", {"similarity": None}).similarity == USUAL
