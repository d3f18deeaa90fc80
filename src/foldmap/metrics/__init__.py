"""Level 5: pure functions with units that say how good a pose or how small a map is."""

from foldmap.metrics.pose import (
    ErrorSummary,
    FailureRates,
    PoseErrors,
    failure_rates,
    planar_difference,
    pose_errors,
    summarize,
    top_px_accuracy,
    travelled_m,
)
from foldmap.metrics.size import (
    LA_COUNTY,
    UNITED_STATES,
    RoadNetwork,
    bits_per_m2,
    bits_per_px,
    format_bytes,
    projected_bytes,
)

__all__ = [
    "LA_COUNTY",
    "UNITED_STATES",
    "ErrorSummary",
    "FailureRates",
    "PoseErrors",
    "RoadNetwork",
    "bits_per_m2",
    "bits_per_px",
    "failure_rates",
    "format_bytes",
    "planar_difference",
    "pose_errors",
    "projected_bytes",
    "summarize",
    "top_px_accuracy",
    "travelled_m",
]
