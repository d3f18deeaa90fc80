"""A short, repeatable slice of what ``make fuzz`` runs: every family of readers, a few hundred cases each."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from driver import Case, Family, Files, run
from fuzz_readers import families
from mutations import Rng

from foldmap.errors import InputError

CASES = 120


@pytest.mark.parametrize("family", families(), ids=lambda family: family.name)
def test_right_or_refused(family: Family) -> None:
    tally = run(family, seed=1, cases=CASES, seconds=20.0)
    assert tally.findings == []
    assert tally.outcomes["refused"] + tally.outcomes["unnamed"] > 0  # the changes bite
    assert tally.outcomes["read"] > 0  # and leave something whole


def _seeds() -> list[Files]:
    return [{"a.txt": b"1"}]


def _same(rng: Rng, files: Files) -> Case:
    return Case(files, "nothing", neutral=True)


def _foreign(folder: Path) -> object:
    return [][1] if _later(folder) else 1


def _greedy(folder: Path) -> object:
    return bytearray(3 << 30)[0] if _later(folder) else 1


def _deadly(folder: Path) -> object:
    if _later(folder):
        import os

        os.abort()
    return 1


def _wrong(folder: Path) -> object:
    return float("nan") if _later(folder) else 1.0


def _other(folder: Path) -> object:
    return 2 if _later(folder) else 1


def _strict(folder: Path) -> object:
    if _later(folder):
        raise InputError(f"{folder}/a.txt is bad")
    return 1


_calls = {"count": 0}


def _later(folder: Path) -> bool:
    """False for the valid input that a child reads first, True for its cases."""
    _calls["count"] += 1
    return _calls["count"] > 1


@pytest.mark.parametrize(
    ("read", "outcome"),
    [
        (_foreign, "foreign"),
        (_greedy, "memory"),
        (_deadly, "crash"),
        (_wrong, "read"),
        (_other, "read"),
        (_strict, "refused"),
    ],
)
def test_the_driver_sees_what_it_must(read: object, outcome: str) -> None:
    tally = run(Family("sham", _seeds, _same, read), seed=0, cases=1, seconds=20.0)  # type: ignore[arg-type]
    assert dict(tally.outcomes) == {outcome: 1}
    assert len(tally.findings) == 1
