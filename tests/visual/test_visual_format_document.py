"""A second reader, written from docs/visual-codes.md alone, must agree with the package on files and streams."""

from __future__ import annotations

import hashlib
import re
import struct
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coefficient_reader import read_basis, read_transform
from range_reader import SQUASH, STRETCH, read_integers
from retrieval_reader import describe, read_globals, read_tiles_seen, turn_back
from scipy.spatial.transform import Rotation
from visual_reader import PARAMETERS, read_images, read_positions, read_tile, read_visibility

from foldmap.atlas import FoldFile, FoldWriter
from foldmap.coding import integers
from foldmap.coding.additive import AdditiveQuantizer
from foldmap.coding.pq import ProductQuantizer
from foldmap.geometry.camera import CAMERA_MODELS, Camera
from foldmap.visual import points_codec, poses_codec, visibility_codec
from foldmap.visual.average import track_means
from foldmap.visual.basis import Basis, standard_basis
from foldmap.visual.codecs import DescriptorCodec, Product, Raw, Transform
from foldmap.visual.coefficient_coder import Curvature
from foldmap.visual.fold import VisualPlan, fold_scene
from foldmap.visual.global_codec import GlobalCodec, decode_globals
from foldmap.visual.serialize import LayerShape, StoredLayer
from foldmap.visual.source import SceneModel, Tracks
from foldmap.visual.transform import TransformCodec
from foldmap.visual.turn import turn_back as packages_turn_back
from foldmap.visual.unfold import FoldedVisual
from foldmap.visual.vlad import Vlad
from second_reader import read

DOCS = Path(__file__).resolve().parents[2] / "docs"
DOCUMENT = (DOCS / "visual-codes.md").read_text()
STANDARD = (Path(str(resources.files("foldmap.visual"))) / "weights" / "sift-1.safetensors").read_bytes()
EXAMPLES = [bytes.fromhex(text) for text in re.findall(r"```\n([0-9a-f]+)\n```", DOCUMENT)]
POINTS, IMAGES = 48, 11


def sift_like(count: int, rng: np.random.Generator) -> np.ndarray:
    """Descriptors uint8 (N, 128) with the statistics of the standard basis."""
    basis = standard_basis("sift")
    assert basis is not None
    coefficients = rng.laplace(size=(count, basis.rank)) * basis.spread / 65536 / np.sqrt(2)
    return np.clip(np.rint(512 * (coefficients @ basis.vectors.T + basis.centre)), 0, 255).astype(np.uint8)


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
        return Transform(Basis.fit(means, 12, feature="sift"), 0.05, standard=False)
    if kind == "raw":
        return Raw(128, -0.01, 0.4)
    if kind == "opq":
        return Product(StoredLayer.of_quantizer(ProductQuantizer.fit(means, 8, 16, seed=0, rotate=True)), "half")
    if kind == "sums":
        return Product(StoredLayer.of_quantizer(AdditiveQuantizer.fit(means, 2, 16, seed=0)), "int4")
    kind, precision = kind.split()
    return Product(stored_layer(kind, rng), precision, "dpqed")


CODECS = ["standard", "fine", "own", "raw", "opq", "sums", "plain int8", "deep int4", "linear int8", "additive half"]


@pytest.mark.parametrize("kind", CODECS)
def test_the_second_reader_agrees(kind: str, tmp_path: Path) -> None:
    scene, path = scene_of(), tmp_path / "a.fold"
    means = track_means(scene)
    plan = VisualPlan(np.arange(POINTS), codec_of(kind, means), images=True, group=3, tile_points=20, error_px=40.0)
    with FoldWriter(path) as writer:
        fold_scene(scene, means, writer, plan)
        writer.commit()
    found = read(path)  # from docs/format.md, sections 1 to 4
    ((name, layer_kind, parameters),) = found["layers"]
    tiles, models = found["tiles"][name], found["models"][name]
    assert (name, layer_kind) == ("visual", "visual")
    assert parameters["retrieval"] == "vlad"
    basis = STANDARD if parameters.get("basis") == "sift-1" else models.get("codec", (None, None))[1]
    groups = -(-parameters["images"] // parameters["group"])
    with FoldFile.open(path) as file:
        folded = FoldedVisual(file)
        total, sees = 0, []
        for number in range(parameters["tiles"]):
            ours, theirs = folded.tile(number), read_tile(tiles[number, 0], parameters, basis, groups)
            assert ours.points_world.tobytes() == theirs[0].tobytes()
            np.testing.assert_allclose(ours.descriptors, theirs[1], rtol=0, atol=1e-6)
            np.testing.assert_array_equal(ours.visible, theirs[2])
            sees.append(theirs[2].any(axis=0))
            total += len(theirs[0])
        assert total == parameters["points"] == POINTS
        assert len(sees) == 4
        np.testing.assert_array_equal(read_tiles_seen(tiles[1, 1], len(sees), groups), sees)
        same_images(folded.images(), read_images(tiles[0, 1]))
        assert len(tiles) == len(sees) + 3
        retriever = folded.retriever()
        np.testing.assert_allclose(retriever.index.descriptors, read_globals(tiles[0, 2]), rtol=0, atol=1e-6)
        query = sift_like(30, np.random.default_rng(9))
        vlad = Vlad.from_bytes(models["vlad"][1])
        np.testing.assert_allclose(vlad.describe(query), describe(models["vlad"][1], query), rtol=0, atol=1e-6)


def same_images(ours: poses_codec.MapImages, theirs: tuple[Any, ...]) -> None:
    cameras, numbers, poses, names = theirs
    told = [
        (CAMERA_MODELS[camera.model][0], camera.width_px, camera.height_px, camera.params.tolist())
        for camera in ours.cameras
    ]
    assert told == cameras
    assert ours.image_camera.tolist() == numbers
    assert ours.camera_SE3_world.tobytes() == poses.tobytes()
    assert (None if ours.image_names is None else list(ours.image_names)) == names


def test_images_of_all_kinds() -> None:
    assert dict(CAMERA_MODELS.values()) == PARAMETERS
    still = np.tile(np.eye(4), (6, 1, 1))
    moving, jumping = still.copy(), still.copy()
    moving[:, 0, 3] = np.arange(6) * 2.0
    jumping[:, :3, 3] = np.random.default_rng(1).normal(size=(6, 3)) * 1e4
    jumping[:, :3, :3] = Rotation.random(6, random_state=1).as_matrix()
    camera = (Camera("PINHOLE", 4, 3, np.array([2.0, 2, 2, 1])),)
    orders = set()
    for pose in (still, moving, jumping, still[:0]):
        for names in (None, tuple(f"{'ü' * k}.jpg" for k in range(len(pose)))):
            images = poses_codec.MapImages(camera, np.zeros(len(pose), np.int64), pose, names)
            data = poses_codec.encode_images(images, 1e-3, 1e-3)
            orders.add(data[8] & 3)
            if names != ():
                same_images(poses_codec.decode_images(data), read_images(data))
    assert len(orders) >= 2


@pytest.mark.parametrize("seed", range(6))
def test_positions(seed: int) -> None:
    """Flat, spread, repeated, finely and coarsely stored ones; 300 points, so that counts are coded beyond 64 nodes."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(300, 3)) * rng.choice([0.0, 0.1, 1, 10], 3) + rng.choice([0, 1e4])
    points[rng.integers(0, 300, 80)] = points[0]
    tolerance = np.exp(rng.normal(size=300) * (seed % 3)) * 0.1
    same_positions(points, tolerance)


def same_positions(points: np.ndarray, tolerance: np.ndarray) -> None:
    data, _ = points_codec.encode_points(points, tolerance)
    ours = points_codec.decode_points(data)
    assert ours.tobytes() == read_positions(data).tobytes()
    with pytest.raises(AssertionError):
        read_positions(data + b"\0")


def test_positions_beyond_65536_look_less_far() -> None:
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(size=(60, 3)), np.zeros((65_600, 3))])
    same_positions(points, np.full(len(points), 0.05))


@pytest.mark.parametrize(("points", "groups"), [(1, 1), (80, 30), (5, 0), (2200, 3)])
def test_visibility(points: int, groups: int) -> None:
    """2200 points: more than the window of neighbours, which is 1906 then."""
    rng = np.random.default_rng(points)
    positions = rng.normal(size=(points, 3))
    positions[: points // 8] = positions[0]
    seen = np.abs(positions[:, :1] - np.linspace(-2, 2, groups)) < rng.uniform(0, 2, (points, 1))
    data = visibility_codec.encode_visibility(seen, positions)
    np.testing.assert_array_equal(read_visibility(data, positions), seen)


def test_integers() -> None:
    rng = np.random.default_rng(0)
    for shape, scale in (((60, 3), 3), ((40, 1), 1000), ((12, 4), 2**58), ((0, 3), 1)):
        values = np.rint(rng.normal(size=shape) * scale).astype(np.int64)
        np.testing.assert_array_equal(read_integers(integers.encode_integers(values), *shape), values)


@pytest.mark.parametrize("step", [1.0, 0.1, 0.01, 1 / 512])
def test_coefficients(step: float) -> None:
    """Symbols of any size: the statistics of the basis, noise beyond it, escapes of all lengths."""
    basis = standard_basis("sift")
    assert basis is not None
    rng = np.random.default_rng(int(1 / step))
    codec = TransformCodec(basis, step)
    told = codec.coder.rank
    spread = basis.spread[:told] / (codec.steps * 65536)
    symbols = np.rint(rng.laplace(size=(25, told)) * spread).astype(np.int64)
    symbols[5, : min(told, 8)] = [16383, -16383, 12, -13, 0, 27, 28, 500][:told]
    symbols[20] = np.rint(rng.normal(size=told) * 4)
    symbols = np.clip(symbols, -16383, 16383).astype(np.int16)
    same_coefficients(codec, symbols, read_basis(STANDARD))


def same_coefficients(codec: TransformCodec, symbols: np.ndarray, basis: dict[str, Any]) -> None:
    data = codec.coder.encode(symbols)
    _, ours = codec.coder.decode(data, len(symbols))
    theirs, descriptors, leans = read_transform(data, len(symbols), basis, codec.step)
    np.testing.assert_array_equal(theirs, symbols)
    np.testing.assert_array_equal(leans, ours)
    assert np.abs(codec.decode(data, len(symbols)) - descriptors).max() < 1e-6


def test_coefficients_of_an_odd_basis() -> None:
    """An odd number of strong products, no shifts, no mean: predictions at their limits, and a row that is zero."""
    rng = np.random.default_rng(2)
    axes = np.zeros((40, 40), np.int8)
    np.fill_diagonal(axes, 127)
    basis = Basis(
        np.zeros(40, np.float16),
        axes,
        np.full(40, 1 / 127, np.float32),
        np.sort(rng.integers(300, 40000, 40))[::-1].astype(np.int64),
        rng.integers(16, 256, 40).astype(np.uint8),
        Curvature(rng.integers(-127, 128, (28, 40)).astype(np.int8), np.full(40, 60000), np.zeros(0, np.int8)),
    )
    codec = TransformCodec(basis, 0.2)
    symbols = np.rint(rng.normal(size=(20, codec.coder.rank)) * 2).astype(np.int16)
    held = read_basis(basis.to_bytes())
    same_coefficients(codec, symbols, held)
    bare = Basis.from_bytes(basis.to_bytes())
    object.__setattr__(bare, "curvature", Curvature.flat(40))
    plain = TransformCodec(bare, 0.2)
    symbols[3] = 0
    same_coefficients(plain, symbols, read_basis(bare.to_bytes()))


@pytest.mark.parametrize("method", ["1 bit", "2 bits", "4 bits", "8 bits", "pq"])
@pytest.mark.parametrize("size", [12, 16, 1])
def test_global_descriptors(method: str, size: int) -> None:
    rows = np.random.default_rng(size).normal(size=(7, size)).astype(np.float32) + 0.3
    data = GlobalCodec(method, parts=(4, 1)).encode(rows)
    np.testing.assert_allclose(decode_globals(data), read_globals(data), rtol=0, atol=1e-6)
    np.testing.assert_allclose(packages_turn_back(rows), turn_back(rows.astype(np.float64)), rtol=0, atol=1e-5)


def test_the_constants_are_right() -> None:
    told = re.search(r"([\d,]+) bytes, SHA-256 `(\w+)`", DOCUMENT)
    assert told
    assert told[1] == f"{len(STANDARD):,}"
    assert told[2] == hashlib.sha256(STANDARD).hexdigest()
    assert (sum(SQUASH), sum(STRETCH)) == tuple(map(int, re.search(r"are (\d+) and (\d+)\.", DOCUMENT).groups()))  # type: ignore[union-attr]


def test_the_examples_are_right() -> None:
    numbers, positions, visibility, coefficients = EXAMPLES
    assert read_integers(numbers, 3, 2).tolist() == [[5, -3], [6, -3], [-7, 40]]
    points = read_positions(positions)
    shown = [points[0], points[1], points[3], points[4]]
    assert (points[1] == points[2]).all()
    text = [f"({x:.4f}, {y:.4f}, {z:.4f})" for x, y, z in shown]
    assert f"{text[0]}, {text[1]} twice, {text[2]}, {text[3]}." in DOCUMENT
    assert struct.unpack_from("<BB", positions, 7) == (10, 19)
    seen = read_visibility(visibility, points).astype(int)
    assert f"rows `{' '.join(''.join(map(str, row)) for row in seen)}`" in DOCUMENT
    symbols, _, leans = read_transform(coefficients, 2, read_basis(STANDARD), 0.100006103515625)
    for row in symbols:
        assert f"`{' '.join(map(str, np.trim_zeros(row, 'b')))}`" in DOCUMENT
    assert f"`{' '.join(map(str, leans[1, :12]))}`" in DOCUMENT
