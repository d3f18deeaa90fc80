"""Reading and writing sound files: round trip, golden file, size, one tile without the rest, input that is refused."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from fold_samples import GOLDEN, contents, write_large, write_small
from foldmap.atlas import FoldFile, FoldWriter, limits, update, verify
from foldmap.errors import ConfigError, LayerError, LimitError, WriteError


def test_the_golden_file_reads_as_on_the_day_it_was_released() -> None:
    expected = json.loads((GOLDEN / "v1-small.json").read_text())
    found = contents(GOLDEN / "v1-small.fold")
    assert found["metadata"] == expected["metadata"]
    assert [list(layer) for layer in found["layers"]] == expected["layers"]
    for layer, tiles in expected["tiles"].items():
        assert found["tiles"][layer] == {(c, r): bytes.fromhex(payload) for c, r, payload in tiles}
    for layer, models in expected["models"].items():
        assert found["models"][layer] == {name: (role, bytes.fromhex(data)) for name, (role, data) in models.items()}
    assert verify(GOLDEN / "v1-small.fold") == []


def test_random_tiles_in_random_order_come_back(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    span = [-(1 << 31), -5, -1, 0, 1, 7, (1 << 31) - 1]
    keys = [(c, r) for c in span for r in span]
    tiles = {key: rng.bytes(int(rng.choice([0, 1, 200, 4096, 70_000]))) for key in keys}
    order = [keys[i] for i in rng.permutation(len(keys))]
    with FoldWriter(tmp_path / "a.fold") as writer:
        writer.add_layer("g", "lidar", {})
        for key in order:
            writer.put_tile("g", *key, b"replaced by the next put")
            writer.put_tile("g", *key, tiles[key])
    with FoldFile.open(tmp_path / "a.fold") as fold:
        assert fold.tiles("g") == sorted(keys, key=lambda key: (key[1], key[0]))
        assert all(fold.tile("g", *key) == tiles[key] for key in order)
        assert fold.tile("g", 2, 2) is None
        assert fold.tile("g", 1 << 40, 0) is None
        inside = {(c, r) for c, r in keys if -5 <= c < 1 and -1 <= r < 8}
        assert set(fold.tiles_in("g", -5, 1, -1, 8)) == inside
        assert fold.tiles_in("g", 3, 3, 0, 9) == []
        assert fold.layer("g").tile_bytes == sum(map(len, tiles.values()))


def test_same_content_same_bytes_however_it_came_about(tmp_path: Path) -> None:
    write_small(tmp_path / "a.fold")
    write_small(tmp_path / "b.fold")
    with update(tmp_path / "b.fold") as updater:
        updater.put_tile("ground", 0, -1, b"other")
        updater.put_tile("ground", 5, 5, b"new")
        updater.put_model("ground", "decoder", b"other")
        updater.put_metadata("crs", None)
    assert contents(tmp_path / "b.fold")["tiles"]["ground"][5, 5] == b"new"
    old = contents(tmp_path / "a.fold")
    with update(tmp_path / "b.fold") as updater:
        updater.put_tile("ground", 0, -1, old["tiles"]["ground"][0, -1])
        updater.remove_tile("ground", 5, 5)
        updater.remove_tile("ground", 6, 6)
        updater.put_model("ground", "decoder", old["models"]["ground"]["decoder"][1])
        updater.put_metadata("crs", "EPSG:25832")
    assert (tmp_path / "a.fold").read_bytes() == (tmp_path / "b.fold").read_bytes()


@pytest.mark.parametrize(
    ("tiles", "mean_bytes"),
    [
        *((0, 1), (1, 200), (300, 200), (900, 200), (20_000, 200), (20_000, 60), (2000, 1000), (600, 4000)),
        *((100, 20_000), (40, 33_000), (20, 100_000), (4, 2_000_000)),
    ],
)
def test_overhead_is_at_most_16_kib_and_three_percent(tiles: int, mean_bytes: int, tmp_path: Path) -> None:
    payload = write_large(tmp_path / "a.fold", tiles=tiles, mean_bytes=mean_bytes)
    size = os.path.getsize(tmp_path / "a.fold")
    assert size - payload <= 16_384 + 0.03 * payload
    with FoldFile.open(tmp_path / "a.fold") as fold:
        report = fold.byte_report()
        assert fold.size_bytes() == report["file_bytes"] == size
        assert report["payload_bytes"] == payload
        assert report["overhead_bytes"] == size - payload
        assert report["layers"]["ground"]["model_bytes"] == {"decoder": 20_000}


def test_scattered_small_tiles_keep_the_bound(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    cells = rng.choice(1_000_000, 15_000, replace=False)
    with FoldWriter(tmp_path / "a.fold") as writer:
        writer.add_layer("g", "lidar", {})
        for cell in cells:
            writer.put_tile("g", int(cell % 1000), int(cell // 1000), rng.bytes(200))
    assert os.path.getsize(tmp_path / "a.fold") <= 16_384 + 1.03 * 200 * len(cells)


def test_reading_one_tile_touches_one_bundle(tmp_path: Path) -> None:
    """Every page that holds another bundle's payload is wiped: the tile still comes, the others are refused."""
    write_large(tmp_path / "a.fold", tiles=400)
    data = bytearray((tmp_path / "a.fold").read_bytes())
    with FoldFile.open(tmp_path / "a.fold") as fold:
        first, second, third = (fold.bundle("ground", k) for k in range(3))
        expected = fold.tile("ground", -5, -3)
    for other in (second, third):
        places = [data.find(other[start : start + 40]) for start in range(0, len(other) - 40, 40)]
        assert sum(place > 0 for place in places) > 0.9 * len(places)
        for place in places:
            if place > 0:
                data[place : place + 40] = bytes(40)
    (tmp_path / "a.fold").write_bytes(data)
    with FoldFile.open(tmp_path / "a.fold") as fold:
        assert fold.tile("ground", -5, -3) == expected
        assert len(first) <= 32 << 10
    assert len(verify(tmp_path / "a.fold")) == 2


def test_refused_requests(tmp_path: Path) -> None:
    write_small(tmp_path / "a.fold")
    with FoldFile.open(tmp_path / "a.fold") as fold:
        for request in (lambda: fold.tile("nope", 0, 0), lambda: fold.tiles("nope"), lambda: fold.model("nope", "x")):
            with pytest.raises(LayerError, match="ground, lanes"):
                request()
        with pytest.raises(LayerError, match="decoder"):
            fold.model("ground", "nope")


def test_refused_input(tmp_path: Path) -> None:
    writer = FoldWriter(tmp_path / "a.fold")
    writer.add_layer("g", "lidar", {})
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    for call, error in [
        (lambda: writer.add_layer("g", "lidar", {}), LayerError),
        (lambda: writer.add_layer("h", "sonar", {}), ConfigError),
        (lambda: writer.add_layer("", "lidar", {}), ConfigError),
        (lambda: writer.add_layer("x" * 129, "lidar", {}), ConfigError),
        (lambda: writer.add_layer("h", "lidar", {"a": float("nan")}), ConfigError),
        (lambda: writer.add_layer("h", "lidar", [1]), ConfigError),
        (lambda: writer.put_tile("h", 0, 0, b""), LayerError),
        (lambda: writer.put_tile("g", 1 << 31, 0, b""), ConfigError),
        (lambda: writer.put_metadata("a", object()), ConfigError),
        (lambda: writer.put_metadata("a", deep), ConfigError),
        (lambda: writer.put_metadata("a", "x" * limits.MAX_JSON_BYTES), LimitError),
        (lambda: writer.put_tile("g", 0, 0, bytes(limits.MAX_PAYLOAD_BYTES + 1)), LimitError),
        (lambda: writer.put_model("h", "m", b""), LayerError),
    ]:
        with pytest.raises(error):
            call()
    writer.close()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(WriteError, match="No such file"):
        FoldWriter(tmp_path / "missing" / "a.fold")
    with pytest.raises(WriteError, match="folder"):
        FoldWriter(tmp_path)


def test_a_file_whose_name_is_no_text(tmp_path: Path) -> None:
    """Names of files are bytes: what no encoding knows is kept apart, in the path and in what is written of it."""
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/m\xe9p\xff%20#.fold"))
    try:
        path.touch()
    except OSError:
        pytest.skip("this file system takes text alone")
    with FoldWriter(path) as writer:
        writer.put_metadata("source", {"path": str(path.name)})
    with FoldFile.open(path) as file:
        assert file.metadata()["source"]["path"] == "m?p?%20#.fold"
