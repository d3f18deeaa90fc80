"""Update detection measured on maps with known edits: window by window, and over drives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from foldmap.bench.street.data import Library, StreetBenchData, batches, graphs_of
from foldmap.bench.street.drives import StreetDrive
from foldmap.bench.street.methods import nearest_rows
from foldmap.bench.street.predict import NOT_KEPT, Kept, Stage, graphs_seal, seal_of, unstaged
from foldmap.errors import ConfigError, ModelError
from foldmap.geometry import SE2
from foldmap.metrics.detection import DetectionScore
from foldmap.metrics.street_chamfer import chamfer_m
from foldmap.metrics.street_sampled import empty_m, sampled
from foldmap.street.changes.detect import TRACED, Change, ChangeSettings, asked_confidence, find_changes, quiet_least
from foldmap.street.changes.edits import EDITS, Edit, edit
from foldmap.street.changes.survey import Evidence, blob, gather
from foldmap.street.field.lane_field import FieldSpec, draw_all
from foldmap.street.field.model import FieldEmbedding
from foldmap.street.graph.chains import resample
from foldmap.street.graph.window import Window, cut
from foldmap.street.images.observation import StreetPair
from foldmap.street.model import EmbeddingModel
from foldmap.street.source import LaneGraph
from foldmap.types import BoolArray, DoubleArray, FloatArray

SAME = "same"
METHODS = ("foldmap", "residual without a map", "retrieved graph against map")
_REGION_M = 90.0
_HIT_M = 2.5
_HIT_SHARE = 0.5
QUIET_SHARE = 0.05
"""Of the windows whose map is right so many may be said to have changed."""


@dataclass(frozen=True)
class UpdateSettings:
    """What decides an update table apart from its data: windows and drives of a map, frames of a drive, metres between.

    Half of the windows are edited, each kind alike, and half of the drives have one edit.
    """

    windows: int = 150
    drives: int = 12
    frames: int = 6
    step_m: float = 8.0
    seed: int = 0


@dataclass(frozen=True)
class Windows:
    """Windows of one map; their maps, edited or as they are; and what was done to these, of `EDITS`, or `SAME`."""

    pairs: Sequence[StreetPair]
    old: tuple[LaneGraph, ...]
    kinds: tuple[str, ...]

    @property
    def edited(self) -> BoolArray:
        """Which were edited."""
        return np.array([kind != SAME for kind in self.kinds])


@dataclass(frozen=True)
class Updates:
    """What was measured.

    By method: how windows were told apart, and the share of the edited ones that were reported by kind; thresholds by
    method and map; over drives: edits found (None without drives), and found and there by kind; count of windows, and
    kilometres of the drives. `quiet` is as `windows` with the thresholds of `quiet_threshold`.
    """

    label: str
    windows: dict[str, DetectionScore]
    by_kind: dict[str, dict[str, float]]
    thresholds: dict[str, float]
    drives: DetectionScore | None
    drives_by_kind: dict[str, tuple[int, int]]
    count: int
    driven_km: float
    quiet: dict[str, DetectionScore]
    quiet_by_kind: dict[str, dict[str, float]]

    def rows(self) -> list[dict[str, Any]]:
        """One row a method, and one for drives."""
        found = []
        for method, score in self.windows.items():
            kinds = _by_kind(self.by_kind[method])
            found.append({"method": method, "level": "window", "count": self.count, **_flat(score), **kinds})
        if self.drives is not None:
            hits = self.drives_by_kind
            kinds = _by_kind({kind: hit / there if there else float("nan") for kind, (hit, there) in hits.items()})
            count = sum(there for _, there in hits.values())
            false = self.drives.false_positives / self.driven_km
            flat = {"false_changes_a_km": false, **_flat(self.drives)}
            found.append({"method": "foldmap", "level": "drive", "count": count, **flat, **kinds})
        return found


def measure_updates(
    data: StreetBenchData,
    model: FieldEmbedding,
    settings: UpdateSettings = UpdateSettings(),
    *,
    plain: FieldEmbedding | None = None,
    retrieval: tuple[EmbeddingModel, Library, FloatArray] | None = None,
    kept: Kept = NOT_KEPT,
    stage: Stage = unstaged,
) -> Updates:
    """Edit maps of held-out windows and drives, and count which edits are noticed.

    The threshold that a map's windows are told apart with is the best one of the other held-out maps' windows, never
    its own; where there is one map only, of a training map's. The network of `model` takes a map (else ModelError).
    Baselines, left out where None: `plain`, whose network takes no map, for the residual; `retrieval`, a model, library
    and its rows.
    """
    if not model.network.shape.with_map:
        raise ModelError("this model takes no map to compare with", "train one with `foldmap train street --update`")
    names = data.split.test
    more = () if len(names) > 1 else data.split.train[:1]
    told = stage(f"{data.label}: changes, windows")
    made, scores = {}, {}
    for done, name in enumerate((*names, *more)):
        made[name] = edited_windows(data, name, settings)
        scores[name] = _kept_scores(data, name, made[name], settings, kept, (model, plain, retrieval))
        told(done + 1, len(names) + len(more))
    windows, by_kind, thresholds = _told_apart(names, made, scores, best_threshold)
    quiet, quiet_by_kind, _ = _told_apart(names, made, scores, quiet_threshold)
    told = stage(f"{data.label}: changes, drives")
    total, hits, km = None, dict.fromkeys(EDITS, (0, 0)), 0.0
    for done, name in enumerate(names):
        for drive in driven(data, name, (model,), settings)[0]:
            score, kind, km = drive.score(drive.asked(model)), drive.kind, km + drive.km
            total = score if total is None else total + score
            if kind != SAME:
                hits[kind] = hits[kind][0] + score.true_positives, hits[kind][1] + 1
        told(done + 1, len(names))
    count = sum(len(made[name].kinds) for name in names)
    return Updates(data.label, windows, by_kind, thresholds, total, hits, count, km, quiet, quiet_by_kind)


def _told_apart(
    names: Sequence[str],
    made: dict[str, Windows],
    scores: dict[str, dict[str, DoubleArray]],
    limit_of: Callable[[DoubleArray, BoolArray], float],
) -> tuple[dict[str, DetectionScore], dict[str, dict[str, float]], dict[str, float]]:
    """By method: scores of detection, shares reported of each kind; by method and map: thresholds."""
    windows, by_kind, thresholds = {}, {}, {}
    for method in next(iter(scores.values())):
        flags, truth = [], []
        kinds: list[str] = []
        for name in names:
            others = [other for other in made if other != name]
            limit = limit_of(
                np.concatenate([scores[other][method] for other in others]),
                np.concatenate([made[other].edited for other in others]),
            )
            thresholds[f"{method}, {name}"] = limit
            flags.append(scores[name][method] > limit)
            truth.append(made[name].edited)
            kinds += made[name].kinds
        reported, of = np.concatenate(flags), np.asarray(kinds)
        windows[method] = DetectionScore.of_flags(reported, np.concatenate(truth))
        by_kind[method] = {kind: float(reported[of == kind].mean()) for kind in (*EDITS, SAME) if (of == kind).any()}
    return windows, by_kind, thresholds


def edited_windows(data: StreetBenchData, name: str, settings: UpdateSettings) -> Windows:
    """Windows on a map, every second with one edit of its map, the kinds in turn (ConfigError: none can be edited)."""
    rng = np.random.default_rng([settings.seed, 21])
    pairs = data.singles(name, settings.windows, settings.seed + 1)
    old: list[LaneGraph] = []
    kinds: list[str] = []
    turn = 0
    for number, graph in enumerate(graphs_of(pairs)):
        done, kind = None, SAME
        if number % 2:
            for offset in range(len(EDITS)):  # a window that has nothing for a kind takes the next one
                kind = EDITS[(turn + offset) % len(EDITS)]
                done = edit(graph, kind, rng, data.window)
                if done is not None:
                    break
            turn += 1
        old.append(graph if done is None else done[0])
        kinds.append(SAME if done is None else kind)
    if not any(kind != SAME for kind in kinds):
        raise ConfigError(f"no window of {name} can be edited", "hold out a map with longer lanes")
    return Windows(pairs, tuple(old), tuple(kinds))


def best_threshold(scores: DoubleArray, edited: BoolArray) -> float:
    """The limit above which scores tell edited windows with the best F1; the lowest of equals."""
    ordered = np.unique(scores)
    limits = np.concatenate([[ordered[0] - 1.0], 0.5 * (ordered[:-1] + ordered[1:])])
    return float(max(limits, key=lambda limit: (DetectionScore.of_flags(scores > limit, edited).f1, -limit)))


def quiet_threshold(scores: DoubleArray, edited: BoolArray) -> float:
    """The limit that `QUIET_SHARE` of the windows exceed that nobody edited."""
    return float(np.quantile(scores[~edited], 1 - QUIET_SHARE))


Rivals = tuple[FieldEmbedding, FieldEmbedding | None, tuple[EmbeddingModel, Library, FloatArray] | None]


def _kept_scores(
    data: StreetBenchData, name: str, made: Windows, settings: UpdateSettings, kept: Kept, rivals: Rivals
) -> dict[str, DoubleArray]:
    """`_scores`, or what an earlier run found."""
    model, plain, retrieval = rivals
    identity = {
        "data": data.fingerprint(),
        "settings": asdict(settings),
        "models": [seal_of(one.payload()) for one in (model, plain) if one is not None],
        "retrieval": None if retrieval is None else [seal_of(retrieval[0].payload()), graphs_seal(retrieval[1].graphs)],
        "old": graphs_seal(made.old),
    }
    names = [method for method, there in zip(METHODS, (1, plain, retrieval), strict=True) if there is not None]

    def make() -> FloatArray:
        found = _scores(made, rivals)
        return np.stack([found[method] for method in names]).astype(np.float32)

    rows = kept.rows(f"changes-{name}", identity, make)
    return {method: np.asarray(row, np.float64) for method, row in zip(names, rows, strict=True)}


def _scores(made: Windows, rivals: Rivals) -> dict[str, DoubleArray]:
    """How changed each window looks to each method."""
    model, plain, retrieval = rivals
    found: dict[str, list[float]] = {METHODS[0]: []}
    at = 0
    for some in batches(made.pairs):
        seen = [pair.observation for pair in some]
        old = list(made.old[at : at + len(some)])
        at += len(some)
        found[METHODS[0]] += [one.score for one in gather(model, seen, old)]
        if plain is not None:
            residual = plain.read_fields(seen) - draw_all(old, plain.field)
            values = [max(blob(one.clip(0)), blob((-one).clip(0))) for one in residual]
            found.setdefault(METHODS[1], []).extend(values)
        if retrieval is not None:
            by, library, rows = retrieval
            best = nearest_rows(by.embed_observations(seen), rows)
            window = by.window
            values = [
                chamfer_m(sampled(library.graphs[k], window).points_m, sampled(g, window).points_m, empty_m(window))
                for k, g in zip(best, old, strict=True)
            ]
            found.setdefault(METHODS[2], []).extend(values)
    return {method: np.array(values) for method, values in found.items()}


@dataclass(frozen=True)
class Driven:
    """A drive past a map: the map, world_SE2_ego, what each window says, how fields are laid; the edit, of `kind`."""

    old: LaneGraph
    poses: list[SE2]
    evidence: list[Evidence]
    field: FieldSpec
    edit: Edit | None
    kind: str

    @property
    def km(self) -> float:
        """Length of the drive."""
        xy = np.array([(pose.x_m, pose.y_m) for pose in self.poses])
        return float(np.hypot(*np.diff(xy, axis=0).T).sum()) / 1000

    @cached_property
    def changes(self) -> list[Change]:
        """Those that are told from `TRACED` on."""
        return find_changes(self.old, self.poses, self.evidence, self.field, ChangeSettings(least=TRACED))

    def asked(self, model: FieldEmbedding) -> float:
        """Confidence from which changes count, as `foldmap street update` has it of a model."""
        return asked_confidence(model, self.old, self.poses, self.evidence)

    def score(self, least: float) -> DetectionScore:
        """The changes that are told from a confidence on, against the edit."""
        return match_changes([change for change in self.changes if change.counts(least)], self.edit)

    @property
    def false(self) -> list[float]:
        """Confidences of the changes that are not the edit."""
        return [change.confidence for change in self.changes if match_changes([change], self.edit).false_positives]


def least_change(drives: Sequence[Driven]) -> float | None:
    """Confidence from which drives tell few changes that are not there (`quiet_least`)."""
    return quiet_least([one for drive in drives for one in drive.false], sum(drive.km for drive in drives))


def best_within(drives: Sequence[Driven], false_a_km: float) -> DetectionScore:
    """The score from the least confidence at which these very drives tell no more false changes than that."""
    most = false_a_km * sum(drive.km for drive in drives)
    false = sorted((one for drive in drives for one in drive.false), reverse=True)
    least = np.nextafter(false[int(most)], np.inf) if len(false) > most else TRACED
    total = DetectionScore(0, 0, 0)
    for drive in drives:
        total = total + drive.score(float(least))
    return total


def driven(
    data: StreetBenchData,
    name: str,
    models: Sequence[FieldEmbedding],
    settings: UpdateSettings,
    *,
    edits: bool = True,
) -> list[list[Driven]]:
    """For each model drives past a map, the same ones; with `edits` every second one's map has one."""
    rng = np.random.default_rng([settings.seed, 22])
    found: list[list[Driven]] = [[] for _ in models]
    drives = data.drives(name, settings.drives, settings.frames, settings.step_m, settings.seed + 2)
    for number, drive in enumerate(drives):
        poses, region = _region(data, name, drive)
        kind, done = SAME, None
        if edits and number % 2:
            kind = EDITS[(number // 2) % len(EDITS)]
            done = edit(region, kind, rng, _seen(poses, data.window))
            if done is None:
                continue
        old = resample(region if done is None else done[0], 1.0)
        seen = [pair.observation for some in batches(drive.frames) for pair in some]
        for model, mine in zip(models, found, strict=True):
            evidence = gather(model, seen, [cut(old, pose, model.window) for pose in poses])
            mine.append(Driven(old, poses, evidence, model.field, None if done is None else done[1], kind))
    return found


def _region(data: StreetBenchData, name: str, drive: StreetDrive) -> tuple[list[SE2], LaneGraph]:
    """A drive and the map around it, in the frame of its middle pose."""
    middle = drive.poses[len(drive.poses) // 2]
    wide = Window(-_REGION_M, _REGION_M, -_REGION_M, _REGION_M)
    region = resample(cut(data.maps[name].graph, middle, wide), 1.0)
    return [middle.inverse() @ pose for pose in drive.poses], region


def _seen(poses: Sequence[SE2], window: Window) -> Window:
    """A box about the drive's middle that its windows cover."""
    x, y = np.array([pose.x_m for pose in poses]), np.array([pose.y_m for pose in poses])
    half = 0.5 * min(window.size_m)
    back, ahead = float(x.min()) - 0.5 * half, float(x.max()) + 0.5 * half
    return Window(back, ahead, float(y.min()) - half, float(y.max()) + half)


def match_changes(changes: Sequence[Change], done: Edit | None) -> DetectionScore:
    """Which reported changes are the edit, and which are not there.

    A change is the edit where half of either line lies within 2.5 m of the other, of the lane as it truly is or as the
    edited map has it: a shifted lane may be told as one added and one removed.
    """
    lines = [] if done is None else [line for line in (done.before_m, done.after_m) if len(line)]
    right = [any(_along(change, line) for line in lines) for change in changes]
    hit = any(right)
    return DetectionScore(int(hit), sum(not one for one in right), int(done is not None and not hit))


def _along(change: Change, line_m: DoubleArray) -> bool:
    for mine in (change.line_m, change.before_m):
        if not len(mine):
            continue
        there = np.mean(cKDTree(line_m).query(mine)[0] <= _HIT_M)
        back = np.mean(cKDTree(mine).query(line_m)[0] <= _HIT_M)
        if max(there, back) >= _HIT_SHARE:
            return True
    return False


def _by_kind(shares: dict[str, float]) -> dict[str, float]:
    return {f"found_{kind.replace(' ', '_')}_pct": 100 * share for kind, share in shares.items()}


def _flat(score: DetectionScore) -> dict[str, Any]:
    low, high = score.f1_interval
    counts = {name: getattr(score, name) for name in ("true_positives", "false_positives", "false_negatives")}
    rates = {"precision": score.precision, "recall": score.recall, "f1": score.f1}
    return {**rates, "f1_95_low": low, "f1_95_high": high, **counts}
