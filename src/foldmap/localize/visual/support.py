"""How strongly an image supports a pose: points found where the pose puts them, against what chance finds elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from foldmap.localize.evidence import surprise
from foldmap.types import DoubleArray, FloatArray, IntArray
from foldmap.visual.decoded import MapPoints
from foldmap.visual.match.guided import Nearby, best_within, one_point_a_keypoint, thinned
from foldmap.visual.match.solve import quantile
from foldmap.visual.match.view import View

CHANCE = 0.02
"""The similarity that a point must exceed is set so that chance finds this share of them, less where there are fewer
keypoints than points: else the few that a right pose explains would drown among the many that it cannot."""

LEAST_BY_CHANCE = 10  # so many finds by chance set the similarity at least: fewer would not tell where it lies

SHIFTS = ((0.31, 0.17), (-0.23, 0.37), (0.41, -0.29), (-0.37, -0.43))
"""Where chance is measured: the same points moved by these shares of the image, around its rim."""

VOTING_CELL = 1.0 / 20.0
"""Side of a cell of the image that has one vote, a share of the image's diagonal: keypoints so close share an error,
and descriptors of networks share a neighbourhood (those of XFeat within 12 px of each other have a cosine of 0.8)."""

RADII = (1.0, 0.5, 0.25)  # shares of the inlier error within which points are counted
_MOST_CELLS = 32  # in a row: more than the diagonal has
MOST_POINTS = 3000  # so many points in view are asked; more would tell no more
GLANCED_POINTS = 800  # so many suffice to know how similar chance finds are


@dataclass(frozen=True)
class Support:
    """What speaks for a pose: of the points in view, those asked (at most `MOST_POINTS` a view), and those found.

    Each is found by a keypoint of its own. Chance is the share that chance finds, at least 1 in as many as were asked,
    and strength minus log10 of the probability that it finds as many, were points independent. They are not: evidence
    is that of one vote a `VOTING_CELL`, and says whether the pose is right at all.
    """

    found: int
    asked: int
    visible: int
    chance: float
    strength: float
    evidence: float

    @property
    def explained(self) -> float:
        """Keypoints that the pose explains beyond chance: which of two poses is better."""
        return (self.found - self.chance * self.asked) * self.visible / max(self.asked, 1)

    @property
    def seen(self) -> float:
        """Share of the map's points there that are found beyond chance."""
        return self.found / max(self.asked, 1) - self.chance

    def exceeds(self, other: Support, sigmas: float) -> bool:
        """Whether this pose explains more than another by so many standard deviations of the difference."""
        spread = sum(each.found * (each.visible / max(each.asked, 1)) ** 2 for each in (self, other))
        return self.explained - other.explained > sigmas * float(np.sqrt(spread))


def support_of(
    views: Sequence[View],
    around: MapPoints,
    rig_SE3_world: DoubleArray,
    radius_px: float,
    radii: Sequence[float] = RADII,
    most: int = MOST_POINTS,
) -> Support:
    """Count the points found within a radius of where a pose puts them, and compare with what is wrong for certain.

    Keypoints crowd where texture is, and repeated texture looks like itself: so chance is measured in the image at
    hand, both at moved places and with the descriptors of other points at the same places; the stricter of the two
    counts. A right pose has its points close to where they belong, a lucky one anywhere within the radius: the best of
    several radii is taken.
    """
    seen = [_InView.at(view, around, rig_SE3_world, most) for view in views]
    visible = sum(one.visible for one in seen)
    if not visible:
        return Support(0, 0, 0, 1.0, 0.0, 0.0)
    radii_px = [share * radius_px for share in radii]
    keypoints = sum(len(view.xy_px) for view in views)
    kinds = _InView.own, _InView.moved, _InView.swapped
    own, moved, swapped = (_joined([kind(one, radii_px) for one in seen]) for kind in kinds)  # one a radius
    # in the order of `own` and of the controls: a vote of its own in each view, and at each shift
    cells = [
        np.concatenate([one.voters(places, number) for number, one in enumerate(seen)])
        for places in (_InView.in_place, _InView.moved_places, _InView.kept_places)
    ]
    every = [_different(each) for each in cells]
    supports = []
    for trio in zip(own, moved, swapped, strict=True):
        support, least = _counted(trio[0], trio[1:], visible, keypoints)
        found, *beyond = (_different(each[similar > least]) for each, similar in zip(cells, trio, strict=True))
        chance = max((by + 1.0) / (of + 1.0) for by, of in zip(beyond, every[1:], strict=True))
        supports.append(replace(support, evidence=surprise(found, every[0], min(chance, 0.999))))
    return max(supports, key=lambda support: support.evidence)


def chance_similarity(views: Sequence[View], around: MapPoints, rig_SE3_world: DoubleArray, radius_px: float) -> float:
    """The similarity that chance exceeds in the share `CHANCE` of the points that a pose puts in view.

    What is less similar at its place than this says nothing: among ten thousand keypoints there is always one nearby.
    """
    seen = [_InView.at(view, around, rig_SE3_world, GLANCED_POINTS) for view in views]
    seen = [one for one in seen if one.visible]
    if not seen:
        return -1.0
    kinds = _InView.moved, _InView.swapped
    return _exceeded_by(CHANCE, [_joined([kind(one, [radius_px]) for one in seen])[0] for kind in kinds])


def _exceeded_by(share: float, controls: Sequence[FloatArray]) -> float:
    return max(quantile(control, 1.0 - share) for control in controls)


@dataclass(frozen=True)
class _InView:
    """The points that a pose puts in one view (rows of the map's `looks`), and where."""

    view: View
    visible: int
    xy_px: DoubleArray
    rows: IntArray
    looks: FloatArray
    keypoints: FloatArray

    @staticmethod
    def at(view: View, around: MapPoints, rig_SE3_world: DoubleArray, most: int = MOST_POINTS) -> _InView:
        rows, xy_px = view.in_view(rig_SE3_world, around.points_world, around.viewing)
        asked = thinned(np.arange(len(rows)), most)
        return _InView(view, len(rows), xy_px[asked], rows[asked], around.looks, around.compared(view))

    def own(self, radii_px: Sequence[float]) -> list[FloatArray]:
        """Similarity of each point to its keypoint, -1 where another point has that or there is none; a radius each."""
        return [_alone(found) for found in self._within(self.xy_px, self.rows, radii_px)]

    def moved(self, radii_px: Sequence[float]) -> list[FloatArray]:
        """The same at moved places."""
        return self._found(np.concatenate(self._moved), np.tile(self.rows, len(SHIFTS)), radii_px)

    def swapped(self, radii_px: Sequence[float]) -> list[FloatArray]:
        """The same with the descriptors of other points."""
        turns = [max(1, round(shift[0] % 1.0 * len(self.rows))) for shift in SHIFTS]
        others = np.concatenate([np.roll(self.rows, turn) for turn in turns])
        return self._found(np.tile(self.xy_px, (len(SHIFTS), 1)), others, radii_px)

    def in_place(self) -> list[DoubleArray]:
        """Where `own` looks."""
        return [self.xy_px]

    def moved_places(self) -> list[DoubleArray]:
        """Where `moved` looks, shift by shift."""
        return self._moved

    @cached_property
    def _moved(self) -> list[DoubleArray]:
        moved = [np.empty_like(self.xy_px) for _ in SHIFTS]
        # axis by axis: a loop over pairs costs many times as much
        for axis, (low, high) in enumerate(zip(self.view.low_px, self.view.high_px, strict=True)):
            size, from_low = high - low, self.xy_px[:, axis] - low
            for xy_px, shift in zip(moved, SHIFTS, strict=True):
                at = from_low + shift[axis] * size
                xy_px[:, axis] = low + at - size * np.floor(at / size)
        return moved

    def kept_places(self) -> list[DoubleArray]:
        """Where `swapped` looks, turn by turn."""
        return [self.xy_px] * len(SHIFTS)

    def voters(self, places: Callable[[_InView], list[DoubleArray]], number: int) -> IntArray:
        """The cell of each place, int64: of this view (with its number) and of each list its own."""
        side_px = VOTING_CELL * self.view.diagonal_px
        cells = []
        for shift, xy_px in enumerate(places(self)):
            x, y = (((xy_px[:, k] - self.view.low_px[k]) / side_px).astype(np.int64) for k in (0, 1))
            cells.append(((number * len(SHIFTS) + shift) * _MOST_CELLS + y) * _MOST_CELLS + x)
        return np.concatenate(cells)

    def _found(self, xy_px: DoubleArray, rows: IntArray, radii_px: Sequence[float]) -> list[FloatArray]:
        return [found.similarity for found in self._within(xy_px, rows, radii_px)]

    def _within(self, xy_px: DoubleArray, rows: IntArray, radii_px: Sequence[float]) -> list[Nearby]:
        return best_within(self.view, xy_px, self.looks, radii_px, rows, self.keypoints)


def _different(cells: IntArray) -> int:
    return int(np.count_nonzero(np.bincount(cells)))


def _alone(found: Nearby) -> FloatArray:
    similarity = np.full(len(found.similarity), -1.0, np.float32)
    kept = one_point_a_keypoint(found)
    similarity[kept] = found.similarity[kept]
    return similarity


def _joined(parts: Sequence[Sequence[FloatArray]]) -> list[FloatArray]:
    """Similarities of several parts, each with one array a radius, joined radius by radius."""
    return [np.concatenate(each) for each in zip(*parts, strict=True)]


def _counted(own: FloatArray, controls: Sequence[FloatArray], visible: int, keypoints: int) -> tuple[Support, float]:
    """The support of the points, each with a vote, and the similarity that they must exceed."""
    share = max(CHANCE * min(1.0, keypoints / len(own)), LEAST_BY_CHANCE / len(controls[0]))
    least = _exceeded_by(min(share, CHANCE), controls)
    beyond = max(int((control > least).sum()) for control in controls)
    chance = (beyond + 1.0) / (len(controls[0]) + 1.0)
    found = int((own > least).sum())
    strength = surprise(found, len(own), chance)
    return Support(found, len(own), visible, chance, strength, strength), least
