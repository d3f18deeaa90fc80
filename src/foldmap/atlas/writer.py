"""Writing a .fold file: a new one, or the next version of one, whole or not at all.

A version is written beside its target and renamed over it. SQLite's own journal would also be transactional, but a kill
would leave a journal beside the map that only someone with write access could roll back, readers and writer would have
to wait for each other, and replaced tiles would leave holes. The rename gives readers the old map or the new one, a map
that is always one compact file, and the same bytes for the same content however it came about.
"""

import os
import sqlite3
from pathlib import Path
from typing import Any, Self

from foldmap.atlas import limits
from foldmap.atlas.contents import Contents, write_database
from foldmap.atlas.drawn import Drawn
from foldmap.atlas.jsontext import dump_json, load_json
from foldmap.atlas.reader import KINDS, FoldFile
from foldmap.atlas.whole import Sibling
from foldmap.errors import BudgetError, ChecksumError, ConfigError, LayerError, LimitError, WriteError

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
        self._closed = False
        self._sibling = Sibling(self.path)
        self._contents = Contents()

    @property
    def waiting(self) -> Path:
        """Where the file lies once it is committed within `atlas.whole.together`, until that ends."""
        return self._sibling.path

    def add_layer(self, name: str, kind: str, parameters: dict[str, Any]) -> None:
        """Add an empty layer; its name is unique in the file, up to 128 bytes.

        Parameters are a JSON object: codec, resolution, tile size, whatever decoding needs. Raises `LayerError`: the
        name is taken; `ConfigError`: the name, kind or parameters are not usable.
        """
        _check_name("layer name", name)
        if kind not in KINDS:
            raise ConfigError(f"layer kind {kind!r} is unknown", f"one of {', '.join(KINDS)}")
        if name in self._contents.layers:
            raise LayerError(f"the file already has a layer {name!r}", "choose another name")
        if len(self._contents.layers) >= limits.MAX_LAYERS:
            raise LimitError(f"more than {limits.MAX_LAYERS} layers", "use several files")
        self._contents.layers[name] = (kind, _parameters(name, parameters))

    def put_layer(self, name: str, kind: str, parameters: dict[str, Any]) -> None:
        """Begin a layer; one of that name goes first, with its tiles and models. Errors as `add_layer`."""
        self._contents.forget(name)
        self.add_layer(name, kind, parameters)

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers that the file will have."""
        return tuple(self._contents.layers)

    @property
    def metadata(self) -> dict[str, Any]:
        """Metadata that the file will have."""
        return {key: load_json(key, text) for key, text in self._contents.metadata.items()}

    def parameters(self, layer: str) -> dict[str, Any]:
        """Parameters of a layer that the file will have; a LayerError where it was not added."""
        self._check_layer(layer)
        found: dict[str, Any] = load_json(layer, self._contents.layers[layer][1])
        return found

    def set_parameters(self, layer: str, parameters: dict[str, Any]) -> None:
        """Replace the parameters of a layer, for those that are known only after folding."""
        self._check_layer(layer)
        self._contents.layers[layer] = (self._contents.layers[layer][0], _parameters(layer, parameters))

    def put_tile(self, layer: str, column: int, row: int, payload: bytes) -> None:
        """Store a tile of a layer that was added (else a LayerError), replacing any of the same key.

        Column and row are signed 32-bit, else it is a ConfigError; the payload may be empty, above 64 MiB a LimitError.
        """
        self._check_tile(layer, column, row)
        if len(payload) > limits.MAX_PAYLOAD_BYTES:
            what = f"tile ({column}, {row}) has {len(payload)} bytes, the limit is {limits.MAX_PAYLOAD_BYTES}"
            raise LimitError(what, "use smaller tiles")
        self._contents.staging.put_tile(layer, int(column), int(row), bytes(payload))

    def put_model(self, layer: str, name: str, payload: bytes, role: str = "decoder") -> None:
        """Store a model (safetensors bytes, or a reference), replacing any of the same name in the layer."""
        self._check_layer(layer)
        _check_name("model name", name)
        _check_name("model role", role)
        if len(payload) > limits.MAX_MODEL_BYTES:
            raise LimitError(f"model {name!r} has {len(payload)} bytes, the limit is {limits.MAX_MODEL_BYTES}")
        self._contents.staging.put_model(layer, name, role, bytes(payload))

    def draw(self, layer: str, tiles: Drawn) -> None:
        """Take tiles, and the models, of a layer of an open file into one that was added, as they are.

        They are read when the file is written, until which that file stays open. What is put comes before what is
        drawn, and of that the first.
        """
        self._check_layer(layer)
        self._contents.drawn.setdefault(layer, []).append(tiles)

    def put_metadata(self, key: str, value: Any) -> None:
        """Store a JSON value under a key, replacing any older one; a ConfigError where JSON cannot say it."""
        _check_name("metadata key", key)
        self._contents.metadata[key] = dump_json(f"metadata {key!r}", value)
        if len(self._contents.metadata) > limits.MAX_METADATA:
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

    def commit(self, most_bytes: int | None = None, *, seal: bytes | None = None) -> None:
        """Write everything and put it in place; the ``with`` block calls this.

        Raises `BudgetError`: the file would be larger than ``most_bytes``; `ChecksumError`: its seal would not be the
        one that is given; what was there stays; `WriteError`: the disk is full, or the folder cannot be written.
        """
        try:
            made = self._write(self._sibling.path)
            if seal not in (None, made):
                raise ChecksumError(f"{self.path} would have another seal than it must", "nothing was written")
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
        self._contents.staging.close()
        self._sibling.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_error: object) -> None:
        if kind is None and not self._closed:
            self.commit()
        else:
            self.close()

    def _write(self, path: Path) -> bytes:
        return write_database(self._contents, str(path))

    def _check_layer(self, layer: str) -> None:
        if layer not in self._contents.layers:
            so_far = ", ".join(self._contents.layers) or "none"
            raise LayerError(f"no layer {layer!r} was added", f"layers so far: {so_far}")

    def _check_tile(self, layer: str, column: int, row: int) -> None:
        self._check_layer(layer)
        if not (-_INT32 <= column < _INT32 and -_INT32 <= row < _INT32):
            raise ConfigError(f"tile ({column}, {row}) is outside 32 bits", "use larger tiles or a nearer origin")


def _check_name(what: str, name: str) -> None:
    if not name or len(name.encode()) > limits.MAX_NAME_BYTES:
        raise ConfigError(f"{what} {name[:40]!r} is empty or too long", f"1 to {limits.MAX_NAME_BYTES} bytes")


def _parameters(layer: str, parameters: dict[str, Any]) -> str:
    if not isinstance(parameters, dict):
        raise ConfigError(f"parameters of layer {layer!r} are a {type(parameters).__name__}", "give a dictionary")
    return dump_json(f"parameters of layer {layer!r}", parameters)
