"""``foldmap localize --queries``: photos in a folded map. Needs neither the map's images nor COLMAP."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foldmap.cli.common import require_file, require_folder, save_settings, say, write_text
from foldmap.errors import ConfigError, InputError, MapInputError

if TYPE_CHECKING:
    from foldmap.cli.localize.queries import Asked, Seen
    from foldmap.localize.visual.estimate import CameraEstimate
    from foldmap.localize.visual.localizer import VisualLocalizer
    from foldmap.types import DoubleArray
    from foldmap.visual.source import Query
    from foldmap.visual.unfold import FoldedVisual

LAYOUTS = ("hloc", "tum", "both")


@dataclass(frozen=True)
class CameraOptions:
    """What a user may say about photos to be localized.

    Attributes:
        queries: hloc's query list.
        rigs: a rig list instead.
        features: file of local features.
        photos: folder of photos instead.
        global_descriptors: hloc's file of them.
        camera: intrinsics of a list of names.
        model: COLMAP model with the intrinsics of a list of names.
        weights: of the map's extractor, where it is a network.
        matcher: of `foldmap.localize.visual.localizer.VisualSettings`.
        matcher_weights: of a learned matcher.
        max_keypoints: most of a photo.
        layout: "hloc", "tum" or "both".
        seed: of RANSAC.
    """

    queries: Path | None = None
    rigs: Path | None = None
    features: Path | None = None
    photos: Path | None = None
    global_descriptors: Path | None = None
    camera: str = ""
    model: Path | None = None
    weights: Path | None = None
    matcher: str = "direct"
    matcher_weights: Path | None = None
    max_keypoints: int = 8192
    layout: str = "hloc"
    seed: int = 0


@dataclass
class Clock:
    """Seconds spent on each kind of work."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def on(self, work: str) -> Iterator[None]:
        """Add the time that the block takes."""
        started_s = time.perf_counter()
        yield
        self.seconds[work] = self.seconds.get(work, 0.0) + time.perf_counter() - started_s


def localize_cameras(
    fold_file: Path,
    output: Path,
    options: CameraOptions,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Localize photos; the command without its printing.

    Args:
        fold_file: a map with a visual layer.
        output: poses in hloc's layout, ``name qw qx qy qz tx ty tz`` (camera_SE3_world), or TUM rows of
            world_SE3_camera (rigs: world_SE3_rig) timed by the names where those are numbers, else by the number of
            the query from 0. With "both", TUM rows go to OUTPUT.tum. OUTPUT.jsonl and OUTPUT.settings.json are written
            beside it.
        options: what is localized, and how.
        report: called with queries done and in all.

    Returns:
        The summary that the command prints.

    Raises:
        FoldmapError: what was brought cannot be used.
    """
    from foldmap.atlas import FoldFile
    from foldmap.cli.localize.queries import open_seen, read_asked
    from foldmap.formats.poses.answers import write_answers
    from foldmap.localize.visual.localizer import VisualLocalizer, VisualSettings
    from foldmap.visual.unfold import FoldedVisual

    if options.layout not in LAYOUTS:
        raise ConfigError(f"there is no layout {options.layout!r}", f"choose {', '.join(LAYOUTS)}")
    require_file(fold_file)
    require_folder(output)
    settings = VisualSettings(matcher=options.matcher, weights=options.matcher_weights, seed=options.seed)
    clock = Clock()
    with FoldFile.open(fold_file) as file:
        with clock.on("loading"):
            folded = FoldedVisual(file)
            localizer = VisualLocalizer(folded, settings)
            if not folded.groups:
                folded.whole()
        with open_seen(
            options.features,
            options.photos,
            _globals_needed(folded, options.global_descriptors),
            folded.feature,
            options.weights,
            options.max_keypoints,
        ) as seen:
            asked = read_asked(options.queries, options.rigs, options.camera, options.model, seen.size)
            seen.check(asked, folded.feature)
            estimates = _answers(asked, seen, localizer, clock, report)
    extrinsics = [[image.camera_SE3_rig for image in one.images] for one in asked]
    images = [[image.name for image in one.images] for one in asked]
    _write_poses(output, options.layout, asked, estimates)
    rows = list(zip([one.name for one in asked], images, extrinsics, strict=True))
    write_answers(Path(f"{output}.jsonl"), rows, estimates)
    save_settings(output, "localize", {"map": fold_file, **asdict(options), "localizer": asdict(settings)})
    return summarized(output, estimates, clock)


def summarized(output: Path, estimates: Sequence[CameraEstimate], clock: Clock) -> dict[str, Any]:
    """What the command prints. Times are of one query; loading is the map's, features are read or extracted."""
    import numpy as np

    times_s = [estimate.diagnostics.time_s for estimate in estimates if estimate.diagnostics.time_s > 0]
    return {
        "poses": str(output),
        "queries": len(estimates),
        "answered": sum(estimate.camera_SE3_world is not None for estimate in estimates),
        "by_status": dict(Counter(estimate.status.value for estimate in estimates)),
        "loading_s": round(clock.seconds.get("loading", 0.0), 4),
        "features_s": round(clock.seconds.get("features", 0.0) / len(estimates), 4),
        "median_time_s": round(float(np.median(times_s)), 4),
        "queries_per_second": round(len(times_s) / sum(times_s), 2),
    }


def _globals_needed(folded: FoldedVisual, given: Path | None) -> Path | None:
    needed = folded.groups > 0 and folded.needs_global
    if needed and given is None:
        raise MapInputError(
            "the map is searched by global descriptors", "give those of the queries with --globals FILE.h5"
        )
    if given is not None and not needed:
        say(f"note: the map is not searched by global descriptors; {given} is not used")
    return given if needed else None


def _answers(
    asked: Sequence[Asked],
    seen: Seen,
    localizer: VisualLocalizer,
    clock: Clock,
    report: Callable[[int, int], None],
) -> list[CameraEstimate]:
    """An estimate a query; one that cannot be used is `no_observation` with its reason, and the others go on.

    Raises:
        InputError: none can be used; that of the first.
    """
    from foldmap.localize.estimate import Status
    from foldmap.localize.visual.estimate import CameraDiagnostics, CameraEstimate

    estimates, problems = [], []
    for number, one in enumerate(asked):
        try:
            with clock.on("features"):
                queries, lost = _queries(one, seen)
            estimate = localizer.localize(queries)
            if lost:
                reason = "; ".join(filter(None, [estimate.diagnostics.reason, *lost]))
                estimate = replace(estimate, diagnostics=replace(estimate.diagnostics, reason=reason))
        except InputError as error:
            problems.append((one.name, error))
            health = CameraDiagnostics(reason=str(error))
            estimate = CameraEstimate.without_pose(Status.NO_OBSERVATION, health)
        estimates.append(estimate)
        report(number + 1, len(asked))
    if problems:
        name, first = problems[0]
        if len(problems) == len(asked):
            more = f"; none of {len(asked)} queries can be used" if len(asked) > 1 else ""
            raise type(first)(f"{first.message}{more}", first.cure)
        say(f"warning: {len(problems)} of {len(asked)} queries cannot be used, first {name!r}: {first}")
    return estimates


def _queries(one: Asked, seen: Seen) -> tuple[list[Query], list[str]]:
    """The images of a query, and why some are missing.

    Blank images of a rig add nothing and are left out; of those that cannot be used the others tell.

    Raises:
        InputError: no image can be used.
    """
    if one.problem is not None:
        raise one.problem
    queries, problems = [], []
    for image in one.images:
        try:
            queries.append(seen.query(image))
        except InputError as error:
            problems.append(error)
    if not queries:
        raise problems[0]
    return [query for query in queries if len(query.features.xy_px)] or queries[:1], [
        f"without {error}" for error in problems
    ]


def _write_poses(output: Path, layout: str, asked: Sequence[Asked], estimates: Sequence[CameraEstimate]) -> None:
    from foldmap.formats.hloc.results import write_results
    from foldmap.formats.poses.answers import image_poses

    if layout in ("hloc", "both"):
        poses: dict[str, DoubleArray] = {}
        for one, estimate in zip(asked, estimates, strict=True):
            found = image_poses(estimate, [image.camera_SE3_rig for image in one.images])
            if found is not None:
                poses |= zip((image.name for image in one.images), found, strict=True)
        write_results(output, poses)
    if layout in ("tum", "both"):
        path = output if layout == "tum" else Path(f"{output}.tum")
        write_text(path, tum_rows([one.name for one in asked], estimates))


def tum_rows(names: Sequence[str], estimates: Sequence[CameraEstimate]) -> str:
    """TUM rows ``t x y z qx qy qz qw`` (world_SE3_camera) in order of time of the estimates that have a pose.

    The time is what the names say where each is a number of its own (``1305031102.175304.png``), else the query's
    number from 0.
    """
    from foldmap.formats.name_times import query_times
    from foldmap.geometry.quaternion import inverse_rigid, wxyz_from_rigid

    times = query_times(names)
    rows = ["# t x y z qx qy qz qw, world_SE3_camera, world units"]
    for at in sorted(range(len(names)), key=lambda number: float(times[number])):
        pose = estimates[at].camera_SE3_world
        if pose is not None:
            world_SE3_camera = inverse_rigid(pose)
            w, x, y, z = wxyz_from_rigid(world_SE3_camera)
            place = " ".join(repr(float(value)) for value in world_SE3_camera[:3, 3])
            rows.append(f"{times[at]} {place} {x:.12g} {y:.12g} {z:.12g} {w:.12g}")
    return "\n".join(rows) + "\n"
