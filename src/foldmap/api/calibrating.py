"""Set what a map says of its own errors, from answers whose truth is known."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from foldmap.atlas import FoldFile, update
from foldmap.errors import ConfigError, LayerError, PoseInputError
from foldmap.formats.listing import content
from foldmap.formats.poses.photos import read_image_poses
from foldmap.formats.poses.trajectories import read_poses
from foldmap.geometry.association import DEFAULT_LIMIT_S, associate_times
from foldmap.geometry.quaternion import centres_of, rigid_from_wxyz
from foldmap.localize.evidence import KEY, MapCalibration, mahalanobis
from foldmap.localize.protection import RISK
from foldmap.localize.tail import LEAST, Tail, distance_at, gaussian_exceeded_at
from foldmap.types import DoubleArray

ANSWERED = ("ok", "degraded")
_BEYOND_SIGMA = (0.3173, 0.0455, 0.0027)
"""Probability that a Gaussian is beyond 1, 2 and 3 standard deviations; of several axes, outside of the like region."""


@dataclass(frozen=True)
class KnownErrors:
    """Answers of one layer whose truth is known, in the order of the drive.

    Attributes:
        kind: of the layer.
        errors: float64 (N, K) estimated minus true position, world axes; K is 2, of photos 3.
        covariances: float64 (N, K, K) as they were answered.
        asked: how many observations there were.
    """

    kind: str
    errors: DoubleArray
    covariances: DoubleArray
    asked: int

    @property
    def distances(self) -> DoubleArray:
        """Mahalanobis distances to the truth, (N,)."""
        pairs = zip(self.errors, self.covariances, strict=True)
        return np.array([mahalanobis(error, covariance) for error, covariance in pairs], np.float64)


def calibrate_map(
    fold_file: Path,
    estimates: Path,
    truth: Path,
    output: Path,
    *,
    elsewhere: Path | None = None,
    limit_s: float | None = None,
) -> dict[str, Any]:
    """Write a map anew, calibrated to what ``foldmap localize`` answered in it and to the truth of that.

    Args:
        fold_file: the map.
        estimates: of the drive: the JSON lines, or the poses beside them.
        truth: true poses: as ``foldmap evaluate`` takes them.
        output: the map with its calibration.
        elsewhere: JSON lines of a drive that cannot be in the map: what chance reaches.
        limit_s: times of estimates and truth that are farther apart do not belong together.

    Raises:
        PoseInputError: the files cannot be used, or are of fewer than 20 answers.
        LayerError: the map has no layer that answered so.
    """
    rows = read_answers(estimates)
    known = known_errors(rows, truth, limit_s)
    if len(known.errors) < LEAST:
        cure = f"localize {LEAST} observations or more whose true poses are known; some hundred tell more"
        raise PoseInputError(f"{estimates} answers {len(known.errors)} whose truth is known", cure)
    with update(output, source=fold_file) as updater:
        layer = _layer(updater.before, known.kind)
        parameters = updater.before.layer(layer).parameters
        before = MapCalibration.read(parameters, layer) or MapCalibration()
        after = calibrated(before, known)
        if elsewhere is not None:
            after = with_chance(after, read_answers(elsewhere), known.kind)
        updater.set_parameters(layer, {**parameters, KEY: after.to_dict()})
    return {"map": str(output), "layer": layer, **_told(before, after, known)}


def calibrated(before: MapCalibration, known: KnownErrors) -> MapCalibration:
    """The calibration under which known errors are what sigma says; they were answered under the one before."""
    axes = known.errors.shape[1]
    fitted = before.with_errors(known.distances, axes)
    return replace(fitted, sigma_scale=before.sigma_scale * fitted.sigma_scale)


def with_chance(before: MapCalibration, rows: Sequence[dict[str, Any]], kind: str) -> MapCalibration:
    """The calibration with the tails of the signals that answers from elsewhere reach.

    Signals are those that the map's chance is about already; a ConfigError where there are none, or too few answers.
    """
    if _kind(rows) != kind:
        raise PoseInputError(f"answers from elsewhere are of the {_kind(rows)} layer", f"give some of the {kind} layer")
    if not before.chance:
        raise ConfigError(f"chance is not calibrated in the {kind} layer", "leave --elsewhere out")
    tails = {}
    for signal, tail in before.chance.items():
        found = [row["diagnostics"].get(signal) for row in rows]
        tails[signal] = Tail.of(np.array([value for value in found if value is not None], np.float64), tail.share)
    return replace(before, chance=tails, negatives=len(rows))


def known_errors(rows: Sequence[dict[str, Any]], truth: Path, limit_s: float | None = None) -> KnownErrors:
    """Pair answers with the truth: photos by name, others by time, or by number where the truth has no times."""
    kind, answered = _kind(rows), [row for row in rows if row["status"] in ANSWERED]
    pairs = _photos(answered, truth, limit_s) if kind == "visual" else _planar(answered, rows, truth, limit_s)
    axes = 3 if kind == "visual" else 2
    errors = np.array([error for error, _ in pairs], np.float64).reshape(-1, axes)
    covariances = np.array([np.array(row["covariance"], np.float64)[:axes, :axes] for _, row in pairs])
    return KnownErrors(kind, errors, covariances.reshape(-1, axes, axes), len(rows))


def read_answers(path: Path) -> list[dict[str, Any]]:
    """The JSON lines of ``foldmap localize``, or those beside its poses; a PoseInputError where they are none."""
    lines = path if path.suffix == ".jsonl" else Path(f"{path}.jsonl")
    rows = []
    for line, text in content(lines, "the JSON lines of foldmap localize"):
        try:
            row = json.loads(text)
            if not isinstance(row["status"], str) or not isinstance(row["diagnostics"], dict):
                raise ValueError("status or diagnostics are of another kind")
            if row["status"] in ANSWERED:
                shape = np.array(row["covariance"], np.float64).shape
                if shape not in ((3, 3), (6, 6)):
                    raise ValueError(f"a covariance of shape {shape}")
        except (ValueError, KeyError, TypeError) as error:
            raise PoseInputError(
                f"{lines}, line {line}: no answer: {error}", "write it with foldmap localize"
            ) from error
        rows.append(row)
    if not rows:
        raise PoseInputError(f"{lines} holds no answers", "write it with foldmap localize")
    return rows


def _kind(rows: Sequence[dict[str, Any]]) -> str:
    return "visual" if "image_poses" in rows[0] else "street" if "guess" in rows[0] else "lidar"


def _photos(
    answered: Sequence[dict[str, Any]], truth: Path, limit_s: float | None
) -> list[tuple[DoubleArray, dict[str, Any]]]:
    single = [row for row in answered if len(row["images"]) == 1]
    names = [row["images"][0] for row in single]
    known = read_image_poses(truth, names, DEFAULT_LIMIT_S if limit_s is None else limit_s, cameras=False)
    pairs = []
    for name, row in zip(names, single, strict=True):
        if name in known.camera_SE3_world:
            seven = np.array(row["pose"], np.float64)
            poses = np.stack([rigid_from_wxyz(seven[None, :4], seven[None, 4:])[0], known.camera_SE3_world[name]])
            mine, true = centres_of(poses)
            pairs.append((mine - true, row))
    return pairs


def _planar(
    answered: Sequence[dict[str, Any]], rows: Sequence[dict[str, Any]], truth: Path, limit_s: float | None
) -> list[tuple[DoubleArray, dict[str, Any]]]:
    true = read_poses(truth)
    places = np.array([pose.translation_m[:2] for pose in true.world_SE3_sensors])
    if true.times_s is None:
        if len(true) != len(rows):
            cure = "give a pose an observation, or a trajectory with times"
            raise PoseInputError(f"{truth} has {len(true)} poses without times for {len(rows)} observations", cure)
        numbers = {id(row): number for number, row in enumerate(rows)}
        found = [(row, numbers[id(row)]) for row in answered]
    else:
        times_s = np.array([row["time_s"] for row in answered], np.float64)
        limit_s = DEFAULT_LIMIT_S if limit_s is None else limit_s
        mine, theirs, _ = associate_times(times_s, true.times_s, limit_s)
        found = [(answered[row], other) for row, other in zip(mine.tolist(), theirs.tolist(), strict=True)]
    return [(np.array([row["pose"]["x_m"], row["pose"]["y_m"]]) - places[other], row) for row, other in found]


def _layer(file: FoldFile, kind: str) -> str:
    name = next((layer.name for layer in file.layers() if layer.kind == kind), None)
    if name is None:
        raise LayerError(f"{file.path.name} has no {kind} layer", "give the map that was localized in")
    return name


def _told(before: MapCalibration, after: MapCalibration, known: KnownErrors) -> dict[str, Any]:
    """What changed; and, set on the first half of the drive, what holds on the other."""
    axes, half = known.errors.shape[1], len(known.errors) // 2
    far = np.linalg.norm(known.errors, axis=1)
    sigmas = np.sqrt(np.linalg.eigvalsh(known.covariances).max(axis=1)) * after.sigma_scale / before.sigma_scale
    told: dict[str, Any] = {
        "asked": known.asked,
        "answers": len(known.errors),
        "sigma_scale": [round(one.sigma_scale, 4) for one in (before, after)],
        "median_error": float(np.median(far)),
    }
    if after.errors is not None:
        told["median_level"] = float(np.median(sigmas)) * distance_at(after.errors, RISK, axes)
    if half >= LEAST:
        fitted = MapCalibration().with_errors(known.distances[:half], axes)
        held = known.distances[half:] / fitted.sigma_scale
        shares = [float(np.mean(held <= gaussian_exceeded_at(risk, axes))) for risk in _BEYOND_SIGMA]
        told["other_half_within_1_2_3_sigma_percent"] = [round(100.0 * share, 1) for share in shares]
        if fitted.errors is not None:
            told["other_half_beyond_level"] = int((held > distance_at(fitted.errors, RISK, axes)).sum())
    return told
