"""``foldmap demo``: a generated town is mapped on one day, folded, driven through and photographed on another."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foldmap.cli.common import bar, make_folder, put, save_settings, say, write_text
from foldmap.cli.demo.street import DemoStreets, StreetSettings, add_streets
from foldmap.cli.demo.street import summary_of as street_summary
from foldmap.cli.demo.visual import DemoPhotos, PhotoSettings, add_photos, summary_of
from foldmap.errors import ConfigError, MissingExtraError, ModelError

if TYPE_CHECKING:
    from foldmap.geometry import SE2, SE3
    from foldmap.lidar.bundle import Bundle
    from foldmap.lidar.source import Sweep
    from foldmap.lidar.unfold import FoldedLidar
    from foldmap.localize.estimate import Estimate
    from foldmap.types import DoubleArray

EXAMPLES = "\b\nExamples:\n  foldmap demo -o out/demo\n  foldmap demo -o out/other --seed 7"


@dataclass(frozen=True)
class DemoSettings:
    """How long the demo is.

    Attributes:
        seed: of the town, the days and all noise.
        length_m: of the street that drive 1 maps.
        spacing_m: between its sweeps.
        steps: of drive 2.
        step_m: between them.
        aggregate: sweeps an observation.
        prior_m: standard deviation of the GPS-like first pose, in each axis.
        prior_rad: the same in heading.
        odometry: standard deviation of odometry per metre, in metres and in radians.
        photos: the visual layer's part; None leaves it out.
        streets: the street layer's part; None leaves it out.
    """

    seed: int = 0
    length_m: float = 160.0
    spacing_m: float = 1.0
    steps: int = 40
    step_m: float = 2.0
    aggregate: int = 5
    prior_m: float = 0.5
    prior_rad: float = math.radians(1.0)
    odometry: tuple[float, float] = (0.02, 0.001)
    photos: PhotoSettings | None = field(default_factory=PhotoSettings)
    streets: StreetSettings | None = field(default_factory=StreetSettings)

    def __post_init__(self) -> None:
        if not (self.length_m > 0 and self.spacing_m > 0 and self.step_m > 0 and self.steps >= 1):
            raise ConfigError(f"a demo of {self.length_m} m and {self.steps} steps", "give positive lengths and steps")


@dataclass
class DemoDrive:
    """What drive 2 did.

    Attributes:
        truth: world_SE2_vehicle of every step.
        dead_reckoned: the first prior carried on by odometry alone.
        estimates: one a step.
        seconds: spent in the localizer.
        shown: the observation and the scores of one step, for pictures.
    """

    truth: list[SE2] = field(default_factory=list)
    dead_reckoned: list[SE2] = field(default_factory=list)
    estimates: list[Estimate] = field(default_factory=list)
    seconds: float = 0.0
    shown: dict[str, Any] = field(default_factory=dict)


def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the map, the file and the report.")],
    seed: Annotated[int, typer.Option(help="Another seed is another town.")] = 0,
    model: Annotated[Path | None, typer.Option(help="A model of foldmap train; a shipped one where left out.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Map a generated town by lidar, photos and lanes, fold all into one file, localize in it, write a report."""
    from foldmap.lidar.bundle import read_bundle
    from foldmap.lidar.defaults import default_bundle

    bundle = read_bundle(model) if model is not None else default_bundle(0.05)
    put(run_demo(output, bundle, DemoSettings(seed=seed)), as_json)


def run_demo(folder: Path, bundle: Bundle, settings: DemoSettings) -> dict[str, Any]:
    """Run the demo and write map.tif, map.fold, estimates.txt and index.html.

    Args:
        folder: made where missing.
        bundle: the operating point to fold with.
        settings: how long it is.

    Returns:
        The summary that the command prints.
    """
    from foldmap import __version__
    from foldmap.atlas import FoldFile, FoldWriter
    from foldmap.cli.demo.page import demo_page
    from foldmap.cli.demo.street_page import add_street
    from foldmap.cli.demo.visual_page import add_visual
    from foldmap.cli.localize.command import json_lines, tum_rows
    from foldmap.formats.raster.geotiff import open_raster
    from foldmap.lidar.fold import LidarPlan, fold_lidar
    from foldmap.lidar.unfold import FoldedLidar

    started_s = time.perf_counter()
    make_folder(folder)
    world_and_path = _street(settings)
    with bar("Drive 1 maps the street") as report:
        observed_m2 = _map(folder / "map.tif", *world_and_path, settings, bundle.resolution_m, report)
    with bar("Folding") as report, open_raster(folder / "map.tif") as source:
        provenance = {"map": "generated town", **asdict(settings)}
        with FoldWriter(folder / "map.fold") as writer:
            folded_as = fold_lidar(writer, source, LidarPlan(bundle, tile_blocks=1), report=report)
            provenance |= {"model": bundle.name, "trained": bundle.provenance}
            writer.put_metadata("provenance", {"foldmap": __version__, **provenance})
        file_bytes = (folder / "map.fold").stat().st_size
        raster = source.read(0, 0, *source.grid.shape)
    made = _photos(folder / "map.fold", settings)
    streets = _streets(folder / "map.fold", world_and_path[0], settings)
    with FoldFile.open(folder / "map.fold") as file:
        folded = FoldedLidar(file)
        with bar("Drive 2 localizes") as report:
            driven = _localize(folded, *world_and_path, settings, report)
        times_s = [0.1 * index for index in range(len(driven.truth))]
        write_text(folder / "estimates.txt", tum_rows(times_s, driven.estimates, [0.0] * len(times_s)))
        names = [f"step {index}" for index in range(len(times_s))]
        write_text(folder / "estimates.txt.jsonl", json_lines(list(zip(times_s, names, driven.estimates, strict=True))))
        save_settings(folder / "demo", "demo", {**asdict(settings), "model": bundle.name})
        summary = _summary(folder, driven, folded_as.bit_per_m2, file_bytes, observed_m2)
        page = demo_page(raster, folded, folded_as, driven, summary, settings, folder.name)
    if made is not None:
        photographed = summary_of(made)
        add_visual(page, folder / "map.fold", made, photographed)
        summary |= {**photographed, "file_bytes": (folder / "map.fold").stat().st_size}
    if streets is not None:
        add_street(page, folder / "map.fold", streets)
        summary |= {**street_summary(streets), "file_bytes": (folder / "map.fold").stat().st_size}
    page.write(folder / "index.html")
    summary["seconds"] = round(time.perf_counter() - started_s, 1)
    return {**summary, "report": str(folder / "index.html")}


def _photos(path: Path, settings: DemoSettings) -> DemoPhotos | None:
    """The visual layer, or one line that says why there is none."""
    if settings.photos is None:
        return None
    try:
        with bar("Photos join the file") as report:
            return add_photos(path, settings.seed, settings.photos, report)
    except MissingExtraError as error:
        say(f"photos left out: {error.message} ({error.cure})")
        return None


def _streets(path: Path, world: Any, settings: DemoSettings) -> DemoStreets | None:
    """The street layer, or one line that says what of it is left out."""
    from foldmap.street.defaults import default_model

    if settings.streets is None:
        return None
    finder = None
    try:
        model = default_model()
    except ModelError as error:
        say(f"lanes left out: {error.message} ({error.cure})")
        return None
    try:
        finder = default_model(update=True)
    except ModelError as error:
        say(f"changes of lanes left out: {error.message} ({error.cure})")
    with bar("Lanes join the file") as report:
        return add_streets(path, world, settings.streets, (model, finder), report)


def _street(settings: DemoSettings) -> tuple[Any, DoubleArray]:
    """A town and a path through it."""
    import numpy as np

    from foldmap.town import TownWorld, street_lanes, wander

    world = TownWorld(settings.seed, extent_m=2000.0)
    rng = np.random.default_rng([settings.seed, 1])
    reach = 50.0
    while not (lanes := [x for s in world.streets_near(-reach, -reach, reach, reach) for x in street_lanes(s)]):
        reach *= 2
    for _ in range(20):
        path = wander(world.plan, lanes[rng.integers(len(lanes))], settings.length_m, rng)
        arc = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
        if arc[-1] >= settings.length_m:
            break
    return world, path[: int(np.searchsorted(arc, settings.length_m)) + 2]


def _map(
    output: Path,
    world: Any,
    path: DoubleArray,
    settings: DemoSettings,
    resolution_m: float,
    report: Callable[[int, int], None],
) -> float:
    """Drive 1: sweeps of one day become a map; returns its observed ground in m2."""
    import numpy as np

    from foldmap.formats.raster.write import write_map_geotiff
    from foldmap.lidar.build.raster import BuildSettings, build_map
    from foldmap.town import build_lidar, drive

    sensor = build_lidar("spinning64", np.random.default_rng([settings.seed, 2]))
    total = math.ceil(settings.length_m / settings.spacing_m)
    build = BuildSettings(resolution_m=resolution_m, max_range_m=20.0)

    def looks() -> Any:
        passing = drive(world, path, settings.seed * 10 + 1, sensor, 10 * settings.spacing_m, 10.0, max_range_m=25.0)
        for index, (sweep, pose, _) in enumerate(passing):
            report(index + 1, total)
            yield sweep, pose

    with build_map(looks(), build, scratch=output.parent) as built:
        return write_map_geotiff(output, built.grid, built.tiles())


def _passing(world: Any, path: DoubleArray, settings: DemoSettings) -> Any:
    """Drive 2: another day and another specimen of the lidar; yields bursts of sweeps, the last one at a step."""
    import numpy as np

    from foldmap.town import build_lidar, drive

    sensor = build_lidar("spinning64", np.random.default_rng([settings.seed, 3]))
    kept: list[tuple[Sweep, SE3]] = []
    speed = 10 * settings.step_m / 2
    for index, (sweep, pose, _) in enumerate(
        drive(world, path, settings.seed * 10 + 2, sensor, speed, 10.0, max_range_m=25.0)
    ):
        kept = [*kept[-settings.aggregate + 1 :], (sweep, pose)] if settings.aggregate > 1 else [(sweep, pose)]
        if index >= settings.aggregate - 1 and (index - settings.aggregate + 1) % 2 == 0:
            yield kept


def _localize(
    folded: FoldedLidar, world: Any, path: DoubleArray, settings: DemoSettings, report: Callable[[int, int], None]
) -> DemoDrive:
    """Filter along drive 2 from a GPS-like prior."""
    import numpy as np

    from foldmap.geometry import SE2
    from foldmap.lidar.observation import aggregate, rasterize
    from foldmap.lidar.observations import extent_of
    from foldmap.localize.lidar.localizer import LidarLocalizer

    rng = np.random.default_rng([settings.seed, 4])
    localizer, driven = LidarLocalizer(folded), DemoDrive()
    for index, burst in enumerate(_passing(world, path, settings)):
        if index == settings.steps:
            break
        sweeps, poses = zip(*burst, strict=True)
        truth = poses[-1].to_se2()
        points, intensity = aggregate(sweeps, poses, -1)
        observation = rasterize(points, intensity, folded.grid.resolution_m, *extent_of(folded.grid.resolution_m))
        if index == 0:
            east_m, north_m = (float(value) for value in rng.normal(0, settings.prior_m, 2))
            prior = truth @ SE2(east_m, north_m, float(rng.normal(0, settings.prior_rad)))
            localizer.start(prior, settings.prior_m, settings.prior_rad)
            driven.dead_reckoned.append(prior)
            motion = SE2(0.0, 0.0, 0.0)
        else:
            motion = driven.truth[-1].inverse() @ truth
            length_m = math.hypot(motion.x_m, motion.y_m)
            shift, turn = (scale * length_m for scale in settings.odometry)
            ahead_m, aside_m = (float(value) for value in rng.normal(0, shift, 2))
            motion = motion @ SE2(ahead_m, aside_m, float(rng.normal(0, turn)))
            driven.dead_reckoned.append(driven.dead_reckoned[-1] @ motion)
        began_s = time.perf_counter()
        driven.estimates.append(localizer.step(observation, motion, 0.2 if index else 0.0))
        driven.seconds += time.perf_counter() - began_s
        driven.truth.append(truth)
        if index in (0, min(settings.steps, 10) - 1):
            prior = truth @ SE2(0.4, -0.3, math.radians(1.0))
            found = localizer.attempt_once(observation, prior)
            driven.shown = {"observation": observation, "prior": prior, "truth": truth, "found": found}
        report(index + 1, settings.steps)
    return driven


def _summary(folder: Path, driven: DemoDrive, bit_per_m2: float, file_bytes: int, observed_m2: float) -> dict[str, Any]:
    from foldmap.metrics import pose_errors, summarize

    errors = pose_errors(driven.truth, [estimate.pose for estimate in driven.estimates])
    total = summarize(errors.total_m)
    return {
        "observed_m2": round(observed_m2, 1),
        "map_tif_bytes": (folder / "map.tif").stat().st_size,
        "folded_file_bytes": file_bytes,
        "bit_per_m2": bit_per_m2,
        "steps": len(driven.truth),
        "answered": sum(estimate.pose is not None for estimate in driven.estimates),
        "median_error_cm": 100 * total.median_m,
        "p95_error_cm": 100 * total.p95_m,
        "steps_per_second": len(driven.truth) / max(driven.seconds, 1e-9),
    }
