"""A tiny generated place: a map, a drive over it, and an untrained model, all seeded."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch

from foldmap.coding.context import ContextModel
from foldmap.lidar.bundle import Bundle
from foldmap.lidar.model import LidarModel
from foldmap.lidar.presets import preset_named

RESOLUTION_M = 0.2
SIDE_PX = 400
WEST_M, NORTH_M = -40.0, 40.0


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    status: int
    out: str
    err: str

    def done(self) -> Ran:
        """Itself, if it was done."""
        assert self.status == 0, self.err
        return self

    def told(self, quiet: bool = False) -> Any:
        """What a command that was done printed, as JSON; where ``quiet``, it had nothing to remark."""
        assert not (quiet and self.err), self.err
        return json.loads(self.done().out)

    def refused(self, *said: str, notes: int = 0) -> Ran:
        """Itself, if it was refused: in one line that says all of this, after so many notes, and nothing printed."""
        assert (self.status, self.out, self.err.count("\n")) == (2, "", 1 + notes), self
        assert all(text in self.err for text in said), self.err
        return self


Run = Callable[..., Ran]
"""Runs a command by its words."""


def brightness(east_m: np.ndarray, north_m: np.ndarray) -> np.ndarray:
    """Ground intensity of the place anywhere: blotches of about two metres."""
    rng = np.random.default_rng(11)
    value = np.full(np.shape(east_m), 0.45)
    for _ in range(60):
        angle, phase = rng.uniform(0, 2 * math.pi, 2)
        pitch_m = rng.uniform(1.2, 5.0)
        value += 0.025 * np.sin(2 * math.pi / pitch_m * (east_m * math.cos(angle) + north_m * math.sin(angle)) + phase)
    return np.clip(value, 0.02, 0.98)


def write_tif(path: Path, values: np.ndarray, **changes: object) -> Path:
    """A float GeoTIFF without a CRS, nodata -1."""
    profile = {
        "driver": "GTiff",
        "dtype": "float32",
        "count": 1,
        "height": values.shape[0],
        "width": values.shape[1],
        "nodata": -1.0,
        "transform": rasterio.Affine(RESOLUTION_M, 0, WEST_M, 0, -RESOLUTION_M, NORTH_M),
    } | changes
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(values.astype(np.float32), 1)
    return path


def ground() -> np.ndarray:
    """The place's raster, with an unobserved south."""
    rows, cols = np.mgrid[:SIDE_PX, :SIDE_PX]
    values = brightness(WEST_M + (cols + 0.5) * RESOLUTION_M, NORTH_M - (rows + 0.5) * RESOLUTION_M)
    values[300:] = -1.0
    return values


def truth_of(frame: int) -> tuple[float, float, float]:
    """Pose of the vehicle: driving north-east."""
    return -4.0 + 0.8 * frame, 2.0 + 0.5 * frame, math.atan2(0.5, 0.8)


def write_sweeps(folder: Path, frames: int, seed: int = 5) -> None:
    """KITTI sweeps of flat ground 1.73 m below the sensor."""
    folder.mkdir(parents=True, exist_ok=True)
    for frame in range(frames):
        rng = np.random.default_rng([seed, frame])
        xy = rng.uniform(-15, 15, (9_000, 2))
        x, y, heading = truth_of(frame)
        east = x + math.cos(heading) * xy[:, 0] - math.sin(heading) * xy[:, 1]
        north = y + math.sin(heading) * xy[:, 0] + math.cos(heading) * xy[:, 1]
        cloud = np.column_stack([xy, rng.normal(-1.73, 0.01, len(xy)), brightness(east, north)])
        (folder / f"{frame:03d}.bin").write_bytes(cloud.astype("<f4").tobytes())


def tum(frames: int, off_m: tuple[float, float] = (0.0, 0.0)) -> str:
    """TUM rows of the true poses, displaced."""
    rows = []
    for frame in range(frames):
        x, y, heading = truth_of(frame)
        turn = f"0 0 {math.sin(heading / 2):.9f} {math.cos(heading / 2):.9f}"
        rows.append(f"{100 + 0.1 * frame:.3f} {x + off_m[0]:.6f} {y + off_m[1]:.6f} 1.73 {turn}")
    return "\n".join(rows) + "\n"


def make_bundle(name: str = "untrained", seed: int = 0, resolution_m: float = RESOLUTION_M) -> Bundle:
    """A model that codes the map by chance, with a coder fitted on random codes."""
    torch.manual_seed(seed)
    preset = preset_named("tiny-8x")
    codes = np.random.default_rng(seed).integers(0, preset.group_channels + 1, (preset.groups, 32, 32)).astype(np.uint8)
    model = LidarModel(preset).eval()
    with torch.no_grad():  # untrained logits are all alike; spread them so that codes differ from place to place
        image = torch.nn.functional.avg_pool2d(torch.randn(1, 2, 128, 128), 5, stride=1, padding=2) * 5
        image[:, 1] = 1.0
        logits = model.encoder(model.map_embedding(image)).flatten(1, 2)
        spread, mean = logits.std(dim=(0, 2, 3)), logits.mean(dim=(0, 2, 3))
        weight, bias = list(model.encoder.parameters())[-2:]
        weight.mul_(4.0 / spread[:, None, None, None])
        bias.copy_((bias - mean) * 4.0 / spread)
    return Bundle(model, ContextModel.fit([codes], preset.group_channels), resolution_m, 3.0, name)
