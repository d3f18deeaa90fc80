"""The tile directory of a large layer: small in memory, and what it finds, against a plain twin."""

import tracemalloc

import numpy as np

from foldmap.atlas.directory import Directory, unpack_directory

LOW, HIGH = -(2**31), 2**31 - 1


def made(columns: np.ndarray, rows: np.ndarray, lengths: np.ndarray, each: int = 100) -> Directory:
    counts = np.full(-(-len(columns) // each), each)
    counts[-1] = len(columns) - each * (len(counts) - 1)
    return Directory(1, counts, np.zeros((len(counts), 8), np.uint8), columns, rows, lengths)


def test_a_million_tiles_take_few_bytes_each() -> None:
    rows, columns = np.divmod(np.arange(10**6), 1000)
    packed = made(columns, rows, np.full(10**6, 440)).pack()
    tracemalloc.start()
    try:
        directory = unpack_directory("layer", packed, 1 << 30)
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 13 * len(directory)
    assert peak < 60 * len(directory)
    assert directory.tile_bytes == 440 * 10**6


def test_what_is_found_at_the_rims_of_32_bits() -> None:
    rng = np.random.default_rng(3)
    keys = {(int(row), int(column)) for row, column in rng.integers(-5, 5, (60, 2))}
    keys |= {(LOW, LOW), (LOW, HIGH), (0, LOW), (HIGH, LOW), (HIGH, HIGH)}
    ordered = sorted(keys)
    rows, columns = np.array(ordered).T
    lengths = rng.integers(0, 50, len(ordered))
    directory = unpack_directory("layer", made(columns, rows, lengths, 7).pack(), 1 << 20)
    np.testing.assert_array_equal(directory.columns, columns)
    np.testing.assert_array_equal(directory.rows, rows)
    for row in (LOW, -6, -2, 0, 4, 5, HIGH, HIGH + 1, LOW - 1):
        for column in (LOW, -5, 0, 3, HIGH, HIGH + 1, LOW - 1):
            at = ordered.index((row, column)) if (row, column) in keys else -1
            assert directory.find(column, row) == at
    for box in ((LOW, HIGH + 1, LOW, HIGH + 1), (-2, 3, -4, 2), (LOW, 0, HIGH, HIGH + 5), (2, 2, 0, 9), (0, 9, 3, -3)):
        inside = [n for n, (row, column) in enumerate(ordered) if box[0] <= column < box[1] and box[2] <= row < box[3]]
        assert directory.inside(*box).tolist() == inside
    ends = np.cumsum(lengths)
    for index in range(len(ordered)):
        start = int(ends[index] - lengths[index] - (ends[index // 7 * 7 - 1] if index >= 7 else 0))
        assert directory.place(index) == (index // 7, start, start + int(lengths[index]))
