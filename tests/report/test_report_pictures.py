"""Plots and strips: what they show is where it belongs, and equal input gives equal bytes."""

import imagecodecs
import numpy as np
import pytest

from foldmap.errors import InputError
from foldmap.report import (
    accuracy_plot,
    code_mosaic,
    embedding_image,
    error_cdf_plot,
    failure_plot,
    heatmap,
    intensity_image,
    strip,
    trajectory_plot,
)

_SERIES = {"foldmap": [(1.0, 4.4), (2.5, 4.0)], "webp + ncc": [(7.7, 13.8), (155.0, 6.2)]}


def test_plots_are_svg_and_deterministic() -> None:
    rng = np.random.default_rng(0)
    errors = {"foldmap": rng.rayleigh(0.04, 30), "webp": np.append(rng.rayleigh(0.2, 29), np.inf)}
    path = np.stack([np.linspace(0, 40, 20), np.zeros(20)], 1)
    plots = [
        lambda: accuracy_plot(_SERIES),
        lambda: failure_plot({"foldmap": 0.01, "webp": float("nan")}, {"foldmap": 2.0, "webp": 100.0}),
        lambda: error_cdf_plot(errors),
        lambda: trajectory_plot(path, {"foldmap": path + 0.1}),
    ]
    for plot in plots:
        first = plot()
        assert b"<svg" in first[:2000]
        assert b"<dc:date>" not in first
        assert first == plot()


def test_a_plot_of_nothing_is_refused() -> None:
    with pytest.raises(InputError):
        accuracy_plot({"foldmap": [(0.0, 1.0), (1.0, float("inf"))]})
    with pytest.raises(InputError):
        failure_plot({"a": 0.1}, {"b": 1.0})


def test_intensities_are_stretched_and_unobserved_ground_is_pale() -> None:
    intensity = np.linspace(0.2, 0.4, 100, dtype=np.float32).reshape(10, 10)
    observed = np.ones((10, 10), bool)
    observed[0] = False
    image = intensity_image(intensity, observed)
    assert image.shape == (10, 10, 3)
    assert (image[0] == [232, 236, 240]).all()
    assert image[1, 0, 0] == 0
    assert image[9, 9, 0] == 255
    assert (intensity_image(intensity * 7 + 3, observed) == image).all()  # linear units do not matter


def test_embedding_colours_are_its_principal_components() -> None:
    rng = np.random.default_rng(2)
    hidden = rng.random((30, 40))
    embedding = np.stack([hidden, -2 * hidden, 0.5 * hidden]) + 1e-6 * rng.random((3, 30, 40))
    image = embedding_image(embedding)
    correlation = np.corrcoef(image[..., 0].ravel(), hidden.ravel())[0, 1]
    assert abs(correlation) > 0.99
    assert (embedding_image(embedding) == image).all()
    assert embedding_image(hidden[None]).shape == (30, 40, 3)
    with pytest.raises(InputError):
        embedding_image(hidden)


def test_score_marks_lie_on_their_offsets() -> None:
    scores = np.zeros((41, 41))
    scores[10, 25] = 1.0  # 10 rows north and 5 columns east of the centre
    panel = heatmap(scores, 0.05, true_offset_m=(0.25, 0.5), estimated_offset_m=(0.25, 0.46))
    truth, estimate = panel.marks
    assert (truth.row, truth.col) == pytest.approx((10, 25))
    assert (estimate.row, estimate.col) == pytest.approx((10.8, 25))
    assert panel.note == "error 4.0 cm"
    assert panel.image[10, 25].sum() == panel.image.sum(2).max()


def test_strip_and_mosaic_are_png_and_deterministic() -> None:
    rng = np.random.default_rng(1)
    image = rng.random((50, 70))
    first = strip([("map", image), heatmap(image, 0.05, (0.1, 0.1), (0.0, 0.0))])
    assert first == strip([("map", image), heatmap(image, 0.05, (0.1, 0.1), (0.0, 0.0))])
    decoded = imagecodecs.png_decode(first)
    assert decoded.shape[1] > 2 * decoded.shape[0] * 0.8
    codes = rng.random((16, 20, 30)) > 0.8
    codes[3] = False
    mosaic = code_mosaic(codes, title="8x")
    assert mosaic == code_mosaic(codes, title="8x")
    assert imagecodecs.png_decode(mosaic).ndim == 3
    with pytest.raises(InputError):
        strip([])
    with pytest.raises(InputError):
        code_mosaic(codes[0])
