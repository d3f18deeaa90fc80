"""A run at a glance: where it went and what was answered there, and error, sigma and protection level over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.axes import Axes

from foldmap.errors import InputError
from foldmap.report.style import ACCENT, INK, QUIET, SERIES, legend_above, plot, to_png, to_svg
from foldmap.types import BoolArray, DoubleArray

STATUS_COLOURS = {
    "ok": SERIES[1],
    "degraded": SERIES[2],
    "ambiguous": SERIES[4],
    "no_match": ACCENT,
    "no_map": SERIES[6],
    "no_observation": QUIET,
}
_WIDE = 20_000  # points of ground that are drawn


@dataclass(frozen=True)
class RunSeries:
    """One run, an entry an observation; lengths in the map's unit.

    Attributes:
        times_s: float64 (N,).
        statuses: of each.
        positions: float64 (N, 2) in the plane that is drawn, NaN where nothing was answered.
        sigma: float64 (N,) largest standard deviation of the position, NaN likewise.
        level: float64 (N,) protection level, NaN where there is none.
        true: float64 (N, 2), NaN where nobody knows.
        error: float64 (N,) NaN where there is no answer, or no truth.
        unit: "m", or "" where the map has no scale.
        ground: float64 (M, 2) points of the map, to be drawn below.
        axes: names of the two axes.
    """

    times_s: DoubleArray
    statuses: Sequence[str]
    positions: DoubleArray
    sigma: DoubleArray
    level: DoubleArray
    true: DoubleArray
    error: DoubleArray
    unit: str = "m"
    ground: DoubleArray = field(default_factory=lambda: np.zeros((0, 2)))
    axes: tuple[str, str] = ("east", "north")

    def __post_init__(self) -> None:
        if not len(self.times_s):
            raise InputError("a run without observations", "localize some")

    def of(self, status: str) -> BoolArray:
        """Which observations have a status, (N,)."""
        return np.array([one == status for one in self.statuses])


def run_map(run: RunSeries) -> bytes:
    """Draw the map's ground, the true path, and each answer in the colour of its status, as PNG.

    Where nothing was answered a cross stands at the true place, if that is known.
    """
    (west, south), (east, north) = _frame(np.concatenate([run.positions, run.true]))
    height = float(np.clip(8.0 * (north - south) / (east - west), 1.6, 8.0))
    with plot(8.6, height + 0.9) as (figure, axes):
        _draw_ground(axes, run)
        _draw_answers(axes, run)
        legend_above(figure, axes)
        return to_png(figure)


def runs_side_by_side(
    before: RunSeries, noticed: tuple[DoubleArray, BoolArray], after: RunSeries, names: tuple[str, str, str]
) -> bytes:
    """Two runs on one ground, and between them where the first one noticed that the ground is another, as PNG.

    ``noticed`` is a share at each observation of the first run, float64 (N,), NaN where there is none, and whether it
    says that the ground has changed, bool (N,).
    """
    shares, changed = noticed
    with plot(8.6, 5.6, ncols=3, sharex=True, sharey=True) as (figure, panels):
        for axes, run, name in zip(panels, (before, before, after), names, strict=True):
            _draw_ground(axes, run)
            axes.set_title(name)
            axes.set(ylabel="" if axes is not panels[0] else axes.get_ylabel())
        for axes, run in ((panels[0], before), (panels[2], after)):
            _draw_answers(axes, run)
            axes.legend(loc="lower left", fontsize=7)
        for rows, colour, label in ((~changed, SERIES[1], "as mapped"), (changed, ACCENT, "changed")):
            shown = rows & np.isfinite(shares)
            panels[1].scatter(*before.true[shown].T, s=60 * (1 - shares[shown]), color=colour, label=label, zorder=4)
        panels[1].legend(loc="lower left", fontsize=7)
        return to_png(figure)


def _draw_ground(axes: Axes, run: RunSeries) -> None:
    """The map's ground and the true path, about what was driven."""
    (west, south), (east, north) = _frame(np.concatenate([run.positions, run.true]))
    ground = run.ground[:: max(1, -(-len(run.ground) // _WIDE))]
    size = 3.0 if len(ground) < 5000 else 0.8
    axes.scatter(ground[:, 0], ground[:, 1], s=size, color="#aab4bf", linewidths=0, rasterized=True, zorder=1)
    if np.isfinite(run.true).any():
        axes.plot(*run.true.T, color=QUIET, linewidth=5, alpha=0.35, solid_capstyle="round", label="truth", zorder=2)
    axes.set(xlim=(west, east), ylim=(south, north))
    unit = f" [{run.unit}]" if run.unit else ""
    axes.set(xlabel=run.axes[0] + unit, ylabel=run.axes[1] + unit)
    axes.set_aspect("equal")
    axes.grid(visible=False)


def _draw_answers(axes: Axes, run: RunSeries) -> None:
    """Each answer in the colour of its status."""
    for status, colour in STATUS_COLOURS.items():
        rows = run.of(status)
        if not rows.any():
            continue
        label = f"{status} ({int(rows.sum())})"
        placed = rows & np.isfinite(run.positions[:, 0])
        where = run.positions[placed] if placed.any() else run.true[rows]
        axes.scatter(
            where[:, 0], where[:, 1], s=13, color=colour, marker="o" if placed.any() else "x", label=label, zorder=4
        )


def run_over_time(run: RunSeries) -> bytes:
    """Plot error, three sigma and protection level over time, and the status as a band below, as SVG."""
    with plot(8.6, 4.6, nrows=2, sharex=True, height_ratios=[6, 1]) as (figure, (axes, band)):
        lines = (("protection level, 1 in 1,000", run.level, ACCENT, 1.6), ("3 sigma", 3 * run.sigma, SERIES[1], 1.1))
        for name, values, colour, width in lines:
            if np.isfinite(values).any():
                axes.plot(run.times_s, values, color=colour, linewidth=width, label=name)
        known = np.isfinite(run.error)
        if known.any():
            least = 1e-3 * float(np.nanmax(run.error)) or 1e-6
            shown = np.maximum(run.error[known], least)
            axes.scatter(run.times_s[known], shown, s=9, color=INK, label="error", zorder=4)
        if axes.lines or known.any():
            axes.set_yscale("log")
            legend_above(figure, axes)
        axes.set(ylabel=f"position [{run.unit or 'map units'}]")
        steps = np.diff(run.times_s, append=run.times_s[-1] + _step_s(run.times_s))
        for status, colour in STATUS_COLOURS.items():
            rows = run.of(status)
            if rows.any():
                spans = list(zip(run.times_s[rows], steps[rows], strict=True))
                band.broken_barh(spans, (0, 1), facecolors=colour, linewidth=0)
        band.set(yticks=[], ylim=(0, 1), ylabel="status", xlabel="time [s]")
        band.grid(visible=False)
        return to_svg(figure)


def _step_s(times_s: DoubleArray) -> float:
    return float(np.median(np.diff(times_s))) if len(times_s) > 1 else 1.0


def _frame(points: DoubleArray) -> DoubleArray:
    """What was driven and a margin, however far the map reaches; a straight way is no thin strip: corners (2, 2)."""
    known = points[np.isfinite(points).all(axis=1)]
    if not len(known):
        known = np.zeros((1, 2))
    low, high = known.min(axis=0), known.max(axis=0)
    widest = max(float((high - low).max()), 10.0)
    middle, half = 0.5 * (low + high), np.maximum(0.5 * (high - low), 0.3 * widest) + 0.08 * widest
    return np.stack([middle - half, middle + half])
