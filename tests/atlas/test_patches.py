"""Patches: what they lead to byte for byte, read by SQLite alone; which maps they refuse; what damage does to them."""

import hashlib
import json
import os
import re
import shutil
import sqlite3
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fold_samples import contents, reseal, write_large, write_small
from foldmap.atlas import FoldFile, FoldUpdater, FoldWriter, update, verify
from foldmap.atlas.patches import apply_patch, write_patch
from foldmap.errors import ChecksumError, MapFormatError, MapInputError, NewerVersionError, NotAFoldFileError

TESTS = Path(__file__).parents[1]
DOCUMENT = (TESTS.parent / "docs" / "format.md").read_text()


def _changed(path: Path) -> None:
    """Another version of `write_large`: something of each kind of change."""
    with update(path) as updater:
        updater.put_tile("ground", -5, -3, b"longer than before" * 300)
        updater.put_tile("ground", 99, -7, b"")
        updater.remove_tile("ground", 3, 3)
        updater.put_model("ground", "second", b"weights")
        updater.remove_model("ground", "decoder")
        updater.put_metadata("added", [1, 2.5, "text"])
        updater.remove_metadata("crs")
        updater.add_layer("lanes", "street", {"error_m": 0.1})
        updater.put_tile("lanes", 0, 0, b"lane")
        updater.set_parameters("ground", {"codec": "context", "resolution_m": 0.1})


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Two versions of a map."""
    before, after = tmp_path / "before.fold", tmp_path / "after.fold"
    write_large(before)
    shutil.copy(before, after)
    _changed(after)
    return before, after


def _rows(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """All rows, by SQLite itself."""
    connection = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)
    tables = ("metadata", "layers", "models", "tiles", "seal")
    found = {table: connection.execute(f"SELECT * FROM {table} ORDER BY id").fetchall() for table in tables}
    connection.close()
    return found


def test_both_ways_byte_for_byte(pair: tuple[Path, Path], tmp_path: Path) -> None:
    before, after = pair
    report = write_patch(before, after, tmp_path / "p.foldpatch")
    assert (report.tiles, report.removed, report.models, report.metadata, report.layers) == (3, 1, 2, 2, 2)
    assert report.bytes == (tmp_path / "p.foldpatch").stat().st_size
    apply_patch(before, tmp_path / "p.foldpatch", tmp_path / "made.fold")
    assert (tmp_path / "made.fold").read_bytes() == after.read_bytes()
    assert _rows(tmp_path / "made.fold") == _rows(after)
    assert verify(tmp_path / "made.fold") == []
    write_patch(after, before, tmp_path / "back.foldpatch")
    apply_patch(tmp_path / "made.fold", tmp_path / "back.foldpatch")
    assert (tmp_path / "made.fold").read_bytes() == before.read_bytes()


def test_a_patch_follows_the_change_and_not_the_map(tmp_path: Path) -> None:
    """A tile in front shifts all rows behind it; the patch holds that tile alone."""
    for tiles in (200, 2000):
        before, after = tmp_path / "before.fold", tmp_path / "after.fold"
        write_large(before, tiles=tiles)
        shutil.copy(before, after)
        with update(after) as updater:
            updater.put_tile("ground", -100, -100, bytes(20_000))
        shared = {row[3] for row in _rows(before)["tiles"]} & {row[3] for row in _rows(after)["tiles"]}
        assert not shared  # a comparison of rows would find nothing in common
        report = write_patch(before, after, tmp_path / "p.foldpatch")
        assert (report.tiles, report.removed) == (1, 0)
        assert 20_000 < report.bytes < 20_200
        apply_patch(before, tmp_path / "p.foldpatch")
        assert before.read_bytes() == after.read_bytes()


def test_layers_swap_change_kind_and_go(tmp_path: Path) -> None:
    write_small(tmp_path / "a.fold")
    with FoldWriter(tmp_path / "b.fold") as writer:
        writer.add_layer("more", "visual", {})
        writer.add_layer("lanes", "lidar", {})
        writer.put_tile("lanes", 0, 0, b"now lidar")
        writer.add_layer("ground", "lidar", {"codec": "raw", "resolution_m": 0.05})
    for one, other in (("a", "b"), ("b", "a"), ("a", "a")):
        write_patch(tmp_path / f"{one}.fold", tmp_path / f"{other}.fold", tmp_path / "p")
        apply_patch(tmp_path / f"{one}.fold", tmp_path / "p", tmp_path / "c.fold")
        assert (tmp_path / "c.fold").read_bytes() == (tmp_path / f"{other}.fold").read_bytes()
        if one == "a" == other:
            assert (tmp_path / "p").stat().st_size < 120


def test_patches_chain(tmp_path: Path) -> None:
    versions = [tmp_path / f"{k}.fold" for k in range(4)]
    write_large(versions[0], tiles=50)
    for k, path in enumerate(versions[1:], start=1):
        shutil.copy(versions[k - 1], path)
        with update(path) as updater:
            updater.put_tile("ground", k, k, bytes([k]) * 100)
        write_patch(versions[k - 1], path, tmp_path / f"{k}.foldpatch")
    with pytest.raises(MapInputError, match="for a map with the seal"):
        apply_patch(versions[0], tmp_path / "2.foldpatch")
    shutil.copy(versions[0], tmp_path / "map.fold")
    for k in (1, 2, 3):
        apply_patch(tmp_path / "map.fold", tmp_path / f"{k}.foldpatch")
    assert (tmp_path / "map.fold").read_bytes() == versions[3].read_bytes()
    with pytest.raises(MapInputError, match="put in already"):
        apply_patch(tmp_path / "map.fold", tmp_path / "3.foldpatch")


def test_a_map_of_the_same_content_is_the_same_map(tmp_path: Path) -> None:
    """How a base came about does not matter: put in one go, or changed and changed back."""
    for name in ("a", "b"):
        write_large(tmp_path / f"{name}.fold", tiles=60)
    shutil.copy(tmp_path / "a.fold", tmp_path / "after.fold")
    _changed(tmp_path / "after.fold")
    first = contents(tmp_path / "b.fold")["tiles"]["ground"][0, -1]
    for payload in (b"other", first):
        with update(tmp_path / "b.fold") as updater:
            updater.put_tile("ground", 0, -1, payload)
    write_patch(tmp_path / "a.fold", tmp_path / "after.fold", tmp_path / "p")
    apply_patch(tmp_path / "b.fold", tmp_path / "p")
    assert (tmp_path / "b.fold").read_bytes() == (tmp_path / "after.fold").read_bytes()


def test_a_file_of_another_writer_is_named(pair: tuple[Path, Path], tmp_path: Path) -> None:
    before, after = pair
    connection = sqlite3.connect(after)
    connection.execute("UPDATE metadata SET value=value||' ' WHERE key='added'")
    reseal(connection)
    connection.commit()
    connection.close()
    with pytest.raises(MapInputError, match="foldmap merge"):
        write_patch(before, after, tmp_path / "p")
    assert not (tmp_path / "p").exists()


# -- damage ------------------------------------------------------------------------------------------------------------


def test_every_flipped_bit_and_every_cut_is_refused(tmp_path: Path) -> None:
    write_small(tmp_path / "a.fold")
    write_small(tmp_path / "b.fold", seed=1)
    write_patch(tmp_path / "a.fold", tmp_path / "b.fold", tmp_path / "p")
    good, base = (tmp_path / "p").read_bytes(), (tmp_path / "a.fold").read_bytes()
    rng = np.random.default_rng(0)
    cases = [good[:n] for n in range(0, len(good), 7)] + [good + b"x"]
    for at in range(len(good)):
        data = bytearray(good)
        data[at] ^= 1 << int(rng.integers(8))
        cases.append(bytes(data))
    for data in cases:
        (tmp_path / "p").write_bytes(data)
        with pytest.raises(MapFormatError):
            apply_patch(tmp_path / "a.fold", tmp_path / "p")
    assert (tmp_path / "a.fold").read_bytes() == base
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.fold", "b.fold", "p"]


def _digested(data: bytes) -> bytes:
    return data + hashlib.blake2b(data, digest_size=16).digest()


def test_lies_under_a_sound_checksum_are_refused(tmp_path: Path) -> None:
    """Bytes of records changed, doubled, dropped and swapped, the checksum made anew: refused, or nothing lost."""
    write_small(tmp_path / "a.fold")
    write_small(tmp_path / "b.fold", seed=1)
    write_patch(tmp_path / "a.fold", tmp_path / "b.fold", tmp_path / "p")
    base, after = ((tmp_path / name).read_bytes() for name in ("a.fold", "b.fold"))
    body = (tmp_path / "p").read_bytes()[:-16]
    head, records = body[:44], _records_of(body)
    rng = np.random.default_rng(3)
    refused = 0
    for _ in range(300):
        chosen = list(records)
        at, other = (int(rng.integers(len(chosen))) for _ in range(2))
        kind = int(rng.integers(5))
        if kind == 0:
            chosen[at] = _flipped(rng, chosen[at])
        elif kind == 1:
            del chosen[at]
        elif kind == 2:
            chosen.insert(other, chosen[at])
        elif kind == 3:
            chosen[at], chosen[other] = chosen[other], chosen[at]
        else:
            chosen[at] = chosen[at][:1] + struct.pack("<I", int(rng.integers(1 << 32))) + chosen[at][5:]
        (tmp_path / "p").write_bytes(_digested(head + b"".join(chosen)))
        try:
            apply_patch(tmp_path / "a.fold", tmp_path / "p", tmp_path / "c.fold")
        except MapFormatError:
            refused += 1
            assert not (tmp_path / "c.fold").exists()
        else:
            assert (tmp_path / "c.fold").read_bytes() == after  # like an equal record, or two that were swapped
            (tmp_path / "c.fold").unlink()
    assert refused > 250
    assert (tmp_path / "a.fold").read_bytes() == base


def _records_of(body: bytes) -> list[bytes]:
    records, at = [], 44
    while at < len(body):
        size = 5 + struct.unpack_from("<I", body, at + 1)[0]
        records.append(body[at : at + size])
        at += size
    return records


def _flipped(rng: np.random.Generator, record: bytes) -> bytes:
    data = bytearray(record)
    data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
    return bytes(data)


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (lambda data: b"SQLite f" + data[8:], NotAFoldFileError, "no patch"),
        (lambda data: data[:8] + struct.pack("<I", 2) + data[12:], NewerVersionError, "version 2"),
        (lambda data: data[:44] + b"\x04\xff\xff\xff\xff" + data[49:], MapFormatError, "declares 4294967295"),
        (lambda data: data[:44] + b"\x09\x00\x00\x00\x00" + data[44:], MapFormatError, "unknown kind 9"),
        (lambda data: data[:44] + b"\x06\x08\x00\x00\x00" + bytes(8) + data[44:], MapFormatError, "out of order"),
        (lambda data: data[:44] + b"\x03\x0a\x00\x00\x00\x01\x03abc\x04none" + data[44:], MapFormatError, "abc"),
        (lambda data: data[:-5] + b"\x07\x00\x00\x00\x00" + data[-5:], MapFormatError, "a record is damaged"),
        (lambda data: data + b"\x00\x00\x00\x00\x00", MapFormatError, "after its end"),
        (lambda data: data[:-5], MapFormatError, "no end"),
    ],
)
def test_what_is_wrong_is_said(
    change: Callable[[bytes], bytes], error: type[Exception], said: str, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    write_patch(*pair, tmp_path / "p")
    (tmp_path / "p").write_bytes(_digested(change((tmp_path / "p").read_bytes()[:-16])))
    with pytest.raises(error, match=said):
        apply_patch(pair[0], tmp_path / "p", tmp_path / "c.fold")
    assert not (tmp_path / "c.fold").exists()


def test_a_patch_to_another_map_than_it_names_is_refused(pair: tuple[Path, Path], tmp_path: Path) -> None:
    write_patch(*pair, tmp_path / "p")
    data = (tmp_path / "p").read_bytes()[:-16]
    (tmp_path / "p").write_bytes(_digested(data[:28] + bytes(16) + data[44:]))
    before = pair[0].read_bytes()
    with pytest.raises(ChecksumError, match="does not lead to the map that it names"):
        apply_patch(pair[0], tmp_path / "p")
    assert pair[0].read_bytes() == before


def test_a_damaged_base_is_refused(pair: tuple[Path, Path], tmp_path: Path) -> None:
    before, after = pair
    write_patch(before, after, tmp_path / "p")
    data = bytearray(before.read_bytes())
    data[len(data) // 2] ^= 1
    before.write_bytes(data)
    with pytest.raises(MapFormatError):
        apply_patch(before, tmp_path / "p", tmp_path / "c.fold")
    with pytest.raises(MapFormatError):
        write_patch(before, after, tmp_path / "q")
    assert not (tmp_path / "c.fold").exists()
    assert not (tmp_path / "q").exists()


# -- transactions, size ------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_at_any_point_leaves_old_or_new(tmp_path: Path) -> None:
    command = [sys.executable, str(TESTS / "atlas" / "kill_points.py"), str(tmp_path), "patch"]
    run = subprocess.run(command, capture_output=True, text=True, check=False, cwd=TESTS, timeout=600)
    assert run.returncode == 0, run.stderr
    left = json.loads(run.stdout)
    assert left["mixture"] == 0
    assert left["old"] > 50
    assert left["new"] > 0
    assert left["recovered"] == 1


MEMORY = """
import sys
from pathlib import Path
from foldmap.atlas import FoldUpdater
from foldmap.atlas.patches import apply_patch, write_patch
folder = Path(sys.argv[1])
def peak_kb():  # what getrusage says begins with the memory of whoever started this process
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
before = peak_kb()
write_patch(folder / "before.fold", folder / "after.fold", folder / "p")
apply_patch(folder / "before.fold", folder / "p", folder / "c.fold")
print(peak_kb() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    used = []
    for tiles in (1000, 4000):
        with FoldWriter(tmp_path / "before.fold") as writer:
            writer.add_layer("g", "lidar", {})
            for k in range(tiles):
                writer.put_tile("g", k, 0, k.to_bytes(4, "little") * 2500)
        with FoldUpdater(tmp_path / "after.fold", tmp_path / "before.fold") as updater:
            updater.put_tile("g", 7, 1, b"new")
        done = subprocess.run([sys.executable, "-c", MEMORY, str(tmp_path)], capture_output=True, text=True, check=True)
        used.append(int(done.stdout))
    assert used[1] < used[0] + 5000  # kB, of 30 MB more


def test_the_document_says_the_bytes(pair: tuple[Path, Path], tmp_path: Path) -> None:
    """Head, records and checksum read as the document lays them out, by this test's own reader."""
    write_patch(*pair, tmp_path / "p")
    data = (tmp_path / "p").read_bytes()
    section = DOCUMENT.split("## 10. Patches")[1].split("\n## ")[0]
    assert data[:8].decode() == "FOLDPTCH" in section
    with FoldFile.open(pair[0]) as old, FoldFile.open(pair[1]) as new:
        assert data[12:28] == old.seal == _rows(pair[0])["seal"][0][1]
        assert data[28:44] == new.seal
    assert data[-16:] == hashlib.blake2b(data[:-16], digest_size=16).digest()
    said = dict(re.findall(r"^\| (\d) \| ([a-z ]+) \|", section, re.MULTILINE))
    kinds = [said[str(record[0])] for record in _records_of(data[:-16])]
    assert kinds[0] == "metadata"
    assert kinds[-1] == "end"
    assert sorted(set(kinds)) == sorted(said.values())
    tiles = [struct.unpack("<ii", record[5:13]) for record in _records_of(data[:-16]) if record[0] == 6]
    assert tiles == [(99, -7), (-5, -3), (0, 0)]
