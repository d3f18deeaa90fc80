"""Sweeps asked over HTTP, localized one by one as ``foldmap localize`` does."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from foldmap.api.results import LocalizedObservation
from foldmap.api.sweep_motion import LaidSweeps
from foldmap.errors import FoldmapError, InputError
from foldmap.geometry import SE2, SE3
from foldmap.lidar.mapping.spin import EITHER, REVOLUTION_S, Turn, put_together, spin_named
from foldmap.lidar.source import Sweep
from foldmap.localize.estimate import Diagnostics, Estimate
from foldmap.localize.lidar.anywhere import localize_near
from foldmap.service.answers import Answer, Wanted, accuracy_of, lost, worth_headers
from foldmap.service.maps import ServedMap
from foldmap.service.problems import bad_request, of_client, of_map

_ROW_BYTES = 16
_MOST_RADIUS_M = 10.0
_MOST_METRES = 1e8
PARAMETERS: dict[str, tuple[float, float, float | None, str]] = {
    "x_m": (-_MOST_METRES, _MOST_METRES, None, "Prior, in the map's frame."),
    "y_m": (-_MOST_METRES, _MOST_METRES, None, "Prior, in the map's frame."),
    "latitude_deg": (-90, 90, None, "Prior on Earth, instead of x_m and y_m."),
    "longitude_deg": (-180, 180, None, "Prior on Earth, instead of x_m and y_m."),
    "heading_deg": (-360, 360, None, "Prior: counter-clockwise from the map's x axis; on Earth from east."),
    "radius_m": (0.01, _MOST_RADIUS_M, 1.0, "The prior is right to so many metres."),
    "heading_range_deg": (0, 180, 5.0, "And to so many degrees."),
    "intensity_scale": (1e-6, 1e9, 1.0, "Intensity of full reflectance."),
    "sensor_height_m": (0.01, 100, None, "Of the sensor above the road; else it is found."),
    "speed_mps": (-100, 100, None, "How fast the vehicle drives along the sensor's x, for lidars that spin."),
    "yaw_rate_dps": (-180, 180, None, "And how fast it turns, degrees a second, counter-clockwise."),
    "spin": (-1, 1, None, "Of the lidar: -1 clockwise, 1 the other way, 0 all at once; else the map's."),
    "height_m": (-1e5, 1e5, None, "Of the vehicle above the ellipsoid, for maps that have no anchor."),
}
"""Of the query: least, most, default, what it says."""
_PRIOR = "x_m", "y_m", "latitude_deg", "longitude_deg", "heading_deg"


def answer_sweep(served: ServedMap, body: bytes, query: Mapping[str, str], wanted: Wanted) -> Answer:
    """Where a sweep was made: in the map, and on Earth where its height there is known.

    Args:
        served: the map.
        body: rows of x y z intensity, float32, little-endian, in the sensor's frame, metres.
        query: `PARAMETERS`.
        wanted: the encoding of the pose on Earth.

    Raises:
        Problem: 400, the request cannot be used; 404, there is no pose; 501, the map has no lidar layer.
    """
    values = _values(query)
    try:
        folded, localizer = served.town.lidar, served.town.lidar_localizer()
    except FoldmapError as error:
        raise of_map(error) from error
    anywhere = served.town.outline is not None and all(values[name] is None for name in _PRIOR)
    prior = None if anywhere else _prior(served, values)
    try:
        sweep = _at_once(served, _sweep(body, values["intensity_scale"] or 1.0), values)
        laid = LaidSweeps(folded.grid.resolution_m, 1, values["sensor_height_m"], relief=folded.relief)
        image = None if prior is None else laid.add(sweep, SE3.from_se2(prior), fresh=True)
    except InputError as error:
        raise of_client(error) from error
    radius_m, range_deg = values["radius_m"] or 1.0, values["heading_range_deg"] or 0.0
    estimate: Estimate[Any, Diagnostics]
    try:
        if prior is None or image is None:
            estimate = served.town.localize(sweep)
        else:
            matcher, range_rad = served.town.outline_matcher(), math.radians(range_deg)
            estimate = localize_near(localizer, matcher, sweep, image, prior, radius_m, range_rad)
    except InputError as error:
        raise lost("no_observation", str(error)) from error
    except FoldmapError as error:
        raise of_map(error) from error
    known = LocalizedObservation("", "0", estimate).line()
    told = {key: known[key] for key in ("status", "pose", "covariance", "protection_level", "diagnostics")}
    if estimate.pose is None or estimate.covariance is None:
        raise lost(estimate.status.value, estimate.diagnostics.reason, [("diagnostics", told["diagnostics"])])
    assert isinstance(estimate.pose, SE2)
    place = {"geopose": _geopose(served, estimate.pose, values["height_m"], wanted), "seal": served.seal}
    headers = worth_headers(estimate.status.value, estimate.protection_level(), served.seal)
    return Answer({**told, "accuracy": accuracy_of(estimate.covariance, 2), **place}, headers=headers)


def _values(query: Mapping[str, str]) -> dict[str, float | None]:
    """The numbers of a query, each within its bounds."""
    found: dict[str, float | None] = {}
    for name, (least, most, default, _) in PARAMETERS.items():
        text = query.get(name)
        try:
            value = default if text is None else float(text)
        except ValueError:
            value = math.nan
        if value is not None and not least <= value <= most:
            raise bad_request(f"{name} is {(text or '')[:40]!r}", f"give a number from {least:g} to {most:g}")
        found[name] = value
    return found


def _prior(served: ServedMap, values: Mapping[str, float | None]) -> SE2:
    heading_deg = values["heading_deg"]
    x_m, y_m, latitude_deg, longitude_deg = (values[n] for n in ("x_m", "y_m", "latitude_deg", "longitude_deg"))
    on_map, on_earth = x_m is not None and y_m is not None, latitude_deg is not None and longitude_deg is not None
    if heading_deg is None or on_map == on_earth:
        said = "a sweep is localized near a prior in a map without an outline"
        if served.town.outline is not None:
            said = "the prior is not whole"
        raise bad_request(said, "give heading_deg with x_m and y_m, or with latitude_deg and longitude_deg")
    if on_map:
        assert x_m is not None
        assert y_m is not None
        return SE2(x_m, y_m, math.radians(heading_deg))
    if served.place is None:
        raise bad_request("nobody knows where on Earth the map lies", "give x_m and y_m, in the map's frame")
    assert latitude_deg is not None
    assert longitude_deg is not None
    try:
        x_m, y_m = served.place.place(latitude_deg, longitude_deg)
        turned_rad = served.place.grid_heading_rad(x_m, y_m)
    except InputError as error:
        raise lost("no_map", f"the prior is far from the map: {error.message}") from error
    return SE2(x_m, y_m, math.radians(heading_deg) - turned_rad)


def _sweep(body: bytes, full_scale: float) -> Sweep:
    if not body or len(body) % _ROW_BYTES:
        raise bad_request(f"{len(body)} bytes are no rows of x y z intensity", "send float32, little-endian, 4 a point")
    rows = np.frombuffer(body, "<f4").reshape(-1, 4)
    if not (np.isfinite(rows).all() and np.abs(rows[:, :3]).max() < 1e4):
        raise bad_request("points are not finite, or farther than 10 km", "send metres in the sensor's frame")
    intensity = rows[:, 3] / np.float32(full_scale)
    if intensity.min() < 0 or intensity.max() > 1:
        said = f"intensities from {rows[:, 3].min():g} to {rows[:, 3].max():g}"
        raise bad_request(said, "send 0 to 1, or give intensity_scale, that of full reflectance")
    return Sweep(np.ascontiguousarray(rows[:, :3]), np.ascontiguousarray(intensity))


def _at_once(served: ServedMap, sweep: Sweep, values: Mapping[str, float | None]) -> Sweep:
    """The sweep as if all of a revolution had been seen at once, where it is said how the vehicle moves."""
    speed_mps, yaw_rate_dps, spin = (values[name] for name in ("speed_mps", "yaw_rate_dps", "spin"))
    if speed_mps is None:
        if yaw_rate_dps is not None or spin is not None:
            raise bad_request("nothing says how fast the vehicle drives", "give speed_mps, too")
        return sweep
    if spin not in (None, *EITHER):
        raise bad_request(f"spin is {spin:g}", "give -1, 0 or 1")
    if spin is None and served.town.outline is None:
        raise bad_request("nothing says how the lidar spins", "give spin: -1 clockwise, 1 the other way, 0 all at once")
    if spin is None:
        assert served.town.outline is not None
        spin = spin_named(served.town.outline.parameters.get("sweeps"))
    turned_rad = math.radians(yaw_rate_dps or 0.0) * REVOLUTION_S
    return put_together(sweep, int(spin), Turn.level(SE2(speed_mps * REVOLUTION_S, 0.0, turned_rad)))


def _geopose(served: ServedMap, pose: SE2, height_m: float | None, wanted: Wanted) -> dict[str, Any] | None:
    """The pose on Earth; None where the map's place is not known, or nobody says how high it lies."""
    if served.place is None:
        return None
    anchor = served.place.anchor
    if height_m is None and anchor is None:
        return None
    above_m = 0.0 if height_m is None else height_m - (0.0 if anchor is None else anchor.height_m)
    return wanted.encoded(served.place.geopose(SE3.from_se2(pose, above_m)), 0.0)
