"""A second reader, written from docs/format.md alone: it must agree with the package on every file."""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
import struct
import zlib
from itertools import accumulate
from pathlib import Path

import pytest

from fold_samples import GOLDEN, contents, write_large
from foldmap.atlas import limits
from foldmap.atlas.schema import TABLES

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "format.md").read_text()


def encode(*fields: int | str | bytes) -> bytes:
    out = b""
    for field in fields:
        data = field.encode() if isinstance(field, str) else field
        out += struct.pack("<q", data) if isinstance(data, int) else struct.pack("<Q", len(data)) + data
    return out


def checksum(data: bytes, size: int = 8) -> bytes:
    return hashlib.blake2b(data, digest_size=size).digest()


def wrapped(planes: bytes, count: int) -> list[int]:
    numbers = [int.from_bytes(planes[k::count], "little") for k in range(count)]  # the k-th byte of each plane
    return [((total & 0xFFFFFFFF) ^ 0x80000000) - 0x80000000 for total in accumulate(numbers)]


def read(path: Path) -> dict:
    """Section by section, in plain Python."""
    connection = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)
    sealed = b""
    found: dict = {"metadata": {}, "layers": [], "tiles": {}, "models": {}}
    names = {}
    for number, key, value, digest in connection.execute("SELECT * FROM metadata ORDER BY id"):
        assert checksum(encode("metadata", number, key, value)) == digest
        found["metadata"][key] = json.loads(value)
        sealed += encode("metadata", number, digest)
    for number, name, kind, parameters, directory, digest in connection.execute("SELECT * FROM layers ORDER BY id"):
        assert checksum(encode("layers", number, name, kind, parameters, directory)) == digest
        found["layers"].append((name, kind, json.loads(parameters)))
        found["tiles"][name] = tiles(connection, number, directory)
        found["models"][name] = {}
        names[number] = name
        sealed += encode("layers", number, digest)
    for number, layer, name, role, payload, digest in connection.execute("SELECT * FROM models ORDER BY id"):
        assert checksum(encode("models", number, layer, name, role, payload)) == digest
        found["models"][names[layer]][name] = (role, payload)
        sealed += encode("models", number, digest)
    assert connection.execute("SELECT * FROM seal").fetchall() == [(1, checksum(sealed, 16))]
    connection.close()
    return found


def tiles(connection: sqlite3.Connection, layer: int, directory: bytes) -> dict:
    first, bundles, count = struct.unpack_from("<III", directory)
    body = zlib.decompress(directory[12:])
    assert len(body) == 12 * bundles + 12 * count
    counts = struct.unpack_from(f"<{bundles}I", body)
    rows, columns, lengths = (body[12 * bundles + 4 * count * k :][: 4 * count] for k in range(3))
    sizes = [int.from_bytes(lengths[k::count], "little") for k in range(count)]
    keys = list(zip(wrapped(columns, count), wrapped(rows, count), strict=True))
    found, index = {}, 0
    for bundle in range(bundles):
        owner, payload, digest = connection.execute(
            "SELECT layer,payload,checksum FROM tiles WHERE id=?", (first + bundle,)
        ).fetchone()
        assert owner == layer
        listed = body[4 * bundles + 8 * bundle :][:8]
        assert digest == listed == checksum(encode("tiles", first + bundle, layer, payload))
        at = 0
        for _ in range(counts[bundle]):
            found[keys[index]] = payload[at : at + sizes[index]]
            at += sizes[index]
            index += 1
        assert at == len(payload)
    return found


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
