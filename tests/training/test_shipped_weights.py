"""What ``make weights`` builds is what ships, and each shipped model says by which recipe and where it was trained."""

import hashlib
import json
import re
from pathlib import Path

import pytest

from benchmarks.shipped import lay
from foldmap.lidar.defaults import default_bundles
from foldmap.lidar.shipped import told_training
from foldmap.training.places import PROVENANCE, recorded, shipped_places

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = sorted((ROOT / "src" / "foldmap").glob("*/weights"))
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
PATH = re.compile(r"(?<![\w.])/\w|\\|~/|[A-Z]:/")


def test_every_layer_ships_weights() -> None:
    assert [folder.parent.name for folder in WEIGHTS] == ["lidar", "street", "visual"]


@pytest.mark.parametrize("folder", WEIGHTS, ids=lambda folder: folder.parent.name)
def test_make_weights_builds_what_ships(folder: Path) -> None:
    listed = re.search(rf"^{folder.parent.name.upper()}_WEIGHTS\s*:= (.+)$", MAKEFILE, re.MULTILINE)
    assert listed is not None
    names = listed[1].split()
    assert sorted(names) == sorted(path.stem for path in folder.glob("*.safetensors"))
    recipe = MAKEFILE[MAKEFILE.index("\nweights:") :]
    for name in names:
        assert re.search(rf"-o \$\(WEIGHTS\)/{name}(/model.safetensors)?$", recipe, re.MULTILINE), name


@pytest.mark.parametrize("folder", WEIGHTS, ids=lambda folder: folder.parent.name)
def test_provenance_names_a_recipe_of_the_repository(folder: Path) -> None:
    told = json.loads((folder / PROVENANCE).read_text(encoding="utf-8"))
    files = {path.stem: path.read_bytes() for path in folder.glob("*.safetensors")}
    assert set(told) == set(files)
    for name, payload in files.items():
        assert told[name]["sha256"] == hashlib.sha256(payload).hexdigest()
        assert told[name]["recipe"].startswith(f"make weights: {name}")
        assert not PATH.search(json.dumps(told[name]))
        places = shipped_places(folder, payload)
        assert all(place.kind in ("town", "town pairs") for place in places)
        assert places or name == "sift-1"  # of pictures that show no place


def test_a_model_ships_byte_for_byte_as_it_was_trained_but_for_its_places(tmp_path: Path) -> None:
    for name in ("marks-fine-5", "marks-fine-6", "marks-fine-7", "marks-fine-8", "marks-fine-9"):
        (shipped,) = (path for folder in WEIGHTS for path in folder.glob(f"{name}.safetensors"))
        trained = recorded(shipped.read_bytes(), shipped_places(shipped.parent, shipped.read_bytes()))
        assert trained != shipped.read_bytes()
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(trained)
        (written,) = lay(tmp_path, "lidar", [name])
        assert written.read_bytes() == shipped.read_bytes()


def test_maps_tell_no_path_of_the_machine_that_trained() -> None:
    for bundle in default_bundles():
        told = json.dumps(told_training(bundle.name, bundle.to_bytes(), bundle.provenance))
        assert "make weights" in told
        assert not PATH.search(told)
    assert told_training("mine", b"", {"mode": "match"}) == {"mode": "match"}
