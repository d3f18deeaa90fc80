"""Writing a .fold file: a new one, or the next version of one, whole or not at all.

A version is written beside its target and renamed over it. SQLite's own journal would also be transactional, but a kill
would leave a journal beside the map that only someone with write access could roll back, readers and writer would have
to wait for each other, and replaced tiles would leave holes. The rename gives readers the old map or the new one, a map
that is always one compact file, and the same bytes for the same content however it came about.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from foldmap.atlas import limits
from foldmap.atlas.checksum import row_checksum, seal_checksum
from foldmap.atlas.directory import Bundler, pack_directory
from foldmap.atlas.jsontext import dump_json
from foldmap.atlas.reader import KINDS, FoldFile
from foldmap.atlas.schema import APPLICATION_ID, FORMAT_VERSION, PAGE_SIZE, TABLES
from foldmap.atlas.staging import Staging
from foldmap.atlas.whole import Sibling
from foldmap.errors import BudgetError, ConfigError, LayerError, LimitError, WriteError

_INT32 = 1 << 31


class FoldWriter:
    """Writes a new file; leaving the ``with`` block without an exception puts it in place, replacing any older one.

    Raises:
        WriteError: the folder is missing or read-only, the disk is full, or another writer is at work on this path.

    Example:
        >>> with FoldWriter("town.fold") as writer:  # doctest: +SKIP
        ...     writer.add_layer("lidar", "lidar", {"resolution_m": 0.05})
        ...     writer.put_tile("lidar", 0, 0, payload)
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._old: FoldFile | None = None
        self._layers: dict[str, tuple[str, str]] = {}
        self._gone: set[str] = set()
        self._metadata: dict[str, str] = {}
        self._closed = False
        self._sibling = Sibling(self.path)
        self._staging = Staging()

    def add_layer(self, name: str, kind: str, parameters: dict[str, Any]) -> None:
        """Add an empty layer; its name is unique in the file, up to 128 bytes.

        Parameters are a JSON object: codec, resolution, tile size, whatever decoding needs. Raises `LayerError`: the
        name is taken; `ConfigError`: the name, kind or parameters are not usable.
        """
        _check_name("layer name", name)
        if kind not in KINDS:
            raise ConfigError(f"layer kind {kind!r} is unknown", f"one of {', '.join(KINDS)}")
        if name in self._layers:
            raise LayerError(f"the file already has a layer {name!r}", "choose another name")
        if len(self._layers) >= limits.MAX_LAYERS:
            raise LimitError(f"more than {limits.MAX_LAYERS} layers", "use several files")
        self._layers[name] = (kind, _parameters(name, parameters))

    def put_layer(self, name: str, kind: str, parameters: dict[str, Any]) -> None:
        """Begin a layer; one of that name goes first, with its tiles and models. Errors as `add_layer`."""
        if self._layers.pop(name, None) is not None:
            self._gone.add(name)
            self._staging.forget(name)
        self.add_layer(name, kind, parameters)

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers that the file will have."""
        return tuple(self._layers)

    def set_parameters(self, layer: str, parameters: dict[str, Any]) -> None:
        """Replace the parameters of a layer, for those that are known only after folding."""
        self._check_layer(layer)
        self._layers[layer] = (self._layers[layer][0], _parameters(layer, parameters))

    def put_tile(self, layer: str, column: int, row: int, payload: bytes) -> None:
        """Store a tile of a layer that was added (else a LayerError), replacing any of the same key.

        Column and row are signed 32-bit, else it is a ConfigError; the payload may be empty, above 64 MiB a LimitError.
        """
        self._check_tile(layer, column, row)
        if len(payload) > limits.MAX_PAYLOAD_BYTES:
            what = f"tile ({column}, {row}) has {len(payload)} bytes, the limit is {limits.MAX_PAYLOAD_BYTES}"
            raise LimitError(what, "use smaller tiles")
        self._staging.put_tile(layer, int(column), int(row), bytes(payload))

    def put_model(self, layer: str, name: str, payload: bytes, role: str = "decoder") -> None:
        """Store a model (safetensors bytes, or a reference), replacing any of the same name in the layer."""
        self._check_layer(layer)
        _check_name("model name", name)
        _check_name("model role", role)
        if len(payload) > limits.MAX_MODEL_BYTES:
            raise LimitError(f"model {name!r} has {len(payload)} bytes, the limit is {limits.MAX_MODEL_BYTES}")
        self._staging.put_model(layer, name, role, bytes(payload))

    def put_metadata(self, key: str, value: Any) -> None:
        """Store a JSON value under a key, replacing any older one; a ConfigError where JSON cannot say it."""
        _check_name("metadata key", key)
        self._metadata[key] = dump_json(f"metadata {key!r}", value)
        if len(self._metadata) > limits.MAX_METADATA:
            raise LimitError(f"more than {limits.MAX_METADATA} metadata keys", "group them")

    def size_bytes(self) -> int:
        """Size of the file if it were committed now; nothing is put in place. Raises `WriteError`: the disk is full."""
        try:
            self._write(self._sibling.path)
            size = self._sibling.path.stat().st_size
            os.truncate(self._sibling.path, 0)
        except (OSError, sqlite3.Error) as error:
            raise WriteError(f"{self.path} cannot be written: {error}", "check space and rights") from error
        return size

    def commit(self, most_bytes: int | None = None) -> None:
        """Write everything and put it in place; the ``with`` block calls this.

        Raises `BudgetError`: the file would be larger than ``most_bytes``; what was there stays; `WriteError`: the disk
        is full, or the folder cannot be written.
        """
        try:
            self._write(self._sibling.path)
            size = self._sibling.path.stat().st_size
            if most_bytes is not None and size > most_bytes:
                raise BudgetError(f"the file would take {size:,} bytes, more than {most_bytes:,}", "allow more", size)
            FoldFile.open(self._sibling.path).close()  # nothing is put in place that a reader would refuse
            self._sibling.replace()
        except (OSError, sqlite3.Error) as error:
            raise WriteError(f"{self.path} cannot be written: {error}", "check space and rights") from error
        finally:
            self.close()

    def close(self) -> None:
        """Give up whatever was not committed; the file under the path stays as it was."""
        self._closed = True
        self._staging.close()
        self._sibling.close()
        if self._old is not None:
            self._old.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_error: object) -> None:
        if kind is None and not self._closed:
            self.commit()
        else:
            self.close()

    def _check_layer(self, layer: str) -> None:
        if layer not in self._layers:
            raise LayerError(f"no layer {layer!r} was added", f"layers so far: {', '.join(self._layers) or 'none'}")

    def _check_tile(self, layer: str, column: int, row: int) -> None:
        self._check_layer(layer)
        if not (-_INT32 <= column < _INT32 and -_INT32 <= row < _INT32):
            raise ConfigError(f"tile ({column}, {row}) is outside 32 bits", "use larger tiles or a nearer origin")

    def _write(self, path: Path) -> None:
        connection = sqlite3.connect(path, isolation_level=None)
        try:
            # the sibling is worthless until it is renamed, so it needs no journal; it is synced once, before that
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
            sealed = [
                *self._write_metadata(connection),
                *self._write_layers(connection),
                *self._write_models(connection),
            ]
            connection.execute("INSERT INTO seal VALUES(1,?)", (seal_checksum(sealed),))
            connection.execute("COMMIT")
        finally:
            connection.close()

    def _write_metadata(self, connection: sqlite3.Connection) -> Iterator[tuple[str, int, bytes]]:
        for row_id, (key, text) in enumerate(sorted(self._metadata.items()), start=1):
            checksum = row_checksum("metadata", row_id, key, text)
            connection.execute("INSERT INTO metadata VALUES(?,?,?,?)", (row_id, key, text, checksum))
            yield "metadata", row_id, checksum

    def _write_layers(self, connection: sqlite3.Connection) -> Iterator[tuple[str, int, bytes]]:
        first_bundle = 1
        for layer_id, (name, (kind, text)) in enumerate(self._layers.items(), start=1):
            bundler = Bundler(first_bundle)
            for row_id, payload in bundler.bundles(self._staging.tiles(name, self._old_with(name))):
                checksum = row_checksum("tiles", row_id, layer_id, payload)
                connection.execute("INSERT INTO tiles VALUES(?,?,?,?)", (row_id, layer_id, payload, checksum))
                bundler.seal(checksum)
                first_bundle = row_id + 1
            packed = pack_directory(bundler.directory())
            checksum = row_checksum("layers", layer_id, name, kind, text, packed)
            connection.execute("INSERT INTO layers VALUES(?,?,?,?,?,?)", (layer_id, name, kind, text, packed, checksum))
            yield "layers", layer_id, checksum

    def _write_models(self, connection: sqlite3.Connection) -> Iterator[tuple[str, int, bytes]]:
        row_id = 0
        for layer_id, layer in enumerate(self._layers, start=1):
            for name, role, payload in self._models(layer):
                row_id += 1
                if row_id > limits.MAX_MODELS:
                    raise LimitError(f"more than {limits.MAX_MODELS} models", "use several files")
                checksum = row_checksum("models", row_id, layer_id, name, role, payload)
                connection.execute(
                    "INSERT INTO models VALUES(?,?,?,?,?,?)", (row_id, layer_id, name, role, payload, checksum)
                )
                yield "models", row_id, checksum

    def _models(self, layer: str) -> Iterator[tuple[str, str, bytes]]:
        old = self._old_with(layer)
        kept = {model.name: model.role for model in old.layer(layer).models} if old else {}
        staged = set(self._staging.model_names(layer))
        for name in sorted(staged | set(kept)):
            if name in staged:
                role, payload = self._staging.model(layer, name)
                yield name, role, payload
            elif old is not None:
                yield name, kept[name], old.model(layer, name)

    def _old_with(self, layer: str) -> FoldFile | None:
        there = self._old is not None and layer in {kept.name for kept in self._old.layers()} - self._gone
        return self._old if there else None


class FoldUpdater(FoldWriter):
    """Replaces, adds and removes layers, tiles, models and metadata of an existing file, in one transaction.

    Everything that is not put again stays, bit for bit. Updaters of one file wait for nobody: the second is refused.
    With `source` that file is the existing one, and stays as it is; `path` becomes its next version.
    """

    def __init__(self, path: str | Path, source: str | Path | None = None) -> None:
        super().__init__(path)
        try:
            self._old = FoldFile.open(self.path if source is None else source)
        except BaseException:
            self.close()
            raise
        for layer in self._old.layers():
            self._layers[layer.name] = (layer.kind, dump_json("parameters", layer.parameters))
        for key, value in self._old.metadata().items():
            self._metadata[key] = dump_json(key, value)

    @property
    def before(self) -> FoldFile:
        """The file as it was when the update began; open until it ends."""
        assert self._old is not None
        return self._old

    def remove_layer(self, layer: str) -> None:
        """Remove a layer with its tiles and models; `add_layer` may then add another of that name."""
        self._check_layer(layer)
        del self._layers[layer]
        self._gone.add(layer)
        self._staging.forget(layer)

    def remove_tile(self, layer: str, column: int, row: int) -> None:
        """Remove a tile; no tile there is no error."""
        self._check_tile(layer, column, row)
        self._staging.put_tile(layer, int(column), int(row), None)


@contextmanager
def update(path: str | Path, source: str | Path | None = None) -> Iterator[FoldUpdater]:
    """Open `FoldUpdater` as a transaction."""
    with FoldUpdater(path, source) as updater:
        yield updater


def _check_name(what: str, name: str) -> None:
    if not name or len(name.encode()) > limits.MAX_NAME_BYTES:
        raise ConfigError(f"{what} {name[:40]!r} is empty or too long", f"1 to {limits.MAX_NAME_BYTES} bytes")


def _parameters(layer: str, parameters: dict[str, Any]) -> str:
    if not isinstance(parameters, dict):
        raise ConfigError(f"parameters of layer {layer!r} are a {type(parameters).__name__}", "give a dictionary")
    return dump_json(f"parameters of layer {layer!r}", parameters)
