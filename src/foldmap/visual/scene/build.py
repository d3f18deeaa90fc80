"""A scene from photos: features, matches, structure from motion, or points alone where poses are known."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from foldmap.errors import ConfigError, MapInputError
from foldmap.geometry.camera import CAMERA_MODELS, Camera, require_plausible
from foldmap.visual.features.extract import Extractor, ExtractorSettings, open_extractor
from foldmap.visual.features.images import (
    check_image,
    exif_camera,
    image_size_px,
    photo_size_px,
    read_image,
    write_stand_in,
)
from foldmap.visual.features.photo_names import find_images
from foldmap.visual.scene import colmap_database as scratch
from foldmap.visual.scene.agreement import require_agreement
from foldmap.visual.scene.colmap_library import ColmapRun, quiet_pycolmap
from foldmap.visual.scene.known_poses import KnownPoses
from foldmap.visual.scene.mapping import BuiltScene, map_incrementally, statistics, triangulate
from foldmap.visual.scene.pair_lists import Pair, exhaustive_pairs, listed_pairs, sequential_pairs
from foldmap.visual.source import Features

_GUESS, _FOCAL_SHARES = 1.2, (0.12, 60.0)
"""Focal lengths as shares of the longer side: COLMAP's guess, and between which lenses have theirs."""
_MATCHINGS = ("exhaustive", "sequential", "listed")

Report = Callable[[str, int, int], None]  # called with what is being done, how much is done, and of how much


class FeatureSink(Protocol):
    """Where features go, an image at a time: an hloc file being written."""

    def add(self, name: str, features: Features, image_size_px: tuple[int, int] | None = None) -> None:
        """Take one image's features."""


@dataclass(frozen=True)
class SceneSettings:
    """How a scene is built. Raises `ConfigError`: a value is not known or out of range."""

    feature: str = "sift"  # see `open_extractor`
    weights: Path | None = None  # of its network
    extractor: ExtractorSettings = field(default_factory=ExtractorSettings)  # how features are extracted
    matching: str = "exhaustive"  # "exhaustive", "sequential" or "listed"
    overlap: int = 10  # of sequential matching, images
    max_ratio: float = 1.0  # of networks' descriptors, see `mutual_matches`; 1 leaves the test to the geometry
    camera: Camera | None = None  # of all images; None guesses from EXIF, else 1.2 times the longer side, and refines
    camera_model: str = "SIMPLE_RADIAL"  # COLMAP's model where intrinsics are guessed
    # whether images of one size share one camera; else those share one whose EXIF names the same camera and lens
    one_camera: bool = False
    seed: int = 0  # of every random choice
    threads: int = -1  # of extraction and matching, which do not depend on it; -1 for all cores
    mapping_threads: int = 1  # of bundle adjustment; with more than one, results differ in the last digits between runs

    def __post_init__(self) -> None:
        if self.matching not in _MATCHINGS:
            raise ConfigError(f"there is no matching {self.matching!r}", f"choose {', '.join(_MATCHINGS)}")
        if not 1 <= self.overlap <= 20:
            raise ConfigError(f"an overlap of {self.overlap} images", "take 1 to 20")
        if not 0 < self.max_ratio <= 1:
            raise ConfigError(f"a ratio of {self.max_ratio}", "take above 0, at most 1")
        if self.camera_model not in CAMERA_MODELS:
            raise ConfigError(f"there is no camera model {self.camera_model!r}", f"choose {', '.join(CAMERA_MODELS)}")
        if not 0 <= self.seed < 2**31:
            raise ConfigError(f"seed {self.seed}", "take 0 to 2147483647")
        if min(self.threads, self.mapping_threads) < -1 or 0 in (self.threads, self.mapping_threads):
            raise ConfigError("a number of threads below 1", "take 1 or more, or -1 for all cores")


def build_scene(
    images_folder: Path,
    output_folder: Path,
    settings: SceneSettings,
    sink: FeatureSink,
    known: KnownPoses | None = None,
    pairs: Mapping[str, Sequence[str]] | None = None,
    report: Report | None = None,
) -> BuiltScene:
    """Build a scene and write its COLMAP model.

    Photos that cannot be read are left out, and named with their reasons in the result. Keypoint ``i`` of an image in
    the model is feature ``i`` of that image in ``sink``, which gets all features of all images. The same images and
    settings give the same model. Raises `MapInputError`: fewer than two photos can be read, or no scene can be built;
    nothing is written then; `ConfigError`: settings contradict each other; known poses lack intrinsics;
    `MissingExtraError`: pycolmap, or kornia for networks, is not installed.

    Args:
        images_folder: photos, also in folders below; names are paths relative to it.
        output_folder: exists; ``sparse/`` is written in it.
        settings: how.
        sink: takes the features.
        known: poses, if known: then only points are found, in images that have a pose; others are left out.
        pairs: names to be matched with each name, for ``settings.matching == "listed"``.
        report: progress.
    """
    say = report or (lambda _doing, _done, _total: None)
    names = find_images(images_folder)
    if known is not None:
        poses = known.of(names)
        names = [name for name in names if name in poses]
    if len(names) < 2:
        raise MapInputError(f"{images_folder} holds one photo", "give at least two that overlap")
    chosen = _pairs(names, settings, pairs)
    with quiet_pycolmap() as pycolmap, tempfile.TemporaryDirectory(prefix=".building-", dir=output_folder) as temporary:
        extractor = open_extractor(settings.feature, settings.weights, settings.extractor, settings.threads)
        how = (settings.seed, settings.threads, settings.mapping_threads)
        run = ColmapRun(pycolmap, images_folder, tuple(names), Path(temporary), *how)
        unreadable, cameras = _extract(run, settings, extractor, sink, known, say)
        lost = {index for index, name in enumerate(names) if name in unreadable}
        if len(names) - len(lost) < 2:
            first = next(iter(unreadable.values()))
            raise MapInputError(f"{len(lost)} of {len(names)} photos cannot be read, first {first}", "copy them again")
        chosen = [pair for pair in chosen if lost.isdisjoint(pair)]
        if extractor.feature == "sift":
            scratch.match_sift(run, chosen, partial(say, "matching"))
        else:
            scratch.match_learned(run, chosen, settings.max_ratio, partial(say, "matching"))
        with run.opened() as database:  # images get their own names, now that no list has to be split at spaces
            for image in database.read_all_images():
                image.name = run.names[image.image_id - 1]
                database.update_image(image)
        if known is None:
            fixed = settings.camera is not None
            model = map_incrementally(run, fixed, lambda done: say("mapping", done, len(names)))
        else:
            say("triangulating", 0, 1)
            given = {name: settings.camera or known.cameras[name] for name in names if name not in unreadable}
            require_agreement(run, chosen, given, poses)
            model = triangulate(run, poses)
        metric = known is not None and known.metric
        built = statistics(model, names, extractor.feature, metric, len(chosen), unreadable, cameras)
        sparse = output_folder / "sparse"
        sparse.mkdir(exist_ok=True)
        model.write_binary(sparse)
    return built


def _pairs(names: Sequence[str], settings: SceneSettings, pairs: Mapping[str, Sequence[str]] | None) -> list[Pair]:
    if (pairs is None) == (settings.matching == "listed"):
        raise ConfigError("a list of pairs goes with listed matching, and with that alone", "give both or neither")
    if pairs is not None:
        return listed_pairs(names, pairs)
    if settings.matching == "sequential":
        return sequential_pairs(len(names), settings.overlap)
    return exhaustive_pairs(len(names))


def _extract(
    run: ColmapRun,
    settings: SceneSettings,
    extractor: Extractor,
    sink: FeatureSink,
    known: KnownPoses | None,
    say: Report,
) -> tuple[dict[str, str], dict[str, tuple[int, int]]]:
    """Features of all images into the sink and the scratch database, cameras with them.

    Gives why some cannot be read, and how many images, and cameras, have intrinsics from where.
    """
    numbers: dict[Any, int] = {}
    counted: dict[str, tuple[int, int]] = {}
    unreadable: dict[str, str] = {}
    with run.opened() as database:
        for index, name in enumerate(run.names):
            try:
                image = read_image(run.photos / name)
                check_image(image)
            except MapInputError as error:
                unreadable[name] = str(error) if name in error.message else f"{name}: {error}"
                continue
            features = extractor.extract(image)
            sink.add(name, features, image_size_px(image))
            source, key, camera = _camera(run, name, image_size_px(image), settings, known)
            images, cameras = counted.get(source, (0, 0))
            counted[source] = images + 1, cameras + (key not in numbers)
            if key not in numbers:
                numbers[key] = len(numbers) + 1
                scratch.write_camera(database, run.pycolmap, camera, numbers[key])
            scratch.write_image(database, run.pycolmap, index + 1, numbers[key], features)
            say("extracting", index + 1, len(run.names))
    return unreadable, counted


def _camera(
    run: ColmapRun, name: str, size_px: tuple[int, int], settings: SceneSettings, known: KnownPoses | None
) -> tuple[str, Any, Any]:
    """Where the intrinsics of an image are from, a key that images of the same camera share, and the camera."""
    given = settings.camera or (known.cameras.get(name) if known is not None else None)
    if given is not None:
        if (given.width_px, given.height_px) != size_px:
            what = f"{name!r} is {size_px[0]} x {size_px[1]} px, its camera {given.width_px} x {given.height_px}"
            raise MapInputError(what, "give the camera of these images")
        return "given", (given.model, size_px, given.params.tobytes()), scratch.colmap_camera(run.pycolmap, given)
    if known is not None:
        raise ConfigError(f"the intrinsics of {name!r} are not known", "give --camera MODEL,params with known poses")
    source, camera = _inferred(run.pycolmap, run.photos / name, size_px, settings.camera_model)
    exif = exif_camera(run.photos / name) if source == "exif" else None
    if settings.one_camera:
        return source, (size_px, round(camera.mean_focal_length(), 3)), camera
    return source, name if exif is None else (size_px, exif), camera


def _inferred(pycolmap: Any, path: Path, size_px: tuple[int, int], model: str) -> tuple[str, Any]:
    """A camera by a photo's EXIF, else of 1.2 times its longer side: which of them, and COLMAP's camera."""
    options = pycolmap.ImageReaderOptions()
    options.camera_model = model
    try:
        camera = pycolmap.infer_camera_from_image(path, options)
    except ValueError:  # COLMAP reads fewer formats than foldmap, WebP not
        with tempfile.NamedTemporaryFile(suffix=".jpg") as file:
            write_stand_in(path, file)
            camera = pycolmap.infer_camera_from_image(file.name, options)
    if (camera.width, camera.height) != size_px:
        raise MapInputError(
            f"{path.name!r} is read as {camera.width} x {camera.height} px by COLMAP", "save it upright"
        )
    share = camera.mean_focal_length() / max(size_px)
    if camera.has_prior_focal_length and _FOCAL_SHARES[0] < share < _FOCAL_SHARES[1]:
        return "exif", camera
    if camera.has_prior_focal_length:  # EXIF of no lens, such as 65535 mm
        camera = pycolmap.Camera.create_from_model_name(camera.camera_id, model, _GUESS * max(size_px), *size_px)
    return "guessed", camera


def camera_of_photo(path: Path) -> tuple[Camera, str]:
    """An ideal camera by a photo's EXIF, or guessed as 1.2 times the longer side; "exif" or "guessed".

    Raises `MapInputError`: the photo cannot be read; `MissingExtraError`: that needs foldmap[sfm].
    """
    size_px = photo_size_px(path)
    with quiet_pycolmap() as pycolmap:
        source, camera = _inferred(pycolmap, path, size_px, "SIMPLE_PINHOLE")
    return Camera("SIMPLE_PINHOLE", *size_px, np.array(camera.params, np.float64)), source


def camera_from_text(text: str, width_px: int, height_px: int) -> Camera:
    """A camera of ``MODEL,param,param,...``, COLMAP's parameters in COLMAP's order; `ConfigError` for other text."""
    model, *rest = text.split(",")
    try:
        camera = Camera(model.strip().upper(), width_px, height_px, np.array([float(word) for word in rest]))
        require_plausible(camera)
        return camera
    except (ValueError, MapInputError) as error:
        reason = error.message if isinstance(error, MapInputError) else str(error)
        raise ConfigError(f"{text!r} is no camera: {reason}", "write it like PINHOLE,525,525,320,240") from error
