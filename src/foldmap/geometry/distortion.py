"""Lens distortion in normalized coordinates: COLMAP's models forward, and backward by Newton's method.

All supported models are one of two formulas with some coefficients zero. A point ahead of the camera has normalized
coordinates ``u = (x / z, y / z)``, ``r = |u|``.

- perspective: ``u (1 + k1 r^2 + k2 r^4 + k3 r^6) / (1 + k4 r^2 + k5 r^4 + k6 r^6)`` plus the tangential terms p1, p2;
- fisheye: ``u theta (1 + k1 theta^2 + ... + k4 theta^8) / r`` with ``theta = atan r``.
"""

import numpy as np

from foldmap.types import DoubleArray

MAX_ITERATIONS = 100
STEP_TOLERANCE = 1e-12
RESIDUAL_TOLERANCE = 1e-9
_PERSPECTIVE = ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")
_COEFFICIENTS: dict[str, tuple[str, ...]] = {
    "SIMPLE_PINHOLE": (),
    "PINHOLE": (),
    "SIMPLE_RADIAL": _PERSPECTIVE[:1],
    "RADIAL": _PERSPECTIVE[:2],
    "OPENCV": _PERSPECTIVE[:4],
    "FULL_OPENCV": _PERSPECTIVE,
    "SIMPLE_RADIAL_FISHEYE": ("k1",),
    "RADIAL_FISHEYE": ("k1", "k2"),
    "OPENCV_FISHEYE": ("k1", "k2", "k3", "k4"),
}
_FISHEYE = {"SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE", "OPENCV_FISHEYE"}


def distort(model: str, coefficients: DoubleArray, rays: DoubleArray) -> DoubleArray:
    """Where the lens moves normalized coordinates ``x / z, y / z``, float64 (N, 2); NaN stays NaN.

    ``model`` is a name of `CAMERA_MODELS`, ``coefficients`` its distortion parameters in COLMAP's order.
    """
    if model in _FISHEYE:
        radius = np.hypot(rays[:, 0], rays[:, 1])
        theta = np.arctan(radius)
        bent = theta * _series(_fisheye(coefficients), theta**2)
        return rays * _ratio(bent, radius)[:, None]
    if not np.any(coefficients):
        return rays.copy()
    moved, _ = _perspective(_named(model, coefficients), rays)
    return moved


def undistort(model: str, coefficients: DoubleArray, distorted: DoubleArray) -> DoubleArray:
    """Invert `distort` of float64 (N, 2), starting from no distortion.

    Newton's method with the analytic Jacobian stops when no coordinate moves by more than `STEP_TOLERANCE` (relative to
    the larger of 1 and the radius), after `MAX_ITERATIONS` at most. An answer is kept if it maps back to within
    `RESIDUAL_TOLERANCE` on the branch that contains the optical axis. Returns float64 (N, 2), ``x / z, y / z``; NaN
    where no ray ahead of the camera is imaged at that place: beyond the fold of a barrel polynomial, or 90 degrees and
    more off the axis of a fisheye.
    """
    if not np.any(coefficients) and model not in _FISHEYE:
        return distorted.copy()
    with np.errstate(all="ignore"):  # points that diverge become NaN below
        if model in _FISHEYE:
            return _undistort_fisheye(_fisheye(coefficients), distorted)
        return _undistort_perspective(_named(model, coefficients), distorted)


def _undistort_fisheye(k: DoubleArray, distorted: DoubleArray) -> DoubleArray:
    bent = np.hypot(distorted[:, 0], distorted[:, 1])
    slopes = k * (2 * np.arange(len(k)) + 1)
    theta = bent.copy()
    for _ in range(MAX_ITERATIONS):
        step = (theta * _series(k, theta**2) - bent) / _series(slopes, theta**2)
        theta -= step
        if not (np.abs(step) > STEP_TOLERANCE).any():
            break
    back = np.abs(theta * _series(k, theta**2) - bent) < RESIDUAL_TOLERANCE
    right = back & (theta >= 0) & (theta < np.pi / 2) & (_series(slopes, theta**2) > 0)
    theta[~right] = np.nan
    return distorted * _ratio(np.tan(theta), bent)[:, None]


def _undistort_perspective(k: dict[str, float], distorted: DoubleArray) -> DoubleArray:
    rays = distorted.copy()
    for _ in range(MAX_ITERATIONS):
        moved, jacobian = _perspective(k, rays)
        step = _solve(jacobian, moved - distorted)
        rays -= step
        scale = np.maximum(1.0, np.abs(rays))
        if not (np.abs(step) > STEP_TOLERANCE * scale).any():
            break
    moved, jacobian = _perspective(k, rays)
    (a, b), (c, d) = jacobian
    back = (np.abs(moved - distorted) < RESIDUAL_TOLERANCE * np.maximum(1.0, np.abs(distorted))).all(axis=1)
    radial, _ = _radial(k, (rays**2).sum(axis=1))
    rays[~(back & (a * d - b * c > 0) & (radial > 0))] = np.nan
    return rays


_Jacobian = tuple[tuple[DoubleArray, DoubleArray], tuple[DoubleArray, DoubleArray]]


def _perspective(k: dict[str, float], rays: DoubleArray) -> tuple[DoubleArray, _Jacobian]:
    """Distorted coordinates and their derivatives by the rays."""
    x, y = rays[:, 0], rays[:, 1]
    p1, p2 = k["p1"], k["p2"]
    square = x * x + y * y
    radial, slope = _radial(k, square)
    moved = np.stack(
        [
            x * radial + 2 * p1 * x * y + p2 * (square + 2 * x * x),
            y * radial + 2 * p2 * x * y + p1 * (square + 2 * y * y),
        ],
        axis=1,
    )
    cross = 2 * x * y * slope + 2 * p1 * x + 2 * p2 * y
    along_x = radial + 2 * x * x * slope + 2 * p1 * y + 6 * p2 * x
    along_y = radial + 2 * y * y * slope + 2 * p2 * x + 6 * p1 * y
    return moved, ((along_x, cross), (cross, along_y))


def _radial(k: dict[str, float], square: DoubleArray) -> tuple[DoubleArray, DoubleArray]:
    """The radial factor and its derivative by the squared radius."""
    up = 1 + square * (k["k1"] + square * (k["k2"] + square * k["k3"]))
    down = 1 + square * (k["k4"] + square * (k["k5"] + square * k["k6"]))
    up_slope = k["k1"] + square * (2 * k["k2"] + 3 * square * k["k3"])
    down_slope = k["k4"] + square * (2 * k["k5"] + 3 * square * k["k6"])
    return up / down, (up_slope * down - up * down_slope) / down**2


def _solve(jacobian: _Jacobian, right: DoubleArray) -> DoubleArray:
    """Solve N systems of two equations."""
    (a, b), (c, d) = jacobian
    determinant = a * d - b * c
    first = (d * right[:, 0] - b * right[:, 1]) / determinant
    second = (a * right[:, 1] - c * right[:, 0]) / determinant
    return np.stack([first, second], axis=1)


def _series(coefficients: DoubleArray, square: DoubleArray) -> DoubleArray:
    """The polynomial ``c0 + c1 s + c2 s^2 + ...``."""
    total = np.full_like(square, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        total = total * square + coefficient
    return total


def _ratio(over: DoubleArray, under: DoubleArray) -> DoubleArray:
    """A quotient that is 1 on the optical axis, where both vanish."""
    on_axis = under < 1e-12
    return np.asarray(np.where(on_axis, 1.0, over / np.where(on_axis, 1.0, under)))


def _named(model: str, coefficients: DoubleArray) -> dict[str, float]:
    given = dict(zip(_COEFFICIENTS[model], coefficients.tolist(), strict=True))
    return {name: given.get(name, 0.0) for name in _PERSPECTIVE}


def _fisheye(coefficients: DoubleArray) -> DoubleArray:
    return np.concatenate([[1.0], coefficients])
