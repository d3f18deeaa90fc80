"""Structure-aware mutation of .fold files, for as long as one likes: ``python tests/fuzz/fuzz_fold.py --seconds 300``.

Each round takes a sound file, mutates it as bytes, as database pages or as rows, and reads everything in it. Mutations
that do not mend the checksums must give the identical contents or a MapFormatError; those that do (a liar can) may give
other contents, but nothing else than a MapFormatError either, in bounded time and memory. Whatever breaks this is kept
in ``tests/corpus/fold``, which the normal tests replay.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import sqlite3
import struct
import sys
import tempfile
import time
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fold_samples import CORPUS, contents, reseal, write_large, write_small
from foldmap.atlas import verify
from foldmap.errors import MapFormatError

PAGE = 1024
LONGEST_S = 5.0
MOST_MEMORY_FACTOR = 64
Generator = np.random.Generator
EDGES = [0, 1, 2, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]


def flip_bits(rng: Generator, data: bytearray, _: bytes) -> None:
    """A few bits."""
    for place in rng.integers(0, len(data), int(rng.integers(1, 9))):
        data[place] ^= 1 << int(rng.integers(8))


def write_edge_value(rng: Generator, data: bytearray, _: bytes) -> None:
    """A number that is an edge case, in some width, somewhere: lengths, counts, pointers."""
    width = int(rng.choice([1, 2, 4]))
    value = EDGES[int(rng.integers(len(EDGES)))] & (1 << 8 * width) - 1
    place = int(rng.integers(0, len(data) - width))
    data[place : place + width] = value.to_bytes(width, "big")


def edit_page_header(rng: Generator, data: bytearray, _: bytes) -> None:
    """Kind, free list, cell count, content start, right child or a cell pointer of one page."""
    page = int(rng.integers(0, len(data) // PAGE))
    at = page * PAGE + (100 if page == 0 else 0)
    data[at] = int(rng.choice([2, 5, 10, 13, data[at]]))
    place = at + int(rng.integers(1, 40))
    data[place] = int(rng.integers(256))


def edit_cell(rng: Generator, data: bytearray, _: bytes) -> None:
    """The first bytes of one cell: payload length, row id, record header."""
    page = int(rng.integers(1, len(data) // PAGE)) * PAGE
    head = 12 if data[page] == 5 else 8
    count = max(1, min(struct.unpack_from(">H", data, page + 3)[0], 100))
    pointer = struct.unpack_from(">H", data, page + head + 2 * int(rng.integers(count)))[0]
    place = min(page + pointer % PAGE + int(rng.integers(0, 12)), len(data) - 1)
    data[place] = int(rng.choice([0, 1, 0x7F, 0x80, 0x81, 0xFF, int(rng.integers(256))]))


def copy_page(rng: Generator, data: bytearray, other: bytes) -> None:
    """One page over another, from this file or from another version of it."""
    source = bytes(data) if rng.random() < 0.5 else other
    a = int(rng.integers(0, len(source) // PAGE)) * PAGE
    b = int(rng.integers(0, len(data) // PAGE)) * PAGE
    data[b : b + PAGE] = source[a : a + PAGE]


def cut_or_grow(rng: Generator, data: bytearray, other: bytes) -> None:
    """Another number of pages, declared or not."""
    pages = int(rng.integers(0, len(data) // PAGE + 3))
    data[:] = (bytes(data) + other)[: pages * PAGE]
    if rng.random() < 0.7 and len(data) > 100:
        data[28:32] = struct.pack(">I", pages)


def link_pages(rng: Generator, data: bytearray, _: bytes) -> None:
    """A child or overflow pointer to any page: loops and shared branches."""
    page = int(rng.integers(1, len(data) // PAGE)) * PAGE
    target = struct.pack(">I", int(rng.integers(0, len(data) // PAGE + 2)))
    place = page + (int(rng.choice([0, 8])) if rng.random() < 0.5 else int(rng.integers(0, PAGE - 4)))
    data[place : place + 4] = target


BYTE_MUTATIONS: list[Callable[[Generator, bytearray, bytes], None]] = [
    flip_bits,
    write_edge_value,
    edit_page_header,
    edit_cell,
    copy_page,
    cut_or_grow,
    link_pages,
]


def _numbers(rng: Generator) -> int:
    return int(rng.choice([*EDGES, -1, -(1 << 31), (1 << 62)]))


def _directory(rng: Generator, old: bytes) -> bytes:
    """A directory with a head or body that was tampered with, deflated again."""
    head = list(struct.unpack_from("<III", old))
    body = bytearray(zlib.decompress(old[12:]))
    if rng.random() < 0.5:
        head[int(rng.integers(3))] = _numbers(rng) & 0xFFFFFFFF
    for _ in range(int(rng.integers(0, 4))):
        if body:
            body[int(rng.integers(len(body)))] = int(rng.integers(256))
    if rng.random() < 0.2:
        body = body + bytes(int(rng.integers(0, 100_000)))
    return struct.pack("<III", *head) + zlib.compress(bytes(body), 9)


TEXTS = [
    "",
    "{",
    "{}",
    "[]",
    "1e999",
    "NaN",
    '"\\ud800"',
    "[" * 5000,
    "9" * 5000,
    '{"a":1,"a":2}',
    "x" * 300,
    "\0",
    "lidar",
]


def edit_rows(rng: Generator, connection: sqlite3.Connection) -> None:
    """One edit with SQL, of those that keep the tables."""
    table = str(rng.choice(["metadata", "layers", "models", "tiles", "seal"]))
    ids = [row[0] for row in connection.execute(f"SELECT id FROM {table}")]
    if not ids:
        return
    row = ids[int(rng.integers(len(ids)))]
    columns = [(name, kind) for _, name, kind, *_ in connection.execute(f"PRAGMA table_info({table})")]
    name, kind = columns[int(rng.integers(len(columns)))]
    choice = rng.random()
    if choice < 0.1:
        connection.execute(f"DELETE FROM {table} WHERE id=?", (row,))
    elif choice < 0.2 and len(ids) > 1:
        other = ids[int(rng.integers(len(ids)))]
        connection.execute(
            f"UPDATE {table} SET {name}=(SELECT {name} FROM {table} WHERE id=?) WHERE id=?", (other, row)
        )
    elif name == "directory" and choice < 0.9:
        old = connection.execute("SELECT directory FROM layers WHERE id=?", (row,)).fetchone()[0]
        connection.execute("UPDATE layers SET directory=? WHERE id=?", (_directory(rng, old), row))
    else:
        value = {"INTEGER": _numbers(rng), "TEXT": TEXTS[int(rng.integers(len(TEXTS)))]}.get(
            kind, rng.bytes(int(rng.choice([0, 1, 7, 8, 9, 500, 5000])))
        )
        connection.execute(f"UPDATE {table} SET {name}=? WHERE id=?", (value, row))


def edit_schema(rng: Generator, connection: sqlite3.Connection) -> None:
    """Something in the schema that a .fold file has not."""
    statements = [
        "CREATE TRIGGER t AFTER INSERT ON tiles BEGIN DELETE FROM tiles; END",
        "CREATE VIEW v AS SELECT * FROM tiles",
        "CREATE INDEX i ON tiles(layer)",
        "CREATE TABLE more(a)",
        "ALTER TABLE layers RENAME COLUMN kind TO type",
        "DROP TABLE seal",
    ]
    connection.execute(statements[int(rng.integers(len(statements)))])


def mutate_database(rng: Generator, path: Path, data: bytes) -> bool:
    """Edit rows or schema; True where the checksums were mended."""
    path.write_bytes(data)
    connection = sqlite3.connect(path, isolation_level=None)
    mend = rng.random() < 0.7
    try:
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("PRAGMA journal_mode=MEMORY")
        connection.execute("BEGIN")
        for _ in range(int(rng.integers(1, 4))):
            (edit_schema if rng.random() < 0.1 else edit_rows)(rng, connection)
        if mend:
            reseal(connection)
        connection.execute("COMMIT")
        if rng.random() < 0.9:
            connection.execute("VACUUM")
    except (sqlite3.Error, UnicodeError, struct.error, zlib.error):
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    finally:
        connection.close()
    return mend


def judge(path: Path, expected: object, mended: bool) -> tuple[str, str]:
    """Read a mutant in full: its outcome, and what is wrong with that (empty when nothing is)."""
    tracemalloc.reset_peak()
    start = time.monotonic()
    fault = ""
    outcome = "refused"
    try:
        found = contents(path)
        outcome = "same" if found == expected else "other"
        if outcome == "other" and not mended:
            fault = "a wrong answer"
        verify(path)
    except MapFormatError:
        pass
    except Exception as error:
        outcome, fault = "crash", f"{type(error).__name__}: {error}"
    if time.monotonic() - start > LONGEST_S:
        fault = "too slow"
    peak = tracemalloc.get_traced_memory()[1]
    if peak > (8 << 20) + MOST_MEMORY_FACTOR * path.stat().st_size:
        fault = f"{peak} bytes of memory"
    return outcome, fault


def run(seconds: float, seed: int, keep: Path) -> int:
    """Fuzz; returns the number of findings."""
    rng = np.random.default_rng(seed)
    outcomes: collections.Counter[str] = collections.Counter()
    findings = 0
    tracemalloc.start()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mutant.fold"
        samples = []
        for write in (write_small, lambda p, s: write_large(p, s, tiles=60)):
            pair = []
            for version in (0, 1):
                write(path, version)
                pair.append(path.read_bytes())
            write(path, 0)
            samples.append((*pair, contents(path)))
        stop = time.monotonic() + seconds
        while time.monotonic() < stop:
            good, other, expected = samples[int(rng.integers(len(samples)))]
            if rng.random() < 0.4:
                name, mended = "rows", mutate_database(rng, path, good)
            else:
                data, mended = bytearray(good), False
                for _ in range(int(rng.integers(1, 4))):
                    mutation = BYTE_MUTATIONS[int(rng.integers(len(BYTE_MUTATIONS)))]
                    name = mutation.__name__
                    if len(data) >= 2 * PAGE:
                        mutation(rng, data, other)
                path.write_bytes(data)
            outcome, fault = judge(path, expected, mended)
            outcomes[outcome] += 1
            if fault:
                findings += 1
                bad = path.read_bytes()
                kept = keep / f"{name}-{hashlib.blake2b(bad, digest_size=4).hexdigest()}.fold"
                keep.mkdir(parents=True, exist_ok=True)
                kept.write_bytes(bad)
                print(f"FOUND {fault}: kept as {kept}")
    print(f"seed {seed}: {sum(outcomes.values())} mutants, {dict(sorted(outcomes.items()))}, {findings} findings")
    return findings


def main() -> None:
    """Read the arguments and fuzz; exit status 1 when something was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=CORPUS, help="where findings go")
    arguments = parser.parse_args()
    sys.exit(1 if run(arguments.seconds, arguments.seed, arguments.keep) else 0)


if __name__ == "__main__":
    main()
