"""Observations say which layer they are for, and answers of all layers are lines of one kind."""

import json
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio

import foldmap
from foldmap.api.folding import StreetOptions, fold
from foldmap.api.localizing_streets import _table
from foldmap.api.observing import layer_of
from foldmap.api.observing_streets import StreetSource
from foldmap.api.results import LocalizedObservation, is_about_photos, read_photo_lines, write_estimates
from foldmap.api.street_changes import _opened
from foldmap.errors import ConfigError, MapInputError
from foldmap.formats.crs import from_lonlat
from foldmap.formats.listing import ListedImage
from foldmap.formats.poses.trajectories import read_tum_poses
from foldmap.geometry import SE2
from foldmap.localize.estimate import Estimate, Status
from foldmap.localize.street.estimate import StreetDiagnostics, StreetEstimate
from foldmap.localize.visual.estimate import CameraDiagnostics, CameraEstimate
from foldmap.street.graph.window import AROUND

COMMON = ["name", "time_s", "status", "pose", "covariance", "protection_level", "diagnostics"]
ALL = {"lidar", "visual", "street"}


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    for name in ("sweeps/0.bin", "crops/a.png", "ring/front/0.jpg", "ring/ring.json", "ortho.tif"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    return tmp_path


@pytest.mark.parametrize(
    ("named", "held", "layer"),
    [
        ("sweeps", ALL, "lidar"),
        ("sweeps/*.bin", ALL, "lidar"),
        ("sweeps", {"visual"}, "lidar"),  # that layer is missing is for its reader to say
        ("crops", {"lidar", "street"}, "street"),
        ("crops", {"lidar", "visual"}, "visual"),
        ("crops/a.png", {"street"}, "street"),
        ("ring", {"street"}, "street"),
        ("ortho.tif", {"street", "lidar"}, "street"),
        ("gone", {"visual"}, "visual"),
    ],
)
def test_observations_say_which_layer_they_are_for(drive: Path, named: str, held: set[str], layer: str) -> None:
    assert layer_of([drive / named], held) == layer


def test_images_may_be_for_two_layers(drive: Path) -> None:
    with pytest.raises(ConfigError, match="for the street or the visual layer") as raised:
        layer_of([drive / "crops"], ALL)
    assert "--layer" in raised.value.cure


def test_what_is_not_there_is_called_that(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is nothing at "):
        layer_of([tmp_path / "nowhere"], {"lidar", "visual", "street"})


def test_lines_and_poses_of_all_layers_are_written_alike(tmp_path: Path) -> None:
    pose, covariance, belief = SE2(1.0, 2.0, 0.5), np.eye(3), np.ones(1)
    street = StreetEstimate(Status.OK, pose, covariance, StreetDiagnostics(score=0.9, along_m=2.0), pose, belief)
    world = np.eye(4)
    world[:3, 3] = 1.0, 2.0, 3.0
    photo = CameraEstimate(Status.OK, world, np.eye(6), CameraDiagnostics())
    nothing = CameraEstimate.without_pose(Status.NO_MATCH, CameraDiagnostics(reason="nothing"))
    rig = (ListedImage("l.jpg"), ListedImage("r.jpg", camera_SE3_rig=world))
    answers = {
        "street": [LocalizedObservation("crop", "7.500000", street)],
        "photos": [
            LocalizedObservation("rig", "1305031102175304000", photo, photos=rig),
            LocalizedObservation("b", "1", nothing, photos=rig[:1]),
        ],
    }
    for kind, some in answers.items():
        write_estimates(tmp_path / kind, some, "tum")
        rows = [json.loads(line) for line in (tmp_path / f"{kind}.jsonl").read_text().splitlines()]
        assert all(list(row)[: len(COMMON)] == COMMON for row in rows)
        times_s, poses = read_tum_poses(tmp_path / kind)
        assert times_s.tolist() == [row["time_s"] for row in rows if row["pose"] is not None]
        assert is_about_photos(tmp_path / f"{kind}.jsonl") == (kind == "photos")
        expected = np.linalg.inv(world)[:3, 3] if kind == "photos" else [1.0, 2.0, 0.0]
        np.testing.assert_allclose(poses[0].translation_m, expected, atol=1e-9)
    read = read_photo_lines(tmp_path / "photos.jsonl")
    assert [(one.name, one.status) for one in read] == [("rig", "ok"), ("b", "no_match")]
    assert read[0].camera_SE3_world is not None
    np.testing.assert_allclose(read[0].camera_SE3_world[1], world @ world, atol=1e-12)
    write_estimates(tmp_path / "street.csv", answers["street"])
    assert (tmp_path / "street.csv").read_text().splitlines()[
        1
    ] == "crop,7.500000,ok,1.000,2.000,28.648,,2.000,,0.90000"


def test_nothing_answered_is_a_header_alone(tmp_path: Path) -> None:
    from foldmap.localize.estimate import Diagnostics

    estimate = Estimate.without_pose(Status.NO_MAP, Diagnostics())
    write_estimates(tmp_path / "e.txt", [LocalizedObservation("0.bin", "0", estimate)])
    assert (tmp_path / "e.txt").read_text().count("\n") == 1


def test_an_ortho_image_of_another_crs_is_brought_to_the_street_map(tmp_path: Path) -> None:
    """A map in degrees is folded in a frame of its own; poses of an image in UTM are where its lanes are."""
    lonlat = np.array([[8.4, 49.0], [8.4028, 49.0]])
    lane = {"type": "Feature", "properties": {}, "geometry": {"type": "LineString", "coordinates": lonlat.tolist()}}
    (tmp_path / "lane.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [lane]}))
    fold([tmp_path / "lane.geojson"], tmp_path / "lane.fold", street=StreetOptions(spacing=0))
    east_m, north_m = from_lonlat(lonlat.mean(0), "EPSG:32632")[0]
    place = {"transform": rasterio.Affine(0.5, 0, east_m - 50, 0, -0.5, north_m + 50), "crs": "EPSG:32632"}
    with rasterio.open(
        tmp_path / "o.tif", "w", driver="GTiff", width=200, height=200, count=3, dtype="uint8", **place
    ) as f:
        f.write(np.full((3, 200, 200), 99, np.uint8))
    poses, model = tmp_path / "poses.csv", SimpleNamespace(window=AROUND)
    poses.write_text(f"x_m,y_m,heading_rad\n{east_m},{north_m},0\n{east_m + 40},{north_m},0\n")
    source = StreetSource([tmp_path / "o.tif"], poses)
    with foldmap.open(tmp_path / "lane.fold") as town:
        seen, region, moved = _opened(town.street, source, None, model)
        assert region.away_m(moved[:1]) < 0.6  # vertices of the lane are a metre apart
        assert math.degrees(moved[0].heading_rad) == pytest.approx(0.45, abs=0.1)  # UTM north is not true north there
        assert "1 of 2 windows reach beyond" in seen.notes[0]
        frames = seen.crs, town.street.regions[0].crs
        np.testing.assert_allclose(_table(poses, source, frames).xy_m[0], (moved[0].x_m, moved[0].y_m))
        other = tmp_path / "other.csv"  # another file is in the map's frame already
        other.write_text("x_m,y_m,heading_rad\n3,4,0\n")
        assert _table(other, source, frames).xy_m.tolist() == [[3.0, 4.0]]
        assert [seen.read(number) is None for number in range(2)] == [False, True]
        with rasterio.open(tmp_path / "o.tif", "r+") as f:
            f.crs = rasterio.crs.CRS.from_epsg(32633)  # which is not so
        with pytest.raises(MapInputError, match="km from any lane"):
            _opened(town.street, source, None, model)
