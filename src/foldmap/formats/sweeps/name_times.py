"""Times in the names of files: decimal seconds, seconds and nanoseconds, or stamps since 1970."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from foldmap.formats.poses.tum import seconds_per_unit
from foldmap.types import DoubleArray

_SUFFIXES = re.compile(r"(\.(las|laz|pcd|bin))+$", re.IGNORECASE)
_PAIR = re.compile(r"(?<![\d.])(\d+)\.(\d+)(?![\d.])")
_STAMP_PAIR = re.compile(r"(?<!\d)(\d{9,10})[._-](\d{1,9})(?!\d)")
_STAMP = re.compile(r"(?<!\d)(\d{10,19})(?!\d)")
_LEAST_STAMP_S = 1e8
"""Seconds since 1970 (1973): whole numbers below are frame numbers, never times."""


@dataclass(frozen=True)
class NameTimes:
    """One way to read times out of names.

    Attributes:
        what: the way, in words.
        times_s: float64 (N,), no two alike.
    """

    what: str
    times_s: DoubleArray

    @property
    def step_s(self) -> float:
        """The middle step between times in order; infinite for one time."""
        return float(np.median(np.diff(np.sort(self.times_s)))) if len(self.times_s) > 1 else np.inf


def read_name_times(names: Sequence[str]) -> list[NameTimes]:
    """Every way in which all of these names are times; empty where they are something else, like frame numbers.

    What stands before and after the time must be the same in all names. ``900.5`` may be half a second (decimal) or
    five nanoseconds (seconds and nanoseconds, not padded): both are given, and what the times are used for decides.
    """
    stems = [_SUFFIXES.sub("", name) for name in names]
    found: list[NameTimes] = []
    for parts in _matches(stems, _PAIR):
        found += _kept("decimal seconds", [float(f"{whole}.{part}") for whole, part in parts])
        if all(len(part) <= 9 for _, part in parts):
            found += _kept("seconds and nanoseconds", [int(whole) + int(part) * 1e-9 for whole, part in parts])
    if not found:
        for parts in _matches(stems, _STAMP_PAIR):
            found += _kept("seconds and nanoseconds", [int(whole) + int(part) * 1e-9 for whole, part in parts])
    if not found:
        for parts in _matches(stems, _STAMP):
            found += _kept("stamps", [int(stamp) * seconds_per_unit(int(stamp)) for (stamp,) in parts])
    return found


def _kept(what: str, times_s: list[float]) -> list[NameTimes]:
    if len(set(times_s)) < len(times_s) or (what == "stamps" and min(times_s) < _LEAST_STAMP_S):
        return []
    return [NameTimes(what, np.array(times_s))]


def _matches(stems: Sequence[str], pattern: re.Pattern[str]) -> Iterator[list[tuple[str, ...]]]:
    """The groups of the pattern's k-th match in every stem, for each k where all that is around it is the same."""
    every = [list(pattern.finditer(stem)) for stem in stems]
    for k in range(min(map(len, every), default=0)):
        around = {(stem[: m[k].start()], stem[m[k].end() :]) for stem, m in zip(stems, every, strict=True)}
        if len(around) == 1:
            yield [m[k].groups() for m in every]
