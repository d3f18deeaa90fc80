"""The golden file of the street layer reads as on its first day, and folding its source gives it again, to the bit."""

from __future__ import annotations

import itertools
import json
import sys
import tracemalloc
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "fuzz"))

import fuzz_street
import fuzz_visual
import pytest
import street_reader
from write_street_golden import GOLDEN, read, write

from foldmap.atlas import FoldFile
from foldmap.errors import MapFormatError
from foldmap.street.tile import tile_sizes, unpack_tile

ROW_BYTES, MOST = 18, 200
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


def test_every_flipped_bit_of_a_payload_is_refused_or_read_as_the_document_says() -> None:
    """Under a sound checksum a flip may be another map: then the second reader finds the same one."""
    good = fuzz_visual.Parts.of(FILE, "street")
    refused = read = 0
    for payload in good.tiles.values():
        _, sizes, _, start = tile_sizes(payload)
        vectors = start + sizes["graph"] + sizes["places"]
        for place, bit in itertools.product(range(len(payload)), range(8)):
            if vectors <= place < vectors + sizes["vectors"] and place % 16:
                continue  # each byte there is a number of its own
            data = bytearray(payload)
            data[place] ^= 1 << bit
            try:
                found = unpack_tile(bytes(data), STEP_M, SPACING, ROW_BYTES, MOST)
            except MapFormatError:
                refused += 1
                continue
            read += 1
            second = street_reader.read_tile(bytes(data), good.parameters)
            assert found.part.grid.xy.tolist() == [list(at) for at in second.graph.xy]
            assert found.part.grid.edges.tolist() == [list(edge) for edge in second.graph.edges]
            assert found.part.grid.kind.tolist() == second.graph.kind
            assert list(zip(found.edge.tolist(), found.along.tolist(), strict=True)) == second.places
            lanes = found.part.grid.lanes
            names = [None if k < 0 else [*vars(lanes[k]).values()] for k in found.part.grid.lane.tolist()]
            assert names == second.lanes
    assert refused > 2000
    assert read > 200


def test_every_truncation_of_a_payload_is_refused() -> None:
    for payload in fuzz_visual.Parts.of(FILE, "street").tiles.values():
        for size in range(len(payload)):
            with pytest.raises(MapFormatError):
                unpack_tile(payload[:size], STEP_M, SPACING, ROW_BYTES, MOST)


def test_sealed_lies_are_refused_or_finite(tmp_path: Path) -> None:
    tracemalloc.start()
    try:
        good = fuzz_visual.Parts.of(FILE, "street")
        outcomes, findings = fuzz_visual.rounds(5, 80, 300, tmp_path, good, fuzz_street.use)
    finally:
        tracemalloc.stop()
    assert not findings
    assert outcomes["refused"] > 30
