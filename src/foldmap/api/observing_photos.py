"""Photos as a user names them: which are asked, with which cameras, and where their features come from."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Protocol

from foldmap.errors import ConfigError, InputError, MapInputError
from foldmap.formats.hloc.features import HlocGlobals
from foldmap.formats.hloc.lists import read_query_list, read_rig_list
from foldmap.formats.listing import ListedImage, camera_of, is_listable
from foldmap.formats.name_times import natural_key
from foldmap.formats.same_names import pair_names
from foldmap.formats.scenes import open_features
from foldmap.visual.features.photo_names import CONVERT, OTHER_SUFFIXES
from foldmap.visual.source import Features, FeatureSource, Query

if TYPE_CHECKING:
    from foldmap.geometry.camera import Camera

_COMPARED = 2000
_OUTSIDE = 0.02
"""Share of the keypoints that may lie outside of the image."""


class SizedFeatures(FeatureSource, Protocol):
    """Features of images, and how large the images are."""

    def image_size(self, name: str) -> tuple[int, int] | None:
        """Width and height, px, where known."""
        ...


@dataclass(frozen=True)
class PhotoQuery:
    """One question: where was this photo, or this rig with its photos?

    Images have cameras, of a rig extrinsics too; a problem is why there is no camera, and nothing can be localized.
    """

    name: str
    images: tuple[ListedImage, ...]
    problem: InputError | None = None


@dataclass(frozen=True)
class QueryFeatures:
    """What is known of the photos that are asked: where their features are, names that have some, and their folder.

    Those that know things upright alone can be found in photos that are ``turned`` by some quarters, too.
    """

    source: SizedFeatures
    where: Path
    global_descriptors: HlocGlobals | None = None
    photos: Path | None = None
    turned: Callable[[str, int, bool], Features] | None = None
    known: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "known", frozenset(self.source.names()))

    def in_order(self) -> list[str]:
        """Names of photos that have features, in natural order, in which trajectories without names count them."""
        return sorted(self.known, key=lambda name: natural_key(PurePosixPath(name)))

    def size_px(self, name: str) -> tuple[int, int]:
        """Width and height of a photo; a MapInputError where nothing says so."""
        self._require(name)
        found = self.source.image_size(name)
        if found is None:
            cure = "give --camera 'MODEL width height params'"
            raise MapInputError(f"{self.where} does not say how large {name!r} is", cure)
        return found

    def check(self, asked: Sequence[PhotoQuery], feature: str) -> None:
        """Find out before work begins whether anything can be localized in a map of these features.

        Raises:
            MapInputError: no photo has features, or they are of another extractor than the map's.
        """
        names = [image.name for one in asked for image in one.images]
        if self.known.isdisjoint(names):
            try:
                self._require(names[0])
            except MapInputError as error:
                said = f"{len(names)} of {len(names)} images have no features, first {names[0]!r}: {error.message}"
                raise MapInputError(said, error.cure) from error
        ours = self.source.feature
        if "unknown" not in (ours, feature) and ours.split("-")[0] != feature.split("-")[0]:
            raise MapInputError(f"the features are {ours}, the map's are {feature}", f"extract {feature} features")

    def queries(self, one: PhotoQuery) -> tuple[list[Query], list[str]]:
        """The photos of a question with all they bring, and why some are missing.

        Blank photos of a rig add nothing and are left out. Where none can be used the first one's error is raised.
        """
        if one.problem is not None:
            raise one.problem
        queries, problems = [], []
        for image in one.images:
            try:
                queries.append(self.query(image))
            except InputError as error:
                problems.append(error)
        if not queries:
            raise problems[0]
        useful = [query for query in queries if len(query.features.xy_px)] or queries[:1]
        return useful, [f"without {error}" for error in problems]

    def query(self, image: ListedImage, quarters: int = 0, small: bool = False) -> Query:
        """A photo with all it brings; its features are of the photo turned by so many quarters, if it can be.

        Those of a turned one are of a ``small`` image where that will do.

        Raises:
            MapInputError: it has no features, they are damaged or of a photo of another size than its camera's, or it
                has no global descriptor though others have.
        """
        assert image.camera is not None
        self._require(image.name)
        found, wanted = self.source.image_size(image.name), (image.camera.width_px, image.camera.height_px)
        if found is not None and found != wanted:
            said = f"photo {image.name!r} is {found[0]} x {found[1]} px, its camera {wanted[0]} x {wanted[1]}"
            raise MapInputError(said, "give the camera of that size")
        vector = None if self.global_descriptors is None else self.global_descriptors.load(image.name)
        asked = self.turned if quarters else None
        features = self.source.load(image.name) if asked is None else asked(image.name, quarters, small)
        beyond = (features.xy_px < -1.0) | (features.xy_px > [wanted[0] + 1.0, wanted[1] + 1.0])
        outside, count = int(beyond.any(axis=1).sum()), len(features.xy_px)
        if outside > _OUTSIDE * count:
            camera = f"its camera's {wanted[0]} x {wanted[1]} px"
            said = f"{outside} of {count} keypoints of {image.name!r} lie outside of {camera}"
            raise MapInputError(said, "give the camera of the image that they were extracted from")
        return Query(image.name, image.camera, features, vector, image.camera_SE3_rig, image.intrinsics)

    def _require(self, name: str) -> None:
        """Refuse a name that has no features, with the one that may be meant."""
        if name in self.known:
            return
        if Path(name).suffix.lower() in OTHER_SUFFIXES:
            raise MapInputError(f"photo {name!r} is of a format that is not read", CONVERT)
        slashes, there = name.replace("\\", "/"), sorted(self.known)
        near = [other for other in there if other.lower() == slashes.lower()]
        near = near or [other for other in there if slashes.endswith(f"/{other}") or other.endswith(f"/{slashes}")]
        near = near or difflib.get_close_matches(name, there[:_COMPARED], n=1) or there[:1]
        like = f", like {near[0]!r}" if near else ""
        raise MapInputError(f"{self.where} has no {name!r}", f"name images as the features do{like}")


@contextmanager
def open_query_features(
    features: Path | None,
    photos: Path | None,
    globals_: Path | None,
    feature: str,
    weights: Path | None,
    most: int,
    max_side_px: int | None = None,
) -> Iterator[QueryFeatures]:
    """Open what the photos bring: a file of features (hloc's HDF5, a COLMAP database), or the photos themselves.

    Features of photos are extracted as they are asked for, at most so many, by the map's extractor `feature`; a network
    needs weights. Photos with a longer side are made smaller first; their keypoints stay in pixels of the whole.
    Global descriptors are hloc's HDF5 of one a photo.

    Raises:
        ConfigError: both or neither of features and photos are given, or weights that nobody needs.
        MapInputError: a file cannot be read.
        MissingExtraError: photos need foldmap[sfm] or foldmap[learned].
    """
    if (features is None) == (photos is None):
        cure = "give --features FILE.h5 or .db, or --photos FOLDER"
        raise ConfigError("features come from a file or from photos", cure)
    if features is not None and weights is not None:
        raise ConfigError("features from a file need no weights", "leave --weights out")
    with ExitStack() as opened:
        vectors = None if globals_ is None else opened.enter_context(closing(HlocGlobals(globals_)))
        if features is not None:
            yield QueryFeatures(opened.enter_context(closing(open_features(features))), features, vectors)
            return
        from foldmap.visual.features.extract import ExtractorSettings, open_extractor
        from foldmap.visual.features.photos import PhotoFeatures
        from foldmap.visual.features.turned import known_upright_alone

        assert photos is not None
        extractor = open_extractor(feature, weights, ExtractorSettings(most, max_side_px))
        source = PhotoFeatures(photos, extractor)
        turned = source.load_turned if known_upright_alone(extractor.feature) else None
        yield QueryFeatures(source, photos, vectors, photos, turned)


def read_photo_queries(
    queries: Path | None,
    rigs: Path | None,
    camera: str,
    model: Path | None,
    brought: QueryFeatures,
    only: Sequence[str] = (),
) -> list[PhotoQuery]:
    """Read what is asked, and give each photo its camera, or the reason why it has none.

    `queries` is hloc's query list, with cameras or names alone; without one every photo is asked that has
    features, or `only` those.
    Cameras of names are one for all, ``MODEL,params`` (of the size that the photos have) or ``MODEL width height
    params``, or those of a COLMAP model; else, of photos that are at hand, by EXIF, else guessed.

    Raises:
        ConfigError: options that exclude each other.
        MapInputError: a list is wrong, the model cannot be read, or the list has no cameras and nothing else has.
    """
    if queries is not None and rigs is not None:
        raise ConfigError("either single photos or rigs are localized", "give --queries LIST, or --rigs LIST")
    if camera and model is not None:
        raise ConfigError("two sources of cameras", "give --camera or --model")
    given = bool(camera) or model is not None
    if rigs is not None:
        if given:
            raise ConfigError("a rig list brings its cameras", "leave --camera and --model out")
        return [PhotoQuery(name, tuple(images)) for name, images in read_rig_list(rigs).items()]
    listed = [ListedImage(name) for name in only or brought.in_order()] if queries is None else read_query_list(queries)
    if listed[0].camera is not None:
        if given:
            raise ConfigError(f"{queries} brings its cameras", "leave --camera and --model out")
        return [PhotoQuery(image.name, (image,)) for image in listed]
    camera_by_name = _cameras(queries or brought.where, [image.name for image in listed], camera, model, brought)
    asked = []
    for image in listed:
        try:
            if not is_listable(image.name):
                raise MapInputError(f"the name {image.name!r} cannot stand in a list of poses", "rename the photo")
            found, source = camera_by_name(image.name)
            asked.append(PhotoQuery(image.name, (replace(image, camera=found, intrinsics=source),)))
        except InputError as error:
            asked.append(PhotoQuery(image.name, (image,), error))
    return asked


def assumed(asked: Sequence[PhotoQuery]) -> tuple[dict[str, int], list[str]]:
    """How many photos have intrinsics from where, and what people should know of those that were not given."""
    counted = Counter(image.intrinsics for one in asked for image in one.images if image.camera is not None)
    told = {
        "exif": "focal lengths of {} photos are those of their EXIF; --camera or --model gives better ones",
        "guessed": "focal lengths of {} photos are guessed, and found with the pose; --camera or --model gives them",
    }
    return dict(counted), [words.format(counted[source]) for source, words in told.items() if counted[source]]


def _cameras(
    where: Path, names: Sequence[str], camera: str, model: Path | None, brought: QueryFeatures
) -> Callable[[str], tuple[Camera, str]]:
    """What gives a photo's camera, and where that is from; or raises that it has none."""
    from foldmap.formats.colmap.scene import read_model_poses
    from foldmap.visual.scene.build import camera_from_text, camera_of_photo

    if camera:
        words = camera.split()
        if len(words) > 1 and "," not in camera:
            one = camera_of("--camera", 1, words)
            return lambda name: (one, "given")
        return lambda name: (camera_from_text(camera, *brought.size_px(name)), "given")
    if model is None and brought.photos is not None:
        folder = brought.photos
        return lambda name: camera_of_photo(folder / name)
    if model is None:
        raise MapInputError(
            f"{where} names photos without cameras",
            "write name MODEL width height params a line, or give --camera MODEL,params, --model FOLDER or --photos",
        )
    known = read_model_poses(model, cameras=True).cameras
    same = pair_names(names, known)

    def found(name: str) -> tuple[Camera, str]:
        if name not in same:
            raise MapInputError(f"the model in {model} has no image {name!r}", "give its camera in the list")
        return known[same[name]], "given"

    return found
