"""The recorded street as events: dead reckoning of its twists stays near the truth; skipped where it is missing."""

import math
import os
from pathlib import Path

import pytest

from benchmarks.journey.kitti import kitti_events, kitti_ring, kitti_truth
from foldmap.localize.journey.events import CameraEvent, SweepEvent, TwistEvent
from foldmap.localize.journey.moving import Moving, distance_m

ROOT = Path(os.environ.get("FOLDMAP_SHARED", Path(__file__).parents[3] / "shared"))
DRIVE = ROOT / "data" / "joint" / "kitti-drive0001"

pytestmark = pytest.mark.skipif(not DRIVE.is_dir(), reason=f"no recording at {DRIVE}")


def test_twists_follow_the_truth() -> None:
    truth, moving = kitti_truth(DRIVE), Moving()
    frames = range(40)
    first, found = truth[0][1], []
    for event in kitti_events(DRIVE, frames[:3]):
        found.append(event)
    assert [type(one) for one in found[:3]] == [TwistEvent, CameraEvent, SweepEvent]
    assert len(found[1].frame.images) == len(kitti_ring(DRIVE)) == 3
    assert len(found[2].sweep.points_sensor_m) > 10_000
    from benchmarks.journey.kitti import _rows

    rows = _rows(DRIVE)
    for k in frames:
        turned = math.remainder(float(rows[k + 1]["yaw_rad"]) - float(rows[k]["yaw_rad"]), math.tau)
        dt_s = truth[k + 1][0] - truth[k][0]
        moving.add(TwistEvent(truth[k][0], float(rows[k]["speed_m_s"]), turned / dt_s))
    reached = first @ moving.at(truth[40][0])[0]
    driven_m = distance_m(first, truth[40][1])
    assert driven_m > 30.0
    assert distance_m(reached, truth[40][1]) < 0.03 * driven_m
