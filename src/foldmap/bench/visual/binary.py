"""A binary autoencoder of descriptors, as Scene Squeezer (Yang et al., CVPR 2022) has one: a baseline, in no file."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from foldmap.errors import MapFormatError
from foldmap.types import FloatArray

_HIDDEN = 256
_BATCH = 1024
_RATE = 2e-3


class BinaryCodec:
    """Some bytes of bits a descriptor, and a linear decoder in half precision that comes with the map."""

    name = "binary"
    span = None

    def __init__(self, encoder: nn.Module, weight_DB: FloatArray, bias_D: FloatArray) -> None:
        self._encoder = encoder
        self._weight_DB, self._bias_D = weight_DB.astype(np.float16), bias_D.astype(np.float16)

    @staticmethod
    def fit(means_PD: FloatArray, size: int, *, steps: int, seed: int = 0) -> BinaryCodec:
        """Train on unit rows float32 (P, D), for `size` bytes a descriptor.

        Signs pass their gradient on where they are undecided (Bengio et al. 2013); the loss is one less the cosine.
        """
        torch.manual_seed(seed)
        dimension, bits = means_PD.shape[1], 8 * size
        encoder = nn.Sequential(nn.Linear(dimension, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, bits))
        decoder = nn.Linear(bits, dimension)
        optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=_RATE)
        means = torch.from_numpy(np.ascontiguousarray(means_PD, np.float32))
        rng = np.random.default_rng([seed, 41])
        for step in range(steps):
            rows = means[torch.from_numpy(rng.integers(0, len(means), min(_BATCH, len(means))))]
            for group in optimizer.param_groups:
                group["lr"] = _RATE * (1 - step / steps)
            loss = 1 - nn.functional.cosine_similarity(decoder(_signs(encoder(rows))), rows).mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        return BinaryCodec(encoder.eval(), decoder.weight.detach().numpy(), decoder.bias.detach().numpy())

    @property
    def dimension(self) -> int:
        """Length of a descriptor."""
        return int(self._weight_DB.shape[0])

    def encode(self, descriptors: FloatArray) -> bytes:
        """Code float32 (N, D) unit rows."""
        with torch.no_grad():
            code = self._encoder(torch.from_numpy(np.ascontiguousarray(descriptors, np.float32))).numpy()
        return np.packbits(code > 0, axis=1).tobytes()

    def decode(self, payload: bytes, count: int) -> FloatArray:
        """Decode float32 (count, D) unit rows."""
        size = self._weight_DB.shape[1] // 8
        if len(payload) != count * size:
            raise MapFormatError(f"{len(payload)} bytes for {count} codes of {size}", "give whole codes")
        bits = np.unpackbits(np.frombuffer(payload, np.uint8).reshape(count, size), axis=1)
        rows = (2.0 * bits - 1) @ self._weight_DB.astype(np.float32).T + self._bias_D.astype(np.float32)
        unit: FloatArray = (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)).astype(np.float32)
        return unit

    looks = decode  # it has no span

    def parameters(self) -> dict[str, Any]:
        """None."""
        return {}

    def model(self) -> bytes:
        """The decoder; the encoder stays at home."""
        return self._weight_DB.tobytes() + self._bias_D.tobytes()


def _signs(code_BK: Tensor) -> Tensor:
    """-1 or 1, with the gradient of the code clipped to that."""
    soft = code_BK.clamp(-1, 1)
    return soft + (torch.where(code_BK > 0, 1.0, -1.0) - soft).detach()
