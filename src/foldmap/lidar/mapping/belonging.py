"""Whether poses and sweeps belong together: the geometry that holds for every lidar on the ground.

The sensor's z axis points up, it moves in its own x-y plane, the ground lies below it and is level in the world,
returns are near, and a sweep lies on the next one where the poses put it. What contradicts that is refused with what
would cure it; what cannot be known (a vehicle that stands, open ground without texture) is let pass. The limits lie far
beyond hills of 20 %, sensors that are mounted askew, and the noise of odometry.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.spatial.transform import Rotation

from foldmap.errors import PoseInputError, SweepInputError
from foldmap.geometry import SE3
from foldmap.lidar.mapping.alignment import Displacement, Outline, compare_sweeps
from foldmap.lidar.mapping.ground import ground_plane
from foldmap.lidar.source import Sweep
from foldmap.types import DoubleArray

_STEEPEST_AXIS = math.radians(60)
_OUT_OF_PLANE = math.sin(math.radians(45))
_OFF_THE_GROUND = math.sin(math.radians(30))
_STEEPEST_GROUND = math.radians(20)
_STRIDE_M = 1.0
_COARSE_M = 0.1
_FARTHEST_M = 300.0
_LOWEST_SENSOR_M = 0.1
_HIGH_SENSOR_M, _ON_GROUND_M, _LEAST_ON_GROUND = 6.0, 0.3, 0.1
"""Of four recordings, real and generated, 47 % of a sweep's returns and more lie on the ground; with another axis up
12 % at most lie on what seems to be the ground, 9 m and more below."""
_STOREY_M, _STOREY_CELL_M = 2.2, 5.0
_PROBES = 5
_STARTS = 4
_GAPS = (1, 4, 10)
_JUMPS = 2
_WRONG_SHARE = 1 / 3
_ASKEW = math.radians(20)
_ORDER = "give rows t x y z qx qy qz qw (qw last), or name the columns in a header: # t x y z qw qx qy qz"
_HANGS = (
    "a lidar that hangs upside down is turned about x, all points to (x, -y, -z), all quaternions to "
    "(qw, qz, -qy, -qx), of matrices the second and third column negated; else, "
)
_CAMERA = "if these are a camera's poses, give its --calibration; else give world_T_sensor with x forward, y left, z up"


def check_poses(world_SE3_sensors: Sequence[SE3], where: str) -> None:
    """Raise a PoseInputError where a sensor's z axis does not point up, or it moves along it; ``where``: their file."""
    matrices = np.array([pose.matrix for pose in world_SE3_sensors])
    if len(matrices) == 0:
        return
    moved = _strides(matrices)
    along_m, length_m = np.abs(moved[:, 2]), np.linalg.norm(moved, axis=1)
    if len(moved) and float(np.median(along_m / length_m)) > _OUT_OF_PLANE:
        share = f"{along_m.sum():.1f} of {length_m.sum():.1f} m"
        raise PoseInputError(f"{where}: the sensor moves along its own z axis ({share}), not in its x-y plane", _CAMERA)
    tilt = np.arccos(np.clip(matrices[:, 2, 2], -1, 1))
    steep = np.flatnonzero(tilt > _STEEPEST_AXIS)
    if len(steep):
        hangs = float(np.median(tilt)) > np.pi - _STEEPEST_AXIS
        raise PoseInputError(
            f"{where}: in pose {steep[0] + 1} ({len(steep)} of {len(tilt)}) the sensor's z axis lies "
            f"{math.degrees(tilt[steep[0]]):.0f} degrees from upright",
            f"{_HANGS if hangs else ''}for quaternions, {_ORDER}; {_CAMERA}",
        )


def check_digits(world_SE3_sensors: Sequence[SE3], where: str) -> None:
    """Raise a PoseInputError where places went through float32, whose steps are coarse far from the origin."""
    at_m = np.array([pose.translation_m for pose in world_SE3_sensors]).reshape(-1, 3)
    for name, axis_m in zip("xyz", at_m.T, strict=True):
        step_m = float(np.spacing(np.float32(np.abs(axis_m).max(initial=0.0))))
        uneven = len(axis_m) > 2 and bool(np.diff(axis_m, 2).any())
        if step_m >= _COARSE_M and uneven and bool((axis_m.astype(np.float32) == axis_m).all()):
            raise PoseInputError(
                f"{where}: {name} goes in steps of {step_m:g} m, as float32 has them at {axis_m[0]:,.0f} m",
                "write the poses from float64, with centimetres, or take an origin off before",
            )


def storeys_note(world_SE3_sensors: Sequence[SE3]) -> str:
    """What to say of poses that lie above each other, as in a car park; empty where none do."""
    at_m = np.array([pose.translation_m for pose in world_SE3_sensors]).reshape(-1, 3)
    cells, inverse = np.unique(np.floor(at_m[:, :2] / _STOREY_CELL_M), axis=0, return_inverse=True)
    top_m, bottom_m = np.full(len(cells), -np.inf), np.full(len(cells), np.inf)
    np.maximum.at(top_m, inverse.ravel(), at_m[:, 2])
    np.minimum.at(bottom_m, inverse.ravel(), at_m[:, 2])
    apart_m = float((top_m - bottom_m).max(initial=0.0))
    if apart_m < _STOREY_M:
        return ""
    return (
        f"poses of one place lie {apart_m:.1f} m above each other: a map is flat, and grounds above each other become "
        "one (build each storey or bridge by itself; where heights only drift, nothing is wrong)"
    )


def _strides(matrices: DoubleArray) -> DoubleArray:
    """Displacements of at least a metre, each in the frame of the sensor at its start, (N, 3)."""
    strides, start = list[DoubleArray](), matrices[0]
    for matrix in matrices[1:]:
        moved = matrix[:3, 3] - start[:3, 3]
        if float(np.linalg.norm(moved)) >= _STRIDE_M:
            strides.append(start[:3, :3].T @ moved)
            start = matrix
    return np.array(strides).reshape(-1, 3)


def probed(count: int) -> list[int]:
    """Sweeps that are looked at to check a drive of so many: a few, evenly spread."""
    return sorted(set(np.linspace(0, count - 1, min(count, _PROBES)).round().astype(int).tolist()))


def check_ground(sweeps: Sequence[Sweep], world_SE3_sensors: Sequence[SE3], where: str) -> None:
    """Check that a few sweeps of a drive are in the sensor's frame, z up, and that their ground is level in the world.

    A SweepInputError where they are not, a PoseInputError where the ground is not level under these poses.
    """
    clouds_m = [sweep.points_sensor_m.astype(np.float64) for sweep in sweeps]
    range_m = float(np.median([np.median(np.linalg.norm(cloud, axis=1)) for cloud in clouds_m])) if clouds_m else 0.0
    if range_m > _FARTHEST_M:
        middle_m = float(np.linalg.norm(np.median([np.median(cloud, axis=0) for cloud in clouds_m], axis=0)))
        away = f"{range_m / 1000:,.1f} km" if range_m >= 2000 else f"{range_m:,.0f} m"
        if middle_m > 0.5 * range_m:
            cure = "sweeps must be in the sensor's frame, not in the world's: take the pose off before"
            raise SweepInputError(f"{where}: points lie {away} from the sensor", cure)
        raise SweepInputError(
            f"{where}: points lie {away} from the sensor all around", "give points in metres, not millimetres"
        )
    planes = [ground_plane(sweep.points_sensor_m) for sweep in sweeps]
    found = [(plane, pose) for plane, pose in zip(planes, world_SE3_sensors, strict=True) if plane is not None]
    if not found:
        return
    level_m = float(np.median([plane[2] for plane, _ in found]))
    if abs(level_m) < _LOWEST_SENSOR_M:
        raise SweepInputError(
            f"{where}: the ground lies at the height of the points' origin, not below a sensor",
            "sweeps must be in the sensor's frame: of a vehicle's, which begins on the ground (base_link), take the "
            "sensor's height off the points' z and add it to the poses'; of the world's frame take the pose off",
        )
    if level_m > 0:
        raise SweepInputError(
            f"{where}: the ground lies {level_m:.2f} m above the sensor",
            "sweeps must be in the sensor's frame, x forward, y left, z up: turn them if z points down, and take the "
            "pose off if they are in the world's frame",
        )
    on_ground = float(np.median([_share_on(plane, cloud) for plane, cloud in zip(planes, clouds_m, strict=True)]))
    if level_m < -_HIGH_SENSOR_M and on_ground < _LEAST_ON_GROUND:
        raise SweepInputError(
            f"{where}: what seems to be the ground lies {-level_m:.1f} m below the sensor, and {on_ground:.1%} of the "
            "returns on it",
            "sweeps must be in the sensor's frame, x forward, y left, z up: turn their axes",
        )
    normals = [np.array([-plane[0], -plane[1], 1.0]) / math.hypot(plane[0], plane[1], 1.0) for plane, _ in found]
    upward = [min(1.0, float((pose.matrix[:3, :3] @ n)[2])) for n, (_, pose) in zip(normals, found, strict=True)]
    tilt = float(np.median(np.arccos(upward)))
    if tilt > _STEEPEST_GROUND:
        leaning = f"{where}: with these poses the ground leans {math.degrees(tilt):.0f} degrees"
        raise PoseInputError(leaning, f"for quaternions, {_ORDER}; {_CAMERA}")
    moved = _strides(np.array([pose.matrix for pose in world_SE3_sensors]))
    normal = np.median(normals, axis=0)
    if len(moved) and float(np.median(np.abs(moved @ normal) / np.linalg.norm(moved, axis=1))) > _OFF_THE_GROUND:
        off = "with these poses the sensor does not move along the ground that it sees"
        raise PoseInputError(f"{where}: {off}", _CAMERA)


def _share_on(plane: DoubleArray | None, points_m: DoubleArray) -> float:
    """How many of the points lie on a plane ``z = a x + b y + c``."""
    if plane is None or not len(points_m):
        return 0.0
    above_m = points_m[:, 2] - points_m[:, :2] @ plane[:2] - plane[2]
    return float((np.abs(above_m) < _ON_GROUND_M).mean())


def pairs_to_compare(world_SE3_sensors: Sequence[SE3]) -> list[tuple[int, int]]:
    """Sweeps whose displacement is worth measuring: neighbours all over the drive, and where the poses jump."""
    count = len(world_SE3_sensors)
    starts = np.linspace(0, max(count - 1 - max(_GAPS), 0), _STARTS).round().astype(int).tolist()
    pairs = {(start, start + gap) for gap in _GAPS for start in starts if start + gap < count}
    at_m = np.array([pose.translation_m for pose in world_SE3_sensors]).reshape(-1, 3)
    steps_m = np.linalg.norm(np.diff(at_m, axis=0), axis=1)
    jumps = np.argsort(-steps_m, kind="stable")[:_JUMPS]
    return sorted(pairs | {(int(i), int(i) + 1) for i in jumps})


def check_alignment(
    pairs: Sequence[tuple[Outline, Outline, SE3, SE3]], where: str, *, quaternions: bool = True
) -> None:
    """Check that pairs of sweeps, taken near each other, lie on each other where their ``world_SE3_sensor`` put them.

    ``quaternions`` is whether the poses were written as such, and may be in another order. A PoseInputError where at
    least a third of the pairs that tell anything contradict their poses.
    """
    compared = [(compare_sweeps(first, second, a.inverse() @ b), a, b) for first, second, a, b in pairs]
    telling = [entry for entry in compared if entry[0].telling]
    wrong = [entry for entry in telling if entry[0].contradicted]
    if not wrong or len(wrong) < max(min(2, len(pairs)), _WRONG_SHARE * len(telling)):
        return
    (x_m, y_m), shown = wrong[0][0].by_poses_m, wrong[0][0].by_sweeps_m
    assert shown is not None
    raise PoseInputError(
        f"{where}: the sweeps do not lie on each other with these poses ({len(wrong)} of {len(telling)} pairs): the "
        f"sensor moves by ({x_m:.2f}, {y_m:.2f}) m where the sweeps show ({shown[0]:.2f}, {shown[1]:.2f}) m",
        _explanation(wrong, quaternions),
    )


def _explanation(wrong: Sequence[tuple[Displacement, SE3, SE3]], quaternions: bool) -> str:
    """The way to read the poses that agrees with the sweeps, as a cure."""
    measured = np.array([displacement.by_sweeps_m for displacement, _, _ in wrong])
    given = np.array([displacement.by_poses_m for displacement, _, _ in wrong])
    size, moved = np.linalg.norm(measured, axis=1), np.linalg.norm(given, axis=1)
    inverse = np.array([(a @ b.inverse()).translation_m[:2] for _, a, b in wrong])
    w_first = np.array([(_w_first(a).inverse() @ _w_first(b)).translation_m[:2] for _, a, b in wrong])

    def fits(other: DoubleArray) -> bool:
        return float(np.median(np.linalg.norm(other - measured, axis=1) / np.maximum(size, 1.0))) < 0.5

    if fits(inverse):
        return "give world_T_sensor: these look like sensor_T_world, their inverse, or stand in reverse order"
    if fits(given):
        return (
            "places agree and turns do not: where y is to the right (left-handed, as of CARLA), negate it in sweeps "
            "and poses alike; else give the rotations of these sweeps"
        )
    if quaternions and fits(w_first):
        return f"quaternions look like qw first: {_ORDER}"
    if float(np.median(moved)) < 0.05 * float(np.median(size)):
        return "positions barely change: give metres, not degrees or kilometres"
    ratio = float(np.median(moved / np.maximum(size, 0.25)))
    along = float(np.median((given * measured).sum(axis=1) / np.maximum(size * moved, 1e-9)))
    if along > 0.8 and not 0.8 < ratio < 1.25:
        return f"positions are about {ratio:.3g} times too large: give metres"
    askew = np.angle((measured @ (1, 1j)) / (given @ (1, 1j) + 1e-9))
    turn = float(np.angle(np.exp(1j * askew).mean()))
    if np.abs(np.angle(np.exp(1j * (askew - turn)))).max() < _ASKEW and abs(turn) > _ASKEW:
        return (
            f"the sweeps show the way that the sensor moves once they are turned by about "
            f"{5 * round(-math.degrees(turn) / 5)} degrees (counter-clockwise): check the lidar's axes (TF, "
            "vehicle_SE3_lidar), x forward, y left"
        )
    return (
        "give the poses of these sweeps in their order, world_T_sensor, metres, x forward, y left, z up; priors too "
        "rough to lay sweeps together are for localize --aggregate 1"
    )


def _w_first(pose: SE3) -> SE3:
    """The pose that was meant if its quaternion was written qw first and read as qw last."""
    matrix = pose.matrix.copy()
    w, x, y, z = Rotation.from_matrix(matrix[:3, :3]).as_quat()
    matrix[:3, :3] = Rotation.from_quat([x, y, z, w]).as_matrix()
    return SE3(matrix)
