"""A photo with the map's points that were found in it, and two photos joined by what both show, as PNG bytes."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from foldmap.errors import InputError
from foldmap.report.style import FOUND, MISSED, bare, legend_on_picture, plot, to_png
from foldmap.types import AnyArray

_MOST_LINES = 120


def photo_points(image: AnyArray, found_px: AnyArray, missed_px: AnyArray | None = None, title: str = "") -> bytes:
    """Draw where a map's points were found in a photo, uint8 (H, W) or (H, W, 3).

    Given are the keypoints (N, 2) that points were found at, in COLMAP pixels (first centre at 0.5, 0.5), and
    where the other points in view should be, (M, 2). `InputError` where the image has no pixels.
    """
    height, width = _size(image)
    with plot(6.4, 6.4 * height / width + 0.5) as (figure, axes):
        _show(axes, image, 0.0)
        if missed_px is not None and len(missed_px):
            axes.plot(*np.asarray(missed_px).T, ".", color=MISSED, markersize=2.5, label=f"{len(missed_px)} not found")
        look: dict[str, Any] = {"color": FOUND, "markersize": 4.5, "markerfacecolor": "none", "markeredgewidth": 1.1}
        label = f"{len(found_px)} of the map's points found"
        axes.plot(*np.asarray(found_px).reshape(-1, 2).T, "o", label=label, **look)
        axes.set(xlim=(0, width), ylim=(height, 0))
        axes.set_title(title, fontsize=10, fontweight="normal")
        legend_on_picture(axes, fontsize=8)
        return to_png(figure)


def photo_pair(
    left: AnyArray,
    right: AnyArray,
    left_px: AnyArray,
    right_px: AnyArray,
    titles: tuple[str, str] = ("", ""),
    right_or_wrong: AnyArray | None = None,
) -> bytes:
    """Draw two photos side by side with lines between the places that show the same point.

    Raises `InputError`: an image has no pixels, or the numbers of places differ.

    Args:
        left: uint8 (H, W) or (H, W, 3).
        right: another photo.
        left_px: (N, 2), COLMAP pixels in the left photo.
        right_px: (N, 2), of the same points in the right one.
        titles: above the photos; above the left one stands how many points there are, too.
        right_or_wrong: bool (N,), colours the lines; all right where None.
    """
    left_px, right_px = np.asarray(left_px).reshape(-1, 2), np.asarray(right_px).reshape(-1, 2)
    if len(left_px) != len(right_px):
        raise InputError(f"{len(left_px)} places in one photo, {len(right_px)} in the other", "give pairs")
    correct = np.ones(len(left_px), bool) if right_or_wrong is None else np.asarray(right_or_wrong, bool)
    (height, width), (other_height, other_width) = _size(left), _size(right)
    gap = 0.02 * width
    shift = np.array([width + gap, 0.0])
    total = width + gap + other_width
    # lines evenly chosen: all of them would hide the photos
    rows = np.unique(np.linspace(0, max(0, len(left_px) - 1), min(len(left_px), _MOST_LINES)).astype(int))
    with plot(9.0, 9.0 * max(height, other_height) / total + 0.45) as (figure, axes):
        _show(axes, left, 0.0)
        _show(axes, right, width + gap)
        ends = np.stack([left_px[rows], right_px[rows] + shift], axis=1)
        colours = [FOUND if good else "#ff4d4d" for good in correct[rows]]
        axes.add_collection(LineCollection(list(ends), colors=colours, linewidths=0.6, alpha=0.8))
        axes.scatter(ends[..., 0].ravel(), ends[..., 1].ravel(), s=5, c=np.repeat(colours, 2), linewidths=0)
        axes.set(xlim=(0, total), ylim=(max(height, other_height), 0))
        count = f"{len(left_px)} points" + (f", {len(rows)} shown" if len(rows) < len(left_px) else "")
        axes.set_title(f"{titles[0]}  ·  {count}", fontsize=9.5, fontweight="normal")
        axes.set_title(titles[1], fontsize=9.5, fontweight="normal", loc="right")
        return to_png(figure)


def _size(image: AnyArray) -> tuple[int, int]:
    if image.ndim not in (2, 3) or image.size == 0:
        raise InputError(f"an image of shape {image.shape} cannot be shown", "give (H, W) or (H, W, 3) with pixels")
    return int(image.shape[0]), int(image.shape[1])


def _show(axes: Axes, image: AnyArray, left: float) -> None:
    height, width = image.shape[:2]
    axes.imshow(image, cmap="gray", vmin=0, vmax=255, extent=(left, left + width, height, 0), interpolation="nearest")
    bare(axes)
    axes.spines[:].set_visible(False)
