"""Which times of two clocks belong together: the nearest ones within a stated limit, each used once."""

import numpy as np

from foldmap.errors import ConfigError
from foldmap.types import AnyArray, DoubleArray, IntArray

DEFAULT_LIMIT_S = 0.01
"""Times that are farther apart belong to different events, unless the user says otherwise (evo's default too)."""


def associate_times(
    first_s: AnyArray, second_s: AnyArray, limit_s: float = DEFAULT_LIMIT_S
) -> tuple[IntArray, IntArray, DoubleArray]:
    """Pair each time of the first list (N,) with the nearest of the second (M,), in any order.

    No time is used twice: where two want the same partner, the nearer one has it and the other stays alone, for its
    second choice would be the partner of another event. Pairs lie no farther apart than the limit. Returns rows of the
    first (P,) int64 ascending, their partners in the second (P,) int64, and ``second - first`` in seconds (P,) float64.
    """
    if not (np.isfinite(limit_s) and limit_s >= 0):
        raise ConfigError(f"times are paired within {limit_s} s", "give a limit in seconds, like 0.01")
    first, second = np.asarray(first_s, np.float64), np.asarray(second_s, np.float64)
    if not len(first) or not len(second):
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    order = np.argsort(second, kind="stable")
    after = np.clip(np.searchsorted(second[order], first), 1, max(len(second) - 1, 1))
    choices = order[np.stack([after - 1, np.minimum(after, len(second) - 1)])]
    apart = np.abs(second[choices] - first)
    nearest = np.argmin(apart, axis=0)
    columns = np.arange(len(first))
    partner, distance = choices[nearest, columns], apart[nearest, columns]
    # one spacing of float64 at the size of the times is forgiven: 0.30 - 0.29 is more than 0.01
    slack = np.spacing(np.abs(first)) + np.spacing(np.abs(second[partner]))
    rows = np.flatnonzero(distance <= limit_s + slack)
    by_distance = rows[np.lexsort((rows, distance[rows]))]
    _, winners = np.unique(partner[by_distance], return_index=True)
    chosen = np.sort(by_distance[winners])
    return chosen, partner[chosen], second[partner[chosen]] - first[chosen]
