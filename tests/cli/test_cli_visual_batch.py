"""A batch of photos loses nothing: what cannot be used is one `no_observation` with its reason, others go on."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from cli_place import Ran, Run
from scene_place import room_scene, write_scene

from foldmap.formats.hloc.features import HlocFeatureWriter
from foldmap.formats.hloc.lists import write_rig_list
from foldmap.formats.hloc.results import read_results
from foldmap.formats.listing import ListedImage
from foldmap.visual.source import Features, SceneModel

CAMERA = "PINHOLE 640 480 450 450 320 240"
NAMES = ["photo 00.jpg", "photo 05.jpg", "photo 11.jpg", "photo 17.jpg"]


@pytest.fixture(scope="session")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folded room: room.fold, sparse/, features.h5; read only."""
    from foldmap.api.folding import fold

    folder = tmp_path_factory.mktemp("room")
    write_scene(room_scene(), folder)
    fold(folder, folder / "room.fold")
    return folder


def seen_in(scene: SceneModel, name: str) -> Features:
    rows = scene.tracks.image == scene.image_names.index(name)
    assert scene.tracks.descriptors is not None
    return Features(scene.tracks.xy_px[rows], scene.tracks.descriptors[rows])


def write_queries(folder: Path, names: list[str] = NAMES, as_names: dict[str, str] | None = None) -> Path:
    """f.h5 of photos of the room, with their size, and list.txt."""
    scene = room_scene()
    called = {name: (as_names or {}).get(name, name) for name in names}
    with HlocFeatureWriter(folder / "f.h5", "sift") as sink:
        for name in names:
            sink.add(called[name], seen_in(scene, name), (640, 480))
    (folder / "list.txt").write_text("".join(f"{name} {CAMERA}\n" for name in called.values()), encoding="utf-8")
    return folder / "list.txt"


def localized(run: Run, room: Path, folder: Path, *more: object) -> tuple[Ran, dict[str, dict[str, Any]]]:
    asked = ("--features", folder / "f.h5", "-o", folder / "p.txt")
    ran = run("localize", room / "room.fold", *asked, *more)
    lines = folder / "p.txt.jsonl"
    rows = [json.loads(line) for line in lines.read_text().splitlines()] if lines.is_file() else []
    return ran, {row["name"]: row for row in rows}


def nan_descriptor(file: h5py.File, group: h5py.Group) -> None:
    values = group["descriptors"][()].astype(np.float32)
    values[0, 0] = np.nan
    replaced(group, "descriptors", values)


def nan_keypoint(file: h5py.File, group: h5py.Group) -> None:
    group["keypoints"][0] = np.nan


def all_zero(file: h5py.File, group: h5py.Group) -> None:
    group["descriptors"][...] = 0


def constant(file: h5py.File, group: h5py.Group) -> None:
    group["descriptors"][...] = 7


def of_another_size(file: h5py.File, group: h5py.Group) -> None:
    replaced(group, "image_size", np.array([1280, 960]))


def of_a_larger_image(file: h5py.File, group: h5py.Group) -> None:
    """Features that do not say the size of their image."""
    del group["image_size"]
    group["keypoints"][...] *= 1.25


def of_other_length(file: h5py.File, group: h5py.Group) -> None:
    replaced(group, "descriptors", group["descriptors"][:64])


def missing(file: h5py.File, group: h5py.Group) -> None:
    del file[group.name]


def cut_off(file: h5py.File, group: h5py.Group) -> None:
    replaced(group, "keypoints", group["keypoints"][:-1])


def replaced(group: h5py.Group, key: str, values: np.ndarray) -> None:
    del group[key]
    group[key] = values


FAULTS = {
    nan_descriptor: "NaN or infinite",
    nan_keypoint: "NaN or infinite",
    all_zero: "are all zero",
    constant: "are one and the same",
    of_another_size: "photo 'photo 05.jpg' is 1280 x 960 px, its camera 640 x 480",
    of_a_larger_image: "keypoints of 'photo 05.jpg' lie outside of its camera's 640 x 480 px",
    of_other_length: "descriptors of 64 numbers, the map of 128",
    missing: "has no 'photo 05.jpg'",
    cut_off: "keypoints",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_one_bad_query_does_not_end_the_batch(run: Run, room: Path, tmp_path: Path, fault: Callable[..., None]) -> None:
    given = write_queries(tmp_path)
    with h5py.File(tmp_path / "f.h5", "r+") as file:
        fault(file, file["photo 05.jpg"])
    ran, rows = localized(run, room, tmp_path, "--queries", given)
    assert ran.status == 0, ran.err
    assert list(rows) == NAMES
    bad = rows["photo 05.jpg"]
    assert (bad["status"], bad["pose"]) == ("no_observation", None)
    assert FAULTS[fault] in bad["diagnostics"]["reason"]
    assert "1 of 4 queries cannot be used, first 'photo 05.jpg'" in ran.err
    assert [rows[name]["status"] for name in NAMES if name != "photo 05.jpg"] == ["ok"] * 3
    true = dict(zip(room_scene().image_names, room_scene().centres_world, strict=True))
    answered = read_results(tmp_path / "p.txt")
    assert set(answered) == set(NAMES) - {"photo 05.jpg"}
    for name, pose in answered.items():
        assert np.linalg.norm(-pose[:3, :3].T @ pose[:3, 3] - true[name]) < 0.05


@pytest.mark.parametrize("fault", [missing, all_zero, of_another_size])
def test_a_batch_of_nothing_is_refused(run: Run, room: Path, tmp_path: Path, fault: Callable[..., None]) -> None:
    given = write_queries(tmp_path)
    (tmp_path / "list.txt").write_text("".join(f"{name} {CAMERA}\n" for name in NAMES[1:3]))
    with h5py.File(tmp_path / "f.h5", "r+") as file:
        for name in NAMES[1:3]:
            fault(file, file[name])
    ran, rows = localized(run, room, tmp_path, "--queries", given)
    assert (ran.status, ran.err.count("\n"), rows) == (2, 1, {})
    assert FAULTS[fault].replace("has no 'photo 05.jpg'", "2 of 2 images have no features") in ran.err
    assert not (tmp_path / "p.txt").exists()


def test_a_rig_goes_on_without_a_bad_camera(run: Run, room: Path, tmp_path: Path) -> None:
    write_queries(tmp_path)
    scene = room_scene()
    with h5py.File(tmp_path / "f.h5", "r+") as file:
        all_zero(file, file[NAMES[2]])
    poses = {name: scene.camera_SE3_world[scene.image_names.index(name)] for name in NAMES}
    world_SE3_rig = np.linalg.inv(poses[NAMES[0]])
    images = [
        ListedImage(name, scene.cameras[0], query_id="shot-1", camera_SE3_rig=poses[name] @ world_SE3_rig)
        for name in NAMES[:3]
    ]
    write_rig_list(tmp_path / "rigs.txt", images)
    ran, rows = localized(run, room, tmp_path, "--rigs", tmp_path / "rigs.txt")
    assert ran.status == 0, ran.err
    assert rows["shot-1"]["status"] == "ok"
    assert "without 'photo 11.jpg'" in rows["shot-1"]["diagnostics"]["reason"]


@pytest.mark.parametrize("name", ["my photo.jpg", "#1.jpg", "000001", "ä ö.jpg", "a,b.jpg", "x/y z/1 2.jpg", "PINHOLE"])
def test_names_of_all_kinds_come_back(run: Run, room: Path, tmp_path: Path, name: str) -> None:
    write_queries(tmp_path, NAMES[:1], {NAMES[0]: name})
    listed = f"./{name}" if name.startswith("#") else name
    for text in (f"{listed} {CAMERA}\n", f"./{name} {CAMERA}\r\n", f"\ufeff{listed}\n"):
        (tmp_path / "list.txt").write_text(text, encoding="utf-8", newline="")
        more = [] if "640" in text else ["--camera", "PINHOLE,450,450,320,240"]
        ran, rows = localized(run, room, tmp_path, "--queries", tmp_path / "list.txt", "--layout", "both", *more)
        assert ran.status == 0, ran.err
        assert list(rows) == list(read_results(tmp_path / "p.txt")) == [name]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"a.jpg {CAMERA}\n#1.jpg {CAMERA}\n", "line 2: '#1.jpg' begins with #"),
        ("a.jpg,PINHOLE,640,480,450,450,320,240\n", "separated by commas"),
        ("a.jpg 640 480 PINHOLE 450 450 320 240\n", "has 2 parameters"),
        ("a.jpg PINHOLE 450 450 320 240 640 480\n", "principal point 640, 480 lies outside"),
        ("a.jpg SIMPLE_PINHOLE 640 480 4.25 320 240\n", "focal length of 4.25 px"),
        ("a.jpg pinhole 640 480 450 450 320 240\n", "write PINHOLE"),
        (f"sub\\photo 00.jpg {CAMERA}\n", "like 'sub/photo 00.jpg'"),
        (f"SUB/PHOTO 00.JPG {CAMERA}\n", "like 'sub/photo 00.jpg'"),
        (f"images/sub/photo 00.jpg {CAMERA}\n", "like 'sub/photo 00.jpg'"),
        (f"photo 00.jpg {CAMERA}\n", "like 'sub/photo 00.jpg'"),
        (f"sub/photo 00.heic {CAMERA}\n", "convert them to JPEG"),
    ],
)
def test_lists_that_mean_something_else_are_told(run: Run, room: Path, tmp_path: Path, text: str, says: str) -> None:
    write_queries(tmp_path, NAMES[:1], {NAMES[0]: "sub/photo 00.jpg"})
    (tmp_path / "list.txt").write_text(text)
    ran, _ = localized(run, room, tmp_path, "--queries", tmp_path / "list.txt")
    assert (ran.status, ran.err.count("\n")) == (2, 1)
    assert says in ran.err


def test_comments_stay_comments(run: Run, room: Path, tmp_path: Path) -> None:
    write_queries(tmp_path, NAMES[:1])
    text = f"# a.jpg {CAMERA}\n#name MODEL\n## b.jpg\n#\n{NAMES[0]} {CAMERA}\n"
    (tmp_path / "list.txt").write_text(text)
    ran, rows = localized(run, room, tmp_path, "--queries", tmp_path / "list.txt")
    assert (ran.status, list(rows)) == (0, NAMES[:1])


def test_cameras_of_a_model_are_read_whatever_its_points(run: Run, room: Path, tmp_path: Path) -> None:
    write_queries(tmp_path)
    (tmp_path / "list.txt").write_text("\n".join([*NAMES, "stranger.jpg"]) + "\n")
    model = tmp_path / "model"
    model.mkdir()
    for name in ("cameras.bin", "images.bin"):
        (model / name).write_bytes((room / "sparse" / name).read_bytes())
    ran, rows = localized(run, room, tmp_path, "--queries", tmp_path / "list.txt", "--model", model)
    assert ran.status == 0, ran.err
    assert [row["status"] for row in rows.values()] == ["ok"] * 4 + ["no_observation"]
    assert "no image 'stranger.jpg'" in rows["stranger.jpg"]["diagnostics"]["reason"]
