"""Scenes and streets brought into the map's frame before they are folded: by positions of photos, or ground control."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from foldmap.errors import PoseInputError
from foldmap.formats.naming import naming
from foldmap.formats.poses.control import read_control, read_positions
from foldmap.geometry.similarity import Alignment, align
from foldmap.street.source import StreetMap
from foldmap.types import DoubleArray
from foldmap.visual.source import SceneModel

_MOST_SCALE = 0.1
_LEAST_SIDE_M = 0.05
_NAMED = 10


def align_scene(scene: SceneModel, positions: Path | None, control: Path | None) -> tuple[SceneModel, dict[str, Any]]:
    """The scene in the map's frame, in metres, and how well it fits there.

    Args:
        scene: in any frame.
        positions: where its photos were taken, in the map's frame: see `read_positions`.
        control: points that are known in both frames: see `read_control`. With both, all pairs count alike.

    Returns:
        Of the second: ``pairs``, ``agree``, ``scale``, ``rms_m``, ``median_m`` and ``most_m`` of those that agree,
        ``turn_sigma_deg``, and ``left_out``, the pairs that do not.

    Raises:
        PoseInputError: the frames do not fit; a scene in metres is another size; what was given cannot be read.
    """
    here, there, names = [np.zeros((0, 3))], [np.zeros((0, 3))], []
    if positions is not None:
        index, places = read_positions(positions, scene.image_names)
        here.append(scene.centres_world[index])
        there.append(places)
        names += [scene.image_names[k] for k in index]
    if control is not None:
        first, second = read_control(control)
        here.append(first)
        there.append(second)
        names += [f"pair {k}" for k in range(1, len(first) + 1)]
    with naming(positions or control or "the alignment"):
        _require_metres(np.concatenate(there))
        found = align(np.concatenate(here), np.concatenate(there))
        by = found.similarity
        if scene.metric and abs(math.log(by.scale)) > _MOST_SCALE:
            what = f"the scene is said to be in metres, and is {by.scale:.4g} times as large in the map"
            raise PoseInputError(what, "give --not-metric where it has no scale, or check the units")
    moved = by.apply(scene.points_world)
    cameras = by.move_cameras(scene.camera_SE3_world)
    return replace(scene, points_world=moved, camera_SE3_world=cameras, metric=True), _said(found, names)


def _require_metres(places: DoubleArray) -> None:
    """Refuse places (N, 3) that lie within centimetres of each other, seen from above: those are degrees."""
    if len(places) > 1 and float(np.ptp(places[:, :2], axis=0).max()) < _LEAST_SIDE_M:
        first = ", ".join(f"{value:.7g}" for value in places[0])
        what = f"places such as {first} all lie within {_LEAST_SIDE_M:g} m of each other"
        raise PoseInputError(what, "give metres of the map's frame, not longitude and latitude")


def align_streets(street_map: StreetMap, control: Path) -> tuple[StreetMap, dict[str, Any]]:
    """A street map in the map's frame, turned and shifted in the plane, and how well it fits there.

    Args:
        street_map: in metres; the coordinate reference system that it names stays, which the map's is then.
        control: ``x y`` in the street map's frame, then in the map's, a line a pair.

    Returns:
        Of the second, as `align_scene`.

    Raises:
        PoseInputError: the frames do not fit, or what was given cannot be read.
    """
    here, there = read_control(control, "x y")
    with naming(control):
        found = align(here, there, rigid=True)
    graph = replace(street_map.graph, vertices_m=found.similarity.apply(street_map.graph.vertices_m))
    return replace(street_map, graph=graph), _said(found, [f"pair {k}" for k in range(1, len(here) + 1)])


def _said(found: Alignment, names: Sequence[str]) -> dict[str, Any]:
    off = found.residuals[found.agrees]
    left_out = [name for name, agrees in zip(names, found.agrees.tolist(), strict=True) if not agrees]
    return {
        "pairs": len(names),
        "agree": int(found.agrees.sum()),
        "scale": float(f"{found.similarity.scale:.6g}"),
        "rms_m": round(float(np.sqrt((off**2).mean())), 4),
        "median_m": round(float(np.median(off)), 4),
        "most_m": round(float(off.max()), 4),
        "turn_sigma_deg": round(math.degrees(found.turn_sigma_rad), 4),
        "left_out": left_out[:_NAMED] + ([f"and {len(left_out) - _NAMED} more"] if len(left_out) > _NAMED else []),
    }
