"""Transform coding of descriptors: how near, how small, and what happens to bad input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from bent_rows import bent_descriptors
from hypothesis import given, settings
from hypothesis import strategies as st

from foldmap.errors import ConfigError, LimitError, MapFormatError, MapInputError, ModelError
from foldmap.types import AnyArray
from foldmap.visual.codes.basis import standard_basis
from foldmap.visual.codes.basis_fit import fit_basis
from foldmap.visual.codes.coefficient_coder import Curvature
from foldmap.visual.codes.transform import Transform


def descriptors(count: int, dimension: int = 128, seed: int = 0, mean: float = 3.0) -> AnyArray:
    """Unit rows with falling variances in a turned frame."""
    random = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(np.random.default_rng(7).normal(size=(dimension, dimension)))
    inner = random.normal(size=(count, dimension)) * np.geomspace(1, 0.02, dimension)
    rows = inner @ turn.T + mean / np.sqrt(dimension) * 2
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("dimension", [64, 128, 256])
def test_decoded_descriptors_are_near(dimension: int) -> None:
    rows = descriptors(1500, dimension)
    codec = Transform(fit_basis(rows, dimension // 2), 0.04)
    decoded = codec.decode(codec.encode(rows), len(rows))
    assert decoded.shape == rows.shape
    assert decoded.dtype == np.float32
    assert np.allclose(np.linalg.norm(decoded, axis=1), 1, atol=1e-5)
    # Independent bound: a coefficient is off by half a step, or by the dead zone; what has no axis is lost.
    kept = codec.basis.analyse(rows)[:, : len(codec.steps)]
    bound = np.minimum(np.square(kept), np.square(0.95 * codec.steps)).sum(axis=1)
    lost = np.square(rows - codec.basis.centre - kept @ codec.basis.vectors[:, : kept.shape[1]].T).sum(axis=1)
    assert (np.square(decoded - rows).sum(axis=1) < 4 * (bound + lost) + 1e-4).all()
    # And on average by a uniform error's variance at most.
    uniform = np.minimum(np.square(codec.steps) / 12 * 1.5, kept.var(axis=0) * 1.1).sum() + lost.mean()
    assert np.square(decoded - rows).sum(axis=1).mean() < 1.2 * uniform


def test_finer_steps_cost_more_and_lose_less() -> None:
    rows = descriptors(800)
    basis = fit_basis(rows, 64)
    sizes, errors = [], []
    for step in (0.2, 0.1, 0.05, 0.02):
        codec = Transform(basis, step)
        payload = codec.encode(rows)
        sizes.append(len(payload))
        errors.append(float(np.square(codec.decode(payload, len(rows)) - rows).sum()))
    assert sizes == sorted(sizes)
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.1 * errors[0]


def test_a_bent_basis_is_smaller_and_nearer() -> None:
    rows, others = bent_descriptors(3000), bent_descriptors(1000, seed=1)
    results = []
    for products in (0, 4):
        codec = Transform(fit_basis(rows, 16, products=products), 0.06)
        payload = codec.encode(others)
        results.append((len(payload), np.square(codec.decode(payload, 1000) - others).sum()))
    (flat_size, flat_error), (bent_size, bent_error) = results
    assert bent_size < 0.97 * flat_size
    assert bent_error < 0.99 * flat_error


def test_standard_basis_serves_sift_like_rows() -> None:
    """Rows drawn from the basis' own axes: at most the Laplacian cost, and the error that the steps say."""
    basis = standard_basis("sift")
    assert basis is not None
    random = np.random.default_rng(4)
    rows = random.laplace(size=(2000, 64)) * basis.spread / 65536 / np.sqrt(2) @ basis.vectors.T + basis.centre
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1)
    codec = Transform(basis, 0.1)
    payload = codec.encode(rows)
    symbols = codec.quantize(rows)
    entropy = 0.0
    for column in symbols.T:
        share = np.unique(column, return_counts=True)[1] / len(column)
        entropy -= float((share * np.log2(share)).sum())
    # These rows do not bend as SIFT does, which costs a little.
    assert 8 * len(payload) < 1.12 * entropy * 2000
    assert 2 < len(payload) / 2000 < 8


def test_a_step_is_kept_as_it_is_stored() -> None:
    basis = fit_basis(descriptors(100), 8)
    codec = Transform(basis, 0.1234567)
    assert codec.step * 65536 == round(codec.step * 65536)
    again = Transform(basis, codec.step)
    payload = codec.encode(descriptors(50))
    assert np.array_equal(again.decode(payload, 50), codec.decode(payload, 50))


def test_zero_rows_and_none() -> None:
    rows = descriptors(40)
    codec = Transform(fit_basis(rows, 16), 0.1)
    decoded = codec.decode(codec.encode(np.zeros((3, 128), np.float32)), 3)
    assert np.allclose(np.linalg.norm(decoded, axis=1), 1, atol=1e-5)
    assert codec.encode(rows[:0]) == b""
    assert codec.decode(b"", 0).shape == (0, 128)


def test_no_row_is_zero_without_a_mean() -> None:
    random = np.random.default_rng(8)
    signed = random.normal(size=(200, 16))
    signed = np.concatenate([signed, -signed]) / np.linalg.norm(np.concatenate([signed, signed]), axis=1, keepdims=True)
    basis = replace(fit_basis(signed, 4), mean=np.zeros(16, np.float16))
    codec = Transform(basis, 1.0)
    decoded = codec.decode(codec.encode(signed), 400)
    assert (codec.quantize(signed) == 0).all(axis=1).any()
    assert np.allclose(np.linalg.norm(decoded, axis=1), 1, atol=1e-5)


def test_bad_input_is_named() -> None:
    rows = descriptors(10)
    codec = Transform(fit_basis(rows, 8), 0.1)
    broken = rows.copy()
    broken[7, 3] = np.nan
    with pytest.raises(MapInputError, match="descriptor 7"):
        codec.encode(broken)
    broken[7, 3] = np.inf
    with pytest.raises(MapInputError, match="descriptor 7"):
        codec.encode(broken)
    with pytest.raises(MapInputError, match="longer than one"):
        codec.encode(rows * 512)
    with pytest.raises(ModelError, match="128 dimensions"):
        codec.encode(rows[:, :64])
    for step in (0.0, -1.0, 1e-5, 2.0, np.nan, np.inf):
        with pytest.raises(ConfigError):
            Transform(codec.basis, step)


def test_damaged_payloads_are_refused() -> None:
    rows = descriptors(60)
    codec = Transform(fit_basis(rows, 16, products=4), 0.1)
    payload = codec.encode(rows)
    for size in range(0, len(payload), 7):
        with pytest.raises(MapFormatError):
            codec.decode(payload[:size], 60)
    with pytest.raises(MapFormatError):
        codec.decode(payload + b"\0", 60)
    for count in (-5, 1 << 24, 1 << 50):
        with pytest.raises(LimitError):
            codec.decode(payload, count)


@settings(max_examples=60, deadline=None)
@given(payload=st.binary(max_size=60), count=st.integers(0, 30), step=st.sampled_from([0.01, 0.1, 1.0]))
def test_any_bytes_give_unit_vectors_or_an_error(payload: bytes, count: int, step: float) -> None:
    basis = standard_basis("sift")
    assert basis is not None
    codec = Transform(basis, step)
    try:
        decoded = codec.decode(payload, count)
    except MapFormatError:
        return
    assert np.allclose(np.linalg.norm(decoded, axis=1), 1, atol=1e-4)
    assert codec.coder.encode(codec.coder.decode(payload, count)[0]) == payload


def test_curvature_of_fewer_axes_is_that_of_the_first() -> None:
    """A coarse step leaves narrow axes out; what is left codes as it would alone."""
    basis = standard_basis("sift")
    assert basis is not None
    coarse, fine = Transform(basis, 0.3), Transform(basis, 0.05)
    assert coarse.coder.rank < fine.coder.rank <= basis.rank
    assert coarse.coder.curvature.bend.shape[1] == coarse.coder.rank
    assert Curvature.flat(3).first(2).products == 0
