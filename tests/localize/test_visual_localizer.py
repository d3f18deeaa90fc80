"""Cameras and rigs localized among generated points: right poses, honest statuses, never a wrong `ok`."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "visual"))

from point_shell import CAMERA, apart, photo, pose_at, scene, shell

from foldmap.atlas import FoldFile, FoldWriter
from foldmap.errors import ConfigError, MapInputError
from foldmap.geometry.camera import Camera
from foldmap.localize.estimate import Status
from foldmap.localize.evidence import MapCalibration
from foldmap.localize.tail import Tail
from foldmap.localize.visual.estimate import CameraEstimate
from foldmap.localize.visual.localizer import EVIDENCE, VisualLocalizer, VisualSettings
from foldmap.localize.visual.negatives import chance_in, fold_calibrated, negative
from foldmap.localize.visual.support import support_of
from foldmap.visual.codes.codecs import raw_for
from foldmap.visual.decoded import MapPoints, UnfoldedMap
from foldmap.visual.fold import VisualPlan, fold_visual
from foldmap.visual.match.view import View, prepare
from foldmap.visual.scene.average import track_means
from foldmap.visual.source import Features, Query, SceneModel
from foldmap.visual.unfold import FoldedVisual

FISHEYE = Camera("OPENCV_FISHEYE", 640, 480, np.array([330.0, 331, 320, 240, 0.02, -0.01, 2e-3, -1e-4]))
OPENCV = Camera("OPENCV", 640, 480, np.array([500.0, 498, 318, 242, -0.12, 0.03, 1e-3, -8e-4]))
TRUE = pose_at(np.array([0.4, 0.1, -0.3]), 1.3, 0.04)


class Points:
    """A map of given points."""

    feature = "shell"
    parameters: ClassVar[dict[str, object]] = {}

    def __init__(self, points: np.ndarray, descriptors: np.ndarray) -> None:
        self._points = MapPoints(points, descriptors)
        self.dimension = descriptors.shape[1]

    @staticmethod
    def of(given: MapPoints) -> Points:
        made = Points(given.points_world, given.descriptors)
        made._points = given
        return made

    def around(self, queries: list[Query], views: list[View]) -> MapPoints:
        return self._points


@cache
def made() -> tuple[SceneModel, np.ndarray, VisualLocalizer]:
    model = scene(3, points=2500, images=24)
    whole = UnfoldedMap(model)
    return model, track_means(model), VisualLocalizer(whole, calibration=chance_in(whole, model))


def taken(seed: int = 0, pose: np.ndarray = TRUE, **how: object) -> Query:
    model, means, _ = made()
    return photo(model.points_world, means, pose, seed, **how)[0]  # type: ignore[arg-type]


def right(found: CameraEstimate, pose: np.ndarray = TRUE) -> bool:
    if found.camera_SE3_world is None:
        return False
    distance, angle = apart(found.camera_SE3_world, pose)
    return distance < 0.1 and angle < 0.01


def features(xy: np.ndarray, descriptors: np.ndarray) -> Features:
    return Features(np.asarray(xy, np.float32), np.asarray(descriptors, np.float32))


@pytest.mark.parametrize("camera", [CAMERA, OPENCV, FISHEYE], ids=lambda camera: camera.model)
def test_a_camera_is_localized_whatever_its_lens(camera: Camera) -> None:
    _, _, localizer = made()
    found = localizer.localize(taken(camera=camera))
    assert found.status is Status.OK
    assert right(found)
    assert found.diagnostics.noise_px is not None
    assert 0.3 < found.diagnostics.noise_px < 0.7
    assert found.diagnostics.time_s > 0


def test_errors_are_as_large_as_the_covariance_says() -> None:
    _, _, localizer = made()
    far = []
    for seed in range(25):
        rng = np.random.default_rng(seed)
        pose = pose_at(rng.uniform(-0.5, 0.5, 3), 0.25 * seed)
        found = localizer.localize(taken(seed, pose))
        assert found.status is Status.OK
        assert found.centre_world is not None
        assert found.covariance is not None
        off = found.centre_world - np.linalg.inv(pose)[:3, 3]
        far.append(off @ np.linalg.solve(found.covariance[:3, :3], off))
    # a chi-squared variable of 3 degrees has its mean at 3; here points have no errors, which sigma reckons with
    assert 0.5 < np.mean(far) < 4


def test_the_same_query_gives_the_same_answer() -> None:
    model, _, localizer = made()
    one, other = localizer.localize(taken()), VisualLocalizer(UnfoldedMap(model)).localize(taken())
    assert one.camera_SE3_world is not None
    assert np.array_equal(one.camera_SE3_world, other.camera_SE3_world)
    assert np.array_equal(one.covariance, other.covariance)


def test_tiles_and_retrieval_give_the_pose_of_the_whole_map(tmp_path: Path) -> None:
    model, means, _ = made()
    every = np.arange(len(model.points_world))
    poses = []
    for name, how in (("whole", {"images": False}), ("parts", {"images": True, "group": 2, "tile_points": 100})):
        with FoldWriter(tmp_path / name) as writer:
            fold_calibrated(writer, model, VisualPlan(every, raw_for(means), **how), means=means)  # type: ignore[arg-type]
            writer.commit()
        with FoldFile.open(tmp_path / name) as file:
            localizer = VisualLocalizer(FoldedVisual(file, images=6))
            poses.append([])
            for seed in range(5):
                pose = pose_at(np.array([0.1, 0, 0.2]), 1.2 * seed)
                found = localizer.localize(taken(seed, pose))
                assert found.status is Status.OK
                assert right(found, pose)
                assert found.diagnostics.images == (6 if how["images"] else 0)
                assert found.camera_SE3_world is not None
                poses[-1].append(found.camera_SE3_world)
    for one, other in zip(*poses, strict=True):
        distance, angle = apart(one, other)
        assert distance < 0.01
        assert angle < 0.002


def rig_of(seed: int, most: int) -> list[Query]:
    """Three cameras that look in three directions, each with few keypoints that see something."""
    rigs = [pose_at(np.array(at), yaw) for at, yaw in (((0.2, 0, 0), 0.0), ((0, 0.1, -0.3), 2.1), ((-0.2, 0, 0), 4.2))]
    queries = []
    for k, rig in enumerate(rigs):
        query = taken(10 * seed + k, rig @ TRUE, rig=rig, clutter=0)
        some = features(query.features.xy_px[:most], query.features.descriptors[:most])
        queries.append(Query(query.name, query.camera, some, camera_SE3_rig=rig))
    return queries


def test_a_rig_is_localized_as_one() -> None:
    _, _, localizer = made()
    found = localizer.localize(rig_of(1, 100))
    assert found.status is Status.OK
    assert right(found)
    one = localizer.localize(rig_of(1, 100)[1])
    assert right(one), "a single camera with extrinsics answers the pose of its rig"


def test_cameras_of_a_rig_succeed_together_where_each_fails() -> None:
    _, _, localizer = made()
    alone, together = [], []
    for seed in range(3):
        queries = rig_of(seed, 12)
        alone += [localizer.localize(query).status for query in queries]
        together.append(localizer.localize(queries))
    assert Status.OK not in alone
    assert all(found.status.has_pose and right(found) for found in together)


def test_a_blank_camera_does_not_stop_its_rig(tmp_path: Path) -> None:
    model, means, _ = made()
    with FoldWriter(tmp_path / "a.fold") as writer:
        every = np.arange(len(means))
        fold_visual(writer, model, VisualPlan(every, raw_for(means), images=True, tile_points=400), means=means)
        writer.commit()
    queries = rig_of(2, 100)
    blank = features(np.zeros((0, 2)), np.zeros((0, means.shape[1])))
    queries[1] = Query("blank", CAMERA, blank, camera_SE3_rig=queries[1].camera_SE3_rig)
    with FoldFile.open(tmp_path / "a.fold") as file:
        assert right(VisualLocalizer(FoldedVisual(file)).localize(queries))
    assert right(made()[2].localize(queries))


def test_nothing_to_see_is_no_observation() -> None:
    _, means, localizer = made()
    for count in (0, 1, 3, 7):
        query = taken()
        few = features(query.features.xy_px[:count], query.features.descriptors[:count])
        assert localizer.localize(Query("few", CAMERA, few)).status is Status.NO_OBSERVATION
    # not even descriptors of the map's length
    assert means.shape[1] != 5
    none = features(np.zeros((0, 2)), np.zeros((0, 5)))
    assert localizer.localize(Query("blank", CAMERA, none)).status is Status.NO_OBSERVATION


def test_keypoints_without_texture_give_no_pose() -> None:
    rng = np.random.default_rng(0)
    _, means, localizer = made()
    for looks in (np.zeros((500, 32)), np.tile(means[7], (500, 1)), rng.normal(size=(500, 32))):
        query = Query("noise", CAMERA, features(rng.uniform(0, 480, (500, 2)), looks))
        assert not localizer.localize(query).status.has_pose


def test_another_place_is_refused() -> None:
    _, _, localizer = made()
    for seed in range(20):
        points, looks = shell(100 + seed, 2000)
        query, _ = photo(points, looks, TRUE, seed)
        found = localizer.localize(query)
        assert found.status in (Status.NO_MATCH, Status.AMBIGUOUS)
        assert found.camera_SE3_world is None
        assert found.diagnostics.reason


def test_points_on_a_line_do_not_fix_a_pose() -> None:
    rng = np.random.default_rng(1)
    looks = shell(5, 300)[1]
    line = np.array([[0.3, -0.5, 4.0]]) + rng.uniform(-2, 2, (300, 1)) * [[1.0, 0.2, 0.4]]
    query, _ = photo(line, looks, np.eye(4), 1, noise_px=0.3)
    found = VisualLocalizer(Points(line, looks)).localize(query)
    assert not found.status.has_pose
    assert VisualLocalizer(Points(line[:3], looks[:3])).localize(query).status is Status.NO_MAP


def test_two_identical_rooms_give_no_pose() -> None:
    points, looks = shell(6, 1200)
    rng = np.random.default_rng(2)
    both = np.concatenate([points, points + np.array([100.0, 0, 0])])
    for spread in (0.0, 0.02):
        near = np.concatenate([looks, looks]) + rng.normal(0, spread, (2400, 32))
        near /= np.linalg.norm(near, axis=1, keepdims=True)
        localizer = VisualLocalizer(Points(both, near.astype(np.float32)))
        statuses = [localizer.localize(photo(points, looks, pose_at(np.zeros(3), k), k)[0]).status for k in range(4)]
        assert not any(status.has_pose for status in statuses)
        if spread:
            assert Status.AMBIGUOUS in statuses


def test_of_two_identical_rooms_that_which_was_mapped_better_is_not_believed() -> None:
    points, looks = shell(6, 1200)
    rng = np.random.default_rng(2)
    thin = rng.permutation(1200)[:480]
    near = np.concatenate([looks[thin], looks]) + rng.normal(0, 0.02, (1680, 32))
    near /= np.linalg.norm(near, axis=1, keepdims=True)
    both = np.concatenate([points[thin], points + np.array([100.0, 0, 0])])
    localizer = VisualLocalizer(Points(both, near.astype(np.float32)))
    for k in (0, 3):  # that do not look into the other room
        found = localizer.localize(photo(points, looks, pose_at(np.zeros(3), k), k)[0])
        assert found.status is Status.AMBIGUOUS
        assert 0 < (found.diagnostics.rival or 0.0) < 0.5


def test_descriptors_of_another_kind_are_refused() -> None:
    _, _, localizer = made()
    wrong = Query("a", CAMERA, features(np.zeros((20, 2)), np.ones((20, 16))))
    with pytest.raises(MapInputError, match="16 numbers, the map of 32"):
        localizer.localize(wrong)
    with pytest.raises(MapInputError, match="without cameras"):
        localizer.localize([])


def test_unknown_matchers_are_refused() -> None:
    model, _, _ = made()
    with pytest.raises((ConfigError, MapInputError), match="nearest-ish"):
        VisualLocalizer(UnfoldedMap(model), VisualSettings(matcher="nearest-ish"))
    found = VisualLocalizer(UnfoldedMap(model), VisualSettings(matcher="mutual")).localize(taken())
    assert found.status is Status.DEGRADED
    assert "not calibrated" in found.diagnostics.reason
    assert right(found)


def test_a_mirrored_photo_is_refused() -> None:
    """A wall that was seen from its front: a camera behind it explains the mirrored photo, every point of it."""
    rng = np.random.default_rng(4)
    looks = shell(8, 600)[1]
    wall = np.column_stack([rng.uniform(-3, 3, (600, 2)), np.full(600, 4.0)])
    query, _ = photo(wall, looks, np.eye(4), 1)
    mirrored = query.features.xy_px.copy()
    mirrored[:, 0] = CAMERA.width_px - mirrored[:, 0]
    mirror = Query("mirror", CAMERA, features(mirrored, query.features.descriptors))
    front = np.column_stack([np.tile([0.0, 0.0, -1.0, 0.6], (600, 1)), np.full(600, 1.0), np.full(600, 16.0)])
    known, unknown = (MapPoints(wall, looks, seen_from=given) for given in (front, None))
    asked = [VisualLocalizer(Points.of(one)).localize(each) for one in (known, unknown) for each in (query, mirror)]
    assert [found.status.has_pose for found in asked] == [True, False, True, True]
    behind = asked[3].centre_world
    assert behind is not None
    assert behind[2] > 4.0


def test_what_points_of_one_place_say_counts_once() -> None:
    """A hundred points in one spot of the image and as many all over it: as many are found, and fewer are believed."""
    rng = np.random.default_rng(5)
    looks = shell(9, 400)[1]
    supports = []
    for side in (0.2, 3.0):  # of what a hundred points lie in, metres on a wall 4 m away
        wall = np.column_stack([rng.uniform(-1.5, 1.5, (400, 2)), np.full(400, 4.0)])
        wall[:100, :2] = rng.uniform(-side / 2, side / 2, (100, 2))
        query, _ = photo(wall[:100], looks[:100], np.eye(4), 3)  # of the others the photo shows nothing
        supports.append(support_of([prepare(query)], MapPoints(wall, looks), np.eye(4), 4.8))
    assert min(support.found for support in supports) > 60
    assert supports[0].strength > 60
    assert supports[0].evidence < 0.25 * supports[0].strength
    assert supports[1].evidence > 3 * supports[0].evidence


def test_a_map_asks_for_more_evidence_where_wrong_answers_reach_more() -> None:
    model, _, localizer = made()
    found = localizer.localize(taken())
    assert found.diagnostics.evidence is not None
    reached = found.diagnostics.evidence
    whole = UnfoldedMap(model)
    for level, status in ((reached - 1.0, Status.OK), (reached + 1.0, Status.NO_MATCH)):
        harsh = MapCalibration({EVIDENCE: Tail(level, 1e-3, 1.0, 24)}, negatives=24)
        assert VisualLocalizer(whole, calibration=harsh).localize(taken()).status is status


def test_negatives_have_the_map_s_own_keypoints_in_other_places() -> None:
    model, _, _ = made()
    for number in range(24):
        query = negative(model, number, 24)
        rows = model.tracks.image == number
        assert np.array_equal(query.features.descriptors, model.described[rows])
        moved = np.linalg.norm(query.features.xy_px - model.tracks.xy_px[rows], axis=1)
        assert np.median(moved) > 50
        assert (query.features.xy_px >= -1).all()
        assert (query.features.xy_px <= np.array([CAMERA.width_px, CAMERA.height_px]) + 1).all()
    mirrored = CAMERA.width_px - model.tracks.xy_px[model.tracks.image == 0][:, 0]
    np.testing.assert_allclose(negative(model, 0, 24).features.xy_px[:, 0], mirrored, atol=1e-3)


def test_a_scene_without_descriptors_is_not_calibrated() -> None:
    model, _, _ = made()
    bare = replace(model, tracks=replace(model.tracks, descriptors=None))
    assert chance_in(UnfoldedMap(model), bare) is None
    told: list[tuple[int, int]] = []
    calibration = chance_in(UnfoldedMap(model), model, 20, lambda done, total: told.append((done, total)))
    assert calibration is not None
    assert calibration.negatives == calibration.chance[EVIDENCE].count == 20
    assert told[-1] == (20, 20)


def test_support_knows_a_right_pose_from_a_wrong_one() -> None:
    model, means, _ = made()
    around = MapPoints(model.points_world, means)
    view = prepare(taken())
    true = support_of([view], around, TRUE, 4.8)
    assert true.evidence > 60
    assert 0.5 * true.visible < true.found <= true.visible
    # chance: under wrong poses the bound must hold, 10 to the minus one in at most a tenth of them
    wrong = [support_of([view], around, pose_at(np.zeros(3), 2.0 + 0.05 * k), 4.8).evidence for k in range(60)]
    assert max(wrong) < 6
    assert np.mean(np.array(wrong) > 1) <= 0.2
    nowhere = pose_at(np.array([0, 1e3, 0]), 0.0)
    assert support_of([view], around, nowhere, 4.8).evidence == 0
