"""A scene as it lies on disk: a COLMAP model with features beside it, or a kapture dataset."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from foldmap.errors import MapInputError
from foldmap.formats.colmap.database import ColmapDatabase
from foldmap.formats.colmap.files import find_model
from foldmap.formats.colmap.scene import read_model_with_keypoints
from foldmap.formats.hloc.features import HlocFeatures, HlocGlobals
from foldmap.formats.kapture.features import KaptureFeatures
from foldmap.formats.kapture.scene import read_kapture
from foldmap.formats.naming import naming
from foldmap.visual.scene.join import JoinReport, join_features, join_global_descriptors
from foldmap.visual.scene.noise import require_consistent
from foldmap.visual.source import FeatureSource, SceneModel

HDF5 = {".h5", ".hdf5"}
DATABASE = {".db", ".sqlite"}


def open_features(path: Path, feature: str | None = None) -> HlocFeatures | ColmapDatabase:
    """Open a file of local features, an hloc HDF5 file (.h5) or a COLMAP database (.db); close it after use.

    ``feature`` is the extractor that made it, where the file does not say.
    """
    if not path.is_file():
        raise MapInputError(f"there is no file of features {path}", "check the path, or build the scene again")
    if path.suffix.lower() in HDF5:
        return HlocFeatures(path, feature)
    if path.suffix.lower() in DATABASE:
        return ColmapDatabase(path)
    raise MapInputError(f"{path} is no file of features that foldmap knows", "give hloc's .h5 or COLMAP's .db")


def find_features(scene: Path) -> Path | None:
    """The features that lie beside a model: features.h5, hloc's feats*.h5, or database.db."""
    named = [scene / "features.h5", *sorted(scene.glob("feats*.h5")), scene / "database.db"]
    return next((path for path in named if path.is_file()), None)


def read_scene(
    folder: Path,
    features: Path | None = None,
    *,
    extracted: FeatureSource | None = None,
    global_descriptors: Path | None = None,
    feature: str | None = None,
    metric: bool | None = None,
    report: Callable[[JoinReport], None] = lambda joined: None,
) -> SceneModel:
    """Read a scene with its descriptors.

    Args:
        folder: a scene of ``foldmap build visual``, a COLMAP model (itself, sparse/ or sparse/0/), or kapture.
        features: hloc HDF5 or COLMAP database, of a kapture also its folder ``reconstruction/descriptors/TYPE``; what
            lies beside the model, or in the kapture, where None.
        extracted: features that are computed as they are asked for, instead of a file.
        global_descriptors: hloc HDF5 of one descriptor an image, for retrieval.
        feature: which extractor made the features, where they do not say.
        metric: whether world units are metres; what scene.json says where None, else not.
        report: called once with how features were joined.
    """
    source = extracted
    if (folder / "sensors").is_dir():
        inside = None
        if extracted is None and (features is None or features.is_dir()):
            source = inside = _kapture_features(folder, features)
        with naming(folder):
            scene, index = read_kapture(folder, None if inside is None else inside.keypoints_type)
        scene = scene if metric is None else replace(scene, metric=metric)
    else:
        metric = bool(_said_metric(folder) if metric is None else metric)
        model = read_model_with_keypoints(find_model(folder), metric)
        scene, index = model.scene, model.keypoint_index
    path = features or find_features(folder)
    if source is not None:
        with naming(folder):
            scene = join_features(scene, source, index, report=report)
    elif path is None:
        cure = "give --features (hloc's .h5 or COLMAP's .db), or --photos to extract SIFT again"
        raise MapInputError(f"no features lie beside the model in {folder}", cure)
    else:
        with naming(path), closing(open_features(path, feature)) as opened:
            scene = join_features(scene, opened, index, report=report)
    with naming(folder):
        require_consistent(scene)
    if global_descriptors is None:
        return scene
    with naming(global_descriptors), closing(HlocGlobals(global_descriptors)) as globals_:
        return join_global_descriptors(scene, globals_)


def _kapture_features(folder: Path, features: Path | None) -> KaptureFeatures:
    types = folder / "reconstruction" / "descriptors"
    if features is not None and features.resolve().parent != types.resolve():
        raise MapInputError(f"{features} is no type of descriptors of {folder}", f"name a folder in {types}")
    return KaptureFeatures(folder, None if features is None else features.name)


def _said_metric(folder: Path) -> object:
    """What scene.json of ``foldmap build visual`` says of units; None where there is none."""
    path = folder / "scene.json"
    if not path.is_file():
        return None
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MapInputError(f"{path} cannot be read: {error}", "build the scene again, or remove that file") from error
    return said.get("metric") if isinstance(said, dict) else None
