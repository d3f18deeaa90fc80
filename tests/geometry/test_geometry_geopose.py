"""Anchors and poses on Earth, against PROJ's geocentric and topocentric coordinates and SciPy's rotations."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Transformer
from scipy.spatial.transform import Rotation

from foldmap.errors import ConfigError
from foldmap.geometry import SE3
from foldmap.geometry.geopose import CAMERA_R_BODY, Anchor, GeoPose, ecef_of, geodetic_of

TO_ECEF = Transformer.from_crs("EPSG:4979", "EPSG:4978", always_xy=True)
PLACES = [(49.0112128, 8.42288504, 116.4), (-33.86, 151.21, 30.0), (0.0, -180.0, 0.0), (89.9999, 12.0, 5.0)]


def pose(rotation: Rotation, place: list[float]) -> SE3:
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation.as_matrix(), place
    return SE3(matrix)


@given(st.floats(-90, 90), st.floats(-180, 180), st.floats(-1000, 20_000))
def test_ecef_is_that_of_proj_and_back(latitude: float, longitude: float, height: float) -> None:
    found = ecef_of(latitude, longitude, height)
    assert np.allclose(found, TO_ECEF.transform(longitude, latitude, height), atol=1e-6)
    again = geodetic_of(found)
    assert np.allclose(ecef_of(*again), found, atol=1e-6)
    assert math.isclose(again[0], latitude, abs_tol=1e-10)
    assert math.isclose(again[2], height, abs_tol=1e-6)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("heading", [0.0, 0.7, -2.5])
def test_a_pose_is_where_topocentric_coordinates_put_it(place: tuple[float, float, float], heading: float) -> None:
    latitude, longitude, height = place
    anchor = Anchor(latitude, longitude, height, heading)
    turn, point = Rotation.from_euler("zyx", [0.4, -0.2, 0.1]), [812.0, -3100.0, 14.5]
    found = anchor.geopose(pose(turn, point))
    east, north = Rotation.from_euler("z", heading).apply(point)[:2]
    steps = "+proj=pipeline +step +inv +proj=topocentric +ellps=WGS84"
    back = f"{steps} +lon_0={longitude} +lat_0={latitude} +h_0={height}"
    wanted = Transformer.from_pipeline(back).transform(east, north, point[2])
    assert np.allclose(ecef_of(found.latitude_deg, found.longitude_deg, found.height_m), wanted, atol=1e-6)
    # axes: a step along the body's x, in the Earth's frame, is the same step in east, north, up of the new place
    ahead = anchor.geopose(pose(turn, list(np.array(point) + turn.apply([1.0, 0.0, 0.0]))))
    there = f"+proj=topocentric +ellps=WGS84 +lon_0={found.longitude_deg!r} +lat_0={found.latitude_deg!r}"
    step = Transformer.from_pipeline(f"{there} +h_0={found.height_m!r}").transform(
        *ecef_of(ahead.latitude_deg, ahead.longitude_deg, ahead.height_m)
    )
    assert np.allclose(step, found.enu_R_body[:, 0], atol=1e-5)
    assert np.allclose(anchor.in_map(found.latitude_deg, found.longitude_deg, found.height_m), point, atol=1e-5)


def test_far_from_the_anchor_up_is_up_there() -> None:
    # 10 km north the ground is tilted by 10 km / 6,370 km, and a body that is level in the map is not level there
    found = Anchor(48.0, 11.0).geopose(pose(Rotation.identity(), [0.0, 10_000.0, 0.0]))
    tilt = math.acos(found.enu_R_body[2, 2])
    assert math.isclose(tilt, 10_000 / 6_378_000, rel_tol=5e-3)
    assert math.isclose(found.height_m, 10_000**2 / 2 / 6_378_000, rel_tol=5e-3)


@given(*[st.floats(-179.9, 179.9)] * 3)
def test_angles_and_quaternion_say_the_same(yaw: float, pitch: float, roll: float) -> None:
    found = GeoPose(1.0, 2.0, 3.0, Rotation.from_euler("ZYX", [yaw, pitch, roll], degrees=True).as_matrix())
    by_angles = Rotation.from_euler("ZYX", found.yaw_pitch_roll_deg, degrees=True)
    by_quaternion = Rotation.from_quat(found.quaternion_xyzw)
    assert (by_angles.inv() * by_quaternion).magnitude() < 1e-6
    said = found.basic_quaternion()["quaternion"]
    assert np.allclose(Rotation.from_quat([said[axis] for axis in "xyzw"]).as_matrix(), found.enu_R_body, atol=1e-9)
    assert found.quaternion_xyzw[3] >= 0
    assert abs(found.yaw_pitch_roll_deg[1]) <= 90


@pytest.mark.parametrize("pitch", [90.0, -90.0])
def test_straight_up_and_down_the_roll_is_none(pitch: float) -> None:
    turn = Rotation.from_euler("ZYX", [30, pitch, 0], degrees=True)
    found = GeoPose(0.0, 0.0, 0.0, turn.as_matrix())
    assert np.allclose(found.yaw_pitch_roll_deg, [30, pitch, 0], atol=1e-6)


def test_a_level_camera_that_looks_north_has_yaw_90() -> None:
    # camera x right is east, y down is down, z ahead is north
    enu_R_camera = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
    found = GeoPose(0.0, 0.0, 0.0, enu_R_camera @ CAMERA_R_BODY)
    assert np.allclose(found.yaw_pitch_roll_deg, [90, 0, 0])


@pytest.mark.parametrize("text", ["", "1", "1,2,3,4,5", "91,0", "0,181", "nan,0", "1,inf", "a,b", "0,0,1e9"])
def test_what_is_no_anchor_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="LAT,LON"):
        Anchor.read(text)


def test_an_anchor_as_users_write_it() -> None:
    assert Anchor.read("49.5, 8.25") == Anchor(49.5, 8.25, 0.0, 0.0)
    assert Anchor.read("49.5,8.25,110,90") == Anchor(49.5, 8.25, 110.0, math.pi / 2)
    assert Anchor.read("49.5,8.25,110,90").words == "49.5000000, 8.2500000, 110.00 m, x axis 90.0000 degrees from east"
