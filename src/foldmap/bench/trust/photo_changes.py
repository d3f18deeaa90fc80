"""What can be wrong with a photo, or with what is said of its camera: each change takes a photo and gives another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from foldmap.bench.trust.answers import Expect
from foldmap.geometry.camera import Camera
from foldmap.types import ByteArray, DoubleArray

_TANGENTIAL = {"OPENCV": 6, "FULL_OPENCV": 6}  # where p1 and p2 stand among the parameters
_BLOCKS = 8


@dataclass(frozen=True)
class Shot:
    """A photo uint8 (H, W) or (H, W, 3), the camera it is said to have, and camera_SE3_world (None: no right one)."""

    image: ByteArray
    camera: Camera
    camera_SE3_world: DoubleArray | None


Change = Callable[[Shot, np.random.Generator], Shot]


@dataclass(frozen=True)
class PhotoKind:
    """One kind of query: its name, what is asked for, how it is made; whether the image itself is another."""

    name: str
    expect: Expect
    change: Change
    new_image: bool = True


def blank_image(kind: int, width_px: int, height_px: int, rng: np.random.Generator) -> ByteArray:
    """A photo of nothing, uint8 (H, W): one grey, a gradient, noise, or smooth noise that has keypoints."""
    if kind % 4 == 0:
        return np.full((height_px, width_px), int(rng.integers(256)), np.uint8)
    if kind % 4 == 1:
        ramp = np.add.outer(np.linspace(0, rng.uniform(1, 128), height_px), np.linspace(0, 127, width_px))
        return np.asarray(np.rint(ramp), np.uint8)
    noise = rng.normal(128, 40, (height_px, width_px))
    if kind % 4 == 3:
        noise = 128 + 40 * gaussian_filter(noise - 128, 3.0) / 4.0
    return np.clip(np.rint(noise), 0, 255).astype(np.uint8)


def as_taken(shot: Shot, rng: np.random.Generator) -> Shot:
    """The photo itself."""
    return shot


def _nothing(*kinds: int) -> Change:
    def change(shot: Shot, rng: np.random.Generator) -> Shot:
        height, width = shot.image.shape[:2]
        return replace(shot, image=blank_image(int(rng.choice(kinds)), width, height, rng), camera_SE3_world=None)

    return change


def shuffled(shot: Shot, rng: np.random.Generator) -> Shot:
    """Eight by eight blocks in another order."""
    height, width = (side // _BLOCKS for side in shot.image.shape[:2])
    image = shot.image.copy()
    corners = [(row * height, column * width) for row in range(_BLOCKS) for column in range(_BLOCKS)]
    for (row, column), k in zip(corners, rng.permutation(len(corners)), strict=True):
        from_row, from_column = corners[int(k)]
        block = shot.image[from_row : from_row + height, from_column : from_column + width]
        image[row : row + height, column : column + width] = block
    return replace(shot, image=image, camera_SE3_world=None)


def mirrored(shot: Shot, rng: np.random.Generator) -> Shot:
    """Left for right."""
    return replace(shot, image=np.ascontiguousarray(shot.image[:, ::-1]), camera_SE3_world=None)


def turned(shot: Shot, rng: np.random.Generator, quarters: int = 1) -> Shot:
    """The photo and its camera turned by quarters, clockwise: the pose turns about the line of sight."""
    for _ in range(quarters):
        pose = shot.camera_SE3_world
        quarter = np.array([[0.0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
        image = np.ascontiguousarray(np.rot90(shot.image, -1))
        shot = Shot(image, _turned_camera(shot.camera), None if pose is None else quarter @ pose)
    return shot


def _turned_camera(camera: Camera) -> Camera:
    """The camera of a photo that was turned by a quarter clockwise: x becomes y, y becomes minus x."""
    params, (cx, cy) = camera.params.copy(), camera.centre_px
    at = len(params) - len(camera.distortion) - 2
    if at == 2:
        params[:2] = params[1::-1]
    params[at : at + 2] = camera.height_px - cy, cx
    if camera.model in _TANGENTIAL:
        first = _TANGENTIAL[camera.model]
        params[first : first + 2] = params[first + 1], -params[first]
    return Camera(camera.model, camera.height_px, camera.width_px, params)


def _upside_down(shot: Shot, rng: np.random.Generator) -> Shot:
    return turned(shot, rng, 2)


def cropped(shot: Shot, rng: np.random.Generator) -> Shot:
    """Seven tenths of the photo, anywhere in it, at its old size and with its old camera."""
    height, width = shot.image.shape[:2]
    tall, wide = round(0.7 * height), round(0.7 * width)
    row, column = int(rng.integers(height - tall + 1)), int(rng.integers(width - wide + 1))
    part = Image.fromarray(shot.image[row : row + tall, column : column + wide])
    return replace(shot, image=np.asarray(part.resize((width, height), Image.Resampling.BICUBIC)))


def _focal(factor: float) -> Change:
    def change(shot: Shot, rng: np.random.Generator) -> Shot:
        params = shot.camera.params.copy()
        params[: len(params) - len(shot.camera.distortion) - 2] *= factor
        return replace(shot, camera=replace(shot.camera, params=params))

    return change


def moved_lens(shot: Shot, rng: np.random.Generator) -> Shot:
    """A principal point that is off by a tenth of the width, in any direction."""
    params, way = shot.camera.params.copy(), rng.uniform(0, 2 * np.pi)
    at = len(params) - len(shot.camera.distortion) - 2
    params[at : at + 2] += 0.1 * shot.camera.width_px * np.array([np.cos(way), np.sin(way)])
    return replace(shot, camera=replace(shot.camera, params=params))


def _seen(change: Callable[[DoubleArray, np.random.Generator], DoubleArray]) -> Change:
    """A change of the pixels alone; they come and go as float64."""

    def changed(shot: Shot, rng: np.random.Generator) -> Shot:
        pixels = change(shot.image.astype(np.float64), rng)
        return replace(shot, image=np.clip(np.rint(pixels), 0, 255).astype(np.uint8))

    return changed


def _blurred(pixels: DoubleArray, rng: np.random.Generator) -> DoubleArray:
    return np.asarray(gaussian_filter(pixels, (2.0, 2.0, 0.0)[: pixels.ndim]), np.float64)


def _half_bright(pixels: DoubleArray, rng: np.random.Generator) -> DoubleArray:
    return 0.5 * pixels


def _very_dark(pixels: DoubleArray, rng: np.random.Generator) -> DoubleArray:
    return np.asarray(0.04 * pixels + rng.normal(0, 1.0, pixels.shape))


def half_covered(shot: Shot, rng: np.random.Generator) -> Shot:
    """A hand before one half of the photo."""
    image, side = shot.image.copy(), int(rng.integers(4))
    rows, columns = image.shape[0] // 2, image.shape[1] // 2
    half = (np.s_[:rows], np.s_[rows:], np.s_[:, :columns], np.s_[:, columns:])[side]
    image[half] = np.rint(shot.image.mean(axis=(0, 1))).astype(np.uint8)
    return replace(shot, image=image)


AS_TAKEN = "as taken"
_FOCALS = (0.75, 0.9, 0.95, 0.98, 1.02, 1.05, 1.1, 1.25)
KINDS: tuple[PhotoKind, ...] = (
    PhotoKind(AS_TAKEN, Expect.RIGHT, as_taken, new_image=False),
    PhotoKind("turned by 90 degrees", Expect.RIGHT, turned),
    PhotoKind("blurred, sigma 2", Expect.RIGHT, _seen(_blurred)),
    PhotoKind("half as bright", Expect.RIGHT, _seen(_half_bright)),
    PhotoKind("upside down", Expect.BOUND, _upside_down),
    PhotoKind("very dark", Expect.BOUND, _seen(_very_dark)),
    PhotoKind("half covered", Expect.BOUND, half_covered),
    PhotoKind("cropped, old camera", Expect.BOUND, cropped),
    *(PhotoKind(f"focal {100 * (f - 1):+.0f} %", Expect.BOUND, _focal(f), new_image=False) for f in _FOCALS),
    PhotoKind("moved lens", Expect.BOUND, moved_lens, new_image=False),
    PhotoKind("mirrored", Expect.REFUSED, mirrored),
    PhotoKind("shuffled blocks", Expect.REFUSED, shuffled),
    PhotoKind("blank", Expect.REFUSED, _nothing(0, 1)),
    PhotoKind("noise", Expect.REFUSED, _nothing(2, 3)),
)
"""Of photos of the right scene."""
ELSEWHERE, TOWN = "other scene", "generated town"
