"""Coverage of selections: known answers on a line of points, and the two readings of K."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.visual.selection import coverage_of, main
from colmap_writer import write_model
from foldmap.geometry import Camera
from foldmap.visual.source import SceneModel, Tracks


def scene_of(points: np.ndarray) -> SceneModel:
    """Two cameras that see every point."""
    count = len(points)
    pose = np.eye(4)
    pose[2, 3] = 20.0
    point = np.repeat(np.arange(count), 2)
    camera = Camera("PINHOLE", 640, 480, np.array([500.0, 500.0, 320.0, 240.0]))
    xy = camera.project(points @ pose[:3, :3].T + pose[:3, 3])[point].astype(np.float32)
    return SceneModel(
        (camera,), ("a", "b"), np.zeros(2, np.int64), np.stack([pose, pose]), points,
        Tracks(point, np.tile([0, 1], count), xy, None),
    )  # fmt: skip


def test_coverage_of_a_line() -> None:
    points = np.stack([np.arange(11.0), np.zeros(11), np.zeros(11)], axis=1)
    row = coverage_of(scene_of(points), "ends", np.array([0, 10]))
    distance = np.minimum(np.arange(11), 10 - np.arange(11))
    radius = np.percentile(np.abs(np.arange(11) - 5.0), 80)
    assert row.mean_pct == pytest.approx(100 * distance.mean() / radius)
    assert (row.fewest, row.median) == (2, 2)


def test_the_literal_reading_clumps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    points = np.random.default_rng(0).uniform(-5, 5, (300, 3))
    write_model(scene_of(points), tmp_path)
    assert main([str(tmp_path), "--count", "30"]) == 0
    rows = {line[:34].strip(): line[34:].split() for line in capsys.readouterr().out.splitlines()[1:]}
    assert float(rows["Gamma, K the distance as printed"][0]) > 1.5 * float(rows["Gamma, K a kernel"][0])


def test_a_missing_scene_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "nowhere")]) == 2
    assert capsys.readouterr().err.startswith("error:")
