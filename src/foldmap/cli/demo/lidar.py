"""The lidar part of ``foldmap demo``: drive 1 maps a street, drive 2 localizes in it on another day; and its report."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from foldmap.bench.lidar.baselines.image_codecs import ImageMapCodec
from foldmap.cli.demo.settings import DemoSettings, Report
from foldmap.formats.raster.write import write_map_geotiff
from foldmap.geometry import SE2, SE3
from foldmap.lidar.fold import LidarReport
from foldmap.lidar.mapping.raster import BuildSettings, build_map
from foldmap.lidar.marks.unfold import FoldedMarks
from foldmap.lidar.observation import Observation, aggregate, extent_of, rasterize
from foldmap.lidar.source import RasterMap, Sweep
from foldmap.lidar.unfold import FoldedLidar
from foldmap.localize.lidar.attempt import Attempt
from foldmap.localize.lidar.confidence import LidarEstimate
from foldmap.localize.lidar.localizer import LidarLocalizer
from foldmap.metrics import pose_errors
from foldmap.report import (
    Page,
    code_mosaic,
    embedding_image,
    error_cdf_plot,
    heatmap,
    intensity_image,
    strip,
    trajectory_plot,
)
from foldmap.report.strips import Panel
from foldmap.town import TownWorld, build_lidar, drive, street_lanes, wander
from foldmap.town.plan import arc_lengths
from foldmap.types import DoubleArray

_MAPPED_M, _SENSED_M, _CROP_M = 20.0, 25.0, 40.0


@dataclass(frozen=True)
class ShownStep:
    """One step for pictures: what was seen, and what matching around a displaced prior found."""

    observation: Observation
    prior: SE2
    truth: SE2
    found: Attempt


@dataclass
class DemoDrive:
    """What drive 2 did: the truth, odometry alone and an estimate at every step, and seconds spent in the localizer."""

    truth: list[SE2] = field(default_factory=list)
    dead_reckoned: list[SE2] = field(default_factory=list)
    estimates: list[LidarEstimate] = field(default_factory=list)
    seconds: float = 0.0
    shown: ShownStep | None = None


def find_street(world: TownWorld, settings: DemoSettings) -> DoubleArray:
    """A path along the town's lanes, float64 (N, 2), of the demo's length where 20 tries find one."""
    rng = np.random.default_rng([settings.seed, 1])
    reach = 50.0
    while not (lanes := [x for s in world.streets_near(-reach, -reach, reach, reach) for x in street_lanes(s)]):
        reach *= 2
    for _ in range(20):
        path = wander(world.plan, lanes[rng.integers(len(lanes))], settings.length_m, rng)
        arc = arc_lengths(path)
        if arc[-1] >= settings.length_m:
            break
    return path[: int(np.searchsorted(arc, settings.length_m)) + 2]


def map_street(
    output: Path, world: TownWorld, path: DoubleArray, settings: DemoSettings, resolution_m: float, report: Report
) -> float:
    """Drive 1: sweeps of one day become a GeoTIFF; returns its observed ground in m2."""
    sensor = build_lidar("spinning64", np.random.default_rng([settings.seed, 2]))
    total = math.ceil(settings.length_m / settings.spacing_m)

    def sweeps() -> Iterator[tuple[Sweep, SE3]]:
        day, speed = settings.seed * 10 + 1, 10 * settings.spacing_m
        for index, (sweep, pose, _) in enumerate(drive(world, path, day, sensor, speed, 10.0, max_range_m=_SENSED_M)):
            report(index + 1, total)
            yield sweep, pose

    build = BuildSettings(resolution_m=resolution_m, max_range_m=_MAPPED_M)
    with build_map(sweeps(), build, scratch=output.parent) as built:
        return write_map_geotiff(output, built.grid, built.tiles())


def localize_street(
    folded: FoldedLidar | FoldedMarks, world: TownWorld, path: DoubleArray, settings: DemoSettings, report: Report
) -> DemoDrive:
    """Filter along drive 2 from a GPS-like prior."""
    rng = np.random.default_rng([settings.seed, 4])
    resolution_m = folded.grid.resolution_m
    localizer, running, driven = LidarLocalizer.open(folded), None, DemoDrive()
    for index, (sweeps, poses) in enumerate(_observed(world, path, settings)):
        if index == settings.steps:
            break
        truth = poses[-1].to_se2()
        observation = rasterize(*aggregate(sweeps, poses, -1), resolution_m, *extent_of(resolution_m))
        motion = SE2(0.0, 0.0, 0.0)
        if index == 0:
            start = truth @ _drawn(rng, settings.prior_m, settings.prior_rad)
            running = localizer.start(start, settings.prior_m, settings.prior_rad)
            driven.dead_reckoned.append(start)
        else:
            motion = driven.truth[-1].inverse() @ truth
            length_m = math.hypot(motion.x_m, motion.y_m)
            motion = motion @ _drawn(rng, *(scale * length_m for scale in settings.odometry))
            driven.dead_reckoned.append(driven.dead_reckoned[-1] @ motion)
        began_s = time.perf_counter()
        assert running is not None
        driven.estimates.append(running.step(observation, motion, 0.2 if index else 0.0))
        driven.seconds += time.perf_counter() - began_s
        driven.truth.append(truth)
        if index in (0, min(settings.steps, 10) - 1):
            prior = truth @ SE2(0.4, -0.3, math.radians(1.0))
            driven.shown = ShownStep(observation, prior, truth, localizer.attempt(observation, prior))
        report(index + 1, settings.steps)
    return driven


def _observed(world: TownWorld, path: DoubleArray, settings: DemoSettings) -> Iterator[tuple[list[Sweep], list[SE3]]]:
    """Another day and another specimen of the lidar: bursts of sweeps with their poses, the last one at a step."""
    sensor = build_lidar("spinning64", np.random.default_rng([settings.seed, 3]))
    sweeps: list[Sweep] = []
    poses: list[SE3] = []
    day, speed = settings.seed * 10 + 2, 10 * settings.step_m / 2
    for index, (sweep, pose, _) in enumerate(drive(world, path, day, sensor, speed, 10.0, max_range_m=_SENSED_M)):
        sweeps, poses = [*sweeps, sweep][-settings.aggregate :], [*poses, pose][-settings.aggregate :]
        if index >= settings.aggregate - 1 and (index - settings.aggregate + 1) % 2 == 0:
            yield sweeps, poses


def _drawn(rng: np.random.Generator, sigma_m: float, sigma_rad: float) -> SE2:
    """A normal displacement: along, aside and in heading."""
    x_m, y_m = (float(value) for value in rng.normal(0, sigma_m, 2))
    return SE2(x_m, y_m, float(rng.normal(0, sigma_rad)))


def lidar_page(
    raster: RasterMap,
    folded: FoldedLidar | FoldedMarks,
    folded_as: LidarReport,
    driven: DemoDrive,
    summary: dict[str, Any],
    options: str,
    opening: Callable[[Page], None] | None = None,  # adds what the page begins with
) -> Page:
    """One self-contained page: map, embeddings, codes, a sweep, its scores, the drive, the bytes; not yet written."""
    lead = (
        f"A generated street was mapped on one day ({summary['observed_m2']:,.0f} m² of ground), folded to "
        f"{folded_as.bit_per_m2:.2f} bit/m², and localized in on another day with another lidar."
    )
    page = Page("foldmap demo", lead).command(f"foldmap demo {options}")
    if opening is not None:
        opening(page)
    page.heading("Where the bytes go").table(
        size_rows(raster, folded_as, summary["folded_file_bytes"]),
        {"what": "what", "bytes": "bytes", "bit_per_m2": "bit/m² observed", "bpp": "bit/px of raster"},
        "Whole raster at its native resolution; the file also holds, or names, what a localizer needs.",
    )
    page.heading("Localization on another day").table(
        [summary],
        {
            "steps": "steps",
            "answered": "answered",
            "median_error_cm": "median [cm]",
            "p95_error_cm": "p95 [cm]",
            "steps_per_second": "steps/s",
        },
        "Errors of all steps, the first ones included; a step without an answer has infinite error.",
    )
    poses: dict[str, list[SE2 | None]] = {"foldmap": [one.pose for one in driven.estimates]}
    poses["odometry alone"] = [*driven.dead_reckoned]
    tracks = {name: _xy(every) for name, every in poses.items()}
    plot = trajectory_plot(_xy(driven.truth), tracks, "Drive 2 from above")
    page.figure(plot, "The filter starts from a GPS-like pose and is carried by noisy odometry.")
    errors = {name: pose_errors(driven.truth, every).total_m for name, every in poses.items()}
    page.figure(error_cdf_plot(errors), "Share of the steps below an error.")
    page.heading("What the codec sees")
    for caption, picture in pictures(raster, folded, driven):
        page.figure(picture, caption)
    return page


def _xy(poses: Sequence[SE2 | None]) -> DoubleArray:
    return np.array([(pose.x_m, pose.y_m) if pose else (math.nan, math.nan) for pose in poses])


def size_rows(raster: RasterMap, folded_as: LidarReport, file_bytes: int) -> list[dict[str, Any]]:
    """Bytes of the map as PNG-16, as WebP-50, and folded."""
    sizes = {
        "PNG, 16 bit": len(ImageMapCodec("png16").encode(raster)),
        "WebP, quality 50": len(ImageMapCodec("webp", 50).encode(raster)),
        "folded file on disk": file_bytes,
        "folded tiles (payload)": folded_as.payload_bytes,
    }
    ground_m2, area_px = folded_as.observed_m2, folded_as.raster_px
    return [
        {"what": name, "bytes": size, "bit_per_m2": 8 * size / ground_m2, "bpp": 8 * size / area_px}
        for name, size in sizes.items()
    ]


def pictures(raster: RasterMap, folded: FoldedLidar | FoldedMarks, driven: DemoDrive) -> list[tuple[str, bytes]]:
    """Strips around one step of the drive, with captions."""
    shown = driven.shown
    if shown is None:
        return []
    truth, observation, found = shown.truth, shown.observation, shown.found
    side = round(_CROP_M / raster.grid.resolution_m)
    row, col = raster.grid.pixel_of(np.array([[truth.x_m, truth.y_m]]))[0]
    top = int(row - side / 2)
    left = int(col - side / 2)
    crop = raster.read(top, left, side, side)
    decoded, _ = folded.embedding(folded.grid.window(top, left, side, side))
    codes = folded.code_image(top, left, side, side)
    mapped = [("map", intensity_image(crop.intensity, crop.observed))]
    mapped.append(("decoded embedding", embedding_image(decoded)))
    made = [
        ("The map, and the embedding decoded from its code.", strip(mapped, height_in=3.4)),
        ("The binary channels of the code, all that is stored.", code_mosaic(codes)),
    ]
    panels = [
        Panel("observation", intensity_image(observation.intensity, observation.observed)),
        Panel("its embedding", embedding_image(folded.embed_observation(observation))),
    ]
    if found.match is not None:
        error, pose = shown.prior.inverse() @ truth, found.estimate.pose
        offset = shown.prior.inverse() @ pose if pose is not None else None
        places = (error.x_m, error.y_m), None if offset is None else (offset.x_m, offset.y_m)
        scores = found.match.volume.max(0)
        panels.append(heatmap(scores, raster.grid.resolution_m, *places, "scores around a prior"))
    caption = "What the vehicle sees at one step, in its own axes, and the matching scores around a displaced prior."
    return [*made, (caption, strip(panels, height_in=2.8))]
