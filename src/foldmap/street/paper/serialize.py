"""A trained paper network as bytes: safetensors, with its shape as JSON beside; half precision where asked for.

Sizes in bytes:

    preset    parameters        single          half
    paper      8,488,449    34,157,332    17,096,298
    small      1,634,473     6,553,940     3,282,602
    tiny         513,533     2,067,372     1,037,922
"""

from __future__ import annotations

import json
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from foldmap.errors import FoldmapError, ModelError
from foldmap.street.paper.encoders.network import PaperNetwork
from foldmap.street.paper.encoders.shape import PaperShape

FORMAT = 1
MAX_BYTES = 256 << 20
PRECISIONS = {"single": torch.float32, "half": torch.float16}
_COUNTER = "num_batches_tracked"  # of batch norms: steers their training alone
_CURE = "use a model written by foldmap"


def to_bytes(network: PaperNetwork, precision: str = "half") -> bytes:
    """Serialize; the same weights give the same bytes.

    Args:
        network: trained.
        precision: "half" or "single".

    Raises:
        ModelError: unknown precision, or weights that are not finite or beyond it.
    """
    if precision not in PRECISIONS:
        raise ModelError(f"a model is not stored in {precision!r}", f"choose one of {', '.join(PRECISIONS)}")
    packed = {}
    for name, value in sorted(_stored(network).items()):
        packed[name] = value.detach().to("cpu", PRECISIONS[precision], copy=True).contiguous()
        if not bool(packed[name].isfinite().all()):
            raise ModelError(f"{name} is not finite in {precision} precision", "train with a smaller learning rate")
    info = {"format": FORMAT, "kind": "street-paper", "precision": precision, "shape": network.shape.to_dict()}
    return bytes(save(packed, metadata={"info": json.dumps(info, sort_keys=True)}))


def from_bytes(payload: bytes) -> PaperNetwork:
    """Rebuild a network in evaluation mode, trusting nothing.

    Raises:
        ModelError: the bytes are no paper network of this version.
    """
    if len(payload) > MAX_BYTES:
        raise ModelError(f"a model of {len(payload)} bytes is too large", _CURE)
    try:
        shape, precision = _read_info(payload)
        with torch.device("meta"):  # sizes are compared before anything is allocated
            wanted = {name: tuple(value.shape) for name, value in _stored(PaperNetwork(shape)).items()}
        tensors = load(payload)
        if tensors.keys() != wanted.keys():
            odd = min(tensors.keys() ^ wanted.keys())
            raise ModelError(f"the model has {odd!r} besides, or lacks it", _CURE)
        for name, size in wanted.items():
            value = tensors[name]
            if value.dtype != PRECISIONS[precision] or tuple(value.shape) != size or not bool(value.isfinite().all()):
                raise ModelError(f"{name} is {value.dtype} {tuple(value.shape)}, not finite {precision} {size}", _CURE)
        network = PaperNetwork(shape)
        network.load_state_dict({name: value.float() for name, value in tensors.items()}, strict=False)
        return network.eval()
    except FoldmapError:
        raise
    except (SafetensorError, KeyError, TypeError, ValueError, AttributeError, RuntimeError, OverflowError) as error:
        raise ModelError(f"the model cannot be read: {error}", _CURE) from error


def _stored(network: PaperNetwork) -> dict[str, Tensor]:
    return {name: value for name, value in network.state_dict().items() if not name.endswith(_COUNTER)}


def _read_info(payload: bytes) -> tuple[PaperShape, str]:
    if len(payload) < 8:
        raise ModelError("the model is cut off", _CURE)
    size = int.from_bytes(payload[:8], "little")
    if size > min(len(payload) - 8, 1 << 20):
        raise ModelError("the model is damaged", _CURE)
    header: Any = json.loads(payload[8 : 8 + size])
    info: Any = json.loads(header["__metadata__"]["info"])
    if not isinstance(info, dict) or set(info) != {"format", "kind", "precision", "shape"}:
        raise ModelError("the model's header has unknown or missing fields", _CURE)
    if info["kind"] != "street-paper":
        raise ModelError(f"the model is a {info['kind']!r}, not a street-paper", "give the model of this layer")
    if info["format"] != FORMAT:
        raise ModelError(f"the model is of format {info['format']!r}", "use the foldmap that wrote it")
    if info["precision"] not in PRECISIONS:
        raise ModelError(f"the model is stored in {info['precision']!r}", _CURE)
    return PaperShape.from_dict(info["shape"]), str(info["precision"])
