"""A sweep as its file holds it, before its intensities are scaled; and what full reflectance is in such a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foldmap.errors import SweepInputError
from foldmap.formats.naming import naming
from foldmap.lidar.source import Sweep
from foldmap.types import AnyArray, BoolArray, FloatArray

INTENSITY_NAMES = ("reflectivity", "reflectance", "remission", "intensity", "i", "intensities")
"""Fields that are taken for the intensity, the first of them; a reflectance first, as ranges are taken out of it."""
_SLIVER = 1 / 16
"""Integers that stay below this share of their type's range were not scaled to it."""
_FLOAT_SLIVER = 1 / 256
_EIGHT_BITS = 255.0
_CERTAIN_EIGHT_BITS = 64
"""Wider integers that reach this value, but never more than 255, are widened bytes."""
_USUAL_SCALES = (1, 100, 255, 1023, 4095, 65535)
_GIVE_SCALE = "give the value of full reflectance as intensity scale (--intensity-scale), like "


@dataclass(frozen=True)
class Cloud:
    """Points, float32 (N, 3), and intensities (N,) in the type that the file holds them in.

    ``others`` are fields that might be meant as the intensity, with their least and largest value, for messages.
    """

    path: Path
    points_sensor_m: FloatArray
    values: AnyArray
    others: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.values) == 0:
            raise SweepInputError(f"{self.path} has no points", "leave this sweep and its pose out")
        if not self.values.any():
            found = f"; fields that hold values: {', '.join(self.others)}" if self.others else ""
            cure = "write one of them as intensity" if self.others else "export the sweeps with their intensity"
            raise SweepInputError(f"{self.path} has no intensity: the channel is zero throughout{found}", cure)

    @property
    def highest(self) -> float:
        """The largest finite intensity value; 0 where there is none."""
        finite = self.values[np.isfinite(self.values)]
        return float(finite.max()) if len(finite) else 0.0

    def sweep(self, full_scale: float) -> Sweep:
        """Scale the intensities so that ``full_scale`` becomes 1; what is not finite, or leaves 0 to 1, is refused."""
        intensity = (self.values.astype(np.float64) / full_scale).astype(np.float32)
        with naming(self.path):
            sweep = Sweep(self.points_sensor_m, intensity)
        low, high = float(intensity.min()), float(intensity.max())
        if low < 0 or high > 1.0 + 1e-6:
            least, most = float(self.values.min()), float(self.values.max())
            cure = "reflectance is never negative: write the channel of the intensity, or drop those returns"
            scaled = "" if full_scale == 1 else f" (outside 0 to 1 at scale {full_scale:g})"
            said = f"{self.path} has intensities from {least:.4g} to {most:.4g}, outside 0 to {full_scale:g}{scaled}"
            raise SweepInputError(said, cure if low < 0 else _GIVE_SCALE + usual_scale(most))
        return sweep


def are_returns(points_sensor_m: FloatArray) -> BoolArray:
    """Which points (N,) are returns: where there was none, drivers write NaN throughout, or the origin."""
    lost: BoolArray = np.isnan(points_sensor_m).all(1) | (points_sensor_m == 0).all(1)
    return ~lost


def native_scale(kind: np.dtype[np.generic]) -> float:
    """Full reflectance in a field of this type: its largest value for integers, 1 for floating-point numbers."""
    return float(np.iinfo(kind.name).max) if kind.kind in "iu" else 1.0


def is_sliver(kind: np.dtype[np.generic], highest: float) -> bool:
    """Whether values up to ``highest`` fill so little of their type's range that they were not scaled to it."""
    return highest < native_scale(kind) * (_SLIVER if kind.kind in "iu" else _FLOAT_SLIVER)


def scale_of(kind: np.dtype[np.generic], highest: float, where: str) -> float:
    """Full reflectance, from the type of the field and the highest value of a whole drive.

    Where values fill a sliver of the type, and what their full scale is cannot be known, it is a SweepInputError.
    """
    if not is_sliver(kind, highest):
        return native_scale(kind)
    if kind.kind in "iu" and _CERTAIN_EIGHT_BITS <= highest <= _EIGHT_BITS:
        return _EIGHT_BITS
    said = f"{where}: no intensity exceeds {highest:.6g}, of {native_scale(kind):.10g} that {kind.name} stands for"
    raise SweepInputError(said, _GIVE_SCALE + usual_scale(highest))


def usual_scale(highest: float) -> str:
    """The smallest full scale in use that holds this value."""
    return f"{next((scale for scale in _USUAL_SCALES if scale >= highest), highest):g}"
