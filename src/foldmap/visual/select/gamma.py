"""Map compression Gamma_alpha (equation 2 of the paper): points that many images see and that lie far apart.

    min_v  v'Kv - tau d'v    with  sum v = 1,  0 <= v_i <= 1 / (alpha m)

The text calls K the matrix of distances. Minimising v'Kv then gathers mass where distances are small: it picks one
clump (and the problem is concave; `benchmarks.visual.selection` shows it). Points spread only if K is large for close
points, so K is a kernel here.
"""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from foldmap.errors import ConfigError
from foldmap.types import AnyArray, DoubleArray, IntArray
from foldmap.visual.select.frank_wolfe import KernelCells, cells_of, improve, kernel_times, starting_weights

_REACH = 2.0  # the default bandwidth holds about this many times as many points as one kept point stands for


@dataclass(frozen=True)
class RelaxedSelection:
    """Points that equation 2 chooses, int64 (N,) ascending, with v (P,) of the relaxed problem and its value.

    The value lies at most ``gap`` above the optimum, after so many steps.
    """

    kept: IntArray
    weight: DoubleArray
    objective: float
    gap: float
    iterations: int


def gamma(
    points_world: DoubleArray,
    distinctiveness: AnyArray,
    *,
    count: int | None = None,
    alpha: float | None = None,
    tau: float | None = None,
    bandwidth_world: float | None = None,
    tolerance: float = 1e-4,
    max_steps: int | None = None,
) -> RelaxedSelection:
    """Choose points by equation 2 with Wendland's C2 kernel, solved by pairwise Frank-Wolfe.

    Rounding to exactly `count` points walks them cell by cell and takes one each time the running sum of the weights
    passes (k + 1/2) / count. As no weight exceeds 1 / count none is taken twice, and every run of cells gets its share
    to within a point. Raises `ConfigError`: neither or both of count and alpha, or one out of range.

    Args:
        points_world: float64 (P, 3).
        distinctiveness: (P,), d of the paper: the fraction of the images that see a point.
        count: how many to keep, or
        alpha: which fraction of them, in (0, 1]; the count is alpha P rounded down, at least 1.
        tau: weight of distinctiveness. By default 1 / (count * mean d): at mean distinctiveness both terms then weigh
            the same, for v'Kv of `count` points out of each other's reach is 1 / count.
        bandwidth_world: where the kernel reaches zero. By default the median distance to the neighbour number
            2 P / count (of up to 2,000 points taken evenly).
        tolerance: stop when the duality gap is below this fraction of v'Kv.
        max_steps: stop after this many steps anyway; 20 a point by default, at least 100,000.
    """
    points, distinct = np.ascontiguousarray(points_world, np.float64), np.asarray(distinctiveness, np.float64)
    count, cap = _size(len(points), count, alpha)
    if tau is None:
        mean = float(np.abs(distinct).mean())
        tau = 1.0 / (count * mean) if mean else 0.0
    bandwidth = _bandwidth(points, count) if bandwidth_world is None else bandwidth_world
    cells = cells_of(points, bandwidth)
    steps = max(20 * len(points), 100_000) if max_steps is None else max_steps
    v, objective, gap, taken = _solve(cells, tau * distinct[cells.order], cap, tolerance, steps)
    weight = np.empty(len(points))
    weight[cells.order] = v
    return RelaxedSelection(np.sort(cells.order[_systematic(v, count)]), weight, objective, gap, taken)


def _size(points: int, count: int | None, alpha: float | None) -> tuple[int, float]:
    """How many points to keep and the largest weight of one."""
    if (count is None) == (alpha is None):
        raise ConfigError("give either a count or alpha", "drop one of them" if count is not None else "give one")
    if alpha is not None:
        if not 0 < alpha <= 1:
            raise ConfigError(f"alpha is {alpha}", "give a fraction above 0 and up to 1")
        return max(1, int(alpha * points + 1e-9)), min(1.0, 1 / (alpha * points))
    checked = checked_count(count, points)
    return checked, 1 / checked


def checked_count(count: int | None, points: int) -> int:
    """A whole number of points to keep from 1 to how many there are, or `ConfigError`."""
    if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or not 1 <= count <= points:
        raise ConfigError(f"cannot choose {count} of {points} points", f"give a whole number from 1 to {points}")
    return int(count)


def _bandwidth(points: DoubleArray, count: int) -> float:
    if len(points) == 1:
        return 1.0
    rank = int(np.clip(round(_REACH * len(points) / count), 1, len(points) - 1))
    sample = points[np.linspace(0, len(points) - 1, min(len(points), 2000)).astype(int)]
    near, _ = cKDTree(points).query(sample, k=[rank + 1])
    width = float(np.median(near))
    # Many points in one place: the smallest distance that is one.
    return width if width > 0 else float(np.linalg.norm(np.ptp(points, axis=0))) * 1e-3


def _solve(
    cells: KernelCells, pull: DoubleArray, cap: float, tolerance: float, max_steps: int
) -> tuple[DoubleArray, float, float, int]:
    """Weights in sorted order, objective, duality gap and steps."""
    grid = (cells.xyz, cells.first, cells.cell, cells.runs)
    v, gradient, room, held = starting_weights(*grid, pull, cap)
    taken, batch = 0, min(max_steps, max(2000, len(pull) // 2))
    while True:
        spread, gap = _spread_and_gap(v, gradient, pull, cap)
        if gap <= tolerance * spread or taken >= max_steps:
            break
        done = improve(*grid, v, gradient, room, held, cap, min(batch, max_steps - taken))
        taken += done
        if not done:
            break
    # The running gradient has gathered rounding: what is reported is computed afresh.
    spread, gap = _spread_and_gap(v, 2 * kernel_times(*grid, v) - pull, pull, cap)
    return v, spread - float(pull @ v), gap, taken


def _spread_and_gap(v: DoubleArray, gradient: DoubleArray, pull: DoubleArray, cap: float) -> tuple[float, float]:
    """The term v'Kv and the Frank-Wolfe gap max_s g'(v - s), s filling the smallest gradients to the cap."""
    full = min(len(v), int(1 / cap * (1 + 1e-12)))
    smallest = np.partition(gradient, min(full, len(v) - 1))
    best = cap * smallest[:full].sum() + ((1 - cap * full) * smallest[full] if full < len(v) else 0.0)
    return 0.5 * float(v @ (gradient + pull)), max(0.0, float(gradient @ v - best))


def _systematic(v: DoubleArray, count: int) -> IntArray:
    """Rows at which the running sum of the weights passes (k + 1/2) / count."""
    total = np.cumsum(v)
    rows = np.searchsorted(total, (np.arange(count) + 0.5) / count * total[-1])
    # Rounding of the sums can make two ticks fall on one full row: the next free row takes the second.
    for k in range(1, count):
        rows[k] = max(rows[k], rows[k - 1] + 1)
    over = len(v) - 1 - np.arange(count)[::-1]
    return np.asarray(np.minimum(rows, over), dtype=np.int64)
