"""From 2D-3D matches to a pose: PoseLib's LO-RANSAC, and robust refinement."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import poselib

from foldmap.types import DoubleArray, FloatArray
from foldmap.visual.match.view import View

MIN_MATCHES = 4  # three points leave up to four poses; a fourth chooses
_LEAST_SAMPLES = 100  # PoseLib itself draws more where few matches agree


@dataclass(frozen=True)
class Correspondences:
    """Places in one view, float64 (N, 2) with distortion removed, and the points that are seen there, (N, 3)."""

    xy_px: DoubleArray
    points_world: DoubleArray

    def __len__(self) -> int:
        return len(self.xy_px)


def ransac_pose(
    views: Sequence[View],
    matched: Sequence[Correspondences],
    error_px: float,
    iterations: int,
    seed: int = 0,
    polish: int = 100,
    times: float = 3.0,
) -> tuple[DoubleArray, int] | None:
    """Find the pose of a moment's views that most matches agree with, within ``error_px``, in at most so many samples.

    Matches come best first: sampling is progressive (PROSAC). It ends after so many ``times`` the samples of which one
    would be of such matches alone, by the share that agrees. One view is solved as an absolute pose, several as a
    generalized camera; it is refined in at most ``polish`` steps. Gives rig_SE3_world (4, 4) and how many matches
    agree; None where there are too few matches or no pose.
    """
    if sum(len(part) for part in matched) < MIN_MATCHES:
        return None
    origin, matched = _about_origin(matched)
    options: dict[str, Any] = {
        "max_reproj_error": error_px,
        "max_iterations": iterations,
        "min_iterations": min(iterations // 10, _LEAST_SAMPLES),
        "dyn_num_trials_mult": times,
        "progressive_sampling": len(views) == 1,
        "seed": seed,
    }
    bundle = {"max_iterations": polish}
    if len(views) == 1:
        xy_px, points = matched[0].xy_px, matched[0].points_world
        pose, info = poselib.estimate_absolute_pose(xy_px, points, views[0].pinhole, options, bundle)
        rig_SE3_world = np.linalg.inv(views[0].camera_SE3_rig) @ _matrix(pose)
    else:
        options["max_reproj_errors"] = [error_px] * len(views)
        pose, info = poselib.estimate_generalized_absolute_pose(
            [part.xy_px for part in matched],
            [part.points_world for part in matched],
            [_pose(view.camera_SE3_rig) for view in views],
            [view.pinhole for view in views],
            options,
            bundle,
        )
        rig_SE3_world = _matrix(pose)
    if int(info["num_inliers"]) < MIN_MATCHES or not np.isfinite(rig_SE3_world).all():
        return None
    return _shifted(rig_SE3_world, -origin), int(info["num_inliers"])


def refine_pose(
    views: Sequence[View],
    matched: Sequence[Correspondences],
    rig_SE3_world: DoubleArray,
    loss_px: float,
    truncated: bool = True,
) -> DoubleArray:
    """Minimize reprojection errors from a start.

    Residuals beyond ``loss_px`` have no say (truncated least squares); or, not ``truncated``, less and less (Cauchy's
    loss of that scale): what lies just beyond does not jump in and out.
    """
    origin, matched = _about_origin(matched)
    given, rig_SE3_world = rig_SE3_world, _shifted(rig_SE3_world, origin)
    bundle: dict[str, Any] = {
        "loss_type": "TRUNCATED" if truncated else "CAUCHY",
        "loss_scale": loss_px,
        "max_iterations": 50,
    }
    if len(views) == 1:
        start, xy_px, points = _pose(views[0].camera_SE3_rig @ rig_SE3_world), matched[0].xy_px, matched[0].points_world
        pose, _ = poselib.refine_absolute_pose(xy_px, points, start, views[0].pinhole, bundle)
        refined = np.linalg.inv(views[0].camera_SE3_rig) @ _matrix(pose)
    else:
        pose, _ = poselib.refine_generalized_absolute_pose(
            [part.xy_px for part in matched],
            [part.points_world for part in matched],
            _pose(rig_SE3_world),
            [_pose(view.camera_SE3_rig) for view in views],
            [view.pinhole for view in views],
            bundle,
        )
        refined = _matrix(pose)
    return _shifted(refined, -origin) if np.isfinite(refined).all() else given


def residuals_px(view: View, matched: Correspondences, rig_SE3_world: DoubleArray) -> DoubleArray:
    """Reprojection errors, float64 (N, 2)."""
    return view.places(rig_SE3_world, matched.points_world) - matched.xy_px


def noise_px(residuals: DoubleArray) -> float:
    """Robust standard deviation in one direction of 2D residuals (N, 2), from the median of their lengths."""
    if not len(residuals):
        return 0.0
    return quantile(np.sqrt(np.einsum("nk,nk->n", residuals, residuals)), 0.5) / math.sqrt(2.0 * math.log(2.0))


def quantile(values: FloatArray | DoubleArray, share: float) -> float:
    """As `np.quantile` of finite numbers (N,), N > 0, which takes ten times as long for a few thousand of them."""
    at = share * (len(values) - 1)
    below = int(at)
    above = min(below + 1, len(values) - 1)
    low, high = np.partition(values, (below, above))[[below, above]].tolist()
    return float(low + (high - low) * (at - below))


def _about_origin(matched: Sequence[Correspondences]) -> tuple[DoubleArray, Sequence[Correspondences]]:
    """Points counted from an origin among them: solvers square coordinates, and lose the millimetres of UTM or ECEF.

    The origin is a multiple of a power of two, so nothing is rounded; it is zero where the points lie around zero.
    """
    points = np.concatenate([part.points_world for part in matched]) if len(matched) > 1 else matched[0].points_world
    if not len(points):
        return np.zeros(3), matched
    middle = _middle(points)
    spread = float(_middle(np.abs(points - middle).max(axis=1)))
    step = 2.0 ** math.ceil(math.log2(16.0 * max(spread, 1e-12 * float(np.abs(middle).max()), 1e-300)))
    origin: DoubleArray = np.rint(middle / step) * step
    if not origin.any():
        return origin, matched
    return origin, [Correspondences(part.xy_px, part.points_world - origin) for part in matched]


def _middle(values: DoubleArray) -> DoubleArray:
    """As `np.median` over the first axis, which takes several times as long."""
    ordered, half = np.sort(values, axis=0), len(values) // 2
    return np.asarray(ordered[half] if len(values) % 2 else 0.5 * (ordered[half - 1] + ordered[half]))


def _shifted(rig_SE3_world: DoubleArray, origin: DoubleArray) -> DoubleArray:
    """The same pose in a world whose zero lies at ``origin``."""
    shifted = np.array(rig_SE3_world)
    shifted[:3, 3] += shifted[:3, :3] @ origin
    return shifted


def _pose(target_SE3_source: DoubleArray) -> Any:
    pose = poselib.CameraPose()
    pose.R, pose.t = target_SE3_source[:3, :3], target_SE3_source[:3, 3]
    return pose


def _matrix(pose: Any) -> DoubleArray:
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = pose.R, pose.t
    return matrix
