"""A small town scene on disk, as users have theirs: a COLMAP model, an hloc file of features, photos."""

from pathlib import Path

import numpy as np
from PIL import Image

from colmap_writer import write_model
from foldmap.formats.hloc.features import HlocFeatureWriter
from foldmap.town.camera.visual_scene import TownPhotos, town_scene
from foldmap.types import IntArray
from foldmap.visual.features.extract import ExtractorSettings, open_extractor
from foldmap.visual.source import Features, SceneModel


def write_town(folder: Path, photos: int = 16) -> SceneModel:
    """Write sparse/, features.h5 and images/ below a folder."""
    town = TownPhotos(3, photos, 1, size_px=(320, 240), spacing_m=0.6)
    extract = open_extractor("sift", None, ExtractorSettings(max_keypoints=500)).extract
    found = {id(photo.picture.image): extract(photo.picture.image) for photo in town.map_photos}
    scene = town_scene(town, lambda image: found[id(image)])
    features = [found[id(photo.picture.image)] for photo in town.map_photos]
    index = np.concatenate([_keypoints(scene, image, one) for image, one in enumerate(features)])
    rows = np.concatenate([np.flatnonzero(scene.tracks.image == image) for image in range(len(features))])
    ordered = np.empty(len(index), np.int64)
    ordered[rows] = index
    write_model(scene, folder / "sparse", [one.xy_px for one in features], ordered)
    (folder / "images").mkdir()
    with HlocFeatureWriter(folder / "features.h5", "sift") as writer:
        for photo, one in zip(town.map_photos, features, strict=True):
            writer.add(photo.name, one)
            Image.fromarray(photo.picture.image).save(folder / "images" / photo.name)
    return scene


def _keypoints(scene: SceneModel, image: int, features: Features) -> IntArray:
    """Which keypoint of its image each observation is; keypoints of one place differ in their descriptors."""
    assert scene.tracks.descriptors is not None
    table = {
        (xy.tobytes(), row.tobytes()): number
        for number, (xy, row) in enumerate(zip(features.xy_px, features.descriptors, strict=True))
    }
    mine = np.flatnonzero(scene.tracks.image == image)
    keys = [(scene.tracks.xy_px[row].tobytes(), scene.tracks.descriptors[row].tobytes()) for row in mine]
    return np.array([table[key] for key in keys], np.int64)
