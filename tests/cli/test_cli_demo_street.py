"""The street part of ``foldmap demo``: layers in one file, known edits found and written, pages and refusals."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from foldmap.atlas import FoldFile, FoldWriter, update
from foldmap.cli.demo.settings import REGION, DemoStreetSettings
from foldmap.cli.demo.street import add_streets, ring_pairs, seen_from_above, summary_of
from foldmap.cli.demo.street_page import add_street
from foldmap.cli.demo.street_update import KINDS, age_map, bring_up_to_date, line_of, passing, update_rows
from foldmap.errors import ConfigError
from foldmap.report import Page
from foldmap.street.changes.survey import Evidence
from foldmap.street.field.examples import change_target
from foldmap.street.field.lane_field import draw
from foldmap.street.field.model import FieldEmbedding
from foldmap.street.field.network import FieldNetwork, FieldShape
from foldmap.street.fold import StreetPlan, fold_street
from foldmap.street.graph.chains import resample
from foldmap.street.graph.window import cut
from foldmap.street.images.rig import surround_ring
from foldmap.street.source import LaneGraph, StreetMap
from foldmap.street.unfold import FoldedStreet
from foldmap.town.street.map import town_street_map
from foldmap.town.world import TownWorld

SMALL = DemoStreetSettings(side_m=160.0, queries=3, rendered=0, frames=4, learnt=20, passing=6)


def untrained(with_map: bool = False) -> FieldEmbedding:
    """A network of random weights: what it answers is worthless, how it is used is the same."""
    torch.manual_seed(1)
    return FieldEmbedding(FieldNetwork(FieldShape(width=8, with_map=with_map)), turns=1)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small cameras, and half of the places."""
    monkeypatch.setattr("foldmap.cli.demo.street.surround_ring", lambda: surround_ring(size_px=(160, 120)))
    monkeypatch.setattr("foldmap.cli.demo.street_drive._STEP_M", 6.0)


@pytest.fixture(scope="module")
def world() -> TownWorld:
    return TownWorld(0, 2000.0)


def file_of(path: Path) -> Path:
    with FoldWriter(path) as writer:
        writer.add_layer("lidar", "lidar", {"note": "stays"})
        writer.commit()
    return path


def test_streets_join_a_file(tmp_path: Path, world: TownWorld) -> None:
    path = file_of(tmp_path / "map.fold")
    before = path.stat().st_size
    made = add_streets(path, world, SMALL, (untrained(), None), lambda done, total: None)
    with FoldFile.open(path) as file:
        assert {layer.name: layer.kind for layer in file.layers()} == {"lidar": "lidar", "street": "street"}
        assert file.layer("lidar").parameters == {"note": "stays"}
        graph = FoldedStreet(file).graph(REGION)
    assert made.layer_bytes == path.stat().st_size - before
    far = 0.5 * SMALL.side_m + 60.0
    truth = town_street_map(world, -far, -far, far, far).graph
    assert made.folded.lane_km == pytest.approx(truth.length_m / 1000, rel=0.01)
    gap = cKDTree(resample(graph, 0.5).vertices_m).query(truth.vertices_m)[0]
    assert gap.max() < 0.36  # 0.1 m from the line, and up to a quarter metre along it
    for one in made.retrieved:
        assert one.oracle_m <= one.chamfer_m
        assert one.oracle_m <= one.random_m
    assert min(one.oracle_m for one in made.retrieved) < 0.5  # the place itself is in the file
    summary = summary_of(made)
    assert summary["street_frames"] == SMALL.frames
    assert "street_edits" not in summary
    page = Page("demo")
    add_street(page, path, made)
    text = page.html()
    assert text.count("<img ") == 4
    assert f"{made.layer_bytes:,}" in text


def test_known_edits_are_found_and_written(tmp_path: Path, world: TownWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    side = 300.0
    far = 0.5 * side + 60.0
    truth = town_street_map(world, -far, -far, far, far, REGION).graph
    aged = age_map(truth, 0, 0.5 * side - 45.0)
    assert [edit.kind for edit in aged.edits] == list(KINDS)
    for number, edit in enumerate(aged.edits):
        line = line_of(edit)
        assert np.abs(line).max() <= 0.5 * side - 45.0
        for other in aged.edits[:number]:
            assert cKDTree(line_of(other)).query(line)[0].min() > 45.0
        for pose in passing(truth, line, 9):
            assert cKDTree(line).query([pose.x_m, pose.y_m])[0] < 8.0
    path = file_of(tmp_path / "map.fold")
    model, finder = untrained(), untrained(with_map=True)
    with update(path) as writer:
        fold_street(writer, [StreetMap(REGION, aged.graph)], StreetPlan(model=model))
        writer.commit()
    settings = dataclasses.replace(SMALL, passing=30)
    poses = [pose for edit in aged.edits for pose in passing(truth, line_of(edit), settings.passing)]

    def sees_all(used: FieldEmbedding, seen: Sequence[object], old: Sequence[LaneGraph]) -> list[Evidence]:
        """The evidence of a network that makes no mistake."""
        found = []
        for pose, window in zip(poses, old, strict=True):
            now = draw(resample(cut(truth, pose, used.window), 1.0), used.field)
            three = change_target(now, draw(resample(window, 1.0), used.field))
            found.append(Evidence(*np.split(three, 3), 1.0))
        assert len(seen) == len(poses)
        return found

    monkeypatch.setattr("foldmap.cli.demo.street_update.gather", sees_all)
    pairs = ring_pairs(seen_from_above(TownWorld(0), side, 2))
    updated = bring_up_to_date(path, aged, truth, pairs, (model, finder), settings)
    assert updated.found == [True, True, True]
    assert updated.wrong == 0
    assert updated.off_m[1] < 0.25 * updated.off_m[0]
    with FoldFile.open(path) as file:
        after = FoldedStreet(file).graph(REGION)
        assert file.layer("lidar").parameters == {"note": "stays"}
    for edit in aged.edits:
        if len(edit.before_m):  # what is there is on the map now
            assert np.median(cKDTree(resample(after, 0.5).vertices_m).query(edit.before_m)[0]) < 1.0
        else:  # what is not there is off it
            assert np.median(cKDTree(resample(after, 0.5).vertices_m).query(edit.after_m)[0]) > 2.0
    assert [row["found"] for row in update_rows(updated)] == ["yes"] * 3


def test_settings_and_towns_without_room() -> None:
    with pytest.raises(ConfigError, match="street demo"):
        DemoStreetSettings(learnt=19)
    with pytest.raises(ConfigError, match="street demo"):
        DemoStreetSettings(side_m=100.0)
    with pytest.raises(ConfigError, match="can be edited"):
        age_map(LaneGraph.from_polylines([np.array([[0.0, 0.0], [3.0, 0.0]])]), 0, 50.0)
