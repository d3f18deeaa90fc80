"""Damage: every bit of a small file, samples of a larger one; the same answer or a MapFormatError, nothing else."""

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fold_samples import CORPUS, GOLDEN, contents, write_large, write_small
from foldmap.atlas import FoldFile, verify
from foldmap.errors import ChecksumError, MapFormatError, NotAFoldFileError

CHUNKS = 4


@pytest.fixture(scope="module")
def memory_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in memory where there is one: the exhaustive test opens the file fifty thousand times."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path_factory.mktemp("damage")
        return
    folder = memory / f"foldmap-test-{os.getpid()}"
    folder.mkdir(exist_ok=True)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def _same_or_refused(path: Path, expected: dict) -> bool:
    """True when refused; fails when the answer differs, or anything but a MapFormatError comes out."""
    try:
        found = contents(path)
    except MapFormatError:
        return True
    assert found == expected
    return False


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_every_single_bit_flip_of_the_golden_file(chunk: int, memory_folder: Path) -> None:
    path = memory_folder / "flip.fold"
    good = (GOLDEN / "v1-small.fold").read_bytes()
    path.write_bytes(good)
    expected = contents(path)
    refused = 0
    used = np.convolve(np.frombuffer(good, np.uint8) > 0, np.ones(33), "same") > 0
    with path.open("r+b", buffering=0) as file:
        for place in range(chunk, len(good), CHUNKS):
            # the middle of a page that nothing uses is all alike: one bit of each byte of it tells
            for bit in range(8) if used[place] else (place // CHUNKS % 8,):
                os.pwrite(file.fileno(), bytes([good[place] ^ 1 << bit]), place)
                refused += _same_or_refused(path, expected)
            os.pwrite(file.fileno(), good[place : place + 1], place)
    # about a fifth of the small file's bytes carry something
    assert refused > 0.1 * len(good)


def test_every_truncation_of_the_golden_file(memory_folder: Path) -> None:
    good = (GOLDEN / "v1-small.fold").read_bytes()
    path = memory_folder / "cut.fold"
    path.write_bytes(good)
    for length in range(len(good) - 1, -1, -1):
        os.truncate(path, length)
        with pytest.raises(MapFormatError):
            contents(path)


def test_appended_bytes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "long.fold"
    path.write_bytes((GOLDEN / "v1-small.fold").read_bytes() + b"\0")
    with pytest.raises(MapFormatError, match="cut or damaged"):
        contents(path)


def test_sampled_damage_of_a_large_file(memory_folder: Path) -> None:
    path = memory_folder / "large.fold"
    write_large(path, tiles=120)
    good = path.read_bytes()
    expected = contents(path)
    rng = np.random.default_rng(1)
    refused = 0
    for place, bit in zip(rng.integers(0, len(good), 150), rng.integers(0, 8, 150), strict=True):
        bad = bytearray(good)
        bad[place] ^= 1 << bit
        path.write_bytes(bad)
        refused += _same_or_refused(path, expected)
    assert refused > 120  # nearly every byte of a large file is payload
    for start, length in zip(rng.integers(0, len(good) - 5000, 60), rng.integers(2, 5000, 60), strict=True):
        path.write_bytes(good[:start] + rng.bytes(length) + good[start + length :])
        assert _same_or_refused(path, expected)


def test_pages_swapped_or_taken_from_another_version(memory_folder: Path) -> None:
    path, other = memory_folder / "pages.fold", memory_folder / "other.fold"
    write_large(path, seed=0, tiles=60)
    write_large(other, seed=1, tiles=60)
    good, donor = path.read_bytes(), other.read_bytes()
    expected = contents(path)
    pages = min(len(good), len(donor)) // 1024
    rng = np.random.default_rng(2)
    for _ in range(60):
        a, b = (int(v) * 1024 for v in rng.integers(0, pages, 2))
        for source in (good, donor):
            bad = bytearray(good)
            bad[a : a + 1024] = source[b : b + 1024]
            path.write_bytes(bad)
            _same_or_refused(path, expected)


def test_verify_names_the_damaged_tiles_and_leaves_the_others_readable(tmp_path: Path) -> None:
    path = tmp_path / "map.fold"
    write_large(path, tiles=200)
    data = bytearray(path.read_bytes())
    assert verify(path) == []
    place = data.index(contents(path)["tiles"]["ground"][3, 2][:300])
    data[place + 100] ^= 1
    path.write_bytes(data)
    faults = verify(path)
    assert len(faults) == 1
    assert "'ground'" in faults[0]
    assert "checksum" in faults[0]
    with FoldFile.open(path) as fold:
        assert fold.tile("ground", -5, -3)
        with pytest.raises(ChecksumError):
            fold.tile("ground", 3, 2)


@pytest.mark.parametrize(
    "data",
    [b"", b"x", b"SQLite format 3\0", b"\0" * 6144, b"II*\0" + b"\0" * 5000, b"SQLite format 3\0" + b"\xff" * 6000],
)
def test_other_files_are_not_fold_files(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.fold"
    path.write_bytes(data)
    with pytest.raises(NotAFoldFileError):
        contents(path)
    assert len(verify(path)) == 1


def test_missing_file_folder_and_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "nothing.fold", tmp_path, tmp_path / "pipe"):
        with pytest.raises(NotAFoldFileError):
            contents(path)


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*.fold")), ids=lambda path: path.stem)
def test_corpus(path: Path, tmp_path: Path) -> None:
    """What the fuzzer or a reviewer once found; the fuzzer starts from these two samples."""
    write_small(tmp_path / "small.fold")
    write_large(tmp_path / "large.fold", tiles=60)
    start = time.monotonic()
    try:
        found = contents(path)
    except MapFormatError:
        assert verify(path)
    else:
        assert found in (contents(tmp_path / "small.fold"), contents(tmp_path / "large.fold"))
    assert time.monotonic() - start < 5
