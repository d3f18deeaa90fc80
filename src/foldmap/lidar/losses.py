"""The paper's objective, eq. 7, term by term.

As printed, the three terms of eq. 7 are log-likelihoods and negative entropies; what is minimised is the cross-entropy
of the match, the entropy of the batch-mean code and each pixel's own entropy.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

_LOG2E = 1.4426950408889634
_TINY = 1e-9


def matching_loss(scores_BTHW: Tensor, target_BTHW: Tensor) -> Tensor:
    """l_LOC: cross-entropy in nats between the softmax over all poses and the target distribution over poses."""
    log_probability = functional.log_softmax(scores_BTHW.flatten(1), dim=1)
    return -(target_BTHW.flatten(1) * log_probability).sum(dim=1).mean()


def pose_target(scores_BTHW: Tensor, heading_index_B: Tensor, shift_px_B2: Tensor) -> Tensor:
    """One-hot truth, spread bilinearly over the four pixels around a sub-pixel shift (row, col) from the centre."""
    batch, _, height, width = scores_BTHW.shape
    target = torch.zeros_like(scores_BTHW)
    row, col = shift_px_B2[:, 0] + (height - 1) / 2, shift_px_B2[:, 1] + (width - 1) / 2
    row0, col0 = row.floor().long(), col.floor().long()
    down, right = row - row0, col - col0
    rows = torch.arange(batch)
    for dr, wr in ((0, 1 - down), (1, down)):
        for dc, wc in ((0, 1 - right), (1, right)):
            at = (rows, heading_index_B, (row0 + dr).clamp(0, height - 1), (col0 + dc).clamp(0, width - 1))
            target[at] += wr * wc
    return target


def code_length_loss(probability_BGKHW: Tensor, weight_BHW: Tensor) -> Tensor:
    """l_CODELEN: entropy in bits a cell of the batch-mean code, of the grouped softmax p, summed over groups.

    Cells weigh 1, or 0 where they hold no observed ground. The soft p has no "none" symbol; the stored code has (no
    channel reached 0.5), which is why the rate that is reported of a trained model is measured on its payloads.
    """
    weight = weight_BHW[:, None, None]
    mean = (probability_BGKHW * weight).sum(dim=(0, 3, 4)) / weight.sum().clamp_min(1)
    return -(mean * (mean + _TINY).log()).sum() * _LOG2E


def hard_binary_loss(probability_BGKHW: Tensor, weight_BHW: Tensor) -> Tensor:
    """l_HARDBIN: mean over cells of each pixel's own entropy in bits, summed over groups."""
    entropy_BHW = -(probability_BGKHW * (probability_BGKHW + _TINY).log()).sum(dim=(1, 2)) * _LOG2E
    return (entropy_BHW * weight_BHW).sum() / weight_BHW.sum().clamp_min(1)


def reconstruction_loss(decoded_BCHW: Tensor, embedding_BCHW: Tensor, observed_B1HW: Tensor) -> Tensor:
    """Mean squared error of the decoded embedding over observed pixels, the objective of "Ours (recon)"."""
    squared = (decoded_BCHW - embedding_BCHW.detach()).square() * observed_B1HW
    return squared.sum() / (observed_B1HW.sum() * embedding_BCHW.shape[1]).clamp_min(1)


def match_accuracy(scores_BTHW: Tensor, target_BTHW: Tensor) -> tuple[float, float]:
    """Shares of top-1 px and top-9 px: best score in the true pixel, or in the 3x3 around it (paper section 4)."""
    width = scores_BTHW.shape[-1]
    best = scores_BTHW.amax(dim=1).flatten(1).argmax(dim=1)
    true = target_BTHW.amax(dim=1).flatten(1).argmax(dim=1)
    away = torch.maximum((best // width - true // width).abs(), (best % width - true % width).abs())
    return float((away == 0).float().mean()), float((away <= 1).float().mean())


class RateControl:
    """Moves lambda_1 so that the code entropy settles at the rate asked for (dual ascent on its logarithm).

    Where it does not ``follow``, lambda_1 stays as it is given, as the paper's does.
    """

    def __init__(self, target_bit_m2: float, weight: float = 3e-4, *, follow: bool = True) -> None:
        self._follow = follow
        self.target, self.log_weight = target_bit_m2, math.log(weight)
        self.smooth: float | None = None

    @property
    def weight(self) -> float:
        """lambda_1, per bit/m2."""
        return math.exp(self.log_weight)

    def update(self, rate_bit_m2: float) -> None:
        """Take one step towards the target."""
        if not self._follow:
            return
        self.smooth = rate_bit_m2 if self.smooth is None else 0.9 * self.smooth + 0.1 * rate_bit_m2
        error = math.log(max(self.smooth, 1e-3) / self.target)
        self.log_weight = min(max(self.log_weight + 0.01 * max(-1.0, min(1.0, error)), math.log(1e-5)), math.log(3.0))
