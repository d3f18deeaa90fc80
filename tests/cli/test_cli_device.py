"""What `pip install foldmap` brings is enough to localize in all three layers; the rest names its extra."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scene_place
from cli_place import Run
from street_place import pose_rows, poses_along, town_map, write_model, write_ring_frames

import foldmap
from foldmap.formats.hloc.features import HlocFeatureWriter
from foldmap.formats.hloc.lists import write_query_list
from foldmap.formats.street.geojson import write_geojson
from foldmap.visual.source import Features

# What extras bring cannot be imported, as in an environment without them.
_DEVICE = """
import sys, importlib.abc, importlib.util
extras = set("torch rasterio imagecodecs matplotlib pycolmap kornia pyarrow geopandas shapely pandas".split())
class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in extras:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
importlib.util.find_spec = (lambda found: lambda name, *more: None if name in extras else found(name, *more))(
    importlib.util.find_spec)
from foldmap.cli import app
for words in sys.argv[1:]:
    try:
        app(words.split(), prog_name="foldmap")
    except SystemExit as stopped:
        assert stopped.code in (0, 1, 2), stopped.code
"""


@pytest.fixture(scope="module")
def commands(place: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A folder, and how each layer is localized in there; the output is missing at the end."""
    folder = tmp_path_factory.mktemp("device")
    from foldmap.api.folding import StreetOptions, fold

    scene = scene_place.room_scene()
    names = tuple(name.replace(" ", "-") for name in scene.image_names)
    scene_place.write_scene(scene, folder / "scene")
    fold(folder / "scene", folder / "visual.fold")
    assert scene.tracks.descriptors is not None
    asked = range(0, len(names), 8)
    write_query_list(folder / "queries.txt", {names[image]: scene.camera_of(image) for image in asked})
    with HlocFeatureWriter(folder / "queries.h5", "sift") as sink:
        for image in asked:
            rows = scene.tracks.image == image
            sink.add(names[image], Features(scene.tracks.xy_px[rows], scene.tracks.descriptors[rows]))
    street = town_map()
    write_geojson(street, folder / "town.geojson")
    options = StreetOptions(model=write_model(folder / "model.safetensors"), spacing=60.0)
    fold(folder / "town.geojson", folder / "street.fold", street=options)
    write_ring_frames(folder / "drive")
    (folder / "drive.csv").write_text(pose_rows(poses_along(street.graph, 20.0)[:2]))
    return folder, {
        "lidar": f"localize {place}/map.fold {place}/sweeps --poses {place}/prior.txt -o",
        "visual": f"localize {folder}/visual.fold --queries {folder}/queries.txt --features {folder}/queries.h5 -o",
        "street": f"localize {folder}/street.fold {folder}/drive --ring {folder}/drive/ring.json"
        f" --drive {folder}/drive.csv -o",
    }


def test_all_layers_localize_without_extras(commands: tuple[Path, dict[str, str]], run: Run, tmp_path: Path) -> None:
    _, asked = commands
    words = [f"{one} {tmp_path}/{layer}.txt" for layer, one in asked.items()]
    done = subprocess.run([sys.executable, "-c", _DEVICE, *words], capture_output=True, text=True, check=True)
    assert done.stderr.count("error") == 0, done.stderr
    for layer, one in asked.items():
        assert run(*one.split(), tmp_path / f"again-{layer}.txt").status in (0, 1)
        mine, again = (
            [json.loads(line) for line in (tmp_path / f"{name}.txt.jsonl").read_text().splitlines()]
            for name in (layer, f"again-{layer}")
        )
        assert [row["status"] for row in mine] == [row["status"] for row in again]
        assert mine
        for row, other in zip(mine, again, strict=True):
            assert (row["pose"] is None) == (other["pose"] is None)
            if row["pose"] is not None:
                numbers = (list(one.values()) if isinstance(one, dict) else one for one in (row["pose"], other["pose"]))
                np.testing.assert_allclose(*numbers, atol=1e-3)


def test_without_a_solver_of_photos_the_other_layers_answer(
    commands: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    """There is no PoseLib for every processor."""
    _, asked = commands
    words = [f"{asked[layer]} {tmp_path}/{layer}.txt" for layer in ("lidar", "visual")]
    code = _DEVICE.replace('"torch ', '"poselib torch ')
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    assert (tmp_path / "lidar.txt").is_file()
    assert not (tmp_path / "visual.txt").exists()
    said = [line for line in done.stderr.splitlines() if line.startswith("error")]
    assert len(said) == 1, done.stderr
    assert "needs poselib, which is not installed (pip install git+" in said[0]


def test_what_needs_an_extra_names_it_and_the_front_door_needs_none(place: Path, tmp_path: Path) -> None:
    words = (f"fold {place}/map.tif -o {tmp_path}/map.fold", f"report {place}/truth.txt -o {tmp_path}/page.html")
    door = "\nimport foldmap\nfor name in foldmap.__all__: getattr(foldmap, name)"
    done = subprocess.run([sys.executable, "-c", _DEVICE + door, *words], capture_output=True, text=True, check=True)
    lines = done.stderr.splitlines()
    assert (done.stdout, len(lines)) == ("", 2), done.stderr
    assert "foldmap fold needs rasterio" in lines[0]
    assert "foldmap report needs matplotlib" in lines[1]
    assert all("pip install 'foldmap[maps]'" in line for line in lines)
    assert list(tmp_path.iterdir()) == []
    assert len(foldmap.__all__) > 20
