"""COLMAP models against pycolmap in both directions, and text against binary."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from colmap_samples import NAMES, assert_same, small_scene, with_loose_keypoints

from colmap_writer import write_model
from foldmap.errors import MapInputError, WriteError
from foldmap.formats.colmap.files import find_model
from foldmap.formats.colmap.join import ColmapModel
from foldmap.formats.colmap.scene import read_model, read_model_with_keypoints
from foldmap.visual.source import SceneModel


def assert_as_pycolmap(model: ColmapModel, reference: Any) -> None:
    """Every camera, image, point and observation is pycolmap's."""
    scene = model.scene
    assert sorted(reference.cameras) == model.camera_ids.tolist()
    for camera_id, camera in zip(model.camera_ids, scene.cameras, strict=True):
        theirs = reference.cameras[camera_id]
        assert (theirs.model.name, theirs.width, theirs.height) == (camera.model, camera.width_px, camera.height_px)
        assert theirs.params.tolist() == camera.params.tolist()
    assert sorted(image.name for image in reference.images.values()) == list(scene.image_names)
    pixels = {}
    for at, image_id in enumerate(model.image_ids.tolist()):
        theirs = reference.images[image_id]
        assert theirs.name == scene.image_names[at]
        assert theirs.camera_id == model.camera_ids[scene.image_camera[at]]
        np.testing.assert_allclose(scene.camera_SE3_world[at, :3], theirs.cam_from_world().matrix(), atol=1e-9)
        pixels[image_id] = np.array([keypoint.xy for keypoint in theirs.points2D]).reshape(-1, 2)
    assert sorted(reference.points3D) == model.point_ids.tolist()
    first = scene.track_first
    for at, point_id in enumerate(model.point_ids.tolist()):
        theirs = reference.points3D[point_id]
        assert theirs.xyz.tolist() == scene.points_world[at].tolist()
        rows = slice(first[at], first[at + 1])
        image_ids, keypoints = model.image_ids[scene.tracks.image[rows]], model.keypoint_index[rows]
        seen = {(element.image_id, element.point2D_idx) for element in theirs.track.elements}
        assert seen == set(zip(image_ids.tolist(), keypoints.tolist(), strict=True))
        expected = [pixels[image][keypoint] for image, keypoint in zip(image_ids, keypoints, strict=True)]
        np.testing.assert_array_equal(scene.tracks.xy_px[rows], np.array(expected, dtype=np.float32))


@pytest.mark.parametrize("text", [False, True])
def test_pycolmap_reads_what_we_write(tmp_path: Path, text: bool) -> None:
    pycolmap = pytest.importorskip("pycolmap")
    # COLMAP's own reader of text ends names at a space
    scene = small_scene(names=("a.png", "b.png", "c.png", "é.png", "画像.png") if text else NAMES)
    keypoints, index = with_loose_keypoints(scene)
    write_model(scene, tmp_path, keypoints, index, text)
    reference = pycolmap.Reconstruction(tmp_path)
    model = read_model_with_keypoints(tmp_path)
    assert_as_pycolmap(model, reference)
    assert_same(model.scene, scene)
    np.testing.assert_array_equal(model.keypoint_index, index)
    for image, name in enumerate(scene.image_names):
        theirs = next(image for image in reference.images.values() if image.name == name)
        np.testing.assert_array_equal(np.array([point.xy for point in theirs.points2D]), keypoints[image])
    # observations are exact projections of float64 points stored as float32 pixels: COLMAP computes the same
    reference.update_point_3d_errors()
    assert reference.compute_mean_reprojection_error() < 1e-4


@pytest.mark.parametrize("text", [False, True])
def test_we_read_what_pycolmap_writes_with_rigs(tmp_path: Path, text: bool) -> None:
    pycolmap = pytest.importorskip("pycolmap")
    options = pycolmap.SyntheticDatasetOptions()
    options.num_rigs, options.num_cameras_per_rig, options.num_frames_per_rig = 2, 2, 3
    options.num_points3D = 40
    pycolmap.set_random_seed(5)
    made = pycolmap.synthesize_dataset(options)
    (made.write_text if text else made.write_binary)(tmp_path)
    reference = pycolmap.Reconstruction(tmp_path)
    assert_as_pycolmap(read_model_with_keypoints(tmp_path), reference)


def test_text_is_binary(tmp_path: Path) -> None:
    scene = small_scene(points=60)
    keypoints, index = with_loose_keypoints(scene)
    write_model(scene, tmp_path / "binary", keypoints, index)
    write_model(scene, tmp_path / "text", keypoints, index, text=True)
    binary, text = read_model_with_keypoints(tmp_path / "binary"), read_model_with_keypoints(tmp_path / "text")
    assert_same(binary.scene, text.scene)
    assert (binary.scene.camera_SE3_world == text.scene.camera_SE3_world).all()
    for name in ("keypoint_index", "camera_ids", "image_ids", "point_ids"):
        np.testing.assert_array_equal(getattr(binary, name), getattr(text, name))
    assert (binary.scene.tracks.image == 2).sum() == 0  # "empty.png" is kept, and sees no point


def test_order_does_not_depend_on_the_files(tmp_path: Path) -> None:
    write_model(small_scene(), tmp_path, text=True)
    before = read_model(tmp_path)
    for name, lines_each in (("images.txt", 2), ("points3D.txt", 1), ("cameras.txt", 1)):
        lines = (tmp_path / name).read_text(encoding="utf-8").splitlines()
        records = [line for line in lines if not line.startswith("# ")]
        groups = [records[at : at + lines_each] for at in range(0, len(records), lines_each)]
        backwards = [line for group in groups[::-1] for line in group]
        (tmp_path / name).write_text("\n".join(["# a comment", "", *backwards]) + "\n", encoding="utf-8")
    assert_same(read_model(tmp_path), before)


def test_windows_line_ends(tmp_path: Path) -> None:
    write_model(small_scene(), tmp_path, text=True)
    before = read_model(tmp_path)
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert_same(read_model(tmp_path), before)


def test_metric_is_said_by_the_user(tmp_path: Path) -> None:
    write_model(small_scene(), tmp_path)
    assert not read_model(tmp_path).metric
    scene = read_model(tmp_path, metric=True, feature="xfeat")
    assert scene.metric
    assert scene.feature == "xfeat"


def test_more_keypoints_than_15_bits_count(tmp_path: Path) -> None:
    scene = small_scene()
    keypoints, index = with_loose_keypoints(scene, loose=70_000)
    assert index.max() > 65_535
    write_model(scene, tmp_path, keypoints, index)
    model = read_model_with_keypoints(tmp_path)
    np.testing.assert_array_equal(model.keypoint_index, index)
    assert_same(model.scene, scene)


def test_known_poses_without_points(tmp_path: Path) -> None:
    write_model(small_scene(), tmp_path, text=True)
    lines = (tmp_path / "images.txt").read_text(encoding="utf-8").splitlines()
    heads = [line for line in lines if line.endswith(("png", "jpg"))]
    (tmp_path / "images.txt").write_text("".join(f"{line}\n\n" for line in heads), encoding="utf-8")
    (tmp_path / "points3D.txt").write_text("")
    scene = read_model(tmp_path)
    assert len(scene.image_names) == 5
    assert len(scene.points_world) == len(scene.tracks) == 0


@pytest.mark.parametrize("below", [".", "sparse", "sparse/0"])
def test_find_model(tmp_path: Path, below: str) -> None:
    write_model(small_scene(), tmp_path / below)
    assert find_model(tmp_path).resolve() == (tmp_path / below).resolve()
    assert len(read_model(tmp_path).image_names) == 5


def test_no_model(tmp_path: Path) -> None:
    with pytest.raises(MapInputError, match="no folder"):
        read_model(tmp_path / "nowhere")
    with pytest.raises(MapInputError, match="holds no COLMAP model"):
        read_model(tmp_path)
    write_model(small_scene(), tmp_path)
    (tmp_path / "points3D.bin").unlink()
    with pytest.raises(MapInputError, match=r"lacks points3D\.bin"):
        read_model(tmp_path)


def test_a_model_is_not_mixed_into_another(tmp_path: Path) -> None:
    write_model(small_scene(), tmp_path)
    write_model(small_scene(seed=4), tmp_path)
    assert_same(read_model(tmp_path), small_scene(seed=4))
    with pytest.raises(WriteError, match=r"holds cameras\.bin of another model"):
        write_model(small_scene(), tmp_path, text=True)
    (tmp_path / "rigs.bin").write_bytes(b"")
    with pytest.raises(WriteError, match=r"rigs\.bin"):
        write_model(small_scene(), tmp_path)
    with pytest.raises(WriteError, match="cannot be written"):
        write_model(small_scene(), tmp_path / "cameras.bin" / "below")


def test_keypoints_that_do_not_fit(tmp_path: Path) -> None:
    scene = small_scene()
    keypoints, index = with_loose_keypoints(scene)
    for wrong, words in ((None, "do not fit"), (index + 1000, "beyond"), (np.zeros_like(index), "two observations")):
        with pytest.raises(MapInputError, match=words):
            write_model(scene, tmp_path, keypoints, wrong)
    with pytest.raises(MapInputError, match="do not fit"):
        write_model(scene, tmp_path, keypoints[1:], index)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "text"), [("", False), ("a\0b", False), ("\udc80", False), (" a", True), ("a\nb", True)]
)
def test_names_that_cannot_be_written(tmp_path: Path, name: str, text: bool) -> None:
    scene = small_scene()
    named = SceneModel(
        scene.cameras, (name, *scene.image_names[1:]), scene.image_camera, scene.camera_SE3_world,
        scene.points_world, scene.tracks,
    )  # fmt: skip
    with pytest.raises(MapInputError, match="cannot hold"):
        write_model(named, tmp_path, text=text)


@pytest.mark.parametrize(("name", "points"), [("redkitchen", 25_334), ("bonsai", 64_867)])
def test_real_scenes(shared_data: Path, name: str, points: int) -> None:
    pycolmap = pytest.importorskip("pycolmap")
    model = read_model_with_keypoints(shared_data / "visual" / name)
    reference = pycolmap.Reconstruction(shared_data / "visual" / name / "sparse")
    scene = model.scene
    assert len(scene.points_world) == points == len(reference.points3D)
    assert len(scene.tracks) == reference.compute_num_observations()
    np.testing.assert_array_equal(
        np.diff(scene.track_first), [reference.points3D[p].track.length() for p in model.point_ids]
    )
    np.testing.assert_array_equal(scene.points_world, [reference.points3D[p].xyz for p in model.point_ids])
    # our cameras project our points to our pixels with the error that COLMAP computes from its own
    tracks = scene.tracks
    moved = np.einsum("oij,oj->oi", scene.camera_SE3_world[tracks.image, :3, :3], scene.points_world[tracks.point])
    moved += scene.camera_SE3_world[tracks.image, :3, 3]
    assert len(scene.cameras) == 1
    error_px = np.linalg.norm(scene.cameras[0].project(moved) - tracks.xy_px, axis=1)
    reference.update_point_3d_errors()
    theirs = np.array([reference.points3D[p].error for p in model.point_ids])
    ours = np.bincount(tracks.point, error_px) / np.bincount(tracks.point)
    np.testing.assert_allclose(ours, theirs, atol=1e-3)
