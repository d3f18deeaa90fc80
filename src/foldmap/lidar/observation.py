"""What the vehicle brings: a few sweeps laid together and drawn as a bird's-eye intensity image."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from foldmap.errors import ConfigError, PoseInputError, SweepInputError
from foldmap.geometry import SE2, SE3
from foldmap.lidar.continuity import Continuity
from foldmap.lidar.mapping.bins import binned
from foldmap.lidar.mapping.ground import ground_mask
from foldmap.lidar.mapping.lean import upright
from foldmap.lidar.relief import mixed
from foldmap.lidar.source import Sweep, check_lengths
from foldmap.types import BoolArray, DoubleArray, FloatArray, IntArray

HALF_LENGTH_M = 15.0
HALF_WIDTH_M = 12.0
COARSE_M = 0.15
COARSE_HALF_M = 20.0
OWN_VEHICLE_M = 2.5
OVERHEAD_M = 0.5  # above the sensor


@dataclass(frozen=True)
class Observation:
    """A bird's-eye intensity image in the vehicle frame, the vehicle's origin at its centre.

    Column grows with x (forward), row 0 is the left edge (+y): at heading 0 the image lies on the map as it is.

    Intensity is float32 (H, W), 0 where not observed; observed bool (H, W). The image spans x in [-half_length_m,
    half_length_m) and y in (-half_width_m, half_width_m].
    """

    intensity: FloatArray
    observed: BoolArray
    resolution_m: float
    half_length_m: float = HALF_LENGTH_M
    half_width_m: float = HALF_WIDTH_M

    def __post_init__(self) -> None:
        shape = _image_shape(self.resolution_m, self.half_length_m, self.half_width_m)
        if self.intensity.shape != shape or self.observed.shape != shape:
            raise SweepInputError(
                f"intensity {self.intensity.shape} and observed {self.observed.shape} should be {shape}",
                "give images that cover the extent at the resolution",
            )
        if not np.isfinite(self.intensity[self.observed]).all():
            raise SweepInputError("observed pixels hold NaN or infinity", "mark them as not observed")

    @property
    def observed_m2(self) -> float:
        """Observed ground in square metres."""
        return float(self.observed.sum()) * self.resolution_m**2


def _image_shape(resolution_m: float, half_length_m: float, half_width_m: float) -> tuple[int, int]:
    check_lengths(resolution_m=resolution_m, half_length_m=half_length_m, half_width_m=half_width_m)
    return max(1, round(2 * half_width_m / resolution_m)), max(1, round(2 * half_length_m / resolution_m))


def levelled(world_SE3_sensor: SE3) -> SE3:
    """The vehicle frame of a sensor pose: same origin, x along the sensor's heading in the plane, z up."""
    forward = world_SE3_sensor.matrix[:2, 0]
    if float(np.hypot(*forward)) < 1e-3:
        raise PoseInputError("the sensor's x axis is vertical, it has no heading", "give poses with x forward, z up")
    return SE3.from_se2(world_SE3_sensor.to_se2(), float(world_SE3_sensor.translation_m[2]))


def aggregate(
    sweeps: Sequence[Sweep],
    world_SE3_sensors: Sequence[SE3],
    reference_index: int,
    *,
    ground_only: bool = True,
    sensor_height_m: float | None = None,
) -> tuple[DoubleArray, FloatArray]:
    """Lay sweeps together in the levelled vehicle frame of one of them; what is not ground is dropped.

    Sweeps of a sensor that leans more than its poses say are set upright. Of the poses, as from odometry, only
    differences matter (and which way is up). Gives points float64 (N, 3) in metres and their intensities float32 (N,).
    ``sensor_height_m`` is above the road, where known.
    """
    if len(sweeps) != len(world_SE3_sensors):
        raise PoseInputError(f"{len(sweeps)} sweeps and {len(world_SE3_sensors)} poses", "give one pose a sweep")
    if not -len(sweeps) <= reference_index < len(sweeps):
        raise SweepInputError(f"no sweep {reference_index} among {len(sweeps)}", "give a reference among the sweeps")
    vehicle_SE3_world = levelled(world_SE3_sensors[reference_index]).inverse()
    points, intensities = list[DoubleArray](), list[FloatArray]()
    for leaning, world_SE3_sensor in zip(sweeps, world_SE3_sensors, strict=True):
        sweep = upright(leaning, world_SE3_sensor)
        kept = ground_mask(sweep.points_sensor_m, sensor_height_m) if ground_only else slice(None)
        points.append((vehicle_SE3_world @ world_SE3_sensor).apply(sweep.points_sensor_m[kept].astype(np.float64)))
        intensities.append(sweep.intensity[kept])
    return np.concatenate(points), np.concatenate(intensities)


def rasterize(
    points_m: DoubleArray,
    intensity: FloatArray,
    resolution_m: float,
    half_length_m: float = HALF_LENGTH_M,
    half_width_m: float = HALF_WIDTH_M,
) -> Observation:
    """Draw points as the mean intensity of each pixel.

    Points (N, 2) or (N, 3) are in the vehicle frame, x forward, y left. Those outside the extent are left out, and an
    image without any point is all unobserved. A SweepInputError where shapes disagree or values are not finite.
    """
    shape = _image_shape(resolution_m, half_length_m, half_width_m)
    points, values = np.asarray(points_m), np.asarray(intensity)
    if points.ndim != 2 or points.shape[1] not in (2, 3) or values.shape != points.shape[:1]:
        raise SweepInputError(f"points {points.shape} and intensity {values.shape}", "give (N, 3) and (N,)")
    if not (np.isfinite(points).all() and np.isfinite(values).all()):
        raise SweepInputError("the points hold NaN or infinite values", "drop those returns first")
    count, total = binned(points, values, shape, (half_width_m, half_length_m), resolution_m)
    observed = count > 0
    mean = np.divide(total, count, out=np.zeros(shape), where=observed)
    return Observation(mean.astype(np.float32), observed, resolution_m, half_length_m, half_width_m)


def _pixels(
    points_m: DoubleArray, shape: tuple[int, int], resolution_m: float, half_length_m: float, half_width_m: float
) -> tuple[IntArray, BoolArray]:
    """Flat pixel indices of the points that are inside, and which are."""
    row = np.floor((half_width_m - points_m[:, 1]) / resolution_m)
    col = np.floor((points_m[:, 0] + half_length_m) / resolution_m)
    inside = (row >= 0) & (row < shape[0]) & (col >= 0) & (col < shape[1])
    return row[inside].astype(np.int64) * shape[1] + col[inside].astype(np.int64), inside


def with_relief(observation: Observation, points_m: DoubleArray) -> Observation:
    """Mix the scatter of heights a pixel into an observation; points (N, 3) are all returns, in its frame."""
    shape = observation.observed.shape
    extent = observation.resolution_m, observation.half_length_m, observation.half_width_m
    flat, inside = _pixels(points_m, shape, *extent)
    height_m, size = points_m[inside, 2], shape[0] * shape[1]
    count = np.bincount(flat, minlength=size)
    mean_m = np.bincount(flat, weights=height_m, minlength=size) / np.maximum(count, 1)
    square = np.bincount(flat, weights=(height_m - mean_m[flat]) ** 2, minlength=size)
    variance_m2 = (square / np.maximum(count, 1)).reshape(shape)
    image = mixed(observation.intensity, variance_m2, (count > 1).reshape(shape))
    return replace(observation, intensity=np.where(observation.observed, image, np.float32(0)))


def extent_of(resolution_m: float) -> tuple[float, float]:
    """Half length and half width of an observation: the paper's 30 x 24 m on fine maps, 40 x 40 m on coarse ones."""
    return (HALF_LENGTH_M, HALF_WIDTH_M) if resolution_m < COARSE_M else (COARSE_HALF_M, COARSE_HALF_M)


def _near(points_sensor_m: FloatArray) -> DoubleArray:
    """Returns of what stands around, not of the vehicle itself nor of what hangs over it."""
    range_m = np.hypot(points_sensor_m[:, 0], points_sensor_m[:, 1])
    low = (range_m > OWN_VEHICLE_M) & (range_m < 1.5 * COARSE_HALF_M) & (points_sensor_m[:, 2] < OVERHEAD_M)
    return points_sensor_m[low].astype(np.float64)


class SweepStack:
    """The ground of the last few sweeps of a drive (``most``), drawn in the vehicle frame of the newest.

    With ``relief``, the scatter of heights of whatever stands up to half a metre above the sensor is mixed in, for maps
    that are folded so.
    """

    def __init__(
        self, resolution_m: float, most: int = 5, sensor_height_m: float | None = None, *, relief: bool = False
    ) -> None:
        if not 1 <= most <= 100:
            raise ConfigError(f"{most} sweeps an observation", "give 1 to 100")
        check_lengths(**({} if sensor_height_m is None else {"sensor_height_m": sensor_height_m}))
        self._resolution_m, self._sensor_height_m = resolution_m, sensor_height_m
        self._kept: deque[tuple[DoubleArray, FloatArray, SE2]] = deque(maxlen=most)
        self._standing: deque[DoubleArray] | None = deque(maxlen=most) if relief else None
        self._continuity = Continuity()
        self.broken = False
        """Whether the newest sweep did not go on where odometry laid it: those before it were let go."""

    def add(self, sweep: Sweep, world_SE3_sensor: SE3) -> Observation:
        """Lay a sweep on those before and draw them; of the poses, as from odometry, only differences matter.

        A sweep that does not show the ground that odometry lays it on is drawn alone.
        """
        points, intensity = aggregate([sweep], [world_SE3_sensor], 0, sensor_height_m=self._sensor_height_m)
        world_SE2_vehicle = world_SE3_sensor.to_se2()
        vehicle_SE2_world, newest = world_SE2_vehicle.inverse(), points[:, :2]
        if len(self._kept) == self._kept.maxlen:
            self._kept.popleft()
        self.broken = False
        laid_m = [(vehicle_SE2_world @ pose).apply(xy) for xy, _, pose in self._kept]
        values = [value for _, value, _ in self._kept]
        if self._kept:
            last = vehicle_SE2_world @ self._kept[-1][2]
            before = np.concatenate(laid_m), np.concatenate(values)
            self.broken = not self._continuity.holds(newest, intensity, *before, math.hypot(last.x_m, last.y_m))
        if self.broken:
            self._kept.clear()
            laid_m, values = [], []
            if self._standing is not None:
                self._standing.clear()
        self._kept.append((newest, intensity, world_SE2_vehicle))
        points_m, every = np.concatenate([*laid_m, newest]), np.concatenate([*values, intensity])
        drawn = rasterize(points_m, every, self._resolution_m, *extent_of(self._resolution_m))
        if self._standing is None:
            return drawn
        standing = upright(sweep, world_SE3_sensor)
        self._standing.append(world_SE3_sensor.apply(_near(standing.points_sensor_m)))
        world = np.concatenate(self._standing)
        return with_relief(drawn, np.column_stack([vehicle_SE2_world.apply(world[:, :2]), world[:, 2]]))
