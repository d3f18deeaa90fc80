"""Stateless random numbers: a hash of (seed, integers) gives the same value whatever was asked before."""

import numpy as np
from numba import njit

_MIX_A = np.uint64(0x9E3779B97F4A7C15)
_MIX_B = np.uint64(0xC2B2AE3D27D4EB4F)
_MIX_C = np.uint64(0xD6E8FEB86659FD93)
_SHIFT = np.uint64(32)
_DROP = np.uint64(11)
_BITS_21, _BITS_42, _LOW_21 = np.uint64(21), np.uint64(42), np.uint64((1 << 21) - 1)
_TO_UNIT = 2.0**-53


# Called, not inlined into every place, and one for literals of every size: compiling is many times faster, running the
# same.
@njit("float64(int64, int64, int64)", cache=True)
def unit_hash(i: int, j: int, seed: int) -> float:
    """Hash two integers and a seed to [0, 1)."""
    h = np.uint64(i) * _MIX_A ^ (np.uint64(j) + np.uint64(seed) * _MIX_C) * _MIX_B
    h ^= h >> _SHIFT
    h *= _MIX_C
    h ^= h >> _SHIFT
    h *= _MIX_C
    h ^= h >> _SHIFT
    return np.float64(h >> _DROP) * _TO_UNIT


@njit("float64(float64, float64, int64)", cache=True, fastmath=True)
def value_noise(x: float, y: float, seed: int) -> float:
    """Smooth value noise in [-1, 1] with unit lattice spacing."""
    i, j = int(np.floor(x)), int(np.floor(y))
    u, v = x - i, y - j
    u = u * u * (3.0 - 2.0 * u)
    v = v * v * (3.0 - 2.0 * v)
    low = unit_hash(i, j, seed) * (1.0 - u) + unit_hash(i + 1, j, seed) * u
    high = unit_hash(i, j + 1, seed) * (1.0 - u) + unit_hash(i + 1, j + 1, seed) * u
    return 2.0 * (low * (1.0 - v) + high * v) - 1.0


@njit("float64(int64, int64, int64)", cache=True)
def grain_normal(i: int, j: int, seed: int) -> float:
    """Approximately standard normal noise of a lattice cell: three uniforms of 21 bits out of one hash, summed."""
    h = np.uint64(unit_hash(i, j, seed) * 9007199254740992.0)
    h = (h ^ (np.uint64(j) + np.uint64(seed)) * _MIX_A) * _MIX_C
    h ^= h >> _SHIFT
    total = (h & _LOW_21) + ((h >> _BITS_21) & _LOW_21) + ((h >> _BITS_42) & _LOW_21)
    return (np.float64(total) * 2.0**-21 - 1.5) * 2.0


def block_rng(seed: int, *key: int) -> np.random.Generator:
    """Return the generator of one thing in the world: the same for the same (seed, key), in any order of asking."""
    return np.random.default_rng([seed & 0xFFFFFFFF, *(int(k) & 0xFFFFFFFF for k in key)])
