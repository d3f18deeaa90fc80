"""Bags against the folder that they were made of: ``python -m benchmarks.journey.bags``.

A drive, recorded (kitti-drive0001: sweeps, twists, fixes of 1 m) or of a generated town (sweeps, seven cameras,
odometry, the same fixes), is written as a folder and as a bag of each container, and all are localized by the command,
each in a process of its own. A line each: the largest difference of poses and covariances to the folder's, processor
seconds a second of driving, and memory beyond that of the open map.

``--skewed`` shows each point of the recording from where the vehicle was when a lidar that turns at 10 Hz would have
seen it, with that time, and prints the errors with and without de-skewing beside those of the sweeps as recorded.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.context import Board
from benchmarks.journey.kitti import kitti_events, kitti_truth
from benchmarks.journey.town import TownDrives, fold_town
from benchmarks.processes import Ran, run_measured
from foldmap.api.localizing_drives import localize_drive
from foldmap.api.opened import open as open_map
from foldmap.formats.bags.survey import BagOptions
from foldmap.formats.bags.write import write_bag
from foldmap.formats.drives.read import read_drive
from foldmap.formats.drives.write import write_drive
from foldmap.geometry import SE2
from foldmap.lidar.source import Sweep
from foldmap.localize.journey.events import Event, FixEvent, SweepEvent, TwistEvent
from foldmap.types import DoubleArray

CONTAINERS = {"MCAP": "drive.mcap", "ROS 1": "drive.bag", "rosbag2, sqlite3": "bag"}
FIX_SIGMA_M, FIX_EVERY = 1.0, 5
EXTENT_M, SEED = 240.0, 5


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--drive", type=Path, default=Path("../shared/data/joint/kitti-drive0001"))
    parser.add_argument("--town", action="store_true", help="a generated town instead of the recording")
    parser.add_argument("--frames", type=int, default=100, help="of the town's drive")
    parser.add_argument("--map", type=Path, help="a file that the recording's map was folded to; else it is made")
    parser.add_argument("--codec", default="learned", help="of the recording's map: learned or marks")
    parser.add_argument("--only", choices=sorted(CONTAINERS), action="append", help="this container; repeat for more")
    parser.add_argument("--skewed", action="store_true", help="what de-skewing is worth")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if asked.map is not None:
            shutil.copy(asked.map, folder / "map.fold")
        elif not asked.town:
            _fold_recording(asked.drive, folder, asked.codec)
        if asked.skewed:
            _skewed(asked.drive, folder)
            return
        if asked.town:
            if asked.map is None:
                fold_town(folder / "map.fold", Board(Path()), EXTENT_M, SEED)
            driven = TownDrives(SEED, EXTENT_M, asked.frames).events(0, 5)
            truth = [(event.time_s, pose) for event, pose in driven if isinstance(event, SweepEvent)]
            events: Iterator[Event] = itertools.chain((one for one, _ in driven), _fixes(truth))
        else:
            events = itertools.chain(kitti_events(asked.drive, cameras=False), _fixes(kitti_truth(asked.drive)))
        write_drive(folder / "folder", map(_in_nanoseconds, events))
        _measure(folder, asked.only or list(CONTAINERS))


def _in_nanoseconds(event: Event) -> Event:
    """The same at a time that ROS can say."""
    return replace(event, time_s=round(event.time_s * 1e9) / 1e9)


def _fold_recording(drive: Path, folder: Path, codec: str) -> None:
    given = str(drive / "sweeps"), "--poses", str(drive / "poses.txt")
    _run("build", "lidar", *given, "-o", str(folder / "map.tif"))
    _run("fold", str(folder / "map.tif"), "-o", str(folder / "map.fold"), "--codec", codec)


def _skewed(drive: Path, folder: Path) -> None:
    truth = dict(kitti_truth(drive))
    events = sorted([*kitti_events(drive, cameras=False), *_fixes(kitti_truth(drive))], key=lambda event: event.time_s)
    speeds = {event.time_s: event for event in events if isinstance(event, TwistEvent)}

    def seen(event: Event) -> Event:
        if not isinstance(event, SweepEvent) or not isinstance(event.sweep, Sweep):
            return event
        points, twist = event.sweep.points_sensor_m.astype(np.float64), speeds[event.time_s]
        after_s = _offsets_s(event)
        turn = after_s * (twist.yaw_rate_radps or 0.0)
        ahead = twist.ahead_mps * after_s
        x, y = points[:, 0] - ahead * np.cos(turn / 2), points[:, 1] - ahead * np.sin(turn / 2)
        cos, sin = np.cos(turn), np.sin(turn)
        moved = np.column_stack([cos * x + sin * y, cos * y - sin * x, points[:, 2]]).astype(np.float32)
        offsets[event.time_s] = after_s
        return SweepEvent(event.time_s, Sweep(moved, event.sweep.intensity))

    offsets: dict[float, DoubleArray] = {}
    write_bag(folder / "plain.mcap", events)
    write_bag(folder / "skewed.mcap", map(seen, events), offsets_s=lambda event: offsets[event.time_s])
    ways = {"as recorded": ("plain.mcap", True), "de-skewed": ("skewed.mcap", True), "skewed": ("skewed.mcap", False)}
    with open_map(folder / "map.fold") as town:
        for way, (name, deskew) in ways.items():
            options = BagOptions({"fix": ("/gnss/pose",)}, deskew=deskew)
            found = localize_drive(town, folder / name, bag=options)
            off = []
            for one in found.observations:
                if one.answered and one.name.startswith("sweep"):
                    at = truth[min(truth, key=lambda time_s: abs(time_s - one.time_s))]
                    off.append(float(np.hypot(one.estimate.pose.x_m - at.x_m, one.estimate.pose.y_m - at.y_m)))
            told = f"median {100 * np.median(off):.1f} cm, p95 {100 * np.percentile(off, 95):.1f} cm"
            print(f"{way}: {len(off)} sweeps answered, {told}, {found.told['deskewed']}", flush=True)


def _offsets_s(event: SweepEvent) -> DoubleArray:
    """When a lidar that turns at 10 Hz, ahead at the stamp, saw each point."""
    assert isinstance(event.sweep, Sweep)
    x, y, _ = event.sweep.points_sensor_m.astype(np.float64).T
    return np.asarray(np.arctan2(y, x) / (2 * np.pi) * 0.1)


def _fixes(truth: list[tuple[float, SE2]]) -> Iterator[Event]:
    rng = np.random.default_rng(4)
    for time_s, pose in truth[::FIX_EVERY]:
        east_m, north_m = rng.normal((pose.x_m, pose.y_m), FIX_SIGMA_M).tolist()
        yield FixEvent(time_s, east_m, north_m, FIX_SIGMA_M)


def _measure(folder: Path, containers: list[str]) -> None:
    opened_mb = _run("-c", f"import foldmap; foldmap.open({str(folder / 'map.fold')!r}).lidar_localizer()").peak_mb
    wanted: list[dict[str, Any]] = []
    for name, file in {"folder": "folder", **{name: CONTAINERS[name] for name in containers}}.items():
        bag = folder / file
        if name != "folder":
            write_bag(bag, read_drive(folder / "folder").events())
        fixes = name != "folder" and "fixes" in read_drive(folder / "folder").brings
        options = ("--topic", "fix=/gnss/pose") if fixes else ()
        run = folder / f"run {file}"
        run.mkdir()
        ran = _run("localize", str(folder / "map.fold"), str(bag), "-o", str(run), *options)
        rows = [json.loads(line) for line in (run / "estimates.txt.jsonl").read_text().splitlines()]
        wanted = wanted or rows
        driven_s = rows[-1]["time_s"] - rows[0]["time_s"]
        off, differ, answered = _compared(rows, wanted)
        print(
            f"{name}: {answered} of {len(rows)} answered, poses within {off:.1e} of the folder's, {differ} statuses "
            f"differ, {ran.cpu_s / driven_s:.2f} processor seconds a second, "
            f"{ran.peak_mb - opened_mb:.0f} MB over the map",
            flush=True,
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


def _run(*words: str) -> Ran:
    """Run the command, or Python."""
    return run_measured([sys.executable, *(words if words[0] == "-c" else ("-m", "foldmap", *words))], fine=(0, 1))


if __name__ == "__main__":
    main()
