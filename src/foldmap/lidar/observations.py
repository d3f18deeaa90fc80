"""From sweeps and poses on disk to what a localizer is shown."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from foldmap.errors import ConfigError, SweepInputError

if TYPE_CHECKING:
    from foldmap.geometry import SE2, SE3
    from foldmap.lidar.observation import Observation
    from foldmap.lidar.source import Sweep
    from foldmap.types import DoubleArray, FloatArray

COARSE_M = 0.15
COARSE_HALF_M = 20.0


def extent_of(resolution_m: float) -> tuple[float, float]:
    """Half length and half width of an observation: the paper's 30 x 24 m on fine maps, 40 x 40 m on coarse ones."""
    from foldmap.lidar.observation import HALF_LENGTH_M, HALF_WIDTH_M

    return (HALF_LENGTH_M, HALF_WIDTH_M) if resolution_m < COARSE_M else (COARSE_HALF_M, COARSE_HALF_M)


def observations(
    sweeps: Iterable[Sweep | SweepInputError],
    world_SE3_sensors: Sequence[SE3],
    resolution_m: float,
    aggregate_sweeps: int = 5,
    sensor_height_m: float | None = None,
) -> Iterator[Observation | SweepInputError]:
    """Draw, for every sweep, the last few sweeps' ground in its own vehicle frame.

    Args:
        sweeps: in driving order, read lazily; only the last few are kept. One that could not be read is its error,
            which is handed on in its place.
        world_SE3_sensors: one a sweep, as from odometry: only their differences matter.
        resolution_m: of the images.
        aggregate_sweeps: how many sweeps are laid together, the current one included; fewer at the beginning.
        sensor_height_m: above the road, where known.

    Raises:
        ConfigError: no sweeps are to be aggregated.
    """
    import numpy as np

    from foldmap.lidar.observation import aggregate, rasterize

    if not 1 <= aggregate_sweeps <= 100:
        raise ConfigError(f"{aggregate_sweeps} sweeps an observation", "give 1 to 100")
    half_length_m, half_width_m = extent_of(resolution_m)
    kept: deque[tuple[DoubleArray, FloatArray, SE2]] = deque(maxlen=aggregate_sweeps)
    for sweep, world_SE3_sensor in zip(sweeps, world_SE3_sensors, strict=True):
        if isinstance(sweep, SweepInputError):
            yield sweep
            continue
        points, intensity = aggregate([sweep], [world_SE3_sensor], 0, sensor_height_m=sensor_height_m)
        world_SE2_vehicle = world_SE3_sensor.to_se2()
        kept.append((points[:, :2], intensity, world_SE2_vehicle))
        vehicle_SE2_world = world_SE2_vehicle.inverse()
        laid = [(vehicle_SE2_world @ pose).apply(xy) for xy, _, pose in kept]
        values = np.concatenate([value for _, value, _ in kept])
        yield rasterize(np.concatenate(laid), values, resolution_m, half_length_m, half_width_m)
