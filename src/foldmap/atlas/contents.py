"""What a new version of a file holds, put or drawn from open files, and the rows that this makes."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

from foldmap.atlas import limits
from foldmap.atlas.checksum import row_checksum, seal_checksum
from foldmap.atlas.directory import Bundler
from foldmap.atlas.drawn import Drawn
from foldmap.atlas.jsontext import dump_json
from foldmap.atlas.reader import FoldFile
from foldmap.atlas.schema import APPLICATION_ID, FORMAT_VERSION, PAGE_SIZE, TABLES
from foldmap.atlas.staging import Staging
from foldmap.errors import LimitError

Insert = Callable[[str, tuple[Any, ...]], object]
_Sealed = Iterator[tuple[str, int, bytes]]


class Contents:
    """Metadata and layers as canonical JSON, tiles and models staged or drawn.

    The rows depend on these alone: not on the order in which tiles and metadata came, nor on where they came from.
    """

    def __init__(self) -> None:
        self.metadata: dict[str, str] = {}
        self.layers: dict[str, tuple[str, str]] = {}
        self.drawn: dict[str, list[Drawn]] = {}
        self.staging = Staging()

    def draw_all(self, file: FoldFile) -> None:
        """Begin with all that an open file holds."""
        for key, value in file.metadata().items():
            self.metadata[key] = dump_json(key, value)
        for layer in file.layers():
            self.layers[layer.name] = (layer.kind, dump_json("parameters", layer.parameters))
            self.drawn[layer.name] = [Drawn(file, layer.name)]

    def forget(self, layer: str) -> None:
        """Drop a layer with all that was put or drawn for it."""
        self.layers.pop(layer, None)
        self.drawn.pop(layer, None)
        self.staging.forget(layer)

    def write(self, insert: Insert) -> bytes:
        """Give every row, in order, to ``insert`` (table, fields); returns the seal over them."""
        sealed = [*self._metadata(insert), *self._layers(insert), *self._models(insert)]
        seal = seal_checksum(sealed)
        insert("seal", (1, seal))
        return seal

    def _metadata(self, insert: Insert) -> _Sealed:
        for row_id, (key, text) in enumerate(sorted(self.metadata.items()), start=1):
            checksum = row_checksum("metadata", row_id, key, text)
            insert("metadata", (row_id, key, text, checksum))
            yield "metadata", row_id, checksum

    def _layers(self, insert: Insert) -> _Sealed:
        first_bundle = 1
        for layer_id, (name, (kind, text)) in enumerate(self.layers.items(), start=1):
            bundler = Bundler(first_bundle)
            for row_id, payload in bundler.bundles(self.staging.tiles(name, self.drawn.get(name, []))):
                checksum = row_checksum("tiles", row_id, layer_id, payload)
                insert("tiles", (row_id, layer_id, payload, checksum))
                bundler.seal(checksum)
                first_bundle = row_id + 1
            packed = bundler.directory().pack()
            checksum = row_checksum("layers", layer_id, name, kind, text, packed)
            insert("layers", (layer_id, name, kind, text, packed, checksum))
            yield "layers", layer_id, checksum

    def _models(self, insert: Insert) -> _Sealed:
        row_id = 0
        for layer_id, layer in enumerate(self.layers, start=1):
            for name, role, payload in self._models_of(layer):
                row_id += 1
                if row_id > limits.MAX_MODELS:
                    raise LimitError(f"more than {limits.MAX_MODELS} models", "use several files")
                checksum = row_checksum("models", row_id, layer_id, name, role, payload)
                insert("models", (row_id, layer_id, name, role, payload, checksum))
                yield "models", row_id, checksum

    def _models_of(self, layer: str) -> Iterator[tuple[str, str, bytes]]:
        kept: dict[str, tuple[Drawn, str]] = {}
        for one in self.drawn.get(layer, []):
            for model in one.file.layer(one.layer).models:
                kept.setdefault(model.name, (one, model.role))
        staged = set(self.staging.model_names(layer))
        for name in sorted(staged | set(kept)):
            if name in staged:
                role, payload = self.staging.model(layer, name)
                if payload is not None:
                    yield name, role, payload
            else:
                one, role = kept[name]
                yield name, role, one.file.model(one.layer, name)


def write_database(contents: Contents, path: str) -> bytes:
    """Write contents as a database into an empty file; its seal. Raises `sqlite3.Error` and `OSError`."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        # the file is worthless until it is renamed, so it needs no journal; it is synced once, before that
        for pragma in (
            f"page_size={PAGE_SIZE}",
            "journal_mode=OFF",
            "synchronous=OFF",
            "auto_vacuum=NONE",
            f"application_id={APPLICATION_ID}",
            f"user_version={FORMAT_VERSION}",
        ):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("BEGIN EXCLUSIVE")
        for statement in TABLES.values():
            connection.execute(statement)

        def insert(table: str, fields: tuple[Any, ...]) -> None:
            connection.execute(f"INSERT INTO {table} VALUES({','.join('?' * len(fields))})", fields)

        seal = contents.write(insert)
        connection.execute("COMMIT")
    finally:
        connection.close()
    return seal


def canonical_seal(file: FoldFile) -> bytes:
    """The seal that a file of these contents has when it is written here; nothing is written."""
    contents = Contents()
    try:
        contents.draw_all(file)
        return contents.write(lambda table, fields: None)
    finally:
        contents.staging.close()
