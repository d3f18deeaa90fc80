"""``foldmap fold`` of scenes: what is given is used or refused, dummies are refused, the place does not matter."""

import json
import re
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from cli_place import Run
from scene_place import room_scene, write_scene
from scipy.spatial.transform import Rotation

from foldmap.formats.hloc.features import HlocFeatureWriter
from foldmap.visual.retrieval.image_index import RETRIEVED_IMAGES
from foldmap.visual.source import Features, SceneModel


@pytest.fixture(scope="session")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A COLMAP model with features.h5; read only."""
    folder = tmp_path_factory.mktemp("scene")
    write_scene(room_scene(), folder)
    return folder


def seen_in(scene: SceneModel, image: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points, keypoints and descriptors of an image."""
    rows = scene.tracks.image == image
    assert scene.tracks.descriptors is not None
    return scene.tracks.point[rows], scene.tracks.xy_px[rows], scene.tracks.descriptors[rows]


def write_kapture(scene: SceneModel, folder: Path, types: tuple[str, ...] = ("sift",)) -> Path:
    """kapture 1.1, written by hand; the n-th type of descriptors has its numbers turned by n."""
    head = "# kapture format: 1.1\n"
    camera = scene.cameras[0]
    sensors = folder / "sensors"
    sensors.mkdir(parents=True)
    parameters = ", ".join(f"{value:g}" for value in camera.params)
    (sensors / "sensors.txt").write_text(
        head + f"cam, , camera, PINHOLE, {camera.width_px}, {camera.height_px}, {parameters}\n"
    )
    poses, records, seen = "", "", dict[int, list[str]]()
    made = folder / "reconstruction"
    (made / "keypoints" / "kp").mkdir(parents=True)
    (made / "keypoints" / "kp" / "keypoints.txt").write_text(head + "kp, float32, 2\n")
    (made / "keypoints" / "unused").mkdir()
    (made / "descriptors").mkdir()
    for name in types:
        (made / "descriptors" / name).mkdir(parents=True)
        (made / "descriptors" / name / "descriptors.txt").write_text(head + f"{name}, uint8, 128, kp, L2\n")
    for image, name in enumerate(scene.image_names):
        x, y, z, w = Rotation.from_matrix(scene.camera_SE3_world[image, :3, :3]).as_quat()
        pose = ", ".join(repr(float(v)) for v in (w, x, y, z, *scene.camera_SE3_world[image, :3, 3]))
        poses += f"{image}, cam, {pose}\n"
        records += f"{image}, cam, {name}\n"
        points, xy_px, descriptors = seen_in(scene, image)
        (made / "keypoints" / "kp" / f"{name}.kpt").write_bytes(xy_px.astype("<f4").tobytes())
        for turn, kind in enumerate(types):
            turned = np.roll(descriptors, turn, axis=1)
            (made / "descriptors" / kind / f"{name}.desc").write_bytes(turned.tobytes())
        for row, point in enumerate(points.tolist()):
            seen.setdefault(point, []).append(f"{name}, {row}")
    (sensors / "trajectories.txt").write_text(head + poses)
    (sensors / "records_camera.txt").write_text(head + records)
    places = [", ".join(repr(float(v)) for v in row) for row in scene.points_world]
    (made / "points3d.txt").write_text(head + "".join(f"{place}, 0, 0, 0\n" for place in places))
    lines = [f"{point}, kp, {', '.join(pairs)}\n" for point, pairs in sorted(seen.items())]
    (made / "observations.txt").write_text(head + "".join(lines))
    return folder


def write_database(scene: SceneModel, path: Path, descriptors: Callable[[np.ndarray], np.ndarray] | None) -> Path:
    """A database of COLMAP, written by hand."""
    connection = sqlite3.connect(path)
    connection.executescript(
        "CREATE TABLE images(image_id INTEGER PRIMARY KEY, name TEXT, camera_id INTEGER);"
        "CREATE TABLE keypoints(image_id INTEGER PRIMARY KEY, rows INTEGER, cols INTEGER, data BLOB);"
        "CREATE TABLE descriptors(image_id INTEGER PRIMARY KEY, rows INTEGER, cols INTEGER, data BLOB);"
    )
    for image, name in enumerate(scene.image_names):
        _, xy_px, given = seen_in(scene, image)
        connection.execute("INSERT INTO images VALUES(?, ?, 1)", (image, name))
        connection.execute(
            "INSERT INTO keypoints VALUES(?, ?, 2, ?)", (image, len(xy_px), xy_px.astype("<f4").tobytes())
        )
        if descriptors is not None:
            made = descriptors(given).astype(np.uint8)
            connection.execute("INSERT INTO descriptors VALUES(?, ?, 128, ?)", (image, len(made), made.tobytes()))
    connection.commit()
    connection.close()
    return path


FEW = ("--points", "200")
"""Where what is read matters, not how well it localizes: a fold tries its held-out images three times as fast."""


def folded(run: Run, *arguments: object) -> dict[str, Any]:
    summary: dict[str, Any] = run("fold", *arguments, "--json").told()
    return summary


def refused(run: Run, *arguments: object) -> str:
    ran = run("fold", *arguments)
    assert (ran.status, ran.err.count("\n")) == (2, 1)
    return ran.err


def dimension(path: Path) -> int:
    from foldmap.atlas import FoldFile
    from foldmap.visual.unfold import FoldedVisual

    with FoldFile.open(path) as file:
        return FoldedVisual(file).dimension


def test_features_beside_kapture_are_used(run: Run, tmp_path: Path) -> None:
    scene = write_kapture(room_scene(), tmp_path / "kap")
    out = tmp_path / "v.fold"
    assert folded(run, scene, "-o", out, *FEW)["observations_joined"] == 1.0
    assert dimension(out) == 128
    other = room_scene(dimension=64)
    with HlocFeatureWriter(tmp_path / "f.h5", "xfeat") as sink:
        for image, name in enumerate(other.image_names):
            _, xy_px, descriptors = seen_in(other, image)
            sink.add(name, Features(xy_px, descriptors))
    folded(run, scene, "-o", out, "--features", tmp_path / "f.h5", "--codec", "raw", *FEW)
    assert dimension(out) == 64
    assert "there is no file of features" in refused(run, scene, "-o", out, "--features", tmp_path / "gone.h5")
    (scene / "reconstruction" / "descriptors").rename(tmp_path / "moved")
    folded(run, scene, "-o", out, "--features", tmp_path / "f.h5", "--codec", "raw", *FEW)
    assert "give --features FILE.h5 or .db, or --photos" in refused(run, scene, "-o", out)


def test_descriptors_of_a_kapture_are_named(run: Run, tmp_path: Path) -> None:
    scene = write_kapture(room_scene(), tmp_path / "kap", ("sift", "turned"))
    out, types = tmp_path / "v.fold", tmp_path / "kap" / "reconstruction" / "descriptors"
    said = refused(run, scene, "-o", out)
    assert "has 2 types: sift, turned" in said
    named = re.search(r"--features (\S+)\)", said)
    assert named is not None
    folded(run, scene, "-o", out, "--features", named[1], *FEW)  # the cure cures
    other = folded(run, scene, "-o", tmp_path / "t.fold", "--features", types / "turned", "--codec", "raw", *FEW)
    assert (dimension(tmp_path / "t.fold"), other["observations_joined"]) == (128, 1.0)
    assert "is no type of descriptors" in refused(run, scene, "-o", out, "--features", tmp_path)
    assert "there is no file of features" in refused(run, scene, "-o", out, "--features", types / "gone")


@pytest.mark.parametrize(("metric", "said"), [("--metric", True), ("--not-metric", False)])
def test_metric_of_a_kapture(run: Run, tmp_path: Path, metric: str, said: bool) -> None:
    from foldmap.atlas import FoldFile

    scene = write_kapture(room_scene(), tmp_path / "kap")
    folded(run, scene, "-o", tmp_path / "v.fold", metric, *FEW)
    with FoldFile.open(tmp_path / "v.fold") as file:
        assert file.layer("visual").parameters["metric"] is said


DUMMIES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "all zero": np.zeros_like,
    "one and the same": lambda values: np.full_like(values, 9),
    "2": lambda values: np.where(np.arange(len(values))[:, None] < 0.6 * len(values), 0, values),
}


@pytest.mark.parametrize("dummy", DUMMIES)
@pytest.mark.parametrize("kind", ["h5", "db", "kapture"])
def test_dummy_descriptors_are_refused(run: Run, room: Path, tmp_path: Path, kind: str, dummy: str) -> None:
    scene, make = room_scene(), DUMMIES[dummy]
    said = "all zero" if dummy == "2" else dummy
    if kind == "kapture":
        folder = write_kapture(scene, tmp_path / "kap")
        for path in folder.rglob("*.desc"):
            path.write_bytes(make(np.frombuffer(path.read_bytes(), np.uint8).reshape(-1, 128)).astype("u1").tobytes())
        message = refused(run, folder, "-o", tmp_path / "v.fold")
    else:
        path = tmp_path / f"f.{kind}"
        if kind == "db":
            write_database(scene, path, make)
        else:
            with HlocFeatureWriter(path, "sift") as sink:
                for image, name in enumerate(scene.image_names):
                    _, xy_px, descriptors = seen_in(scene, image)
                    sink.add(name, Features(xy_px, make(descriptors).astype(np.uint8)))
        message = refused(run, room, "-o", tmp_path / "v.fold", "--features", path)
        assert str(path) in message
    assert said in message
    assert "photo 00.jpg" in message
    assert not (tmp_path / "v.fold").exists()


def test_a_database_without_descriptors_says_so(run: Run, room: Path, tmp_path: Path) -> None:
    path = write_database(room_scene(), tmp_path / "f.db", None)
    said = refused(run, room, "-o", tmp_path / "v.fold", "--features", path)
    assert f"{path} has no image with keypoints and descriptors" in said
    given = write_database(room_scene(), tmp_path / "g.db", np.copy)
    folded(run, room, "-o", tmp_path / "v.fold", "--features", given, *FEW)


@pytest.mark.parametrize("values", [np.zeros(16), None])
def test_dummy_global_descriptors_are_refused(run: Run, room: Path, tmp_path: Path, values: np.ndarray | None) -> None:
    with h5py.File(tmp_path / "g.h5", "w") as file:
        for name in room_scene().image_names:
            file[f"{name}/global_descriptor"] = np.ones(16) if values is None else values
    said = refused(run, room, "-o", tmp_path / "v.fold", "--globals", tmp_path / "g.h5")
    assert "all zero" in said or "are the same" in said


def test_global_descriptors_that_are_given_are_kept(run: Run, room: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    with h5py.File(tmp_path / "g.h5", "w") as file:
        for name in room_scene().image_names:
            file[f"{name}/global_descriptor"] = rng.normal(size=32)
    assert folded(run, room, "-o", tmp_path / "v.fold", "--globals", tmp_path / "g.h5")["images"] == 24


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["--select", "cover"], "--select chooses points, and all are kept"),
        (["--globals", "g.h5", "--no-images"], "leave --globals or --no-images out"),
        (["--alpha", "0.5"], "--alpha belongs to"),
    ],
)
def test_what_would_be_ignored_is_refused(run: Run, room: Path, tmp_path: Path, given: list[str], says: str) -> None:
    assert says in refused(run, room, "-o", tmp_path / "v.fold", *given)


def moved(scene: SceneModel, shift: np.ndarray) -> SceneModel:
    poses = scene.camera_SE3_world.copy()
    poses[:, :3, 3] -= np.einsum("iab,b->ia", poses[:, :3, :3], shift)
    return replace(scene, camera_SE3_world=poses, points_world=scene.points_world + shift)


def errors_at(run: Run, folder: Path, shift: np.ndarray) -> tuple[float, float, float]:
    """Of a scene that lies so far off, folded, localized and evaluated: median errors and the median sigma."""
    scene = moved(room_scene(), shift)
    write_scene(scene, folder)
    folded(run, folder, "-o", folder / "v.fold", "--error-px", "0.01")
    asked = [scene.image_names[at] for at in range(1, 24, 3)]
    (folder / "q.txt").write_text("".join(f"{one} PINHOLE 640 480 450 450 320 240\n" for one in asked))
    given = ("--queries", folder / "q.txt", "--features", folder / "features.h5", "-o", folder / "p.txt")
    assert run("localize", folder / "v.fold", *given).status == 0
    shown = run("evaluate", folder / "p.txt", folder, "--json").told()
    assert shown["by_status"] == {"ok": 8}
    lines = [json.loads(line) for line in (folder / "p.txt.jsonl").read_text().splitlines()]
    sigma = np.median([line["diagnostics"]["sigma_world"] for line in lines])
    return shown["centre_median_world"], shown["rotation_median_deg"], float(sigma)


def test_coordinates_far_from_the_origin_give_the_same_errors(run: Run, tmp_path: Path) -> None:
    """At UTM's and ECEF's size as at the origin."""
    near = errors_at(run, tmp_path / "near", np.zeros(3))
    for far in (1e5, 6.4e6, 1e7):
        found = errors_at(run, tmp_path / f"{far:g}", np.array([0.654, 0.134, 0.74]) * far)
        assert found == pytest.approx(near, rel=0.1), far


def test_the_number_of_retrieved_images_is_one_number() -> None:
    import inspect

    from foldmap.visual.unfold import FoldedVisual

    docs = Path(__file__).resolve().parents[2] / "docs"
    assert inspect.signature(FoldedVisual).parameters["images"].default == RETRIEVED_IMAGES
    told = re.search(r"How many images to take is the reader's choice; (\d+)\s", (docs / "visual-codes.md").read_text())
    also = re.search(r"the (\d+) images see which it resembles most", (docs / "decisions.md").read_text())
    assert told is not None
    assert also is not None
    assert {int(told[1]), int(also[1])} == {RETRIEVED_IMAGES}


def turned(scene: SceneModel) -> SceneModel:
    poses = scene.camera_SE3_world.copy()
    poses[:, :3, :3] = np.swapaxes(poses[:, :3, :3], 1, 2)
    return replace(scene, camera_SE3_world=poses)


def qw_last(scene: SceneModel) -> SceneModel:
    poses = scene.camera_SE3_world.copy()
    xyzw = Rotation.from_matrix(poses[:, :3, :3]).as_quat()
    poses[:, :3, :3] = Rotation.from_quat(np.roll(xyzw, 1, axis=1)).as_matrix()
    return replace(scene, camera_SE3_world=poses)


def world_from_camera(scene: SceneModel) -> SceneModel:
    return replace(scene, camera_SE3_world=np.linalg.inv(scene.camera_SE3_world))


def in_millimetres(scene: SceneModel) -> SceneModel:
    camera = scene.cameras[0]
    return replace(scene, cameras=(replace(camera, params=np.array([4.2, 4.2, 320.0, 240.0])),))


def of_half_size(scene: SceneModel) -> SceneModel:
    camera = scene.cameras[0]
    return replace(scene, cameras=(replace(camera, width_px=320, height_px=240, params=camera.params / 2),))


def of_another_lens(scene: SceneModel) -> SceneModel:
    camera = scene.cameras[0]
    return replace(scene, cameras=(replace(camera, params=camera.params * [1.08, 1.08, 1.0, 1.0]),))


def of_a_part(scene: SceneModel) -> SceneModel:
    return replace(scene, cameras=(replace(scene.cameras[0], width_px=330, height_px=250),))


def test_one_wrong_camera_of_three_is_named(run: Run, tmp_path: Path) -> None:
    """Most of all observations are where they should be; the third camera's lens is another, by 8 percent."""
    scene = room_scene()
    cameras = (*scene.cameras, *scene.cameras, *of_another_lens(scene).cameras)
    third = np.arange(len(scene.image_names)) % 3
    write_scene(replace(scene, cameras=cameras, image_camera=third), tmp_path / "scene")
    said = refused(run, tmp_path / "scene", "-o", tmp_path / "v.fold")
    assert f"of the camera of {scene.image_names[2]} are off" in said


@pytest.mark.parametrize(
    "fault",
    [turned, qw_last, world_from_camera, in_millimetres, of_half_size, of_another_lens, of_a_part],
)
@pytest.mark.parametrize("kind", ["colmap", "kapture"])
def test_scenes_that_contradict_themselves_are_refused(
    run: Run, tmp_path: Path, kind: str, fault: Callable[[SceneModel], SceneModel]
) -> None:
    scene = fault(room_scene())
    if kind == "colmap":
        write_scene(scene, tmp_path / "scene")
    elif fault is in_millimetres:
        write_kapture(scene, tmp_path / "scene")
        assert "focal length of 4.2 px" in refused(run, tmp_path / "scene", "-o", tmp_path / "v.fold")
        return
    else:
        write_kapture(scene, tmp_path / "scene")
    said = refused(run, tmp_path / "scene", "-o", tmp_path / "v.fold")
    what = "of the observations lie outside of their images" if fault is of_a_part else "the points are not where"
    assert what in said
    assert f"{tmp_path / 'scene'}: " in said
    assert not (tmp_path / "v.fold").exists()
