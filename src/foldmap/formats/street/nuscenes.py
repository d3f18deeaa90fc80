"""nuScenes lanes of several scenes in one npz: scenes that share lanes are laid over each other and become one map."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np

from foldmap.errors import MapInputError
from foldmap.formats.street.polylines import TOLERANCE_M, polyline_map
from foldmap.formats.street.reading import FARTHEST_M, LeftOut, MapReading, naming_file, reading_of
from foldmap.formats.street.untrusted import open_npz
from foldmap.geometry import SE2
from foldmap.street.graph.joining import Joined
from foldmap.street.source import LaneAttributes, StreetMap
from foldmap.types import DoubleArray

_WHAT = "an npz with <scene>/points, <scene>/offsets and <scene>/token"
_AGREE_M = 0.05
_Scene: TypeAlias = dict[str, DoubleArray]
"""Token -> points, float64 (P, 2)."""


@dataclass(frozen=True)
class SceneGroup:
    """Scenes in one frame: all their lanes, each once, in a map named after the scenes, in the frame of the first one.

    ``map_SE2_scene`` is where each scene's own frame lies in the map.
    """

    street_map: StreetMap
    map_SE2_scene: dict[str, SE2]
    joined: Joined
    left_out: LeftOut = field(default_factory=LeftOut)


@naming_file
def read_nuscenes_lanes(path: Path, merge: bool = True, tolerance_m: float = TOLERANCE_M) -> list[MapReading]:
    """Read the lanes of all scenes; see `read_nuscenes_groups`."""
    groups = read_nuscenes_groups(path, merge, tolerance_m)
    return [reading_of(group.street_map, group.left_out, path) for group in groups]


def read_nuscenes_groups(path: Path, merge: bool = True, tolerance_m: float = TOLERANCE_M) -> list[SceneGroup]:
    """Read the lanes of scenes whose maps overlap, in the order of their first scenes.

    Each scene has a frame of its own. A lane that two scenes share (one token) gives the shift between them; scenes
    that hang together by shared lanes become one map. Splits by map are then splits by place: two scenes of one street
    are never on both sides; without ``merge`` each scene is a map of its own. A lane that is damaged, or of a token
    that was there before in its scene, is dropped. Shared lanes that do not agree on one shift to 5 cm are refused.

    The npz holds per scene ``points`` (N, 2 or more) metres, ``offsets`` (L + 1,) and ``token`` (L,).
    """
    left_out: dict[str, LeftOut] = {}
    scenes = _scenes(path, left_out)
    groups = _groups(scenes, str(path)) if merge else [{name: np.zeros(2)} for name in scenes]
    return [_group(scenes, shifts, tolerance_m, left_out) for shifts in groups]


def _scenes(path: Path, left_out: dict[str, LeftOut]) -> dict[str, _Scene]:
    arrays = open_npz(path, _WHAT)
    names = sorted({name.rpartition("/")[0] for name in arrays if name.endswith("/token")})
    if not names:
        raise MapInputError(f"{path} holds no scenes", f"give {_WHAT}")
    found: dict[str, _Scene] = {}
    for name in names:
        where = f"{path}, {name}"
        missing = [part for part in ("points", "offsets") if f"{name}/{part}" not in arrays]
        if missing:
            raise MapInputError(f"{where} has no {missing[0]}", f"give {_WHAT}")
        points, offsets = arrays[f"{name}/points"], arrays[f"{name}/offsets"].astype(np.int64).ravel()
        tokens = [str(token) for token in arrays[f"{name}/token"].ravel()]
        shaped = points.ndim == 2 and points.shape[1] >= 2 and points.dtype.kind == "f"
        if not shaped or len(offsets) != len(tokens) + 1 or (np.diff(offsets) < 1).any():
            raise MapInputError(f"{where}: points, offsets and token do not fit", f"give {_WHAT}")
        if offsets[0] != 0 or offsets[-1] != len(points):
            raise MapInputError(f"{where}: offsets do not cover the points", f"give {_WHAT}")
        found[name], left_out[name] = {}, LeftOut()
        for token, line in zip(tokens, np.split(points[:, :2].astype(np.float64), offsets[1:-1]), strict=True):
            if token in found[name]:
                left_out[name].fault("lane", f"{name}: the token {token[:40]} is there twice", 1)
            elif not (np.abs(line) < FARTHEST_M).all():
                left_out[name].fault("lane", f"{name}: a point of the lane {token[:40]} is not finite", 1)
            else:
                found[name][token] = line
    return found


def _groups(scenes: dict[str, _Scene], where: str) -> list[dict[str, DoubleArray]]:
    """Groups of scenes that share lanes: scene -> its shift into the frame of the group's first scene."""
    left = list(scenes)
    groups = []
    while left:
        placed = {left.pop(0): np.zeros(2)}
        waiting = list(placed)
        while waiting:
            known = waiting.pop(0)
            for name in list(left):
                shift = _shift(scenes[known], scenes[name], f"{where}: {known} and {name}")
                if shift is not None:
                    placed[name] = placed[known] + shift
                    waiting.append(name)
                    left.remove(name)
        groups.append(placed)
    return groups


def _shift(target: _Scene, source: _Scene, where: str) -> DoubleArray | None:
    """What to add to the second scene's points to have them in the first one's frame."""
    shared = [token for token in source if token in target and len(source[token]) == len(target[token])]
    if not shared:
        return None
    between = np.concatenate([target[token] - source[token] for token in shared])
    shift: DoubleArray = np.median(between, axis=0)
    if np.abs(between - shift).max() > _AGREE_M:
        raise MapInputError(f"{where} share lanes that do not agree on one shift", "read them with merge=False")
    return shift


def _group(
    scenes: dict[str, _Scene], shifts: dict[str, DoubleArray], tolerance_m: float, left_out: dict[str, LeftOut]
) -> SceneGroup:
    found = LeftOut()
    lines: _Scene = {}
    for name, shift in shifts.items():
        found.faults += left_out[name].faults
        for token, line in scenes[name].items():
            if token not in lines or len(line) > len(lines[token]):
                lines[token] = line + shift
    lanes = [LaneAttributes(token) for token in lines]
    street_map, joined = polyline_map("+".join(shifts), list(lines.values()), (), lanes, None, tolerance_m, found)
    poses = {name: SE2(float(shift[0]), float(shift[1]), 0.0) for name, shift in shifts.items()}
    return SceneGroup(street_map, poses, joined, found)
