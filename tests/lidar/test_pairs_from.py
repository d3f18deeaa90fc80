"""Pairs from rasters and from sweeps: what lies on what, and what stays out of the map."""

from __future__ import annotations

import math

import numpy as np
import pytest

from foldmap.errors import ConfigError, MapInputError, PoseInputError
from foldmap.geometry import SE2, SE3, MetricGrid
from foldmap.lidar.pairs.from_raster import RasterPairs, simulate_sweeps, turned_cut
from foldmap.lidar.pairs.from_sweeps import SweepPairs
from foldmap.lidar.source import RasterMap, Sweep


def field(east_m: np.ndarray, north_m: np.ndarray) -> np.ndarray:
    return 0.5 + 0.2 * np.sin(east_m / 1.7) * np.cos(north_m / 2.3) + 0.002 * east_m


def raster(offset_m: tuple[float, float] = (0.0, 0.0), side: int = 600) -> RasterMap:
    grid = MetricGrid(-60.0, 60.0, 0.2, side, side)
    rows, cols = np.mgrid[:side, :side]
    world = grid.world_of(np.stack([rows, cols], axis=-1).astype(float))
    values = field(world[..., 0] + offset_m[0], world[..., 1] + offset_m[1])
    return RasterMap(grid, values.astype(np.float32), np.ones((side, side), bool))


def test_a_turned_cut_samples_the_world() -> None:
    pose = SE2(3.0, -7.0, 0.7)
    values, observed = turned_cut(raster(), pose, (40, 60))
    rows, cols = np.mgrid[:40, :60]
    ahead, left = (cols - 29.5) * 0.2, (19.5 - rows) * 0.2
    east = 3.0 + math.cos(0.7) * ahead - math.sin(0.7) * left
    north = -7.0 + math.sin(0.7) * ahead + math.cos(0.7) * left
    assert observed.all()
    # nearest pixel: at most 0.1 m off in each axis, times the field's slope
    assert np.abs(values - field(east, north)).max() < 0.1 * (0.2 / 1.7 + 0.2 / 2.3 + 0.002) + 1e-3
    assert not turned_cut(raster(), SE2(500.0, 0.0, 0.0), (8, 8))[1].any()


def test_crops_of_a_second_raster_lie_where_the_shift_says() -> None:
    # The query raster's coordinates are the map's minus the offset.
    offset = (1.4, -0.6)
    pairs = RasterPairs(raster(), 12, 3, query=raster(offset), query_offset_m=offset, map_px=96, sweep_px=48)
    for pair in (pairs[index] for index in range(12)):
        margin = (96 - 48) // 2
        under = np.s_[margin:-margin, margin:-margin]
        both = pair.sweep_observed & pair.map_observed[under]  # a place at the rim of the raster is not seen whole
        assert both.mean() > 0.2
        assert np.abs(pair.map_intensity[under] - pair.sweep_intensity)[both].max() < 0.09
        assert max(abs(s) for s in pair.shift_px) <= 0.5
    again = RasterPairs(raster(), 12, 3, query=raster(offset), query_offset_m=offset, map_px=96, sweep_px=48)
    np.testing.assert_array_equal(again[5].sweep_intensity, pairs[5].sweep_intensity)
    off = RasterPairs(raster(), 12, 3, query=raster(offset), map_px=96, sweep_px=48)[0]
    both = off.sweep_observed & off.map_observed[24:-24, 24:-24]
    assert np.abs(off.map_intensity[24:-24, 24:-24] - off.sweep_intensity)[both].mean() > 0.03


def test_simulated_sweeps_are_rings_of_the_ground() -> None:
    ground = raster(side=200)
    rng = np.random.default_rng(0)
    one, seen = simulate_sweeps(ground.intensity, ground.observed, 0.2, 1, rng)
    many, seen_by_many = simulate_sweeps(ground.intensity, ground.observed, 0.2, 8, np.random.default_rng(0))
    assert 0.005 < seen.mean() < seen_by_many.mean() < 0.98
    assert not one[~seen].any()
    assert not seen[99:101, 99:101].any()  # the rings begin some metres away from the sensor
    assert np.corrcoef(many[seen_by_many], ground.intensity[seen_by_many])[0, 1] > 0.3
    blind = simulate_sweeps(ground.intensity, np.zeros_like(ground.observed), 0.2, 1, rng)
    assert not blind[1].any()


def test_raster_pairs_refuse() -> None:
    empty = raster()
    empty = RasterMap(empty.grid, empty.intensity, np.zeros_like(empty.observed))
    with pytest.raises(MapInputError, match="too little observed"):
        RasterPairs(empty, 4, 0)[0]
    with pytest.raises(ConfigError):
        RasterPairs(raster(), 4, 0, map_px=32, sweep_px=64)


def drive(frames: int) -> tuple[list[Sweep], list[SE3]]:
    """Flat ground whose intensity is the frame's number, so that a map shows whose returns are in it."""
    sweeps, poses = [], []
    for frame in range(frames):
        rng = np.random.default_rng(frame)
        xy = rng.uniform(-8, 8, (4000, 2))
        points = np.column_stack([xy, rng.normal(-1.7, 0.005, len(xy))]).astype(np.float32)
        sweeps.append(Sweep(points, np.full(len(xy), frame / 100, np.float32)))
        poses.append(SE3.from_se2(SE2(0.2 * frame, 0.0, 0.0), 1.7))
    return sweeps, poses


def test_the_query_and_its_neighbours_stay_out_of_the_map() -> None:
    sweeps, poses = drive(16)
    pairs = SweepPairs(sweeps, poses, 0.05, aggregate_sweeps=3, guard=2, map_px=320, sweep_px=160)
    assert len(pairs) == 14
    assert list(pairs.left_out(6)) == [4, 5, 6, 7, 8, 9, 10]
    pair = pairs[6]
    own = pair.sweep_intensity[pair.sweep_observed] * 100
    assert (own.min(), own.max()) == (pytest.approx(6, abs=1e-3), pytest.approx(8, abs=1e-3))
    frames = np.unique(np.round(pair.map_intensity[pair.map_observed] * 100, 3))
    whole = set(frames[np.abs(frames - np.round(frames)) < 1e-3].astype(int))
    assert whole >= {0, 1, 2, 3, 11, 12, 13, 14, 15}  # pixels that one frame alone hit
    single = {4, 5, 6, 7, 8, 9, 10}
    # pixels of two frames average to a number in between, but seldom; a left-out frame would put in many of its own
    share = np.isin(np.round(pair.map_intensity[pair.map_observed] * 100, 3), list(single)).mean()
    assert share < 0.1
    assert len(pairs.part(0, 0.5)) + len(pairs.part(0.5, 1)) == 14


def test_sweep_pairs_refuse() -> None:
    sweeps, poses = drive(6)
    with pytest.raises(PoseInputError):
        SweepPairs(sweeps, poses[:4], 0.05, guard=0)
    with pytest.raises(ConfigError, match="leave no map"):
        SweepPairs(sweeps, poses, 0.05)


def test_the_first_frames_alone_know_nothing_of_the_others() -> None:
    sweeps, poses = drive(16)
    pairs = SweepPairs(sweeps, poses, 0.05, aggregate_sweeps=3, guard=2, map_px=320, sweep_px=160).among_first(9)
    assert len(pairs) == 7
    for pair in (pairs[0], pairs[6]):
        assert pair.map_intensity.max() <= 0.08 + 1e-6
        assert pair.sweep_intensity.max() <= 0.08 + 1e-6
    with pytest.raises(ConfigError, match="7 sweeps leave no map"):
        pairs.among_first(7)


def test_the_ground_of_a_drive_lies_where_the_world_has_it() -> None:
    sweeps, poses = list[Sweep](), list[SE3]()
    for frame in range(8):
        rng, pose = np.random.default_rng(frame), SE2(30.0 + 0.5 * frame, -12.0 + 0.2 * frame, 0.3)
        xy = rng.uniform(-8, 8, (20_000, 2))
        east_m, north_m = pose.apply(xy).T
        points = np.column_stack([xy, np.full(len(xy), -1.7)]).astype(np.float32)
        sweeps.append(Sweep(points, field(east_m, north_m).astype(np.float32)))
        poses.append(SE3.from_se2(pose, 1.7))
    found = SweepPairs(sweeps, poses, 0.1, aggregate_sweeps=1, guard=0, map_px=64, sweep_px=32).ground()
    rows, cols = np.nonzero(found.observed)
    world = found.grid.world_of(np.stack([rows, cols], axis=1).astype(float))
    assert len(rows) > 20_000
    assert np.abs(found.intensity[rows, cols] - field(world[:, 0], world[:, 1])).max() < 0.02
