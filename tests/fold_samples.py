"""Small .fold files for the tests of the file, and their contents read in full."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import numpy as np

from foldmap.atlas import FoldFile, FoldWriter
from foldmap.atlas.checksum import row_checksum, seal_checksum

GOLDEN = Path(__file__).parent / "golden"
CORPUS = Path(__file__).parent / "corpus" / "fold"


def contents(path: Path) -> dict[str, Any]:
    """Everything that a reader can learn from a file, but for its size."""
    with FoldFile.open(path) as fold:
        return {
            "metadata": fold.metadata(),
            "layers": [(layer.name, layer.kind, layer.parameters) for layer in fold.layers()],
            "tiles": {
                layer.name: {key: fold.tile(layer.name, *key) for key in fold.tiles(layer.name)}
                for layer in fold.layers()
            },
            "models": {
                layer.name: {m.name: (m.role, fold.model(layer.name, m.name)) for m in layer.models}
                for layer in fold.layers()
            },
        }


def write_small(path: Path, seed: int = 0) -> None:
    """A file of few pages with every kind of row, more than one tile in a bundle, negative keys and an empty tile."""
    rng = np.random.default_rng(seed)
    with FoldWriter(path) as writer:
        writer.put_metadata("crs", "EPSG:25832")
        writer.put_metadata("origin_m", [691000.5, 5335000.25])
        writer.add_layer("ground", "lidar", {"codec": "raw", "resolution_m": 0.05})
        writer.add_layer("lanes", "street", {})
        for column, row, size in ((-1, -1, 40), (0, -1, 7), (1, -1, 0), (2147483647, 3, 90), (-2147483648, 4, 33)):
            writer.put_tile("ground", column, row, rng.bytes(size))
        writer.put_tile("lanes", 0, 0, rng.bytes(24))
        writer.put_model("ground", "decoder", rng.bytes(120))


def write_large(path: Path, seed: int = 0, tiles: int = 400, mean_bytes: int = 900) -> int:
    """A file with many bundles, overflow chains and interior pages; returns the payload's bytes."""
    rng = np.random.default_rng(seed)
    total = 0
    with FoldWriter(path) as writer:
        writer.put_metadata("crs", "EPSG:32632")
        writer.put_metadata("provenance", {"folded": ["a.tif", "b.tif"], "seed": seed})
        writer.add_layer("ground", "lidar", {"codec": "context", "resolution_m": 0.05})
        for index in range(tiles):
            payload = rng.bytes(int(rng.integers(mean_bytes // 2, mean_bytes * 3 // 2 + 1)))
            writer.put_tile("ground", index % 20 - 5, index // 20 - 3, payload)
            total += len(payload)
        model = rng.bytes(20_000)
        writer.put_model("ground", "decoder", model)
    return total + len(model)


def reseal(connection: sqlite3.Connection) -> None:
    """Give all rows but those of tiles correct checksums, as a liar would."""
    sealed = []
    for table, columns in (
        ("metadata", "id,key,value"),
        ("layers", "id,name,kind,parameters,directory"),
        ("models", "id,layer,name,role,payload"),
    ):
        for row in connection.execute(f"SELECT {columns} FROM {table} ORDER BY id").fetchall():
            checksum = row_checksum(table, *row)
            connection.execute(f"UPDATE {table} SET checksum=? WHERE id=?", (checksum, row[0]))
            sealed.append((table, row[0], checksum))
    connection.execute("UPDATE seal SET checksum=?", (seal_checksum(sealed),))
