"""A layer that is removed or replaced, and a file that would be too large."""

from pathlib import Path

import pytest

from foldmap.atlas import FoldFile, FoldUpdater, FoldWriter, verify
from foldmap.errors import BudgetError, LayerError


def _two_layers(path: Path) -> bytes:
    with FoldWriter(path) as writer:
        for layer, kind in (("lidar", "lidar"), ("visual", "visual")):
            writer.add_layer(layer, kind, {"made": 1})
            for column in range(40):
                writer.put_tile(layer, column, 0, bytes([column]) * 1000)
            writer.put_model(layer, "codec", b"old " + layer.encode())
        writer.put_metadata("said", {"a": 1})
    return path.read_bytes()


def test_a_replaced_layer_keeps_nothing_and_the_others_everything(tmp_path: Path) -> None:
    path = tmp_path / "map.fold"
    _two_layers(path)
    with FoldUpdater(path) as updater:
        updater.put_tile("visual", 50, 0, b"staged before, and gone with the layer")
        updater.put_model("visual", "staged", b"likewise")
        updater.remove_layer("visual")
        updater.add_layer("visual", "visual", {"made": 2})
        updater.put_tile("visual", 3, 0, b"new")
    assert verify(path) == []
    with FoldFile.open(path) as file:
        assert file.tiles("visual") == [(3, 0)]
        assert file.tile("visual", 3, 0) == b"new"
        assert file.layer("visual").parameters == {"made": 2}
        assert not file.layer("visual").models
        assert [file.tile("lidar", column, 0) for column in range(40)] == [bytes([c]) * 1000 for c in range(40)]
        assert file.model("lidar", "codec") == b"old lidar"
        assert file.metadata() == {"said": {"a": 1}}


def test_a_removed_layer_is_gone_and_a_missing_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "map.fold"
    before = _two_layers(path)
    with pytest.raises(LayerError, match="street"), FoldUpdater(path) as updater:
        updater.remove_layer("street")
    assert path.read_bytes() == before
    with FoldUpdater(path) as updater:
        updater.remove_layer("visual")
    with FoldFile.open(path) as file:
        assert [layer.name for layer in file.layers()] == ["lidar"]
    assert path.stat().st_size < 0.6 * len(before)


def test_a_file_beyond_its_budget_is_not_put_in_place(tmp_path: Path) -> None:
    path = tmp_path / "map.fold"
    before = _two_layers(path)
    updater = FoldUpdater(path)
    updater.put_tile("lidar", 99, 0, bytes(5000))
    with pytest.raises(BudgetError) as caught:
        updater.commit(len(before))
    assert caught.value.needed_bytes is not None
    assert caught.value.needed_bytes > len(before)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["map.fold"]
    with FoldUpdater(path) as updater:
        updater.put_tile("lidar", 99, 0, bytes(5000))
        updater.commit(caught.value.needed_bytes)
    assert path.stat().st_size == caught.value.needed_bytes
