"""The unit of LAS sweeps, as the file's own records say it; files written with laspy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import laspy
import numpy as np
import pyproj
import pytest
from laspy.vlrs.known import GeoKeyDirectoryVlr

from foldmap.errors import SweepInputError
from foldmap.formats.sweeps.las import read_las


def write(path: Path, crs: Any = None, unit_key: tuple[int, int] | None = None) -> Path:
    header = laspy.LasHeader(point_format=6, version="1.4")
    header.scales = np.full(3, 1e-3)
    if crs is not None:
        header.add_crs(pyproj.CRS(crs))
    if unit_key is not None:
        record = GeoKeyDirectoryVlr()
        record.parse_record_data(np.array([1, 1, 0, 2, 1024, 0, 1, 1, unit_key[0], 0, 1, unit_key[1]], "<u2").tobytes())
        header.vlrs.append(record)
    cloud = laspy.LasData(header)
    cloud.x = cloud.y = cloud.z = np.arange(1.0, 6.0)
    cloud.intensity = np.arange(5) * 9000
    cloud.write(path / "a.las")
    return path / "a.las"


@pytest.mark.parametrize("said", [{}, {"crs": 25832}, {"crs": "EPSG:5555"}, {"unit_key": (3076, 9001)}])
def test_metres_are_read(tmp_path: Path, said: dict[str, Any]) -> None:
    read_las(write(tmp_path, **said))


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"crs": 2263}, "US survey foot of 0.30480061 m"),
        ({"crs": "EPSG:32618+6360"}, "US survey foot"),
        ({"crs": 4326}, "in degrees"),
        ({"crs": "EPSG:4326+5773"}, "in degrees"),
        ({"unit_key": (3076, 9003)}, "horizontal units of 0.30480061 m"),
        ({"unit_key": (4099, 9002)}, "vertical units of 0.3048 m"),
    ],
)
def test_other_units_are_refused(tmp_path: Path, said: dict[str, Any], message: str) -> None:
    with pytest.raises(SweepInputError, match=message) as caught:
        read_las(write(tmp_path, **said))
    assert "a.las" in caught.value.message
    assert caught.value.cure
