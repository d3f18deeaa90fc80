"""The light that reaches a camera's pixels: what its rays meet, lit by sun and sky, filtered over their footprints."""

import math

import numpy as np
from numba import njit

from foldmap.town.camera.cast import BOX, BOX_TOP, GROUND, SKY, TOP, WALL, cast
from foldmap.town.camera.facade import facade, grain, leafage, pole, vehicle
from foldmap.town.camera.surfaces import FRONT, HIGH, U0, U1, WALL_SEED, X0, X1, Y0, Y1, place_of
from foldmap.town.hashing import value_noise
from foldmap.town.render import cell_of, reflectance_of

_KERB_M = 0.12
_FAR_M = 120.0
_HEDGE_M = 2.0
_TAPS = 3
_JITTER = ((-0.125, -0.375), (0.375, -0.125), (0.125, 0.375), (-0.375, 0.125))


@njit(cache=True)
def _ground_t(o, d, t, near, s_all, d_all):
    """Where a ray to level 0 at ``t`` meets the ground with its kerbs: (t, kerb distance, street, on a face)."""
    k0, e0 = place_of(o[0] + t * d[0], o[1] + t * d[1], near, s_all, d_all)
    t_up = (_KERB_M - o[2]) / d[2]
    if t_up <= 0.0:
        return t, k0, e0, False
    shift = (t - t_up) * math.hypot(d[0], d[1])
    if e0 >= 0 and k0 <= 0.0 and k0 < -1.5 * shift:
        return t, k0, e0, False
    k1, e1 = place_of(o[0] + t_up * d[0], o[1] + t_up * d[1], near, s_all, d_all)
    if k1 > 0.0 or e1 < 0:
        return t_up, k1, e1, False
    t_hit, face = t, False
    if k0 > 0.0:
        t_hit, face = t_up + (t - t_up) * k1 / (k1 - k0), True
    k, e = place_of(o[0] + t_hit * d[0], o[1] + t_hit * d[1], near, s_all, d_all)
    return t_hit, k, e, face


@njit(cache=True, fastmath=True)
def _ground_albedo(o, d, t, pixel, k, e, near, seed, s_all, d_all):
    """Ground filtered over a footprint that is longer than wide: a few taps along it."""
    table = near[4]
    size = math.sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2])
    across = t * pixel
    along = min(across * size / max(-d[2], 1e-3), 1.2)
    level = math.hypot(d[0], d[1]) + 1e-12
    taps = 1 if along < 1.7 * across else _TAPS
    footprint = min(max(across, along / taps), 0.9)
    total = 0.0
    for n in range(taps):
        back = (n - 0.5 * (taps - 1)) * along / taps / level
        x, y = o[0] + t * d[0] + back * d[0], o[1] + t * d[1] + back * d[1]
        if taps > 1:
            k, e = place_of(x, y, near, s_all, d_all)
        if e < 0:
            total += 0.25
            continue
        value = reflectance_of(x, y, footprint, seed, cell_of(x, y, near), k, e, table, s_all, d_all)
        if across < 0.1:
            value *= 1.0 + 0.6 * grain(x, y, max(across, 0.5 * along / taps), seed + 300)
        total += max(value, 0.01)
    return total / taps


@njit(cache=True, fastmath=True)
def _sky(d, clouds):
    """Radiance of the sky: brighter to the horizon, with clouds."""
    size = math.sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2])
    up = max(d[2] / size, 0.0)
    x, y = d[0] / size / (up + 0.15), d[1] / size / (up + 0.15)
    cloud = 0.6 * value_noise(x / 0.9, y / 0.9, clouds) + 0.3 * value_noise(x / 0.33, y / 0.33, clouds + 1)
    return 0.85 - 0.3 * up + 0.18 * max(cloud, 0.0)


@njit(cache=True, fastmath=True)
def _surface(o, d, t, kind, item, extra, pixel, surfaces, normal):
    """Albedo of an upright surface or a top; writes its unit normal."""
    x, y, z = o[0] + t * d[0], o[1] + t * d[1], o[2] + t * d[2]
    across = t * pixel
    size = math.sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2])
    normal[0], normal[1], normal[2] = 0.0, 0.0, 1.0
    if kind == TOP:
        return leafage(x, y, 991, across * min(size / max(-d[2], 0.02), 6.0)) if extra < _HEDGE_M else 0.2
    if kind == BOX_TOP:
        return 0.05 + 0.6 * (surfaces[4][item, 7] % 97) / 97.0
    if kind == WALL:
        w = surfaces[3][item]
        ex, ey = w[X1] - w[X0], w[Y1] - w[Y0]
        length = math.hypot(ex, ey)
        normal[0], normal[1], normal[2] = ey / length, -ex / length, 0.0
        facing = abs(d[0] * normal[0] + d[1] * normal[1]) / size
        footprint = across * min(1.0 / math.sqrt(max(facing, 0.04)), 5.0)
        u = w[U0] + extra * (w[U1] - w[U0])
        if w[HIGH] < _HEDGE_M:
            return leafage(u + 13.0 * (w[WALL_SEED] % 31), z, 990, footprint)
        return facade(u, z, w[HIGH], w[FRONT] > 0.5, int(w[WALL_SEED]), footprint)
    if kind == BOX:
        box = surfaces[4][item]
        px, py = x - box[0], y - box[1]
        a, b = px * box[2] + py * box[3], -px * box[3] + py * box[2]
        side = extra > 0.5
        out = (1.0 if b > 0 else -1.0) if side else (1.0 if a > 0 else -1.0)
        normal[0], normal[1] = (-box[3] * out, box[2] * out) if side else (box[2] * out, box[3] * out)
        normal[2] = 0.0
        return vehicle(a if side else b, z, box[4] if side else box[5], box[6], side, int(box[7]), across)
    stem = surfaces[5][item]
    normal[0], normal[1], normal[2] = (x - stem[0]) / stem[2], (y - stem[1]) / stem[2], 0.0
    return pole(math.atan2(normal[1], normal[0]), z, stem[2], int(stem[3]), across)


@njit(cache=True, fastmath=True)
def _lit(o, d, t, albedo, normal, light, surfaces):
    """Radiance of a matt surface under the sun, unless something shades it, and the sky."""
    facing = normal[0] * light[0] + normal[1] * light[1] + normal[2] * light[2]
    z = o[2] + t * d[2]
    sky = light[4] * (0.62 + 0.3 * normal[2] + 0.08 * min(z / 6.0, 1.0))
    sun = 0.0
    if light[3] > 0.0 and facing > 0.0:
        start = (
            o[0] + t * d[0] + 0.02 * normal[0],
            o[1] + t * d[1] + 0.02 * normal[1],
            max(z + 0.02 * normal[2], 0.01),
        )
        kind, _, _, _ = cast(start, (light[0], light[1], light[2]), 60.0, surfaces)
        if kind == SKY:
            sun = light[3] * facing
    return albedo * (sky + sun)


@njit(cache=True)
def _look(o, d, pixel, light, clouds, surfaces, near, seed, s_all, d_all, normal):
    """Radiance, depth, kind and the surface's number along one ray."""
    kind, t, item, extra = cast(o, d, _FAR_M, surfaces)
    if kind == SKY:
        return _sky(d, clouds), np.inf, kind, -1.0
    number = float(item)
    if kind == GROUND:
        t, k, e, face = _ground_t(o, d, t, near, s_all, d_all)
        if face:
            albedo, number = 0.3, -3.0
        else:
            albedo = _ground_albedo(o, d, t, pixel, k, e, near, seed, s_all, d_all)
            number = -1.0 if k > 0.0 else -2.0
        normal[0], normal[1], normal[2] = 0.0, 0.0, 1.0
    else:
        albedo = _surface(o, d, t, kind, item, extra, pixel, surfaces, normal)
        if kind == WALL:
            number = surfaces[3][item, WALL_SEED] + 1e9 * surfaces[3][item, HIGH]
    return _lit(o, d, t, albedo, normal, light, surfaces), t, kind, number


@njit(cache=True)
def render_radiance(intrinsics, height, width, pose, light, clouds, surfaces, near, seed):
    """Radiance, depth along the axis and kind of every pixel: float32, float32, uint8, each (height, width).

    ``intrinsics`` is (fx, fy, cx, cy) in px, ``pose`` (4, 4) world_SE3_camera, ``light`` the sun's direction, its
    strength and the sky's, ``clouds`` and ``seed`` are seeds of the sky and the town.
    """
    radiance = np.empty((height, width), np.float32)
    depth = np.empty((height, width), np.float32)
    kind_of = np.empty((height, width), np.uint8)
    number = np.empty((height, width))
    streets = len(near[4][2]) - 1
    s_all, d_all, normal = np.empty(streets), np.empty(streets), np.empty(3)
    o = (pose[0, 3], pose[1, 3], pose[2, 3])
    pixel = 1.0 / math.sqrt(intrinsics[0] * intrinsics[1])
    for r in range(height):
        for c in range(width):
            d = _ray(intrinsics, pose, c + 0.5, r + 0.5)
            value, t, kind, what = _look(o, d, pixel, light, clouds, surfaces, near, seed, s_all, d_all, normal)
            radiance[r, c], depth[r, c], kind_of[r, c], number[r, c] = value, t, kind, what
    smooth = radiance.copy()
    for r in range(height):
        for c in range(width):
            if not _outline(r, c, kind_of, number):
                continue
            total = 0.0
            for n in range(len(_JITTER)):
                d = _ray(intrinsics, pose, c + 0.5 + _JITTER[n][0], r + 0.5 + _JITTER[n][1])
                value, _, _, _ = _look(o, d, pixel, light, clouds, surfaces, near, seed, s_all, d_all, normal)
                total += value
            smooth[r, c] = total / len(_JITTER)
    return smooth, depth, kind_of


@njit(cache=True, inline="always")
def _ray(intrinsics, pose, x, y):
    """Direction in the world of a pixel, of length 1 along the optical axis, so that ``t`` is depth."""
    a, b = (x - intrinsics[2]) / intrinsics[0], (y - intrinsics[3]) / intrinsics[1]
    return (
        pose[0, 0] * a + pose[0, 1] * b + pose[0, 2],
        pose[1, 0] * a + pose[1, 1] * b + pose[1, 2],
        pose[2, 0] * a + pose[2, 1] * b + pose[2, 2],
    )


@njit(cache=True, inline="always")
def _outline(r, c, kind_of, number):
    """Whether a neighbour shows another surface."""
    height, width = kind_of.shape
    for k in range(4):
        i, j = r + (1 if k == 0 else (-1 if k == 1 else 0)), c + (1 if k == 2 else (-1 if k == 3 else 0))
        other = 0 <= i < height and 0 <= j < width
        if other and (kind_of[i, j] != kind_of[r, c] or number[i, j] != number[r, c]):
            return True
    return False
