"""What `foldmap localize` is asked about photos: names, cameras, and where their features come from."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from foldmap.errors import ConfigError, InputError, MapInputError
from foldmap.visual.features.photo_names import CONVERT, OTHER_SUFFIXES

if TYPE_CHECKING:
    from foldmap.formats.hloc.global_descriptors import HlocGlobals
    from foldmap.formats.listing import ListedImage
    from foldmap.geometry.camera import Camera
    from foldmap.visual.source import Features, Query

Size = Callable[[str], tuple[int, int]]
_COMPARED = 2000
_OUTSIDE = 0.02
"""Share of the keypoints that may lie outside of the image."""


class SizedSource(Protocol):
    """Features of images, and how large the images are."""

    @property
    def feature(self) -> str:
        """Which extractor."""
        ...

    def names(self) -> Sequence[str]:
        """The images it has features of."""
        ...

    def load(self, name: str) -> Features:
        """Read one image's features."""
        ...

    def image_size(self, name: str) -> tuple[int, int] | None:
        """Width and height, px, where known."""
        ...


@dataclass(frozen=True)
class Asked:
    """One query: an image, or the images of a rig.

    Attributes:
        name: what the answer goes by.
        images: with cameras; of a rig with extrinsics.
        problem: why it has no camera and cannot be localized.
    """

    name: str
    images: tuple[ListedImage, ...]
    problem: InputError | None = None


def read_asked(queries: Path | None, rigs: Path | None, camera: str, model: Path | None, size: Size) -> list[Asked]:
    """Read the queries, and give each image its camera, or the reason why it has none.

    Args:
        queries: hloc's query list, with cameras or names alone.
        rigs: a rig list instead.
        camera: of all images of a list of names: ``MODEL,params`` (their size as ``size`` says), or
            ``MODEL width height params``.
        model: folder of a COLMAP model that knows the cameras of a list of names.
        size: width and height of an image, px.

    Raises:
        ConfigError: options that exclude each other.
        MapInputError: a list is wrong, the model cannot be read, or the list has no cameras and nothing else has.
    """
    from foldmap.formats.hloc.lists import read_query_list
    from foldmap.formats.rig_lists import read_rig_list

    if (queries is None) == (rigs is None):
        raise ConfigError("either single photos or rigs are localized", "give --queries LIST, or --rigs LIST")
    if camera and model is not None:
        raise ConfigError("two sources of cameras", "give --camera or --model")
    if rigs is not None:
        if camera or model is not None:
            raise ConfigError("a rig list brings its cameras", "leave --camera and --model out")
        return [Asked(name, tuple(images)) for name, images in read_rig_list(rigs).items()]
    assert queries is not None
    listed = read_query_list(queries)
    if listed[0].camera is not None:
        if camera or model is not None:
            raise ConfigError(f"{queries} brings its cameras", "leave --camera and --model out")
        return [Asked(image.name, (image,)) for image in listed]
    camera_of = _cameras(queries, [image.name for image in listed], camera, model, size)
    asked = []
    for image in listed:
        try:
            asked.append(Asked(image.name, (replace(image, camera=camera_of(image.name)),)))
        except InputError as error:
            asked.append(Asked(image.name, (image,), error))
    return asked


def _cameras(
    queries: Path, names: Sequence[str], camera: str, model: Path | None, size: Size
) -> Callable[[str], Camera]:
    """What gives a photo's camera, or raises that it has none."""
    from foldmap.formats.colmap.poses import read_model_poses
    from foldmap.formats.listing import camera_of
    from foldmap.formats.same_names import pair_names

    if camera:
        words = camera.split()
        if len(words) > 1 and "," not in camera:
            one = camera_of("--camera", 1, words)
            return lambda name: one
        return lambda name: _of_size(camera, size(name))
    if model is None:
        raise MapInputError(
            f"{queries} names photos without cameras",
            "write name MODEL width height params a line, or give --camera MODEL,params or --model COLMAP_FOLDER",
        )
    known = read_model_poses(model, cameras=True).cameras
    same = pair_names(names, known)

    def found(name: str) -> Camera:
        if name not in same:
            raise MapInputError(f"the model in {model} has no image {name!r}", "give its camera in the list")
        return known[same[name]]

    return found


def _of_size(text: str, size_px: tuple[int, int]) -> Camera:
    from foldmap.visual.scene.build import camera_from_text

    return camera_from_text(text, *size_px)


@dataclass(frozen=True)
class Seen:
    """Where the features of the queries come from.

    Attributes:
        source: features by name.
        where: file or folder of them, for messages.
        global_descriptors: of the images, or None.
        known: names that have features.
    """

    source: SizedSource
    where: Path
    global_descriptors: HlocGlobals | None = None
    known: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "known", frozenset(self.source.names()))

    def size(self, name: str) -> tuple[int, int]:
        """Width and height of an image, px.

        Raises:
            MapInputError: there is no such image, it is damaged, or nothing says its size.
        """
        self._require(name)
        found = self.source.image_size(name)
        if found is None:
            raise MapInputError(
                f"{self.where} does not say how large {name!r} is", "give --camera 'MODEL width height params'"
            )
        return found

    def check(self, asked: Sequence[Asked], feature: str) -> None:
        """Find out before work begins whether anything can be localized.

        Raises:
            MapInputError: no image has features, or they are of another extractor than the map's.
        """
        names = [image.name for one in asked for image in one.images]
        missing = [name for name in names if name not in self.known]
        if len(missing) == len(names):
            try:
                self._require(missing[0])
            except MapInputError as error:
                raise MapInputError(
                    f"{len(missing)} of {len(names)} images have no features, first {missing[0]!r}: {error.message}",
                    error.cure,
                ) from error
        ours = self.source.feature
        if "unknown" not in (ours, feature) and ours.split("-")[0] != feature.split("-")[0]:
            raise MapInputError(f"the features are {ours}, the map's are {feature}", f"extract {feature} features")

    def query(self, image: ListedImage) -> Query:
        """An image with all it brings.

        Raises:
            MapInputError: it has no features, they are damaged or of an image of another size than its camera's, or
                it has no global descriptor though others have.
        """
        from foldmap.visual.source import Query

        assert image.camera is not None
        self._require(image.name)
        found, wanted = self.source.image_size(image.name), (image.camera.width_px, image.camera.height_px)
        if found is not None and found != wanted:
            raise MapInputError(
                f"photo {image.name!r} is {found[0]} x {found[1]} px, its camera {wanted[0]} x {wanted[1]}",
                "give the camera of that size",
            )
        vector = None if self.global_descriptors is None else self.global_descriptors.load(image.name)
        features = self.source.load(image.name)
        beyond = (features.xy_px < -1.0) | (features.xy_px > [wanted[0] + 1.0, wanted[1] + 1.0])
        outside, count = int(beyond.any(axis=1).sum()), len(features.xy_px)
        if outside > _OUTSIDE * count:
            raise MapInputError(
                f"{outside} of {count} keypoints of {image.name!r} lie outside of its camera's "
                f"{wanted[0]} x {wanted[1]} px",
                "give the camera of the image that they were extracted from",
            )
        return Query(image.name, image.camera, features, vector, image.camera_SE3_rig)

    def _require(self, name: str) -> None:
        """Refuse a name that has no features, with the one that may be meant."""
        if name in self.known:
            return
        if Path(name).suffix.lower() in OTHER_SUFFIXES:
            raise MapInputError(f"photo {name!r} is of a format that is not read", CONVERT)
        slashes = name.replace("\\", "/")
        near = [other for other in sorted(self.known) if other.lower() == slashes.lower()]
        near = near or [other for other in sorted(self.known) if slashes.endswith(f"/{other}")]
        near = near or [other for other in sorted(self.known) if other.endswith(f"/{slashes}")]
        near = near or difflib.get_close_matches(name, sorted(self.known)[:_COMPARED], n=1) or sorted(self.known)[:1]
        like = f", like {near[0]!r}" if near else ""
        raise MapInputError(f"{self.where} has no {name!r}", f"name images as the features do{like}")


@contextmanager
def open_seen(
    features: Path | None,
    photos: Path | None,
    global_descriptors: Path | None,
    feature: str,
    weights: Path | None,
    max_keypoints: int,
) -> Iterator[Seen]:
    """Open what the queries bring.

    Args:
        features: hloc's HDF5 or a COLMAP database.
        photos: folder of photos instead, whose features are extracted as they are asked for.
        global_descriptors: hloc's HDF5 of one descriptor an image.
        feature: the map's extractor.
        weights: of that extractor, where it is a network.
        max_keypoints: of a photo.

    Raises:
        ConfigError: both or neither of features and photos are given, or weights that nobody needs.
        MapInputError: a file cannot be read.
        MissingExtraError: photos need foldmap[sfm] or foldmap[learned].
    """
    from foldmap.formats.hloc.global_descriptors import HlocGlobals
    from foldmap.formats.scenes import open_features

    if (features is None) == (photos is None):
        raise ConfigError(
            "features come from a file or from photos", "give --features FILE.h5 or .db, or --photos FOLDER"
        )
    if features is not None and weights is not None:
        raise ConfigError("features from a file need no weights", "leave --weights out")
    with ExitStack() as opened:
        vectors = None
        if global_descriptors is not None:
            vectors = opened.enter_context(closing(HlocGlobals(global_descriptors)))
        if photos is not None:
            from foldmap.visual.features.extract import ExtractorSettings, open_extractor
            from foldmap.visual.features.photos import PhotoFeatures

            extractor = open_extractor(feature, weights, ExtractorSettings(max_keypoints=max_keypoints))
            yield Seen(PhotoFeatures(photos, extractor), photos, vectors)
            return
        assert features is not None
        yield Seen(opened.enter_context(closing(open_features(features))), features, vectors)
