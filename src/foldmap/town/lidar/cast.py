"""Rays against a terrain of heights and against boxes."""

import math

import numpy as np
from numba import njit

GROUND_LIMIT_M = 0.3
"""A surface lower than this counts as ground."""


@njit(cache=True)
def _box_spans(x, y, dx, dy, boxes, spans):
    """Horizontal (entry, exit, height) of a ray through each box that it crosses; returns how many."""
    count = 0
    for b in range(len(boxes)):
        px, py = x - boxes[b, 0], y - boxes[b, 1]
        cos, sin = boxes[b, 2], boxes[b, 3]
        o = (px * cos + py * sin, -px * sin + py * cos)
        v = (dx * cos + dy * sin, -dx * sin + dy * cos)
        entry, leave = 0.0, 1e9
        for k in range(2):
            half = boxes[b, 4 + k]
            if abs(v[k]) < 1e-12:
                if abs(o[k]) > half:
                    leave = -1.0
                continue
            t0, t1 = (-half - o[k]) / v[k], (half - o[k]) / v[k]
            entry, leave = max(entry, min(t0, t1)), min(leave, max(t0, t1))
        if leave > entry and entry > 0.3 and count < len(spans):
            spans[count, 0], spans[count, 1], spans[count, 2] = entry, leave, boxes[b, 6]
            count += 1
    return count


@njit(cache=True)
def _box_hit(z0, tan, spans, count):
    """Horizontal range at which a beam first meets a box, 1e9 if it meets none."""
    best = 1e9
    for b in range(count):
        entry, leave, height = spans[b, 0], spans[b, 1], spans[b, 2]
        at_entry = z0 + tan * entry
        if at_entry <= height:
            if at_entry >= 0.0:
                best = min(best, entry)
        elif z0 + tan * leave < height:  # comes down onto the roof
            best = min(best, (height - z0) / tan)
    return best


@njit(cache=True)
def cast_rays(pose, tan_all, azimuth, terrain, left, top, resolution, boxes, max_range):
    """Cast every channel at every azimuth.

    ``pose`` is (x, y, heading, sensor height, advance, pitch, roll); ``tan_all`` (C, A) rises with the channel. Steeper
    beams end nearer on a height field, so one walk outwards a column serves all channels. Returns hit points (N, 3),
    horizontal ranges, channels and kinds (0 ground, 1 standing thing, 2 vehicle).
    """
    channels, columns = tan_all.shape
    xyz = np.empty((channels * columns, 3), np.float32)
    ranges = np.empty(channels * columns, np.float32)
    channel_of = np.empty(channels * columns, np.int16)
    kind_of = np.empty(channels * columns, np.uint8)
    spans = np.empty((32, 3))
    tan = np.empty(channels)
    n = 0
    rows, cols = terrain.shape
    z0 = pose[3]
    for a in range(columns):
        world = azimuth[a] + pose[2]
        dx, dy = math.cos(world), math.sin(world)
        along = pose[4] * azimuth[a] / (2 * math.pi)
        x, y = pose[0] + along * math.cos(pose[2]), pose[1] + along * math.sin(pose[2])
        crossed = _box_spans(x, y, dx, dy, boxes, spans)
        lean = -pose[5] * math.cos(azimuth[a]) + pose[6] * math.sin(azimuth[a])
        for c in range(channels):
            tan[c] = tan_all[c, a] + lean
        c = 0
        reach = 0.6
        while c < channels and reach < max_range:
            row = int((top - (y + reach * dy)) / resolution + 0.5)
            col = int((x + reach * dx - left) / resolution + 0.5)
            if row < 0 or row >= rows or col < 0 or col >= cols:
                break
            z = terrain[row, col]
            while c < channels and z0 + tan[c] * reach <= z:
                exact = (z - z0) / tan[c] if tan[c] < 0.0 else reach
                hit = min(max(exact, reach - resolution), reach)
                vehicle = _box_hit(z0, tan[c], spans, crossed)
                kind = 0 if z < GROUND_LIMIT_M else 1
                if vehicle < hit:
                    hit, kind = vehicle, 2
                xyz[n, 0], xyz[n, 1], xyz[n, 2] = x + hit * dx, y + hit * dy, z0 + tan[c] * hit
                ranges[n], channel_of[n], kind_of[n] = hit, c, kind
                n += 1
                c += 1
            reach += resolution
        while crossed > 0 and c < channels:  # beams that pass over the terrain may still meet a vehicle
            vehicle = _box_hit(z0, tan[c], spans, crossed)
            if vehicle < max_range:
                xyz[n, 0], xyz[n, 1], xyz[n, 2] = x + vehicle * dx, y + vehicle * dy, z0 + tan[c] * vehicle
                ranges[n], channel_of[n], kind_of[n] = vehicle, c, 2
                n += 1
            c += 1
    return xyz[:n], ranges[:n], channel_of[:n], kind_of[:n]
