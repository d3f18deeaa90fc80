"""Trajectories against SciPy's rotations, and every way a pose file can be wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from foldmap.errors import PoseInputError
from foldmap.formats.poses.trajectories import read_poses


@pytest.fixture
def matrices() -> np.ndarray:
    rng = np.random.default_rng(1)
    matrices = np.tile(np.eye(4), (6, 1, 1))
    matrices[:, :3, :3] = Rotation.random(6, random_state=2).as_matrix()
    matrices[:, :3, 3] = rng.normal(0, 100, (6, 3))
    return matrices


def kitti_text(matrices: np.ndarray) -> str:
    return "\n".join(" ".join(f"{v:.12g}" for v in m[:3].ravel()) for m in matrices) + "\n"


def test_kitti(tmp_path: Path, matrices: np.ndarray) -> None:
    path = tmp_path / "poses.txt"
    path.write_text("# comment\n\n" + kitti_text(matrices))
    trajectory = read_poses(path)
    assert trajectory.layout == "kitti"
    assert trajectory.times_s is None
    np.testing.assert_allclose([p.matrix for p in trajectory.world_SE3_sensors], matrices, atol=1e-9)


def test_whole_matrices_and_separators(tmp_path: Path, matrices: np.ndarray) -> None:
    """Sixteen numbers a pose, row-major: column-major ones have their translation in the last row."""
    path = tmp_path / "poses.txt"
    np.savetxt(path, matrices.reshape(-1, 16), delimiter=";")
    np.testing.assert_allclose([p.matrix for p in read_poses(path).world_SE3_sensors], matrices, atol=1e-9)
    np.savetxt(path, matrices.transpose(0, 2, 1).reshape(-1, 16))
    with pytest.raises(PoseInputError, match=r"line 1: a pose has the last row .* not 0 0 0 1"):
        read_poses(path)
    path.write_text(kitti_text(matrices), encoding="utf-16")
    with pytest.raises(PoseInputError, match="but of UTF-16"):
        read_poses(path)


def test_kitti_camera(tmp_path: Path, matrices: np.ndarray) -> None:
    camera_T_sensor = np.eye(4)
    camera_T_sensor[:3] = np.array([[0, -1, 0, 0.1], [0, 0, -1, -0.2], [1, 0, 0, -0.3]])
    (tmp_path / "poses.txt").write_text(kitti_text(matrices))
    row = " ".join(str(v) for v in camera_T_sensor[:3].ravel())
    (tmp_path / "calib.txt").write_text(f"P0: 1 0 0 0 0 1 0 0 0 0 1 0\nTr: {row}\n")
    poses = read_poses(tmp_path / "poses.txt", tmp_path / "calib.txt").world_SE3_sensors
    expected = np.linalg.inv(camera_T_sensor) @ matrices @ camera_T_sensor
    np.testing.assert_allclose([p.matrix for p in poses], expected, atol=1e-9)
    for text, match in (("P0: 1\n", "no row Tr"), ("Tr: 1 2 3\n", "not twelve"), ("Tr: " + "0 " * 12, "line 1")):
        (tmp_path / "calib.txt").write_text(text)
        with pytest.raises(PoseInputError, match=match):
            read_poses(tmp_path / "poses.txt", tmp_path / "calib.txt")


def test_tum(tmp_path: Path, matrices: np.ndarray) -> None:
    quaternions = Rotation.from_matrix(matrices[:, :3, :3]).as_quat()
    rows = [f"{10 + i} {' '.join(map(repr, [*m[:3, 3].tolist(), *q.tolist()]))}" for i, (m, q) in enumerate(
        zip(matrices, quaternions, strict=True)
    )]  # fmt: skip
    path = tmp_path / "poses.tum"
    path.write_text("\n".join(rows))
    trajectory = read_poses(path)
    assert trajectory.layout == "tum"
    np.testing.assert_allclose([p.matrix for p in trajectory.world_SE3_sensors], matrices, atol=1e-9)
    np.testing.assert_array_equal(trajectory.times_s, np.arange(10, 16))
    with pytest.raises(PoseInputError, match="takes no calibration"):
        read_poses(path, path)


HEADS = {
    "#timestamp [ns], p_x [m], p_y [m], p_z [m], q_w [], q_x [], q_y [], q_z []": "wxyz",
    "#timestamp, p_RS_R_x [m], p_RS_R_y [m], p_RS_R_z [m], q_RS_w [], q_RS_x [], q_RS_y [], q_RS_z [], v_x []": "wxyz",
    "timestamp,tx,ty,tz,qw,qx,qy,qz": "wxyz",
    "time_ns x y z qx qy qz qw": "xyzw",
    "# t x y z w x y z": "wxyz",
    "# t x y z qx qy qz qw, world_T_vehicle, metres": "xyzw",
    "# timestamp tx ty tz qx qy qz qw": "xyzw",
    "# from the SLAM of Tuesday": "xyzw",
    "time,pose.position.x,pose.position.y,pose.position.z,"
    "pose.orientation.x,pose.orientation.y,pose.orientation.z,pose.orientation.w": "xyzw",
}


@pytest.mark.parametrize("head", HEADS)
def test_columns_are_those_that_the_header_names(tmp_path: Path, matrices: np.ndarray, head: str) -> None:
    order = ["xyzw".index(axis) for axis in HEADS[head]]
    quaternions = Rotation.from_matrix(matrices[:, :3, :3]).as_quat()[:, order]
    more = [0.5] if "v_x" in head else []
    rows = [
        ",".join(map(str, [(1305031102 + i) * 10**9, *m[:3, 3].tolist(), *q.tolist(), *more]))
        for i, (m, q) in enumerate(zip(matrices, quaternions, strict=True))
    ]
    (tmp_path / "poses.csv").write_text("\n".join([head, *rows]))
    trajectory = read_poses(tmp_path / "poses.csv")
    np.testing.assert_allclose([p.matrix for p in trajectory.world_SE3_sensors], matrices, atol=1e-9)
    np.testing.assert_allclose(trajectory.times_s, 1305031102 + np.arange(6), atol=1e-5)


@pytest.mark.parametrize("unit", [1, 10**3, 10**6, 10**9])
def test_stamps_since_1970_become_seconds(tmp_path: Path, unit: int) -> None:
    rows = [f"{(1305031102 * 10 + i) * unit // 10} {i} 0 0 0 0 0 1" for i in range(0, 50, 10)]
    (tmp_path / "poses.txt").write_text("\n".join(rows))
    np.testing.assert_allclose(read_poses(tmp_path / "poses.txt").times_s, 1305031102 + np.arange(5), atol=1e-5)


@pytest.mark.parametrize(
    ("head", "match"),
    [
        ("# position, then quaternion (w, x, y, z)", "line 1 puts qw before qx"),
        ("# t, x [mm], y [mm], z [mm], qx, qy, qz, qw", "positions are in mm"),
        ("# t [h], x, y, z, qx, qy, qz, qw", "times are in h"),
    ],
)
def test_headers_that_tell_of_other_rows_are_believed(tmp_path: Path, head: str, match: str) -> None:
    (tmp_path / "poses.txt").write_text(head + "\n1 0 0 0 0 0 0 1\n")
    with pytest.raises(PoseInputError, match=match):
        read_poses(tmp_path / "poses.txt")


GOOD_KITTI = "1 0 0 0 0 1 0 0 0 0 1 0\n"
GOOD_TUM = "1 0 0 0 0 0 0 1\n"


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "holds no poses"),
        ("# only a comment\n", "holds no poses"),
        ("1 2 3\n", "line 1: 3 columns"),
        (GOOD_KITTI + "1 0 0 0 0 1 0 0 0 0 1\n", "line 2: 11 columns"),
        (GOOD_KITTI + "1 0 0 0 0 1 0 x 0 0 1 0\n", "line 2: .*'x'"),
        (GOOD_KITTI + "1 0 0 nan 0 1 0 0 0 0 1 0\n", "line 2: NaN"),
        (GOOD_KITTI + "1 0 0 inf 0 1 0 0 0 0 1 0\n", "line 2: NaN or infinite"),
        (GOOD_KITTI + "\n2 0 0 0 0 1 0 0 0 0 1 0\n", "line 3: .*orthonormal"),
        ("1 0 0 0 0 1 0 0 0 0 -1 0\n", "line 1: .*right-handed"),
        (GOOD_TUM + "0.5 0 0 0 0 0 0 1\n", "line 2: time 0.5 s does not follow 1 s"),
        (GOOD_TUM + GOOD_TUM, "line 2: time 1 s does not follow"),
        ("1700000000.25 0 0 0 0 0 0 1\n1700000000.125 0 0 0 0 0 0 1\n", r"00\.125 s does not follow 17"),
        (GOOD_TUM + "2 0 0 0 0 0 0 0\n", "line 2: the quaternion has length 0"),
        (GOOD_TUM + "2 0 0 0 0 0 0 nan\n", "line 2: NaN"),
        (GOOD_TUM + GOOD_KITTI, "line 2: 12 columns"),
    ],
)
def test_bad_files(tmp_path: Path, text: str, match: str) -> None:
    path = tmp_path / "poses.txt"
    path.write_text(text)
    with pytest.raises(PoseInputError, match=match):
        read_poses(path)


def test_missing_and_binary(tmp_path: Path) -> None:
    with pytest.raises(PoseInputError, match="cannot be read"):
        read_poses(tmp_path / "missing.txt")
    with pytest.raises(PoseInputError, match="cannot be read"):
        read_poses(tmp_path)
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(PoseInputError, match="not a text file"):
        read_poses(tmp_path / "b.txt")
