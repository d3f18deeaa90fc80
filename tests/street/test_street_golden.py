"""The golden file of the street layer reads as on its first day, and folding its source gives it again, to the bit."""

from __future__ import annotations

import json
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "fuzz"))

import fuzz_street
import fuzz_visual
import numpy as np
import pytest
from write_street_golden import GOLDEN, read, write

from foldmap.atlas import FoldFile
from foldmap.errors import MapFormatError
from foldmap.street.tile import coded_order, pack_tile, unpack_tile

FILE = GOLDEN / "v1-street.fold"
with FoldFile.open(FILE) as _file:
    STEP_M, SPACING = (_file.layer("street").parameters[key] for key in ("step_m", "spacing"))


def test_the_golden_file_reads_as_on_its_first_day() -> None:
    assert FILE.stat().st_size < 10_000
    assert json.loads(json.dumps(read(FILE))) == json.loads((GOLDEN / "v1-street.json").read_text())


def test_its_source_folds_to_the_same_tiles_and_model(tmp_path: Path) -> None:
    write(tmp_path / "a.fold")
    with FoldFile.open(FILE) as old, FoldFile.open(tmp_path / "a.fold") as new:
        keys = list(old.tiles("street"))
        assert len(keys) > 5
        assert keys == list(new.tiles("street"))
        for key in keys:
            assert old.tile("street", *key) == new.tile("street", *key)
        assert old.layer("street").parameters == new.layer("street").parameters
        assert json.loads(old.model("street", "embedding"))["name"] == "street-field-1"


def test_every_flipped_byte_of_a_payload_is_refused_or_read_as_what_it_codes() -> None:
    """Under a sound checksum a flip may be another map: then it is one whose own coding is that payload."""
    parts = fuzz_visual.Parts.of(FILE, "street")
    refused = read = 0
    for number, payload in enumerate(parts.tiles.values()):
        assert recoded(payload) == payload
        for place in range(len(payload)):
            data = bytearray(payload)
            data[place] ^= 1 << (place + number) % 8
            try:
                again = recoded(bytes(data))
            except MapFormatError:
                refused += 1
            else:
                read += 1
                assert again is None or again == data
    assert refused > 300
    assert read > 100


def recoded(payload: bytes) -> bytes | None:
    """A tile read and written again; None where it holds another JSON text, which has many spellings."""
    tile = unpack_tile(payload, STEP_M, SPACING, 18, 200)
    assert np.isfinite(tile.part.grid.graph().vertices_m).all()
    coded, decoded = coded_order(tile.part)
    written, _ = pack_tile(coded, replace(tile, part=decoded), SPACING, "all")
    return written


def test_every_truncation_of_a_payload_is_refused() -> None:
    for payload in fuzz_visual.Parts.of(FILE, "street").tiles.values():
        for size in range(len(payload)):
            with pytest.raises(MapFormatError):
                unpack_tile(payload[:size], STEP_M, SPACING, 18, 200)


def test_sealed_lies_are_refused_or_finite(tmp_path: Path) -> None:
    tracemalloc.start()
    try:
        good = fuzz_visual.Parts.of(FILE, "street")
        outcomes, findings = fuzz_visual.rounds(5, 80, 300, tmp_path, good, fuzz_street.use)
    finally:
        tracemalloc.stop()
    assert not findings
    assert outcomes["refused"] > 30
