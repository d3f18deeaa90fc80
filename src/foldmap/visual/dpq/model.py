"""The D-PQED layer: descriptors to M bytes and back, differentiable (paper section 4.1, Algorithm 1).

x (D) --> M parts --nearest centroid, straight-through--> (D) --2-layer MLP--> decoded (D)
`------- encoder: free, only its codes are kept -----'   `-- decoder: kept in the file --'

Additive layers have codebooks of full-length centroids, found by beam search and summed, in place of parts.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from foldmap.coding.additive import AdditiveQuantizer
from foldmap.coding.pq import ProductQuantizer
from foldmap.errors import ModelError
from foldmap.visual.dpq.assignment import beam_codes, best_decoded, straight_through, summed
from foldmap.visual.dpq.serialize import LayerShape, StoredLayer

TAU = 0.05
"""Temperature of the soft assignment: softmax(-d / tau). Algorithm 1 prints softmax(-d); with unit descriptors, whose
distances stay below 2, that would be almost flat and every gradient would see the mean of all centroids."""


class DpqedLayer(nn.Module):
    """Encoder with learned codebooks and decoder with learned dequantization.

    Args:
        shape: sizes and variant.
        tau: temperature of the soft assignment; only gradients depend on it.
        beam: width of the search of additive codes; the stored layer searches wider.
    """

    def __init__(self, shape: LayerShape, tau: float = TAU, beam: int = 4) -> None:
        super().__init__()
        self.shape, self.tau, self.beam = shape, tau, beam
        length = shape.dimension if shape.additive else shape.dimension // shape.parts
        self.codebooks = nn.Parameter(torch.randn(shape.parts, shape.centroids, length) * 0.1)
        self.decoder = DescriptorDecoder(shape)

    def start_from(self, quantizer: ProductQuantizer | AdditiveQuantizer) -> None:
        """Take over fitted codebooks, "initialized using standard PQ".

        Raises:
            ModelError: other sizes, or a rotation, which the layer does not hold.
        """
        if tuple(quantizer.codebooks.shape) != tuple(self.codebooks.shape):
            raise ModelError(f"codebooks {quantizer.codebooks.shape} do not fit a layer {tuple(self.codebooks.shape)}")
        if isinstance(quantizer, ProductQuantizer) and quantizer.rotation is not None:
            raise ModelError("a layer cannot hold a rotation", "fit without rotation")
        with torch.no_grad():
            self.codebooks.copy_(torch.from_numpy(quantizer.codebooks))

    def quantize(self, x_BD: Tensor) -> Tensor:
        """Algorithm 1: hard-quantized in the forward pass, the soft mixture's gradient in the backward pass, (B, D).

        The printed algorithm ends by concatenating the soft vectors x-hat; then nothing would be quantized in
        training and the straight-through line 10 would be unused. What is meant, and returned here, is line 10's.
        """
        if self.shape.additive:
            proposed = beam_codes(x_BD, self.codebooks, self.beam)
            codes_BM = best_decoded(x_BD, proposed, self.codebooks, self.decoder)
            return summed(x_BD, self.codebooks, self.tau, codes_BM)
        parts_MBd = x_BD.reshape(len(x_BD), self.shape.parts, -1).transpose(0, 1)
        through_MBd = straight_through(parts_MBd, self.codebooks, self.tau)
        return through_MBd.transpose(0, 1).reshape(len(x_BD), -1)

    def forward(self, x_BD: Tensor) -> Tensor:
        """d(e(x)), (B, D) -> (B, D)."""
        decoded: Tensor = self.decoder(self.quantize(x_BD))
        return decoded

    def stored(self) -> StoredLayer:
        """What a localizer needs of this layer: codebooks and decoder, adapters merged in."""
        tensors = {"codebooks": self.codebooks, **self.decoder.tensors()}
        return StoredLayer(self.shape, {name: one.detach().numpy() for name, one in tensors.items()})


class DescriptorDecoder(nn.Module):
    """Two layers with a ReLU between, "scene-specific dequantization"; variants as `LayerShape` says."""

    def __init__(self, shape: LayerShape) -> None:
        super().__init__()
        self.shape = shape
        self.first: nn.Linear | None = None
        self.second: nn.Linear | None = None
        self.shortcut: nn.Linear | None = None
        self.adapters = nn.ModuleDict()
        if shape.hidden:
            self.first = nn.Linear(shape.dimension, shape.hidden)
            self.second = nn.Linear(shape.hidden, shape.dimension)
            if shape.shortcut:  # begins as plain PQ
                nn.init.zeros_(self.second.weight)
                nn.init.zeros_(self.second.bias)
        if shape.shortcut == "linear":
            self.shortcut = nn.Linear(shape.dimension, shape.dimension, bias=False)
            nn.init.eye_(self.shortcut.weight)

    def adapt(self, rank: int) -> list[nn.Parameter]:
        """Freeze the layers and put W' = W + B A beside each (paper section 3); returns what is left to train.

        Raises:
            ModelError: there is no decoder.
        """
        if self.first is None or self.second is None:
            raise ModelError("a layer without decoder has nothing to adapt", "take a layer with hidden units")
        self.requires_grad_(False)
        self.adapters.update({"first": Adapter(self.first, rank), "second": Adapter(self.second, rank)})
        return list(self.adapters.parameters())

    def tensors(self) -> dict[str, Tensor]:
        """Weights by name, adapters merged."""
        named: dict[str, Tensor] = {}
        for name, layer in (("first", self.first), ("second", self.second)):
            if layer is not None:
                named |= {f"{name}.weight": self._weight(name, layer), f"{name}.bias": layer.bias}
        return named if self.shortcut is None else {**named, "shortcut.weight": self.shortcut.weight}

    def forward(self, x_BD: Tensor) -> Tensor:
        """(B, D) -> (B, D)."""
        out: Tensor = x_BD if self.shortcut is None else self.shortcut(x_BD)
        if self.first is not None and self.second is not None:
            hidden = functional.relu(functional.linear(x_BD, self._weight("first", self.first), self.first.bias))
            bent = functional.linear(hidden, self._weight("second", self.second), self.second.bias)
            out = out + bent if self.shape.shortcut else bent
        return functional.normalize(out, dim=1) if self.shape.unit else out

    def _weight(self, name: str, layer: nn.Linear) -> Tensor:
        if name not in self.adapters:
            return layer.weight
        changed: Tensor = layer.weight + self.adapters[name]()
        return changed


class Adapter(nn.Module):
    """LoRA beside one linear layer: the low-rank change B A of its weight, zero to begin with."""

    def __init__(self, layer: nn.Linear, rank: int) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.randn(rank, layer.in_features) / layer.in_features**0.5)
        self.up = nn.Parameter(torch.zeros(layer.out_features, rank))

    def forward(self) -> Tensor:
        """(out, in)."""
        return self.up @ self.down


def adapter_rank(shape: LayerShape, parameters: int = 2048) -> int:
    """The largest rank of LoRA whose two adapters stay within a number of parameters, at least 1.

    2048 is the paper's (8 KB of float32; rank 2 with its D = hidden = 256).
    """
    return max(1, parameters // (2 * (shape.dimension + shape.hidden)))
