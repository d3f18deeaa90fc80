"""Cameras from above: where they were, where they were found to be, and the points of the map around them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from foldmap.report.photo_matches import FOUND
from foldmap.report.style import ACCENT, QUIET, new_figure, styled, to_png
from foldmap.types import DoubleArray


def camera_plan(
    points_world: DoubleArray,
    map_SE3_world: DoubleArray,
    true_SE3_world: DoubleArray,
    estimated_SE3_world: Sequence[DoubleArray | None],
    title: str = "",
) -> bytes:
    """Draw cameras from above; x is east, y is north, each camera has a tick along its view.

    Args:
        points_world: float64 (P, 3).
        map_SE3_world: float64 (I, 4, 4), ``camera_SE3_world`` of the map's photos.
        true_SE3_world: float64 (Q, 4, 4) of the queries.
        estimated_SE3_world: of the queries as they were localized, None where nothing was answered.
        title: headline.
    """
    answered = np.array([pose for pose in estimated_SE3_world if pose is not None]).reshape(-1, 4, 4)
    # the cameras and what is near them: the farthest points would make everything else small
    near = np.percentile(points_world, (25, 75), axis=0)
    around = np.concatenate([_centres(map_SE3_world), _centres(true_SE3_world), near])[:, :2]
    low, high = around.min(axis=0), around.max(axis=0)
    reach = max(0.55 * float((high - low).max()), 1.0)
    with styled():
        figure = new_figure(7.2, 5.4)
        axes = figure.subplots()
        axes.scatter(
            points_world[:, 0],
            points_world[:, 1],
            s=1.5,
            color=QUIET,
            alpha=0.6,
            linewidths=0,
            label="points in the file",
        )
        _cameras(axes, map_SE3_world, "^", "#2e6f9e", "photos of the map", 0.05 * reach, 4.5)
        _cameras(axes, true_SE3_world, "o", FOUND, "queries, true", 0.1 * reach, 10)
        _cameras(axes, answered, "+", ACCENT, "queries, found", 0.07 * reach, 8)
        axes.set_aspect("equal")
        middle = 0.5 * (low + high)
        axes.set(xlim=(middle[0] - reach, middle[0] + reach), ylim=(middle[1] - reach, middle[1] + reach))
        axes.set(xlabel="east [m]", ylabel="north [m]", title=title)
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8.5)
        return to_png(figure)


def _centres(camera_SE3_world: DoubleArray) -> DoubleArray:
    centres: DoubleArray = -np.einsum("iba,ib->ia", camera_SE3_world[:, :3, :3], camera_SE3_world[:, :3, 3])
    return centres


def _cameras(
    axes: Axes, camera_SE3_world: DoubleArray, symbol: str, colour: str, label: str, tick: float, size: float
) -> None:
    centres, ahead = _centres(camera_SE3_world)[:, :2], camera_SE3_world[:, 2, :2]
    lines = list(np.stack([centres, centres + tick * ahead], axis=1))
    axes.add_collection(LineCollection(lines, colors=colour, linewidths=1.2, zorder=3))
    face = "none" if symbol == "o" else colour
    axes.plot(
        *centres.T,
        symbol,
        color=colour,
        markerfacecolor=face,
        markersize=size,
        markeredgewidth=1.6,
        linestyle="none",
        label=label,
        zorder=4,
    )
