"""The scratch database that pycolmap maps from: cameras, images, features, verified matches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from foldmap.geometry.camera import Camera
from foldmap.types import AnyArray, FloatArray, IntArray
from foldmap.visual.scene.pair_lists import Pair
from foldmap.visual.source import Features, unit_descriptors

_PAIRS_A_CALL = 400
_ROWS = 2048
_MAX_ERROR_PX = 4.0

Step = Callable[[int, int], None]


def write_camera(database: Any, pycolmap: Any, camera: Any, camera_id: int) -> None:
    """Write a pycolmap camera under an id, as a rig of its own."""
    camera.camera_id = camera_id
    database.write_camera(camera, use_camera_id=True)
    rig = pycolmap.Rig()
    rig.rig_id = camera_id
    rig.add_ref_sensor(camera.sensor_id)
    database.write_rig(rig, use_rig_id=True)


def write_image(database: Any, pycolmap: Any, image_id: int, name: str, camera_id: int, features: Features) -> None:
    """Write an image as a frame of its own, with its features; networks' descriptors as bytes of float16."""
    image = pycolmap.Image(name=name, keypoints=np.zeros((0, 2)), camera_id=camera_id, image_id=image_id)
    database.write_image(image, use_image_id=True)
    frame = pycolmap.Frame()
    frame.frame_id, frame.rig_id = image_id, camera_id
    frame.add_data_id(image.data_id)
    database.write_frame(frame, use_frame_id=True)
    database.write_keypoints(image_id, np.ascontiguousarray(features.xy_px, dtype=np.float32))
    kinds = pycolmap.FeatureExtractorType
    if features.descriptors.dtype == np.uint8:
        kind, data = kinds.SIFT, features.descriptors
    else:
        kind, data = kinds.UNDEFINED, np.ascontiguousarray(features.descriptors, dtype=np.float16).view(np.uint8)
    database.write_descriptors(image_id, pycolmap.FeatureDescriptors(kind, data))


def colmap_camera(pycolmap: Any, camera: Camera) -> Any:
    """A camera with given intrinsics, as pycolmap's."""
    size = {"width": camera.width_px, "height": camera.height_px}
    return pycolmap.Camera(model=camera.model, **size, params=camera.params.tolist(), has_prior_focal_length=True)


def _two_view_options(pycolmap: Any, seed: int) -> Any:
    """How matches of two images are verified."""
    options = pycolmap.TwoViewGeometryOptions()
    options.ransac.max_error, options.ransac.random_seed = _MAX_ERROR_PX, seed
    return options


def match_sift(pycolmap: Any, path: Path, pairs: Sequence[Pair], seed: int, threads: int, step: Step) -> None:
    """Match SIFT by ratio and mutual nearest neighbours in COLMAP and verify the geometry of each pair."""
    options = pycolmap.FeatureMatchingOptions()
    options.use_gpu, options.num_threads = False, threads
    listing = path.with_suffix(".pairs.txt")
    for first in range(0, len(pairs), _PAIRS_A_CALL):
        some = pairs[first : first + _PAIRS_A_CALL]
        # COLMAP splits its list at spaces, so images carry numbers as names until they are mapped
        listing.write_text("".join(f"{stand_in(a)} {stand_in(b)}\n" for a, b in some), encoding="utf-8")
        pairing = pycolmap.ImportedPairingOptions()
        pairing.match_list_path = str(listing)
        pycolmap.match_image_pairs(
            path,
            matching_options=options,
            pairing_options=pairing,
            verification_options=_two_view_options(pycolmap, seed),
            device=pycolmap.Device.cpu,
        )
        step(first + len(some), len(pairs))


def stand_in(index: int) -> str:
    """The name of an image while pairs are listed."""
    return f"image{index + 1}"


def match_learned(
    pycolmap: Any, path: Path, pairs: Sequence[Pair], max_ratio: float, seed: int, threads: int, step: Step
) -> None:
    """Match networks' descriptors by mutual nearest neighbours and verify the geometry of each pair in COLMAP."""
    kept: dict[int, FloatArray] = {}
    with pycolmap.Database.open(path) as database:
        for done, (first, second) in enumerate(pairs, start=1):
            for gone in [index for index in kept if index < first]:  # pairs are sorted: never asked for again
                del kept[gone]
            one, other = (_described(database, kept, index) for index in (first, second))
            matches = mutual_matches(one, other, max_ratio)
            database.write_matches(first + 1, second + 1, matches.astype(np.uint32))
            step(done, len(pairs))
    verifier = pycolmap.GeometricVerifierOptions()
    verifier.num_threads = threads
    options = _two_view_options(pycolmap, seed)
    pycolmap.geometric_verification(path, verifier_options=verifier, two_view_geometry_options=options)


def _described(database: Any, kept: dict[int, FloatArray], index: int) -> FloatArray:
    if index not in kept:
        data: AnyArray = np.ascontiguousarray(database.read_descriptors(index + 1).data)
        kept[index] = unit_descriptors(data.view(np.float16))
    return kept[index]


def mutual_matches(one: FloatArray, other: FloatArray, max_ratio: float = 1.0) -> IntArray:
    """Pairs of unit rows (N, D) and (M, D) that are each other's nearest: int64 (K, 2), ascending in the first column.

    The distance to the nearest of ``other`` over that to the second nearest must be below ``max_ratio``; 1 for no such
    test.
    """
    if not len(one) or not len(other):
        return np.zeros((0, 2), np.int64)
    nearest, second = np.zeros(len(one), np.int64), np.full(len(one), -np.inf)
    best = np.zeros(len(one))
    back, back_best = np.zeros(len(other), np.int64), np.full(len(other), -np.inf)
    for first in range(0, len(one), _ROWS):
        rows = slice(first, first + _ROWS)
        cosine = one[rows] @ other.T
        ahead = cosine.argmax(axis=0)
        highest = cosine[ahead, np.arange(len(other))]
        better = highest > back_best
        back[better], back_best[better] = ahead[better] + first, highest[better]
        nearest[rows] = cosine.argmax(axis=1)
        best[rows] = cosine[np.arange(len(cosine)), nearest[rows]]
        if len(other) > 1:
            cosine[np.arange(len(cosine)), nearest[rows]] = -np.inf
            second[rows] = cosine.max(axis=1)
    own = np.arange(len(one))
    kept = back[nearest] == own
    if max_ratio < 1:
        # squared distances of unit vectors are 2 - 2 cos
        kept &= (1 - best) < max_ratio**2 * (1 - second)
    return np.stack([own[kept], nearest[kept]], axis=1)
