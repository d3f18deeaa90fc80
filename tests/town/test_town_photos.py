"""Photographs of the town: exact depth and poses, the same bytes again, and scenes that localize."""

import math

import numpy as np
import poselib
import pytest

from benchmarks.journey.ring_scene import ring_scene
from foldmap.errors import ConfigError, MapInputError, PoseInputError
from foldmap.geometry import SE2, SE3
from foldmap.geometry.camera import Camera
from foldmap.localize.journey.events import OdometryEvent, SweepEvent
from foldmap.street.images.rig import surround_ring
from foldmap.town import TownWorld, build_lidar
from foldmap.town.camera.cast import GROUND, SKY, WALL
from foldmap.town.camera.photo_tracks import SeenImage, join_tracks
from foldmap.town.camera.render import Light, Optics, TownCamera
from foldmap.town.camera.ring_view import RingView
from foldmap.town.camera.visual_scene import TownPhotos, look_along, town_queries, town_scene
from foldmap.town.journey import town_events
from foldmap.visual.source import Features, SceneModel

CAMERA = Camera("PINHOLE", 240, 180, np.array([200.0, 190.0, 118.0, 92.0]))
PLAIN_LIGHT = Light(np.array([0.0, 0.6, 0.8]), 0.0, 0.8, 5)
CLEAN = Optics(1.0, 0.6, 0.0, 0.0)


def _place(world: TownWorld) -> tuple[np.ndarray, float]:
    street = max(world.streets_near(-60, -60, 60, 60), key=lambda s: s.length_m)
    place, tangent = street.frame_at(np.array([0.5 * street.length_m]))
    return place[0], math.atan2(tangent[0, 1], tangent[0, 0])


@pytest.fixture(scope="module")
def town() -> TownCamera:
    world = TownWorld(3)
    return TownCamera(world, _place(world)[0], 50.0)


@pytest.fixture(scope="module")
def ways(town: TownCamera) -> tuple[SE3, SE3]:
    place, heading = _place(town.world)
    across = np.array([-math.sin(heading), math.cos(heading)])
    return (
        look_along(place, 1.6, heading + 0.7, 0.05, 0.0),
        look_along(place + 0.7 * across, 1.75, heading + 0.85, 0.08, 0.02),
    )


def _lift(depth: np.ndarray, pose: SE3, step: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    row, col = (a.ravel() for a in np.mgrid[0 : CAMERA.height_px : step, 0 : CAMERA.width_px : step])
    z = depth[row, col].astype(np.float64)
    row, col, z = row[np.isfinite(z)], col[np.isfinite(z)], z[np.isfinite(z)]
    fx, fy, cx, cy = CAMERA.params
    local = np.column_stack([(col + 0.5 - cx) / fx * z, (row + 0.5 - cy) / fy * z, z])
    return pose.apply(local), row, col


def test_depth_and_colour_agree_between_two_views(town: TownCamera, ways: tuple[SE3, SE3]) -> None:
    a, b = (town.picture(CAMERA, way, 1, light=PLAIN_LIGHT, optics=CLEAN) for way in ways)
    points, row, col = _lift(a.depth_m, ways[0])
    local = ways[1].inverse().apply(points)
    fx, fy, cx, cy = CAMERA.params
    x, y = local[:, 0] / local[:, 2] * fx + cx, local[:, 1] / local[:, 2] * fy + cy
    inside = (local[:, 2] > 0.3) & (x > 1) & (y > 1) & (x < CAMERA.width_px - 1) & (y < CAMERA.height_px - 1)
    seen = b.depth_m[y[inside].astype(int), x[inside].astype(int)]
    share = np.abs(seen / local[inside, 2] - 1.0)
    assert inside.sum() > 1000
    assert np.mean(share < 0.03) > 0.9  # the rest is hidden in the other view
    alike = share < 0.03
    there = b.image[y[inside].astype(int), x[inside].astype(int)].astype(float)[alike]
    here = a.image[row, col].astype(float)[inside][alike]
    assert np.corrcoef(here, there)[0, 1] > 0.8
    assert np.median(np.abs(here - there)) < 8


def test_ground_depth_is_that_of_a_plane(town: TownCamera, ways: tuple[SE3, SE3]) -> None:
    picture = town.picture(CAMERA, ways[0], 1, light=PLAIN_LIGHT, optics=CLEAN)
    points, row, col = _lift(picture.depth_m, ways[0], 1)
    kind = picture.kind[row, col]
    height = points[kind == GROUND, 2]
    assert np.all((height > -1e-4) & (height < 0.1201))
    assert np.mean((np.abs(height) < 1e-4) | (np.abs(height - 0.12) < 1e-4)) > 0.95  # the rest is kerb
    assert (kind == WALL).sum() > 500
    # where a wall is seen the town has something standing, and nothing just before it
    wall = points[kind == WALL][::37]
    away = wall[:, :2] - ways[0].translation_m[:2]
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    from foldmap.town.camera.surfaces import height_at

    near = town._near
    behind = np.array([height_at(*(p[:2] + 0.15 * d), near) for p, d in zip(wall, away, strict=True)])
    before = np.array([height_at(*(p[:2] - 0.15 * d), near) for p, d in zip(wall, away, strict=True)])
    assert np.mean(behind >= wall[:, 2] - 0.01) > 0.93
    assert np.mean(before < wall[:, 2]) > 0.93


def test_pictures_repeat_and_days_differ(town: TownCamera, ways: tuple[SE3, SE3]) -> None:
    first = town.picture(CAMERA, ways[0], 4, shot_seed=2)
    again = TownCamera(TownWorld(3), _place(town.world)[0], 50.0).picture(CAMERA, ways[0], 4, shot_seed=2)
    assert first.image.tobytes() == again.image.tobytes()
    assert first.depth_m.tobytes() == again.depth_m.tobytes()
    other = town.picture(CAMERA, ways[0], 5, shot_seed=2)
    assert np.mean(other.image != first.image) > 0.5
    assert first.image.std() > 15
    colour = town.picture(CAMERA, ways[0], 4, shot_seed=2, colour=True).image
    assert colour.shape == (180, 240, 3)
    assert np.isinf(first.depth_m[first.kind == SKY]).all()


def test_cameras_that_cannot_be_are_refused(town: TownCamera, ways: tuple[SE3, SE3]) -> None:
    bent = Camera("SIMPLE_RADIAL", 64, 48, np.array([50.0, 32, 24, 0.1]))
    with pytest.raises(ConfigError, match="PINHOLE"):
        town.picture(bent, ways[0])
    place, heading = _place(town.world)
    with pytest.raises(PoseInputError, match="ground"):
        town.picture(CAMERA, look_along(place, 0.0, heading, 0.0, 0.0))
    with pytest.raises(PoseInputError, match="inside"):
        town.picture(CAMERA, look_along(place + 400.0, 1.6, heading, 0.0, 0.0))
    with pytest.raises(ConfigError, match="positive"):
        TownPhotos(1, 0)


def test_frames_of_a_ring_along_a_way_make_a_scene() -> None:
    pytest.importorskip("pycolmap")
    from foldmap.visual.features.extract import open_extractor

    world, ring = TownWorld(3), surround_ring((0.0, 40.0), (240, 180))
    place, heading = _place(world)
    ahead = np.array([math.cos(heading), math.sin(heading)])
    way = [SE2(*map(float, place + 0.7 * k * ahead), heading) for k in range(4)]
    view = RingView(world, ring, 1)
    made = ring_scene(view, way, open_extractor("sift").extract, "sift")
    assert made.image_names[0] == "camera_0/0000.png"
    assert made.metric
    assert len(made.points_world) > 50
    for name, pose in zip(made.image_names, made.camera_SE3_world, strict=True):
        camera, number = name.split("/")
        rig = ring.vehicle_SE3_camera[ring.names.index(camera)]
        assert np.allclose(np.linalg.inv(pose), SE3.from_se2(way[int(number[:4])]).matrix @ rig)
    # the points lie where the picture's own depth is
    picture, world_SE3_camera = view.pictures(way[0])[0] or pytest.fail("the camera has no picture")
    local = world_SE3_camera.inverse().apply(made.points_world)
    xy = ring.cameras[0].project(local)
    with np.errstate(invalid="ignore"):
        seen = (xy > 2).all(1) & (xy < (238, 178)).all(1)
    depth = picture.depth_m[xy[seen, 1].astype(int), xy[seen, 0].astype(int)]
    assert (np.abs(depth - local[seen, 2]) < 0.05 * local[seen, 2]).mean() > 0.7
    with pytest.raises(ConfigError, match="pinholes"):
        RingView(world, surround_ring((0.0,), distortion=(0.1,)), 1)


@pytest.fixture(scope="module")
def photos() -> TownPhotos:
    return TownPhotos(2, 20, 4, (320, 240))


@pytest.fixture(scope="module")
def scene(photos: TownPhotos) -> SceneModel:
    pytest.importorskip("pycolmap")
    from foldmap.visual.features.extract import open_extractor

    return town_scene(photos, open_extractor("sift").extract)


def test_scene_reprojects(photos: TownPhotos, scene: SceneModel) -> None:
    assert len(scene.points_world) > 300
    assert np.diff(scene.track_first).min() >= 3
    pose = scene.camera_SE3_world[scene.tracks.image]
    local = np.einsum("nij,nj->ni", pose[:, :3, :3], scene.points_world[scene.tracks.point]) + pose[:, :3, 3]
    projected = local[:, :2] / local[:, 2:] * photos.camera.focal_px + photos.camera.centre_px
    error = np.linalg.norm(projected - scene.tracks.xy_px, axis=1)
    assert np.median(error) < 0.8
    assert error.max() < 4.0
    # true depth at an observation, which triangulation only started from
    first = scene.track_first[:-1]
    xy, image = scene.tracks.xy_px[first].astype(int), scene.tracks.image[first]
    true = np.array([photos.map_photos[i].picture.depth_m[v, u] for i, (u, v) in zip(image, xy, strict=True)])
    assert np.median(np.abs(local[first, 2] / true - 1)) < 0.01


def test_queries_of_another_day_give_the_true_pose(photos: TownPhotos, scene: SceneModel) -> None:
    from foldmap.visual.features.extract import open_extractor

    described = scene.tracks.descriptors
    assert described is not None
    away, turned = [], []
    for query, true in town_queries(photos, open_extractor("sift").extract):
        alike = query.features.descriptors.astype(np.float32) @ described.astype(np.float32).T
        best = alike.argmax(axis=1)
        sure = alike.max(axis=1) > 0.9 * 512**2
        pose, _ = poselib.estimate_absolute_pose(
            query.features.xy_px[sure].astype(np.float64),
            scene.points_world[scene.tracks.point[best[sure]]],
            {"model": "PINHOLE", "width": 320, "height": 240, "params": list(query.camera.params)},
            {"max_reproj_error": 4.0, "seed": 1},
            {},
        )
        centre = -pose.R.T @ pose.t
        away.append(np.linalg.norm(centre + true[:3, :3].T @ true[:3, 3]))
        turned.append(math.degrees(math.acos(min(1.0, (np.trace(pose.R @ true[:3, :3].T) - 1) / 2))))
    assert np.median(away) < 0.05
    assert max(away) < 0.3
    assert max(turned) < 1.0


def test_a_lone_photograph_makes_no_scene(photos: TownPhotos) -> None:
    photo = photos.map_photos[0]
    features = Features(np.array([[50.5, 200.5]], np.float32), np.full((1, 128), 9, np.uint8))
    seen = SeenImage(features, photo.picture.depth_m, photo.picture.kind, photo.world_SE3_camera)
    with pytest.raises(MapInputError, match="three photographs"):
        join_tracks([seen], photos.camera)


def test_where_no_camera_can_stand_there_is_no_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as beside a parked van; the drive goes on without that frame."""
    world = TownWorld(3)
    (x_m, y_m), heading = _place(world)
    ahead = np.array([math.cos(heading), math.sin(heading)])
    path_m = np.array([x_m, y_m]) + np.arange(0.0, 6.0, 0.5)[:, None] * ahead
    monkeypatch.setattr(TownCamera, "is_open", lambda *_: False)
    view = RingView(world, surround_ring((0.0, 40.0), (240, 180)), 1)
    assert view(SE2(float(x_m), float(y_m), heading)) is None
    sensor = build_lidar("spinning64", np.random.default_rng(0))
    kinds = {type(event) for event, _ in town_events(world, path_m, 1, sensor, view, frame_every=1)}
    assert kinds == {OdometryEvent, SweepEvent}
