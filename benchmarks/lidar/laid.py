"""How sweeps are best laid together where priors have errors of their own: ``python -m benchmarks.lidar.laid``.

Every sweep of a recorded street is localized from a prior in a map that leaves its neighbourhood out. The last five are
laid together by the truth, by the differences of the priors, or by registering them; or there is one sweep alone.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from foldmap.bench.lidar.drive import LeaveOutMaps, load_drive
from foldmap.bench.lidar.learned import LearnedCodec
from foldmap.formats.sweeps.drives import RecordedDrive, open_drive
from foldmap.geometry import SE2, SE3
from foldmap.lidar.bundle import Bundle
from foldmap.lidar.defaults import default_bundle, read_bundle
from foldmap.lidar.mapping.registration import SweepRegistration
from foldmap.lidar.observation import SweepStack
from foldmap.lidar.source import Sweep
from foldmap.localize.lidar.localizer import LidarLocalizer

RESOLUTION_M, SWEEPS, GUARD, BLOCK = 0.05, 5, 15, 10
WAYS = ("odometry", "differences of the priors", "registration", "one sweep")


def main() -> None:
    """Measure and print a line a way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--drive", type=Path, default=Path("../shared/data/lidar/kitti-hdl64"))
    parser.add_argument("--model", type=Path, help="model.safetensors; the shipped one where left out")
    parser.add_argument("--sigma", type=float, nargs=2, default=(0.3, 2.0), help="of the priors: metres, degrees")
    parser.add_argument("--every", type=int, default=3, help="a query every so many sweeps")
    asked = parser.parse_args()
    recorded = open_drive(asked.drive / "sweeps", asked.drive / "poses.txt")
    bundle = default_bundle(RESOLUTION_M) if asked.model is None else read_bundle(asked.model)
    errors_m: dict[str, list[float]] = {way: [] for way in WAYS}
    statuses: dict[str, Counter[str]] = {way: Counter() for way in WAYS}
    for way, status, error_m in _asked(recorded, bundle, asked.sigma, asked.every):
        statuses[way][status] += 1
        errors_m[way] += [] if error_m is None else [error_m]
    for way in WAYS:
        off_m = np.array(errors_m[way] or [math.inf])
        told = f"median {100 * np.median(off_m):.1f} cm, p95 {100 * np.percentile(off_m, 95):.1f} cm"
        print(f"{way}: {len(errors_m[way])} of {statuses[way].total()} answered, {told}, {dict(statuses[way])}")


def _asked(
    recorded: RecordedDrive, bundle: Bundle, sigma: Sequence[float], every: int
) -> Iterator[tuple[str, str, float | None]]:
    """Way, status and error in metres of every answer."""
    truth, sweeps = recorded.world_SE3_sensors, list(recorded.sweeps)
    priors = independent(truth, sigma[0], math.radians(sigma[1]))
    ground = load_drive("drive", sweeps, truth)
    maps, codec = LeaveOutMaps(ground, RESOLUTION_M), LearnedCodec(bundle)
    registered = _registered(sweeps, priors)
    for first in range(SWEEPS - 1, len(sweeps), BLOCK):
        raster = maps.without(first - SWEEPS + 1 - GUARD, first + BLOCK - 1 + GUARD)
        localizer = LidarLocalizer.open(codec.decode(codec.encode(raster)))
        for index in range(first, min(first + BLOCK, len(sweeps)), every):
            for way, poses in zip(WAYS, (truth, priors, registered, priors), strict=True):
                stack = SweepStack(RESOLUTION_M, 1 if way == WAYS[3] else SWEEPS)
                drawn = [stack.add(sweeps[i], poses[i]) for i in range(index - SWEEPS + 1, index + 1)][-1]
                found = localizer.localize(drawn, priors[index].to_se2(), 1.0, math.radians(6.0), 13)
                here = truth[index].to_se2()
                off_m = None if found.pose is None else math.hypot(found.pose.x_m - here.x_m, found.pose.y_m - here.y_m)
                yield way, found.status.value, off_m


def independent(truth: Sequence[SE3], sigma_m: float, sigma_rad: float, seed: int = 0) -> list[SE3]:
    """Priors with errors of their own."""
    rng = np.random.default_rng(seed)
    draws = rng.normal(0.0, (sigma_m, sigma_m, sigma_rad), (len(truth), 3))
    wrong = [SE2(x_m, y_m, turn_rad) for x_m, y_m, turn_rad in draws.tolist()]
    return [pose @ SE3.from_se2(off) for pose, off in zip(truth, wrong, strict=True)]


def _registered(sweeps: Sequence[Sweep], priors: Sequence[SE3]) -> list[SE3]:
    """Where the sweeps say that the sensor was; up is as the first prior has it."""
    running, poses = SweepRegistration(), list[SE3]()
    for index, sweep in enumerate(sweeps):
        guess = priors[index - 1].inverse() @ priors[index] if index else None
        poses.append(running.add(sweep, guess) or SE3(np.eye(4)))
    return poses


if __name__ == "__main__":
    main()
