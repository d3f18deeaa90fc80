"""A short, repeatable slice of what ``make fuzz`` runs: every family of readers, some dozens of cases each."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from driver import Case, Family, Files, run
from mutations import Rng

from benchmarks.cases.fuzz import FAMILIES
from foldmap.errors import InputError

FUZZ = Path(__file__).resolve().parent / "fuzz_readers.py"


def test_right_or_refused() -> None:
    """In a process of its own: children of one whose libraries have threads would wait for them forever."""
    done = subprocess.run(
        [sys.executable, str(FUZZ), "--slice", "--seed", "1"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == FAMILIES + 1
    assert all(" read" in line and (" refused" in line or " unnamed" in line) for line in lines[:-1])
    assert lines[-1].endswith(" 0 findings")


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
        os.kill(os.getpid(), signal.SIGKILL)
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
