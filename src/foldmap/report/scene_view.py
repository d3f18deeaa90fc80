"""A scene from above: its points and where its photos were taken."""

import numpy as np

from foldmap.report.style import ACCENT, INK, plot, to_png
from foldmap.types import AnyArray, DoubleArray

_MOST_POINTS = 60_000


def scene_png(points_world: DoubleArray, colours: AnyArray, centres_world: DoubleArray, metric: bool) -> bytes:
    """Draw a scene onto the plane in which the cameras and points spread most.

    The world of a scene built from photos has no up; the plane of the two longest axes of the points is what one would
    call its plan for most scenes. Colours are RGB uint8 (P, 3); ``metric``: world units are metres.
    """
    step = max(1, len(points_world) // _MOST_POINTS)
    points, colours = points_world[::step], colours[::step]
    middle = np.median(points, axis=0)
    near = np.linalg.norm(points - middle, axis=1)
    inner = near <= np.percentile(near, 98)
    axes = np.linalg.svd(points[inner] - middle, full_matrices=False)[2][:2]
    axes *= np.where(axes[np.arange(2), np.abs(axes).argmax(axis=1)] < 0, -1, 1)[:, None]
    flat, cameras = (points[inner] - middle) @ axes.T, (centres_world - middle) @ axes.T
    with plot(7.0, 5.0) as (figure, plan):
        plan.scatter(flat[:, 0], flat[:, 1], s=1.2, c=np.clip(colours[inner] / 255, 0, 0.85), linewidths=0)
        plan.scatter(cameras[:, 0], cameras[:, 1], s=14, color=ACCENT, edgecolor=INK, linewidth=0.4, label="photos")
        plan.set_aspect("equal")
        unit = "m" if metric else "world units"
        plan.set(xlabel=f"along the longest axis, {unit}", ylabel=f"across, {unit}")
        plan.set_title(f"{len(points_world):,} points, {len(centres_world):,} photos")
        plan.legend(loc="upper right")
        return to_png(figure)
