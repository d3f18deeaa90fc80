"""True poses in every layout: whole names, times within a limit, order; and poses alone of a COLMAP model."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from foldmap.errors import InputError, PoseInputError
from foldmap.formats.hloc.results import is_results, read_results, write_results
from foldmap.formats.poses.photos import read_image_poses

COUNT = 12


def poses(count: int = COUNT, seed: int = 0) -> np.ndarray:
    """camera_SE3_world (N, 4, 4)."""
    rng = np.random.default_rng(seed)
    made = np.tile(np.eye(4), (count, 1, 1))
    made[:, :3, :3] = Rotation.random(count, random_state=seed).as_matrix()
    made[:, :3, 3] = rng.normal(size=(count, 3))
    return made


def write_tum(path: Path, times: list[str], camera_SE3_world: np.ndarray) -> Path:
    rows = []
    for time, pose in zip(times, camera_SE3_world, strict=True):
        inverse = np.linalg.inv(pose)
        values = [*inverse[:3, 3], *Rotation.from_matrix(inverse[:3, :3]).as_quat()]
        rows.append(" ".join([time, *(f"{value:.12f}" for value in values)]))
    path.write_text("\n".join(rows) + "\n")
    return path


def write_model(folder: Path, names: list[str], camera_SE3_world: np.ndarray, camera: str, points: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "cameras.txt").write_text(f"1 {camera}\n")
    rows = []
    for number, (name, pose) in enumerate(zip(names, camera_SE3_world, strict=True)):
        x, y, z, w = Rotation.from_matrix(pose[:3, :3]).as_quat()
        values = " ".join(repr(float(value)) for value in (w, x, y, z, *pose[:3, 3]))
        rows.append(f"{number + 1} {values} 1 {name}\n10 20 7 30 40 -1\n")
    (folder / "images.txt").write_text("".join(rows))
    if points:
        (folder / "points3D.txt").write_text(points)
    return folder


def assert_right(found: dict[str, np.ndarray], names: list[str], true: np.ndarray) -> None:
    for name, pose in zip(names, true, strict=True):
        assert found[name] == pytest.approx(pose, abs=1e-9)


def test_sequences_of_equal_file_names(tmp_path: Path) -> None:
    names, true = [f"seq-{1 + i % 3:02}/frame-{i // 3:06}.color.png" for i in range(COUNT)], poses()
    for name, pose in zip(names, true, strict=True):
        path = tmp_path / "chess" / name.replace(".color.png", ".pose.txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savetxt(path, np.linalg.inv(pose), fmt="%.12e")
    known = read_image_poses(tmp_path / "chess", names)
    assert_right(dict(known.camera_SE3_world), names, true)
    assert known.paired == "12 of 12 by name"
    with pytest.raises(PoseInputError, match=r"'frame-000000.color.png' may be 'seq-01/frame-000000' or 'seq-02"):
        read_image_poses(tmp_path / "chess", ["frame-000000.color.png"])
    # the folder of one sequence, its photos named with or without it
    for asked in (names[1], Path(names[1]).name):
        assert read_image_poses(tmp_path / "chess" / "seq-02", [asked]).camera_SE3_world[asked] == pytest.approx(
            true[1]
        )
    assert not read_image_poses(tmp_path / "chess", ["seq-09/frame-000000.color.png"]).camera_SE3_world
    # a linked folder of poses is one
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "seq-01").symlink_to(tmp_path / "chess" / "seq-01")
    assert read_image_poses(tmp_path / "linked", names[:1]).camera_SE3_world[names[0]] == pytest.approx(true[0])


def test_frame_numbers_are_not_seconds(tmp_path: Path) -> None:
    true = poses(40)
    path = write_tum(tmp_path / "t.tum", [f"{i * 0.1:.6f}" for i in range(40)], true)
    names = [f"{i:06}.png" for i in range(40)]
    known = read_image_poses(path, names[::-1])
    assert_right(dict(known.camera_SE3_world), names, true)
    assert known.paired == "40 of 40 in the order of names"
    # four of them are whole seconds of the trajectory, and still no times
    with pytest.raises(PoseInputError, match="40 poses for 4 photos, whose names are no times of it"):
        read_image_poses(path, names[:4])


@pytest.mark.parametrize("form", ["{:.6f}.png", "rgb/{:.3f}.jpg"])
def test_names_that_are_times(tmp_path: Path, form: str) -> None:
    true = poses()
    at = 1305031102.0 + np.arange(COUNT) * 0.1
    path = write_tum(tmp_path / "t.tum", [f"{time:.6f}" for time in at], true)
    names = [form.format(time + 0.004) for time in at[2:9]]
    known = read_image_poses(path, names)
    assert_right({name: known.camera_SE3_world[name] for name in names}, names, true[2:9])
    assert re.fullmatch(r"7 of 7 by time, at most 0\.0040\d\d s apart \(limit 0\.01 s\)", known.paired)
    assert known.by_time
    with pytest.raises(PoseInputError, match=r"0 of which are named .* within 0\.001 s .*0\.00399\d+ s off"):
        read_image_poses(path, names, limit_s=0.001)
    # as many photos as poses, yet of other times: their order says nothing
    with pytest.raises(PoseInputError, match=r"within 0\.01 s"):
        read_image_poses(path, [form.format(time + 99.0) for time in at])


@pytest.mark.parametrize(
    ("camera", "points"),
    [
        ("THIN_PRISM_FISHEYE 640 480 500 500 320 240 0 0 0 0 0 0 0 0", "7 1 2 3 9 9 9 0.5 1 0 2 0\n"),
        ("PINHOLE 640 480 500 500 320 240", "5000 1 2 3 9 9 9 0.5\n"),
        ("PINHOLE 640 480 500 500 320 240", ""),
        ("damaged", "damaged\n"),
    ],
)
def test_only_poses_of_a_model_are_read(tmp_path: Path, camera: str, points: str) -> None:
    names, true = [f"db/my photo {i}.jpg" for i in range(COUNT)], poses()
    folder = write_model(tmp_path / "scene" / "sparse" / "0", names, true, camera, points)
    for place in (folder, tmp_path / "scene"):
        known = read_image_poses(place, names, cameras=False)
        assert_right(dict(known.camera_SE3_world), names, true)
    # pose files below do not come before a model
    np.savetxt(tmp_path / "scene" / "my photo 0.pose.txt", np.eye(4))
    known = read_image_poses(tmp_path / "scene", names, cameras=False)
    assert known.layout == "colmap"
    assert_right(dict(known.camera_SE3_world), names, true)
    if camera == "damaged":
        with pytest.raises(InputError):
            read_image_poses(folder, names)  # cameras are wanted


def test_a_model_of_bad_poses_names_the_image(tmp_path: Path) -> None:
    true = poses()
    true[3, 0, 3] = np.nan
    folder = write_model(tmp_path / "m", [f"{i}.jpg" for i in range(COUNT)], true, "damaged", "")
    with pytest.raises(InputError, match=r"images.txt: image '3.jpg'"):
        read_image_poses(folder, ["1.jpg"], cameras=False)


def test_results_of_awkward_names(tmp_path: Path) -> None:
    names = ["my photo.jpg", "#1.jpg", "ä ö.jpg", "a,b.jpg", "17", "x/y#2.jpg"]
    written = dict(zip(names, poses(len(names)), strict=True))
    write_results(tmp_path / "r.txt", written)
    again = read_results(tmp_path / "r.txt")
    assert set(again) == set(names)
    assert all(again[name] == pytest.approx(written[name], abs=1e-12) for name in names)
    assert is_results(tmp_path / "r.txt")
    known = read_image_poses(tmp_path / "r.txt", names)
    assert known.paired == "6 of 6 by name"


def test_numbers_as_names_are_told_from_times(tmp_path: Path) -> None:
    true = poses(5)
    write_results(tmp_path / "r.txt", {f"{i:06}": pose for i, pose in enumerate(true)})
    write_tum(tmp_path / "t.tum", [f"{i}" for i in range(5)], true)
    assert is_results(tmp_path / "r.txt")
    assert not is_results(tmp_path / "t.tum")


def test_poses_without_names_go_by_the_order_of_names(tmp_path: Path) -> None:
    """KITTI rows as those of TUM; a list of several folders in another order leaves open which is whose."""
    true, names = poses(), [f"day {i // 6}/img_{i}.jpg" for i in range(COUNT)]
    rows = [" ".join(map(repr, np.linalg.inv(pose)[:3].reshape(-1).tolist())) for pose in true]
    (tmp_path / "k.txt").write_text("\n".join(rows) + "\n")
    found = read_image_poses(tmp_path / "k.txt", sorted(names))
    assert (found.layout, found.paired) == ("kitti", f"{COUNT} of {COUNT} in the order of names")
    assert_right(dict(found.camera_SE3_world), names, true)
    tum = write_tum(tmp_path / "t.txt", [str(i) for i in range(COUNT)], true)
    for path in (tmp_path / "k.txt", tum):
        with pytest.raises(PoseInputError, match="listed in another order"):
            read_image_poses(path, names[6:] + names[:6])
    with pytest.raises(PoseInputError, match="12 poses for 11 photos"):
        read_image_poses(tmp_path / "k.txt", names[1:])


def test_json_is_called_that(tmp_path: Path) -> None:
    (tmp_path / "transforms.json").write_text('{"frames": [{"file_path": "a.jpg"}]}')
    with pytest.raises(PoseInputError, match=r"is JSON, such as NeRF's transforms\.json") as caught:
        read_image_poses(tmp_path / "transforms.json", ["a.jpg"])
    assert "y down" in caught.value.cure
