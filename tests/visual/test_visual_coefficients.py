"""The coefficient coder: lossless, near the entropy from the first rows on, and safe against any bytes."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foldmap.errors import LimitError, MapFormatError, ModelError
from foldmap.types import AnyArray
from foldmap.visual.codes import coefficient_kernel as kernel
from foldmap.visual.codes.coefficient_coder import UNIT, CoefficientCoder, Curvature, triangle


def plain(rank: int, spread: float = 0.2, step: float = 0.1) -> CoefficientCoder:
    whole = np.full(rank, round(spread * UNIT), np.int64)
    return CoefficientCoder(whole, np.full(rank, round(step * UNIT), np.int64), Curvature.flat(rank))


def random_coder(random: np.random.Generator, rank: int, products: int) -> CoefficientCoder:
    bend = random.integers(-127, 128, (triangle(products), rank)).astype(np.int8)
    shift = random.integers(-127, 128, kernel.SHIFTS).astype(np.int8) if random.random() < 0.5 else np.zeros(0, np.int8)
    curvature = Curvature(bend, random.integers(0, UNIT, rank), shift)
    return CoefficientCoder(
        (2 ** random.uniform(0, 20, rank)).astype(np.int64),
        (2 ** random.uniform(4, 20, rank)).astype(np.int64),
        curvature,
    )


def symbols_of(random: np.random.Generator, count: int, rank: int, scale: float) -> AnyArray:
    drawn = np.rint(random.standard_cauchy((count, rank)) * scale)
    return np.clip(drawn, -kernel.MAX_MAGNITUDE, kernel.MAX_MAGNITUDE).astype(np.int16)


def predicted(coder: CoefficientCoder, symbols: AnyArray) -> AnyArray:
    """Leans by the definition, with exact integers of any size."""
    bend, scale = coder.curvature.bend, coder.curvature.scale
    leans = np.zeros(symbols.shape, np.int64)
    for n, row in enumerate(symbols):
        value = [int(np.clip((int(q) * int(s)) >> 6, -2047, 2047)) for q, s in zip(row, coder.step, strict=True)]
        for j in range(coder.rank):
            total = 0
            for k in range(min(j, coder.curvature.products)):
                for i in range(k + 1):
                    mean = min(int(coder.spread[k]) ** 2 >> 22, kernel.MAX_SQUARE) if i == k else 0
                    total += int(bend[triangle(k) + i, j]) * (((value[i] * value[k]) >> 10) - mean)
            turn = (int(scale[j]) << 17) // int(coder.step[j])
            leans[n, j] = min(max((total * turn) >> 24, -kernel.MAX_LEAN), kernel.MAX_LEAN)
    return leans


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 1 << 30),
    count=st.integers(0, 40),
    rank=st.integers(1, 20),
    products=st.integers(0, 6),
    scale=st.sampled_from([0.0, 0.3, 2.0, 300.0]),
)
def test_what_is_coded_comes_back(seed: int, count: int, rank: int, products: int, scale: float) -> None:
    random = np.random.default_rng(seed)
    coder = random_coder(random, rank, min(products, rank))
    symbols = symbols_of(random, count, rank, scale)
    payload = coder.encode(symbols)
    back, leans = coder.decode(payload, count)
    assert np.array_equal(back, symbols)
    assert np.array_equal(leans, predicted(coder, symbols))
    assert coder.encode(symbols) == payload


def test_bytes_of_this_format_stay_what_they_are() -> None:
    """Rows and basis from a formula in integers: the payload may change with a new format only."""
    place = np.arange(200 * 12).reshape(200, 12)
    symbols = ((place * 2654435761 >> 7) % 7 // (1 + place % 12) - (place * 40503 >> 5) % 2).astype(np.int16)
    bend = (np.arange(triangle(4) * 12).reshape(-1, 12) * 37 % 255 - 127).astype(np.int8)
    curvature = Curvature(bend, np.arange(12) * 700 + 99, (np.arange(kernel.SHIFTS) % 61 - 30).astype(np.int8))
    coder = CoefficientCoder(14000 // (np.arange(12) + 1), np.full(12, 6554) + 300 * np.arange(12), curvature)
    payload = coder.encode(symbols)
    assert np.array_equal(coder.decode(payload, 200)[0], symbols)
    assert hashlib.sha256(payload).hexdigest()[:16] == "451c30cca6782e3d"


def test_largest_magnitudes_come_back() -> None:
    most = kernel.MAX_MAGNITUDE
    symbols = np.array([[most, -most], [kernel.UNARY, -kernel.UNARY], [0, kernel.UNARY + 1]], np.int16)
    coder = plain(2)
    assert np.array_equal(coder.decode(coder.encode(symbols), 3)[0], symbols)


@pytest.mark.parametrize(("count", "allowed"), [(500, 1.02), (2000, 1.012), (20000, 1.005)])
def test_laplacian_rows_cost_their_entropy(count: int, allowed: float) -> None:
    """Independent Laplacians of the spreads that the coder is told: little is above the source's exact entropy."""
    random = np.random.default_rng(3)
    spread, step = np.geomspace(0.3, 0.02, 24), 0.1
    cells = np.arange(-60, 61)
    ideal = 0.0
    for sigma in spread:
        scale = sigma / np.sqrt(2)
        upper = np.where(cells == 0, 0.55, np.abs(cells) + 0.55) * step
        lower = np.where(cells == 0, 0, np.abs(cells) - 0.45) * step
        chance = np.exp(-lower / scale) - np.exp(-upper / scale)
        chance = np.where(cells == 0, chance, chance / 2)
        ideal -= float((chance * np.log2(np.maximum(chance, 1e-300))).sum())
    values = random.laplace(scale=spread / np.sqrt(2), size=(count, 24))
    symbols = np.copysign(np.floor(np.abs(values) / step + 0.45), values).astype(np.int16)
    coder = CoefficientCoder(
        np.rint(spread * UNIT).astype(np.int64), np.full(24, round(step * UNIT), np.int64), Curvature.flat(24)
    )
    drawn = 3 * np.sqrt(24 * count * 4)  # three deviations of what the draw itself costs, variance below 4 bit^2
    assert 8 * len(coder.encode(symbols)) < allowed * ideal * count + drawn
    assert 8 * len(coder.encode(symbols)) > ideal * count - drawn


def test_rows_unlike_the_spreads_are_learned() -> None:
    random = np.random.default_rng(5)
    symbols = random.integers(0, 2, (4000, 4)).astype(np.int16)  # one bit each, though the coder expects zeros
    assert len(plain(4, 0.01).encode(symbols)) < 1.03 * 4000 * 4 / 8


def test_a_bend_saves_what_it_predicts() -> None:
    """The second coefficient is the square of the first: what a bend and a learned start save is known information."""
    step, random = 0.1, np.random.default_rng(6)
    first = random.normal(scale=0.3, size=6000)
    symbols = np.rint(np.stack([first, 0.9 * (first**2 - 0.09)], axis=1) / step).astype(np.int16)
    seen, symbols = symbols[:3000], symbols[3000:]
    spread = np.rint(symbols.std(axis=0) * step * UNIT).astype(np.int64)
    steps = np.full(2, round(step * UNIT), np.int64)
    scale = np.array([0, round(0.9 / 100 * UNIT)])
    cold = CoefficientCoder(spread, steps, Curvature(np.array([[0, 100]], np.int8), scale, np.zeros(0, np.int8)))
    warm = CoefficientCoder(spread, steps, replace(cold.curvature, shift=cold.learned_shift(seen)))
    flat = CoefficientCoder(spread, steps, Curvature.flat(2))

    def entropy(array: AnyArray) -> float:
        share = np.unique(array, axis=0, return_counts=True)[1] / len(array)
        return float(-(share * np.log2(share)).sum())

    apart = (entropy(symbols[:, :1]) + entropy(symbols[:, 1:])) * 3000 / 8
    joint = entropy(symbols) * 3000 / 8
    sizes = [len(coder.encode(symbols)) for coder in (flat, cold, warm)]
    assert joint < sizes[2] < sizes[1] - 20 < sizes[0] - 100
    assert sizes[2] < joint + 0.5 * (apart - joint)


def test_truncated_and_extended_payloads_are_refused() -> None:
    random = np.random.default_rng(7)
    coder = random_coder(random, 12, 4)
    symbols = symbols_of(random, 60, 12, 0.5)
    payload = coder.encode(symbols)
    for size in range(len(payload)):
        with pytest.raises(MapFormatError):
            coder.decode(payload[:size], 60)
    for more in (b"\0", b"\xff", b"abc"):
        with pytest.raises(MapFormatError):
            coder.decode(payload + more, 60)
    with pytest.raises(MapFormatError):
        coder.decode(payload, 61)
    with pytest.raises(MapFormatError):
        coder.decode(payload, 0)
    with pytest.raises(MapFormatError):
        coder.decode(b"", 60)


@settings(max_examples=80, deadline=None)
@given(payload=st.binary(max_size=80), count=st.integers(0, 50), seed=st.integers(0, 50))
def test_any_bytes_are_rows_or_an_error(payload: bytes, count: int, seed: int) -> None:
    coder = random_coder(np.random.default_rng(seed), 6, 3)
    try:
        symbols, _ = coder.decode(payload, count)
    except MapFormatError:
        return
    assert coder.encode(symbols) == payload


def test_counts_beyond_the_payload_are_refused_before_memory_is_taken() -> None:
    coder = plain(64)
    for count in (-1, 1 << 40, 4_000_000):
        with pytest.raises(LimitError):
            coder.decode(b"\x12" * 100, count)


def test_wrong_arrays_are_named() -> None:
    whole = np.full(3, 100, np.int64)
    no_shift = np.zeros(0, np.int8)
    for bend, scale, shift in (
        (np.zeros((2, 3), np.int8), whole, no_shift),
        (np.zeros((10, 3), np.int8), whole, no_shift),
        (np.full((1, 3), -128, np.int8), whole, no_shift),
        (np.zeros((1, 3), np.int8), whole + UNIT, no_shift),
        (np.zeros((1, 3), np.int8), whole, np.zeros(7, np.int8)),
    ):
        with pytest.raises(ModelError):
            Curvature(bend, scale, shift)
