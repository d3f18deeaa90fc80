"""Matching against SciPy, against its plain twin, and against known poses."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.fft import next_fast_len
from scipy.ndimage import affine_transform, gaussian_filter
from scipy.signal import correlate as scipy_correlate

from foldmap.errors import ConfigError
from foldmap.lidar.match.correlate import correlate, fft_shape, partial_irfft2
from foldmap.lidar.match.exhaustive import coarse_headings_rad, match_fft
from foldmap.lidar.match.rotate import rotate_embedding, rotate_embedding_fast

HEADINGS = np.deg2rad([-4.0, 0.0, 2.5])


def _field(seed: int, shape: tuple[int, ...], sigma_px: float = 2.0) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal(shape)
    smooth = gaussian_filter(noise, (0,) * (len(shape) - 2) + (sigma_px, sigma_px))
    return (smooth / smooth.std()).astype(np.float32)


def _scipy_turned(image: np.ndarray, heading: float, shape: tuple[int, int]) -> np.ndarray:
    """Turn counter-clockwise on a north-up raster: output (row, col) reads the source at R(-heading) of its offset."""
    cos, sin = math.cos(heading), math.sin(heading)
    # Offsets (row, col) = (-y, x): R(-heading) on (x, y) written for (row, col).
    matrix = np.array([[cos, sin], [-sin, cos]])
    centre_in, centre_out = (np.array(image.shape) - 1) / 2, (np.array(shape) - 1) / 2
    return affine_transform(
        image.astype(np.float64), matrix, centre_in - matrix @ centre_out, shape, order=1, mode="grid-constant"
    )


@pytest.mark.parametrize("rotate", [rotate_embedding, rotate_embedding_fast])
@pytest.mark.parametrize("shape", [(40, 57), (46, 63)])
def test_rotation_agrees_with_scipy(rotate, shape: tuple[int, int]) -> None:
    image = _field(1, (2, 40, 57))
    headings = np.deg2rad([0.0, 7.0, -33.0, 90.0, 180.0])
    turned = rotate(torch.from_numpy(image)[None], headings, shape)[0].numpy()
    for t, heading in enumerate(headings):
        for c in range(2):
            np.testing.assert_allclose(turned[t, c], _scipy_turned(image[c], heading, shape), atol=2e-4)


def test_quarter_turn_moves_east_to_north() -> None:
    image = torch.zeros(1, 1, 9, 9)
    image[0, 0, 4, 7] = 1.0
    turned = rotate_embedding(image, [math.pi / 2], (9, 9))[0, 0, 0]
    assert divmod(int(turned.argmax()), 9) == (1, 4)


def plainly(maps, observations, headings, radius: int) -> torch.Tensor:
    """What is computed (eq. 5), pair by pair: one plain correlation per heading."""
    canvas = (maps.shape[2] - 2 * radius, maps.shape[3] - 2 * radius)
    turned = rotate_embedding(observations, headings, canvas)
    return torch.stack([torch.nn.functional.conv2d(m[None], t)[0] for m, t in zip(maps, turned, strict=True)])


def matched(maps, observations, headings, radius: int) -> torch.Tensor:
    return torch.stack([match_fft(m, o, headings, radius) for m, o in zip(maps, observations, strict=True)])


@pytest.mark.parametrize("implementation", [plainly, matched])
@pytest.mark.parametrize(("radius", "margin", "channels"), [(0, 3, 1), (1, 0, 1), (6, 4, 3), (20, 2, 1)])
def test_implementations_agree_with_scipy(implementation, radius: int, margin: int, channels: int) -> None:
    observation = _field(2, (channels, 41, 60))
    crop = _field(3, (channels, 41 + 2 * (radius + margin), 60 + 2 * (radius + margin)))
    canvas = (41 + 2 * margin, 60 + 2 * margin)
    scores = implementation(torch.from_numpy(crop)[None], torch.from_numpy(observation)[None], HEADINGS, radius)
    expected = np.zeros((len(HEADINGS), 2 * radius + 1, 2 * radius + 1))
    for t, heading in enumerate(HEADINGS):
        for c in range(channels):
            expected[t] += scipy_correlate(crop[c], _scipy_turned(observation[c], heading, canvas), mode="valid")
    assert np.abs(scores[0].numpy() - expected).max() <= 1e-4 * np.abs(expected).max()


def test_the_best_score_is_the_true_pose() -> None:
    world = _field(4, (1, 160, 180), 1.5)
    radius, margin = 8, 6
    observation = torch.from_numpy(world[:, 45:115, 40:130].copy())
    observation = rotate_embedding(observation[None], [-HEADINGS[2]], (70, 90))[0, 0]
    # The observation's centre is (80, 85); the crop's is put 3 px further north and 5 px further east of it.
    top, left = 80 - 3 - 35 - radius - margin, 85 + 5 - 45 - radius - margin
    crop = world[:, top : top + 70 + 28, left : left + 90 + 28]
    scores = match_fft(torch.from_numpy(crop.copy()), observation, HEADINGS, radius).numpy()
    best = np.unravel_index(scores.argmax(), scores.shape)
    assert best == (2, radius + 3, radius - 5)


def test_gradients_equal_those_of_the_plain_way() -> None:
    maps = torch.from_numpy(_field(5, (2, 3, 44, 50))).requires_grad_()
    observations = torch.from_numpy(_field(6, (2, 3, 32, 38))).requires_grad_()
    weights = torch.from_numpy(np.random.default_rng(7).standard_normal((2, 3, 9, 9)).astype(np.float32))
    scores = correlate(maps, rotate_embedding(observations, HEADINGS, (36, 42)), 4)
    fast = torch.autograd.grad((scores * weights).sum(), (maps, observations))
    plain = plainly(maps, observations, HEADINGS, 4)
    slow = torch.autograd.grad((plain * weights).sum(), (maps, observations))
    torch.testing.assert_close(scores, plain, rtol=1e-4, atol=1e-4 * float(plain.detach().abs().max()))
    for ours, other in zip(fast, slow, strict=True):
        torch.testing.assert_close(ours, other, rtol=1e-4, atol=1e-4 * float(other.abs().max()))


def test_partial_inverse_equals_a_whole_one() -> None:
    image = torch.from_numpy(_field(8, (2, 126, 128)))
    for rows, columns in ((126, 127), (125, 128)):
        spectrum = torch.fft.rfft2(image[..., :rows, :columns])
        part = partial_irfft2(spectrum, (rows, columns), 9)
        torch.testing.assert_close(part, image[..., :9, :9], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("crop", "observation", "radius"),
    [
        ((1, 20, 20), (2, 10, 10), 2),
        ((1, 12, 20), (1, 10, 10), 2),
        ((1, 21, 20), (1, 10, 10), 2),
        ((1, 9, 9), (1, 9, 9), -1),
    ],
)
def test_shapes_that_do_not_fit_are_refused(crop, observation, radius: int) -> None:
    with pytest.raises(ConfigError):
        match_fft(torch.zeros(crop), torch.zeros(observation), [0.0], radius)


@pytest.mark.parametrize(("range_rad", "count"), [(0.1, 10), (-0.1, 11), (0.1, 0)])
def test_heading_grids_that_make_no_sense_are_refused(range_rad: float, count: int) -> None:
    with pytest.raises(ConfigError):
        coarse_headings_rad(range_rad, count)
    assert coarse_headings_rad(0.1)[5] == 0.0


def test_fast_sizes_are_scipys() -> None:
    for size in [1, 2, 7, 121, 480, 541, 607, 1021, 1283]:
        assert fft_shape(size, size) == (next_fast_len(size, real=True),) * 2
