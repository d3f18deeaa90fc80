"""Fixes of a satellite receiver: layouts, units, pairing, and errors that name the line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pyproj import Transformer

from foldmap.errors import ConfigError, MapInputError, PoseInputError
from foldmap.formats.poses.fixes import read_fixes

METRES = [[512_000.5, 5_412_000.25], [512_001.5, 5_412_001.25]]


def written(folder: Path, text: str) -> Path:
    path = folder / "fixes.csv"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "times", "sigma"),
    [
        ("100 512000.5 5412000.25 1.5\n101 512001.5 5412001.25 1.5\n", [100, 101], 1.5),
        ("# t e n s\n100,512000.5,5412000.25,1.5\n\n101,512001.5,5412001.25,1.5\n", [100, 101], 1.5),
        ("north_m,east_m,sigma_m,time_s\n5412000.25,512000.5,1.5,100\n5412001.25,512001.5,1.5,101\n", [100, 101], 1.5),
        ("# timestamp [ns], x, y\n100000000000,512000.5,5412000.25\n101000000000,512001.5,5412001.25\n", [100, 101], 3),
        ("easting northing\n512000.5 5412000.25\n512001.5 5412001.25\n", None, 3),
        ("100 512000.5 5412000.25 9 0 0 0 1\n101 512001.5 5412001.25 9 0 0 0 1\n", [100, 101], 3),
        ("note;time_s;east;north\na;100;512000.5;5412000.25\nb;101;512001.5;5412001.25\n", [100, 101], 3),
        (
            "%time,field.header.frame_id,field.status.status,field.east,field.north\n"
            "1000000000000000000,gps,0,512000.5,5412000.25\n1000000001000000000,gps,0,512001.5,5412001.25\n",
            [1e9, 1e9 + 1],
            3,
        ),
        ("time,x,y,note\n1e9,512000.5,5412000.25,a\n1000000001,512001.5,5412001.25,b\n", [1e9, 1e9 + 1], 3),
    ],
)
def test_layouts(tmp_path: Path, text: str, times: list[float] | None, sigma: float) -> None:
    fixes = read_fixes(written(tmp_path, text), 3.0)
    np.testing.assert_allclose(fixes.in_crs(""), METRES)
    np.testing.assert_allclose(fixes.sigma_m, sigma)
    if times is None:
        assert fixes.times_s is None
    else:
        np.testing.assert_allclose(fixes.times_s, times)


def test_degrees_become_metres_of_the_map(tmp_path: Path) -> None:
    latitude, longitude = 49.0150038, 8.4342971
    text = f"frame,time_s,latitude_deg,longitude_deg,altitude_m\n0,1317042145.9,{latitude},{longitude},116\n"
    fixes = read_fixes(written(tmp_path, text))
    expected = Transformer.from_crs("EPSG:4326", "EPSG:32632", always_xy=True).transform(longitude, latitude)
    np.testing.assert_allclose(fixes.in_crs("EPSG:32632"), [expected], atol=1e-6)
    with pytest.raises(PoseInputError, match="the map is in a local frame"):
        fixes.in_crs("")
    radians = read_fixes(written(tmp_path, "time_s,lat,lon\n0,0.8553,0.1469\n"))
    with pytest.raises(MapInputError, match="these are radians"):
        radians.in_crs("EPSG:32632")
    swapped = read_fixes(written(tmp_path, f"time_s,lon,lat\n0,{latitude},{longitude}\n"))
    with pytest.raises(MapInputError, match=r"latitude 8\.43430, longitude 49\.01500 is far outside of EPSG:32632"):
        swapped.in_crs("EPSG:32632")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no fixes"),
        ("time,lat,lon\n", "holds no fixes"),
        ("a,b,c\n1,2,3\n", "line 1: no columns of fixes"),
        ("1 2\n", "line 1: 2 columns without names"),
        ("1 2 3 1\n2 3 x 1\n", "line 2: could not convert"),
        ("east;north;sigma\n1,5;2,5;0,5\n", "line 2: could not convert string to float: '1,5'"),  # not '5;2'
        ("1 2 3 1\n2 nan 3 1\n", "line 2: NaN"),
        ("1 2 3 1\n2 3 3\n", "line 2: 3 columns"),
        ("1 2 3 1\n2 3 3 0\n", "line 2: the standard deviation is 0"),
        ("t,lat,lon,sigma\n0,49,8,2e-5\n", "line 2: the standard deviation is 2e-05"),  # degrees
        ("t,lat,lon\n0,0,0\n", "the receiver had no fix"),
        ("lat,lon\n49,8\n0,0\n", "no fix in row 2"),
        ("lat,lon\n49,8\n149,8\n", "line 3: 149 is no latitude"),
        ("lat,lon\n49,8\n49,\n", "line 3: could not convert"),
        ("time,lat,lon\n2024-01-01T00:00:00Z,49,8\n", "line 2: could not convert"),
        ("0 49.01 8.42 1\n1 49.01001 8.42001 1\n2 49.01002 8.42002 1\n", "are degrees, not metres"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(PoseInputError, match=message):
        read_fixes(written(tmp_path, text))
    with pytest.raises(ConfigError, match="standard deviation"):
        read_fixes(written(tmp_path, "1 2 3 1\n"), 0.0)


def test_rows_in_which_the_receiver_had_no_fix_are_passed_over(tmp_path: Path) -> None:
    text = "time_s;latitude;longitude;status\n0;0;0;0\n1;49;8;-1\n2;49;8.5;0\n"
    fixes = read_fixes(written(tmp_path, text.replace(";", ",")))
    assert fixes.times_s is not None
    assert (fixes.times_s.tolist(), fixes.xy.tolist(), len(fixes.sigma_m)) == ([2.0], [[8.5, 49.0]], 1)


def test_pairing_with_sweeps(tmp_path: Path) -> None:
    fixes = read_fixes(written(tmp_path, "".join(f"{t} {t} 0 1\n" for t in (100.02, 100.18, 100.51))))
    times_s = 100 + 0.1 * np.arange(5)
    assert fixes.of_sweeps(times_s, 5, 0.05)[0] == [0, None, 1, None, None]
    assert fixes.of_sweeps(None, 3, 0.05)[0] == [0, 1, 2]
    with pytest.raises(PoseInputError, match="3 fixes for 5 sweeps, and the sweeps have no times"):
        fixes.of_sweeps(None, 5, 0.05)
    with pytest.raises(PoseInputError, match="no fix lies within"):
        fixes.of_sweeps(times_s + 1000, 5, 0.05)
