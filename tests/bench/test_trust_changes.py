"""What hostile queries do to photos, sweeps and drives, against projection, geometry and counts of their own."""

import numpy as np
import pytest

from foldmap.bench.trust import photo_changes as photos
from foldmap.bench.trust import sweep_changes as sweeps
from foldmap.bench.trust.answers import Expect
from foldmap.bench.trust.photo_changes import Shot
from foldmap.bench.trust.streets import turned
from foldmap.geometry.camera import Camera
from foldmap.lidar.observation import Observation
from foldmap.lidar.source import Sweep
from foldmap.street.images.observation import AerialCrop

CAMERAS = [
    Camera("SIMPLE_RADIAL", 160, 120, np.array([150.0, 83.0, 57.0, -0.1])),
    Camera("PINHOLE", 160, 120, np.array([150.0, 140.0, 83.0, 57.0])),
    Camera("OPENCV", 160, 120, np.array([150.0, 140.0, 83.0, 57.0, -0.1, 0.02, 0.01, -0.02])),
    Camera("OPENCV_FISHEYE", 160, 120, np.array([150.0, 140.0, 83.0, 57.0, -0.1, 0.02, 0.0, 0.0])),
]


def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def shot(camera: Camera = CAMERAS[1]) -> Shot:
    """A photo of noise whose camera looks a little down."""
    pose = np.eye(4)
    pose[:3, :3] = np.array([[1, 0, 0], [0, np.cos(0.2), -np.sin(0.2)], [0, np.sin(0.2), np.cos(0.2)]])
    pose[:3, 3] = 0.1, -0.2, 0.5
    image = rng().integers(0, 256, (camera.height_px, camera.width_px, 3)).astype(np.uint8)
    return Shot(image, camera, pose)


@pytest.mark.parametrize("camera", CAMERAS, ids=lambda camera: camera.model)
@pytest.mark.parametrize("quarters", [1, 2])
def test_a_turned_photo_shows_each_point_where_its_camera_puts_it(camera: Camera, quarters: int) -> None:
    before = shot(camera)
    after = photos.turned(before, rng(), quarters)
    points = np.column_stack([rng().uniform(-0.8, 0.8, (50, 2)), rng().uniform(2, 4, 50)])

    def seen(one: Shot) -> np.ndarray:
        assert one.camera_SE3_world is not None
        return one.camera.project(points @ one.camera_SE3_world[:3, :3].T + one.camera_SE3_world[:3, 3])

    x, y = seen(before).T
    for height in (120, 160)[:quarters]:  # a quarter clockwise: what was at the top is at the right
        x, y = height - y, x
    assert seen(after) == pytest.approx(np.column_stack([x, y]), abs=1e-6)
    assert np.array_equal(after.image, np.rot90(before.image, -quarters))


def test_each_kind_is_what_its_name_says() -> None:
    by_name = {kind.name: kind for kind in photos.KINDS}
    assert len(by_name) == len(photos.KINDS)
    taken = shot()
    made = {name: kind.change(taken, rng()) for name, kind in by_name.items()}
    assert made["focal +25 %"].camera.params == pytest.approx([187.5, 175.0, 83.0, 57.0])
    assert made["focal -5 %"].camera.focal_px[0] == pytest.approx(142.5)
    moved = np.subtract(made["moved lens"].camera.centre_px, taken.camera.centre_px)
    assert np.hypot(*moved) == pytest.approx(16.0)
    assert np.array_equal(made["mirrored"].image[:, ::-1], taken.image)
    assert np.array_equal(np.sort(made["shuffled blocks"].image, None), np.sort(taken.image, None))
    assert not np.array_equal(made["shuffled blocks"].image, taken.image)
    assert made["half as bright"].image.mean() == pytest.approx(taken.image.mean() / 2, abs=1)
    assert made["very dark"].image.mean() < 10
    assert made["half covered"].image.std() < 0.8 * taken.image.std()
    assert made["cropped, old camera"].image.shape == taken.image.shape
    assert made["blurred, sigma 2"].image.std() < 0.3 * taken.image.std()
    for name, kind in by_name.items():
        again = kind.change(taken, rng())
        assert np.array_equal(again.image, made[name].image)
        assert (kind.expect is Expect.REFUSED) == (made[name].camera_SE3_world is None)
        assert kind.new_image or np.array_equal(made[name].image, taken.image)


def rings() -> Sweep:
    """Eight rings of a spinning lidar over flat ground."""
    azimuth, down = np.meshgrid(np.linspace(-np.pi, np.pi, 90, endpoint=False), np.radians(np.arange(4.1, 20, 2)))
    range_m = 1.7 / np.tan(down)
    points = np.stack([range_m * np.cos(azimuth), range_m * np.sin(azimuth), np.full_like(range_m, -1.7)], -1)
    points = points.reshape(-1, 3).astype(np.float32)
    return Sweep(points, rng().uniform(0, 1, len(points)).astype(np.float32))


def test_sweeps_keep_what_their_change_keeps() -> None:
    sweep = rings()
    assert len(np.unique(sweeps.rings_of(sweep.points_sensor_m))) == 8
    level = np.hypot(*sweep.points_sensor_m[:, :2].T)
    scrambled = sweeps.scrambled_rings(sweep, rng()).points_sensor_m
    assert np.hypot(*scrambled[:, :2].T) == pytest.approx(level, rel=1e-5)
    assert scrambled[:, 2] == pytest.approx(sweep.points_sensor_m[:, 2])
    turn = np.arctan2(*scrambled[:, 1::-1].T) - np.arctan2(*sweep.points_sensor_m[:, 1::-1].T)
    assert np.unique(np.round(np.exp(1j * turn), 3)).size == 8
    tilted = sweeps.tilted(sweep, rng()).points_sensor_m
    assert np.linalg.norm(tilted, axis=1) == pytest.approx(np.linalg.norm(sweep.points_sensor_m, axis=1), rel=1e-5)
    normal = np.linalg.svd(tilted - tilted.mean(0))[2][2]
    assert np.degrees(np.arccos(abs(normal[2]))) == pytest.approx(5.0, abs=0.01)
    assert len(sweeps.other_lidar(sweep, rng()).intensity) == len(sweep.intensity) // 2
    assert len(sweeps.half_covered(sweep, rng()).intensity) == pytest.approx(len(sweep.intensity) / 2, rel=0.1)
    assert sweeps.mirrored(sweep, rng()).points_sensor_m[:, 1] == pytest.approx(-sweep.points_sensor_m[:, 1])


def test_half_of_the_ground_is_repainted_in_patches() -> None:
    shape = 240, 300
    drawn = Observation(rng().uniform(0.1, 1, shape).astype(np.float32), np.ones(shape, bool), 0.1)
    changed = sweeps.repainted(drawn, rng()).intensity != drawn.intensity
    patches = changed.reshape(6, 40, -1)[:, :, :280].reshape(6, 40, 7, 40).mean((1, 3))
    assert set(np.round(patches.ravel(), 2)) <= {0.0, 1.0}
    assert 0.3 < changed.mean() < 0.7


def test_a_drive_is_turned_alike() -> None:
    image = rng().integers(0, 256, (40, 40, 3)).astype(np.uint8)
    assert np.array_equal(turned(AerialCrop(image), 1).image, np.rot90(image))
