"""Which pose belongs to which sweep: by time where the names are times that the poses have, else by order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from foldmap.errors import ConfigError, PoseInputError
from foldmap.formats.name_times import NameTimes, read_name_times
from foldmap.geometry.association import DEFAULT_LIMIT_S, associate_times
from foldmap.types import DoubleArray, IntArray

_SHORTEST_STEP_S = 1e-6
"""No lidar revolves faster: steps below mean that the names were read wrongly."""


@dataclass(frozen=True)
class Pairing:
    """Indices of sweeps in driving order, of their poses, and of the sweeps that have none, by ``time`` or ``order``.

    ``words`` tell people how it was done and how well it fits; ``times_s`` are of the names of all sweeps, where they
    are times.
    """

    sweeps: tuple[int, ...]
    poses: tuple[int, ...]
    how: str
    words: str
    alone: tuple[int, ...] = ()
    times_s: DoubleArray | None = None


def pair_sweeps(
    names: Sequence[str],
    poses: int,
    times_s: DoubleArray | None,
    where: str,
    limit_s: float | None = None,
    *,
    others_heed: bool = False,
) -> Pairing:
    """Pair sweeps, whose names are in natural order, with as many poses as there are.

    ``times_s`` are of the poses, strictly increasing, where their file has times; a sweep and a pose farther apart than
    ``limit_s`` (`DEFAULT_LIMIT_S` where nobody says one) do not belong together. It is a PoseInputError where the names
    are times that contradict the poses' or their order, or the numbers differ; a ConfigError where a limit is said and
    nothing has times that heed it; ``others_heed`` where it is of other files, too.
    """
    readings = read_name_times(names)
    if times_s is None or not readings:
        if limit_s is not None and not others_heed:
            without = f"{where} has" if times_s is None else "the names of the sweeps tell"
            raise ConfigError(f"{without} no times: sweeps and poses are paired by order", "leave --time-limit out")
        return _by_order(names, readings, poses, where)
    limit_s = DEFAULT_LIMIT_S if limit_s is None else limit_s
    paired = [(reading, *associate_times(reading.times_s, times_s, limit_s)) for reading in readings]
    fits = [(len(rows), -float(np.abs(apart_s).max(initial=0.0))) for _, rows, _, apart_s in paired]
    best, rows, partners, apart_s = paired[fits.index(max(fits))]
    if 2 * len(rows) >= min(len(names), poses) and len(rows):
        order = np.argsort(best.times_s[rows], kind="stable")
        largest_ms = 1e3 * float(np.abs(apart_s).max())
        words = f"{len(rows)} of {len(names)} sweeps by time, largest difference {largest_ms:.3g} ms"
        alone = tuple(sorted(set(range(len(names))) - set(rows.tolist())))
        return Pairing(tuple(rows[order].tolist()), tuple(partners[order].tolist()), "time", words, alone, best.times_s)
    return _other_clock(readings, best, len(rows), times_s, where, limit_s)


def _other_clock(
    readings: list[NameTimes], best: NameTimes, paired: int, times_s: DoubleArray, where: str, limit_s: float
) -> Pairing:
    """Names and poses whose clocks differ by a constant are paired by order; others contradict each other."""
    for reading in readings:
        order = np.argsort(reading.times_s, kind="stable")
        if len(order) != len(times_s):
            continue
        offset_s = times_s - reading.times_s[order]
        apart = reading.times_s.max() < times_s[0] or reading.times_s.min() > times_s[-1]
        if apart and np.ptp(offset_s) <= limit_s:
            words = f"by order; the poses' clock is {float(np.median(offset_s)):.6g} s ahead of the names'"
            rows = tuple(order.tolist())
            return Pairing(rows, tuple(range(len(rows))), "order", words, times_s=reading.times_s)
    nearest = np.abs(best.times_s[:, None] - times_s[_around(times_s, best.times_s)]).min(axis=1)
    raise PoseInputError(
        f"{where}: of {len(best.times_s)} sweeps whose names are times ({best.times_s.min():.10g} to "
        f"{best.times_s.max():.10g} s), {paired} have a pose within {limit_s:g} s; the poses are of {times_s[0]:.10g} "
        f"to {times_s[-1]:.10g} s, {float(np.median(nearest)):.4g} s away at the median",
        "give the poses of these sweeps, in their clock, or a larger --time-limit",
    )


def _around(times_s: DoubleArray, wanted_s: DoubleArray) -> IntArray:
    """Rows of the times before and after each wanted one, (N, 2)."""
    after = np.clip(np.searchsorted(times_s, wanted_s), 0, len(times_s) - 1)
    return np.stack([np.maximum(after - 1, 0), after], axis=1)


def _by_order(names: Sequence[str], readings: list[NameTimes], poses: int, where: str) -> Pairing:
    if len(names) != poses:
        cure = "give one pose a sweep, in the same order"
        raise PoseInputError(f"{where} holds {poses} poses for {len(names)} sweeps", cure)
    likely = [reading for reading in readings if reading.step_s >= _SHORTEST_STEP_S]
    orders = {tuple(np.argsort(reading.times_s, kind="stable").tolist()): reading for reading in likely}
    if len(orders) > 1:
        first, second = list(orders)[:2]
        at = next(i for i in range(len(names)) if first[i] != second[i])
        said = f"as decimal seconds {names[first[at]]} is sweep {at}, as seconds and nanoseconds {names[second[at]]}"
        cure = "pad their numbers with zeros, or give poses with times (TUM)"
        raise PoseInputError(f"{said}: the names do not tell the order of the sweeps", cure)
    for order, reading in orders.items():
        words = f"by order of the times in their names ({reading.what})"
        return Pairing(order, tuple(range(poses)), "order", words, times_s=reading.times_s)
    return Pairing(tuple(range(poses)), tuple(range(poses)), "order", "by order")
