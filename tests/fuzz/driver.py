"""What every fuzzer of a reader shares: numbered cases, a child process that may die, limits of time and memory.

A case is made by its family, seed and number alone, so ``--family F --seed S --first N --cases 1`` shows it again.
Cases run in forked children, a batch each: a crash of a library, a hang or a request for a gigabyte is a finding.
"""

from __future__ import annotations

import collections
import contextlib
import hashlib
import json
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from foldmap.errors import FoldmapError

LONGEST_S = 10
MOST_BYTES = 1 << 30
BATCH = 250
BROKEN = 3
Files = dict[str, bytes]
Rng = np.random.Generator


@dataclass(frozen=True)
class Case:
    """One input: files by relative name, what was done to them, and whether that may change what they mean."""

    files: Files
    change: str
    neutral: bool = False


@dataclass(frozen=True)
class Family:
    """A reader with valid inputs and changes of them.

    Attributes:
        name: of the family.
        seeds: makes valid inputs.
        mutate: changes one of them.
        read: reads the folder that holds the files; what it returns holds arrays, numbers and texts.
        slice_cases: how many of them the tests run.
        names_file: whether its refusals must name the file; those of an open .fold file need not.
    """

    name: str
    seeds: Callable[[], Sequence[Files]]
    mutate: Callable[[Rng, Files], Case]
    read: Callable[[Path], Any]
    slice_cases: int = 60
    names_file: bool = True


@dataclass
class Tally:
    """How many cases ended how, and what must not happen."""

    outcomes: collections.Counter[str] = field(default_factory=collections.Counter)
    findings: list[tuple[int, str, str]] = field(default_factory=list)

    @property
    def cases(self) -> int:
        return sum(self.outcomes.values())


def write(folder: Path, files: Files) -> None:
    """Put files into an empty folder."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def leaves(value: Any) -> Iterator[Any]:
    """Arrays, numbers and texts in what a reader returned, in order."""
    if isinstance(value, dict):
        for key in value:
            yield key
            yield from leaves(value[key])
    elif isinstance(value, list | tuple | set | frozenset):
        for part in value:
            yield from leaves(part)
    elif hasattr(value, "__dataclass_fields__"):
        for name in value.__dataclass_fields__:
            yield from leaves(getattr(value, name))
    else:
        yield value


def digest(value: Any) -> str:
    """Of all that a reader returned."""
    hashed = hashlib.blake2b(digest_size=16)
    for leaf in leaves(value):
        if isinstance(leaf, np.ndarray):
            hashed.update(repr((leaf.dtype.str, leaf.shape)).encode() + np.ascontiguousarray(leaf).tobytes())
        else:
            hashed.update(repr(leaf).encode("utf-8", "backslashreplace"))
    return hashed.hexdigest()


def unsound(value: Any) -> str:
    """What is wrong with a result whatever was read: numbers that are none; empty where nothing is."""
    for leaf in leaves(value):
        if isinstance(leaf, np.ndarray) and leaf.dtype.kind in "fc" and not np.isfinite(leaf).all():
            return "an array that is not finite"
        if isinstance(leaf, float) and not np.isfinite(leaf):
            return "a number that is not finite"
    return ""


def judge(family: Family, case: Case, right: str) -> tuple[str, str]:
    """Read one case: its outcome, and what is wrong with that (empty when nothing is)."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as scratch:
        folder = Path(scratch)
        write(folder, case.files)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = family.read(folder)
                outcome = "read"
                wrong = unsound(found)
                if not wrong and case.neutral and digest(found) != right:
                    wrong = "another result though nothing of meaning changed"
        except FoldmapError as error:
            named = any(Path(name).name in error.message for name in case.files) or folder.name in error.message
            outcome = "refused" if named else "unnamed"
            wrong = "" if named or not family.names_file else f"a refusal that does not name the file: {error}"
            if case.neutral:
                wrong = f"refused though nothing of meaning changed: {error}"
        except MemoryError:
            outcome, wrong = "memory", "more than a gigabyte of memory"
        except TooSlow:
            outcome, wrong = "slow", f"more than {LONGEST_S} s"
        except BaseException as error:  # a panic of a library in Rust is no Exception
            where = [f for f in traceback.extract_tb(error.__traceback__) if "foldmap" in f.filename] or [None]
            at = f" at {Path(where[-1].filename).name}:{where[-1].lineno}" if where[-1] else ""
            outcome, wrong = "foreign", f"{type(error).__name__}: {error}"[:200] + at
    return outcome, wrong


class TooSlow(BaseException):
    """Raised by the alarm."""


def _too_slow(*_: object) -> None:
    raise TooSlow


def make(family: Family, seeds: Sequence[Files], seed: int, number: int) -> tuple[int, Case]:
    """The numbered case of a seed, and which valid input it was made from."""
    rng = np.random.default_rng((seed, int.from_bytes(family.name.encode()[:6], "big"), number))
    which = int(rng.integers(len(seeds)))
    return which, family.mutate(rng, seeds[which])


def _size_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _right(family: Family, files: Files) -> str:
    """Digest of what a valid input holds; a reader that refuses it ends the fuzzer."""
    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write(Path(scratch), files)
        return digest(family.read(Path(scratch)))


def _child(family: Family, seeds: Sequence[Files], seed: int, numbers: range, to: int) -> None:
    """Judge a batch; a line of JSON a case, its number first, so that the parent knows at which the child died."""
    # read here, not in the parent: threads of a library do not outlive a fork
    rights = [_right(family, files) for files in seeds]
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - libraries complain about what is damaged on purpose
    os.dup2(sys.stderr.fileno(), 2)
    resource.setrlimit(resource.RLIMIT_AS, (_size_bytes() + MOST_BYTES, resource.RLIM_INFINITY))
    signal.signal(signal.SIGALRM, _too_slow)
    with os.fdopen(to, "wb", buffering=0) as pipe:
        for number in numbers:
            try:
                signal.alarm(LONGEST_S)
                which, case = make(family, seeds, seed, number)
                signal.alarm(LONGEST_S)
                outcome, wrong = judge(family, case, rights[which])
            except TooSlow:
                outcome, wrong = "slow", f"more than {LONGEST_S} s"
            finally:
                signal.alarm(0)
            pipe.write((json.dumps([number, outcome, wrong, case.change]) + "\n").encode())


def run(
    family: Family, seed: int, cases: int | None, seconds: float, keep: Path | None = None, first: int = 0
) -> Tally:
    """Fuzz one family until so many cases or seconds are spent."""
    seeds = family.seeds()
    tally, next_number, stop_s = Tally(), first, time.monotonic() + seconds
    last = sys.maxsize if cases is None else first + cases
    while next_number < last and time.monotonic() < stop_s:
        numbers = range(next_number, min(next_number + BATCH, last))
        next_number = _batch(family, seeds, seed, numbers, tally, stop_s)
    for number, _, _ in tally.findings if keep else []:
        _keep(keep, family, seeds, seed, number)
    return tally


def _batch(family: Family, seeds: Sequence[Files], seed: int, numbers: range, tally: Tally, stop_s: float) -> int:
    """Run one child; the number of the first case that it did not do."""
    out, to = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads: libraries are used in children alone
        child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(out)
            _child(family, seeds, seed, numbers, to)
            status = 0
        except BaseException:
            traceback.print_exc(file=sys.__stderr__)
            status = BROKEN
        finally:
            os._exit(status)
    os.close(to)
    at = numbers.start
    with os.fdopen(out, "rb") as pipe:
        while at < numbers.stop:
            line = _line(pipe)
            if line is None:
                number, outcome, wrong, change = at, "slow", "it hangs", "?"
            elif not line:
                number, outcome, wrong, change = at, "crash", "the process died", "?"
            else:
                number, outcome, wrong, change = json.loads(line)
            if line == b"" and _ended(child) == BROKEN:
                raise RuntimeError(f"{family.name}: the fuzzer fails at case {at}, or a valid input is refused")
            tally.outcomes[outcome] += 1
            at = number + 1
            if wrong:
                tally.findings.append((number, change, wrong))
            if not line or time.monotonic() > stop_s:
                break
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return at


def _ended(child: int) -> int:
    """Exit status of a child that closed its pipe; below 0 where a signal ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _line(pipe: Any) -> bytes | None:
    """The child's next line: empty where it died, None where it hangs."""
    signal.signal(signal.SIGALRM, _too_slow)
    signal.alarm(3 * LONGEST_S)
    try:
        return bytes(pipe.readline())
    except TooSlow:
        return None
    finally:
        signal.alarm(0)


def _keep(keep: Path | None, family: Family, seeds: Sequence[Files], seed: int, number: int) -> None:
    assert keep is not None
    write(keep / f"{family.name}-{seed}-{number}", make(family, seeds, seed, number)[1].files)
