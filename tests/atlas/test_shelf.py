"""Models that a file names: told apart by their SHA-256, kept by updates, and missed with a word about who has them."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from foldmap import __version__
from foldmap.atlas import FoldFile, FoldWriter, update, verify
from foldmap.atlas.shelf import ModelReference, Shelf, named_models
from foldmap.errors import MapFormatError, ModelError
from second_reader import named as named_by_the_document

SHIPPED, OWN = (save({"weights": np.full(300, value, np.float32)}) for value in (1.0, 2.0))


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    (tmp_path / "shelf").mkdir()
    (tmp_path / "shelf" / "first-1.safetensors").write_bytes(SHIPPED)
    return Shelf(tmp_path / "shelf")


def written(path: Path, payload: bytes) -> Path:
    with FoldWriter(path) as writer:
        writer.add_layer("lidar", "lidar", {})
        writer.put_model("lidar", "localizer", payload)
    return path


def test_a_shipped_model_is_named_and_read_back(shelf: Shelf, tmp_path: Path) -> None:
    named = shelf.stored(SHIPPED)
    assert named is not None
    assert len(named) < 200
    assert (shelf.stored(SHIPPED, embed=True), shelf.stored(OWN)) == (None, None)
    path = written(tmp_path / "map.fold", named)
    assert verify(path) == []
    with update(path) as updater:
        updater.put_tile("lidar", 0, 0, b"a tile")
    with FoldFile.open(path) as file:
        assert shelf.read(file, "lidar", "localizer") == SHIPPED
        assert file.model("lidar", "localizer") == named  # an update keeps the name
        second = named_by_the_document(named)
        assert second is not None
        assert (second["name"], second["sha256"]) == ("first-1", hashlib.sha256(SHIPPED).hexdigest())
        digest = hashlib.sha256(SHIPPED).hexdigest()
        assert named_models(file, "lidar") == {"localizer": f"first-1 of foldmap {__version__}, SHA-256 {digest}"}


def test_a_model_of_the_users_own_is_held(shelf: Shelf, tmp_path: Path) -> None:
    with FoldFile.open(written(tmp_path / "map.fold", OWN)) as file:
        assert shelf.read(file, "lidar", "localizer") == OWN
        assert named_models(file, "lidar") == {}


def test_a_model_that_is_not_here_says_who_has_it(shelf: Shelf, tmp_path: Path) -> None:
    digest = hashlib.sha256(SHIPPED).hexdigest()
    with FoldFile.open(written(tmp_path / "a.fold", ModelReference("later-7", digest, "9.1.0").to_bytes())) as file:
        with pytest.raises(ModelError, match=rf"later-7 \(SHA-256 {digest[:12]}..\) of foldmap 9.1.0, which") as gone:
            shelf.read(file, "lidar", "localizer")
        assert gone.value.cure == "install foldmap 9.1.0, or fold the map there again with --embed-model"
    named = ModelReference("first-1", hashlib.sha256(OWN).hexdigest(), "9.1.0").to_bytes()
    with FoldFile.open(written(tmp_path / "b.fold", named)) as file:
        with pytest.raises(ModelError, match=f"installed here has SHA-256 {digest[:12]}") as other:
            shelf.read(file, "lidar", "localizer")
        assert "install foldmap 9.1.0" in other.value.cure


@pytest.mark.parametrize(
    "payload",
    [
        b'{"name":"../../etc/passwd","release":"1","sha256":"' + b"0" * 64 + b'"}',
        b'{"name":"a","release":"1","sha256":"' + b"0" * 63 + b'"}',
        b'{"name":"a","release":"","sha256":"' + b"0" * 64 + b'"}',
        b'{"name":"a","release":"1"}',
        b'{"name":7}',
        b'{"name":"a"',
        b'{"name":"\xff"}',
        b'{"name":"' + b"a" * 2000 + b'"}',
    ],
)
def test_hostile_references_are_damage(shelf: Shelf, tmp_path: Path, payload: bytes) -> None:
    with FoldFile.open(written(tmp_path / "map.fold", payload)) as file, pytest.raises(MapFormatError):
        shelf.read(file, "lidar", "localizer")
