"""Matchers of a query with a map: what they have in common, and nearest neighbours."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from foldmap.visual.decoded import MapPoints
from foldmap.visual.match.guided import thinned
from foldmap.visual.match.matching import Matches, mutual
from foldmap.visual.match.view import View

MATCHERS = ("direct", "mutual", "lightglue")
"""Names of matchers; the last one needs weights and a map that keeps its images."""


class Matcher(Protocol):
    """Pairs keypoints of a query with points of a map."""

    def match(self, view: View, around: MapPoints, most: int) -> Matches:
        """Match, the surest first; no keypoint and no point more than once.

        Args:
            view: the query's image.
            around: points that it may see.
            most: at most so many of its keypoints are to be matched.
        """
        ...


@dataclass(frozen=True)
class NearestMatcher:
    """Every keypoint's nearest point.

    Attributes:
        ratio: most distance to the nearest point over that to the second nearest.
        both: take only those that are each other's nearest.
    """

    ratio: float = 0.97
    both: bool = False

    def match(self, view: View, around: MapPoints, most: int) -> Matches:
        """See `Matcher.match`; keypoints are taken evenly among all."""
        asked = thinned(np.arange(len(view.xy_px)), most)
        found = around.index.match(view.descriptors[asked])
        found = replace(found, keypoint=asked[found.keypoint])
        found = found.take(found.ratio < self.ratio)
        if self.both and len(found):
            found = found.take(mutual(found, view.descriptors, around.descriptors))
        return found
