"""A small scene with descriptors like SIFT's, and every codec that a map may store them with."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from foldmap.coding.additive import AdditiveQuantizer
from foldmap.coding.pq import ProductQuantizer
from foldmap.geometry.camera import Camera
from foldmap.visual.codes.basis import standard_basis
from foldmap.visual.codes.basis_fit import fit_basis
from foldmap.visual.codes.codecs import DescriptorCodec, Product, Raw, Transform
from foldmap.visual.dpq.serialize import LayerShape, StoredLayer
from foldmap.visual.source import SceneModel, Tracks

POINTS, IMAGES = 48, 11


def sift_like(count: int, rng: np.random.Generator) -> np.ndarray:
    """Descriptors uint8 (N, 128) with the statistics of the standard basis."""
    held = standard_basis("sift")
    assert held is not None
    coefficients = rng.laplace(size=(count, held.rank)) * held.spread / 65536 / np.sqrt(2)
    return np.clip(np.rint(512 * (coefficients @ held.vectors.T + held.centre)), 0, 255).astype(np.uint8)


def scene_of(seed: int = 0, names: str = "a/{:03d}.png") -> SceneModel:
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(POINTS, 3)) * [4, 3, 1]
    points[7:10] = points[6]  # several in one place
    seen = np.abs(points[:, :1] / 4 - np.linspace(-1.5, 1.5, IMAGES)) < 0.8
    seen[~seen.any(axis=1), 4] = True
    point, image = np.nonzero(seen)
    poses = np.tile(np.eye(4), (IMAGES, 1, 1))
    turns = np.linspace([0, 0, 0], [0.2, 3.0, 0.4], IMAGES) + rng.normal(size=(IMAGES, 3)) * 0.02
    poses[:, :3, :3] = Rotation.from_rotvec(turns).as_matrix()
    poses[:, :3, 3] = np.linspace([-3, 0, 9], [3, 1, 9], IMAGES) + rng.normal(size=(IMAGES, 3)) * 0.05
    cameras = (
        Camera("OPENCV", 640, 480, np.array([500.0, 501, 320, 240, 0.1, -0.05, 0.001, 0])),
        Camera("SIMPLE_PINHOLE", 320, 240, np.array([300.0, 160, 120])),
    )
    described = sift_like(POINTS, rng)[point].astype(int) + rng.integers(-6, 7, (len(point), 128))
    return SceneModel(
        cameras=cameras,
        image_names=tuple(names.format(k * k) for k in range(IMAGES)),
        image_camera=(np.arange(IMAGES) % 3 == 1).astype(np.int64),
        camera_SE3_world=poses,
        points_world=points,
        tracks=Tracks(
            point.astype(np.int64),
            image.astype(np.int64),
            rng.uniform(0, 300, (len(point), 2)).astype(np.float32),
            np.clip(described, 0, 255).astype(np.uint8),
        ),
    )


def stored_layer(kind: str, rng: np.random.Generator) -> StoredLayer:
    shape = {
        "plain": LayerShape(128, 8, 20, 0, unit=False),
        "deep": LayerShape(128, 4, 30, 24, "identity"),
        "linear": LayerShape(128, 4, 16, 10, "linear"),
        "additive": LayerShape(128, 3, 16, 12, additive=True),
    }[kind]
    tensors = {name: rng.normal(size=size).astype(np.float32) * 0.3 for name, size in shape.tensors().items()}
    return StoredLayer(shape, tensors)


def codec_of(kind: str, means: np.ndarray) -> DescriptorCodec:
    rng = np.random.default_rng(5)
    standard = standard_basis("sift")
    assert standard is not None
    if kind == "standard":
        return Transform(standard, 0.1, standard=True)
    if kind == "fine":
        return Transform(standard, 0.006, standard=True)
    if kind == "own":
        return Transform(fit_basis(means, 12, feature="sift"), 0.05, standard=False)
    if kind == "raw":
        return Raw(128, -0.01, 0.4)
    if kind == "opq":
        return Product(StoredLayer.of_quantizer(ProductQuantizer.fit(means, 8, 16, seed=0, rotate=True)), "half")
    if kind == "sums":
        return Product(StoredLayer.of_quantizer(AdditiveQuantizer.fit(means, 2, 16, seed=0)), "int4")
    kind, precision = kind.split()
    return Product(stored_layer(kind, rng), precision, "dpqed")
