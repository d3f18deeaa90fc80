"""Sweeps asked over HTTP: the answers of ``foldmap localize --aggregate 1``, in the map and on Earth."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from scipy.spatial.transform import Rotation
from typer.testing import CliRunner

from foldmap.api.folding import fold
from foldmap.geometry import SE2, SE3
from foldmap.geometry.geopose import Anchor
from foldmap.lidar.mapping.spin import Turn, put_together
from foldmap.lidar.source import Sweep
from tests.cli.cli_place import write_tif
from tests.lidar.painted_ground import RESOLUTION_M, painted_map, write_seen
from tests.localize.outlined_street import MARKS, poles_and_walls, sweep_at
from tests.localize.outlined_street import painted_map as outlined_map
from tests.service.conftest import Client
from tests.service.geopose_schemas import FORMS, PROBLEM, check

SEED, SIDE_PX = 3, 1000
TRUTHS = tuple(SE2(-1.0 + 0.8 * frame, 0.5 * frame, 0.4) for frame in range(2))
STREET = poles_and_walls(1)
HERE = Anchor(-33.9, 151.2, 40.0, 0.8)
PATH = "/localize/sweep"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """map.fold of painted ground, sweeps/ that see it, and prior.txt, off by half a metre."""
    folder = tmp_path_factory.mktemp("swept")
    raster = painted_map(SEED, SIDE_PX)
    values, west_m = np.where(raster.observed, raster.intensity, -1.0), raster.grid.west_m
    transform = rasterio.Affine(RESOLUTION_M, 0, west_m, 0, -RESOLUTION_M, -west_m)
    write_tif(folder / "map.tif", values, transform=transform)
    write_seen(folder / "sweeps", SEED, TRUTHS, SIDE_PX)
    rows = []
    for frame in range(len(TRUTHS)):
        prior = asked_near(frame)
        half = math.radians(prior["heading_deg"]) / 2
        rows.append(f"{frame} {prior['x_m']!r} {prior['y_m']!r} 1.73 0 0 {math.sin(half)!r} {math.cos(half)!r}\n")
    (folder / "prior.txt").write_text("".join(rows))
    fold(
        folder / "map.tif",
        folder / "map.fold",
        lidar=MARKS,
        anchor=HERE,
    )
    return folder


@pytest.fixture(scope="module")
def swept(place: Path, serving: Callable[..., Client]) -> Client:
    pytest.importorskip("starlette")
    return serving(place / "map.fold")


def asked_near(frame: int, **more: Any) -> dict[str, Any]:
    """A prior of a sweep, off by half a metre."""
    truth = TRUTHS[frame]
    at = {"x_m": truth.x_m + 0.4, "y_m": truth.y_m - 0.3, "heading_deg": math.degrees(truth.heading_rad)}
    return {**at, "intensity_scale": 1.0, **more}


def sweep_of(place: Path, frame: int = 0) -> bytes:
    return (place / "sweeps" / f"{frame:03d}.bin").read_bytes()


def test_a_sweep_is_answered_as_on_the_command_line(swept: Client, place: Path, tmp_path: Path) -> None:
    from foldmap.cli import app

    out = tmp_path / "est.txt"
    given = ["localize", place / "map.fold", place / "sweeps", "--poses", place / "prior.txt", "--aggregate", "1"]
    given += ["--intensity-scale", "1"]
    ran = CliRunner().invoke(app, [str(one) for one in [*given, "-o", out]])
    assert ran.exit_code in (0, 1), ran.output
    rows = [json.loads(line) for line in Path(f"{out}.jsonl").read_text().splitlines()]
    answered = 0
    for frame, row in enumerate(rows):
        answer = swept.post(PATH, params=asked_near(frame), content=sweep_of(place, frame))
        said = answer.json()
        assert said["status"] == row["status"]
        if row["pose"] is None:
            assert (answer.status_code, said["reason"]) == (404, row["diagnostics"]["reason"])
            continue
        answered += 1
        assert answer.status_code == 200
        for key in ("x_m", "y_m", "heading_rad"):
            assert math.isclose(said["pose"][key], row["pose"][key], abs_tol=1e-6)
        assert np.allclose(said["covariance"], row["covariance"], rtol=1e-4)
        truth = TRUTHS[frame]
        assert math.hypot(said["pose"]["x_m"] - truth.x_m, said["pose"]["y_m"] - truth.y_m) < 0.1
        check(said["geopose"], FORMS["basic-quaternion"])
        assert answer.headers["foldmap-status"] == row["status"]
    assert answered == len(TRUTHS)


def test_a_prior_on_earth_is_the_same(swept: Client, place: Path) -> None:
    asked = asked_near(0)
    there = HERE.geopose(SE3.from_se2(SE2(asked["x_m"], asked["y_m"], math.radians(asked["heading_deg"]))))
    earth = {"latitude_deg": there.latitude_deg, "longitude_deg": there.longitude_deg}
    earth["heading_deg"] = there.yaw_pitch_roll_deg[0]
    one, other = (swept.post(PATH, params=said, content=sweep_of(place)).json() for said in (asked, earth))
    for key in ("x_m", "y_m", "heading_rad"):
        assert math.isclose(one["pose"][key], other["pose"][key], abs_tol=1e-4)
    turn = Rotation.from_quat([one["geopose"]["quaternion"][key] for key in "xyzw"]).as_euler("ZYX")
    assert math.isclose(turn[0], one["pose"]["heading_rad"] + HERE.heading_rad, abs_tol=1e-4)


def test_heights_are_those_that_are_known(swept: Client, place: Path, serving: Callable[..., Client]) -> None:
    at = {"params": asked_near(0), "content": sweep_of(place)}
    assert math.isclose(swept.post(PATH, **at).json()["geopose"]["position"]["h"], 40.0, abs_tol=1e-3)
    at["params"] = asked_near(0, height_m=55.5, geopose="basic-ypr")
    said = swept.post(PATH, **at).json()["geopose"]
    check(said, FORMS["basic-ypr"])
    assert math.isclose(said["position"]["h"], 55.5, abs_tol=1e-3)


def test_a_sweep_of_elsewhere_gets_no_pose(swept: Client, place: Path) -> None:
    rows = np.frombuffer(sweep_of(place), "<f4").reshape(-1, 4).copy()
    rows[:, 3] = np.random.default_rng(0).permutation(rows[:, 3])
    answer = swept.post(PATH, params=asked_near(0), content=rows.tobytes())
    assert answer.status_code == 404
    check(answer.json(), PROBLEM)
    assert answer.json()["status"] in ("no_match", "ambiguous")
    outside = {"x_m": 5000, "y_m": 0, "heading_deg": 0}
    answer = swept.post(PATH, params=outside, content=sweep_of(place))
    assert (answer.status_code, answer.json()["status"]) == (404, "no_map")


@pytest.mark.parametrize(
    ("params", "body"),
    [
        ({}, None),
        ({"x_m": 1, "y_m": 1}, None),
        ({"x_m": 1, "y_m": 1, "heading_deg": 0, "latitude_deg": 1, "longitude_deg": 1}, None),
        ({"x_m": "nan", "y_m": 1, "heading_deg": 0}, None),
        ({"x_m": "1e99", "y_m": 1, "heading_deg": 0}, None),
        ({"radius_m": 0}, None),
        ({"radius_m": "wide"}, None),
        ({}, b""),
        ({}, b"x" * 15),
        ({}, np.full((20, 4), np.nan, "<f4").tobytes()),
        ({}, np.full((20, 4), 1e30, "<f4").tobytes()),
        ({}, np.full((20, 4), 2, "<f4").tobytes()),
        ({}, np.zeros((1, 4), "<f4").tobytes()),
    ],
)
def test_what_cannot_be_used_is_refused(swept: Client, place: Path, params: dict[str, Any], body: bytes | None) -> None:
    asked = params if body is None else asked_near(0)
    answer = swept.post(PATH, params=asked, content=sweep_of(place) if body is None else body)
    assert answer.status_code in (400, 404), answer.text
    check(answer.json(), PROBLEM)


def test_a_speed_is_of_no_use_where_nothing_says_how_the_lidar_spins(swept: Client, place: Path) -> None:
    refused = swept.post(PATH, params=asked_near(0, speed_mps=5), content=sweep_of(place))
    assert (refused.status_code, "give spin" in refused.text) == (400, True)
    told = swept.post(PATH, params=asked_near(0, speed_mps=5, spin=0), content=sweep_of(place)).json()
    assert told["pose"] == swept.post(PATH, params=asked_near(0), content=sweep_of(place)).json()["pose"]


def test_photos_in_a_map_without_them_are_501(swept: Client) -> None:
    camera = {"model": "PINHOLE", "modelParams": [20, 20, 16, 16]}
    reading = {"imageBytes": "A" * 1368, "imageFormat": "GRAY8", "size": [32, 32], "params": camera}
    asked = {"sensorReadings": {"cameraReadings": [{**reading, "imageBytes": ("AAAA" * 342)[:1368]}]}}
    answer = swept.post("/localize/geopose", json=asked)
    assert answer.status_code in (400, 501)


@pytest.fixture(scope="module")
def outlined(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return outlined_map(STREET, tmp_path_factory.mktemp("outlined"))


@pytest.fixture
def asked(serving: Callable[..., Client], outlined: Path) -> Callable[..., Any]:
    client = serving(outlined)

    def ask(sweep: Sweep, **said: Any) -> Any:
        rows = np.column_stack([sweep.points_sensor_m, np.clip(sweep.intensity, 0.0, 1.0)]).astype("<f4")
        return client.post(PATH, params=said, content=rows.tobytes())

    return ask


def test_a_map_with_an_outline_needs_no_prior(asked: Callable[..., Any]) -> None:
    street, at = STREET, SE2(31.0, 0.3, 0.4)
    answer = asked(sweep_at(street, at, paint=True))
    assert answer.status_code == 200
    pose = answer.json()["pose"]
    assert math.hypot(pose["x_m"] - at.x_m, pose["y_m"] - at.y_m) < 0.3
    elsewhere = asked(sweep_at(poles_and_walls(2), at, paint=True))
    assert (elsewhere.status_code, elsewhere.json()["status"]) == (404, "no_match")
    half = asked(sweep_at(street, at, paint=True), x_m=31.0)
    assert (half.status_code, "the prior is not whole" in half.text) == (400, True)


def test_near_a_prior_what_stands_around_is_asked_where_the_ground_is_not_sure(asked: Callable[..., Any]) -> None:
    at = SE2(31.0, 0.3, 0.4)
    near = {"x_m": 31.4, "y_m": 0.0, "heading_deg": math.degrees(0.4)}
    answer = asked(sweep_at(STREET, at), **near)
    assert (answer.status_code, answer.headers.get("foldmap-status")) == (200, "degraded"), answer.text
    pose = answer.json()["pose"]
    assert math.hypot(pose["x_m"] - at.x_m, pose["y_m"] - at.y_m) < 0.15
    assert asked(sweep_at(poles_and_walls(2), at), **near).status_code == 404
    pose = asked(sweep_at(STREET, at, paint=True), **near).json()["pose"]  # its paint fits 0.2 m ahead nearly as well
    assert math.hypot(pose["x_m"] - at.x_m, pose["y_m"] - at.y_m) < 0.05


def test_a_sweep_is_put_together_by_how_the_vehicle_moves(asked: Callable[..., Any]) -> None:
    """At 10 m/s what is seen on the left was there a quarter of a revolution from what is seen ahead: 0.25 m."""
    at, spin, near = SE2(31.0, 0.3, 0.4), -1, {"x_m": 31.4, "y_m": 0.0, "heading_deg": math.degrees(0.4)}
    seen = sweep_at(STREET, at)
    smeared = put_together(seen, spin, Turn.level(SE2(-1.0, 0.0, 0.0)))  # as a vehicle that moves on sees it

    def off_m(**said: Any) -> float:
        answer = asked(smeared, **near, **said)
        pose = answer.json()["pose"] if answer.status_code == 200 else {"x_m": math.inf, "y_m": math.inf}
        return math.hypot(pose["x_m"] - at.x_m, pose["y_m"] - at.y_m)

    assert off_m(speed_mps=10, spin=spin) < 0.02
    assert off_m(speed_mps=10, spin=-spin) > 0.3
    assert off_m(speed_mps=10) == off_m()  # the map was not put together
    for said, word in (({"spin": -1}, "speed_mps"), ({"speed_mps": 1, "spin": 0.5}, "-1, 0 or 1")):
        refused = asked(smeared, **near, **said)
        assert (refused.status_code, word in refused.text) == (400, True)
