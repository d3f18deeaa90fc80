"""The scratch database that pycolmap maps from: cameras, images, features, verified matches."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from foldmap.geometry.camera import Camera
from foldmap.types import AnyArray, FloatArray, IntArray
from foldmap.visual.scene.colmap_library import ColmapRun
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


def write_image(database: Any, pycolmap: Any, image_id: int, camera_id: int, features: Features) -> None:
    """Write an image as a frame of its own, with its features; networks' descriptors as bytes of float16."""
    name = stand_in(image_id - 1)
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


def stand_in(index: int) -> str:
    """The name of an image while pairs are listed: COLMAP splits its list at spaces."""
    return f"image{index + 1}"


def match_sift(run: ColmapRun, pairs: Sequence[Pair], step: Step) -> None:
    """Match SIFT by ratio and mutual nearest neighbours in COLMAP and verify the geometry of each pair."""
    pycolmap = run.pycolmap
    options, pairing = pycolmap.FeatureMatchingOptions(), pycolmap.ImportedPairingOptions()
    options.use_gpu, options.num_threads = False, run.threads
    listing = run.scratch / "pairs.txt"
    pairing.match_list_path = str(listing)
    for first in range(0, len(pairs), _PAIRS_A_CALL):
        some = pairs[first : first + _PAIRS_A_CALL]
        listing.write_text("".join(f"{stand_in(a)} {stand_in(b)}\n" for a, b in some), encoding="utf-8")
        pycolmap.match_image_pairs(
            run.database,
            matching_options=options,
            pairing_options=pairing,
            verification_options=_two_view_options(run),
            device=pycolmap.Device.cpu,
        )
        step(first + len(some), len(pairs))


def match_learned(run: ColmapRun, pairs: Sequence[Pair], max_ratio: float, step: Step) -> None:
    """Match networks' descriptors by mutual nearest neighbours and verify the geometry of each pair in COLMAP."""
    kept: dict[int, FloatArray] = {}
    with run.opened() as database:
        for done, pair in enumerate(pairs, start=1):
            for gone in [index for index in kept if index < pair[0]]:  # pairs are sorted: never asked for again
                del kept[gone]
            for index in pair:
                if index not in kept:
                    data: AnyArray = np.ascontiguousarray(database.read_descriptors(index + 1).data)
                    kept[index] = unit_descriptors(data.view(np.float16))
            matches = mutual_matches(kept[pair[0]], kept[pair[1]], max_ratio)
            database.write_matches(pair[0] + 1, pair[1] + 1, matches.astype(np.uint32))
            step(done, len(pairs))
    verifier = run.pycolmap.GeometricVerifierOptions()
    verifier.num_threads = run.threads
    run.pycolmap.geometric_verification(
        run.database, verifier_options=verifier, two_view_geometry_options=_two_view_options(run)
    )


def _two_view_options(run: ColmapRun) -> Any:
    """How matches of two images are verified."""
    options = run.pycolmap.TwoViewGeometryOptions()
    options.ransac.max_error, options.ransac.random_seed = _MAX_ERROR_PX, run.seed
    return options


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
