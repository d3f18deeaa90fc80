"""kapture datasets, written here by hand after the format's specification."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest

from foldmap.errors import InputError, MapInputError
from foldmap.formats.kapture.features import KaptureFeatures
from foldmap.formats.kapture.scene import read_kapture
from foldmap.formats.kapture.text import read_images
from foldmap.visual.scene.join import join_features
from foldmap.visual.source import FeatureSource

HALF = np.sqrt(0.5)
IMAGES = ["map/l/0.jpg", "map/r/0.jpg", "map/é.jpg", "map/lost.jpg"]
# left and right sit on a rig; the rig looks along world x from (1, 2, 3): camera z is world x
RIG_SE3_WORLD = np.array([[0, 0, 1.0, -3], [0, 1, 0, -2], [-1, 0, 0, 1], [0, 0, 0, 1]])
RIG_TEXT = f"{HALF}, 0, {HALF}, 0, -3, -2, 1"


def write(folder: Path, version: str = "1.1") -> Path:
    """A kapture of three posed images and one lost one, two points, features of two dimensions."""
    head = f"# kapture format: {version}\n"
    texts = {
        "sensors/sensors.txt": "# sensor_device_id, name, sensor_type, [sensor_params]+\n"
        "left, , camera, PINHOLE, 640, 480, 500, 501, 320, 240\n"
        "right, Hero, camera, SIMPLE_RADIAL, 640, 480, 510, 320, 240, 0.1\nwifi, , wifi\n",
        "sensors/rigs.txt": "head, left, 1, 0, 0, 0, 0.1, 0, 0\nhead, right, 1, 0, 0, 0, -0.1, 0, 0\n",
        "sensors/trajectories.txt": f"0000, head, {RIG_TEXT}\n7, left, 1, 0, 0, 0, 0, 0, 5\n8, left, , , , , , ,\n",
        "sensors/records_camera.txt": "0, left, map/l/0.jpg\n0, right, map/r/0.jpg\n7, left, map/é.jpg\n"
        "8, left, map/lost.jpg\n",
        "reconstruction/points3d.txt": "# X, Y, Z, [R, G, B]\n1, 2, 3, 0, 0, 0\n4, 5, 6, 1, 2, 3\n7, 8, 9, 0, 0, 0\n",
    }
    observed = [(0, [(0, 4), (1, 2)]), (2, [(2, 0), (3, 1), (1, 0)])]
    typed = "SIFT, " if version == "1.1" else ""
    lines = [f"{p}, {typed}" + ", ".join(f"{IMAGES[i]}, {k}" for i, k in each) for p, each in observed]
    if version == "1.1":
        lines.append(f"1, other, {IMAGES[0]}, 3")
    texts["reconstruction/observations.txt"] = "\n".join(lines)
    inner = "SIFT/" if version == "1.1" else ""
    base = f"reconstruction/keypoints/{inner}"
    texts[f"{base}keypoints.txt"] = "sift, float32, 4\n"
    texts[f"reconstruction/descriptors/{inner}descriptors.txt"] = "SIFT, uint8, 8" + (
        ", SIFT, L2\n" if version == "1.1" else "\n"
    )
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(head + text, encoding="utf-8")
    for seed, name in enumerate(IMAGES):
        keypoints, codes = arrays(seed)
        for kind, suffix, array in (
            ("keypoints", "kpt", keypoints),
            ("descriptors", "desc", codes),
        ):
            path = folder / f"reconstruction/{kind}/{inner}{name}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(array.tobytes())
    return folder


def arrays(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    keypoints = rng.uniform(0, 400, (6, 4)).astype("<f4")
    return keypoints, rng.integers(0, 255, (6, 8), dtype=np.uint8)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_scene(tmp_path: Path, version: str) -> None:
    scene, keypoint = read_kapture(write(tmp_path, version))
    assert scene.image_names == tuple(IMAGES[:3])
    assert [camera.model for camera in scene.cameras] == ["PINHOLE", "SIMPLE_RADIAL"]
    np.testing.assert_array_equal(scene.image_camera, [0, 1, 0])
    left = RIG_SE3_WORLD.copy()
    left[0, 3] += 0.1
    np.testing.assert_allclose(scene.camera_SE3_world[0], left, atol=1e-12)
    np.testing.assert_allclose(scene.camera_SE3_world[2, :3, 3], [0, 0, 5])
    # the rig stands at (1, 2, 3); its cameras 0.1 to the left and right along its x, which is world z
    np.testing.assert_allclose(scene.centres_world[:2], [[1, 2, 2.9], [1, 2, 3.1]], atol=1e-12)
    np.testing.assert_array_equal(scene.points_world, [[1, 2, 3], [7, 8, 9]])  # nobody sees the second
    np.testing.assert_array_equal(scene.tracks.point, [0, 0, 1, 1])
    np.testing.assert_array_equal(scene.tracks.image, [0, 1, 1, 2])
    np.testing.assert_array_equal(keypoint, [4, 2, 0, 0])
    expected = np.stack([arrays(image)[0][k, :2] for image, k in zip([0, 1, 1, 2], keypoint, strict=True)])
    np.testing.assert_array_equal(scene.tracks.xy_px, expected)


@pytest.mark.parametrize("packed", [False, True])
def test_features_join(tmp_path: Path, packed: bool) -> None:
    write(tmp_path)
    if packed:
        for kind in ("keypoints", "descriptors"):
            inner = tmp_path / "reconstruction" / kind / "SIFT"
            with tarfile.open(inner / f"{kind}.tar", "w") as tar:
                tar.add(inner / "map", "map")
            shutil.rmtree(inner / "map")
    scene, keypoint = read_kapture(tmp_path)
    features: FeatureSource = KaptureFeatures(tmp_path)
    assert features.feature == "sift"
    assert list(features.names()) == sorted(IMAGES)
    # the true SIFT has 128 values: a join under that name is refused, under another it works
    with pytest.raises(MapInputError, match="sift has 128"):
        join_features(scene, features, keypoint)
    described = tmp_path / "reconstruction/descriptors/SIFT/descriptors.txt"
    described.write_text(described.read_text().replace("SIFT, uint8", "small, uint8"))
    joined = join_features(scene, KaptureFeatures(tmp_path), keypoint)
    expected = np.stack([arrays(image)[1][k] for image, k in zip([0, 1, 1, 2], keypoint, strict=True)])
    np.testing.assert_array_equal(joined.tracks.descriptors, expected)


def test_images_without_reconstruction(tmp_path: Path) -> None:
    write(tmp_path)
    shutil.rmtree(tmp_path / "reconstruction")
    scene, keypoint = read_kapture(tmp_path)
    assert (len(scene.image_names), len(scene.points_world), len(keypoint)) == (3, 0, 0)
    images = read_images(tmp_path)
    assert [image.query_id for image in images] == ["0/head", "0/head", "7/head", "8/head"]
    assert images[3].camera_SE3_world is None
    assert images[0].camera_SE3_rig is not None
    np.testing.assert_allclose(images[0].camera_SE3_rig[:3, 3], [0.1, 0, 0])


def test_rigs_within_rigs(tmp_path: Path) -> None:
    write(tmp_path)
    rigs = tmp_path / "sensors" / "rigs.txt"
    rigs.write_text(
        rigs.read_text().replace("head, right", "arm, right") + f"head, arm, {HALF}, 0, 0, {HALF}, 0, 1, 0\n"
    )
    arm = np.array([[0, -1.0, 0, 0], [1, 0, 0, 1], [0, 0, 1, 0], [0, 0, 0, 1]])
    right = np.eye(4)
    right[0, 3] = -0.1
    found = {image.name: image.camera_SE3_world for image in read_images(tmp_path)}
    np.testing.assert_allclose(found[IMAGES[1]], right @ arm @ RIG_SE3_WORLD, atol=1e-12)
    rigs.write_text(rigs.read_text() + "arm, head, 1, 0, 0, 0, 0, 0, 0\n")
    with pytest.raises(MapInputError, match="contains itself"):
        read_images(tmp_path)


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("sensors/sensors.txt", "format: 1.1", "format: 2.0", "format 2.0"),
        ("sensors/sensors.txt", "# kapture format: 1.1\n", "", "version"),
        ("sensors/sensors.txt", "PINHOLE, 640, 480, 500, 501, 320, 240", "UNKNOWN_CAMERA, 640, 480", "no parameters"),
        ("sensors/sensors.txt", "PINHOLE, 640, 480, 500, 501, 320, 240", "PINHOLE, 640, 480", "no parameters"),
        ("sensors/sensors.txt", "500, 501, 320", "500, 501", "3 parameters"),
        ("sensors/sensors.txt", "left, , camera", "lefty, , camera", "'left'"),
        ("sensors/trajectories.txt", "0000, head", "now, head", "timestamp 'now'"),
        ("sensors/trajectories.txt", ", -3, -2, 1", "", "5 fields|6 fields"),
        ("sensors/trajectories.txt", ", -3, -2, 1", ", nan, -2, 1", "NaN"),
        ("sensors/records_camera.txt", "map/r/0.jpg", "map/l/0.jpg", "comes twice"),
        ("sensors/records_camera.txt", "map/r/0.jpg", "../../r/0.jpg", "within records_data"),
        ("reconstruction/points3d.txt", "1, 2, 3, 0", "1, x, 3, 0", "line 3"),
        ("reconstruction/observations.txt", "0, SIFT", "3, SIFT", "point 3 of 3"),
        ("reconstruction/observations.txt", "map/l/0.jpg, 4", "map/l/0.jpg, 6", "keypoint 6 .* has 6"),
        ("reconstruction/observations.txt", "map/l/0.jpg, 4", "map/l/0.jpg, -4", "'-4'"),
        ("reconstruction/observations.txt", "map/l/0.jpg, 4", "map/l/0.jpg", "an image without keypoint|no index"),
        ("reconstruction/observations.txt", "map/l/0.jpg, 4", "map/none.jpg, 4", "'map/none.jpg' has no record"),
        ("reconstruction/keypoints/SIFT/keypoints.txt", "float32, 4", "object, 4", "'object'"),
        ("reconstruction/keypoints/SIFT/keypoints.txt", "float32, 4", "float32, 5", "truncated"),
        ("reconstruction/keypoints/SIFT/keypoints.txt", "sift, float32, 4", "", "0 lines"),
    ],
)
def test_broken_kaptures_are_named(tmp_path: Path, file: str, old: str, new: str, message: str) -> None:
    path = write(tmp_path) / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_kapture(tmp_path)


def test_missing_and_cut_parts(tmp_path: Path) -> None:
    with pytest.raises(MapInputError, match=r"sensors\.txt"):
        read_kapture(tmp_path)
    write(tmp_path)
    (tmp_path / "reconstruction/keypoints/other").mkdir()
    with pytest.raises(MapInputError, match="2 types: SIFT, other"):
        read_kapture(tmp_path)
    assert len(read_kapture(tmp_path, "SIFT")[0].points_world) == 2
    features = KaptureFeatures(tmp_path)
    with pytest.raises(MapInputError, match=r"none\.jpg"):
        features.load("none.jpg")
    path = tmp_path / "reconstruction/descriptors/SIFT" / f"{IMAGES[0]}.desc"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(MapInputError, match=r"5, 8.* 6 keypoints"):
        features.load(IMAGES[0])
    path.write_bytes(b"abc")
    with pytest.raises(MapInputError, match="truncated"):
        features.load(IMAGES[0])
    (tmp_path / "sensors/trajectories.txt").unlink()
    with pytest.raises(MapInputError, match="no image has a pose"):
        read_kapture(tmp_path, "SIFT")
