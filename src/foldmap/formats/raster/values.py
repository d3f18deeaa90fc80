"""What the numbers of a raster band can be: full scale, and what gives away that they are no ground intensities."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from foldmap.errors import MapInputError
from foldmap.types import AnyArray, BoolArray

_SIDE_PX, _PICKS = 256, 24
_HUGE = 1e30
_KNOWN_NODATA = (-999.0, -9999.0, -99999.0, -32767.0, -32768.0)
_GAP, _SHARE = 8.0, 1e-3
_LEAST_RANGE = 1e-4
_PATCH_PX, _PATCHES, _PATCHES_SHARE, _FILL_SHARE = 16, 4, 0.02, 0.25
_SMOOTH, _LEAST_STEPS = 0.008, 4000
"""Share of the range of all values by which neighbours differ: of recorded intensities at 5 and 33 cm 0.04 and more; of
heights with 2 cm of noise 0.005."""
Valid = Callable[[int, int, int, int], AnyArray]
"""Row, column, height and width of a window -> its observed values as stored, one-dimensional."""
Stored = tuple[AnyArray, BoolArray]


def declared_scale(path: Path, dataset: Any, band: int) -> tuple[float, float] | None:
    """The band's own scale and offset; None where it declares none.

    Raises:
        MapInputError: a scale under which all values are the same, or that is no number.
    """
    scale, offset = float(dataset.scales[band - 1]), float(dataset.offsets[band - 1])
    if scale == 0 or not (math.isfinite(scale) and math.isfinite(offset)):
        raise MapInputError(
            f"{path}: band {band} declares the GDAL scale {scale:g} and offset {offset:g}, which leaves no value",
            "set what its values mean: gdal_edit.py -scale 1 -offset 0",
        )
    return None if (scale, offset) == (1.0, 0.0) else (scale, offset)


def check_band(
    path: Path, kind: np.dtype[Any], declared: tuple[float, float] | None, shape: tuple[int, int], valid: Valid
) -> tuple[float, float]:
    """Scale and offset to full reflectance 1 of a band, after a look at some of its values; at all where those are odd.

    Integers of 8 and 16 bits are divided by their type's maximum, wider ones by the most that the bytes hold which all
    values need: 255, 65535 and so on. Floats, and bands with a `declared_scale`, stay as they are. ``kind`` is of the
    stored values, ``shape`` (height_px, width_px).

    Raises:
        MapInputError: nothing but one or two values, what looks like nodata that is not declared, or values that span
            too little.
    """
    some = _Seen()
    for window in _windows(shape, _PICKS):
        some.add(path, kind, valid(*window))
    if not some.count:
        return declared or (1.0, 0.0)
    wide = kind.kind in "iu" and declared is None and kind.itemsize > 2
    if len(some.distinct) < 3 or wide:
        some = _Seen()
        for window in _windows(shape):
            some.add(path, kind, valid(*window))
    if len(some.distinct) < 3:
        held = " and ".join(f"{value:g}" for value in sorted(some.distinct))
        raise MapInputError(
            f"{path} holds nothing but {held} where it is observed: no ground intensities",
            "choose the band of intensity with --band, or write the map with it",
        )
    _refuse_top(path, some)
    scale, offset = declared or _full_scale(kind, some.high)
    low, high = some.low * scale + offset, some.high * scale + offset
    if abs(high - low) < _LEAST_RANGE:
        raise MapInputError(
            f"{path} has values from {some.low:g} to {some.high:g}, {low:.3g} to {high:.3g} of full reflectance",
            "rescale it so that full reflectance is 1: gdal_translate -ot Float32 -scale",
        )
    return scale, offset


def _full_scale(kind: np.dtype[Any], high: float) -> tuple[float, float]:
    if kind.kind == "f":
        return 1.0, 0.0
    most = int(np.iinfo(kind).max)
    if kind.itemsize > 2:
        most = min(most, (1 << 8 * max(1, -(-int(high).bit_length() // 8))) - 1)
    return 1.0 / most, 0.0


class _Seen:
    """Values met so far: how many, from where to where, the highest two and their count, the first few distinct."""

    def __init__(self) -> None:
        self.count = 0
        self.low, self.high, self.second = math.inf, -math.inf, -math.inf
        self.at_top = 0
        self.distinct: set[float] = set()

    def add(self, path: Path, kind: np.dtype[Any], values: AnyArray) -> None:
        refuse_nodata(path, kind, values)
        if not values.size:
            return
        self.count += values.size
        self.low = min(self.low, float(values.min()))
        top = float(values.max())
        below = values[values < top]
        second = float(below.max()) if below.size else -math.inf
        at_top = int(values.size - below.size)
        if top >= self.high:
            self.at_top = at_top + (self.at_top if top == self.high else 0)
        self.high, self.second = sorted({self.high, self.second, top, second}, reverse=True)[:2]
        if len(self.distinct) < 3:
            self.distinct |= set(np.unique(values[:: max(1, values.size >> 12)])[:3].tolist())
            self.distinct |= {float(values.min()), top, *([second] if below.size else [])}


def refuse_nodata(path: Path, kind: np.dtype[Any], values: AnyArray) -> None:
    """Refuse values, finite and as stored, that stand for nothing observed and are not declared as such.

    Raises:
        MapInputError: huge values, a usual nodata value, or negative integers; names the value.
    """
    if not values.size:
        return
    low, high = values.min(), values.max()
    found = None
    if kind.kind == "f" and max(-float(low), float(high)) >= _HUGE:
        found = high if float(high) >= _HUGE else low
    elif float(low) in _KNOWN_NODATA or (low <= -1 and float(low).is_integer() and (values[values < 0] == low).all()):
        found = low
    if found is not None:
        _refuse(path, float(found))


def check_texture(
    path: Path,
    shape: tuple[int, int],
    stored: Callable[[int, int, int, int], Stored],
    declared: bool,
    heights: bool,
    smeared: float | None = None,
) -> list[str]:
    """Refuse what no ground intensities look like: solid patches, of files without a declared nodata, and heights.

    Of a file that declares nodata, solid patches of another value are told: they may be ground, and may be fill.

    A measured intensity differs from pixel to pixel; what fills whole patches is what a raster was made with (the
    highest value may be saturated, though not in a fourth of the map), and heights go on from pixel to pixel. ``shape``
    is (height_px, width_px), ``stored`` gives the values of a window and which of them are observed, ``heights`` is
    whether they may be such: floating-point numbers that nobody calls intensities; ``smeared`` is a nodata value that a
    lossy compression turns into others nearby.

    Raises:
        MapInputError: at least a fiftieth of the patches looked at are of the lowest value, or a fourth of another; or
            neighbours of what may be heights differ by less than 0.8 % of the range of all values; or
            nodata is smeared.
    """
    low, patches, notes = math.inf, 0, list[str]()
    solid: Counter[float] = Counter()
    some, stepped, steps = list[AnyArray](), 0.0, 0
    for window in _windows(shape, _PICKS):
        values, observed = stored(*window)
        if not observed.any():
            continue
        for before, after in ((np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:])):
            both = observed[before] & observed[after]
            stepped += float(np.abs(values[after][both].astype(np.float64) - values[before][both]).sum())
            steps += int(both.sum())
        some.append(values[observed])
        low = min(low, float(some[-1].min()))
        rows, columns = (side // _PATCH_PX for side in values.shape)
        seen, cut = (
            of[: rows * _PATCH_PX, : columns * _PATCH_PX].reshape(rows, _PATCH_PX, columns, _PATCH_PX)
            for of in (observed, values)
        )
        least, most = cut.min((1, 3)), cut.max((1, 3))
        patches += least.size
        if smeared is not None and (~seen).all((1, 3)).any():
            raise MapInputError(
                f"{path} declares nodata {smeared:g}, of which its lossy compression makes other values",
                "write it with DEFLATE, or with a mask in place of the value: nearblack -near 8 -setmask",
            )
        solid.update(least[(least == most) & seen.all((1, 3))].tolist())
    if solid:
        value, times = solid.most_common(1)[0]
        lowest = solid[low] >= max(_PATCHES, _PATCHES_SHARE * patches)
        if lowest or times >= max(_PATCHES, _FILL_SHARE * patches):
            value, times = (low, solid[low]) if lowest else (value, times)
            if not declared:
                _refuse(path, value, "; where it was measured, declare another value, which no pixel has")
            share = f"{path}: at least {100 * times / patches:.0f} % of the map is {value:.9g} and nothing else"
            notes.append(f"{share}; where that is no ground, declare it as nodata: gdal_edit.py -a_nodata {value:.17g}")
    if heights and steps >= _LEAST_STEPS:
        first, last = np.percentile(np.concatenate([each[:: len(some)] for each in some]), [2, 98])
        if stepped / steps < _SMOOTH * float(last - first):
            said = f"from pixel to pixel by {stepped / steps:.3g}, and range from {first:.4g} to {last:.4g}"
            raise MapInputError(
                f"{path}: values change {said}: these are heights, not ground intensities",
                "choose the band of intensity with --band; where this is it, set its description to intensity",
            )
    return notes


def _refuse_top(path: Path, some: _Seen) -> None:
    """Refuse a highest value that many pixels have and none comes near to."""
    far = some.high > _GAP * max(some.second, 0.0) and some.high.is_integer() and some.high >= 255
    if far and some.at_top >= max(16, _SHARE * some.count):
        _refuse(path, some.high)


def _refuse(path: Path, value: float, otherwise: str = "") -> NoReturn:
    raise MapInputError(
        f"{path}: values of {value:.9g} look like nodata, which the file does not declare",
        f"declare it: gdal_edit.py -a_nodata {value:.17g} {path}{otherwise}",
    )


def _windows(shape: tuple[int, int], most: int | None = None) -> Iterator[tuple[int, int, int, int]]:
    """Windows that tile a raster; of more than `most` only so many, evenly over it."""
    rows, columns = (-(-side // _SIDE_PX) for side in shape)
    numbers = range(rows * columns)
    picked = numbers if most is None else np.unique(np.linspace(0, len(numbers) - 1, most).astype(int))
    for number in picked:
        row, column = (int(one) * _SIDE_PX for one in divmod(int(number), columns))
        yield row, column, min(_SIDE_PX, shape[0] - row), min(_SIDE_PX, shape[1] - column)
