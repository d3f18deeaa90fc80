"""Both coders: lossless, canonical, safe on hostile bytes; against plain twins, entropy bounds and constriction."""

import hashlib

import constriction
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.stats import entropy

from benchmarks.lidar.coder_measure import conditional_bits, measure, zero_order_bits
from foldmap.coding.context import ContextModel, untrained
from foldmap.coding.huffman_rle import MAX_LENGTH, HuffmanRleModel, code_lengths
from foldmap.coding.registry import CODERS, coder_from_arrays
from foldmap.errors import ConfigError, LimitError, MapFormatError, ModelError

from .line_codes import tiles
from .twin import decode_context, decode_huffman_rle

SETTINGS = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
GROUPS, SYMBOLS = 3, 11
any_tile = arrays(
    np.uint8, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=13).map(lambda s: (GROUPS, *s)),
    elements=st.integers(0, SYMBOLS), fill=st.just(0),
)  # fmt: skip


@pytest.fixture(scope="module")
def train():
    return tiles(16, 1, groups=GROUPS, symbols=SYMBOLS, side=64)


@pytest.fixture(scope="module")
def held_out_tiles():
    return tiles(6, 2, groups=GROUPS, symbols=SYMBOLS, side=64)


@pytest.fixture(scope="module")
def fitted(train):
    return {name: kind.fit(train, SYMBOLS) for name, kind in CODERS.items()}


@pytest.fixture(params=sorted(CODERS))
def coder(request, fitted):
    return fitted[request.param]


class TestLossless:
    def test_structured_tiles(self, coder, held_out_tiles):
        for tile in held_out_tiles:
            np.testing.assert_array_equal(coder.decode(coder.encode(tile), tile.shape), tile)

    @SETTINGS
    @given(tile=any_tile)
    def test_any_tile(self, coder, tile):
        np.testing.assert_array_equal(coder.decode(coder.encode(tile), tile.shape), tile)

    @pytest.mark.parametrize("fill", [0, 1, SYMBOLS])
    @pytest.mark.parametrize("side", [(1, 1), (1, 300), (300, 1), (0, 5), (37, 41)])
    def test_constant_tiles(self, coder, fill, side):
        tile = np.full((GROUPS, *side), fill, np.uint8)
        np.testing.assert_array_equal(coder.decode(coder.encode(tile), tile.shape), tile)

    @pytest.mark.parametrize("symbols", [1, 2, 3, 64, 255])
    @pytest.mark.parametrize("groups", [1, 8])
    @pytest.mark.parametrize("block", [1, 4, 8])
    def test_dense_noise_of_every_alphabet(self, symbols, groups, block):
        tile = np.random.default_rng(symbols).integers(0, symbols + 1, (groups, 19, 23)).astype(np.uint8)
        for coder in (HuffmanRleModel.fit([tile], symbols), ContextModel.fit([tile], symbols, block=block)):
            np.testing.assert_array_equal(coder.decode(coder.encode(tile), tile.shape), tile)

    def test_read_only_and_strided_input(self, coder, held_out_tiles):
        tile = held_out_tiles[0][:, ::2, ::-1]
        payload = coder.encode(tile)
        frozen = np.ascontiguousarray(tile)
        frozen.flags.writeable = False
        assert coder.encode(frozen) == payload


class TestHostileBytes:
    @SETTINGS
    @given(payload=st.binary(max_size=60), side=st.tuples(st.integers(0, 20), st.integers(0, 20)))
    def test_any_bytes_decode_canonically_or_raise(self, coder, payload, side):
        try:
            codes = coder.decode(payload, (GROUPS, *side))
        except MapFormatError:
            return
        assert codes.max(initial=0) <= SYMBOLS
        assert coder.encode(codes) == payload

    def test_every_truncation_and_extension_raises(self, coder, held_out_tiles):
        tile = held_out_tiles[0]
        payload = coder.encode(tile)
        for length in range(len(payload)):
            with pytest.raises(MapFormatError):
                coder.decode(payload[:length], tile.shape)
        for tail in (b"\0", b"\xff", b"\0" * 9, payload):
            with pytest.raises(MapFormatError):
                coder.decode(payload + tail, tile.shape)

    def test_every_bit_flip_changes_the_codes_or_raises(self, coder, held_out_tiles):
        tile = np.ascontiguousarray(held_out_tiles[0][:, :24, :24])
        payload = coder.encode(tile)
        for bit in range(8 * len(payload)):
            flipped = bytearray(payload)
            flipped[bit // 8] ^= 1 << (bit % 8)
            try:
                codes = coder.decode(bytes(flipped), tile.shape)
            except MapFormatError:
                continue
            assert not np.array_equal(codes, tile)

    def test_lying_shapes_are_refused_before_allocation(self, coder):
        for shape in ((GROUPS, 1 << 20, 1 << 20), (GROUPS, -1, 5)):
            with pytest.raises(LimitError):
                coder.decode(b"\0\0", shape)


class TestTwins:
    @SETTINGS
    @given(tile=any_tile)
    def test_plain_twins_decode_the_same(self, fitted, tile):
        for name, twin in (("context", decode_context), ("huffman-rle", decode_huffman_rle)):
            payload = fitted[name].encode(tile)
            np.testing.assert_array_equal(twin(fitted[name].to_arrays(), payload, tile.shape), tile)

    def test_plain_twin_on_structure_and_untrained(self, fitted, held_out_tiles):
        tile = np.ascontiguousarray(max(held_out_tiles, key=np.count_nonzero)[:, :34, :30])
        assert np.count_nonzero(tile) > 20
        for model in (
            fitted["context"],
            untrained(GROUPS, SYMBOLS, 4),
            ContextModel.fit(held_out_tiles, SYMBOLS, block=2),
        ):
            np.testing.assert_array_equal(decode_context(model.to_arrays(), model.encode(tile), tile.shape), tile)

    def test_carries_run_through_long_rows_of_ones(self):
        # Near-certain decisions that go the unlikely way park the interval against a byte boundary now and then.
        model = untrained(1, 1, 1)
        for seed in range(40):
            tile = (np.random.default_rng(seed).random((1, 40, 40)) < 0.5 ** (seed % 7)).astype(np.uint8)
            np.testing.assert_array_equal(decode_context(model.to_arrays(), model.encode(tile), tile.shape), tile)

    def test_bitstreams_are_frozen(self):
        """A change here is a new format: raise FORMAT, keep reading the old one."""
        rng = np.random.default_rng(5)
        tile = np.where(rng.random((2, 40, 50)) < 0.1, rng.integers(1, 10, (2, 40, 50)), 0).astype(np.uint8)
        huffman = HuffmanRleModel(9, code_lengths(2048 >> np.arange(10)), _class_lengths())
        digests = [hashlib.sha256(coder.encode(tile)).hexdigest()[:16] for coder in (untrained(2, 9), huffman)]
        assert digests == FROZEN


def _class_lengths() -> np.ndarray:
    return np.stack([code_lengths(4096 >> np.arange(27))] * 2)


FROZEN = ["72d3534f8c8c2dd2", "e4428da13f6a9aea"]


class TestRates:
    def test_context_payload_is_its_cross_entropy(self, fitted, held_out_tiles):
        for tile in held_out_tiles:
            ideal = fitted["context"].cross_entropy_bits(tile) / 8
            assert ideal <= len(fitted["context"].encode(tile)) <= 1.002 * ideal + 2.5

    def test_context_beats_huffman_and_zero_order(self, fitted, held_out_tiles):
        size = {name: sum(len(coder.encode(tile)) for tile in held_out_tiles) for name, coder in fitted.items()}
        assert size["context"] < 0.7 * size["huffman-rle"]
        assert size["context"] < zero_order_bits(held_out_tiles) / 8
        assert size["context"] < conditional_bits(held_out_tiles, order=2) / 8

    def test_untrained_model_still_compresses(self, held_out_tiles):
        model = untrained(GROUPS, SYMBOLS)
        assert sum(len(model.encode(tile)) for tile in held_out_tiles) < zero_order_bits(held_out_tiles) / 8

    def test_empty_tile_is_tiny(self, coder):
        assert len(coder.encode(np.zeros((GROUPS, 128, 128), np.uint8))) <= 4

    def test_foreign_statistics_cost_little(self, fitted, held_out_tiles):
        renamed = [np.where(t > 0, SYMBOLS + 1 - t, 0).astype(np.uint8) for t in held_out_tiles]
        adapted = sum(fitted["context"].cross_entropy_bits(t) for t in renamed)
        static = sum(fitted["context"].cross_entropy_bits(t, adaptive=False) for t in renamed)
        assert adapted < static

    def test_zero_order_bits_agree_with_scipy_and_constriction(self, held_out_tiles):
        flat = np.concatenate([t.ravel() for t in held_out_tiles]).astype(np.int32)
        counts = np.bincount(flat)
        bits = zero_order_bits(held_out_tiles)
        assert bits == pytest.approx(flat.size * entropy(counts, base=2), rel=1e-9)
        encoder = constriction.stream.queue.RangeEncoder()
        model = constriction.stream.model.Categorical(counts / counts.sum(), perfect=False)
        encoder.encode(flat, model)
        assert encoder.num_bits() == pytest.approx(bits, rel=0.01, abs=64)

    def test_conditional_bits_of_a_known_chain(self):
        rng = np.random.default_rng(0)
        stay = rng.random((1, 1, 40_000)) < 0.9
        chain = (np.cumsum(~stay, axis=2) % 2).astype(np.uint8)
        per_code = conditional_bits([chain]) / chain.size
        assert per_code == pytest.approx(entropy([0.9, 0.1], base=2), rel=0.03)
        assert zero_order_bits([chain]) / chain.size > 0.9


class TestHuffman:
    @SETTINGS
    @given(counts=st.lists(st.integers(1, 10**6), min_size=2, max_size=60))
    def test_mean_length_is_within_a_bit_of_entropy_and_complete(self, counts):
        lengths = code_lengths(np.array(counts)).astype(int)
        share = np.array(counts) / sum(counts)
        assert (0.5**lengths).sum() == 1.0
        assert lengths.max() <= MAX_LENGTH
        assert entropy(share, base=2) - 1e-9 <= (share * lengths).sum() < entropy(share, base=2) + 1

    def test_package_merge_is_optimal_on_a_fibonacci_source(self):
        counts = np.array([1, 1, 2, 3, 5, 8, 13, 21])
        assert sorted(code_lengths(counts)) == [1, 2, 3, 4, 5, 6, 7, 7]
        limited = code_lengths(counts, 4).astype(int)
        # Every complete code of eight words of at most four bits, by exhaustion.
        best = min(
            (np.sort(counts)[::-1] * np.sort(np.array(c))).sum()
            for c in _complete_codes(8, 4)
        )  # fmt: skip
        assert (counts * limited).sum() == best


def _complete_codes(size: int, limit: int, least: int = 1, room: int | None = None):
    """Non-decreasing length lists of complete codes."""
    room = 1 << limit if room is None else room
    if size == 0:
        if room == 0:
            yield []
        return
    for length in range(least, limit + 1):
        if (1 << (limit - length)) <= room:
            for rest in _complete_codes(size - 1, limit, length, room - (1 << (limit - length))):
                yield [length, *rest]


class TestModels:
    def test_arrays_round_trip(self, coder, held_out_tiles):
        again = coder_from_arrays(coder.name, coder.to_arrays())
        assert again.encode(held_out_tiles[0]) == coder.encode(held_out_tiles[0])
        assert sum(a.nbytes for a in coder.to_arrays().values()) < 40_000

    def test_fit_is_deterministic(self, train):
        one, two = (ContextModel.fit(train[:5], SYMBOLS, block=4).to_arrays() for _ in range(2))
        assert all(np.array_equal(one[name], two[name]) for name in one)

    def test_model_fits_the_bytes_it_may_take(self, train):
        for limit in (6_000, 1_500):
            model = ContextModel.fit(train[:4], SYMBOLS, block=4, model_bytes=limit)
            assert sum(a.nbytes for a in model.to_arrays().values()) <= limit

    def test_damaged_arrays_raise_or_stay_lossless(self, coder):
        tile = np.random.default_rng(0).integers(0, 3, (GROUPS, 12, 14)).astype(np.uint8)
        rng = np.random.default_rng(1)
        good = coder.to_arrays()
        refused = 0
        for _ in range(400):
            arrays = {name: array.copy() for name, array in good.items()}
            name = str(rng.choice(sorted(arrays)))
            raw = arrays[name].reshape(-1).view(np.uint8)
            raw[rng.integers(raw.size)] ^= np.uint8(1 << rng.integers(8))
            try:
                payload = coder_from_arrays(coder.name, arrays).encode(tile)
                changed = coder_from_arrays(coder.name, arrays).decode(payload, tile.shape)
            except (ModelError, MapFormatError):
                refused += 1
                continue
            np.testing.assert_array_equal(changed, tile)
        assert refused > 30

    def test_missing_retyped_and_reshaped_arrays_raise(self, coder):
        good = coder.to_arrays()
        for name, array in good.items():
            for bad in (None, array.astype(np.float64), array[..., None], array[:-1], np.concatenate([array, array])):
                arrays = {k: v for k, v in good.items() if k != name}
                if bad is not None:
                    arrays[name] = bad
                with pytest.raises(ModelError):
                    coder_from_arrays(coder.name, arrays)

    def test_wrong_input_is_named(self, coder):
        with pytest.raises(ConfigError, match="uint8"):
            coder.encode(np.zeros((GROUPS, 4, 4), np.int32))
        with pytest.raises(ConfigError, match="uint8"):
            coder.encode(np.zeros((4, 4), np.uint8))
        with pytest.raises(ModelError, match="symbol 12"):
            coder.encode(np.full((GROUPS, 4, 4), SYMBOLS + 1, np.uint8))
        with pytest.raises(ConfigError, match="no code tiles"):
            type(coder).fit([])

    def test_groups_must_fit_the_context_model(self, fitted):
        with pytest.raises(ModelError, match="groups"):
            fitted["context"].encode(np.zeros((GROUPS + 1, 4, 4), np.uint8))
        with pytest.raises(ModelError, match="groups"):
            fitted["context"].decode(b"\0", (GROUPS + 1, 4, 4))

    def test_unknown_coders(self):
        with pytest.raises(ModelError, match="zip"):
            coder_from_arrays("zip", {})


def test_measure_reports_what_it_measured(fitted, held_out_tiles):
    result = measure(held_out_tiles, fitted, repeats=1)
    assert result["codes"] == sum(t.size for t in held_out_tiles)
    rows, bounds = result["coders"], result["bounds_bytes"]
    assert bounds["context_adaptive"] < rows["context"]["payload_bytes"] < bounds["order_1"] < bounds["zero_order"]
    assert all(row["decode_codes_per_s"] > 0 and row["model_bytes"] > 0 for row in rows.values())
