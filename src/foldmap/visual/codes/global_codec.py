"""Global descriptors of a map's images in few bytes: a few bits a number, or product quantization.

descriptors (I, G) --unit, turned--> b bits a number, in steps of each number's own spread ----> bytes
                   --unit--> M bytes, one centroid's number for each of M parts (paper, M 256) --> bytes
"""

import struct
from collections.abc import Callable
from functools import partial

import numpy as np

from foldmap.coding.pq import ProductQuantizer, checked_vectors, gather
from foldmap.errors import ConfigError, LimitError, MapFormatError
from foldmap.types import AnyArray, ByteArray, FloatArray, IntArray
from foldmap.visual.codes.turn import turn, turn_back
from foldmap.visual.source import unit_descriptors

MAX_NUMBERS = 1 << 27  # images times numbers of one stream; a reader takes about 16 bytes for each
MAX_SIZE = 1 << 16
BITS = (1, 2, 4, 8)
CENTROIDS = 256
_HEADER = struct.Struct("<BBHII")  # version, bits or 0 for PQ, parts or 0, images, numbers each
_VERSION = 1
_SCALE = np.dtype("<f4")
_STEP = {1: 1.596, 2: 0.996, 4: 0.335}  # of a uniform quantizer with least error on a normal distribution (Max 1960)
_FOUND, _PROBES = 10, 256
_CURE = "the file is damaged; fold the map again"


def encode_globals(
    descriptors: AnyArray,
    method: str = "auto",
    *,
    parts: tuple[int, ...] = (256, 128, 64),
    quality: float = 0.95,
) -> bytes:
    """Store descriptors, made unit.

    The smallest form is taken that still finds what the exact descriptors find: with images of the map as queries, the
    mean similarity of the ten images found must reach the share ``quality`` of the way from a random image's to that of
    the ten truly most similar. When none does, 8 bits are taken. Raises `MapInputError`: another shape, or values that
    are not finite; `ConfigError`: no such method, or "pq" and no M of ``parts`` divides G; `LimitError`: more than a
    reader accepts.

    Args:
        descriptors: (I, G), any numeric type; I may be 0.
        method: "auto", or a form by name: "1 bit", "2 bits", "4 bits", "8 bits", "pq".
        parts: M of product quantization, tried where they divide G; "pq" takes the first that does.
        quality: see above, 0..1.
    """
    if method not in ("auto", "pq", *map(_name, BITS)):
        raise ConfigError(f"global descriptors cannot be stored as {method!r}", "take auto, pq or 8 bits")
    rows = checked_vectors(descriptors)
    if rows.size > MAX_NUMBERS or rows.shape[1] > MAX_SIZE:
        raise LimitError(f"{len(rows)} global descriptors of {rows.shape[1]} numbers are too many", "reduce them")
    rows = unit_descriptors(rows)
    forms = _forms(len(rows), rows.shape[1], method, parts)
    if len(forms) == 1:
        return forms[0](rows)
    for write in forms:
        payload = write(rows)
        if retrieval_quality(rows, decode_globals(payload)) >= quality:
            return payload
    return _write_scalar(rows, 8)


def _forms(images: int, size: int, method: str, parts: tuple[int, ...]) -> list[Callable[[FloatArray], bytes]]:
    """Forms to try, smallest first."""
    fitting = [m for m in parts if 1 <= m <= size and size % m == 0]
    if method == "pq":
        if not fitting or not images:
            raise ConfigError(f"{images} descriptors of {size} numbers do not split into {parts}", "take a divisor")
        return [partial(_write_pq, parts=fitting[0])]
    forms: list[tuple[int, Callable[[FloatArray], bytes]]] = [
        (_scalar_bytes(images, size, bits), partial(_write_scalar, bits=bits))
        for bits in BITS
        if method in ("auto", _name(bits))
    ]
    if method == "auto" and images > CENTROIDS:
        forms += [(_pq_bytes(images, size, m), partial(_write_pq, parts=m)) for m in fitting]
    return [write for _, write in sorted(forms, key=lambda form: form[0])]


def _scalar_bytes(images: int, size: int, bits: int) -> int:
    return 8 + 2 * size + -(-images * size * bits // 8)


def _pq_bytes(images: int, size: int, parts: int, centroids: int = CENTROIDS) -> int:
    return 2 + 4 * parts + centroids * size + images * parts


def decode_globals(payload: bytes) -> FloatArray:
    """The descriptors that `encode_globals` stored, float32 (I, G), unit rows; `MapFormatError` for other bytes."""
    bits, parts, images, size, body = _read(payload)
    if not parts:
        return unit_descriptors(_read_scalar(body, bits, images, size))
    return unit_descriptors(_read_pq(body, parts, images, size))


def take_globals(payload: bytes, kept: IntArray) -> bytes:
    """Some of the descriptors that `encode_globals` stored, by int64 (K,): to the bit what they were."""
    bits, parts, images, size, body = _read(payload)
    decode_globals(payload)  # so that nothing damaged is passed on
    if parts:
        (centroids,) = struct.unpack_from("<H", body)
        side, row_bits, width = 2 + 4 * parts + centroids * size, 8, parts
    else:
        side, row_bits, width = 8 + 2 * size, bits, size
    codes = _unpack(np.frombuffer(body, np.uint8, offset=side), row_bits, images * width).reshape(images, width)
    head = _HEADER.pack(_VERSION, bits, parts, len(kept), size)
    return head + bytes(body[:side]) + _pack(codes[kept].ravel(), row_bits).tobytes()


def _read(payload: bytes) -> tuple[int, int, int, int, memoryview]:
    """Bits, parts, images, numbers each, and what follows; within a reader's limits."""
    if len(payload) < _HEADER.size:
        raise MapFormatError(f"global descriptors of {len(payload)} bytes are truncated", _CURE)
    version, bits, parts, images, size = _HEADER.unpack_from(payload)
    if version != _VERSION:
        raise MapFormatError(f"global descriptors of version {version}", "update foldmap")
    if images * size > MAX_NUMBERS or not 1 <= size <= MAX_SIZE:
        raise LimitError(f"{images} global descriptors of {size} numbers exceed what a reader accepts", _CURE)
    if not ((bits in BITS and not parts) or (not bits and parts and size % parts == 0)):
        raise MapFormatError(f"global descriptors of {bits} bits in {parts} parts", _CURE)
    return bits, parts, images, size, memoryview(payload)[_HEADER.size :]


def retrieval_quality(exact: FloatArray, stored: FloatArray, seed: int = 0) -> float:
    """How well stored descriptors (I, G) find similar images, from 0 (as chance) to 1 (as the exact ones).

    Up to 256 of the exact ones, chosen by the seed, are the queries; each searches all others.
    """
    images = len(exact)
    found = min(_FOUND, images - 2)
    if found < 1:
        return 1.0 if np.allclose(exact, stored, atol=0.05) else 0.0
    probes = np.sort(np.random.default_rng(seed).permutation(images)[:_PROBES])
    true, seen = exact[probes] @ exact.T, exact[probes] @ stored.T
    others = np.ones(true.shape, bool)
    others[np.arange(len(probes)), probes] = False
    chance = float(true[others].mean())
    true[~others] = seen[~others] = -2.0
    best = float(np.partition(true, -found, axis=1)[:, -found:].mean())
    got = float(np.take_along_axis(true, np.argpartition(seen, -found, axis=1)[:, -found:], axis=1).mean())
    return (got - chance) / (best - chance) if best - chance > 1e-6 else 1.0


def _name(bits: int) -> str:
    return "1 bit" if bits == 1 else f"{bits} bits"


def _write_scalar(rows: FloatArray, bits: int) -> bytes:
    """Each number about its mean, in 2^b steps that lie evenly around zero; means and steps in a byte each."""
    turned = turn(rows)
    images, size = rows.shape
    mean = turned.mean(axis=0) if images else np.zeros(size, np.float32)
    mean_scale = np.array(max(float(np.abs(mean).max()), 1e-9) / 127, _SCALE)
    means = np.rint(mean / mean_scale).astype(np.int8)
    off = turned - means.astype(np.float32) * mean_scale  # so a mean's own rounding is coded along
    if bits == 8:
        step = np.abs(off).max(axis=0, initial=0.0) / 127.5
    else:
        step = _STEP[bits] * np.sqrt(np.square(off).mean(axis=0)) if images else np.zeros(size)
    step_scale = np.array(max(float(step.max()), 1e-9) / 255, _SCALE)
    steps = np.clip(np.ceil(step / step_scale), 1, 255).astype(np.uint8)
    codes = np.floor(off / (steps.astype(np.float32) * step_scale)) + (1 << bits >> 1)
    codes = np.clip(codes, 0, (1 << bits) - 1).astype(np.uint8)
    head = _HEADER.pack(_VERSION, bits, 0, images, size)
    side = [mean_scale.tobytes(), step_scale.tobytes(), means.tobytes(), steps.tobytes()]
    return b"".join([head, *side, _pack(codes.ravel(), bits).tobytes()])


def _read_scalar(body: memoryview, bits: int, images: int, size: int) -> FloatArray:
    _exactly(body, _scalar_bytes(images, size, bits))
    mean_scale, step_scale = np.frombuffer(body, _SCALE, 2).astype(np.float32)
    means = np.frombuffer(body, np.int8, size, 8).astype(np.float32)
    steps = np.frombuffer(body, np.uint8, size, 8 + size).astype(np.float32)
    if not (0 < mean_scale <= 1 and 0 < step_scale <= 1 and steps.all()):
        raise MapFormatError("global descriptors have steps out of range", _CURE)
    codes = _unpack(np.frombuffer(body, np.uint8, offset=8 + 2 * size), bits, images * size).reshape(images, size)
    middle = np.float32((1 << bits >> 1) - 0.5)
    return turn_back((codes.astype(np.float32) - middle) * (steps * step_scale) + means * mean_scale)


def _write_pq(rows: FloatArray, parts: int) -> bytes:
    """Codebooks in a byte a number with one scale a part, then the codes of what those codebooks can say."""
    books = ProductQuantizer.fit(rows, parts, CENTROIDS).codebooks
    scale = (np.maximum(np.abs(books).max(axis=(1, 2)), 1e-9) / 127).astype(_SCALE)
    rounded = np.rint(books / scale[:, None, None]).astype(np.int8)
    codes = ProductQuantizer(_books(rounded, scale)).encode(rows)
    head = _HEADER.pack(_VERSION, 0, parts, *rows.shape)
    count = struct.pack("<H", rounded.shape[1])
    return b"".join([head, count, scale.tobytes(), rounded.tobytes(), codes.tobytes()])


def _read_pq(body: memoryview, parts: int, images: int, size: int) -> FloatArray:
    if len(body) < 2:
        raise MapFormatError("global descriptors are truncated", _CURE)
    (centroids,) = struct.unpack_from("<H", body)
    if not 1 <= centroids <= CENTROIDS:
        raise MapFormatError(f"global descriptors have {centroids} centroids", _CURE)
    _exactly(body, _pq_bytes(images, size, parts, centroids))
    scale = np.frombuffer(body, _SCALE, parts, 2).astype(np.float32)
    if not ((scale > 0) & (scale <= 1)).all():
        raise MapFormatError("global descriptors have codebooks out of range", _CURE)
    rounded = np.frombuffer(body, np.int8, centroids * size, 2 + 4 * parts).reshape(parts, centroids, size // parts)
    codes: ByteArray = np.frombuffer(body, np.uint8, offset=2 + 4 * parts + centroids * size).reshape(images, parts)
    if codes.size and int(codes.max()) >= centroids:
        raise MapFormatError(f"code {int(codes.max())} names none of {centroids} centroids", _CURE)
    return gather(_books(rounded, scale), codes)


def _books(rounded: AnyArray, scale: AnyArray) -> FloatArray:
    return np.asarray(rounded.astype(np.float32) * scale.astype(np.float32)[:, None, None])


def _pack(codes: ByteArray, bits: int) -> ByteArray:
    """Codes of b bits side by side, the first in the lowest bits of a byte."""
    return np.packbits(np.unpackbits(codes[:, None], axis=1, count=bits, bitorder="little"), bitorder="little")


def _unpack(packed: ByteArray, bits: int, count: int) -> ByteArray:
    spread = ((packed[:, None] >> np.arange(0, 8, bits, dtype=np.uint8)) & np.uint8((1 << bits) - 1)).reshape(-1)
    if spread[count:].any():
        raise MapFormatError("global descriptors end in bits that say nothing", _CURE)
    return spread[:count]


def _exactly(body: memoryview, size: int) -> None:
    if len(body) != size:
        raise MapFormatError(f"global descriptors are {len(body)} bytes, not the {size} that they declare", _CURE)
