"""``foldmap street localize``: where in the street map, from single images or along a drive."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foldmap.cli.common import bars, plain, put, require_folder, save_settings, say, write_bytes, write_text
from foldmap.cli.street import options
from foldmap.cli.street.library import open_street
from foldmap.cli.street.observations import Seen, embed, open_seen, pose_table
from foldmap.errors import ConfigError

if TYPE_CHECKING:
    from foldmap.geometry import SE2
    from foldmap.localize.street.estimate import StreetEstimate
    from foldmap.localize.street.localizer import StreetLocalizer, StreetPrior, StreetSettings
    from foldmap.street.model import EmbeddingModel
    from foldmap.street.unfold import StreetLayer
    from foldmap.types import FloatArray

EXAMPLES = (
    "\b\nExamples:\n  foldmap street localize map.fold crops/ -o estimates.txt --prior gnss.csv --radius 64\n"
    "  foldmap street localize map.fold drive/ --drive odometry.csv -o estimates.csv --picture where.png\n"
    "  foldmap street localize map.fold ortho.tif --poses truth.csv --truth truth.csv -o estimates.txt"
)
RECALL_M = (1.0, 3.0, 5.0, 10.0)
Begin = Callable[[str], Callable[[int, int], None]]


@dataclass(frozen=True)
class LocalizeOptions:
    """What a user may say about localization.

    Attributes:
        region: of the map.
        prior: a pose an observation, within `radius_m` of it; with `drive`, of the first one.
        radius_m: of the prior.
        compass_deg: standard deviation of the prior's heading; None: it is not used.
        drive: odometry, of which increments count: one sequence.
        step_m: between the places that are told apart.
        temperature, min_similarity: belong to the model; the default, and what suits the model, where None.
        model: instead of the map's.
        poses, ring, cameras: of the observations.
        truth: true poses.
    """

    region: str | None = None
    prior: Path | None = None
    radius_m: float = 64.0
    compass_deg: float | None = None
    drive: Path | None = None
    step_m: float = 2.0
    temperature: float | None = None
    min_similarity: float | None = None
    model: Path | None = None
    poses: Path | None = None
    ring: Path | None = None
    cameras: tuple[str, ...] = ()
    truth: Path | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.radius_m) and self.radius_m > 0 and math.isfinite(self.step_m) and self.step_m > 0):
            raise ConfigError(f"a prior of {self.radius_m} m, places every {self.step_m} m", "give positive metres")
        if self.compass_deg is not None and self.prior is None:
            raise ConfigError("a compass belongs to a prior", "give --prior FILE.csv with headings")


def localize(
    fold_file: options.FoldFileArgument,
    observations: options.Observations,
    output: Annotated[Path, typer.Option("-o", "--output", help="Answered poses: .csv, else TUM rows.")],
    prior: Annotated[
        Path | None, typer.Option(help="A position an observation, CSV or TUM; else the whole map.")
    ] = None,
    radius: Annotated[float, typer.Option(help="The prior is right to so many metres.")] = 64.0,
    compass: Annotated[
        float | None, typer.Option(help="And its heading to so many degrees (standard deviation); else unused.")
    ] = None,
    drive: Annotated[
        Path | None,
        typer.Option("--drive", "--sequence", help="The observations are a drive; its odometry, CSV or TUM."),
    ] = None,
    truth: Annotated[Path | None, typer.Option(help="True poses: prints recall at 1, 3, 5, 10 m.")] = None,
    region: options.OneRegion = None,
    step: Annotated[float, typer.Option(help="Places along lanes that are told apart, metres.")] = 2.0,
    temperature: Annotated[float | None, typer.Option(help="Of similarity, as calibrated for the model.")] = None,
    min_similarity: Annotated[
        float | None, typer.Option(help="Below this cosine nothing matches; else what suits the model.")
    ] = None,
    picture: Annotated[Path | None, typer.Option(help="Draw the heat map to this PNG.")] = None,
    picture_of: Annotated[
        int | None, typer.Option(help="Of this observation, from 1; the last where left out.")
    ] = None,
    poses: options.Poses = None,
    ring: options.Ring = None,
    camera: options.Camera = None,
    model: options.Model = None,
    as_json: options.Json = False,
) -> None:
    """Localize observations in a street map, one by one or along a drive.

    Every place along the lanes gets a probability. Beside the answered poses OUTPUT.jsonl has a line for each
    observation with its status, pose, covariance, diagnostics, and the guess: the most probable place, which recall is
    about. What is not answered has no pose. Exit status 1 when nothing was answered.
    """
    asked = LocalizeOptions(
        region, prior, radius, compass, drive, step, temperature, min_similarity, model, poses, ring,
        tuple(camera or ()), truth,
    )  # fmt: skip
    with bars() as begin:
        summary = localize_street(fold_file, observations, output, asked, picture, picture_of, begin)
    put(summary, as_json)
    if summary["answered"] == 0:
        raise typer.Exit(1)


def localize_street(
    fold_file: Path,
    observations: Sequence[Path],
    output: Path,
    asked: LocalizeOptions,
    picture: Path | None = None,
    picture_of: int | None = None,
    begin: Begin = lambda doing: lambda done, total: None,
) -> dict[str, Any]:
    """Localize; the command without its printing.

    Args:
        fold_file: with a street layer.
        observations: see `foldmap.cli.street.observations.open_seen`.
        output: .csv, else TUM rows; OUTPUT.jsonl and OUTPUT.settings.json are written beside it.
        asked: see there.
        picture: PNG of the heat map.
        picture_of: number of the observation that is drawn.
        begin: makes a callback for a kind of work.

    Returns:
        The summary that the command prints.

    Raises:
        FoldmapError: what was brought cannot be used.
    """
    from foldmap.cli.street.model import layer_model
    from foldmap.localize.street.localizer import StreetLocalizer

    for target in (output, picture):
        if target is not None:
            require_folder(target)
    with open_street(fold_file) as layer:
        model = layer_model(layer, asked.model)
        seen = open_seen(observations, model.window, ring=asked.ring, cameras=asked.cameras, poses=asked.poses)
        for note in seen.notes:
            say(f"note: {note}")
        if picture_of is not None and not 1 <= picture_of <= len(seen):
            raise ConfigError(f"there is no observation {picture_of}", f"give 1 to {len(seen)}")
        priors = _priors(seen, asked)
        drive = None if asked.drive is None else pose_table(asked.drive).for_observations(seen.names)
        truth = None if asked.truth is None else pose_table(asked.truth).for_observations(seen.names).poses()
        region = one_region(layer, seen, asked.region)
        localizer = StreetLocalizer.open(
            layer,
            _settings(asked, model),
            region=region,
            model=model,
            step_m=asked.step_m,
            near=priors if asked.drive is None else None,
            report=begin("Embedding the map"),
        )
        rows = embed(model, seen, begin("Looking at images"))
        increments = None
        if drive is not None:
            track = drive.poses()
            increments = [None, *(before.inverse() @ after for before, after in itertools.pairwise(track))]
        estimates = answers(localizer, rows, priors, increments)
    times = list(range(len(seen))) if drive is None or drive.times_s is None else drive.times_s.tolist()
    text = as_csv(seen, times, estimates) if output.suffix.lower() == ".csv" else tum_rows(times, estimates)
    write_text(output, text)
    write_text(Path(f"{output}.jsonl"), json_lines(seen, times, estimates))
    said = {"map": fold_file, "observations": list(observations), **asdict(asked)}
    save_settings(output, "street localize", {**said, "localizer": asdict(localizer.settings)})
    if picture is not None:
        number = len(seen) if picture_of is None else picture_of
        write_bytes(picture, draw(localizer, estimates, truth, number - 1, seen.names[number - 1]))
    return summarized(output, region, localizer, estimates, truth)


def one_region(layer: StreetLayer, seen: Seen, told: str | None) -> str:
    """The region in which poses are answered.

    Raises:
        LayerError: no such region.
        ConfigError: the map has several, and nobody says which.
    """
    if told is not None:
        return layer.region(told).name
    if len(layer.regions) == 1:
        return layer.regions[0].name
    names = {region.name for region in layer.regions}
    if seen.maps and len(set(seen.maps)) == 1 and seen.maps[0] in names:
        return seen.maps[0]
    shown = ", ".join(region.name for region in layer.regions[:8])
    raise ConfigError(f"the map has {len(names)} regions, each in a frame of its own", f"give --region: {shown}")


def _priors(seen: Seen, asked: LocalizeOptions) -> list[StreetPrior] | None:
    from foldmap.localize.street.localizer import StreetPrior

    if asked.prior is None:
        return None
    table = pose_table(asked.prior)
    if asked.drive is not None and len(table) == 1:
        x, y = table.xy_m[0].tolist()
        headings = None if asked.compass_deg is None else [table.poses()[0].heading_rad]
        rows = [(x, y)]
    else:
        table = table.for_observations(seen.names)
        rows = [(x, y) for x, y in table.xy_m.tolist()]
        headings = None if asked.compass_deg is None else [pose.heading_rad for pose in table.poses()]
    sigma = math.radians(20.0 if asked.compass_deg is None else asked.compass_deg)
    return [
        StreetPrior(x, y, asked.radius_m, None if headings is None else headings[k], sigma)
        for k, (x, y) in enumerate(rows)
    ]


def _settings(asked: LocalizeOptions, model: EmbeddingModel) -> StreetSettings:
    from dataclasses import replace

    from foldmap.localize.street.localizer import StreetSettings

    settings = StreetSettings.of(model)
    if asked.temperature is not None:
        settings = replace(settings, temperature=asked.temperature)
    if asked.min_similarity is not None:
        settings = replace(settings, thresholds=replace(settings.thresholds, reject_score=asked.min_similarity))
    return settings


def answers(
    localizer: StreetLocalizer,
    rows: Sequence[FloatArray | None],
    priors: Sequence[StreetPrior] | None,
    increments: Sequence[SE2 | None] | None,
) -> list[StreetEstimate]:
    """One estimate an observation; along a drive where increments are given."""
    if increments is not None:
        filter_ = localizer.start(priors[0] if priors else None)
        return [filter_.step(row, increment) for increment, row in zip(increments, rows, strict=True)]
    found = []
    for number, row in enumerate(rows):
        prior = priors[number] if priors is not None else None
        found.append(localizer.localize(row, prior))
    return found


def tum_rows(times_s: Sequence[float], estimates: Sequence[StreetEstimate]) -> str:
    """TUM rows ``t x y z qx qy qz qw`` of the estimates that have a pose; z is 0: the map is flat."""
    rows = ["# t x y z qx qy qz qw, world_T_vehicle, metres"]
    for time_s, estimate in zip(times_s, estimates, strict=True):
        if estimate.pose is not None:
            pose, half = estimate.pose, 0.5 * estimate.pose.heading_rad
            turn = f"{math.sin(half):.9f} {math.cos(half):.9f}"
            rows.append(f"{time_s:.6f} {pose.x_m:.4f} {pose.y_m:.4f} 0.0000 0 0 {turn}")
    return "\n".join(rows) + "\n"


def as_csv(seen: Seen, times_s: Sequence[float], estimates: Sequence[StreetEstimate]) -> str:
    """A line an observation; pose and standard deviations are empty where nothing was answered."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["name", "time_s", "status", "x_m", "y_m", "heading_deg", "along_m", "across_m", "similarity"])
    for name, time_s, one in zip(seen.names, times_s, estimates, strict=True):
        pose, said = one.pose, one.diagnostics
        where: list[Any] = ["", "", "", "", ""]
        if pose is not None:
            where = [f"{pose.x_m:.3f}", f"{pose.y_m:.3f}", f"{math.degrees(pose.heading_rad):.3f}"]
            where += [f"{said.along_m or 0.0:.3f}", f"{said.across_m or 0.0:.3f}"]
        score = "" if said.score is None else f"{said.score:.5f}"
        writer.writerow([name, f"{time_s:.6f}", one.status.value, *where, score])
    return text.getvalue()


def json_lines(seen: Seen, times_s: Sequence[float], estimates: Sequence[StreetEstimate]) -> str:
    """One JSON object an observation."""
    lines = []
    for name, time_s, one in zip(seen.names, times_s, estimates, strict=True):
        row = {
            "observation": name,
            "time_s": time_s,
            "status": one.status.value,
            "pose": None if one.pose is None else asdict(one.pose),
            "covariance": one.covariance,
            "guess": None if one.guess is None else asdict(one.guess),
            "diagnostics": asdict(one.diagnostics),
        }
        lines.append(json.dumps(plain(row)))
    return "\n".join(lines) + "\n"


def draw(
    localizer: StreetLocalizer,
    estimates: Sequence[StreetEstimate],
    truth: Sequence[SE2] | None,
    number: int,
    name: str,
) -> bytes:
    """The heat map of one observation."""
    from foldmap.report.street_map import street_map

    one = estimates[number]
    known = () if truth is None else truth[: number + 1]
    return street_map(localizer.places, one.belief, known, one, f"{name}: {one.status.value}")


def summarized(
    output: Path,
    region: str,
    localizer: StreetLocalizer,
    estimates: Sequence[StreetEstimate],
    truth: Sequence[SE2] | None,
) -> dict[str, Any]:
    """What the command prints; recall is of guesses, over all observations."""
    import numpy as np

    shown: dict[str, Any] = {
        "estimates": str(output),
        "region": region,
        "places": len(localizer.places),
        "observations": len(estimates),
        "answered": sum(one.pose is not None for one in estimates),
        "by_status": dict(Counter(one.status.value for one in estimates)),
        "median_time_s": round(float(np.median([one.diagnostics.time_s for one in estimates])), 5),
    }
    if truth is None:
        return shown
    pairs = [(one.guess, true) for one, true in zip(estimates, truth, strict=True)]
    away = np.array([math.inf if g is None else math.hypot(g.x_m - t.x_m, g.y_m - t.y_m) for g, t in pairs])
    turned = [
        abs((true.inverse() @ guess).heading_rad)
        for (guess, true), far in zip(pairs, away, strict=True)
        if guess is not None and far <= RECALL_M[-1]
    ]
    answered = np.array([one.pose is not None for one in estimates])
    return shown | {
        "recall_at_m": {f"{limit:g}": round(float((away <= limit).mean()), 4) for limit in RECALL_M},
        "last_guess_error_m": round(float(away[-1]), 3),
        "answered_within_5m": round(float((away[answered] <= 5).mean()), 4) if answered.any() else None,
        "median_error_m": round(float(np.median(away)), 3),
        "median_heading_error_deg": round(math.degrees(float(np.median(turned))), 3) if turned else None,
    }
