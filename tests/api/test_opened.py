"""The front door against the command line and the localizers behind it: the same answers; errors with their cure."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import foldmap
from foldmap.errors import ConfigError, LayerError, MapInputError

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "cli"), str(TESTS / "fuzz")]

GOLDEN = TESTS / "golden" / "v1-visual-sides.fold"


def command(*arguments: object) -> None:
    from foldmap.cli import app

    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code in (0, 1), result.stderr


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def agrees(estimate: foldmap.Estimate[Any, Any], line: dict[str, Any]) -> None:
    """An estimate is what a line of the command says."""
    assert estimate.status.value == line["status"]
    assert (estimate.pose is None) == (line["pose"] is None)
    if estimate.pose is not None:
        told = [line["pose"][key] for key in ("x_m", "y_m", "heading_rad")]
        np.testing.assert_allclose([estimate.pose.x_m, estimate.pose.y_m, estimate.pose.heading_rad], told, atol=1e-9)
        np.testing.assert_allclose(estimate.covariance, line["covariance"], rtol=1e-6)
    score, told = estimate.diagnostics.score, line["diagnostics"]["score"]
    assert score == pytest.approx(told, rel=1e-6)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """map.fold, sweeps/ and prior.txt of a small place; its untrained model believes whatever it sees."""
    import cli_place

    from foldmap.localize.lidar.confidence import ConfidenceThresholds

    folder = tmp_path_factory.mktemp("place")
    cli_place.write_tif(folder / "map.tif", cli_place.ground())
    cli_place.write_sweeps(folder / "sweeps", 3)
    (folder / "prior.txt").write_text(cli_place.tum(3, (0.3, -0.2)))
    low = {name: -1e3 for name in vars(ConfidenceThresholds()) if name.startswith("reject_") and "observed" not in name}
    bundle = cli_place.make_bundle()
    bundle.thresholds = ConfidenceThresholds(
        **{**low, "reject_sigma_m": 1e3, "warn_score": -1.0, "warn_distinction": -1.0}
    ).to_dict()
    (folder / "model.safetensors").write_bytes(bundle.to_bytes())
    command("fold", folder / "map.tif", "-o", folder / "map.fold", "--model", folder / "model.safetensors")
    return folder


@pytest.fixture
def drive(place: Path) -> Any:
    from foldmap.formats.sweeps.drives import open_drive

    return open_drive(place / "sweeps", place / "prior.txt", deskew=False)


@pytest.fixture
def town(place: Path) -> Iterator[foldmap.FoldedMap]:
    with foldmap.open(place / "map.fold") as opened:
        yield opened


def test_sweeps_are_localized_as_by_the_command(place: Path, drive: Any, town: foldmap.FoldedMap) -> None:
    out = place / "by-command.txt"
    command("localize", place / "map.fold", place / "sweeps", "--poses", place / "prior.txt", "-o", out)
    sweeps, poses = list(drive.read()), drive.world_SE3_sensors
    lines = lines_of(place / "by-command.txt.jsonl")
    assert any(line["pose"] for line in lines)
    agrees(town.localize(sweeps[0], poses[0]), lines[0])
    for number in (1, 2):
        laid = list(zip(sweeps, poses, strict=True))[: number + 1]
        agrees(town.localize(laid, poses[number].to_se2()), lines[number])


def test_sweeps_are_tracked_as_by_the_command(place: Path, drive: Any, town: foldmap.FoldedMap) -> None:
    out = place / "online.txt"
    command("localize", place / "map.fold", place / "sweeps", "--poses", place / "prior.txt", "-o", out, "--online")
    priors = [pose.to_se2() for pose in drive.world_SE3_sensors]
    tracker = town.track(priors[0])
    for number, (sweep, line) in enumerate(zip(drive.read(), lines_of(place / "online.txt.jsonl"), strict=True)):
        moved = priors[number - 1].inverse() @ priors[number] if number else None
        estimate = tracker.step(sweep, moved, float(drive.times_s[number]))
        assert estimate.status.value == line["status"]
        if estimate.pose is not None:
            assert estimate.pose.x_m == pytest.approx(line["pose"]["x_m"], abs=1e-3)
    blind = tracker.step(None, moved, gps=(priors[-1].x_m, priors[-1].y_m, 1.0))
    assert blind.status in (foldmap.Status.DEGRADED, foldmap.Status.NO_OBSERVATION)
    with pytest.raises(ConfigError, match="in a drive of sweeps"):
        tracker.step("sweep")


def test_a_first_estimate_loads_what_it_needs_and_no_more(place: Path) -> None:
    code = (
        "import time, sys, json; begin = time.process_time(); import foldmap\n"
        "import numpy; points = numpy.fromfile('sweeps/000.bin', '<f4').reshape(-1, 4)\n"
        "with foldmap.open('map.fold') as town:\n"
        "    town.localize(foldmap.Sweep(points[:, :3], points[:, 3]), foldmap.SE2(-4.0, 2.0, 0.56))\n"
        "print(json.dumps([time.process_time() - begin, [name for name in sys.modules if name.count('.') < 2]]))"
    )
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}  # threads that wait for each other spin
    said = subprocess.run([sys.executable, "-c", code], cwd=place, env=one_thread, capture_output=True, check=True)
    seconds, modules = json.loads(said.stdout)
    # scipy.fft brings scipy.special along
    assert {"scipy.spatial", "scipy.ndimage", "rasterio", "PIL", "faiss", "pyproj", "h5py"}.isdisjoint(modules)
    assert seconds < 5.0  # 2.4 where nothing else runs


def test_a_map_says_at_a_glance_what_it_holds(place: Path, town: foldmap.FoldedMap) -> None:
    assert town.layers == ("lidar",)
    assert town.frame == "local"
    assert sum(town.sizes.values()) == (place / "map.fold").stat().st_size
    assert repr(town).startswith("<FoldedMap map.fold, ")
    assert "lidar" in repr(town)
    assert town.lidar is town.lidar
    with pytest.raises(LayerError, match="layers in this file: lidar"):
        _ = town.visual


@pytest.mark.parametrize("wrong", ["photo.jpg", None, [], 3.0])
def test_what_is_no_observation_is_refused(town: foldmap.FoldedMap, wrong: object) -> None:
    with pytest.raises(ConfigError, match="cannot be localized"):
        town.localize(wrong)
    with pytest.raises(ConfigError, match=r"begins with an observation|cannot be tracked|no street layer"):
        town.track().step(None)


def test_sweeps_need_a_pose(drive: Any, town: foldmap.FoldedMap) -> None:
    sweep = next(iter(drive.read()))
    with pytest.raises(ConfigError, match="near a pose"):
        town.localize(sweep)
    with pytest.raises(ConfigError, match="near a pose"):
        town.track().step(sweep)
    with pytest.raises(ConfigError, match="without poses"):
        town.localize([sweep, sweep], foldmap.SE2(0.0, 0.0, 0.0))


def test_photos_are_localized_as_by_the_localizer() -> None:
    import fuzz_visual

    from foldmap.localize.visual.localizer import VisualLocalizer

    query = fuzz_visual.query()
    with foldmap.open(GOLDEN) as town:
        expected = VisualLocalizer.open(town.visual).localize(query)
        found = town.localize(query)
        assert found.status is expected.status
        assert found.status.has_pose
        np.testing.assert_array_equal(found.pose, expected.camera_SE3_world)
        np.testing.assert_array_equal(found.covariance, expected.covariance)
        rig = [replace(query, camera_SE3_rig=np.eye(4)) for _ in range(2)]
        np.testing.assert_allclose(town.localize(rig).pose, found.pose, atol=1e-2)
        x, y, _ = expected.centre_world
        assert town.localize(query, foldmap.SE2(x + 1.0, y, 0.0)).status is expected.status
        away = town.localize(query, foldmap.SE2(x + 30.0, y, 0.0), radius_m=20.0)
        assert (away.status, away.pose) == (foldmap.Status.NO_MATCH, None)
        assert "from the prior" in away.diagnostics.reason
        with pytest.raises(ConfigError, match="cannot be tracked"):
            town.track().step(query)


def test_a_photo_is_read_and_must_fit_its_camera(tmp_path: Path) -> None:
    from foldmap.api.photo import Photo, extractor_for
    from foldmap.visual.source import Features

    class Counting:
        feature, dimension = "sift", 128

        def extract(self, image: np.ndarray) -> Features:
            return Features(np.zeros((image.shape[0], 2), np.float32), np.zeros((image.shape[0], 128), np.uint8))

    camera = foldmap.Camera("PINHOLE", 40, 30, np.array([30.0, 30.0, 20.0, 15.0]))
    pixels = np.zeros((30, 40, 3), np.uint8)
    query = Photo(pixels, camera).query(Counting())
    assert (len(query.features.xy_px), query.camera) == (30, camera)
    from PIL import Image

    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert Photo(tmp_path / "a.png", camera).query(Counting()).name == str(tmp_path / "a.png")
    with pytest.raises(MapInputError, match="40 x 31 px, its camera 40 x 30"):
        Photo(np.zeros((31, 40, 3), np.uint8), camera).query(Counting())
    with pytest.raises(ConfigError, match="give a Query"):
        extractor_for("superpoint")


def test_streets_are_localized_and_tracked_as_by_the_localizer(tmp_path: Path) -> None:
    import street_place

    from foldmap.localize.street.localizer import StreetLocalizer
    from foldmap.localize.street.settings import StreetPrior

    street_place.write_town(tmp_path)
    streets, model = tmp_path / "town.geojson", tmp_path / "model.safetensors"
    command("fold", streets, "-o", tmp_path / "town.fold", "--model", model)
    rng = np.random.default_rng(0)
    crops = [foldmap.AerialCrop(rng.integers(0, 255, (40, 40, 3), np.uint8)) for _ in range(2)]
    with foldmap.open(tmp_path / "town.fold") as town:
        assert town.layers == ("street",)
        localizer = StreetLocalizer.open(town.street)
        for prior, disc in ((None, None), (foldmap.SE2(5.0, 0.0, 1.0), StreetPrior(5.0, 0.0, 30.0))):
            expected = localizer.localize(crops[0], disc)
            found = town.localize(crops[0], prior, radius_m=30.0)
            assert found.status is expected.status
            np.testing.assert_array_equal(found.belief, expected.belief)
        running, tracker = localizer.start(), town.track()
        for crop, moved in zip([*crops, None], [None, foldmap.SE2(3.0, 0.0, 0.0), None], strict=True):
            np.testing.assert_array_equal(tracker.step(crop, moved).belief, running.step(crop, moved).belief)
