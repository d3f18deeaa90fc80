"""Set what a map says of its own errors, from answers whose truth is known."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from foldmap.api.judging.answers import Answers, distances_to, read_answers, true_positions
from foldmap.atlas import FoldFile, update
from foldmap.errors import ConfigError, LayerError, PoseInputError
from foldmap.lidar.folded import open_lidar
from foldmap.localize.evidence import KEY, MapCalibration
from foldmap.localize.lidar.confidence import calibration_of
from foldmap.localize.protection import RISK
from foldmap.localize.street.chance import SHIPPED
from foldmap.localize.tail import LEAST, Tail, distance_at
from foldmap.metrics.consistency import consistency
from foldmap.types import DoubleArray

_MOST_SIGMAS = 50.0
"""What answers are farther off than at the median are no errors, but another frame or drive."""


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
        elsewhere: the same of a drive that cannot be in the map: what chance reaches.
        limit_s: times of estimates and truth that are farther apart do not belong together.

    Raises:
        PoseInputError: the files cannot be used, are of fewer than 20 answers, or of another frame or drive.
        LayerError: the map has no layer that answered so.
        ConfigError: `elsewhere` is given, and the layer has no signal whose chance is calibrated.
    """
    answers = read_answers(estimates)
    true = true_positions(answers, truth, limit_s)
    distances = distances_to(answers, true)
    if len(distances) < LEAST:
        cure = f"localize {LEAST} observations or more whose true poses are known; some hundred tell more"
        raise PoseInputError(f"{estimates} answers {len(distances)} whose truth is known", cure)
    if float(np.median(distances)) > _MOST_SIGMAS:
        raise PoseInputError(
            f"half of the answers of {estimates} lie more than {np.median(distances):,.0f} sigma from {truth}",
            "give the truth of this drive, in the map's frame: a map cannot learn its errors from another",
        )
    with update(output, source=fold_file) as updater:
        layer = _layer(updater.before, answers.kind)
        parameters = updater.before.layer(layer).parameters
        before = _answered_by(updater.before, layer)
        fitted = before.with_errors(distances, true.shape[1])
        # they were answered under the scale before
        after = replace(fitted, sigma_scale=before.sigma_scale).widened(fitted.sigma_scale)
        if elsewhere is not None:
            after = with_chance(after, read_answers(elsewhere), answers.kind)
        updater.set_parameters(layer, {**parameters, KEY: after.to_dict()})
    scales = {"sigma_scale_before": round(before.sigma_scale, 4), "sigma_scale": round(after.sigma_scale, 4)}
    return {"map": str(output), "layer": layer, **scales, **_told(answers, true, distances, fitted)}


def with_chance(before: MapCalibration, answers: Answers, kind: str) -> MapCalibration:
    """The calibration with the tails of the signals that answers from elsewhere reach.

    Signals are those that the map's chance is about already.
    """
    if answers.kind != kind:
        raise PoseInputError(
            f"answers from elsewhere are of the {answers.kind} layer", f"give some of the {kind} layer"
        )
    if not before.chance:
        raise ConfigError(f"the {kind} layer has no signal whose chance is calibrated", "leave --elsewhere out")
    tails = {}
    for signal, tail in before.chance.items():
        found = [row["diagnostics"].get(signal) for row in answers.rows]
        tails[signal] = Tail.of(np.array([value for value in found if value is not None], np.float64), tail.share)
    return replace(before, chance=tails, negatives=len(answers.rows))


def _answered_by(file: FoldFile, layer: str) -> MapCalibration:
    """The calibration that answers of a layer had: the map's own, else its model's."""
    info = file.layer(layer)
    own = MapCalibration.read(info.parameters, layer)
    if own is not None or info.kind == "visual":
        return own or MapCalibration()
    if info.kind == "street":
        return SHIPPED
    return calibration_of(open_lidar(file, layer)) if info.models else MapCalibration()


def _layer(file: FoldFile, kind: str) -> str:
    name = next((layer.name for layer in file.layers() if layer.kind == kind), None)
    if name is None:
        raise LayerError(f"{file.path.name} has no {kind} layer", "give the map that was localized in")
    return name


def _told(answers: Answers, true: DoubleArray, distances: DoubleArray, fitted: MapCalibration) -> dict[str, Any]:
    """What errors and levels are; and, set on the first half of the drive, what holds on the other."""
    axes, half = true.shape[1], len(distances) // 2
    known = answers.answered & np.isfinite(true[:, 0])
    sigmas = np.sqrt(np.linalg.eigvalsh(answers.covariances[known]).max(axis=1)) * fitted.sigma_scale
    told: dict[str, Any] = {
        "asked": len(answers.rows),
        "answers": len(distances),
        "median_error": float(np.median(np.linalg.norm((answers.positions - true)[known], axis=1))),
    }
    if fitted.errors is not None:
        told["median_level"] = float(np.median(sigmas)) * distance_at(fitted.errors, RISK, axes)
    if half >= LEAST:
        first = MapCalibration().with_errors(distances[:half], axes)
        held = distances[half:] / first.sigma_scale
        shares = consistency(held**2, axes).covered
        told["other_half_within_1_2_3_sigma_percent"] = [round(100.0 * share, 1) for share in shares]
        if first.errors is not None:
            told["other_half_beyond_level"] = int((held > distance_at(first.errors, RISK, axes)).sum())
    return told
