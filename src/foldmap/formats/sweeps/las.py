"""LAS and LAZ sweeps."""

from __future__ import annotations

from pathlib import Path

import laspy
import numpy as np

from foldmap.errors import SweepInputError
from foldmap.formats.sweeps.cloud import Cloud
from foldmap.formats.sweeps.las_chunks import check_chunks
from foldmap.formats.sweeps.las_crs import require_metric_las
from foldmap.formats.sweeps.las_header import check_header


def read_las(path: Path) -> Cloud:
    """Read one sweep from a LAS or LAZ file; intensities are 16-bit integers.

    Raises:
        SweepInputError: the file cannot be read, is empty, holds fewer points than it declares, or its intensity
            channel was never filled.
    """
    check_header(path)
    try:
        # not the parallel decompressor: that allocates as many points as a chunk is said to have
        with laspy.open(path, laz_backend=laspy.LazBackend.Lazrs) as reader:
            declared = int(reader.header.point_count)
            if reader.header.are_points_compressed:
                check_chunks(path, reader.header)
            cloud = reader.read()
        require_metric_las(cloud.header, str(path))
    except (SweepInputError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        # laspy and its decompressor raise a dozen kinds on damaged input; a panic of lazrs is no Exception.
        raise SweepInputError(f"{path} cannot be read as LAS/LAZ: {error}", "check that the file is whole") from error
    found = len(cloud.points)
    if found != declared:
        raise SweepInputError(
            f"{path} is cut short: {declared} points declared, {found} there", "copy or export the file again"
        )
    return Cloud(Path(path), np.asarray(cloud.xyz, dtype=np.float32).reshape(-1, 3), np.asarray(cloud.intensity))
