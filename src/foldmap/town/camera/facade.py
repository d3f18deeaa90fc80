"""The look of what stands along a street: facades, hedges, vehicles and poles, as functions of a place on them.

Detail runs from metres (windows, doors, stains) to a centimetre (bricks, letters, grain); what is finer than the
footprint of a pixel fades out.
"""

import math

from numba import njit

from foldmap.town.ground import LOT_M, box_share
from foldmap.town.hashing import unit_hash, value_noise


@njit(cache=True, fastmath=True)
def _seen(size_m, footprint):
    """How much of a detail of that size a footprint leaves."""
    return min(max(2.0 - 2.0 * footprint / size_m, 0.0), 1.0)


@njit(cache=True, fastmath=True)
def grain(u, v, footprint, seed):
    """Noise of all wavelengths from 2 m down to 8 mm, about zero."""
    value, wave, amplitude = 0.0, 2.0, 0.5
    while wave > 0.007 and wave > 0.8 * footprint:
        value += amplitude * _seen(wave, footprint) * value_noise(u / wave, v / wave + 0.37 * wave, seed)
        seed += 1
        wave *= 0.4
        amplitude *= 0.85
    return value


@njit(cache=True, fastmath=True)
def _rect(value, tone, u, v, left, right, low, high, footprint):
    """Draw a filtered rectangle over a value."""
    cover = box_share(u, left, right, footprint) * box_share(v, low, high, footprint)
    return value + cover * (tone - value)


@njit(cache=True, fastmath=True)
def _frame(value, tone, u, v, left, right, low, high, width, footprint):
    """Draw the outline of a rectangle."""
    outer = box_share(u, left, right, footprint) * box_share(v, low, high, footprint)
    inner = box_share(u, left + width, right - width, footprint) * box_share(v, low + width, high - width, footprint)
    return value + max(outer - inner, 0.0) * (tone - value)


@njit(cache=True, fastmath=True)
def letters(u, v, size_m, seed, footprint):
    """Ink, 0 to 1, of one line of made-up characters; ``v`` from 0 to ``size_m``."""
    pitch = 0.72 * size_m
    i = math.floor(u / pitch)
    if unit_hash(i, 1, seed) < 0.12 or footprint > 0.7 * size_m:
        return 0.0
    a, b, stroke = u - i * pitch, v, 0.13 * size_m
    ink = 0.0
    for k in range(4):
        kind = unit_hash(i, 2 + k, seed)
        if kind < 0.45:  # upright bar
            at = stroke if unit_hash(i, 7 + k, seed) < 0.6 else 0.45 * size_m
            low = 0.1 * size_m if unit_hash(i, 12 + k, seed) < 0.7 else 0.5 * size_m
            bar = box_share(a, at, at + stroke, footprint) * box_share(b, low, 0.9 * size_m, footprint)
        elif kind < 0.85:
            at = (0.1 + 0.335 * math.floor(3 * unit_hash(i, 7 + k, seed))) * size_m
            bar = box_share(a, stroke, 0.58 * size_m, footprint) * box_share(b, at, at + stroke, footprint)
        else:
            slope = 1.5 if unit_hash(i, 7 + k, seed) < 0.5 else -1.5
            centre = 0.34 * size_m + (b - 0.5 * size_m) / slope
            bar = box_share(a - centre, -0.6 * stroke, 0.6 * stroke, footprint) * box_share(
                b, 0.1 * size_m, 0.9 * size_m, footprint
            )
        ink = max(ink, bar)
    return ink


@njit(cache=True, fastmath=True)
def _masonry(u, v, base, footprint, seed):
    """Bare wall: brick, blocks, boards or plaster."""
    style = unit_hash(1, 0, seed)
    value = base
    wide, tall, joint = 0.24, 0.078, 0.011
    if style > 0.45:
        wide, tall, joint = (0.5 + 0.5 * style, 0.32, 0.014) if style < 0.65 else (2.6, 0.16, 0.012)
    if style < 0.8 and footprint < 1.5 * tall:
        row = math.floor(v / tall)
        shift = 0.5 * (row % 2) if wide < 2 else unit_hash(row, 5, seed)
        column = math.floor(u / wide + shift)
        a, b = u - (column - shift) * wide, v - row * tall
        kept = _seen(1.3 * tall, footprint)
        value *= 1.0 + kept * 0.6 * (unit_hash(column, row, seed + 3) - 0.5)
        stone = box_share(a, joint, wide, footprint) * box_share(b, joint, tall, footprint)
        mortar = base * (0.55 + 0.9 * unit_hash(2, 0, seed))
        value += (1.0 - stone) * kept * (mortar - value)
    rough = 0.2 + 0.35 * unit_hash(3, 0, seed)
    value *= 1.0 + rough * grain(u, v, footprint, seed + 11)
    value *= 1.0 + 0.16 * value_noise(u / 0.17, v / 2.7, seed + 31) * _seen(0.17, footprint)  # run-off
    stain = value_noise(u / 0.9, v / 1.3, seed + 37) + 0.5 * value_noise(u / 0.21, v / 0.3, seed + 38)
    if stain > 0.62:  # where the plaster came off
        value += min(6.0 * (stain - 0.62), 1.0) * (base * (0.4 + unit_hash(4, 0, seed)) - value)
    return value


@njit(cache=True, fastmath=True)
def _window(value, a, b, wide, tall, trim, seed, number, level, footprint):
    """One window whose opening is [0, wide] x [0, tall]."""
    own = int(unit_hash(number, level, seed + 50) * 1e6)
    if unit_hash(5, 0, seed) < 0.6:
        value = _rect(value, trim, a, b, -0.14, wide + 0.14, -0.16, tall + 0.2, footprint)
    value = _rect(value, 0.55 * trim, a, b, -0.18, wide + 0.18, -0.12, -0.04, footprint)
    value = _rect(value, 0.12 * trim, a, b, -0.2, wide + 0.2, -0.2, -0.12, footprint)
    if not (-footprint < a < wide + footprint and -footprint < b < tall + footprint):
        return value
    glass = 0.04 + 0.1 * unit_hash(6, own, seed) + 0.07 * value_noise(a / 0.5, b / 0.4, own)
    glass += 0.06 * b / tall
    hung = unit_hash(7, own, seed)
    if hung < 0.35:  # curtains from both sides
        drawn = 0.15 + 0.3 * unit_hash(8, own, seed)
        if abs(a / wide - 0.5) > 0.5 - drawn:
            glass = (
                0.3 + 0.3 * unit_hash(9, own, seed) + 0.07 * math.sin(a * (40 + 30 * drawn)) * _seen(0.12, footprint)
            )
    elif hung < 0.6:  # a blind part of the way down
        if b > tall * (0.2 + 0.7 * unit_hash(8, own, seed)):
            glass = 0.45 + 0.2 * unit_hash(9, own, seed) + 0.08 * math.sin(b * 110.0) * _seen(0.05, footprint)
    elif hung < 0.8:  # things on the sill
        thing = value_noise(a / 0.16, b / 0.35, own + 3) + 0.5 * value_noise(a / 0.05, b / 0.07, own + 4)
        if b < 0.4 * tall and thing > 0.15:
            glass = 0.15 + 0.4 * unit_hash(math.floor(a / 0.16), own, seed)
    value = _rect(value, glass, a, b, 0.0, wide, 0.0, tall, footprint)
    value = _rect(value, 0.3 * glass, a, b, 0.0, wide, tall - 0.1, tall, footprint)  # shade of the lintel
    bars = 1 + int(3 * unit_hash(10, 0, seed))
    wood = 0.15 + 0.7 * unit_hash(11, 0, seed)
    value = _frame(value, wood, a, b, 0.0, wide, 0.0, tall, 0.06, footprint)
    for k in range(1, bars):
        value = _rect(value, wood, a, b, wide * k / bars - 0.03, wide * k / bars + 0.03, 0.0, tall, footprint)
    if unit_hash(12, 0, seed) < 0.6:
        value = _rect(value, wood, a, b, 0.0, wide, 0.66 * tall, 0.66 * tall + 0.05, footprint)
    return value


@njit(cache=True, fastmath=True)
def _poster(value, a, b, seed, footprint):
    """A printed sheet about the size of a door's upper half: picture, headline and small print."""
    wide, tall = 0.45 + 0.5 * unit_hash(1, 3, seed), 0.6 + 0.6 * unit_hash(2, 3, seed)
    a, b = a - 0.35 * unit_hash(3, 3, seed), b - 0.9 - 0.5 * unit_hash(4, 3, seed)
    if not (0 < a < wide and 0 < b < tall):
        return value
    paper = 0.25 + 0.6 * unit_hash(5, 3, seed)
    ink = 0.05 + 0.9 * unit_hash(6, 3, seed)
    sheet = paper
    if b > 0.72 * tall:
        sheet += letters(a - 0.04, b - 0.74 * tall, 0.2 * tall, seed + 1, footprint) * (ink - paper)
    elif b > 0.3 * tall:  # a picture
        x, y = (a - (0.3 + 0.4 * unit_hash(7, 3, seed)) * wide), (b - 0.5 * tall)
        blot = math.sqrt(x * x + y * y) - 0.17 * tall * (0.6 + 0.5 * value_noise(4 * math.atan2(y, x), 0.0, seed))
        sheet += box_share(blot, -9.0, 0.0, footprint) * (ink - paper)
        sheet += 0.2 * value_noise(a / 0.06, b / 0.06, seed + 9) + 0.15 * value_noise(a / 0.02, b / 0.02, seed + 10)
    else:
        line = math.floor(b / 0.05)
        if line % 2 == 0:
            sheet += letters(a - 0.04, b - line * 0.05, 0.05, seed + 20 + int(line), footprint) * (ink - paper)
    return _rect(value, min(max(sheet, 0.03), 0.95), a, b, 0.0, wide, 0.0, tall, footprint)


@njit(cache=True, fastmath=True)
def _street_level(value, u, v, front, trim, shop_m, seed, footprint):
    """Shop windows, doors, lettering, posters and scrawls of a ground floor."""
    bay = 2.2 + 1.2 * unit_hash(20, 0, seed)
    i = math.floor(u / bay)
    a = u - i * bay
    use = unit_hash(i, 21, seed) if front else 0.7
    if use < 0.2:  # a door
        value = _frame(value, trim, a, v, 0.5, 1.7, 0.0, 2.35, 0.12, footprint)
        value = _rect(value, 0.1 + 0.5 * unit_hash(i, 22, seed), a, v, 0.62, 1.58, 0.0, 2.25, footprint)
        for k in range(3):
            value = _frame(value, 0.08, a, v, 0.72, 1.48, 0.15 + 0.7 * k, 0.75 + 0.7 * k, 0.03, footprint)
        value = _rect(value, 0.8, a, v, 0.68, 0.74, 1.0, 1.12, footprint)
        value = _rect(value, 0.75, a, v, 0.2, 0.38, 1.45, 1.7, footprint)
    elif use < 0.6:
        value = _window(value, a - 0.25, v - 0.55, bay - 0.5, 1.75, trim, seed, i, 99, footprint)
    elif unit_hash(i, 23, seed) < 0.75:
        value = _poster(value, a, v, int(unit_hash(i, 24, seed) * 1e6), footprint)
        value = _poster(value, a - 1.1, v, int(unit_hash(i, 25, seed) * 1e6), footprint)
    if front and unit_hash(26, 0, seed) < 0.7 and 2.45 < v < shop_m:  # a sign over the shop
        back, ink = 0.06 + 0.8 * unit_hash(27, 0, seed), 0.06 + 0.85 * unit_hash(28, 0, seed)
        left, right = 1.0 + 2 * unit_hash(29, 0, seed), LOT_M - 1.0 - 3 * unit_hash(30, 0, seed)
        high = min(3.1, shop_m)
        value = _rect(value, back, u, v, left, right, 2.5, high, footprint)
        if left + 0.2 < u < right - 0.2:
            value += letters(u, v - 2.55, high - 2.6, seed + 60, footprint) * (ink - value)
    if unit_hash(31, 0, seed) < 0.5 and v < 2.2:  # scrawls
        line = abs(value_noise(u / 0.6 + 0.5 * value_noise(u / 0.2, v / 0.2, seed + 70), v / 0.5, seed + 71))
        where = value_noise(u / 2.5, v / 2.5, seed + 72)
        if where > 0.25:
            width = 0.035 + 0.4 * footprint
            value += max(0.0, 1.0 - line / width) * _seen(0.08, footprint) * (0.9 * unit_hash(32, 0, seed) - value)
    return value


@njit(cache=True, fastmath=True)
def facade(u, v, top_m, front, seed, footprint):
    """Albedo of a building's wall at ``u`` metres along and ``v`` above the ground."""
    base = 0.22 + 0.5 * unit_hash(0, 0, seed)
    trim = min(max(base + 0.7 * (unit_hash(13, 0, seed) - 0.4), 0.1), 0.9)
    value = _masonry(u, v, base, footprint, seed)
    shop = 3.2 + 0.5 * unit_hash(14, 0, seed)
    if v < shop:
        value = _rect(value, 0.6 * base, u, v, -1e3, 1e3, -1.0, 0.35 + 0.3 * unit_hash(15, 0, seed), footprint)
        if top_m > shop:
            value = _street_level(value, u, v, front, trim, shop, seed, footprint)
    else:
        storey = 2.8 + 0.6 * unit_hash(16, 0, seed)
        level = math.floor((v - shop) / storey)
        if unit_hash(17, 0, seed) < 0.5:
            value = _rect(value, trim, u, v, -1e3, 1e3, shop + level * storey, shop + level * storey + 0.12, footprint)
        bay = 1.7 + 1.5 * unit_hash(18, 0, seed)
        wide, tall = bay * (0.4 + 0.3 * unit_hash(19, 0, seed)), 1.2 + 0.5 * unit_hash(19, 1, seed)
        i = math.floor(u / bay)
        if unit_hash(i, level, seed + 40) < (0.93 if front else 0.3) and shop + (level + 1) * storey < top_m + 0.3:
            a, b = u - i * bay - 0.5 * (bay - wide), v - shop - level * storey - 0.85
            value = _window(value, a, b, wide, tall, trim, seed, i, level, footprint)
    value = _rect(value, trim, u, v, -1e3, 1e3, top_m - 0.35, top_m - 0.1, footprint)
    value = _rect(value, 0.4 * trim, u, v, -1e3, 1e3, top_m - 0.42, top_m - 0.35, footprint)
    if front:
        value = _rect(value, 0.2 + 0.4 * unit_hash(33, 0, seed), u, v, 0.12, 0.22, 0.0, 1e3, footprint)  # downpipe
    return min(max(value, 0.02), 0.95)


@njit("float64(float64, float64, int64, float64)", cache=True, fastmath=True)
def leafage(u, v, seed, footprint):
    """Albedo of hedges and of what grows behind them."""
    value = 0.2 + 0.14 * value_noise(u / 0.6, v / 0.5, seed)
    value += 0.16 * _seen(0.1, footprint) * value_noise(u / 0.1, v / 0.1, seed + 1)
    value += 0.2 * _seen(0.035, footprint) * value_noise(u / 0.035, v / 0.035, seed + 2)
    return max(value, 0.03)


@njit(cache=True, fastmath=True)
def vehicle(a, z, half_m, height_m, side, seed, footprint):
    """Albedo of a vehicle's upright face at ``a`` from its middle and height ``z``."""
    paint = 0.04 + 0.75 * unit_hash(1, 1, seed) ** 1.5
    value = paint * (1.0 + 0.25 * z / height_m + 0.06 * value_noise(a / 0.8, z / 0.3, seed))
    sill = 0.55 * height_m
    value = _rect(value, 0.07 + 0.1 * value_noise(a / 0.6, z / 0.3, seed + 1) ** 2, a, z, -half_m + 0.25, half_m - 0.25,
                  sill, height_m - 0.1, footprint)  # fmt: skip
    if side:
        for k in range(3):
            at = half_m * (-0.35 + 0.4 * k + 0.1 * unit_hash(k, 2, seed))
            value = _rect(value, 0.6 * paint, a, z, at, at + 0.02, 0.25, sill, footprint)
            value = _rect(value, paint, a, z, at - 0.05, at + 0.05, sill, height_m, footprint)
            value = _rect(value, 0.7, a, z, at + 0.08, at + 0.25, sill - 0.2, sill - 0.16, footprint)
        for sign in (-1.0, 1.0):
            away = math.sqrt((a - sign * 0.62 * half_m) ** 2 + (z - 0.32) ** 2)
            value += box_share(away, -0.35, 0.35, footprint) * (0.03 - value)
            value += box_share(away, -0.2, 0.2, footprint) * (0.45 - value)
            turn = math.cos(5.0 * math.atan2(z - 0.32, a - sign * 0.62 * half_m))
            if turn > 0.3:
                value += box_share(away, 0.06, 0.17, footprint) * (0.08 - value)
        return value
    value = _rect(value, 0.85, a, z, -half_m + 0.08, -half_m + 0.38, 0.55, 0.72, footprint)
    value = _rect(value, 0.85, a, z, half_m - 0.38, half_m - 0.08, 0.55, 0.72, footprint)
    value = _rect(value, 0.8, a, z, -0.26, 0.26, 0.4, 0.52, footprint)
    if abs(a) < 0.24 and 0.41 < z < 0.51:
        value += letters(a + 0.26, z - 0.41, 0.1, seed + 5, footprint) * (0.08 - value)
    return _rect(value, 0.05, a, z, -half_m, half_m, 0.0, 0.2, footprint)


@njit(cache=True, fastmath=True)
def pole(turn_rad, z, radius_m, seed, footprint):
    """Albedo of a lamp post or a trunk."""
    around = turn_rad * radius_m
    if radius_m > 0.15:
        value = 0.2 + 0.14 * value_noise(around / 0.05, z / 0.3, seed) * _seen(0.05, footprint)
        return max(value + 0.05 * grain(around, z, footprint, seed + 1), 0.03)
    value = 0.25 + 0.3 * unit_hash(1, 0, seed) + 0.08 * grain(around, z, footprint, seed + 2)
    sheet = 0.9 + 0.9 * unit_hash(2, 0, seed)
    if sheet < z < sheet + 0.3:
        value = 0.75 - 0.6 * letters(around + 0.3, (z - sheet) % 0.1, 0.1, seed + int((z - sheet) / 0.1), footprint)
    return max(value, 0.03)
