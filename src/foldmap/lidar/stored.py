"""The localizing half of a model as numbers, read without torch: what a .fold file carries of a bundle."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from foldmap.coding.registry import Coder, coder_from_arrays
from foldmap.errors import ModelError
from foldmap.lidar.presets import Preset
from foldmap.lidar.runtime.networks import localizing_shapes
from foldmap.training.model_bytes import model_from_bytes
from foldmap.types import AnyArray, FloatArray

FORMAT = 1
MAX_BYTES = 256 << 20
CURE = "use a model written by foldmap"


@dataclass(frozen=True)
class StoredModel:
    """What localizing needs of an operating point; fields as of `foldmap.lidar.bundle.Bundle`, weights in float32."""

    preset: Preset
    weights: dict[str, FloatArray]
    coder: Coder
    resolution_m: float
    rate_bit_m2: float
    name: str
    thresholds: dict[str, float]
    provenance: dict[str, Any]
    can_fold: bool

    @staticmethod
    def from_bytes(payload: bytes) -> StoredModel:
        """Read, trusting nothing; a ModelError where the bytes are no model of this version."""
        return model_from_bytes(payload, stored_from, FORMAT, most_bytes=MAX_BYTES, cure=CURE)


def stored_from(info: dict[str, Any], arrays: Mapping[str, AnyArray]) -> StoredModel:
    """A model of its description and arrays; a ModelError, or what `model_from_bytes` makes one of, where unusable."""
    preset = Preset.from_dict(info["preset"])
    coder = {name.removeprefix("coder."): value for name, value in arrays.items() if name.startswith("coder.")}
    return StoredModel(
        preset=preset,
        weights={name: weights_of(arrays, name, shape) for name, shape in localizing_shapes(preset).items()},
        coder=coder_from_arrays(str(info["coder"]), coder),
        resolution_m=_positive(info["resolution_m"], "resolution"),
        rate_bit_m2=_positive(info["rate_bit_m2"], "rate"),
        name=str(info["name"]),
        thresholds={str(key): float(value) for key, value in dict(info["thresholds"]).items()},
        provenance=dict(info["provenance"]),
        can_fold=bool(info["can_fold"]),
    )


def weights_of(arrays: Mapping[str, AnyArray], name: str, shape: tuple[int, ...]) -> FloatArray:
    """One weight in float32; a ModelError where it is missing, of another shape, or not finite."""
    if name not in arrays:
        raise ModelError(f"the model lacks {name}", CURE)
    array = arrays[name]
    if array.shape != shape:
        raise ModelError(f"the model's {name} has shape {array.shape}", f"its preset asks for {shape}")
    with np.errstate(all="ignore"):  # what overflows is refused below
        numbers = array.astype(np.float32)
        if array.dtype == np.int8:
            scale = arrays[f"{name}.scale"]
            if array.ndim != 4 or scale.shape != array.shape[:1]:
                raise ModelError(f"the model's {name} has {scale.shape} scales", CURE)
            numbers = numbers * scale.astype(np.float32)[:, None, None, None]
    if not np.isfinite(numbers).all() or (name.endswith("running_var") and (numbers < 0).any()):
        raise ModelError(f"the model's {name} is not finite, or a negative variance", "train the model again")
    return numbers


def _positive(value: object, what: str) -> float:
    if not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
        raise ModelError(f"the model's {what} is {value!r}", CURE)
    return float(value)
