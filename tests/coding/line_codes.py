"""Codes with the statistics of folded maps: smoothed line drawings, quantized per 8 x 8 px cell."""

import numpy as np
from scipy.ndimage import gaussian_filter


def line_codes(seed: int, *, groups: int = 4, symbols: int = 15, side: int = 64, curves: int = 5):
    """uint8 (groups, side, side): per cell the edge's orientation and offset, seen at several thresholds; mostly 0."""
    rng = np.random.default_rng(seed)
    pixels = side * 8
    image = np.zeros((pixels, pixels), np.float32)
    for _ in range(curves):
        start, direction = rng.uniform(0, pixels, 2), rng.uniform(0, 2 * np.pi)
        bend, width = rng.normal(0, 0.6 / pixels), rng.uniform(1.5, 7)
        s = np.arange(0, 2 * pixels, 0.5)
        heading = direction + bend * s
        path = start + np.cumsum(np.stack([np.sin(heading), np.cos(heading)], 1) * 0.5, 0)
        dashed = rng.random() < 0.4
        path = path[(s % 120 < 60)] if dashed else path
        for k in np.arange(-width, width, 0.7):
            normal = np.stack([np.cos(heading), -np.sin(heading)], 1)[: len(s)]
            normal = normal[(s % 120 < 60)] if dashed else normal
            points = np.round(path + k * normal).astype(int)
            points = points[((points >= 0) & (points < pixels)).all(1)]
            image[points[:, 0], points[:, 1]] = 1.0
    image = gaussian_filter(image, 2.0) + gaussian_filter(rng.normal(0, 1, image.shape), 6.0).astype(np.float32) * 0.4
    gy, gx = np.gradient(image)
    cells = image.reshape(side, 8, side, 8)
    weight = np.hypot(gy, gx)
    mean = {k: v.reshape(side, 8, side, 8).mean((1, 3)) for k, v in {"gx": gx, "gy": gy, "w": weight}.items()}
    angle = np.arctan2(mean["gy"], mean["gx"])
    level = cells.mean((1, 3))
    codes = np.zeros((groups, side, side), np.uint8)
    for g in range(groups):
        phase = angle + g * np.pi / groups + level * (g - 1.5)
        bin_ = np.floor((phase % (2 * np.pi)) / (2 * np.pi) * symbols).astype(int) % symbols
        on = np.hypot(mean["gx"], mean["gy"]) > 0.012 * (1 + g / 3)
        codes[g][on] = 1 + bin_[on]
    return codes


def tiles(count: int, seed: int = 0, **settings):
    return [line_codes(seed * 1000 + k, **settings) for k in range(count)]
