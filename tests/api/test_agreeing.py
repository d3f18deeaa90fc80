"""Answers and truth that are written in two ways, or lie in two frames, are told from errors."""

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from foldmap.api.judging.agreeing import refuse_other_meaning
from foldmap.errors import PoseInputError

COUNT = 9


def poses(seed: int, spread_deg: float = 40.0) -> np.ndarray:
    """camera_SE3_world (N, 4, 4) of cameras that look about one way, from some metres apart."""
    rng = np.random.default_rng(seed)
    made = np.tile(np.eye(4), (COUNT, 1, 1))
    turns = Rotation.from_rotvec(rng.normal(scale=np.radians(spread_deg), size=(COUNT, 3)))
    made[:, :3, :3] = (turns * Rotation.from_euler("x", -90, degrees=True)).as_matrix()
    made[:, :3, 3] = rng.normal(scale=3.0, size=(COUNT, 3))
    return made


def named(made: np.ndarray) -> dict[str, np.ndarray]:
    return {f"{number}.jpg": pose for number, pose in enumerate(made)}


def asked(answers: np.ndarray, truth: np.ndarray) -> None:
    refuse_other_meaning(named(answers), named(truth), Path("est.txt"), Path("gt.txt"))


def rewritten(made: np.ndarray, shift: int, inverse: bool = False) -> np.ndarray:
    """As they are read where the quaternions, of the inverses if so, stand in another order."""
    found, turns = made.copy(), Rotation.from_matrix(made[:, :3, :3])
    numbers = np.roll((turns.inv() if inverse else turns).as_quat(), shift, axis=1)
    read = Rotation.from_quat(numbers)
    found[:, :3, :3] = (read.inv() if inverse else read).as_matrix()
    return found


def test_another_order_or_direction_is_named() -> None:
    truth = poses(0)
    noisy = truth.copy()
    noisy[:, :3, 3] += np.random.default_rng(1).normal(scale=0.01, size=(COUNT, 3))
    asked(noisy, truth)
    for shift, said in ((1, "as qx qy qz qw"), (-1, "as qw qx qy qz")):
        for inverse in (False, True):
            with pytest.raises(PoseInputError, match=rf"gt.txt is read {said} \("):
                asked(noisy, rewritten(truth, -shift, inverse))
    with pytest.raises(PoseInputError, match=r"gt.txt is read the other way round"):
        asked(noisy, np.linalg.inv(truth))
    upright = np.diag([1.0, -1.0, -1.0, 1.0])
    with pytest.raises(PoseInputError, match=r"gt.txt is read with y up and z back \(OpenGL, ARKit, NeRF\) \("):
        asked(noisy, upright @ truth)
    with pytest.raises(PoseInputError, match=r"gt.txt is read the other way round, with y up and z back"):
        asked(noisy, np.linalg.inv(truth) @ upright)
    with pytest.raises(PoseInputError, match=r"est.txt is read the other way round"):
        refuse_other_meaning(named(np.linalg.inv(truth)), named(truth), Path("est.txt"), Path(__file__).parent)


def test_another_frame_is_named() -> None:
    truth = poses(2)
    moved, by = truth.copy(), Rotation.from_euler("zyx", [70, 20, 10], degrees=True).as_matrix()
    moved[:, :3, :3] = truth[:, :3, :3] @ by.T
    moved[:, :3, 3] = 7.0 * truth[:, :3, 3] - np.einsum("nij,j->ni", moved[:, :3, :3], [4e5, 5e6, 100.0])
    with pytest.raises(PoseInputError, match="two frames") as caught:
        asked(truth, moved)
    assert "a scale of 7" in caught.value.message
    asked(truth[:5], moved[:5])  # too few to tell a frame from errors


def test_errors_are_measured() -> None:
    truth = poses(3)
    shifted = truth.copy()
    shifted[:, :3, 3] -= np.einsum("nij,j->ni", truth[:, :3, :3], [5.0, 0.0, 0.0])
    asked(shifted, truth)  # an offset of the size of the place is an error that may be asked about
    asked(poses(4), truth)  # answers that are all wrong
    wrong = truth.copy()
    wrong[4:] = poses(5)[4:]
    asked(wrong, truth)
