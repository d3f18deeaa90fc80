"""Reading a .fold file: what is in it, and one tile without the rest."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foldmap.atlas import limits
from foldmap.atlas.checksum import SEAL_BYTES, row_checksum, seal_checksum
from foldmap.atlas.database import Database
from foldmap.atlas.directory import Directory, unpack_directory
from foldmap.atlas.jsontext import load_json
from foldmap.errors import ChecksumError, LayerError, LimitError, MapFormatError

KINDS = ("lidar", "visual", "street")
TileKey = tuple[int, int]  # `(column, row)`; what a column and a row are in metres is the layer's parameters' business
_CACHED_BUNDLES = 8
_REFOLD = "copy or fold the map again"


@dataclass(frozen=True)
class ModelInfo:
    """A model in the file: its name, role (``decoder``, ...), size and row."""

    name: str
    role: str
    payload_bytes: int
    row_id: int
    checksum: bytes


@dataclass(frozen=True)
class Layer:
    """A layer: name, kind (one of `KINDS`), the parameters it was folded with, what it holds."""

    name: str
    kind: str
    parameters: dict[str, Any]
    tile_count: int
    tile_bytes: int
    models: tuple[ModelInfo, ...]


class FoldFile:
    """A .fold file, open for reading. Use `FoldFile.open`, and as a context manager.

    Opening reads metadata, layers and tile directories and checks the seal over all rows; tiles and models are read,
    and checked, when asked for. An open file shows one version of the map, whatever is written under its name
    meanwhile. Safe to use from several threads.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self._metadata: dict[str, Any] = {}
        self._layers: dict[str, Layer] = {}
        self._ids: dict[str, int] = {}
        self._directories: dict[str, Directory] = {}
        self._own_bytes: dict[str, int] = {}
        self._cache: OrderedDict[int, bytes] = OrderedDict()
        self._cache_lock = threading.Lock()
        sealed = self._read_metadata() + self._read_layers()
        self.seal = self._checked_seal(sealed)
        """What the file says of all its rows, 16 bytes: two files of one seal hold the same map."""

    @classmethod
    def open(cls, path: str | Path) -> FoldFile:
        """Open a file, read-only; nothing is written, locked or created, there or beside it.

        Raises `NotAFoldFileError`: not there, or not a .fold file; `NewerVersionError`: written by a later version;
        `MapFormatError`: damaged, truncated or hostile.
        """
        database = Database(Path(path))
        try:
            return cls(database)
        except BaseException:
            database.close()
            raise

    @property
    def path(self) -> Path:
        """Where the file was opened."""
        return self.database.path

    def layers(self) -> list[Layer]:
        """All layers, in the order they were added."""
        return list(self._layers.values())

    def layer(self, name: str) -> Layer:
        """One layer by name; a LayerError names those that there are."""
        if name not in self._layers:
            there = ", ".join(self._layers) or "none"
            raise LayerError(f"{self.database.name} has no layer {name!r}", f"layers in this file: {there}")
        return self._layers[name]

    def metadata(self) -> dict[str, Any]:
        """All metadata values by key (a fresh dictionary)."""
        return dict(self._metadata)

    def tiles(self, layer: str) -> list[TileKey]:
        """Keys ``(column, row)`` of all tiles of a layer, ascending by row, then column."""
        return _keys(self.directory(layer), slice(None))

    def tiles_in(self, layer: str, column_0: int, column_1: int, row_0: int, row_1: int) -> list[TileKey]:
        """Keys of the tiles with ``column_0 <= column < column_1`` and ``row_0 <= row < row_1``."""
        directory = self.directory(layer)
        return _keys(directory, directory.inside(column_0, column_1, row_0, row_1))

    def tile(self, layer: str, column: int, row: int) -> bytes | None:
        """Payload of one tile; None where the layer has no such tile, a MapFormatError where its row is damaged.

        Reads one row of the database: the tile, or the bundle of at most 32 KiB that it shares with its neighbours.
        """
        index = self.directory(layer).find(column, row)
        return None if index < 0 else self.tile_at(layer, index)

    def directory(self, layer: str) -> Directory:
        """Which tiles a layer has, ascending by row, then column, and how long each is."""
        self.layer(layer)
        return self._directories[layer]

    def tile_at(self, layer: str, index: int) -> bytes:
        """Payload of a tile by its place in `directory`; errors as `tile`."""
        bundle, start, stop = self.directory(layer).place(index)
        return self.bundle(layer, bundle)[start:stop]

    def bundles(self, layer: str) -> list[tuple[int, range]]:
        """Rank of each bundle of a layer, and which of `tiles` lie in it."""
        directory = self.directory(layer)
        return [(bundle, directory.members(bundle)) for bundle in range(len(directory.bundle_tiles))]

    def bundle(self, layer: str, bundle: int) -> bytes:
        """Payload of one bundle of tiles, checked; the last few are kept."""
        directory = self.directory(layer)
        row_id = directory.first_bundle + bundle
        with self._cache_lock:
            if row_id in self._cache:
                self._cache.move_to_end(row_id)
                return self._cache[row_id]
        payload = self._fetch_bundle(layer, bundle, row_id)
        with self._cache_lock:
            self._cache[row_id] = payload
            while len(self._cache) > _CACHED_BUNDLES:
                self._cache.popitem(last=False)
        return payload

    def _fetch_bundle(self, layer: str, bundle: int, row_id: int) -> bytes:
        directory = self.directory(layer)
        what = f"{self.database.name}: layer {layer!r}, tiles row {row_id}"
        self._check_declared(what, "tiles", row_id, directory.bundle_bytes(bundle), limits.MAX_PAYLOAD_BYTES)
        query = "SELECT layer,payload,checksum FROM tiles WHERE id=?"
        fields = self._row(query, row_id, longest=limits.MAX_PAYLOAD_BYTES)
        owner, payload, checksum = _typed(what, fields, int, bytes, bytes)
        expected = row_checksum("tiles", row_id, self._ids[layer], payload)
        listed = directory.bundle_checksums[bundle].tobytes()
        if owner != self._ids[layer]:
            raise MapFormatError(f"{what}: the row belongs to another layer", _REFOLD)
        _checked(what, checksum, expected, listed)
        return bytes(payload)

    def model(self, layer: str, name: str) -> bytes:
        """Bytes of one of a layer's models; a LayerError where there is none, a MapFormatError where it is damaged."""
        models = {model.name: model for model in self.layer(layer).models}
        if name not in models:
            raise LayerError(f"layer {layer!r} has no model {name!r}", f"models there: {', '.join(models) or 'none'}")
        info = models[name]
        what = f"{self.database.name}: model {name!r} of layer {layer!r}"
        self._check_declared(what, "models", info.row_id, info.payload_bytes, limits.MAX_MODEL_BYTES)
        fields = self._row("SELECT payload FROM models WHERE id=?", info.row_id, longest=limits.MAX_MODEL_BYTES)
        (payload,) = _typed(what, fields, bytes)
        _checked(what, info.checksum, row_checksum("models", info.row_id, self._ids[layer], name, info.role, payload))
        return bytes(payload)

    def size_bytes(self) -> int:
        """Size of the file on disk."""
        return self.database.file_bytes

    def byte_report(self) -> dict[str, Any]:
        """Where the bytes are.

        ``file_bytes``, ``payload_bytes`` (tiles and models), ``overhead_bytes`` (the rest), ``metadata_bytes``; and of
        each layer its ``kind``, ``tiles``, ``tile_bytes``, ``directory_bytes``, ``parameter_bytes``, ``model_bytes``.
        """
        layers: dict[str, Any] = {}
        payload = 0
        for layer in self.layers():
            models = {model.name: model.payload_bytes for model in layer.models}
            payload += layer.tile_bytes + sum(models.values())
            layers[layer.name] = {
                "kind": layer.kind,
                "tiles": layer.tile_count,
                "tile_bytes": layer.tile_bytes,
                "directory_bytes": self._own_bytes[f"directory {layer.name}"],
                "parameter_bytes": self._own_bytes[f"parameters {layer.name}"],
                "model_bytes": models,
            }
        return {
            "file_bytes": self.size_bytes(),
            "payload_bytes": payload,
            "overhead_bytes": self.size_bytes() - payload,
            "metadata_bytes": self._own_bytes["metadata"],
            "layers": layers,
        }

    def close(self) -> None:
        """Close the file."""
        self.database.close()

    def __enter__(self) -> FoldFile:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _read_metadata(self) -> list[tuple[str, int, bytes]]:
        query = "SELECT id,key,value,checksum FROM metadata ORDER BY id"
        sealed = []
        self._own_bytes["metadata"] = 0
        for fields in self.database.rows(query, most=limits.MAX_METADATA, longest=limits.MAX_JSON_BYTES):
            what = f"{self.database.name}: metadata row {fields[0]!r}"
            row_id, key, value, checksum = _typed(what, fields, int, str, str, bytes)
            _checked(what, checksum, row_checksum("metadata", row_id, key, value))
            if key in self._metadata or len(key.encode()) > limits.MAX_NAME_BYTES:
                raise MapFormatError(f"{what}: the key {key[:20]!r} occurs twice or is too long")
            self._metadata[key] = load_json(what, value)
            self._own_bytes["metadata"] += len(key.encode()) + len(value.encode())
            sealed.append(("metadata", row_id, checksum))
        return sealed

    def _read_layers(self) -> list[tuple[str, int, bytes]]:
        query = "SELECT id,name,kind,length(directory),checksum FROM layers ORDER BY id"
        sealed, names = [], {}
        for fields in self.database.rows(query, most=limits.MAX_LAYERS, longest=limits.MAX_NAME_BYTES):
            what = f"{self.database.name}: layers row {fields[0]!r}"
            row_id, name, kind, size, checksum = _typed(what, fields, int, str, str, int, bytes)
            if kind not in KINDS or name in self._ids or not 0 < len(name.encode()) <= limits.MAX_NAME_BYTES:
                raise MapFormatError(f"{what}: {name[:40]!r} of kind {kind[:20]!r} is no valid layer")
            if size > min(self.database.file_bytes, limits.MAX_DIRECTORY_BYTES):
                raise LimitError(f"{what}: the directory declares {size} bytes")
            sealed.append(("layers", row_id, checksum))
            self._ids[name] = row_id
            names[row_id] = (name, kind, checksum)
        models, sealed_models = self._read_models({row_id: [] for row_id in names})
        for row_id, (name, kind, checksum) in names.items():
            self._read_layer(row_id, name, kind, checksum, tuple(models[row_id]))
        return sealed + sealed_models

    def _read_layer(self, row_id: int, name: str, kind: str, checksum: bytes, models: tuple[ModelInfo, ...]) -> None:
        what = f"{self.database.name}: layer {name!r}"
        query = "SELECT parameters,directory FROM layers WHERE id=?"
        text, packed = _typed(what, self._row(query, row_id, longest=limits.MAX_DIRECTORY_BYTES), str, bytes)
        _checked(what, checksum, row_checksum("layers", row_id, name, kind, text, packed))
        if len(text.encode()) > limits.MAX_JSON_BYTES:
            raise LimitError(f"{what}: the parameters are longer than {limits.MAX_JSON_BYTES} bytes")
        parameters = load_json(what, text)
        if not isinstance(parameters, dict):
            raise MapFormatError(f"{what}: the parameters are not an object")
        directory = unpack_directory(what, packed, self.database.file_bytes)
        tile_bytes = directory.tile_bytes
        if tile_bytes > self.database.file_bytes:
            raise LimitError(f"{what}: the directory declares {tile_bytes} bytes of tiles, more than the file has")
        self._directories[name] = directory
        self._own_bytes[f"directory {name}"] = len(packed)
        self._own_bytes[f"parameters {name}"] = len(text.encode())
        self._layers[name] = Layer(name, kind, parameters, len(directory), tile_bytes, models)

    def _read_models(
        self, of_layer: dict[int, list[ModelInfo]]
    ) -> tuple[dict[int, list[ModelInfo]], list[tuple[str, int, bytes]]]:
        query = "SELECT id,layer,name,role,length(payload),checksum FROM models ORDER BY id"
        sealed = []
        for fields in self.database.rows(query, most=limits.MAX_MODELS, longest=limits.MAX_NAME_BYTES):
            what = f"{self.database.name}: models row {fields[0]!r}"
            row_id, layer, name, role, size, checksum = _typed(what, fields, int, int, str, str, int, bytes)
            if size > min(self.database.file_bytes, limits.MAX_MODEL_BYTES):
                raise LimitError(f"{what}: declares {size} bytes")
            if max(len(name.encode()), len(role.encode())) > limits.MAX_NAME_BYTES:
                raise LimitError(f"{what}: a name is longer than {limits.MAX_NAME_BYTES} bytes")
            if layer not in of_layer or name in {model.name for model in of_layer[layer]}:
                raise MapFormatError(f"{what}: {name[:40]!r} belongs to no layer, or to it twice")
            of_layer[layer].append(ModelInfo(name, role, size, row_id, checksum))
            sealed.append(("models", row_id, checksum))
        return of_layer, sealed

    def _checked_seal(self, sealed: list[tuple[str, int, bytes]]) -> bytes:
        what = f"{self.database.name}: the seal"
        row_id, checksum = _typed(what, self._row("SELECT id,checksum FROM seal", longest=SEAL_BYTES), int, bytes)
        if row_id != 1 or checksum != seal_checksum(sealed):
            raise ChecksumError(f"{what} over all rows does not match", _REFOLD)
        return bytes(checksum)

    def _check_declared(self, what: str, table: str, row_id: int, size: int, most: int) -> None:
        """Compare the length a row declares with the one it must have, before its payload is fetched."""
        # SQLite takes the length from the record's head: nothing as long as the payload is allocated or read here
        found = self._row(f"SELECT length(payload) FROM {table} WHERE id=?", row_id, longest=most)
        if not found:
            raise MapFormatError(f"{what}: the row is missing", _REFOLD)
        if found[0] != size:
            raise MapFormatError(f"{what}: {found[0]} bytes where {size} are declared", _REFOLD)

    def _row(self, query: str, *values: int, longest: int) -> tuple[Any, ...]:
        """The one row of a query; empty where there is none."""
        found = self.database.rows(query, *values, most=1, longest=longest)
        return found[0] if found else ()


def _keys(directory: Directory, chosen: Any) -> list[TileKey]:
    columns, rows = directory.keys(chosen)
    return list(zip(columns.tolist(), rows.tolist(), strict=True))


def _checked(what: str, checksum: bytes, *expected: bytes) -> None:
    if any(checksum != each for each in expected):
        raise ChecksumError(f"{what}: the checksum does not match", _REFOLD)


def _typed(what: str, fields: tuple[Any, ...], *types: type) -> tuple[Any, ...]:
    """The fields of a row, each of the type that the format gives it."""
    if len(fields) != len(types):
        raise MapFormatError(f"{what}: the row is missing", _REFOLD)
    for field, kind in zip(fields, types, strict=True):
        if type(field) is not kind:
            raise MapFormatError(f"{what}: {type(field).__name__} where {kind.__name__} belongs")
    return fields
