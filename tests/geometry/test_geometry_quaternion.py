"""Quaternions against COLMAP's own arithmetic."""

import numpy as np
import pytest

from foldmap.errors import PoseInputError
from foldmap.geometry.quaternion import inverse_rigid, rigid_from_wxyz, wxyz_from_rigid


def test_agrees_with_colmap() -> None:
    pycolmap = pytest.importorskip("pycolmap")
    rng = np.random.default_rng(0)
    wxyz = rng.normal(size=(50, 4))
    wxyz /= np.linalg.norm(wxyz, axis=1, keepdims=True)
    shift = rng.normal(size=(50, 3))
    ours = rigid_from_wxyz(wxyz, shift)
    for q, t, pose in zip(wxyz, shift, ours, strict=True):
        theirs = pycolmap.Rigid3d(pycolmap.Rotation3d(np.roll(q, -1)), t)
        np.testing.assert_allclose(pose[:3], theirs.matrix(), atol=1e-12)
        np.testing.assert_allclose(inverse_rigid(pose)[:3], theirs.inverse().matrix(), atol=1e-12)
    sign = np.where(wxyz[:, :1] < 0, -1, 1)
    np.testing.assert_allclose(wxyz_from_rigid(ours), wxyz * sign, atol=1e-12)


def test_single_pose_has_no_batch_axis() -> None:
    pose = rigid_from_wxyz([1, 0, 0, 0], [1, 2, 3])
    np.testing.assert_array_equal(pose, [[1, 0, 0, 1], [0, 1, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]])
    np.testing.assert_array_equal(wxyz_from_rigid(pose), [1, 0, 0, 0])


@pytest.mark.parametrize("wxyz", [[0, 0, 0, 0], [2, 0, 0, 0], [np.nan, 0, 0, 1]])
def test_refuses_what_is_no_rotation(wxyz: list[float]) -> None:
    with pytest.raises(PoseInputError):
        rigid_from_wxyz(wxyz, [0, 0, 0])
