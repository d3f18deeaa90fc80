"""Whether answers and truth mean the same by a pose: numbers in another order, or another frame, are no errors."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from foldmap.errors import PoseInputError
from foldmap.geometry.quaternion import centres_of, other_readings
from foldmap.geometry.similarity import align
from foldmap.types import DoubleArray

_LEAST_TURNS, _LEAST_PLACES = 3, 6
_FAR_RAD, _NEAR_RAD, _ALL_NEAR_RAD = np.radians((20.0, 2.0, 5.0))
"""Turns that no localizer is off by at the median; that it is off by, the median and nine tenths, where read right."""
_FAR_SHARE, _NEAR_SHARE, _AWAY_SHARE = 0.1, 0.01, 30.0
"""Of how far true places lie apart: at the median errors are larger than the first, and smaller than the second once a
similarity has brought the answers into the truth's frame; of one that only shifts them also larger than the third."""
_MOST_SCALE = 1.5
_CURE = (
    "write both as they should be: hloc's rows are name qw qx qy qz tx ty tz, camera from world, TUM's "
    "t x y z qx qy qz qw, world from camera"
)


def refuse_other_meaning(
    answered: Mapping[str, DoubleArray], true: Mapping[str, DoubleArray], estimates: Path, truth: Path
) -> None:
    """Refuse poses of photos that agree once one file is read in another way; camera_SE3_world (4, 4) by name.

    A file may have qw where the other has qx, the poses the other way round, or another frame. Some poses are needed to
    tell that from errors: `_LEAST_TURNS`, of frames `_LEAST_PLACES`.

    Raises:
        PoseInputError: names the other way.
    """
    names = [name for name in true if name in answered]
    if len(names) < _LEAST_TURNS:
        return
    mine, theirs = (np.stack([poses[name] for name in names]) for poses in (answered, true))
    off_rad = _apart_rad(mine, theirs)
    if float(np.median(off_rad)) > _FAR_RAD:
        files = [(estimates, mine, theirs)] if truth.is_dir() else [(truth, theirs, mine), (estimates, mine, theirs)]
        for path, poses, others in files:  # either is as likely otherwise; foldmap wrote the one
            for how, read in other_readings(poses):
                found_rad = _apart_rad(read, others)
                if np.median(found_rad) < _NEAR_RAD and np.quantile(found_rad, 0.9) < _ALL_NEAR_RAD:
                    degrees = f"{np.degrees(np.median(off_rad)):.0f} degrees as they stand"
                    raise PoseInputError(
                        f"rotations of {estimates} and {truth} differ by {degrees}, by "
                        f"{np.degrees(np.median(found_rad)):.2g} where {path} is read {how}",
                        _CURE,
                    )
    if len(names) >= _LEAST_PLACES:
        _refuse_another_frame(centres_of(mine), centres_of(theirs), estimates, truth)


def _refuse_another_frame(mine: DoubleArray, theirs: DoubleArray, estimates: Path, truth: Path) -> None:
    off = float(np.median(np.linalg.norm(mine - theirs, axis=1)))
    extent = float(np.median(np.linalg.norm(theirs - np.median(theirs, axis=0), axis=1)))
    if off <= _FAR_SHARE * extent:
        return
    try:
        found = align(mine, theirs)
    except PoseInputError:
        return  # on one line, or of nothing in common
    left = float(np.median(found.residuals))
    turn_rad, scale = _apart_rad(found.similarity.rotation[None], np.eye(3)[None])[0], found.similarity.scale
    other = turn_rad > _FAR_RAD or not 1.0 / _MOST_SCALE < scale < _MOST_SCALE or off > _AWAY_SHARE * extent
    if other and left < _NEAR_SHARE * extent:
        turn = np.degrees(turn_rad)
        by = f"by a turn of {turn:.3g} degrees and a scale of {scale:.4g}"
        raise PoseInputError(
            f"{estimates} lies {off:.4g} from {truth} at the median, and {left:.2g} once it is moved {by}: they are of "
            "two frames",
            "give the truth in the map's frame, or fold the map in the truth's (--positions, --align)",
        )


def _apart_rad(one: DoubleArray, other: DoubleArray) -> DoubleArray:
    """Angles of the relative rotations, (N,)."""
    trace = np.einsum("nij,nij->n", one[:, :3, :3], other[:, :3, :3])
    return np.asarray(np.arccos(np.clip(0.5 * (trace - 1.0), -1.0, 1.0)))
