"""Layouts of public datasets, on small copies generated after their owners' documentation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.optimize import brentq

from benchmarks.datasets import (
    READERS,
    read_aachen,
    read_cambridge,
    read_cambridge_nvm,
    read_eth_microsoft,
    read_seven_scenes,
)
from benchmarks.datasets.nvm import read_nvm
from foldmap.errors import InputError, MapInputError
from foldmap.geometry.quaternion import inverse_rigid, rigid_from_wxyz
from foldmap.types import DoubleArray

SIZE = (192, 108)


def poses(count: int, seed: int = 0) -> tuple[DoubleArray, DoubleArray, DoubleArray]:
    """Quaternions, centres and camera_SE3_world of cameras that look at the origin's surroundings from z = -6."""
    rng = np.random.default_rng(seed)
    wxyz = np.column_stack([np.ones(count), rng.uniform(-0.05, 0.05, (count, 3))])
    wxyz /= np.linalg.norm(wxyz, axis=1, keepdims=True)
    centre = np.column_stack([rng.uniform(-1, 1, (count, 2)), np.full(count, -6.0)])
    pose = rigid_from_wxyz(wxyz, np.zeros((count, 3)))
    pose[:, :3, 3] = -np.einsum("iab,ib->ia", pose[:, :3, :3], centre)
    return wxyz, centre, pose


def picture(path: Path, size: tuple[int, int] = SIZE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size).save(path)


def words(values: DoubleArray) -> str:
    return " ".join(f"{value:.17g}" for value in values)


def write_cambridge(folder: Path, radial: float = -0.08, focal: float = 150.0) -> tuple[list[str], DoubleArray]:
    """ShopFacade in small: four images, 30 points, VisualSFM's undistortion solved by bisection."""
    names = ["seq1/frame00001", "seq1/frame00002", "seq2/frame00001", "seq2/frame00002"]
    wxyz, centre, pose = poses(4)
    points = np.random.default_rng(1).uniform(-1.5, 1.5, (30, 3))
    lines = ["NVM_V3 ", "", "4"]
    for at, name in enumerate(names):
        picture(folder / f"{name}.png")
        lines.append(f"{name}.jpg\t{focal:.17g} {words(wxyz[at])} {words(centre[at])} {radial:.17g} 0")
    lines += ["", str(len(points))]
    for number, point in enumerate(points):
        measured = []
        for at in range(4):
            ray = pose[at, :3, :3] @ point + pose[at, :3, 3]
            wanted = ray[:2] / ray[2]
            length = np.linalg.norm(wanted)
            m = brentq(lambda r, length=length: r * (1 + radial * r * r) - length, 0, 2) if length else 0.0
            measured.append(f"{at} {number + 7} {words(focal * wanted / length * m)}")
        lines.append(f"{words(point)} 10 20 30 4 " + " ".join(measured))
    lines += ["", "0", "", "#the last part of NVM file points to the PLY files", "0"]
    (folder / "reconstruction.nvm").write_text("\n".join(lines))
    head = "Visual Landmark Dataset V1\nImageFile, Camera Position [X Y Z W P Q R]\n\n"
    for split, members in (("train", (0, 1)), ("test", (2, 3))):
        rows = [f"{names[at]}.png {words(centre[at])} {words(wxyz[at])}" for at in members]
        (folder / f"dataset_{split}.txt").write_text(head + "\n".join(rows) + "\n")
    return [f"{name}.png" for name in names], pose


def test_cambridge(tmp_path: Path) -> None:
    folder = tmp_path / "ShopFacade"
    names, pose = write_cambridge(folder)
    found = read_cambridge(folder)
    assert found.name == "cambridge/ShopFacade"
    assert [image.name for image in found.map_images] == names[:2]
    assert [image.name for image in found.queries] == names[2:]
    for image, expected in zip([*found.map_images, *found.queries], pose, strict=True):
        np.testing.assert_allclose(image.camera_SE3_world, expected, atol=1e-12)
        assert image.camera is not None
        assert (image.camera.width_px, image.camera.height_px, image.camera.focal_px[0]) == (*SIZE, 150.0)
    assert (found.model_folder, found.thresholds, found.withheld) == (None, (), False)
    (tmp_path / "CambridgeLandmarks_Colmap_Retriangulated_1024px/ShopFacade/model_train").mkdir(parents=True)
    assert read_cambridge(folder).model_folder is not None


@pytest.mark.parametrize("radial", [-0.08, 0.0, 0.05])
def test_nvm_model_reprojects(tmp_path: Path, radial: float) -> None:
    """Points projected by COLMAP's own camera model land on VisualSFM's measurements."""
    pycolmap = pytest.importorskip("pycolmap")
    write_cambridge(tmp_path, radial)
    scene, index = read_cambridge_nvm(tmp_path)
    assert (len(scene.points_world), len(scene.tracks)) == (30, 120)
    np.testing.assert_array_equal(index, scene.tracks.point + 7)
    for at, name in enumerate(scene.image_names):
        rows = scene.tracks.image == at
        pose = scene.camera_SE3_world[at]
        local = scene.points_world[scene.tracks.point[rows]] @ pose[:3, :3].T + pose[:3, 3]
        camera = scene.camera_of(at)
        theirs = pycolmap.Camera(
            model=camera.model, width=camera.width_px, height=camera.height_px, params=list(camera.params)
        )
        np.testing.assert_allclose(theirs.img_from_cam(local), scene.tracks.xy_px[rows], atol=0.02, err_msg=name)
    taken = scene.without_images(scene.image_names[2:], min_observations=2)
    assert len(taken.points_world) == 30


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("NVM_V3", "NVM_V2", "NVM_V3"),
        ("NVM_V3 ", "NVM_V3 FixedK 1 2 3 4", "fixed calibration"),
        ("\n4\n", "\n5\n", "line 9: 1 words"),
        ("\n4\n", "\nfour\n", "no number of images"),
        ("\n30\n", "\n31\n", "1 numbers of a point"),
        (" 10 20 30 4 0 7", " 10 20 30 5 0 7", "numbers of a point"),
        (" 10 20 30 4 0 7", " 10 20 30 4 9 7", "beyond the 4"),
        (" 10 20 30 4 0 7", " 10 20 30 4 0.5 7", "index that is none"),
        ("\t150 ", "\t0 ", "focal"),
        ("\t150 ", "\tnan ", "NaN"),
        ("seq1/frame00001.jpg", "../frame00001.jpg", "within the image folder"),
    ],
)
def test_broken_nvm_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    write_cambridge(tmp_path)
    text = (tmp_path / "reconstruction.nvm").read_text()
    assert old in text
    (tmp_path / "bad.nvm").write_text(text.replace(old, new, 1))
    with pytest.raises(InputError, match=message):
        read_nvm(tmp_path / "bad.nvm", lambda _: SIZE)
    (tmp_path / "cut.nvm").write_text(text[: len(text) // 2])
    with pytest.raises(InputError, match=r"line|early"):
        read_nvm(tmp_path / "cut.nvm", lambda _: SIZE)


def test_broken_cambridge_is_named(tmp_path: Path) -> None:
    write_cambridge(tmp_path)
    (tmp_path / "seq2/frame00002.png").write_bytes(b"no image")
    with pytest.raises(MapInputError, match=r"frame00002\.png cannot be read"):
        read_cambridge(tmp_path)
    (tmp_path / "seq2/frame00002.png").unlink()
    with pytest.raises(MapInputError, match=r"no image 'seq2/frame00002\.png' \(1 of 4"):
        read_cambridge(tmp_path)
    write_cambridge(tmp_path)
    test = tmp_path / "dataset_test.txt"
    test.write_text(test.read_text() + "seq9/x.png 1 2 3 1 0 0\n")
    with pytest.raises(MapInputError, match="line 6: 7 words"):
        read_cambridge(tmp_path)
    test.write_text("Visual Landmark Dataset V1\n")
    with pytest.raises(MapInputError, match="lists no image"):
        read_cambridge(tmp_path)


def write_seven_scenes(folder: Path) -> DoubleArray:
    (folder / "x").mkdir(parents=True)
    (folder / "TrainSplit.txt").write_text("sequence1\nsequence10\n")
    (folder / "TestSplit.txt").write_text("sequence2\n")
    _, _, pose = poses(6, 5)
    at = 0
    for sequence in ("seq-01", "seq-02", "seq-10"):
        for frame in range(2):
            base = folder / sequence / f"frame-{frame:06d}"
            picture(base.with_name(f"{base.name}.color.png"), (8, 6))
            rows = [f"\t {words(row)}" for row in inverse_rigid(pose[at])]
            base.with_name(f"{base.name}.pose.txt").write_text("\n".join(rows) + "\n")
            at += 1
    return pose


def test_seven_scenes(tmp_path: Path) -> None:
    folder = tmp_path / "chess"
    pose = write_seven_scenes(folder)
    found = read_seven_scenes(folder)
    assert [image.name for image in found.map_images] == [
        "seq-01/frame-000000.color.png", "seq-01/frame-000001.color.png",
        "seq-10/frame-000000.color.png", "seq-10/frame-000001.color.png",
    ]  # fmt: skip
    assert [image.name for image in found.queries] == ["seq-02/frame-000000.color.png", "seq-02/frame-000001.color.png"]
    for image, expected in zip([*found.map_images, *found.queries], pose[[0, 1, 4, 5, 2, 3]], strict=True):
        np.testing.assert_allclose(image.camera_SE3_world, expected, atol=1e-12)
    assert found.thresholds == ((0.05, 5.0),)
    (folder / "seq-02/frame-000001.pose.txt").write_text("1 0 0 0\n0 1 0 0\n0 0 2 0\n0 0 0 1")
    with pytest.raises(InputError, match=r"frame-000001\.pose\.txt.*orthonormal"):
        read_seven_scenes(folder)
    (folder / "seq-02/frame-000001.pose.txt").unlink()
    with pytest.raises(InputError, match=r"frame-000001\.pose\.txt"):
        read_seven_scenes(folder)
    (folder / "TestSplit.txt").write_text("sequence1\n")
    with pytest.raises(MapInputError, match="both splits"):
        read_seven_scenes(folder)
    (folder / "TestSplit.txt").write_text("sequence7\n")
    with pytest.raises(MapInputError, match="unpack seq-07"):
        read_seven_scenes(folder)


@pytest.mark.shared
def test_poses_of_a_real_seven_scenes_sequence(shared_data: Path) -> None:
    """The owners' own frames of RedKitchen: poses agree with a model of the same images in metres, to centimetres."""
    pycolmap = pytest.importorskip("pycolmap")
    from benchmarks.datasets.seven_scenes import read_camera_to_world

    folder = shared_data / "visual" / "redkitchen"
    model = pycolmap.Reconstruction(folder / "sparse")
    apart = []
    for path in sorted((folder / "poses").iterdir())[::25]:
        image = model.find_image_with_name(path.name.replace(".pose.txt", ".color.jpg"))
        centre = inverse_rigid(read_camera_to_world(path))[:3, 3]
        apart.append(np.linalg.norm(centre - image.cam_from_world().inverse().translation))
    assert len(apart) >= 8
    assert np.median(apart) < 0.05


def test_aachen(tmp_path: Path) -> None:
    for name in ("db/1.jpg", "sequences/gopro3_undistorted/2.png", "query/day/nexus4/3.jpg", "query/night/4.jpg"):
        picture(tmp_path / "images_upright" / name, (8, 6))
    (tmp_path / "3D-models/aachen_v_1_1").mkdir(parents=True)
    (tmp_path / "queries").mkdir()
    camera = "SIMPLE_RADIAL 1600 1200 1469.2 800 600 -0.0353"
    day = tmp_path / "queries/day_time_queries_with_intrinsics.txt"
    day.write_text(f"query/day/nexus4/3.jpg {camera}\n")
    (tmp_path / "queries/night_time_queries_with_intrinsics.txt").write_text(f"query/night/4.jpg {camera}\n")
    found = read_aachen(tmp_path)
    assert [image.name for image in found.map_images] == ["db/1.jpg", "sequences/gopro3_undistorted/2.png"]
    assert [image.name for image in found.queries] == ["query/day/nexus4/3.jpg", "query/night/4.jpg"]
    assert found.queries[0].camera is not None
    assert found.model_folder == tmp_path / "3D-models/aachen_v_1_1"
    assert found.withheld
    day.write_text(f"query/day/nexus4/3.jpg {camera}\nquery/day/none.jpg {camera}\n")
    with pytest.raises(MapInputError, match=r"'query/day/none\.jpg' \(1 of 3"):
        read_aachen(tmp_path)
    assert len(read_aachen(tmp_path, check_images=False).queries) == 3
    day.write_text("query/day/nexus4/3.jpg\n")
    with pytest.raises(MapInputError, match="has no camera"):
        read_aachen(tmp_path)


def write_eth_microsoft(folder: Path) -> None:
    head = "# kapture format: 1.1\n"
    camera = "camera, PINHOLE, 640, 480, 500, 500, 320, 240"
    for part, texts in {
        "mapping": {
            "sensors.txt": f"nav1, , {camera}\nnav2, , {camera}\n",
            "rigs.txt": "m6, nav1, 1, 0, 0, 0, 0, 0, 0\nm6, nav2, 0, 1, 0, 0, 1, 0, 0\n",
            "trajectories.txt": "5, m6, 1, 0, 0, 0, 1, 2, 3\n",
            "records_camera.txt": "5, nav1, a/1.jpg\n5, nav2, a/2.jpg\n",
        },
        "query": {
            "sensors.txt": f"cam_phone_0_2, , {camera}\nh_left, , {camera}\nh_right, , {camera}\n",
            "rigs.txt": "hetrig_1, h_left, 1, 0, 0, 0, 0.1, 0, 0\nhetrig_1, h_right, 1, 0, 0, 0, -0.1, 0, 0\n",
            "records_camera.txt": "0, cam_phone_0_2, p/0.jpg\n1, h_left, h/l1.jpg\n1, h_right, h/r1.jpg\n"
            "2, h_left, h/l2.jpg\n",
        },
    }.items():
        for name, text in texts.items():
            path = folder / part / "sensors" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(head + text)
    (folder / "queries_single.txt").write_text("0/cam_phone_0_2\n")
    (folder / "queries_rigs.txt").write_text("# rigs\n1/hetrig_1\n")


def test_eth_microsoft(tmp_path: Path) -> None:
    write_eth_microsoft(tmp_path)
    found = read_eth_microsoft(tmp_path)
    assert [image.name for image in found.map_images] == ["a/1.jpg", "a/2.jpg"]
    second = found.map_images[1].camera_SE3_world
    np.testing.assert_allclose(second, [[1, 0, 0, 2], [0, -1, 0, -2], [0, 0, -1, -3], [0, 0, 0, 1]], atol=1e-12)
    assert {key: [image.name for image in images] for key, images in found.rigs.items()} == {
        "0/cam_phone_0_2": ["p/0.jpg"],
        "1/hetrig_1": ["h/l1.jpg", "h/r1.jpg"],
    }
    assert found.queries[0].camera_SE3_rig is None
    assert found.queries[2].camera_SE3_rig is not None
    np.testing.assert_allclose(found.queries[2].camera_SE3_rig[:3, 3], [-0.1, 0, 0])
    (tmp_path / "queries_rigs.txt").write_text("9/hetrig_1\n")
    with pytest.raises(MapInputError, match="no rig is '9/hetrig_1'"):
        read_eth_microsoft(tmp_path)
    (tmp_path / "queries_single.txt").write_text("0/other\n")
    with pytest.raises(MapInputError, match="no image is '0/other'"):
        read_eth_microsoft(tmp_path)


@pytest.mark.parametrize("kind", sorted(READERS))
def test_a_folder_of_something_else(tmp_path: Path, kind: str) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(MapInputError) as caught:
            READERS[kind](folder)
        assert caught.value.cure
