"""Points of a scene fitted anew to what images see of them: where they would lie had others never been taken."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from foldmap.types import BoolArray, DoubleArray
from foldmap.visual.source import SceneModel

_STEPS = 5
_CAUCHY_PX = 1.0
_LEAST_DEPTH = 1e-9
_DAMPING = 1e-6
"""Of a point's information, so that one that two rays from one place see stays where it is."""


def refitted(scene: SceneModel, chosen: BoolArray) -> DoubleArray:
    """Points (P, 3), those that are chosen (P,) fitted to their observations at the scene's poses, the others as given.

    Gauss-Newton from where they are, with Cauchy's loss.
    """
    points: DoubleArray = scene.points_world.copy()
    if chosen.any():
        some = scene.keep_points(chosen)
        seen = _Seen(some)
        for _ in range(_STEPS):
            residual_px, jacobian = seen.at(some.points_world)
            weight = 1.0 / (1.0 + (residual_px**2).sum(1) / _CAUCHY_PX**2)
            normal = seen.summed(np.einsum("o,oki,okj->oij", weight, jacobian, jacobian))
            right = seen.summed(np.einsum("o,oki,ok->oi", weight, jacobian, residual_px))
            damping = _DAMPING * np.trace(normal, axis1=1, axis2=2) + 1e-300
            normal = np.asarray(normal + damping[:, None, None] * np.eye(3), np.float64)
            moved: DoubleArray = np.asarray(np.linalg.solve(normal, right[..., None])[..., 0], np.float64)
            some = replace(some, points_world=some.points_world + moved)
        points[chosen] = some.points_world
    return points


def least_information(scene: SceneModel) -> DoubleArray:
    """How well each point is known in the direction that it is known worst in: px^2 per world unit^2, (P,)."""
    seen = _Seen(scene)
    _, jacobian = seen.at(scene.points_world)
    information = seen.summed(np.einsum("oki,okj->oij", jacobian, jacobian))
    return np.maximum(np.asarray(np.linalg.eigvalsh(information)[:, 0], np.float64), 0.0)


class _Seen:
    """A scene's observations without their lenses: places on the plane at depth 1, and pixels a unit there."""

    def __init__(self, scene: SceneModel) -> None:
        tracks = scene.tracks
        camera = scene.image_camera[tracks.image]
        self._point, self._first = tracks.point, scene.track_first[:-1]
        self._pose = scene.camera_SE3_world[tracks.image]
        self._focal_px = np.array([one.focal_px for one in scene.cameras])[camera]
        self._xy = np.empty((len(tracks), 2))
        for number, one in enumerate(scene.cameras):
            rows = camera == number
            self._xy[rows] = one.unproject(tracks.xy_px[rows])[:, :2]

    def at(self, points_world: DoubleArray) -> tuple[DoubleArray, DoubleArray]:
        """Residuals (O, 2) in px and their change with the points (O, 2, 3); nothing of points behind a camera."""
        rotation = self._pose[:, :3, :3]
        local = np.einsum("oab,ob->oa", rotation, points_world[self._point]) + self._pose[:, :3, 3]
        ahead = local[:, 2] > _LEAST_DEPTH
        depth = np.where(ahead, local[:, 2], 1.0)
        seen = local[:, :2] / depth[:, None]
        scale = np.where(ahead, 1.0, 0.0)[:, None] * self._focal_px
        jacobian = np.zeros((len(depth), 2, 3))
        jacobian[:, (0, 1), (0, 1)] = scale / depth[:, None]
        jacobian[:, :, 2] = -scale * seen / depth[:, None]
        return (self._xy - seen) * scale, jacobian @ rotation

    def summed(self, each: DoubleArray) -> DoubleArray:
        """Sums over each point's observations."""
        return np.add.reduceat(each, self._first, axis=0)
