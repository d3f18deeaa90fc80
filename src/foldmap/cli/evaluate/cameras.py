"""``foldmap evaluate`` of photos: camera poses against a COLMAP model, poses of 7-Scenes, TUM or hloc's text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foldmap.errors import ConfigError, PoseInputError

if TYPE_CHECKING:
    from foldmap.metrics.camera_pose import CameraErrors, Threshold

UNITS = ("world", "m", "radius")
_DEFAULT = ((0.005, 0.5), (0.02, 2.0), (0.05, 5.0), (0.25, 2.0), (0.5, 5.0), (5.0, 10.0))
_DEFAULT_PERCENT = ((0.5, 0.5), (2.0, 2.0), (5.0, 5.0))


def compare_cameras(
    estimates: Path,
    truth: Path,
    *,
    queries: Path | None = None,
    thresholds: str = "",
    unit: str | None = None,
    plot: Path | None = None,
    limit_s: float | None = None,
) -> dict[str, Any]:
    """Compute errors of camera poses.

    Args:
        estimates: hloc results, a TUM trajectory of cameras, or JSON lines of ``foldmap localize``; lines beside poses
            (POSES.jsonl) that tell of the same ones tell of the queries that were not answered, which count as
            infinitely far off.
        truth: folder of a COLMAP model or of 7-Scenes poses, TUM or hloc text.
        queries: list of the images that were asked, where no JSON lines tell.
        thresholds: ``0.005,0.5 0.02,2`` (centre, degrees), or a name of
            `foldmap.metrics.camera_pose.NAMED_THRESHOLDS`.
        unit: "m", "world" (as the truth has it) or "radius" (percent of the radius of a true COLMAP model); metres
            where the truth is known to have them, else world units.
        plot: draw the distribution of the errors to this SVG.
        limit_s: times of photos and of a true trajectory that are farther apart do not belong together.

    Returns:
        The summary that the command prints.

    Raises:
        FoldmapError: a file or an option cannot be used, or no image that was asked has a true pose.
    """
    from foldmap.cli.evaluate.answers import read_answered
    from foldmap.formats.poses.photos import read_image_poses
    from foldmap.geometry.association import DEFAULT_LIMIT_S
    from foldmap.metrics.camera_pose import camera_errors

    answered = read_answered(estimates, queries)
    limit = DEFAULT_LIMIT_S if limit_s is None else limit_s
    known = read_image_poses(truth, answered.names, limit, cameras=False)
    if limit_s is not None and not known.by_time:
        raise ConfigError(f"poses are paired {known.paired}, not by time", "leave --time-limit out")
    names = [name for name in answered.names if name in known.camera_SE3_world]
    if not names:
        example = next(iter(known.camera_SE3_world), "none")
        raise PoseInputError(
            f"{truth} has no true pose of any of {len(answered.names)} images (asked {answered.names[0]!r}, there "
            f"{example!r})",
            "name images alike in both",
        )
    chosen, length = _unit(unit or ("m" if known.metric else "world"), truth)
    limits = read_thresholds(thresholds, chosen)
    errors = camera_errors(
        [known.camera_SE3_world[name] for name in names], [answered.poses.get(name) for name in names], length
    )
    if plot is not None:
        from foldmap.cli.common import write_bytes
        from foldmap.report.camera_figures import camera_error_plot

        write_bytes(plot, camera_error_plot({"foldmap": (errors.centre, errors.rotation_deg)}, chosen, limits))
    summary = _summary(errors, chosen, limits) | {"truth": known.layout, "paired": known.paired}
    if answered.note:
        summary["beside"] = answered.note
    if not answered.complete:
        summary["unanswered"] = "unknown: give --queries LIST, or keep the .jsonl beside"
    statuses = [answered.statuses.get(name, "answered" if name in answered.poses else "none") for name in names]
    return {
        **summary,
        "without_truth": len(answered.names) - len(names),
        "by_status": dict(Counter(statuses)),
        **_by_status(errors, statuses, chosen, limits),
    }


def read_thresholds(text: str, unit: str) -> tuple[Threshold, ...]:
    """Thresholds as a user writes them; those of all datasets where the text is empty.

    Raises:
        ConfigError: they are no pairs of positive numbers, or named ones (metres) are asked for in another unit.
    """
    from foldmap.metrics.camera_pose import NAMED_THRESHOLDS

    percent = unit.startswith("percent")
    if not text.strip():
        return _DEFAULT_PERCENT if percent else _DEFAULT
    if text.strip() in NAMED_THRESHOLDS:
        if percent:
            raise ConfigError(f"the thresholds {text.strip()!r} are in metres", "write them as 0.5,0.5 2,2")
        return NAMED_THRESHOLDS[text.strip()]
    limits = []
    for word in text.split():
        parts = word.split(",")
        if len(parts) != 2 or not all(_is_number(part) and float(part) > 0 for part in parts):
            known = ", ".join(NAMED_THRESHOLDS)
            raise ConfigError(f"{word!r} is no threshold", f"write '0.05,5 0.25,2' (centre,degrees), or one of {known}")
        limits.append((float(parts[0]), float(parts[1])))
    return tuple(limits)


def _summary(errors: CameraErrors, unit: str, limits: Sequence[Threshold]) -> dict[str, Any]:
    import numpy as np

    from foldmap.metrics.camera_pose import accuracy, median_errors

    centre, rotation_deg = median_errors(errors)
    return {
        "images": len(errors),
        "answered": int(np.isfinite(errors.centre).sum()),
        f"centre_median_{unit}": centre,
        "rotation_median_deg": rotation_deg,
        **{_within(limit, unit): 100.0 * accuracy(errors, limit) for limit in limits},
    }


def _by_status(
    errors: CameraErrors, statuses: Sequence[str], unit: str, limits: Sequence[Threshold]
) -> dict[str, dict[str, float]]:
    """The same for each status that carries poses, and its worst errors."""
    import numpy as np

    told = {}
    for status in ("ok", "degraded"):
        rows = np.array([one == status for one in statuses])
        if rows.any():
            some = errors.take(rows)
            worst = {f"centre_max_{unit}": float(some.centre.max()), "rotation_max_deg": float(some.rotation_deg.max())}
            told[status] = {**_summary(some, unit, limits), **worst}
    return told


def _within(limit: Threshold, unit: str) -> str:
    return f"within_{limit[0]:g}_{unit}_{limit[1]:g}_deg_percent"


def _unit(unit: str, truth: Path) -> tuple[str, float]:
    """Its name in results, and its length in world units."""
    from foldmap.formats.colmap.poses import model_radius_world

    if unit not in UNITS:
        raise ConfigError(f"there is no unit {unit!r}", f"choose {', '.join(UNITS)}")
    if unit != "radius":
        return unit, 1.0
    if not truth.is_dir():
        raise ConfigError("only a COLMAP model has a radius", "give the model as the truth, or another --unit")
    return "percent_of_radius", 0.01 * model_radius_world(truth)


def _is_number(word: str) -> bool:
    try:
        return abs(float(word)) < 1e300
    except ValueError:
        return False
