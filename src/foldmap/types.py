"""Array aliases, and how frames and units are named.

Names carry frame and unit: ``world_SE3_sensor`` maps sensor coordinates into the world, ``points_sensor_m`` are metres
in the sensor frame, ``heading_rad`` is counter-clockwise from east (x). Tensors carry their axes: ``code_BKHW``. Image
row 0 is the north edge; pixel ``(row, col)`` means the pixel's centre.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float32]
DoubleArray: TypeAlias = NDArray[np.float64]
BoolArray: TypeAlias = NDArray[np.bool_]
ByteArray: TypeAlias = NDArray[np.uint8]
IntArray: TypeAlias = NDArray[np.int64]
AnyArray: TypeAlias = NDArray[Any]
