"""What the folder of a run has beside its estimates: the poses in the formats of other tools."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from foldmap.api.results import csv_text, last_of_moments
from foldmap.atlas.whole import write_whole
from foldmap.errors import MissingExtraError
from foldmap.formats.listing import write_lines
from foldmap.formats.sweeps.kitti import write_kitti_poses
from foldmap.geometry import SE3

if TYPE_CHECKING:
    from foldmap.api.localizing_drives import LocalizedDrive


def write_run(folder: Path, found: LocalizedDrive) -> list[str]:
    """Write ``estimates.csv``, ``kitti.txt`` with ``kitti_times.txt``, ``poses.mcap``, and ``geopose.jsonl``.

    KITTI rows and GeoPoses are of what was answered alone, one a moment (`last_of_moments`). GeoPose needs a map
    with a crs, MCAP foldmap[bags]; notes say what was not written.
    """
    from foldmap.formats.bags.poses import TimedAnswer, write_poses
    from foldmap.formats.poses.geopose import geopose_lines

    notes: list[str] = []
    write_whole(folder / "estimates.csv", csv_text(found.observations))
    answered = last_of_moments(found.observations)
    write_kitti_poses(folder / "kitti.txt", [SE3.from_se2(one.estimate.pose, one.z_m) for one in answered])
    write_lines(folder / "kitti_times.txt", [one.time for one in answered])
    if found.crs:
        poses = [one.estimate.pose for one in answered]
        write_lines(folder / "geopose.jsonl", geopose_lines([float(one.time) for one in answered], poses, found.crs))
    answers = [TimedAnswer(int(Decimal(one.time) * 10**9), one.estimate) for one in found.observations]
    try:
        write_poses(folder / "poses.mcap", answers, found.base_frame)
    except MissingExtraError as error:
        notes.append(f"poses.mcap is not written: {error.message} ({error.cure})")
    return notes
