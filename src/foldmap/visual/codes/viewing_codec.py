"""From where each point was seen, in three bits: the side and the distance that a pose must see it from.

A pose in a mirror, behind the wall or under the ground explains matches as well as the right one does; but it sees the
points from where nobody ever did.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from foldmap.coding.integers import decode_integers, encode_integers
from foldmap.errors import MapFormatError
from foldmap.types import DoubleArray, FloatArray, IntArray
from foldmap.visual.source import SceneModel

_STEPS = 3  # from the middle of the octahedral square to its rim: directions 30 degrees apart
_MOST_OCTAVE = 1000
_LEAST_COSINE = 0.6  # a point is looked for from at most 53 degrees beside its direction
_WIDE = 0.7  # of a point that was seen from more than 46 degrees beside its direction, no side is said
_OCTAVES = 2.0  # a point is looked for at up to four times, and from a fourth, of its middle distance
# a point takes what the one before has where that fits so well: it is cheap
_LIKE_COSINE, _LIKE_OCTAVES = 0.82, 0.8


@dataclass(frozen=True)
class Viewing:
    """From where some points were seen.

    Attributes:
        towards: int64 (P,), which of the `DIRECTIONS` lies nearest to the mean direction towards the cameras.
        cosine: float32 (P, directions), least cosine of a direction and a camera that sees the point.
        octave: float64 (P,), mean log2 of the distance in world units.
    """

    towards: IntArray
    cosine: FloatArray
    octave: DoubleArray

    @staticmethod
    def of(scene: SceneModel) -> Viewing:
        """Of all points of a scene."""
        tracks, points = scene.tracks, len(scene.points_world)
        offset = scene.centres_world[tracks.image] - scene.points_world[tracks.point]
        distance = np.maximum(np.linalg.norm(offset, axis=1), 1e-300)
        unit = offset / distance[:, None]
        mean = np.stack([np.bincount(tracks.point, unit[:, k], points) for k in range(3)], axis=1)
        octave = np.bincount(tracks.point, np.log2(distance), points) / np.bincount(tracks.point, minlength=points)
        # observations are sorted by point, and no point is without
        first = scene.track_first[:-1]
        cosine = np.empty((points, len(DIRECTIONS)), np.float32)
        for number, direction in enumerate(DIRECTIONS):  # one by one: there are millions of observations
            cosine[:, number] = np.minimum.reduceat(unit @ direction, first)
        clipped = np.clip(octave, -_MOST_OCTAVE + 1.0, _MOST_OCTAVE - 1.0)
        return Viewing((mean @ DIRECTIONS.T).argmax(axis=1), cosine, clipped)

    def take(self, rows: IntArray) -> Viewing:
        """Some points."""
        return Viewing(self.towards[rows], self.cosine[rows], self.octave[rows])


def encode_viewing(viewing: Viewing) -> bytes:
    """Code points in the order of their tile.

    Columns of octahedral direction (2), log2 of the distance, all three as differences to the point before, and 1 where
    the point was seen from all around, so that the direction says nothing.
    """
    codes = np.zeros((len(viewing.towards), 4), np.int64)
    towards, octave = 0, 0
    for row, (nearest, distance) in enumerate(zip(viewing.towards.tolist(), viewing.octave.tolist(), strict=True)):
        wide = viewing.cosine[row, nearest] < _WIDE
        if not wide and viewing.cosine[row, towards] < _LIKE_COSINE:
            towards = nearest
        if abs(distance - octave) > _LIKE_OCTAVES:
            octave = round(distance)
        codes[row] = (*_CODES[towards], octave, wide)
    codes[1:, :3] -= codes[:-1, :3].copy()
    return encode_integers(codes)


def decode_viewing(data: bytes, count: int) -> DoubleArray:
    """What `View.in_view` asks of so many points, float64 (P, 6).

    Columns: direction towards the cameras (3), the least cosine with it (-2 where the point was seen from all around),
    least and largest distance. A MapFormatError for bytes that `encode_viewing` does not write.
    """
    codes = decode_integers(data, (count, 4))
    within = np.abs(codes).max(initial=0) <= 2 * _MOST_OCTAVE
    if within:
        codes[:, :3] = np.cumsum(codes[:, :3], axis=0)
        most = np.array([_STEPS, _STEPS, _MOST_OCTAVE, 1])
        within = bool((np.abs(codes) <= most).all() and (codes[:, 3] >= 0).all())
    if not within:
        raise MapFormatError("a tile does not say from where its points were seen", "fold the map again")
    viewing = np.empty((count, 6))
    viewing[:, :3] = DIRECTIONS[(codes[:, 0] + _STEPS) * (2 * _STEPS + 1) + codes[:, 1] + _STEPS]
    viewing[:, 3] = np.where(codes[:, 3] == 1, -2.0, _LEAST_COSINE)
    octave = np.exp2(codes[:, 2])
    viewing[:, 4], viewing[:, 5] = octave * 2.0**-_OCTAVES, octave * 2.0**_OCTAVES
    return viewing


def any_viewing(count: int) -> DoubleArray:
    """Of points of which nothing is known: they may be seen from everywhere."""
    viewing = np.zeros((count, 6))
    viewing[:, 3], viewing[:, 5] = -2.0, np.inf
    return viewing


def _directions(codes: IntArray) -> DoubleArray:
    """Unit vectors (P, 3) of octahedral directions, int64 (P, 2)."""
    x, y = codes[:, 0] / _STEPS, codes[:, 1] / _STEPS
    z = 1 - np.abs(x) - np.abs(y)
    fold = np.maximum(-z, 0)
    vector = np.stack([x - np.where(x >= 0, fold, -fold), y - np.where(y >= 0, fold, -fold), z], axis=1)
    directions: DoubleArray = vector / np.linalg.norm(vector, axis=1, keepdims=True)
    return directions


_CODES = np.array(list(itertools.product(range(-_STEPS, _STEPS + 1), repeat=2)))
DIRECTIONS = _directions(_CODES)
"""All that are stored, float64 (49, 3)."""
