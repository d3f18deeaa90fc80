"""Drives along lanes in the street part of ``foldmap demo``: in the town that was folded, and in another one."""

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from foldmap.cli.demo.settings import REGION, DemoStreetSettings
from foldmap.errors import ConfigError
from foldmap.geometry import SE2
from foldmap.localize.street.calibrate import calibrated, near_truth
from foldmap.localize.street.estimate import StreetEstimate
from foldmap.localize.street.lane_places import LanePlaces, lane_places
from foldmap.localize.street.localizer import StreetLocalizer
from foldmap.localize.street.settings import StreetSettings
from foldmap.street.field.model import FieldEmbedding
from foldmap.street.graph.chains import resample
from foldmap.street.paper.pairs import RingPairs
from foldmap.street.places import Places, windows
from foldmap.street.source import LaneGraph
from foldmap.street.unfold import FoldedStreet
from foldmap.types import DoubleArray, FloatArray

_STEP_M = 3.0
_MARGIN_M = 30.0
_ODOMETRY = 0.02, 0.002
"""Standard deviation of the increments, a metre driven: of the length in metres, of the turn in radians."""


@dataclass
class Driven:
    """What two drives without a prior did."""

    places: LanePlaces
    truth: list[SE2]
    estimates: list[StreetEstimate]
    singles: list[StreetEstimate]  # of each frame alone
    strange: list[StreetEstimate]  # of the filter in another town
    seconds: float  # of the filter, a frame
    temperature: float  # of the likelihood, from frames of the map's day


def drive_streets(
    layer: FoldedStreet,
    model: FieldEmbedding,
    pairs: tuple[RingPairs, RingPairs, RingPairs],
    settings: DemoStreetSettings,
) -> Driven:
    """Learn the temperature from pairs of the map's day, then drive on another day here and in another town."""
    learnt, here, there = pairs
    places = lane_places(layer.graph(REGION), _STEP_M)
    embeddings = embed_places(layer.graph(REGION), places, model)
    known, truth = on_the_map(learnt, places, settings.learnt)
    tile = learnt.tiles[0]
    seen = model.embed_observations([learnt.observe(tile, pose) for pose in known])
    # neighbouring frames see the same ground but for one step of it: they count for as much as is new
    new = min(0.5, settings.step_m / model.window.size_m[0])
    near = near_truth(places, truth)
    fitted = calibrated(StreetSettings(frame_weight=new), seen @ embeddings.T, near, places.length_m)
    localizer = StreetLocalizer(places, embeddings, fitted)
    poses = way(here, settings, 1)
    rows = _embedded(here, poses, model)
    began_s = time.perf_counter()
    estimates = _filtered(localizer, poses, rows, 2)
    seconds = (time.perf_counter() - began_s) / len(poses)
    other = way(there, settings, 1)
    strange = _filtered(localizer, other, _embedded(there, other, model), 3)
    singles = [localizer.localize(row) for row in rows]
    return Driven(places, poses, estimates, singles, strange, seconds, fitted.temperature)


def on_the_map(pairs: RingPairs, places: LanePlaces, count: int) -> tuple[list[SE2], DoubleArray]:
    """Poses of some pairs that stand on lanes of the map, which may lack some; and the same as float64 (N, 3)."""
    poses = [pairs.place(number)[1] for number in np.random.default_rng(5).permutation(len(pairs)).tolist()]
    every = np.array([(pose.x_m, pose.y_m, pose.heading_rad) for pose in poses])
    rows = np.flatnonzero(near_truth(places, every).any(1))[:count]
    return [poses[int(row)] for row in rows], every[rows]


def embed_places(graph: LaneGraph, places: LanePlaces, model: FieldEmbedding) -> FloatArray:
    """Embeddings of the lane graph around each place, float32 (N, D)."""
    none = np.zeros(len(places), np.int64)
    at = Places(places.x_m, places.y_m, places.heading_rad, none, np.zeros(len(places)))
    return model.embed_graphs(list(windows(graph, at, model.window)))


def way(pairs: RingPairs, settings: DemoStreetSettings, seed: int) -> list[SE2]:
    """Poses of a drive along lanes that stays on a tile; a ConfigError where it has no way of that length."""
    tile = pairs.tiles[0]
    graph = resample(tile.map.graph, 1.0)
    inside = tile.ground.inside(graph.vertices_m, _MARGIN_M)
    after: dict[int, list[int]] = {}
    for start, end in graph.edges[inside[graph.edges].all(1)].tolist():
        after.setdefault(start, []).append(end)
    starts = np.array(sorted(after))
    rng = np.random.default_rng([seed, len(starts)])
    length = (settings.frames - 1) * settings.step_m
    for start in rng.permutation(starts)[:200].tolist():
        walk = [start]
        done = 0.0
        while done < length + 2 and walk[-1] in after:
            walk.append(int(rng.choice(after[walk[-1]])))
            done += float(np.hypot(*(graph.vertices_m[walk[-1]] - graph.vertices_m[walk[-2]])))
        if done >= length + 2:
            return _poses(graph.vertices_m[walk], settings)
    raise ConfigError(f"no way of {length:g} m lies on the tile {tile.map.name}", "drive fewer frames")


def _poses(line_m: DoubleArray, settings: DemoStreetSettings) -> list[SE2]:
    step = np.diff(line_m, axis=0)
    length = np.hypot(*step.T)
    at, ends = np.arange(settings.frames) * settings.step_m + 0.5, np.concatenate([[0.0], np.cumsum(length)])
    index = np.clip(np.searchsorted(ends, at, side="right") - 1, 0, len(step) - 1)
    xy = line_m[index] + ((at - ends[index]) / length[index])[:, None] * step[index]
    heading = np.arctan2(step[index, 1], step[index, 0])
    return [SE2(float(x), float(y), float(turn)) for (x, y), turn in zip(xy, heading, strict=True)]


def _embedded(pairs: RingPairs, poses: list[SE2], model: FieldEmbedding) -> FloatArray:
    tile = pairs.tiles[0]
    return model.embed_observations([pairs.observe(tile, pose) for pose in poses])


def _filtered(localizer: StreetLocalizer, poses: list[SE2], rows: FloatArray, seed: int) -> list[StreetEstimate]:
    """Filter along a drive by noisy odometry; it may begin anywhere on the map."""
    rng = np.random.default_rng([seed, len(poses)])
    running = localizer.start()
    estimates = []
    for number, (pose, row) in enumerate(zip(poses, rows, strict=True)):
        increment = None
        if number:
            motion = poses[number - 1].inverse() @ pose
            length = math.hypot(motion.x_m, motion.y_m)
            ahead, turn = (float(rng.normal(0, scale * length)) for scale in _ODOMETRY)
            increment = motion @ SE2(ahead, 0.0, turn)
        estimates.append(running.step(row, increment))
    return estimates


def errors_m(truth: list[SE2], estimates: list[StreetEstimate]) -> DoubleArray:
    """Distance from truth to the best guess of each estimate, whether it was answered or not."""
    pairs = [(at, one.guess) for at, one in zip(truth, estimates, strict=True)]
    return np.array([math.hypot(it.x_m - at.x_m, it.y_m - at.y_m) if it else math.inf for at, it in pairs])


def drive_rows(driven: Driven) -> list[dict[str, Any]]:
    """Figures of the drive here and of the one in another town."""

    def row(what: str, estimates: list[StreetEstimate], error: DoubleArray | None) -> dict[str, Any]:
        statuses = [one.status.value for one in estimates]
        answered = np.array([one.pose is not None for one in estimates])
        sure = None if error is None or not answered.any() else error[answered]
        return {
            "what": what,
            "frames": len(estimates),
            "answered": int(answered.sum()),
            "ok": statuses.count("ok"),
            "degraded": statuses.count("degraded"),
            "ambiguous": statuses.count("ambiguous"),
            "no_match": statuses.count("no_match"),
            "median_m": None if sure is None else float(np.median(sure)),
            "within_5_m": None if sure is None else int((sure <= 5.0).sum()),
            "final_m": None if error is None else float(error[-1]),
        }

    error = errors_m(driven.truth, driven.estimates)
    alone = errors_m(driven.truth, driven.singles)
    return [
        row("drive in the town, filtered", driven.estimates, error),
        row("drive in another town, filtered", driven.strange, None),
        row("frames of the drive, each alone", driven.singles, alone),
    ]
