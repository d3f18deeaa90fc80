"""A second reader of the container, written from docs/format.md (sections 1 to 4) alone, in plain Python."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import struct
import zlib
from itertools import accumulate
from pathlib import Path


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


def named(payload: bytes) -> dict | None:
    """What a model's payload names (section 2); None for one that is the model itself."""
    if payload[:8] != b'{"name":' or len(payload) > 1024:
        return None
    said = json.loads(payload)
    assert set(said) == {"name", "release", "sha256"}
    assert len(bytes.fromhex(said["sha256"])) == 32
    return said
