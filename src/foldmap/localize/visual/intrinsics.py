"""Intrinsics are a measurement: whether the camera that was given took the photo, and what doubt about it costs.

A wrong focal length moves the camera along its axis and leaves the points almost where they were: nothing else tells.
Freed intrinsics must not fit significantly better than those that were given. Where they do, the pose that they give is
the answer; and it is not `ok` where they are farther from the given ones than these can be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from foldmap.localize.visual.beside import (
    RIVAL_MATCHES,
    TELLING,
    Beside,
    agreeing_with,
    found_beside,
    most_agree,
)
from foldmap.localize.visual.freed import (
    CORRELATION,
    FREE,
    LEAST_MATCHES,
    OFF_CENTRE,
    ROUGHLY,
    WIDE,
    Freed,
    centre_free,
    centre_off,
    close_to,
    gain_of,
    glance_at,
    look_through,
    off_centre,
    refit,
    told_off,
)
from foldmap.localize.visual.search import LEAST_NOISE_PX, Hypothesis, look, residuals_of
from foldmap.types import DoubleArray, FloatArray
from foldmap.visual.decoded import MapPoints
from foldmap.visual.match.lens import NUMBERS, Normal, moved_by, normal_equations, refine_with_lens, seen_with
from foldmap.visual.match.matching import Matches
from foldmap.visual.match.solve import Correspondences, noise_px, quantile
from foldmap.visual.match.view import View
from foldmap.visual.source import Query

DOUBTS = {
    "given": (0.01, 0.002, 0.002, 0.002),
    "exif": (0.05, 0.005, 0.01, 0.01),
    "guessed": (0.3, 0.005, 0.01, 0.01),
}
"""Standard deviations of what is known of a camera: log focal length, log aspect, principal point (share of the focal
length); of a calibrated one, of a focal length in EXIF, and of a guess."""
_TOLD = 0.15  # of what matches tell intrinsics to: so much may be off unnoticed, in the median
_FEW = 40  # matches of which the few that chance puts among them bend the pose by as much as noise does
_SHARED = 1.4  # standard deviations that residuals show: what all matches share moves the pose, and leaves no residual
SUSPECT = 50.0
"""How much less the squared residuals, in units of the noise, must be with freed intrinsics than with those given."""
_USUAL = 15.0  # so much less they may be with right ones, too: errors of neighbours are alike
_LIKELY, _SURE = 2.5, 3.5
"""Standard deviations: so far from the given focal length the one that is found near it lies with right cameras, too;
farther, and the given one is wrong."""
_AWAY = 0.4, 0.8  # of what a given focal length is known to: from so much on, the one found near it is a doubt, too
_NEAR_POINTS = 2000
_PULL, _PULL_EACH = 12.0, 0.04
"""So much less, and so much a match, squared residuals may be were all intrinsics free, at the pose as it is."""
_AGREED = 0.2  # of the most distinct matches, so many must agree with a pose for no far focal length to be asked
_NEAR_RIVALS, _FAR_RIVALS = (0.9, 1.1), (0.7, 0.82, 0.95, 1.05, 1.2, 1.4)
"""Focal lengths over the given one that matches are asked for; where more agree with none of the near ones, and enough
with the given one, the others are spared."""
_ANY = tuple(float(factor) for factor in 0.4 * 1.18 ** np.arange(12))  # over a guessed one
_FAR = 3.0  # standard deviations that the intrinsics found may lie from those given
_FAR_GIVEN = 2.0  # and a focal length that was given, whatever the matches tell it to: they contradict it already
_MORE = 1.0  # standard deviations of their number by which more points must be found
_MISFIT = 3.0  # by which found intrinsics bend to what the map errs: their standard deviations are so much larger
_ANOTHER = 4.0  # and so much again of a camera that is another: its lens is as well
_UNFIT = "the intrinsics do not fit"


@dataclass(frozen=True)
class Settled:
    """A pose with its covariance, once the intrinsics were asked.

    Attributes:
        rig_SE3_world, covariance: as of an estimate; the covariance, the doubt about the intrinsics in it, is None
            where the matches do not fix the pose.
        inliers: how many matches it rests on.
        noise_px: of their residuals.
        focal_found: focal length over the given one, of the first view, where that was estimated; else 1.
        wrong: in words, what is not as it was given; empty where all is.
    """

    rig_SE3_world: DoubleArray
    covariance: DoubleArray | None
    inliers: int
    noise_px: float
    focal_found: float = 1.0
    wrong: str = ""


def settle(
    queries: Sequence[Query],
    views: Sequence[View],
    matches: Sequence[Matches],
    around: MapPoints,
    best: Hypothesis,
    error_px: float,
    clear: bool = False,
) -> Settled:
    """The answer's pose and covariance; the intrinsics are found with it where those given do not fit.

    Args:
        queries: what was asked, and how sure its intrinsics are.
        views: the same, ready.
        matches: before geometry.
        around: the map's points.
        best: the pose that was found with the intrinsics as they were given.
        error_px: largest error of an inlier.
        clear: whether the pose is well supported and its points are where it puts them: far focal lengths are then
            asked only where near ones find more.
    """
    doubt = np.array([DOUBTS[query.intrinsics] for query in queries]).ravel()
    nothing, free = np.zeros(len(doubt)), np.tile(FREE, len(views))
    close, noise = close_to(views, best.inliers, best.rig_SE3_world)
    # what the map's points are off by is in the residuals, but for what they share
    spread_px = _SHARED * noise
    formal = normal_equations(views, close, best.rig_SE3_world, spread_px, CORRELATION)
    covariance = formal.with_prior(_left(formal, doubt, queries), nothing).covariance(6)
    count = sum(len(part) for part in close)
    if covariance is not None:
        covariance = covariance * (1.0 + (_FEW / count) ** 2)
    as_given = Settled(best.rig_SE3_world, covariance, count, noise)
    focal_alone = np.where(np.arange(len(doubt)) % NUMBERS == 0, free, doubt)
    near, off, beside, centred = _near(views, around, best, error_px, focal_alone)
    pull = formal.pull(free) * spread_px**2 / (noise**2 + around.noise_px**2)
    if clear and off < _LIKELY and centred is None and pull < max(_PULL, _PULL_EACH * count):
        return _doubted(as_given, near, off, doubt, beside)
    # what follows is for cameras that seem to be others: another lens bends the whole pose, too
    few = _few(views, matches, around)
    agreeing = agreeing_with(views, few, best.rig_SE3_world, error_px)
    share = agreeing / max(sum(len(part) for part in few), 1)
    here = glance_at(views, around, best, (best.rig_SE3_world, nothing), error_px)
    # where fewer agree with the focal lengths just beside the given one, more will not with those farther off
    told = clear and centred is None and max((one.share for one in beside), default=1.0) < TELLING[0]
    rival = None if told else most_agree(views, few, _NEAR_RIVALS, agreeing, error_px)
    if rival is not None or not clear or share < _AGREED:
        most = agreeing if rival is None else agreeing_with(seen_with(views, rival[1]), few, rival[0], error_px)
        rival = most_agree(views, few, _FAR_RIVALS, most, error_px) or rival
    glances = [here] if rival is None else [here, glance_at(views, around, best, rival, error_px)]
    glance = max((one for one in glances if one is not None), key=lambda one: one.gain, default=None)
    usual = 1.0 if here is None else min(1.0, _USUAL / max(here.gain, 1e-9))
    if here is not None and as_given.covariance is not None and usual < 1.0:
        # what the pose would move by if the intrinsics had their say, beyond what they say of right cameras, too:
        # it did not, and so it may be off by that
        normal = normal_equations(views, here.inliers, best.rig_SE3_world, here.noise_px, CORRELATION, error_px)
        normal = normal.with_prior(doubt, nothing)
        moved = (1.0 - usual) * np.linalg.lstsq(normal.matrix, normal.right, rcond=None)[0][:6]
        as_given = replace(as_given, covariance=as_given.covariance + np.outer(moved, moved))
    found, freed = 0, None
    if glance is not None and glance.gain >= SUSPECT:
        freed = look_through(views, around, glance, error_px, free, around.similarity)
        if freed is None:
            return replace(as_given, wrong=_UNFIT)
        errors = residuals_of(seen_with(views, freed.numbers), freed.inliers, freed.rig_SE3_world)
        found = int((np.linalg.norm(errors, axis=1) < 3.0 * noise).sum())
    # what is bent to some points is no better camera: the right one shows where the others are
    if freed is None or found < as_given.inliers + _MORE * np.sqrt(as_given.inliers):
        if centred is not None:
            free = centre_free(focal_alone)
            freed = look_through(views, around, centred, error_px, free, best.similar)
            if freed is None or centre_off(freed.numbers) > OFF_CENTRE:
                return _doubted(_found(queries, views, around, as_given, freed, free), near, 0.0, doubt, beside)
        # a given focal length is known to 1 %: what lies within leaves the pose, which no small map tells better
        given = all(query.intrinsics == "given" for query in queries)
        as_known = given and float(np.abs(near.numbers[::NUMBERS]).max()) < DOUBTS["given"][0]
        if off < _SURE or as_known or as_given.covariance is None or gain_of(views, best, near) < _SURE**2:
            return _doubted(as_given, near, off, doubt, beside)
        freed = look_through(views, around, near, error_px, focal_alone, best.similar)
        return _doubted(_found(queries, views, around, as_given, freed, focal_alone), near, 0.0, doubt, beside)
    # mostly the focal length alone is wrong: what else is known of the camera keeps its say
    simple = refit(views, freed, focal_alone)
    if simple.gain < SUSPECT:
        freed, free = simple, focal_alone
    return _doubted(_found(queries, views, around, as_given, freed, free), near, 0.0, doubt, beside)


def _near(
    views: Sequence[View], around: MapPoints, best: Hypothesis, error_px: float, prior: DoubleArray
) -> tuple[Freed, float, list[Beside], Freed | None]:
    """The pose with the focal length near the given one, how many standard deviations off that is, and others.

    The others are those of `found_beside`, and that of `off_centre`.

    The points that were found are those that suit the given one. So others are looked for, first far and wide: where a
    focal length is 2 % off, those of another depth than what the pose hangs on are many pixels away.
    """
    pose, numbers, sigma_px = best.rig_SE3_world, np.zeros(len(prior)), error_px
    beside, centred = list[Beside](), None
    for within in (WIDE, 1.0):
        now = seen_with(views, numbers)
        parts, similar = look(now, around, pose, within * error_px, _NEAR_POINTS, best.similar)
        if sum(len(part) for part in parts) < LEAST_MATCHES:
            return Freed(best.rig_SE3_world, np.zeros(len(prior)), best.inliers, sigma_px), 0.0, beside, None
        # what chance finds hides among the less similar
        surer = _most_similar(parts, similar)
        if within > 1.0:
            beside = found_beside(views, surer, best, error_px)
            better = max(beside, key=lambda one: one.share, default=None)
            if better is not None and better.share > TELLING[1]:
                pose, numbers = better.rig_SE3_world, better.numbers
            centred = off_centre(views, around.noise_px, surer, best, (pose, numbers), error_px, centre_free(prior))
        for most_px in (error_px, error_px / 3.0) if within > 1.0 else ():
            pose, numbers = refine_with_lens(views, surer, pose, most_px, prior, numbers, CORRELATION, ROUGHLY)
        errors = residuals_of(seen_with(views, numbers), surer, pose)
        close = np.linalg.norm(errors, axis=1) < error_px
        sigma_px = max(noise_px(errors[close if close.any() else slice(None)]), LEAST_NOISE_PX)
    pose, numbers = refine_with_lens(views, parts, pose, sigma_px, prior, numbers, CORRELATION, ROUGHLY)
    near = Freed(pose, numbers, parts, sigma_px)
    return near, float(told_off(views, around.noise_px, near, prior)[::NUMBERS].max()), beside, centred


def _most_similar(parts: Sequence[Correspondences], similarity: FloatArray) -> list[Correspondences]:
    """The half of them that is most similar, the most similar first."""
    least, ends = quantile(similarity, 0.5), np.cumsum([len(part) for part in parts])[:-1]
    each = zip(parts, np.split(similarity, ends), strict=True)
    kept = [(part, np.argsort(-own, kind="stable")[: int((own >= least).sum())]) for part, own in each]
    return [Correspondences(part.xy_px[order], part.points_world[order]) for part, order in kept]


def _doubted(as_given: Settled, near: Freed, off: float, doubt: DoubleArray, beside: Sequence[Beside]) -> Settled:
    """The answer with the given intrinsics; where others near them seem better, it may be off by what they move it.

    They seem so where matches tell the focal length well, and where they tell it badly and it is found far from the
    given one for what is known of that: what is found lies nearer to the given one than the truth does.
    """
    away = float((np.abs(near.numbers) / doubt)[::NUMBERS].max())
    shares = (off - _LIKELY) / (_SURE - _LIKELY), (away - _AWAY[0]) / (_AWAY[1] - _AWAY[0])
    doubts = [(max(shares), near.rig_SE3_world)]
    doubts += [((one.share - TELLING[0]) / (TELLING[1] - TELLING[0]), one.rig_SE3_world) for one in beside]
    covariance = as_given.covariance
    for share, pose in doubts:
        if covariance is not None and share > 0.0:
            moved = min(1.0, share) * moved_by(as_given.rig_SE3_world, pose)
            covariance = covariance + np.outer(moved, moved)
    given = float(doubt[::NUMBERS].max()) <= DOUBTS["given"][0]
    likely = max(beside, key=lambda one: one.share, default=None)
    if not given or as_given.wrong or likely is None or likely.share < TELLING[1]:
        return replace(as_given, covariance=covariance)
    told = f"{likely.share:.2f} times as many matches agree with {np.exp(likely.numbers[0]):.2f} of the given one"
    wrong = f"the focal length is another: {told}"
    return replace(as_given, covariance=covariance, wrong=wrong)


def _found(
    queries: Sequence[Query],
    views: Sequence[View],
    around: MapPoints,
    as_given: Settled,
    freed: Freed | None,
    free: DoubleArray,
) -> Settled:
    """The answer with the intrinsics that were found, known before to ``free``; wrong where they cannot be right."""
    if freed is None:
        return replace(as_given, wrong=_UNFIT)
    doubt = np.array([DOUBTS[query.intrinsics] for query in queries]).ravel()
    now = seen_with(views, freed.numbers)
    spread_px = float(np.hypot(freed.noise_px, around.noise_px))
    normal = normal_equations(now, freed.inliers, freed.rig_SE3_world, spread_px, CORRELATION)
    whole = normal.with_prior(free, np.zeros(len(free))).covariance()
    if whole is None:
        return replace(as_given, wrong=_UNFIT)
    off = np.abs(freed.numbers) / np.hypot(doubt, _MISFIT * np.sqrt(np.diag(whole)[6:]))
    given = all(query.intrinsics == "given" for query in queries)
    far = given and float((np.abs(freed.numbers) / doubt)[::NUMBERS].max()) > _FAR_GIVEN
    far = far or (given and centre_off(freed.numbers) > OFF_CENTRE)
    wrong = _told(views[0], now[0]) if far or off.max() > _FAR else ""
    count, focal = sum(len(part) for part in freed.inliers), float(np.exp(freed.numbers[0]))
    misfit = _MISFIT * (_ANOTHER if wrong else 1.0)
    covariance = whole[:6, :6] * misfit**2 * (1.0 + (_FEW / count) ** 2)
    return Settled(freed.rig_SE3_world, covariance, count, freed.noise_px, focal, wrong)


def _left(normal: Normal, doubt: DoubleArray, queries: Sequence[Query]) -> DoubleArray:
    """What doubt about the intrinsics is left once the matches had nothing against those given, (4 V,).

    Matches tell intrinsics to so much, and would have told what is off by more (`_near`): a part of it is left. Where
    they tell less than what was known before, that stays; so it does where nobody gave them.
    """
    covariance = normal.with_prior(doubt / _TOLD, np.zeros(len(doubt))).covariance()
    if covariance is None:
        return doubt
    given = np.repeat([query.intrinsics == "given" for query in queries], NUMBERS)
    return np.where(given, np.minimum(doubt, _TOLD * np.sqrt(np.diag(covariance)[6:])), doubt)


def guessed_focal(
    queries: Sequence[Query], views: Sequence[View], matches: Sequence[Matches], around: MapPoints, error_px: float
) -> float:
    """The focal length over the guessed one by which most matches agree; 1 unless a single photo's is guessed.

    A guess may be off by so much that no pose is found with it: what is asked next is asked with this one.
    """
    if len(queries) > 1 or queries[0].intrinsics != "guessed":
        return 1.0
    parts = _few(views, matches, around)
    found = most_agree(views, parts, _ANY, 0.0, error_px)
    if found is None:
        return 1.0
    prior = np.array([*FREE[:1], *DOUBTS["guessed"][1:]])
    numbers = refine_with_lens(views, parts, found[0], error_px / 3.0, prior, found[1], CORRELATION)[1]
    return float(np.exp(np.clip(numbers[0], np.log(_ANY[0]), np.log(_ANY[-1]))))


def _few(views: Sequence[View], matches: Sequence[Matches], around: MapPoints) -> list[Correspondences]:
    """The most distinct matches, as places and points."""
    parts = []
    for view, part in zip(views, matches, strict=True):
        few = part.take(slice(RIVAL_MATCHES))
        parts.append(Correspondences(view.xy_px[few.keypoint], around.points_world[few.point]))
    return parts


def _told(given: View, found: View) -> str:
    """What fits instead of what was given."""
    (fx, fy), (gx, gy) = given.focal_px, found.focal_px
    (cx, cy), (dx, dy) = given.centre_px, found.centre_px
    fits = f"focal lengths {gx:.0f}, {gy:.0f} px and centre {dx:.0f}, {dy:.0f} fit"
    return f"the camera is another: {fits}, given were {fx:.0f}, {fy:.0f} and {cx:.0f}, {cy:.0f}"
