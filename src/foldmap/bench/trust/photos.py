"""Hostile photos of anybody's visual map: which are asked, their features, and what is answered."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

from foldmap.atlas import FoldFile
from foldmap.bench.trust.answers import Answer, Expect, Stage, answer_of
from foldmap.bench.trust.photo_changes import ELSEWHERE, KINDS, TOWN, PhotoKind, Shot, as_taken
from foldmap.errors import ConfigError, MapInputError
from foldmap.formats.hloc.lists import read_query_list
from foldmap.formats.poses.photos import read_image_poses
from foldmap.geometry.camera import Camera
from foldmap.localize.visual.localizer import VisualLocalizer
from foldmap.localize.visual.turned import also_turned
from foldmap.town.camera.visual_scene import TownPhotos
from foldmap.types import ByteArray, DoubleArray
from foldmap.visual.features.extract import Extractor
from foldmap.visual.features.images import image_size_px, read_image
from foldmap.visual.features.photo_names import find_images
from foldmap.visual.features.turned import extract_turned, known_upright_alone
from foldmap.visual.source import Features, Query
from foldmap.visual.unfold import FoldedVisual

Open = Callable[[str], Extractor]
"""Makes the extractor of a feature."""
_FOCAL = 1.2  # of the longer side, where nothing says more
_TOWN_PX = (640, 480)
_OF_NOTHING = ("blank", "noise")


@dataclass(frozen=True)
class Taken:
    """A photo that is read when it is asked: its name, its camera and camera_SE3_world, None where it has no place."""

    name: str
    read: Callable[[], ByteArray]
    camera: Camera | None = None
    camera_SE3_world: DoubleArray | None = None

    def shot(self, focal: float) -> Shot:
        """Read it; without a camera it gets an ideal one, its focal length a share of the longer side."""
        image = self.read()
        width, height = image_size_px(image)
        length = focal * max(width, height)
        ideal = Camera("PINHOLE", width, height, np.array([length, length, 0.5 * width, 0.5 * height]))
        return Shot(image, self.camera or ideal, self.camera_SE3_world)


@dataclass(frozen=True)
class PhotoSet:
    """What photos there are.

    Attributes:
        right: of the map's place, with cameras and poses; not those that the map was made of, or say so.
        elsewhere: of other places, with any camera; where there are none, and none is right, of generated towns.
        count: queries a kind, evenly chosen.
        kinds: begin so; all where empty.
        seed: of every random change.
        features: kept from map to map, by feature, kind, query and how the photo was turned.
    """

    right: Sequence[Taken] = ()
    elsewhere: Sequence[Taken] = ()
    count: int = 20
    kinds: tuple[str, ...] = ()
    seed: int = 0
    features: dict[Hashable, Features] = field(default_factory=dict, repr=False)

    def plan(self) -> list[tuple[PhotoKind, Sequence[Taken]]]:
        """Each kind with the photos that it is made of."""
        needed = self._wants(TOWN) or (not self.right and any(self._wants(kind) for kind in _OF_NOTHING))
        of = {ELSEWHERE: self.elsewhere, TOWN: town_photos(self.count, self.seed) if needed else ()}
        places = [(PhotoKind(name, Expect.REFUSED, as_taken), photos) for name, photos in of.items()]
        # a photo of nothing needs no place: where no right one is given, towns lend their size
        right, known = self.right or of[TOWN], bool(self.right)
        wanted = [(kind, right) for kind in KINDS if known or kind.name in _OF_NOTHING] + places
        return [(kind, evenly(photos, self.count)) for kind, photos in wanted if photos and self._wants(kind.name)]

    def _wants(self, kind: str) -> bool:
        return not self.kinds or any(kind.startswith(one) for one in self.kinds)

    @property
    def focal(self) -> float:
        """Of a photo of elsewhere, as a share of its longer side: that of the right ones."""
        cameras = [one.camera for one in self.right if one.camera is not None]
        shares = [camera.focal_px[0] / max(camera.width_px, camera.height_px) for camera in cameras]
        return float(np.median(shares)) if shares else _FOCAL


def evenly(items: Sequence[Taken], count: int) -> list[Taken]:
    """At most so many, evenly chosen in their order."""
    rows = np.unique(np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int))
    return [items[int(row)] for row in rows]


@cache
def town_photos(count: int, seed: int) -> Sequence[Taken]:
    """Photos of generated towns, ten a town; drawn once for all maps."""
    found: list[Taken] = []
    for town in range(-(-count // 10)):
        walk = TownPhotos(9000 + 100 * seed + town, 1, min(count - len(found), 10), _TOWN_PX)
        for photo in walk.query_photos:
            found.append(Taken(f"town-{town}-{photo.name}", _given(photo.picture.image), walk.camera))
    return found


def right_photos(
    folder: Path, model: Path | None = None, queries: Path | None = None, truth: Path | None = None
) -> list[Taken]:
    """Photos of a folder whose cameras and true poses are known; of a list those alone.

    Cameras are the list's, else the model's; poses those of the truth, else the model's (`read_image_poses`).

    Raises:
        ConfigError: nothing says where the photos were taken.
        MapInputError: none of them has a camera and a pose.
    """
    known = truth or model
    if known is None:
        raise ConfigError("nothing says where the photos were taken", "give --model, or --truth and --queries")
    listed = {} if queries is None else {one.name: one.camera for one in read_query_list(queries)}
    names = find_images(folder) if queries is None else list(listed)
    poses = read_image_poses(known, names, cameras=truth is None).camera_SE3_world
    cameras = {} if model is None else dict(read_image_poses(model, names).cameras)
    cameras |= {name: camera for name, camera in listed.items() if camera is not None}
    found = [name for name in names if name in cameras and name in poses]
    if not found:
        raise MapInputError(f"no photo of {folder} has a camera and a pose", "name photos alike in all files")
    return [Taken(name, _read(folder / name), cameras[name], poses[name]) for name in found]


def other_photos(folders: Sequence[Path]) -> list[Taken]:
    """All photos of some folders."""
    each = [[Taken(f"{folder}/{name}", _read(folder / name)) for name in find_images(folder)] for folder in folders]
    return [photo for photos in each for photo in photos]


def _given(image: ByteArray) -> Callable[[], ByteArray]:
    return lambda: image


def _read(path: Path) -> Callable[[], ByteArray]:
    return lambda: read_image(path)


def ask_photos(path: Path, name: str, photos: PhotoSet, extractor: Open, stage: Stage) -> Iterator[Answer]:
    """Ask every kind of photo in the visual layer of a file; features are those of the map.

    Raises:
        ConfigError: the map is searched by global descriptors, which photos alone do not bring.
    """
    with FoldFile.open(path) as file:
        folded = FoldedVisual(file)
        if folded.groups and folded.needs_global:
            raise ConfigError(f"{path} is searched by global descriptors", "measure a map without them")
        localizer = VisualLocalizer.open(folded)
        yield from ask_localizer(localizer, folded.feature, name, photos, extractor, stage)


def ask_localizer(
    localizer: VisualLocalizer, feature: str, name: str, photos: PhotoSet, extractor: Open, stage: Stage
) -> Iterator[Answer]:
    """The same of a localizer that is open; what matches nowhere is asked turned, as photos of users are."""
    for kind, taken in photos.plan():
        told = stage(f"{name}: {kind.name}")
        for number, one in enumerate(taken):
            asked = Asked.of(kind, one, number, feature, photos, extractor)
            estimate = localizer.localize(asked.query())
            if known_upright_alone(feature):
                estimate = also_turned(estimate, lambda *how, asked=asked: localizer.localize(asked.query(*how)))
            yield answer_of(
                estimate, asked.truth, map_name=name, layer="visual", kind=kind.name, query=one.name, expect=kind.expect
            )
            told(number + 1, len(taken))


@dataclass(frozen=True)
class Asked:
    """A changed photo as it is asked: its true pose where it has one, and its features, each found once."""

    name: str
    shot: Shot
    truth: DoubleArray | None
    extract: Callable[[int, bool], Features]

    @staticmethod
    def of(kind: PhotoKind, one: Taken, number: int, feature: str, photos: PhotoSet, extractor: Open) -> Asked:
        """The so many-th photo of a kind."""
        rng = np.random.default_rng([photos.seed, number, *kind.name.encode()])
        shot = kind.change(one.shot(photos.focal), rng)
        truth = shot.camera_SE3_world if kind.expect is not Expect.REFUSED else None

        def extract(quarters: int, small: bool) -> Features:
            key = (feature, kind.name if kind.new_image else "", one.name, quarters, small)
            if key not in photos.features:
                photos.features[key] = extract_turned(extractor(feature), shot.image, quarters, small)
            return photos.features[key]

        return Asked(one.name, shot, truth, extract)

    def query(self, quarters: int = 0, small: bool = False) -> Query:
        """What a localizer is asked, of the photo turned by so many quarters."""
        return Query(self.name, self.shot.camera, self.extract(quarters, small))
