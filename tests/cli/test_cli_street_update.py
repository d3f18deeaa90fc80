"""``foldmap street update`` and ``expand`` on a town whose edits are known, with a reader that errs in nothing."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cli_place import Run
from scipy.spatial import cKDTree
from street_place import PerfectReader, pose_rows, poses_along, town_map, write_numbered, write_pairs, write_town

from foldmap.atlas import FoldFile, verify
from foldmap.formats.street.geojson import write_geojson
from foldmap.geometry import SE2
from foldmap.street.changes.detect import NEVER
from foldmap.street.changes.edits import Edit, edit
from foldmap.street.field.model import FieldEmbedding
from foldmap.street.graph.chains import resample
from foldmap.street.graph.window import Window
from foldmap.street.model import read_street_model
from foldmap.street.source import LaneGraph, StreetMap
from foldmap.street.unfold import FoldedStreet

INSIDE = Window(-60.0, 60.0, -60.0, 60.0)


@pytest.fixture(scope="module")
def street() -> StreetMap:
    return town_map()


@pytest.fixture(scope="module")
def poses(street: StreetMap) -> list[SE2]:
    every = poses_along(street.graph, 8.0, rim_m=45.0)
    return [every[k] for k in np.unique(np.linspace(0, len(every) - 1, 90).round().astype(int))]


def edited(street: StreetMap, kind: str) -> tuple[StreetMap, Edit]:
    for seed in range(20):
        done = edit(resample(street.graph, 1.0), kind, np.random.default_rng(seed), INSIDE)
        if done is not None:
            return StreetMap("town", done[0], street.crs), done[1]
    raise AssertionError(kind)


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory, poses: list[SE2]) -> Path:
    folder = tmp_path_factory.mktemp("town")
    write_town(folder)
    write_numbered(folder / "crops", len(poses))
    (folder / "poses.csv").write_text(pose_rows(poses))
    return folder


@pytest.fixture
def perfect(monkeypatch: pytest.MonkeyPatch, street: StreetMap, poses: list[SE2]) -> None:
    PerfectReader(street.graph, poses).install(monkeypatch)


def folded(town: Path, street: StreetMap, out: Path, **options: object) -> Path:
    from foldmap.api.folding import StreetOptions, fold

    source = out.with_suffix(".geojson")
    write_geojson(street, source)
    asked = {"spacing": 30.0, "tile_m": 64.0, "model": town / "model.safetensors", **options}
    fold([source], out, street=StreetOptions(**asked))  # type: ignore[arg-type]
    return out


def stored(path: Path) -> LaneGraph:
    with FoldFile.open(path) as file:
        return FoldedStreet(file).graph("town")


def share_near(points_m: np.ndarray, graph: LaneGraph, within_m: float = 1.5) -> float:
    """Which share of some points has a lane of a graph near."""
    return float((cKDTree(resample(graph, 0.5).vertices_m).query(points_m)[0] <= within_m).mean())


@pytest.mark.parametrize("kind", ["lane removed", "lane added"])
def test_a_known_edit_is_found_and_applied(
    run: Run, town: Path, tmp_path: Path, street: StreetMap, poses: list[SE2], perfect: None, kind: str
) -> None:
    old, done = edited(street, kind)
    path = folded(town, old, tmp_path / "old.fold")
    before, graph_before = path.read_bytes(), stored(path)
    out = tmp_path / "changes.geojson"
    arguments = ["street", "update", path, town / "crops", "--poses", town / "poses.csv", "-o", out]
    arguments += ["--model", town / "update.safetensors", "--json"]
    ran = run(*arguments)
    assert "nobody measured how often this model tells of changes" in ran.err
    summary = ran.told()
    assert not summary["applied"]
    assert path.read_bytes() == before  # without --apply nothing is written
    features = json.loads(out.read_text())["features"]
    assert len(features) == summary["changes"] > 0
    wanted, lost = ("added", done.before_m) if kind == "lane removed" else ("removed", done.after_m)
    best = features[0]["properties"]
    assert best["kind"] == wanted
    assert 0.35 <= best["confidence"] <= 1
    assert best["windows"] >= 1
    line = np.array(features[0]["geometry"]["coordinates"])
    assert (cKDTree(lost).query(line)[0] < 2.0).mean() > 0.9  # it is where the edit was
    ran = run(*arguments, "--apply")
    summary = json.loads(ran.out)
    assert summary["applied"]
    assert summary["tiles_kept"] > 0  # the others stay bit for bit
    assert list(verify(path)) == []
    assert run("verify", path).status == 0
    now = stored(path)
    seen = np.array([(pose.x_m, pose.y_m) for pose in poses])
    middle = lost[(cKDTree(seen).query(lost)[0] < 15.0)]
    if kind == "lane removed":
        assert share_near(middle, now) > share_near(middle, graph_before)
        assert share_near(middle, now) > 0.7
    else:
        heading = np.diff(lost, axis=0)
        assert now.length_m < graph_before.length_m - 0.5 * np.hypot(*heading.T).sum()
    far = resample(street.graph, 1.0).vertices_m
    far = far[cKDTree(lost).query(far)[0] > 12.0]
    assert share_near(far, now, 0.5) > 0.97  # nothing else was lost


def test_a_model_says_from_which_confidence_on_its_changes_count(
    run: Run, town: Path, tmp_path: Path, street: StreetMap, perfect: None
) -> None:
    path = folded(town, edited(street, "lane removed")[0], tmp_path / "old.fold")
    model = read_street_model(town / "update.safetensors")
    assert isinstance(model, FieldEmbedding)
    told = {}
    for least in (0.5, NEVER):
        own = tmp_path / f"{least}.safetensors"
        own.write_bytes(replace(model, least_change=least).payload())
        seen = town / "crops", "--poses", town / "poses.csv"
        ran = run("street", "update", path, *seen, "-o", tmp_path / "c.geojson", "--model", own, "--json")
        summary = json.loads(ran.out)
        assert summary["min_confidence"] == least
        told[least] = summary["changes"], ran.err
    assert told[0.5][0] > 0
    assert told[0.5][1] == ""
    assert told[NEVER][0] == 0  # on lanes without changes it told of some, however sure it was
    assert "none is told" in told[NEVER][1]


def test_a_map_that_is_true_stays(run: Run, town: Path, tmp_path: Path, street: StreetMap, perfect: None) -> None:
    path = folded(town, street, tmp_path / "true.fold")
    before = path.read_bytes()
    ran = run(
        "street", "update", path, town / "crops", "--poses", town / "poses.csv", "-o", tmp_path / "c.geojson",
        "--apply", "--model", town / "update.safetensors", "--json",
    )  # fmt: skip
    assert json.loads(ran.out)["changes"] == 0
    assert not json.loads(ran.out)["applied"]
    assert path.read_bytes() == before


@pytest.mark.parametrize("from_library", [False, True])
def test_expand_adds_what_is_not_there(
    run: Run, town: Path, tmp_path: Path, street: StreetMap, poses: list[SE2], perfect: None, from_library: bool
) -> None:
    whole = resample(street.graph, 1.0)
    south = whole.take_edges(whole.vertices_m[whole.edges].mean(1)[:, 1] < 0)
    path = folded(town, StreetMap("town", south, street.crs), tmp_path / "south.fold")
    out = tmp_path / "new.geojson"
    arguments: list[object] = ["street", "expand", path, town / "crops", "--poses", town / "poses.csv", "-o", out]
    if from_library:
        arguments += ["--from-library", folded(town, street, tmp_path / "library.fold", spacing=3.0)]
    ran = run(*arguments, "--apply", "--json")
    summary = ran.told()
    assert "observations are where the map has lanes: left out" in ran.err
    assert set(summary["by_kind"]) == {"added"}
    assert summary["applied"]
    now = stored(path)
    north = np.array([(pose.x_m, pose.y_m) for pose in poses if pose.y_m > 12])
    assert len(north) > 10
    assert share_near(north, south, 3.0) < 0.2
    assert share_near(north, now, 3.0) > 0.8
    added = np.concatenate([np.array(f["geometry"]["coordinates"]) for f in json.loads(out.read_text())["features"]])
    assert share_near(added, street.graph, 2.0) > (0.7 if from_library else 0.9)  # and it is really there


def test_pairs_bring_their_poses(run: Run, town: Path, tmp_path: Path, street: StreetMap, poses: list[SE2]) -> None:
    write_pairs(tmp_path / "pairs", street, poses[:3])
    path = folded(town, street, tmp_path / "m.fold")
    with_model = ["--model", town / "update.safetensors", "--min-confidence", "1"]
    ran = run("street", "update", path, tmp_path / "pairs", "-o", tmp_path / "c.geojson", *with_model, "--json").done()
    assert json.loads(ran.out)["windows"] == 3


def test_what_cannot_be_updated(run: Run, town: Path, tmp_path: Path, street: StreetMap) -> None:
    path = folded(town, street, tmp_path / "m.fold", spacing=90.0)
    crops, out = town / "crops", tmp_path / "c.geojson"
    model = ["--model", town / "update.safetensors"]
    shutil.copyfile(town / "model.safetensors", tmp_path / "plain.safetensors")
    cases = [
        ([crops, *model], "nobody says where"),
        ([crops, "--poses", town / "poses.csv", "--model", tmp_path / "plain.safetensors"], "takes no map"),
        ([crops, "--poses", town / "poses.csv", *model, "--min-confidence", "0"], "a confidence of 0"),
        ([crops, "--poses", town / "poses.csv", *model, "--region", "moon"], "no region 'moon'"),
    ]
    for arguments, message in cases:
        run("street", "update", path, *arguments, "-o", out).refused(message)
        assert not out.exists()
