"""A layer as a new file will hold it: drawn from files that are open, some tiles put; and when two layers agree."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from foldmap.atlas import FoldFile, FoldWriter
from foldmap.atlas.drawn import Drawn
from foldmap.atlas.reader import TileKey
from foldmap.atlas.shelf import ModelReference
from foldmap.errors import MapInputError
from foldmap.types import DoubleArray, IntArray

FIRST, LAST = "first", "last"
Note = Callable[[str], None]


@dataclass(frozen=True)
class Source:
    """A layer of an open file."""

    file: FoldFile
    layer: str

    @property
    def parameters(self) -> dict[str, Any]:
        """Of the layer."""
        return self.file.layer(self.layer).parameters

    @property
    def said(self) -> str:
        """What to call it in a message."""
        return f"{self.file.path.name}, layer {self.layer}"


@dataclass
class Part:
    """What becomes of a layer.

    Attributes:
        kind: of the layer.
        parameters: as they will be.
        drawn: tiles that are taken as they are, and the models with them.
        put: tiles that are new, by key: called when they are written.
        kept, of: tiles that it has, and that there were.
    """

    kind: str
    parameters: dict[str, Any]
    drawn: list[Drawn]
    put: dict[TileKey, Callable[[], bytes]] = field(default_factory=dict)
    kept: int = 0
    of: int = 0

    def write(self, writer: FoldWriter, name: str) -> None:
        """Add the layer to a file; the files that it is drawn from stay open until that is written."""
        writer.add_layer(name, self.kind, self.parameters)
        for one in self.drawn:
            writer.draw(name, one)
        for key, payload in self.put.items():
            writer.put_tile(name, *key, payload())


def around(boxes: DoubleArray) -> DoubleArray:
    """The box around boxes, float64 (N, 4) west, south, east, north; NaN where there are none."""
    if not len(boxes):
        return np.full(4, np.nan)
    return np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)])


def numbers_of(one: Drawn) -> IntArray:
    """A number a tile, ascending as the tiles are: row, then column, int64 (N,)."""
    columns, rows = one.keys()
    rows <<= 32  # in place: of millions of tiles every copy counts
    rows += columns
    rows += 1 << 31
    return rows


def places_in(keys: IntArray, wanted: IntArray) -> IntArray:
    """Where numbers stand among ascending keys, int64 (N,); -1: nowhere."""
    at = np.searchsorted(keys, wanted)
    at[at == len(keys)] = 0
    return np.where(keys[at] == wanted, at, -1) if len(keys) else np.full(len(wanted), -1)


def first_unlike(one: Drawn, other: Drawn) -> tuple[int, TileKey | None]:
    """Of the tiles that two layers both have: how many differ, and the key of the first that does."""
    large, small = (one, other) if len(one) >= len(other) else (other, one)
    numbers = numbers_of(small)
    at = places_in(numbers_of(large), numbers)
    both = np.flatnonzero(at >= 0)
    count, first = 0, None
    for mine, theirs in zip(both.tolist(), at[both].tolist(), strict=True):
        if small.payload(small.place(mine)) != large.payload(large.place(theirs)):
            row, column = divmod(int(numbers[mine]), 1 << 32)
            count, first = count + 1, first or (column - (1 << 31), row)
    return count, first


def require_alike(one: Source, other: Source, names: Sequence[str], cure: str) -> None:
    """Check that two layers have the same values of some parameters, and the same models.

    Raises:
        MapInputError: names the first that differs.
    """
    for name in names:
        mine, theirs = one.parameters.get(name), other.parameters.get(name)
        if mine != theirs:
            raise MapInputError(f"{other.said} has {name} {_short(theirs)}, {one.said} {_short(mine)}", cure)
    mine, theirs = (_models(source) for source in (one, other))
    if mine.keys() != theirs.keys():
        raise MapInputError(f"{other.said} and {one.said} have other models", cure)
    for name, model in mine.items():
        if theirs[name] != model:
            raise MapInputError(f"{other.said} has another model {name!r} than {one.said}", cure)


def without_calibration(parameters: Mapping[str, Any], others: Sequence[Source], note: Note) -> dict[str, Any]:
    """Parameters without what was measured on one map alone, unless all have the same."""
    if all(source.parameters.get("calibration") == parameters.get("calibration") for source in others):
        return dict(parameters)
    note("the maps were calibrated each by itself, and the joined one is not: run foldmap calibrate on it")
    return {name: value for name, value in parameters.items() if name != "calibration"}


def _models(source: Source) -> dict[str, tuple[Any, ...]]:
    """Role and content of each model; of one that is named what it is, whichever release named it."""
    found: dict[str, tuple[Any, ...]] = {}
    for model in source.file.layer(source.layer).models:
        payload = source.file.model(source.layer, model.name)
        named = ModelReference.from_bytes(f"model {model.name!r}", payload)
        found[model.name] = (model.role, payload) if named is None else (model.role, named.name, named.sha256)
    return found


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}.."
