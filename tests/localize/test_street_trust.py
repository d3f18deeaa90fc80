"""When a drive is believed: streets that fit are not yet these streets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from street_world import Streets, drive, error, noisy, odometry, streets, town_graph

from foldmap.errors import ConfigError
from foldmap.localize.estimate import Status
from foldmap.localize.evidence import MapCalibration
from foldmap.localize.street.calibrate import fit_temperature, near_truth
from foldmap.localize.street.chance import EVIDENCE, SHIPPED
from foldmap.localize.street.estimate import StreetDiagnostics, StreetEstimate, StreetThresholds, decide
from foldmap.localize.street.localizer import StreetLocalizer
from foldmap.localize.street.settings import StreetSettings

NOISE = 0.5


@pytest.fixture(scope="module")
def towns() -> list[Streets]:
    return [streets(town_graph(seed, 60.0)) for seed in (3, 4)]


def driven(town: Streets, seen_in: Streets, calibration: MapCalibration, count: int) -> list[list[StreetEstimate]]:
    """Drives of 20 frames 10 m apart through one town, localized in another, or the same."""
    rng, found = np.random.default_rng(6), []
    learnt = [pose for _ in range(4) for pose in drive(town.graph, rng, 12)]
    near = near_truth(town.places, np.array([(pose.x_m, pose.y_m, pose.heading_rad) for pose in learnt]))
    similarity = noisy(town.raster(learnt), NOISE, rng) @ town.embeddings.T
    temperature = fit_temperature(similarity, near, town.places.length_m)
    settings = StreetSettings(temperature=temperature, calibration=calibration)
    localizer = StreetLocalizer(town.places, town.embeddings, settings)
    for _ in range(count):
        poses = drive(seen_in.graph, rng, 20, 10.0)
        rows, running = noisy(seen_in.raster(poses), NOISE, rng), localizer.start()
        answers = [running.step(row, moved) for row, moved in zip(rows, odometry(poses, rng), strict=True)]
        if town is seen_in:
            assert all(one.pose is None or error(one.pose, at)[0] < 15 for one, at in zip(answers, poses, strict=True))
        found.append(answers)
    return found


def test_a_drive_through_another_town_is_not_answered_and_one_here_is(towns: list[Streets]) -> None:
    here, there = towns
    strange = [one for drive in driven(here, there, SHIPPED, 12) for one in drive]
    without = [one for drive in driven(here, there, MapCalibration(), 12) for one in drive]
    right = [drive[-1].status for drive in driven(here, here, SHIPPED, 8)]
    posed = [sum(one.status.has_pose for one in answers) for answers in (strange, without)]
    assert posed[1] >= 20  # what fits by chance, where chance is not asked
    assert posed[0] <= 0.3 * posed[1]
    assert np.mean([status.has_pose for status in right]) >= 0.75


def test_evidence_is_the_margin_less_what_the_path_pays(towns: list[Streets]) -> None:
    town = towns[0]
    localizer = StreetLocalizer(town.places, town.embeddings)
    rng = np.random.default_rng(2)
    poses, running = drive(town.graph, rng, 6, 10.0), localizer.start()
    scores, best = [], []
    for row, moved in zip(noisy(town.raster(poses), NOISE, rng), odometry(poses, rng), strict=True):
        answer = running.step(row, moved)
        similarity = town.embeddings @ row
        scores.append(similarity[int(np.argmax(running.belief))])
        best.append(similarity.max())
    pays = 3 * 0.5 / 0.05 * float(np.mean(np.array(best) - scores))  # three independent frames, in log odds
    found = answer.diagnostics
    assert found.evidence == pytest.approx(found.margin - pays, abs=1e-4)
    assert found.log10_chance == pytest.approx(SHIPPED.chance[EVIDENCE].log10_beyond(found.evidence))


def test_chance_decides() -> None:
    """A drive needs evidence for a pose; a single image, that somebody says is in a disc, for `ok`."""
    fits = StreetDiagnostics(score=0.9, mode_mass=0.99, margin=9.0, sigma_m=1.0, frames_unmatched=0, log10_chance=-3.5)
    for chance, status in ((-3.5, Status.OK), (-2.2, Status.DEGRADED), (-1.0, Status.AMBIGUOUS)):
        assert decide(replace(fits, log10_chance=chance), StreetThresholds())[0] is status
    alone = replace(fits, frames_unmatched=None, log10_chance=-1.0)
    assert decide(alone, StreetThresholds())[0] is Status.DEGRADED
    assert "log10_chance -1.0" in decide(alone, StreetThresholds())[1]


def test_covariances_are_scaled_and_levels_bound_errors(towns: list[Streets]) -> None:
    town = towns[0]
    answers = [one for drive in driven(town, town, SHIPPED, 4) for one in drive]
    formal = [one for drive in driven(town, town, replace(SHIPPED, sigma_scale=1.0), 4) for one in drive]
    posed = [(a, b) for a, b in zip(answers, formal, strict=True) if a.covariance is not None]
    assert posed
    for one, other in posed:
        np.testing.assert_allclose(one.covariance, SHIPPED.sigma_scale**2 * other.covariance)
        level = one.protection_level()
        assert level is not None
        assert level.position > 3 * np.sqrt(np.linalg.eigvalsh(one.covariance[:2, :2]).max())


def test_a_map_without_a_model_that_mirrors_has_no_mirror(towns: list[Streets]) -> None:
    with pytest.raises(ConfigError, match="no mirror"):
        StreetLocalizer(towns[0].places, towns[0].embeddings).mirrored()
