"""A trained operating point as bytes: safetensors, convolutions in 8 bits, and JSON beside them.

One bundle is one point of the rate-accuracy curve: networks, the fitted entropy coder and the calibrated thresholds of
the localizer. A .fold file carries the half of it that localizing needs (`localize_only`); folding needs all of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from foldmap.coding.registry import Coder
from foldmap.errors import ConfigError, ModelError
from foldmap.lidar.presets import Preset
from foldmap.lidar.stored import CURE, FORMAT, MAX_BYTES, StoredModel, stored_from, weights_of
from foldmap.training.model_bytes import model_from_bytes, model_to_bytes, stored_state
from foldmap.types import AnyArray

if TYPE_CHECKING:
    from torch import Tensor

    from foldmap.lidar.model import LidarModel

_LOCALIZE = ("sweep_embedding.", "decoder.", "log_temperature")


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

    @property
    def preset(self) -> Preset:
        """Of the networks."""
        return self.model.preset

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
        return model_from_bytes(payload, _rebuilt, FORMAT, most_bytes=MAX_BYTES, cure=CURE)


def _rebuilt(info: dict[str, Any], arrays: dict[str, AnyArray]) -> Bundle:
    stored = stored_from(info, arrays)
    return Bundle(
        model=_model(stored, arrays),
        coder=stored.coder,
        resolution_m=stored.resolution_m,
        rate_bit_m2=stored.rate_bit_m2,
        name=stored.name,
        thresholds=stored.thresholds,
        provenance=stored.provenance,
        can_fold=stored.can_fold,
    )


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


def _model(stored: StoredModel, arrays: Mapping[str, AnyArray]) -> LidarModel:
    """The networks in evaluation mode; the map's stay on torch's meta device where they are not stored."""
    import torch

    from foldmap.lidar.model import LidarModel

    with torch.device("meta"):  # shapes without memory: the arrays are checked before anything is allocated
        model = LidarModel(stored.preset)
    state: dict[str, Tensor] = {}
    for name, value in model.state_dict().items():
        if name.endswith("num_batches_tracked"):
            if stored.can_fold or name.startswith(_LOCALIZE):
                state[name] = torch.zeros((), dtype=torch.long)
        elif name in stored.weights:
            state[name] = torch.from_numpy(stored.weights[name])
        elif stored.can_fold:
            state[name] = torch.from_numpy(weights_of(arrays, name, tuple(value.shape)))
    model.load_state_dict(state, strict=False, assign=True)
    return model.eval()


def quantized(bundle: Bundle) -> Bundle:
    """The bundle as it will be after a round trip through its bytes; fit coders and thresholds on this one."""
    return Bundle.from_bytes(bundle.to_bytes())


def require_fold(bundle: Bundle) -> None:
    """A ConfigError where a bundle came out of a .fold file, which carries the localizing half alone."""
    if not bundle.can_fold:
        cure = "give the model file it was folded with"
        raise ConfigError(f"the model {bundle.name} can localize but not fold", cure)
