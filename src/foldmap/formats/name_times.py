"""Times in the names of files, and names in natural order: of sweeps and of photos."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath, PurePosixPath

import numpy as np

from foldmap.types import DoubleArray

_SUFFIXES = re.compile(r"(\.(las|laz|pcd|bin))+$", re.IGNORECASE)
_PAIR = re.compile(r"(?<![\d.])(\d+)\.(\d+)(?![\d.])")
_MAYBE_PAIR = re.compile(r"(?<![\d.])(\d+)(?:\.(\d+))?(?![\d.])")
_STAMP_PAIR = re.compile(r"(?<!\d)(\d{9,10})[._-](\d{1,9})(?!\d)")
_STAMP = re.compile(r"(?<!\d)(\d{10,19})(?!\d)")
_FRAME, _MOST_FRAMES = re.compile(r"(?<![\d.])(\d{1,8})(?![\d.])"), 20
_NUMBER = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})?")
_EPOCH_S = 1e8
"""Seconds since 1970 (1973): smaller whole numbers are those of frames, unless a trajectory counts frames too."""
_STAMPS = ((1e17, 1e-9), (1e14, 1e-6), (1e11, 1e-3))
"""Times since 1970 beyond these are in nanoseconds, microseconds, milliseconds: as seconds they would be millennia."""


def seconds_per_unit(time: float) -> float:
    """What one unit of a time stamp is in seconds, told from its size: 1 below 1e11 (the year 5138)."""
    return next((seconds for least, seconds in _STAMPS if abs(time) >= least), 1.0)


def natural_key(path: PurePath) -> tuple[tuple[tuple[int, int, str], ...], ...]:
    """Sort key under which ``sweep_2`` comes before ``sweep_10``; folder by folder."""
    pieces = [filter(None, re.split(r"(\d+)", part)) for part in path.parts]
    return tuple(tuple((0, int(each), each) if each.isdecimal() else (1, 0, each) for each in part) for part in pieces)


@dataclass(frozen=True)
class NameTimes:
    """One way, in words, to read times out of the names of sweeps: float64 (N,), no two alike."""

    what: str
    times_s: DoubleArray

    @property
    def step_s(self) -> float:
        """The middle step between times in order; infinite for one time."""
        return float(np.median(np.diff(np.sort(self.times_s)))) if len(self.times_s) > 1 else np.inf


def read_name_times(names: Sequence[str]) -> list[NameTimes]:
    """Every way in which all of these names of sweeps are times; none where they are frame numbers, or else.

    What stands before and after the time must be the same in all names. ``900.5`` may be half a second (decimal) or
    five nanoseconds (seconds and nanoseconds, not padded): both are given, and what the times are used for decides.
    """
    stems = [_SUFFIXES.sub("", name) for name in names]
    found: list[NameTimes] = []
    for parts in _matches(stems, _PAIR):
        found += _kept("decimal seconds", [float(f"{whole}.{part}") for whole, part in parts])
        if all(len(part) <= 9 for _, part in parts):
            found += _kept("seconds and nanoseconds", [int(whole) + int(part) * 1e-9 for whole, part in parts])
    if not found:  # whole seconds may be written without a point: 10.9, 11, 11.1
        for parts in _matches(stems, _MAYBE_PAIR):
            if any(part for _, part in parts):
                found += _kept("decimal seconds", [float(f"{whole}.{part or 0}") for whole, part in parts])
    if not found:
        for parts in _matches(stems, _STAMP_PAIR):
            found += _kept("seconds and nanoseconds", [int(whole) + int(part) * 1e-9 for whole, part in parts])
    if not found:
        for parts in _matches(stems, _STAMP):
            found += _kept("stamps", [int(stamp) * seconds_per_unit(int(stamp)) for (stamp,) in parts])
    return found


def frame_times_s(names: Sequence[str], period_s: float = 0.1) -> DoubleArray | None:
    """Times by the numbers of frames in names of sweeps, float64 (N,), so far apart each; None where none ascend.

    Of every fifth sweep (``000000, 000005, ...``) they tell that five revolutions lie between. Numbers that go in steps
    of more than `_MOST_FRAMES` count something else.
    """
    for parts in _matches([_SUFFIXES.sub("", name) for name in names], _FRAME):
        frames = np.array([int(frame) for (frame,) in parts], np.float64)
        steps = np.diff(frames)
        if len(steps) and steps.min() > 0 and np.median(steps) <= _MOST_FRAMES:
            times_s: DoubleArray = (frames - frames[0]) * period_s
            return times_s
    return None


def _kept(what: str, times_s: list[float]) -> list[NameTimes]:
    if len(set(times_s)) < len(times_s) or (what == "stamps" and min(times_s) < _EPOCH_S):
        return []
    return [NameTimes(what, np.array(times_s))]


def _matches(stems: Sequence[str], pattern: re.Pattern[str]) -> Iterator[list[tuple[str, ...]]]:
    """The groups of the pattern's k-th match in every stem, for each k where all that is around it is the same."""
    every = [list(pattern.finditer(stem)) for stem in stems]
    for k in range(min(map(len, every), default=0)):
        around = {(stem[: m[k].start()], stem[m[k].end() :]) for stem, m in zip(stems, every, strict=True)}
        if len(around) == 1:
            yield [m[k].groups() for m in every]


def _numbers(names: Sequence[str]) -> list[str] | None:
    """The numbers that names of photos are (``rgb/1305031102.175304.png``), as text; None unless each is one."""
    bases = [PurePosixPath(name).name for name in names]
    stems = [base if _NUMBER.fullmatch(base) else PurePosixPath(base).stem for base in bases]
    return stems if all(_NUMBER.fullmatch(stem) for stem in stems) else None


def query_times(names: Sequence[str]) -> list[str]:
    """What stands as the time of each query in a trajectory: its number, where each has one of its own, else its place.

    As text: what is written in a name keeps its digits.
    """
    stems = _numbers(names)
    if stems and len({float(stem) for stem in stems}) == len(stems):
        return stems
    return [str(number) for number in range(len(names))]


def photo_times_s(names: Sequence[str], times_s: DoubleArray) -> DoubleArray | None:
    """The times that names of photos say, float64 (N,), in seconds of a trajectory's clock; None where they say none.

    Numbers with a fraction are seconds; whole ones seconds, or milli-, micro- or nanoseconds since 1970, whichever lies
    within the trajectory's ``times_s``. Small whole numbers are times of a trajectory that counts frames too.
    """
    stems = _numbers(names)
    if not stems or not len(times_s):
        return None
    values = np.array([float(stem) for stem in stems])
    if any("." in stem for stem in stems):
        return values
    if np.median(values) < _EPOCH_S:
        return values if (times_s == np.rint(times_s)).all() else None
    low, high = float(times_s.min()) - 1.0, float(times_s.max()) + 1.0
    for unit in (1.0, 1e-3, 1e-6, 1e-9):
        scaled: DoubleArray = values * unit
        if low <= float(np.median(scaled)) <= high:
            return scaled
    return values


def are_seconds(times_s: DoubleArray) -> bool:
    """Whether such times are surely some, not numbers of frames."""
    return bool(np.median(times_s) >= _EPOCH_S or (times_s != np.rint(times_s)).any())
