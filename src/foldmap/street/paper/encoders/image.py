"""The image encoder: one trunk for every camera of a ring, each with its calibration, pooled over the cameras.

A calibration is read as rays: where nine pixels of a camera are, and which way they look. A pinhole, a fisheye and an
orthographic view from above differ in nothing else. For a camera all nine rays start at its centre; for an aerial crop
they start on the ground and look straight down. Resizing an image, whatever it does to the aspect, does not change its
rays; taking the left for the right changes signs and order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import PIL.Image
import torch
from torch import Tensor, nn
from torch.nn import functional

from foldmap.errors import MapInputError
from foldmap.geometry import Camera
from foldmap.street.graph.window import Window
from foldmap.street.images.observation import AerialCrop, Observation, RingFrame, check_rgb
from foldmap.street.paper.encoders.lite import Lite0
from foldmap.street.paper.encoders.shape import ImageShape
from foldmap.types import ByteArray, DoubleArray, FloatArray

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, which the trunk's weights expect

SIDE = 3
"""Pixels a side: at 1/6, 1/2 and 5/6 of the image."""
RAYS = SIDE * SIDE * 6
"""Values a camera."""
_SHARES = (np.arange(SIDE) + 0.5) / SIDE


@dataclass(frozen=True)
class Views:
    """Images of the cameras that are there in one observation, uint8 (C, H, W, 3), and rays, float32 (C, `RAYS`)."""

    images_CHW3: ByteArray
    rays_CR: FloatArray


@dataclass(frozen=True)
class PackedViews:
    """A batch of observations with any number of cameras each: images of all, uint8, and their calibrations, float32.

    `frame_K` int64 is the observation of each camera, `count` how many observations there are.
    """

    images_K3HW: Tensor
    rays_KR: Tensor
    frame_K: Tensor
    count: int


def prepare(observation: Observation, shape: ImageShape, window: Window) -> Views:
    """Resize the images by area and read the calibration.

    MapInputError: an aerial crop of another window than the model's, or a calibration that images nothing.
    """
    if isinstance(observation, AerialCrop):
        if observation.window != window:
            raise MapInputError(
                f"an aerial crop of {observation.window} for a model of {window}", "cut the crop to the model's window"
            )
        return Views(_resized(observation.image, shape)[None], crop_rays(window)[None])
    if not isinstance(observation, RingFrame):
        raise MapInputError(f"{type(observation).__name__} is no observation", "give a RingFrame or an AerialCrop")
    ring, images, rays = observation.ring, [], []
    for index, image in enumerate(observation.images):
        if image is None:
            continue
        images.append(_resized(image, shape))
        pose = ring.vehicle_SE3_camera[index]
        rays.append(camera_rays(ring.cameras[index], pose, ring.ground_z_m, ring.names[index]))
    return Views(np.stack(images), np.stack(rays))


def camera_rays(camera: Camera, vehicle_SE3_camera: DoubleArray, ground_z_m: float, name: str = "") -> FloatArray:
    """Rays of one camera, float32 (`RAYS`,): row by row, origin (x, y, z above ground, metres) and unit direction."""
    across, down = np.meshgrid(_SHARES * camera.width_px, _SHARES * camera.height_px)
    plane = camera.unproject(np.stack([across.ravel(), down.ravel()], 1))
    if not np.isfinite(plane).all():
        raise MapInputError(f"the calibration of camera {name!r} sees nothing in parts of its image", "check it")
    rays = np.concatenate([plane, np.ones((len(plane), 1))], 1) @ vehicle_SE3_camera[:3, :3].T
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    origin = np.broadcast_to(vehicle_SE3_camera[:3, 3] - [0, 0, ground_z_m], rays.shape)
    return np.concatenate([origin, rays], 1).astype(np.float32).ravel()


def crop_rays(window: Window) -> FloatArray:
    """Rays of an aerial crop: they start on the ground, and look down."""
    ahead = window.ahead_m - _SHARES * window.size_m[0]
    left = window.left_m - _SHARES * window.size_m[1]
    y, x = np.meshgrid(left, ahead)
    still = np.zeros(x.size)
    return np.stack([x.ravel(), y.ravel(), still, still, still, still - 1], 1).astype(np.float32).ravel()


def mirrored_rays(rays_R: FloatArray) -> FloatArray:
    """Rays of the camera that a mirrored image belongs to; any leading axes."""
    grid = rays_R.reshape(*rays_R.shape[:-1], SIDE, SIDE, 6)[..., ::-1, :].copy()
    grid[..., [1, 4]] *= -1
    return grid.reshape(rays_R.shape)


def _resized(image: ByteArray, shape: ImageShape) -> ByteArray:
    check_rgb("an image", image)
    size = shape.width_px, shape.height_px
    grown = size[0] > image.shape[1] or size[1] > image.shape[0]
    way = PIL.Image.Resampling.BILINEAR if grown else PIL.Image.Resampling.BOX
    return np.asarray(PIL.Image.fromarray(image).resize(size, way))


def pack_views(views: Sequence[Views]) -> PackedViews:
    """Join observations to a batch."""
    images = np.concatenate([view.images_CHW3 for view in views])
    frame = np.repeat(np.arange(len(views)), [len(view.rays_CR) for view in views])
    rays = np.concatenate([view.rays_CR for view in views])
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2)  # channels last, as the convolutions like it
    return PackedViews(pixels, torch.from_numpy(rays), torch.from_numpy(frame), len(views))


class SmallTrunk(nn.Module):
    """A plain convolutional trunk to train from scratch: a sixteenth of the resolution, dense kernels."""

    channels = 160

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 24, 40, 80, self.channels)
        self.down = nn.ModuleList([_conv(a, b, 2) for a, b in pairwise(widths)])
        self.stay = nn.ModuleList([_conv(width, width, 1) for width in widths[2:]])

    def forward(self, x: Tensor) -> Tensor:
        """Features (N, 160, ceil(H / 16), ceil(W / 16)) of normalized images."""
        x = self.down[0](x)
        for down, stay in zip(self.down[1:], self.stay, strict=True):
            x = down(x)
            x = x + stay(x)
        return x


def _conv(channels: int, out: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU(inplace=True))


class ImageEncoder(nn.Module):
    """Trunk, cells, calibration, mean over the cameras.

    The feature map of a camera is averaged over grid x grid cells and flattened, so that where a lane is in the image
    is kept (grid 1, global average pooling, forgets it). It goes through an MLP with the embedded rays of the camera;
    the mean over the cameras that are there goes through another.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, shape: ImageShape, dim: int) -> None:
        super().__init__()
        self.shape = shape
        self.trunk = Lite0() if shape.trunk == "efficientnet-lite0" else SmallTrunk()
        channels, cells = self.trunk.channels, shape.grid**2
        direct = shape.cell_channels == channels
        self.narrow = nn.Identity() if direct else nn.Conv2d(channels, shape.cell_channels, 1)
        self.calibration = nn.Sequential(nn.Linear(RAYS, 64), nn.GELU(), nn.Linear(64, 64))
        self.camera = nn.Sequential(
            nn.Linear(shape.cell_channels * cells + 64, shape.width), nn.GELU(), nn.Linear(shape.width, shape.width)
        )
        self.head = nn.Sequential(nn.LayerNorm(shape.width), nn.Linear(shape.width, shape.width), nn.GELU())
        self.out = nn.Linear(shape.width, dim)
        self.register_buffer("mean", torch.tensor(_MEAN)[:, None, None] * 255, persistent=False)
        self.register_buffer("deviation", torch.tensor(_DEVIATION)[:, None, None] * 255, persistent=False)

    def forward(self, packed: PackedViews) -> Tensor:
        """Embed a batch of observations: (N, dim), not yet of unit length."""
        pixels = (packed.images_K3HW.float() - self.mean) / self.deviation
        cells = functional.adaptive_avg_pool2d(self.narrow(self.trunk(pixels)), self.shape.grid).float()
        rays = packed.rays_KR.view(len(packed.rays_KR), -1, 6) / packed.rays_KR.new_tensor([10.0, 10, 10, 1, 1, 1])
        feature_KD = self.camera(torch.cat([cells.flatten(1), self.calibration(rays.flatten(1))], 1))
        cameras_N = torch.bincount(packed.frame_K, minlength=packed.count)[:, None]
        pooled = feature_KD.new_zeros(packed.count, feature_KD.shape[1]).index_add(0, packed.frame_K, feature_KD)
        embedding: Tensor = self.out(self.head(pooled / cameras_N.clamp_min(1)))
        return embedding
