"""Qualitative strips of maps, embeddings, sweeps, scores and codes (figures 5 to 13 of the paper), as PNG bytes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.colors import to_rgb

from foldmap.errors import InputError
from foldmap.report.style import ACCENT, INK, QUIET, bare, legend_on_picture, plot, to_png
from foldmap.types import AnyArray, BoolArray, ByteArray, FloatArray

_UNOBSERVED = np.array([232, 236, 240], np.uint8)


@dataclass(frozen=True)
class Mark:
    """A labelled point on a panel, in pixels of its image."""

    row: float
    col: float
    label: str
    colour: str = ACCENT
    symbol: str = "+"


@dataclass(frozen=True)
class Panel:
    """One picture of a strip."""

    title: str  # written above it
    image: AnyArray  # (H, W) of any number type (stretched to grey) or uint8 (H, W, 3)
    marks: tuple[Mark, ...] = ()  # points on it
    note: str = ""  # one line below it


def intensity_image(intensity: FloatArray, observed: BoolArray | None = None) -> ByteArray:
    """Stretch intensities to grey between their 1st and 99.5th percentiles, uint8 (H, W, 3); unobserved is pale."""
    values = np.asarray(intensity, np.float64)
    seen = np.isfinite(values) if observed is None else np.asarray(observed, bool)
    image = np.empty((*values.shape, 3), np.uint8)
    image[:] = _UNOBSERVED
    if seen.any():
        low, high = np.percentile(values[seen], (1.0, 99.5))
        grey = np.clip((values[seen] - low) / max(high - low, 1e-12), 0, 1) ** 0.8
        image[seen] = np.rint(255 * grey).astype(np.uint8)[:, None]
    return image


def _bytes(colour: AnyArray) -> ByteArray:
    """0..1 to 0..255."""
    return np.asarray(np.rint(255 * np.asarray(colour)).astype(np.uint8))


def embedding_image(embedding_CHW: AnyArray) -> ByteArray:
    """Show an embedding by its three principal components as red, green and blue; one channel as a diverging map.

    Gives uint8 (H, W, 3); `InputError` for what is not (C, H, W), or not finite.
    """
    values = np.asarray(embedding_CHW, np.float64)
    if values.ndim != 3 or values.size == 0 or not np.isfinite(values).all():
        raise InputError(f"an embedding of shape {values.shape} cannot be shown", "give finite (C, H, W)")
    channels, height, width = values.shape
    if channels == 1:
        reach = float(np.percentile(np.abs(values - np.median(values)), 99)) or 1.0
        scaled = np.clip((values[0] - np.median(values)) / reach, -1, 1)
        rgba = matplotlib.colormaps["RdBu_r"]((scaled + 1) / 2)
        return _bytes(rgba[..., :3])
    flat = values.reshape(channels, -1)
    flat = flat - flat.mean(1, keepdims=True)
    _, vectors = np.linalg.eigh(flat @ flat.T)
    axes = vectors[:, ::-1][:, :3]
    # The sign of an eigenvector is arbitrary: its largest entry is made positive, so equal input gives equal pictures.
    axes = axes * np.sign(axes[np.abs(axes).argmax(0), np.arange(axes.shape[1])])
    parts = axes.T @ flat
    low, high = np.percentile(parts, (1, 99), axis=1, keepdims=True)
    scaled = np.clip((parts - low) / np.maximum(high - low, 1e-12), 0, 1)
    image = np.full((3, height * width), 0.5)
    image[: len(scaled)] = scaled
    return _bytes(image.T.reshape(height, width, 3))


def heatmap(
    scores_HW: AnyArray,
    resolution_m: float,
    true_offset_m: tuple[float, float] | None = None,
    estimated_offset_m: tuple[float, float] | None = None,
    title: str = "scores",
) -> Panel:
    """Make a panel of matching scores around the prior, with the truth and the estimate.

    Scores are of shifts of so many metres; the centre is the prior, row 0 is north; not finite: not scored. Offsets are
    truth minus prior and estimate minus prior, east and north.
    """
    scores = np.asarray(scores_HW, np.float64)
    finite = np.isfinite(scores)
    low, high = np.percentile(scores[finite], (5, 100)) if finite.any() else (0.0, 1.0)
    scaled = np.clip((np.where(finite, scores, low) - low) / max(high - low, 1e-12), 0, 1)
    image = _bytes(matplotlib.colormaps["magma"](scaled)[..., :3])
    image[~finite] = _UNOBSERVED
    marks = []
    offsets = (("truth", true_offset_m, "#6ee7a8", "o"), ("estimate", estimated_offset_m, "#ffffff", "+"))
    for label, offset_m, colour, symbol in offsets:
        if offset_m is not None:
            row = (scores.shape[0] - 1) / 2 - offset_m[1] / resolution_m
            col = (scores.shape[1] - 1) / 2 + offset_m[0] / resolution_m
            marks.append(Mark(row, col, label, colour, symbol))
    note = ""
    if true_offset_m is not None and estimated_offset_m is not None:
        note = f"error {100 * math.dist(true_offset_m, estimated_offset_m):.1f} cm"
    return Panel(title, image, tuple(marks), note)


def strip(panels: Sequence[Panel | tuple[str, AnyArray]], height_in: float = 2.3) -> bytes:
    """Lay panels, or (title, image) pairs, side by side at equal height, in inches at 110 dots per inch."""
    shown = [panel if isinstance(panel, Panel) else Panel(*panel) for panel in panels]
    if not shown or any(np.asarray(p.image).size == 0 for p in shown):
        raise InputError("a strip needs pictures with pixels", "give (title, image) pairs")
    aspects = [p.image.shape[1] / p.image.shape[0] for p in shown]
    width_in = height_in * sum(aspects) + 0.12 * len(shown)
    with plot(width_in, height_in + 0.55, ncols=len(shown), squeeze=False, width_ratios=aspects) as (figure, grid):
        for axes, panel in zip(grid[0], shown, strict=True):
            image = np.asarray(panel.image)
            # Shrinking averages, enlarging shows the pixels as they are.
            kind = "nearest" if image.shape[0] < height_in * 110 else "antialiased"
            axes.imshow(image, cmap="gray", interpolation=kind)
            axes.set_title(panel.title, fontsize=9, fontweight="normal", loc="left", pad=4)
            axes.set_xlabel(panel.note, fontsize=8, color=INK)
            bare(axes)
            for mark in panel.marks:
                face = "none" if mark.symbol == "o" else mark.colour
                look = {"color": mark.colour, "markersize": 10, "markeredgewidth": 1.8, "markerfacecolor": face}
                axes.plot(mark.col, mark.row, mark.symbol, label=mark.label, linestyle="none", **look)
            if panel.marks:
                legend_on_picture(axes, fontsize=7, handletextpad=0.2, borderaxespad=0.2)
        return to_png(figure)


def code_mosaic(codes_CHW: AnyArray, title: str = "") -> bytes:
    """Lay the binary channels of a code (C, H, W) out in a mosaic (figure 13); unused channels are greyed out.

    The headline says how many channels there are, and how many are used. `InputError` for another shape.
    """
    bits = np.asarray(codes_CHW) != 0
    if bits.ndim != 3 or bits.size == 0:
        raise InputError(f"codes of shape {bits.shape} cannot be shown", "give (C, H, W)")
    channels, height, width = bits.shape
    columns = max(1, min(channels, round(math.sqrt(channels * height / width * 1.6))))
    rows, gap = -(-channels // columns), max(1, round(0.03 * max(height, width)))
    canvas = np.full((rows * (height + gap) + gap, columns * (width + gap) + gap, 3), 255, np.uint8)
    ink = _bytes(np.array(to_rgb(INK)))
    pale = _bytes(np.array(to_rgb("#f0f2f5")))
    unused = _bytes(0.35 * np.array(to_rgb(QUIET)) + 0.65)
    for channel in range(channels):
        top = gap + channel // columns * (height + gap)
        left = gap + channel % columns * (width + gap)
        tile = np.where(bits[channel][..., None], ink, pale) if bits[channel].any() else unused
        canvas[top : top + height, left : left + width] = tile
    used = int(bits.any((1, 2)).sum())
    head = f"{title}  ·  " if title else ""
    with plot(9.0, 9.0 * canvas.shape[0] / canvas.shape[1] + 0.35) as (figure, axes):
        axes.imshow(canvas, interpolation="antialiased")
        share = f"{100 * bits.mean():.1f} % of the bits set"
        axes.set_title(f"{head}{channels} channels, {used} used, {share}", fontsize=10)
        axes.set_axis_off()
        return to_png(figure)
