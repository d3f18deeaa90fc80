"""Other light, other cameras: photometric augmentation of 8-bit colour images, seeded."""

# mypy: allow-untyped-decorators
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from foldmap.types import ByteArray

_LUMA = np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True)
class LightChange:
    """How one image differs from its original.

    Exponent on 0 to 1; contrast about the image's mean; brightness added, of 0 to 1; saturation, 0 is grey, 1 as it is;
    factors on red, green and blue; standard deviations of blur, px, and noise, of 0 to 1.
    """

    gamma: float
    contrast: float
    brightness: float
    saturation: float
    tint: tuple[float, float, float]
    blur_px: float
    noise: float
    seed: int

    def __call__(self, image: ByteArray) -> ByteArray:
        """Apply to an image (H, W, 3)."""
        curve = (np.linspace(0, 1, 256) ** self.gamma).astype(np.float32)
        saturation, contrast = self.saturation, self.contrast
        # saturation, tint and contrast are one linear map of the bent values
        mix = (saturation * np.eye(3) + (1 - saturation) * _LUMA) * np.array(self.tint)[:, None]
        level = float((mix @ curve[image[::4, ::4]].reshape(-1, 3).mean(0)).mean())
        linear = (contrast * mix).astype(np.float32)
        offset = np.float32(level * (1 - contrast) + self.brightness)
        side = np.float32(min(0.5 * self.blur_px**2, 0.25))
        image, noise = np.ascontiguousarray(image), np.float32(self.noise)
        out: ByteArray = _develop(image, curve, linear, offset, side, noise, self.seed)
        return out


@njit(cache=True, nogil=True)
def _develop(image, curve, linear, offset, side, noise, seed):  # type: ignore[no-untyped-def]
    """Tone, then a blur by the taps (side, 1 - 2 side, side) both ways, then noise."""
    height, width = image.shape[:2]
    lit = np.empty((height, width, 3), np.float32)
    for r in range(height):
        for c in range(width):
            red, green, blue = curve[image[r, c, 0]], curve[image[r, c, 1]], curve[image[r, c, 2]]
            for k in range(3):
                lit[r, c, k] = linear[k, 0] * red + linear[k, 1] * green + linear[k, 2] * blue + offset
    out = np.empty((height, width, 3), np.uint8)
    row = np.empty((width, 3), np.float32)
    state = np.uint64(2 * seed + 1)
    centre = np.float32(1.0) - 2 * side
    scale = noise * np.float32(6.0**0.5 / 2.0**20)  # the sum of two uniforms of 20 bits has variance 2^40 / 6
    for r in range(height):
        up, down = max(r - 1, 0), min(r + 1, height - 1)
        for c in range(width):
            for k in range(3):
                row[c, k] = centre * lit[r, c, k] + side * (lit[up, c, k] + lit[down, c, k])
        for c in range(width):
            left, right = max(c - 1, 0), min(c + 1, width - 1)
            for k in range(3):
                value = centre * row[c, k] + side * (row[left, k] + row[right, k])
                state = state * np.uint64(6364136223846793005) + np.uint64(1442695040888963407)
                bits = state >> np.uint64(4)
                total = (bits >> np.uint64(40)) + ((bits >> np.uint64(20)) & np.uint64(0xFFFFF))
                value += scale * (np.float32(total) - np.float32(2.0**20))
                out[r, c, k] = np.uint8(min(max(value * np.float32(255.0) + np.float32(0.5), 0.0), 255.0))
    return out


def draw_light(rng: np.random.Generator, strength: float = 1.0) -> LightChange:
    """Draw a change of light; strength 0 leaves an image as it is, 1 is another season and camera."""
    s = strength
    red, green, blue = np.exp(rng.normal(0, 0.06 * s, 3)).tolist()
    return LightChange(
        gamma=float(np.exp(rng.normal(0, 0.2 * s))),
        contrast=float(np.exp(rng.normal(0, 0.18 * s))),
        brightness=float(rng.normal(0, 0.06 * s)),
        saturation=float(np.exp(rng.normal(0, 0.35 * s))),
        tint=(red, green, blue),
        blur_px=float(abs(rng.normal(0, 0.5 * s))),
        noise=float(abs(rng.normal(0, 0.02 * s))),
        seed=int(rng.integers(1 << 30)),
    )
