"""Which images of a map a query resembles: they name the tiles and the points to look at.

query --its global descriptor, or VLAD of its local ones--> vector --cosine with each map image--> images, best first
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from foldmap.errors import ConfigError, MapInputError
from foldmap.types import AnyArray, FloatArray, IntArray
from foldmap.visual.codes.global_codec import decode_globals, encode_globals
from foldmap.visual.retrieval.vlad import Vlad, describe_images, fit_vlad
from foldmap.visual.source import Query, SceneModel, unit_descriptors

RETRIEVED_IMAGES = 10  # so many of a map's images are looked at for a query
SMALL_MAP = 30_000  # up to so many points a map is searched whole, and stores nothing to retrieve by


class Retriever:
    """Finds the images of a map that a query resembles, exactly, among their global descriptors (I, G).

    A vocabulary makes global descriptors out of local ones; None where the map has the user's own.
    """

    def __init__(self, descriptors: AnyArray, vlad: Vlad | None = None) -> None:
        self.descriptors, self.vlad = unit_descriptors(_checked(descriptors, 2)), vlad
        if vlad is not None and vlad.size != self.descriptors.shape[1]:
            what = f"the vocabulary makes {vlad.size} numbers an image, the images have {self.descriptors.shape[1]}"
            raise MapInputError(what, "take both from one map")

    @classmethod
    def stored(cls, images: bytes, vlad: bytes | None) -> Retriever:
        """Out of what a file holds, see `FoldedRetrieval`; `MapFormatError` or `ModelError` where it is damaged."""
        return cls(decode_globals(images), None if vlad is None else Vlad.from_bytes(vlad))

    def __len__(self) -> int:
        return len(self.descriptors)

    def rank(self, query: Query, most: int) -> IntArray:
        """The map's images that a query resembles, best first, int64; see `search`."""
        if self.vlad is not None:
            return self.search(self.vlad.describe(query.features.descriptors), most)
        if query.global_descriptor is None:
            what = f"image {query.name!r} has no global descriptor, and the map is searched by them"
            raise MapInputError(what, "give the queries' global descriptors, or fold the map without its own")
        return self.search(query.global_descriptor, most)

    def search(self, vector: AnyArray, most: int) -> IntArray:
        """At most so many images, int64, most similar to a vector (G,) by cosine first; of equals the earlier one.

        Raises `MapInputError`: a vector of another size, or values that are not finite; `ConfigError`: fewer than one
        image is wanted.
        """
        query = unit_descriptors(_checked(vector, 1)[None])[0]
        if len(query) != self.descriptors.shape[1]:
            what = f"a global descriptor of {len(query)} numbers, the map's are of {self.descriptors.shape[1]}"
            raise MapInputError(what, "compute it with the network that the map's were computed with")
        if most < 1:
            raise ConfigError(f"{most} images of a map cannot be retrieved", "ask for at least one")
        return np.argsort(-(self.descriptors @ query), kind="stable")[:most].astype(np.int64)


@dataclass(frozen=True)
class FoldedRetrieval:
    """What a file stores to be searched by image: bytes of `encode_globals` and of `Vlad.to_bytes`.

    There is no vocabulary with the user's global descriptors.
    """

    images: bytes
    vlad: bytes | None

    @property
    def size(self) -> int:
        """Bytes of both."""
        return len(self.images) + len(self.vlad or b"")


def fold_retrieval(scene: SceneModel, *, seed: int = 0) -> FoldedRetrieval:
    """What is needed to search a scene by image: its global descriptors, else those that VLAD makes of local ones.

    Raises `MapInputError`: the scene has no descriptors of either kind.
    """
    if scene.global_descriptors is not None:
        return FoldedRetrieval(encode_globals(scene.global_descriptors), None)
    vlad = fit_vlad(scene, seed=seed)
    return FoldedRetrieval(encode_globals(describe_images(scene, vlad)), vlad.to_bytes())


def interleaved(rankings: list[IntArray]) -> IntArray:
    """The images of several rankings, each once: all first places first, then the second ones, and so on."""
    places = [place for ranking in rankings for place in range(len(ranking))]
    images = np.concatenate([np.zeros(0, np.int64), *rankings])[np.argsort(np.array(places, int), kind="stable")]
    return np.array(list(dict.fromkeys(images.tolist())), dtype=np.int64)


def _checked(values: AnyArray, axes: int) -> FloatArray:
    array = np.ascontiguousarray(values, dtype=np.float32)
    if array.ndim != axes or not array.shape[-1]:
        raise MapInputError(f"global descriptors have shape {array.shape}", "give one row an image")
    if not np.isfinite(array).all():
        raise MapInputError("a global descriptor has NaN or infinite values", "compute it again")
    return array
