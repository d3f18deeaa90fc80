"""``foldmap evaluate`` tells whether errors are what answers said: on errors drawn with a covariance of their own."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_place import Run
from scipy.spatial.transform import Rotation

from foldmap.api.judging.stated import consistency_summary
from foldmap.api.results import LocalizedObservation, trajectory_text, write_estimates
from foldmap.formats.hloc.results import write_results
from foldmap.formats.listing import ListedImage
from foldmap.geometry import SE2, SE3
from foldmap.localize.estimate import Diagnostics, Estimate, Status
from foldmap.localize.tail import Tail
from foldmap.localize.visual.estimate import CameraDiagnostics, CameraEstimate

COUNT = 400


def told(run: Run, *arguments: object) -> dict[str, Any]:
    shown: dict[str, Any] = run("evaluate", *arguments, "--json").told()
    return shown


def covariance(rng: np.random.Generator, side: int, scale: float) -> np.ndarray:
    root = rng.normal(size=(side, side)) + 2 * np.eye(side)
    return scale**2 * root @ root.T


@pytest.mark.parametrize("optimism", [1.0, 3.0])
def test_photos(run: Run, tmp_path: Path, optimism: float) -> None:
    rng, truth, answers = np.random.default_rng(0), {}, []
    tail = Tail.of(np.linalg.norm(rng.normal(size=(500, 3)), axis=1))
    for number in range(COUNT):
        spread = covariance(rng, 6, 0.01)
        error = rng.multivariate_normal(np.zeros(6), spread)
        turn = Rotation.from_rotvec(rng.normal(size=3)).as_matrix()
        true = np.eye(4)
        true[:3, :3], centre = turn, rng.normal(size=3)
        true[:3, 3] = -turn @ centre
        found = np.eye(4)
        found[:3, :3] = Rotation.from_rotvec(error[3:]).as_matrix() @ turn
        found[:3, 3] = -found[:3, :3] @ (centre + error[:3])
        name = f"{number:03}.jpg"
        truth[name] = true
        estimate = CameraEstimate(Status.OK, found, spread / optimism**2, CameraDiagnostics(), errors=tail)
        answers.append(LocalizedObservation(name, str(number), estimate, photos=(ListedImage(name),)))
    write_estimates(tmp_path / "e.txt", answers)
    write_results(tmp_path / "truth.txt", truth)
    shown = told(run, tmp_path / "e.txt", tmp_path / "truth.txt")["consistency"]
    for part in ("position", "rotation"):
        assert shown[part]["answers"] == COUNT
        assert shown[part]["nees"] == pytest.approx(optimism**2, rel=0.1)
        assert shown[part]["gaussian_1_sigma_pct"] == pytest.approx(19.87, abs=0.01)  # of three axes
    if optimism == 1.0:
        assert shown["position"]["within_3_sigma_pct"] == pytest.approx(97.07, abs=2.5)
        assert shown["position"]["beyond_level"] <= 2
        assert shown["position"]["level_over_error"] > 1
    else:
        assert shown["position"]["within_3_sigma_pct"] < 40
        assert shown["position"]["beyond_level"] > 10


def test_sweeps_in_another_order(run: Run, tmp_path: Path) -> None:
    rng, rows, answers = np.random.default_rng(1), [], []
    for number in range(COUNT):
        spread = covariance(rng, 3, 0.02)
        error = rng.multivariate_normal(np.zeros(3), spread)
        true = SE2(*rng.uniform(-50, 50, 2), float(rng.uniform(-math.pi, math.pi)))
        found = SE2(true.x_m + error[0], true.y_m + error[1], true.heading_rad + error[2])
        estimate = Estimate(Status.OK, found, spread, Diagnostics())
        answers.append(LocalizedObservation(f"{number}", f"{10 + 0.1 * number:.6f}", estimate))
        rows.append(
            LocalizedObservation("", f"{10 + 0.1 * number:.6f}", Estimate(Status.OK, true, spread, Diagnostics()))
        )
    (tmp_path / "truth.txt").write_text(trajectory_text(rows))
    write_estimates(tmp_path / "e.txt", [answers[k] for k in rng.permutation(COUNT)])
    shown = told(run, tmp_path / "e.txt", tmp_path / "truth.txt")["consistency"]
    assert shown["position"]["nees"] == pytest.approx(1.0, abs=0.12)
    assert shown["position"]["within_2_sigma_pct"] == pytest.approx(86.47, abs=4)  # of two axes
    assert shown["rotation"]["within_2_sigma_pct"] == pytest.approx(95.45, abs=3)  # of one
    assert shown["position"]["protection_level"].startswith("none")


def test_poses_alone_tell_nothing_of_sigma(run: Run, tmp_path: Path) -> None:
    write_results(tmp_path / "e.txt", {"a.jpg": SE3.from_se2(SE2(0.0, 0.0, 0.0)).matrix})
    shown = told(run, tmp_path / "e.txt", tmp_path / "e.txt")
    assert shown["consistency"].startswith("unknown")
    assert consistency_summary([], [], []) == "unknown: nothing was answered"
