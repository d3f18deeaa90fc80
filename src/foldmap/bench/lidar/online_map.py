"""Driving in a map that somebody else made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

from foldmap.bench.lidar.drive import LeaveOutMaps
from foldmap.bench.lidar.online_protocol import OnlineProtocol
from foldmap.bench.lidar.protocol import raster_fingerprint
from foldmap.errors import ConfigError
from foldmap.lidar.source import RasterMap


@dataclass(frozen=True)
class OnlineInGivenMap(OnlineProtocol):
    """`OnlineProtocol` in one map for the whole drive; nothing is left out of it, so it must be of other recordings.

    Attributes:
        raster: the map, folded once.
    """

    raster: RasterMap | None = field(default=None)

    def __post_init__(self) -> None:
        if self.raster is None:
            raise ConfigError("no map is given to drive in", "give a raster")
        if not 1 <= self.sweeps <= len(self.drive.frames):
            raise ConfigError(f"{self.sweeps} sweeps a step of {len(self.drive.frames)}", "give a longer drive")

    def left_out(self, frame: int) -> tuple[int, int]:
        """The same for all frames: the map is the same."""
        return 0, -1

    def configuration(self) -> dict[str, Any]:
        """Everything that decides the steps, as plain JSON values."""
        assert self.raster is not None
        fingerprint = raster_fingerprint(self.raster)
        return {**super().configuration(), "protocol": "online-given-map", "map_fingerprint": fingerprint}

    @property
    def maps(self) -> LeaveOutMaps:
        """The one map, whatever is asked to be left out."""
        assert self.raster is not None
        return cast(LeaveOutMaps, _OneMap(self.raster))


@dataclass(frozen=True)
class _OneMap:
    raster: RasterMap

    def without(self, first: int, last: int) -> RasterMap:
        return self.raster
