"""What folding and reading marks need to know, as bytes: the recipe, two fitted entropy coders, thresholds. No network.

A few KB of safetensors. The model of marks is named or held by a file as that of a learned code is.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar

import numpy as np

from foldmap.coding.context import ContextModel
from foldmap.errors import MapFormatError, ModelError
from foldmap.lidar.marks.choose import MarkRecipe
from foldmap.training.model_bytes import model_from_bytes, model_to_bytes
from foldmap.types import AnyArray, BoolArray

FORMAT = 1
CODEC = "marks-1"
MAX_BYTES = 1 << 20
KNOWN_CELLS = 64
"""Cells a side of a square in which it is known whether there is map: of squares of half of that, an eighth of a small
map's bytes would tell where it ends."""
_CURE = "use a model written by foldmap"
_CODERS = ("marks", "known")
_LATER = {"told", "price", "lines"}  # not in recipes of before there were these


@dataclass(frozen=True)
class MarksModel:
    """One way of choosing marks, and their coder.

    Attributes:
        recipe: how marks are chosen and observations drawn.
        marks_coder, known_coder: fitted coders of cells, and of what is known.
        resolution_m: pixel size of the maps it was fitted on.
        rate_bit_m2: bits per m2 of observed ground that it spent on maps that it was not fitted on.
        thresholds: of the localizer, as plain numbers (`ConfidenceThresholds.to_dict`).
        calibration: what maps that have none of their own are worth (`MapCalibration.to_dict`).
        known_cells: cells a side of a square in which it is known whether there is map.
        provenance: how it was fitted.
    """

    recipe: MarkRecipe
    marks_coder: ContextModel
    known_coder: ContextModel
    resolution_m: float
    rate_bit_m2: float
    name: str
    thresholds: dict[str, float] = field(default_factory=dict)
    calibration: dict[str, Any] | None = None
    known_cells: int = KNOWN_CELLS
    provenance: dict[str, Any] = field(default_factory=dict)

    codec: ClassVar[str] = CODEC
    can_fold: ClassVar[bool] = True

    def encode(self, marks: BoolArray, known: BoolArray) -> bytes:
        """Payload of a tile: marks (S, S), and known (S / k, S / k) in squares of k cells."""
        first = self.known_coder.encode(known[None].astype(np.uint8))
        return len(first).to_bytes(2, "little") + first + self.marks_coder.encode(marks[None].astype(np.uint8))

    def decode(self, payload: bytes, cells: int) -> tuple[BoolArray, BoolArray]:
        """Marks (S, S) and known (S / k, S / k) of a tile of S cells a side; a MapFormatError for any other bytes."""
        size = int.from_bytes(payload[:2], "little")
        if len(payload) < 2 + size:
            raise MapFormatError(f"a tile of {len(payload)} bytes says that {size} tell what is known", "fold it again")
        squares = cells // self.known_cells
        known = self.known_coder.decode(payload[2 : 2 + size], (1, squares, squares))
        marks = self.marks_coder.decode(payload[2 + size :], (1, cells, cells))
        return marks[0] > 0, known[0] > 0

    def to_bytes(self, *, localize_only: bool = False) -> bytes:
        """Serialize; the same model gives the same bytes, the same for localizing as for folding."""
        arrays: dict[str, AnyArray] = {}
        for name in _CODERS:
            coder: ContextModel = getattr(self, f"{name}_coder")
            arrays |= {f"{name}.{key}": value for key, value in coder.to_arrays().items()}
        info = {
            "format": FORMAT,
            "codec": CODEC,
            "name": self.name,
            "recipe": {name: value for name, value in asdict(self.recipe).items() if value or name not in _LATER},
            "known_cells": self.known_cells,
            "resolution_m": self.resolution_m,
            "rate_bit_m2": self.rate_bit_m2,
            "thresholds": self.thresholds,
            "calibration": self.calibration,
            "provenance": self.provenance,
        }
        return model_to_bytes(arrays, info)

    @staticmethod
    def from_bytes(payload: bytes) -> MarksModel:
        """Rebuild, trusting nothing; a ModelError where the bytes are no model of marks of this version."""
        return model_from_bytes(payload, _rebuilt, FORMAT, most_bytes=MAX_BYTES, cure=_CURE)


def _rebuilt(info: dict[str, Any], arrays: dict[str, AnyArray]) -> MarksModel:
    if info.get("codec") != CODEC:
        raise ModelError(f"the model's codec is {info.get('codec')!r}, not {CODEC!r}", "update foldmap")
    said = info["recipe"]
    names = {one.name for one in fields(MarkRecipe)}
    if not isinstance(said, dict) or not names - _LATER <= set(said) <= names:
        raise ModelError("the recipe of marks has unknown or missing fields", _CURE)
    weighed = {name: 0.0 if said.get(name, 0) == 0 else _positive(said[name], name) for name in _LATER}
    recipe = MarkRecipe(**{name: _positive(said[name], name) for name in names - _LATER}, **weighed)
    coders = list[ContextModel]()
    for name in _CODERS:
        mine = {key.removeprefix(f"{name}."): value for key, value in arrays.items() if key.startswith(f"{name}.")}
        coder = ContextModel.from_arrays(mine)
        if (coder.groups, coder.symbols) != (1, 1):
            raise ModelError(f"the coder of {name} is of {coder.groups} groups of {coder.symbols}, not of one", _CURE)
        coders.append(coder)
    known_cells = info["known_cells"]
    if type(known_cells) is not int or not 1 <= known_cells <= 256:
        raise ModelError(f"what is known is told in squares of {known_cells!r} cells", _CURE)
    return MarksModel(
        recipe,
        coders[0],
        coders[1],
        resolution_m=_positive(info["resolution_m"], "resolution_m"),
        rate_bit_m2=_positive(info["rate_bit_m2"], "rate_bit_m2"),
        name=str(info["name"]),
        thresholds={str(key): float(value) for key, value in dict(info["thresholds"]).items()},
        calibration=None if info.get("calibration") is None else dict(info["calibration"]),
        known_cells=known_cells,
        provenance=dict(info["provenance"]),
    )


def _positive(value: object, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or not 0 < value < 1e4:
        raise ModelError(f"the model's {what} is {value!r}", _CURE)
    return float(value)
