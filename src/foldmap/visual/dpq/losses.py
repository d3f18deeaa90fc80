"""Objectives of the D-PQED layer: what makes decoded descriptors match (paper section 4.2 and supplement B.1).

Everywhere `raw_ND` are descriptors as a camera sees them, `decoded_ND` what the folded map gives back for them, row by
row, and `point_N` the 3D point each row belongs to. In the paper `raw_ND` is the layer's own input; given other
observations of the same points instead, the very same terms ask that the map matches what queries bring. Rows of one
3D point are related and never count as each other's negatives.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from foldmap.errors import ConfigError

FAR = 1e4  # stands for a negative that a batch does not have: its triplet is satisfied


def hardest_negative(decoded_ND: Tensor, others_ND: Tensor, point_N: Tensor) -> Tensor:
    """Distance of each decoded row to the nearest row of another point, (N,); `FAR` where the batch has none.

    Eq. 5 with raw descriptors as the others, eq. 6 with decoded ones.
    """
    related_NN = point_N[:, None] == point_N[None]
    with torch.no_grad():  # only the chosen rows have gradients: the search needs none, which is half of a step's time
        square_NN = others_ND.square().sum(1)[None] - 2 * decoded_ND @ others_ND.T
        nearest_N = square_NN.masked_fill(related_NN, torch.inf).argmin(1)
    away_N = (decoded_ND - others_ND[nearest_N]).square().sum(1).clamp_min(1e-8).sqrt()
    return away_N.masked_fill(related_NN.all(1), FAR)


def triplet_loss(
    raw_ND: Tensor, decoded_ND: Tensor, point_N: Tensor, margin: float = 0.9, decoded_weight: float = 1.0
) -> Tensor:
    """L = L_raw + lambda_1 L_d, both with in-batch hard negatives (eq. 3 to 7); m is the margin."""
    positive = (raw_ND - decoded_ND).square().sum(1).clamp_min(1e-8).sqrt()  # pos(x) = ||x - d(e(x))||
    raw = functional.relu(margin + positive - hardest_negative(decoded_ND, raw_ND, point_N)).mean()
    if decoded_weight == 0:
        return raw
    decoded = functional.relu(margin + positive - hardest_negative(decoded_ND, decoded_ND, point_N)).mean()
    return raw + decoded_weight * decoded


def reconstruction_loss(raw_ND: Tensor, decoded_ND: Tensor) -> Tensor:
    """Mean squared distance ||x - d(e(x))||^2, the L2 loss of the supplement's table 1."""
    return (raw_ND - decoded_ND).square().sum(1).mean()


def n_pair_loss(raw_ND: Tensor, decoded_ND: Tensor, point_N: Tensor, pairs: int = 10) -> Tensor:
    """N-pair loss (supplement eq. 1): each raw row against its decoded row and its N - 1 hardest decoded negatives.

    N = `pairs` is at least 2, else a ConfigError; fewer negatives are used when the batch has fewer.
    """
    if pairs < 2:
        raise ConfigError(f"an N-pair loss with N = {pairs} has no negatives", "take N of at least 2")
    likeness = raw_ND @ decoded_ND.T
    positive = likeness.diagonal()
    related = point_N[:, None] == point_N[None]
    negatives = likeness.masked_fill(related, -FAR).topk(min(pairs - 1, len(raw_ND)), dim=1).values
    gap = torch.cat([torch.zeros_like(positive)[:, None], negatives - positive[:, None]], dim=1)
    return gap.logsumexp(1).mean()
