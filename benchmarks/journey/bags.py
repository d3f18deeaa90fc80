"""Bags against the folder that they were made of: ``python -m benchmarks.journey.bags``.

A drive, recorded (kitti-drive0001: sweeps, twists, fixes of 1 m) or of a generated town (sweeps, seven cameras,
odometry), is written as a folder and as a bag of each container, and all are localized by the command, each in a
process of its own. A line each: the largest difference of poses and covariances to the folder's, processor seconds a
second of driving, and memory beyond that of the open map.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.context import Board
from benchmarks.journey.kitti import kitti_events, kitti_truth
from benchmarks.journey.town import TownDrives, fold_town
from foldmap.formats.bags.write import write_bag
from foldmap.formats.drives.read import read_drive
from foldmap.formats.drives.write import write_drive
from foldmap.localize.journey.events import Event, FixEvent

CONTAINERS = {"MCAP": "drive.mcap", "ROS 1": "drive.bag", "rosbag2, sqlite3": "bag"}
FIX_SIGMA_M, FIX_EVERY = 1.0, 5
EXTENT_M, SEED = 240.0, 5


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--drive", type=Path, default=Path("../shared/data/joint/kitti-drive0001"))
    parser.add_argument("--town", action="store_true", help="a generated town instead of the recording")
    parser.add_argument("--frames", type=int, default=100, help="of the town's drive")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if asked.town:
            fold_town(folder / "map.fold", Board(Path()), EXTENT_M, SEED)
            events: Iterator[Event] = (one for one, _ in TownDrives(SEED, EXTENT_M, asked.frames).events(0, 5))
        else:
            _fold_recording(asked.drive, folder)
            events = itertools.chain(kitti_events(asked.drive, cameras=False), _fixes(asked.drive))
        write_drive(folder / "folder", events)
        _measure(folder)


def _fold_recording(drive: Path, folder: Path) -> None:
    given = str(drive / "sweeps"), "--poses", str(drive / "poses.txt")
    _run("build", "lidar", *given, "-o", str(folder / "map.tif"))
    _run("fold", str(folder / "map.tif"), "-o", str(folder / "map.fold"), "--codec", "marks")


def _fixes(drive: Path) -> Iterator[Event]:
    rng = np.random.default_rng(4)
    for time_s, pose in kitti_truth(drive)[::FIX_EVERY]:
        east_m, north_m = rng.normal((pose.x_m, pose.y_m), FIX_SIGMA_M).tolist()
        yield FixEvent(time_s, east_m, north_m, FIX_SIGMA_M)


def _measure(folder: Path) -> None:
    opened_mb = _run("-c", f"import foldmap; foldmap.open({str(folder / 'map.fold')!r}).lidar_localizer()")[1]
    wanted: list[dict[str, Any]] = []
    for name, file in {"folder": "folder", **CONTAINERS}.items():
        bag = folder / file
        if name != "folder":
            write_bag(bag, read_drive(folder / "folder").events())
        fixes = name != "folder" and "fixes" in read_drive(folder / "folder").brings
        options = ("--topic", "fix=/gnss/pose") if fixes else ()
        run = folder / f"run {file}"
        run.mkdir()
        spent_s, most_mb = _run("localize", str(folder / "map.fold"), str(bag), "-o", str(run), *options)
        rows = [json.loads(line) for line in (run / "estimates.txt.jsonl").read_text().splitlines()]
        wanted = wanted or rows
        driven_s = rows[-1]["time_s"] - rows[0]["time_s"]
        off, differ, answered = _compared(rows, wanted)
        print(
            f"{name}: {answered} of {len(rows)} answered, poses within {off:.1e} of the folder's, {differ} statuses "
            f"differ, {spent_s / driven_s:.2f} processor seconds a second, {most_mb - opened_mb:.0f} MB over the map"
        )


def _compared(rows: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> tuple[float, int, int]:
    """Largest difference of a number of a pose or covariance, statuses that differ, and how many were answered."""
    off, differ, answered = 0.0, abs(len(rows) - len(wanted)), 0
    for one, other in zip(rows, wanted, strict=False):
        differ += (one["name"], one["status"]) != (other["name"], other["status"])
        if one["pose"] is not None and other["pose"] is not None:
            answered += 1
            ours, theirs = (np.array([*row["pose"].values(), *np.ravel(row["covariance"])]) for row in (one, other))
            off = max(off, float(np.abs(ours - theirs).max()))
    return off, differ, answered


def _run(*words: str) -> tuple[float, float]:
    """Run the command, or Python; its processor seconds, and its memory at most, MB."""
    command = [sys.executable, *(words if words[0] == "-c" else ("-m", "foldmap", *words))]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        _, status, used = os.wait4(running.pid, 0)
        running.returncode = os.waitstatus_to_exitcode(status)
    if running.returncode not in (0, 1):
        raise SystemExit(f"{' '.join(command)} ended with {running.returncode}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


if __name__ == "__main__":
    main()
