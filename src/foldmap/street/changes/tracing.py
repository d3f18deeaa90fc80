"""Directed lines out of a field: follow its ridges from the strongest cell on, lane by lane."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import gaussian_filter

from foldmap.street.field.world import WorldField
from foldmap.types import DoubleArray, FloatArray

_STEP_M = 1.0
_ASIDE_M = np.linspace(-0.8, 0.8, 9)
_TURN_RAD = np.radians(np.linspace(-24, 24, 9))
_MOST_STEPS, _MOST_LINES = 2000, 200
_ERASED_M = 2.0


@dataclass(frozen=True)
class TracedLine:
    """A lane that a field shows, float64 (P, 2) about 1 m apart in driving direction, and the field's mean along it.

    The mean is of all that was followed, the line without its weak ends (`strong_part`).
    """

    line_m: DoubleArray
    strength: float


def trace_lines(field: WorldField, least: float, least_m: float = 6.0) -> list[TracedLine]:
    """Trace at most 200 lanes, strongest start first; those shorter than `least_m` are dropped.

    A line starts at a cell of at least `least` (0 to 1, of all headings together, smoothed over a cell), and goes on
    while it finds half of it.
    """
    left = replace(field, value=field.value.copy())
    found: list[TracedLine] = []
    dropped = 0
    while len(found) < _MOST_LINES and dropped < _MOST_LINES:
        seed = _strongest(left, least)
        if seed is None:
            break
        ahead, back = (_walk(left, *seed, sign, 0.5 * least) for sign in (1.0, -1.0))
        line = np.array([*back[::-1], seed[:2], *ahead])
        value = _erase(left, line)
        strength, line = float(value.mean()), line[strong_part(value)]
        if len(line) * _STEP_M >= least_m:
            found.append(TracedLine(line, strength))
        else:
            dropped += 1
    return found


def strong_part(value: DoubleArray) -> slice:
    """Values (N,) along a piece without its ends that have less than half of the mean."""
    strong = np.flatnonzero(value >= 0.5 * value.mean())
    return slice(int(strong[0]), int(strong[-1]) + 1)


def _strongest(field: WorldField, least: float) -> tuple[float, float, float] | None:
    total = gaussian_filter(field.value.sum(0), 1.0)
    i, j = np.unravel_index(int(total.argmax()), total.shape)
    if total[i, j] < least:
        return None
    near = field.value[:, max(0, i - 1) : i + 2, max(0, j - 1) : j + 2].sum((1, 2))
    angle = 2 * np.pi * np.arange(len(near)) / len(near)
    # the two strongest neighbours among the headings, not their mean: where two lanes cross the mean is neither
    pair = near + np.roll(near, -1)
    low = int(pair.argmax())
    share = near[(low + 1) % len(near)] / max(pair[low], 1e-9)
    heading = float(angle[low] + share * 2 * np.pi / len(near))
    return (field.west_m + (float(i) + 0.5) * field.cell_m, field.south_m + (float(j) + 0.5) * field.cell_m, heading)


def _walk(
    field: WorldField, x: float, y: float, heading: float, sign: float, least: float
) -> list[tuple[float, float]]:
    """Points after the first, in steps; each step tries some turns and some places aside and takes the strongest."""
    points: list[tuple[float, float]] = []
    for _ in range(_MOST_STEPS):
        turned = heading + _TURN_RAD[:, None]
        px = x + sign * _STEP_M * np.cos(turned) - _ASIDE_M * np.sin(turned)
        py = y + sign * _STEP_M * np.sin(turned) + _ASIDE_M * np.cos(turned)
        facing = np.broadcast_to(turned, px.shape)
        value = field.at(px.ravel(), py.ravel(), facing.ravel()).reshape(px.shape)
        value = value * (1 - 0.1 * np.abs(_ASIDE_M)) * (1 - 0.2 * np.abs(_TURN_RAD[:, None]))
        t, a = np.unravel_index(int(value.argmax()), value.shape)
        if value[t, a] < least:
            break
        x, y, heading = float(px[t, a]), float(py[t, a]), float(turned[t, 0])
        points.append((x, y))
    return points


def _erase(field: WorldField, line: DoubleArray) -> DoubleArray:
    """Take a line's ink out of the field, near it and within 60 degrees of its heading; the values along it."""
    step = np.gradient(line, axis=0) if len(line) > 1 else np.array([[1.0, 0.0]])
    heading = np.arctan2(step[:, 1], step[:, 0])
    value = field.at(line[:, 0], line[:, 1], heading)
    headings = len(field.value)
    reach = int(np.ceil(_ERASED_M / field.cell_m))
    angle = 2 * np.pi * np.arange(headings) / headings
    for (x, y), h in zip(line, heading, strict=True):
        i, j = int((x - field.west_m) / field.cell_m), int((y - field.south_m) / field.cell_m)
        facing = np.cos(angle - h) > 0.5 if len(line) > 1 else np.ones(headings, bool)
        part: FloatArray = field.value[:, max(0, i - reach) : i + reach + 1, max(0, j - reach) : j + reach + 1]
        part[facing] = 0.0
    return value
