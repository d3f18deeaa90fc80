"""A drive's ground returns, and maps of it that leave chosen frames out."""

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from foldmap.errors import ConfigError, PoseInputError, SweepInputError
from foldmap.geometry import SE2, SE3, MetricGrid
from foldmap.lidar.observation import aggregate
from foldmap.lidar.source import RasterMap, Sweep
from foldmap.types import DoubleArray, FloatArray, IntArray

_ALIGN_PX = 16


@dataclass(frozen=True)
class GroundFrame:
    """The ground returns of one sweep."""

    points_vehicle_m: FloatArray  # float32 (N, 2), levelled vehicle frame, x forward, y left
    intensity: FloatArray  # float32 (N,)
    world_SE2_vehicle: SE2  # where the vehicle was

    def points_world_m(self) -> DoubleArray:
        """The points in the world, float64 (N, 2)."""
        return self.world_SE2_vehicle.apply(self.points_vehicle_m.astype(np.float64))


@dataclass(frozen=True)
class Drive:
    """Frames in driving order; the fingerprint is SHA-256 over points, intensities and poses."""

    name: str
    frames: tuple[GroundFrame, ...]
    fingerprint: str

    def aggregated(self, first: int, last: int, anchor: int) -> tuple[FloatArray, FloatArray]:
        """Points float32 (N, 2), intensities of frames first..last (inclusive) in the frame of ``anchor``."""
        vehicle_SE2_world = self.frames[anchor].world_SE2_vehicle.inverse()
        frames = self.frames[first : last + 1]
        points = [
            (vehicle_SE2_world @ f.world_SE2_vehicle).apply(f.points_vehicle_m.astype(np.float64)) for f in frames
        ]
        return np.concatenate(points).astype(np.float32), np.concatenate([f.intensity for f in frames])


def load_drive(
    name: str,  # what tables call it
    sweeps: Iterable[Sweep],  # one a pose, read lazily
    world_SE3_sensor: Sequence[SE3],  # poses in driving order
    # returns farther away are sparse, graze the ground and lie beyond a 24 x 30 m query: left out
    max_range_m: float = 20.0,
) -> Drive:
    """Reduce sweeps to ground returns, one at a time; errors where a pose or all returns of a sweep miss."""
    frames, digest = [], hashlib.sha256()
    for index, (sweep, pose) in enumerate(_pairs(sweeps, world_SE3_sensor)):
        points, intensity = aggregate([sweep], [pose], 0)
        near = np.hypot(points[:, 0], points[:, 1]) <= max_range_m
        if not near.any():
            raise SweepInputError(f"sweep {index} has no ground returns within {max_range_m} m", "leave it out")
        frame = GroundFrame(points[near, :2].astype(np.float32), intensity[near].astype(np.float32), pose.to_se2())
        frames.append(frame)
        digest.update(frame.points_vehicle_m.tobytes() + frame.intensity.tobytes() + pose.matrix.tobytes())
    if not frames:
        raise SweepInputError(f"the drive {name!r} has no sweeps", "check the folder and the pose file")
    return Drive(name, tuple(frames), digest.hexdigest())


def _pairs(sweeps: Iterable[Sweep], poses: Sequence[SE3]) -> Iterable[tuple[Sweep, SE3]]:
    count = 0
    for count, sweep in enumerate(sweeps, start=1):
        if count > len(poses):
            raise PoseInputError(f"more sweeps than the {len(poses)} poses", "give one pose a sweep")
        yield sweep, poses[count - 1]
    if count != len(poses):
        raise PoseInputError(f"{count} sweeps and {len(poses)} poses", "give one pose a sweep")


class LeaveOutMaps:
    """Maps of a drive without some frames: the total minus what those contributed; grids are multiples of 16 pixels."""

    def __init__(self, drive: Drive, resolution_m: float = 0.05) -> None:
        self.drive = drive
        self.grid = _covering_grid(drive, resolution_m)
        self._sparse = [_sparse_raster(frame, self.grid) for frame in drive.frames]
        size = self.grid.height_px * self.grid.width_px
        self._total, self._count = np.zeros(size, np.float64), np.zeros(size, np.int64)
        for pixel, total, count in self._sparse:
            self._total[pixel] += total
            self._count[pixel] += count

    def without(self, first: int, last: int) -> RasterMap:
        """Map all frames but first..last (inclusive; clipped to the drive); a ConfigError where none would remain."""
        first, last = max(first, 0), min(last, len(self._sparse) - 1)
        if last - first + 1 >= len(self._sparse):
            raise ConfigError(
                f"leaving frames {first} to {last} out leaves no map", "leave fewer out, or give a longer drive"
            )
        total, count = self._total.copy(), self._count.copy()
        for pixel, part_total, part_count in self._sparse[first : last + 1]:
            total[pixel] -= part_total
            count[pixel] -= part_count
        observed = count > 0
        mean = np.divide(total, count, out=np.zeros_like(total), where=observed).astype(np.float32)
        return RasterMap(self.grid, mean.reshape(self.grid.shape), observed.reshape(self.grid.shape))


def _covering_grid(drive: Drive, resolution_m: float) -> MetricGrid:
    step_m = resolution_m * _ALIGN_PX
    corners = [(points.min(0), points.max(0)) for points in (frame.points_world_m() for frame in drive.frames)]
    west, south = (math.floor(v / step_m) for v in np.min([low for low, _ in corners], axis=0))
    east, north = (math.floor(v / step_m) + 1 for v in np.max([high for _, high in corners], axis=0))
    size_px = (north - south) * _ALIGN_PX, (east - west) * _ALIGN_PX
    return MetricGrid(west * step_m, north * step_m, resolution_m, *size_px)


def _sparse_raster(frame: GroundFrame, grid: MetricGrid) -> tuple[IntArray, DoubleArray, IntArray]:
    """Pixels that the frame hits, and the sum and number of its intensities there."""
    cells = np.rint(grid.pixel_of(frame.points_world_m())).astype(np.int64)
    np.clip(cells, 0, np.array(grid.shape) - 1, out=cells)
    flat: IntArray = cells[:, 0] * grid.width_px + cells[:, 1]
    pixel, inverse = np.unique(flat, return_inverse=True)
    total = np.bincount(inverse, weights=frame.intensity.astype(np.float64))
    return pixel.astype(np.int64), total.astype(np.float64), np.bincount(inverse).astype(np.int64)
