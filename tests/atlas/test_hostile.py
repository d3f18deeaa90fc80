"""Files made to mislead: valid checksums over lies, foreign schemas, sizes that are not there. All are refused."""

import json
import sqlite3
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from fold_samples import contents, reseal, write_large, write_small
from foldmap.errors import LimitError, MapFormatError, NewerVersionError, NotAFoldFileError


def forge(path: Path, *statements: str | tuple, sealed: bool = True) -> None:
    """Edit a small file with SQL, without free pages, and make it look sound again."""
    write_small(path)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("BEGIN")
    for statement in statements:
        connection.execute(*((statement,) if isinstance(statement, str) else statement))
    if sealed:
        reseal(connection)
    connection.execute("COMMIT")
    connection.execute("VACUUM")
    connection.close()


def directory(first: int, bundles: int, tiles: int, body: bytes) -> tuple:
    return ("UPDATE layers SET directory=? WHERE id=1", (struct.pack("<III", first, bundles, tiles) + body,))


def test_forging_itself_changes_nothing(tmp_path: Path) -> None:
    forge(tmp_path / "a.fold")
    write_small(tmp_path / "b.fold")
    assert contents(tmp_path / "a.fold") == contents(tmp_path / "b.fold")


SCHEMA_EDITS = [
    "CREATE TRIGGER t AFTER INSERT ON tiles BEGIN DELETE FROM tiles; END",
    "CREATE VIEW v AS SELECT * FROM tiles",
    "CREATE INDEX i ON tiles(layer)",
    "CREATE TABLE more(a)",
    "ALTER TABLE tiles RENAME TO pieces",
    "ALTER TABLE tiles ADD COLUMN extra TEXT",
    "DROP TABLE models",
]


@pytest.mark.parametrize("edit", SCHEMA_EDITS)
def test_any_other_schema_is_refused(edit: str, tmp_path: Path) -> None:
    write_small(tmp_path / "a.fold")
    connection = sqlite3.connect(tmp_path / "a.fold")
    connection.execute(edit)
    connection.execute("VACUUM")
    connection.close()
    with pytest.raises(MapFormatError, match="schema"):
        contents(tmp_path / "a.fold")


def test_a_view_that_never_ends_is_not_run(tmp_path: Path) -> None:
    """A view in place of a table, computing for ever, and one whose rows are without end."""
    write_small(tmp_path / "a.fold")
    connection = sqlite3.connect(tmp_path / "a.fold", isolation_level=None)
    connection.execute("DROP TABLE metadata")
    connection.execute(
        "CREATE VIEW metadata(id,key,value,checksum) AS WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c)"
        " SELECT n,'k'||n,'1',x'00' FROM c"
    )
    connection.execute("VACUUM")
    connection.close()
    start = time.monotonic()
    with pytest.raises(MapFormatError):
        contents(tmp_path / "a.fold")
    assert time.monotonic() - start < 2


BOMB = zlib.compress(bytes(40_000_000), 9)
LIES: dict[str, tuple] = {
    "more tiles than bytes": (directory(1, 1, 1 << 24, BOMB),),
    "more tiles than a number": (directory(1, 1, (1 << 32) - 1, BOMB),),
    "more bundles than tiles": (directory(1, 9, 5, BOMB),),
    "bomb behind a small size": (directory(1, 1, 5, BOMB),),
    "directory cut": (("UPDATE layers SET directory=substr(directory,1,11) WHERE id=1",),),
    "directory not deflated": (directory(1, 1, 5, b"not deflated" * 9),),
    "tail behind the directory": (("UPDATE layers SET directory=CAST(directory||x'00' AS BLOB) WHERE id=1",),),
    "tiles out of order": (directory(1, 1, 2, zlib.compress(struct.pack("<I", 2) + bytes(8 + 24))),),
    "bundle without tiles": (directory(1, 2, 2, zlib.compress(struct.pack("<II", 0, 2) + bytes(16 + 24))),),
    "bundles hold other tiles": (directory(1, 1, 2, zlib.compress(struct.pack("<I", 7) + bytes(8 + 24))),),
    "payload longer than the file": (
        directory(1, 1, 1, zlib.compress(struct.pack("<I", 1) + bytes(8 + 8) + b"\0\0\0\x02")),
    ),
    "payload longer than any": (
        directory(1, 1, 1, zlib.compress(struct.pack("<I", 1) + bytes(8 + 8) + b"\xff\xff\xff\xff")),
    ),
    "bundle missing": ("DELETE FROM tiles WHERE id=1",),
    "bundle of another layer": ("UPDATE tiles SET layer=2 WHERE id=1",),
    "bundles swapped": ("UPDATE tiles SET id=-id", "UPDATE tiles SET id=3+id"),
    "tile shortened": ("UPDATE tiles SET payload=substr(payload,2) WHERE id=1",),
    "kind unknown": ("UPDATE layers SET kind='sonar' WHERE id=1",),
    "layer twice": ("UPDATE layers SET name='ground'",),
    "layer without name": ("UPDATE layers SET name='' WHERE id=1",),
    "parameters no object": ("UPDATE layers SET parameters='[]' WHERE id=1",),
    "parameters not JSON": ("UPDATE layers SET parameters='{' WHERE id=1",),
    "NaN": ("""UPDATE layers SET parameters='{"a":NaN}' WHERE id=1""",),
    "key twice": ("""UPDATE layers SET parameters='{"a":1,"a":2}' WHERE id=1""",),
    "infinite number": ("""UPDATE layers SET parameters='{"a":1e999}' WHERE id=1""",),
    "number without end": (("UPDATE metadata SET value=?", ("9" * 100_000,)),),
    "nested without end": (("UPDATE metadata SET value=?", ("[" * 100_000 + "]" * 100_000,)),),
    "metadata too long": (("UPDATE metadata SET value=? WHERE id=1", ('"' + "x" * (1 << 20) + '"',)),),
    "metadata without end": (
        "INSERT INTO metadata WITH RECURSIVE c(n) AS (SELECT 9 UNION ALL SELECT n+1 FROM c LIMIT 300)"
        " SELECT n,'k'||n,'1',x'00' FROM c",
    ),
    "metadata twice": ("UPDATE metadata SET key='crs'",),
    "text that is not UTF-8": ("UPDATE metadata SET value=CAST(x'22ff22' AS TEXT) WHERE id=1",),
    "model of no layer": ("UPDATE models SET layer=7",),
    "model name too long": (("UPDATE models SET name=?", ("n" * 5000,)),),
    "no seal": ("DELETE FROM seal",),
}


@pytest.mark.parametrize("lie", LIES)
def test_lies_with_valid_checksums(lie: str, tmp_path: Path) -> None:
    try:
        forge(tmp_path / "a.fold", *LIES[lie])
    except (UnicodeDecodeError, sqlite3.OperationalError):
        forge(tmp_path / "a.fold", *LIES[lie], sealed=False)
    start = time.monotonic()
    with pytest.raises(MapFormatError):
        contents(tmp_path / "a.fold")
    assert time.monotonic() - start < 2


def test_wrong_types_in_a_row(tmp_path: Path) -> None:
    """STRICT holds for writers only: a liar turns it off, writes an integer where a text belongs, and turns it on."""
    write_small(tmp_path / "a.fold")
    connection = sqlite3.connect(tmp_path / "a.fold", isolation_level=None)
    connection.execute("PRAGMA writable_schema=ON")
    connection.execute("UPDATE sqlite_schema SET sql=replace(replace(sql,'STRICT',''),'TEXT','ANY')")
    connection.close()
    connection = sqlite3.connect(tmp_path / "a.fold", isolation_level=None)
    connection.execute("UPDATE metadata SET value=5,key=6 WHERE id=1")
    connection.execute("PRAGMA writable_schema=ON")
    write_small(tmp_path / "b.fold")
    good = sqlite3.connect(tmp_path / "b.fold")
    for name, sql in good.execute("SELECT name,sql FROM sqlite_schema").fetchall():
        connection.execute("UPDATE sqlite_schema SET sql=? WHERE name=?", (sql, name))
    good.close()
    connection.close()
    with pytest.raises(MapFormatError, match="where str belongs"):
        contents(tmp_path / "a.fold")


def _patch(position: int, data: bytes) -> Callable[[bytearray], None]:
    def apply(file: bytearray) -> None:
        file[position : position + len(data)] = data

    return apply


@pytest.mark.parametrize(
    ("apply", "error"),
    [
        (_patch(60, struct.pack(">I", 2)), NewerVersionError),
        (_patch(60, struct.pack(">I", 0)), MapFormatError),
        (_patch(68, b"GPKG"), NotAFoldFileError),
        (_patch(18, b"\2\2"), MapFormatError),
        (_patch(28, struct.pack(">I", 7)), MapFormatError),
        (_patch(16, struct.pack(">H", 512)), MapFormatError),
        (_patch(36, struct.pack(">I", 1)), MapFormatError),
        (_patch(56, struct.pack(">I", 2)), MapFormatError),
    ],
)
def test_headers(apply: Callable[[bytearray], None], error: type[Exception], tmp_path: Path) -> None:
    write_small(tmp_path / "a.fold")
    data = bytearray((tmp_path / "a.fold").read_bytes())
    apply(data)
    (tmp_path / "a.fold").write_bytes(data)
    with pytest.raises(error):
        contents(tmp_path / "a.fold")


def test_a_journal_or_log_beside_the_file_is_not_looked_at(tmp_path: Path) -> None:
    write_small(tmp_path / "a.fold")
    expected = contents(tmp_path / "a.fold")
    for ending in ("-journal", "-wal", "-shm"):
        (tmp_path / f"a.fold{ending}").write_bytes(bytes.fromhex("d9d505f920a163d7") + b"\xff" * 5000)
    assert contents(tmp_path / "a.fold") == expected
    assert (tmp_path / "a.fold-journal").stat().st_size == 5008


SIZES_IN_LITTLE_MEMORY = """
import json, resource, sys
from fold_samples import contents
from foldmap.errors import MapFormatError
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + (96 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
answers = []
for path in sys.argv[1:]:
    try:
        contents(path)
        answers.append("read")
    except MapFormatError as error:
        answers.append(type(error).__name__)
print(json.dumps(answers))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs RLIMIT_AS and /proc")
def test_sizes_that_lie_are_refused_before_allocation(tmp_path: Path) -> None:
    """Declared sizes of gigabytes, read by a process that can take 96 MiB more: a refusal, never a MemoryError."""
    write_large(tmp_path / "base.fold", tiles=20)
    base = (tmp_path / "base.fold").read_bytes()
    paths = []
    for name, sizes in {"metadata": (b"EPSG:32632",), "model": (b"decoderdecoder",)}.items():
        at = base.index(sizes[0])
        page = at // 1024 * 1024
        count = struct.unpack_from(">H", base, page + 3)[0]
        for cell in range(count):
            pointer = struct.unpack_from(">H", base, page + 8 + 2 * cell)[0]
            for size in (b"\x87\xff\xff\xff\x7f", b"\x83\xff\xff\x7f", b"\x90\x80\x80\x80\x00"):
                data = bytearray(base)
                data[page + pointer : page + pointer + len(size)] = size
                paths.append(tmp_path / f"{name}{cell}{len(size)}{size[0]}.fold")
                paths[-1].write_bytes(data)
    for lie in [name for name in LIES if name.startswith(("more", "bomb", "payload"))]:
        paths.append(tmp_path / f"{lie}.fold")
        forge(paths[-1], *LIES[lie])
    run = subprocess.run(
        [sys.executable, "-c", SIZES_IN_LITTLE_MEMORY, *map(str, paths)],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1], timeout=600,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    answers = json.loads(run.stdout)
    assert len(answers) == len(paths) >= 10
    assert "read" not in answers


def test_one_long_row_reached_many_times_is_counted_once(tmp_path: Path) -> None:
    """Page pointers that all lead to one page make rows without end out of a small file."""
    with_tree = tmp_path / "a.fold"
    write_small(with_tree)
    connection = sqlite3.connect(with_tree, isolation_level=None)
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("BEGIN")
    connection.execute("DELETE FROM metadata")
    connection.executemany(
        "INSERT INTO metadata VALUES(?,?,?,?)", [(n, f"k{n}", '"' + "v" * 200 + '"', bytes(8)) for n in range(1, 120)]
    )
    reseal(connection)
    connection.execute("COMMIT")
    connection.execute("VACUUM")
    root = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name='metadata'").fetchone()[0]
    connection.close()
    assert len(contents(with_tree)["metadata"]) == 119
    data = bytearray(with_tree.read_bytes())
    page = (root - 1) * 1024
    assert data[page] == 5  # an interior page
    cells = struct.unpack_from(">H", data, page + 3)[0]
    first = struct.unpack_from(">H", data, page + 12)[0]
    child = data[page + first : page + first + 4]
    for cell in range(cells):
        pointer = struct.unpack_from(">H", data, page + 12 + 2 * cell)[0]
        data[page + pointer : page + pointer + 4] = child
    with_tree.write_bytes(data)
    with pytest.raises(MapFormatError):
        contents(with_tree)
    own = bytearray(data)
    for cell in range(cells):
        pointer = struct.unpack_from(">H", own, page + 12 + 2 * cell)[0]
        own[page + pointer : page + pointer + 4] = struct.pack(">I", root)
    with_tree.write_bytes(own)
    with pytest.raises(MapFormatError):
        contents(with_tree)


def test_limit_errors_name_the_limit(tmp_path: Path) -> None:
    forge(tmp_path / "a.fold", *LIES["metadata without end"])
    with pytest.raises(LimitError, match="256"):
        contents(tmp_path / "a.fold")
