"""How noisy a scene's keypoints are: its reprojection errors."""

from __future__ import annotations

import numpy as np

from foldmap.types import DoubleArray
from foldmap.visual.source import SceneModel

_ROWS_AT_ONCE = 1 << 18
LEAST_NOISE_PX = 0.05


def reprojection_errors_px(scene: SceneModel) -> DoubleArray:
    """Where each observation is minus where its point projects, float64 (O, 2) px; NaN behind the camera."""
    tracks = scene.tracks
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
    lengths = np.linalg.norm(reprojection_errors_px(scene), axis=1)
    lengths = lengths[np.isfinite(lengths)]
    if not len(lengths):
        return LEAST_NOISE_PX
    # the length of a 2D normal error has its median at sqrt(2 ln 2) standard deviations
    return max(LEAST_NOISE_PX, float(np.median(lengths) / np.sqrt(2.0 * np.log(2.0))))
