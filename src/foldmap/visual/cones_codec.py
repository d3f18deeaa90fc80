"""From where a point was seen, in a few bits: mean viewing direction, cone and distances, for any pose to be tested.

A tenth of what exact visibility costs, and it also answers for poses between and beside those of the map.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from foldmap.coding.integers import decode_integers, encode_integers
from foldmap.errors import LimitError, MapFormatError, MapInputError
from foldmap.types import BoolArray, DoubleArray, IntArray
from foldmap.visual.points_codec import MAX_POINTS
from foldmap.visual.source import SceneModel

_HEADER = struct.Struct("<If")
_STEPS = 8  # of an octahedron's edge: directions on a 17 x 17 map, about 9 degrees apart
_COSINES = np.array([0.995, 0.97, 0.92, 0.83, 0.7, 0.5, 0.0, -1.0])
_MARGIN_COSINE = 0.05


@dataclass(frozen=True)
class ViewCones:
    """From where each point was seen; integers as stored.

    Attributes:
        codes: int64 (P, 5): octahedral direction (2) of the mean viewing direction in -8..8, index of the cone's
            cosine 0..7, nearest and farthest distance in half octaves of `unit_world`.
        unit_world: float, a length.
    """

    codes: IntArray
    unit_world: float

    @property
    def directions_world(self) -> DoubleArray:
        """Unit vectors (P, 3) from the points towards the cameras."""
        x, y = self.codes[:, 0] / _STEPS, self.codes[:, 1] / _STEPS
        z = 1 - np.abs(x) - np.abs(y)
        fold = np.maximum(-z, 0)
        x = x - np.where(x >= 0, fold, -fold)
        y = y - np.where(y >= 0, fold, -fold)
        vector = np.stack([x, y, z], axis=1)
        directions: DoubleArray = vector / np.linalg.norm(vector, axis=1, keepdims=True)
        return directions

    def visible_from(self, points_world: DoubleArray, centre_world: DoubleArray) -> BoolArray:
        """Bool (P,): whether each point may be seen from a place (its image's frustum is the caller's to test)."""
        offset = centre_world - points_world
        distance = np.linalg.norm(offset, axis=1)
        along = np.einsum("pk,pk->p", offset, self.directions_world)
        inside = along >= (_COSINES[self.codes[:, 2]] - _MARGIN_COSINE) * distance
        level = 2 * np.log2(np.maximum(distance, 1e-300) / self.unit_world)
        visible: BoolArray = inside & (level >= self.codes[:, 3] - 0.5) & (level <= self.codes[:, 4] + 0.5)
        return visible


def view_cones(scene: SceneModel) -> ViewCones:
    """Summarize the tracks of a scene."""
    tracks = scene.tracks
    points = len(scene.points_world)
    offset = scene.centres_world[tracks.image] - scene.points_world[tracks.point]
    distance = np.maximum(np.linalg.norm(offset, axis=1), 1e-12)
    unit_world = float(np.float32(np.median(distance) if len(distance) else 1.0))
    if not unit_world > 0:
        raise MapInputError("cameras stand in the points they see", "check the model")
    towards = offset / distance[:, None]
    mean: DoubleArray = np.stack([np.bincount(tracks.point, towards[:, k], points) for k in range(3)], axis=1)
    mean[np.abs(mean).sum(axis=1) < 1e-9] = (0, 0, 1)
    codes = np.zeros((points, 5), np.int64)
    codes[:, :2] = _octahedral(mean)
    cones = ViewCones(codes, unit_world)
    cosine = np.einsum("ok,ok->o", cones.directions_world[tracks.point], towards)
    widest = np.full(points, 1.0)
    np.minimum.at(widest, tracks.point, cosine)
    codes[:, 2] = np.minimum(np.searchsorted(-_COSINES, -widest), len(_COSINES) - 1)
    level = np.clip(2 * np.log2(distance / unit_world), -100, 100)
    near, far = np.full(points, np.inf), np.full(points, -np.inf)
    np.minimum.at(near, tracks.point, level)
    np.maximum.at(far, tracks.point, level)
    codes[:, 3], codes[:, 4] = np.floor(near), np.ceil(far)
    return cones


def encode_cones(cones: ViewCones) -> bytes:
    """Code cones in the order of the points, each predicted by the point before."""
    codes = cones.codes
    residual = np.diff(codes, axis=0, prepend=np.zeros((1, 5), np.int64))
    residual[:, 4] = codes[:, 4] - codes[:, 3]
    return _HEADER.pack(len(codes), cones.unit_world) + encode_integers(residual)


def decode_cones(data: bytes) -> ViewCones:
    """The cones of `encode_cones`.

    Raises:
        MapFormatError: bytes that `encode_cones` does not write.
        LimitError: more points than a reader accepts.
    """
    if len(data) < _HEADER.size:
        raise MapFormatError(f"coded view cones of {len(data)} bytes are truncated", "fold the map again")
    count, unit_world = _HEADER.unpack_from(data)
    if count > MAX_POINTS:
        raise LimitError(f"coded view cones claim {count} points", f"a reader accepts {MAX_POINTS}")
    codes = decode_integers(data[_HEADER.size :], (count, 5))
    if max(codes.max(initial=0), -int(codes.min(initial=0))) > 1000:
        raise MapFormatError("coded view cones are out of range", "the file is damaged")
    codes[:, :4] = np.cumsum(codes[:, :4], axis=0)
    codes[:, 4] += codes[:, 3]
    sane = np.isfinite(unit_world) and unit_world > 0
    if len(codes):
        sane = sane and np.abs(codes[:, :2]).max() <= _STEPS and codes[:, 2].min() >= 0
        sane = sane and codes[:, 2].max() < len(_COSINES) and np.abs(codes[:, 3:]).max() <= 400
    if not sane:
        raise MapFormatError("coded view cones are out of range", "the file is damaged")
    return ViewCones(codes, unit_world)


def _octahedral(vector: DoubleArray) -> IntArray:
    flat = vector / np.abs(vector).sum(axis=1, keepdims=True)
    x, y, z = flat.T
    down = z < 0
    x, y = (
        np.where(down, (1 - np.abs(y)) * np.where(x >= 0, 1, -1), x),
        np.where(down, (1 - np.abs(x)) * np.where(y >= 0, 1, -1), y),
    )
    code: IntArray = np.rint(np.stack([x, y], axis=1) * _STEPS).astype(np.int64)
    return code
