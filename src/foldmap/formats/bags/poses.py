"""Answers along a drive as MCAP for ROS tools: poses with covariance, each layer's health, the path, and TF."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from foldmap.atlas.whole import write_whole
from foldmap.formats.bags.messages import typestore
from foldmap.formats.extras import extra
from foldmap.geometry import SE2
from foldmap.localize.estimate import Status
from foldmap.localize.journey.estimate import JourneyEstimate
from foldmap.types import DoubleArray

MAP = "map"
POSE, PATH, HEALTH, TF = "/foldmap/pose", "/foldmap/path", "/foldmap/health", "/tf"
_TYPES = {
    POSE: "geometry_msgs/msg/PoseWithCovarianceStamped",
    PATH: "nav_msgs/msg/Path",
    HEALTH: "diagnostic_msgs/msg/DiagnosticArray",
    TF: "tf2_msgs/msg/TFMessage",
}
_UNKNOWN_M2, _UNKNOWN_RAD2 = 1e6, math.pi**2
"""Variances of what is not estimated: height; roll and pitch."""
_OK, _WARN, _ERROR = 0, 1, 2
_LEVELS = {Status.OK.value: _OK, Status.DEGRADED.value: _WARN}


@dataclass(frozen=True)
class TimedAnswer:
    """An estimate and its time, ns in the drive's clock."""

    time_ns: int
    estimate: JourneyEstimate


def write_poses(path: Path | str, answers: Sequence[TimedAnswer], base_frame: str) -> None:
    """Write answers in order of time; the frame "map" is the map's own (x east, y north), z is 0.

    ``/foldmap/pose`` and ``/tf`` have what was answered, once a moment, the last; ``/foldmap/health`` has every
    observation: the status and each layer's, and ``/foldmap/path``, once at the first, all poses. A MissingExtraError
    without ``mcap_ros2``.
    """
    import io

    writers = extra("mcap_ros2.writer", "poses.mcap")
    store, held = typestore("cdr"), io.BytesIO()
    with writers.Writer(held) as writer:
        schemas = {
            topic: writer.register_msgdef(kind, store.generate_msgdef(kind, ros_version=2)[0])
            for topic, kind in _TYPES.items()
        }

        def put(topic: str, time_ns: int, message: dict[str, Any]) -> None:
            writer.write_message(topic, schemas[topic], message, log_time=time_ns, publish_time=time_ns)

        last = {one.time_ns: one.estimate for one in answers if one.estimate.pose is not None}
        if last:
            stamped = [
                {"header": _header(ns, MAP), "pose": _pose(e.pose)} for ns, e in last.items() if e.pose is not None
            ]
            put(PATH, answers[0].time_ns, {"header": _header(answers[0].time_ns, MAP), "poses": stamped})
        for one in answers:
            put(HEALTH, one.time_ns, _health(one))
            pose, covariance = one.estimate.pose, one.estimate.covariance
            if pose is None or covariance is None or last[one.time_ns] is not one.estimate:
                continue
            header, placed = _header(one.time_ns, MAP), _pose(pose)
            spread = {"pose": placed, "covariance": _covariance(covariance).reshape(-1).tolist()}
            put(POSE, one.time_ns, {"header": header, "pose": spread})
            moved = {"translation": placed["position"], "rotation": placed["orientation"]}
            put(TF, one.time_ns, {"transforms": [{"header": header, "child_frame_id": base_frame, "transform": moved}]})
    write_whole(path, held.getvalue())


def _header(time_ns: int, frame: str) -> dict[str, Any]:
    stamp = {"sec": time_ns // 1_000_000_000, "nanosec": time_ns % 1_000_000_000}
    return {"stamp": stamp, "frame_id": frame}


def _pose(pose: SE2) -> dict[str, Any]:
    half = 0.5 * pose.heading_rad
    turned = {"x": 0.0, "y": 0.0, "z": math.sin(half), "w": math.cos(half)}
    return {"position": {"x": pose.x_m, "y": pose.y_m, "z": 0.0}, "orientation": turned}


def _covariance(planar: DoubleArray) -> DoubleArray:
    """Over x, y, z and turns about them (6, 6), from x, y and heading (3, 3)."""
    found = np.diag([0.0, 0.0, _UNKNOWN_M2, _UNKNOWN_RAD2, _UNKNOWN_RAD2, 0.0])
    axes = [0, 1, 5]
    found[np.ix_(axes, axes)] = planar
    return found


def _health(one: TimedAnswer) -> dict[str, Any]:
    estimate, told = one.estimate, one.estimate.diagnostics
    whole = {
        "phase": told.phase,
        "spoke": " ".join(told.spoke),
        "hypotheses": told.hypotheses,
        "sigma_m": told.sigma_m,
        "restarts": told.restarts,
    }
    rows = [_status("foldmap", estimate.status.value, told.reason, whole)]
    for name, health in told.layers.items():
        ages = {"age_s": health.age_s, "ok_age_s": health.ok_age_s}
        rows.append(_status(f"foldmap: {name}", health.status, health.reason, ages))
    return {"header": _header(one.time_ns, ""), "status": rows}


def _status(name: str, status: str, reason: str, values: dict[str, Any]) -> dict[str, Any]:
    said = [{"key": key, "value": "" if value is None else str(value)} for key, value in values.items()]
    message = f"{status}: {reason}" if reason else status
    level = _LEVELS.get(status, _ERROR)
    return {"level": level, "name": name, "message": message, "hardware_id": "foldmap", "values": said}
