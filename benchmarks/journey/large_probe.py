"""A file opened and localized in by a process that does nothing else: FILE SEEN.npz; prints what that took as JSON."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import numpy as np

import foldmap
from benchmarks.processes import own_peak_mb


def main() -> None:
    """Measure and print."""
    path, shown = map(Path, sys.argv[1:])
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    town = foldmap.open(path)
    open_s, open_cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    from foldmap.geometry import SE2  # what is needed for driving alone is loaded after opening
    from foldmap.lidar.observation import Observation

    localizer, seen, right = town.lidar_localizer(), np.load(shown), 0
    observation = Observation(seen["intensity"], seen["observed"], float(seen["resolution_m"]))
    for x_m, y_m, heading_rad in seen["places"]:
        found = localizer.localize(observation, SE2(x_m + 0.3, y_m - 0.2, heading_rad)).pose
        right += found is not None and float(np.hypot(found.x_m - x_m, found.y_m - y_m)) < 0.2
    told = {
        "open_s": open_s,
        "open_cpu_s": open_cpu_s,
        "open_mb": pages * os.sysconf("SC_PAGE_SIZE") / 2**20,
        "peak_mb": own_peak_mb(),
        "right": right,
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
