"""The axes along which descriptors vary, as they are stored: shared by all maps of a feature, or a map's own.

`standard_basis` ships with the package; `benchmarks.visual.standard_basis` learned it from generated images only.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from foldmap.errors import FoldmapError, ModelError
from foldmap.types import AnyArray, DoubleArray, FloatArray, IntArray
from foldmap.visual.codes.coefficient_coder import MAX_RANK, Curvature, triangle

FORMAT = 1
MAX_DIMENSION = 4096
MAX_BYTES = 8 << 20
RATIO_ONE = 64
MIN_RATIO = 16
_CURE = "use a basis of foldmap"
_STANDARD = {"sift": "sift-1"}


@dataclass(frozen=True)
class Basis:
    """A mean and axes, in the numbers that are stored, so that what is stored is what is used.

    Raises `ModelError`: other shapes or types, values out of range, axes that are not nearly orthonormal.
    """

    mean: AnyArray  # float16 (D,)
    axes: AnyArray  # int8 (D, R), columns by descending spread, in `axis_scale`
    axis_scale: FloatArray  # float32 (R,)
    spread: IntArray  # int64 (R,), standard deviation of each coefficient in 1 / 65536, 1..65535
    step_ratio: AnyArray  # uint8 (R,), step of each coefficient over the codec's step, in 1 / 64, at least 16
    curvature: Curvature  # what the first coefficients tell of the others
    feature: str = ""  # the extractor it is for
    name: str = field(default="own")

    def __post_init__(self) -> None:
        if self.axes.ndim != 2 or not 1 <= self.axes.shape[0] <= MAX_DIMENSION:
            raise ModelError(f"the basis' axes have shape {self.axes.shape}", _CURE)
        dimension, rank = self.axes.shape
        if not 1 <= rank <= min(dimension, MAX_RANK):
            raise ModelError(f"a basis of {rank} axes in {dimension} dimensions is not within 1..{MAX_RANK}", _CURE)
        _is("mean", self.mean, np.float16, (dimension,))
        _is("axes", self.axes, np.int8, (dimension, rank))
        _is("axis_scale", self.axis_scale, np.float32, (rank,))
        _is("spread", self.spread, np.int64, (rank,))
        _is("step_ratio", self.step_ratio, np.uint8, (rank,))
        if not (np.abs(self.mean) <= 2).all() or not ((self.axis_scale > 0) & (self.axis_scale <= 1)).all():
            raise ModelError("the basis' mean or scales are out of range", _CURE)
        if int(self.spread.min()) < 1 or int(self.spread.max()) > 65535 or int(self.step_ratio.min()) < MIN_RATIO:
            raise ModelError("the basis' spreads or step ratios are out of range", _CURE)
        if len(self.curvature.scale) != rank:
            raise ModelError(f"the basis' curvature is not of {rank} coefficients", _CURE)
        gram = self.vectors.T.astype(np.float64) @ self.vectors.astype(np.float64)
        if not np.abs(gram - np.eye(rank)).max() < 0.2 / np.sqrt(rank):
            raise ModelError("the basis' axes are not orthonormal", _CURE)

    @property
    def dimension(self) -> int:
        """D."""
        return int(self.axes.shape[0])

    @property
    def rank(self) -> int:
        """R."""
        return int(self.axes.shape[1])

    @cached_property
    def vectors(self) -> FloatArray:
        """The axes, float32 (D, R)."""
        return np.asarray(self.axes.astype(np.float32) * self.axis_scale)

    @cached_property
    def centre(self) -> FloatArray:
        """The mean, float32 (D,)."""
        return self.mean.astype(np.float32)

    def analyse(self, descriptors: AnyArray) -> DoubleArray:
        """Coefficients float64 (N, R) of descriptors (N, D): what `vectors` come nearest to them with."""
        vectors = self.vectors.astype(np.float64)
        dual = np.linalg.solve(vectors.T @ vectors, vectors.T)
        return np.asarray((np.asarray(descriptors, np.float64) - self.centre) @ dual.T)

    def to_bytes(self) -> bytes:
        """Safetensors; the same basis gives the same bytes."""
        curvature = self.curvature
        arrays = {
            "mean": self.mean,
            "axes": self.axes,
            "axis_scale": self.axis_scale,
            "spread": self.spread.astype(np.uint16),
            "step_ratio": self.step_ratio,
        }
        if curvature.products:
            arrays |= {"bend": curvature.bend, "bend_scale": curvature.scale.astype(np.uint16)}
        if len(curvature.shift):
            arrays |= {"shift": curvature.shift}
        info = {"format": FORMAT, "feature": self.feature, "name": self.name}
        arrays = {key: np.ascontiguousarray(value) for key, value in arrays.items()}
        return bytes(save(arrays, metadata={"info": json.dumps(info, sort_keys=True)}))

    @classmethod
    def from_bytes(cls, payload: bytes) -> Basis:
        """Rebuild, trusting nothing; `ModelError` where the bytes are no basis of this version."""
        if len(payload) > MAX_BYTES:
            raise ModelError(f"a basis of {len(payload)} bytes is too large", _CURE)
        try:
            info = _read_info(payload)
            arrays = load(payload)
            rank = len(arrays["axis_scale"])
            flat = Curvature.flat(rank)
            bend = arrays.get("bend", flat.bend)
            if triangle(64) < len(bend):
                raise ModelError(f"the basis' bend has {len(bend)} rows", _CURE)
            scale = _whole(arrays["bend_scale"]) if "bend" in arrays else flat.scale
            return cls(
                mean=arrays["mean"],
                axes=arrays["axes"],
                axis_scale=arrays["axis_scale"],
                spread=_whole(arrays["spread"]),
                step_ratio=arrays["step_ratio"],
                curvature=Curvature(bend, scale, arrays.get("shift", flat.shift)),
                feature=str(info["feature"]),
                name=str(info["name"]),
            )
        except FoldmapError:
            raise
        except (SafetensorError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise ModelError(f"the basis cannot be read: {error}", _CURE) from error


def standard_basis(feature: str) -> Basis | None:
    """The basis that ships for a feature ("sift"), or None when there is none."""
    name = _STANDARD.get(feature)
    return None if name is None else basis_named(name)


@cache
def basis_named(name: str) -> Basis:
    """A shipped basis by its name; `ModelError` where there is none."""
    if name not in _STANDARD.values():
        raise ModelError(f"no basis is called {name!r}", "update foldmap, or use a map with a basis of its own")
    path = Path(str(resources.files("foldmap.visual"))) / "weights" / f"{name}.safetensors"
    try:
        return Basis.from_bytes(path.read_bytes())
    except OSError as error:
        raise ModelError(f"the basis {name} is not installed: {error}", "install foldmap again") from error


def _is(what: str, array: AnyArray, dtype: type, shape: tuple[int, ...]) -> None:
    if array.dtype != dtype or array.shape != shape:
        raise ModelError(f"the basis' {what} is {array.dtype} {array.shape}, not {np.dtype(dtype)} {shape}", _CURE)


def _whole(array: AnyArray) -> IntArray:
    if array.dtype != np.uint16 or array.ndim != 1:
        raise ModelError(f"the basis holds {array.dtype} {array.shape} where uint16 belongs", _CURE)
    return array.astype(np.int64)


def _read_info(payload: bytes) -> dict[str, Any]:
    length = int.from_bytes(payload[:8], "little")
    if len(payload) < 8 or length > min(len(payload) - 8, 1 << 16):
        raise ModelError("the basis is shorter than its header", _CURE)
    info: Any = json.loads(json.loads(payload[8 : 8 + length])["__metadata__"]["info"])
    if not isinstance(info, dict) or info.get("format") != FORMAT:
        raise ModelError("the basis is of another format", "update foldmap")
    return info
