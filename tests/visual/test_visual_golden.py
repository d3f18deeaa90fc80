"""The golden file of the visual layer decodes as on its first day; liars' versions of it are refused or finite."""

from __future__ import annotations

import json
import sys
import tracemalloc
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "fuzz"))

import fuzz_visual
from write_visual_golden import GOLDEN, read

from foldmap.atlas import FoldFile
from foldmap.errors import MapFormatError, ModelError
from foldmap.localize.estimate import Status
from foldmap.localize.visual.localizer import VisualLocalizer
from foldmap.visual.unfold import FoldedVisual

FILE = GOLDEN / "v1-visual.fold"
SIDES = GOLDEN / "v1-visual-sides.fold"
"""Of after maps said from where their points were seen, and were calibrated."""


@pytest.mark.parametrize("path", [FILE, SIDES], ids=lambda path: path.stem)
def test_the_golden_files_decode_as_on_their_first_day(path: Path) -> None:
    assert path.stat().st_size < 20_000
    assert json.loads(json.dumps(read(path))) == json.loads(path.with_suffix(".json").read_text())


def test_a_photo_is_localized_in_them() -> None:
    with FoldFile.open(SIDES) as file:
        assert VisualLocalizer(FoldedVisual(file)).localize(fuzz_visual.query()).status is Status.OK
    with FoldFile.open(FILE) as file:
        found = VisualLocalizer(FoldedVisual(file)).localize(fuzz_visual.query())
    assert found.status is Status.DEGRADED
    assert "not calibrated" in found.diagnostics.reason


def test_sealed_lies_are_refused_or_finite(tmp_path: Path) -> None:
    tracemalloc.start()
    try:
        outcomes, findings = fuzz_visual.rounds(seed=5, count=40, seconds=300, folder=tmp_path)
    finally:
        tracemalloc.stop()
    assert not findings
    assert outcomes["refused"] > 15


@pytest.mark.parametrize("key", [(0, 0), (0, 1), (1, 1), (0, 2)])
def test_a_missing_tile_is_named(key: tuple[int, int], tmp_path: Path) -> None:
    parts = fuzz_visual.Parts.of(FILE)
    del parts.tiles[key]
    parts.write(tmp_path / "a.fold")
    with pytest.raises(MapFormatError, match="missing"):
        fuzz_visual.use(tmp_path / "a.fold")


def test_a_missing_codec_is_named(tmp_path: Path) -> None:
    parts = fuzz_visual.Parts.of(FILE)
    del parts.models["codec"]
    parts.write(tmp_path / "a.fold")
    with pytest.raises(ModelError, match="missing"):
        fuzz_visual.use(tmp_path / "a.fold")
