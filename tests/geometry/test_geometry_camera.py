"""Cameras against pycolmap's, against themselves, and at the edges of their fields of view."""

import numpy as np
import pytest

from foldmap.errors import MapInputError
from foldmap.geometry import CAMERA_MODELS, SE3, Camera
from foldmap.geometry.camera import require_plausible

LENSES = {
    "SIMPLE_PINHOLE": [520.0, 320, 240],
    "PINHOLE": [520.0, 530, 320, 240],
    "SIMPLE_RADIAL": [520.0, 320, 240, -0.12],
    "RADIAL": [520.0, 320, 240, -0.12, 0.03],
    "OPENCV": [520.0, 530, 321, 239, -0.11, 0.04, 0.003, -0.002],
    "FULL_OPENCV": [520.0, 530, 321, 239, -0.11, 0.04, 0.003, -0.002, 0.01, 0.02, -0.01, 0.003],
    "OPENCV_FISHEYE": [300.0, 305, 320, 240, 0.02, -0.01, 0.003, -0.0004],
    "SIMPLE_RADIAL_FISHEYE": [300.0, 320, 240, -0.04],
    "RADIAL_FISHEYE": [300.0, 320, 240, -0.04, 0.006],
}


def camera_of(model: str) -> Camera:
    return Camera(model, 640, 480, np.array(LENSES[model]))


def pixels(count: int = 500) -> np.ndarray:
    spread = np.random.default_rng(3).uniform((0, 0), (640, 480), (count, 2))
    corners = [(0, 0), (640, 0), (0, 480), (640, 480), (320, 240), (320.5, 240)]
    return np.concatenate([corners, spread])


def test_every_model_is_tested() -> None:
    assert set(LENSES) == set(CAMERA_MODELS)


@pytest.mark.parametrize("model", CAMERA_MODELS)
def test_project_as_pycolmap(model: str) -> None:
    pycolmap = pytest.importorskip("pycolmap")
    reference = pycolmap.Camera(model=model, width=640, height=480, params=LENSES[model])
    points = np.random.default_rng(1).uniform((-2, -2, -1), (2, 2, 4), (2000, 3))
    ours, theirs = camera_of(model).project(points), reference.img_from_cam(points)
    assert np.isnan(ours).any()
    assert np.array_equal(np.isnan(ours), np.isnan(theirs))
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("model", CAMERA_MODELS)
def test_unproject_as_pycolmap(model: str) -> None:
    pycolmap = pytest.importorskip("pycolmap")
    reference = pycolmap.Camera(model=model, width=640, height=480, params=LENSES[model])
    ours, theirs = camera_of(model).unproject(pixels()), reference.cam_from_img(pixels())
    assert not np.isnan(theirs).any()
    np.testing.assert_allclose(ours, theirs, atol=1e-8)


@pytest.mark.parametrize("model", CAMERA_MODELS)
def test_unproject_inverts_project(model: str) -> None:
    camera = camera_of(model)
    rays = camera.unproject(pixels())
    depth = np.random.default_rng(2).uniform(0.1, 50, (len(rays), 1))
    back = camera.project(np.concatenate([rays, np.ones((len(rays), 1))], axis=1) * depth)
    np.testing.assert_allclose(back, pixels(), atol=1e-6)


def test_the_axis_of_a_fisheye_and_its_theorem() -> None:
    # an ideal equidistant fisheye: distance from the centre is focal length times the angle off the axis
    camera = Camera("SIMPLE_RADIAL_FISHEYE", 640, 480, np.array([200.0, 320, 240, 0.0]))
    angles = np.radians([0, 10, 45, 80, 89])
    points = np.stack([np.sin(angles), np.zeros(5), np.cos(angles)], axis=1)
    np.testing.assert_allclose(camera.project(points)[:, 0] - 320, 200 * angles, atol=1e-9)
    np.testing.assert_allclose(camera.unproject(camera.project(points))[:, 0], np.tan(angles), rtol=1e-7, atol=1e-9)


def test_no_ray_where_none_is_imaged() -> None:
    # u (1 - 0.3 u^2) has its maximum 0.7027 at u = 1.0541: pixels beyond 702.7 px from the centre show nothing
    barrel = Camera("SIMPLE_RADIAL", 4000, 3000, np.array([1000.0, 2000, 1500, -0.3]))
    edge_px = 2 / 3 / np.sqrt(0.9) * 1000
    beside = np.array([[2000 + edge_px - 0.1, 1500], [2000 + edge_px + 0.1, 1500], [4000, 3000], [np.nan, 0]])
    rays = barrel.unproject(beside)
    assert 1.03 < rays[0, 0] < 1.0541
    assert np.isnan(rays[1:]).all()
    fisheye = Camera("OPENCV_FISHEYE", 1000, 1000, np.array([200.0, 200, 500, 500, 0, 0, 0, 0]))
    at = np.array([[500 + 200 * np.radians(89.9), 500], [500 + 200 * np.radians(90.1), 500]])
    rays = fisheye.unproject(at)
    assert rays[0, 0] == pytest.approx(np.tan(np.radians(89.9)), rel=1e-6)
    assert np.isnan(rays[1]).all()


def test_none_at_all() -> None:
    for model in CAMERA_MODELS:
        assert camera_of(model).project(np.empty((0, 3))).shape == (0, 2)
        assert camera_of(model).unproject(np.empty((0, 2))).shape == (0, 2)


def test_distortion_is_what_follows_the_centre() -> None:
    assert camera_of("PINHOLE").distortion.tolist() == []
    assert camera_of("RADIAL").distortion.tolist() == [-0.12, 0.03]
    assert camera_of("OPENCV").distortion.tolist() == [-0.11, 0.04, 0.003, -0.002]
    assert camera_of("OPENCV").focal_px == (520, 530)
    assert camera_of("RADIAL").centre_px == (320, 240)


@pytest.mark.parametrize(
    ("model", "size", "params", "words"),
    [
        ("FOV", (640, 480), [1, 2, 3, 4, 5], "'FOV' is not known"),
        ("PINHOLE", (640, 480), [], "0 parameters, not 4"),
        ("PINHOLE", (640, 480), [500, 0, 320, 240], "parameters"),
        ("SIMPLE_RADIAL", (640, 480), [np.nan, 320, 240, 0], "parameters"),
        ("SIMPLE_RADIAL", (0, 480), [500, 320, 240, 0], "0 x 480 px"),
    ],
)
def test_impossible_cameras(model: str, size: tuple[int, int], params: list[float], words: str) -> None:
    with pytest.raises(MapInputError, match=words):
        Camera(model, *size, np.array(params, dtype=float))


def test_points_of_the_world_through_a_pose() -> None:
    # by hand: (1, 0, 0) lies at (1, 2, 4) in this camera's frame
    camera_SE3_world = SE3(np.array([[0.0, -1, 0, 1], [0, 0, -1, 2], [1, 0, 0, 3]]))
    xy = camera_of("SIMPLE_PINHOLE").project(camera_SE3_world.apply(np.array([[1.0, 0, 0]])))
    np.testing.assert_allclose(xy, [[320 + 520 / 4, 240 + 520 * 2 / 4]])


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ([500.0, 320, 500, 240], "these are fx cx fy cy: write 500 500 320 240"),
        ([35.0, 35, 320, 240], "in px, not in mm"),
        ([500.0, 500, 640.5, 240], "lies outside"),
        ([500.0, 375, 320, 180], ""),  # made less high
        ([500.0, 500, 500, 240], ""),  # cut out of a larger image
    ],
)
def test_parameters_that_can_be(params: list[float], said: str) -> None:
    camera = Camera("PINHOLE", 640, 480, np.array(params))
    if not said:
        require_plausible(camera)
        return
    with pytest.raises(MapInputError) as caught:
        require_plausible(camera)
    assert said in str(caught.value)
