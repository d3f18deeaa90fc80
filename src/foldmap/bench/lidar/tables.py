"""From answers to rows: size and error of each method, tables 4, 5 and 6 of the paper, and what a plot shows."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from foldmap.bench.lidar.baselines.contrast_codec import ContrastMapCodec
from foldmap.bench.lidar.baselines.image_codecs import ImageMapCodec, ThresholdMapCodec
from foldmap.bench.lidar.cases import Method
from foldmap.bench.lidar.predict import Predictions
from foldmap.errors import InputError
from foldmap.lidar.bundle import Bundle
from foldmap.metrics import (
    PoseErrors,
    RoadNetwork,
    bits_per_m2,
    bits_per_px,
    pose_errors,
    projected_bytes,
    summarize,
    top_px_accuracy,
)
from foldmap.types import DoubleArray

MATCHING_COLUMNS = {
    "method": "method",
    "bits_per_m2": "bit/m² observed",
    "bits_per_px": "bit/px of raster",
    "median_cm": "median [cm]",
    "p95_cm": "p95 [cm]",
    "p99_cm": "p99 [cm]",
    "max_cm": "max [cm]",
    "lateral_median_cm": "lateral [cm]",
    "longitudinal_median_cm": "longitudinal [cm]",
    "beyond_50_cm_pct": "> 0.5 m [%]",
    "top1_px_pct": "top-1 px [%]",
    "top9_px_pct": "top-9 px [%]",
    "answered_pct": "answered [%]",
    "queries": "queries",
}


def errors_of(predictions: Predictions) -> PoseErrors:
    """Errors of one method's answers in the true vehicle frame."""
    truths = [row.world_SE2_true for row in predictions.rows]
    estimates = [row.world_SE2_estimated for row in predictions.rows]
    return pose_errors(truths, estimates, predictions.heading_searched)


def centimetres(errors: PoseErrors, *names: str) -> dict[str, float]:
    """Figures of an error by name: ``p95`` of the total, ``lateral_median``, ...; keys end with ``_cm``."""
    found = {}
    for name in names:
        direction, _, figure = name.rpartition("_")
        found[f"{name}_cm"] = 100 * getattr(summarize(getattr(errors, f"{direction or 'total'}_m")), f"{figure}_m")
    return found


def matching_row(predictions: Predictions) -> dict[str, Any]:
    """Summarize one method (table 1, figure 4, table 6) over all its queries; an InputError where there are none."""
    rows = predictions.rows
    if not rows:
        raise InputError(f"{predictions.method} has no predictions", "run it on at least one query")
    errors = errors_of(predictions)
    row_px, col_px = px_errors(predictions)
    # Each map counts as often as it was asked in, in bits and in ground alike.
    size = sum(row.payload_bytes for row in rows)
    result: dict[str, Any] = {
        "method": predictions.method,
        "bits_per_m2": bits_per_m2(size, sum(row.observed_m2 for row in rows)),
        "bits_per_px": bits_per_px(size, sum(row.raster_px for row in rows)),
        "payload_bytes_mean": size / len(rows),
        "queries": len(rows),
        "answered_pct": 100 * errors.answered,
        **centimetres(errors, "median", "p95", "p99", "max", "lateral_median", "longitudinal_median"),
        "beyond_50_cm_pct": 100 * float((errors.total_m > 0.5).mean()),
        "top1_px_pct": 100 * top_px_accuracy(row_px, col_px, 0),
        "top9_px_pct": 100 * top_px_accuracy(row_px, col_px, 1),
    }
    statuses = [row.diagnostics.get("status") for row in rows]
    if any(status == "ok" for status in statuses):
        result["ok_pct"] = 100 * statuses.count("ok") / len(rows)
    if predictions.heading_searched:
        degrees = np.degrees(np.abs(errors.heading_rad))
        result["heading_median_deg"] = float(np.median(degrees))
    return {key: _rounded(value) for key, value in result.items()}


def px_errors(predictions: Predictions) -> tuple[DoubleArray, DoubleArray]:
    """Estimate minus truth in map pixels along rows and columns; infinite where not answered."""
    errors = np.full((2, len(predictions.rows)), np.inf)
    for index, row in enumerate(predictions.rows):
        if row.pose is not None:
            east_m, north_m = row.pose[0] - row.true_pose[0], row.pose[1] - row.true_pose[1]
            errors[:, index] = -north_m / row.resolution_m, east_m / row.resolution_m
    return errors[0], errors[1]


def _rounded(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) and math.isfinite(value) else value


PAPER_RESOLUTION_M = 0.05
ONLINE_PARTS = {
    "online_median_cm": "online median [cm]",
    "fail_100_m_pct": "fail ≤ 100 m [%]",
    "fail_500_m_pct": "fail ≤ 500 m [%]",
    "fail_end_pct": "fail end [%]",
}
ABLATION_COLUMNS = {
    "method": "method",
    "objective": "objective",
    "downsample": "pixels a cell",
    "bits_per_m2": "bit/m² observed",
    "bits_per_px": "bit/px of raster",
    "top1_px_pct": "top-1 px [%]",
    "top9_px_pct": "top-9 px [%]",
    "median_cm": "median [cm]",
    "p95_cm": "p95 [cm]",
    "beyond_50_cm_pct": "failed (> 0.5 m) [%]",
}
REDUCED_COLUMNS = {
    "method": "method",
    "px_cm": "pixel [cm]",
    "bits_per_m2": "bit/m² observed",
    "bits_per_raster_m2": "bit/m² of raster",
    "median_cm": "median [cm]",
    "lateral_median_cm": "lateral [cm]",
    "longitudinal_median_cm": "longitudinal [cm]",
    "p95_cm": "p95 [cm]",
    "beyond_50_cm_pct": "> 0.5 m [%]",
}
_CROWD = 14

Rows = Sequence[Mapping[str, Any]]


def stored_px_m(method: Method, resolution_m: float) -> float:
    """Side of the pixels that a method's codec stores; the learned codec counts as storing the map's own."""
    codec = method.codec
    if isinstance(codec, ImageMapCodec):
        return codec.reduction * resolution_m
    return codec.pixel_m if isinstance(codec, ThresholdMapCodec | ContrastMapCodec) else resolution_m


def with_online(rows: Rows, online: Rows) -> list[dict[str, Any]]:
    """Add to each row what its codec did along the drive with the matcher's kin: learned with learned, ncc with ncc."""
    driven = {_kin(row["method"]): {**row, "online_median_cm": row["median_cm"]} for row in online}
    found = [driven.get(_kin(row["method"]), {}) for row in rows]
    return [{**row, **{k: own[k] for k in ONLINE_PARTS if k in own}} for row, own in zip(rows, found, strict=True)]


def _kin(method: str) -> tuple[str, str]:
    codec, _, matcher = method.partition(" + ")
    own = {"localizer": "", "histogram-filter": ""}
    return codec, own.get(matcher, matcher.removeprefix("tracking-"))


def reduced_rows(rows: Rows, methods: Sequence[Method], resolution_m: float) -> list[dict[str, Any]]:
    """Table 6: bits per square metre, of observed ground and of raster, by stored pixel size."""
    stored = {method.name: stored_px_m(method, resolution_m) for method in methods}
    found = [
        {**row, "px_cm": 100 * stored[row["method"]], "bits_per_raster_m2": row["bits_per_px"] / resolution_m**2}
        for row in rows
        if row["method"] in stored
    ]
    return sorted(found, key=lambda row: (not row["method"].startswith("foldmap"), row["px_cm"], row["method"]))


def projected_rows(rows: Rows, roads: Sequence[RoadNetwork], resolution_m: float) -> list[dict[str, Any]]:
    """Table 5: bytes of each road network, by name, as the paper assumes: bits per pixel of a raster at 5 cm."""
    per_paper_px = (PAPER_RESOLUTION_M / resolution_m) ** 2
    return [
        {
            "method": row["method"],
            **{network.name: projected_bytes(row["bits_per_px"] * per_paper_px, network) for network in roads},
        }
        for row in rows
    ]


def ablation_rows(bundles: Mapping[str, Bundle], rows: Rows) -> list[dict[str, Any]]:
    """Table 4: rows of the learned methods (method -> bundle), reconstruction before match, fine before coarse."""
    found = []
    for row in rows:
        bundle = bundles.get(str(row["method"]))
        if bundle is not None:
            objective = str(bundle.provenance.get("mode", "match"))
            found.append({**row, "objective": objective, "downsample": bundle.model.preset.downsample})
    return sorted(found, key=lambda row: (row["objective"] != "recon", row["downsample"], row["method"]))


def by_family(rows: Rows, key: str) -> dict[str, list[tuple[float, float]]]:
    """Series of (bits per m2, value): one a codec family, reduction and matcher, qualities along it."""
    series: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for row in rows:
        series[family_of(str(row["method"]))].append((float(row["bits_per_m2"]), float(row[key])))
    return dict(series)


def family_of(method: str) -> str:
    """``webp-20/4x + ncc`` -> ``webp + ncc``; ``1bit-jxl-40cm + ncc`` -> ``1bit-jxl + ncc``."""
    codec, plus, matcher = method.partition(" + ")
    base = codec.split("/")[0]
    head, dash, tail = base.rpartition("-")
    if dash and tail.removesuffix("cm").replace(".", "", 1).isdigit():
        base = head
    return base + plus + matcher


def representatives(rows: Rows) -> list[str]:
    """Methods for a plot that cannot hold all: the learned, the raw, and of every family its thriftiest good one.

    Good is a median error of at most twice the family's best; of a family without a finite one none.
    """
    names = [str(row["method"]) for row in rows]
    if len(names) <= _CROWD:
        return names
    families: dict[str, list[Mapping[str, Any]]] = {}
    kept = {name for name in names if name.startswith(("foldmap", "raw"))}
    for row in rows:
        if math.isfinite(float(row["median_cm"])):
            families.setdefault(family_of(str(row["method"])), []).append(row)
    for members in families.values():
        best = min(float(row["median_cm"]) for row in members)
        good = [row for row in members if float(row["median_cm"]) <= 2 * best]
        kept.add(str(min(good, key=lambda row: float(row["bits_per_m2"]))["method"]))
    return [name for name in names if name in kept]
