"""Cameras and image poses of a map, to a stated error: predicted along the sequence, entropy-coded.

A rotation is kept as its stereographic vector ``v / (1 + w)`` of the unit quaternion (w, v) ("modified Rodrigues
parameters"; Terzakis et al. 2018), which turns back into a matrix with additions, multiplications and one division a
term, so that every machine decodes the same bits. Of q and -q the one nearer to the image before is taken: neighbours
then differ little. Centres and vectors are rounded to a step and predicted from the one or two images before.
"""

import math
import struct
import zlib
from dataclasses import dataclass, replace

import numpy as np

from foldmap.coding.integers import decode_integers, encode_integers
from foldmap.errors import LimitError, MapFormatError, MapInputError
from foldmap.geometry.camera import CAMERA_MODELS, Camera
from foldmap.geometry.quaternion import centres_of
from foldmap.types import AnyArray, DoubleArray, IntArray

MAX_IMAGES = 1 << 20
MAX_CAMERAS = 1 << 16
MAX_NAMES_BYTES = 64 << 20

_HEADER = struct.Struct("<IIBffII")
_NAMED = 4  # of the flags; the rest is the order of prediction
_CAMERA = struct.Struct("<BII")
_MODELS = {number: (name, parameters) for name, (number, parameters) in CAMERA_MODELS.items()}
_MAX_COORDINATE = 1 << 50
_LARGEST_VECTOR = 4.0


@dataclass(frozen=True)
class MapImages:
    """What a folded map keeps of its images: intrinsics in single precision, poses float64 (I, 4, 4), names.

    ``image_camera``, int64 (I,), says which camera took each; names are None where they were left out.
    """

    cameras: tuple[Camera, ...]
    image_camera: IntArray
    camera_SE3_world: DoubleArray
    image_names: tuple[str, ...] | None = None


def encode_images(images: MapImages, centre_error_world: float, rotation_error_rad: float) -> bytes:
    """Code a scene's cameras and poses so that no centre moves and no camera turns more than stated.

    Images are in the order they were taken, so that neighbours resemble each other. Raises `MapInputError`: a matrix is
    no rotation, an error is not positive or too fine, or a name holds a NUL character; `LimitError`: more images or
    cameras than a reader accepts.
    """
    _check(images)
    if not (centre_error_world > 0 and 1e-7 <= rotation_error_rad < math.pi):
        raise MapInputError(f"errors {centre_error_world} and {rotation_error_rad} rad cannot be met", "allow more")
    centre_step = float(np.float32(centre_error_world * 2 / math.sqrt(3) * 0.999))
    turn_step = float(np.float32(rotation_error_rad / (2 * math.sqrt(3)) * 0.999))
    centre = centres_of(images.camera_SE3_world)
    if not centre_step > 1e-37 or (np.abs(centre) > _MAX_COORDINATE * centre_step).any():
        raise MapInputError(f"an error of {centre_error_world} is too fine for the centres", "move the origin")
    vectors = _vectors(images.camera_SE3_world[:, :3, :3])
    state = np.concatenate([np.rint(centre / centre_step), np.rint(vectors / turn_step)], axis=1).astype(np.int64)
    names = images.image_names
    return _pack(_Coded(images.cameras, images.image_camera, state, centre_step, turn_step, names))


def decode_images(data: bytes) -> MapImages:
    """What `encode_images` coded.

    Raises `MapFormatError`: bytes that it does not write; `LimitError`: more images, cameras or bytes of names than a
    reader accepts.
    """
    coded = _read(data)
    state, count = coded.state, len(coded.state)
    pose = np.zeros((count, 4, 4))
    pose[:, 3, 3] = 1
    pose[:, :3, :3] = _rotations(np.asarray(state[:, 3:] * coded.turn_step, np.float64))
    centre = state[:, :3] * coded.centre_step
    for k in range(3):  # written out, so that the order of the sums is the same everywhere
        row = pose[:, k, :3]
        pose[:, k, 3] = -((row[:, 0] * centre[:, 0] + row[:, 1] * centre[:, 1]) + row[:, 2] * centre[:, 2])
    return MapImages(coded.cameras, coded.image_camera, pose, coded.names)


def take_images(data: bytes, kept: IntArray) -> bytes:
    """Some of the images that `encode_images` coded, ascending int64 (K,): to the bit what they were, all cameras."""
    coded = _read(data)
    names = None if coded.names is None else tuple(coded.names[k] for k in kept.tolist())
    return _pack(replace(coded, state=coded.state[kept], image_camera=coded.image_camera[kept], names=names))


@dataclass(frozen=True)
class _Coded:
    """Images as they are stored: ``state`` int64 (I, 6) is centre and stereographic vector in steps."""

    cameras: tuple[Camera, ...]
    image_camera: IntArray
    state: IntArray
    centre_step: float
    turn_step: float
    names: tuple[str, ...] | None


def _read(data: bytes) -> _Coded:
    if len(data) < _HEADER.size:
        raise MapFormatError(f"coded images of {len(data)} bytes are truncated", "fold the map again")
    count, camera_count, flags, centre_step, turn_step, body_size, which_size = _HEADER.unpack_from(data)
    if count > MAX_IMAGES or camera_count > MAX_CAMERAS:
        raise LimitError(f"coded images claim {count} images and {camera_count} cameras", "the file is damaged")
    if flags & ~_NAMED > 2 or not all(math.isfinite(step) and step > 0 for step in (centre_step, turn_step)):
        raise MapFormatError("coded images have an impossible header", "the file is damaged")
    cameras, at = _read_cameras(data, camera_count, _HEADER.size)
    if at + body_size + which_size > len(data):
        raise MapFormatError("coded images are truncated", "fold the map again")
    state = _integrate(decode_integers(data[at : at + body_size], (count, 6)), flags & 3)
    at += body_size
    image_camera = np.cumsum(decode_integers(data[at : at + which_size], (count, 1))[:, 0])
    at += which_size
    if count and not (image_camera.min() >= 0 and image_camera.max() < camera_count):
        raise MapFormatError("an image has a camera that is not there", "the file is damaged")
    widest = max(state.max(initial=0), -int(state.min(initial=0)))
    if widest > _MAX_COORDINATE or (np.abs(state[:, 3:] * turn_step) > _LARGEST_VECTOR).any():
        raise MapFormatError("coded poses are out of range", "the file is damaged")
    names = _read_names(data[at:], count) if flags & _NAMED else None
    if names is None and at != len(data):
        raise MapFormatError("coded images are followed by other bytes", "the file is damaged")
    return _Coded(cameras, image_camera.astype(np.int64), state, centre_step, turn_step, names)


def _pack(coded: _Coded) -> bytes:
    bodies = [encode_integers(_residual(coded.state, order)) for order in (0, 1, 2)]
    order = int(np.argmin([len(body) for body in bodies]))
    which = encode_integers(np.diff(coded.image_camera, prepend=0)[:, None].astype(np.int64))
    cameras = b"".join(
        _CAMERA.pack(CAMERA_MODELS[camera.model][0], camera.width_px, camera.height_px)
        + camera.params.astype("<f4").tobytes()
        for camera in coded.cameras
    )
    flags = order if coded.names is None else order + _NAMED
    sizes = len(bodies[order]), len(which)
    head = _HEADER.pack(len(coded.state), len(coded.cameras), flags, coded.centre_step, coded.turn_step, *sizes)
    return head + cameras + bodies[order] + which + _pack_names(coded.names, len(coded.state))


def _check(images: MapImages) -> None:
    count = len(images.camera_SE3_world)
    if count > MAX_IMAGES or len(images.cameras) > MAX_CAMERAS:
        raise LimitError(f"{count} images with {len(images.cameras)} cameras", "keep fewer images")
    rotation = images.camera_SE3_world[:, :3, :3]
    gram = np.einsum("iab,icb->iac", rotation, rotation)
    wrong = (np.abs(gram - np.eye(3)) > 1e-4).any(axis=(1, 2)) | (np.linalg.det(rotation) < 0)
    if wrong.any():
        raise MapInputError(f"the pose of image {int(np.argmax(wrong))} is no rotation", "check the model")


def _vectors(rotation: AnyArray) -> DoubleArray:
    """Stereographic vectors (I, 3) of rotations (I, 3, 3), each on the sheet nearer to the one before."""
    from scipy.spatial.transform import Rotation

    if not len(rotation):
        return np.zeros((0, 3))
    quaternion = Rotation.from_matrix(rotation).as_quat()
    vectors = np.empty((len(rotation), 3))
    before = np.array([0.0, 0.0, 0.0, 1.0])
    for i, q in enumerate(quaternion):
        flipped = -q if q @ before < 0 else q
        if flipped[3] < -0.5:  # far from the origin a step would turn too little to be worth its bits
            flipped = -flipped
        vectors[i] = flipped[:3] / (1 + flipped[3])
        before = flipped
    return vectors


def _rotations(vectors: DoubleArray) -> DoubleArray:
    """Rotations (I, 3, 3) of stereographic vectors, by exactly rounded operations only."""
    a, b, c = vectors.T
    square = (a * a + b * b) + c * c
    scale = 1 / (1 + square)
    w, x, y, z = (1 - square) * scale, 2 * a * scale, 2 * b * scale, 2 * c * scale
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.asarray(np.stack([np.stack(row, axis=-1) for row in rows], axis=-2))


def _residual(state: IntArray, order: int) -> IntArray:
    for _ in range(order):
        state = np.diff(state, axis=0, prepend=np.zeros((1, state.shape[1]), np.int64))
    return np.ascontiguousarray(state)


def _integrate(residual: IntArray, order: int) -> IntArray:
    for _ in range(order):
        residual = np.cumsum(residual, axis=0)
    return residual


def _read_cameras(data: bytes, count: int, at: int) -> tuple[tuple[Camera, ...], int]:
    cameras = []
    for _ in range(count):
        if at + _CAMERA.size > len(data):
            raise MapFormatError("coded cameras are truncated", "fold the map again")
        number, width, height = _CAMERA.unpack_from(data, at)
        name, parameters = _MODELS.get(number, ("", 0))
        at += _CAMERA.size
        if not name or at + 4 * parameters > len(data):
            raise MapFormatError(f"a coded camera of model {number} is damaged or truncated", "fold the map again")
        values = np.frombuffer(data, "<f4", parameters, at).astype(np.float64)
        at += 4 * parameters
        try:
            cameras.append(Camera(name, width, height, values))
        except MapInputError as error:
            raise MapFormatError(f"a coded camera is damaged: {error.message}", "fold the map again") from error
    return tuple(cameras), at


def _pack_names(names: tuple[str, ...] | None, count: int) -> bytes:
    """Names of one length are stored column by column: what they share and what counts up then compresses away."""
    if names is None:
        return b""
    if any("\0" in name for name in names):
        raise MapInputError("an image name holds a NUL character", "rename it")
    if len(names) != count or len(set(names)) != count:
        raise MapInputError(f"{len(names)} names, {len(set(names))} of them different, of {count} images", "fix them")
    text = [name.encode("utf-8") for name in names]
    even = len({len(name) for name in text}) == 1
    if even:
        plain = b"\1" + bytes(text[k][c] for c in range(len(text[0])) for k in range(len(text)))
    else:
        plain = b"\0" + b"\0".join(text)
    if len(plain) > MAX_NAMES_BYTES:
        raise LimitError(f"image names of {len(plain)} bytes", "leave the names out")
    return zlib.compress(plain, 9)


def _read_names(packed: bytes, count: int) -> tuple[str, ...]:
    unpack = zlib.decompressobj()
    try:
        plain = unpack.decompress(packed, MAX_NAMES_BYTES + 1)
    except zlib.error as error:
        raise MapFormatError("coded image names are damaged", "fold the map again") from error
    if len(plain) > MAX_NAMES_BYTES:
        raise LimitError("coded image names are too long", "the file is damaged")
    body = plain[1:]
    if not unpack.eof or unpack.unused_data or plain[:1] not in (b"\0", b"\1"):
        raise MapFormatError("coded image names are damaged", "fold the map again")
    if plain[0] == 1:
        text = [body[k::count] for k in range(count)] if count and len(body) % count == 0 else []
    else:
        text = body.split(b"\0") if count else []
    try:
        names = tuple(name.decode("utf-8") for name in text)
    except UnicodeDecodeError as error:
        raise MapFormatError("a coded image name is not UTF-8", "fold the map again") from error
    if len(names) != count or len(set(names)) != count:
        raise MapFormatError(f"{len(names)} names of {count} images", "fold the map again")
    return names
