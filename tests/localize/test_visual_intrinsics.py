"""Cameras that are not as they were given: the pose is found with another lens, and never called `ok`."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "visual"))

from point_shell import CAMERA, apart, photo, pose_at, scene

from foldmap.errors import MapFormatError, MapInputError
from foldmap.localize.estimate import Status
from foldmap.localize.evidence import MapCalibration, doubt_at, mahalanobis
from foldmap.localize.tail import Tail
from foldmap.localize.visual import localizer as localizing
from foldmap.localize.visual.beside import found_beside
from foldmap.localize.visual.freed import Freed, centre_free, gain_of, off_centre
from foldmap.localize.visual.heldout import HeldOutImages, held_out_turns, with_errors
from foldmap.localize.visual.intrinsics import DOUBTS, Settled, _doubted, settle
from foldmap.localize.visual.localizer import EVIDENCE, VisualLocalizer
from foldmap.localize.visual.search import Hypothesis
from foldmap.localize.visual.settings import VisualSettings
from foldmap.localize.visual.support import Support
from foldmap.localize.visual.widening import HeldErrors, Spread, doubted_places, fitted
from foldmap.visual.codes.codecs import raw_for
from foldmap.visual.decoded import UnfoldedMap
from foldmap.visual.fold import VisualPlan
from foldmap.visual.match.lens import moved_by
from foldmap.visual.match.solve import Correspondences, refine_pose
from foldmap.visual.match.view import View, prepare
from foldmap.visual.scene.average import track_means
from foldmap.visual.scene.refitting import refitted
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


@pytest.mark.parametrize(("times", "clear"), [(1.5, False), (2.5, True)])
def test_a_pose_that_is_barely_ok_is_asked_for_far_focal_lengths(
    times: float, clear: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However sharp it is: a wrong focal length leaves a part of the view that fits as sharply."""
    query, _ = taken(1)
    evidence = made()[2].localize(query).diagnostics.evidence
    assert evidence is not None
    settings = VisualSettings(evidence_ok=evidence / times, evidence_least=1.0)
    localizer, told = VisualLocalizer(UnfoldedMap(made()[0]), settings, calibration=CALIBRATED), list[bool]()
    monkeypatch.setattr(localizing, "settle", lambda *given: told.append(given[-1]) or settle(*given))
    assert localizer.localize(query).status is Status.OK
    assert told == [clear]


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


def errors_of(off: np.ndarray, turned: np.ndarray | None = None) -> HeldErrors:
    """Errors by a camera's axes, of matches that give each axis a sigma of 1; turned by as much, where not told."""
    place, turn = (
        Spread(one, np.tile(np.eye(3), (len(one), 1, 1))) for one in (off, off if turned is None else turned)
    )
    return HeldErrors(place, turn, np.zeros_like(off))


def test_what_a_map_adds_along_the_view_is_told_from_what_its_matches_miss() -> None:
    rng = np.random.default_rng(1)
    own = rng.normal(size=(120, 3)) * rng.uniform(0.5, 2.0, 120)[:, None]
    covariance = np.einsum("n,ij->nij", (own**2).mean(1) + 0.2, np.eye(3))
    steady = Spread(own, covariance)
    scale, addend = fitted(steady)
    assert not addend.any()
    assert 0.6 < scale < 1.1
    jumping = replace(steady, off=own + rng.normal(size=(120, 1)) * [0.0, 0.0, 8.0])
    scale, addend = fitted(jumping)
    assert addend[2] == pytest.approx(8.0, rel=0.2)
    assert addend[:2].max() < 1.0
    assert 0.5 < scale < 1.2
    # camera x east, y down, z north: what is added along the view lies north
    camera_SE3_world = np.eye(4)
    camera_SE3_world[:3, :3] = [[1, 0, 0], [0, 0, -1], [0, 1, 0]]
    known = MapCalibration(sigma_scale=2.0, addend=(0.0, 0.0, 3.0))
    covered = known.at(np.eye(6), camera_SE3_world)
    assert np.allclose(covered, np.diag([4.0, 13.0, 4.0, 4.0, 4.0, 4.0]))
    # a rotation is told in the camera's axes already
    turned = replace(known, turn=(3.0, 0.0, 0.0, 4.0))
    assert np.allclose(turned.at(np.eye(6), camera_SE3_world), np.diag([4.0, 13.0, 4.0, 9.0, 9.0, 25.0]))
    assert np.allclose(turned.widened(2.0).at(np.eye(6), camera_SE3_world)[3:, 3:], np.diag([36.0, 36.0, 100.0]))


def test_places_where_images_contradict_the_points_are_doubted() -> None:
    model = scene(3, points=800, images=40)
    assert doubted_places(model) == ()
    centres = -np.einsum("nji,nj->ni", model.camera_SE3_world[:, :3, :3], model.camera_SE3_world[:, :3, 3])
    apart_m = np.linalg.norm(centres - centres[0], axis=1)
    poses = model.camera_SE3_world.copy()
    poses[np.argsort(apart_m)[:8], 0, 3] += 0.05
    places = doubted_places(replace(model, camera_SE3_world=poses))
    times = np.array([doubt_at(places, centre) for centre in centres])
    assert times.min() >= 1.0
    assert times[np.argsort(apart_m)[:3]].min() > 1.5
    assert times[np.argsort(apart_m)[-3:]].max() < times[np.argsort(apart_m)[:3]].min()
    stored = MapCalibration(addend=(0.1, 0.2, 0.3), places=places, turn=(1.5, 0.01, 0.0, 0.02))
    read = MapCalibration.read({"calibration": stored.to_dict()}, "visual")
    assert read is not None
    assert [one.times for one in read.places] == pytest.approx([one.times for one in places], rel=1e-3)
    assert read.addend == pytest.approx((0.1, 0.2, 0.3))
    assert read.turn == pytest.approx((1.5, 0.01, 0.0, 0.02))
    plain = MapCalibration()
    assert read.at(np.eye(6), poses[0])[5, 5] == pytest.approx((1.5 * times[0]) ** 2 + 0.02**2, rel=1e-2)
    assert np.array_equal(plain.at(np.eye(6), poses[0]), np.eye(6))


@pytest.mark.parametrize(
    "damaged",
    [
        {"addend": [1.0]}, {"addend": "1"}, {"places": [[0, 0, 0]]}, {"places": [[0, 0, 0, 0.5]]}, {"places": 3},
        {"turn": [1.0, 0.0, 0.0]}, {"turn": [0.0, 0.0, 0.0, 0.0]}, {"turn": [-1.0, 0.0, 0.0, 0.0]},
    ],
)  # fmt: skip
def test_damaged_addends_and_places_are_refused(damaged: dict[str, object]) -> None:
    with pytest.raises(MapFormatError, match=r"addend|places|turn"):
        MapCalibration.read({"calibration": {**MapCalibration().to_dict(), **damaged}}, "visual")


def test_points_lie_where_the_images_that_are_left_put_them() -> None:
    model, _, _ = made()
    tracks = model.tracks
    point = int(np.bincount(tracks.point).argmax())
    chosen = np.arange(len(model.points_world)) == point
    moved = model.points_world + 0.05 * chosen[:, None]
    again = refitted(replace(model, points_world=moved), chosen)
    assert np.array_equal(again[~chosen], moved[~chosen])
    rows = tracks.point == point
    poses, seen = model.camera_SE3_world[tracks.image[rows]], CAMERA.unproject(tracks.xy_px[rows])[:, :2]

    def residuals(where: np.ndarray) -> np.ndarray:
        local = poses[:, :3, :3] @ where + poses[:, :3, 3]
        return np.linalg.norm((seen - local[:, :2] / local[:, 2:]) * CAMERA.focal_px, axis=1)

    best = least_squares(residuals, moved[point], loss="cauchy")
    assert again[point] == pytest.approx(best.x, abs=2e-4)


def test_cameras_of_a_rig_are_held_out_together() -> None:
    names = [f"{camera}/{k:06d}.png" for camera in ("left", "right") for k in range(48)]
    (first, *_) = held_out_turns(SimpleNamespace(image_names=names), 16)  # type: ignore[arg-type]
    assert {name.replace("left", "right") for name in first} == {name for name in first if "right" in name}
    assert 6 * len(first) <= len(names)


def test_held_out_images_calibrate_a_map(tmp_path: Path) -> None:
    model, means, _ = made()
    plan = VisualPlan(np.arange(len(model.points_world)), raw_for(means))
    (names,) = held_out_turns(model, 4)
    out = HeldOutImages(model, names)
    assert not set(names) & set(out.rest.image_names)
    distances, errors = out.localize(plan, tmp_path / "trial.fold")
    assert len(distances) == len(errors) == 4
    assert (distances < 0.02).all()
    # a truth that looks another way from where it stands: that alone is what the answer is off
    aside = Rotation.from_rotvec([0.0, 0.05, 0.0]).as_matrix()
    out.camera_SE3_world[2, :3] = aside @ out.camera_SE3_world[2, :3]
    turned = out.localize(plan, tmp_path / "trial.fold")[1]
    assert np.allclose(turned.place.off[[0, 1, 3]], errors.place.off[[0, 1, 3]])
    assert np.linalg.norm(turned.place.off[2]) == pytest.approx(np.linalg.norm(errors.place.off[2]))
    more = np.linalg.norm(turned.turn.off, axis=1) - np.linalg.norm(errors.turn.off, axis=1)
    assert more == pytest.approx([0.0, 0.0, 0.05, 0.0], abs=0.005)
    # too few to tell: nothing is claimed
    assert with_errors(CALIBRATED, model, plan).errors is None
    drawn = np.random.default_rng(0).normal(size=(400, 3))
    for times in (0.5, 2.5):
        calibrated = with_errors(CALIBRATED, model, plan, errors_of(times * drawn), places=())
        assert calibrated.sigma_scale == pytest.approx(times, rel=0.15)
        assert (calibrated.chance, calibrated.addend) == (CALIBRATED.chance, ())
        assert calibrated.errors is not None
        assert calibrated.turn == pytest.approx((times, 0.0, 0.0, 0.0), rel=0.15)
    # poses that look astray by more than their matches say, in heading: the rotation is less sure, the place is not
    yaw = np.random.default_rng(1).normal(size=(400, 1)) * [0.0, 6.0, 0.0]
    astray = with_errors(CALIBRATED, model, plan, errors_of(drawn, drawn + yaw), places=())
    assert astray.sigma_scale == pytest.approx(1.0, rel=0.15)
    assert astray.turn == pytest.approx((1.0, 0.0, 6.0, 0.0), rel=0.2, abs=0.5)


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
