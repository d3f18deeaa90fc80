"""The lane spectrum: a lane field in a few hundred numbers, by a fixed transform that nobody has to store.

Fourier over headings, cosine transform over the window, low frequencies kept: inner products of spectra are those of
smoothed fields. Principal axes of a library would have to travel in the file, and would fit the next library less; a
fixed transform does neither.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.fft import dct

from foldmap.errors import ConfigError
from foldmap.street.field.lane_field import FieldSpec
from foldmap.types import AnyArray, FloatArray, IntArray


@dataclass(frozen=True)
class SpectrumSpec:
    """Which frequencies are kept.

    `spatial` cosine terms, lowest first by ``(row / rows)^2 + (column / columns)^2`` of their frequency; `angular` is
    the highest Fourier order over headings: order 0 gives one plane of numbers, each further one two.
    """

    spatial: int = 50
    angular: int = 2

    def __post_init__(self) -> None:
        if self.spatial < 1 or self.angular < 0:
            raise ConfigError(f"a spectrum of {self.spatial} x {self.angular}", "keep at least one term")

    @property
    def dim(self) -> int:
        """Numbers of an embedding."""
        return self.spatial * (1 + 2 * self.angular)


def spectrum(fields_BCHW: AnyArray, field: FieldSpec, spec: SpectrumSpec) -> FloatArray:
    """Unit embeddings float32 (N, dim) of lane fields (N, headings, rows, columns), drawn as `field` says.

    A field without lanes gives a row of zeros, which is similar to nothing.
    """
    if fields_BCHW.shape[1:] != field.shape:
        raise ConfigError(f"lane fields of shape {fields_BCHW.shape[1:]}", f"draw them as {field.shape}")
    check_terms(field, spec)
    headings, rows, columns = field.shape
    chosen_row, chosen_column = _lowest(rows, columns, spec.spatial)
    row_basis = dct(np.eye(rows), axis=0, norm="ortho")[: int(chosen_row.max()) + 1].astype(np.float32)
    column_basis = dct(np.eye(columns), axis=0, norm="ortho")[: int(chosen_column.max()) + 1].astype(np.float32)
    # columns first, then rows: both leave little, and the turns then cost nothing
    waves = row_basis @ (fields_BCHW.astype(np.float32, copy=False) @ column_basis.T)
    turned = _angular(headings, spec.angular) @ waves[:, :, chosen_row, chosen_column]
    kept = turned.reshape(len(fields_BCHW), spec.dim)
    length = np.linalg.norm(kept, axis=1, keepdims=True)
    unit: FloatArray = np.divide(kept, length, out=np.zeros_like(kept), where=length > 1e-6)
    return unit


def check_terms(field: FieldSpec, spec: SpectrumSpec) -> None:
    """Refuse a field that has fewer terms than are to be kept (ConfigError)."""
    headings, rows, columns = field.shape
    if spec.spatial > rows * columns or 2 * spec.angular >= headings:
        raise ConfigError(f"a field of {field.shape} has fewer terms than {spec}", "keep fewer")


def mirror_signs(field: FieldSpec, spec: SpectrumSpec, *, left_right: bool = False) -> FloatArray:
    """What a spectrum is multiplied by when ahead and behind are exchanged and every lane is driven the other way.

    float32 (dim,), 1 and -1. Right-hand traffic stays so, and the product is the spectrum of another window that could
    be. With `left_right` the window is mirrored as an image is, and its traffic changes sides.
    """
    row, column = _lowest(*field.shape[1:], spec.spatial)
    order = np.arange(1 + 2 * spec.angular)
    odd, sine = (
        np.where((column if left_right else row) % 2, -1.0, 1.0),
        np.where((order > 0) & (order % 2 == 0), -1.0, 1.0),
    )
    return np.outer(sine, odd).ravel().astype(np.float32)


def _lowest(rows: int, columns: int, count: int) -> tuple[IntArray, IntArray]:
    row, column = np.mgrid[:rows, :columns]
    square = (row * columns) ** 2 + (column * rows) ** 2  # whole numbers: equal frequencies stay in order
    order = np.argsort(square.ravel(), kind="stable")[:count]
    return row.ravel()[order], column.ravel()[order]


def _angular(headings: int, highest: int) -> FloatArray:
    """Rows 1, cos, sin, cos 2, sin 2, ... over the headings, of equal length, (1 + 2 highest, headings)."""
    angle = 2 * np.pi * np.arange(headings) / headings
    rows = [np.full(headings, np.sqrt(0.5))]
    for order in range(1, highest + 1):
        rows += [np.cos(order * angle), np.sin(order * angle)]
    return np.stack(rows).astype(np.float32) * np.float32(np.sqrt(2 / headings))
