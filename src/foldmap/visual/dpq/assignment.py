"""Which centroids stand for a vector: hard in the forward pass, soft in the gradients (paper Algorithm 1).

Product codebooks (M, K, D / M) choose for each part by itself. Additive codebooks (M, K, D) choose together: a beam
search proposes codes, the decoder picks; then every codebook's soft choice is among its own centroids with all others'
choices held, which is Algorithm 1 of what the others leave.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional


def distances(a_ND: Tensor, b_KD: Tensor) -> Tensor:
    """Euclidean distances (..., N, K), also of stacks (..., N, D) and (..., K, D), with gradients finite at zero."""
    square = a_ND.square().sum(-1)[..., :, None] + b_KD.square().sum(-1)[..., None, :]
    return (square - 2 * a_ND @ b_KD.mT).clamp_min(1e-8).sqrt()


def named(codebooks_MKd: Tensor, codes_MB: Tensor) -> Tensor:
    """The centroids that codes name, (M, B, d)."""
    return codebooks_MKd.gather(1, codes_MB[..., None].expand(-1, -1, codebooks_MKd.shape[2]))


def straight_through(rows_MBd: Tensor, codebooks_MKd: Tensor, tau: float, codes_MB: Tensor | None = None) -> Tensor:
    """Centroids of the rows, (M, B, d): values of the hard choice, gradients of softmax(-distance / tau) mixtures.

    The hard choice is the nearest centroid where `codes_MB` is None.
    """
    away_MBK = distances(rows_MBd, codebooks_MKd)
    soft_MBd = functional.softmax(-away_MBK / tau, dim=2) @ codebooks_MKd
    hard_MBd = named(codebooks_MKd, away_MBK.argmin(dim=2) if codes_MB is None else codes_MB)
    return soft_MBd + (hard_MBd - soft_MBd).detach()


def summed(x_BD: Tensor, codebooks_MKD: Tensor, tau: float, codes_BM: Tensor) -> Tensor:
    """The sum that additive codes name, (B, D), with soft gradients of each codebook given the others' choices."""
    hard_MBD = named(codebooks_MKD, codes_BM.T).detach()
    left_MBD = x_BD - hard_MBD.sum(0) + hard_MBD
    return straight_through(left_MBD, codebooks_MKD, tau, codes_BM.T).sum(0)


@torch.no_grad()
def beam_codes(x_BD: Tensor, codebooks_MKD: Tensor, beam: int) -> Tensor:
    """Additive codes that a beam search proposes, int64 (B, at most beam, M), best sum first.

    The search of `foldmap.coding.additive`, on tensors.
    """
    count, centroids = len(x_BD), codebooks_MKD.shape[1]
    codes = torch.zeros(count, 1, 0, dtype=torch.long)
    left, error = x_BD[:, None], torch.zeros(count, 1)
    for book in codebooks_MKD:
        grown = error[..., None] + book.square().sum(1) - 2 * left @ book.T
        flat = grown.reshape(count, -1)
        error, best = flat.topk(min(beam, flat.shape[1]), dim=1, largest=False)
        parent, code = best // centroids, best % centroids
        left = left.gather(1, parent[..., None].expand(-1, -1, left.shape[2])) - book[code]
        codes = torch.cat([codes.gather(1, parent[..., None].expand(-1, -1, codes.shape[2])), code[..., None]], dim=2)
    return codes


@torch.no_grad()
def best_decoded(x_BD: Tensor, codes_BCM: Tensor, codebooks_MKD: Tensor, decode: Callable[[Tensor], Tensor]) -> Tensor:
    """Of candidate codes, those whose decoded sum comes closest, int64 (B, M)."""
    count, candidates, parts = codes_BCM.shape
    sums = sum((codebooks_MKD[m][codes_BCM[..., m]] for m in range(parts)), start=torch.zeros(()))
    decoded = decode(sums.reshape(count * candidates, -1)).reshape(count, candidates, -1)
    chosen = (decoded - x_BD[:, None]).square().sum(2).argmin(1)
    return codes_BCM[torch.arange(count), chosen]
