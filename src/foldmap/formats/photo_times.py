"""Times in the names of photos: where names say when they were taken, and where they are frame numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np

from foldmap.types import DoubleArray

_NUMBER = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})?")
_DIGITS = re.compile(r"(\d+)")
_EPOCH_S = 1e8
"""Whole seconds from 1973 on; smaller whole numbers are frame numbers, unless the trajectory counts frames too."""

_UNITS_S = (1.0, 1e-3, 1e-6, 1e-9)


def number_names(names: Sequence[str]) -> list[str] | None:
    """The numbers that the names are (``rgb/1305031102.175304.png``), digit by digit; None unless each is one."""
    bases = [PurePosixPath(name).name for name in names]
    stems = [base if _NUMBER.fullmatch(base) else PurePosixPath(base).stem for base in bases]
    return stems if all(_NUMBER.fullmatch(stem) for stem in stems) else None


def query_times(names: Sequence[str]) -> list[str]:
    """What stands as the time of each query in a trajectory: its number, where each has one of its own, else its place.

    As text: what is written in a name keeps its digits.
    """
    stems = number_names(names)
    if stems and len({float(stem) for stem in stems}) == len(stems):
        return stems
    return [str(number) for number in range(len(names))]


def name_times_s(names: Sequence[str], times_s: DoubleArray) -> DoubleArray | None:
    """The times that names say, in the seconds of a trajectory's clock, where they can be times at all.

    Numbers with a fraction are seconds; whole ones seconds, or milli-, micro- or nanoseconds since 1970, whichever lies
    within the trajectory. Small whole numbers count frames: they are times of a trajectory that counts frames too.

    Args:
        names: of photos.
        times_s: (N,) of the trajectory.

    Returns:
        float64, one a name; None where the names are no times.
    """
    stems = number_names(names)
    if not stems or not len(times_s):
        return None
    values = np.array([float(stem) for stem in stems])
    if any("." in stem for stem in stems):
        return values
    if np.median(values) < _EPOCH_S:
        return values if (times_s == np.rint(times_s)).all() else None
    low, high = float(times_s.min()) - 1.0, float(times_s.max()) + 1.0
    for unit in _UNITS_S:
        scaled: DoubleArray = values * unit
        if low <= float(np.median(scaled)) <= high:
            return scaled
    return values


def are_seconds(times_s: DoubleArray) -> bool:
    """Whether such times are surely some, not numbers of frames."""
    return bool(np.median(times_s) >= _EPOCH_S or (times_s != np.rint(times_s)).any())


def in_order(names: Sequence[str]) -> list[int]:
    """Where each next name stands, numbers in names by their value: ``frame-9`` before ``frame-10``."""

    def key(at: int) -> list[tuple[int, int, str]]:
        return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in _DIGITS.split(names[at]) if part]

    return sorted(range(len(names)), key=lambda at: (key(at), names[at]))
