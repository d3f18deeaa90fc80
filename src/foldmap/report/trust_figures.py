"""How far answers can be trusted: what was answered to each kind of query, and whether sigma is sigma. SVG bytes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from foldmap.errors import InputError
from foldmap.report.style import ACCENT, FOUND, INK, MISSED, QUIET, colour_of, legend_beside, plot, to_svg
from foldmap.types import DoubleArray

_PARTS = {
    "ok_right": ("ok, within its bound", FOUND),
    "degraded": ("degraded", MISSED),
    "ok_beyond": ("ok, beyond its bound", ACCENT),
    "refused": ("refused", "#c9d1d9"),
}


def calibration_plot(observed: Mapping[str, tuple[DoubleArray, DoubleArray]], title: str = "") -> bytes:
    """Plot which share of the errors lies in the region that should hold so many.

    Above the diagonal errors are smaller than said, below it larger.

    Args:
        observed: name -> nominal shares and observed ones (M,), 0 to 1.
        title: headline.

    Raises:
        InputError: there is nothing to draw.
    """
    if not observed:
        raise InputError("there are no shares to draw", "give one curve or more")
    with plot(6.4, 4.4) as (figure, axes):
        axes.plot([0, 100], [0, 100], color=QUIET, linewidth=1.0, linestyle=(0, (4, 3)), zorder=2)
        for index, (name, (nominal, shares)) in enumerate(observed.items()):
            colour, _ = colour_of(name, index + 1)
            axes.plot(100 * nominal, 100 * shares, color=colour, linewidth=1.8, label=name, zorder=3)
        for mark, share in (("1 sigma", 68.3), ("2", 95.4)):
            axes.axvline(share, color=QUIET, linewidth=0.7, zorder=1)
            axes.annotate(mark, (share, 2), xytext=(3, 0), textcoords="offset points", fontsize=8, color=INK)
        axes.set(xlim=(0, 100), ylim=(0, 102), xlabel="errors that should lie within [%]")
        axes.set(ylabel="errors that do [%]", title=title)
        legend_beside(axes)
        return to_svg(figure)


def kinds_plot(rows: Sequence[Mapping[str, Any]], title: str = "") -> bytes:
    """Draw what was answered to each kind of query as shares of a bar.

    Rows have the kind, how many were asked, and the counts ok_right, ok_beyond, degraded and refused; an `InputError`
    where there are none.
    """
    if not rows:
        raise InputError("there are no answers to draw", "ask one query or more")
    with plot(8.2, 0.9 + 0.27 * len(rows)) as (figure, axes):
        asked, left = np.array([row["asked"] for row in rows], float), np.zeros(len(rows))
        at = np.arange(len(rows))[::-1]
        for key, (label, colour) in _PARTS.items():
            share = 100 * np.array([row[key] for row in rows], float) / np.maximum(asked, 1)
            axes.barh(at, share, left=left, height=0.7, color=colour, label=label)
            left += share
        axes.set_yticks(at, [f"{row['kind']} ({row['expect']})" for row in rows])
        axes.set(xlim=(0, 100), xlabel="queries [%]", title=title)
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", length=0)
        legend_beside(axes)
        return to_svg(figure)
