"""The lane spectrum against SciPy's transforms, and what it keeps."""

import numpy as np
import pytest
from scipy.fft import dctn

from foldmap.errors import ConfigError
from foldmap.geometry import SE2
from foldmap.street.field.lane_field import FieldSpec, draw_all
from foldmap.street.field.spectrum import SpectrumSpec, mirror_signs, spectrum
from foldmap.street.source import LaneGraph


def _fields(count: int = 5) -> np.ndarray:
    return np.random.default_rng(0).random((count, 8, 40, 40)).astype(np.float32)


def test_all_terms_are_scipys_cosine_transform_of_the_fourier_sums() -> None:
    fields = _fields(2)
    kept = spectrum(fields, FieldSpec(), SpectrumSpec(40 * 40, 0))[0]
    own = dctn(fields[0].sum(0), norm="ortho").ravel()
    row, column = np.mgrid[:40, :40]
    order = np.argsort((row**2 + column**2).ravel(), kind="stable")
    assert np.allclose(kept, (own / np.linalg.norm(own))[order], atol=1e-5)


def test_all_terms_keep_inner_products() -> None:
    """With every spatial term and three Fourier orders only the fourth, alternating one is missing."""
    fields = _fields()
    signs = np.array([1, -1] * 4, np.float32)[:, None, None]
    fields -= (fields * signs).mean(1, keepdims=True) * signs
    flat = fields.reshape(5, -1)
    flat = flat / np.linalg.norm(flat, axis=1, keepdims=True)
    kept = spectrum(fields, FieldSpec(), SpectrumSpec(1600, 3))
    assert np.allclose(kept @ kept.T, flat @ flat.T, atol=1e-4)


def test_similarity_falls_as_a_lane_moves_away() -> None:
    lane = LaneGraph.from_polylines([np.array([[-30.0, 0.0], [30.0, 0.0]])])
    moved = [lane.moved(SE2(0, side, 0)) for side in (0, 0.5, 1, 2, 3, 5)] + [lane.moved(SE2(0, 0, np.pi))]
    vectors = spectrum(draw_all(moved, FieldSpec()), FieldSpec(), SpectrumSpec())
    similarity = vectors @ vectors[0]
    assert similarity[0] == pytest.approx(1)
    assert (np.diff(similarity[:6]) < 0).all()
    assert similarity[6] < 0.6  # the same lane driven the other way


def test_nothing_is_similar_to_nothing() -> None:
    assert not spectrum(np.zeros((1, 8, 40, 40), np.float32), FieldSpec(), SpectrumSpec()).any()


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match="shape"):
        spectrum(np.zeros((1, 8, 20, 40), np.float32), FieldSpec(), SpectrumSpec())
    with pytest.raises(ConfigError, match="fewer terms"):
        spectrum(_fields(1), FieldSpec(), SpectrumSpec(50, 4))
    with pytest.raises(ConfigError):
        SpectrumSpec(0)


@pytest.mark.parametrize("left_right", [False, True])
def test_the_spectrum_of_a_mirrored_window_is_the_spectrum_with_other_signs(left_right: bool) -> None:
    """Drawn from the mirrored graph itself: ahead and behind with lanes driven backwards, or as an image is."""
    line = np.random.default_rng(3).uniform(-17, 17, (7, 2))
    mirrored = line * [1, -1] if left_right else (line * [-1, 1])[::-1].copy()
    field, spec = FieldSpec(), SpectrumSpec(100, 2)
    rows = spectrum(draw_all([LaneGraph.from_polylines([one]) for one in (line, mirrored)], field), field, spec)
    signs = mirror_signs(field, spec, left_right=left_right)
    np.testing.assert_allclose(rows[0] * signs, rows[1], atol=1e-5)
    assert not np.allclose(rows[0], rows[1], atol=1e-2)
