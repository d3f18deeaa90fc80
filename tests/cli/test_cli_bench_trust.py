"""``foldmap bench trust`` on small generated maps of every layer: what it asks, counts and writes."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_place import Ran, Run

from foldmap.bench.trust import photos


def rows_of(ran: Ran) -> dict[str, dict[str, Any]]:
    assert ran.status == 0, ran.err
    return {row["kind"]: row for row in json.loads(ran.out)["kinds"]}


@pytest.fixture(autouse=True)
def small_strangers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eleven photos are drawn of a strange town, whatever is asked of them."""
    monkeypatch.setattr(photos, "_TOWN_PX", (320, 240))


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A town's scene.fold, and queries of another day: images/, queries.txt, truth.txt."""
    pytest.importorskip("pycolmap", reason="the town's photos are described by COLMAP's SIFT")
    from PIL import Image

    from foldmap.atlas import FoldWriter
    from foldmap.formats.hloc.lists import write_query_list
    from foldmap.formats.hloc.results import write_results
    from foldmap.localize.visual.plan import transform_codecs
    from foldmap.town.camera.visual_scene import TownPhotos, town_scene
    from foldmap.visual.features.extract import ExtractorSettings, open_extractor
    from foldmap.visual.fold import VisualPlan, fold_visual
    from foldmap.visual.scene.average import track_means

    folder = tmp_path_factory.mktemp("trust")
    town = TownPhotos(5, 16, 4, (320, 240), spacing_m=0.6)
    made = town_scene(town, open_extractor("sift", None, ExtractorSettings(max_keypoints=1500)).extract)
    means = track_means(made)
    with FoldWriter(folder / "scene.fold") as writer:
        codec = transform_codecs(made, means)[-1]
        fold_visual(writer, made, VisualPlan(np.arange(len(made.points_world)), codec), means=means)
        writer.commit()
    (folder / "images").mkdir()
    for photo in town.query_photos:
        Image.fromarray(photo.picture.image).save(folder / "images" / photo.name)
    write_query_list(folder / "queries.txt", {photo.name: town.camera for photo in town.query_photos})
    truth = {photo.name: photo.world_SE3_camera.inverse().matrix for photo in town.query_photos}
    write_results(folder / "truth.txt", truth)
    return folder


def asked(scene: Path, out: Path, *more: object) -> tuple[object, ...]:
    told = ("--images", scene / "images", "--queries", scene / "queries.txt", "--truth", scene / "truth.txt")
    return ("bench", "trust", scene / "scene.fold", "-o", out, *told, "--count", 3, *more)


def test_photos_are_counted_by_kind(run: Run, scene: Path, tmp_path: Path) -> None:
    kinds = ("as taken", "turned", "focal +25", "mirrored", "blank", "generated town")
    chosen = [word for kind in kinds for word in ("--kind", kind)]
    ran = run(*asked(scene, tmp_path / "out", *chosen, "--json"))
    rows = rows_of(ran)
    assert list(rows) == ["as taken", "turned by 90 degrees", "focal +25 %", "mirrored", "blank", "generated town"]
    for row in rows.values():
        assert row["asked"] == 3
        assert row["ok_right"] + row["ok_beyond"] + row["degraded"] + row["refused"] == 3
    assert rows["as taken"]["ok_right"] + rows["as taken"]["ok_beyond"] + rows["as taken"]["degraded"] == 3
    assert rows["blank"]["refused"] == rows["generated town"]["refused"] == 3
    assert rows["mirrored"]["ok_right"] == rows["blank"]["ok_right"] == 0  # there is nothing right about them
    with (tmp_path / "out" / "answers.csv").open() as file:
        answers = list(csv.DictReader(file))
    assert len(answers) == 18
    right = [float(row["position"]) for row in answers if row["kind"] == "as taken"]
    assert max(right) < 0.5  # metres: the truth is the town's own
    turned = [float(row["position"]) for row in answers if row["kind"].startswith("turned") and row["position"]]
    assert max(turned) < 0.5
    page = (tmp_path / "out" / "index.html").read_text()
    assert "hostile queries" in page
    assert "image/svg+xml" in page
    again = rows_of(run(*asked(scene, tmp_path / "again", "--kind", "focal +25", "--kind", "mirrored", "--json")))
    assert list(again) == ["focal +25 %", "mirrored"]
    for kind, row in again.items():
        assert {**row, "median_time_s": 0} == {**rows[kind], "median_time_s": 0}


def test_without_photos_of_the_place_others_are_asked(run: Run, scene: Path, tmp_path: Path) -> None:
    rows = rows_of(
        run("bench", "trust", scene / "scene.fold", "-o", tmp_path / "out", "--elsewhere", scene / "images",
            "--count", 3, "--json")
    )  # fmt: skip
    assert list(rows) == ["blank", "noise", "other scene", "generated town"]
    assert all(row["expect"] == "refused" for row in rows.values())


def test_sweeps_are_counted_by_kind(run: Run, place: Path, tmp_path: Path) -> None:
    told = ("--sweeps", place / "sweeps", "--poses", place / "truth.txt", "--aggregate", 1, "--count", 2)
    rows = rows_of(run("bench", "trust", place / "map.fold", "-o", tmp_path / "out", *told, "--json"))
    assert {"as driven", "mirrored", "scrambled rings", "tilted by 5 degrees", "map out of date", "noise"} <= set(rows)
    assert "other place" not in rows  # three sweeps on two metres of road leave none
    assert all(row["asked"] == 2 for kind, row in rows.items() if "town" not in kind)
    assert rows["other map (generated town)"]["ok_right"] == 0


def test_drives_are_counted_by_kind(run: Run, tmp_path: Path) -> None:
    from street_place import pose_rows, poses_along, write_town

    street = write_town(tmp_path)
    (tmp_path / "poses.csv").write_text(pose_rows(poses_along(street.graph, 5.0)[:7]))
    run("fold", tmp_path / "town.geojson", "-o", tmp_path / "streets.fold").done()
    kinds = [word for kind in ("as driven", "turned", "shuffled", "dark") for word in ("--kind", kind)]
    told = ("--drives", tmp_path / "ortho.tif", "--drive-poses", tmp_path / "poses.csv", "--frames", 3, "--count", 2)
    rows = rows_of(run("bench", "trust", tmp_path / "streets.fold", "-o", tmp_path / "out", *told, *kinds, "--json"))
    assert set(rows) == {"as driven", "dark", "turned", "shuffled frames"}
    assert all(row["asked"] == 2 for row in rows.values())


def test_what_cannot_be_measured_is_said(run: Run, scene: Path, place: Path, tmp_path: Path) -> None:
    for words, said in (
        ((place / "map.fold", "-o", tmp_path), "is asked nothing"),
        ((scene / "scene.fold", "-o", tmp_path, "--kind", "no such kind"), "no kind of query"),
        ((scene / "scene.fold", "-o", tmp_path, "--sweeps", "x"), "belong together"),
        ((scene / "scene.fold", "-o", tmp_path, "--queries", scene / "queries.txt"), "--images"),
        ((scene / "scene.fold", "-o", tmp_path, "--images", scene / "images"), "--model"),
    ):
        run("bench", "trust", *words).refused(said)
    assert photos.evenly(list(range(10)), 3) == [0, 4, 9]  # type: ignore[arg-type, comparison-overlap]
