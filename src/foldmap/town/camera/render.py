"""What a pinhole camera sees in the town, pixel by pixel, with exact depth.

One ray a pixel is cast; surfaces are filtered over the pixel's footprint; pixels on outlines are cast anew with several
rays. Then the day's light, the lens and the sensor make bytes of it.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from foldmap.errors import ConfigError, PoseInputError
from foldmap.geometry import SE3
from foldmap.geometry.camera import Camera
from foldmap.town.camera.shade import render_radiance
from foldmap.town.camera.surfaces import Surfaces, find_poles, find_walls, height_at, index_surfaces
from foldmap.town.hashing import block_rng
from foldmap.town.traffic import parked_on
from foldmap.town.world import TownWorld
from foldmap.types import AnyArray, DoubleArray, FloatArray

REACH_M = 70.0
"""Half the side of the square that is in view."""

_TINTS = np.array([[0.86, 0.93, 1.08], [1.0, 1.0, 0.98], [1.08, 0.98, 0.88], [1.0, 0.99, 0.97]])
"""Colour of sky, ground, built surfaces and vehicles where pictures are in colour."""


@dataclass(frozen=True)
class Light:
    """One day's light: unit vector to the sun, its strength (0 under clouds), the sky's, seed of the clouds."""

    to_sun: DoubleArray
    sun: float
    sky: float
    clouds: int


@dataclass(frozen=True)
class Optics:
    """What lens and sensor add: exposure, exponent of the tone curve, sigma of blur (px) and of noise (grey levels)."""

    gain: float = 1.0
    gamma: float = 0.6
    blur_px: float = 0.5
    noise: float = 1.5


@dataclass(frozen=True)
class RenderedPicture:
    """A rendered image."""

    image: AnyArray  # uint8 (H, W) or (H, W, 3)
    depth_m: FloatArray  # float32 (H, W), distance along the optical axis at the pixel's centre; inf where the sky is
    kind: AnyArray  # uint8 (H, W), what is seen there, numbered as in `camera.cast` (SKY, GROUND, WALL, ...)


def day_light(day_seed: int) -> Light:
    """The light of a day: sun and its height, or clouds."""
    rng = block_rng(day_seed, 61)
    azimuth, height = rng.uniform(0, 2 * math.pi), math.radians(rng.uniform(18, 60))
    to_sun = np.array([math.cos(height) * math.cos(azimuth), math.cos(height) * math.sin(azimuth), math.sin(height)])
    cloudy = rng.random() < 0.35
    return Light(to_sun, 0.0 if cloudy else float(rng.uniform(0.4, 1.1)), float(rng.uniform(0.5, 0.9)), day_seed)


def day_optics(day_seed: int) -> Optics:
    """The exposure of a day."""
    rng = block_rng(day_seed, 62)
    gain = float(np.exp(rng.normal(0.0, 0.18)))
    return Optics(gain, *(float(rng.uniform(*span)) for span in ((0.48, 0.75), (0.3, 0.7), (0.8, 2.5))))


class TownCamera:
    """Renders pictures near one place (x, y) by a street; what is within ``reach_m`` is traced once and kept."""

    def __init__(self, world: TownWorld, centre_m: DoubleArray, reach_m: float = REACH_M) -> None:
        if not (math.isfinite(reach_m) and reach_m > 1.0):
            raise ConfigError(f"a view of {reach_m} m", "give a reach of some metres")
        self.world = world
        centre = np.asarray(centre_m, np.float64)
        self._low, self._high = centre - reach_m, centre + reach_m
        near = world.neighbourhood(self._low, self._high)
        if near is None:
            place = f"({centre[0]:.0f}, {centre[1]:.0f})"
            raise PoseInputError(f"no street within {reach_m:.0f} m of {place}", "place the camera on a street")
        self._near = tuple(near)
        self._side_m = 2.0 * reach_m
        self._streets = world.streets_near(*self._low, *self._high)
        self._walls = find_walls(near, self._low[0], self._low[1], self._side_m)
        self._poles = find_poles(self._streets, near, self._low, self._high)
        self._days: dict[int, Surfaces] = {}

    def picture(
        self,
        camera: Camera,  # a PINHOLE or SIMPLE_PINHOLE camera
        world_SE3_camera: SE3,  # its pose; x right, y down, z ahead
        day_seed: int = 0,  # decides parked vehicles, light and exposure
        *,
        shot_seed: int = 0,  # of the sensor's noise
        light: Light | None = None,  # instead of the day's
        optics: Optics | None = None,  # instead of the day's
        colour: bool = False,  # whether three channels (red, green, blue) are wanted
    ) -> RenderedPicture:
        """Take one picture; errors where the camera has distortion or stands in the ground or in something."""
        if camera.model not in ("PINHOLE", "SIMPLE_PINHOLE"):
            raise ConfigError(f"pictures of a {camera.model} camera", "give a PINHOLE or SIMPLE_PINHOLE camera")
        origin = world_SE3_camera.translation_m
        self._check_open(origin, day_seed)
        light = light or day_light(day_seed)
        intrinsics = np.array([*camera.focal_px, *camera.centre_px])
        radiance, depth, kind = render_radiance(
            intrinsics, camera.height_px, camera.width_px, np.ascontiguousarray(world_SE3_camera.matrix),
            (light.to_sun[0], light.to_sun[1], light.to_sun[2], light.sun, light.sky), light.clouds & 0xFFFFFFF,
            self._surfaces(day_seed), self._near, self.world.seed & 0xFFFFFFF,
        )  # fmt: skip
        rng = block_rng(shot_seed, 63, day_seed)
        image = _develop(radiance, kind, optics or day_optics(day_seed), rng, colour)
        return RenderedPicture(image, depth, kind)

    def is_open(self, place_m: DoubleArray, day_seed: int = 0, margin_m: float = 0.4) -> bool:
        """Whether a camera can stand at (x, y): nothing built and no vehicle of that day within the margin."""
        x, y = float(place_m[0]), float(place_m[1])
        if not (self._low[0] + 2 < x < self._high[0] - 2 and self._low[1] + 2 < y < self._high[1] - 2):
            return False
        steps = [(0.0, 0.0), (margin_m, 0.0), (-margin_m, 0.0), (0.0, margin_m), (0.0, -margin_m)]
        if any(height_at(x + dx, y + dy, self._near) > 0 for dx, dy in steps):
            return False
        boxes = self._surfaces(day_seed).boxes
        dx, dy = x - boxes[:, 0], y - boxes[:, 1]
        along, across = dx * boxes[:, 2] + dy * boxes[:, 3], -dx * boxes[:, 3] + dy * boxes[:, 2]
        inside = (np.abs(along) < boxes[:, 4] + margin_m) & (np.abs(across) < boxes[:, 5] + margin_m)
        return not bool(inside.any())

    def _check_open(self, origin: DoubleArray, day_seed: int) -> None:
        place = f"({origin[0]:.1f}, {origin[1]:.1f}, {origin[2]:.1f})"
        if not origin[2] > 0.2:
            raise PoseInputError(f"a camera at {place} is in the ground", "raise it above 0.2 m")
        if not self.is_open(origin[:2], day_seed, 0.05):
            raise PoseInputError(f"a camera at {place} stands inside something or out of reach", "move it to a street")

    def _surfaces(self, day_seed: int) -> Surfaces:
        if day_seed not in self._days:
            if len(self._days) > 8:
                self._days.clear()
            boxes = parked_on(self._streets, day_seed)
            boxes = boxes[((boxes[:, :2] > self._low) & (boxes[:, :2] < self._high)).all(axis=1)]
            seeds = np.random.default_rng([day_seed & 0xFFFFFFFF, 64]).integers(1 << 28, size=len(boxes))
            boxes = np.column_stack([boxes, seeds.astype(np.float64)])
            corner = float(self._low[0]), float(self._low[1])
            self._days[day_seed] = index_surfaces(self._walls, boxes, self._poles, *corner, self._side_m)
        return self._days[day_seed]


def _develop(radiance: FloatArray, kind: AnyArray, optics: Optics, rng: np.random.Generator, colour: bool) -> AnyArray:
    """Blur, exposure, tone curve and noise."""
    lit = gaussian_filter(radiance, optics.blur_px) if optics.blur_px > 0 else radiance
    value = np.clip(1.15 * optics.gain * lit, 0.0, None) ** np.float32(optics.gamma) * np.float32(255.0)
    if colour:
        value = value[..., None] * _TINTS[np.array([0, 1, 2, 1, 3, 3, 2])[kind]].astype(np.float32)
    value = value + optics.noise * rng.standard_normal(value.shape, np.float32)
    image: AnyArray = np.clip(np.rint(value), 0, 255).astype(np.uint8)
    return image
