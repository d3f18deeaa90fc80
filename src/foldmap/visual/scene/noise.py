"""How noisy a scene's keypoints are: its reprojection errors."""

import numpy as np

from foldmap.errors import MapInputError
from foldmap.types import DoubleArray
from foldmap.visual.source import SceneModel, Tracks

_ROWS_AT_ONCE = 1 << 18
_LEAST_NOISE_PX = 0.05
_FAR = 0.01  # share of the image's diagonal: COLMAP keeps 4 px at most, and most of what it keeps within 1 px
_OUTSIDE, _RIM_PX = 0.02, 1.0  # share of the observations that may lie outside of their image, by how much
_CHECKED_ROWS = 1 << 17
_LEAST_ROWS = 30  # observations of a camera that is judged by itself


def reprojection_errors_px(scene: SceneModel, tracks: Tracks) -> DoubleArray:
    """Where observations of a scene are minus where their points project, float64 (O, 2) px; NaN behind the camera."""
    errors = np.full((len(tracks), 2), np.nan)
    for number, camera in enumerate(scene.cameras):
        rows = np.flatnonzero(scene.image_camera[tracks.image] == number)
        for begin in range(0, len(rows), _ROWS_AT_ONCE):
            some = rows[begin : begin + _ROWS_AT_ONCE]
            pose = scene.camera_SE3_world[tracks.image[some]]
            points = np.einsum("oab,ob->oa", pose[:, :3, :3], scene.points_world[tracks.point[some]]) + pose[:, :3, 3]
            errors[some] = tracks.xy_px[some] - camera.project(points)
    return errors


def reprojection_noise_px(scene: SceneModel) -> float:
    """Robust standard deviation of reprojection errors in one direction, from the median of their lengths.

    Not below 0.05 px, so that exact (generated) scenes have a scale too.
    """
    lengths = np.linalg.norm(reprojection_errors_px(scene, scene.tracks), axis=1)
    lengths = lengths[np.isfinite(lengths)]
    if not len(lengths):
        return _LEAST_NOISE_PX
    # the length of a 2D normal error has its median at sqrt(2 ln 2) standard deviations
    return max(_LEAST_NOISE_PX, float(np.median(lengths) / np.sqrt(2.0 * np.log(2.0))))


def require_consistent(scene: SceneModel) -> None:
    """Refuse a scene whose points do not appear where its images see them, whatever poses and cameras say.

    Poses in the other direction, quaternions in another order, focal lengths in millimetres and images of another size
    all give scenes that look like ones. Raises `MapInputError`: most observations, of all or of one camera, are farther
    from their points than `_FAR` of the image, or behind the camera; or more than `_OUTSIDE` of them lie outside of
    their image.
    """
    if not len(scene.tracks):
        return
    some = scene.tracks.take(np.arange(0, len(scene.tracks), -(-len(scene.tracks) // _CHECKED_ROWS)))
    lengths = np.linalg.norm(reprojection_errors_px(scene, some), axis=1)
    diagonal_px = np.array([camera.diagonal_px for camera in scene.cameras])[scene.image_camera[some.image]]
    off, camera = ~(lengths <= _FAR * diagonal_px), scene.image_camera[some.image]
    by_camera = np.argsort(camera, kind="stable")
    each = np.split(by_camera, np.flatnonzero(np.diff(camera[by_camera])) + 1)
    for its in (by_camera, *each):  # of several cameras one may be wrong alone
        if len(its) < min(_LEAST_ROWS, len(camera)) or 2 * int(off[its].sum()) <= len(its):
            continue
        behind, named = float(np.isnan(lengths[its]).mean()), ""
        if len(its) < len(camera):
            named = f" of the camera of {scene.image_names[some.image[its[0]]]}"
        median_px = float(np.median(np.where(np.isnan(lengths[its]), np.inf, lengths[its])))
        raise MapInputError(
            f"the points are not where the images see them: {100 * off[its].mean():.0f} % of the observations{named} "
            f"are off, {100 * behind:.0f} % lie behind their camera (median {median_px:.4g} px)",
            "give poses from world to camera with quaternions qw qx qy qz, and the cameras of these images in px",
        )
    sizes_px = np.array([(camera.width_px, camera.height_px) for camera in scene.cameras])
    beyond_px = np.maximum(-some.xy_px, some.xy_px - sizes_px[scene.image_camera[some.image]]).max(axis=1)
    if (beyond_px > _RIM_PX).mean() > _OUTSIDE:
        width, height = sizes_px[scene.image_camera[some.image[int(beyond_px.argmax())]]]
        raise MapInputError(
            f"{100 * (beyond_px > _RIM_PX).mean():.0f} % of the observations lie outside of their images, such as of "
            f"{width} x {height} px",
            "give the cameras of the images that the keypoints were extracted from",
        )
