"""Summaries as people read them: a line a value, values within a value below it."""

import pytest
from pyproj import CRS

from foldmap.cli.common import put
from foldmap.cli.show import _for_people


def test_long_values_within_a_value_are_lines_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    grid = {
        "west_m": 456_789.123,
        "north_m": -5_429_123.46,
        "resolution_m": 0.05,
        "height_px": 12_345,
        "note": "x" * 60,
    }
    put({"file": "a.fold", "short": {"one": 1, "two": None}, "layers": {"lidar": {"grid": grid}}}, as_json=False)
    assert capsys.readouterr().out.splitlines() == [
        "file    a.fold",
        "short   one 1, two -",
        "layers",
        "  lidar",
        "    grid",
        "      west m        456,789.1",
        "      north m       -5,429,123.5",
        "      resolution m  0.05",
        "      height px     12,345",
        f"      note          {'x' * 60}",
    ]


def test_a_crs_is_shown_by_its_name_where_it_can_be_read() -> None:
    texts = {"utm": CRS.from_epsg(32632).to_wkt(), "unread": "PROJCS[nonsense", "none": ""}
    layers = {name: {"grid": {"crs_wkt": text, "west_m": 1.0}} for name, text in texts.items()} | {"street": {}}
    shown = _for_people({"layers": layers})["layers"]
    assert {name: shown[name]["grid"]["crs_wkt"] for name in texts} == texts | {"utm": "EPSG:32632"}
    assert layers["utm"]["grid"]["crs_wkt"] == texts["utm"]
