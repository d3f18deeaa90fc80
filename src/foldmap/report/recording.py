"""A rerun recording: the map, what was seen, what was answered, moment by moment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from foldmap.atlas.whole import write_whole
from foldmap.formats.extras import extra
from foldmap.report.run_figures import STATUS_COLOURS
from foldmap.types import AnyArray, DoubleArray

_GROUND, _TRUTH = (120, 132, 146), (190, 196, 204)
_MOST = 200_000  # points of ground


@dataclass(frozen=True)
class Moment:
    """One answer, in the map's units and axes.

    Attributes:
        time_s: when.
        status, reason: what was said, and why.
        position: float64 (3,), NaN where nothing was answered.
        ahead: float64 (3,) unit vector of where it looked; NaN where that is not known.
        covariance: float64 (3, 3) of the position.
        level: protection level of the position, NaN where there is none.
        error: distance from the truth, NaN where nobody knows.
    """

    time_s: float
    status: str
    reason: str
    position: DoubleArray
    ahead: DoubleArray
    covariance: DoubleArray
    level: float
    error: float


@dataclass(frozen=True)
class Shown:
    """What was seen at a moment: points in the map's axes, float (N, 3), or a photo's file."""

    time_s: float
    name: str
    points: AnyArray | None = None
    photo: Path | None = None


def write_recording(
    path: Path,
    ground: Mapping[str, DoubleArray],
    moments: Sequence[Moment] = (),
    true: DoubleArray | None = None,
    seen: Iterable[Shown] = (),
) -> None:
    """Write a recording that ``rerun PATH`` opens, whole or not at all.

    Raises a MissingExtraError where rerun is not installed, a WriteError where the file cannot be written.

    Args:
        path: the .rrd file.
        ground: points of each layer, float64 (N, 3).
        moments: the answers by time.
        true: where the vehicle was, float64 (N, 3).
        seen: observations, by time.
    """
    rr = extra("rerun", "a recording")
    with rr.RecordingStream("foldmap", recording_id=path.stem) as stream:
        made = stream.memory_recording()  # rerun waits for ever where a file of its own meets a full disk
        stream.send_blueprint(_blueprint(extra("rerun.blueprint", "a recording")))
        stream.log("map", rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
        for name, points in ground.items():
            shown = points[:: max(1, -(-len(points) // _MOST))]
            stream.log(f"map/{name}", rr.Points3D(shown, colors=_GROUND, radii=rr.Radius.ui_points(1.5)), static=True)
        if true is not None and len(true):
            stream.log("map/truth", rr.LineStrips3D([true], colors=_TRUTH), static=True)
        _lines(rr, stream)
        path_so_far: list[DoubleArray] = []
        for moment in moments:
            _log(rr, stream, moment, path_so_far)
        for one in seen:
            stream.set_time("time", duration=one.time_s)
            if one.points is not None:
                stream.log(f"map/{one.name}", rr.Points3D(one.points, radii=rr.Radius.ui_points(1.0)))
            if one.photo is not None:
                stream.log(f"photos/{one.name}", rr.EncodedImage(path=one.photo))
        write_whole(path, made.drain_as_bytes())


def _log(rr: Any, stream: Any, moment: Moment, path_so_far: list[DoubleArray]) -> None:
    stream.set_time("time", duration=moment.time_s)
    colour = STATUS_COLOURS[moment.status]
    stream.log(
        "said",
        rr.TextLog(f"{moment.status} {moment.reason}".strip(), level="INFO" if moment.status == "ok" else "WARN"),
    )
    stream.log("status", rr.StateChange(state=moment.status))
    if not np.isfinite(moment.position).all():
        for name in ("here", "ahead", "three_sigma"):
            stream.log(f"map/estimate/{name}", rr.Clear(recursive=False))
        return
    path_so_far.append(moment.position)
    stream.log("map/estimate/path", rr.LineStrips3D([path_so_far[-2000:]], colors=[46, 111, 158]))
    stream.log("map/estimate/here", rr.Points3D([moment.position], colors=_rgb(colour), radii=rr.Radius.ui_points(6.0)))
    if np.isfinite(moment.ahead).all():
        arrow = rr.Arrows3D(origins=[moment.position], vectors=[3.0 * moment.ahead], colors=_rgb(colour))
        stream.log("map/estimate/ahead", arrow)
    spread, axes = np.linalg.eigh(moment.covariance)
    axes[:, 2] *= np.linalg.det(axes)  # a rotation, not a mirror
    sides = 3.0 * np.sqrt(np.maximum(spread, 1e-12))
    turn, centre = Rotation.from_matrix(axes).as_quat(), moment.position
    bound = rr.Ellipsoids3D(centers=[centre], half_sizes=[sides], quaternions=[turn], colors=_rgb(colour))
    stream.log("map/estimate/three_sigma", bound)
    told = {"error": moment.error, "three_sigma": float(sides.max()), "protection_level": moment.level}
    for name, value in told.items():
        if np.isfinite(value):
            stream.log(f"over_time/{name}", rr.Scalars(value))


def _lines(rr: Any, stream: Any) -> None:
    for name, colour in (("error", "#1d2733"), ("three_sigma", STATUS_COLOURS["ok"]), ("protection_level", "#d1495b")):
        line = rr.SeriesLines(colors=_rgb(colour), names=name.replace("_", " "))
        stream.log(f"over_time/{name}", line, static=True)


def _blueprint(rrb: Any) -> Any:
    below = rrb.Horizontal(
        rrb.TimeSeriesView(origin="over_time", name="error, sigma, level"), rrb.TextLogView(origin="said", name="said")
    )
    above = rrb.Horizontal(
        rrb.Spatial3DView(origin="map", name="map"),
        rrb.Spatial2DView(origin="photos", name="photos"),
        column_shares=[3, 1],
    )
    return rrb.Blueprint(rrb.Vertical(above, below, row_shares=[3, 1]), collapse_panels=True)


def _rgb(colour: str) -> tuple[int, int, int]:
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return red, green, blue
