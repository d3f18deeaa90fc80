"""Map building against the scene's true brightness and against plain twins."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from scene import albedo, cast, pose_at

from foldmap.errors import ConfigError, MapInputError, SweepInputError
from foldmap.geometry import SE3
from foldmap.lidar.mapping.ground import ground_mask
from foldmap.lidar.mapping.raster import BuildSettings, BuiltMap, build_map
from foldmap.lidar.mapping.return_log import ReturnLog, pack_returns
from foldmap.lidar.mapping.robust import summarize
from foldmap.lidar.source import Sweep

COARSE = BuildSettings(resolution_m=0.2, tile_px=64)


def truth_of(built: BuiltMap) -> np.ndarray:
    rows, cols = np.indices(built.grid.shape)
    centres = built.grid.world_of(np.stack([rows.ravel(), cols.ravel()], axis=1).astype(float))
    return albedo(centres[:, 0], centres[:, 1]).reshape(built.grid.shape)


@pytest.fixture(scope="module")
def drive() -> list[tuple[Sweep, SE3]]:
    """Twelve sweeps along x, a bright car overtaking on the left."""
    poses = [pose_at(0.8 * i, 0.1 * np.sin(i), 0.05 * np.cos(i)) for i in range(12)]
    return [(cast(pose, [car_at(i)], seed=i)[0], pose) for i, pose in enumerate(poses)]


def car_at(number: int) -> tuple[float, ...]:
    x = -14.0 + 2.5 * number
    return (x, x + 4, 3, 4.8, 1.5, 1.0)


def test_plain_settings_are_the_naive_mean(drive: list[tuple[Sweep, SE3]]) -> None:
    settings = BuildSettings(
        resolution_m=0.2, tile_px=64, robust=False, remove_moving=False, min_step_m=0, min_range_m=0, max_range_m=30
    )
    looks: dict[tuple[int, int], list[float]] = {}
    for sweep, pose in drive[:4]:
        near = np.hypot(*sweep.points_sensor_m[:, :2].T) <= 30
        kept = ground_mask(sweep.points_sensor_m) & near
        for (x, y, _), value in zip(pose.apply(sweep.points_sensor_m[kept]), sweep.intensity[kept], strict=True):
            looks.setdefault((int(np.floor(x / 0.2)), int(np.floor(y / 0.2))), []).append(float(value))
    with build_map(drive[:4], settings) as built:
        grid = built.grid
        count = np.zeros(grid.shape, int)
        mean, spread = np.zeros(grid.shape), np.zeros(grid.shape)
        for (col, row), values in looks.items():
            pixel = grid.pixel_of(np.array([[(col + 0.5) * 0.2, (row + 0.5) * 0.2]]))[0].round().astype(int)
            count[tuple(pixel)], mean[tuple(pixel)] = len(values), np.mean(values)
            spread[tuple(pixel)] = np.std(values)
        seen = 0
        for tile in built.tiles():
            window = np.s_[tile.row : tile.row + 64, tile.col : tile.col + 64]
            np.testing.assert_array_equal(tile.count, count[window])
            np.testing.assert_allclose(tile.intensity, mean[window], atol=2e-5)
            np.testing.assert_allclose(tile.spread, spread[window], atol=2e-5)
            seen += tile.count.sum()
        assert seen == count.sum() == built.counts.ground_returns
        raster = built.raster()
        np.testing.assert_array_equal(raster.observed, count > 0)


def lane_error(drive: list[tuple[Sweep, SE3]], settings: BuildSettings) -> tuple[np.ndarray, int]:
    """Errors of the pixels that the overtaking car has crossed."""
    with build_map(drive, settings) as built:
        raster, truth = built.raster(), truth_of(built)
        corners = built.grid.pixel_of(np.array([[-10.0, 4.8], [14.0, 3.0]])).round().astype(int)
        lane = np.s_[corners[0, 0] : corners[1, 0], corners[0, 1] : corners[1, 1]]
        return np.abs(raster.intensity - truth)[lane][raster.observed[lane]], int(raster.observed[lane].sum())


def test_moving_car_vanishes(drive: list[tuple[Sweep, SE3]]) -> None:
    naive, _ = lane_error(drive, BuildSettings(resolution_m=0.2, tile_px=64, robust=False, remove_moving=False))
    ours, pixels = lane_error(drive, COARSE)
    assert (naive > 0.15).sum() >= 20  # the car's foot is drawn into a naive map
    assert (ours > 0.15).sum() == 0
    assert pixels > 1000


def test_map_is_the_truth_elsewhere(drive: list[tuple[Sweep, SE3]]) -> None:
    with build_map(drive, COARSE) as built:
        raster, truth = built.raster(), truth_of(built)
    error = np.abs(raster.intensity - truth)[raster.observed]
    assert np.percentile(error, 99) < 0.04  # brightness changes by 0.02 across a pixel
    assert raster.observed_m2 > 300


def test_parked_car_and_wall_are_not_ground() -> None:
    boxes = [(4, 8, -4.5, -2.5, 1.5, 0.9), (-20, 30, 8, 8.4, 4, 0.6)]
    poses = [pose_at(0.8 * i) for i in range(10)]
    drive = [(cast(pose, boxes, seed=i)[0], pose) for i, pose in enumerate(poses)]
    with build_map(drive, COARSE) as built:
        raster = built.raster()
    for x0, x1, y0, y1, _, _ in boxes:
        corners = raster.grid.pixel_of(np.array([[x0, y1], [x1, y0]])).round().astype(int)
        inside = raster.observed[corners[0, 0] : corners[1, 0] + 1, corners[0, 1] : corners[1, 1] + 1]
        assert inside.mean() < 0.02


def test_car_that_leaves_gives_its_ground_back() -> None:
    """It stands for three sweeps of fifteen; its place is ground in the end."""
    poses = [pose_at(0.5 * i) for i in range(15)]
    car = (5.0, 9.0, -4.5, -2.5, 1.5, 1.0)
    drive = [(cast(p, [car] if i < 3 else [], seed=i)[0], p) for i, p in enumerate(poses)]
    with build_map(drive, COARSE) as built:
        raster, truth = built.raster(), truth_of(built)
    corners = raster.grid.pixel_of(np.array([[5.0, -2.5], [9.0, -4.5]])).round().astype(int)
    place = np.s_[corners[0, 0] : corners[1, 0], corners[0, 1] : corners[1, 1]]
    assert raster.observed[place].mean() > 0.8
    assert np.abs(raster.intensity - truth)[place][raster.observed[place]].max() < 0.1


def looks_with_outliers(looks: int, share: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(looks)
    truth = rng.uniform(0.2, 0.6, 4000)
    values = truth[:, None] + rng.normal(0, 0.03, (4000, looks))
    stray = rng.random(values.shape) < share
    values[stray] = rng.uniform(0, 1, stray.sum())
    pixel = np.repeat(np.arange(4000), looks)
    order = rng.permutation(len(pixel))
    return pixel[order], np.round(np.clip(values, 0, 1) * 65535).astype(np.uint16).ravel()[order], truth


@pytest.mark.parametrize("looks", [3, 5, 9, 30])
def test_robust_mean_beats_the_mean_on_outliers(looks: int) -> None:
    pixel, value, truth = looks_with_outliers(looks, 0.1)
    robust, count, _ = summarize(pixel, value, 4000)
    plain, _, _ = summarize(pixel, value, 4000, robust=False)
    assert (count == looks).all()
    rms = [float(np.sqrt(np.mean((mean - truth) ** 2))) for mean in (robust, plain)]
    assert rms[0] < 0.75 * rms[1]


@pytest.mark.parametrize("looks", [1, 2, 3, 8, 30])
def test_robust_mean_is_nearly_the_mean_without(looks: int) -> None:
    pixel, value, truth = looks_with_outliers(looks, 0.0)
    robust, _, spread = summarize(pixel, value, 4000)
    assert np.sqrt(np.mean((robust - truth) ** 2)) < 1.1 * 0.03 / np.sqrt(looks)
    if looks == 30:
        assert np.median(spread) == pytest.approx(0.03, rel=0.1)


def test_robust_mean_is_the_biweight() -> None:
    """Against the estimator written plainly, its tile scale from the pixels' own deviations."""
    pixel, value, _ = looks_with_outliers(7, 0.15)
    robust, _, _ = summarize(pixel, value, 4000)
    groups = [value[pixel == i] / 65535 for i in range(300)]
    deviations = [np.median(np.abs(v - np.median(v))) for v in (value[pixel == i] / 65535 for i in range(4000))]
    tile_sigma = 1.4826 * np.median(deviations)
    for i, looks in enumerate(groups):
        own = 1.4826 * deviations[i]
        reach = 4.685 * max(0.01, np.sqrt((4 * tile_sigma**2 + 7 * own**2) / 11))
        centre = np.median(looks)
        for _ in range(3):
            weight = np.maximum(0, 1 - ((looks - centre) / reach) ** 2) ** 2
            centre = (weight * looks).sum() / weight.sum()
        assert robust[i] == pytest.approx(centre, abs=2e-4)


def test_two_contradicting_looks() -> None:
    intensity, count, spread = summarize(np.array([1, 1]), np.array([0, 65535], np.uint16), 3)
    np.testing.assert_allclose(intensity, [0, 0.5, 0], atol=1e-6)
    np.testing.assert_array_equal(count, [0, 2, 0])
    assert spread[1] == pytest.approx(0.5)


def cheap_drive(sweeps: int) -> Iterator[tuple[Sweep, SE3]]:
    """Flat ground, many points, four metres a sweep: a new tile every few sweeps."""
    rng = np.random.default_rng(0)
    points = np.column_stack([rng.uniform(-12, 12, (20_000, 2)), rng.normal(-1.73, 0.01, 20_000)]).astype(np.float32)
    sweep = Sweep(points, rng.random(20_000).astype(np.float32))
    for i in range(sweeps):
        yield sweep, pose_at(4.0 * i)


def peak_of(sweeps: int, folder: Path) -> tuple[int, int]:
    from foldmap.formats.raster.write import write_map_geotiff

    settings = BuildSettings(resolution_m=0.05, tile_px=128, buffer_returns=100_000)
    gc.collect()
    gc.freeze()  # else what other tests left decides how long cycles of this one wait to be collected
    tracemalloc.start()
    with build_map(cheap_drive(sweeps), settings, scratch=folder) as built:
        write_map_geotiff(folder / "map.tif", built.grid, built.tiles(), 128)
        pixels = built.grid.height_px * built.grid.width_px
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    gc.unfreeze()
    return peak, pixels


def test_memory_is_of_the_tile_not_of_the_drive(tmp_path: Path) -> None:
    peak_of(2, tmp_path)  # imports and compiled code
    short, short_px = peak_of(10, tmp_path)
    long, long_px = peak_of(55, tmp_path)
    assert long_px > 3.5 * short_px
    assert long < 1.1 * short


def test_crowded_tile_is_thinned_evenly(tmp_path: Path) -> None:
    log = ReturnLog(tmp_path, buffer_returns=500, max_returns=1000)
    zeros = np.zeros(100, np.int64)
    for number in range(64):
        log.add(zeros, zeros, pack_returns(np.arange(100), np.full(100, number), number, occupied=False))
    looks = log.read((0, 0))
    assert len(looks) == 800
    np.testing.assert_array_equal(np.unique(looks["sweep"]), np.arange(0, 64, 8))


def test_standing_vehicle_does_not_outvote(drive: list[tuple[Sweep, SE3]]) -> None:
    standing = [drive[0]] * 5 + drive[1:3]
    with build_map(standing, COARSE) as built, build_map(drive[:3], COARSE) as reference:
        assert (built.counts.sweeps, built.counts.skipped_standing) == (7, 4)
        np.testing.assert_array_equal(built.raster().intensity, reference.raster().intensity)


def test_same_drive_same_tiles(drive: list[tuple[Sweep, SE3]]) -> None:
    small = BuildSettings(resolution_m=0.2, tile_px=64, buffer_returns=1000)
    with build_map(drive, COARSE) as one, build_map(iter(drive), small) as two:
        for a, b in zip(one.tiles(), two.tiles(), strict=True):
            assert (a.row, a.col) == (b.row, b.col)
            for band in ("intensity", "count", "spread"):
                np.testing.assert_array_equal(getattr(a, band), getattr(b, band))


def test_far_world_coordinates(drive: list[tuple[Sweep, SE3]]) -> None:
    """UTM-sized poses give the map of the local ones, shifted by whole tiles."""
    far = SE3(np.array([[1, 0, 0, 12.8 * 40_000], [0, 1, 0, 12.8 * 420_000], [0, 0, 1, 200], [0, 0, 0, 1]]))
    with build_map(drive[:3], COARSE) as near, build_map([(s, far @ p) for s, p in drive[:3]], COARSE) as away:
        assert away.grid.west_m == pytest.approx(near.grid.west_m + 12.8 * 40_000)
        assert away.grid.north_m == pytest.approx(near.grid.north_m + 12.8 * 420_000)
        a, b = near.raster(), away.raster()
    assert (a.observed != b.observed).mean() < 1e-3
    both = a.observed & b.observed
    assert np.percentile(np.abs(a.intensity - b.intensity)[both], 99) < 1e-3


def test_refusals(tmp_path: Path, drive: list[tuple[Sweep, SE3]]) -> None:
    with pytest.raises(SweepInputError, match="no sweeps"):
        build_map([], scratch=tmp_path)
    sky = Sweep(np.full((50, 3), 30, np.float32), np.ones(50, np.float32))
    with pytest.raises(MapInputError, match="any ground"):
        build_map([(sky, pose_at(0))], scratch=tmp_path)
    assert not list(tmp_path.iterdir())  # nothing is left behind
    with build_map([*drive[:2], (sky, pose_at(9))], COARSE, scratch=tmp_path) as built:
        assert built.counts.without_ground == 1
        assert list(tmp_path.iterdir())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("resolution_m", 0.0),
        ("resolution_m", float("nan")),
        ("max_range_m", -1.0),
        ("min_range_m", 50.0),
        ("tile_px", 100),
        ("tile_px", 0),
        ("sensor_height_m", -1.7),
        ("min_step_m", float("nan")),
        ("max_tile_returns", 0),
    ],
)
def test_bad_settings(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=name):
        BuildSettings(**{name: value})


@pytest.mark.shared
def test_real_sweeps_agree_with_each_other(shared_data: Path) -> None:
    """Even and odd sweeps of a real street give the same picture where both saw it often."""
    from foldmap.formats.poses.trajectories import read_poses
    from foldmap.formats.sweeps.files import open_sweeps

    folder = shared_data / "lidar" / "kitti-hdl64"
    sweeps = open_sweeps(folder / "sweeps")
    poses = read_poses(folder / "poses.txt").world_SE3_sensors
    settings = BuildSettings(resolution_m=0.2)
    halves = []
    for start in (40, 41):
        with build_map(((sweeps[i], poses[i]) for i in range(start, 52, 2)), settings) as built:
            halves.append((built.raster(), built.grid))
    (a, grid_a), (b, grid_b) = halves
    row, col = round((grid_a.north_m - grid_b.north_m) / 0.2), round((grid_b.west_m - grid_a.west_m) / 0.2)
    b = b.read(-row, -col, *grid_a.shape)
    both = a.observed & b.observed
    assert both.sum() * 0.04 > 600
    assert np.corrcoef(a.intensity[both], b.intensity[both])[0, 1] > 0.6
