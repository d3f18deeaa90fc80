"""Structure from motion on a scratch database of verified matches, and what came out of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np

from foldmap.errors import MapInputError
from foldmap.geometry.quaternion import centres_of
from foldmap.types import ByteArray, DoubleArray
from foldmap.visual.scene.colmap_library import ColmapRun

_MORE = "take more photos with more overlap and texture, match exhaustively, or raise --max-keypoints"


@dataclass(frozen=True)
class BuiltScene:
    """What was built: names of all photos, of those with a pose (``registered``), and why some could not be read.

    Counted are the pairs that were matched, points and their observations. Points are float64 (P, 3) with RGB colours
    uint8 (P, 3), ``centres_world`` (I, 3) where the registered images were taken; metres where ``metric``.
    """

    feature: str
    images: tuple[str, ...]
    registered: tuple[str, ...]
    pairs: int
    points: int
    observations: int
    mean_reprojection_error_px: float
    metric: bool
    points_world: DoubleArray
    colours: ByteArray
    centres_world: DoubleArray
    unreadable: Mapping[str, str] = field(default_factory=dict)
    # images that were read, and cameras they share, by where their intrinsics are from: "given", "exif", "guessed"
    cameras: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def left_out(self) -> tuple[str, ...]:
        """Photos that found no place in the scene."""
        placed = set(self.registered)
        return tuple(name for name in self.images if name not in placed)


def map_incrementally(run: ColmapRun, fixed_camera: bool, step: Callable[[int], None]) -> Any:
    """Find poses and points from verified matches; the largest model that was found.

    ``step`` is told how many images are placed; intrinsics stay as they are where ``fixed_camera``. Raises
    `MapInputError`: no model was found.
    """
    options = _options(run)
    options.min_model_size = 2
    options.ba_refine_focal_length = options.ba_refine_extra_params = not fixed_camera
    options.mapper.abs_pose_refine_focal_length = options.mapper.abs_pose_refine_extra_params = not fixed_camera
    models = run.scratch / "models"
    models.mkdir()
    placed = count(1)
    found = run.pycolmap.incremental_mapping(
        run.database, run.photos, models, options=options, next_image_callback=lambda: step(next(placed))
    )
    best = max(found.values(), key=lambda model: (model.num_reg_images(), model.num_points3D()), default=None)
    if best is None or best.num_points3D() == 0:
        raise MapInputError("no two photos overlap well enough to start a scene", _MORE)
    return best


def triangulate(run: ColmapRun, camera_SE3_world: Mapping[str, DoubleArray]) -> Any:
    """Find points where poses and intrinsics are known; both stay. `MapInputError` where no point was found."""
    origin = _origin(list(camera_SE3_world.values()))
    posed = run.pycolmap.Reconstruction()
    with run.opened() as opened:
        for camera in opened.read_all_cameras():
            posed.add_camera_with_trivial_rig(camera)
        for image in opened.read_all_images():
            keypoints = np.asarray(opened.read_keypoints(image.image_id), dtype=np.float64)[:, :2]
            ids = {"camera_id": image.camera_id, "image_id": image.image_id}
            fresh = run.pycolmap.Image(name=image.name, keypoints=keypoints, **ids)
            local = np.array(camera_SE3_world[image.name][:3], dtype=np.float64)
            local[:, 3] += local[:, :3] @ origin
            posed.add_image_with_trivial_frame(fresh, run.pycolmap.Rigid3d(local))
    models = run.scratch / "triangulated"
    models.mkdir()
    model = run.pycolmap.triangulate_points(posed, run.database, run.photos, models, options=_options(run))
    if model.num_points3D() == 0:
        raise MapInputError(
            "the known poses explain no matches",
            "check that poses are camera_SE3_world (hloc, COLMAP) or world_SE3_camera (TUM, 7-Scenes), and the camera",
        )
    if origin.any():
        model.transform(run.pycolmap.Sim3d(1.0, run.pycolmap.Rotation3d(), origin))
    return model


def _origin(camera_SE3_world: Sequence[DoubleArray]) -> DoubleArray:
    """Where the cameras stand, zero where that is near: COLMAP squares coordinates, and loses those of UTM or ECEF."""
    centres = centres_of(np.stack(camera_SE3_world))
    middle = np.rint(np.median(centres, axis=0))
    near = np.abs(middle).max() < 16.0 * max(float(np.ptp(centres, axis=0).max()), 1.0)
    return np.asarray(np.zeros(3) if near else middle)


def statistics(
    model: Any,
    images: Sequence[str],
    feature: str,
    metric: bool,
    pairs: int,
    unreadable: Mapping[str, str],
    cameras: Mapping[str, tuple[int, int]],
) -> BuiltScene:
    """Sum up a pycolmap reconstruction."""
    model.update_point_3d_errors()
    ids = sorted(model.points3D)
    placed = sorted((model.images[image].name, image) for image in model.reg_image_ids())
    return BuiltScene(
        feature=feature,
        images=tuple(images),
        registered=tuple(name for name, _ in placed),
        pairs=pairs,
        points=len(ids),
        observations=int(model.compute_num_observations()),
        mean_reprojection_error_px=float(model.compute_mean_reprojection_error()),
        metric=metric,
        points_world=np.array([model.points3D[point].xyz for point in ids]).reshape(-1, 3),
        colours=np.array([model.points3D[point].color for point in ids], dtype=np.uint8).reshape(-1, 3),
        centres_world=np.array([model.images[image].projection_center() for _, image in placed]).reshape(-1, 3),
        unreadable=unreadable,
        cameras=cameras,
    )


def _options(run: ColmapRun) -> Any:
    options = run.pycolmap.IncrementalPipelineOptions()
    options.random_seed = options.mapper.random_seed = options.triangulation.random_seed = run.seed
    options.num_threads = options.mapper.num_threads = run.mapping_threads
    return options
