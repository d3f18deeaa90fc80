"""Losses of the D-PQED layer against twins that loop over rows as the paper writes them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from foldmap.errors import ConfigError
from foldmap.visual.dpq.losses import (
    FAR,
    hardest_negative,
    n_pair_loss,
    reconstruction_loss,
    triplet_loss,
)


def rows(seed: int, count: int = 12, dimension: int = 6) -> Tensor:
    values = np.random.default_rng(seed).normal(size=(count, dimension))
    return torch.from_numpy(values / np.linalg.norm(values, axis=1, keepdims=True))


POINTS = torch.tensor([0, 1, 2, 2, 3, 4, 4, 4, 5, 6, 7, 8])


def away(a: Tensor, b: Tensor) -> float:
    return math.sqrt(sum((float(x) - float(y)) ** 2 for x, y in zip(a, b, strict=True)))


def plain_triplet(raw: Tensor, decoded: Tensor, margin: float, weight: float) -> float:
    total = 0.0
    for i in range(len(raw)):
        positive = away(raw[i], decoded[i])
        others = [j for j in range(len(raw)) if POINTS[j] != POINTS[i]]
        negative_raw = min(away(raw[j], decoded[i]) for j in others)
        negative_decoded = min(away(decoded[i], decoded[j]) for j in others)
        total += max(margin + positive - negative_raw, 0) + weight * max(margin + positive - negative_decoded, 0)
    return total / len(raw)


@pytest.mark.parametrize(("margin", "weight"), [(0.9, 1.0), (0.1, 0.5), (0.3, 0.0)])
def test_triplet_is_the_papers(margin: float, weight: float) -> None:
    raw, decoded = rows(0), rows(1)
    expected = plain_triplet(raw, decoded, margin, weight)
    assert float(triplet_loss(raw, decoded, POINTS, margin, weight)) == pytest.approx(expected, rel=1e-6)


def test_rows_of_one_point_are_no_negatives() -> None:
    raw = rows(0, 4)
    raw[1] = raw[0]
    points = torch.tensor([0, 0, 1, 2])
    hardest = hardest_negative(raw, raw, points)
    assert float(hardest[0]) == pytest.approx(min(away(raw[0], raw[2]), away(raw[0], raw[3])), rel=1e-6)
    assert float(hardest_negative(raw, raw, torch.arange(4))[0]) < 1e-3
    assert float(hardest_negative(raw, raw, torch.zeros(4)).min()) == FAR
    assert float(triplet_loss(raw, raw, torch.zeros(4))) == 0


def test_reconstruction_is_the_mean_squared_distance() -> None:
    raw, decoded = rows(0), rows(1)
    expected = np.mean([away(a, b) ** 2 for a, b in zip(raw, decoded, strict=True)])
    assert float(reconstruction_loss(raw, decoded)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("pairs", [2, 4, 10, 20])
def test_n_pair_is_the_supplements(pairs: int) -> None:
    raw, decoded = rows(0), rows(1)
    total = 0.0
    for i in range(len(raw)):
        likeness = [float(raw[i] @ decoded[j]) for j in range(len(raw)) if POINTS[j] != POINTS[i]]
        hardest = sorted(likeness, reverse=True)[: pairs - 1]
        total += math.log(1 + sum(math.exp(one - float(raw[i] @ decoded[i])) for one in hardest))
    assert float(n_pair_loss(raw, decoded, POINTS, pairs)) == pytest.approx(total / len(raw), rel=1e-6)


def test_n_pair_needs_a_negative() -> None:
    with pytest.raises(ConfigError, match="N = 1"):
        n_pair_loss(rows(0), rows(1), POINTS, 1)


def test_gradients_stay_finite_where_rows_coincide() -> None:
    raw = rows(0)
    decoded = raw.clone().requires_grad_()
    total = triplet_loss(raw, decoded, POINTS) + n_pair_loss(raw, decoded, POINTS)
    total.backward()  # type: ignore[no-untyped-call]
    assert decoded.grad is not None
    assert bool(decoded.grad.isfinite().all())
