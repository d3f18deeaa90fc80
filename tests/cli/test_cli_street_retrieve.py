"""``foldmap street retrieve`` and ``map2pix``: with a reader that errs in nothing they find what is there."""

import csv
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from cli_place import Run
from PIL import Image
from street_place import (
    PerfectReader,
    lines_of,
    pose_rows,
    poses_along,
    town_map,
    write_numbered,
    write_pairs,
    write_ring_frames,
    write_town,
)

from foldmap.atlas import FoldFile
from foldmap.geometry import SE2
from foldmap.street.graph.chains import resample
from foldmap.street.graph.window import AROUND, cut
from foldmap.street.model import read_street_model
from foldmap.street.source import StreetMap
from foldmap.street.unfold import FoldedStreet

POSES = 6


@pytest.fixture(scope="module")
def street() -> StreetMap:
    return town_map()


@pytest.fixture(scope="module")
def poses(street: StreetMap) -> list[SE2]:
    every = poses_along(street.graph, 6.0)
    return [every[k] for k in np.linspace(0, len(every) - 1, POSES).round().astype(int)]


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory, street: StreetMap, poses: list[SE2]) -> Path:
    """map.fold with a place every 6 m, crops/, ring/ and pairs/; read only."""
    from foldmap.api.folding import StreetOptions, fold

    folder = tmp_path_factory.mktemp("town")
    write_town(folder)
    options = StreetOptions(model=folder / "model.safetensors", spacing=6.0, embeddings="half")
    fold(folder / "town.geojson", folder / "map.fold", street=options)
    write_numbered(folder / "crops", POSES)
    write_ring_frames(folder / "ring")
    write_pairs(folder / "pairs", street, poses)
    (folder / "poses.csv").write_text(pose_rows(poses, [f"crop{k}.png" for k in range(POSES)]))
    return folder


@pytest.fixture
def perfect(monkeypatch: pytest.MonkeyPatch, street: StreetMap, poses: list[SE2]) -> None:
    PerfectReader(street.graph, poses).install(monkeypatch)


def apart_m(row: dict, pose: SE2) -> float:
    return math.hypot(float(row["x_m"]) - pose.x_m, float(row["y_m"]) - pose.y_m)


def test_each_crop_finds_its_place(
    run: Run, town: Path, tmp_path: Path, street: StreetMap, poses: list[SE2], perfect: None
) -> None:
    out = tmp_path / "found.jsonl"
    summary = run(
        "street", "retrieve", town / "map.fold", town / "crops", "-o", out, "--top", "3", "--apart", "25", "--json",
        "--geojson", tmp_path / "found.geojson", "--picture", tmp_path / "found.png",
    ).told(quiet=True)  # fmt: skip
    assert (summary["by_status"], summary["search"]) == ({"ok": POSES}, "exact")
    lines = lines_of(out)
    assert [line["observation"] for line in lines] == [f"crop{k}.png" for k in range(POSES)]
    with FoldFile.open(town / "map.fold") as file:
        layer = FoldedStreet(file)
        vectors, places = layer.embeddings("town"), layer.places("town")
    model = read_street_model(town / "model.safetensors")
    for line, pose in zip(lines, poses, strict=True):
        rows = line["results"]
        truth = model.embed_graphs([resample(cut(street.graph, pose, AROUND), 1.0)])[0]
        best = int((vectors.astype(np.float64) @ truth).argmax())  # what comparing with all finds
        assert apart_m(rows[0], places.pose(best)) < 0.01
        assert rows[0]["similarity"] == pytest.approx(float(vectors[best] @ truth), abs=1e-4)
        xy = np.array([(row["x_m"], row["y_m"]) for row in rows])
        gaps = np.hypot(*(xy[:, None] - xy[None]).transpose(2, 0, 1))[np.triu_indices(len(xy), 1)]
        assert (gaps >= 25).all()
        scores = [row["similarity"] for row in rows]
        assert scores == sorted(scores, reverse=True)
    near = [apart_m(line["results"][0], pose) < 4 for line, pose in zip(lines, poses, strict=True)]
    assert sum(near) >= POSES - 2
    features = json.loads((tmp_path / "found.geojson").read_text())["features"]
    assert len(features) == sum(len(line["results"]) for line in lines)
    first = np.concatenate([np.array(line) for line in features[0]["geometry"]["coordinates"]])
    at = lines[0]["results"][0]
    assert (np.hypot(*(first - (at["x_m"], at["y_m"])).T) < 28.3).all()  # the half diagonal of 40 m
    assert (tmp_path / "found.png").read_bytes()[:4] == b"\x89PNG"
    assert json.loads((tmp_path / "found.jsonl.settings.json").read_text())["top"] == 3


def test_fences_and_csv(run: Run, town: Path, tmp_path: Path, poses: list[SE2], perfect: None) -> None:
    out = tmp_path / "found.csv"
    at = poses[0]
    near = f"{at.x_m},{at.y_m}"
    run("street", "retrieve", town / "map.fold", town / "crops", "-o", out, "--near", near, "--radius", "20").done()
    rows = [row for row in csv.DictReader(out.read_text().splitlines()) if row["rank"]]
    assert rows
    assert all(apart_m(row, at) <= 20 for row in rows)
    box = f"{at.x_m - 5},{at.y_m - 5},{at.x_m + 5},{at.y_m + 5}"
    run("street", "retrieve", town / "map.fold", town / "crops", "-o", out, "--box", box)
    rows = [row for row in csv.DictReader(out.read_text().splitlines()) if row["rank"]]
    assert rows
    assert all(abs(float(r["x_m"]) - at.x_m) <= 5 and abs(float(r["y_m"]) - at.y_m) <= 5 for r in rows)


def test_nothing_similar_is_no_match(run: Run, town: Path, tmp_path: Path, poses: list[SE2], perfect: None) -> None:
    out, at = tmp_path / "found.jsonl", poses[0]
    far = max(poses, key=lambda pose: math.hypot(pose.x_m - at.x_m, pose.y_m - at.y_m))
    where = f"{far.x_m},{far.y_m}"
    ran = run(
        "street", "retrieve", town / "map.fold", town / "crops" / "crop0.png", "-o", out, "--near", where, "--radius",
        "8", "--min-similarity", "0.9999",
    )  # fmt: skip
    assert ran.status == 1
    line = lines_of(out)[0]
    assert (line["status"], line["results"]) == ("no_match", [])
    assert line["best_similarity"] < 0.9999


def test_ring_folders_say_what_is_missing(run: Run, town: Path, tmp_path: Path) -> None:
    ring = tmp_path / "ring"
    shutil.copytree(town / "ring", ring)
    names = [camera["name"] for camera in json.loads((ring / "ring.json").read_text())["cameras"]]
    shutil.rmtree(ring / names[1])
    (ring / names[2] / "1.png").unlink()
    out = tmp_path / "found.jsonl"
    least = ["--min-similarity", "-1"]
    ran = run("street", "retrieve", town / "map.fold", ring, "-o", out, *least).done()
    assert f"no images of the cameras {names[1]}" in ran.err
    assert f"1 lacks {names[2]}" in ran.err
    run("street", "retrieve", town / "map.fold", ring, "--camera", names[2], "-o", out, *least).done()
    assert [line["status"] for line in lines_of(out)] == ["ok", "no_observation"]


def _bad_image(folder: Path, kind: str) -> Path:
    path = folder / "bad.png"
    if kind == "other mode":
        Image.fromarray(np.zeros((40, 40), np.uint16)).save(path)
    elif kind == "other size":
        Image.fromarray(np.zeros((40, 90, 3), np.uint8)).save(path)
    elif kind == "tiny":
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(path)
    else:
        path.write_text("no image")
    return path


def test_one_bad_image_leaves_the_others(run: Run, town: Path, tmp_path: Path, perfect: None) -> None:
    shutil.copytree(town / "crops", tmp_path / "crops")
    good = len(list((tmp_path / "crops").iterdir()))
    _bad_image(tmp_path / "crops", "other size")
    out = tmp_path / "x.jsonl"
    ran = run("street", "retrieve", town / "map.fold", tmp_path / "crops", "-o", out).done()
    assert "left out: bad.png: an aerial crop of 90 x 40 px" in ran.err
    status = {line["observation"]: line["status"] for line in lines_of(out)}
    assert status.pop("bad.png") == "no_observation"
    assert (len(status), set(status.values())) == (good, {"ok"})


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("other mode", "more than 8 bits"),
        ("other size", "square pixels"),
        ("tiny", "at least 16 px"),
        ("text", "is no photo"),
    ],
)
def test_images_of_other_kinds_are_refused(run: Run, town: Path, tmp_path: Path, kind: str, message: str) -> None:
    path = _bad_image(tmp_path, kind)
    run("street", "retrieve", town / "map.fold", path, "-o", tmp_path / "x.jsonl").refused(message, "bad.png")
    assert not (tmp_path / "x.jsonl").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gone.png"], "there is no file or folder gone.png"),
        (["RING", "--camera", "moon"], "the ring has no camera 'moon'"),
        (["UNCALIBRATED"], "'moon' of"),
        (["NOCALIBRATION"], "holds no images"),
        (["RESIZED"], "its calibration says"),
        (["ORTHO"], "give --poses"),
        (["CROPS", "--camera", "front"], "has no cameras"),
        (["CROPS", "--near", "1,2"], "both --near X,Y and --radius M"),
        (["CROPS", "--near", "1;2", "--radius", "3"], "--near is '1;2'"),
        (["CROPS", "--near", "9999,0", "--radius", "3"], "inside the fence"),
        (["CROPS", "--region", "moon"], "no region 'moon'"),
        (["CROPS", "--top", "0"], "0 results"),
        (["CROPS", "--search", "magic"], "no search is called 'magic'"),
        (["CROPS", "--model", "gone.safetensors"], "gone.safetensors cannot be read"),
    ],
)
def test_what_cannot_be_retrieved(run: Run, town: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    shutil.copytree(town / "ring", tmp_path / "moonlit")
    (tmp_path / "moonlit" / "moon").mkdir()
    (tmp_path / "bare").mkdir()
    shutil.copytree(town / "ring", tmp_path / "resized")
    camera = json.loads((town / "ring" / "ring.json").read_text())["cameras"][0]["name"]
    for frame in (0, 1):  # of one alone the other is answered
        Image.fromarray(np.zeros((72, 72, 3), np.uint8)).save(tmp_path / "resized" / camera / f"{frame}.png")
    Image.fromarray(np.zeros((72, 96, 3), np.uint8)).save(tmp_path / "moonlit" / "moon" / "0.png")
    paths = {
        "RING": town / "ring",
        "UNCALIBRATED": tmp_path / "moonlit",
        "NOCALIBRATION": tmp_path / "bare",
        "RESIZED": tmp_path / "resized",
        "ORTHO": town / "ortho.tif",
        "CROPS": town / "crops",
    }
    filled = [paths.get(argument, argument) for argument in arguments]
    ran = run("street", "retrieve", town / "map.fold", *filled, "-o", tmp_path / "x.jsonl")
    assert (ran.status, ran.out) == (2, "")
    assert message in ran.err.splitlines()[-1]


def test_maps_without_model_or_streets_say_so(run: Run, town: Path, place: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare.fold"
    run("fold", town / "town.geojson", "-o", bare, "--spacing", "0")
    for path, message in ((bare, "folded without a model"), (place / "map.fold", "has no street layer")):
        run("street", "retrieve", path, town / "crops", "-o", tmp_path / "x.jsonl").refused(message)
    with_model = run(
        "street", "retrieve", bare, town / "crops", "-o", tmp_path / "x.jsonl", "--model", town / "model.safetensors"
    )
    assert "has no places to retrieve" in with_model.err


def test_map2pix_finds_the_image_of_a_place(
    run: Run, town: Path, tmp_path: Path, poses: list[SE2], perfect: None
) -> None:
    for number in (0, 3):
        pose = poses[number]
        at = f"{pose.x_m},{pose.y_m},{math.degrees(pose.heading_rad)}"
        for source in (town / "map.fold", town / "town.geojson"):
            out = tmp_path / "images.jsonl"
            ran = run(
                "street", "map2pix", source, town / "pairs", "--at", at, "-o", out, "--top", "2", "--picture",
                tmp_path / "p.png", "--model", town / "model.safetensors", "--json",
            ).done()  # fmt: skip
            rows = lines_of(out)
            assert len(rows) == 2
            assert rows[0]["similarity"] > 0.98  # stored lanes are 10 cm off
            assert int(rows[0]["observation"]) == number
            assert json.loads(ran.out)["lane_m_in_the_window"] > 20
    run("street", "map2pix", town / "map.fold", town / "pairs", "--at", "5000,0,0", "-o", tmp_path / "x.jsonl").refused(
        "has no lane in the window"
    )


def test_what_shows_no_lanes_has_no_match(
    run: Run, town: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from foldmap.street.field.model import FieldEmbedding

    def evenly_faint(self: FieldEmbedding, observations: list, maps_BCRS: object = None) -> np.ndarray:
        """As networks read ground without lanes: a little of everything, everywhere."""
        rng = np.random.default_rng(len(observations))
        return rng.uniform(0, 0.02, (len(observations), *self.field.shape)).astype(np.float32)

    monkeypatch.setattr(FieldEmbedding, "read_fields", evenly_faint)
    out = tmp_path / "x.jsonl"
    ran = run("street", "retrieve", town / "map.fold", town / "crops", "-o", out, "--json")
    assert ran.status == 1
    assert json.loads(ran.out)["by_status"] == {"no_match": POSES}
    assert all(line["results"] == [] for line in lines_of(out))
