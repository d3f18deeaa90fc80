"""Poses with intrinsics of their own, found with the pose: what they explain beside those that were given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from foldmap.localize.visual.beside import SHARP, agreeing_with
from foldmap.localize.visual.search import LEAST_NOISE_PX, Hypothesis, look, residuals_of
from foldmap.types import DoubleArray
from foldmap.visual.decoded import MapPoints
from foldmap.visual.match import solve
from foldmap.visual.match.lens import NUMBERS, normal_equations, refine_with_lens, seen_with
from foldmap.visual.match.solve import Correspondences, noise_px, residuals_px
from foldmap.visual.match.view import View

FREE = (0.5, 0.3, 0.3, 0.3)
"""Standard deviations of a view's four numbers (`match.lens`) of which nothing is known."""
OFF_CENTRE, _OFF_TOLD, _OFF_SHARE = 0.03, 5.0, 1.1
"""A given principal point is wrong where another one is found farther off than this share of the focal length, so many
standard deviations, and so many times as many matches agree with it."""
WIDE = 3.0  # inlier errors within which points are looked for where intrinsics may be wrong
_GLANCED, _ROUNDS, _MOST = 600, 3, 6000
ROUGHLY = 1e-3  # steps of angles and intrinsics so small end what is refined again
LEAST_MATCHES = 12  # matches that ten numbers are found from
CORRELATION = 0.2
"""Of the errors of two matches in one cell of an image."""


@dataclass(frozen=True)
class Freed:
    """A pose with intrinsics of its own: how they differ from the given ones, (4 V,), the matches, and their noise."""

    rig_SE3_world: DoubleArray
    numbers: DoubleArray
    inliers: list[Correspondences]
    noise_px: float
    gain: float = 0.0


def told_off(views: Sequence[View], map_px: float, found: Freed, prior: DoubleArray) -> DoubleArray:
    """How many standard deviations of theirs intrinsics are off that were found, (4 V,); 0 where nothing tells them."""
    spread_px, now = float(np.hypot(found.noise_px, map_px)), seen_with(views, found.numbers)
    most_px = 3.0 * found.noise_px
    normal = normal_equations(now, found.inliers, found.rig_SE3_world, spread_px, CORRELATION, most_px)
    covariance = normal.with_prior(prior, np.zeros(len(prior))).covariance()
    if covariance is None:
        return np.zeros(len(prior))
    return np.asarray(np.abs(found.numbers) / np.sqrt(np.diag(covariance)[6:]))


def centre_free(prior: DoubleArray) -> DoubleArray:
    """Standard deviations of intrinsics, (4 V,), with the principal point free."""
    return np.where(np.arange(len(prior)) % NUMBERS >= 2, FREE[2], prior)


def centre_off(numbers: DoubleArray) -> float:
    """How far principal points lie from those given, a share of the focal length: the farthest of all views."""
    return float(np.linalg.norm(numbers.reshape(-1, NUMBERS)[:, 2:], axis=1).max())


def off_centre(
    views: Sequence[View],
    map_px: float,
    parts: Sequence[Correspondences],
    best: Hypothesis,
    start: tuple[DoubleArray, DoubleArray],
    error_px: float,
    free: DoubleArray,
) -> Freed | None:
    """The pose with a principal point of its own, where that lies farther from the given one than right cameras' do.

    A moved one is nearly a turn. A pose that turned instead explains a part of the view, and there leaves next to
    nothing to see; what lies in the rest of it is pixels away.
    """
    pose, numbers = start
    for most_px in (error_px, error_px / 3.0):
        pose, numbers = refine_with_lens(views, parts, pose, most_px, free, numbers, CORRELATION, ROUGHLY)
    if centre_off(numbers) < OFF_CENTRE:
        return None
    now = seen_with(views, numbers)
    found = Freed(pose, numbers, list(parts), close_to(now, parts, pose, error_px)[1])
    told = told_off(views, map_px, found, free).reshape(-1, NUMBERS)[:, 2:].max()
    agreeing = agreeing_with(views, parts, best.rig_SE3_world, SHARP * error_px)
    more = agreeing_with(now, parts, pose, SHARP * error_px) > _OFF_SHARE * agreeing
    return found if more and told > _OFF_TOLD else None


def glance_at(
    views: Sequence[View],
    around: MapPoints,
    best: Hypothesis,
    start: tuple[DoubleArray, DoubleArray],
    error_px: float,
) -> Freed | None:
    """What freed intrinsics explain better than the given ones among points looked for far and wide."""
    (pose, numbers), free = start, np.tile(FREE, len(views))
    parts, _ = look(seen_with(views, numbers), around, pose, WIDE * error_px, _GLANCED, around.similarity)
    if sum(len(part) for part in parts) < LEAST_MATCHES:
        return None
    for within in (WIDE, 1.0):
        sigma_px = within * error_px / 3.0
        pose, numbers = refine_with_lens(views, parts, pose, sigma_px, free, numbers, CORRELATION, ROUGHLY)
    now = seen_with(views, numbers)
    close, noise = close_to(now, parts, pose, error_px)
    pose, numbers = refine_with_lens(views, parts, pose, noise, free, numbers, CORRELATION)
    given = solve.refine_pose(views, parts, best.rig_SE3_world, error_px)
    given = solve.refine_pose(views, parts, given, 3.0 * noise)
    now = seen_with(views, numbers)
    share = normal_equations(now, close, pose, noise, CORRELATION).weight / max(sum(len(part) for part in close), 1)
    gain = _cost(views, parts, given, noise) - _cost(now, parts, pose, noise)
    return Freed(pose, numbers, parts, noise, gain * share)


def gain_of(views: Sequence[View], best: Hypothesis, near: Freed) -> float:
    """What the focal length found near the given one explains better, of what was found with it.

    Where points are few, wrong matches among them bend a focal length far: its standard deviation says nothing of that,
    and no more of them fit than with the given one.
    """
    given = solve.refine_pose(views, near.inliers, best.rig_SE3_world, 3.0 * near.noise_px)
    now = seen_with(views, near.numbers)
    normal = normal_equations(now, near.inliers, near.rig_SE3_world, near.noise_px, CORRELATION)
    share = normal.weight / max(sum(len(part) for part in near.inliers), 1)
    worse = _cost(views, near.inliers, given, near.noise_px)
    return (worse - _cost(now, near.inliers, near.rig_SE3_world, near.noise_px)) * share


def look_through(
    views: Sequence[View], around: MapPoints, start: Freed, error_px: float, free: DoubleArray, similar: float
) -> Freed | None:
    """The same once the map was looked at through that lens, closer and closer, for points so similar at least."""
    pose, numbers, noise = start.rig_SE3_world, start.numbers, start.noise_px
    parts = start.inliers
    for round_ in range(_ROUNDS):
        now = seen_with(views, numbers)
        radius_px = error_px if round_ < 2 else max(4.0 * noise, 1.5)
        parts, _ = look(now, around, pose, radius_px, _MOST, similar)
        if sum(len(part) for part in parts) < LEAST_MATCHES:
            return None
        parts, noise = close_to(now, parts, pose)
        pose, numbers = refine_with_lens(views, parts, pose, noise, free, numbers, CORRELATION)
    parts, noise = close_to(seen_with(views, numbers), parts, pose)
    return Freed(pose, numbers, parts, noise, start.gain)


def refit(views: Sequence[View], freed: Freed, prior: DoubleArray) -> Freed:
    """The same matches with another prior of the intrinsics, and how much worse they fit then."""
    noise = freed.noise_px
    pose, numbers = refine_with_lens(
        views, freed.inliers, freed.rig_SE3_world, noise, prior, freed.numbers, CORRELATION
    )
    before, now = seen_with(views, freed.numbers), seen_with(views, numbers)
    normal = normal_equations(before, freed.inliers, freed.rig_SE3_world, noise, CORRELATION)
    share = normal.weight / max(sum(len(part) for part in freed.inliers), 1)
    worse = _cost(now, freed.inliers, pose, noise) - _cost(before, freed.inliers, freed.rig_SE3_world, noise)
    return Freed(pose, numbers, freed.inliers, noise, worse * share)


def close_to(
    views: Sequence[View], parts: Sequence[Correspondences], rig_SE3_world: DoubleArray, most_px: float = np.inf
) -> tuple[list[Correspondences], float]:
    """Matches within three sigma of where the pose puts them, and sigma, of those within so much."""
    errors = residuals_of(views, parts, rig_SE3_world)
    noise = max(noise_px(errors[np.linalg.norm(errors, axis=1) < most_px]), LEAST_NOISE_PX)
    kept = []
    for view, part in zip(views, parts, strict=True):
        near = np.linalg.norm(residuals_px(view, part, rig_SE3_world), axis=1) < 3.0 * noise
        kept.append(Correspondences(part.xy_px[near], part.points_world[near]))
    return kept, noise


def _cost(views: Sequence[View], parts: Sequence[Correspondences], rig_SE3_world: DoubleArray, noise: float) -> float:
    """Squared residuals in units of the noise, none counted for more than three of it."""
    square = (residuals_of(views, parts, rig_SE3_world) ** 2).sum(axis=1)
    return float(np.minimum(square / noise**2, 9.0).sum())
