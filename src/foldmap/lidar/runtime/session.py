"""The localizer's networks by onnxruntime, and which runtime a map's networks are given to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import numpy as np

from foldmap.errors import ConfigError, MissingExtraError
from foldmap.lidar.bundle import Bundle
from foldmap.lidar.codec import DECODE_HALO, Decoder, one_hot_of, padded
from foldmap.lidar.match.region import STRIP_PX, Box
from foldmap.lidar.normalize import observation_input
from foldmap.lidar.observation import Observation
from foldmap.lidar.runtime.networks import cells_graph, pixels_graph, sweep_graph
from foldmap.lidar.stored import StoredModel
from foldmap.runtime.session import compute, is_installed, open_session
from foldmap.types import ByteArray, FloatArray, IntArray

RUNTIMES = ("torch", "onnx")


class Networks(Protocol):
    """What embeds observations and decodes windows of codes; see `foldmap.lidar.codec.Decoder`."""

    def embed_observation(self, observation: Observation) -> FloatArray:
        """Embed what the vehicle sees, in its own axes: (C, H, W) float32."""

    def decode_window(
        self, codes_GHW: ByteArray | IntArray, first_rc: tuple[int, int], shape: tuple[int, int], boxes: Sequence[Box]
    ) -> FloatArray:
        """Decode the boxes of a window of what codes (G, h, w) hold: (C, *shape) float32, 0 beside them."""


class OnnxDecoder:
    """Does as `foldmap.lidar.codec.Decoder`, in float32 by onnxruntime, for windows with codes around.

    A MissingExtraError where onnxruntime is not installed.
    """

    def __init__(self, stored: StoredModel) -> None:
        self.preset = stored.preset
        self._sweep = open_session(sweep_graph(stored.preset, stored.weights))
        self._cells = open_session(cells_graph(stored.preset, stored.weights))
        self._pixels = open_session(pixels_graph(stored.preset, stored.weights))

    def embed_observation(self, observation: Observation) -> FloatArray:
        """See `Networks`."""
        return self.embed(observation_input(observation.intensity, observation.observed, observation.resolution_m))

    def embed(self, x_2HW: FloatArray) -> FloatArray:
        """Embed a normalized observation: (2, H, W) -> (C, H, W) float32."""
        height, width = x_2HW.shape[1:]
        return np.ascontiguousarray(compute(self._sweep, x=padded(x_2HW)[None])[0, :, :height, :width])

    def decode_window(
        self, codes_GHW: ByteArray | IntArray, first_rc: tuple[int, int], shape: tuple[int, int], boxes: Sequence[Box]
    ) -> FloatArray:
        """See `Networks`; a ModelError where a symbol exceeds the preset's channels."""
        (row, column), scale = first_rc, self.preset.downsample
        one_hot = one_hot_of(codes_GHW, self.preset).transpose(2, 0, 1)[None]
        features = compute(self._cells, x=one_hot.astype(np.float32))
        if min(row, column) < scale * 2 or any(
            first + side > scale * (cells - 2)
            for first, side, cells in zip(first_rc, shape, features.shape[2:], strict=True)
        ):
            raise ConfigError("the window has too few codes around", f"give {DECODE_HALO} cells more than it covers")
        window = np.zeros((self.preset.embedding_channels, *shape), np.float32)
        for r, r_end, c, c_end in _strips(boxes, row, scale):
            # Whole cells, and one more around, which the outermost pixels need.
            top, left = (r + row) // scale, (c + column) // scale
            bottom, right = -(-(r_end + row) // scale), -(-(c_end + column) // scale)
            made = compute(self._pixels, x=features[:, :, top - 1 : bottom + 1, left - 1 : right + 1])[0]
            at = r + row - top * scale, c + column - left * scale
            window[:, r:r_end, c:c_end] = made[:, at[0] : at[0] + r_end - r, at[1] : at[1] + c_end - c]
        return window


def networks_of(
    stored: StoredModel, bundle: Callable[[], Bundle], *, fast: bool = True, runtime: str | None = None
) -> Networks:
    """The networks of a stored model by one of `RUNTIMES`, or by the faster one that is installed.

    That is torch where the processor computes in bfloat16 and ``fast`` allows it, else onnxruntime. A
    MissingExtraError where it is not installed, or none is.
    """
    if runtime not in (None, *RUNTIMES):
        raise ConfigError(f"no runtime {runtime!r}", f"choose {' or '.join(RUNTIMES)}")
    installed = [name for name, module in zip(RUNTIMES, ("torch", "onnxruntime"), strict=True) if is_installed(module)]
    better = "torch" if fast and has_bfloat16() else "onnx"
    chosen = runtime or (better if better in installed else installed[0] if installed else "onnx")
    if chosen == "onnx":
        return OnnxDecoder(stored)
    if chosen not in installed:
        raise MissingExtraError("torch is not installed", "pip install torch, or use the runtime onnx")
    return Decoder(bundle(), fast=fast)


@cache
def has_bfloat16() -> bool:
    """Whether the processor multiplies in bfloat16, as Linux says; False where it cannot be known."""
    try:
        said = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "avx512_bf16" in said or "amx_bf16" in said


def _strips(boxes: Sequence[Box], first_row: int, scale: int) -> list[Box]:
    """Cut boxes at multiples of `STRIP_PX` rows of the codes' pixels, so that few cells are made twice."""
    step = max(STRIP_PX // scale, 1) * scale
    strips = []
    for r, r_end, c, c_end in boxes:
        cuts = [r, *range(-(-(r + first_row + 1) // step) * step - first_row, r_end, step), r_end]
        strips += [(low, high, c, c_end) for low, high in pairwise(cuts)]
    return strips
