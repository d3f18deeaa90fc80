"""The lidar benchmark on anybody's drive: matching, localizing online, pictures, one page."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from foldmap.bench.baselines import ImageMapCodec, MapCodec, ThresholdMapCodec, standard_codecs
from foldmap.bench.cases import Case, Method, Search
from foldmap.bench.drive import Drive, load_drive
from foldmap.bench.learned import LearnedCodec, LearnedMatcher, LearnedOnline, observe
from foldmap.bench.ncc_matcher import NccMatcher
from foldmap.bench.online_protocol import ONLINE_COLUMNS, OnlineProtocol, TrackingLocalizer, online_row, run_online
from foldmap.bench.predict import predict_all
from foldmap.bench.protocol import DriveProtocol, GivenMapProtocol
from foldmap.bench.tables import to_csv, to_json, write_matching
from foldmap.errors import ConfigError
from foldmap.formats.poses import read_poses
from foldmap.formats.sweeps import open_sweeps
from foldmap.lidar.bundle import Bundle
from foldmap.lidar.defaults import bundles_for
from foldmap.lidar.source import RasterMap
from foldmap.report import Page, embedding_image, intensity_image, strip

COARSE_M = 0.15
_QUICK_QUERIES = 12


@dataclass(frozen=True)
class BenchSettings:
    """What decides a benchmark apart from its data.

    Attributes:
        resolution_m: of leave-out maps; a given map has its own.
        radius_m: priors are off by up to this, in x and in y.
        heading_rad: and by up to this in heading.
        guard: frames left out of the map on each side of a query.
        sweeps: frames a query.
        every: a query at every so many frames.
        methods: keep methods whose name starts with one of these; all where empty.
        online: localize along the drive too.
        quick: a dozen queries and four baselines.
        seed: of the priors.
    """

    resolution_m: float = 0.05
    radius_m: float = 1.0
    heading_rad: float = math.radians(5.0)
    guard: int = 15
    sweeps: int = 5
    every: int = 3
    methods: tuple[str, ...] = ()
    online: bool = False
    quick: bool = False
    seed: int = 0


def read_drive(
    sweeps: str | Path, poses: Path, calibration: Path | None = None, intensity_scale: float | None = None
) -> Drive:
    """Read a drive's ground returns from sweeps and poses on disk; errors as the readers'."""
    sequence = open_sweeps(sweeps, intensity_scale)
    world_SE3_sensors = read_poses(poses, calibration).for_sweeps(len(sequence))
    return load_drive(Path(str(sweeps)).name, sequence, world_SE3_sensors)


def run_bench(
    drive: Drive,
    folder: Path,
    settings: BenchSettings,
    *,
    bundles: Sequence[Bundle] | None = None,
    raster: RasterMap | None = None,
    map_name: str = "",
    report: Callable[[int, int], None] = lambda done, total: None,
) -> list[dict[str, Any]]:
    """Measure the learned codec and the classical ones.

    Args:
        drive: the queries and, without a raster, the maps.
        folder: gets matching.json and .csv, plots, index.html and, online, online.json, .csv and .html. Answers are
            kept in ``answers`` and used again.
        settings: the protocol.
        bundles: operating points; the shipped ones for this resolution where None.
        raster: match in this map instead of the drive's leave-out maps.
        map_name: of the raster.
        report: called with queries done and in all.

    Returns:
        The rows of the matching table.

    Raises:
        FoldmapError: the drive is too short, no method is left, or no model fits the resolution.
    """
    resolution_m = raster.grid.resolution_m if raster is not None else settings.resolution_m
    half_m = (15.0, 12.0) if resolution_m < COARSE_M else (20.0, 20.0)
    protocol = _protocol(drive, settings, raster, map_name, half_m)
    chosen = _methods(settings, resolution_m, bundles, half_m)
    results = predict_all(chosen, protocol, folder / "answers", report)
    lead = (
        f"{len(protocol)} queries of {settings.sweeps} sweeps of {drive.name}, priors off by up to "
        f"{settings.radius_m:g} m and {math.degrees(settings.heading_rad):g} degrees, "
        + ("in a given map." if raster is not None else f"maps without {settings.guard} sweeps on each side.")
    )
    learned = [method.codec for method in chosen if isinstance(method.codec, LearnedCodec)]
    first = next(iter(protocol.cases()))
    strips = [(f"Query {first.name} and its map through {c.name}.", _strip(first, c, half_m)) for c in learned]
    command = f"foldmap bench lidar --sweeps {drive.name} -o {folder.name}"
    rows = write_matching(results, folder, "foldmap lidar benchmark", lead, command, strips)
    (folder / "settings.json").write_text(to_json([asdict(settings)]), encoding="utf-8")
    if settings.online:
        _online(drive, folder, settings, chosen, half_m, report)
    return rows


def _protocol(
    drive: Drive, settings: BenchSettings, raster: RasterMap | None, map_name: str, half_m: tuple[float, float]
) -> DriveProtocol | GivenMapProtocol:
    search = Search(settings.radius_m, settings.heading_rad)
    every = settings.every
    if settings.quick:
        every = max(every, math.ceil((len(drive.frames) - settings.sweeps + 1) / _QUICK_QUERIES))
    if raster is not None:
        return GivenMapProtocol(
            drive, raster, map_name, settings.sweeps, every, *half_m, search=search, seed=settings.seed
        )
    return DriveProtocol(
        drive,
        settings.resolution_m,
        settings.sweeps,
        every,
        guard=settings.guard,
        half_length_m=half_m[0],
        half_width_m=half_m[1],
        search=search,
        seed=settings.seed,
    )


def _methods(
    settings: BenchSettings, resolution_m: float, bundles: Sequence[Bundle] | None, half_m: tuple[float, float]
) -> list[Method]:
    """The learned operating points and the baselines, those that were asked for."""
    wanted = settings.methods
    every: list[Method] = []
    if not wanted or any(name.startswith("foldmap") for name in wanted):
        points = list(bundles) if bundles is not None else bundles_for(resolution_m)
        every += [Method(LearnedCodec(b), LearnedMatcher(*half_m), {"trained": b.provenance}) for b in points]
    coarse = 8 * resolution_m
    codecs: Sequence[MapCodec] = standard_codecs(resolution_m)
    if settings.quick:
        codecs = [
            ImageMapCodec("png16"),
            ImageMapCodec("webp", 5),
            ImageMapCodec("avif", 20, 4),
            ThresholdMapCodec(coarse),
        ]
    every += [Method(codec, NccMatcher()) for codec in codecs]
    kept = [method for method in every if not wanted or method.name.startswith(tuple(wanted))]
    if not kept:
        known = ", ".join(sorted({method.name.split("-")[0].split(" ")[0] for method in every}))
        raise ConfigError(f"no method starts with {' or '.join(wanted)}", f"choose from {known}")
    return kept


def _strip(case: Case, codec: LearnedCodec, half_m: tuple[float, float]) -> bytes:
    """Map, decoded embedding, query and its embedding, around one query (figures 5 to 12 of the paper)."""
    grid, true = case.raster.grid, case.world_SE2_true
    row = round((grid.north_m - true.y_m - half_m[0]) / grid.resolution_m)
    column = round((true.x_m - half_m[0] - grid.west_m) / grid.resolution_m)
    side = round(2 * half_m[0] / grid.resolution_m)
    crop = case.raster.read(row, column, side, side)
    unfolded = codec.decode(codec.encode(case.raster))
    decoded, _ = unfolded.embedding(grid.window(row, column, side, side))
    seen = observe(case.query.points_vehicle_m, case.query.intensity, grid.resolution_m, half_m)
    return strip(
        [
            ("map", intensity_image(crop.intensity, crop.observed)),
            ("decoded embedding", embedding_image(decoded.numpy())),
            ("query", intensity_image(seen.intensity, seen.observed)),
            ("its embedding", embedding_image(unfolded.embed_observation(seen).numpy())),
        ]
    )


def _online(
    drive: Drive,
    folder: Path,
    settings: BenchSettings,
    methods: Sequence[Method],
    half_m: tuple[float, float],
    report: Callable[[int, int], None],
) -> None:
    """Tables 2 and 3: the learned filter, and dead reckoning corrected by plain NCC on the classical codes."""
    protocol = OnlineProtocol(
        drive,
        settings.resolution_m,
        settings.sweeps,
        settings.guard,
        half_length_m=half_m[0],
        half_width_m=half_m[1],
        seed=settings.seed,
    )
    rows = []
    for method in methods:
        if isinstance(method.codec, LearnedCodec):
            result = run_online(method.codec, LearnedOnline(method.codec.bundle, half_m), protocol, report)
        else:
            result = run_online(method.codec, TrackingLocalizer(method.matcher), protocol, report)
        rows.append(online_row(result))
    (folder / "online.json").write_text(to_json(rows), encoding="utf-8")
    (folder / "online.csv").write_text(to_csv(rows), encoding="utf-8")
    page = Page(
        "foldmap online localization", f"Along {drive.name}, from one rough pose and noisy odometry, without GPS."
    )
    page.table(rows, ONLINE_COLUMNS, "A segment fails at its first error beyond 1 m; no answer is an infinite error.")
    page.write(folder / "online.html")
