"""The lidar benchmark on anybody's drive, map or pair of maps: every table and figure of the paper on one page."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from foldmap.atlas.whole import write_whole
from foldmap.bench.common.tables import Picture, to_json
from foldmap.bench.lidar.baselines.tuning import TrainingPlaces
from foldmap.bench.lidar.cases import Benchmark, Method, Search
from foldmap.bench.lidar.drive import Drive, load_drive
from foldmap.bench.lidar.learned import LearnedCodec
from foldmap.bench.lidar.methods import (
    MATCHERS,
    Choice,
    chosen_bundles,
    classical_methods,
    fitting,
    learned_methods,
    marks_methods,
    online_of,
)
from foldmap.bench.lidar.online_protocol import OnlineProtocol, run_online
from foldmap.bench.lidar.page import LidarResults, write_lidar
from foldmap.bench.lidar.pictures import query_codes, query_strip, spread_cases
from foldmap.bench.lidar.predict import Predictions, predict_all
from foldmap.bench.lidar.protocol import DriveProtocol, GivenMapProtocol
from foldmap.bench.lidar.raster_protocol import RasterProtocol
from foldmap.errors import ConfigError
from foldmap.formats.sweeps.drives import open_drive
from foldmap.lidar.bundle import Bundle
from foldmap.lidar.source import RasterMap

COARSE_M = 0.15
_QUICK_QUERIES = 12
_QUICK_STEPS = 24
_STRIPS = 4

Report = Callable[[int, int], None]


@dataclass(frozen=True)
class BenchSettings:
    """What decides a benchmark apart from its data."""

    resolution_m: float = 0.05  # of leave-out maps; a given map has its own
    radius_m: float = 1.0  # priors are off by up to this, in x and in y
    heading_rad: float = math.radians(5.0)  # and by up to this in heading
    guard: int = 15  # frames left out of the map on each side of a query
    sweeps: int = 5  # frames a query
    every: int = 3  # a query at every so many frames
    methods: tuple[str, ...] = ()  # keep methods whose name starts with one of these; all where empty
    matchers: tuple[str, ...] = MATCHERS  # what classical codecs are matched with: ncc, localizer, learned
    every_codec: bool = False  # all families, qualities and reductions, not only the best known
    train_matchers: int = 0  # steps that the learned matcher is trained on each codec's output
    scored: str = "east"  # of two maps, the side that is scored: west, east, north or south
    crop_m: float = 21.0  # side of the crops of a second map
    stride_m: float = 10.5  # between them
    online: bool = False  # localize along the drive too
    quick: bool = False  # a dozen queries, few codecs, a short drive
    seed: int = 0  # of the priors


@dataclass(frozen=True)
class LidarBenchData:
    """What is measured on, and with which models."""

    drive: Drive | None = None  # queries and, without a map, the maps; not needed with two maps
    raster: RasterMap | None = None  # match in this map instead of the drive's leave-out maps
    query_raster: RasterMap | None = None  # crops of this map are the queries, in ``raster``
    map_name: str = ""  # of that map
    bundles: Sequence[Bundle] | None = None  # operating points; the shipped ones for this resolution where None
    ablations: Sequence[Bundle] = ()  # more of them, trained by others, for the table of ablations
    matcher: Bundle | None = None  # whose embeddings match classical codes; the first of the bundles where None
    places: TrainingPlaces | None = None  # pairs to train matchers on

    def __post_init__(self) -> None:
        if self.query_raster is not None and self.raster is None:
            raise ConfigError("crops of a map need another map to match in", "give both maps")
        if self.query_raster is not None and self.drive is not None:
            raise ConfigError("both sweeps and a second map are given as queries", "give one of them")
        if self.query_raster is None and self.drive is None:
            raise ConfigError("there are no queries", "give sweeps and poses, or a second map")


def read_drive(
    sweeps: str | Path,
    poses: Path,
    calibration: Path | None = None,
    intensity_scale: float | None = None,
    time_limit_s: float | None = None,
) -> Drive:
    """Read a drive's ground returns from sweeps and poses on disk; errors as the readers'."""
    recorded = open_drive(sweeps, poses, calibration, intensity_scale, time_limit_s=time_limit_s)
    return load_drive(Path(str(sweeps)).name, recorded.sweeps, recorded.world_SE3_sensors)


def run_bench(
    data: LidarBenchData,
    folder: Path,
    settings: BenchSettings,
    *,
    command: str = "",
    stage: Callable[[str], Report] = lambda name: lambda done, total: None,
) -> list[dict[str, Any]]:
    """Measure the learned codec and the classical ones; returns the rows of the matching table.

    The folder gets what `write_lidar` writes and settings.json. Answers are kept in ``answers`` and training runs in
    ``training``, and used again. ``command`` is printed on the page; ``stage`` is called with the name of each long
    task and gives what is called with its steps done and in all. Raises FoldmapError: the data is too short, no method
    is left, or no model fits the resolution.
    """
    resolution_m = data.raster.grid.resolution_m if data.raster is not None else settings.resolution_m
    half_m = _extent_m(data, settings, resolution_m)
    choice = Choice(resolution_m, half_m, settings.methods, settings.matchers, settings.quick, settings.train_matchers)
    choice = replace(choice, every_codec=settings.every_codec)
    benchmark = _benchmark(data, settings, half_m)
    methods = _methods(data, choice, folder, stage)
    matching = predict_all(methods, benchmark, folder / "answers", stage("Matching"))
    online = _driven(data, settings, methods, half_m, folder, stage) if settings.online else []
    bundles = {m.name: m.codec.bundle for m in methods if isinstance(m.codec, LearnedCodec)}
    pictures = _pictures(benchmark, methods, half_m, 1 if settings.quick else _STRIPS)
    lead = _lead(data, settings, benchmark)
    results = LidarResults(methods, matching, resolution_m, bundles, online, pictures, lead, command)
    rows = write_lidar(results, folder)
    write_whole(folder / "settings.json", to_json([asdict(settings)]))
    return rows


def _extent_m(data: LidarBenchData, settings: BenchSettings, resolution_m: float) -> tuple[float, float]:
    """Half length and half width of the queries: 30 x 24 m as in the paper, 40 x 40 m where pixels are large."""
    if data.query_raster is not None:
        return settings.crop_m / 2, settings.crop_m / 2
    return (15.0, 12.0) if resolution_m < COARSE_M else (20.0, 20.0)


def _lead(data: LidarBenchData, settings: BenchSettings, benchmark: Benchmark) -> str:
    """One sentence that says what was measured on what."""
    if isinstance(benchmark, RasterProtocol):
        queries = (
            f"{len(benchmark)} crops of {settings.crop_m:g} m of one map in another, {settings.scored} side scored"
        )
        where = f"offset ({', '.join(f'{v:.2f}' for v in benchmark.alignment_m)}) m from the other side."
    else:
        assert data.drive is not None
        queries = f"{len(benchmark)} queries of {settings.sweeps} sweeps of {data.drive.name}"
        where = f"maps without {settings.guard} sweeps on each side."
        where = "in a given map." if data.raster is not None else where
    degrees = f"{math.degrees(settings.heading_rad):.3g}"
    return f"{queries}, priors off by up to {settings.radius_m:g} m and {degrees} degrees, {where}"


def _benchmark(data: LidarBenchData, settings: BenchSettings, half_m: tuple[float, float]) -> Benchmark:
    search = Search(settings.radius_m, settings.heading_rad)
    if data.query_raster is not None and data.raster is not None:
        stride_m = settings.stride_m * (2 if settings.quick else 1)
        given = data.raster, data.query_raster, data.map_name
        return RasterProtocol(*given, settings.crop_m, stride_m, settings.scored, search, settings.seed)
    assert data.drive is not None  # LidarBenchData has seen to it
    every = settings.every
    if settings.quick:
        every = max(every, math.ceil((len(data.drive.frames) - settings.sweeps + 1) / _QUICK_QUERIES))
    if data.raster is not None:
        return GivenMapProtocol(
            data.drive, data.raster, data.map_name, settings.sweeps, every, *half_m, search=search, seed=settings.seed
        )
    return DriveProtocol(
        data.drive, settings.resolution_m, settings.sweeps, every, settings.guard, *half_m, search, settings.seed
    )


def _methods(data: LidarBenchData, choice: Choice, folder: Path, stage: Callable[[str], Report]) -> list[Method]:
    """The learned operating points, trained ablations among them, and the baselines: those that were asked for."""
    bundles = chosen_bundles(choice, data.bundles)
    if data.ablations:
        bundles += fitting(data.ablations, choice.resolution_m)
    matcher = data.matcher or next((bundle for bundle in bundles if bundle.can_fold), None)
    methods = marks_methods(choice) + learned_methods(bundles, choice)
    label = "Training matchers" if choice.train_matchers else "Preparing"
    methods += classical_methods(choice, matcher, data.places, folder / "training", stage(label))
    if not methods:
        raise ConfigError(
            f"no method starts with {' or '.join(choice.wanted)}",
            "choose from foldmap, raw16, png16, jpeg, webp, jxl, avif, jpeg2000, 1bit, sparse, ternary",
        )
    return methods


def _pictures(
    benchmark: Benchmark, methods: Sequence[Method], half_m: tuple[float, float], strips: int
) -> list[Picture]:
    """Several strips of the first operating point, one of each other, and everyone's binary channels."""
    codecs = [method.codec for method in methods if isinstance(method.codec, LearnedCodec)]
    if not codecs:
        return []
    cases = spread_cases(benchmark.cases(), len(benchmark), strips)
    pictures = []
    for index, codec in enumerate(codecs):
        for number, case in enumerate(cases if index == 0 else cases[:1]):
            caption = f"Query {case.name} and its map through {codec.name} (as figures 5 to 12)."
            png = query_strip(case, codec, half_m, benchmark.search)
            pictures.append(Picture(f"strip-{codec.name}-{number}", caption, png))
    for codec in codecs:
        caption = f"Binary channels of the map around query {cases[0].name} through {codec.name} (as figure 13)."
        pictures.append(Picture(f"codes-{codec.name}", caption, query_codes(cases[0], codec, half_m)))
    return pictures


def _driven(
    data: LidarBenchData,
    settings: BenchSettings,
    methods: Sequence[Method],
    half_m: tuple[float, float],
    folder: Path,
    stage: Callable[[str], Report],
) -> list[Predictions]:
    """Tables 2 and 3: the learned filter, and dead reckoning corrected by a matcher on the classical codes."""
    if data.drive is None:
        raise ConfigError("there is no drive to localize along", "give sweeps and poses, or leave --online out")
    drive = data.drive
    block = OnlineProtocol.block
    if settings.quick:
        kept = settings.sweeps - 1 + block + 2 * settings.guard + _QUICK_STEPS
        drive = replace(drive, frames=drive.frames[:kept], fingerprint=f"{drive.fingerprint}[:{kept}]")
    resolution_m = settings.resolution_m if data.raster is None else data.raster.grid.resolution_m
    protocol = OnlineProtocol(
        drive, resolution_m, settings.sweeps, settings.guard, block, *half_m, seed=settings.seed, raster=data.raster
    )
    results = []
    for method in methods:
        results.append(
            run_online(method.codec, online_of(method, half_m), protocol, stage(f"Driving with {method.name}"))
        )
    return results
