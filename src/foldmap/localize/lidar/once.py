"""Localize one observation from a prior, without memory; coarse-to-fine when the search is wide."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

import numpy as np
import torch

from foldmap.errors import ConfigError
from foldmap.geometry import SE2, wrap_rad
from foldmap.lidar.match.exhaustive import coarse_headings_rad, match_fft
from foldmap.lidar.match.peak import MODE_RADIUS_M
from foldmap.lidar.observation import Observation
from foldmap.localize.estimate import Diagnostics, Estimate, Status
from foldmap.localize.lidar.confidence import ConfidenceThresholds, MatchFeatures, decide, thresholds_of
from foldmap.localize.lidar.search import WindowMatch, match_window
from foldmap.localize.lidar.view import DecodedMap, check_resolution, cut
from foldmap.types import BoolArray, DoubleArray

_GUARD_PX = 3
"""Searched beyond the radius asked for, so that a pose at that radius is not at the rim."""
_WIDE_M = 4.0
_POOL = 4
_CANDIDATES = 4
_CANDIDATE_RADIUS_M = 0.8
_RIVAL_SHARE = 0.85


@dataclass(frozen=True)
class Attempt:
    """One localization with all that led to it: the estimate, and the match unless there was nothing to match."""

    estimate: Estimate
    match: WindowMatch | None

    @property
    def features(self) -> MatchFeatures | None:
        """For calibration."""
        return self.match.features if self.match else None


def attempt(
    decoded: DecodedMap,
    observation: Observation,
    prior: SE2,
    radius_m: float,
    headings_rad: DoubleArray,
    thresholds: ConfidenceThresholds,
    embedding_CHW: torch.Tensor | None = None,
) -> Attempt:
    """Search +-radius_m (along the prior's axes) and the headings around a prior, exhaustively.

    Args:
        decoded: the map.
        observation: at the map's resolution.
        prior: world_SE2_vehicle.
        radius_m: half the window.
        headings_rad: relative to the prior's, ascending, evenly spaced.
        thresholds: what is believed.
        embedding_CHW: of the observation, if it is there already.

    Raises:
        ConfigError: resolutions differ or the radius is negative.
        PoseInputError: the prior is not finite.
    """
    start_s = time.perf_counter()
    resolution_m = check_resolution(decoded, observation)
    if not (math.isfinite(radius_m) and radius_m >= 0):
        raise ConfigError(f"a search radius of {radius_m} m", "give a finite radius >= 0")
    seen = float(observation.observed.mean())
    if seen < thresholds.reject_observed_fraction:
        reason = f"observed_fraction {seen:.4f} < {thresholds.reject_observed_fraction:g}"
        return _nothing(Status.NO_OBSERVATION, reason, seen, start_s)
    radius_px = math.ceil(radius_m / resolution_m - 1e-9) + _GUARD_PX
    crop = cut(decoded, prior, observation.observed.shape, radius_px)
    if float(crop.known.mean()) < thresholds.reject_observed_fraction:
        return _nothing(Status.NO_MAP, "there is no map around the prior", 0.0, start_s)
    own_CHW = decoded.embed_observation(observation) if embedding_CHW is None else embedding_CHW
    match = match_window(
        crop.embedding_CHW, crop.known, own_CHW, observation.observed, headings_rad, radius_px, resolution_m
    )
    status, reason = decide(match.features, thresholds)
    diagnostics = _diagnostics(match, reason, start_s)
    if not status.has_pose:
        return Attempt(Estimate.without_pose(status, diagnostics), match)
    turn = np.eye(3)
    cos, sin = math.cos(prior.heading_rad), math.sin(prior.heading_rad)
    turn[:2, :2] = [[cos, -sin], [sin, cos]]
    covariance = turn @ match.covariance @ turn.T
    pose = prior @ match.offset
    return Attempt(Estimate(status, pose, 0.5 * (covariance + covariance.T), diagnostics), match)


def localize_once(
    decoded: DecodedMap,
    observation: Observation,
    prior: SE2,
    radius_m: float = 1.0,
    heading_range_rad: float = math.radians(5.0),
    *,
    heading_count: int = 11,
    thresholds: ConfidenceThresholds | None = None,
) -> Attempt:
    """Localize one observation near a prior; arguments and errors as `attempt`.

    Thresholds that are not given are those that the map's model was calibrated to.

    Up to 4 m the search is exhaustive at full resolution. A wider one looks for candidates at a quarter of it, attempts
    each, and answers `ambiguous` when two places match almost equally well.
    """
    limits = thresholds or thresholds_of(decoded)
    headings = coarse_headings_rad(heading_range_rad, heading_count)
    if radius_m <= _WIDE_M:
        return attempt(decoded, observation, prior, radius_m, headings, limits)
    start_s = time.perf_counter()
    resolution_m = check_resolution(decoded, observation)
    own_CHW = decoded.embed_observation(observation)
    centres = _candidates(decoded, observation.observed, own_CHW, prior, radius_m, heading_range_rad, resolution_m)
    near = coarse_headings_rad(math.radians(2.5), 11)
    attempts = [attempt(decoded, observation, centre, _CANDIDATE_RADIUS_M, near, limits, own_CHW) for centre in centres]
    if not attempts:
        return _nothing(Status.NO_MAP, "there is no map around the prior", 0.0, start_s)
    best = max(attempts, key=lambda a: a.features.score if a.features else -math.inf)
    diagnostics = replace(best.estimate.diagnostics, time_s=time.perf_counter() - start_s)
    pose = best.estimate.pose
    if pose is None:
        return Attempt(Estimate.without_pose(best.estimate.status, diagnostics), best.match)
    rival = _rival_m(best, attempts)
    if rival is not None:
        diagnostics = replace(diagnostics, reason=f"a place {rival:.1f} m away fits as well")
        return Attempt(Estimate.without_pose(Status.AMBIGUOUS, diagnostics), best.match)
    diagnostics = replace(
        diagnostics,
        prior_distance_m=_apart_m(pose, prior),
        prior_turn_rad=wrap_rad(pose.heading_rad - prior.heading_rad),
    )
    return Attempt(replace(best.estimate, diagnostics=diagnostics), best.match)


def _candidates(
    decoded: DecodedMap,
    observed: BoolArray,
    own_CHW: torch.Tensor,
    prior: SE2,
    radius_m: float,
    heading_range_rad: float,
    resolution_m: float,
) -> list[SE2]:
    """Match at a quarter of the resolution; the poses of the best modes, each some distance from the better ones."""
    shape = [side // _POOL * _POOL for side in observed.shape]
    radius_px = math.ceil(radius_m / resolution_m / _POOL)
    crop = cut(decoded, prior, (shape[0], shape[1]), radius_px * _POOL)
    if not crop.known.any():
        return []
    pool = torch.nn.functional.avg_pool2d
    # Trimmed alike on both sides, so that the centre stays the centre up to half a fine pixel.
    first = [(side - kept) // 2 for side, kept in zip(observed.shape, shape, strict=True)]
    trimmed = own_CHW[:, first[0] : first[0] + shape[0], first[1] : first[1] + shape[1]]
    count = 2 * math.ceil(heading_range_rad / math.radians(1.5)) + 1
    headings = coarse_headings_rad(heading_range_rad, count)
    small_map = pool(crop.embedding_CHW * torch.from_numpy(crop.known), _POOL)
    volume = match_fft(small_map, pool(trimmed, _POOL), headings, radius_px).numpy()
    step_m = _POOL * resolution_m
    rows, cols = np.ogrid[: volume.shape[1], : volume.shape[2]]
    poses = []
    for _ in range(_CANDIDATES):
        t, row, col = (int(i) for i in np.unravel_index(volume.argmax(), volume.shape))
        poses.append(prior @ SE2((col - radius_px) * step_m, -(row - radius_px) * step_m, float(headings[t])))
        volume[:, (rows - row) ** 2 + (cols - col) ** 2 <= (_CANDIDATE_RADIUS_M / step_m) ** 2] = -np.inf
        if not np.isfinite(volume).any():
            break
    return poses


def _rival_m(best: Attempt, attempts: list[Attempt]) -> float | None:
    """Distance of another place that matches almost as well as the best, if there is one."""
    for other in attempts:
        if best.features is None or other.features is None or best.estimate.pose is None or other.estimate.pose is None:
            continue
        apart_m = _apart_m(best.estimate.pose, other.estimate.pose)
        if apart_m > MODE_RADIUS_M and other.features.score > _RIVAL_SHARE * best.features.score:
            return apart_m
    return None


def _apart_m(a: SE2, b: SE2) -> float:
    return math.hypot(a.x_m - b.x_m, a.y_m - b.y_m)


def _nothing(status: Status, reason: str, observed_fraction: float, start_s: float) -> Attempt:
    elapsed_s = time.perf_counter() - start_s
    diagnostics = Diagnostics(reason=reason, observed_fraction=observed_fraction, time_s=elapsed_s)
    return Attempt(Estimate.without_pose(status, diagnostics), None)


def _diagnostics(match: WindowMatch, reason: str, start_s: float) -> Diagnostics:
    f = match.features
    return Diagnostics(
        reason=reason,
        score=f.score,
        evidence_sigma=f.evidence_sigma,
        margin_sigma=f.margin_sigma,
        agreement=f.agreement,
        sigma_m=f.sigma_m,
        observed_fraction=f.observed_fraction,
        prior_distance_m=math.hypot(match.offset.x_m, match.offset.y_m),
        prior_turn_rad=wrap_rad(match.offset.heading_rad),
        entropy=match.entropy,
        time_s=time.perf_counter() - start_s,
    )
