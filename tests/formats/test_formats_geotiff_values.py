"""Values that cannot be ground intensities, and placements that are no metres, in rasters written with rasterio."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp

from foldmap.errors import ConfigError, MapInputError
from foldmap.formats.crs import from_lonlat
from foldmap.formats.raster import values as geotiff_values
from foldmap.formats.raster.geotiff import open_mixed, open_raster, open_rasters, raster_grid
from foldmap.formats.raster.write import crs_wkt_of, write_map_geotiff
from foldmap.geometry import MetricGrid

SHAPE = (90, 120)


def texture(low: float, high: float, kind: str, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    values = np.random.default_rng(4).uniform(low, high, shape)
    return (np.round(values) if np.dtype(kind).kind in "iu" else values).astype(kind)


def write(
    path: Path, values: np.ndarray, crs: str | None = None, at: tuple[float, float] = (0, 0), **more: Any
) -> Path:
    path = path / "map.tif"
    place = {"crs": crs, "transform": rasterio.Affine(0.33, 0, at[0], 0, -0.33, at[1])} | more
    profile = {
        "driver": "GTiff",
        "height": values.shape[0],
        "width": values.shape[1],
        "count": 1,
        "dtype": values.dtype,
    }
    with rasterio.open(path, "w", **(profile | place)) as dataset:
        dataset.write(np.broadcast_to(values, (dataset.count, *values.shape)))
    return path


def read(path: Path) -> np.ndarray:
    with open_raster(path) as raster:
        return raster.read(0, 0, *raster.grid.shape).intensity


@pytest.mark.parametrize(
    ("kind", "most", "full"),
    [
        ("uint8", 200, 255), ("uint16", 200, 65535), ("uint16", 4095, 65535), ("int16", 4095, 32767),
        ("uint32", 255, 255), ("int32", 255, 255), ("int32", 4000, 65535), ("uint32", 65535, 65535),
        ("int32", 100_000, 2**24 - 1), ("int32", 10**9, 2**31 - 1), ("uint32", 2**32 - 2, 2**32 - 1),
        ("int64", 255, 255),
        ("float32", 0.8, 1), ("float32", 255, 1), ("float64", 65535, 1),
    ],
)  # fmt: skip
def test_full_scale_of_what_a_band_holds(tmp_path: Path, kind: str, most: float, full: float) -> None:
    values = texture(0, most, kind)
    values[3, 4] = most
    np.testing.assert_allclose(read(write(tmp_path, values)), values / full, rtol=1e-6)


def test_wide_integers_are_looked_at_to_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One value above 255, where no sample lies, changes what all others mean."""
    monkeypatch.setattr(geotiff_values, "_SIDE_PX", 16)
    monkeypatch.setattr(geotiff_values, "_PICKS", 2)
    values = texture(0, 255, "uint32")
    assert read(write(tmp_path, values)).max() > 0.9
    values[40, 60] = 300
    np.testing.assert_allclose(read(write(tmp_path, values)), values / 65535, rtol=1e-6)
    mask = np.zeros(SHAPE, np.uint16)
    mask[40, 60] = 7
    with pytest.raises(MapInputError, match="nothing but 0 and 7"):
        read(write(tmp_path, mask))
    mask[41] = np.arange(120) * 100
    assert read(write(tmp_path, mask)).max() == pytest.approx(11900 / 65535)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("float32", -3.4028234663852886e38), ("float64", -1.7976931348623157e308), ("float32", 1e30),
        ("float32", -9999.0),
        ("float32", -32768.0), ("float64", -999.0), ("float32", -1.0), ("float32", 1e20), ("float32", 9999.0),
        ("int16", -9999), ("int16", -32768), ("int32", -2147483648), ("int16", -1), ("uint32", 4294967295),
        ("uint16", 65535), ("int64", -9999), ("uint8", 0), ("uint16", 0), ("float32", 0.0),
    ],
)  # fmt: skip
def test_nodata_that_is_not_declared(tmp_path: Path, kind: str, value: float) -> None:
    values = texture(0, 1, kind) if np.dtype(kind).kind == "f" else np.maximum(texture(0, 255, kind), 1)
    values[:33] = np.array(value).astype(kind)
    with pytest.raises(MapInputError, match="look like nodata") as caught:
        read(write(tmp_path, values))
    assert "map.tif" in caught.value.message
    assert float(caught.value.message.split("values of ")[1].split()[0]) == pytest.approx(value, rel=1e-7)
    told = caught.value.cure.split("-a_nodata ")[1].split()[0]
    with open_raster(write(tmp_path, values, nodata=float(told))) as raster:
        assert raster.read(0, 0, *SHAPE).observed.sum() == 57 * 120


def test_ground_that_was_measured_as_nought_is_kept_where_nodata_is_another(tmp_path: Path) -> None:
    values = np.minimum(texture(0, 255, "uint8"), 254)
    values[:40] = 0
    with pytest.raises(MapInputError, match="values of 0 look like nodata") as caught:
        read(write(tmp_path, values))
    assert "declare another value, which no pixel has" in caught.value.cure
    with open_raster(write(tmp_path, values, nodata=255)) as raster:
        assert raster.read(0, 0, *SHAPE).observed.all()
        assert [line.split(": ", 1)[1] for line in raster.notes] == [
            "at least 40 % of the map is 0 and nothing else; where that is no ground, declare it as nodata: "
            "gdal_edit.py -a_nodata 0"
        ]
    with open_raster(write(tmp_path, values, nodata=0)) as raster:
        assert not raster.notes


@pytest.mark.parametrize("how", [{"compress": "JPEG"}, {"compress": "WEBP", "count": 3}])
def test_a_value_for_nothing_that_a_lossy_compression_smears(tmp_path: Path, how: dict[str, Any]) -> None:
    values = np.clip(texture(0, 255, "uint8"), 40, 254)
    hole = np.s_[:43]
    with open_raster(write(tmp_path, values, nodata=0, **how), 1) as raster:  # there is none to smear
        assert not raster.notes
    values[hole] = 0
    path = write(tmp_path, values, nodata=0, **how)
    with rasterio.open(path) as dataset:
        assert (dataset.read(1)[hole] != 0).mean() > 0.01
    with pytest.raises(MapInputError, match="declares nodata 0, of which its lossy compression makes other values"):
        open_raster(path)
    with open_raster(write(tmp_path, values, nodata=0, **{**how, "compress": "DEFLATE"}), 1) as raster:
        assert not raster.read(0, 0, *SHAPE).observed[hole].any()
    if "count" not in how:
        path = write(tmp_path, values, **how)
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as dataset:
            dataset.write_mask(values > 0)
        with open_raster(path) as raster:
            assert np.array_equal(raster.read(0, 0, *SHAPE).observed, values > 0)


def test_which_of_several_bands_is_read_is_told_where_nobody_chose(tmp_path: Path) -> None:
    values = texture(1, 255, "uint8")
    path = write(tmp_path, values, count=3, photometric="RGB")
    told: list[str] = []
    for band in (None, 1):
        with open_rasters([path, path], band, note=told.append) as source:
            assert np.array_equal(source.read(0, 0, *SHAPE).intensity, (values / np.float32(255)).astype(np.float32))
    assert told == [f"note: {path}: band 1 (red) of 3 is read; --band chooses another"]
    with rasterio.open(path, "r+") as dataset:
        dataset.set_band_description(1, "Intensity")
    for one in (path, write(tmp_path, values), write(tmp_path, values, count=2, photometric="MINISBLACK", alpha="yes")):
        with open_raster(one) as raster:
            assert not raster.notes


def test_nodata_far_from_where_samples_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(geotiff_values, "_SIDE_PX", 16)
    monkeypatch.setattr(geotiff_values, "_PICKS", 2)
    values = texture(0, 1, "float32")
    values[40, 60] = -9999
    with open_raster(write(tmp_path, values)) as raster:
        raster.read(0, 0, 30, 30)
        with pytest.raises(MapInputError, match="values of -9999 look like nodata"):
            raster.read(20, 40, 40, 40)


def test_values_that_only_look_odd_are_kept(tmp_path: Path) -> None:
    bright = texture(0, 0.6, "float32")
    bright[5, :40] = 1.0
    decibel = texture(-30, -1, "float32")
    white = texture(0, 60, "uint8")
    white[:20] = 255
    dark = texture(0, 30, "uint16")
    dark[10:20] = 0  # dull asphalt: no patch is solid
    for values in (bright, decibel, white, dark):
        read(write(tmp_path, values))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros(SHAPE, np.uint8), "nothing but 0 where"),
        (np.full(SHAPE, 0.5, np.float32), "nothing but 0.5 where"),
        (texture(0, 1, "uint16"), "nothing but 0 and 1 where"),
        (texture(0, 6e-8, "float32"), "of full reflectance"),
    ],
)
def test_bands_that_are_no_intensities(tmp_path: Path, values: np.ndarray, message: str) -> None:
    with pytest.raises(MapInputError, match=message) as caught:
        read(write(tmp_path, values))
    assert caught.value.cure


@pytest.mark.parametrize(("scale", "offset"), [(0.0, 0.0), (0.0, 5.0), (float("nan"), 0.0), (1.0, float("inf"))])
def test_scales_that_leave_no_value(tmp_path: Path, scale: float, offset: float) -> None:
    path = write(tmp_path, texture(0, 255, "uint8"))
    with rasterio.open(path, "r+") as dataset:
        dataset.scales, dataset.offsets = (scale,), (offset,)
    with pytest.raises(MapInputError, match="declares the GDAL scale"):
        open_raster(path)


def test_bands_of_another_meaning(tmp_path: Path) -> None:
    path = tmp_path / "two.tif"
    profile = {"driver": "GTiff", "height": 90, "width": 120, "count": 2, "dtype": "uint8"}
    with rasterio.open(path, "w", **profile, transform=rasterio.Affine(0.33, 0, 0, 0, -0.33, 0)) as dataset:
        dataset.write(np.stack([texture(0, 255, "uint8")] * 2))
    with rasterio.open(path, "r+") as dataset:
        dataset.colorinterp = (ColorInterp.gray, ColorInterp.alpha)
    open_raster(path).close()
    with pytest.raises(MapInputError, match="band 2 is the alpha band"):
        open_raster(path, 2)
    path = write(tmp_path, texture(0, 9, "uint8"))
    with rasterio.open(path, "r+") as dataset:
        dataset.write_colormap(1, {value: (value, 255 - value, 0, 255) for value in range(10)})
    for opened in (open_raster, raster_grid):
        with pytest.raises(MapInputError, match="numbers of colours"):
            opened(path)


@pytest.mark.parametrize(
    ("crs", "place", "message"),
    [
        ("EPSG:3857", (11, 48), "EPSG:3857 are not metres of ground at 48.00 N, 11.00 E, but off by 49.4 %"),
        ("EPSG:3395", (11, 48), "not metres of ground"),
        ("EPSG:3035", (-8, 38), "not metres of ground"),
        ("EPSG:4087", (11, 48), "not metres of ground"),
        ("EPSG:2263", None, "US survey foot"),
        ("EPSG:2053", None, "point west and south"),
        ('LOCAL_CS["a",UNIT["US survey foot",0.304800609601219]]', None, "US survey foot"),
        ('LOCAL_CS["a",UNIT["kilometre",1000]]', None, "1000 m"),
        ("EPSG:2263+6360", None, "US survey foot"),
        (None, None, "such are degrees"),
    ],
)
def test_placements_that_are_no_metres(tmp_path: Path, crs: str | None, place: Any, message: str) -> None:
    at = (0.0, 0.0) if place is None else tuple(from_lonlat(np.array([place], float), str(crs))[0])
    more = {} if crs else {"transform": rasterio.Affine(3e-6, 0, 8.4, 0, -3e-6, 49.0)}
    path = write(tmp_path, texture(0, 255, "uint8"), crs, at, **more)
    for opened in (open_raster, raster_grid):
        with pytest.raises(MapInputError, match=message) as caught:
            opened(path)
        assert "map.tif" in caught.value.message
    if place == (11, 48):
        assert caught.value.cure == "reproject it with gdalwarp -t_srs EPSG:32632"


@pytest.mark.parametrize("crs", ["EPSG:32632", "EPSG:5555", "EPSG:3857", 'LOCAL_CS["a",UNIT["metre",1]]', "EPSG:25832"])
def test_placements_that_are(tmp_path: Path, crs: str) -> None:
    """Web Mercator too, on the equator."""
    at = (0.0, 0.0) if "EPSG" not in crs or "3857" in crs else (6e5, 5.4e6)
    open_raster(write(tmp_path, texture(0, 255, "uint8"), crs, at)).close()


@pytest.mark.parametrize(
    "crs", ["EPSG:3857", "EPSG:3395", "+proj=merc +lon_0=0", "+proj=tmercator", "EPSG:4978", "EPSG:2263"]
)
def test_maps_are_not_built_in_such(crs: str) -> None:
    with pytest.raises(ConfigError) as caught:
        crs_wkt_of(crs)
    assert "EPSG" in caught.value.cure


def test_maps_are_not_written_where_their_crs_stretches_the_ground(tmp_path: Path) -> None:
    east, north = from_lonlat(np.array([[-8.0, 38.0]]), "EPSG:3035")[0]
    grid = MetricGrid(float(east), float(north), 0.1, 100, 100, crs_wkt_of("EPSG:3035"))
    with pytest.raises(MapInputError, match="not metres of ground") as caught:
        write_map_geotiff(tmp_path / "a.tif", grid, [], 128)
    assert "EPSG:32629" in caught.value.cure
    assert not list(tmp_path.iterdir())


def test_what_fills_a_map_and_heights_are_no_intensities(tmp_path: Path) -> None:
    rows, columns = np.mgrid[:90, :120]
    heights = (112 + rows / 20 + columns / 40).astype("float32")
    white, grey = texture(0, 250, "uint8"), texture(0, 250, "uint8")
    white[:50], grey[:50] = 255, 128
    for values, said in (
        (heights + texture(-0.02, 0.02, "float32"), "these are heights"),
        (white, "values of 255 look like nodata"),
        (grey, "values of 128 look like nodata"),
    ):
        with pytest.raises(MapInputError, match=said):
            read(write(tmp_path, values))
    smooth = texture(0, 1, "float32", (18, 24)).repeat(5, 0).repeat(5, 1)  # a coarse map, written finer
    np.testing.assert_allclose(read(write(tmp_path, smooth)), smooth)


@pytest.mark.parametrize(
    ("called", "unit", "cure"),
    [
        (("Elevation", "mean intensity"), "", "--band 2"), (("", "reflectance"), "metre", "--band 2"),
        (("point_count", ""), "", "--band"), (("intensity", "height"), "", ""), (("", ""), "", ""),
        (("intensity spread", ""), "", "--band"), (("intensity, z up", ""), "", ""),
    ],
)  # fmt: skip
def test_what_the_file_calls_a_band(tmp_path: Path, called: tuple[str, str], unit: str, cure: str) -> None:
    path = tmp_path / "map.tif"
    place = {"transform": rasterio.Affine(0.33, 0, 0, 0, -0.33, 0)}
    with rasterio.open(path, "w", driver="GTiff", height=90, width=120, count=2, dtype="uint8", **place) as dataset:
        dataset.write(np.stack([texture(0, 255, "uint8")] * 2))
        dataset.descriptions, dataset.units = called, (unit, "")
    if not cure:
        open_mixed(path).close()
        return
    with pytest.raises(MapInputError, match="which is no intensity") as caught:
        open_mixed(path)
    assert cure in caught.value.cure


@pytest.mark.parametrize(("kind", "reads"), [("uint8", True), ("float32", True), ("uint16", False)])
def test_a_crs_with_heights_gives_no_band_a_unit(tmp_path: Path, kind: str, reads: bool) -> None:
    """GDAL says metre of every band of such a file, of intensities from LAS files, too."""
    path, place = tmp_path / "map.tif", {"transform": rasterio.Affine(0.33, 0, 500000, 0, -0.33, 5400000)}
    size: dict[str, Any] = {"height": 90, "width": 120, "count": 1, "dtype": kind, "crs": "EPSG:32632+5773"}
    with rasterio.open(path, "w", driver="GTiff", **size, **place) as dataset:
        dataset.write(texture(0, 1 if kind == "float32" else 255, kind)[None])
    with rasterio.open(path) as dataset:
        assert dataset.units == ("metre",)
    if reads:
        open_mixed(path).close()
        return
    with pytest.raises(MapInputError, match="which is no intensity") as caught:
        open_mixed(path)
    assert "set its description to intensity" in caught.value.cure
