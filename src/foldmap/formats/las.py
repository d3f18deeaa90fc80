"""LAS and LAZ sweeps."""

from __future__ import annotations

from pathlib import Path

import laspy
import numpy as np

from foldmap.errors import SweepInputError
from foldmap.formats.las_header import check_header
from foldmap.lidar.source import Sweep

_FULL_SCALE = 65535.0


def read_las(path: Path) -> Sweep:
    """Read one sweep from a LAS or LAZ file; intensity 0 to 65535 becomes 0 to 1.

    Raises:
        SweepInputError: the file cannot be read, is empty, or its intensity channel was never filled.
    """
    check_header(path)
    try:
        cloud = laspy.read(path)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        # laspy and its decompressor raise a dozen kinds on damaged input; a panic of lazrs is no Exception.
        raise SweepInputError(f"{path} cannot be read as LAS/LAZ: {error}", "check that the file is whole") from error
    if len(cloud.points) == 0:
        raise SweepInputError(f"{path} has no points", "leave this sweep and its pose out")
    raw = np.asarray(cloud.intensity)
    if not raw.any():
        raise SweepInputError(
            f"{path} has no intensity: the channel is zero throughout", "export the sweeps with their intensity"
        )
    return Sweep(np.asarray(cloud.xyz, dtype=np.float32), (raw / np.float32(_FULL_SCALE)).astype(np.float32))
