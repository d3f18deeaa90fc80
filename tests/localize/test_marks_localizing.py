"""Localizing by marks: poses against the truth, against dense matching, and none where there is none."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "lidar"))
from painted_ground import RESOLUTION_M, painted_map, seen_from

from foldmap.errors import PoseInputError
from foldmap.geometry import SE2, wrap_rad
from foldmap.lidar.defaults import default_marks
from foldmap.lidar.marks.fit import marks_in_memory
from foldmap.lidar.marks.unfold import MarksMap
from foldmap.localize.estimate import Status
from foldmap.localize.evidence import MapCalibration
from foldmap.localize.lidar import whole_map
from foldmap.localize.lidar.calibrate import blank_like, shuffled
from foldmap.localize.lidar.confidence import MARKS
from foldmap.localize.lidar.dense import DenseMatcher
from foldmap.localize.lidar.localizer import LidarLocalizer, LidarSettings
from foldmap.localize.lidar.marks import MarksMatcher, _vertices
from foldmap.localize.lidar.whole_map import Coarse, WholeMap

SEED = 5


@pytest.fixture(scope="module")
def folded() -> MarksMap:
    return marks_in_memory(default_marks(RESOLUTION_M), painted_map(SEED, 1200))[0]


def near(truth: SE2, rng: np.random.Generator, radius_m: float = 1.0) -> SE2:
    x_m, y_m = rng.uniform(-radius_m, radius_m, 2)
    return SE2(truth.x_m + x_m, truth.y_m + y_m, truth.heading_rad + math.radians(rng.uniform(-4, 4)))


def apart(pose: SE2, truth: SE2) -> tuple[float, float]:
    turn = abs(wrap_rad(pose.heading_rad - truth.heading_rad))
    return math.hypot(pose.x_m - truth.x_m, pose.y_m - truth.y_m), math.degrees(turn)


def test_a_doubted_match_is_refused_where_the_sweep_fits_elsewhere(folded: MarksMap) -> None:
    """Asked 18 m from its place and turned by two radians, by thresholds that let all pass: its place is found."""
    truth, prior = SE2(-6.0, -5.0, 0.4), SE2(7.0, 7.0, 2.4)
    observation = seen_from(SEED, truth, 1200)
    low = {name: 0.0 for name in MARKS.to_dict() if "sigma_m" not in name}
    anything = replace(MARKS, **low, warn_sigma_m=1e6, reject_sigma_m=1e6)
    localizer = LidarLocalizer.open(folded, LidarSettings(thresholds=anything))
    answers = [localizer.localize(observation, prior, 2.0)]
    for fit, rival in ((0.2, 0.25), (0.2, 0.01), (0.95, 0.96)):  # doubted; in no doubt; fits nowhere so well
        localizer.calibration = MapCalibration(fit=fit, rival=rival)
        answers.append(localizer.localize(observation, prior, 2.0))
    assert [one.status for one in answers] == [Status.OK, Status.AMBIGUOUS, Status.OK, Status.OK]
    assert answers[0].pose is not None
    away_m = apart(answers[0].pose, truth)[0]
    assert answers[1].diagnostics.reason.startswith(f"it fits {away_m:.0f} m away with a score of 0.")
    right = localizer.localize(observation, truth, 1.0)
    assert right.status is Status.OK  # doubted by the last, and fits nowhere so well


def test_poses_are_right_at_any_heading(folded: MarksMap) -> None:
    rng = np.random.default_rng(0)
    localizer = LidarLocalizer.open(folded)
    normal = []
    for heading in np.linspace(-3.1, 3.1, 9):
        truth = SE2(*rng.uniform(-6, 6, 2), float(heading))
        found = localizer.localize(seen_from(SEED, truth, 1200), near(truth, rng), 1.5)
        assert found.status is Status.OK, (heading, found.diagnostics)
        assert found.pose is not None
        error_m, error_deg = apart(found.pose, truth)
        assert error_m < 0.05, heading
        assert error_deg < 0.3, heading
        assert found.covariance is not None
        sigma_deg = math.degrees(math.sqrt(found.covariance[2, 2]))
        assert sigma_deg < 0.5
        normal.append((error_deg / sigma_deg) ** 2)
    assert np.mean(normal) < 2.5  # of nine that are 1 on average, exceeded once in a hundred


def test_a_faint_match_that_is_doubted_is_no_answer_by_itself(folded: MarksMap) -> None:
    truth = SE2(2.0, -1.0, 0.4)
    observation, prior = seen_from(SEED, truth, 1200), near(truth, np.random.default_rng(4))
    faint, doubted = replace(MARKS, warn_score=0.99), replace(MARKS, warn_score=0.99, warn_sigma_m=1e-4)
    for thresholds, status in ((faint, Status.DEGRADED), (doubted, Status.NO_MATCH)):
        localizer = LidarLocalizer.open(folded, LidarSettings(thresholds=thresholds))
        assert localizer.attempt(observation, prior, 1.5).estimate.status is Status.DEGRADED  # what drives sum
        alone = localizer.localize(observation, prior, 1.5)
        assert alone.status is status
        assert (alone.pose is None) == (status is Status.NO_MATCH)
        assert "score" in alone.diagnostics.reason


def test_a_paraboloid_is_read_at_its_top() -> None:
    rng = np.random.default_rng(8)
    tops, fits = rng.uniform(-0.9, 0.9, (20, 3)), []
    for top in tops:
        root = rng.normal(size=(3, 3))
        bend = -(root @ root.T + 0.1 * np.eye(3))  # the Hessian; scores are 7 + (p - top)' bend (p - top) / 2
        xx, yy, tt = 0.5 * np.diag(bend)
        fits.append([7, *(-bend @ top), xx, yy, tt, bend[0, 1], bend[0, 2], bend[1, 2]])
    found, are_peaks = _vertices(np.array(fits))
    assert are_peaks.all()
    np.testing.assert_allclose(found, tops, atol=1e-9)
    saddle = np.array([[0, 0.1, 0.1, 0, -1, -1, 0.5, 0, 0, 0]])
    found, are_peaks = _vertices(saddle)
    assert not are_peaks.any()
    np.testing.assert_array_equal(found, 0)


def test_points_find_what_images_find(folded: MarksMap) -> None:
    """The dense matcher correlates the contrast with the image of the marks, pixel by pixel."""
    rng = np.random.default_rng(1)
    headings = np.radians(np.arange(-5, 6.0))
    for _ in range(4):
        truth = SE2(*rng.uniform(-5, 5, 2), float(rng.uniform(-3, 3)))
        prior, observation = near(truth, rng, 0.8), seen_from(SEED, truth, 1200)
        points = MarksMatcher(folded).match(observation, prior, 26, headings, 0.01)
        images = DenseMatcher(folded).match(observation, prior, 26, headings, 0.01)
        assert points is not None
        assert images is not None
        assert apart(points.offset, images.offset)[0] < 0.05
        assert points.volume.shape == images.volume.shape
        assert np.corrcoef(points.volume.ravel(), images.volume.ravel())[0, 1] > 0.95


def test_nothing_wrong_is_ok(folded: MarksMap) -> None:
    rng = np.random.default_rng(2)
    localizer = LidarLocalizer.open(folded)
    for number in range(5):
        truth = SE2(*rng.uniform(-5, 5, 2), float(rng.uniform(-3, 3)))
        seen = seen_from(SEED, truth, 1200)
        other = seen_from(SEED + 1 + number, truth, 1200)
        for wrong in (other, shuffled(seen, rng), blank_like(seen, rng)):
            assert localizer.localize(wrong, near(truth, rng), 1.5).status is not Status.OK
    off = localizer.localize(seen, SE2(500.0, 0.0, 0.0), 1.5)
    assert (off.status, off.pose) == (Status.NO_MAP, None)
    for far_m, radius_m in ((1e12, 1.0), (-1e300, 1.0), (1e300, 10.0)):
        assert localizer.localize(seen, SE2(far_m, 0.0, 0.0), radius_m).status is Status.NO_MAP
    unseen = replace(seen, observed=np.zeros_like(seen.observed))
    assert localizer.localize(unseen, truth, 1.5).status is Status.NO_OBSERVATION
    with pytest.raises(PoseInputError, match="finite"):
        localizer.localize(seen, SE2(math.nan, 0.0, 0.0), 1.5)


def test_the_score_is_of_what_lies_on_known_map(folded: MarksMap) -> None:
    """As sure of half a map as of the whole one, where the other half of the observation lies on nothing."""
    half = painted_map(SEED, 1200)
    half = replace(half, observed=half.observed & (np.arange(1200)[None] < 600))
    seen = seen_from(SEED, SE2(0.0, 0.0, 0.0), 1200)
    scores = []
    for one in (folded, marks_in_memory(default_marks(RESOLUTION_M), half)[0]):
        score = LidarLocalizer.open(one).localize(seen, SE2(0.2, 0.1, 0.0)).diagnostics.score
        assert score is not None
        scores.append(score)
    assert scores[1] > 0.75 * scores[0]  # of all that is observed it would be 0.7 of that


def test_a_map_without_marks_answers_nothing() -> None:
    plain = painted_map(SEED, 600)
    plain = replace(plain, intensity=np.full_like(plain.intensity, 0.4))
    folded = marks_in_memory(default_marks(RESOLUTION_M), plain)[0]
    for radius_m in (1.0, 10.0):
        found = LidarLocalizer.open(folded).localize(seen_from(SEED, SE2(0, 0, 0), 600), SE2(0.2, 0.1, 0.0), radius_m)
        assert found.pose is None


def test_a_wide_search_finds_the_place(folded: MarksMap) -> None:
    truth = SE2(2.0, -3.0, 0.7)
    found = LidarLocalizer.open(folded).localize(seen_from(SEED, truth, 1200), SE2(8.0, 3.0, 0.72), 10.0)
    assert found.pose is not None
    assert apart(found.pose, truth)[0] < 0.06


def test_a_drive_is_followed(folded: MarksMap) -> None:
    rng = np.random.default_rng(3)
    truth = SE2(-5.0, 0.0, 0.1)
    tracker = LidarLocalizer.open(folded).start(near(truth, rng, 0.4), 0.4, math.radians(3))
    moved = SE2(0.0, 0.0, 0.0)
    for _ in range(6):
        found = tracker.step(seen_from(SEED, truth, 1200), moved)
        moved = SE2(1.0, 0.0, 0.05)
        if found.pose is not None:
            last = apart(found.pose, truth)
        truth = truth @ moved
    assert found.status is Status.OK
    assert last[0] < 0.1


def searched(whole: WholeMap, truth: SE2, headings: int) -> list[SE2]:
    whole.begin(seen_from(SEED, truth, 1200))
    found: list[SE2] = []
    while not whole.idle:
        assert not found
        found = whole.advance(headings)
    return found


def rank_of(truth: SE2, found: list[SE2]) -> int:
    near = [apart(one, truth)[0] < 0.6 and apart(one, truth)[1] < 2.0 for one in found]
    return near.index(True) if True in near else len(near)


def test_a_place_is_the_best_of_the_whole_map(folded: MarksMap) -> None:
    assert WholeMap(folded).fits
    whole = WholeMap(folded)
    for truth in (SE2(-4.0, 3.0, 0.3), SE2(5.0, -5.0, -2.6)):
        assert rank_of(truth, searched(whole, truth, Coarse.headings)) == 0
    assert whole.advance(Coarse.headings) == []  # nothing is asked


def test_blocks_and_pieces_of_a_whole_search_change_nothing(folded: MarksMap, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = SE2(6.0, 4.0, 1.9)
    whole = searched(WholeMap(folded), truth, Coarse.headings)
    assert searched(WholeMap(folded), truth, 50) == whole
    monkeypatch.setattr(whole_map, "_BLOCK_PX", 162)  # several blocks; their spots lie elsewhere
    parts = WholeMap(folded)
    assert len(parts._corners) > 1
    found = searched(parts, truth, Coarse.headings)
    assert rank_of(truth, found) == rank_of(truth, whole) == 0
    np.testing.assert_allclose([found[0].x_m, found[0].y_m], [whole[0].x_m, whole[0].y_m], atol=0.41)


def test_marks_are_explained_where_they_are(folded: MarksMap) -> None:
    truth = SE2(2.0, -3.0, 0.7)
    localizer, seen = LidarLocalizer.open(folded), seen_from(SEED, truth, 1200)
    right = localizer.localize(seen, truth).diagnostics.explained
    wrong = localizer.localize(seen, SE2(-6.0, 5.0, 2.0)).diagnostics.explained
    assert right is not None
    assert wrong is not None
    assert wrong < 0.65 < right
