"""Matching along a drive: in the map of its other frames, or in a map that is given."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from foldmap.bench.lidar.cases import BenchQuery, Case, Search, perturbed
from foldmap.bench.lidar.drive import Drive, LeaveOutMaps
from foldmap.errors import ConfigError, SweepInputError
from foldmap.geometry import MetricGrid
from foldmap.lidar.source import RasterMap


@dataclass(frozen=True)
class DriveProtocol:
    """Queries of a few aggregated sweeps of a drive in the map of the rest of the drive.

    A query is in the frame of its middle sweep. Its map leaves out its ``sweeps`` frames and ``guard`` frames on each
    side of them: neighbouring sweeps share rings and noise and would flatter a localizer. Raises ConfigError: counts
    out of range, or the drive is too short.
    """

    drive: Drive  # the drive
    resolution_m: float = 0.05  # of the maps
    sweeps: int = 5  # frames a query
    every: int = 3  # a query starts at every so many frames
    guard: int = 15  # frames left out on each side
    half_length_m: float = 15.0  # extent of the query ahead and behind
    half_width_m: float = 12.0  # and to each side
    search: Search = field(default_factory=Search)  # how far priors are off, uniformly in x, y and heading
    seed: int = 0  # of the priors

    def __post_init__(self) -> None:
        if self.sweeps < 1 or self.every < 1 or self.guard < 0:
            raise ConfigError(f"sweeps {self.sweeps}, every {self.every}, guard {self.guard}", "give positive counts")
        if len(self.drive.frames) <= self.sweeps + 2 * self.guard:
            raise ConfigError(
                f"{len(self.drive.frames)} frames leave no map around {self.sweeps} and guards of {self.guard}",
                "give a longer drive or a smaller guard",
            )

    def __len__(self) -> int:
        """Return how many queries there are."""
        return len(self.first_frames)

    @property
    def first_frames(self) -> range:
        """The first frame of each query."""
        return range(0, len(self.drive.frames) - self.sweeps + 1, self.every)

    def anchor_frame(self, first: int) -> int:
        """The frame in whose vehicle frame the query starting at ``first`` is."""
        return first + self.sweeps // 2

    def left_out(self, first: int) -> tuple[int, int]:
        """First and last frame (unclipped) that the map of the query starting at ``first`` does without."""
        return first - self.guard, first + self.sweeps - 1 + self.guard

    def configuration(self) -> dict[str, Any]:
        """See `Benchmark`."""
        names = ("resolution_m", "sweeps", "every", "guard", "half_length_m", "half_width_m", "seed")
        return {"protocol": "drive", **configuration_of(self, names, self.search)}

    @cached_property
    def maps(self) -> LeaveOutMaps:
        """The leave-out maps, built on first use."""
        return LeaveOutMaps(self.drive, self.resolution_m)

    def cases(self) -> Iterator[Case]:
        """Yield one case a query, each with a map of its own."""
        for first in self.first_frames:
            case = drive_case(self, first, first + self.sweeps - 1, self.anchor_frame(first), self.search)
            yield replace(case, map_key=f"without-{first}", raster=self.maps.without(*self.left_out(first)))


@dataclass(frozen=True)
class GivenMapProtocol:
    """Queries of a drive in a map that somebody else made, such as a GeoTIFF."""

    drive: Drive  # sweeps with poses in the map's frame; other recordings than the map was built from, or say so
    raster: RasterMap  # the map, folded once
    map_name: str  # of the map, for the configuration
    sweeps: int = 1  # frames a query, in the vehicle frame of the last
    every: int = 1  # a query ends at every so many frames
    half_length_m: float = 25.0  # extent of the query ahead and behind
    half_width_m: float = 25.0  # and to each side
    search: Search = field(default_factory=Search)  # how far priors are off
    priors: int = 1  # per query, each with another prior
    seed: int = 0  # of the priors

    def __post_init__(self) -> None:
        if not (1 <= self.sweeps <= len(self.drive.frames) and self.every >= 1 and self.priors >= 1):
            raise ConfigError(f"sweeps {self.sweeps}, every {self.every}, priors {self.priors}", "give positive counts")

    def __len__(self) -> int:
        """Return how many queries there are."""
        return len(range(self.sweeps - 1, len(self.drive.frames), self.every)) * self.priors

    def configuration(self) -> dict[str, Any]:
        """See `Benchmark`."""
        names = ("map_name", "sweeps", "every", "half_length_m", "half_width_m", "priors", "seed")
        given = {"protocol": "given-map", "map_fingerprint": raster_fingerprint(self.raster)}
        return {**given, **configuration_of(self, names, self.search)}

    def cases(self) -> Iterator[Case]:
        """Yield the cases; all share the map."""
        for last in range(self.sweeps - 1, len(self.drive.frames), self.every):
            for prior in range(self.priors):
                case = drive_case(self, last - self.sweeps + 1, last, last, self.search, prior)
                yield replace(case, map_key="given", raster=self.raster)


_NO_MAP = RasterMap(MetricGrid(0.0, 0.0, 1.0, 1, 1), np.zeros((1, 1), np.float32), np.zeros((1, 1), bool))


def drive_case(
    protocol: Any, first: int, last: int, frame: int, search: Search, prior: int = 0, drive: Drive | None = None
) -> Case:
    """Make a case, without a map as yet, of the points of frames first..last in the vehicle frame of ``frame``.

    The drive is the protocol's, unless frames are to be laid together otherwise. Points outside the rectangle
    (section 4: 24 x 30 m) are left out. A frame's prior does not depend on other frames.
    """
    drive = protocol.drive if drive is None else drive
    points, intensity = drive.aggregated(first, last, frame)
    name = f"{frame:06d}" + (f"-{prior}" if prior else "")
    kept = (np.abs(points) <= (protocol.half_length_m, protocol.half_width_m)).all(1)
    if not kept.any():
        raise SweepInputError(f"query {name} has no ground returns in its rectangle", "widen it or drop the frame")
    truth = drive.frames[frame].world_SE2_vehicle
    believed = perturbed(truth, search, np.random.default_rng((protocol.seed, frame, prior)))
    return Case(name, BenchQuery(points[kept], intensity[kept], believed), truth, "", _NO_MAP)


def configuration_of(protocol: Any, names: Sequence[str], search: Search) -> dict[str, Any]:
    """Some fields of a protocol, its search and its drive, as plain JSON values."""
    drive = {"data": protocol.drive.name, "fingerprint": protocol.drive.fingerprint}
    return {**{name: getattr(protocol, name) for name in names}, "search": asdict(search), **drive}


def raster_fingerprint(raster: RasterMap) -> str:
    """SHA-256 over placement, observed pixels and their intensities."""
    grid = raster.grid
    digest = hashlib.sha256(repr((grid.west_m, grid.north_m, grid.resolution_m, grid.shape)).encode())
    digest.update(np.packbits(raster.observed).tobytes() + raster.intensity[raster.observed].tobytes())
    return digest.hexdigest()
