"""Checks that every coder makes of what it is given."""

from collections.abc import Mapping, Sequence

import numpy as np

from foldmap.errors import ConfigError, LimitError, MapFormatError, ModelError
from foldmap.types import AnyArray, ByteArray

MAX_CODES = 1 << 26  # per tile; a reader allocates about ten bytes a code


def checked_codes(codes: AnyArray, symbols: int, groups: int | None = None) -> ByteArray:
    """Contiguous ``codes`` uint8 (G, H, W) with values 0..symbols; a ConfigError or ModelError for others."""
    if not isinstance(codes, np.ndarray) or codes.dtype != np.uint8 or codes.ndim != 3:
        got = f"{codes.dtype} {codes.shape}" if isinstance(codes, np.ndarray) else type(codes).__name__
        raise ConfigError(f"codes must be uint8 (groups, height, width), got {got}")
    checked_shape(codes.shape, groups)
    if codes.size and int(codes.max()) > symbols:
        raise ModelError(f"codes hold symbol {int(codes.max())}, the model knows 0..{symbols}", "fit a coder on them")
    return np.require(codes, requirements=["C", "W"])


def checked_shape(shape: Sequence[int], groups: int | None = None) -> tuple[int, int, int]:
    """The (G, H, W) of a tile, within limits and with the model's groups."""
    if len(shape) != 3 or min(shape) < 0 or int(shape[0]) * int(shape[1]) * int(shape[2]) > MAX_CODES:
        raise LimitError(f"a code tile of shape {tuple(shape)} is not of three axes with at most {MAX_CODES} codes")
    if groups is not None and shape[0] != groups:
        raise ModelError(f"a tile of {shape[0]} groups does not fit a coder of {groups} groups")
    return int(shape[0]), int(shape[1]), int(shape[2])


def checked_payload(payload: bytes) -> ByteArray:
    """``payload`` as uint8 (N,); a MapFormatError when it is empty."""
    if not payload:
        raise MapFormatError("an empty code payload")
    return np.frombuffer(payload, np.uint8).copy()  # the kernels are compiled for writable arrays


def checked_array(arrays: Mapping[str, AnyArray], name: str, dtype: type, shape: tuple[int | None, ...]) -> AnyArray:
    """``arrays[name]`` if it has this dtype and shape (None: any length); else a ModelError that names it."""
    array = arrays.get(name)
    if not isinstance(array, np.ndarray):
        raise ModelError(f"the coder has no array {name!r}", "the model is damaged or of another coder")
    fits = array.ndim == len(shape) and all(
        want is None or want == have for want, have in zip(shape, array.shape, strict=True)
    )
    if array.dtype != np.dtype(dtype) or not fits:
        raise ModelError(f"coder array {name!r} is {array.dtype} {array.shape}, not {np.dtype(dtype)} {shape}")
    return np.ascontiguousarray(array)


def header_numbers(arrays: Mapping[str, AnyArray], count: int) -> list[int]:
    """The int32 ``header`` array as a list of ``count`` integers."""
    return [int(v) for v in checked_array(arrays, "header", np.int32, (count,))]
