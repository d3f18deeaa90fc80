"""Answers to a drive whose errors are drawn, and its truth."""

import math
from pathlib import Path

import numpy as np

from foldmap.api.results import LocalizedObservation, write_estimates
from foldmap.geometry import SE2, SE3
from foldmap.localize.estimate import Diagnostics, Estimate, Status
from foldmap.localize.lidar.confidence import LidarDiagnostics
from foldmap.localize.tail import Tail

COUNT, TOO_SMALL, SIGMA_M = 200, 3.0, 0.05


def answered_drive(
    folder: Path, count: int = COUNT, score: float = 0.5, errors: Tail | None = None
) -> tuple[Path, Path]:
    """Estimates that say a third of their error, along x ten times the error across; one in eleven is refused."""
    rng = np.random.default_rng(4)
    spread = np.array([10 * SIGMA_M, SIGMA_M])
    covariance = np.diag([*(spread / TOO_SMALL) ** 2, 1e-4])
    answers, truth = [], ["# t x y z qx qy qz qw"]
    for number in range(count):
        true = SE2(3.0 * number, 7.0, 0.1)
        off = rng.normal(size=2) * spread
        pose = SE2(true.x_m + off[0], true.y_m + off[1], true.heading_rad)
        estimate: Estimate[SE2, Diagnostics] = Estimate(
            Status.OK, pose, covariance, LidarDiagnostics(score=score), errors=errors
        )
        if number % 11 == 3:
            estimate = Estimate.without_pose(Status.NO_MATCH, LidarDiagnostics(reason=f"score 0.{number} < 0.5"))
        answers.append(LocalizedObservation(f"{number}", f"{number}.5", estimate))
        matrix = SE3.from_se2(true).matrix
        half = 0.5 * math.atan2(matrix[1, 0], matrix[0, 0])
        truth.append(f"{number}.5 {matrix[0, 3]} {matrix[1, 3]} 0 0 0 {math.sin(half)} {math.cos(half)}")
    folder.mkdir(exist_ok=True)
    write_estimates(folder / "estimates.txt", answers)
    (folder / "truth.txt").write_text("\n".join(truth) + "\n")
    return folder / "estimates.txt", folder / "truth.txt"
