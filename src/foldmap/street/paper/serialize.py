"""A trained paper network as bytes: safetensors, with its shape as JSON beside; half precision where asked for.

Sizes in bytes:

    preset    parameters        single          half
    paper      8,488,449    34,157,332    17,096,298
    small      1,634,473     6,553,940     3,282,602
    tiny         513,533     2,067,372     1,037,922
"""

from __future__ import annotations

from typing import Any

from foldmap.errors import ModelError
from foldmap.street.paper.encoders.network import PaperNetwork
from foldmap.street.paper.encoders.shape import PaperShape
from foldmap.training.model_bytes import PRECISIONS, model_from_bytes, model_to_bytes, pack_network, unpack_network
from foldmap.types import AnyArray

FORMAT = 1
KIND = "street-paper"
MAX_BYTES = 256 << 20
_CURE = "use a model written by foldmap"


def to_bytes(network: PaperNetwork, precision: str = "half") -> bytes:
    """Serialize in "half" or "single" precision; the same weights give the same bytes.

    Raises:
        ModelError: unknown precision, or weights that are not finite or beyond it.
    """
    info = {"format": FORMAT, "kind": KIND, "precision": precision, "shape": network.shape.to_dict()}
    return model_to_bytes(pack_network(network, precision), info)


def from_bytes(payload: bytes) -> PaperNetwork:
    """Rebuild a network in evaluation mode, trusting nothing.

    Raises:
        ModelError: the bytes are no paper network of this version.
    """
    return model_from_bytes(payload, _rebuilt, FORMAT, most_bytes=MAX_BYTES, cure=_CURE)


def _rebuilt(info: dict[str, Any], arrays: dict[str, AnyArray]) -> PaperNetwork:
    if set(info) != {"format", "kind", "precision", "shape"}:
        raise ModelError("the model's header has unknown or missing fields", _CURE)
    if info["kind"] != KIND:
        raise ModelError(f"the model is a {info['kind']!r}, not a {KIND}", "give the model of this layer")
    if info["precision"] not in PRECISIONS:
        raise ModelError(f"the model is stored in {info['precision']!r}", _CURE)
    shape = PaperShape.from_dict(info["shape"])
    return unpack_network(lambda: PaperNetwork(shape), arrays, info["precision"], _CURE)
