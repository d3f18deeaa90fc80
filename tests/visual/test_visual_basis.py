"""Bases: principal axes as stored, read back bit for bit, and refused when they are hostile."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bent_rows import bent_descriptors
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from benchmarks.visual.standard_basis import main, means_by_track, read_means
from foldmap.errors import ConfigError, MapInputError, ModelError
from foldmap.visual.codes.basis import Basis, basis_named, standard_basis
from foldmap.visual.codes.basis_fit import fit_basis
from foldmap.visual.codes.coefficient_coder import UNIT


@pytest.fixture(scope="module")
def basis() -> Basis:
    return fit_basis(bent_descriptors(3000), 16, products=4, feature="test")


def test_axes_are_the_principal_ones() -> None:
    rows = bent_descriptors(2000).astype(np.float64)
    fitted = fit_basis(rows, 6)
    centred = rows - rows.mean(axis=0)
    _, singular, right = np.linalg.svd(centred, full_matrices=False)
    assert np.allclose(np.abs(np.sum(fitted.vectors * right[:6].T, axis=0)), 1, atol=2e-3)
    assert np.allclose(fitted.spread / UNIT, singular[:6] / np.sqrt(len(rows) - 1), rtol=1e-3, atol=1e-5)
    assert np.allclose(fitted.centre, rows.mean(axis=0), atol=1e-3)
    # The best six-dimensional approximation leaves the other singular values; rounding to bytes adds little.
    left = rows - fitted.centre - fitted.analyse(rows) @ fitted.vectors.T
    assert np.square(left).sum() < 1.02 * np.square(singular[6:]).sum()


def test_bytes_give_the_same_basis(basis: Basis) -> None:
    payload = basis.to_bytes()
    again = Basis.from_bytes(payload)
    assert again.to_bytes() == payload
    assert np.array_equal(again.vectors, basis.vectors)
    assert (again.feature, again.name) == ("test", "own")
    assert np.array_equal(again.curvature.bend, basis.curvature.bend)
    flat = fit_basis(bent_descriptors(200), 5)
    assert Basis.from_bytes(flat.to_bytes()).to_bytes() == flat.to_bytes()
    assert len(flat.to_bytes()) < 24 * 5 + 24 * 2 + 8 * 5 + 700


def test_same_rows_give_the_same_bytes() -> None:
    one, two = (fit_basis(bent_descriptors(500), 8, products=3).to_bytes() for _ in range(2))
    assert one == two


def test_the_bend_is_what_least_squares_says(basis: Basis) -> None:
    """On rows that it was not fitted to, it explains what a plain regression on exact coefficients explains."""
    rows = bent_descriptors(2000, seed=5)
    exact = basis.analyse(rows)
    pairs = np.stack([exact[:, i] * exact[:, k] for k in range(4) for i in range(k + 1)], axis=1)
    pairs = np.column_stack([pairs, np.ones(len(pairs))])
    best = exact[:, 4:8] - pairs @ np.linalg.lstsq(pairs, exact[:, 4:8], rcond=None)[0]
    weight = basis.curvature.bend * (basis.curvature.scale / UNIT)
    ours = exact[:, 4:8] - (pairs[:, :10] @ weight)[:, 4:8]
    assert best.var() < 0.7 * exact[:, 4:8].var()
    assert ours.var() < 1.3 * best.var()  # fitted to, but here not of, quantized coefficients


def test_standard_basis_is_small_and_for_sift() -> None:
    shipped = standard_basis("sift")
    assert shipped is not None
    assert (shipped.feature, shipped.name, shipped.dimension) == ("sift", "sift-1", 128)
    assert len(shipped.to_bytes()) <= 20_000
    assert (np.diff(shipped.spread) <= 0).all()
    # The mean of unit vectors of non-negative values: well inside the positive part of the sphere.
    assert 0.5 < float(np.linalg.norm(shipped.centre)) < 1
    assert float(shipped.centre.min()) > 0
    assert standard_basis("superpoint") is None
    with pytest.raises(ModelError, match="no basis is called"):
        basis_named("../../sift-1")


def test_track_means_are_those_of_a_loop() -> None:
    random = np.random.default_rng(2)
    rows = random.integers(0, 255, (300, 8)).astype(np.uint8)
    track = random.integers(-1, 90, 300)
    expected = []
    for name in range(90):
        mine = rows[track == name].astype(np.float64)
        if len(mine) >= 3:
            total = (mine / np.linalg.norm(mine, axis=1, keepdims=True)).sum(axis=0)
            expected.append(total / np.linalg.norm(total))
    assert np.allclose(means_by_track(rows, track), expected, atol=1e-6)
    assert len(means_by_track(rows, np.full(300, -1))) == 0


def test_the_program_learns_from_a_file(tmp_path: Path) -> None:
    rows = (bent_descriptors(900) * 512).astype(np.float16)
    np.savez(tmp_path / "pairs.npz", descriptors=rows, track=np.repeat(np.arange(300), 3))
    out = tmp_path / "basis.safetensors"
    main(["--descriptors", str(tmp_path / "pairs.npz"), "--rank", "8", "--products", "2", "-o", str(out)])
    assert Basis.from_bytes(out.read_bytes()).rank == 8
    np.savez(tmp_path / "bad.npz", descriptors=rows, track=np.arange(3))
    (tmp_path / "no.npz").write_bytes(b"no file of numbers")
    for name in ("bad.npz", "no.npz", "missing.npz"):
        with pytest.raises(MapInputError):
            read_means(tmp_path / name)


def test_wrong_input_is_named() -> None:
    rows = bent_descriptors(20)
    with pytest.raises(MapInputError, match="NaN"):
        fit_basis(np.where(np.arange(24) == 3, np.nan, rows), 4)
    with pytest.raises(MapInputError, match="too few"):
        fit_basis(rows[:1], 4)
    for rank, products in ((0, 0), (25, 0), (4, 5), (4, -1)):
        with pytest.raises(ConfigError):
            fit_basis(rows, rank, products=products)


def test_fewer_rows_than_axes_still_give_a_basis() -> None:
    few = fit_basis(bent_descriptors(3), 24)
    assert few.rank == 24
    assert np.isfinite(few.analyse(bent_descriptors(3))).all()


def test_impossible_bases_are_refused(basis: Basis) -> None:
    skewed = basis.axes.copy()
    skewed[:, 1] = skewed[:, 0]
    for change in (
        {"mean": basis.mean.astype(np.float32)},
        {"mean": np.full_like(basis.mean, np.nan)},
        {"axes": skewed},
        {"axes": basis.axes[:, :3]},
        {"axis_scale": -basis.axis_scale},
        {"axis_scale": np.full_like(basis.axis_scale, np.inf)},
        {"spread": basis.spread * 0},
        {"step_ratio": np.zeros_like(basis.step_ratio)},
        {"curvature": basis.curvature.first(3)},
    ):
        with pytest.raises(ModelError):
            replace(basis, **change)


def test_hostile_arrays_are_refused(basis: Basis) -> None:
    payload = basis.to_bytes()
    arrays = load(payload)
    info = {"info": '{"feature": "test", "format": 1, "name": "own"}'}
    assert Basis.from_bytes(save(arrays, metadata=info)).rank == 16
    for name, array in arrays.items():
        for wrong in (array[:0], array[:-1], array.astype(np.float64), array.reshape(-1, 1)):
            if name in ("shift", "bend") and not wrong.size:
                continue  # a basis without is fine
            with pytest.raises(ModelError):
                Basis.from_bytes(save(arrays | {name: np.ascontiguousarray(wrong)}, metadata=info))
        if name not in ("shift", "bend"):
            with pytest.raises(ModelError):
                Basis.from_bytes(save({k: v for k, v in arrays.items() if k != name}, metadata=info))
    for bad in (b"", b"\xff" * 40, payload[:50], payload[:-1], save(arrays), payload.replace(b"ormat", b"ormal")):
        with pytest.raises(ModelError):
            Basis.from_bytes(bad)


@settings(max_examples=150, deadline=None)
@given(at=st.integers(0, 1 << 20), value=st.integers(0, 255))
def test_a_changed_byte_gives_a_basis_or_an_error(basis: Basis, at: int, value: int) -> None:
    payload = bytearray(basis.to_bytes())
    payload[at % len(payload)] = value
    try:
        changed = Basis.from_bytes(bytes(payload))
    except ModelError:
        return
    assert np.isfinite(changed.analyse(bent_descriptors(5))).all()
