"""Sources of all kinds in one call: one file, one budget, one transaction; updates write what changed."""

import json
import math
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from foldmap.api.folding import LidarOptions, StreetOptions, VisualOptions, fold
from foldmap.api.folding.streets import fold_streets
from foldmap.api.localizing_drives import _frames
from foldmap.api.reshaping import kinds
from foldmap.api.reshaping.parts import Source
from foldmap.atlas import FoldFile, FoldWriter, verify
from foldmap.errors import BudgetError, ConfigError, LayerError, MapFormatError, MapInputError
from foldmap.formats.crs import to_lonlat
from foldmap.geometry import MetricGrid
from foldmap.localize.evidence import MapCalibration
from foldmap.street.unfold import FoldedStreet
from foldmap.types import DoubleArray
from foldmap.visual.unfold import FoldedVisual
from tests.cli.cli_place import ground, make_bundle, write_tif
from tests.cli.scene_place import room_scene, write_scene

ROWS = [f"{k},{x},{4 * k + 20 * math.sin(x / 40):.3f}\n" for k in range(6) for x in range(0, 900, 10)]
HEAD = "line,x_m,y_m\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """map.tif, scene/, lanes.csv and model.safetensors; read only."""
    folder = tmp_path_factory.mktemp("place")
    write_tif(folder / "map.tif", ground())
    write_scene(room_scene(), folder / "scene")
    (folder / "lanes.csv").write_text(HEAD + "".join(ROWS))
    (folder / "model.safetensors").write_bytes(make_bundle().to_bytes())
    return folder


@pytest.fixture(scope="module")
def said(place: Path) -> dict[str, object]:
    return {
        "lidar": LidarOptions(model=place / "model.safetensors"),
        "visual": VisualOptions(step=0.1),
        "street": StreetOptions(spacing=0, tile_m=100),
    }


@pytest.fixture(scope="module")
def town(place: Path, said: dict[str, object], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of all three; read only."""
    out = tmp_path_factory.mktemp("town") / "town.fold"
    fold([place / "map.tif", place / "scene", place / "lanes.csv"], out, **said)  # type: ignore[arg-type]
    return out


def tiles_in(path: Path) -> dict[tuple[str, int, int], bytes | None]:
    with FoldFile.open(path) as file:
        return {(one.name, *key): file.tile(one.name, *key) for one in file.layers() for key in file.tiles(one.name)}


def test_three_kinds_are_three_layers_of_one_file(town: Path) -> None:
    with FoldFile.open(town) as file:
        assert {one.name: one.kind for one in file.layers()} == {k: k for k in ("street", "lidar", "visual")}
        assert {"provenance", "visual", "street"} <= set(file.metadata())
    assert list(verify(town)) == []


def test_the_budget_is_of_the_whole_file(place: Path, said: dict[str, object], town: Path, tmp_path: Path) -> None:
    sources = [place / "map.tif", place / "scene", place / "lanes.csv"]
    budget = town.stat().st_size - 4000
    out = tmp_path / "town.fold"
    summary = fold(sources, out, budget=budget, **said)  # type: ignore[arg-type]
    assert budget - 4096 < out.stat().st_size == summary["file_bytes"] <= budget
    whole = tiles_in(town)
    assert all(data == whole[key] for key, data in tiles_in(out).items() if key[0] != "visual")
    assert summary["visual"]["points"] < summary["visual"]["points_of_scene"]
    held = out.read_bytes()
    others = fold([sources[0], sources[2]], tmp_path / "others.fold", **said)["file_bytes"]  # type: ignore[arg-type]
    (tmp_path / "others.fold").unlink()
    for small, words in ((others + 500, "other layers"), (others // 2, "smallest size reached")):
        with pytest.raises(BudgetError, match=words):
            fold(sources, out, budget=small, **said)  # type: ignore[arg-type]
    assert out.read_bytes() == held
    assert [entry.name for entry in tmp_path.iterdir()] == ["town.fold"]


def test_raster_and_scene_share_by_what_they_need(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shares in proportion to sizes without a budget: both as they are where both fit, else the leaner raster."""
    for name, rate in (("rich", 9.0), ("lean", 0.4)):
        bundle = make_bundle(name)
        bundle.rate_bit_m2 = rate
        (tmp_path / f"{name}.safetensors").write_bytes(bundle.to_bytes())
    monkeypatch.setattr("foldmap.lidar.defaults.weights_folder", lambda: tmp_path)
    held, visual = LidarOptions(codec="learned", embed_model=True), VisualOptions(step=0.1, points=800)
    both = [place / "map.tif", place / "scene"]
    whole_bytes = fold(both, tmp_path / "a.fold", lidar=held, visual=visual)["file_bytes"]
    told: list[str] = []
    points = []
    # the lean one is as large here: it exceeds its share, and the scene gives way
    for budget, model in ((whole_bytes + 1024, "rich"), (whole_bytes - 2048, "lean")):
        done = fold(both, tmp_path / "b.fold", budget=budget, lidar=held, visual=visual, note=told.append)
        assert done["lidar"]["model"] == model
        assert done["file_bytes"] <= budget
        points.append(done["visual"]["points"])
    assert points[1] < points[0] <= 800
    alone = fold(place / "map.tif", tmp_path / "a.fold", budget=whole_bytes - 2048, lidar=held)
    assert alone["lidar"]["model"] == "rich"
    assert [line.split(":")[0] for line in told] == ["rich"]


def test_a_layer_of_any_kind_goes_into_a_file_and_is_replaced_whole(
    place: Path, said: dict[str, object], town: Path, tmp_path: Path
) -> None:
    out = tmp_path / "town.fold"
    fold(place / "lanes.csv", out, street=StreetOptions(spacing=0, tile_m=300))
    fold([place / "map.tif", place / "scene"], out, into=True, **said)  # type: ignore[arg-type]
    fold(str(place / "lanes.csv"), str(out), into=True, street=said["street"])  # type: ignore[arg-type]
    assert tiles_in(out) == tiles_in(town)
    write_tif(tmp_path / "small.tif", ground()[:90, :70])
    fold(tmp_path / "small.tif", out, into=True, lidar=said["lidar"])  # type: ignore[arg-type]
    fold(tmp_path / "small.tif", tmp_path / "alone.fold", lidar=said["lidar"])  # type: ignore[arg-type]
    of_lidar = {key: data for key, data in tiles_in(out).items() if key[0] == "lidar"}
    assert of_lidar == tiles_in(tmp_path / "alone.fold")
    with pytest.raises(MapFormatError, match="there is no file"):
        fold(place / "lanes.csv", tmp_path / "none.fold", into=True)


def test_two_rasters_are_one_map(said: dict[str, object], town: Path, tmp_path: Path) -> None:
    whole = ground()
    west, east = whole.copy(), whole.copy()
    west[:, 200:] = -1.0
    east[:, :200] = -1.0
    halves = [write_tif(tmp_path / f"{name}.tif", half) for name, half in (("w", west), ("e", east))]
    fold(halves, tmp_path / "map.fold", lidar=said["lidar"])  # type: ignore[arg-type]
    assert {key: data for key, data in tiles_in(town).items() if key[0] == "lidar"} == tiles_in(tmp_path / "map.fold")


def test_an_update_of_nothing_changes_nothing_and_of_something_that(place: Path, town: Path, tmp_path: Path) -> None:
    out = tmp_path / "town.fold"
    out.write_bytes(town.read_bytes())
    lidar = LidarOptions(model=place / "model.safetensors")
    sources = [place / "map.tif", place / "scene", place / "lanes.csv"]
    done = fold(sources, out, update=True, lidar=lidar)
    assert [done[layer]["tiles_changed"] for layer in ("lidar", "visual", "street")] == [0, 0, 0]
    assert done["visual"]["calibration"] == "kept, of the map before"
    assert out.read_bytes() == town.read_bytes()
    (tmp_path / "lanes.csv").write_text(HEAD + "".join(ROWS[:-3]))
    done = fold(tmp_path / "lanes.csv", out, update=True)
    assert (done["street"]["regions"], done["street"]["tiles_changed"]) == (["lanes"], 1)
    assert done["street"]["tiles_kept"] > 5
    assert sum(data != tiles_in(town).get(key) for key, data in tiles_in(out).items()) <= 1
    with FoldFile.open(out) as file:
        assert FoldedStreet(file).graph("lanes").vertices_m[:, 0].max() == pytest.approx(890, abs=0.2)


def test_a_scene_that_changed_much_is_calibrated_anew(town: Path, tmp_path: Path) -> None:
    out, room = tmp_path / "town.fold", room_scene()
    out.write_bytes(town.read_bytes())
    write_scene(room.keep_points(np.arange(len(room.points_world) * 3 // 4)), tmp_path / "scene")
    assert fold(tmp_path / "scene", out, update=True)["visual"]["calibration"] == "new"
    with FoldFile.open(town) as before, FoldFile.open(out) as after:
        held, now = (MapCalibration.read(FoldedVisual(file).parameters, "visual") for file in (before, after))
    assert held is not None
    assert now is not None
    assert now.negatives == held.negatives
    assert now.chance != held.chance


def test_an_update_that_fails_or_is_killed_leaves_the_old_file(place: Path, town: Path, tmp_path: Path) -> None:
    out, before = tmp_path / "town.fold", town.read_bytes()
    out.write_bytes(before)
    (tmp_path / "lanes.csv").write_text(HEAD + "".join(ROWS[:-3]))
    write_tif(tmp_path / "map.tif", ground()[:200])
    model = LidarOptions(model=place / "model.safetensors")
    with pytest.raises(MapInputError, match="another grid"):
        fold([tmp_path / "lanes.csv", tmp_path / "map.tif"], out, update=True, lidar=model)
    assert out.read_bytes() == before
    child = os.fork()
    if child == 0:
        FoldWriter._write = lambda self, path: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[method-assign]
        fold(tmp_path / "lanes.csv", out, update=True)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert out.read_bytes() == before
    assert fold(tmp_path / "lanes.csv", out, update=True)["street"]["tiles_changed"] == 1


def test_what_does_not_go_together_is_refused(place: Path, town: Path, tmp_path: Path) -> None:
    out = tmp_path / "town.fold"
    out.write_bytes(town.read_bytes())
    for given, words in (
        ({"update": True, "budget": "1MB"}, "keeps the file's model"),
        ({"update": True, "street": StreetOptions(error_m=0.2)}, "keeps the file's model"),
        ({"budget": "much"}, "is no size"),
    ):
        with pytest.raises(ConfigError, match=words):
            fold(place / "lanes.csv", out, **given)  # type: ignore[arg-type]
    for sources, words in (
        ([], "nothing to fold"),
        ([place / "scene", place / "scene"], "second scene"),
        ({"painting": [place / "lanes.csv"]}, "no kind of map"),
    ):
        with pytest.raises(ConfigError, match=words):
            fold(sources, out)
    assert out.read_bytes() == town.read_bytes()


@pytest.mark.parametrize("spelled", ["map.tif", "link.tif", "hard.tif", "scene/features.h5", "model.safetensors"])
def test_no_output_is_an_input(place: Path, tmp_path: Path, spelled: str) -> None:
    shutil.copytree(place, tmp_path, dirs_exist_ok=True)
    (tmp_path / "link.tif").symlink_to("map.tif")
    (tmp_path / "hard.tif").hardlink_to(tmp_path / "map.tif")
    output = tmp_path / spelled
    held = output.read_bytes()
    source = tmp_path / ("scene" if spelled.startswith("scene") else "map.tif")
    with pytest.raises(ConfigError, match="also read as"):
        fold(source, output, lidar=LidarOptions(model=tmp_path / "model.safetensors"))
    assert output.read_bytes() == held


def test_a_scene_may_hold_the_file_that_was_folded_of_it(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "scene", tmp_path / "scene")
    own = tmp_path / "scene" / "own.fold"
    for _ in range(2):
        fold(tmp_path / "scene", own, visual=VisualOptions(points=200, step=0.1))
        assert list(verify(own)) == []


def test_streets_in_degrees_come_into_the_frame_of_the_file(tmp_path: Path) -> None:
    """Beside a raster into its crs; updated, into that of their region, though the middle of the map has moved."""
    east, notes = np.array([[8.4, 49.0], [8.4006, 49.0]]), list[str]()

    def written(*lines: np.ndarray) -> Path:
        features = [
            {"type": "Feature", "properties": {}, "geometry": {"type": "LineString", "coordinates": one.tolist()}}
            for one in lines
        ]
        (tmp_path / "town.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
        return tmp_path / "town.geojson"

    raster = MetricGrid(456_000.0, 5_428_000.0, 0.2, 400, 400, "EPSG:32632")
    with FoldWriter(tmp_path / "town.fold") as writer:
        how = StreetOptions(spacing=0), notes.append, lambda done, total: None, raster
        with pytest.raises(MapInputError, match="not metres of ground") as caught:
            fold_streets(writer, [written(east[:, ::-1])], *how)
        assert "longitude before latitude" in caught.value.cure
        notes.clear()
        assert fold_streets(writer, [written(east)], *how)["at"] == "49.00 N, 8.40 E"
        writer.commit()
    assert len(notes) == 1
    assert "into the frame of the file, EPSG:32632" in notes[0]
    with FoldWriter(tmp_path / "far.fold") as writer:
        fold_streets(writer, [written(np.add(east, [0, 1]))], *how)
    assert "lies 111 km from the raster" in notes[-1]
    for lines in ((east,), (east, np.add(east, [0.02, 0.01]))):
        fold([written(*lines)], tmp_path / "town.fold", update=True)
        with FoldFile.open(tmp_path / "town.fold") as file:
            street = FoldedStreet(file)
            graph = street.graph("town")
            assert street.region("town").crs == "EPSG:32632"
            found = to_lonlat(graph.vertices_m, "EPSG:32632")
            np.testing.assert_allclose(found[found[:, 0].argsort()], np.concatenate(lines), atol=3e-6)


@pytest.mark.parametrize(
    ("lidar", "street", "said"),
    [
        (("", 0.0), ("", 10.0), ""), (("EPSG:32632", 0.0), ("epsg:32632", 10.0), ""),
        (("EPSG:32632", 0.0), ("", 10.0), "one layer names a crs, another none"),
        (("EPSG:32632", 0.0), ("EPSG:25832", 10.0), "in two frames"),
        (("", 0.0), ("", 5000.0), "4.9 km apart"),
    ],
)  # fmt: skip
def test_layers_of_two_frames_answer_no_drive(
    monkeypatch: pytest.MonkeyPatch, lidar: tuple[str, float], street: tuple[str, float], said: str
) -> None:
    layers = {"lidar": lidar, "street": street}

    def kind_of(source: Source) -> SimpleNamespace:
        crs, x_m = layers[source.layer]
        bounds = np.array([x_m, 0.0, x_m + 100.0, 100.0])
        return SimpleNamespace(frames=lambda _: {crs}, bounds=lambda _: bounds)

    monkeypatch.setattr(kinds, "kind_of", kind_of)
    file = SimpleNamespace(layers=lambda: [SimpleNamespace(name=name, kind=name) for name in layers])
    if "in two" in said or "apart" in said:
        with pytest.raises(LayerError, match=said):
            _frames(file, list(layers))
        assert _frames(file, ["lidar"]) == []
    else:
        assert [said] * bool(said) == [note[: len(said)] for note in _frames(file, list(layers))]


def test_no_more_of_the_photos_is_read_than_tells_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    read = []

    def boxes(source: Source) -> Iterator[DoubleArray]:
        for x_m in (3000.0, 900.0, 0.0):
            read.append(x_m)
            yield np.array([x_m, 0.0, x_m + 100.0, 100.0])

    here = SimpleNamespace(frames=lambda _: set(), bounds=lambda _: np.array([0.0, 0.0, 100.0, 100.0]))
    monkeypatch.setattr(kinds, "kind_of", lambda source: here)
    monkeypatch.setattr("foldmap.api.reshaping.visual.boxes", boxes)
    names = ["visual", "lidar"]
    file = SimpleNamespace(layers=lambda: [SimpleNamespace(name=name, kind=name) for name in names])
    assert _frames(file, names) == []
    assert read == [3000.0, 900.0]
