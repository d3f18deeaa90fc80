"""A patch put into a file, whole or not at all: the result has the seal that the patch names, or nothing is written."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

from foldmap.atlas.jsontext import load_json
from foldmap.atlas.patches.records import Kind, PatchReader, Record
from foldmap.atlas.updater import FoldUpdater
from foldmap.errors import ChecksumError, ConfigError, LayerError, MapFormatError, MapInputError

_CURE = "copy the patch again, or make it again with foldmap diff"


def apply_patch(base: Path, patch: Path, output: Path | None = None) -> int:
    """Turn a file into the version that a patch leads to, in one transaction; how many records the patch had.

    Args:
        base: the file that the patch was made from.
        patch: of `foldmap.atlas.patches.diff.write_patch`.
        output: where the next version goes; None: it replaces the base.

    Raises:
        MapInputError: the patch is for another file, or was put into this one already.
        MapFormatError: patch or file are damaged.
        WriteError: the file cannot be written.
    """
    with PatchReader(patch) as reader, FoldUpdater(output or base, base) as updater:
        found = updater.before.seal
        if found != reader.base:
            done = found == reader.result
            what = "was put in already" if done else f"is for a map with the seal {reader.base.hex()}"
            cure = "there is nothing to do" if done else "give the file that it was made from"
            raise MapInputError(f"{patch}: it {what}; {base} has {found.hex()}", cure)
        try:
            count = _Taking(updater, patch.name).all(reader)
        except (ConfigError, LayerError) as error:  # what no writer puts
            raise MapFormatError(f"{patch.name}: {error.message}", _CURE) from error
        try:
            updater.commit(seal=reader.result)
        except ChecksumError as error:
            what = f"{patch.name} does not lead to the map that it names (zlib here is {zlib.ZLIB_RUNTIME_VERSION})"
            raise ChecksumError(what, f"{_CURE}, with the zlib of this machine") from error
    return count


_LAYERS, _TILES = 1, 3
_PARTS = {
    Kind.METADATA: 0,
    Kind.NO_METADATA: 0,
    Kind.LAYER: _LAYERS,
    Kind.MODEL: 2,
    Kind.NO_MODEL: 2,
    Kind.TILE: _TILES,
    Kind.NO_TILE: _TILES,
}


class _Taking:
    """Records laid into an updater, in the one order that a patch may have."""

    def __init__(self, updater: FoldUpdater, what: str) -> None:
        self._updater, self._what = updater, what
        self._old = {layer.name: layer for layer in updater.before.layers()}
        self._at: tuple[Any, ...] = (0, "")
        self._seen: list[str] = []

    def all(self, reader: PatchReader) -> int:
        """Every record of a patch; how many there were."""
        count = 0
        for record in reader.records():
            self._in_order(record)
            self._take(record)
            count += 1
        for name in set(self._updater.layers) - set(self._seen):
            self._updater.remove_layer(name)
        self._updater.order_layers(self._seen)
        return count

    def _in_order(self, record: Record) -> None:
        """Check that records ascend: metadata by key, then of each layer models by name and tiles by row and column."""
        part = _PARTS[record.kind]
        at = (part, record.key[1], record.key[0]) if part == _TILES else (part, *record.names[:1])
        if part == _LAYERS:
            fits = record.names[0] not in self._seen
        else:
            fits = at > self._at and (part == 0 or bool(self._seen))
        if not fits:
            raise MapFormatError(f"{self._what}: records are out of order", _CURE)
        self._at = at

    def _take(self, record: Record) -> None:
        updater, layer = self._updater, self._seen[-1] if self._seen else ""
        if record.kind == Kind.METADATA:
            updater.put_metadata(record.names[0], self._json(record))
        elif record.kind == Kind.NO_METADATA:
            updater.remove_metadata(record.names[0])
        elif record.kind == Kind.LAYER:
            self._begin(record)
        elif record.kind == Kind.MODEL:
            updater.put_model(layer, record.names[0], record.body, record.names[1])
        elif record.kind == Kind.NO_MODEL:
            updater.remove_model(layer, record.names[0])
        elif record.kind == Kind.TILE:
            updater.put_tile(layer, *record.key, record.body)
        elif record.kind == Kind.NO_TILE:
            updater.remove_tile(layer, *record.key)

    def _begin(self, record: Record) -> None:
        (name, kind), updater = record.names, self._updater
        was = self._old.get(name)
        if not record.keeps:
            updater.put_layer(name, kind, self._json(record))
        elif was is None or was.kind != kind:
            raise MapFormatError(f"{self._what}: it changes a layer {name!r} that is not there", _CURE)
        elif record.body:
            updater.set_parameters(name, self._json(record))
        self._seen.append(name)

    def _json(self, record: Record) -> Any:
        try:
            return load_json(self._what, record.body.decode())
        except UnicodeDecodeError as error:
            raise MapFormatError(f"{self._what}: a text is not UTF-8", _CURE) from error
