"""Where a map lies on Earth: anchors in files, kept by what makes files of files; grids against PROJ's factors."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from pyproj import Proj
from scipy.spatial.transform import Rotation

from foldmap.api.folding import StreetOptions, fold
from foldmap.api.georeference import Georeference, georeference_of
from foldmap.api.reshaping.area import Area
from foldmap.api.reshaping.extracting import extract
from foldmap.api.reshaping.merging import merge
from foldmap.atlas import FoldFile, FoldWriter, update
from foldmap.atlas.patches import apply_patch, write_patch
from foldmap.errors import ConfigError, MapFormatError, MapInputError
from foldmap.geometry import SE2, SE3
from foldmap.geometry.geopose import Anchor

HERE = Anchor(49.0112128, 8.42288504, 116.4, -0.3)
LANES = "line,x_m,y_m\n" + "".join(f"{k},{x},{4 * k}\n" for k in range(3) for x in range(0, 400, 20))


def streets(folder: Path, name: str, anchor: Anchor | None, crs: str = "") -> Path:
    source = folder / f"{name}.csv"
    source.write_text((f"# crs: {crs}\n" if crs else "") + LANES)
    fold(source, folder / f"{name}.fold", street=StreetOptions(tile_m=100.0), anchor=anchor)
    return folder / f"{name}.fold"


def anchor_in(path: Path) -> Anchor | None:
    with FoldFile.open(path) as file:
        found = georeference_of(file)
        return None if found is None else found.anchor


@pytest.fixture(scope="module")
def anchored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return streets(tmp_path_factory.mktemp("anchored"), "here", HERE)


def test_an_anchor_stays_with_the_map(anchored: Path, tmp_path: Path) -> None:
    assert anchor_in(anchored) == HERE
    other = streets(tmp_path, "other", None)
    assert anchor_in(other) is None
    extract(anchored, Area.box("0,-10,150,20"), tmp_path / "part.fold")
    merge([other, anchored], tmp_path / "both.fold", prefer="last")
    write_patch(other, anchored, tmp_path / "it.foldpatch")
    apply_patch(other, tmp_path / "it.foldpatch", tmp_path / "patched.fold")
    for name in ("part", "both", "patched"):
        assert anchor_in(tmp_path / f"{name}.fold") == HERE, name
    (tmp_path / "here.csv").write_text(LANES.replace("380,8", "380,9"))
    copied = tmp_path / "copied.fold"
    copied.write_bytes(anchored.read_bytes())
    fold(tmp_path / "here.csv", copied, update=True)
    assert anchor_in(copied) == HERE
    fold(tmp_path / "here.csv", copied, update=True, anchor=Anchor(1.0, 2.0))
    assert anchor_in(copied) == Anchor(1.0, 2.0)


def test_maps_anchored_at_two_places_are_not_merged(anchored: Path, tmp_path: Path) -> None:
    there = streets(tmp_path, "there", Anchor(49.0, 8.0))
    with pytest.raises(MapInputError, match=r"anchored at 49\.0000000, 8\.0000000"):
        merge([anchored, there], tmp_path / "both.fold", prefer="first")


def with_crs(folder: Path, metadata: dict[str, object] | None = None) -> Path:
    path = folder / "grid.fold"
    grid = {"west_m": 0.0, "north_m": 0.0, "crs_wkt": "EPSG:25832"}
    with FoldWriter(path) as writer:
        writer.add_layer("lidar", "lidar", {"grid": grid})
        for key, value in (metadata or {}).items():
            writer.put_metadata(key, value)
    return path


def test_a_map_with_a_crs_takes_no_anchor(anchored: Path, tmp_path: Path) -> None:
    path = with_crs(tmp_path)
    with pytest.raises(ConfigError, match="leave --anchor out"):
        fold(anchored.with_suffix(".csv"), path, into=True, anchor=HERE)
    with FoldFile.open(path) as file, pytest.raises(ConfigError, match="leave the anchor out"):
        georeference_of(file, HERE)
    with pytest.raises(MapInputError, match="anchored in a local frame"):
        merge([anchored, path], tmp_path / "both.fold")


@pytest.mark.parametrize("said", [3, {"latitude_deg": 1.0}, {**vars(HERE), "height_m": "1"}, {**vars(HERE), "up": 1}])
def test_a_damaged_anchor_is_a_damaged_map(anchored: Path, tmp_path: Path, said: object) -> None:
    path = tmp_path / "map.fold"
    path.write_bytes(anchored.read_bytes())
    with update(path) as updater:
        updater.put_metadata("anchor", said)
    with FoldFile.open(path) as file, pytest.raises(MapFormatError):
        georeference_of(file)


@pytest.mark.parametrize(("crs", "x", "y"), [("EPSG:25832", 691_000.0, 5_335_000.0), ("EPSG:3031", 1e6, 1.2e6)])
def test_a_pose_in_a_grid_heads_as_proj_says(crs: str, x: float, y: float) -> None:
    frame, projection = Georeference(crs), Proj(crs)
    found = frame.geopose(SE3.from_se2(SE2(x, y, 0.6), 2.5))
    longitude, latitude = projection(x, y, inverse=True)
    assert np.allclose([found.latitude_deg, found.longitude_deg, found.height_m], [latitude, longitude, 2.5], atol=1e-8)
    # PROJ's convergence is of grid north, clockwise from true north
    turned = math.radians(projection.get_factors(longitude, latitude).meridian_convergence)
    wanted = Rotation.from_euler("z", 0.6 - turned)
    off = Rotation.from_matrix(found.enu_R_body).inv() * wanted
    assert off.magnitude() < 1e-6
    assert np.allclose(frame.place(latitude, longitude), [x, y], atol=1e-3)
    north = np.array(projection(longitude, latitude + 1e-4)) - [x, y]  # true north, as the grid shows it
    assert math.isclose(math.atan2(north[1], north[0]) + frame.grid_heading_rad(x, y), math.pi / 2, abs_tol=1e-4)


def test_the_command_line_sets_and_shows_an_anchor(anchored: Path, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from foldmap.cli import app

    out = tmp_path / "town.fold"
    given = ["fold", str(anchored.with_suffix(".csv")), "-o", str(out), "--anchor", "49.0112128,8.42288504,116.4,90"]
    assert CliRunner().invoke(app, given).exit_code == 0
    shown = json.loads(CliRunner().invoke(app, ["show", str(out), "--json"]).stdout)
    assert shown["anchor"] == {**vars(HERE), "heading_rad": math.pi / 2}
    assert "49.0112128, 8.4228850, 116.40 m, x axis 90.0000" in CliRunner().invoke(app, ["show", str(out)]).stdout
    wrong = CliRunner().invoke(app, [*given[:-1], "north"])
    assert (wrong.exit_code, "is no anchor" in wrong.stderr) == (2, True)
