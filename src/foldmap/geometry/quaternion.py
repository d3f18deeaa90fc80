"""Quaternions ``w x y z``, as COLMAP, hloc and kapture write rotations."""

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.spatial.transform import Rotation

from foldmap.errors import PoseInputError
from foldmap.types import AnyArray, DoubleArray

_UNIT_TOLERANCE = 1e-2
_Y_UP_Z_BACK = np.array([1.0, -1.0, -1.0, 1.0])


def rigid_from_wxyz(
    quaternion_wxyz: AnyArray | Sequence[float], translation: AnyArray | Sequence[float]
) -> DoubleArray:
    """Rigid transforms, float64 (..., 4, 4), from rotations (..., 4) and translations (..., 3).

    Quaternions are normalized. Raises `PoseInputError`: a value is not finite or a quaternion's length is not 1, within
    1 %.
    """
    wxyz = np.asarray(quaternion_wxyz, dtype=np.float64)
    shift = np.asarray(translation, dtype=np.float64)
    if not (np.isfinite(wxyz).all() and np.isfinite(shift).all()):
        raise PoseInputError("a pose has NaN or infinite entries", "remove that pose")
    length = np.linalg.norm(wxyz, axis=-1)
    if (np.abs(length - 1) > _UNIT_TOLERANCE).any():
        worst = float(np.ravel(length)[np.argmax(np.abs(np.ravel(length) - 1))])
        raise PoseInputError(f"a quaternion has length {worst:.4g}", "give unit quaternions as qw qx qy qz")
    pose = np.zeros((*wxyz.shape[:-1], 4, 4))
    pose[..., :3, :3] = (
        Rotation.from_quat(wxyz.reshape(-1, 4)[:, [1, 2, 3, 0]]).as_matrix().reshape((*wxyz.shape[:-1], 3, 3))
    )
    pose[..., :3, 3] = shift
    pose[..., 3, 3] = 1
    return pose


def wxyz_from_rigid(pose: AnyArray) -> DoubleArray:
    """Unit quaternions ``w x y z`` with ``w >= 0``, float64 (..., 4), of rigid transforms (..., 4, 4)."""
    matrix = np.asarray(pose, dtype=np.float64)[..., :3, :3]
    xyzw = Rotation.from_matrix(matrix.reshape(-1, 3, 3)).as_quat(canonical=True)
    return np.asarray(np.roll(xyzw, 1, axis=1).reshape((*matrix.shape[:-2], 4)))


def inverse_rigid(pose: AnyArray) -> DoubleArray:
    """``b_SE3_a`` from ``a_SE3_b``, (..., 4, 4)."""
    matrix = np.asarray(pose, dtype=np.float64)
    turned = np.swapaxes(matrix[..., :3, :3], -1, -2)
    inverse = np.zeros_like(matrix)
    inverse[..., :3, :3] = turned
    inverse[..., :3, 3] = -(turned @ matrix[..., :3, 3:])[..., 0]
    inverse[..., 3, 3] = 1
    return inverse


def centres_of(camera_SE3_world: AnyArray) -> DoubleArray:
    """Where cameras stand in the world, float64 (..., 3), of poses (..., 4, 4)."""
    pose = np.asarray(camera_SE3_world, np.float64)
    return np.asarray(-np.einsum("...ba,...b->...a", pose[..., :3, :3], pose[..., :3, 3]))


def other_readings(camera_SE3_world: AnyArray) -> Iterator[tuple[str, DoubleArray]]:
    """What else the numbers of poses (N, 4, 4) may be, in words, and the poses then; the simplest first.

    Quaternions in another order, of the poses (hloc) or of their inverses (TUM); the poses the other way round; and
    cameras whose y points up and z back.
    """
    given = np.asarray(camera_SE3_world, np.float64)

    def rolled(pose: DoubleArray, shift: int) -> DoubleArray:
        return rigid_from_wxyz(np.roll(wxyz_from_rigid(pose), shift, axis=-1), pose[..., :3, 3])

    orders = [("", given)]
    for shift, words in ((1, "as qx qy qz qw"), (-1, "as qw qx qy qz")):
        orders += [(words, rolled(given, shift)), (words, inverse_rigid(rolled(inverse_rigid(given), shift)))]
    for order, read in orders:
        for way, pose in (("", read), ("the other way round", inverse_rigid(read))):
            for frame, axes in (("", np.ones(4)), ("with y up and z back (OpenGL, ARKit, NeRF)", _Y_UP_Z_BACK)):
                words = ", ".join(filter(None, (order, way, frame)))
                if words:
                    yield words, np.diag(axes) @ pose
