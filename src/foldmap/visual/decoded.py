"""What a matcher needs of a map: points with descriptors, ready to be searched."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from foldmap.types import BoolArray, DoubleArray, FloatArray, IntArray
from foldmap.visual.codes.viewing_codec import Viewing, any_viewing, decode_viewing, encode_viewing
from foldmap.visual.match.likeness import USUAL, least_similarity
from foldmap.visual.match.matching import DescriptorIndex
from foldmap.visual.match.view import View
from foldmap.visual.scene.average import track_means
from foldmap.visual.scene.noise import reprojection_noise_px
from foldmap.visual.source import Query, SceneModel

_VIEWS_KEPT = 16  # of a map that is searched whole, query after query


@dataclass(frozen=True)
class ImageVisibility:
    """Some images of a map, int64 (I,), best first, and the points they see: a ``column`` of ``visible``, bool (P, V).

    Images in sequence share one column in a folded map, so a point may be said to be seen by an image that stands
    beside one that saw it: project it to know.
    """

    images: IntArray
    visible: BoolArray
    column: IntArray

    def __iter__(self) -> Iterator[tuple[int, IntArray]]:
        """Number of each image, and its points: int64, ascending."""
        for image, column in zip(self.images.tolist(), self.column.tolist(), strict=True):
            yield image, np.flatnonzero(self.visible[:, column])


@dataclass(frozen=True)
class MapPoints:
    """Some points of a map with their descriptors."""

    points_world: DoubleArray  # float64 (P, 3)
    # what is compared, float32 unit rows: the decoded descriptors (P, D), or with a span their shares in it, (P, R)
    looks: FloatArray
    images: int = 0  # map images that retrieval chose these points by; 0 where they are the whole map
    visibility: ImageVisibility | None = None  # those images and what they see; None where the points are the whole map
    similarity: float = USUAL  # least cosine of a keypoint and a point that are one, see `match.likeness`
    # from where each point was seen, float64 (P, 6) as `decode_viewing` gives it; None where the map does not say
    seen_from: DoubleArray | None = None
    noise_px: float = 0.0  # of the reprojections in the images that it was made of; no query is seen better
    # orthonormal columns float32 (D, R) that all descriptors are sums of; None where there are no fewer than D.
    # Cosines in it are those of the descriptors, for less
    span: FloatArray | None = None
    viewing: DoubleArray = field(init=False, repr=False, compare=False)  # the same, from everywhere where None
    index: DescriptorIndex = field(init=False, repr=False, compare=False)  # the looks ready to be searched
    _compared: dict[int, tuple[FloatArray, FloatArray]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "index", DescriptorIndex(self.looks, self.span))
        object.__setattr__(self, "_compared", {})
        viewing = any_viewing(len(self.points_world)) if self.seen_from is None else self.seen_from
        object.__setattr__(self, "viewing", viewing)

    def __len__(self) -> int:
        return len(self.points_world)

    @property
    def descriptors(self) -> FloatArray:
        """Decoded, float32 (P, D), unit rows; made anew with a span."""
        return self.looks if self.span is None else self.looks @ self.span.T

    def compared(self, view: View) -> FloatArray:
        """What `looks` are compared with of a view's keypoints, float32 (N, R) or (N, D); made once a view."""
        if self.span is None:
            return view.descriptors
        kept = self._compared.get(id(view.descriptors))
        if kept is None:
            if len(self._compared) >= _VIEWS_KEPT:
                self._compared.clear()
            # with the descriptors themselves, so that none takes their number while it is kept
            kept = self._compared[id(view.descriptors)] = (view.descriptors, view.descriptors @ self.span)
        return kept[1]


class VisualMap(Protocol):
    """A map that cameras can be localized in: a folded one, or a scene in memory."""

    @property
    def feature(self) -> str:
        """Which extractor made its descriptors."""

    @property
    def dimension(self) -> int:
        """Length of a descriptor."""

    @property
    def parameters(self) -> Mapping[str, Any]:
        """What its layer says of it; empty where nothing does."""

    def around(self, queries: Sequence[Query], views: Sequence[View]) -> MapPoints:
        """The points that the queries may see: the whole map, or what retrieval finds."""


class UnfoldedMap:
    """A scene as it was built: every point, the mean descriptor of its track, nothing quantized."""

    def __init__(self, scene: SceneModel) -> None:
        means = track_means(scene)
        self.feature, self.dimension = scene.feature, means.shape[1]
        self.parameters: Mapping[str, Any] = {}
        similarity = least_similarity(scene, np.arange(len(means), dtype=np.int64), means)
        seen_from = decode_viewing(encode_viewing(Viewing.of(scene)), len(means))
        noise_px = reprojection_noise_px(scene)
        points = scene.points_world
        self._points = MapPoints(points, means, similarity=similarity, seen_from=seen_from, noise_px=noise_px)

    def around(self, queries: Sequence[Query], views: Sequence[View]) -> MapPoints:
        """The whole map."""
        return self._points
