"""Matchers of a query with a map: what they have in common, and nearest neighbours."""

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
        """Match at most so many keypoints of a view with points that it may see.

        The surest come first; no keypoint and no point more than once.
        """


@dataclass(frozen=True)
class NearestMatcher:
    """Every keypoint's nearest point, or only those that are each other's (``both``).

    The distance to the nearest point over that to the second nearest is below ``ratio``.
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
            found = found.take(mutual(found, around.compared(view), around.looks))
        return found
