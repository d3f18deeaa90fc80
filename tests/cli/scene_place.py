"""A generated scene on disk: points on the walls of a room, photographed all around; a COLMAP model with features."""

from pathlib import Path

import numpy as np

from colmap_writer import write_model
from foldmap.formats.hloc.features import HlocFeatureWriter
from foldmap.geometry.camera import Camera
from foldmap.visual.codes.basis import basis_named
from foldmap.visual.source import Features, SceneModel, Tracks

POINTS, IMAGES = 900, 24
NOISE_PX = 0.5


def room_scene(seed: int = 0, dimension: int = 128) -> SceneModel:
    """Points in the corner of a room, cameras on an arc before it; each sees four points of five.

    With 128 numbers, descriptors are like SIFT's; else they are drawn at random.
    """
    rng = np.random.default_rng(seed)
    points = rng.uniform(0.0, 4.0, (POINTS, 3))
    points[np.arange(POINTS), rng.integers(0, 3, POINTS)] = 0.0
    camera = Camera("PINHOLE", 640, 480, np.array([450.0, 450.0, 320.0, 240.0]))
    poses = np.stack([_looking_in(angle) for angle in np.linspace(0.3, 1.27, IMAGES)])
    looks = _looks(rng, dimension)
    rows = []
    for image, pose in enumerate(poses):
        xy_px = camera.project(points @ pose[:3, :3].T + pose[:3, 3]) + rng.normal(0, NOISE_PX, (POINTS, 2))
        inside = ((xy_px > 0) & (xy_px < [640, 480])).all(axis=1) & (rng.random(POINTS) < 0.8)
        rows += [(point, image, *xy_px[point]) for point in np.flatnonzero(inside)]
    table = np.array(sorted(rows))
    used, point = np.unique(table[:, 0].astype(np.int64), return_inverse=True)
    seen = looks[used][point] + rng.normal(0, 0.25 / np.sqrt(dimension), (len(table), dimension))
    seen /= np.linalg.norm(seen, axis=1, keepdims=True)
    stored = np.clip(np.rint(seen * 512), 0, 255).astype(np.uint8) if dimension == 128 else seen.astype(np.float32)
    tracks = Tracks(point.astype(np.int64), table[:, 1].astype(np.int64), table[:, 2:].astype(np.float32), stored)
    return SceneModel(
        cameras=(camera,),
        image_names=tuple(f"photo {image:02}.jpg" for image in range(IMAGES)),
        image_camera=np.zeros(IMAGES, np.int64),
        camera_SE3_world=poses,
        points_world=points[used],
        tracks=tracks,
    )


def write_scene(scene: SceneModel, folder: Path, feature: str = "sift") -> None:
    """As ``foldmap build visual`` lays it out: sparse/ and features.h5."""
    write_model(scene, folder / "sparse")
    with HlocFeatureWriter(folder / "features.h5", feature) as sink:
        for image, name in enumerate(scene.image_names):
            rows = scene.tracks.image == image
            assert scene.tracks.descriptors is not None
            sink.add(name, Features(scene.tracks.xy_px[rows], scene.tracks.descriptors[rows]))


def _looks(rng: np.random.Generator, dimension: int) -> np.ndarray:
    if dimension == 128:
        basis = basis_named("sift-1")
        spread = basis.spread / 65536
        looks = basis.centre + (rng.normal(size=(POINTS, basis.rank)) * spread) @ basis.vectors.T
        looks = np.maximum(looks, 0.0)
    else:
        looks = rng.normal(size=(POINTS, dimension))
    unit: np.ndarray = looks / np.linalg.norm(looks, axis=1, keepdims=True)
    return unit


def _looking_in(angle: float) -> np.ndarray:
    """camera_SE3_world from an arc at 7 units, towards the corner, upright."""
    centre = np.array([7.0 * np.cos(angle), 7.0 * np.sin(angle), 2.0 + 0.5 * np.sin(5 * angle)])
    ahead = np.array([1.2, 1.2, 1.5]) - centre
    ahead /= np.linalg.norm(ahead)
    right = np.cross(ahead, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(ahead, right), ahead])
    pose[:3, 3] = -pose[:3, :3] @ centre
    return pose
