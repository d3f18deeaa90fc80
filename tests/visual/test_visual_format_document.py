"""A second reader, written from docs/visual-codes.md alone, must agree with the package on files and streams."""

from __future__ import annotations

import hashlib
import re
import struct
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coefficient_reader import read_basis, read_transform
from format_samples import POINTS, codec_of, scene_of, sift_like
from points_reader import read_positions, read_visibility
from range_reader import SQUASH, STRETCH, read_integers
from retrieval_reader import describe, read_globals, read_tiles_seen, turn_back
from scipy.spatial.transform import Rotation
from visual_reader import PARAMETERS, read_images, read_tile, read_viewing

from foldmap.atlas import FoldFile, FoldWriter
from foldmap.coding import integers
from foldmap.geometry.camera import CAMERA_MODELS, Camera
from foldmap.visual import unfold
from foldmap.visual.codes import (
    basis,
    coefficient_coder,
    global_codec,
    points_codec,
    poses_codec,
    transform,
    visibility_codec,
)
from foldmap.visual.codes.basis import Basis, standard_basis
from foldmap.visual.codes.coefficient_coder import Curvature
from foldmap.visual.codes.global_codec import decode_globals, encode_globals
from foldmap.visual.codes.transform import Transform
from foldmap.visual.codes.turn import turn_back as packages_turn_back
from foldmap.visual.dpq import serialize
from foldmap.visual.fold import VisualPlan, fold_visual
from foldmap.visual.retrieval import vlad
from foldmap.visual.retrieval.vlad import Vlad
from foldmap.visual.scene.average import track_means
from foldmap.visual.unfold import FoldedVisual
from second_reader import read

DOCS = Path(__file__).resolve().parents[2] / "docs"
DOCUMENT = (DOCS / "visual-codes.md").read_text()
PROSE = " ".join(DOCUMENT.split())
STANDARD = (Path(str(resources.files("foldmap.visual"))) / "weights" / "sift-1.safetensors").read_bytes()
EXAMPLES = [bytes.fromhex(text) for text in re.findall(r"```\n([0-9a-f]+)\n```", DOCUMENT)]
FORMAT = (DOCS / "format.md").read_text()
LAYER = FORMAT[FORMAT.index("## 7. The visual layer") : FORMAT.index("## 8.")]
PARAMETERS_TOLD = {
    name for row in re.findall(r"^\| (`[a-z].*?) \|", LAYER, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
}
MODELS_TOLD = dict(re.findall(r"^\| `(codec|vlad)` \| `([a-z ]+)` \|", LAYER, re.MULTILINE))


CODECS = ["standard", "fine", "own", "raw", "opq", "sums", "plain int8", "deep int4", "linear int8", "additive half"]


@pytest.mark.parametrize("kind", CODECS)
def test_the_second_reader_agrees(kind: str, tmp_path: Path) -> None:
    scene, path = scene_of(), tmp_path / "a.fold"
    means = track_means(scene)
    plan = VisualPlan(np.arange(POINTS), codec_of(kind, means), images=True, group=3, tile_points=20, error_px=40.0)
    with FoldWriter(path) as writer:
        fold_visual(writer, scene, plan, means=means)
        writer.commit()
    found = read(path)  # from docs/format.md, sections 1 to 4
    ((name, layer_kind, parameters),) = found["layers"]
    tiles, models = found["tiles"][name], found["models"][name]
    assert (name, layer_kind) == ("visual", "visual")
    assert parameters["retrieval"] == "vlad"
    assert set(parameters) <= PARAMETERS_TOLD
    assert {key: role for key, (role, _) in models.items()}.items() <= MODELS_TOLD.items()
    model = STANDARD if parameters.get("basis") == "sift-1" else models.get("codec", (None, None))[1]
    groups = -(-parameters["images"] // parameters["group"])
    with FoldFile.open(path) as file:
        folded = FoldedVisual(file)
        total, sees = 0, []
        for number in range(parameters["tiles"]):
            ours, theirs = folded.tile(number), read_tile(tiles[number, 0], parameters, model, groups)
            assert ours.points_world.tobytes() == theirs[0].tobytes()
            np.testing.assert_allclose(ours.descriptors, theirs[1], rtol=0, atol=1e-6)
            np.testing.assert_array_equal(ours.visible, theirs[2])
            np.testing.assert_allclose(ours.seen_from, read_viewing(tiles[number, 3], len(theirs[0])), rtol=1e-12)
            sees.append(theirs[2].any(axis=0))
            total += len(theirs[0])
        assert total == parameters["points"] == POINTS
        assert len(sees) == 4
        np.testing.assert_array_equal(read_tiles_seen(tiles[1, 1], len(sees), groups), sees)
        same_images(folded.images(), read_images(tiles[0, 1]))
        assert len(tiles) == 2 * len(sees) + 3
        retriever = folded.retriever()
        np.testing.assert_allclose(retriever.descriptors, read_globals(tiles[0, 2]), rtol=0, atol=1e-6)
        query = sift_like(30, np.random.default_rng(9))
        vocabulary = Vlad.from_bytes(models["vlad"][1])
        np.testing.assert_allclose(vocabulary.describe(query), describe(models["vlad"][1], query), rtol=0, atol=1e-6)


def test_a_map_without_images(tmp_path: Path) -> None:
    scene, path = scene_of(), tmp_path / "a.fold"
    means = track_means(scene)
    with FoldWriter(path) as writer:
        fold_visual(writer, scene, VisualPlan(np.arange(POINTS), codec_of("standard", means)), means=means)
        writer.commit()
    found = read(path)
    ((_, _, parameters),) = found["layers"]
    assert (parameters["images"], parameters["group"], parameters["retrieval"]) == (0, 0, "none")
    assert found["models"] == {"visual": {}}
    assert set(found["tiles"]["visual"]) == {(0, 0), (0, 3)}
    payload = found["tiles"]["visual"][0, 0]
    positions, descriptors, seen = read_tile(payload, parameters, STANDARD, 0)
    with FoldFile.open(path) as file:
        whole = FoldedVisual(file).whole()
    assert whole.points_world.tobytes() == positions.tobytes()
    np.testing.assert_allclose(whole.descriptors, descriptors, rtol=0, atol=1e-6)
    assert seen.shape == (POINTS, 0)


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


def test_visibility_of_a_lattice_that_many_groups_see() -> None:
    """Whole coordinates are the positions' own here but for the fractions, and some are next to each other."""
    rng = np.random.default_rng(8)
    positions = rng.integers(0, 4, (60, 3)) + rng.choice([0, 0.6], (60, 3)) + rng.choice([0, 700_000], (60, 1))
    positions[[0, 30]] = [[0, 0, 0], [1048575, 5, 9]]
    seen = rng.uniform(size=(60, 70)) < np.where(positions[:, :1] > 9, 0.9, 0.5)
    data = visibility_codec.encode_visibility(seen, positions)
    np.testing.assert_array_equal(read_visibility(data, positions), seen)


def test_integers() -> None:
    rng = np.random.default_rng(0)
    for shape, scale in (((60, 3), 3), ((500, 1), 1), ((40, 1), 1000), ((12, 4), 2**58), ((0, 3), 1)):
        values = np.rint(rng.normal(size=shape) * scale).astype(np.int64)
        np.testing.assert_array_equal(read_integers(integers.encode_integers(values), *shape), values)
    wild = 2 ** rng.integers(0, 61, (60, 3)) * rng.choice([-1, 1], (60, 3))
    np.testing.assert_array_equal(read_integers(integers.encode_integers(wild), 60, 3), wild)
    dull = np.zeros((1500, 1), np.int64)  # as sure as a prediction can be, and then wrong
    dull[[700, 1300]] = 1
    np.testing.assert_array_equal(read_integers(integers.encode_integers(dull), 1500, 1), dull)


@pytest.mark.parametrize("step", [1.0, 0.1, 0.01, 1 / 512])
def test_coefficients(step: float) -> None:
    """Symbols of any size: the statistics of the basis, noise beyond it, escapes of all lengths."""
    held = standard_basis("sift")
    assert held is not None
    rng = np.random.default_rng(int(1 / step))
    codec = Transform(held, step)
    told = codec.coder.rank
    spread = held.spread[:told] / (codec.steps * 65536)
    symbols = np.rint(rng.laplace(size=(25, told)) * spread).astype(np.int64)
    symbols[5, : min(told, 8)] = [16383, -16383, 12, -13, 0, 27, 28, 500][:told]
    symbols[20] = np.rint(rng.normal(size=told) * 4)
    symbols = np.clip(symbols, -16383, 16383).astype(np.int16)
    same_coefficients(codec, symbols, read_basis(STANDARD))


def same_coefficients(codec: Transform, symbols: np.ndarray, held: dict[str, Any]) -> None:
    data = codec.coder.encode(symbols)
    _, ours = codec.coder.decode(data, len(symbols))
    theirs, descriptors, leans = read_transform(data, len(symbols), held, codec.step)
    np.testing.assert_array_equal(theirs, symbols)
    np.testing.assert_array_equal(leans, ours)
    assert np.abs(codec.decode(data, len(symbols)) - descriptors).max() < 1e-6


def flat_basis(spread: list[int], ratio: list[int]) -> Basis:
    """Axes of the space itself, without a mean, shifts or products."""
    rank = len(spread)
    return Basis(
        np.zeros(rank, np.float16),
        np.eye(rank, dtype=np.int8) * np.int8(127),
        np.full(rank, 1 / 127, np.float32),
        np.array(spread, np.int64),
        np.array(ratio, np.uint8),
        Curvature.flat(rank),
    )


def test_coefficients_of_extreme_spreads() -> None:
    """The finest step with the widest spread, coefficients too narrow to tell before ones that are not, and none."""
    rng = np.random.default_rng(4)
    spreads = {5: [65535, 1, 60000, 2, 65535, 1], 1: [9] * 6, 6: [1, 65535, 1, 1, 1, 8192]}  # 8192: just worth telling
    for (wanted, spread), step in zip(spreads.items(), (1 / 512, 1.0, 1.0), strict=True):
        held = flat_basis(spread, [16, 255, 16, 16, 255, 64])
        codec = Transform(held, step)
        told = codec.coder.rank
        assert told == wanted
        symbols = np.rint(rng.laplace(size=(30, told)) * np.array(spread[:told]) / (codec.steps * 65536) + 0.5)
        same_coefficients(codec, np.clip(symbols, -16383, 16383).astype(np.int16), read_basis(held.to_bytes()))


def test_coefficients_of_many_dull_rows() -> None:
    """More outcomes than a chance remembers, as sure as a prediction can be, and then wrong."""
    held = flat_basis([20000, 3000], [64, 64])
    codec = Transform(held, 0.2)
    symbols = np.zeros((1500, 2), np.int16)
    symbols[:, 0] = np.random.default_rng(3).integers(-1, 2, 1500)
    symbols[[700, 1200, 1499], 1] = [2, -1, 1]
    same_coefficients(codec, symbols, read_basis(held.to_bytes()))


def test_coefficients_of_an_odd_basis() -> None:
    """An odd number of strong products, no shifts, no mean: predictions at their limits, and a row that is zero."""
    rng = np.random.default_rng(2)
    flat = flat_basis(np.sort(rng.integers(300, 40000, 40))[::-1].tolist(), rng.integers(16, 256, 40).tolist())
    bend = rng.integers(-127, 128, (28, 40)).astype(np.int8)
    odd = replace(flat, curvature=Curvature(bend, np.full(40, 60000), np.zeros(0, np.int8)))
    codec = Transform(odd, 0.2)
    symbols = np.rint(rng.normal(size=(20, codec.coder.rank)) * 2).astype(np.int16)
    held = read_basis(odd.to_bytes())
    same_coefficients(codec, symbols, held)
    symbols[3] = 0
    same_coefficients(Transform(flat, 0.2), symbols, read_basis(flat.to_bytes()))


@pytest.mark.parametrize("method", ["1 bit", "2 bits", "4 bits", "8 bits", "pq"])
@pytest.mark.parametrize("size", [12, 16, 1])
def test_global_descriptors(method: str, size: int) -> None:
    rows = np.random.default_rng(size).normal(size=(7, size)).astype(np.float32) + 0.3
    data = encode_globals(rows, method, parts=(4, 1))
    np.testing.assert_allclose(decode_globals(data), read_globals(data), rtol=0, atol=1e-6)
    np.testing.assert_allclose(packages_turn_back(rows), turn_back(rows.astype(np.float64)), rtol=0, atol=1e-5)


def test_no_descriptors_are_no_bytes() -> None:
    symbols, descriptors, _ = read_transform(b"", 0, read_basis(STANDARD), 0.25)
    assert len(symbols) == len(descriptors) == 0
    with pytest.raises(AssertionError):
        read_transform(b"\0", 0, read_basis(STANDARD), 0.25)


def test_the_limits_are_those_of_the_package() -> None:
    for row in (
        f"| points of a tile | {power(points_codec.MAX_POINTS)} |",
        f"groups of images | {power(transform.MAX_VALUES)} |",
        f"| groups that see one tile | {visibility_codec.MAX_IMAGES} |",
        f"| {power(poses_codec.MAX_IMAGES)}; {power(poses_codec.MAX_CAMERAS)}; ",
        f"; {poses_codec.MAX_NAMES_BYTES >> 20} MiB |",
        f"| {global_codec.MAX_SIZE}; {power(global_codec.MAX_NUMBERS)} |",
        f"| {serialize.MAX_BYTES >> 20} MiB; {basis.MAX_BYTES >> 20} MiB; {vlad.MAX_BYTES >> 20} MiB |",
        f"| `points` | integer, 1 to {power(unfold.MAX_POINTS)} |",
        f"SHA-256\n`{hashlib.sha256(STANDARD).hexdigest()}`",
    ):
        assert row in LAYER
    assert visibility_codec.MAX_DECISIONS == transform.MAX_VALUES == coefficient_coder.MAX_COEFFICIENTS
    assert f"at most 64 columns and {power(integers.MAX_VALUES)} numbers" in PROSE


def power(limit: int) -> str:
    return f"2^{limit.bit_length() - 1}"


def test_the_constants_are_right() -> None:
    told = re.search(r"([\d,]+) bytes, SHA-256 `(\w+)`", PROSE)
    assert told
    assert told[1] == f"{len(STANDARD):,}"
    assert told[2] == hashlib.sha256(STANDARD).hexdigest()
    assert (sum(SQUASH), sum(STRETCH)) == tuple(map(int, re.search(r"are (\d+) and (\d+)\.", PROSE).groups()))  # type: ignore[union-attr]


def test_the_examples_are_right() -> None:
    numbers, positions, visibility, coefficients = EXAMPLES
    assert read_integers(numbers, 3, 2).tolist() == [[5, -3], [6, -3], [-7, 40]]
    points = read_positions(positions)
    shown = [points[0], points[1], points[3], points[4]]
    assert (points[1] == points[2]).all()
    text = [f"({x:.4f}, {y:.4f}, {z:.4f})" for x, y, z in shown]
    assert f"{text[0]}, {text[1]} twice, {text[2]}, {text[3]}." in PROSE
    assert struct.unpack_from("<BB", positions, 7) == (10, 19)
    seen = read_visibility(visibility, points).astype(int)
    assert f"rows `{' '.join(''.join(map(str, row)) for row in seen)}`" in PROSE
    symbols, _, leans = read_transform(coefficients, 2, read_basis(STANDARD), 0.100006103515625)
    for row in symbols:
        assert f"`{' '.join(map(str, np.trim_zeros(row, 'b')))}`" in PROSE
    assert f"`{' '.join(map(str, leans[1, :12]))}`" in PROSE
