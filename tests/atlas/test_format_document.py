"""A second reader, written from docs/format.md alone: it must agree with the package on every file."""

import hashlib
import re
import sqlite3
from pathlib import Path

import pytest

from fold_samples import GOLDEN, contents, write_large
from foldmap.atlas import limits
from foldmap.atlas.schema import TABLES
from second_reader import checksum, encode, read

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "format.md").read_text()


@pytest.mark.parametrize("tile_count", [0, 1, 500])
def test_the_second_reader_agrees(tile_count: int, tmp_path: Path) -> None:
    write_large(tmp_path / "a.fold", tiles=tile_count)
    assert read(tmp_path / "a.fold") == contents(tmp_path / "a.fold")
    assert read(GOLDEN / "v1-small.fold") == contents(GOLDEN / "v1-small.fold")


def test_the_worked_example_is_right() -> None:
    block = re.search(r"```\n(08000.*?)```\n\ngives `(\w+)`", DOCUMENT, re.DOTALL)
    assert block
    data = bytes.fromhex("".join(line[:42] for line in block[1].splitlines()))
    assert data == encode("metadata", 1, "crs", '"EPSG:25832"')
    assert checksum(data).hex() == block[2]
    connection = sqlite3.connect(f"file:{GOLDEN / 'v1-small.fold'}?mode=ro&immutable=1", uri=True)
    assert connection.execute("SELECT checksum FROM metadata WHERE key='crs'").fetchall() == [
        (bytes.fromhex(block[2]),)
    ]
    connection.close()


def test_schema_and_limits_are_those_of_the_package() -> None:
    assert re.findall(r"^CREATE TABLE .*$", DOCUMENT, re.MULTILINE) == list(TABLES.values())
    for row in (
        f"| file | {limits.MAX_FILE_BYTES >> 30} GiB |",
        f"| one tile; one bundle | {limits.MAX_PAYLOAD_BYTES >> 20} MiB |",
        f"| one model | {limits.MAX_MODEL_BYTES >> 20} MiB |",
        f"| one JSON text | {limits.MAX_JSON_BYTES >> 20} MiB |",
        f"| name, kind, role, key | {limits.MAX_NAME_BYTES} bytes, UTF-8 |",
        f"| {limits.MAX_METADATA}; {limits.MAX_LAYERS}; {limits.MAX_MODELS} |",
        f"2^{limits.MAX_TILES.bit_length() - 1}, and",
        f"| {limits.MAX_DIRECTORY_BYTES >> 20} MiB, and not more than {limits.MAX_DEFLATE_RATIO} times",
        f"| one query | {limits.MAX_QUERY_S:.0f} s |",
    ):
        assert row in DOCUMENT


def test_named_models_are_the_shipped_ones_to_the_bit() -> None:
    said = re.findall(r"^\| `([a-z0-9.-]+)` \| (lidar|street) \| `([0-9a-f]{64})` \|$", DOCUMENT, re.MULTILINE)
    package = Path(limits.__file__).parents[1]
    shipped = [
        (path.stem, layer, hashlib.sha256(path.read_bytes()).hexdigest())
        for layer in ("lidar", "street")
        for path in (package / layer / "weights").glob("*.safetensors")
    ]
    assert sorted(said) == sorted(shipped)
