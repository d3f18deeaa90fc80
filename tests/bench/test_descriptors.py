"""Descriptor tracks: the right spots are joined, the same seed gives the same tracks."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from benchmarks.descriptors.dead_leaves import dead_leaves
from benchmarks.descriptors.grouping import group_keypoints
from benchmarks.descriptors.photographs import LeafView, map_points, photograph
from benchmarks.descriptors.tracks import colmap_sift, generate_tracks, main
from foldmap.errors import ConfigError


def test_pictures_have_the_statistics_of_photographs() -> None:
    slopes = []
    for seed in range(4):
        picture = dead_leaves(np.random.default_rng(seed), 512)
        assert picture.tobytes() == dead_leaves(np.random.default_rng(seed), 512).tobytes()
        window = np.outer(np.hanning(512), np.hanning(512))
        power = np.abs(np.fft.fft2((picture - picture.mean()) * window)) ** 2
        radius = np.hypot(*np.meshgrid(*[np.fft.fftfreq(512, 1 / 512)] * 2))
        ring = [power[(radius >= r) & (radius < 1.3 * r)].mean() for r in (6, 12, 24, 48, 96)]
        slopes.append(np.polyfit(np.log([6, 12, 24, 48, 96]), np.log(ring), 1)[0])
    assert -3.4 < np.mean(slopes) < -1.6  # photographs: about -2


def test_views_show_the_canvas_where_the_homography_says() -> None:
    rng = np.random.default_rng(5)
    canvas = dead_leaves(rng, 700)
    for view in photograph(canvas, rng, 3, (240, 320)):
        row, col = (a.ravel() for a in np.mgrid[20:220:5, 20:300:5])
        there = map_points(view.canvas_H_view, np.column_stack([col + 0.5, row + 0.5])) - 0.5
        inside = (there > 2).all(axis=1) & (there < 696).all(axis=1)
        expected = canvas[there[inside, 1].round().astype(int), there[inside, 0].round().astype(int)]
        got = view.image[row[inside], col[inside]]
        assert inside.sum() > 500
        assert np.corrcoef(expected, got)[0, 1] > 0.8


def test_keypoints_are_joined_by_place_scale_and_direction() -> None:
    turn = np.array([[0.0, -1.0, 300.0], [1.0, 0.0, 0.0], [0, 0, 1.0]])  # a quarter turn
    blank = np.zeros((4, 4), np.uint8)
    views = [LeafView(blank, np.eye(3)), LeafView(blank, turn)]
    keys = np.array([[50, 60, 3, 0.2], [150, 90, 5, -1.0], [150, 90, 5, 1.0], [20, 20, 2, 0.0]], np.float32)
    # canvas (x, y) is seen at (y, 300 - x) in the second view, directions turned back by a quarter
    other = np.column_stack([keys[:, 1], 300 - keys[:, 0], keys[:, 2], keys[:, 3] - np.pi / 2])[[2, 0, 1, 3]]
    other[3, 2] = 6.0  # another scale: another spot
    first, second = group_keypoints(views, [keys, other.astype(np.float32)])
    assert first.tolist() == [0, 1, 2, 3]
    assert second.tolist() == [2, 0, 1, 4]


def test_tracks_repeat_and_hold_what_is_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pycolmap")
    # photographs of a quarter of the area: SIFT takes nearly all of the time
    monkeypatch.setattr("benchmarks.descriptors.tracks.photograph", partial(photograph, size_px=(240, 320)))
    tracks = generate_tracks(700, 3, colmap_sift(600), views=4, per_picture=500)
    again = generate_tracks(1, 3, colmap_sift(600), views=4, per_picture=500)  # the first picture's alone
    assert 0 < len(again) < len(tracks)
    assert tracks.descriptors[: len(again)].tobytes() == again.descriptors.tobytes()
    assert np.array_equal(tracks.track[: len(again)], again.track)
    assert len(tracks) >= 700
    assert tracks.descriptors.dtype == np.uint8
    counts = np.bincount(tracks.track)
    assert counts.min() >= 3
    assert counts.max() <= 4
    values = tracks.descriptors.astype(np.float64)
    same = np.linalg.norm(values[1:] - values[:-1], axis=1)[np.diff(tracks.track) == 0]
    foreign = np.linalg.norm(values - np.roll(values, len(values) // 2, axis=0), axis=1)
    assert np.median(same) < 0.55 * np.median(foreign)
    with pytest.raises(ConfigError):
        generate_tracks(0, 3, colmap_sift(600))
    main(["-o", str(tmp_path / "t.npz"), "--count", "10", "--seed", "1"])
    with np.load(tmp_path / "t.npz", allow_pickle=False) as file:
        assert file["descriptors"].shape == (len(file["track"]), 128)
