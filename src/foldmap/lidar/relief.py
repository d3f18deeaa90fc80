"""Relief beside intensity, in one image: where heights within a pixel scatter, at kerbs, verges, walls and poles.

Two lidars rarely agree on the brightness of asphalt and grass, but both see where ground ends. A map that has the
variance of heights a pixel as a band is mixed into one image with its intensity, and so is what the vehicle sees; from
there on everything is as without. The fourth root brings a kerb (10 cm) and a wall (1 m) within a factor of three.
"""

from __future__ import annotations

import numpy as np

from foldmap.errors import MapInputError
from foldmap.lidar.source import RasterMap, RasterSource
from foldmap.types import AnyArray, BoolArray, FloatArray

SHARE = 0.8  # of relief; intensity has the rest
FLAT_M2, STEEP_M2 = 1 / 255, 1.0  # variances are told apart between these; bands of 8 bits hold no smaller one


def mixed(intensity: FloatArray, variance_m2: AnyArray, known: BoolArray) -> FloatArray:
    """Mix intensity, 0 to 1, with the variance of heights, m2, flat where it is not known: 0 to 1, float32."""
    variance = np.clip(np.where(known, variance_m2, FLAT_M2), FLAT_M2, STEEP_M2)
    return ((1 - SHARE) * intensity + SHARE * variance**0.25).astype(np.float32)


class ReliefSource:
    """Two rasters of one grid, intensity of 0 to 1 and variance of heights in m2, as one `RasterSource`.

    Observed is what the first observed. A MapInputError where the grids differ.
    """

    def __init__(self, intensity: RasterSource, variance_m2: RasterSource) -> None:
        if intensity.grid != variance_m2.grid:
            raise MapInputError("intensity and relief lie on two grids", "give two bands of one raster")
        self._intensity, self._variance_m2 = intensity, variance_m2
        self.grid = intensity.grid

    def read(self, row: int, col: int, height_px: int, width_px: int) -> RasterMap:
        """Read a window of both, mixed; pixels outside are unobserved."""
        seen = self._intensity.read(row, col, height_px, width_px)
        relief = self._variance_m2.read(row, col, height_px, width_px)
        image = mixed(seen.intensity, relief.intensity, relief.observed)
        return RasterMap(seen.grid, np.where(seen.observed, image, np.float32(0)), seen.observed)
