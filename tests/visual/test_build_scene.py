"""Scenes from photos of a room whose geometry is known: poses, points, files, and what cannot be built."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import photo_room
import pytest
from PIL import Image  # before pycolmap, see foldmap.visual.scene.colmap_library
from scipy.spatial.transform import Rotation
from typer.testing import CliRunner

pytest.importorskip("pycolmap")

from foldmap.cli import app
from foldmap.errors import MapInputError
from foldmap.formats.colmap.scene import read_model_with_keypoints
from foldmap.formats.hloc.features import HlocFeatures
from foldmap.formats.hloc.results import write_results
from foldmap.formats.poses.photos import read_image_poses
from foldmap.geometry.camera import Camera
from foldmap.geometry.quaternion import rigid_from_wxyz, wxyz_from_rigid
from foldmap.visual.scene.agreement import epipolar_errors, require_agreement
from foldmap.visual.source import SceneModel

COUNT = 7
FAST = ("--first-octave", "0", "--threads", "1", "--json")


@dataclass
class Room:
    folder: Path
    true: dict[str, np.ndarray]

    @property
    def photos(self) -> Path:
        return self.folder / "photos"


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["build", "visual", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def build(room: Room, name: str, *more: object) -> dict[str, object]:
    status, out, err = run(room.photos, "-o", room.folder / name, *FAST, *more)
    assert status == 0, err
    summary: dict[str, object] = json.loads(out)
    return summary


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Room:
    """Photos of the room; beside them one of noise, which belongs nowhere."""
    folder = tmp_path_factory.mktemp("room")
    true = photo_room.write_photos(folder / "photos", COUNT)
    return Room(folder, true)


@pytest.fixture(scope="module")
def found(room: Room) -> tuple[dict[str, object], SceneModel]:
    """The scene from photos and nothing else; one photo is noise."""
    noise = np.random.default_rng(0).integers(0, 255, (240, 320), dtype=np.uint8)
    Image.fromarray(noise).save(room.photos / "noise.png")
    summary = build(room, "found", "--one-camera")
    (room.photos / "noise.png").unlink()
    return summary, read_model_with_keypoints(room.folder / "found").scene


@pytest.fixture(scope="module")
def known(room: Room) -> tuple[dict[str, object], SceneModel]:
    """The scene of known poses and intrinsics."""
    write_results_of(room, room.folder / "poses.txt")
    summary = build(room, "known", "--poses", room.folder / "poses.txt", "--camera", photo_room.CAMERA, "--metric")
    return summary, read_model_with_keypoints(room.folder / "known").scene


def write_results_of(room: Room, path: Path) -> None:
    """hloc's layout, written by hand: the writer wants names without spaces."""
    write_results(path, {name.replace(" ", "_"): pose for name, pose in room.true.items()})
    path.write_text(path.read_text().replace("photo_", "photo "))


def test_poses_are_found(room: Room, found: tuple[dict[str, object], SceneModel]) -> None:
    summary, scene = found
    assert summary["left_out"] == ["noise.png"]
    assert (summary["registered"], summary["photos"], summary["metric"]) == (COUNT, COUNT + 1, False)
    assert set(scene.image_names) == set(room.true)
    true = np.stack([room.true[name] for name in scene.image_names])
    centres = -np.einsum("iba,ib->ia", true[:, :3, :3], true[:, :3, 3])
    scale, rotation, shift = photo_room.align(scene.centres_world, centres)
    error = np.linalg.norm(scale * scene.centres_world @ rotation.T + shift - centres, axis=1)
    # the cameras stand 4 units from the corner: 0.5 % of that
    assert error.max() < 0.02
    turned = scene.camera_SE3_world[:, :3, :3] @ rotation.T @ true[:, :3, :3].transpose(0, 2, 1)
    angle_rad = np.arccos(np.clip((np.trace(turned, axis1=1, axis2=2) - 1) / 2, -1, 1))
    assert np.degrees(angle_rad).max() < 0.3
    # and the points lie on the room's planes
    points = scale * scene.points_world @ rotation.T + shift
    assert np.median(photo_room.distance_to_room(points)) < 0.01
    # focal length was guessed at 384 px and refined
    assert scene.cameras[0].focal_px[0] == pytest.approx(photo_room.FOCAL_PX, rel=0.02)


def test_points_of_known_poses_lie_on_the_room(room: Room, known: tuple[dict[str, object], SceneModel]) -> None:
    summary, scene = known
    assert summary["registered"] == COUNT
    assert summary["metric"] is True
    assert len(scene.points_world) > 300
    distance = photo_room.distance_to_room(scene.points_world)
    assert np.median(distance) < 0.005
    assert np.percentile(distance, 90) < 0.03
    for name, pose in zip(scene.image_names, scene.camera_SE3_world, strict=True):
        assert np.abs(pose - room.true[name]).max() < 1e-5
    assert scene.cameras[0].params == pytest.approx([300, 300, 160, 120])
    assert float(str(summary["mean_reprojection_error_px"])) < 0.7


def test_features_are_those_of_the_model(room: Room, found: tuple[dict[str, object], SceneModel]) -> None:
    model = read_model_with_keypoints(room.folder / "found")
    with HlocFeatures(room.folder / "found" / "features.h5") as features:
        assert features.feature == "sift"
        assert set(features.names()) == {*room.true, "noise.png"}
        for index, name in enumerate(model.scene.image_names):
            mine = model.scene.tracks.image == index
            loaded = features.load(name)
            assert loaded.descriptors.dtype == np.uint8
            xy_px = loaded.xy_px[model.keypoint_index[mine]]
            assert np.abs(xy_px - model.scene.tracks.xy_px[mine]).max() < 1e-4


def test_files_and_summary(room: Room, known: tuple[dict[str, object], SceneModel]) -> None:
    summary, scene = known
    folder = room.folder / "known"
    assert sorted(entry.name for entry in folder.iterdir()) == ["features.h5", "scene.json", "scene.png", "sparse"]
    stored = json.loads((folder / "scene.json").read_text(encoding="utf-8"))
    assert stored["points"] == summary["points"] == len(scene.points_world)
    assert stored["observations"] == len(scene.tracks)
    assert stored["settings"]["camera"]["model"] == "PINHOLE"
    with Image.open(folder / "scene.png") as picture:
        assert picture.width > 400


def test_the_same_again_gives_the_same_bytes(room: Room, known: tuple[dict[str, object], SceneModel]) -> None:
    before = {path.name: path.read_bytes() for path in (room.folder / "known" / "sparse").iterdir()}
    features = (room.folder / "known" / "features.h5").read_bytes()
    build(room, "known", "--poses", room.folder / "poses.txt", "--camera", photo_room.CAMERA, "--threads", "2")
    assert {path.name: path.read_bytes() for path in (room.folder / "known" / "sparse").iterdir()} == before
    assert (room.folder / "known" / "features.h5").read_bytes() == features


def test_listed_pairs_alone_are_matched(room: Room) -> None:
    names = sorted(room.true)
    rename = {name: name.replace(" ", "_") for name in names}
    photos = room.folder / "plain"
    (photos / "süd").mkdir(parents=True)
    for name in names:
        (photos / rename[name]).write_bytes((room.photos / name).read_bytes())
    lines = [f"{rename[a]} {rename[b]}" for a, b in pairwise(names)]
    (room.folder / "pairs.txt").write_text("\n".join(lines) + "\n")
    write_results(room.folder / "plain.txt", {rename[name]: pose for name, pose in room.true.items()})
    posed = ("--poses", room.folder / "plain.txt", "--camera", photo_room.CAMERA)
    status, out, err = run(photos, "-o", room.folder / "listed", *FAST, *posed, "--matching", room.folder / "pairs.txt")
    assert status == 0, err
    assert json.loads(out)["pairs"] == COUNT - 1
    assert json.loads(out)["points"] > 100


def test_pose_layouts_agree(room: Room, known: tuple[dict[str, object], SceneModel]) -> None:
    names = sorted(room.true)
    world_SE3_camera = {name: np.linalg.inv(pose) for name, pose in room.true.items()}
    seven = room.folder / "seven"
    seven.mkdir()
    for name, pose in world_SE3_camera.items():
        np.savetxt(seven / f"{Path(name).stem}.pose.txt", pose)
    from scipy.spatial.transform import Rotation

    rows = []
    for number, name in enumerate(names):
        pose = world_SE3_camera[name]
        quaternion = Rotation.from_matrix(pose[:3, :3]).as_quat()
        rows.append(" ".join(map(repr, map(float, [number / 10, *pose[:3, 3], *quaternion]))))
    (room.folder / "tum.txt").write_text("\n".join(rows))
    for source, layout in ((seven, "7-scenes"), (room.folder / "tum.txt", "tum"), (room.folder / "known", "colmap"),
                           (room.folder / "poses.txt", "hloc")):  # fmt: skip
        read = read_image_poses(source, names)
        assert read.layout == layout
        assert set(read.camera_SE3_world) == set(names)
        for name in names:
            assert np.abs(read.camera_SE3_world[name] - room.true[name]).max() < 1e-5
        assert bool(read.cameras) == (layout == "colmap")
        assert not read.cameras or isinstance(read.cameras[names[0]], Camera)


@pytest.mark.parametrize(
    ("more", "what"),
    [
        (("--features", "superpoint"), "superpoint"),
        (("--features", "aliked"), "weights"),
        (("--features", "xfeat", "--weights", "nowhere.pt"), "nowhere.pt"),
        (("--weights", "some.pt"), "needs no weights"),
        (("--matching", "nowhere.txt"), "nowhere.txt"),
        (("--poses", "nowhere.txt"), "nowhere.txt"),
        (("--camera", "PINHOLE,300"), "PINHOLE"),
        (("--camera", "PINHOLE,a,b,c,d"), "PINHOLE"),
        (("--max-keypoints", "40000"), "40000"),
        (("--metric",), "no scale"),
        (("--seed", "-1"), "seed"),
    ],
)
def test_wrong_settings_are_refused(room: Room, more: tuple[str, ...], what: str) -> None:
    status, _, err = run(room.photos, "-o", room.folder / "refused", *more)
    assert status == 2
    assert what in err
    assert not (room.folder / "refused" / "scene.json").exists()


def test_photos_that_show_nothing_common_are_no_scene(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    (tmp_path / "in").mkdir()
    for number in range(3):
        Image.fromarray(rng.integers(0, 255, (100, 120), dtype=np.uint8)).save(tmp_path / "in" / f"{number}.png")
    status, _, err = run(tmp_path / "in", "-o", tmp_path / "out")
    assert status == 2
    assert "overlap" in err
    assert not (tmp_path / "out").exists()


def test_poses_without_intrinsics_and_of_other_names(room: Room, tmp_path: Path) -> None:
    write_results_of(room, tmp_path / "poses.txt")
    status, _, err = run(room.photos, "-o", tmp_path / "out", "--poses", tmp_path / "poses.txt")
    assert (status, "--camera" in err) == (2, True)
    (tmp_path / "other.txt").write_text("elsewhere.jpg 1 0 0 0 0 0 0\n")
    status, _, err = run(room.photos, "-o", tmp_path / "out", "--poses", tmp_path / "other.txt")
    assert (status, "elsewhere.jpg" in err) == (2, True)


def test_other_files_are_not_written_among(room: Room, tmp_path: Path) -> None:
    (tmp_path / "diary.txt").write_text("dear diary")
    status, _, err = run(room.photos, "-o", tmp_path)
    assert (status, "other files" in err) == (2, True)


def test_broken_photos_are_left_out_and_named(room: Room) -> None:
    broken, other = room.photos / "aa first.png", room.photos / "süd" / "zz.heic"
    broken.write_bytes((room.photos / min(room.true)).read_bytes()[:5000])
    other.write_bytes(b"\0\0\0\x18ftypheic")
    write_results_of(room, room.folder / "poses.txt")
    poses = {name: room.true[min(room.true)] for name in ("aa_first.png",)}
    write_results(room.folder / "more.txt", poses)
    more = (room.folder / "more.txt").read_text().replace("aa_first", "aa first")
    (room.folder / "poses.txt").write_text((room.folder / "poses.txt").read_text() + more)
    given = ("--poses", room.folder / "poses.txt", "--camera", photo_room.CAMERA)
    status, out, err = run(room.photos, "-o", room.folder / "broken", *FAST, *given)
    broken.unlink()
    other.unlink()
    assert status == 0, err
    summary = json.loads(out)
    assert (summary["photos"], summary["registered"]) == (COUNT + 1, COUNT)
    assert summary["left_out"] == list(summary["unreadable"]) == ["aa first.png"]
    assert summary["poses_paired"] == f"{COUNT + 1} of {COUNT + 1} by name"
    assert "1 photos cannot be read: aa first.png" in err
    assert "format that is not read, like süd/zz.heic" in err
    scene = read_model_with_keypoints(room.folder / "broken").scene
    assert set(scene.image_names) == set(room.true)
    assert np.median(photo_room.distance_to_room(scene.points_world)) < 0.005
    assert HlocFeatures(room.folder / "broken" / "features.h5").names() == sorted(room.true)


def test_a_failed_build_names_photos_and_the_former_scene_stays(
    room: Room, known: tuple[dict[str, object], SceneModel], tmp_path: Path
) -> None:
    before = (room.folder / "known" / "scene.json").read_bytes()
    photo = (room.photos / min(room.true)).read_bytes()
    (tmp_path / "a.png").write_bytes(photo)
    (tmp_path / "zz.png").write_bytes(photo[:5000])
    status, _, err = run(tmp_path, "-o", room.folder / "known", *FAST)
    assert (status, "1 of 2 photos cannot be read" in err, "zz.png" in err) == (2, True, True)
    assert (room.folder / "known" / "scene.json").read_bytes() == before
    assert (room.folder / "known" / "sparse" / "images.bin").is_file()


def test_known_poses_far_from_the_origin(room: Room, known: tuple[dict[str, object], SceneModel]) -> None:
    """Poses of UTM's size give the points that they give at the origin, moved."""
    shift = np.array([691_000.0, 5_334_000.0, 520.0])
    far = {name: pose.copy() for name, pose in room.true.items()}
    for pose in far.values():
        pose[:3, 3] -= pose[:3, :3] @ shift
    write_results(room.folder / "far.txt", far)
    summary = build(room, "far", "--poses", room.folder / "far.txt", "--camera", photo_room.CAMERA)
    scene = read_model_with_keypoints(room.folder / "far").scene
    near = known[1]
    assert len(scene.points_world) == pytest.approx(len(near.points_world), rel=0.01)
    assert np.median(photo_room.distance_to_room(scene.points_world - shift)) < 0.005
    mean = float(str(summary["mean_reprojection_error_px"]))
    assert mean == pytest.approx(float(str(known[0]["mean_reprojection_error_px"])), rel=0.02)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["--overlap", "5"], "--overlap is of sequential matching"),
        (["--features", "xfeat", "--first-octave", "0"], "--first-octave is of SIFT"),
        (["--time-limit", "0.1"], "--time-limit is of known poses"),
    ],
)
def test_what_would_be_ignored_is_refused(room: Room, tmp_path: Path, given: list[str], says: str) -> None:
    status, _, err = run(room.photos, "-o", tmp_path / "s", *given)
    assert (status, says in err) == (2, True)


def turned_back(true: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: np.linalg.inv(pose) for name, pose in true.items()}


def of_the_next_photo(true: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    names = sorted(true)
    return {name: true[other] for name, other in zip(names, [*names[1:], names[0]], strict=True)}


def of_arkit(true: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: np.diag([1.0, -1.0, -1.0, 1.0]) @ pose for name, pose in true.items()}


def qw_last(true: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: rigid_from_wxyz(np.roll(wxyz_from_rigid(pose), -1), pose[:3, 3]) for name, pose in true.items()}


@pytest.mark.parametrize(
    ("fault", "reading"),
    [
        (turned_back, "the other way round"),
        (of_the_next_photo, ""),
        (of_arkit, "with y up and z back"),
        (qw_last, "as qx qy qz qw"),
    ],
)
def test_poses_of_something_else_are_refused(
    room: Room, tmp_path: Path, fault: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]], reading: str
) -> None:
    write_results(tmp_path / "poses.txt", fault(room.true))
    given = ("--poses", tmp_path / "poses.txt", "--camera", photo_room.CAMERA)
    status, _, err = run(room.photos, "-o", tmp_path / "s", *FAST, *given)
    assert (status, err.count("\n")) == (2, 1)
    assert "the known poses explain" in err
    assert (f"where they are read {reading}" in err) == bool(reading)
    assert ("are read" in err) == bool(reading)


class LookAlike:
    """Photos a, b and c of a database: a and b show the same 80 points, so does c, it seems, from a turned place."""

    names = ("a", "b", "c")

    def __init__(self, shown: list[np.ndarray]) -> None:
        self.shown = shown

    @contextmanager
    def opened(self) -> Iterator[object]:
        yield self

    def read_keypoints(self, number: int) -> np.ndarray:
        return self.shown[number - 1]

    def read_two_view_geometry(self, first: int, second: int) -> SimpleNamespace:
        return SimpleNamespace(inlier_matches=np.arange(80)[:, None].repeat(2, 1))


def test_places_that_look_alike_are_named_where_some_photos_agree() -> None:
    points = np.random.default_rng(0).uniform((-2, -2, 4), (2, 2, 6), (80, 3))
    poses = {name: np.eye(4) for name in "abc"}
    for name, turn, at in zip("abc", np.eye(3), [[0.0, 0, 0], [0.5, 0.1, 0.3], [-0.4, 0.3, -0.2]], strict=True):
        poses[name][:3] = np.column_stack([Rotation.from_rotvec(0.3 * turn).as_matrix(), at])
    seen = [points @ pose[:3, :3].T + pose[:3, 3] for pose in poses.values()]
    shown = [one[:, :2] / one[:, 2:] * 400 + 320 for one in seen]
    cameras = dict.fromkeys("abc", Camera("PINHOLE", 640, 640, (400.0, 400.0, 320.0, 320.0)))
    pairs = [(0, 1), (0, 2)]
    require_agreement(LookAlike(shown), pairs, cameras, poses)  # type: ignore[arg-type]
    back = {"c": np.diag([-1.0, 1, -1, 1]) @ poses["c"]}
    with pytest.raises(MapInputError, match="known poses explain") as caught:
        require_agreement(LookAlike(shown), pairs, cameras, poses | back)  # type: ignore[arg-type]
    assert caught.value.cure.startswith("where places look alike")
    with pytest.raises(MapInputError) as caught:
        require_agreement(LookAlike(shown), [(0, 2)] * 2, cameras, poses | back)  # type: ignore[arg-type]
    assert caught.value.cure.startswith("check that poses")


def test_epipolar_errors_are_distances_to_the_line() -> None:
    """A point that is moved by a little off its epipolar line is off by that little, shared by both photos."""
    rng = np.random.default_rng(3)
    second_SE3_first = np.eye(4)
    second_SE3_first[:3, 3] = [1.0, 0.0, 0.0]  # epipolar lines are rows
    points = np.column_stack([rng.uniform(-1, 1, (50, 2)), rng.uniform(4, 8, 50)])
    first, moved = points[:, :2] / points[:, 2:], points + np.array([1.0, 0.0, 0.0])
    second = moved[:, :2] / moved[:, 2:]
    assert epipolar_errors(second_SE3_first, first, second) == pytest.approx(0.0, abs=1e-12)
    off = rng.uniform(-1e-3, 1e-3, 50)
    found = epipolar_errors(second_SE3_first, first, second + np.column_stack([np.zeros(50), off]))
    assert found == pytest.approx(np.abs(off) / np.sqrt(2.0), rel=1e-9)


KILLED = """
import os, signal, sys
import foldmap.visual.scene.build as building
def killed(*arguments):
    os.kill(os.getpid(), signal.SIGKILL)
building.scratch.match_sift = killed
from foldmap.cli import main
sys.argv = ["foldmap", *sys.argv[1:]]
main()
"""


def listing(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_builds_that_fail_or_are_killed_leave_no_scene_and_the_next_one_clears_up(
    room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_match(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    output = tmp_path / "scene"
    with monkeypatch.context() as patched:
        patched.setattr("foldmap.visual.scene.colmap_database.match_sift", no_match)
        status, _, err = run(room.photos, "-o", output, *FAST)
    assert (status, "No space left" in err) == (2, True)
    assert listing(tmp_path) == []
    arguments = ["build", "visual", room.photos, "-o", output, *FAST]
    command = [sys.executable, "-c", KILLED, *map(str, arguments)]
    for again in range(2):  # at first there is no scene, then a former one
        assert subprocess.run(command, capture_output=True, check=False).returncode == -signal.SIGKILL
        assert (output / "scene.json").is_file() == (again == 1)
        left = [name for name in listing(tmp_path) if "building" in name]
        assert any(name.endswith(".db") for name in left)
        status, _, err = run(room.photos, "-o", output, *FAST)
        assert status == 0, err
        files = {name for name in listing(tmp_path) if "sparse/" not in name}
        assert files == {"scene", *(f"scene/{name}" for name in ("features.h5", "scene.json", "scene.png", "sparse"))}
    assert read_model_with_keypoints(output).scene.image_names
