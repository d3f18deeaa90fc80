"""Where by what stands beside the road: against worlds of poles and walls whose poses are known."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import foldmap.api.opened as fold_map
from foldmap.api.folding import LidarOptions, fold
from foldmap.api.localizing_drives import localize_drive
from foldmap.api.localizing_sweeps import localize_sweeps
from foldmap.atlas import FoldFile, FoldWriter
from foldmap.errors import ConfigError
from foldmap.formats.raster.write import write_map_geotiff
from foldmap.geometry import SE2, SE3, MetricGrid
from foldmap.lidar.mapping.raster import BuildSettings, MapTile, build_map
from foldmap.lidar.marks.outline import fold_outline, open_outline
from foldmap.lidar.marks.unfold import FoldedMarks
from foldmap.lidar.observation import SweepStack
from foldmap.lidar.source import RasterMap, Sweep
from foldmap.localize.estimate import Status
from foldmap.localize.journey.estimate import JourneyEstimate, JourneySettings
from foldmap.localize.journey.events import OdometryEvent, SweepEvent
from foldmap.localize.journey.journey import Journey
from foldmap.localize.journey.senses import Layers
from foldmap.localize.lidar.anywhere import localize_anywhere
from foldmap.localize.lidar.outline import Around, OutlineMatch, OutlineMatcher, WholeOutline
from foldmap.types import DoubleArray
from tests.localize.outlined_street import MARKS, SENSOR_M, painted_map, poles_and_walls, sweep_at


@pytest.fixture(scope="module")
def street() -> DoubleArray:
    return poles_and_walls(1)


@pytest.fixture(scope="module")
def folded(street: DoubleArray, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FoldedMarks]:
    folder = tmp_path_factory.mktemp("outline")
    poses = [SE2(x, 0.3 * np.sin(x / 9), 0.02 * np.cos(x / 9)) for x in np.arange(0.0, 70.0, 3.5)]
    drive = ((sweep_at(street, pose), SE3.from_se2(pose, SENSOR_M)) for pose in poses)
    with build_map(drive, BuildSettings(resolution_m=0.25), scratch=folder) as built:
        standing = built.standing()
    with FoldWriter(folder / "street.fold") as writer:
        assert fold_outline(writer, standing) > 0
        writer.commit()
    with FoldFile.open(folder / "street.fold") as file:
        found = open_outline(file)
        assert found is not None
        yield found


def test_cells_are_those_in_which_something_stands(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    stands, known = rng.random((700, 530)) < 0.01, rng.random((700, 530)) < 0.5
    raster = RasterMap(MetricGrid(100.0, 900.0, 0.25, 700, 530), stands.astype(np.float32), known | stands)
    with FoldWriter(tmp_path / "a.fold") as writer:
        fold_outline(writer, raster, "counter-clockwise")
        writer.commit()
    with FoldFile.open(tmp_path / "a.fold") as file:
        found = open_outline(file)
        assert found is not None
        drawn, _ = found.embedding(found.grid)
        assert WholeOutline(found).spin == 1
    np.testing.assert_array_equal(drawn[0] > 0, stands.reshape(350, 2, 265, 2).any((1, 3)))
    assert (found.grid.west_m, found.grid.north_m, found.grid.resolution_m) == (100.0, 900.0, 0.5)


@pytest.mark.parametrize(("deskew", "spin"), [(True, 1), (False, 0)])
def test_a_journey_begins_with_what_the_map_says_of_its_sweeps(deskew: bool, spin: int, folded: FoldedMarks) -> None:
    outline = WholeOutline(folded)
    outline.spin = 1
    assert Journey(Layers(outline=outline), None, JourneySettings(deskew=deskew)).spin.spin == spin


def test_where_nothing_stands_there_is_no_layer(tmp_path: Path) -> None:
    empty = RasterMap(MetricGrid(0.0, 0.0, 0.25, 64, 64), np.zeros((64, 64), np.float32), np.ones((64, 64), np.bool_))
    with FoldWriter(tmp_path / "a.fold") as writer:
        writer.put_layer("lidar", "lidar", {})
        assert fold_outline(writer, empty) == 0
        writer.commit()
    with FoldFile.open(tmp_path / "a.fold") as file:
        assert [layer.name for layer in file.layers()] == ["lidar"]
        assert open_outline(file) is None


def test_the_outline_of_a_built_map_comes_and_goes_with_it(tmp_path: Path) -> None:
    rng, grid = np.random.default_rng(0), MetricGrid(0.0, 12.8, 0.05, 256, 256)
    intensity, count = rng.random((256, 256)).astype(np.float32), np.ones((256, 256), np.int64)
    for name, stands in (("map", rng.random((256, 256)) < 1e-3), ("bare", None)):
        write_map_geotiff(tmp_path / f"{name}.tif", grid, [MapTile(0, 0, intensity, count, intensity / 9, stands)])
    out = tmp_path / "a.fold"

    def layers(source: str, options: LidarOptions = MARKS, **how: bool) -> list[str]:
        fold(tmp_path / source, out, lidar=options, **how)  # type: ignore[arg-type]
        with FoldFile.open(out) as file:
            return [layer.name for layer in file.layers()]

    assert layers("map.tif") == ["lidar", "outline"]
    with fold_map.open(out) as town:
        assert town.outline is not None
        assert town.lidar.parameters["codec"] == "marks-1"
        assert not town.lidar.parameters.get("upright")
    assert layers("map.tif", replace(MARKS, outline=False)) == ["lidar"]
    assert layers("map.tif", into=True) == ["lidar", "outline"]
    assert layers("bare.tif", into=True) == ["lidar"]  # not that of another map
    assert layers("map.tif", into=True) == ["lidar", "outline"]
    fold(tmp_path / "bare.tif", out, update=True)  # says nothing of what stands
    with FoldFile.open(out) as file:
        assert open_outline(file) is not None


@pytest.mark.parametrize("truth", [SE2(24.3, 0.4, 0.05), SE2(41.7, -0.6, 3.0)])
def test_a_sweep_is_laid_on_what_stands(street: DoubleArray, folded: FoldedMarks, truth: SE2) -> None:
    points = Around.of(sweep_at(street, truth))
    found = OutlineMatcher(folded).match(points, truth @ SE2(0.5, -0.4, 0.02))
    assert found is not None
    assert found.sure
    apart = truth.inverse() @ found.pose
    assert np.hypot(apart.x_m, apart.y_m) < 0.12
    assert abs(np.degrees(apart.heading_rad)) < 0.4
    assert np.sqrt(found.covariance[0, 0]) < 0.5


def test_a_place_is_found_in_the_whole_of_it(street: DoubleArray, folded: FoldedMarks) -> None:
    whole, truth = WholeOutline(folded), SE2(33.0, 0.2, -2.1)
    assert whole.fits
    assert whole.begin(Around.of(sweep_at(street, truth)))
    found = list[SE2]()
    while not whole.idle:
        found = whole.advance(50)
    assert np.hypot(found[0].x_m - truth.x_m, found[0].y_m - truth.y_m) < 1.0
    assert whole.advance(50) == []  # nothing is asked


def test_another_street_fits_nowhere(folded: FoldedMarks) -> None:
    whole = WholeOutline(folded)
    for seed, at in ((2, SE2(30.0, 0.0, 0.0)), (5, SE2(12.0, 1.0, 1.0))):
        assert whole.begin(Around.of(sweep_at(poles_and_walls(seed), at)))
        points = Around.of(sweep_at(poles_and_walls(seed), at))
        assert not any((one := whole.matcher.match(points, pose)) and one.sure for pose in whole.advance(160))


@pytest.fixture(scope="module")
def painted(street: DoubleArray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return painted_map(street, tmp_path_factory.mktemp("painted"))


@pytest.mark.parametrize("given", [True, False], ids=["odometry", "sweeps alone"])
def test_a_drive_begins_anywhere_without_priors(
    street: DoubleArray, painted: Path, tmp_path: Path, given: bool
) -> None:
    truth = [SE2(25.0 + 0.8 * k, 0.4, 0.01 * k) for k in range(22)]
    (tmp_path / "sweeps").mkdir()
    rows = []
    for k, pose in enumerate(truth):
        sweep = sweep_at(street, pose, paint=True)
        columns = np.column_stack([sweep.points_sensor_m, sweep.intensity]).astype("<f4")
        columns.tofile(tmp_path / "sweeps" / f"{k:06d}.bin")
        moved = truth[0].inverse() @ pose
        turn = 0.5 * moved.heading_rad
        rows.append(f"{0.1 * k:.1f} {moved.x_m} {moved.y_m} 0 0 0 {np.sin(turn)} {np.cos(turn)}")
    (tmp_path / "odometry.txt").write_text("\n".join(rows) + "\n")
    with fold_map.open(painted) as town:
        odometry = tmp_path / "odometry.txt" if given else None
        ran = localize_sweeps(town, tmp_path / "sweeps", odometry=odometry, intensity_scale=1.0)
    answers = [one.estimate for one in ran.observations]
    placed = [(answer, pose) for answer, pose in zip(answers, truth, strict=True) if answer.pose is not None]
    assert len(placed) >= 5
    for answer, pose in placed:
        assert isinstance(answer.pose, SE2)
        assert np.hypot(answer.pose.x_m - pose.x_m, answer.pose.y_m - pose.y_m) < 0.5
    assert ran.summary()["begins"] == "anywhere in the map"
    # the times are those of the odometry, by which truth is paired; without, numbers of the sweeps
    assert [one.time for one in ran.observations] == [f"{0.1 * k if given else k:.6f}" for k in range(len(truth))]
    if given:
        return
    table = "".join(f"{0.1 * k},sweeps/{k:06d}.bin\n" for k in range(len(truth)))
    (tmp_path / "sweeps.csv").write_text("time_s,file\n" + table)
    told = {"foldmap_drive": 1, "intensity_scale": 1.0, "sweeps": "sweeps.csv"}
    (tmp_path / "drive.json").write_text(json.dumps(told))
    with fold_map.open(painted) as town:
        driven = localize_drive(town, tmp_path)
    read = [one for one in answers if one.status is not Status.NO_OBSERVATION]  # a bad sweep has no line in a drive
    assert [one.estimate.pose for one in driven.observations] == [one.pose for one in read]
    assert "the drive brings no odometry" in driven.notes[0]


def skewed_sweep(street: DoubleArray, pose: SE2, spin: int, moved_m: float) -> Sweep:
    """As a lidar sees it that spins while it moves ahead by so much a turn."""
    sweep = sweep_at(street, pose, paint=True)
    points, seen_at = sweep.points_sensor_m, sweep.points_sensor_m.copy()
    for _ in range(5):  # where a point is seen depends on when
        seen_at[:, 0] = points[:, 0] - spin * moved_m * np.arctan2(seen_at[:, 1], seen_at[:, 0]) / (2 * np.pi)
    return Sweep(seen_at, sweep.intensity)


@pytest.mark.parametrize("spin", [-1, 0, 1], ids=["as the map says", "put together", "the other way"])
def test_nothing_is_sure_before_the_drive_tells_how_its_lidar_spins(
    spin: int, street: DoubleArray, painted: Path
) -> None:
    """A map that says clockwise, of points that were measured while the vehicle moved: what stands tells which way."""
    truth, moved_m = [SE2(10.0 + 1.2 * k, 0.4, 0.0) for k in range(22)], 1.2
    with fold_map.open(painted) as town:
        assert town.outline is not None
        outline = WholeOutline(town.outline)
        outline.spin = -1
        journey, given = Journey(Layers(town.lidar_localizer(), outline=outline)), list[tuple[JourneyEstimate, SE2]]()
        for k, pose in enumerate(truth):
            if k:
                journey.step(OdometryEvent(0.1 * k, SE2(moved_m, 0.0, 0.0)))
            estimate = journey.step(SweepEvent(0.1 * k, skewed_sweep(street, pose, spin, moved_m)))
            assert estimate is not None
            given.append((estimate, pose))
    off_m = [
        np.hypot(found.pose.x_m - pose.x_m, found.pose.y_m - pose.y_m)
        for found, pose in given
        if found.status is Status.OK and found.pose is not None
    ]
    assert len(off_m) >= 5
    assert max(off_m) < 0.2
    assert (journey.spin.spin, journey.spin.told) == (spin, True)


def test_a_short_drive_with_priors_is_put_together_as_the_map_tells(
    street: DoubleArray, painted: Path, tmp_path: Path
) -> None:
    """Twelve metres are too few for sweeps to tell it by themselves."""
    rows = []
    for k in range(11):
        sweep = skewed_sweep(street, SE2(10.0 + 1.2 * k, 0.4, 0.0), 1, 1.2)
        columns = np.column_stack([sweep.points_sensor_m, sweep.intensity]).astype("<f4")
        columns.tofile(tmp_path / f"{k:06d}.bin")
        rows.append(f"1 0 0 {10.0 + 1.2 * k} 0 1 0 0.4 0 0 1 {SENSOR_M}")
    (tmp_path / "poses.txt").write_text("\n".join(rows) + "\n")
    with fold_map.open(painted) as town:
        ran = localize_sweeps(town, tmp_path, tmp_path / "poses.txt", intensity_scale=1.0)
    assert ran.summary()["deskewed"] == "counter-clockwise"


def test_one_sweep_finds_itself_without_a_prior(street: DoubleArray, painted: Path) -> None:
    at = SE2(31.0, 0.3, 0.4)
    sweep = sweep_at(street, at, paint=True)
    with fold_map.open(painted) as town:
        found = town.localize(sweep)
        assert found.status in (Status.OK, Status.DEGRADED)
        assert isinstance(found.pose, SE2)
        assert np.hypot(found.pose.x_m - at.x_m, found.pose.y_m - at.y_m) < 0.3
        assert abs(found.pose.heading_rad - at.heading_rad) < np.radians(1.0)
        elsewhere = town.localize(sweep_at(poles_and_walls(2), at))
        assert (elsewhere.status, elsewhere.pose) == (Status.NO_MATCH, None)
        open_country = town.localize(sweep_at(np.zeros((0, 2)), at))
        assert open_country.diagnostics.reason == "too little stands around to tell a place"
        with pytest.raises(ConfigError, match="prior"):
            town.localize([(sweep, SE3.from_se2(at, SENSOR_M))] * 2)


def test_near_a_prior_what_stands_answers_where_the_ground_does_not_tell(street: DoubleArray, painted: Path) -> None:
    """A sweep that sees no paint; by a prior that is off by more than is said, or elsewhere, nothing is answered."""
    at = SE2(31.0, 0.3, 0.1)
    bare, radius_m = sweep_at(street, at), 1.0
    with fold_map.open(painted) as town:
        alone = town.lidar_localizer()
        for ahead_m, left_m in ((0.0, 0.0), (0.7, -0.6), (-0.8, 0.4)):
            prior = at @ SE2(ahead_m, left_m, 0.04)
            image = SweepStack(town.lidar.grid.resolution_m, 1).add(bare, SE3.from_se2(prior))
            assert alone.localize(image, prior, radius_m).pose is None
            found = town.localize(bare, prior, radius_m)
            assert found.status is Status.DEGRADED
            assert isinstance(found.pose, SE2)
            assert np.hypot(found.pose.x_m - at.x_m, found.pose.y_m - at.y_m) < 0.3
            assert found.diagnostics.reason.startswith("by what stands around")
        for ahead_m in (-2.5, -1.8, 1.8, 2.5, 20.0):
            assert town.localize(bare, at @ SE2(ahead_m, 0.0, 0.0), radius_m).pose is None
        assert town.localize(sweep_at(poles_and_walls(2), at), at, radius_m).pose is None


def test_of_two_places_that_look_alike_neither_is_answered() -> None:
    twins, seen = [SE2(0.0, 0.0, 0.0), SE2(60.0, 0.0, 0.0)], sweep_at(poles_and_walls(1), SE2(30.0, 0.0, 0.0))

    class Both:
        fits = True

        def locate(self, seen: Around) -> list[OutlineMatch]:
            return [OutlineMatch(pose, np.eye(3) * 0.01, 0.9, 0.99) for pose in twins]

    found = localize_anywhere(None, Both(), seen, None)  # type: ignore[arg-type]
    assert (found.status, found.pose) == (Status.AMBIGUOUS, None)
    assert found.diagnostics.reason == "what stands around fits two places"


def test_open_country_tells_no_place(folded: FoldedMarks) -> None:
    points = Around.of(sweep_at(np.zeros((0, 2)), SE2(0.0, 0.0, 0.0)))
    assert not WholeOutline(folded).begin(points)
    assert OutlineMatcher(folded).match(points, SE2(30.0, 0.0, 0.0)) is None


def test_along_bare_walls_the_covariance_is_wide() -> None:
    """Two walls without an end tell across, and nothing along."""
    along = np.arange(-60.0, 60.0, 0.1)
    walls = np.concatenate([np.stack([along, np.full(len(along), off)], 1) for off in (-6.1, 6.1)])
    cells = np.zeros((1, 240, 320), np.float32)
    for x, y in walls:
        cells[0, int((60.0 - y) / 0.5), int((x + 80.0) / 0.5)] = 1.0

    class Drawn:
        grid = MetricGrid(-80.0, 60.0, 0.5, 240, 320)
        cell_m = 0.5

        def embedding(self, window: MetricGrid) -> tuple[np.ndarray, np.ndarray]:
            row, col = self.grid.offset_of(window)
            inside = cells[:, row : row + window.height_px, col : col + window.width_px]
            return inside, inside[0] > 0

        def marks_near(self, x_m: float, y_m: float, reach_m: float) -> DoubleArray:
            return walls

    found = OutlineMatcher(Drawn()).match(Around.of(sweep_at(walls, SE2(0.0, 0.0, 0.0))), SE2(0.0, 0.0, 0.0))  # type: ignore[arg-type]
    assert found is not None
    along_m, across_m = np.sqrt(np.diag(found.covariance)[:2])
    assert across_m < 0.3
    assert along_m > 1.0
