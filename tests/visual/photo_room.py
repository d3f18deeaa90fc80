"""The corner of a textured room, photographed: three planes, drawn by ray casting, with known poses."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter, map_coordinates

SIZE_PX = (320, 240)
FOCAL_PX = 300.0
CAMERA = f"PINHOLE,{FOCAL_PX},{FOCAL_PX},{SIZE_PX[0] / 2},{SIZE_PX[1] / 2}"
_PX_A_UNIT = 60
_SIDE = 6.0


@cache
def textures() -> tuple[np.ndarray, ...]:
    """Blobs of several sizes, one picture a plane."""
    rng = np.random.default_rng(3)
    side = int(_SIDE * _PX_A_UNIT)
    made = []
    for _ in range(3):
        layers = [gaussian_filter(rng.standard_normal((side, side)), sigma) for sigma in (1.2, 2.5, 5, 12)]
        total = sum(layer / layer.std() for layer in layers)
        made.append(np.clip(127 + 38 * total, 0, 255))
    return tuple(made)


def look(centre: np.ndarray, target: np.ndarray) -> np.ndarray:
    """camera_SE3_world (4, 4) of a camera at ``centre`` that looks at ``target``, upright."""
    ahead = (target - centre) / np.linalg.norm(target - centre)
    right = np.cross(ahead, [0, 0, 1.0])
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(ahead, right), ahead])
    pose[:3, 3] = -pose[:3, :3] @ centre
    return pose


def poses(count: int) -> dict[str, np.ndarray]:
    """Names and camera_SE3_world along an arc around the corner at the origin; names are neither plain nor ASCII."""
    angles = np.radians(np.linspace(22, 68, count))
    centres = [np.array([3.6 * np.cos(a), 3.6 * np.sin(a), 1.3 + 0.5 * np.sin(3 * a)]) for a in angles]
    aim = [np.array([0.5, 0.5, 0.7 + 0.1 * (n % 3)]) for n in range(count)]
    return {f"süd/photo {n:02}.png": look(c, a) for n, (c, a) in enumerate(zip(centres, aim, strict=True))}


def distance_to_room(points_world: np.ndarray) -> np.ndarray:
    """To the nearest of the planes x = 0, y = 0, z = 0."""
    return np.abs(points_world).min(axis=1)


def photograph(camera_SE3_world: np.ndarray) -> np.ndarray:
    """What the camera sees, uint8 (H, W)."""
    width, height = SIZE_PX
    cols, rows = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    rays = np.stack([(cols - width / 2) / FOCAL_PX, (rows - height / 2) / FOCAL_PX, np.ones_like(cols)], axis=-1)
    rotation = camera_SE3_world[:3, :3]
    centre = -rotation.T @ camera_SE3_world[:3, 3]
    rays = rays @ rotation
    with np.errstate(divide="ignore"):
        reach = np.where(rays < 0, -centre / rays, np.inf)
    plane = reach.argmin(axis=-1)
    hits = centre + rays * reach.min(axis=-1)[..., None]
    picture = np.zeros((height, width))
    for axis in range(3):
        mine = plane == axis
        where = np.delete(hits[mine], axis, axis=1).T * _PX_A_UNIT - 0.5
        picture[mine] = map_coordinates(textures()[axis], where, order=1, mode="reflect")
    return np.round(picture).astype(np.uint8)


def write_photos(folder: Path, count: int) -> dict[str, np.ndarray]:
    """Write photos below a folder; their true camera_SE3_world by name."""
    true = poses(count)
    for name, pose in true.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photograph(pose)).save(path)
    return true


def align(found: np.ndarray, true: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Scale, rotation and shift of the similarity (Umeyama 1991) that brings (N, 3) ``found`` onto ``true``."""
    middle, goal = found.mean(axis=0), true.mean(axis=0)
    left, spread, right = np.linalg.svd((true - goal).T @ (found - middle))
    sign = np.array([1, 1, np.sign(np.linalg.det(left @ right))])
    rotation = left @ np.diag(sign) @ right
    scale = (spread * sign).sum() / ((found - middle) ** 2).sum()
    return float(scale), rotation, goal - scale * rotation @ middle
