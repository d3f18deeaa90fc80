"""What a ``.bin`` that is no KITTI sweep looks like: columns and number type, told from the bytes alone.

In the right layout every column is one quantity, and its values spread as that quantity does; in a wrong one each
column mixes several and spreads wider. So the layout whose columns spread least is the one the file was written in.
"""

from __future__ import annotations

import numpy as np

from foldmap.types import AnyArray

_COLUMNS, _ROWS = range(3, 11), 20_000
_FARTHEST, _TINY, _MOST_TINY = 1e7, 1e-20, 0.02
_CLEARLY = 0.2
"""Nats by which the mean log spread of a layout must be lower than the 4-column one's to be named."""
_KNOWN = {
    ("<f4", 5): "x y z intensity ring, as nuScenes writes",
    ("<f4", 6): "as Waymo's exports have",
    ("<f4", 3): "x y z without intensity",
}
_NAMES = {"<f4": "float32", "<f8": "float64", ">f4": "big-endian float32", ">f8": "big-endian float64"}
_NAMES |= {"<i4": "int32", "<i2": "int16"}


def describe_layout(data: bytes) -> tuple[str, str] | None:
    """The layout of a file's bytes in words, and a cure that reads it.

    None where it is 4 columns of float32 after all, or where nothing can be made out.
    """
    for kind in _NAMES:
        if len(data) % np.dtype(kind).itemsize:
            continue
        values = np.frombuffer(data, kind)
        if not _plausible(values):
            continue
        ways = [(columns, by_row) for columns in _COLUMNS if len(values) % columns == 0 for by_row in (True, False)]
        spread = {way: found for way in ways if (found := _spread(values, *way)) is not None}
        if not spread:
            return None
        least = min(spread.values())
        if "i" in kind and max(spread.values()) - least < _CLEARLY:
            return None  # any bytes are integers, and these have no columns
        # Twice the columns spread as little as the columns themselves: the fewest that do are meant.
        columns, by_row = min((way for way in spread if spread[way] < least + _CLEARLY), key=lambda way: way[0])
        if (kind, columns, by_row) == ("<f4", 4, True):
            return None
        return _words(kind, columns, by_row)
    return None


def _words(kind: str, columns: int, by_row: bool) -> tuple[str, str]:
    known = f" ({_KNOWN[kind, columns]})" if by_row and (kind, columns) in _KNOWN else ""
    order = "" if by_row else ", one column after another"
    shape = f"reshape(-1, {columns})" if by_row else f"reshape({columns}, -1).T"
    cure = f"rewrite it: numpy.fromfile(path, '{kind}').{shape}[:, :4].astype('<f4').tofile(new)"
    if columns == 3:
        cure = "export the sweeps with their intensity, as x y z reflectance in float32"
    return f"{columns} columns of {_NAMES[kind]}{known}{order}", cure


def _plausible(values: AnyArray) -> bool:
    """Whether bytes read as this type could be coordinates at all."""
    if values.dtype.kind == "i":
        return bool(np.abs(values.astype(np.float64)).max(initial=0) < _FARTHEST)
    with np.errstate(invalid="ignore"):
        size = np.abs(values[np.isfinite(values)].astype(np.float64))
    if len(size) < 0.9 * len(values) or not len(size):
        return False
    tiny = float(((size > 0) & (size < _TINY)).mean())
    return tiny < _MOST_TINY and float((size < _FARTHEST).mean()) > 0.999


def _spread(values: AnyArray, columns: int, by_row: bool) -> float | None:
    """Mean over the columns of the logarithm of their standard deviation; None for too few rows."""
    table = values.reshape(-1, columns) if by_row else values.reshape(columns, -1).T
    if len(table) < 16:
        return None
    rows = table[:: max(1, len(table) // _ROWS)].astype(np.float64)
    rows = rows[np.isfinite(rows).all(axis=1)]
    if len(rows) < 16:
        return None
    return float(np.log(np.maximum(rows.std(axis=0), 1e-2)).mean())
