"""A trained operating point as bytes: safetensors, convolutions in 8 bits, and JSON beside them.

One bundle is one point of the rate-accuracy curve: networks, the fitted entropy coder and the calibrated thresholds of
the localizer. A .fold file carries the half of it that localizing needs (`localize_only`); folding needs all of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from foldmap.coding.registry import Coder, coder_from_arrays
from foldmap.errors import ConfigError, ModelError
from foldmap.lidar.model import LidarModel
from foldmap.lidar.presets import Preset
from foldmap.training.model_bytes import model_from_bytes, model_to_bytes, stored_state
from foldmap.types import AnyArray

FORMAT = 1
MAX_BYTES = 256 << 20
_LOCALIZE = ("sweep_embedding.", "decoder.", "log_temperature")
_CURE = "use a model written by foldmap"


@dataclass
class Bundle:
    """One trained operating point.

    Attributes:
        model: networks, in evaluation mode; the map's are on torch's meta device when `can_fold` is false.
        coder: fitted lossless coder of its codes.
        resolution_m, provenance: pixel size it was trained at, and how.
        rate_bit_m2: bits per m2 of observed ground that it spent on held-out maps.
        thresholds: of the localizer, as plain numbers (`ConfidenceThresholds.to_dict`).
        can_fold: whether the map's networks are inside.
    """

    model: LidarModel
    coder: Coder
    resolution_m: float
    rate_bit_m2: float
    name: str
    thresholds: dict[str, float] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    can_fold: bool = True

    def to_bytes(self, *, localize_only: bool = False) -> bytes:
        """Serialize; the same bundle gives the same bytes. `localize_only` leaves the map's networks out.

        A ModelError where a weight is not finite in the precision that is stored.
        """
        localize_only = localize_only or not self.can_fold
        arrays: dict[str, AnyArray] = {}
        for name, value in stored_state(self.model).items():
            if not localize_only or name.startswith(_LOCALIZE):
                arrays |= _pack(name, value)
        arrays |= {f"coder.{name}": value for name, value in self.coder.to_arrays().items()}
        info = {
            "format": FORMAT,
            "name": self.name,
            "preset": self.model.preset.to_dict(),
            "coder": self.coder.name,
            "resolution_m": self.resolution_m,
            "rate_bit_m2": self.rate_bit_m2,
            "thresholds": self.thresholds,
            "provenance": self.provenance,
            "can_fold": not localize_only,
        }
        return model_to_bytes(arrays, info)

    @staticmethod
    def from_bytes(payload: bytes) -> Bundle:
        """Rebuild, trusting nothing; a ModelError where the bytes are no bundle of this version."""
        return model_from_bytes(payload, _rebuilt, FORMAT, most_bytes=MAX_BYTES, cure=_CURE)


def _rebuilt(info: dict[str, Any], arrays: dict[str, AnyArray]) -> Bundle:
    preset, can_fold = Preset.from_dict(info["preset"]), bool(info["can_fold"])
    with torch.device("meta"):  # shapes without memory: the arrays are checked before anything is allocated
        model = LidarModel(preset)
    _unpack(model, arrays, can_fold=can_fold)
    coder = {name.removeprefix("coder."): value for name, value in arrays.items() if name.startswith("coder.")}
    return Bundle(
        model=model.eval(),
        coder=coder_from_arrays(str(info["coder"]), coder),
        resolution_m=_positive(info["resolution_m"], "resolution"),
        rate_bit_m2=_positive(info["rate_bit_m2"], "rate"),
        name=str(info["name"]),
        thresholds={str(key): float(value) for key, value in dict(info["thresholds"]).items()},
        provenance=dict(info["provenance"]),
        can_fold=can_fold,
    )


def _positive(value: object, what: str) -> float:
    if not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
        raise ModelError(f"the model's {what} is {value!r}", _CURE)
    return float(value)


def _pack(name: str, value: Tensor) -> dict[str, AnyArray]:
    """Kernels as 8-bit integers with one scale an entry of their first axis, the rest in half precision.

    Running moments and scalars stay in single precision.
    """
    array = value.detach().float().cpu().numpy()
    with np.errstate(over="ignore"):
        short = array.astype(np.float32 if array.ndim in (0, 4) or "running" in name else np.float16)
    if not np.isfinite(short).all():
        raise ModelError(f"the model's {name} is not finite in {short.dtype}", "train the model again")
    if array.ndim < 4:
        return {name: short}
    peak = np.abs(array).reshape(array.shape[0], -1).max(axis=1)
    # Rounded up to 17 bits, so that 127 * scale is exact and packing what was unpacked gives the same bytes.
    bits = np.maximum(peak / 127.0, 1e-12).astype(np.float32).view(np.uint32)
    scale = ((bits + np.uint32(127)) & np.uint32(0xFFFFFF80)).view(np.float32)
    quantized = np.round(array / scale[:, None, None, None]).clip(-127, 127).astype(np.int8)
    return {name: quantized, f"{name}.scale": scale}


def _unpack(model: LidarModel, arrays: Mapping[str, AnyArray], *, can_fold: bool) -> None:
    state: dict[str, Tensor] = {}
    for name, value in model.state_dict().items():
        if not can_fold and not name.startswith(_LOCALIZE):
            continue
        if name.endswith("num_batches_tracked"):
            state[name] = torch.zeros((), dtype=torch.long)
            continue
        if name not in arrays:
            raise ModelError(f"the model lacks {name}", _CURE)
        array = arrays[name]
        if array.shape != tuple(value.shape):
            raise ModelError(f"the model's {name} has shape {array.shape}", f"its preset asks for {tuple(value.shape)}")
        with np.errstate(all="ignore"):  # what overflows is refused below
            numbers = array.astype(np.float32)
            if array.dtype == np.int8:
                scale = arrays[f"{name}.scale"]
                if array.ndim != 4 or scale.shape != array.shape[:1]:
                    raise ModelError(f"the model's {name} has {scale.shape} scales", _CURE)
                numbers = numbers * scale.astype(np.float32)[:, None, None, None]
        if not np.isfinite(numbers).all() or (name.endswith("running_var") and (numbers < 0).any()):
            raise ModelError(f"the model's {name} is not finite, or a negative variance", "train the model again")
        state[name] = torch.from_numpy(numbers)
    model.load_state_dict(state, strict=False, assign=True)


def quantized(bundle: Bundle) -> Bundle:
    """The bundle as it will be after a round trip through its bytes; fit coders and thresholds on this one."""
    return Bundle.from_bytes(bundle.to_bytes())


def require_fold(bundle: Bundle) -> None:
    """A ConfigError where a bundle came out of a .fold file, which carries the localizing half alone."""
    if not bundle.can_fold:
        cure = "give the model file it was folded with"
        raise ConfigError(f"the model {bundle.name} can localize but not fold", cure)
