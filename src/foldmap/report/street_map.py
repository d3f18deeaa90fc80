"""A street map with a belief on it: lanes, heat, where the vehicle was and where it was found."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from foldmap.errors import InputError
from foldmap.geometry import SE2
from foldmap.localize.street.estimate import StreetEstimate
from foldmap.localize.street.lane_places import LanePlaces
from foldmap.report.style import ACCENT, INK, QUIET, plot, to_png
from foldmap.types import DoubleArray

_DECADES = 4.0


def street_map(
    places: LanePlaces,
    belief: DoubleArray,
    truth: Sequence[SE2] = (),
    estimate: StreetEstimate | None = None,
    title: str = "",
) -> bytes:
    """Draw the lanes in the colours of a belief, on a logarithmic scale of four decades below its peak.

    Raises `InputError`: no places, or a belief of another length or with values that are not finite.

    Args:
        places: of the map; x is east, y is north.
        belief: float64 (N,), probability of each place.
        truth: world_SE2_vehicle over time, the last one now; may be empty.
        estimate: what was answered; a pose with its ellipse of two standard deviations, else the guess, crossed.
        title: headline.
    """
    if not len(places) or belief.shape != (len(places),) or not np.isfinite(belief).all():
        raise InputError(f"a belief of shape {belief.shape} on {len(places)} places", "give one finite value a place")
    half = 0.5 * places.length_m[:, None] * np.stack([np.cos(places.heading_rad), np.sin(places.heading_rad)], 1)
    lanes = np.stack([places.positions_m - half, places.positions_m + half], 1)
    peak = max(float(belief.max()), np.finfo(float).tiny)
    heat = np.clip(1 + np.log10(np.maximum(belief / peak, 1e-30)) / _DECADES, 0, 1)
    order = np.argsort(heat, kind="stable")
    with plot(7.2, 6.0) as (figure, axes):
        axes.add_collection(LineCollection(list(lanes), colors="#d5dae0", linewidths=0.8))
        warm = order[heat[order] > 0]
        coloured = LineCollection(
            list(lanes[warm]), array=heat[warm], cmap="inferno_r", clim=(-0.15, 1.0), linewidths=1 + 2.5 * heat[warm]
        )
        axes.add_collection(coloured)
        if truth:
            axes.plot([p.x_m for p in truth], [p.y_m for p in truth], color="#2e6f9e", linewidth=1.2)
            _arrow(axes, truth[-1], "#2e6f9e", "truth")
        if estimate is not None:
            _answer(axes, estimate)
        axes.set_aspect("equal")
        axes.autoscale_view()
        axes.set(xlabel="east [m]", ylabel="north [m]", title=title)
        bar = figure.colorbar(coloured, ax=axes, shrink=0.6, ticks=[0.0, 0.5, 1.0])
        bar.ax.set_yticklabels(["1e-4", "1e-2", "peak"])
        if truth or (estimate is not None and estimate.guess is not None):
            axes.legend(loc="upper left", fontsize=8.5)
        return to_png(figure)


def _arrow(axes: Axes, pose: SE2, colour: str, label: str) -> None:
    axes.quiver(
        [pose.x_m], [pose.y_m], [np.cos(pose.heading_rad)], [np.sin(pose.heading_rad)],
        color=colour, angles="xy", scale=14, width=0.008, zorder=5, label=label,
    )  # fmt: skip


def _answer(axes: Axes, estimate: StreetEstimate) -> None:
    if estimate.guess is None:
        return
    if estimate.pose is None or estimate.covariance is None:
        label = f"guess ({estimate.status.value}: no pose)"
        axes.plot([estimate.guess.x_m], [estimate.guess.y_m], "x", color=QUIET, markersize=9, zorder=6, label=label)
        return
    _arrow(axes, estimate.pose, ACCENT, estimate.status.value)
    values, axes_of = np.linalg.eigh(estimate.covariance[:2, :2])
    angle = np.linspace(0, 2 * np.pi, 60)
    ring = axes_of @ (2 * np.sqrt(values)[:, None] * np.stack([np.cos(angle), np.sin(angle)]))
    axes.plot(estimate.pose.x_m + ring[0], estimate.pose.y_m + ring[1], color=INK, linewidth=1.0, zorder=6)
