"""What `foldmap localize` is asked about photos: names, cameras, and where their features come from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from foldmap.errors import ConfigError, MapInputError

if TYPE_CHECKING:
    from foldmap.formats.hloc_globals import HlocGlobals
    from foldmap.formats.listing import ListedImage
    from foldmap.geometry.camera import Camera
    from foldmap.visual.source import FeatureSource, Query

Size = Callable[[str], tuple[int, int]]


@dataclass(frozen=True)
class Asked:
    """One query: an image, or the images of a rig.

    Attributes:
        name: what the answer goes by.
        images: with cameras; of a rig with extrinsics.
    """

    name: str
    images: tuple[ListedImage, ...]


def read_asked(queries: Path | None, rigs: Path | None, camera: str, model: Path | None, size: Size) -> list[Asked]:
    """Read the queries, and give each image its camera.

    Args:
        queries: hloc's query list, with cameras or names alone.
        rigs: a rig list instead.
        camera: of all images of a list of names: ``MODEL,params`` (their size as ``size`` says), or
            ``MODEL width height params``.
        model: folder of a COLMAP model that knows the cameras of a list of names.
        size: width and height of an image, px.

    Raises:
        ConfigError: options that exclude each other, or a camera that is none.
        MapInputError: a list is wrong, or an image has no camera.
    """
    from foldmap.formats.hloc_lists import read_query_list
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
    given = _cameras(queries, [image.name for image in listed], camera, model, size)
    return [Asked(image.name, (replace(image, camera=given[image.name]),)) for image in listed]


def _cameras(queries: Path, names: Sequence[str], camera: str, model: Path | None, size: Size) -> dict[str, Camera]:
    from foldmap.formats.colmap import find_model, read_model
    from foldmap.formats.listing import camera_of

    if camera:
        words = camera.split()
        if len(words) > 1:
            one = camera_of("--camera", 1, words)
            return dict.fromkeys(names, one)
        return {name: _of_size(camera, size(name)) for name in names}
    if model is None:
        raise MapInputError(
            f"{queries} names photos without cameras",
            "write name MODEL width height params a line, or give --camera MODEL,params or --model COLMAP_FOLDER",
        )
    scene = read_model(find_model(model))
    known = {name: scene.camera_of(index) for index, name in enumerate(scene.image_names)}
    strangers = [name for name in names if name not in known]
    if strangers:
        raise MapInputError(
            f"the model in {model} has no image {strangers[0]!r} ({len(strangers)} of {len(names)} are missing)",
            "give their cameras in the list",
        )
    return {name: known[name] for name in names}


def _of_size(text: str, size_px: tuple[int, int]) -> Camera:
    from foldmap.visual.build import camera_from_text

    return camera_from_text(text, *size_px)


@dataclass(frozen=True)
class Seen:
    """Where the features of the queries come from.

    Attributes:
        source: features by name.
        size: width and height of an image, px.
        global_descriptors: of the images, or None.
    """

    source: FeatureSource
    size: Size
    global_descriptors: HlocGlobals | None = None

    def check(self, asked: Sequence[Asked], feature: str) -> None:
        """Find out before work begins what is missing.

        Raises:
            MapInputError: an image has no features, or they are of another extractor than the map's.
        """
        names = [image.name for one in asked for image in one.images]
        known = set(self.source.names())
        missing = [name for name in names if name not in known]
        if missing:
            some = next(iter(self.source.names()), "none")
            raise MapInputError(
                f"{len(missing)} of {len(names)} images have no features, first {missing[0]!r}",
                f"name them as the features do, like {some!r}",
            )
        ours = self.source.feature
        if "unknown" not in (ours, feature) and ours.split("-")[0] != feature.split("-")[0]:
            raise MapInputError(f"the features are {ours}, the map's are {feature}", f"extract {feature} features")

    def query(self, image: ListedImage) -> Query:
        """An image with all it brings.

        Raises:
            MapInputError: its features are damaged, or it has no global descriptor though others have.
        """
        from foldmap.visual.source import Query

        assert image.camera is not None
        vector = None if self.global_descriptors is None else self.global_descriptors.load(image.name)
        return Query(image.name, image.camera, self.source.load(image.name), vector, image.camera_SE3_rig)


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
    from foldmap.formats.hloc_features import HlocFeatures
    from foldmap.formats.hloc_globals import HlocGlobals
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
            from foldmap.visual.extract import ExtractorSettings, open_extractor
            from foldmap.visual.photos import PhotoFeatures

            extractor = open_extractor(feature, weights, ExtractorSettings(max_keypoints=max_keypoints))
            yield Seen(PhotoFeatures(photos, extractor), lambda name: photo_size_px(photos / name), vectors)
            return
        assert features is not None
        source = opened.enter_context(closing(open_features(features)))

        def size(name: str) -> tuple[int, int]:
            if isinstance(source, HlocFeatures) and source.find(f"{name}/image_size") is not None:
                values = source.array(name, "image_size", 1)
                if len(values) == 2:
                    return int(values[0]), int(values[1])
            raise MapInputError(
                f"{features} does not say how large {name!r} is", "give --camera 'MODEL width height params'"
            )

        yield Seen(source, size, vectors)


def photo_size_px(path: Path) -> tuple[int, int]:
    """Width and height of a photo, from its head.

    Raises:
        MapInputError: it cannot be read.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            return int(image.width), int(image.height)
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError) as error:
        raise MapInputError(f"{path} cannot be read: {error}", "check the names of the list") from error
