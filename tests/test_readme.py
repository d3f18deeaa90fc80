"""What README.md and docs/ say: marked commands run, Python answers as they do, links lead somewhere."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from foldmap.localize.lidar.confidence import ConfidenceThresholds

sys.path.insert(0, str(Path(__file__).parent / "cli"))
README = Path(__file__).resolve().parents[1] / "README.md"
BLOCK = re.compile(r"<!-- tested(, may answer no)? -->\n```sh\n(.*?)```", re.DOTALL)


BELIEVING = ConfidenceThresholds(
    reject_margin_sigma=-1e3,
    reject_evidence_sigma=-1e3,
    reject_agreement=-1.0,
    reject_score=-1.0,
    reject_sigma_m=1e3,
    warn_score=-1.0,
    warn_distinction=-1.0,
)
"""Thresholds that an untrained model passes, unlike the default ones."""
PYTHON = re.compile(r"```python\n(.*?)```", re.DOTALL)


def texts() -> list[Path]:
    return [README, *sorted((README.parent / "docs").glob("*.md"))]


def commands() -> list[tuple[str, set[int]]]:
    """Marked commands of all texts with the exit statuses they may have."""
    found = []
    for path in texts():
        for maybe_no, text in BLOCK.findall(path.read_text(encoding="utf-8")):
            found += [(line, {0, 1} if maybe_no else {0}) for line in text.splitlines() if line.strip()]
    return found


def write_photographed_scene(folder: Path) -> None:
    """A scene/ as README's commands expect it, and queries: four of its own images."""
    import scene_place

    from foldmap.formats.hloc.features import HlocFeatureWriter
    from foldmap.formats.hloc.lists import write_query_list
    from foldmap.visual.source import Features

    scene = scene_place.room_scene()
    scene = replace(scene, image_names=tuple(name.replace(" ", "-") for name in scene.image_names))
    scene_place.write_scene(scene, folder / "scene")
    asked = range(0, len(scene.image_names), 6)
    shutil.copytree(folder / "scene" / "sparse", folder / "sparse")
    shutil.copy(folder / "scene" / "features.h5", folder / "feats.h5")
    write_query_list(folder / "queries.txt", {scene.image_names[image]: scene.camera_of(image) for image in asked})
    assert scene.tracks.descriptors is not None
    with HlocFeatureWriter(folder / "queries.h5", "sift") as sink:
        for image in asked:
            rows = scene.tracks.image == image
            sink.add(scene.image_names[image], Features(scene.tracks.xy_px[rows], scene.tracks.descriptors[rows]))
    shutil.copy(folder / "queries.h5", folder / "query-feats.h5")


def write_streets(folder: Path) -> None:
    """streets.geojson, ortho.tif and drive.csv: a corner of a town, seen from above."""
    import rasterio

    from foldmap.formats.street.geojson import write_geojson
    from foldmap.formats.street.lanelet2.write import write_lanelet2
    from foldmap.street.places import sample_places
    from foldmap.town.street.ortho import town_tile
    from foldmap.town.world import TownWorld

    tile = town_tile(TownWorld(3), -60.0, -60.0, 120.0, 0.4)
    write_geojson(tile.map, folder / "streets.geojson")
    write_lanelet2(folder / "lanelets.osm", tile.map)
    grid = tile.ground.grid
    with rasterio.open(
        folder / "ortho.tif",
        "w",
        driver="GTiff",
        dtype="uint8",
        count=3,
        height=grid.height_px,
        width=grid.width_px,
        transform=rasterio.Affine(grid.resolution_m, 0, grid.west_m, 0, -grid.resolution_m, grid.north_m),
    ) as dataset:
        dataset.write(tile.ground.image.transpose(2, 0, 1))
    places = sample_places(tile.map.graph, 10.0)
    seen = places.take(tile.ground.inside(places.xy_m, 30.0))
    rows = [f"{x},{y},{h}" for x, y, h in zip(seen.x_m[:3], seen.y_m[:3], seen.heading_rad[:3], strict=True)]
    (folder / "drive.csv").write_text("\n".join(["x_m,y_m,heading_rad", *rows]) + "\n")


def test_marked_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import cli_place as place

    place.write_tif(tmp_path / "map.tif", place.ground())
    changed = place.ground()
    changed[50:90, 60:120] = 0.2
    place.write_tif(tmp_path / "new.tif", changed)
    place.write_sweeps(tmp_path / "sweeps", 2)
    (tmp_path / "truth.txt").write_text(place.tum(2))
    (tmp_path / "prior.txt").write_text(place.tum(2, (0.2, 0.1)))
    fixes = [f"{100 + 0.1 * frame:.1f},{x},{y}" for frame in range(2) for x, y, _ in [place.truth_of(frame)]]
    (tmp_path / "fixes.csv").write_text("\n".join(["time_s,east,north", *fixes]))
    weights = tmp_path / "weights"
    weights.mkdir()
    bundle = place.make_bundle()
    bundle.rate_bit_m2 = 6.0
    bundle.thresholds = BELIEVING.to_dict()
    (weights / "untrained.safetensors").write_bytes(bundle.to_bytes())
    monkeypatch.setattr("foldmap.lidar.defaults.weights_folder", lambda: weights)
    write_photographed_scene(tmp_path)
    write_streets(tmp_path)
    monkeypatch.chdir(tmp_path)
    from foldmap.cli import app

    assert len(commands()) >= 15
    for line, allowed in commands():
        words = shlex.split(line)
        if line.endswith("-o built.tif"):
            words += ["--resolution", "0.2"]  # two thin sweeps, and a model for such pixels
        assert words[0] == "foldmap"
        result = CliRunner().invoke(app, words[1:])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code in allowed, f"{line}: {result.stderr}"
    made = ("built.tif", "map.fold", "small.fold", "lean.fold", "estimates.txt", "errors.svg", "embedding.tif")
    made += ("place.fold", "drive.fold", "lanes.fold", "town.fold", "scene.fold", "poses.txt", "poses.txt.jsonl")
    made += ("streets.fold", "again.geojson", "found.jsonl", "where.csv", "changes.geojson")
    assert all((tmp_path / name).is_file() for name in made)

    check_python_answers(tmp_path)


def check_python_answers(folder: Path) -> None:
    """README's Python gives what the commands give now, to the last digit."""
    from foldmap.api.results import LocalizedObservation, write_json_lines
    from foldmap.cli import app
    from foldmap.localize.lidar.localizer import LidarLocalizer, LidarSettings

    visual, lidar = (run_python(text) for text in PYTHON.findall(README.read_text(encoding="utf-8")))
    for words in (
        "localize place.fold --queries queries.txt --features query-feats.h5 -o again-poses.txt",
        "localize drive.fold sweeps/ --poses prior.txt -o again.txt --aggregate 1",
    ):
        assert CliRunner().invoke(app, words.split()).exit_code in (0, 1)
    found = zip(visual["images"], visual["estimates"], strict=True)
    photos = [
        LocalizedObservation(one.name, str(at), estimate, photos=(one,)) for at, (one, estimate) in enumerate(found)
    ]
    write_json_lines("python.jsonl", photos)
    answers = answers_of(folder / "again-poses.txt.jsonl")
    assert answers_of(folder / "python.jsonl") == answers
    assert len(answers) > 3
    assert all(answer["status"] == "ok" for answer in answers)
    answers = answers_of(folder / "again.txt.jsonl")
    assert len(answers) == 2
    rows = zip(lidar["drive"].names, answers, lidar["estimates"], strict=True)
    write_json_lines(
        "python.jsonl", [LocalizedObservation(name, str(row["time_s"]), estimate) for name, row, estimate in rows]
    )
    assert answers_of(folder / "python.jsonl") == answers
    # the thresholds in the file decide: others would have refused
    assert lidar["street"].lidar_localizer().thresholds == BELIEVING
    told = LidarSettings(thresholds=ConfidenceThresholds())
    assert LidarLocalizer.open(lidar["street"].lidar, told).thresholds == ConfidenceThresholds()


def run_python(text: str) -> dict[str, Any]:
    """Run a block; give its variables."""
    names: dict[str, Any] = {}
    exec(compile(text, "README.md", "exec"), names)
    return names


def answers_of(path: Path) -> list[dict[str, Any]]:
    """Lines of answers without the time that they took."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for row in rows:
        assert row["diagnostics"].pop("time_s") > 0
    return rows


def headings(path: Path) -> set[str]:
    """Anchors of a text's headings, as GitHub makes them."""
    lines = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines}


def test_every_link_leads_somewhere() -> None:
    for path in texts():
        for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", path.read_text(encoding="utf-8")):
            name, _, anchor = target.partition("#")
            other = path.parent / name if name else path
            assert other.is_file(), f"{path.name}: {target}"
            assert not anchor or anchor in headings(other), f"{path.name}: {target}"
