"""An image as one short vector made of its local descriptors (VLAD), without downloaded weights.

    descriptors (N, D) --axes of the map--> (N, R) --nearest of K words--> what is left of the first L axes, summed by
    word (K, L) --signed root, each word made unit, the whole made unit--> (K L)

Jegou et al. 2010, with the reduction before the sum (Delhumeau et al. 2013) and the normalization within words of
Arandjelovic and Zisserman 2013. Many words with few axes left tell more, byte for byte, than few words with many axes:
all R axes decide which word a descriptor is nearest to. Axes and words are stored in a byte a number and used so.
"""

from __future__ import annotations

from dataclasses import dataclass

import faiss
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from foldmap.coding.pq import checked_vectors, one_thread
from foldmap.errors import ConfigError, FoldmapError, MapInputError, ModelError
from foldmap.types import AnyArray, DoubleArray, FloatArray
from foldmap.visual.source import SceneModel, unit_descriptors

WORDS, RANK, LEFT = 256, 16, 4
MAX_WORDS, MAX_RANK, MAX_DIMENSION = 1024, 256, 4096
MAX_BYTES = 4 << 20
FITTED_ON = 65_536
_AN_IMAGE = 200  # descriptors of one image that a vocabulary is learned from
_GRID = 65_536.0
_AT_ONCE = 512  # descriptors whose likeness to all words stays in the cache
_FORMAT = np.array([1], np.uint8)
_CURE = "fold the map again"


@dataclass(frozen=True)
class Vlad:
    """Axes and words, in the numbers that are stored, so that map and query see the same ones.

    Raises `ModelError`: other types or shapes, too many words or axes, values that are not finite.
    """

    mean: AnyArray  # float16 (D,), of unit descriptors
    axes: AnyArray  # int8 (D, R), directions in which they vary most, in units of `axis_scale`
    axis_scale: FloatArray  # float32 (R,)
    words: AnyArray  # int8 (K, R), in units of `word_scale`
    word_scale: FloatArray  # float32 (R,)
    left: int  # L, axes that residuals are summed in, 1..R

    def __post_init__(self) -> None:
        if self.axes.ndim != 2 or self.words.ndim != 2:
            raise ModelError(f"axes {self.axes.shape} and words {self.words.shape} are not tables", _CURE)
        (dimension, rank), count = self.axes.shape, len(self.words)
        if not (1 <= rank <= min(dimension, MAX_RANK) and dimension <= MAX_DIMENSION and 1 <= count <= MAX_WORDS):
            raise ModelError(f"a vocabulary of {count} words and {dimension} x {rank} axes is out of range", _CURE)
        for what, array, dtype, shape in (
            ("mean", self.mean, np.float16, (dimension,)),
            ("axes", self.axes, np.int8, (dimension, rank)),
            ("axis_scale", self.axis_scale, np.float32, (rank,)),
            ("words", self.words, np.int8, (count, rank)),
            ("word_scale", self.word_scale, np.float32, (rank,)),
        ):
            if array.dtype != dtype or array.shape != shape:
                raise ModelError(f"the vocabulary's {what} is {array.dtype} {array.shape}, not {shape}", _CURE)
        if not (np.abs(self.mean) <= 2).all():
            raise ModelError("the vocabulary's mean is not that of unit vectors", _CURE)
        if not 1 <= self.left <= rank:
            raise ModelError(f"residuals in {self.left} of {rank} axes", _CURE)
        scales = np.concatenate([self.axis_scale, self.word_scale])
        if not ((scales > 0) & (scales <= 1)).all():
            raise ModelError("the vocabulary's scales are out of range", _CURE)

    @property
    def dimension(self) -> int:
        """D, length of a local descriptor."""
        return int(self.axes.shape[0])

    @property
    def size(self) -> int:
        """G = K L, length of an image's descriptor."""
        return len(self.words) * self.left

    @classmethod
    def fit(
        cls, descriptors: AnyArray, *, words: int = WORDS, rank: int = RANK, left: int = LEFT, seed: int = 0
    ) -> Vlad:
        """Learn axes (PCA) and words (k-means, FAISS on one thread) from local descriptors (N, D) of the map's images.

        At most `FITTED_ON` of them are looked at; the same input and seed give the same. There are ``words`` K (each
        descriptor is one where they are fewer), ``rank`` R <= D axes, and ``left`` L <= R. Raises `ConfigError`: words,
        rank or left out of range; `MapInputError`: no descriptors, or values that are not finite.
        """
        rows = checked_vectors(descriptors)
        if not 1 <= words <= MAX_WORDS or not 1 <= rank <= MAX_RANK or left < 1:
            what = f"{words} words of rank {rank}, {left} left"
            raise ConfigError(what, f"take 1..{MAX_WORDS} words, rank 1..{MAX_RANK}, at least one left")
        if not len(rows):
            raise MapInputError("there is no descriptor to learn a vocabulary from", "join features to the scene")
        if len(rows) > FITTED_ON:
            rows = rows[np.sort(np.random.default_rng(seed).permutation(len(rows))[:FITTED_ON])]
        grid = _on_grid(rows)
        mean = (grid.mean(axis=0) / _GRID).astype(np.float16)
        axes, axis_scale = _bytes_a_column(_principal(grid, min(rank, rows.shape[1])))
        reduced = _reduce(grid, mean, axes, axis_scale)
        word, word_scale = _bytes_a_column(_centroids(reduced, min(words, len(rows)), seed))
        return cls(mean, axes, axis_scale, word, word_scale, min(left, axes.shape[1]))

    def describe(self, descriptors: AnyArray) -> FloatArray:
        """One vector of an image, float32 (G,) of length 1, of its local descriptors (N, D).

        Raises `MapInputError`: no descriptors, values that are not finite, or of another dimension than the map's.
        """
        rows = checked_vectors(descriptors)
        if rows.shape[1] != self.dimension:
            what = f"descriptors of {rows.shape[1]} numbers, the map's vocabulary is of {self.dimension}"
            raise MapInputError(what, "extract the features that the map was built with")
        if not len(rows):
            raise MapInputError("an image without keypoints cannot be retrieved", "use an image that shows something")
        reduced = _reduce(_on_grid(rows), self.mean, self.axes, self.axis_scale)
        centres = self.words.astype(np.float64) * self.word_scale
        word = np.empty(len(reduced), np.int64)
        half = 0.5 * np.square(centres).sum(axis=1)
        for first in range(0, len(reduced), _AT_ONCE):
            similar = reduced[first : first + _AT_ONCE] @ centres.T
            similar -= half
            np.argmax(similar, axis=1, out=word[first : first + _AT_ONCE])
        off = reduced - centres[word]
        total = np.stack([np.bincount(word, off[:, axis], len(centres)) for axis in range(self.left)], axis=1)
        rooted = unit_descriptors(np.sign(total) * np.sqrt(np.abs(total)))
        return np.asarray(unit_descriptors(rooted.reshape(1, -1))[0])

    def to_bytes(self) -> bytes:
        """Safetensors; the same vocabulary gives the same bytes."""
        names = ("mean", "axes", "axis_scale", "words", "word_scale")
        arrays = {name: np.ascontiguousarray(getattr(self, name)) for name in names}
        return bytes(save({**arrays, "left": np.array([self.left], np.uint16), "format": _FORMAT}))

    @classmethod
    def from_bytes(cls, payload: bytes) -> Vlad:
        """Rebuild, trusting nothing; `ModelError` where the bytes are no vocabulary of this version."""
        if len(payload) > MAX_BYTES:
            raise ModelError(f"a vocabulary of {len(payload)} bytes is too large", _CURE)
        try:
            arrays = load(payload)
            if not np.array_equal(arrays.pop("format"), _FORMAT):
                raise ModelError("the vocabulary is of another format", "update foldmap")
            left = arrays.pop("left")
            if left.dtype != np.uint16 or left.shape != (1,):
                raise ModelError(f"the vocabulary's left is {left.dtype} {left.shape}", _CURE)
            return cls(**arrays, left=int(left[0]))
        except FoldmapError:
            raise
        except (SafetensorError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise ModelError(f"the vocabulary cannot be read: {error}", _CURE) from error


def fit_vlad(scene: SceneModel, *, seed: int = 0) -> Vlad:
    """A vocabulary of a scene's observations, equally many from each image as far as there are."""
    described, images = scene.described, len(scene.image_names)
    most = max(1, min(_AN_IMAGE, FITTED_ON // max(images, 1)))
    mixed = np.random.default_rng(seed).permutation(len(described))
    by_image = mixed[np.argsort(scene.tracks.image[mixed], kind="stable")]
    count = np.bincount(scene.tracks.image, minlength=images)
    within = np.arange(len(by_image)) - np.repeat(np.cumsum(count) - count, count)
    return Vlad.fit(described[np.sort(by_image[within < most])], seed=seed)


def describe_images(scene: SceneModel, vlad: Vlad) -> FloatArray:
    """The vector of each image of a scene, from what it observed: float32 (I, G); zeros where it observed nothing."""
    order = np.argsort(scene.tracks.image, kind="stable")
    first = np.searchsorted(scene.tracks.image[order], np.arange(len(scene.image_names) + 1))
    vectors = np.zeros((len(scene.image_names), vlad.size), np.float32)
    for image in np.flatnonzero(np.diff(first)):
        vectors[image] = vlad.describe(scene.described[order[first[image] : first[image + 1]]])
    return vectors


def _on_grid(rows: AnyArray) -> DoubleArray:
    """Unit descriptors in whole steps: sums of their products are exact, so any number of threads gets the same."""
    return np.asarray(np.rint(unit_descriptors(rows).astype(np.float64) * _GRID))


def _reduce(grid: DoubleArray, mean: AnyArray, axes: AnyArray, axis_scale: FloatArray) -> DoubleArray:
    """Coefficients float64 (N, R) about the mean."""
    whole = axes.astype(np.float64)
    middle = (mean.astype(np.float64)[:, None] * whole).sum(axis=0)
    return np.asarray(((grid @ whole) / _GRID - middle) * axis_scale)


def _principal(grid: DoubleArray, rank: int) -> DoubleArray:
    """Directions of most variance, float64 (D, R), each with its largest number positive so that signs are settled."""
    total = grid.sum(axis=0)
    _, vectors = np.linalg.eigh(grid.T @ grid - total[:, None] * total / len(grid))
    axes = vectors[:, ::-1][:, :rank]
    peak = np.abs(axes).argmax(axis=0)
    return np.asarray(axes * np.sign(axes[peak, np.arange(rank)]))


def _bytes_a_column(values: AnyArray) -> tuple[AnyArray, FloatArray]:
    """Int8 and the scale of each column; a column of zeros keeps a tiny scale."""
    scale = np.maximum(np.abs(values).max(axis=0), 1e-6).astype(np.float32) / np.float32(127)
    return np.rint(values / scale).astype(np.int8), scale


def _centroids(reduced: DoubleArray, count: int, seed: int) -> FloatArray:
    rows: FloatArray = np.ascontiguousarray(reduced, dtype=np.float32)
    if len(rows) == count:
        return rows
    limits = {"min_points_per_centroid": 1, "max_points_per_centroid": FITTED_ON}
    with one_thread():
        means = faiss.Kmeans(rows.shape[1], count, niter=25, seed=seed, **limits)
        means.train(rows)
    return np.asarray(np.asarray(means.centroids, dtype=np.float32).reshape(count, -1))
