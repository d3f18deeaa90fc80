"""The visual scoreboard's rows, on rooms of points instead of recordings."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from board_room import place, room

from benchmarks import scoreboard
from benchmarks.lines import Line
from benchmarks.visual.budgets import Budget, Unfolded, budget_rows
from benchmarks.visual.codes import FourBytes, Geometry, moved_px
from benchmarks.visual.data import KeptFeatures, VisualBoard, is_ok
from benchmarks.visual.learned import learned_rows
from benchmarks.visual.paper import PaperTables
from benchmarks.visual.refusing import Refusing
from benchmarks.visual.selection_probe import probe, street_scene
from benchmarks.visual.speed import Speed, joined, mirrored
from foldmap.bench.trust.photo_changes import blank_image
from foldmap.visual.source import Features


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VisualBoard]:
    """A board of two rooms; nothing is extracted, blank photos have random keypoints."""
    made = VisualBoard(tmp_path_factory.mktemp("none"), threads=1, quiet=True)
    for name, seed in (("one", 1), ("two", 2)):
        made.shared(("place", name), lambda name=name, seed=seed: place(name, seed))
    made.shared("extractor", Noise)
    yield made
    made.close()


class Noise:
    """Finds random keypoints everywhere but in a photo of one grey."""

    feature, dimension = "sift", 128

    def extract(self, image: np.ndarray) -> Features:
        rng = np.random.default_rng(int(image.astype(np.int64).sum()))
        count = 0 if np.ptp(image) == 0 else 300
        places = rng.uniform((0, 0), image.shape[::-1], (count, 2)).astype(np.float32)
        return Features(places, rng.integers(0, 128, (count, 128), dtype=np.uint8))


def by_name(lines: list[Line]) -> dict[str, Line]:
    return {line.name: line for line in lines}


def test_the_issues_targets_are_asked() -> None:
    rows = scoreboard.rows_of("visual")
    assert [row.number for row in rows if not isinstance(row, PaperTables)] == list(range(1, 11))
    assert {row.kilobytes: row.least_pct for row in budget_rows()} == {
        300: {"redkitchen": (99.5, None), "bonsai": (99.0, None)},
        150: {"redkitchen": (97.0, None), "bonsai": (95.0, None)},
        60: {"redkitchen": (80.0, 99.0), "bonsai": (65.0, 80.0)},
        30: {"redkitchen": (None, 95.0), "bonsai": (None, 50.0)},
    }


def test_learned_features_have_the_matcher_that_speaks_of_them(tmp_path: Path) -> None:
    rows = {row.name: row for row in learned_rows()}
    assert len(rows) == 8
    shared = tmp_path / "shared"
    (shared / "weights").mkdir(parents=True)
    (shared / "weights" / "lighterglue-L3.onnx").touch()
    with closing(VisualBoard(shared / "data" / "visual", threads=1, quiet=True)) as made:
        given = {name for name, row in rows.items() if row.settings(made).weights is not None}
    assert given == {"paper-redkitchen-xfeat-s2", "paper-bonsai-xfeat-s2"}
    assert all(row.settings(made).tables == (row.table,) for row in rows.values())


def test_unfolded_and_budget_rows(board: VisualBoard) -> None:
    whole = by_name(list(Unfolded(scenes=("one",), least_pct=90).lines(board)))
    tight = whole["one: within 0.5 cm, 0.5 deg"]
    truth = board.place("one").held_out.truth
    away = [
        np.linalg.norm(np.linalg.inv(answer.camera_SE3_world)[:3, 3] - np.linalg.inv(true)[:3, 3])
        for answer, true in zip(board.unfolded("one"), truth, strict=True)
        if answer.camera_SE3_world is not None
    ]
    assert tight.measured == pytest.approx(100 * np.mean(np.array(away) <= 0.005))
    assert len(away) == len(truth) == 9
    budget = Budget(2, 20, {"one": (None, 80.0)})
    lines = by_name(list(budget.lines(board)))
    file = board.file("one", 20_000)
    assert lines["one, 20 KB: file"].measured == file.path.stat().st_size / 1000 <= 20
    assert lines["one, 20 KB: file"].met
    assert lines["one, 20 KB: within 2 cm, 2 deg"].met
    assert lines["one, 20 KB: within 0.5 cm, 0.5 deg"].verdict == "info"
    raw = lines["one, 20 KB: simple raw: within 2 cm, 2 deg"].detail
    assert raw["bytes"] == raw["points"] * (6 + 128) <= 20_000
    assert lines["one, 20 KB: simple pq16"].verdict.startswith("info: 20 KB do not hold the codebook")


def test_four_bytes_and_geometry(board: VisualBoard) -> None:
    codes = by_name(list(FourBytes(scene="one", kinds=("additive", "pq"), least_pct=50).lines(board)))
    assert len(codes) == 4
    first = codes["one, additive in 4 bytes, all points: within 2 %, 2 deg"]
    assert first.detail["code_bytes"] == 4 * first.detail["points"]
    assert first.target == ">= 50"
    assert codes["one, pq in 4 bytes, all points: within 2 %, 2 deg"].verdict == "info"
    lines = by_name(list(Geometry(scenes=("one",), counts=(300, 10**6), groups=(4, 1)).lines(board)))
    assert lines["one, 300 points: reprojections move by"].met
    xyz = lines["one, 300 points: xyz"].measured
    grouped, exact = (
        lines[f"one, 300 points: xyz and {how}"].measured for how in ("visibility in groups of 4", "exact visibility")
    )
    assert xyz is not None
    assert grouped is not None
    assert exact is not None
    assert 1 < xyz < grouped < exact < 40


def test_moved_points_move_their_reprojections() -> None:
    scene, _ = room(5, points=400, images=6 * 4)
    moved = scene.points_world.copy()
    depth = np.einsum("ok,ok->o", scene.camera_SE3_world[scene.tracks.image][:, 2, :3], moved[scene.tracks.point])
    assert moved_px(scene, moved) == 0
    up = moved + np.array(
        [0, 0.001, 0]
    )  # cameras only turn about y: every pixel moves by focal * 1 mm / depth, downwards
    depth = depth + scene.camera_SE3_world[scene.tracks.image][:, 2, 3]
    assert moved_px(scene, up) == pytest.approx(np.sqrt(np.mean((500 * 0.001 / depth) ** 2)), rel=1e-6)


def test_speed_and_refusing_rows(board: VisualBoard) -> None:
    lines = by_name(list(Speed(scenes=("one", "two"), points=4000, queries=3).lines(board)))
    detail = lines["queries a second, on 1 threads"].detail
    assert (detail["points"], detail["queries"]) == (4000, 6)
    assert lines["queries answered ok"].measured == 100
    wrong = by_name(list(Refusing(scenes=("one", "two"), kilobytes=20, blanks=3, least_wrong=78).lines(board)))
    assert wrong["wrong queries asked"].measured == 2 * (36 + 3)
    assert wrong["wrong queries answered ok"].met
    right = wrong["one, 20 KB: right queries ok, of those the unfolded map localizes"]
    assert right.measured == pytest.approx(100 * np.mean([is_ok(answer) for answer in board.folded("one", 20_000)]))


def test_scenes_side_by_side_stay_what_they_were() -> None:
    one, _ = room(1, points=300, images=12)
    whole = joined([one, mirrored(one, 1, 3)], ["a", "b"])
    assert len(whole.points_world) == 2 * len(one.points_world)
    for scene in (one, whole):  # every observation still projects to where it was seen
        pose = scene.camera_SE3_world[scene.tracks.image]
        local = np.einsum("oab,ob->oa", pose[:, :3, :3], scene.points_world[scene.tracks.point]) + pose[:, :3, 3]
        off = scene.cameras[0].project(local) - scene.tracks.xy_px
        assert np.abs(off).max() < 2
    gap = np.linalg.norm(np.median(whole.points_world[len(one.points_world) :], 0) - np.median(one.points_world, 0))
    assert gap > 10 * one.radius_world
    assert (whole.tracks.descriptors[: len(one.tracks)] == one.tracks.descriptors).all()
    back = whole.tracks.descriptors[len(one.tracks) :].reshape(-1, 4, 4, 8)[:, :, ::-1].reshape(-1, 128)
    assert np.abs(back.astype(int) - one.tracks.descriptors).max() == 12


def test_choosing_is_probed() -> None:
    scene = street_scene(3000, 40)
    assert (np.diff(scene.track_first) >= 1).all()
    found = probe("spread", 3000, 40, 0.1)
    assert found["kept"] == 300
    assert found["observations"] == len(scene.tracks)
    assert 0 < found["seconds"] < 60
    assert 0.05 < found["peak_gb"] < 8


def test_features_are_kept_by_content(tmp_path: Path) -> None:
    class Counted:
        feature = "sift"

        def __init__(self) -> None:
            self.loaded: list[str] = []

        def names(self) -> list[str]:
            return ["a.png", "b.png"]

        def load(self, name: str) -> Features:
            self.loaded.append(name)
            return Features(np.full((2, 2), 1.5, np.float32), np.full((2, 128), len(self.loaded), np.uint8))

    (tmp_path / "kept").mkdir()
    (tmp_path / "a.png").write_bytes(b"one")
    source = Counted()
    kept = KeptFeatures(source, tmp_path, tmp_path / "kept", "sift 1")
    first, again = kept.load("a.png"), kept.load("a.png")
    assert source.loaded == ["a.png"]
    assert (first.descriptors == again.descriptors).all()
    assert (first.xy_px == again.xy_px).all()
    (tmp_path / "a.png").write_bytes(b"another photo of the same name")
    assert kept.load("a.png").descriptors[0, 0] == 2
    KeptFeatures(source, tmp_path, tmp_path / "kept", "sift 2").load("a.png")
    assert len(source.loaded) == 3


def test_blank_photos_are_blank() -> None:
    images = [blank_image(kind, 80, 60, np.random.default_rng(kind)) for kind in range(4)]
    assert all(image.shape == (60, 80) and image.dtype == np.uint8 for image in images)
    assert np.ptp(images[0]) == 0
    assert np.abs(np.diff(images[1].astype(int), axis=1)).max() <= 4


def test_without_recordings_rows_are_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    only = [word for row in ("1", "60kb", "pq4", "10") for word in ("--only", row)]
    where = ["--data", str(tmp_path / "none"), "-o", str(tmp_path / "b.json"), "--quiet", "--threads", "1"]
    assert scoreboard.main(["--layer", "visual", *where, *only]) == 0
    printed = capsys.readouterr().out.strip().splitlines()
    assert len(printed) == 4
    assert all(f"skipped: no recordings at {tmp_path}" in line for line in printed)
    kept = json.loads((tmp_path / "b.json").read_text())
    assert kept["layer"] == "visual"
    assert [row["row"] for row in kept["rows"]] == [1, 4, 6, 10]
    assert kept["rows"][1]["parameters"]["least_pct"]["bonsai"] == [65.0, 80.0]
    assert scoreboard.main(["--layer", "visual", "--queries", "0"]) == 2
