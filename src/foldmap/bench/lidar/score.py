"""From answers to table rows: size and error of each method."""

import math
from typing import Any

import numpy as np

from foldmap.bench.lidar.predict import Predictions
from foldmap.errors import InputError
from foldmap.metrics import PoseErrors, bits_per_m2, bits_per_px, pose_errors, summarize, top_px_accuracy
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


def matching_row(predictions: Predictions) -> dict[str, Any]:
    """Summarize one method (table 1, figure 4, table 6) over all its queries; an InputError where there are none."""
    rows = predictions.rows
    if not rows:
        raise InputError(f"{predictions.method} has no predictions", "run it on at least one query")
    errors = errors_of(predictions)
    total = summarize(errors.total_m)
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
        "median_cm": 100 * total.median_m,
        "p95_cm": 100 * total.p95_m,
        "p99_cm": 100 * total.p99_m,
        "max_cm": 100 * total.max_m,
        "lateral_median_cm": 100 * summarize(errors.lateral_m).median_m,
        "longitudinal_median_cm": 100 * summarize(errors.longitudinal_m).median_m,
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
    rows = np.full((2, len(predictions.rows)), np.inf)
    for index, row in enumerate(predictions.rows):
        if row.pose is not None:
            rows[0, index] = -(row.pose[1] - row.true_pose[1]) / row.resolution_m
            rows[1, index] = (row.pose[0] - row.true_pose[0]) / row.resolution_m
    return rows[0], rows[1]


def _rounded(value: Any) -> Any:
    if isinstance(value, float) and math.isfinite(value):
        return float(f"{value:.6g}")
    return value
