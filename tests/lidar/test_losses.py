"""The objective's terms against SciPy and plain torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates
from scipy.stats import entropy
from torch.nn import functional

from foldmap.lidar.losses import (
    code_length_loss,
    hard_binary_loss,
    match_accuracy,
    matching_loss,
    pose_target,
    reconstruction_loss,
)


def _probability(seed: int = 0) -> torch.Tensor:
    return (2 * torch.randn(3, 2, 6, 4, 5, generator=torch.Generator().manual_seed(seed))).softmax(dim=2)


def _weight() -> torch.Tensor:
    return (torch.rand(3, 4, 5, generator=torch.Generator().manual_seed(9)) > 0.4).float()


def _all(probability: torch.Tensor) -> torch.Tensor:
    return torch.ones(len(probability), *probability.shape[3:])


def test_matching_is_the_cross_entropy_with_the_true_pose() -> None:
    scores = torch.randn(4, 3, 9, 9, generator=torch.Generator().manual_seed(1))
    heading = torch.tensor([0, 2, 1, 1])
    shift = torch.tensor([[0.0, 0.0], [2.0, -3.0], [-4.0, 4.0], [1.0, 1.0]])
    target = pose_target(scores, heading, shift)
    index = heading * 81 + (shift[:, 0] + 4).long() * 9 + (shift[:, 1] + 4).long()
    assert float(matching_loss(scores, target)) == pytest.approx(
        float(functional.cross_entropy(scores.flatten(1), index))
    )
    assert float(matching_loss(scores, target)) > 0


def test_the_target_is_the_transpose_of_bilinear_reading() -> None:
    rng = np.random.default_rng(2)
    shift = rng.uniform(-3.9, 3.9, (5, 2))
    field = torch.from_numpy(rng.standard_normal((5, 2, 11, 11)))
    target = pose_target(field, torch.tensor([0, 1, 0, 1, 1]), torch.from_numpy(shift))
    torch.testing.assert_close(target.sum(dim=(1, 2, 3)), torch.ones(5, dtype=torch.float64))
    read = (target * field).sum(dim=(1, 2, 3)).numpy()
    for b, t in enumerate((0, 1, 0, 1, 1)):
        expected = map_coordinates(field[b, t].numpy(), (shift[b] + 5).reshape(2, 1), order=1)[0]
        assert read[b] == pytest.approx(expected)


@pytest.mark.parametrize("weighted", [False, True])
def test_code_length_is_the_entropy_of_the_mean_code(weighted: bool) -> None:
    p = _probability()
    cells = p.permute(0, 3, 4, 1, 2).reshape(-1, 2, 6).numpy()
    if weighted:
        cells = cells[_weight().flatten().numpy() > 0]
    expected = sum(entropy(cells[:, g].mean(axis=0), base=2) for g in range(2))
    assert float(code_length_loss(p, _weight() if weighted else _all(p))) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("weighted", [False, True])
def test_hard_binary_is_the_mean_of_entropies(weighted: bool) -> None:
    p = _probability(1)
    cells = p.permute(0, 3, 4, 1, 2).reshape(-1, 2, 6).numpy()
    if weighted:
        cells = cells[_weight().flatten().numpy() > 0]
    expected = entropy(cells, base=2, axis=2).sum(axis=1).mean()
    assert float(hard_binary_loss(p, _weight() if weighted else _all(p))) == pytest.approx(expected, rel=1e-5)


def test_signs_and_extremes() -> None:
    one_hot = functional.one_hot(torch.zeros(2, 3, 4, 4, dtype=torch.long), 8).permute(0, 1, 4, 2, 3).float()
    uniform = torch.full((2, 3, 8, 4, 4), 1 / 8)
    for loss in (code_length_loss, hard_binary_loss):
        assert float(loss(one_hot, _all(one_hot))) == pytest.approx(0.0, abs=1e-5)
        assert float(loss(uniform, _all(uniform))) == pytest.approx(3 * 3.0, rel=1e-5)  # three groups of three bits
        for seed in range(5):
            mixed = (3 * torch.randn(2, 3, 8, 4, 4, generator=torch.Generator().manual_seed(seed))).softmax(2)
            assert 0 <= float(loss(mixed, _all(mixed))) <= 9
    # Entropy is concave: the mean code is never poorer than the mean of the cells' entropies.
    p = _probability()
    assert float(code_length_loss(p, _all(p))) >= float(hard_binary_loss(p, _all(p)))
    # Cells that all are sure, but of different symbols, cost code length and nothing else.
    half = one_hot.clone()
    half[:, :, :, :2] = functional.one_hot(torch.ones(2, 3, 2, 4, dtype=torch.long), 8).permute(0, 1, 4, 2, 3)
    assert float(hard_binary_loss(half, _all(half))) == pytest.approx(0.0, abs=1e-5)
    assert float(code_length_loss(half, _all(half))) == pytest.approx(3.0, rel=1e-5)


def test_nothing_observed_costs_nothing() -> None:
    p, nothing = _probability(), torch.zeros(3, 4, 5)
    assert float(code_length_loss(p, nothing)) == float(hard_binary_loss(p, nothing)) == 0.0
    assert float(reconstruction_loss(torch.ones(1, 1, 4, 4), torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4))) == 0.0


def test_reconstruction_is_the_masked_mean_square_and_leaves_the_embedding_alone() -> None:
    generator = torch.Generator().manual_seed(4)
    decoded, embedding = (torch.randn(2, 3, 6, 6, generator=generator).requires_grad_() for _ in range(2))
    observed = (torch.rand(2, 1, 6, 6, generator=generator) > 0.5).float()
    loss = reconstruction_loss(decoded, embedding, observed)
    where = observed.bool().expand(2, 3, 6, 6)
    expected = functional.mse_loss(decoded[where], embedding[where])
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert embedding.grad is None
    assert decoded.grad is not None
    assert (decoded.grad[~where] == 0).all()


def test_accuracy_on_known_cases() -> None:
    target = pose_target(torch.zeros(4, 2, 9, 9), torch.tensor([0, 0, 1, 0]), torch.zeros(4, 2))
    scores = torch.zeros(4, 2, 9, 9)
    scores[0, 1, 4, 4] = 1  # right pixel, other heading
    scores[1, 0, 5, 3] = 1  # a diagonal neighbour
    scores[2, 1, 4, 6] = 1  # two columns off
    scores[3, 0, 3, 8] = 1  # next in memory order would be (4, 0): not a neighbour
    assert match_accuracy(scores, target) == (0.25, 0.5)
