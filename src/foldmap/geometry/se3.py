"""Spatial rigid poses."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from foldmap.errors import PoseInputError
from foldmap.geometry.se2 import SE2
from foldmap.types import DoubleArray

_ORTHONORMAL_TOLERANCE, _LAST_ROW_TOLERANCE = 1e-2, 1e-6


@dataclass(frozen=True)
class SE3:
    """A spatial pose ``target_SE3_source`` held as a 4x4 matrix, metres.

    Raises `PoseInputError`: the matrix is not finite, not 4x4 (or 3x4), its rotation part is not a rotation, or its
    last row is not 0 0 0 1.
    """

    matrix: DoubleArray

    def __post_init__(self) -> None:
        matrix = np.array(self.matrix, dtype=np.float64)
        if matrix.shape == (3, 4):
            matrix = np.vstack([matrix, [0.0, 0.0, 0.0, 1.0]])
        if matrix.shape != (4, 4):
            raise PoseInputError(f"a pose has shape {matrix.shape}", "give a 3x4 or 4x4 matrix")
        if not np.isfinite(matrix).all():
            raise PoseInputError("a pose has NaN or infinite entries", "remove that pose and its sweep")
        if np.abs(matrix[3] - [0.0, 0.0, 0.0, 1.0]).max() > _LAST_ROW_TOLERANCE:
            what = f"a pose has the last row {' '.join(f'{value:g}' for value in matrix[3])}, not 0 0 0 1"
            raise PoseInputError(what, "give row-major matrices, the translation in the last column")
        rotation = matrix[:3, :3]
        if np.abs(rotation @ rotation.T - np.eye(3)).max() > _ORTHONORMAL_TOLERANCE or np.linalg.det(rotation) < 0:
            what = "a pose's rotation is not orthonormal and right-handed"
            raise PoseInputError(what, "check the row order of the file")
        matrix.setflags(write=False)
        object.__setattr__(self, "matrix", matrix)

    @property
    def translation_m(self) -> DoubleArray:
        """The source origin in the target frame, shape (3,)."""
        return self.matrix[:3, 3]

    def __matmul__(self, other: SE3) -> SE3:
        """Compose: ``a_SE3_b @ b_SE3_c -> a_SE3_c``."""
        return SE3(self.matrix @ other.matrix)

    def inverse(self) -> SE3:
        """Return ``source_SE3_target``."""
        rotation = self.matrix[:3, :3]
        inverse = np.eye(4)
        inverse[:3, :3] = rotation.T
        inverse[:3, 3] = -rotation.T @ self.matrix[:3, 3]
        return SE3(inverse)

    def apply(self, points_source_m: DoubleArray) -> DoubleArray:
        """Transform points of shape (N, 3) from the source to the target frame."""
        return np.asarray(points_source_m, dtype=np.float64) @ self.matrix[:3, :3].T + self.matrix[:3, 3]

    def towards(self, other: SE3, share: float) -> SE3:
        """The pose a share of the way to another: places on a straight line, rotations by the shortest turn."""
        from scipy.spatial.transform import Rotation  # a first estimate of a sweep does without

        turn = Rotation.from_matrix(self.matrix[:3, :3].T @ other.matrix[:3, :3]).as_rotvec()
        pose = np.eye(4)
        pose[:3, :3] = self.matrix[:3, :3] @ Rotation.from_rotvec(share * turn).as_matrix()
        pose[:3, 3] = (1 - share) * self.translation_m + share * other.translation_m
        return SE3(pose)

    def to_se2(self) -> SE2:
        """Project to the plane: x, y and the heading of the source x axis."""
        heading_rad = math.atan2(self.matrix[1, 0], self.matrix[0, 0])
        return SE2(float(self.matrix[0, 3]), float(self.matrix[1, 3]), heading_rad)

    @staticmethod
    def from_se2(pose: SE2, z_m: float = 0.0) -> SE3:
        """Lift a planar pose to height ``z_m``."""
        cos, sin = math.cos(pose.heading_rad), math.sin(pose.heading_rad)
        return SE3(np.array([[cos, -sin, 0, pose.x_m], [sin, cos, 0, pose.y_m], [0, 0, 1, z_m], [0, 0, 0, 1]]))
