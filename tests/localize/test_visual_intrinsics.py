"""Cameras that are not as they were given: the pose is found with another lens, and never called `ok`."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "visual"))

from point_shell import CAMERA, apart, photo, pose_at, scene

from foldmap.errors import MapInputError
from foldmap.localize.estimate import Status
from foldmap.localize.evidence import MapCalibration, mahalanobis
from foldmap.localize.tail import Tail
from foldmap.localize.visual.beside import found_beside
from foldmap.localize.visual.freed import Freed, centre_free, gain_of, off_centre
from foldmap.localize.visual.heldout import HeldOutImages, held_out_turns, with_errors
from foldmap.localize.visual.intrinsics import DOUBTS, Settled, _doubted
from foldmap.localize.visual.localizer import EVIDENCE, VisualLocalizer
from foldmap.localize.visual.search import Hypothesis
from foldmap.localize.visual.support import Support
from foldmap.visual.codes.codecs import raw_for
from foldmap.visual.decoded import UnfoldedMap
from foldmap.visual.fold import VisualPlan
from foldmap.visual.match.lens import moved_by
from foldmap.visual.match.solve import Correspondences, refine_pose
from foldmap.visual.match.view import View, prepare
from foldmap.visual.scene.average import track_means
from foldmap.visual.source import Query, SceneModel

CALIBRATED = MapCalibration(chance={EVIDENCE: Tail(1.0, 0.5, 0.1, 100)})


@cache
def made() -> tuple[SceneModel, np.ndarray, VisualLocalizer]:
    model = scene(3, points=2500, images=24)
    return model, track_means(model), VisualLocalizer(UnfoldedMap(model), calibration=CALIBRATED)


def taken(seed: int) -> tuple[Query, np.ndarray]:
    model, means, _ = made()
    pose = pose_at(np.random.default_rng(seed).uniform(-0.5, 0.5, 3), 0.7 * seed)
    return photo(model.points_world, means, pose, seed)[0], pose


def given(query: Query, focal: float = 1.0, centre_px: tuple[float, float] = (0.0, 0.0)) -> Query:
    """The photo with another camera than that it was taken by."""
    params = np.array(CAMERA.params)
    params[:2] *= focal
    params[2:] += centre_px
    return replace(query, camera=replace(CAMERA, params=params))


@pytest.mark.parametrize("seed", range(3))
def test_the_right_camera_is_left_alone(seed: int) -> None:
    query, pose = taken(seed)
    found = made()[2].localize(query)
    assert found.status is Status.OK
    assert found.diagnostics.focal == 1.0
    assert apart(found.pose, pose)[0] < 0.02


@pytest.mark.parametrize("focal", [0.8, 0.9, 0.95, 1.05, 1.1, 1.25])
def test_a_wrong_focal_length_is_told_and_the_pose_is_right(focal: float) -> None:
    query, pose = taken(1)
    found = made()[2].localize(given(query, focal))
    assert found.status is Status.DEGRADED
    assert found.diagnostics.focal == pytest.approx(1 / focal, rel=0.01)
    assert "focal lengths 50" in found.diagnostics.reason or "focal lengths 49" in found.diagnostics.reason
    off = -found.pose[:3, :3].T @ found.pose[:3, 3] + pose[:3, :3].T @ pose[:3, 3]
    sigma = np.sqrt(np.linalg.eigvalsh(found.covariance[:3, :3]).max())
    assert np.linalg.norm(off) < min(4.0 * sigma, 0.1)


@pytest.mark.parametrize("focal", [0.98, 1.02])
def test_a_focal_length_that_is_slightly_wrong_is_found_near_it(focal: float) -> None:
    """Off by less than cameras that are called another: the answer must be that of the focal length found."""
    for seed in range(2):
        query, pose = taken(seed)
        found = made()[2].localize(given(query, focal))
        assert found.diagnostics.focal == pytest.approx(1 / focal, rel=0.004)
        off = -found.pose[:3, :3].T @ found.pose[:3, 3] + pose[:3, :3].T @ pose[:3, 3]
        sigma = np.sqrt(np.linalg.eigvalsh(found.covariance[:3, :3]).max())
        assert np.linalg.norm(off) < min(4.0 * sigma, 0.05)


@pytest.mark.parametrize("focal", [0.993, 1.007])
def test_a_focal_length_within_what_is_known_of_it_widens_sigma_alone(focal: float) -> None:
    """A calibrated one is known to 1 %: within that the pose stays that of the camera that was given."""
    query, pose = taken(1)
    found, right = (made()[2].localize(given(query, one)) for one in (focal, 1.0))
    assert found.diagnostics.focal == 1.0
    sigma, least = (np.sqrt(np.linalg.eigvalsh(one.covariance[:3, :3]).max()) for one in (found, right))
    assert sigma > 1.5 * least
    off = -found.pose[:3, :3].T @ found.pose[:3, 3] + pose[:3, :3].T @ pose[:3, 3]
    assert np.linalg.norm(off) < 3.0 * sigma


def two_depths(
    focal: float, centre_px: tuple[float, float] = (0.0, 0.0)
) -> tuple[View, Correspondences, np.ndarray, Hypothesis]:
    """A view given that focal length over the true one, points at two depths, the true pose, and that of the far ones.

    The view's centre is off by so much. A part of the matches is wrong, as where the far ones hold the pose.
    """
    rng, pose = np.random.default_rng(4), np.eye(4)
    depth = np.repeat([13.0, 4.0], [90, 60])
    points = np.concatenate([rng.uniform(-0.5, 0.5, (150, 2)) * depth[:, None], depth[:, None]], axis=1)
    points[:, 2] += rng.uniform(-0.5, 0.5, 150)
    places = CAMERA.project(points) + rng.normal(0, 0.5, (150, 2))
    places[rng.permutation(150)[:30]] += rng.uniform(-15, 15, (30, 2))
    view = prepare(given(taken(0)[0], focal, centre_px))
    matched, far = Correspondences(places, points), Correspondences(places[:90], points[:90])
    held = pose
    for loss_px in (100.0, 3.0):
        held = refine_pose([view], [far], held, loss_px)
    return view, matched, pose, Hypothesis(held, [far], Support(0, 0, 0, 0.0, 0.0, 0.0), 0.5)


@pytest.mark.parametrize("focal", [0.98, 1.02])
def test_a_pose_that_hangs_on_one_depth_is_not_sure_of_the_focal_length(focal: float) -> None:
    view, matched, pose, best = two_depths(focal)
    beside = found_beside([view], [matched], best, 4.0)
    likely = max(beside, key=lambda one: one.share)
    assert likely.share > 1.05
    assert apart(likely.rig_SE3_world, pose)[0] < 0.1 < apart(best.rig_SE3_world, pose)[0]
    # what is refined from the pose tells nothing: the answer is so wide all the same
    near = Freed(best.rig_SE3_world, np.zeros(4), best.inliers, 0.5)
    known = Settled(best.rig_SE3_world, 1e-6 * np.eye(6), 90, 0.5)
    doubt = np.array(DOUBTS["given"])
    doubted = _doubted(known, near, 0.0, doubt, beside)
    assert "of the given one" in doubted.wrong
    # a guess was never known so well
    assert not _doubted(known, near, 0.0, np.array(DOUBTS["guessed"]), beside).wrong
    wide = doubted.covariance
    assert wide is not None
    off = moved_by(best.rig_SE3_world, pose)[:3]
    assert mahalanobis(off, wide[:3, :3]) < 3.0 < 30.0 < mahalanobis(off, 1e-6 * np.eye(3))


def test_matches_that_tell_the_focal_length_leave_no_doubt_of_it() -> None:
    view, matched, pose, best = two_depths(1.0)
    right = replace(best, rig_SE3_world=refine_pose([view], [matched], pose, 3.0))
    assert all(one.share < 0.95 for one in found_beside([view], [matched], right, 4.0))


def test_a_focal_length_that_explains_no_more_is_not_believed() -> None:
    """Wrong matches bend it far, and surely by its own standard deviation."""
    view, matched, pose, best = two_depths(1.0)
    right = replace(best, rig_SE3_world=refine_pose([view], [matched], pose, 3.0))
    bent = Freed(best.rig_SE3_world, np.array([0.03, 0.0, 0.0, 0.0]), [matched], 0.5)
    assert gain_of([view], right, bent) < 0.0
    off, numbers = two_depths(0.98)[0], np.array([-np.log(0.98), 0.0, 0.0, 0.0])
    assert gain_of([off], best, Freed(pose, numbers, [matched], 0.5)) > 50.0


def test_a_moved_lens_is_never_ok() -> None:
    for seed in range(3):
        query, pose = taken(seed)
        found = made()[2].localize(given(query, centre_px=(60.0, -30.0)))
        assert found.status is not Status.OK
        if found.pose is not None:
            assert apart(found.pose, pose)[0] < 0.1


@pytest.mark.parametrize("centre_px", [(50.0, -25.0), (-20.0, -45.0)])
def test_a_pose_that_hangs_on_one_depth_does_not_hide_a_moved_lens(centre_px: tuple[float, float]) -> None:
    free, nothing = centre_free(np.array([0.5, 0.002, 0.002, 0.002])), np.zeros(4)
    view, matched, pose, best = two_depths(1.0, centre_px)
    found = off_centre([view], 0.0, [matched], best, (best.rig_SE3_world, nothing), 8.0, free)
    assert found is not None
    assert found.numbers[2:] == pytest.approx([-centre_px[0] / 500, -centre_px[1] / 500], abs=0.01)
    assert apart(found.rig_SE3_world, pose)[0] < 0.02 < apart(best.rig_SE3_world, pose)[0]
    view, matched, pose, best = two_depths(1.0)
    assert off_centre([view], 0.0, [matched], best, (best.rig_SE3_world, nothing), 8.0, free) is None


def test_a_guess_makes_a_pose_less_sure() -> None:
    query, _ = taken(2)
    known, exif = (made()[2].localize(replace(query, intrinsics=source)) for source in ("given", "exif"))
    assert known.diagnostics.sigma_rad < exif.diagnostics.sigma_rad
    with pytest.raises(MapInputError, match="hearsay"):
        replace(query, intrinsics="hearsay")


def test_held_out_images_calibrate_a_map(tmp_path: Path) -> None:
    model, means, _ = made()
    plan = VisualPlan(np.arange(len(model.points_world)), raw_for(means))
    (names,) = held_out_turns(model, 4)
    out = HeldOutImages(model, names)
    assert not set(names) & set(out.rest.image_names)
    errors, distances = out.localize(plan, tmp_path / "trial.fold")
    assert len(errors) == len(distances) == 4
    assert (errors < 0.02).all()
    # too few to tell: nothing is claimed
    assert with_errors(CALIBRATED, model, plan).errors is None
    drawn = np.linalg.norm(np.random.default_rng(0).normal(size=(400, 3)), axis=1)
    calibrated = with_errors(CALIBRATED, model, plan, 2.5 * drawn)
    assert calibrated.sigma_scale == pytest.approx(2.5, rel=0.15)
    assert calibrated.chance == CALIBRATED.chance
    # images of the map's own day err less than photos do: they make no answer surer than its matches
    surer = with_errors(CALIBRATED, model, plan, 0.5 * drawn)
    assert surer.sigma_scale == 1.0
    assert surer.errors is not None
    assert calibrated.errors is not None
    level = 0.5 / 2.5 * calibrated.sigma_scale * calibrated.errors.exceeded_at(1e-3)
    assert surer.errors.exceeded_at(1e-3) == pytest.approx(level, rel=0.05)


def test_a_pose_that_the_points_contradict_is_no_truth_for_held_out_images() -> None:
    model, _, _ = made()
    (names,) = held_out_turns(model, 4)
    poses = model.camera_SE3_world.copy()
    poses[model.image_names.index(names[2]), 0, 3] += 0.05
    assert HeldOutImages(model, names).trusted.all()
    wrong = HeldOutImages(replace(model, camera_SE3_world=poses), names)
    assert wrong.trusted.tolist() == [True, True, False, True]


@pytest.mark.parametrize("focal", [0.55, 1.5])
def test_a_guessed_focal_length_is_found_with_the_pose(focal: float) -> None:
    query, pose = taken(2)
    found = made()[2].localize(replace(given(query, focal), intrinsics="guessed"))
    assert found.status in (Status.OK, Status.DEGRADED)
    assert found.diagnostics.focal == pytest.approx(1 / focal, rel=0.02)
    off = -found.pose[:3, :3].T @ found.pose[:3, 3] + pose[:3, :3].T @ pose[:3, 3]
    sigma = np.sqrt(np.linalg.eigvalsh(found.covariance[:3, :3]).max())
    assert np.linalg.norm(off) < min(4.0 * sigma, 0.2)
    # given as sure, so wrong a camera gets no pose that is called ok
    assert made()[2].localize(given(query, focal)).status is not Status.OK
