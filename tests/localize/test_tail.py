"""Tails, protection levels and what must hold, against SciPy's distributions and drawn numbers."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from foldmap.errors import ConfigError, MapFormatError
from foldmap.geometry import SE2
from foldmap.localize.estimate import Diagnostics, Estimate, Status
from foldmap.localize.evidence import MapCalibration, mahalanobis, surprise
from foldmap.localize.protection import ALERT_LIMITS, AlertLimit
from foldmap.localize.tail import Scatter, Tail, distance_at, gaussian_exceeded_at, length_at
from foldmap.localize.visual.estimate import CameraDiagnostics, CameraEstimate


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("risk", [0.5, 1e-1, 1e-3, 1e-7])
def test_a_gaussian_is_exceeded_where_chi_says(axes: int, risk: float) -> None:
    assert gaussian_exceeded_at(risk, axes) == pytest.approx(stats.chi(axes).isf(risk), rel=1e-6)


@pytest.mark.parametrize(
    "law",
    [stats.chi(2), stats.chi(3), stats.halfnorm(), stats.expon(), stats.gumbel_r()],
    ids=lambda law: law.dist.name,
)
@pytest.mark.parametrize("count", [60, 300, 2000])
def test_a_tail_bounds_the_laws_that_errors_and_chance_have(law: stats.rv_frozen, count: int) -> None:
    rng = np.random.default_rng(1)
    tails = [Tail.of(law.rvs(size=count, random_state=rng)) for _ in range(200)]
    ratio = np.array([tail.exceeded_at(1e-3) for tail in tails]) / law.isf(1e-3)
    assert np.mean(ratio >= 1.0) > 0.85  # a bound at 95 % of the mean excess, the level being drawn as well
    assert np.median(ratio) < {60: 1.9, 300: 1.5, 2000: 1.3}[count]  # and not a useless one
    logs = np.array([tail.log10_beyond(float(law.isf(1e-5))) for tail in tails])
    assert np.mean(logs >= -5) > 0.85


@pytest.mark.parametrize("freedom", [5.0, 8.0, 1e6])
@pytest.mark.parametrize("count", [60, 600])
def test_distances_of_scattering_sigmas_are_bounded_by_their_law(freedom: float, count: int) -> None:
    """Of drawn sets the middle one about reaches what is true, and none is far too long where there are many."""
    law, rng = stats.f(3, freedom), np.random.default_rng(count)
    levels = [Tail.of_distances(np.sqrt(3 * law.rvs(count, random_state=rng)), 3).exceeded_at(1e-3) for _ in range(9)]
    true = math.sqrt(3 * law.isf(1e-3))
    # of some dozen the shape stays near what is usual
    assert (0.75 if count < 100 else 0.9) * true < np.median(levels) < 1.5 * true
    if count == 600:
        assert max(levels) < 1.7 * true


def test_the_next_distance_is_expected_where_many_were() -> None:
    law = stats.f(3, 8.0)
    distances = np.sqrt(3 * law.rvs(4000, random_state=np.random.default_rng(5)))
    scatter = Scatter.of(2.0 * distances, 3)
    assert scatter.weights.sum() == pytest.approx(1.0)
    for risk in (0.317, 0.0455, 1e-2):
        assert scatter.exceeded_at(risk) == pytest.approx(2.0 * math.sqrt(3 * law.isf(risk)), rel=0.06)


def test_distances_that_are_none_have_no_tail() -> None:
    for values in (np.ones(19), np.full(40, np.nan), -np.ones(40)):
        with pytest.raises(ConfigError, match="tail of"):
            Tail.of_distances(values, 3)


def test_the_length_that_errors_exceed_in_any_direction() -> None:
    gaussian, rng = Tail(1e-6, 1e-6, 1e-2, 100), np.random.default_rng(0)
    for sides in ((1.0, 1.0, 1.0), (2.0, 0.5, 0.1), (1.0, 1e-3, 1e-6)):
        turn = stats.special_ortho_group.rvs(3, random_state=rng)
        covariance = turn @ np.diag(np.square(sides)) @ turn.T
        drawn = np.linalg.norm(rng.normal(size=(400_000, 3)) * sides, axis=1)
        assert length_at(gaussian, 1e-2, covariance) == pytest.approx(np.quantile(drawn, 0.99), rel=0.02)
    # a long tail reaches as far as along the longest side at most, and no less than a Gaussian's
    long = Tail(5.0, 1.0, 1e-2, 100)
    assert gaussian_exceeded_at(1e-3, 3) < length_at(long, 1e-3, np.eye(3)) <= distance_at(long, 1e-3, 3) + 1e-9
    assert length_at(long, 1e-3, np.diag([1.0, 1e-4, 1e-4])) < length_at(long, 1e-3, np.eye(3))


def test_a_tail_counts_trials() -> None:
    tail = Tail(1.0, 0.5, 0.1, 100)
    assert tail.log10_beyond(3.0) == pytest.approx(math.log10(0.1 * math.exp(-4.0)))
    assert tail.log10_beyond(3.0, trials=50) == pytest.approx(math.log10(50 * 0.1 * math.exp(-4.0)))
    assert tail.log10_beyond(-9.0, trials=50) == 0.0
    assert tail.exceeded_at(0.1 * math.exp(-4.0)) == pytest.approx(3.0)


def test_a_stored_tail_is_never_below_what_it_was() -> None:
    rng = np.random.default_rng(2)
    for _ in range(200):
        tail = Tail.of(rng.normal(-3, 2, 50))
        stored = Tail.read(tail.to_dict(), "it")
        assert stored.level >= tail.level
        assert stored.scale >= tail.scale
        assert stored.level - tail.level <= 1e-3 * abs(tail.level)


@pytest.mark.parametrize(
    "damage", [{"scale": -1.0}, {"share": 2.0}, {"level": "1"}, {"level": math.inf}, {"more": 1}, {"count": None}]
)
def test_a_damaged_tail_is_a_format_error(damage: dict[str, object]) -> None:
    with pytest.raises(MapFormatError, match="tail of it"):
        Tail.read(Tail(1.0, 0.5, 0.1, 100).to_dict() | damage, "it")


def test_equal_numbers_and_too_few_ones() -> None:
    assert Tail.of(np.ones(30)).exceeded_at(1e-3) == pytest.approx(1.0)
    for few in (np.ones(19), np.append(np.ones(30), np.nan)):
        with pytest.raises(ConfigError, match="tail of"):
            Tail.of(few)


def test_surprise_bounds_the_binomial() -> None:
    for found, asked, chance in ((10, 100, 0.02), (50, 100, 0.3), (100, 100, 0.5), (3, 7, 0.1)):
        exact = -stats.binom.logsf(found - 1, asked, chance) / math.log(10)
        assert 0.0 < surprise(found, asked, chance) <= exact + 1e-12
    assert surprise(2, 100, 0.02) == 0.0


def test_a_calibration_survives_storage() -> None:
    made = MapCalibration({"score": Tail(0.3, 0.1, 0.1, 400)}, 1.72, Tail(2.1, 0.5, 0.1, 120), 120, 400, 0.2, 0.3)
    assert MapCalibration.read({"calibration": made.to_dict()}, "lidar") == made
    assert MapCalibration.read({}, "lidar") is None
    for broken in (
        {"chance": {"score": 3}},
        {"sigma_scale": 0.0},
        {"answers": -1},
        {"errors": {"level": 1}},
        {"fit": "1"},
    ):
        with pytest.raises(MapFormatError):
            MapCalibration.read({"calibration": made.to_dict() | broken}, "lidar")
    with pytest.raises(MapFormatError):
        MapCalibration.read({"calibration": [1]}, "lidar")


def _estimate(status: Status = Status.OK, errors: Tail | None = None) -> Estimate[SE2, Diagnostics]:
    # 0.5 m along a road to the north-east, 0.04 m across, 0.2 degrees
    turn = np.array([[1, -1], [1, 1]]) / math.sqrt(2)
    covariance = np.zeros((3, 3))
    covariance[:2, :2] = turn @ np.diag([0.5**2, 0.04**2]) @ turn.T
    covariance[2, 2] = math.radians(0.2) ** 2
    pose = SE2(100.0, 5.0, math.radians(45)) if status.has_pose else None
    return Estimate(status, pose, covariance if pose else None, Diagnostics(), errors=errors)


def test_protection_levels_lie_along_the_vehicle() -> None:
    light = Tail(1.0, 0.05, 0.1, 1000)
    level = _estimate(errors=light).protection_level()
    assert level is not None
    assert level.along is not None
    assert level.across is not None
    gaussian = stats.chi(2).isf(1e-3)  # a lighter tail than a Gaussian's is not believed
    assert level.along == pytest.approx(0.5 * gaussian)
    assert level.across == pytest.approx(0.04 * gaussian)
    assert level.position == pytest.approx(level.along)
    assert level.rotation_rad == pytest.approx(math.radians(0.2) * gaussian)
    heavy = _estimate(errors=Tail(2.0, 1.0, 0.1, 1000)).protection_level(1e-4)
    assert heavy is not None
    assert heavy.across == pytest.approx(0.04 * (2.0 + math.log(1000)))


def test_no_level_without_a_pose_or_a_calibration() -> None:
    assert _estimate().protection_level() is None
    assert _estimate(Status.NO_MATCH, Tail(1.0, 0.5, 0.1, 100)).protection_level() is None


def test_a_limit_lowers_ok_alone() -> None:
    errors = Tail(1.0, 0.05, 0.1, 1000)
    freeway = ALERT_LIMITS["reid-freeway"]
    assert _estimate(errors=errors).within("2").status is Status.OK
    stopped = _estimate(errors=errors).within(freeway)
    assert stopped.status is Status.DEGRADED
    assert stopped.pose is not None
    assert "1.86 m along > 1.4 m (reid-freeway)" in stopped.diagnostics.reason
    assert "not calibrated" in _estimate().within(freeway).diagnostics.reason
    refused = _estimate(Status.NO_MATCH)
    assert refused.within(freeway) is refused


@pytest.mark.parametrize("text", ["autobahn", "-1", "nan", "0", "inf"])
def test_an_unknown_limit_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="reid-street"):
        AlertLimit.read(text)


def test_levels_of_photos_are_set_by_the_lengths_of_errors() -> None:
    """Errors across a long axis are large in its sigmas, and short: the level need not grow with them."""
    rng = np.random.default_rng(5)
    axes, own = np.array([0.2, 0.2, 1.0]), np.diag([0.04, 0.04, 1.0])
    drawn = rng.normal(size=(2000, 3)) * axes
    drawn[::10, :2] *= 3.0
    covariances = np.tile(own, (len(drawn), 1, 1))
    lengths = np.linalg.norm(drawn, axis=1)
    tail = Tail.of_lengths(lengths[:1000], covariances[:1000])
    assert tail.exceeded_at(1e-3) == pytest.approx(1.0, abs=0.2)
    distances = [mahalanobis(error, own) for error in drawn[:1000]]
    errors = Tail.of_distances(distances, 3)
    covariance = np.kron(np.eye(2), own)
    photo = CameraEstimate(Status.OK, np.eye(4), covariance, CameraDiagnostics(), errors=errors, lengths=tail)
    level, longer, likelier = (
        photo.protection_level(),
        replace(photo, lengths=None).protection_level(),
        photo.protection_level(1e-2),
    )
    assert level is not None
    assert longer is not None
    assert likelier is not None
    assert likelier.position < level.position < 0.8 * longer.position
    assert np.mean(lengths[1000:] > level.position) <= 2e-3


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("too_small", [0.2, 1.0, 4.0])
def test_scaled_errors_lie_where_sigma_says(axes: int, too_small: float) -> None:
    rng = np.random.default_rng(3)
    covariance = np.cov(rng.normal(size=(axes, 50)))
    drawn = rng.multivariate_normal(np.zeros(axes), covariance, 800)
    formal = covariance / too_small**2
    made = MapCalibration().with_errors([mahalanobis(error, formal) for error in drawn[:400]], axes)
    assert made.sigma_scale == pytest.approx(too_small, rel=0.15)
    scaled = made.scaled(formal)
    held = np.array([mahalanobis(error, scaled) for error in drawn[400:]])
    for sigmas in (1, 2, 3):
        assert np.mean(held <= sigmas) == pytest.approx(stats.chi(axes).cdf(sigmas), abs=0.09)
    assert made.errors is not None
    assert np.mean(held > made.errors.exceeded_at(1e-3)) <= 0.0025
