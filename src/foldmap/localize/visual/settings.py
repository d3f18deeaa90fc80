"""How a camera is localized."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class VisualSettings:
    """How a camera is localized.

    Attributes:
        matcher, weights: "direct" takes every keypoint's nearest point, "mutual" only those that are each other's
            nearest, "lightglue" asks a network (with those weights), for maps that keep their images.
        ratio: most distance to the nearest point over that to the second nearest.
        trials: how many of the most distinct matches are given to RANSAC, trial by trial; the best pose is kept.
        error, error_px: largest reprojection error of an inlier, a share of the image's diagonal, and at least so much.
        iterations: most samples of RANSAC.
        similarity: least cosine of a point found with the pose in hand; None for what the map says.
        rounds: radii of looking again, in units of the inlier error; the last one shrinks to four times the noise.
        evidence_ok, evidence_least: see `CameraDiagnostics.evidence`. More is asked where wrong answers reach more.
        risks: with these probabilities a wrong answer has enough evidence for a pose, and for an `ok` one, by what the
            map's calibration says of its own images, mirrored and torn.
        evidence_enough: a pose with so much strength needs no further trials: after the first, smallest portion of the
            keypoints, and after more of them.
        sharp: unless its points are off by more than this share of the inlier error.
        keypoints: at least so many are matched at first, and then, evenly chosen, more in small maps; all of them
            where those do not give a pose with enough evidence. A learned matcher begins with the second number.
        look: so many points in view are looked for in each round.
        rival, rival_sigmas: a second pose that explains more than this share of what the best one explains is counted
            point by point, and the answer ambiguous where the best one does not explain more by so many sigmas.
        rival_seen: or where the points of the map that the second one should see are found as well as this share of
            those of the best one, with the evidence of an `ok` answer.
        sigma_rad_ok, sigma_rad_most: largest standard deviation of the rotation of an `ok` and of a degraded answer.
    """

    matcher: str = "direct"
    weights: Path | None = None
    ratio: float = 0.97
    trials: tuple[int, ...] = (150, 400, 1000)
    error: float = 0.006
    error_px: float = 4.0
    iterations: int = 10_000
    similarity: float | None = None
    rounds: tuple[float, ...] = (2.0, 1.0, 1.0, 1.0, 0.5)
    evidence_ok: float = 19.0
    evidence_least: float = 12.0
    risks: tuple[float, float] = (0.04, 0.01)
    evidence_enough: tuple[float, float] = (150.0, 60.0)
    sharp: float = 0.22
    keypoints: tuple[int, int] = (300, 1500)
    look: tuple[int, ...] = (1500, 1500, 3000, 6000, 6000)
    rival: float = 0.5
    rival_sigmas: float = 4.0
    rival_seen: float = 0.7
    sigma_rad_ok: float = math.radians(0.5)
    sigma_rad_most: float = math.radians(5.0)
    seed: int = 0
