"""Coordinates of any size give the same map, estimates and covariances: nothing is computed far from its origin."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import rasterio
from cli_place import RESOLUTION_M, brightness, truth_of, tum, write_tif

import foldmap
from foldmap.api.folding import fold
from foldmap.api.localizing_sweeps import localize_sweeps
from foldmap.api.results import write_estimates
from foldmap.cli.build.lidar import build_lidar
from foldmap.formats.raster.geotiff import open_raster
from foldmap.lidar.mapping.raster import BuildSettings

ORIGINS_M = [(512345.67, 5412345.67), (-1.2e7, 8.8e6)]
WEST_M, NORTH_M = -30.0, 30.0


def folded(path: Path, shift_m: tuple[float, float]) -> None:
    """Fold the place's ground, 56 m on a side, with the shipped model of 0.33 m."""
    pixel_m, side_px = 0.33, 170
    rows, cols = np.mgrid[:side_px, :side_px]
    values = brightness(WEST_M + (cols + 0.5) * pixel_m, NORTH_M - (rows + 0.5) * pixel_m)
    corner = rasterio.Affine(pixel_m, 0, WEST_M + shift_m[0], 0, -pixel_m, NORTH_M + shift_m[1])
    write_tif(path.with_suffix(".tif"), values, transform=corner)
    fold(path.with_suffix(".tif"), path)


def answers(place: Path, fold: Path, shift_m: tuple[float, float], online: bool) -> list[tuple[np.ndarray, ...]]:
    """Pose less the shift, covariance and signals of every sweep."""
    prior = fold.with_suffix(".prior.txt")
    prior.write_text(tum(3, (0.3 + shift_m[0], -0.2 + shift_m[1])))
    out = fold.with_suffix(".txt")
    with foldmap.open(fold) as town:
        write_estimates(out, localize_sweeps(town, place / "sweeps", prior, online=online).observations)
    found = []
    for line in Path(f"{out}.jsonl").read_text().splitlines():
        row = json.loads(line)
        pose = row["pose"] or {"x_m": math.nan, "y_m": math.nan, "heading_rad": math.nan}
        signals = [row["diagnostics"][name] for name in ("score", "evidence_sigma", "margin_sigma", "agreement")]
        found.append(
            (
                np.array([pose["x_m"] - shift_m[0], pose["y_m"] - shift_m[1], pose["heading_rad"]]),
                np.array(row["covariance"] or np.zeros((3, 3))),
                np.array(signals, float),
            )
        )
    return found


def test_a_map_far_from_the_origin_localizes_as_one_at_it(place: Path, tmp_path: Path) -> None:
    folded(tmp_path / "here.fold", (0.0, 0.0))
    shift_m = (-1.2e7 - 345.67, 5412345.67)
    folded(tmp_path / "there.fold", shift_m)
    for online in (False, True):
        here = answers(place, tmp_path / "here.fold", (0.0, 0.0), online)
        there = answers(place, tmp_path / "there.fold", shift_m, online)
        assert any(np.isfinite(pose).all() for pose, _, _ in here)
        for (pose, covariance, signals), (far_pose, far_covariance, far_signals) in zip(here, there, strict=True):
            np.testing.assert_allclose(far_pose, pose, atol=1e-4)
            np.testing.assert_allclose(far_covariance, covariance, rtol=1e-3, atol=1e-9)
            np.testing.assert_allclose(far_signals, signals, rtol=1e-3)


def test_a_drive_far_from_the_origin_builds_the_map_of_one_at_it(place: Path, tmp_path: Path) -> None:
    settings = BuildSettings(resolution_m=RESOLUTION_M, tile_px=128)
    # Pixels lie on multiples of the resolution, so that maps of several drives fit: shifts by whole tiles.
    side_m = settings.tile_px * RESOLUTION_M
    drawn = []
    for number, (east_m, north_m) in enumerate([(0.0, 0.0), *ORIGINS_M]):
        shift_m = (round(east_m / side_m) * side_m, round(north_m / side_m) * side_m)
        (tmp_path / f"{number}.txt").write_text(tum(3, shift_m))
        build_lidar(place / "sweeps", tmp_path / f"{number}.txt", tmp_path / f"{number}.tif", settings)
        with open_raster(tmp_path / f"{number}.tif") as raster:
            drawn.append(raster.read(0, 0, *raster.grid.shape))
            assert raster.grid.west_m - shift_m[0] == pytest.approx(drawn[0].grid.west_m, abs=1e-6)
    x, y, _ = truth_of(1)
    assert drawn[0].observed[tuple(np.rint(drawn[0].grid.pixel_of(np.array([[x, y + 5.0]]))[0]).astype(int))]
    for far in drawn[1:]:
        assert (far.observed != drawn[0].observed).mean() < 1e-4
        np.testing.assert_allclose(far.intensity, drawn[0].intensity, atol=0.02)
        assert (np.abs(far.intensity - drawn[0].intensity) > 1e-6).mean() < 1e-3
