"""A drive from noisy fixes and odometry alone, without a prior: ``python -m benchmarks.lidar.gps_drive``.

Fixes are the true positions with noise; odometry is what the sweeps say of themselves. Each block of sweeps is
localized in a map that leaves its neighbourhood out, which is put under the running tracker.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from foldmap.api.tracking import Tracker
from foldmap.bench.lidar.baselines.contrast_localizer import ContrastMap
from foldmap.bench.lidar.drive import LeaveOutMaps, load_drive
from foldmap.bench.lidar.learned import LearnedCodec
from foldmap.formats.sweeps.drives import open_drive
from foldmap.geometry import SE2, SE3
from foldmap.lidar.bundle import Bundle
from foldmap.lidar.defaults import default_bundle, read_bundle
from foldmap.lidar.mapping.registration import SweepRegistration
from foldmap.lidar.observation import SweepStack
from foldmap.localize.lidar.confidence import LidarEstimate
from foldmap.localize.lidar.localizer import LidarLocalizer

RESOLUTION_M, SWEEPS, GUARD, BLOCK, WRONG_M = 0.05, 5, 15, 10, 0.5
_SEEN, MAX_RANGE_M = 0.05, 40.0


class ChangingMap:
    """One localizer, whose map is replaced along the drive."""

    def __init__(self) -> None:
        self.localizer: LidarLocalizer | None = None

    def lidar_localizer(self) -> LidarLocalizer:
        """In the map of the moment."""
        assert self.localizer is not None
        return self.localizer

    def street_localizer(self, region: str | None = None) -> None:
        """There is none."""


def main() -> None:
    """Drive once, print a line a sweep and what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--drive", type=Path, default=Path("../shared/data/joint/kitti-drive0001"))
    parser.add_argument("--model", type=Path, help="model.safetensors; the shipped one where left out")
    parser.add_argument("--raw", action="store_true", help="in the raw map, without a code")
    parser.add_argument("--sigma", type=float, default=2.0, help="of the fixes, metres")
    parser.add_argument("--every", type=int, default=1, help="a fix every so many sweeps")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    bundle = None if asked.raw else read_bundle(asked.model) if asked.model else default_bundle(RESOLUTION_M)
    statuses, off = Counter[str](), list[tuple[float, float]]()
    wrong, begun = 0, None
    for frame, truth, found in _driven(asked.drive, bundle, asked.sigma, asked.every, asked.seed):
        statuses[found.status.value] += 1
        along = across = math.nan
        if found.pose is not None:
            begun = frame if begun is None else begun
            error = truth.inverse() @ found.pose
            along, across = error.x_m, error.y_m
            off.append((along, across))
            wrong += found.status.value == "ok" and math.hypot(along, across) > WRONG_M
        sigma_m = found.diagnostics.sigma_m or math.nan
        said = f"{along:7.2f} {across:7.2f} {sigma_m:6.2f}  {found.diagnostics.reason}"
        print(f"{frame:4d} {found.status.value:14s} {said}", flush=True)
    rows = np.abs(np.array(off or [(math.inf, math.inf)]))
    total = np.hypot(*rows.T)
    print(f"first answer at sweep {begun}; {len(off)} of {statuses.total()} answered, {dict(statuses)}")
    print(f"total median {np.median(total):.3f} m, p95 {np.percentile(total, 95):.3f}; wrong ok {wrong}")
    print(f"along median {np.median(rows[:, 0]):.3f} m, across {np.median(rows[:, 1]):.3f} m")


def _driven(
    folder: Path, bundle: Bundle | None, sigma_m: float, every: int, seed: int
) -> Iterator[tuple[int, SE2, LidarEstimate]]:
    """Frame, truth and answer along the drive."""
    recorded = open_drive(folder / "sweeps", folder / "poses.txt")
    truth, sweeps, rng = recorded.world_SE3_sensors, list(recorded.sweeps), np.random.default_rng(seed)
    maps = LeaveOutMaps(load_drive("drive", sweeps, truth, max_range_m=MAX_RANGE_M), RESOLUTION_M)
    codec = None if bundle is None else LearnedCodec(bundle)
    under, running, stack = ChangingMap(), SweepRegistration(), SweepStack(RESOLUTION_M, SWEEPS)
    tracker, before = Tracker(under, layer="lidar"), SE3(np.eye(4))  # type: ignore[arg-type]
    for frame, sweep in enumerate(sweeps):
        if frame % BLOCK == 0:
            raster = maps.without(frame - SWEEPS + 1 - GUARD, frame + BLOCK - 1 + GUARD)
            folded = ContrastMap(raster) if codec is None else codec.decode(codec.encode(raster))
            under.localizer = under.localizer or LidarLocalizer.open(folded)
            under.localizer.folded = folded
        here = running.add(sweep) or SE3(np.eye(4))
        moved = (before.inverse() @ here).to_se2()
        before, drawn = here, stack.add(sweep, here)
        true = truth[frame].to_se2()
        east_m, north_m = rng.normal((true.x_m, true.y_m), sigma_m)
        fix = (float(east_m), float(north_m), sigma_m) if frame % every == 0 else None
        yield frame, true, tracker.step(drawn, moved, None, fix)  # type: ignore[misc]


if __name__ == "__main__":
    main()
