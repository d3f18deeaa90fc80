"""Poses of a map as poses on Earth: anchors, WGS84, and the encodings of OGC GeoPose 1.0.

A *GeoPose* is a place on the WGS84 ellipsoid and the orientation of a body in the frame east, north, up at that very
place. Bodies are x ahead, y left, z up. Equations: Hofmann-Wellenhof et al., GNSS (2008), section 8.2; the encodings:
OGC 21-056r11.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from foldmap.errors import ConfigError
from foldmap.geometry.se3 import SE3
from foldmap.types import AnyArray, DoubleArray

_AXIS_M = 6_378_137.0
_FLATTENING = 1 / 298.257223563
_ECCENTRICITY_2 = _FLATTENING * (2 - _FLATTENING)
_ROUNDS = 8
"""Of the latitude's fixed point: each takes two digits and more near the ground."""
_UPRIGHT = 1.0 - 1e-12
_MOST_HEIGHT_M = 1e6

CAMERA_R_BODY = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])
"""Axes of a body, x ahead, y left, z up, in the frame of its camera, x right, y down, z ahead."""

ANCHOR_CURE = "give LAT,LON or LAT,LON,HEIGHT or LAT,LON,HEIGHT,HEADING: degrees, metres, degrees from east to the left"


@dataclass(frozen=True)
class Anchor:
    """Where on Earth the origin of a map in a local frame lies, and how the map is turned there; z is up.

    A ConfigError where a number is not finite or out of range.

    Attributes:
        latitude_deg, longitude_deg: WGS84.
        height_m: above the ellipsoid.
        heading_rad: of the map's x axis, counter-clockwise from east.
    """

    latitude_deg: float
    longitude_deg: float
    height_m: float = 0.0
    heading_rad: float = 0.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if type(value) not in (int, float) or not math.isfinite(value):
                raise ConfigError(f"the anchor's {name} is {value!r}", ANCHOR_CURE)
            object.__setattr__(self, name, float(value))
        if abs(self.latitude_deg) > 90 or abs(self.longitude_deg) > 180 or abs(self.height_m) > _MOST_HEIGHT_M:
            said = f"no anchor lies at {self.latitude_deg}, {self.longitude_deg}, {self.height_m} m"
            raise ConfigError(said, ANCHOR_CURE)

    @staticmethod
    def read(text: str) -> Anchor:
        """One as users write it: ``LAT,LON[,HEIGHT[,HEADING]]``, the heading in degrees; a ConfigError otherwise."""
        try:
            numbers = [float(word) for word in text.split(",")]
        except ValueError as error:
            raise ConfigError(f"{text!r} is no anchor", ANCHOR_CURE) from error
        if not 2 <= len(numbers) <= 4:
            raise ConfigError(f"{text!r} is no anchor", ANCHOR_CURE)
        latitude_deg, longitude_deg, height_m, heading_deg = [*numbers, 0.0, 0.0][:4]
        return Anchor(latitude_deg, longitude_deg, height_m, math.radians(heading_deg))

    @property
    def words(self) -> str:
        """For people."""
        place = f"{self.latitude_deg:.7f}, {self.longitude_deg:.7f}, {self.height_m:.2f} m"
        return f"{place}, x axis {math.degrees(self.heading_rad):.4f} degrees from east"

    @property
    def ecef_SE3_map(self) -> DoubleArray:
        """The map's frame in the Earth's, float64 (4, 4)."""
        pose = np.eye(4)
        turn = Rotation.from_euler("z", self.heading_rad).as_matrix()
        pose[:3, :3] = ecef_R_enu(self.latitude_deg, self.longitude_deg) @ turn
        pose[:3, 3] = ecef_of(self.latitude_deg, self.longitude_deg, self.height_m)
        return pose

    def geopose(self, world_SE3_body: SE3) -> GeoPose:
        """A pose in the map as one on Earth."""
        pose = self.ecef_SE3_map @ world_SE3_body.matrix
        latitude_deg, longitude_deg, height_m = geodetic_of(pose[:3, 3])
        enu_R_body = ecef_R_enu(latitude_deg, longitude_deg).T @ pose[:3, :3]
        return GeoPose(latitude_deg, longitude_deg, height_m, enu_R_body)

    def in_map(self, latitude_deg: float, longitude_deg: float, height_m: float | None = None) -> DoubleArray:
        """A place on Earth in the map's frame, float64 (3,), metres; without a height at that of the anchor."""
        place = ecef_of(latitude_deg, longitude_deg, self.height_m if height_m is None else height_m)
        pose = self.ecef_SE3_map
        return np.asarray(pose[:3, :3].T @ (place - pose[:3, 3]))


@dataclass(frozen=True)
class GeoPose:
    """A pose on Earth: WGS84 degrees, metres above the ellipsoid, and the body's axes in east, north, up, (3, 3)."""

    latitude_deg: float
    longitude_deg: float
    height_m: float
    enu_R_body: DoubleArray

    @property
    def quaternion_xyzw(self) -> tuple[float, float, float, float]:
        """Of the orientation, w >= 0."""
        x, y, z, w = Rotation.from_matrix(self.enu_R_body).as_quat(canonical=True).tolist()
        return x, y, z, w

    @property
    def yaw_pitch_roll_deg(self) -> tuple[float, float, float]:
        """About z, then the new y, then the new x; looking straight up or down the roll is 0."""
        turn = self.enu_R_body
        sine = float(-turn[2, 0])
        if abs(sine) > _UPRIGHT:
            yaw, pitch, roll = math.atan2(-turn[0, 1], turn[1, 1]), math.copysign(math.pi / 2, sine), 0.0
        else:
            yaw, pitch = math.atan2(turn[1, 0], turn[0, 0]), math.asin(sine)
            roll = math.atan2(turn[2, 1], turn[2, 2])
        return math.degrees(yaw), math.degrees(pitch), math.degrees(roll)

    def _position(self) -> dict[str, float]:
        return {"lat": self.latitude_deg, "lon": self.longitude_deg, "h": self.height_m}

    def basic_quaternion(self) -> dict[str, Any]:
        """GeoPose 1.0, Basic-Quaternion."""
        return {"position": self._position(), "quaternion": self._quaternion()}

    def basic_ypr(self) -> dict[str, Any]:
        """GeoPose 1.0, Basic-YPR: degrees."""
        names = ("yaw", "pitch", "roll")
        return {"position": self._position(), "angles": dict(zip(names, self.yaw_pitch_roll_deg, strict=True))}

    def advanced(self, valid_time_ms: int | None = None) -> dict[str, Any]:
        """GeoPose 1.0, Advanced: the frame east, north, up at the place, and Unix time where it is known."""
        at = f"longitude={self.longitude_deg!r}&latitude={self.latitude_deg!r}&height={self.height_m!r}"
        frame = {"authority": "/geopose/1.0", "id": "LTP-ENU", "parameters": at}
        said: dict[str, Any] = {"frameSpecification": frame, "quaternion": self._quaternion()}
        return said if valid_time_ms is None else {**said, "validTime": valid_time_ms}

    def _quaternion(self) -> dict[str, float]:
        return dict(zip("xyzw", self.quaternion_xyzw, strict=True))


def ecef_of(latitude_deg: float, longitude_deg: float, height_m: float) -> DoubleArray:
    """A place on WGS84 in the Earth's frame, float64 (3,), metres."""
    lat, lon = math.radians(latitude_deg), math.radians(longitude_deg)
    across = _AXIS_M / math.sqrt(1 - _ECCENTRICITY_2 * math.sin(lat) ** 2)
    out = (across + height_m) * math.cos(lat)
    up = (across * (1 - _ECCENTRICITY_2) + height_m) * math.sin(lat)
    return np.array([out * math.cos(lon), out * math.sin(lon), up])


def geodetic_of(place_ecef_m: AnyArray) -> tuple[float, float, float]:
    """Latitude and longitude, degrees, and height above the ellipsoid, metres, of a place in the Earth's frame."""
    x, y, z = (float(value) for value in place_ecef_m)
    out = math.hypot(x, y)
    lat = math.atan2(z, out * (1 - _ECCENTRICITY_2))
    across = _AXIS_M
    for _ in range(_ROUNDS):
        across = _AXIS_M / math.sqrt(1 - _ECCENTRICITY_2 * math.sin(lat) ** 2)
        lat = math.atan2(z + _ECCENTRICITY_2 * across * math.sin(lat), out)
    # along the normal: well conditioned at the poles too
    height_m = out * math.cos(lat) + z * math.sin(lat) - _AXIS_M**2 / across
    return math.degrees(lat), math.degrees(math.atan2(y, x)), height_m


def ecef_R_enu(latitude_deg: float, longitude_deg: float) -> DoubleArray:
    """East, north and up of a place as columns, in the Earth's frame, float64 (3, 3)."""
    lat, lon = math.radians(latitude_deg), math.radians(longitude_deg)
    sin_lat, cos_lat, sin_lon, cos_lon = math.sin(lat), math.cos(lat), math.sin(lon), math.cos(lon)
    east = [-sin_lon, cos_lon, 0.0]
    north = [-sin_lat * cos_lon, -sin_lat * sin_lon, cos_lat]
    up = [cos_lat * cos_lon, cos_lat * sin_lon, sin_lat]
    return np.array([east, north, up]).T
