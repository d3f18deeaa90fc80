"""What another version of a map has and this one has not, as a patch: tile by tile, whatever rows they lie in."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from foldmap.atlas.contents import canonical_seal
from foldmap.atlas.drawn import Drawn
from foldmap.atlas.jsontext import dump_json
from foldmap.atlas.patches.records import Kind, PatchWriter, Record
from foldmap.atlas.reader import FoldFile, Layer
from foldmap.atlas.whole import Sibling
from foldmap.errors import MapInputError, WriteError

_BASE, _AFTER = 0, 1


@dataclass
class PatchReport:
    """What a patch holds: tiles that it writes and removes, models and metadata it sets or removes, its bytes."""

    tiles: int = 0
    removed: int = 0
    models: int = 0
    metadata: int = 0
    layers: int = 0
    bytes: int = 0


def write_patch(base: Path, after: Path, output: Path) -> PatchReport:
    """Write what turns one file into another; the patch appears when it is whole.

    Raises:
        MapInputError: the second file was not written as foldmap writes, so that no patch would give its bytes.
        MapFormatError: one of the files is damaged.
        WriteError: the patch cannot be written.
    """
    with FoldFile.open(base) as old, FoldFile.open(after) as new:
        if canonical_seal(new) != new.seal:
            what = f"{after} was written by another program or version of zlib, and no patch gives its bytes"
            raise MapInputError(what, f"write it anew with foldmap merge {after} -o NEW.fold")
        sibling = Sibling(output)
        try:
            with open(sibling.path, "wb") as file:
                report = _write(old, new, file)
            report.bytes = sibling.path.stat().st_size
            sibling.replace()
        except OSError as error:
            raise WriteError(f"{output} cannot be written: {error}", "check space and rights") from error
        finally:
            sibling.close()
    return report


def _write(old: FoldFile, new: FoldFile, file: BinaryIO) -> PatchReport:
    writer, report = PatchWriter(file, old.seal, new.seal), PatchReport()
    for record in _metadata(old, new):
        writer.put(record)
        report.metadata += 1
    before = {layer.name: layer for layer in old.layers()}
    for layer in new.layers():
        was = before.get(layer.name)
        if was is not None and was.kind != layer.kind:
            was = None
        writer.put(_layer(was, layer))
        report.layers += 1
        for record in _models(old, new, was, layer):
            writer.put(record)
            report.models += 1
        for record in _tiles(old, new, was, layer):
            writer.put(record)
            report.tiles += record.kind == Kind.TILE
            report.removed += record.kind == Kind.NO_TILE
    writer.close()
    return report


def _metadata(old: FoldFile, new: FoldFile) -> Iterator[Record]:
    was, now = ({key: _text(key, value) for key, value in file.metadata().items()} for file in (old, new))
    for key in sorted(was.keys() | now.keys()):
        if key not in now:
            yield Record(Kind.NO_METADATA, (key,))
        elif was.get(key) != now[key]:
            yield Record(Kind.METADATA, (key,), body=now[key])


def _layer(was: Layer | None, layer: Layer) -> Record:
    text = _text(layer.name, layer.parameters)
    same = was is not None and _text(was.name, was.parameters) == text
    return Record(Kind.LAYER, (layer.name, layer.kind), body=b"" if same else text, keeps=was is not None)


def _models(old: FoldFile, new: FoldFile, was: Layer | None, layer: Layer) -> Iterator[Record]:
    before = {} if was is None else {model.name: model for model in was.models}
    after = {model.name: model for model in layer.models}
    for name in sorted(before.keys() | after.keys()):
        if name not in after:
            yield Record(Kind.NO_MODEL, (name,))
            continue
        payload, one = new.model(layer.name, name), before.get(name)
        same = one is not None and (one.role, one.payload_bytes) == (after[name].role, len(payload))
        if not same or old.model(layer.name, name) != payload:
            yield Record(Kind.MODEL, (name, after[name].role), body=payload)


def _tiles(old: FoldFile, new: FoldFile, was: Layer | None, layer: Layer) -> Iterator[Record]:
    """Tiles that differ, ascending by row, then column: each file is read once, in order."""
    before = iter(()) if was is None else Drawn(old, layer.name).ascending(_BASE)
    waiting: tuple[int, int, int] | None = None
    for row, column, age, place in heapq.merge(before, Drawn(new, layer.name).ascending(_AFTER)):
        if waiting is not None and waiting[:2] != (row, column):
            yield Record(Kind.NO_TILE, key=(waiting[1], waiting[0]))
            waiting = None
        if age == _BASE:
            waiting = row, column, place
            continue
        payload = new.tile_at(layer.name, place)
        if waiting is None or old.tile_at(layer.name, waiting[2]) != payload:
            yield Record(Kind.TILE, key=(column, row), body=payload)
        waiting = None
    if waiting is not None:
        yield Record(Kind.NO_TILE, key=(waiting[1], waiting[0]))


def _text(what: str, value: Any) -> bytes:
    return dump_json(what, value).encode()
