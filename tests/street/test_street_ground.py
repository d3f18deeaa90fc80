"""Cameras and flat ground, both ways, against analytic places, SciPy's interpolation and each other."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates

from foldmap.errors import ConfigError, MapInputError
from foldmap.geometry import SE2, Camera, MetricGrid
from foldmap.street.graph.window import AROUND, FRONTAL, Window
from foldmap.street.images.ground import GroundView, main_axes, project_from_vehicle
from foldmap.street.images.ground_image import GroundImage, window_points_m
from foldmap.street.images.ground_warp import NEUTRAL, RingWarp, ground_of_pixels
from foldmap.street.images.observation import RingFrame
from foldmap.street.images.pyramid import build_pyramid
from foldmap.street.images.rig import surround_ring

LENS = (-0.28, -0.04, 0.001, -0.001, 0.1)
RING = surround_ring(distortion=LENS)
POSE = SE2(61.3, 58.1, 2.2)


def textured(seed: int = 0, size: int = 960, resolution_m: float = 0.125, blur_px: float = 3.0) -> GroundImage:
    """Blobs of about half a metre, three channels."""
    noise = np.random.default_rng(seed).normal(size=(size, size, 3))
    smooth = gaussian_filter(noise, (blur_px, blur_px, 0))
    image = np.clip(128 + 45 * smooth / smooth.std(), 0, 255).astype(np.uint8)
    return GroundImage(image, MetricGrid(0.0, size * resolution_m, resolution_m, size, size))


def ramp() -> GroundImage:
    """Red grows to the east by 2 a metre, green to the north by 2 a metre."""
    grid = MetricGrid(0.0, 120.0, 0.25, 480, 480)
    rows, columns = np.mgrid[:480, :480]
    world = grid.world_of(np.stack([rows, columns], -1))
    return GroundImage(np.concatenate([2 * world, 0 * world[..., :1]], -1).round().astype(np.uint8), grid)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.astype(float).ravel(), b.astype(float).ravel())[0, 1])


@pytest.mark.parametrize("window", [AROUND, FRONTAL, Window(-10, 30, -20, 5)])
@pytest.mark.parametrize("heading", [0.0, 0.7, math.pi / 2, -2.5])
def test_a_crop_shows_the_place_of_each_cell(window: Window, heading: float) -> None:
    pose = SE2(60.0, 58.0, heading)
    crop = ramp().crop(pose, window, 80)
    ego = window_points_m(window, 80)
    assert crop.image.shape[:2] == ego.shape[:2]
    world = pose.apply(ego.reshape(-1, 2)).reshape(ego.shape)
    assert np.abs(crop.image[..., :2] - 2 * world).max() < 1.3  # rounding of the image, its halves and the crop


def test_a_crop_equals_interpolation_of_block_means() -> None:
    ground = textured()
    crop = ground.crop(POSE, AROUND, 160).image  # 0.25 m a pixel: the level of 2 x 2 means
    means = ground.image.reshape(480, 2, 480, 2, 3).mean((1, 3))
    xy = ground.xy_px(POSE.apply(window_points_m(AROUND, 160).reshape(-1, 2))) / 2 - 0.5
    expected = np.stack([map_coordinates(means[..., k], xy[:, ::-1].T, order=1) for k in range(3)], -1)
    assert np.abs(crop.reshape(-1, 3) - expected).max() < 1.6


def test_halves_are_block_means_and_keep_their_place() -> None:
    image = np.random.default_rng(1).integers(0, 256, (37, 52, 3), np.uint8)
    pyramid = build_pyramid(image)
    first, rows, columns = pyramid.table[1]
    assert (rows, columns) == (18, 26)
    expected = image[:36].reshape(18, 2, 26, 2, 3).astype(float).mean((1, 3))
    found = pyramid.pixels[first : first + rows * columns].reshape(18, 26, 3)
    assert np.abs(found - expected).max() <= 0.5


def test_round_trip_from_the_ground_to_cameras_and_back() -> None:
    ground = textured()
    frame = RingWarp(RING, 400)(ground, POSE)
    back, seen = GroundView(frame.ring)(frame)
    truth = ground.crop(POSE).image
    reach = np.hypot(*(window_points_m(AROUND, 160) - (1.35, 0.0)).transpose(2, 0, 1))
    for far, least in ((6.0, 0.97), (10.0, 0.95), (15.0, 0.88)):
        near = seen & (reach < far)
        assert correlation(truth[near], back[near]) > least
    shifted = np.roll(truth, 4, axis=1)  # one metre aside does not fit
    assert correlation(shifted[seen & (reach < 10)], back[seen & (reach < 10)]) < 0.2
    assert seen[reach > 4].mean() > 0.98
    assert not seen[reach < 1].any()
    assert not back[~seen].any()


def test_a_spot_on_the_ground_lands_at_its_analytic_pixel() -> None:
    ring = surround_ring((0.0,), distortion=(-0.2, 0.03))
    spot, spread_m = np.array([9.0, 1.5]), 0.3
    grid = MetricGrid(0.0, 120.0, 0.125, 960, 960)
    rows, columns = np.mgrid[:960, :960]
    ego = POSE.inverse().apply(grid.world_of(np.stack([rows, columns], -1)).reshape(-1, 2))
    bump = np.exp(-0.5 * ((ego - spot) ** 2).sum(1) / spread_m**2)
    image = np.repeat(np.rint(255 * bump).astype(np.uint8).reshape(960, 960, 1), 3, axis=2)
    shown = RingWarp(ring)(GroundImage(image, grid), POSE).images[0]
    assert shown is not None
    lit = shown[180:, :, 0].astype(float)  # the ground alone
    found = [float((lit * (axis + 0.5)).sum() / lit.sum()) for axis in np.mgrid[180:300, :400][::-1]]
    # camera at (1.65, 0, 1.7) looking ahead: right = -y, down = -z; OpenCV's radial formula, by hand. A patch of ground
    # covers pixels in proportion to the cube of its nearness.
    depth = ego[:, 0] - 1.65
    seen = (bump > 1e-3) & (depth > 3)
    u, v = -ego[seen, 1] / depth[seen], 1.7 / depth[seen]
    square = u * u + v * v
    bend = 1 - 0.2 * square + 0.03 * square * square
    share = bump[seen] / depth[seen] ** 3
    expected = [float((share * (328 * bend * w + c)).sum() / share.sum()) for w, c in ((u, 200), (v, 150))]
    assert np.hypot(found[0] - expected[0], found[1] - expected[1]) < 0.3


def test_pixels_meet_the_ground_where_they_were_projected_from() -> None:
    rng = np.random.default_rng(3)
    for camera, pose in zip(RING.cameras, RING.vehicle_SE3_camera, strict=True):
        ground = np.concatenate([rng.uniform(-25, 25, (500, 2)), np.zeros((500, 1))], 1)
        xy = project_from_vehicle(camera, pose, ground)
        inside = np.isfinite(xy).all(1) & (xy > 0).all(1) & (xy < (400, 300)).all(1)
        assert inside.sum() > 30
        assert np.abs(ground_of_pixels(camera, pose, 0.0, xy[inside]) - ground[inside, :2]).max() < 1e-5


def test_points_outside_the_field_of_view_are_not_folded_back() -> None:
    camera = Camera("FULL_OPENCV", 400, 300, np.array([328, 328, 200, 150, -0.28, -0.04, 0, 0, 0, 0, 0, 0]))
    pose = surround_ring((0.0,)).vehicle_SE3_camera[0]
    bearing = np.linspace(0, math.radians(85), 300)
    points = np.stack([1.65 + 10 * np.cos(bearing), -10 * np.sin(bearing), np.full(300, 1.7)], 1)
    raw = camera.project((points - pose[:3, 3]) @ pose[:3, :3])[:, 0]
    turn = int(np.argmax(raw))  # from here on a wider bearing comes back towards the centre
    assert (raw[turn + 40 :] < 400).any()
    kept = project_from_vehicle(camera, pose, points)[:, 0]
    assert np.isfinite(kept[: turn - 1]).all()
    assert np.isnan(kept[turn + 1 :]).all()


def test_images_of_any_size_and_missing_cameras() -> None:
    ground, view = textured(), GroundView(RING)
    large, small = RingWarp(RING, 400)(ground, POSE), RingWarp(RING, 300)(ground, POSE)
    (a, seen_a), (b, seen_b) = view(large), view(small)
    assert (seen_a == seen_b).all()
    assert correlation(a[seen_a], b[seen_b]) > 0.9
    less = RingFrame(RING, (None, *large.images[1:]))
    c, seen_c = view(less)
    assert seen_c.sum() < 0.97 * seen_a.sum()
    assert not (seen_c & ~seen_a).any()
    behind = window_points_m(AROUND, 160)[..., 0] < 0
    assert np.array_equal(a[behind], c[behind])  # the front camera has no part in what lies behind
    single = RING.take("camera_0")
    alone, seen = GroundView(single)(RingFrame(single, large.images[:1]))
    x, y = window_points_m(AROUND, 160).transpose(2, 0, 1)
    assert not seen[x < 1.65].any()
    assert seen[(x > 8) & (np.abs(y) < 3)].all()
    assert alone.shape == (160, 160, 3)


def test_what_is_not_ground_is_neutral() -> None:
    white = GroundImage(np.full((480, 480, 3), 250, np.uint8), MetricGrid(0.0, 60.0, 0.125, 480, 480))
    frame = RingWarp(RING, 400)(white, SE2(52.0, 30.0, 0.0))
    ahead, behind = frame.images[0], frame.images[3]
    assert ahead is not None
    assert behind is not None
    assert (ahead[:150] == NEUTRAL).all()  # above the horizon
    assert (ahead[165:180, 195:205] == NEUTRAL).all()  # beyond the tile, 8 m ahead
    assert (ahead[-5:, 195:205] == 250).all()
    assert (behind[180:, 200] == 250).all()
    assert set(np.unique(ahead)) <= {NEUTRAL, 250}


def test_a_ring_above_the_axle_sees_ground_below_zero() -> None:
    lifted = replace(RING, ground_z_m=-0.33)
    pose = lifted.vehicle_SE3_camera.copy()
    pose[:, 2, 3] -= 0.33
    lowered = replace(lifted, vehicle_SE3_camera=pose)
    ground = textured()
    same = zip(RingWarp(RING, 200)(ground, POSE).images, RingWarp(lowered, 200)(ground, POSE).images, strict=True)
    assert all(np.abs(a.astype(int) - b).max() <= 1 for a, b in same if a is not None and b is not None)


def test_errors_say_what_is_wrong() -> None:
    ground = textured()
    with pytest.raises(MapInputError, match="beyond the ground image"):
        ground.crop(SE2(10.0, 60.0, 0.0))
    with pytest.raises(MapInputError, match="grid"):
        GroundImage(ground.image[:-1], ground.grid)
    with pytest.raises(MapInputError, match="8-bit"):
        GroundImage(ground.image.astype(np.uint16), ground.grid)
    with pytest.raises(ConfigError, match="window's image"):
        GroundView(RING, AROUND, 8)
    with pytest.raises(ConfigError, match="px"):
        RingWarp(RING, 10)
    with pytest.raises(ConfigError, match="range"):
        RingWarp(RING, range_m=math.nan)


def test_main_axes_are_singular_vectors() -> None:
    a, b = np.random.default_rng(4).normal(size=(2, 50, 2))
    long, short = main_axes(a, b)
    turns, lengths, _ = np.linalg.svd(np.stack([a, b], 2))
    assert np.allclose(np.hypot(*long.T), lengths[:, 0])
    assert np.allclose(short, lengths[:, 1])
    assert np.allclose(np.abs((long * turns[:, :, 0]).sum(1)), lengths[:, 0])
