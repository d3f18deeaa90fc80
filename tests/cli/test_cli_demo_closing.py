"""The act of ``foldmap demo`` in which a street is closed, on twenty sweeps each way."""

import dataclasses
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from benchmarks.town import TownMap
from foldmap.atlas import FoldFile, FoldWriter
from foldmap.cli.demo import closing
from foldmap.lidar.fold import LidarPlan, fold_lidar
from foldmap.lidar.marks.model import MarksModel
from foldmap.lidar.shipped import weights_folder
from foldmap.lidar.source import RasterMap
from foldmap.lidar.update import LidarUpdate
from foldmap.report import Page
from foldmap.town import TownWorld, street_lanes
from foldmap.town.lanes import next_lanes
from foldmap.town.plan import arc_lengths
from foldmap.types import DoubleArray

INTO, CLOSED = (0, 0, 1), (0, -1, 1)


def way_of(world: TownWorld) -> DoubleArray:
    """Down one street and on into the next."""
    street = world.plan.street(INTO)
    assert street is not None
    lane = next(one for one in street_lanes(street) if one.key[1] == -1)
    after, curve = next(pair for pair in next_lanes(world.plan, lane) if pair[0].key[0] == CLOSED)
    return np.concatenate([lane.points_m, curve, after.points_m[:60]])


def raster_about(world: TownWorld, place_m: DoubleArray) -> RasterMap:
    source = TownMap(world, 0.05)
    row, col = (int(one) // 512 * 512 for one in source.grid.pixel_of(place_m[None])[0] - 512)
    return source.read(row, col, 1536, 1024)


@pytest.mark.parametrize(("name", "apart"), [("marks-fine-6", 0.1), ("marks-fine-8", 0.05)])
def test_a_closed_street_is_noticed_and_patched(
    name: str, apart: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for setting, value in (("_BEFORE_M", 14.0), ("_INTO_M", 10.0), ("_SPEED_MPS", 12.0)):
        monkeypatch.setattr(closing, setting, value)
    world, path = TownWorld(0), tmp_path / "map.fold"
    way = way_of(world)
    street, entered_m = closing._last_street(world, way)
    assert street.key == CLOSED
    raster = raster_about(world, way[np.searchsorted(arc_lengths(way), entered_m)])
    model = MarksModel.from_bytes((weights_folder() / f"{name}.safetensors").read_bytes())
    with FoldWriter(path) as writer:
        fold_lidar(writer, raster, LidarPlan(model, tile_blocks=1))
    made = closing.close_street(tmp_path, path, raster, (world, way), None, lambda done, total: None)
    assert made is not None
    told = made.told()
    assert told["closing_old_map_noticed"] >= 5
    assert told["closing_noticed_before_in_sight"] == 0
    assert told["closing_new_map_noticed"] == 0
    assert told["closing_old_map_wrong_ok"] == told["closing_new_map_wrong_ok"] == 0
    assert told["closing_new_map_ok"] >= 10
    assert np.nanmedian(made.new.shares[-5:]) > np.nanmedian(made.old.shares[-5:]) + apart
    assert 0 < told["closing_patch_bytes"] < 0.5 * path.stat().st_size
    with FoldFile.open(path) as old, FoldFile.open(tmp_path / "patched.fold") as new:
        assert old.layer("lidar").parameters != new.layer("lidar").parameters
    page = Page("demo")
    still = cast(Any, SimpleNamespace(localized=SimpleNamespace(observations=[])))
    closing.show_closing(page, made, still)
    text = page.html()
    assert text.count("<img ") == 1
    assert f"{made.patch_bytes:,} bytes" in text
    assert f"{told['closing_new_map_ok']} of {len(made.new.estimates)} answers are ok, 0 of them wrong" in text
    unnoticed = dataclasses.replace(made, written=LidarUpdate((), (), 3))
    page = Page("demo")
    closing.show_closing(page, unnoticed, still)
    assert "nothing to patch" in page.html()
    assert re.search(r"drive 3: nothing had changed.*?<td[^>]*>0</td>", text, re.S)
    assert closing.close_street(tmp_path, path, raster, (world, way[-40:]), None, lambda done, total: None) is None


def test_a_flicker_is_no_change() -> None:
    shares = np.array([0.8, 0.5, 0.5, 0.5, 0.5, 0.9, np.nan, 0.4, 0.5, 0.5, 0.5, 0.5, 0.7])
    np.testing.assert_array_equal(np.flatnonzero(closing.changed(shares)), np.arange(7, 12))
    assert not closing.changed(np.array([])).any()
