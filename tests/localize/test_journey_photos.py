"""The journey with photos: found by one, fused with lidar, without lidar, and photos of elsewhere."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from journey_town import PERIOD_S, Town, drive_of, events_of, off_m

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "visual"))

from point_shell import photo
from test_visual_localizer import Points

from foldmap.geometry import SE2, SE3
from foldmap.geometry.quaternion import inverse_rigid
from foldmap.localize.estimate import Status
from foldmap.localize.evidence import MapCalibration
from foldmap.localize.journey.estimate import JourneyEstimate
from foldmap.localize.journey.events import CameraEvent, Event
from foldmap.localize.journey.journey import Journey
from foldmap.localize.journey.senses import Layers, Senses
from foldmap.localize.tail import Tail
from foldmap.localize.visual.localizer import EVIDENCE, VisualLocalizer
from foldmap.street.images.observation import RingFrame
from foldmap.street.images.rig import surround_ring
from foldmap.visual.source import Features, unit_descriptors

FRAMES, EVERY = 20, 5
RING = surround_ring((0.0, 60.0, -60.0))
CALIBRATED = MapCalibration({EVIDENCE: Tail(8.0, 1.0, 0.1, 40)})  # what chance reaches in such maps


@pytest.fixture(scope="module")
def poses(town: Town) -> list[SE2]:
    return drive_of(town, FRAMES, 1)


def points_along(poses: list[SE2], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Points 4 to 25 m from the way, up to 8 m high, each with a look of its own."""
    rng = np.random.default_rng(seed)
    at = np.array([(one.x_m, one.y_m) for one in poses])
    places = at[rng.integers(len(at), size=3000)] + rng.uniform(-25, 25, (3000, 2))
    apart = np.hypot(*(places[:, None] - at[None]).T).min(axis=0)
    places = places[apart > 4.0][:1500]
    points = np.column_stack([places, rng.uniform(0, 8, len(places))])
    return points, unit_descriptors(rng.normal(size=(len(points), 32)))


def photographed(poses: list[SE2], points: np.ndarray, looks: np.ndarray, seed: int) -> Iterator[Event]:
    """A frame of three photos at every fifth pose."""
    for k in range(0, len(poses), EVERY):
        vehicle_SE3_world = SE3.from_se2(poses[k]).inverse().matrix
        rigs = [inverse_rigid(pose) for pose in RING.vehicle_SE3_camera]
        queries = [
            photo(points, looks, rig @ vehicle_SE3_world, 100 * seed + 10 * k + n, camera, rig=rig)[0]
            for n, (rig, camera) in enumerate(zip(rigs, RING.cameras, strict=True))
        ]
        yield CameraEvent(PERIOD_S * k, None, tuple(queries))


def driven(
    town: Town, layers: Layers, poses: list[SE2], photos: Iterator[Event]
) -> list[tuple[Event, JourneyEstimate, SE2]]:
    others = (event for event in events_of(town, poses, 1) if not isinstance(event, CameraEvent))
    told = Journey(layers).run(sorted(itertools.chain(others, photos), key=lambda event: event.time_s))
    return [(event, one, poses[round(event.time_s / PERIOD_S)]) for event, one in told]


def map_of(points: np.ndarray, looks: np.ndarray) -> VisualLocalizer:
    return VisualLocalizer(Points(points, looks), calibration=CALIBRATED)


def layers_of(town: Town, visual: VisualLocalizer, lidar: bool = True) -> Layers:
    return Layers(town.layers(street=False).lidar if lidar else None, visual)


def test_a_photo_finds_the_place_and_lidar_goes_on_from_there(town: Town) -> None:
    poses = drive_of(town, 2 * FRAMES, 1)
    points, looks = points_along(poses, 1)
    told = driven(town, layers_of(town, map_of(points, looks)), poses, photographed(poses, points, looks, 1))
    ok = [(event, one, true) for event, one, true in told if one.status is Status.OK]
    assert ok[0][0].time_s <= 0.5
    assert all(off_m(one.pose, true) < 0.3 for _, one, true in ok if one.pose is not None)
    late = [one for event, one, _ in told if event.time_s > 1.0]
    assert sum(one.status is Status.OK for one in late) >= 0.9 * len(late)
    frames = [(event.time_s, one, true) for event, one, true in ok if isinstance(event, CameraEvent)]
    looked = [(time_s, one, true) for time_s, one, true in frames if one.diagnostics.layers["visual"].age_s == 0]
    # while lidar is sure photos are looked at once a second, and nothing is lost by those that are not
    assert np.diff([time_s for time_s, _, _ in looked]).tolist() == pytest.approx([1.0] * (len(looked) - 1))
    assert len(looked) >= 3
    seen = [(one, true) for _, one, true in looked]
    assert {one.diagnostics.spoke for one, _ in seen} == {("lidar", "visual")}
    assert all(off_m(one.pose, true) < 0.3 for _, one, true in frames if one.pose is not None)
    for one, true in seen:
        assert one.pose is not None
        assert off_m(one.pose, true) < 0.05
        assert abs(math.remainder(one.pose.heading_rad - true.heading_rad, math.tau)) < math.radians(0.5)
        d = one.diagnostics
        assert d.z_m == pytest.approx(0.0, abs=0.1)
        assert (d.roll_rad, d.pitch_rad) == pytest.approx((0.0, 0.0), abs=0.01)


def test_photos_and_odometry_alone(town: Town, poses: list[SE2]) -> None:
    points, looks = points_along(poses, 2)
    told = driven(town, layers_of(town, map_of(points, looks), False), poses, photographed(poses, points, looks, 2))
    assert told
    ok = [(one, true) for _, one, true in told if one.status is Status.OK]
    assert len(ok) >= 3
    assert all(off_m(one.pose, true) < 0.1 for one, true in ok if one.pose is not None)


def test_photos_of_elsewhere_are_never_believed(town: Town, poses: list[SE2]) -> None:
    points, looks = points_along(poses, 3)
    other = points_along(poses, 4)
    told = driven(town, layers_of(town, map_of(points, looks), False), poses, photographed(poses, *other, 3))
    assert {one.status for _, one, _ in told} <= {Status.NO_MATCH, Status.AMBIGUOUS, Status.NO_OBSERVATION}


def test_a_camera_that_contradicts_lidar_takes_its_ok(town: Town, poses: list[SE2]) -> None:
    points, looks = points_along(poses, 5)
    moved = points + np.array([0.0, 2.0, 0.0])  # the map of photos lies two metres off that of lidar
    told = driven(town, layers_of(town, map_of(moved, looks)), poses, photographed(poses, points, looks, 5))
    both = [one for event, one, _ in told if isinstance(event, CameraEvent) and one.diagnostics.phase == "track"]
    assert Status.OK not in {one.status for one in both[1:]}


def test_lidar_looks_where_an_unsure_photo_points(town: Town, poses: list[SE2]) -> None:
    points, looks = points_along(poses, 6)
    unsure = VisualLocalizer(Points(points, looks))  # not calibrated: degraded at best
    told = driven(town, layers_of(town, unsure), poses, photographed(poses, points, looks, 6))
    frames = [one for event, one, _ in told if isinstance(event, CameraEvent)]
    assert frames[0].diagnostics.layers["visual"].status == Status.DEGRADED.value
    ok = [(event.time_s, off_m(one.pose, true)) for event, one, true in told if one.status is Status.OK]
    assert ok[0][0] <= 1.0
    assert max(apart for _, apart in ok) < 0.3
    assert all("visual" not in one.diagnostics.spoke for _, one, _ in told)


def test_photos_of_half_the_calibrated_size_are_looked_at_with_the_camera_of_that_size() -> None:
    """They were passed over without a word; pixels of a point are half of what they are in the whole image."""
    height, width = RING.cameras[0].height_px // 2, RING.cameras[0].width_px // 2
    images = (np.zeros((height, width, 3), np.uint8), None, None)
    senses = Senses(
        Layers(extract=lambda image: Features(np.zeros((0, 2), np.float32), np.zeros((0, 8), np.float32))), 5
    )
    (query,) = senses.queries(CameraEvent(0.0, RingFrame(RING, images)), 3)
    points = np.random.default_rng(0).uniform([-2, -1, 4], [2, 1, 9], (20, 3))
    assert (query.camera.width_px, query.camera.height_px) == (width, height)
    np.testing.assert_allclose(query.camera.project(points), RING.cameras[0].project(points) / 2)
