"""A model as bytes: safetensors, with what describes it as JSON beside; nothing that could run code.

The same model gives the same bytes. A reader trusts nothing: sizes are checked before anything is allocated.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from foldmap.errors import FoldmapError, ModelError
from foldmap.types import AnyArray

if TYPE_CHECKING:
    from torch import Tensor, nn

PRECISIONS = {"single": np.float32, "half": np.float16}
_MOST_HEADER = 1 << 20
_BAD = (FoldmapError, SafetensorError, KeyError, TypeError, ValueError, AttributeError, RuntimeError, OverflowError)

Model = TypeVar("Model")
Network = TypeVar("Network", bound="nn.Module")


def model_to_bytes(arrays: Mapping[str, AnyArray], info: Mapping[str, Any]) -> bytes:
    """Arrays by name, and what describes them."""
    rows = {name: np.require(array, requirements="C") for name, array in arrays.items()}
    return bytes(save(rows, metadata={"info": json.dumps(info, sort_keys=True)}))


def model_from_bytes(
    payload: bytes,
    build: Callable[[dict[str, Any], dict[str, AnyArray]], Model],
    version: int,
    *,
    most_bytes: int,
    cure: str,
) -> Model:
    """Rebuild what `model_to_bytes` wrote: `build` makes the model of description and arrays.

    The description must name `version` as its ``format``; `cure` is of errors.

    Raises:
        ModelError: the bytes are no such model of this version.
    """
    if len(payload) > most_bytes:
        raise ModelError(f"a model of {len(payload)} bytes is too large", cure)
    info = read_info(payload, cure)
    if info.get("format") != version:
        said = f"the model is of format {info.get('format')!r}, this version reads {version}"
        raise ModelError(said, "update foldmap, or train the model again")
    try:
        return build(info, load(payload))
    except ModelError:
        raise
    except _BAD as error:
        raise ModelError(f"the model cannot be read: {error}", cure) from error


def read_info(payload: bytes, cure: str) -> dict[str, Any]:
    """What describes the arrays; bytes without such a header are a ModelError."""
    size = int.from_bytes(payload[:8], "little")
    if len(payload) < 8 or size > min(len(payload) - 8, _MOST_HEADER):
        raise ModelError("the model is cut off or damaged: it is shorter than its header", cure)
    try:
        info = json.loads(json.loads(payload[8 : 8 + size])["__metadata__"]["info"])
        if not isinstance(info, dict):
            raise TypeError("no object")
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ModelError("the model's header cannot be read", cure) from error
    return info


def read_model_file(path: Path, parse: Callable[[bytes], Model], most_bytes: int, verb: str) -> Model:
    """Read a model from a file of its own; `verb` writes such models, for the ModelErrors: ``train lidar``."""
    try:
        if path.stat().st_size > most_bytes:
            raise ModelError(f"{path} is too large to be a model", f"give a model written by foldmap {verb}")
        payload = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}", "check the path of the model") from error
    try:
        return parse(payload)
    except ModelError as error:
        raise ModelError(f"{path}: {error.message}", error.cure) from error


def stored_state(network: nn.Module) -> dict[str, Tensor]:
    """Weights by name, in order; the counters of batch norms steer their training alone and are left out."""
    return {name: value for name, value in sorted(network.state_dict().items()) if not name.endswith("batches_tracked")}


def pack_network(network: nn.Module, precision: str = "half") -> dict[str, AnyArray]:
    """All weights in one of `PRECISIONS`.

    Raises:
        ModelError: unknown precision, or weights that are not finite in it.
    """
    if precision not in PRECISIONS:
        raise ModelError(f"a model is not stored in {precision!r}", f"choose one of {', '.join(PRECISIONS)}")
    packed: dict[str, AnyArray] = {}
    with np.errstate(over="ignore"):  # what overflows is refused
        for name, value in stored_state(network).items():
            packed[name] = value.detach().float().cpu().numpy().astype(PRECISIONS[precision])
            if not np.isfinite(packed[name]).all():
                raise ModelError(f"{name} is not finite in {precision} precision", "train with a smaller learning rate")
    return packed


def unpack_network(make: Callable[[], Network], arrays: Mapping[str, AnyArray], precision: str, cure: str) -> Network:
    """A network in evaluation mode with the weights that `pack_network` gave; `make` makes it with any weights.

    Raises:
        ModelError: other arrays, or values that are not finite.
    """
    import torch

    with torch.device("meta"):  # sizes are compared before anything is allocated
        wanted = {name: tuple(value.shape) for name, value in stored_state(make()).items()}
    if arrays.keys() != wanted.keys():
        raise ModelError(f"the model has {min(arrays.keys() ^ wanted.keys())!r} besides, or lacks it", cure)
    for name, size in wanted.items():
        array = arrays[name]
        if array.dtype != PRECISIONS[precision] or array.shape != size or not np.isfinite(array).all():
            raise ModelError(f"{name} is {array.dtype} {array.shape}, not finite {precision} {size}", cure)
    network = make()
    state = {name: torch.from_numpy(array.astype(np.float32)) for name, array in arrays.items()}
    network.load_state_dict(state, strict=False)
    return network.eval()
