"""Matching against SciPy, against its plain twin, and against known poses."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.fft import rfft2
from scipy.ndimage import affine_transform, gaussian_filter
from scipy.signal import correlate as scipy_correlate

from foldmap.errors import ConfigError
from foldmap.lidar.match.correlate import block_products, correlate_direct, partial_irfft2
from foldmap.lidar.match.exhaustive import coarse_headings_rad, match_fft, match_half, match_mirrored
from foldmap.lidar.match.rotate import turned_images
from foldmap.lidar.match.trainable import correlate, rotate_embedding
from foldmap.runtime.threads import use_threads

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


def _differentiably(image: np.ndarray, headings: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return rotate_embedding(torch.from_numpy(image)[None], headings, shape)[0].numpy()


@pytest.mark.parametrize("rotate", [_differentiably, turned_images])
@pytest.mark.parametrize("shape", [(40, 57), (46, 63)])
def test_rotation_agrees_with_scipy(rotate, shape: tuple[int, int]) -> None:
    image = _field(1, (2, 40, 57))
    headings = np.deg2rad([0.0, 7.0, -33.0, 90.0, 180.0])
    turned = rotate(image, headings, shape)
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
    both = zip(maps.numpy(), observations.numpy(), strict=True)
    return torch.stack([torch.from_numpy(match_fft(m, o, headings, radius)) for m, o in both])


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
    observation = turned_images(world[:, 45:115, 40:130], [-HEADINGS[2]], (70, 90))[0]
    # The observation's centre is (80, 85); the crop's is put 3 px further north and 5 px further east of it.
    top, left = 80 - 3 - 35 - radius - margin, 85 + 5 - 45 - radius - margin
    crop = world[:, top : top + 70 + 28, left : left + 90 + 28]
    scores = match_fft(crop, observation, HEADINGS, radius)
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
    image = _field(8, (126, 128))
    for rows, columns in ((126, 127), (125, 128)):
        for count in (9, 100):
            part = partial_irfft2(rfft2(image[:rows, :columns]), (rows, columns), count)
            np.testing.assert_allclose(part, image[:count, :count], rtol=1e-4, atol=1e-4)


def test_direct_sums_and_sums_of_blocks_are_those_of_a_plain_loop() -> None:
    crop, turned = _field(9, (2, 25, 31)), _field(10, (3, 2, 20, 27))
    scores, blocks = correlate_direct(crop, turned), block_products(crop[:, 1:21, 2:29], turned, 8)
    assert blocks.shape == (3, 3, 4)
    for t in range(3):
        for row, col in np.ndindex(6, 5):
            under = crop[:, row : row + 20, col : col + 27].astype(np.float64)
            assert scores[t, row, col] == pytest.approx(float((under * turned[t]).sum()), abs=1e-3)
        products = (crop[:, 1:21, 2:29].astype(np.float64) * turned[t]).sum(0)
        for row, col in np.ndindex(3, 4):
            piece = products[8 * row : 8 * row + 8, 8 * col : 8 * col + 8]
            assert blocks[t, row, col] == pytest.approx(float(piece.sum()), abs=1e-3)


@pytest.mark.parametrize("channels", [1, 2])
def test_half_the_resolution_gives_the_scores_of_the_whole_one(channels: int) -> None:
    """Of images that are smooth enough, at every shift, those between the small pixels too."""
    observation, crop = _field(13, (channels, 60, 80), 4.0), _field(14, (channels, 92, 112), 4.0)
    whole, half = (match(crop, observation, HEADINGS, 15) for match in (match_fft, match_half))
    assert np.corrcoef(whole.ravel(), half.ravel())[0, 1] > 0.999
    assert np.abs(half - whole).max() < 0.08 * np.abs(whole).max()


@pytest.mark.parametrize("match", [match_fft, match_half])
def test_mirror_images_are_matched_as_if_each_were_the_observation(match) -> None:
    observation, crop, mirrors = _field(15, (2, 40, 60)), _field(16, (2, 60, 80)), ((1, -1), (-1, 1), (-1, -1))
    scores = match_mirrored(crop, observation, HEADINGS, 8, mirrors, half=match is match_half)
    expected = [match(crop, observation[:, ::down, ::right], [0.0], 8)[0] for right, down in mirrors]
    expected = [*match(crop, observation, HEADINGS, 8), *expected]
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-4 * np.abs(scores).max())


@pytest.mark.parametrize("channels", [1, 2])
def test_threads_do_not_change_what_is_computed(channels: int) -> None:
    observation, crop = _field(11, (channels, 41, 60)), _field(12, (channels, 61, 80))
    before = use_threads(1)
    try:
        alone = match_fft(crop, observation, HEADINGS, 8), turned_images(observation, HEADINGS, (45, 70))
        use_threads(3)
        together = match_fft(crop, observation, HEADINGS, 8), turned_images(observation, HEADINGS, (45, 70))
    finally:
        use_threads(before)
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(ConfigError, match="threads"):
        use_threads(0)


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
        match_fft(np.zeros(crop, np.float32), np.zeros(observation, np.float32), [0.0], radius)


@pytest.mark.parametrize(("range_rad", "count"), [(0.1, 10), (-0.1, 11), (0.1, 0)])
def test_heading_grids_that_make_no_sense_are_refused(range_rad: float, count: int) -> None:
    with pytest.raises(ConfigError):
        coarse_headings_rad(range_rad, count)
    assert coarse_headings_rad(0.1)[5] == 0.0
