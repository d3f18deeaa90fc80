"""Global descriptors come back as near as their bits allow; damaged bytes are refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import hadamard
from scipy.spatial import cKDTree

from foldmap.errors import ConfigError, LimitError, MapFormatError, MapInputError
from foldmap.visual.codes.global_codec import MAX_NUMBERS, decode_globals, encode_globals, retrieval_quality
from foldmap.visual.codes.turn import turn, turn_back


def walk(images: int, size: int, seed: int = 0) -> np.ndarray:
    """Descriptors along a drive: each resembles those before and after it."""
    rng = np.random.default_rng(seed)
    steps = np.cumsum(rng.normal(size=(images, size)), axis=0) / np.sqrt(20) + rng.normal(size=size)
    rows = steps + 0.2 * rng.normal(size=(images, size))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@settings(max_examples=40, deadline=None)
@given(size=st.integers(1, 200), seed=st.integers(0, 100))
def test_turning_keeps_lengths_and_angles_and_can_be_undone(size: int, seed: int) -> None:
    rows = np.random.default_rng(seed).normal(size=(5, size)).astype(np.float32)
    turned = turn(rows)
    np.testing.assert_allclose(turned @ turned.T, rows @ rows.T, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(turn_back(turned), rows, atol=1e-4)


def test_turning_is_hadamards_matrix_with_signs_and_part_of_the_format() -> None:
    matrix = turn(np.eye(64, dtype=np.float32)) * 8
    signs = matrix[:, 0]
    np.testing.assert_allclose(matrix * signs[:, None], hadamard(64), atol=1e-4)
    assert 16 < (signs > 0).sum() < 48
    # SplitMix64 from state 0 gives e220a8397b1dcdaf, 6e789e6aa1b965f4, 06c45d188009454f, f88bb8a8724c81ec
    np.testing.assert_allclose(signs[:4], [-1, 1, 1, -1], atol=1e-5)


@pytest.mark.parametrize(("bits", "most"), [(8, 0.01), (4, 0.12), (2, 0.36), (1, 0.62)])
@pytest.mark.parametrize("size", [64, 100])
def test_error_is_that_of_a_uniform_quantizer(bits: int, most: float, size: int) -> None:
    """Max 1960: mean squared error 0.363, 0.119, 0.0115 of the variance at 1, 2 and 4 bits; roots, with slack."""
    rows = walk(300, size)
    name = "1 bit" if bits == 1 else f"{bits} bits"
    payload = encode_globals(rows, name)
    assert len(payload) == 12 + 8 + 2 * size + -(-300 * size * bits // 8)
    off = np.linalg.norm(decode_globals(payload) - rows) / np.linalg.norm(rows - rows.mean(axis=0))
    assert off < most
    assert encode_globals(4 * rows, name) == payload


def test_eight_bits_err_by_at_most_half_a_step() -> None:
    rows = walk(80, 128)
    turned = turn(rows)
    spread = np.abs(turned - turned.mean(axis=0)).max(axis=0)
    off = np.abs(turn(decode_globals(encode_globals(rows, "8 bits"))) - turned)
    assert (off < 0.7 * spread / 127.5 + 1e-3 * np.abs(turned).max()).all()


@pytest.mark.parametrize("images", [1, 2, 3, 257])
def test_pq_comes_back_as_its_centroids(images: int) -> None:
    rows = walk(images, 32)
    decoded = decode_globals(encode_globals(rows, "pq", parts=(5, 8)))
    assert decoded.shape == rows.shape
    np.testing.assert_allclose(np.linalg.norm(decoded, axis=1), 1, atol=1e-5)
    assert np.abs(decoded - rows).max() < (0.02 if images < 257 else 0.2)


def test_the_smallest_form_that_finds_the_same_is_taken() -> None:
    rows = walk(200, 64)
    auto = encode_globals(rows, quality=0.95)
    reached = {}
    for name in ("1 bit", "2 bits", "4 bits", "8 bits"):
        payload = encode_globals(rows, name)
        reached[len(payload)] = retrieval_quality(rows, decode_globals(payload))
    good = [size for size, quality in reached.items() if quality >= 0.95]
    assert len(auto) == min(good)
    assert sorted(reached.values()) == [reached[size] for size in sorted(reached)]
    assert len(encode_globals(rows, quality=0.0)) == min(reached)
    assert len(encode_globals(rows, quality=1.1)) == max(reached)


def test_a_codebook_is_taken_where_it_pays() -> None:
    """Thousands of images of few places, wide descriptors: 8 bytes an image and a codebook undercut a bit a number."""
    rng = np.random.default_rng(0)
    places = rng.normal(size=(40, 512))
    rows = (places[rng.integers(0, 40, 3000)] + 0.05 * rng.normal(size=(3000, 512))).astype(np.float32)
    payload = encode_globals(rows, parts=(8,))
    assert len(payload) == 12 + 2 + 8 * 4 + 256 * 512 + 3000 * 8
    few = encode_globals(rows[:300], parts=(8,))
    assert len(few) == 12 + 8 + 2 * 512 + 300 * 512 // 8


def test_quality_is_one_for_exact_and_near_zero_for_noise() -> None:
    rows = walk(400, 64)
    noise = np.random.default_rng(1).normal(size=rows.shape).astype(np.float32)
    assert retrieval_quality(rows, rows) == pytest.approx(1)
    assert abs(retrieval_quality(rows, noise)) < 0.15
    # the plain rule, by SciPy: mean cosine of the ten nearest others, all images as queries
    coarse = np.round(rows * 8).astype(np.float32) / 8
    picks = [[k for k in np.argsort(-(coarse @ row), kind="stable") if k != i][:10] for i, row in enumerate(rows[:256])]
    _, best = cKDTree(rows).query(rows[:256], 11)
    cosine = rows @ rows.T
    got = np.mean([cosine[i, chosen].mean() for i, chosen in enumerate(picks)])
    most = np.mean([cosine[i, chosen[1:]].mean() for i, chosen in enumerate(best)])
    chance = np.mean([(cosine[i].sum() - 1) / 399 for i in range(256)])
    assert retrieval_quality(rows, coarse) == pytest.approx((got - chance) / (most - chance), abs=0.05)


def test_no_images_and_one_image() -> None:
    for method in ("auto", "1 bit", "8 bits"):
        assert decode_globals(encode_globals(np.zeros((0, 9)), method)).shape == (0, 9)
        one = walk(1, 9)
        np.testing.assert_allclose(decode_globals(encode_globals(one, method)), one, atol=2e-3)


def test_what_cannot_be_stored_is_refused() -> None:
    with pytest.raises(MapInputError, match="NaN"):
        encode_globals(np.full((3, 4), np.nan))
    with pytest.raises(MapInputError, match="shape"):
        encode_globals(np.ones(4))
    with pytest.raises(MapInputError, match="shape"):
        encode_globals(np.ones((4, 0)))
    with pytest.raises(ConfigError, match="3 bits"):
        encode_globals(walk(3, 4), "3 bits")
    with pytest.raises(ConfigError, match="do not split"):
        encode_globals(walk(20, 64), "pq", parts=(7,))
    with pytest.raises(LimitError):
        encode_globals(np.broadcast_to(np.float32(0), (1, (1 << 16) + 1)))


PAYLOADS = [
    encode_globals(walk(9, 11), "1 bit"),
    encode_globals(walk(9, 11), "8 bits"),
    encode_globals(walk(9, 12), "pq", parts=(4,)),
]


@pytest.mark.parametrize("payload", PAYLOADS)
def test_every_truncation_and_every_longer_stream_is_refused(payload: bytes) -> None:
    for cut in range(len(payload)):
        with pytest.raises(MapFormatError):
            decode_globals(payload[:cut])
    with pytest.raises(MapFormatError):
        decode_globals(payload + b"\0")


@settings(max_examples=200, deadline=None)
@given(which=st.integers(0, 2), at=st.integers(0, 10_000), value=st.integers(0, 255))
def test_a_changed_byte_is_refused_or_gives_finite_vectors(which: int, at: int, value: int) -> None:
    payload = bytearray(PAYLOADS[which])
    payload[at % len(payload)] = value
    try:
        decoded = decode_globals(bytes(payload))
    except MapFormatError:
        return
    assert np.isfinite(decoded).all()
    assert decoded.shape[0] == 9


def test_a_claim_of_too_much_is_refused_before_memory_is_taken() -> None:
    huge = bytearray(PAYLOADS[0])
    huge[4:12] = (MAX_NUMBERS).to_bytes(4, "little") + (2).to_bytes(4, "little")
    with pytest.raises(LimitError):
        decode_globals(bytes(huge))
