"""Image, CompressedImage and CameraInfo as 8-bit RGB and our cameras."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from foldmap.errors import BagInputError, MapInputError
from foldmap.formats.street.observations.images import decode_rgb
from foldmap.geometry import Camera
from foldmap.geometry.camera import require_plausible
from foldmap.types import ByteArray, DoubleArray

_CHANNELS = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1, "8UC1": 1, "8UC3": 3}
_BLUE_FIRST = ("bgr8", "bgra8", "8UC3")
_DEPTHS = "16UC1", "32FC1", "mono16"
_HALF_PX = 0.5
"""ROS puts the centre of the first pixel at (0, 0), we at (0.5, 0.5)."""


def image_rgb(message: Any, where: str) -> ByteArray:
    """The image of an Image or a CompressedImage, uint8 (H, W, 3); ``where`` is for the error of one that is none."""
    if hasattr(message, "format"):
        of = str(message.format).partition(";")[0].strip()  # "16UC1; png compressed": a PNG of depths is no photo
        if of in _DEPTHS or "compressedDepth" in str(message.format):
            raise BagInputError(f"{where} has the format {str(message.format)[:40]!r}", _cure(_DEPTHS[0]))
        try:
            return decode_rgb(io.BytesIO(bytes(message.data)), where)
        except MapInputError as error:
            raise BagInputError(error.message, error.cure) from error
    encoding, width, height = str(message.encoding), int(message.width), int(message.height)
    if encoding not in _CHANNELS:
        raise BagInputError(f"{where} has the encoding {encoding[:40]!r}", _cure(encoding))
    channels = _CHANNELS[encoding]
    step = int(message.step) or width * channels
    data = np.frombuffer(message.data, np.uint8)
    if not (width > 0 and height > 0) or step < width * channels or len(data) < step * (height - 1) + width * channels:
        raise BagInputError(f"{where}: {width} x {height} px of {encoding} in {len(data)} bytes", "record it again")
    if len(data) < step * height:
        data = np.concatenate([data, np.zeros(step * height - len(data), np.uint8)])
    pixels = data[: step * height].reshape(height, step)[:, : width * channels].reshape(height, width, channels)
    if channels == 1:
        return np.ascontiguousarray(np.broadcast_to(pixels, (height, width, 3)))
    return np.ascontiguousarray(pixels[:, :, 2::-1] if encoding in _BLUE_FIRST else pixels[:, :, :3])


def _cure(encoding: str) -> str:
    if "bayer" in encoding:
        return "record the colour image that image_proc makes of it"
    if encoding in _DEPTHS:
        return "a depth or 16-bit image is not used: choose another with --topic camera=/image"
    return "record rgb8, bgr8, mono8, JPEG or PNG"


def camera_of(info: Any, rectified: bool, where: str) -> tuple[Camera, DoubleArray]:
    """The camera of a CameraInfo, and camera_R_image (3, 3), the rotation of rectified images.

    Of raw images K and D count, of rectified ones P and R.

    Raises:
        BagInputError: not calibrated, an unknown distortion, a region of interest or binning.
    """
    matrix, projection, rotation, distortion = (_numbers(info, name) for name in "kprd")
    roi = info.roi
    size = int(info.width), int(info.height)
    cut = int(roi.x_offset) or int(roi.y_offset) or (int(roi.width) or size[0]) != size[0]
    if cut or max(int(info.binning_x), int(info.binning_y)) > 1:
        raise BagInputError(f"{where} has a region of interest or binning", "record whole images")
    model, turn = str(info.distortion_model), np.eye(3)
    if rectified and projection.any():
        fx, fy, cx, cy = projection[[0, 5, 2, 6]]
        distortion = np.zeros(0)
        turn = rotation.reshape(3, 3).T if rotation.any() else turn
    else:
        fx, fy, cx, cy = matrix[[0, 4, 2, 5]]
    pinhole = [fx, fy, cx + _HALF_PX, cy + _HALF_PX]
    try:
        name, extra = _lens(model, distortion, where)
        camera = Camera(name, *size, np.array([*pinhole, *extra]))
        require_plausible(camera)
        return camera, turn
    except MapInputError as error:
        raise BagInputError(f"{where}: {error.message}", "calibrate the camera") from error


def _lens(model: str, distortion: DoubleArray, where: str) -> tuple[str, list[float]]:
    d = distortion.tolist()
    if not any(d):
        return ("OPENCV_FISHEYE", [0.0] * 4) if model in ("equidistant", "fisheye") else ("PINHOLE", [])
    if model in ("equidistant", "fisheye") and len(d) == 4:
        return "OPENCV_FISHEYE", d
    if model == "plumb_bob" and len(d) in (4, 5):
        return ("OPENCV", d[:4]) if not any(d[4:]) else ("FULL_OPENCV", [*d, 0.0, 0.0, 0.0])
    if model == "rational_polynomial" and len(d) == 8:
        return "FULL_OPENCV", d
    known = "plumb_bob, rational_polynomial (8), equidistant"
    raise BagInputError(f"{where}: {len(d)} numbers of the distortion {model[:40]!r}", f"known are {known}")


def _numbers(info: Any, name: str) -> DoubleArray:
    """A matrix of the message, which ROS 1 writes in capitals."""
    found = getattr(info, name) if hasattr(info, name) else getattr(info, name.upper())
    return np.asarray(found, np.float64)
