"""``foldmap localize`` and ``evaluate`` of photos: a generated street, its true poses, and what users get wrong."""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from cli_place import Ran, Run
from scipy.spatial.transform import Rotation

from foldmap.api.results import read_photo_lines
from foldmap.atlas import FoldWriter
from foldmap.formats.hloc.features import HlocFeatureWriter
from foldmap.formats.hloc.lists import write_query_list, write_rig_list
from foldmap.formats.hloc.results import read_results, write_results
from foldmap.formats.listing import ListedImage
from foldmap.formats.poses.photos import read_image_poses
from foldmap.geometry.quaternion import inverse_rigid
from foldmap.localize.visual.negatives import fold_calibrated
from foldmap.types import DoubleArray
from foldmap.visual.codes.basis import standard_basis
from foldmap.visual.codes.codecs import Transform
from foldmap.visual.fold import VisualPlan
from foldmap.visual.source import Features, Query, SceneModel

NEAR_M, NEAR_DEG = 0.10, 1.0
"""How far the street's poses may be off: they are found to 2 cm or so on pictures of 320 x 240 px."""


@dataclass(frozen=True)
class Street:
    """A folded street.

    Attributes:
        folder: holds map.fold, feats.h5, list.txt, photos/.
        queries: what was photographed, with true camera_SE3_world.
        scene: what was folded.
    """

    folder: Path
    queries: list[tuple[Query, DoubleArray]]
    scene: SceneModel

    @property
    def truth(self) -> dict[str, DoubleArray]:
        return {query.name: pose for query, pose in self.queries}


def fold_to(path: Path, scene: SceneModel) -> None:
    plan = VisualPlan(np.arange(len(scene.points_world)), Transform(standard_basis("sift"), 0.1, standard=True))
    with FoldWriter(path) as writer:
        fold_calibrated(writer, scene, plan)
        writer.commit()


def write_features(path: Path, named: dict[str, Features], feature: str = "sift") -> Path:
    with HlocFeatureWriter(path, feature) as sink:
        for name, features in named.items():
            sink.add(name, features, (320, 240))
    return path


@pytest.fixture(scope="session")
def street(tmp_path_factory: pytest.TempPathFactory) -> Street:
    """Twelve photographs of a street in a map, four to be localized; read only."""
    pytest.importorskip("pycolmap")
    from PIL import Image

    from foldmap.town.camera.visual_scene import TownPhotos, town_queries, town_scene
    from foldmap.visual.features.extract import open_extractor

    folder = tmp_path_factory.mktemp("street")
    photos = TownPhotos(3, 12, 4, size_px=(320, 240))
    extract = open_extractor("sift").extract
    scene, queries = town_scene(photos, extract), town_queries(photos, extract)
    fold_to(folder / "map.fold", scene)
    write_features(folder / "feats.h5", {query.name: query.features for query, _ in queries})
    write_query_list(folder / "list.txt", {query.name: query.camera for query, _ in queries})
    (folder / "names.txt").write_text("".join(f"{query.name}\n" for query, _ in queries))
    (folder / "photos").mkdir()
    for photo in photos.query_photos:
        Image.fromarray(photo.picture.image).save(folder / "photos" / photo.name)
    return Street(folder, queries, scene)


def localize(run: Run, street: Street, output: Path, *more: object) -> Ran:
    return run("localize", street.folder / "map.fold", "-o", output, *more)


def usual(street: Street) -> list[object]:
    return ["--queries", street.folder / "list.txt", "--features", street.folder / "feats.h5"]


def off(estimated: DoubleArray, true: DoubleArray) -> tuple[float, float]:
    """Distance of the centres and angle between the views, by SciPy alone."""
    one, other = (Rotation.from_matrix(pose[:3, :3]) for pose in (estimated, true))
    apart = one.inv().apply(-estimated[:3, 3]) - other.inv().apply(-true[:3, 3])
    return float(np.linalg.norm(apart)), float(np.degrees((one * other.inv()).magnitude()))


def assert_near(poses: dict[str, DoubleArray], truth: dict[str, DoubleArray]) -> None:
    assert poses
    for name, pose in poses.items():
        metres, degrees = off(pose, truth[name])
        assert metres < NEAR_M, name
        assert degrees < NEAR_DEG, name


def test_photos_are_where_they_were_taken(run: Run, street: Street, tmp_path: Path) -> None:
    out = tmp_path / "poses.txt"
    ran = localize(run, street, out, *usual(street), "--json", "--layout", "both")
    summary = json.loads(ran.out)
    assert ran.status == 0
    assert (summary["observations"], summary["answered"]) == (4, 4)
    assert summary["loading_s"] > 0
    assert summary["median_time_s"] > 0
    poses = read_results(out)
    assert list(poses) == list(street.truth)
    assert_near(poses, street.truth)
    rows = [json.loads(line) for line in Path(f"{out}.jsonl").read_text().splitlines()]
    for row, (name, pose) in zip(rows, poses.items(), strict=True):
        assert row["name"] == name
        assert row["status"] in ("ok", "degraded")
        assert np.linalg.eigvalsh(np.array(row["covariance"])).min() > 0
        turn = Rotation.from_quat(row["pose"][:4], scalar_first=True).as_matrix()
        assert np.allclose(np.column_stack([turn, row["pose"][4:]]), pose[:3], atol=1e-9)
        assert row["diagnostics"]["evidence"] > 13
    tum = read_image_poses(Path(f"{out}.tum"), list(poses)).camera_SE3_world  # no times in names: in their order
    for name, pose in poses.items():
        assert np.allclose(tum[name], pose, atol=1e-6)
    settings = json.loads(Path(f"{out}.settings.json").read_text())
    assert settings["seed"] == 0
    assert settings["localizer"]["matcher"] == "direct"


def test_tum_rows_are_timed_by_names_that_are_times(run: Run, street: Street, tmp_path: Path) -> None:
    times = ["1305031102.500000", "1305031101.250000", "1305031100.000001", "1305031103.0"]  # not in order
    named = {f"{time}.png": query for time, (query, _) in zip(times, street.queries, strict=True)}
    write_features(tmp_path / "f.h5", {name: query.features for name, query in named.items()})
    write_query_list(tmp_path / "l.txt", {name: query.camera for name, query in named.items()})
    out = tmp_path / "poses.txt"
    given = ["--queries", tmp_path / "l.txt", "--features", tmp_path / "f.h5", "--layout", "tum"]
    assert localize(run, street, out, *given).status == 0
    rows = [line.split() for line in out.read_text().splitlines() if not line.startswith("#")]
    assert [row[0] for row in rows] == sorted(times)
    truth = dict(zip(times, street.truth.values(), strict=True))
    for row in rows:
        place, xyzw = np.array(row[1:4], float), np.array(row[4:], float)
        world_SE3_camera = np.eye(4)
        world_SE3_camera[:3, :3], world_SE3_camera[:3, 3] = Rotation.from_quat(xyzw).as_matrix(), place
        metres, degrees = off(inverse_rigid(world_SE3_camera), truth[row[0]])
        assert (metres < NEAR_M, degrees < NEAR_DEG) == (True, True)


def test_photos_are_extracted_on_the_fly_and_cameras_given_for_all(run: Run, street: Street, tmp_path: Path) -> None:
    first = street.queries[0][0]
    params = ",".join(str(value) for value in first.camera.params)
    given = ["--queries", street.folder / "names.txt", "--photos", street.folder / "photos"]
    out = tmp_path / "poses.txt"
    assert localize(run, street, out, *given, "--camera", f"PINHOLE,{params}").status == 0
    assert len(read_results(out)) == 4
    assert_near(read_results(out), street.truth)
    # the same from a file that knows the photos' size
    listed = ["--queries", street.folder / "names.txt", "--features", street.folder / "feats.h5"]
    assert localize(run, street, tmp_path / "h5.txt", *listed, "--camera", f"PINHOLE,{params}").status == 0
    assert (tmp_path / "h5.txt").read_bytes() == out.read_bytes()
    # and without a list: all photos of the folder
    assert localize(run, street, out, street.folder / "photos", "--camera", f"PINHOLE,{params}").status == 0
    assert len(read_results(out)) == 4
    # and of the photos that are named
    few = [street.folder / "photos" / name for name in list(read_results(out))[:2]]
    assert localize(run, street, tmp_path / "few.txt", *few, few[0], "--camera", f"PINHOLE,{params}").status == 0
    assert (tmp_path / "few.txt").read_text() == "".join(out.read_text().splitlines(keepends=True)[:2])
    # and of photos made smaller, whose features are others
    smaller = ["--camera", f"PINHOLE,{params}", "--max-side", "280"]
    assert localize(run, street, tmp_path / "small.txt", street.folder / "photos", *smaller).status == 0
    assert_near(read_results(tmp_path / "small.txt"), street.truth)
    assert (tmp_path / "small.txt").read_bytes() != out.read_bytes()
    # and without cameras: by EXIF (of 35 mm film, whose diagonal is 43.27 mm) where photos have one, else guessed
    from PIL import Image

    photos = tmp_path / "photos"
    photos.mkdir()
    exif = Image.Exif()
    exif[0x0110], exif.get_ifd(0x8769)[0xA405] = "a camera", round(43.27 * first.camera.focal_px[0] / 400)
    names = sorted(street.truth)[:2]
    for name, said in zip(names, (exif, Image.Exif()), strict=True):
        Image.open(street.folder / "photos" / name).save(photos / f"{name}.jpg", exif=said, quality=97)
    told = localize(run, street, out, photos, "--json")
    assert json.loads(told.out)["intrinsics"] == {"exif": 1, "guessed": 1}
    assert "focal lengths of 1 photos are guessed" in told.err
    lines = [json.loads(line) for line in Path(f"{out}.jsonl").read_text().splitlines()]
    assert [line["intrinsics"] for line in lines] == [["exif"], ["guessed"]]
    for line, name in zip(lines, names, strict=True):  # whole millimetres of focal length are a percent off
        metres, _ = off(read_results(out)[f"{name}.jpg"], street.truth[name])
        assert metres < min(4.0 * np.sqrt(np.linalg.eigvalsh(np.array(line["covariance"])[:3, :3]).max()), 0.5)
    localize(run, street, out, *given, "--camera", f"PINHOLE 640 480 {params.replace(',', ' ')}").refused(
        "320 x 240 px, its camera 640 x 480"
    )


@pytest.mark.parametrize("cameras", ["in the list", "for all"])
def test_damaged_photos_do_not_end_the_batch(run: Run, street: Street, tmp_path: Path, cameras: str) -> None:
    """One cut short, one no photo, one turned, one of another format, one missing: each says so; four are answered."""
    from PIL import Image

    photos, good = tmp_path / "photos", sorted(street.truth)
    photos.mkdir()
    (photos / "linked").symlink_to(street.folder / "photos")
    whole = (street.folder / "photos" / good[0]).read_bytes()
    (photos / "cut.png").write_bytes(whole[: len(whole) // 2])
    (photos / "none.png").write_bytes(b"not a photo")
    (photos / "c.heic").write_bytes(b"\0\0\0\x18ftypheic")
    with Image.open(street.folder / "photos" / good[0]) as picture:
        picture.rotate(90, expand=True).save(photos / "portrait.png")
    params = street.queries[0][0].camera.params
    bad = ["cut.png", "none.png", "c.heic", "gone.png"] + ["portrait.png"] * (cameras == "in the list")
    names = [f"linked/{good[0]}", *bad, *(f"linked/{name}" for name in good[1:])]
    camera = " PINHOLE 320 240 " + " ".join(str(value) for value in params) if cameras == "in the list" else ""
    (tmp_path / "q.txt").write_text("".join(f"{name}{camera}\n" for name in names))
    given = [] if camera else ["--camera", "PINHOLE," + ",".join(str(value) for value in params)]
    out = tmp_path / "poses.txt"
    ran = localize(run, street, out, "--queries", tmp_path / "q.txt", "--photos", photos, *given).done()
    rows = {row["name"]: row for row in map(json.loads, Path(f"{out}.jsonl").read_text().splitlines())}
    assert list(rows) == names
    says = ["cut.png cannot be", "none.png", "convert them to JPEG", "has no 'gone.png'", "is 240 x 320 px, its camera"]
    for name, reason in zip(bad, says, strict=False):
        assert rows[name]["status"] == "no_observation"
        assert reason in rows[name]["diagnostics"]["reason"]
    assert f"{len(bad)} of {len(names)} queries cannot be used" in ran.err
    assert_near(read_results(out), {f"linked/{name}": pose for name, pose in street.truth.items()})


def test_a_name_that_cannot_stand_in_a_list_does_not_end_the_batch(run: Run, street: Street, tmp_path: Path) -> None:
    good, (photos, name) = street.folder / "photos", (tmp_path / "photos", "two\nlines.png")
    photos.mkdir()
    first = sorted(street.truth)[0]
    for called in (first, name):
        shutil.copy(good / first, photos / called)
    given = "--camera", "PINHOLE," + ",".join(str(value) for value in street.queries[0][0].camera.params)
    ran = localize(run, street, tmp_path / "poses.txt", "--photos", photos, *given).done()
    rows = {row["name"]: row for row in map(json.loads, (tmp_path / "poses.txt.jsonl").read_text().splitlines())}
    assert rows[name]["status"] == "no_observation"
    assert "cannot stand in a list" in ran.err
    assert_near(read_results(tmp_path / "poses.txt"), {first: street.truth[first]})


def test_a_rig_is_one_query_with_a_pose_for_every_camera(run: Run, street: Street, tmp_path: Path) -> None:
    """Two photographs of the street as a rig: the rig's frame is somewhere else than either camera."""
    rig_SE3_world = np.eye(4)
    rig_SE3_world[:3, :3] = Rotation.from_rotvec([0.3, -0.2, 0.5]).as_matrix()
    rig_SE3_world[:3, 3] = 1.0, -2.0, 3.0
    images = [
        ListedImage(query.name, query.camera, query_id="shot-1", camera_SE3_rig=pose @ inverse_rigid(rig_SE3_world))
        for query, pose in street.queries[:2]
    ]
    blank = ListedImage("blank.png", images[0].camera, query_id="shot-1", camera_SE3_rig=images[0].camera_SE3_rig)
    named = {query.name: query.features for query, _ in street.queries[:2]}
    nothing = Features(np.zeros((0, 2), np.float32), np.zeros((0, 128), np.uint8))
    write_features(tmp_path / "f.h5", {**named, "blank.png": nothing})
    write_rig_list(tmp_path / "rigs.txt", [*images, blank])
    out = tmp_path / "poses.txt"
    ran = localize(run, street, out, "--rigs", tmp_path / "rigs.txt", "--features", tmp_path / "f.h5", "--json").done()
    assert json.loads(ran.out)["observations"] == 1
    poses = read_results(out)
    assert list(poses) == [image.name for image in images] + ["blank.png"]
    assert_near(poses, {**street.truth, "blank.png": street.truth[images[0].name]})
    row = json.loads(Path(f"{out}.jsonl").read_text())
    turn = Rotation.from_quat(row["pose"][:4], scalar_first=True).as_matrix()
    found = np.vstack([np.column_stack([turn, row["pose"][4:]]), [0, 0, 0, 1]])
    for image in images:
        assert np.allclose(image.camera_SE3_rig @ found, poses[image.name], atol=1e-9)
    assert read_photo_lines(f"{out}.jsonl")[0].images == tuple(poses)


FORBIDDING = """
import sys
class Forbid:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"pycolmap", "kornia", "torch", "PIL", "rasterio", "matplotlib", "laspy"}:
            raise ImportError(f"{name} is forbidden here")
sys.meta_path.insert(0, Forbid())
from foldmap.cli import main
main()
"""


def test_needs_no_images_no_colmap_and_no_torch(street: Street, tmp_path: Path) -> None:
    given = [str(word) for word in ("-o", tmp_path / "poses.txt", *usual(street))]
    command = [sys.executable, "-c", FORBIDDING, "localize", str(street.folder / "map.fold"), *given]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr
    assert len(read_results(tmp_path / "poses.txt")) == 4


def altered(street: Street, tmp_path: Path, **changed: Features) -> list[object]:
    """Features and list of the first query alone, some of it changed."""
    query = street.queries[0][0]
    write_features(tmp_path / "f.h5", {query.name: changed.get("features", query.features)})
    write_query_list(tmp_path / "l.txt", {query.name: query.camera})
    return ["--queries", tmp_path / "l.txt", "--features", tmp_path / "f.h5"]


def only_status(run: Run, street: Street, tmp_path: Path, given: list[object]) -> str:
    """The status of the one query, which must not be answered."""
    ran = localize(run, street, tmp_path / "poses.txt", *given, "--json")
    assert ran.status == 1
    assert read_results(tmp_path / "poses.txt") == {}
    row = json.loads((tmp_path / "poses.txt.jsonl").read_text())
    assert (row["pose"], row["covariance"], row["image_poses"]) == (None, None, None)
    assert row["diagnostics"]["reason"]
    assert json.loads(ran.out)["by_status"] == {row["status"]: 1}
    return str(row["status"])


@pytest.mark.parametrize("keypoints", [0, 3])
def test_a_blank_image_is_no_observation(run: Run, street: Street, tmp_path: Path, keypoints: int) -> None:
    features = street.queries[0][0].features
    few = Features(features.xy_px[:keypoints], features.descriptors[:keypoints])
    assert only_status(run, street, tmp_path, altered(street, tmp_path, features=few)) == "no_observation"


MISUSES = {
    "nothing at all": ([], "there is nothing to localize"),
    "both": (["SWEEPS", "--queries", "LIST"], "there is nothing at"),
    "sweeps without priors": (["SWEEPS.bin", "--layer", "lidar"], "sweeps need prior poses"),
    "no such layer": (["SWEEPS", "--layer", "moon"], "there is no layer 'moon'"),
    "neither": (["SWEEPS"], "there is nothing at"),
    "to no file": (["--queries", "LIST", "--features", "FEATS", "-o", "-"], "--output - is no file"),
    "a list without its option": (["LIST"], "a list goes with --queries"),
    "an option of sweeps": (["--queries", "LIST", "--features", "FEATS", "--radius", "2"], "--radius is for sweeps"),
    "an option of photos": (["SWEEPS", "--layer", "lidar", "--features", "FEATS"], "--features is for photos"),
    "no features": (["--queries", "LIST"], "--features FILE.h5 or .db, or --photos"),
    "two lists": (["--queries", "LIST", "--rigs", "LIST", "--features", "FEATS"], "either single photos or rigs"),
    "names without cameras": (["--queries", "NAMES", "--features", "FEATS"], "names photos without cameras"),
    "cameras twice": (["--queries", "LIST", "--features", "FEATS", "--camera", "PINHOLE,1,1,1,1"], "brings its cam"),
    "no such camera": (["--queries", "NAMES", "--features", "FEATS", "--camera", "PINHOLE,9"], "has 1 parameters"),
    "no such layout": (["--queries", "LIST", "--features", "FEATS", "--layout", "csv"], "no layout 'csv'"),
    "no such matcher": (["--queries", "LIST", "--features", "FEATS", "--matcher", "magic"], "no matcher 'magic'"),
    "weights of a file": (["--queries", "LIST", "--features", "FEATS", "--weights", "w.pth"], "need no weights"),
    "keypoints of a file": (["--queries", "LIST", "--features", "FEATS", "--max-keypoints", "9"], "that are extracted"),
    "size for a file": (["--queries", "LIST", "--features", "FEATS", "--max-side", "99"], "--max-side is of features"),
    "weights of no matcher": (["--queries", "LIST", "--features", "FEATS", "--matcher-weights", "w.pth"], "lightglue"),
    "no such features": (["--queries", "LIST", "--features", "gone.h5"], "gone.h5"),
    "no such list": (["--queries", "gone.txt", "--features", "FEATS"], "gone.txt"),
}


@pytest.mark.parametrize("misuse", MISUSES)
def test_misuse_is_one_line(run: Run, street: Street, tmp_path: Path, misuse: str) -> None:
    words, says = MISUSES[misuse]
    places = {"LIST": "list.txt", "NAMES": "names.txt", "FEATS": "feats.h5"}
    given = [street.folder / places[word] if word in places else word for word in words]
    localize(run, street, tmp_path / "p.txt", *given).refused(says)
    assert not (tmp_path / "p.txt").exists()


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("query_0000.png PINHOLE 320 240", "the camera has no parameters"),
        ("query_0000.png PINHOLE 320 240 nan 1 1 1", "NaN or infinite"),
        ("elsewhere.png PINHOLE 320 240 256 256 160 120", "no features, first 'elsewhere.png'"),
    ],
)
def test_a_wrong_line_of_the_list_is_named(run: Run, street: Street, tmp_path: Path, line: str, says: str) -> None:
    (tmp_path / "l.txt").write_text(line + "\n")
    given = ["--queries", tmp_path / "l.txt", "--features", street.folder / "feats.h5"]
    localize(run, street, tmp_path / "p.txt", *given).refused(says)


def test_features_of_another_extractor_are_refused(run: Run, street: Street, tmp_path: Path) -> None:
    query = street.queries[0][0]
    write_features(tmp_path / "f.h5", {query.name: query.features}, feature="disk")
    write_query_list(tmp_path / "l.txt", {query.name: query.camera})
    localize(run, street, tmp_path / "p.txt", "--queries", tmp_path / "l.txt", "--features", tmp_path / "f.h5").refused(
        "the features are disk, the map's are sift"
    )


def test_a_file_without_a_visual_layer_is_refused(run: Run, street: Street, tmp_path: Path, place: Path) -> None:
    run("localize", place / "map.fold", "-o", tmp_path / "p.txt", *usual(street)).refused("has no visual layer")
    ran = run("localize", street.folder / "list.txt", "-o", tmp_path / "p.txt", *usual(street))
    assert ran.status == 2


def test_evaluation_counts_who_was_not_answered(run: Run, street: Street, tmp_path: Path) -> None:
    """Errors that are put in are the errors that come out, and silence is an infinite one."""
    out, truth = tmp_path / "poses.txt", tmp_path / "truth.txt"
    write_results(truth, street.truth)
    moved = {}
    for number, (name, pose) in enumerate(list(street.truth.items())[:3]):
        world_SE3_camera = inverse_rigid(pose)
        world_SE3_camera[:3, 3] += [0.0, 0.0, 0.01 * (number + 1)]
        turn = Rotation.from_rotvec([0, np.radians(0.2 * (number + 1)), 0]).as_matrix()
        world_SE3_camera[:3, :3] = world_SE3_camera[:3, :3] @ turn
        moved[name] = inverse_rigid(world_SE3_camera)
    write_results(out, moved)
    shown = run(
        *("evaluate", out, truth, "--queries", street.folder / "names.txt", "--unit", "m", "--json"),
        *("--thresholds", "0.025,2 0.05,5 0.05,0.3"),
    ).told()
    assert (shown["images"], shown["answered"]) == (4, 3)
    assert shown["centre_median_m"] == pytest.approx(0.025, abs=1e-9)
    assert shown["rotation_median_deg"] == pytest.approx(0.5, abs=1e-6)
    assert shown["within_0.025_m_2_deg_percent"] == pytest.approx(50.0)
    assert shown["within_0.05_m_0.3_deg_percent"] == pytest.approx(25.0)
    assert shown["within_0.05_m_5_deg_percent"] == pytest.approx(75.0)
    assert "unknown" in run("evaluate", out, truth, "--json").told()["unanswered"]
    ran = run("evaluate", out, truth, "--thresholds", "0.015,0.3 1,1", "--json", "--plot", tmp_path / "cdf.svg")
    shown = json.loads(ran.out)
    assert shown["within_0.015_world_0.3_deg_percent"] == pytest.approx(100 / 3)
    assert b"<svg" in (tmp_path / "cdf.svg").read_bytes()


def test_localized_photos_are_evaluated_by_status(run: Run, street: Street, tmp_path: Path) -> None:
    out, truth = tmp_path / "poses.txt", tmp_path / "truth.txt"
    write_results(truth, street.truth)
    query = street.queries[0][0]
    nothing = Features(np.zeros((0, 2), np.float32), np.zeros((0, 128), np.uint8))
    features = {one.name: one.features for one, _ in street.queries} | {query.name: nothing}
    write_features(tmp_path / "f.h5", features)
    given = ["--queries", street.folder / "list.txt", "--features", tmp_path / "f.h5"]
    assert localize(run, street, out, *given).status == 0
    for estimates in (out, Path(f"{out}.jsonl")):
        shown = run("evaluate", estimates, truth, "--json", "--thresholds", "0.1,1").told()
        assert (shown["images"], shown["answered"]) == (4, 3)
        assert shown["within_0.1_world_1_deg_percent"] == pytest.approx(75.0)
        assert shown["by_status"]["no_observation"] == 1
        assert shown["ok"]["within_0.1_world_1_deg_percent"] == pytest.approx(100.0)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--thresholds", "5"], "'5' is no threshold"),
        (["--thresholds", "-1,2"], "is no threshold"),
        (["--unit", "miles"], "there is no unit 'miles'"),
        (["--unit", "radius"], "only a COLMAP model has a radius"),
    ],
)
def test_wrong_options_of_evaluate(run: Run, street: Street, tmp_path: Path, more: list[str], says: str) -> None:
    write_results(tmp_path / "truth.txt", street.truth)
    run("evaluate", tmp_path / "truth.txt", tmp_path / "truth.txt", *more).refused(says)
