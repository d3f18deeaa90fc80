"""The look of bare ground, and what stands on it: compiled functions of a point and its street coordinates."""

import math

from numba import njit

from foldmap.town.hashing import grain_normal, unit_hash, value_noise
from foldmap.town.tables import LANE, PAVING, SEED, SLAB, TONE, WALK_L, WALK_R

LOT_M = 13.0
"""Width of one building."""


@njit(cache=True, fastmath=True)
def box_share(value, low, high, footprint):
    """Share of a footprint centred at ``value`` that lies in [low, high]."""
    return max(0.0, min(value + 0.5 * footprint, high) - max(value - 0.5 * footprint, low)) / footprint


@njit(cache=True, fastmath=True)
def texture(x, y, footprint, seed, fine):
    """Mottled brightness of the ground, about zero: octaves from 30 m down to the grain that the footprint resolves."""
    value = 0.5 * value_noise(x / 31.0, y / 31.0, seed) + 0.5 * value_noise(x / 9.0 + 0.37, y / 9.0, seed + 1)
    value += 0.45 * value_noise(x / 2.6, y / 2.6 + 0.71, seed + 2) + 0.35 * value_noise(x / 0.73, y / 0.73, seed + 3)
    if footprint < 0.2:
        value += fine * 0.5 * value_noise(x / 0.21, y / 0.21, seed + 4)
        value += fine * 0.35 * grain_normal(math.floor(x / 0.05), math.floor(y / 0.05), seed + 5)
    return value


@njit(cache=True, fastmath=True)
def asphalt(x, y, s, d, row, footprint, seed):
    """Carriageway without marks: tone, polish of the wheel tracks and stains along the lanes, cracks."""
    value = row[TONE] * (1.0 + 0.16 * texture(x, y, footprint, seed, 1.0))
    lane = row[LANE]
    index = math.floor(d / lane)
    inside = d - (index + 0.5) * lane
    local = int(row[SEED])
    band = unit_hash(int(index), 21, local) - 0.35
    value *= 1.0 - 0.3 * band * math.exp(-((inside / 1.1) ** 2)) * (1.0 + value_noise(s / 22.0, index * 7.3, local))
    track = abs(abs(inside) - 0.8) / 0.28
    value *= 1.0 - 0.12 * (unit_hash(int(index), 22, local) - 0.4) * math.exp(-track * track)
    value *= 1.0 + 0.09 * value_noise(s / 11.0, d / 0.45, local + 5)
    damage = value_noise(x / 17.0, y / 17.0, seed + 31)
    if damage > 0.25:
        warp = 0.35 * value_noise(x / 0.8, y / 0.8, seed + 32)
        level = abs(value_noise(x / 2.1 + warp, y / 2.1 - warp, seed + 33))
        value *= 1.0 - 0.45 * max(0.0, 1.0 - level / (0.02 + 0.3 * footprint)) * min(1.0, 3 * (damage - 0.25))
    return value


@njit(cache=True, fastmath=True)
def beside(x, y, s, d, kerb_m, row, footprint, seed):
    """Sidewalk paving and, beyond it, grass, gravel or yard."""
    walk = row[WALK_L] if d > 0 else row[WALK_R]
    local = int(row[SEED]) + (3 if d > 0 else 4)
    if kerb_m < walk:
        value = row[PAVING] * (1.0 + 0.2 * texture(x, y, footprint, seed + 50, 1.0))
        slab = row[SLAB]
        if slab > 0.0 and footprint < 0.2:
            u, v = s / slab, kerb_m / slab
            value *= 0.9 + 0.2 * unit_hash(math.floor(u), math.floor(v), local)
            joint = min(min(u - math.floor(u), v - math.floor(v)), min(math.ceil(u) - u, math.ceil(v) - v)) * slab
            value *= 1.0 - 0.25 * box_share(joint, -0.01, 0.01, footprint)
        return value
    kind = unit_hash(math.floor(s / 26.0), 41, local)
    if kind < 0.4:  # grass: bright and restless
        return 0.33 * (1.0 + 0.45 * texture(x, y, footprint, seed + 60, 2.0))
    if kind < 0.7:
        return 0.22 * (1.0 + 0.3 * texture(x, y, footprint, seed + 70, 2.0))
    return 0.27 * (1.0 + 0.18 * texture(x, y, footprint, seed + 80, 1.0))


@njit(cache=True, fastmath=True)
def paint_left(x, y, seed):
    """Share of the paint that is left."""
    wear = 0.62 + 0.3 * value_noise(x / 13.0, y / 13.0, seed + 91) + 0.22 * value_noise(x / 0.9, y / 0.9, seed + 92)
    wear += 0.18 * value_noise(x / 0.16, y / 0.16, seed + 93)
    return min(max(wear, 0.08), 1.0)


@njit(cache=True, fastmath=True)
def obstacle_m(kerb_m, row, s, d):
    """Height of what stands at that place: 0 ground, above 2 m a facade, between them hedges, walls and poles."""
    walk = row[WALK_L] if d > 0 else row[WALK_R]
    seed = int(row[SEED]) + (1 if d > 0 else 2)
    if 0.35 < kerb_m < 0.9:  # poles and trees stand behind the kerb
        slot = math.floor(s / 7.0)
        if unit_hash(slot, 3, seed) < 0.35:
            at = (slot + 0.2 + 0.6 * unit_hash(slot, 4, seed)) * 7.0
            if (s - at) ** 2 + (kerb_m - 0.6) ** 2 < (0.08 + 0.17 * unit_hash(slot, 5, seed)) ** 2:
                return 5.0
    if kerb_m < walk:
        return 0.0
    lot = math.floor(s / LOT_M)
    kind = unit_hash(lot, 11, seed)
    setback = walk + (0.0 if kind < 0.45 else 9.0 * unit_hash(lot, 12, seed) ** 2)
    if kind < 0.75:
        return 4.0 + 14.0 * unit_hash(lot, 13, seed) if kerb_m > setback else 0.0
    if kind < 0.9:
        return 0.9 if kerb_m > walk + 0.2 else 0.0
    return 8.0 if kerb_m > walk + 16.0 else 0.0
